"""Videos in an array file: .npy, .npz or HDF5 (.h5, .hdf5), held in memory.

Either a file a split, `<root>/<split>.npz` (or another of these suffixes), or one file, `root` itself, that is split
here. A file holds `video` (N, T, H, W) or (N, T, H, W, C), uint8 or floating, and where videos are labelled `label`
(N,) or (N, K), integers; a .npy file holds the videos alone. A .npy file is mapped, so that only the videos of a split
are read; pickled objects are never loaded.

`mnist_test_seq.npy` of Moving MNIST (N. Srivastava, E. Mansimov, R. Salakhutdinov, ICML 2015, at
https://www.cs.toronto.edu/~nitish/unsupervised_video/) is a test set (T, N, H, W): `time_first`, `fractions=[0,0,1]`.
"""

import contextlib
import dataclasses
import functools
import pathlib
import zipfile

import numpy as np
import tensorflow as tf

from keras_st.specs import VIDEO, FeatureSpec, InputError
from pipelines.listing import Listing, Video, check_fractions, split_by_group
from pipelines.sampling import epoch_key, shuffled
from pipelines.videos import Frame

SPLITS = ("train", "validation", "test")
SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")


def array(
    split: str,
    *,
    root: str = "",
    videos: str = "video",
    labels: str = "label",
    time_first: bool = False,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    value_range: tuple[float, float] = (0.0, 1.0),
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Videos of an array file.

    Args:
        split: "train", "validation" or "test".
        root: folder of a file for each split, or the one file.
        videos: name of the videos in a .npz or HDF5 file.
        labels: name of the labels in it; files without them are videos without labels. Empty: not read.
        time_first: the first two axes are (T, N) instead of (N, T).
        fractions: parts of the one file for train, validation and test, of every class where each video has one label
            (`pipelines.listing.split_by_group`, by a hash of the videos' numbers).
        value_range: smallest and largest value that floating videos may hold; what a model sees as 0 and 1.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 or float32 (T, H, W, C), `id` string (file and number in it), and
        `label` int64 () or (K,) where there are labels.

    Raises:
        InputError: an unknown split; a file that is missing, damaged or of other content; a split without videos;
            values outside `value_range`.
    """
    if split not in SPLITS:
        raise InputError(f"`split` of array must be one of {SPLITS}. Received: split={split!r}")
    check_fractions(fractions)
    path = _file(root, split)
    with _opened(path, videos, labels) as (stored, classes):
        stored = _in_order(stored, time_first, path)
        rows = _rows(split, path, len(stored), classes, fractions, whole=pathlib.Path(root).is_dir())
        frames = np.asarray(stored[rows])
    if frames.dtype != np.uint8:
        frames = frames.astype("float32")
        low, high = value_range
        if not ((frames >= low) & (frames <= high)).all():
            raise InputError(
                f"Values of {path} lie in value_range=({low}, {high}). Received: {frames.min()} to {frames.max()}"
            )
    if frames.ndim == 4:
        frames = frames[..., None]
    elements = {"video": frames, "id": np.array([f"{path.name}/{row}" for row in rows])}
    if classes is not None:
        elements["label"] = classes[rows].astype("int64")
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        elements = {name: tf.constant(values) for name, values in elements.items()}
    order = tf.range(len(rows))
    if split == "train" and shuffle:
        order = shuffled(order, epoch_key(seed, epoch))

    def element(n):
        return {name: values[n] for name, values in elements.items()}

    return tf.data.Dataset.from_tensor_slices(order).map(element, num_parallel_calls=tf.data.AUTOTUNE)


def feature(
    *,
    root: str = "",
    videos: str = "video",
    time_first: bool = False,
    value_range: tuple[float, float] = (0.0, 1.0),
    **_,
) -> FeatureSpec:
    """The spec of `video`: grey levels of uint8, else values in `value_range`."""
    path = next((path for split in SPLITS if (path := _file(root, split, found=False))), None) or _file(root, "train")
    with _opened(path, videos, "") as (stored, _):
        stored = _in_order(stored, time_first, path)
        shape = (*stored.shape[1:], *([1] if stored.ndim == 4 else []))
        if stored.dtype == np.uint8:
            return dataclasses.replace(VIDEO, shape=shape)
    return FeatureSpec("video", "float32", shape, value_range)


def array_listing(
    path: str, *, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), videos: str = "video", labels: str = "label"
) -> Listing:
    """The videos of one file of uint8 arrays, for `pipelines.prepare`.

    Args:
        path: .npy, .npz, .h5 or .hdf5 file of videos (N, T, H, W) or (N, T, H, W, C).
        fractions: parts of every class for train, validation and test.
        videos: name of the videos in the file.
        labels: name of the labels (N,) in the file, where it holds any.

    Raises: InputError: a file that is damaged or of other content.
    """
    check_fractions(fractions)
    file = pathlib.Path(path)
    with _opened(file, videos, labels) as (stored, classes):
        count = len(_in_order(stored, False, file))
    if classes is not None and (classes.shape != (count,) or classes.dtype.kind not in "ui" or classes.min() < 0):
        raise InputError(f"{file} must hold a label from 0 up for each of {count} videos. Received: {classes.shape}")
    names = None if classes is None else tuple(str(n) for n in range(int(classes.max()) + 1))
    splits = {}
    for split in SPLITS:
        rows = _rows(split, file, count, classes, fractions, False) if fractions[SPLITS.index(split)] else ()
        label = (lambda row: None) if classes is None else (lambda row: int(classes[row]))
        splits[split] = [Video(str(file), f"{file.name}/{n}", label(n), array=(videos, int(n))) for n in rows]
    return Listing(splits, names)


def array_shape(video: Video):
    """(H, W, C) of the frames of a video in an array."""
    return next(frames_of_array(video)).image.shape


def frames_of_array(video: Video):
    """The frames of a video in an array, without times."""
    name, place = video.array or ("", 0)
    stored = _stored(video.path, name)
    if stored.dtype != np.uint8:
        raise InputError(f"Arrays that become records are uint8. Received: {video.path}: {stored.dtype}")
    for image in stored[place]:
        yield Frame(0.0, 0.0, np.ascontiguousarray(image if image.ndim == 3 else image[..., None]))


@functools.lru_cache(maxsize=1)
def _stored(path, name):
    with _opened(pathlib.Path(path), name, "") as (stored, _):
        return _in_order(stored, False, path)


def _file(root, split, found=True):
    """The file of a split; where there is none, None or, with `found`, an InputError."""
    path = pathlib.Path(root)
    if root and path.suffix.lower() in SUFFIXES and path.is_file():
        return path
    for suffix in SUFFIXES:
        if root and (path / (split + suffix)).is_file():
            return path / (split + suffix)
    if found:
        raise InputError(f"`root` must be a file, or hold {split} ({', '.join(SUFFIXES)}). Received: root={root!r}")
    return None


@contextlib.contextmanager
def _opened(path, videos, labels):
    """`(videos, labels or None)` of a file, arrays or HDF5 data sets, while it is open."""
    try:
        with contextlib.ExitStack() as stack:
            if path.suffix.lower() == ".npy":
                stored = {videos: np.load(path, mmap_mode="r", allow_pickle=False)}
            elif path.suffix.lower() == ".npz":
                stored = stack.enter_context(np.load(path, allow_pickle=False))
            else:
                import h5py

                stored = stack.enter_context(h5py.File(path, "r"))
            if videos not in stored:
                raise InputError(f"{path} holds {sorted(stored)}. Received: videos={videos!r}")
            found = stored[videos]
            if not hasattr(found, "dtype"):
                raise InputError(f"{videos} of {path} must be an array. Received: a group")
            yield np.asanyarray(found), np.asarray(stored[labels]) if labels and labels in stored else None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a whole file of arrays. Received: {error}") from error


def _in_order(stored, time_first, path):
    """The videos (N, T, H, W) or (N, T, H, W, C), checked."""
    if stored.ndim not in (4, 5) or 0 in stored.shape or not (stored.dtype == np.uint8 or stored.dtype.kind == "f"):
        raise InputError(
            f"{path} must hold videos (N, T, H, W) or (N, T, H, W, C), uint8 or floating. "
            f"Received: {stored.dtype} {stored.shape}"
        )
    return np.swapaxes(stored, 0, 1) if time_first else stored


def _rows(split, path, count, classes, fractions, whole):
    """Numbers of the videos of a split."""
    if classes is not None and (len(classes) != count or classes.ndim > 2 or classes.dtype.kind not in "ui"):
        raise InputError(
            f"{path} must hold an integer label, or (K,), for each of {count} videos. "
            f"Received: {classes.dtype} {classes.shape}"
        )
    if whole:
        return np.arange(count)
    labels = classes if classes is not None and classes.ndim == 1 else np.zeros(count, int)
    members = [(int(label), str(row)) for row, label in enumerate(labels)]
    splits = split_by_group(members, dict(zip(SPLITS, fractions)))
    rows = np.flatnonzero(np.array(splits) == split)
    if not len(rows):
        raise InputError(f"{path} must hold videos for {split}. Received: fractions={tuple(fractions)} of {count}")
    return rows
