"""Which videos come in what order, and which of their frames make a clip: functions in the tf.data graph."""

import tensorflow as tf

from keras_st.specs import InputError


def epoch_key(seed, epoch):
    """What decides the order of an epoch, int64 (2,); both may be tensors."""
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])


def shuffled(x, key):
    """A permutation that is a function of `key` alone (a shuffle buffer's seed cannot be a tensor everywhere)."""
    return tf.random.experimental.stateless_shuffle(x, key)


def check_process(process, processes):
    """Raises InputError unless `process` is one of `processes`, counted from 0."""
    if not 0 <= process < processes:
        raise InputError(
            f"`process` counts from 0 to processes - 1. Received: process={process}, processes={processes}"
        )


def random_clip(length, frames, stride, seed, short="loop"):
    """Indices (frames,) of a clip that starts anywhere in a video of `length` frames; `seed` int64 (2,) decides.

    short: videos shorter than the clip start over ("loop") or repeat their "last" frame.
    """
    last = tf.maximum(length - _reach(frames, stride), 0)
    start = tf.random.stateless_uniform([], seed, 0, last + 1, tf.int32)
    return _inside(start + stride * tf.range(frames), length, short)


def spread_clips(length, frames, stride, clips, placement="centre", short="loop"):
    """Indices (clips, frames) of clips spread evenly over a video of `length` frames.

    placement: "centre": clip n starts in the middle of the n-th of equal segments of all the places where a clip can
    start; "ends": the first clip starts with the video, the last ends with it (one clip: in the middle). Starts are
    rounded half to even.
    short: videos shorter than the clip start over ("loop") or repeat their "last" frame.
    """
    reach, n = _reach(frames, stride), tf.range(clips, dtype=tf.float32)
    room = tf.cast(tf.maximum(length - reach, 0), tf.float32)
    if placement == "centre" or clips == 1:
        starts = tf.clip_by_value((n + 0.5) * (room + 1) / clips - 0.5, 0.0, room)
    else:
        starts = n * room / (clips - 1)
    starts = tf.cast(tf.round(starts), tf.int32)
    return _inside(starts[:, None] + stride * tf.range(frames), length, short)


def _inside(places, length, short):
    return places % length if short == "loop" else tf.minimum(places, length - 1)


def _reach(frames, stride):
    """Frames from the first to the last of a clip, both counted."""
    return (frames - 1) * stride + 1
