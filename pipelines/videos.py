"""Decoding of video files, and videos held in memory."""

import pathlib

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError

WHOLE = 0.9  # share of the frames a header states; intact files may hold one or two fewer


def decode(path, size=None):
    """Frames uint8 (T, H, W, 3) of the first video stream of a file, RGB; `size` (height, width) resizes them.

    Raises InputError, naming the file, where it is missing, not a video, or holds fewer than nine tenths of the frames
    its header states; and where PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise InputError('Decoding needs PyAV: pip install "keras_st[video]". Received: no module av') from error
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"{path} must be a video file. Received: no such file")
    height, width = size or (None, None)
    frames, stated = [], 0
    try:
        with av.open(str(path)) as container:
            stated = container.streams.video[0].frames  # as its header says; 0 where it does not
            for frame in container.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA"))
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise InputError(f"{path} is not a whole video. Received: {type(error).__name__}: {error}") from error
    if not frames:
        raise InputError(f"{path} holds no frame. Received: an empty video")
    if len(frames) < WHOLE * stated:
        raise InputError(f"{path} breaks off: its header says {stated} frames. Received: {len(frames)} of them")
    return np.stack(frames)


def in_memory(videos, labels, ids, *, shuffle, epoch, seed):
    """`tf.data.Dataset` of dicts `video` (T, H, W, C), `label` int64, `id` string of arrays with frames of one size.

    videos: list of arrays; labels: ints; ids: strings. With `shuffle` every epoch has another order.
    """
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        frames = tf.constant(np.concatenate(videos))
        ends = np.cumsum([len(video) for video in videos])
        spans = tf.constant(np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1))
        labels, ids = tf.constant(labels, tf.int64), tf.constant(ids)
    order = tf.range(len(videos))
    if shuffle:
        key = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
        order = tf.random.experimental.stateless_shuffle(order, key)

    def element(n):
        video = tf.ensure_shape(frames[spans[n, 0] : spans[n, 1]], (None, *frames.shape[1:]))
        return {"video": video, "label": labels[n], "id": ids[n]}

    return tf.data.Dataset.from_tensor_slices(order).map(element, num_parallel_calls=tf.data.AUTOTUNE)
