"""Overlapping actions: five kinds of events that begin and end on their own, several at once. For labels of frames.

| class | what happens |
|---|---|
| right, left | a disc moves that way; the frame wraps around |
| grow, shrink | the outline of a square does that |
| blink | a diamond is there for two frames, away for two, and so on |

Place, size, speed, brightness and length of an event say nothing about its class. No single frame tells right from
left or grow from shrink, and a clip played backwards is as likely a clip in which these change places; in a frame in
which a diamond is away, only its neighbours tell that it blinks.
"""

import math

import tensorflow as tf

from pipelines.datasets.generated import BLOCK, check_options, generated

CLASSES = ("right", "left", "grow", "shrink", "blink")
LASTING = (6, 14)  # frames of an event
APART = (8, 32)  # frames between two events of a class
BEFORE = 60  # the first event of a class begins so many frames before the clip, or fewer
BLINK = 2  # frames that a diamond is there, and away


def overlapping_actions(
    split: str,
    *,
    frame_size: int = 16,
    num_frames: int = 40,
    noise: float = 0.0,
    num_sequences: int = 1000,
    num_test_sequences: int = 200,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Clips of events that overlap, labelled frame by frame.

    Args:
        split: "train", "validation" or "test".
        frame_size: height and width in pixels. Discs have a radius of 1.5/16 to 2.5/16 of it and move 1/16 to 2/16 of
            it a frame, squares reach 1/16 to 6/16 of it from their centre, diamonds 2/16 to 3/16.
        num_frames: frames in a clip. Events last 6 to 14 frames, 8 to 32 pass to the next of its class; those under way
            at an end of the clip are cut.
        noise: standard deviation of Gaussian noise on the grey values, 0..1 of the range.
        num_sequences: training clips in an epoch.
        num_test_sequences: clips of the validation and of the test split.
        epoch: of training (int or scalar tensor); every epoch has new clips.
        seed: of the training and validation clips. The test set is the same for every seed.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 (num_frames, frame_size, frame_size, 1), `label` int64 (num_frames,
        5), 1 for each of `CLASSES` that is under way (a third of the frames each), `id` string.

    Raises:
        InputError: unknown split, sizes out of range.
    """
    least = {
        "frame_size": (frame_size, 12),
        "num_frames": (num_frames, 1),
        "noise": (noise, 0.0),
        "num_sequences": (num_sequences, 1),
        "num_test_sequences": (num_test_sequences, 1),
    }
    check_options("overlapping_actions", split, least)
    return generated(
        "overlapping_actions",
        split,
        lambda pair: draw_block(pair, frame_size, num_frames, noise),
        num_sequences,
        num_test_sequences,
        epoch,
        seed,
    )


def draw_block(seed, frame_size, num_frames, noise):
    """`BLOCK` clips from one seed: `video` and `label`."""
    pixel, events = frame_size / 16, math.ceil((num_frames + BEFORE) / (LASTING[0] + APART[0])) + 1
    seeds = iter(tf.unstack(tf.random.experimental.stateless_split(seed, 9)))

    def uniform(low, high, *shape, dtype=tf.float32):
        return tf.random.stateless_uniform([BLOCK, len(CLASSES), *shape], next(seeds), low, high, dtype)

    # When events are: (BLOCK, classes, events), and of those the one that is under way: (BLOCK, classes, frames)
    lasting = uniform(LASTING[0], LASTING[1] + 1, events, dtype=tf.int32)
    apart = uniform(APART[0], APART[1] + 1, events, dtype=tf.int32)
    end = tf.cumsum(apart + lasting, axis=-1) - uniform(0, BEFORE + 1, 1, dtype=tf.int32)
    elapsed = tf.range(num_frames)[:, None] - (end - lasting)[..., None, :]
    chosen = tf.cast((elapsed >= 0) & (elapsed < lasting[..., None, :]), tf.float32)

    def of_chosen(values):
        return tf.reduce_sum(chosen * tf.cast(values, tf.float32), axis=-1)

    active, elapsed, lasting = of_chosen(1), of_chosen(elapsed), of_chosen(lasting[..., None, :])

    # What they look like
    row, column, extent, speed, grey = (
        of_chosen(uniform(low, high, 1, events))
        for low, high in ((0, frame_size), (0, frame_size), (0, 1), (pixel, 2 * pixel), (0.6, 1))
    )
    share = elapsed / tf.maximum(lasting - 1, 1)
    column += tf.constant([1.0, -1.0, 0.0, 0.0, 0.0])[:, None] * speed * elapsed
    grid = tf.range(frame_size, dtype=tf.float32)
    half = frame_size / 2
    rows, columns = (  # the frame wraps around
        tf.abs(tf.math.floormod(grid - centre[..., None] + half, frame_size) - half) for centre in (row, column)
    )
    rows, columns, extent, share = (
        rows[..., :, None],
        columns[..., None, :],
        extent[..., None, None],
        share[..., None, None],
    )
    disc = (1.5 + extent[:, :2]) * pixel - tf.sqrt(rows[:, :2] ** 2 + columns[:, :2] ** 2) + 0.5
    reach = (1 + 5 * tf.concat([share[:, 2:3], 1 - share[:, 3:4]], axis=1)) * pixel
    square = 1 - tf.abs(tf.maximum(rows[:, 2:4], columns[:, 2:4]) - reach)
    diamond = ((2 + extent[:, 4:]) * pixel - rows[:, 4:] - columns[:, 4:]) / math.sqrt(2.0) + 0.5
    diamond = tf.where((elapsed[:, 4:] % (2 * BLINK) < BLINK)[..., None, None], diamond, 0.0)
    covers = tf.clip_by_value(tf.concat([disc, square, diamond], axis=1), 0.0, 1.0)
    video = tf.reduce_max((active * grey)[..., None, None] * covers, axis=1)
    if noise:
        video += noise * tf.random.stateless_normal(tf.shape(video), next(seeds))
    video = tf.cast(tf.round(255.0 * tf.clip_by_value(video, 0.0, 1.0)), tf.uint8)[..., None]
    return {"video": video, "label": tf.cast(tf.transpose(active, [0, 2, 1]), tf.int64)}
