"""Thermal actions: a far-infrared array of 24x32 pixels on the ceiling (H. Zhang, FIR-Image-Action-Dataset, 2020).

Files: a recording each (.npz), `temp` int16 (time, 24, 32) in hundredths of a degree Celsius, 8 frames a second, and
labelled intervals `interval_start`, `interval_end` (exclusive, in frames), `interval_label` (index in `CLASSES`, also
as text). Split by recording.

`thermal`: a video is an interval; of the training recordings every fifth interval is for validation.
`thermal_frames`: a video is a window of a recording, with labels of its frames; every fifth is for validation.
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
    intervals = _of_split("thermal", split, root, read_intervals)
    return in_memory(*intervals, shuffle=split == "train" and shuffle, epoch=epoch, seed=seed)


def thermal_frames(
    split: str, *, root: str = "", window_frames: int = 200, epoch: int = 0, seed: int = 0, shuffle: bool = True
) -> tf.data.Dataset:
    """Windows of thermal recordings with the actions of every frame, several at once where intervals overlap.

    Args:
        split: "train", "validation" or "test".
        root: folder of the .npz files.
        window_frames: frames of a window; windows follow one another, the last of a recording holds the rest of it.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split.

    Returns:
        `tf.data.Dataset` of dicts: `video` float32 (T, 24, 32, 1) in degrees Celsius, `label` int64 (T, 10), 1 for the
        actions (in the order of `CLASSES`) whose intervals cover a frame, -1 throughout where none does: that is not
        labelled; `id` string (recording, first and last frame). Windows without a labelled frame are left out.

    Raises:
        InputError: as `thermal`; windows shorter than a frame.
    """
    if window_frames < 1:
        raise InputError(f"`window_frames` must be at least 1. Received: window_frames={window_frames}")
    windows = _of_split("thermal_frames", split, root, lambda path: read_windows(path, window_frames))
    return in_memory(*windows, shuffle=split == "train" and shuffle, epoch=epoch, seed=seed)


def _of_split(name, split, root, read):
    """`(videos, labels, ids)` of a split; `read` gives those of a recording one by one."""
    if split not in ("train", "validation", "test"):
        raise InputError(f'`split` of {name} must be "train", "validation" or "test". Received: split={split!r}')
    paths = sorted(pathlib.Path(root).glob("*.npz")) if root else []
    paths = [path for path in paths if path.name.startswith(TEST) == (split == "test")]
    if not paths:
        raise InputError(f"`root` must hold the .npz recordings of the {split} split. Received: root={root!r}")
    parts = [part for path in paths for part in read(path)]
    if split != "test":
        parts = [p for n, p in enumerate(parts) if (n % HELD_OUT == HELD_OUT - 1) == (split == "validation")]
    if not parts:
        raise InputError(f"The recordings of {split} must hold labelled intervals. Received: too few in {root}")
    return zip(*parts)


def feature(**_) -> FeatureSpec:
    """The spec of `video`: degrees Celsius."""
    return FeatureSpec("video", "float32", (None, 24, 32, 1), RANGE, "degrees Celsius")


def read_intervals(path):
    """`(video, label, id)` of the labelled intervals of a recording."""
    video, intervals = read_recording(path)
    return [(video[start:end], label, f"{path.stem}/{start}-{end}") for start, end, label in intervals]


def read_windows(path, window_frames):
    """`(video, label (T, 10), id)` of the windows of a recording that hold a labelled frame."""
    video, intervals = read_recording(path)
    label = np.zeros((len(video), len(CLASSES)), "int64")
    for start, end, action in intervals:
        label[start:end, action] = 1
    label[~label.any(1)] = -1
    parts = [slice(n, min(n + window_frames, len(video))) for n in range(0, len(video), window_frames)]
    return [(video[p], label[p], f"{path.stem}/{p.start}-{p.stop}") for p in parts if (label[p] >= 0).any()]


def read_recording(path):
    """`video` float32 (T, 24, 32, 1) in degrees Celsius and its intervals `(start, end, label)`, checked."""
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
    intervals = [(int(start), int(end), int(label)) for start, end, label in zip(starts, ends, labels)]
    for start, end, label in intervals:
        if not (0 <= start < end <= len(video) and 0 <= label < len(CLASSES)):
            raise InputError(
                f"Intervals of {path} must lie in its {len(video)} frames, labels in 0..{len(CLASSES) - 1}. "
                f"Received: {start} to {end}, label {label}"
            )
    return video, intervals
