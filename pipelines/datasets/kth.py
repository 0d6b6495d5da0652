"""KTH actions as clips to forecast: persons 1 to 16 train, 17 to 25 test (Schuldt et al., ICPR 2004).

The videos are at https://www.csc.kth.se/cvap/actions/ (six zip files, 25 persons, grey, 160x120, 25 frames a second).
Frames are to be resized to 128x128 and written as shards, a record a clip, with `pipelines.records.write_shards`:
`train` and `validation` of persons 1 to 16, `test` of persons 17 to 25; `id` begins with `person<NN>_<action>`.
The protocol of the released E3D-LSTM code: 10 frames in, 20 out; clips of boxing, hand clapping, hand waving and
walking do not overlap, those of jogging and running start every 3 frames.
"""

import re

import tensorflow as tf

from keras_st.specs import InputError
from pipelines.records import read_dataset

PERSONS = {"train": range(1, 17), "validation": range(1, 17), "test": range(17, 26)}


def kth(
    split: str,
    *,
    root: str = "",
    min_frames: int = 1,
    verify: bool = True,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Clips of KTH from shards in `root`; arguments and errors as `pipelines.records.read_dataset`.

    Args:
        split: "train", "validation" or "test".
        root: folder that `write_shards` made.
        min_frames: frames that every clip must have at least.
        verify: read every shard through once before use; also checks that every clip's person belongs to the split.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split.

    Raises: InputError: also an unknown split, and clips of a person of another split.
    """
    if split not in PERSONS:
        raise InputError(f"`split` of kth must be one of {tuple(PERSONS)}. Received: split={split!r}")
    clips = read_dataset(
        split, root=root, min_frames=min_frames, verify=verify, epoch=epoch, seed=seed, shuffle=shuffle
    )
    if verify and tf.executing_eagerly():
        for clip in clips.as_numpy_iterator():
            name = clip["id"].decode(errors="replace")
            person = re.match(r"person(\d\d)_", name)
            if person is None or int(person[1]) not in PERSONS[split]:
                first, last = PERSONS[split][0], PERSONS[split][-1]
                raise InputError(
                    f"Clips of the {split} split are of persons {first} to {last}, `id` person<NN>_<action>. "
                    f"Received: id={name!r} in {root}"
                )
    return clips
