"""Videos in HDF5 files larger than memory, read in the graph by tensorflow-io (extra `io`).

A file a split, `<root>/<split>.h5` or `.hdf5`, in one of two forms:

| | `video`, uint8 | `length`, integer |
|---|---|---|
| grey videos of one length | (N, T, H, W) | - |
| frames of all videos, one video after another | (sum of T, H, W, C) | (N,), frames of each |

and where videos are labelled `label` (N,) or (N, K), integers. tensorflow-io 0.37.1 aborts the process on arrays of
more than four axes, so (N, T, H, W, C) is refused here; `pipelines.datasets.array` holds those in memory. It also
aborts on a file that is missing or damaged: h5py, which Keras brings, opens every file first and reads all but the
frames. It keeps a file open under its path until the process ends: another version needs another path. A file of
another file system (`pipelines.remote`) is fetched into memory whole.
"""

import contextlib

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError
from pipelines import remote
from pipelines.sampling import check_process, epoch_key, shuffled

SUFFIXES = (".h5", ".hdf5")


def hdf5(
    split: str,
    *,
    root: str = "",
    min_frames: int = 1,
    process: int = 0,
    processes: int = 1,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Videos of an HDF5 file, each read when its turn comes.

    Args:
        split: name of the file.
        root: its folder.
        min_frames: frames that every video must have at least.
        process: which of `processes` this is; each reads its own part of the split, together they read it once.
        processes: how many read.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 (T, H, W, C), `id` string (file and number in it), and `label` int64
        () or (K,) where there are labels. The same arguments give the same elements in the same order.

    Raises:
        InputError: no tensorflow-io; a file that is missing, damaged or of other content; videos that are too short.
            Frames that cannot be decompressed raise `tf.errors.InvalidArgumentError` while reading.
    """
    check_process(process, processes)
    path = _file(root, split)
    starts, stops, shape, label = _described(path)
    shortest = shape[0] if shape[0] > 0 else min(stops - starts)
    if shortest < min_frames:
        raise InputError(f"Videos of {path} must hold at least {min_frames} frames. Received: {shortest}")
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        stored = _opened(path)
        starts, stops = tf.constant(starts), tf.constant(stops)
        label = None if label is None else tf.constant(label)
    order = tf.range(len(starts))
    if split == "train" and shuffle:
        order = shuffled(order, epoch_key(seed, epoch))

    def element(n):
        clip = {"video": tf.reshape(stored[starts[n] : stops[n]], shape)}
        clip["id"] = tf.strings.join([f"{_name(path)}/", tf.strings.as_string(n)])
        return clip if label is None else {**clip, "label": label[n]}

    return tf.data.Dataset.from_tensor_slices(order[process::processes]).map(element, tf.data.AUTOTUNE)


def _file(root, split):
    """The path of a split's file, readable by `tf.io.gfile`."""
    try:
        remote.prepare_path(root)
        remote.require_tensorflow_io()
    except InputError as error:
        raise InputError(f"{root}: {error}") from error
    paths = [f"{root.rstrip('/')}/{split}{suffix}" for suffix in SUFFIXES]
    found = [path for path in paths if root and tf.io.gfile.exists(path)]
    if not found:
        raise InputError(f"`root` must hold {split} ({', '.join(SUFFIXES)}). Received: root={root!r}")
    return found[0]


def _name(path):
    return path.rsplit("/", 1)[-1]


def _described(path):
    """`(starts, stops, shape, label)`: which rows of `video` are a video, its shape (T or -1, H, W, C), its label."""
    import h5py

    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(tf.io.gfile.GFile(path, "rb")) if remote.is_remote(path) else path
            stored = stack.enter_context(h5py.File(file, "r"))
            if lost := [name for name in stored if stored.get(name) is None]:
                raise ValueError(f"{lost[0]} leads nowhere")
            video = stored["video"]
            dtype, size = video.dtype, video.shape
            length, label = (np.asarray(stored[name]) if name in stored else None for name in ("length", "label"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise InputError(f"{path} must be a whole HDF5 file that holds `video`. Received: {error}") from error
    if dtype != np.uint8 or len(size) != 4 or 0 in size:
        raise InputError(
            f"`video` of {path} must be uint8 (N, T, H, W), or (frames, H, W, C) beside `length`; "
            f"data set `array` holds five axes in memory. Received: {dtype} {size}"
        )
    if length is None:
        stops, shape = np.arange(1, size[0] + 1), (*size[1:], 1)
    else:
        if length.dtype.kind not in "iu" or length.ndim != 1 or min(length, default=0) < 1 or sum(length) != size[0]:
            raise InputError(f"`length` of {path} must be frames of each video, in all {size[0]}. Received: {length}")
        stops, shape = np.cumsum(length), (-1, *size[1:])
    if label is not None and (label.dtype.kind not in "iu" or label.ndim not in (1, 2) or len(label) != len(stops)):
        raise InputError(
            f"`label` of {path} must be an integer, or (K,), for each of {len(stops)} videos. "
            f"Received: {label.dtype} {label.shape}"
        )
    starts = np.concatenate([[0], stops[:-1]])
    return starts.astype("int64"), stops.astype("int64"), shape, None if label is None else label.astype("int64")


def _opened(path):
    """The rows of `video`, read when they are sliced."""
    try:
        return remote.require_tensorflow_io().IOTensor.from_hdf5(path)("/video")
    except tf.errors.OpError as error:
        raise InputError(f"{path} cannot be read. Received: {error.message.splitlines()[0]}") from error
