"""Which videos a data set has: files, labels, splits. Nothing is decoded here, and files need not be there.

`pipelines.prepare` turns a listing into shards and says which of its files were missing or damaged.
"""

import collections
import dataclasses
import hashlib
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

from keras_st.specs import InputError

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")  # of video files, in any case


@dataclasses.dataclass(frozen=True)
class Video:
    """One video: a file, or a part of one.

    Args:
        path: of the file.
        id: unique in its data set; as a rule the path below the data set's folder, with "/".
        label: index of its class; several, in a tuple, where a video can have more than one; None without label.
        span: start and end in seconds (end exclusive) of the part that is meant; None: the whole file.
        array: name of an array in the file, and the video's place in it, where the file is no video but holds several.
        intervals: labels of its frames, `(start_seconds, end_seconds, class)` (end exclusive), of which several may
            hold at once; None where the label is the whole video's.
    """

    path: str
    id: str
    label: int | tuple[int, ...] | None = None
    span: tuple[float, float] | None = None
    array: tuple[str, int] | None = None
    intervals: tuple[tuple[float, float, int], ...] | None = None

    def __post_init__(self):
        if self.span is not None and not 0 <= self.span[0] < self.span[1]:
            raise InputError(f"The part of {self.id} must begin before it ends. Received: span={self.span}")
        if self.intervals is not None and self.label is not None:
            raise InputError(f"{self.id} has either a label or labelled intervals. Received: both")

    @property
    def label_kind(self):
        """What `label` is in an element: None, "one" (scalar), "many" ((K,), 0 or 1), "frames" ((T, K), 0 or 1)."""
        if self.intervals is not None:
            return "frames"
        if self.label is None:
            return None
        return "many" if isinstance(self.label, tuple) else "one"


@dataclasses.dataclass(frozen=True)
class Listing:
    """The videos of every split of a data set.

    Args:
        splits: name of a split ("train", "validation", "test") -> its videos.
        classes: their names in the order of the labels; None without labels.
        ignored: what was found and left out, for a user to see: files whose names are not those of videos, annotated
            parts without length.

    Raises:
        InputError: no video; an id twice; labels of several kinds; a label that is no class.
    """

    splits: Mapping[str, Sequence[Video]]
    classes: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()

    def __post_init__(self):
        seen: set[str] = set()
        for video in self.videos:
            if video.id in seen:
                raise InputError(f"Every video needs a name of its own. Received twice: {video.id}")
            seen.add(video.id)
            named = [c for _, _, c in video.intervals or ()]
            named += [video.label] if isinstance(video.label, int) else list(video.label or ())
            if any(not 0 <= label < len(self.classes or ()) for label in named):
                raise InputError(f"Labels of {video.id} lie in 0..{len(self.classes or ()) - 1}. Received: {named}")
        if not seen:
            raise InputError("A data set needs videos. Received: none")
        kinds = {video.label_kind for video in self.videos}
        if len(kinds) > 1:
            raise InputError(f"Videos of a data set are labelled alike. Received: {sorted(map(str, kinds))}")

    @property
    def videos(self):
        """The videos of all splits."""
        return [video for videos in self.splits.values() for video in videos]

    @property
    def label_kind(self):
        """`Video.label_kind` of its videos."""
        return self.videos[0].label_kind


# What functions that make listings share


def find_files(folder):
    """`(videos, others)`: paths of all files below a folder by their names, each sorted; hidden ones are passed over.

    Links are followed. Raises InputError where the folder, or one below it, cannot be read.
    """

    def refuse(error):
        raise InputError(f"{error.filename} must be a folder that can be read. Received: {error.strerror}") from error

    def leads_back(path):
        inside = os.path.realpath(os.path.dirname(path))
        return os.path.islink(path) and os.path.join(inside, "").startswith(os.path.join(os.path.realpath(path), ""))

    videos, others = [], []
    for path, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [n for n in folders if not n.startswith(".") and not leads_back(os.path.join(path, n))]
        for name in names:
            if not name.startswith("."):
                (videos if name.lower().endswith(SUFFIXES) else others).append(pathlib.Path(path, name))
    return sorted(videos), sorted(others)


