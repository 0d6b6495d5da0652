"""Showers that drift together, grow and fade: rain without a file, in place of `radar` where there is none.

Every sequence has `SHOWERS` Gaussian cells; all move by one velocity, each by a little of its own, and in each sequence
all swell and fade together, in 6 to 12 frames. Nothing is missing. For trials and tests: scores say nothing of real
rain.
"""

import math

import tensorflow as tf

from keras_st.specs import FeatureSpec
from pipelines.datasets.generated import BLOCK, check_options, generated

SHOWERS = 12
FAINTEST = 0.1  # mm/h; below it is dry


def showers(
    split: str,
    *,
    frame_size: int = 64,
    num_frames: int = 24,
    num_sequences: int = 200,
    num_test_sequences: int = 50,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Sequences of fields of showers, which move 0 to 2 pixels a frame.

    Args:
        split: "train", "validation" or "test".
        frame_size: height and width in pixels, 16 or more.
        num_frames: fields in a sequence.
        num_sequences: training sequences in an epoch.
        num_test_sequences: sequences of the validation and of the test split.
        epoch: of training (int or scalar tensor); every epoch has new sequences.
        seed: of the training and validation sequences. The test set is the same for every seed.

    Returns: `tf.data.Dataset` of dicts: `video` float32 (num_frames, frame_size, frame_size, 1) in mm/h, `id` string.

    Raises: InputError: unknown split, sizes out of range.
    """
    least = {
        "frame_size": (frame_size, 16),
        "num_frames": (num_frames, 1),
        "num_sequences": (num_sequences, 1),
        "num_test_sequences": (num_test_sequences, 1),
    }
    check_options("showers", split, least)

    def draw(pair):
        return {"video": draw_block(pair, frame_size, num_frames)}

    return generated("showers", split, draw, num_sequences, num_test_sequences, epoch, seed)


def feature(*, frame_size: int = 64, num_frames: int = 24, **_) -> FeatureSpec:
    """The spec of `video`."""
    return FeatureSpec("video", "float32", (num_frames, frame_size, frame_size, 1), None, "mm/h", missing=True)


def draw_block(pair, frame_size, num_frames):
    """`BLOCK` sequences from one seed, float32 (BLOCK, num_frames, frame_size, frame_size, 1)."""
    seeds = iter(tf.unstack(tf.random.experimental.stateless_split(pair, 8)))

    def uniform(low, high, *shape):
        return tf.random.stateless_uniform([BLOCK, *shape], next(seeds), low, high)

    time = tf.range(num_frames, dtype=tf.float32)[:, None, None]
    velocity = uniform(-2.0, 2.0, 1, 1, 2) + uniform(-0.2, 0.2, 1, SHOWERS, 2)  # pixels a frame, (row, column)
    middle = uniform(0.0, frame_size, 1, SHOWERS, 2) + velocity * (time - num_frames / 2)
    width, peak = uniform(2.0, 5.0, 1, SHOWERS), uniform(2.0, 20.0, 1, SHOWERS)
    turns = uniform(0.0, 1.0, 1, 1) + uniform(1 / 12, 1 / 6, 1, 1) * time[..., 0]
    rate = peak * (0.5 + 0.45 * tf.sin(2 * math.pi * turns))
    pixels = tf.range(frame_size, dtype=tf.float32)
    # a Gaussian is the product of one of rows and one of columns: (BLOCK, T, SHOWERS, 2, frame_size)
    profile = tf.exp(-(((pixels - middle[..., None]) / width[..., None, None]) ** 2) / 2)
    fields = tf.einsum("btns,btny,btnx->btyx", rate[..., None], profile[..., 0, :], profile[..., 1, :])
    return tf.where(fields < FAINTEST, 0.0, fields)[..., None]
