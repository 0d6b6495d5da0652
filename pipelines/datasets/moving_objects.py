"""One object of several moves; the class is how, or what it is. For localisation, by attention for instance.

Over a still, textured background one object goes right, left, up or down at a constant speed. One to three others of
the same looks stand still, each somewhere on a path drawn likewise, so that motion alone tells which one acts. It
passes in front of them, starts anywhere its way fits into the frame, and stays inside.
"""

import math

import tensorflow as tf

from keras_st.specs import FeatureSpec, InputError
from pipelines.datasets.generated import BLOCK, check_options, generated

CLASSES = ("right", "left", "up", "down")
STRIPES = ("vertical", "horizontal", "diagonal")
DIRECTIONS = ((0.0, 1.0), (0.0, -1.0), (-1.0, 0.0), (1.0, 0.0))  # (row, column) a frame
OBJECTS = 4  # at most; the first acts
FASTEST = 8.0  # px/frame
CELLS = 12  # of the background's texture, a side


def moving_objects(
    split: str,
    *,
    frame_size: int = 48,
    num_frames: int = 12,
    noise: float = 0.0,
    num_sequences: int = 1000,
    num_test_sequences: int = 500,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Clips of one moving object among still ones, labelled by its motion, with its box and its flow.

    Args:
        split: "train", "validation" or "test".
        frame_size: height and width in pixels, 16 or more. Objects (disc, square or diamond, striped) reach 3.5/48 to
            6/48 of it from their centre, corners of diamonds sqrt(2) times as far.
        num_frames: frames in a clip, 2 or more. Speeds are 1/48 to 2/48 of `frame_size` a frame; slower in clips of
            more than 13 frames, so that no way is longer than half the frame, and in frames beyond 192 pixels, so that
            none exceeds 8 px/frame.
        noise: standard deviation of Gaussian noise on the grey values, 0..1 of the range.
        num_sequences: training clips in an epoch.
        num_test_sequences: clips of the validation and of the test split.
        epoch: of training (int or scalar tensor); every epoch has new clips.
        seed: of the training and validation clips. The test set is the same for every seed.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 (num_frames, frame_size, frame_size, 1); `flow` float32 (num_frames,
        frame_size, frame_size, 2), (u right, v down) in px/frame to the next frame, exact: the velocity on the pixels
        of the moving object, 0 elsewhere, the last field that of the frame before; `boxes` float32 (num_frames, 4), the
        extent of those pixels as (top, left, bottom, right), half-open; `label` int64 (index in `CLASSES`, all equally
        likely), `id` string.

    Raises:
        InputError: unknown split, sizes out of range.
    """
    options = frame_size, num_frames, noise, num_sequences, num_test_sequences
    return _objects("moving_objects", split, *options, epoch, seed, by_stripes=False)


def acting_objects(
    split: str,
    *,
    frame_size: int = 48,
    num_frames: int = 12,
    noise: float = 0.0,
    num_sequences: int = 1000,
    num_test_sequences: int = 500,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Clips of one moving object among still ones, labelled by the direction of its stripes; see `moving_objects`.

    The others have other stripes. Motion says where to look, and only there the class is seen: flow does not show
    stripes, and no frame tells which of its objects acts. Objects reach 4.5/48 to 6/48 of the frame from their centre.

    Returns: as `moving_objects`, `label` index in `STRIPES`, all equally likely.
    """
    options = frame_size, num_frames, noise, num_sequences, num_test_sequences
    return _objects("acting_objects", split, *options, epoch, seed, by_stripes=True)


def _objects(name, split, frame_size, num_frames, noise, num_sequences, num_test_sequences, epoch, seed, by_stripes):
    least = {
        "frame_size": (frame_size, 16),
        "num_frames": (num_frames, 2),
        "noise": (noise, 0.0),
        "num_sequences": (num_sequences, 1),
        "num_test_sequences": (num_test_sequences, 1),
    }
    check_options(name, split, least)

    def draw(pair):
        return draw_block(pair, frame_size, num_frames, noise, by_stripes)

    return generated(name, split, draw, num_sequences, num_test_sequences, epoch, seed)


def feature(*, frame_size: int = 48, num_frames: int = 12, stream: str = "video", **_) -> FeatureSpec:
    """The spec of `video` or `flow`."""
    if stream not in ("video", "flow"):
        raise InputError(f"Clips of moving_objects are seen as video or flow. Received: stream={stream!r}")
    shape = num_frames, frame_size, frame_size
    if stream == "flow":
        return FeatureSpec("flow", "float32", (*shape, 2), (-FASTEST, FASTEST), "px/frame")
    return FeatureSpec("video", "uint8", (*shape, 1), (0.0, 255.0), "grey level")


def draw_block(seed, frame_size, num_frames, noise, by_stripes=False):
    """`BLOCK` clips from one seed: `video`, `flow`, `boxes` and `label`, the stripes or the direction of motion."""
    pixel = frame_size / 48
    seeds = iter(tf.unstack(tf.random.experimental.stateless_split(seed, 14 if not by_stripes else 16)))

    def uniform(low, high, *shape, dtype=tf.float32):
        return tf.random.stateless_uniform([BLOCK, *shape], next(seeds), low, high, dtype)

    # Where objects are: (BLOCK, OBJECTS) and (row, column)
    direction = uniform(0, len(CLASSES), OBJECTS, dtype=tf.int64)
    slowest = min(pixel, frame_size / 4 / (num_frames - 1), FASTEST / 2)
    velocity = tf.gather(tf.constant(DIRECTIONS), direction) * uniform(slowest, 2 * slowest, OBJECTS, 1)
    smallest = 4.5 if by_stripes else 3.5
    size, kind = uniform(smallest * pixel, 6 * pixel, OBJECTS), uniform(0, 3, OBJECTS, dtype=tf.int32)
    reach = (size * tf.gather(tf.constant([1.0, 1.0, math.sqrt(2.0)]), kind))[..., None]
    way = velocity * (num_frames - 1)
    low, high = reach - 0.5 - tf.minimum(way, 0.0), frame_size - 0.5 - reach - tf.maximum(way, 0.0)
    start = low + (high - low) * uniform(0.0, 1.0, OBJECTS, 2)
    still = start[:, 1:] + way[:, 1:] * uniform(0.0, 1.0, OBJECTS - 1, 1)
    time = tf.range(num_frames, dtype=tf.float32)
    moving = start[:, :1] + velocity[:, :1] * time[:, None]  # (BLOCK, frames, (row, column))

    # What they look like
    looks = [size, kind, uniform(0.6, 0.88, OBJECTS), uniform(0.0, math.pi, OBJECTS)]
    looks += [uniform(6 * pixel, 9 * pixel, OBJECTS), uniform(0.0, 2 * math.pi, OBJECTS)]
    label, contrast = direction[:, 0], 0.12
    if by_stripes:
        first, others = (
            uniform(0, len(STRIPES), 1, dtype=tf.int64),
            uniform(1, len(STRIPES), OBJECTS - 1, dtype=tf.int64),
        )
        stripes = tf.concat([first, (first + others) % len(STRIPES)], axis=1)
        looks[3] = tf.gather(tf.constant([0.0, math.pi / 2, math.pi / 4]), stripes)
        looks[4] *= 0.6
        label, contrast = first[:, 0], 0.3
    scene = tf.image.resize(uniform(0.1, 0.5, CELLS, CELLS, 1), [frame_size] * 2)[..., 0]
    present = tf.range(OBJECTS - 1) < uniform(1, OBJECTS, 1, dtype=tf.int32)
    covers, grey = _painted(still, [look[:, 1:] for look in looks], contrast, frame_size)
    covers *= tf.cast(present, tf.float32)[..., None, None]
    for n in range(OBJECTS - 1):
        scene += covers[:, n] * (grey[:, n] - scene)
    covers, grey = _painted(moving, [look[:, :1] for look in looks], contrast, frame_size)
    video = scene[:, None] + covers * (grey - scene[:, None])
    if noise:
        video += noise * tf.random.stateless_normal(tf.shape(video), next(seeds))
    inside = covers >= 0.5
    boxes = tf.concat([_extent(tf.reduce_any(inside, axis)) for axis in (3, 2)], axis=-1)
    flow = tf.where(inside[..., None], velocity[:, 0, None, None, None, ::-1], 0.0)
    return {
        "video": tf.cast(tf.round(255.0 * tf.clip_by_value(video, 0.0, 1.0)), tf.uint8)[..., None],
        "flow": tf.concat([flow[:, :-1], flow[:, -2:-1]], axis=1),
        "boxes": tf.gather(boxes, [0, 2, 1, 3], axis=-1),
        "label": label,
    }


def _painted(centre, looks, contrast, frame_size):
    """How much objects cover of every pixel, and how bright they are there, both (BLOCK, N, rows, columns).

    centre: (BLOCK, N, (row, column)); looks: size, kind, grey value, direction, length and phase of the stripes, each
    (BLOCK, N or 1). Edges are one pixel soft; a pixel whose centre is inside is covered by half or more.
    """
    size, kind, grey, angle, length, phase = (look[..., None, None] for look in looks)
    grid = tf.range(frame_size, dtype=tf.float32)
    rows, columns = grid[:, None] - centre[..., 0, None, None], grid - centre[..., 1, None, None]
    stripes = tf.sin(2 * math.pi / length * (rows * tf.sin(angle) + columns * tf.cos(angle)) + phase)
    high, wide = tf.abs(rows), tf.abs(columns)
    disc, square, diamond = tf.sqrt(rows**2 + columns**2), tf.maximum(high, wide), (high + wide) / math.sqrt(2.0)
    distance = tf.where(kind == 0, disc, tf.where(kind == 1, square, diamond))
    return tf.clip_by_value(size - distance + 0.5, 0.0, 1.0), grey + contrast * stripes


def _extent(inside):
    """First index of True along the last axis and the one after the last, float32 (..., 2)."""
    inside = tf.cast(inside, tf.int32)
    first, beyond = tf.argmax(inside, -1), tf.shape(inside, tf.int64)[-1] - tf.argmax(inside[..., ::-1], -1)
    return tf.cast(tf.stack([first, beyond], axis=-1), tf.float32)
