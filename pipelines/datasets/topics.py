"""Topics: features of videos, frame by frame, and several labels a video. Stands in for YouTube-8M, and needs no file.

Every class has a direction of its own in each stream, a vector of -1 and 1. Frames are noise; `carrier` says where it
shows which classes a video has:

    both        its classes' directions are added to `rgb` and to `audio` in a run of frames
    rgb, audio  in that stream alone
    order       every class, of the video or not, shows two directions in `rgb`, in one frame each: of the video's
                classes the first direction comes first, of all others the second. No set of frames tells them apart.
"""

from typing import Literal, get_args

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError
from pipelines.datasets.generated import BLOCK, check_options, generated

Carrier = Literal["both", "rgb", "audio", "order"]
Level = Literal["frame", "video"]
SHARE = 0.2  # of the classes that a video has, beside one that it has in any case
AMPLITUDE, IN_ORDER = {"rgb": 0.3, "audio": 0.6}, 1.5  # of a direction in frames whose noise has a deviation of 1
LIMIT = 2.0  # numbers are cut to -2..2, as those of YouTube-8M


def topics(
    split: str,
    *,
    level: Level = "frame",
    carrier: Carrier = "both",
    classes: int = 10,
    max_frames: int = 30,
    rgb_size: int = 64,
    audio_size: int = 16,
    num_sequences: int = 2000,
    num_test_sequences: int = 500,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Features of frames and the labels of a video, in the form of `youtube8m`.

    Args:
        split: "train", "validation" or "test".
        level: "frame", or "video": the means over a video's frames.
        carrier: what tells a video's classes: "both", "rgb", "audio" or "order".
        classes: one, and on average a fifth of the others, are those of a video.
        max_frames: frames of an element; a video has half as many or more, zeros follow.
        rgb_size: numbers a frame of `rgb`.
        audio_size: numbers a frame of `audio`.
        num_sequences: training videos in an epoch.
        num_test_sequences: videos of the validation and of the test split.
        epoch: of training (int or scalar tensor); every epoch has new videos.
        seed: of the training and validation videos. The test set and the directions are the same for every seed.

    Returns:
        `tf.data.Dataset` of dicts, `id` string and `label` int64 (classes,), 1 for the video's classes, otherwise 0:
        frame: `rgb` float32 (max_frames, rgb_size), `audio` float32 (max_frames, audio_size), `length` int32.
        video: `mean_rgb` float32 (rgb_size,), `mean_audio` float32 (audio_size,).

    Raises: InputError: unknown split, level or carrier, sizes out of range.
    """
    for name, value, known in (("level", level, get_args(Level)), ("carrier", carrier, get_args(Carrier))):
        if value not in known:
            raise InputError.unknown(name, value, known)
    numbers = {"classes": classes, "rgb_size": rgb_size, "audio_size": audio_size}
    numbers |= {"num_sequences": num_sequences, "num_test_sequences": num_test_sequences}
    least = {"max_frames": (max_frames, 4), **{name: (value, 1) for name, value in numbers.items()}}
    check_options("topics", split, least)
    rng, sizes = np.random.default_rng(0), {"rgb": rgb_size, "audio": audio_size}
    directions = {name: rng.choice([-1.0, 1.0], (2, classes, size)).astype("float32") for name, size in sizes.items()}

    def draw(pair):
        videos = draw_block(pair, directions, max_frames, carrier)
        if level == "frame":
            return videos
        steps = tf.cast(videos["length"], tf.float32)[:, None]
        means = {f"mean_{name}": tf.reduce_sum(videos[name], 1) / steps for name in sizes}
        return {**means, "label": videos["label"]}

    return generated("topics", split, draw, num_sequences, num_test_sequences, epoch, seed)


def draw_block(pair, directions, max_frames, carrier):
    """`BLOCK` videos from one seed pair; directions: by stream, (2, classes, D)."""
    seeds = iter(tf.unstack(tf.random.experimental.stateless_split(pair, 8)))
    classes, steps = directions["rgb"].shape[1], tf.range(max_frames)

    def uniform(*shape):
        return tf.random.stateless_uniform([BLOCK, *shape], next(seeds))

    length = max_frames // 2 + tf.cast(uniform() * (max_frames - max_frames // 2 + 1), tf.int32)
    inside = steps < length[:, None]  # (BLOCK, frames)
    label = (uniform(classes) < SHARE) | (tf.range(classes) == tf.cast(uniform(1) * classes, tf.int32))
    if carrier == "order":
        # the two frames of a class: the highest two of random numbers, in time
        places = tf.where(inside[:, None], uniform(classes, max_frames), -1.0)
        places = tf.sort(tf.math.top_k(places, 2).indices, axis=-1)  # (BLOCK, classes, 2)
        places = tf.where(label[..., None], places, places[..., ::-1])
        shown = {
            "rgb": tf.cast(places[..., None] == steps, tf.float32)
        }  # of each direction: (BLOCK, classes, 2, frames)
    else:
        # a run of a quarter to all of a video's frames
        run = (0.25 + 0.75 * uniform(classes)) * tf.cast(length, tf.float32)[:, None]
        start = uniform(classes) * (tf.cast(length, tf.float32)[:, None] - run)
        time = tf.cast(steps, tf.float32) + 0.5
        under_way = label[..., None] & (time >= start[..., None]) & (time <= (start + run)[..., None])
        first = tf.cast(under_way, tf.float32)[:, :, None]
        shown = {name: first for name in directions if carrier in ("both", name)}
    streams = {}
    for name, vectors in directions.items():
        values = tf.random.stateless_normal([BLOCK, max_frames, vectors.shape[-1]], next(seeds))
        if name in shown:
            vectors = tf.transpose(vectors, [1, 0, 2])[:, : shown[name].shape[2]]
            amplitude = IN_ORDER if carrier == "order" else AMPLITUDE[name]
            values += amplitude * tf.einsum("bkst,ksd->btd", shown[name], vectors)
        streams[name] = tf.where(inside[..., None], tf.clip_by_value(values, -LIMIT, LIMIT), 0.0)
    return {**streams, "length": length, "label": tf.cast(label, tf.int64)}
