"""Moving shapes: one shape a clip, whose class is how it moves. For early recognition, and for tests of classifiers.

Four classes are straight (right, left, up, down), two are circles (clockwise, counterclockwise as seen on the screen).
Shape, size, speed and starting point say nothing about the class, and the frame wraps around, so that no single frame
tells it; a short piece of a circle looks like a line.
"""

import math

import tensorflow as tf

from keras_st.specs import FeatureSpec, InputError
from pipelines.datasets.generated import BLOCK, check_options, generated

CLASSES = ("right", "left", "up", "down", "clockwise", "counterclockwise")
DIRECTIONS = ((0.0, 1.0), (0.0, -1.0), (-1.0, 0.0), (1.0, 0.0), (0.0, 0.0), (0.0, 0.0))  # (row, column) a frame
TURNS = (0.0, 0.0, 0.0, 0.0, 1.0, -1.0)


def moving_shapes(
    split: str,
    *,
    frame_size: int = 32,
    num_frames: int = 20,
    speed: tuple[float, float] = (2.0, 4.0),
    noise: float = 0.0,
    flow: bool = False,
    num_sequences: int = 1000,
    num_test_sequences: int = 500,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Clips of one moving shape (disc, square or diamond), labelled by its motion.

    Args:
        split: "train", "validation" or "test".
        frame_size: height and width in pixels. Shapes reach 3/32 to 6/32 of it from their centre; circles have a radius
            of 5/32 to 8/32 of it. Edges are one pixel soft.
        num_frames: frames in a clip.
        speed: least and greatest, in 1/32 of `frame_size` a frame, below 16: half a frame a frame goes both ways.
        noise: standard deviation of Gaussian noise on the grey values, 0..1 of the range.
        flow: also give the flow.
        num_sequences: training clips in an epoch.
        num_test_sequences: clips of the validation and of the test split.
        epoch: of training (int or scalar tensor); every epoch has new clips.
        seed: of the training and validation clips. The test set is the same for every seed.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 (num_frames, frame_size, frame_size, 1), `label` int64 (index in
        `CLASSES`, all equally likely), `id` string; with `flow` also `flow` float32 (num_frames, frame_size,
        frame_size, 2), u to the right, v down in px/frame to the next frame: the motion of the shape's centre on its
        pixels, 0 elsewhere; the last field is that of the frame before.

    Raises:
        InputError: unknown split, sizes out of range.
    """
    options = frame_size, num_frames, speed, noise, flow, num_sequences, num_test_sequences
    return _shapes("moving_shapes", CLASSES, split, *options, epoch, seed)


def left_right(
    split: str,
    *,
    frame_size: int = 32,
    num_frames: int = 20,
    speed: tuple[float, float] = (2.0, 4.0),
    noise: float = 0.0,
    flow: bool = False,
    num_sequences: int = 1000,
    num_test_sequences: int = 500,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """The order task: shapes that move right or left at a constant speed; options of `moving_shapes`.

    A clip played backwards is as likely a clip of the other class, so a model that is blind to the order of frames
    stays at chance. Pairs of frames go on moving, so that a network that sees only the larger of frames 2k and 2k+1 has
    something to see: give it 16 frames or more.

    Returns: as `moving_shapes`, `label` 0 (right) or 1 (left).
    """
    options = frame_size, num_frames, speed, noise, flow, num_sequences, num_test_sequences
    return _shapes("left_right", CLASSES[:2], split, *options, epoch, seed)


def feature(*, frame_size: int = 32, num_frames: int = 20, stream: str = "video", **_) -> FeatureSpec:
    """The spec of `video` or, of clips made with it, `flow`."""
    shape = num_frames, frame_size, frame_size
    if stream == "flow":  # no shape moves half a frame in a frame
        return FeatureSpec("flow", "float32", (*shape, 2), (-frame_size / 2, frame_size / 2), "px/frame")
    return FeatureSpec("video", "uint8", (*shape, 1), (0.0, 255.0), "grey level")


def _shapes(name, classes, split, *options):
    """Clips of the first classes, as many as `classes`."""
    frame_size, num_frames, speed, noise, flow, num_sequences, num_test_sequences, epoch, seed = options
    least = {
        "frame_size": (frame_size, 8),
        "num_frames": (num_frames, 1),
        "noise": (noise, 0.0),
        "num_sequences": (num_sequences, 1),
        "num_test_sequences": (num_test_sequences, 1),
    }
    check_options(name, split, least)
    if not 0 < speed[0] <= speed[1] < 16:
        raise InputError(f"`speed` of {name} must rise, above 0 and below 16. Received: speed={tuple(speed)}")
    return generated(
        name,
        split,
        lambda pair: draw_block(pair, frame_size, num_frames, speed, noise, flow, len(classes)),
        num_sequences,
        num_test_sequences,
        epoch,
        seed,
    )


def draw_block(seed, frame_size, num_frames, speed, noise, flow, motions):
    """`BLOCK` clips from one seed: `video`, `label` and, if asked for, `flow`."""
    pixel = frame_size / 32
    seeds = iter(tf.unstack(tf.random.experimental.stateless_split(seed, 8)))

    def uniform(low, high, *shape):
        return tf.random.stateless_uniform([BLOCK, *shape], next(seeds), low, high)

    label = tf.random.stateless_uniform([BLOCK], next(seeds), 0, motions, tf.int64)
    start, speed = uniform(0.0, frame_size, 2), uniform(speed[0] * pixel, speed[1] * pixel, 1)
    radius, phase = uniform(5 * pixel, 8 * pixel, 1), uniform(0.0, 2 * math.pi, 1)
    size, kind = uniform(3 * pixel, 6 * pixel), tf.random.stateless_uniform([BLOCK], next(seeds), 0, 3, tf.int32)
    time = tf.range(num_frames, dtype=tf.float32)
    turn = tf.gather(tf.constant(TURNS), label)[:, None]
    angle = phase + turn * speed / radius * time  # rows point down: a growing angle turns clockwise on the screen
    circle = radius[..., None] * tf.stack([tf.sin(angle), tf.cos(angle)], axis=-1)
    straight = tf.gather(tf.constant(DIRECTIONS), label)[:, None] * speed[..., None] * time[:, None]
    centre = start[:, None] + straight + tf.abs(turn)[..., None] * circle  # (BLOCK, frames, (row, column))
    grid = tf.range(frame_size, dtype=tf.float32)
    half = frame_size / 2
    away = tf.abs(tf.math.floormod(grid - centre[..., None] + half, frame_size) - half)  # the frame wraps around
    rows, columns = away[:, :, 0, :, None], away[:, :, 1, None, :]
    shapes = [tf.sqrt(rows**2 + columns**2), tf.maximum(rows, columns), (rows + columns) / math.sqrt(2.0)]
    distance = tf.gather(tf.stack(shapes, axis=1), kind, batch_dims=1)
    grey = tf.clip_by_value(size[:, None, None, None] - distance + 0.5, 0.0, 1.0)
    if noise:
        grey += noise * tf.random.stateless_normal(tf.shape(grey), next(seeds))
    video = tf.cast(tf.round(255.0 * tf.clip_by_value(grey, 0.0, 1.0)), tf.uint8)[..., None]
    clips = {"video": video, "label": label}
    if flow:
        velocity = centre[:, 1:] - centre[:, :-1]
        velocity = tf.concat([velocity, velocity[:, -1:]], axis=1)[..., ::-1]  # (u, v)
        fields = tf.where(grey[..., None] >= 0.5, velocity[:, :, None, None], 0.0)
        clips["flow"] = tf.concat([fields[:, :-1], fields[:, -2:-1]], axis=1)
    return clips
