"""KTH: six actions of 25 persons in four scenes (C. Schuldt, I. Laptev, B. Caputo, ICPR 2004), 599 videos.

At https://www.csc.kth.se/cvap/actions/: six zip files, grey, 160x120, 25 frames a second. `kth_listing` expects
`person<NN>_<action>_d<1..4>_uncomp.avi` anywhere below its folder, and reads the official `00sequences.txt` in it where
it is asked to: the frames of the (mostly four) times that the action is shown in each video, 2,391 in all. No licence
is known; research use, to be cited.

Recognition, as `00sequences.txt` states it: training persons 11 to 18 (191 videos, 760 sequences), validation 19 to 21,
23 to 25, 1 and 4 (192, 768), test 22, 2, 3 and 5 to 10 (216, 863).

Forecasting, `kth`: persons 1 to 16 train, 17 to 25 test. Frames are to be resized to 128x128 and written as shards, a
record a clip, with `pipelines.records.write_shards`: `train` and `validation` of persons 1 to 16, `test` of persons 17
to 25; `id` begins with `person<NN>_<action>`. The protocol of the released E3D-LSTM code: 10 frames in, 20 out; clips
of boxing, hand clapping, hand waving and walking do not overlap, those of jogging and running start every 3 frames.
"""

import pathlib
import re
from typing import Literal

import tensorflow as tf

from keras_st.specs import InputError
from pipelines.listing import Listing, Video, check_range, find_files, read_lines, wrong_line
from pipelines.records import read_dataset

CLASSES = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
PERSONS = {"train": range(1, 17), "validation": range(1, 17), "test": range(17, 26)}
RECOGNITION = {
    "train": range(11, 19),
    "validation": (19, 20, 21, 23, 24, 25, 1, 4),
    "test": (22, 2, 3, 5, 6, 7, 8, 9, 10),
}
FRAMES_PER_SECOND = 25
NAME = rf"person(0[1-9]|1\d|2[0-5])_({'|'.join(CLASSES)})_d[1-4]"


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


def kth_listing(
    root: str,
    *,
    protocol: Literal["recognition", "forecast"] = "recognition",
    sequences: bool = False,
    validation_persons: int = 2,
) -> Listing:
    """The videos of KTH, or the sequences in them.

    Args:
        root: folder of the videos.
        protocol: which persons are in which split, see above.
        sequences: a video is one sequence of `00sequences.txt`, named `person<NN>_<action>_d<N>/<first>-<last frame>`;
            files of its videos that are not there are listed nevertheless. False: whole videos.
        validation_persons: of "forecast" only: the last so many of persons 1 to 16 are for validation. 0: all are for
            training, as in publications.

    Raises:
        InputError: a video of another name; without `00sequences.txt` where it is asked for; naming its line, one of
            another form.
    """
    if protocol not in ("recognition", "forecast"):
        raise InputError(f'`protocol` of kth is "recognition" or "forecast". Received: protocol={protocol!r}')
    check_range("validation_persons", validation_persons, 0, 15)
    persons = RECOGNITION
    if protocol == "forecast":
        last = 16 - validation_persons
        persons = {"train": range(1, last + 1), "validation": range(last + 1, 17), "test": PERSONS["test"]}
    paths = {}
    for path in find_files(root)[0]:
        name = path.stem.removesuffix("_uncomp")
        if not re.fullmatch(NAME, name) or name in paths:
            raise InputError(f"Videos of KTH are person<NN>_<action>_d<1..4>_uncomp.avi, each once. Received: {path}")
        paths[name] = path
    parts = _sequences(pathlib.Path(root, "00sequences.txt")) if sequences else dict.fromkeys(sorted(paths), (None,))
    splits: dict[str, list[Video]] = {split: [] for split, numbers in persons.items() if numbers}
    for name, ranges in parts.items():
        person, action, _ = name.split("_")
        (split,) = (split for split, numbers in persons.items() if int(person[6:]) in numbers)
        path = str(paths.get(name) or pathlib.Path(root, f"{name}_uncomp.avi"))
        for frames in ranges:
            label, video_id, span = CLASSES.index(action), name, None
            if frames:
                video_id = f"{name}/{frames[0]}-{frames[1]}"
                span = ((frames[0] - 1) / FRAMES_PER_SECOND, frames[1] / FRAMES_PER_SECOND)
            splits[split].append(Video(path, video_id, label, span))
    return Listing(splits, CLASSES)


def _sequences(path):
    """Video -> `(first, last)` frames of its sequences, counted from 1; words above the table are passed over."""
    sequences = {}
    for number, line in read_lines(path):
        if not re.match(r"person\d\d_", line):
            continue
        found = re.fullmatch(rf"({NAME})\s+(?:frames\s+(\d+-\d+(?:,\s*\d+-\d+)*)|\*missing\*)", line)
        ranges = re.findall(r"(\d+)-(\d+)", found[4] or "") if found else [(0, 0)]
        frames = tuple((int(first), int(last)) for first, last in ranges)
        if any(not 1 <= first < last for first, last in frames):
            raise wrong_line(path, number, "`person<NN>_<action>_d<N> frames <first>-<last>, ...`", line)
        sequences[found[1]] = frames
    if not sequences:
        raise InputError(f"{path} must list the sequences of videos. Received: none")
    return sequences
