"""Features of UCF101 frames (K. Soomro et al., CRCV-TR-12-01): 14 classes, 25 frames a video, 256 numbers a frame.

VGG-16's first fully connected layer (K. Simonyan, A. Zisserman, ICLR 2015), as published by
github.com/tyagi-iiitv/UCF101_release, reduced to whitened principal components and 8 bits. Expected: `features.npz`
with `features` uint8 (video, 25, 256), of which `scale` and `offset` make numbers (code / 32 - 4), `label` (index in
`class_names`), `split` (0 train, 1 test: official split 1) and `video`, names. No licence is known; research use.

Videos of a UCF101 group show one scene, so a group is for training or for validation, never for both. The group is in a
name such as `v_Archery_g08_c01`; `v_000284` is the 284th of all videos in the order of those names.
"""

import itertools
import pathlib
import re
import zipfile

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError
from pipelines.listing import check_range, split_by_group
from pipelines.sampling import epoch_key, shuffled

SPLITS = ("train", "validation", "test")

# Number of the last video of a class, and the videos of its groups 8 to 25, which are those of training (trainlist01).
GROUPS = {
    "ApplyLipstick": (259, "444454455544557454"),
    "Archery": (404, "577747475474745767"),
    "BabyCrawling": (536, "465466466565747466"),
    "BalanceBeam": (644, "444445444644454544"),
    "BandMarching": (799, "777765677467665667"),
    "BaseballPitch": (949, "775547476775447777"),
    "Basketball": (1083, "455554576457767647"),
    "BasketballDunk": (1214, "555554776764644554"),
    "BenchPress": (1374, "774577765776747577"),
    "Biking": (1508, "646646455664775474"),
    "Billiards": (1658, "675777775577475467"),
    "BlowDryHair": (1789, "747764554554564744"),
    "BlowingCandles": (1898, "444464444444444446"),
    "BodyWeightSquats": (2010, "475444444444644457"),
}


def frame_features(
    split: str, *, root: str = "", validation: float = 0.1, epoch: int = 0, seed: int = 0, shuffle: bool = True
) -> tf.data.Dataset:
    """Features of the frames of UCF101 videos.

    Args:
        split: "train", "validation" or "test" (the file's own).
        root: folder of `features.npz`.
        validation: part of every class's training groups that is for validation, by a hash of their names.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split.

    Returns:
        `tf.data.Dataset` of dicts: `features` float32 (25, 256), `label` int64 (index in `classes`), `id` string.

    Raises:
        InputError: an unknown split, or one without videos; a file that is missing, cut short or of other content; a
            training video of no known group.
    """
    if split not in SPLITS:
        raise InputError(f"`split` of frame_features must be one of {SPLITS}. Received: split={split!r}")
    check_range("validation", validation, 0, 0.9)
    stored = read_features(root)
    rows = np.flatnonzero(stored["split"] == (split == "test"))
    if split != "test":
        parts = _parts(stored["video"][rows], stored["label"][rows], validation)
        rows = rows[np.array(parts, str) == split]
    if not len(rows):
        raise InputError(f"{_path(root)} must hold videos for {split}. Received: none (validation={validation})")
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        codes, scale, offset = (tf.constant(v) for v in (stored["features"][rows], stored["scale"], stored["offset"]))
        labels, names = tf.constant(stored["label"][rows].astype("int64")), tf.constant(stored["video"][rows])
    order = tf.range(len(rows))
    if split == "train" and shuffle:
        order = shuffled(order, epoch_key(seed, epoch))

    def element(n):
        return {"features": tf.cast(codes[n], tf.float32) * scale + offset, "label": labels[n], "id": names[n]}

    return tf.data.Dataset.from_tensor_slices(order).map(element, num_parallel_calls=tf.data.AUTOTUNE)


def classes(root=""):
    """Names of the classes in the file."""
    return tuple(map(str, read_features(root)["class_names"]))


def group_of(name):
    """The group of a training video: `Archery_g08`; None where it is not known."""
    if found := re.fullmatch(r"v_(\w+_g\d+)_c\d+", name):
        return found[1]
    number = int(name[2:]) if re.fullmatch(r"v_\d{6}", name) else 0
    for label, (last, sizes) in GROUPS.items():
        ends = itertools.accumulate(map(int, sizes), initial=last - sum(map(int, sizes)))
        for group, (before, end) in enumerate(itertools.pairwise(ends), start=8):
            if before < number <= end:
                return f"{label}_g{group:02d}"
    return None


def _parts(names, labels, validation):
    """The split of every training video, "train" or "validation"; a group is in one of them."""
    groups = [group_of(str(name)) for name in names]
    if None in groups:
        raise InputError(
            "Training videos are named v_<Class>_g<NN>_c<NN>, or numbered as in UCF101 split 1. "
            f"Received: {names[groups.index(None)]}"
        )
    return split_by_group(list(zip(labels.tolist(), groups)), {"train": 1 - validation, "validation": validation})


def _path(root):
    return pathlib.Path(root, "features.npz")


def read_features(root):
    """The arrays of `features.npz`, checked."""
    path = _path(root)
    if not root or not path.is_file():
        raise InputError(f"frame_features needs features.npz in `root`. Received: root={root!r}")
    names = ("features", "label", "split", "video", "class_names", "scale", "offset")
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in names}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must be a whole .npz with {', '.join(names)}. Received: {error}") from error
    features, label = stored["features"], stored["label"]
    if features.dtype != np.uint8 or features.ndim != 3 or 0 in features.shape:
        raise InputError(
            f"{path} must hold `features` uint8 (video, frame, number). Received: {features.dtype} {features.shape}"
        )
    for name, kinds in (("label", "iu"), ("split", "iu"), ("video", "U")):
        if stored[name].shape != (len(features),) or stored[name].dtype.kind not in kinds:
            raise InputError(
                f"{path} must hold a `{name}` for each of {len(features)} videos. "
                f"Received: {stored[name].dtype} {stored[name].shape}"
            )
    count = len(stored["class_names"]) if stored["class_names"].ndim == 1 else 0
    if label.min() < 0 or label.max() >= count or not set(stored["split"].tolist()) <= {0, 1}:
        raise InputError(
            f"{path} must hold labels of its {count} `class_names`, splits 0 and 1. "
            f"Received: labels {label.min()} to {label.max()}, splits {sorted(set(stored['split'].tolist()))}"
        )
    if len(set(stored["video"].tolist())) < len(features):
        raise InputError(f"{path} must hold every video once. Received: a name twice")
    for name in ("scale", "offset"):
        if stored[name].shape != () or not np.isfinite(stored[name]):
            raise InputError(f"`{name}` of {path} must be a number. Received: {stored[name]}")
        stored[name] = stored[name].astype("float32")
    return stored
