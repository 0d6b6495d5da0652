"""Thermal actions: a far-infrared array of 24x32 pixels on the ceiling (H. Zhang, FIR-Image-Action-Dataset, 2020).

Files: a recording each (.npz), `temp` int16 (time, 24, 32) in hundredths of a degree Celsius, 8 frames a second, and
labelled intervals `interval_start`, `interval_end` (exclusive, in frames), `interval_label` (index in `CLASSES`, also
as text). A video is an interval. Split by recording; of the training recordings every fifth interval is for validation.
"""

import pathlib
import zipfile

import numpy as np
import tensorflow as tf

from keras_st.specs import FeatureSpec, InputError
from pipelines.videos import in_memory

CLASSES = ("walk", "stand", "sitdown", "sit", "lying", "sleeping", "standup", "falling", "falled", "active")
TEST = ("20200628_183032",)  # beginnings of the names of test recordings; all others are for training
HELD_OUT = 5
RANGE = (15.0, 40.0)  # degrees Celsius that a model sees as 0 and 1


def thermal(split: str, *, root: str = "", epoch: int = 0, seed: int = 0, shuffle: bool = True) -> tf.data.Dataset:
    """Labelled intervals of thermal recordings.

    Args:
        split: "train", "validation" or "test".
        root: folder of the .npz files.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split.

    Returns:
        `tf.data.Dataset` of dicts: `video` float32 (T, 24, 32, 1) in degrees Celsius, `label` int64 (index in
        `CLASSES`), `id` string (recording, first and last frame).

    Raises:
        InputError: an unknown split, no recording of it, a file that is cut short or of other content.
    """
    if split not in ("train", "validation", "test"):
        raise InputError(f'`split` of thermal must be "train", "validation" or "test". Received: split={split!r}')
    paths = sorted(pathlib.Path(root).glob("*.npz")) if root else []
    paths = [path for path in paths if path.name.startswith(TEST) == (split == "test")]
    if not paths:
        raise InputError(f"`root` must hold the .npz recordings of the {split} split. Received: root={root!r}")
    intervals = [interval for path in paths for interval in read_intervals(path)]
    if split != "test":
        intervals = [i for n, i in enumerate(intervals) if (n % HELD_OUT == HELD_OUT - 1) == (split == "validation")]
    if not intervals:
        raise InputError(f"The recordings of {split} must hold a labelled interval. Received: none in {root}")
    videos, labels, ids = zip(*intervals)
    return in_memory(videos, labels, ids, shuffle=split == "train" and shuffle, epoch=epoch, seed=seed)


def feature(**_) -> FeatureSpec:
    """The spec of `video`: degrees Celsius."""
    return FeatureSpec("video", "float32", (None, 24, 32, 1), RANGE, "degrees Celsius")


def read_intervals(path):
    """`(video, label, id)` of the labelled intervals of a recording, checked."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            temperature = stored["temp"]
            starts, ends, labels = (stored[f"interval_{name}"] for name in ("start", "end", "label"))
            labels = labels.astype(int)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must be a whole thermal recording. Received: {error}") from error
    if temperature.ndim != 3 or temperature.shape[1:] != (24, 32) or temperature.dtype.kind not in "ui":
        raise InputError(
            f"{path} must hold `temp` int16 (time, 24, 32). Received: {temperature.dtype} {temperature.shape}"
        )
    video = (temperature / np.float32(100.0)).astype("float32")[..., None]
    for start, end, label in zip(starts, ends, labels):
        if not (0 <= start < end <= len(video) and 0 <= label < len(CLASSES)):
            raise InputError(
                f"Intervals of {path} must lie in its {len(video)} frames, labels in 0..{len(CLASSES) - 1}. "
                f"Received: {start} to {end}, label {label}"
            )
        yield video[start:end], int(label), f"{path.stem}/{start}-{end}"