def locate(folder):
    """A function of a name without suffix that gives the path of the video of that name, anywhere below `folder`.

    Where none is, it is that of an .mp4 file directly in it, which `pipelines.prepare` reports as missing.
    """
    found: dict[str, str] = {}
    for path in find_files(folder)[0]:
        found.setdefault(path.stem, str(path))
    return lambda name: found.get(name) or str(pathlib.Path(folder, f"{name}.mp4"))


def read_lines(path, comments=False):
    """`(number, line)` of the lines of a text file that are not blank, stripped; numbers count from 1.

    comments: lines that are "#", or begin with it and a blank, are left out.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be a text file that can be read. Received: {error}") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    return [(n, line) for n, line in lines if line and not (comments and line.split(maxsplit=1)[0] == "#")]


def wrong_line(path, number, form, line):
    """The InputError for a line of a file that is not of the `form`."""
    return InputError(f"Line {number} of {path} must be {form}. Received: {line!r}")


def read_numbered_classes(path):
    """Names of classes from a file of lines `<number> <name>`, numbered 1, 2, 3 ... (`classInd.txt` of UCF101)."""
    classes = []
    for number, line in read_lines(path):
        count, _, name = line.partition(" ")
        if count != str(len(classes) + 1) or not name.strip() or name.strip() in classes:
            raise wrong_line(path, number, f"`{len(classes) + 1} <a new name>`", line)
        classes.append(name.strip())
    if not classes:
        raise InputError(f"{path} must name the classes. Received: an empty file")
    return tuple(classes)


def check_range(name, value, least, most):
    """Raises InputError unless the option `name` lies in `least`..`most`."""
    if not least <= value <= most:
        raise InputError(f"`{name}` lies in {least}..{most}. Received: {name}={value}")


def check_fractions(fractions):
    """Raises InputError unless the parts for train, validation and test make a whole."""
    if min(fractions) < 0 or not math.isclose(sum(fractions), 1):
        raise InputError(f"`fractions` are three parts of 1. Received: fractions={tuple(fractions)}")


def split_by_group(members, fractions):
    """The split of every member, so that a group is in one split only and every class is in all of them.

    The classes are taken in order of the number of their groups, smallest first. The groups of a class that have no
    split yet, in the order of a hash of their names, go each to the split that this class is furthest from having its
    fraction of groups in, but first one to each split: the largest fraction first. So a class of three groups (that
    it shares with no other class) is in all of three splits, one of two in the two largest, one of one in the largest.
    The result is a function of the names, not of the order of the members.

    Args:
        members: `(class, group)` of every member.
        fractions: name of a split -> its part of a class's groups; 0: not used.
    """
    groups = collections.defaultdict(set)
    for label, group in members:
        groups[label].add(group)
    place: dict[str, str] = {}
    for label in sorted(groups, key=lambda label: (len(groups[label]), str(label))):
        count = {split: 0 for split, fraction in fractions.items() if fraction > 0}
        for group in groups[label] & place.keys():
            count[place[group]] += 1
        wanted = {split: fractions[split] * len(groups[label]) for split in count}
        for group in sorted(groups[label] - place.keys(), key=_hash):
            empty = [split for split in count if not count[split]]
            split = max(empty or count, key=lambda split: wanted[split] - count[split])
            place[group] = split
            count[split] += 1
    return [place[group] for _, group in members]


def hold_out(videos, group_of, fraction):
    """The splits of training videos: "train", and "validation" with a `fraction` of the groups of every class.

    group_of: function of a video; the videos of a group stay together. A fraction of 0: no validation split.
    """
    check_range("validation", fraction, 0, 0.9)
    if not fraction:
        return {"train": videos}
    members = [(video.label if isinstance(video.label, int) else None, group_of(video)) for video in videos]
    splits = split_by_group(members, {"train": 1 - fraction, "validation": fraction})
    return {name: [v for v, split in zip(videos, splits) if split == name] for name in ("train", "validation")}


def _hash(name):
    return hashlib.sha256(os.fsencode(name)).hexdigest()


def one_video(path: str, *, split: str = "test") -> Listing:
    """A single video file, without label.

    Args:
        path: of the file.
        split: name of the split it makes.
    """
    return Listing({split: [Video(path, pathlib.PurePath(path).name)]})
