"""Sports-1M: 1,133,158 YouTube videos of 487 sports (A. Karpathy et al., CVPR 2014), labelled automatically.

The lists are at https://github.com/gtoderici/sports-1m-dataset (with their licence); the videos are YouTube's users',
many are gone. Expected: `labels.txt` (a name a line), `original/train_partition.txt` and
`original/test_partition.txt` (lines `<URL> <label>[,<label>...]`, unpacked, also directly in the folder), and
`videos/**/<YouTube id>.<suffix>`. Labels are taken to count the lines of `labels.txt` from 0; the released description
does not say so.

A video has one label or several. There is no validation list: it is cut off the training list.
"""

import pathlib
import re

from keras_st.specs import InputError
from pipelines.listing import Listing, Video, hold_out, locate, read_lines, wrong_line


def sports1m_listing(root: str, *, validation: float = 0.1) -> Listing:
    """The official split of Sports-1M.

    Args:
        root: folder of the lists and of `videos`.
        validation: part of the training videos that is for validation, chosen by a hash of their ids.

    Raises:
        InputError: a list that is missing or, naming the line, of another form.
    """
    folder = pathlib.Path(root)
    classes = tuple(name for _, name in read_lines(folder / "labels.txt"))
    path_of = locate(folder / "videos")
    lists = folder / "original" if (folder / "original").is_dir() else folder
    train, test = (_read(lists / f"{name}_partition.txt", path_of, len(classes)) for name in ("train", "test"))
    if both := {video.id for video in train} & {video.id for video in test}:
        raise InputError(f"A video of {lists} is in one partition. Received in both: {min(both)}")
    return Listing({**hold_out(train, lambda video: video.id, validation), "test": test}, classes)


def _read(path, path_of, count):
    """The videos of a partition; what several lines say of a video is joined."""
    labels: dict[str, set[int]] = {}
    for number, line in read_lines(path):
        found = re.fullmatch(r"\S+[?&]v=([\w-]+)\S*\s+(\d+(?:,\d+)*)", line)
        known = {int(label) for label in found[2].split(",")} if found else {count}
        if found is None or max(known) >= count:
            raise wrong_line(path, number, f"`<URL with v=id> <labels 0..{count - 1}, with commas>`", line)
        labels.setdefault(found[1], set()).update(known)
    return [Video(path_of(name), name, tuple(sorted(known))) for name, known in labels.items()]
