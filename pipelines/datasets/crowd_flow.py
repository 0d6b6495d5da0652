"""City flow grids: how many people or vehicles enter, leave or start in every cell of a city, slot by slot.

A file holds `flow` (slots, rows, columns, channels), non-negative numbers, and `time` datetime64 (slots), the start of
each slot, without gaps (.npz; BikeNYC, TaxiNYC or TaxiBJ in this form).

Protocol: the TaxiBJ one of the literature (J. Zhang, Y. Zheng, D. Qi, AAAI 2017; 4 slots in, 4 out). Windows of
consecutive slots at every slot; values divided by the largest of the training part; a split in time, first 70 %
training, next 10 % validation, last 20 % test (the literature's TaxiBJ keeps its last four weeks for the test), so
that no window reaches across two parts.
"""

import pathlib
import zipfile

import numpy as np
import tensorflow as tf

from keras_st.specs import FeatureSpec, InputError
from pipelines.sampling import epoch_key, shuffled

PARTS = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0)}


def crowd_flow(
    split: str,
    *,
    root: str = "",
    file: str = "nyc_bike_2014.npz",
    num_frames: int = 8,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Windows of a series of city flow grids.

    Args:
        split: "train", "validation" or "test", parts of the series in this order.
        root: folder of the file.
        file: name of the .npz file.
        num_frames: slots in a window.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training windows.

    Returns:
        `tf.data.Dataset` of dicts: `video` float32 (num_frames, rows, columns, channels) in counts a slot, `id` string
        (file and start of the window). `feature` has its range: 0 to the largest count of the training part.

    Raises:
        InputError: unknown split; a file that is missing, cut short, of other content, with gaps in time, negative or
        not finite; a part shorter than a window.
    """
    flow, time = read_flow(root, file)
    flow, time = (_part(split, values) for values in (flow, time))
    count = len(flow) - num_frames + 1
    if num_frames < 1 or count < 1:
        raise InputError(
            f"A window must fit into the {len(flow)} slots of the {split} part of {file}. "
            f"Received: num_frames={num_frames}"
        )
    names = [f"{pathlib.Path(file).stem}/{start}" for start in time[:count].astype("datetime64[m]")]
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        flow, names = tf.constant(flow), tf.constant(names)
    starts = tf.range(count)
    if split == "train" and shuffle:
        starts = shuffled(starts, epoch_key(seed, epoch))

    def window(start):
        return {
            "video": tf.ensure_shape(flow[start : start + num_frames], (num_frames, *flow.shape[1:])),
            "id": names[start],
        }

    return tf.data.Dataset.from_tensor_slices(starts).map(window, num_parallel_calls=tf.data.AUTOTUNE)


def feature(*, root: str = "", file: str = "nyc_bike_2014.npz", num_frames: int = 8, **_) -> FeatureSpec:
    """The spec of `video`: counts a slot from 0 to the largest of the training part."""
    flow = _part("train", read_flow(root, file)[0])
    shape = (num_frames, *flow.shape[1:])
    return FeatureSpec("video", "float32", shape, (0.0, float(max(flow.max(), 1))), "counts a slot")


def read_flow(root, file):
    """`flow` float32 (slots, rows, columns, channels) and `time` of a file, checked."""
    path = pathlib.Path(root, file)
    if not root or not path.is_file():
        raise InputError(f"crowd_flow needs {file} in `root`. Received: root={root!r}")
    try:
        with np.load(path, allow_pickle=False) as stored:
            flow, time = stored["flow"], stored["time"].astype("datetime64[s]")
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must be a whole .npz with `flow` and `time`. Received: {error}") from error
    if flow.ndim != 4 or 0 in flow.shape or len(time) != len(flow) or flow.dtype.kind not in "uif":
        raise InputError(
            f"{path} must hold numbers `flow` (slots, rows, columns, channels) and a `time` for each slot. "
            f"Received: flow {flow.dtype} {flow.shape}, time {time.shape}"
        )
    flow = flow.astype("float32")
    if not (np.isfinite(flow).all() and (flow >= 0).all()):
        raise InputError(f"{path} must hold finite counts, none below 0. Received: lowest {flow.min()}")
    gaps = np.unique(np.diff(time))
    if len(gaps) > 1 or (gaps <= np.timedelta64(0)).any():
        raise InputError(f"{path} must be one series of equal slots, without gaps. Received: steps of {list(gaps)}")
    return flow, time


def _part(split, values):
    if split not in PARTS:
        raise InputError(f"`split` of crowd_flow must be one of {tuple(PARTS)}. Received: split={split!r}")
    first, last = PARTS[split]
    return values[round(first * len(values)) : round(last * len(values))]
