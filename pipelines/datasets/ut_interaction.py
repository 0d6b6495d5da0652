"""UT-Interaction: six interactions of two people (M. S. Ryoo, J. K. Aggarwal, SDHA contest at ICPR 2010).

The segmented videos, `set1/*.avi` and `set2/*.avi`, names `<number>_<sequence>_<class>.avi`; research use, to be cited,
people are recognisable. Set 1 (sequences 1 to 10) is a parking lot, set 2 (11 to 20) a windy lawn.

Split by sequence: test 10, 15, 18, 19; validation 9, 20; training the rest. (The literature leaves one sequence out
at a time within each set; a single split is quicker and its numbers are not comparable with those.)
"""

import functools
import pathlib
import re

import tensorflow as tf

from keras_st.specs import InputError
from pipelines.listing import Listing, Video, check_range
from pipelines.videos import decode, in_memory

CLASSES = ("handshake", "hug", "kick", "point", "punch", "push")
SEQUENCES = {"validation": (9, 20), "test": (10, 15, 18, 19)}
SEQUENCES["train"] = tuple(n for n in range(1, 21) if n not in SEQUENCES["validation"] + SEQUENCES["test"])


def ut_interaction(
    split: str,
    *,
    root: str = "",
    frame_size: tuple[int, int] = (64, 64),
    frame_step: int = 1,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """The videos of a split, decoded once (needs the extra `video`) and held in memory.

    Args:
        split: "train", "validation" or "test".
        root: folder that holds set1 and set2.
        frame_size: height and width that frames are brought to while decoding. Proportions are not kept: videos are cut
            to the people, each to another size.
        frame_step: every so manyth frame is kept (30 frames a second).
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 (T, *frame_size, 3) RGB, T from 52 to 183, `label` int64 (index in
        `CLASSES`), `id` string (the file's path in `root`).

    Raises:
        InputError: an unknown split; a folder without videos of it; a name that is not of the form above; a file
            that is not a whole video.
    """
    if split not in SEQUENCES:
        raise InputError(f"`split` of ut_interaction must be one of {tuple(SEQUENCES)}. Received: split={split!r}")
    if min(frame_size) < 1 or frame_step < 1:
        raise InputError(
            f"Sizes and steps are positive. Received: frame_size={tuple(frame_size)}, frame_step={frame_step}"
        )
    files = list_videos(root)
    chosen = [(name, label) for name, sequence, label in files if sequence in SEQUENCES[split]]
    if not chosen:
        raise InputError(f"{root} must hold videos of sequences {SEQUENCES[split]} ({split}). Received: none of them")
    folder = str(pathlib.Path(root).resolve())
    videos = [_decoded(folder, name, tuple(frame_size))[::frame_step] for name, _ in chosen]
    names, labels = zip(*chosen)
    return in_memory(videos, labels, names, shuffle=split == "train" and shuffle, epoch=epoch, seed=seed)


def list_videos(root):
    """`(path in root, sequence, label)` of every video, in order of number within each set."""
    folder = pathlib.Path(root)
    paths = [path for part in ("set1", "set2") for path in (folder / part).glob("*.avi")]
    if not root or not paths:
        raise InputError(f"`root` must hold set1/*.avi and set2/*.avi. Received: root={root!r}")
    files = []
    for path in paths:
        found = re.fullmatch(r"(\d+)_(\d+)_(\d+)", path.stem)
        if found is None or not 1 <= int(found[2]) <= 20 or int(found[3]) >= len(CLASSES):
            raise InputError(
                f"Names are <number>_<sequence 1..20>_<class 0..{len(CLASSES) - 1}>.avi. Received: {path.name}"
            )
        files.append((path.parent.name, int(found[1]), path.name, int(found[2]), int(found[3])))
    return [(f"{part}/{name}", sequence, label) for part, _, name, sequence, label in sorted(files)]


def ut_interaction_listing(root: str, *, leave_out: int = 0) -> Listing:
    """The videos of UT-Interaction.

    Args:
        root: folder that holds set1 and set2.
        leave_out: 0: the split of this module. 1 to 20: that sequence is the test and the nine others of its set are
            for training, as in publications; there is no validation split then.

    Raises:
        InputError: a folder without videos; a name that is not of the form above.
    """
    check_range("leave_out", leave_out, 0, 20)
    sequences = {split: SEQUENCES[split] for split in ("train", "validation", "test")}
    if leave_out:
        of_set = range(1, 11) if leave_out <= 10 else range(11, 21)
        sequences = {"train": tuple(n for n in of_set if n != leave_out), "test": (leave_out,)}
    files = list_videos(root)
    splits = {
        split: [Video(str(pathlib.Path(root, name)), name, label) for name, number, label in files if number in numbers]
        for split, numbers in sequences.items()
    }
    return Listing(splits, CLASSES)


@functools.lru_cache(maxsize=1000)
def _decoded(folder, name, size):
    return decode(pathlib.Path(folder, name), size)
