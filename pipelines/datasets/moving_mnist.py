"""Moving digits: `num_digits` digits that move in straight lines and bounce off the walls.

The frames are made inside the tf.data graph, nothing is stored: sequence `index` of seed `seed` is the same
on every machine and in every order. Digits come from the MNIST idx files where `root` holds them
(train-images-idx3-ubyte.gz, t10k-images-idx3-ubyte.gz, as published) and are otherwise rendered from the fonts
that ship with matplotlib; training and test digits are disjoint either way.

Protocols of the literature differ (fixed files, other speeds, clamping at the walls): scores on this generator
compare only with scores on this generator.
"""

import gzip
import os
import struct
import zlib

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError
from pipelines.datasets.generated import BLOCK, check_options, generated


def moving_mnist(
    split: str,
    *,
    root: str | None = None,
    frame_size: int = 32,
    num_digits: int = 2,
    num_frames: int = 20,
    num_sequences: int = 1000,
    num_test_sequences: int = 500,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Sequences of moving digits.

    Args:
        split: "train", "validation" or "test".
        root: folder with MNIST idx files (plain or .gz). None: digits rendered from fonts.
        frame_size: height and width in pixels. Digits are 14/32 of it (14 px at 32, 28 px at 64) and each axis
            moves 1/32 to 2/32 of it a frame (1 to 2 px at 32, 2 to 4 px at 64), uniform, with random sign.
        num_digits: digits in a sequence, drawn over each other by maximum.
        num_frames: frames in a sequence.
        num_sequences: training sequences in an epoch.
        num_test_sequences: sequences of the validation and of the test split.
        epoch: of training (int or scalar tensor); every epoch has new sequences.
        seed: of the training and validation sequences. The test set is the same for every seed.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 (num_frames, frame_size, frame_size, 1), `id` string.

    Raises:
        InputError: unknown split, sizes out of range, missing or truncated idx files.
    """
    least = {
        "frame_size": (frame_size, 8),
        "num_digits": (num_digits, 1),
        "num_frames": (num_frames, 1),
        "num_sequences": (num_sequences, 1),
        "num_test_sequences": (num_test_sequences, 1),
    }
    check_options("moving_mnist", split, least)
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        digits = tf.constant(digit_images(split, root))[..., None]
        digits = tf.image.resize(digits, [round(frame_size * 14 / 32)] * 2, antialias=True)[..., 0]
        digits = tf.cast(tf.round(tf.clip_by_value(digits, 0, 255)), tf.uint8)

    def draw(pair):
        return {"video": draw_block(digits, pair, frame_size, num_digits, num_frames)}

    return generated("moving_mnist", split, draw, num_sequences, num_test_sequences, epoch, seed)


def draw_block(digits, seed, frame_size, num_digits, num_frames):
    """`BLOCK` sequences from one seed: uint8 (BLOCK, num_frames, frame_size, frame_size, 1).

    Every digit starts anywhere in the frame; at frame t it stands at the reflection of start + t * speed into the
    free range 0..R (a triangle wave of period 2R), rounded to whole pixels.
    """
    size = digits.shape[1]
    free = float(frame_size - size)
    chosen, start, speed, sign = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    shape = [BLOCK, num_digits, 2]
    start = tf.random.stateless_uniform(shape, start, 0.0, free)
    speed = tf.random.stateless_uniform(shape, speed, frame_size / 32, frame_size / 16)
    sign = tf.cast(2 * tf.random.stateless_uniform(shape, sign, 0, 2, tf.int32) - 1, tf.float32)
    which = tf.random.stateless_uniform(shape[:2], chosen, 0, digits.shape[0], tf.int32)
    time = tf.range(num_frames, dtype=tf.float32)
    path = start[..., None] + (speed * sign)[..., None] * time
    path = free - tf.abs(tf.math.floormod(path, 2 * free) - free)
    corner = tf.cast(tf.round(path), tf.int32)  # (BLOCK, num_digits, 2 axes, num_frames)
    # One-hot matrices put every digit row and column where it belongs: exact, and one matrix product for all.
    place = tf.one_hot(corner[..., None] + tf.range(size), frame_size)
    drawn = tf.einsum(
        "bntiy,bnij,bntjx->bntyx", place[:, :, 0], tf.cast(tf.gather(digits, which), tf.float32), place[:, :, 1]
    )
    return tf.cast(tf.reduce_max(drawn, axis=1), tf.uint8)[..., None]


def digit_images(split, root=None):
    """Digits on black, uint8 (N, 28, 28): MNIST from `root`, or rendered from fonts.

    The validation digits are the last tenth of the training digits, which the training split leaves out.
    """
    source = "test" if split == "test" else "train"
    digits = _rendered_digits(source) if root is None else _mnist_digits(root, source)
    cut = len(digits) - len(digits) // 10
    return {"train": digits[:cut], "validation": digits[cut:], "test": digits}[split]


IDX_FILES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}


def _mnist_digits(root, source):
    paths = [os.path.join(root, IDX_FILES[source] + ending) for ending in ("", ".gz")]
    path = next((p for p in paths if os.path.isfile(p)), None)
    if path is None:
        raise InputError(f"MNIST needs {IDX_FILES[source]} or {IDX_FILES[source]}.gz in `root`. Received: root={root}")
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            data = file.read()
        magic, count, rows, columns = struct.unpack(">4i", data[:16])
        if (magic, rows, columns) != (2051, 28, 28):
            raise ValueError(f"magic {magic}, {rows}x{columns}")
        return np.frombuffer(data, np.uint8, count * 28 * 28, 16).reshape(count, 28, 28)
    except (EOFError, OSError, struct.error, ValueError, zlib.error) as error:
        raise InputError(f"{path} must be an idx file of 28x28 uint8 images, whole. Received: {error}") from error


FONTS = {  # of matplotlib; the test digits come from faces that training never shows
    "train": [
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        *("DejaVuSansMono", "DejaVuSansMono-Bold"),
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
        *("STIXGeneralBol", "cmb10", "cmss10"),
    ],
    "test": ["DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique", "STIXGeneral", "cmr10", "cmtt10"],
}


def _rendered_digits(source):
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")
    images = []
    for height in (24, 27, 30):
        for angle in (-12, -4, 4, 12):
            for name in FONTS[source]:
                font = ImageFont.truetype(os.path.join(folder, name + ".ttf"), height)
                for digit in "0123456789":
                    image = Image.new("L", (28, 28))
                    ImageDraw.Draw(image).text((14, 14), digit, fill=255, font=font, anchor="mm")
                    images.append(np.asarray(image.rotate(angle, Image.Resampling.BILINEAR)))
    return np.stack(images)
