"""A folder of videos: `root/<split>/<class>/...` or `root/<class>/...`.

Split folders are train, validation (or val, valid) and test; a root with class folders only is split here, one without
class folders is a set without labels. Folders inside a class folder belong to it. A class is a folder with a video in
it; classes are in the order of their names. Files that are not videos by their names (`pipelines.listing.SUFFIXES`) are
listed as ignored, hidden files and folders are passed over.
"""

import re

from keras_st.specs import InputError
from pipelines.listing import Listing, Video, check_fractions, find_files, split_by_group

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


def folder_listing(root: str, *, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), group: str = "") -> Listing:
    """The videos of a folder by its class folders.

    Args:
        root: the folder.
        fractions: parts of every class for train, validation and test, where there are no split folders. The same
            names always fall into the same splits (`pipelines.listing.split_by_group`): every class with three groups
            or more is in every split of a part above 0, one with fewer in the larger parts, train first.
        group: regular expression. Videos in whose ids it finds the same text stay together, in all classes, say all
            clips of a person or a recording (`person\\d+`). Empty: every video for itself. With split folders it is
            checked that no group is in two of them.

    Raises:
        InputError: a folder that cannot be read or holds no video; videos beside class folders, folders beside split
            folders; parts that do not sum to 1; an expression that is none, or finds nothing in an id.
    """
    check_fractions(fractions)
    paths, others = find_files(root)
    if not paths:
        raise InputError(f"{root} must hold videos. Received: none among {len(others)} files")
    parts = [path.relative_to(root).parts for path in paths]
    folders = {names[0] for names in parts if len(names) > 1}
    by_folder = bool(folders) and folders <= SPLITS.keys()
    if not by_folder and "train" in folders and len(folders & SPLITS.keys()) > 1:
        raise InputError(f"Folders of splits stand alone in {root}. Received: {min(folders - SPLITS.keys())}")
    above = 1 + by_folder  # names in front of which a folder is no class: the split's, the file's
    labels = [names[above - 1] if len(names) > above else None for names in parts]
    for path, names, label in zip(paths, parts, labels):
        if (folders and len(names) == 1) or (label is None and any(labels)):
            raise InputError(f"Videos stand in class folders, or all in none. Received: {path}")
    ids = ["/".join(names) for names in parts]
    groups = _groups(group, ids)
    if by_folder:
        splits = [SPLITS[names[0]] for names in parts]
        split_of = dict(zip(groups, splits))
        for name, text, split in zip(ids, groups, splits):
            if split_of[text] != split:
                raise InputError(f"A group is in one split. Received: {name} in {split}, {text} in {split_of[text]}")
    else:
        splits = split_by_group(list(zip(labels, groups)), dict(zip(("train", "validation", "test"), fractions)))
    classes = tuple(sorted({label for label in labels if label is not None}))
    listed: dict[str, list[Video]] = {split: [] for split in dict.fromkeys(SPLITS.values()) if split in splits}
    for path, name, label, split in zip(paths, ids, labels, splits):
        listed[split].append(Video(str(path), name, None if label is None else classes.index(label)))
    return Listing(listed, classes or None, tuple(map(str, others)))


def _groups(pattern, ids):
    """The first text in each id that the regular expression finds; the id itself without one."""
    if not pattern:
        return ids
    try:
        found = [re.search(pattern, name) for name in ids]
    except re.error as error:
        raise InputError(f"`group` must be a regular expression ({error}). Received: group={pattern!r}") from error
    if None in found:
        raise InputError(f"group={pattern!r} must find its text in every id. Received: {ids[found.index(None)]}")
    return [match[0] for match in found]
