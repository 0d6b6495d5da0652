"""A text file that lists videos and their labels, a video a line; all lines are of one form.

    path label                  as mmaction2 and TSN list videos
    path total_frames label     as they list folders of frames; the number of frames is not used
    path                        without labels

separated by tabs, blanks or commas (the first of these that leaves a first field that ends like a video), fields with
a separator inside in double quotes; or with a header line, separated by commas or tabs, that names a column `path` and
any of `label`, `class_name` and `split` (train, validation or val or valid, test); other columns are left alone.

A label is a number or a name, several are joined by commas (`3,17`, in quotes where commas separate). Names come from
`classInd.txt` (lines `<number> <name>`; labels that are numbers are then these, from 1) or `classes.txt` (a name a
line) beside the list, or from both columns `label` and `class_name`; else they are the labels themselves. Numbers
count from 0 but for `classInd.txt`. Lines that are "#", or begin with it and a blank, are comments.

The form `path start_frame total_frames label` of mmaction2 is not read: frames alone give no time.
"""

import csv
import dataclasses
import pathlib

from keras_st.specs import InputError
from pipelines.datasets.folder import SPLITS
from pipelines.listing import SUFFIXES, Listing, Video, read_lines, read_numbered_classes, wrong_line


def list_file_listing(
    path: str,
    *,
    split: str = "train",
    root: str = "",
    validation: str = "",
    test: str = "",
    multi_label: bool = False,
) -> Listing:
    """The videos of a list file.

    Args:
        path: of the list.
        split: of its videos, where it has no column `split`.
        root: folder that paths in the lists begin in; empty: that of each list.
        validation: another list, of the validation split.
        test: another list, of the test split.
        multi_label: everything behind the path is a label, as in mmaction2's lists of videos of several classes
            (`path 3 17`).

    Raises:
        InputError: a list that cannot be read or is empty; naming the line: another form than the first line's, a
            label that is no class, numbers and names mixed.
    """
    files = [(path, split), (validation, "validation"), (test, "test")]
    rows = [row for file, name in files if file for row in _read(pathlib.Path(file), name, multi_label)]
    labels, classes = _labels(rows, pathlib.Path(path).parent)
    splits: dict[str, list[Video]] = {}
    for row, label in zip(rows, labels):
        file = pathlib.Path(root or row.list.parent, row.path)
        splits.setdefault(row.split, []).append(Video(str(file), pathlib.PurePath(row.path).as_posix(), label))
    return Listing(splits, classes)


@dataclasses.dataclass(frozen=True)
class _Row:
    """A line: where it stands, its path, its split, its labels as written, the name of the class where it has one."""

    list: pathlib.Path
    number: int
    line: str
    path: str
    split: str
    labels: tuple[str, ...]
    class_name: str = ""

    def wrong(self, form):
        return wrong_line(self.list, self.number, form, self.line)


def _read(file, split, multi_label):
    """The rows of a list."""
    lines = read_lines(file, comments=True)
    if not lines:
        raise InputError(f"{file} must list videos. Received: no line")
    number, first = lines[0]
    for separator in ",\t":
        header = [name.strip().lower() for name in _fields(file, number, first, separator)]
        if "path" in header:
            return _table(file, lines[1:], separator, header, split)
    for separator in "\t ,":
        form = _fields(file, number, first, separator)
        if form[0].lower().endswith(SUFFIXES):
            return [_plain(file, number, line, separator, len(form), split, multi_label) for number, line in lines]
    raise wrong_line(file, number, "`path label`, a path with blanks in double quotes", first)


def _plain(file, number, line, separator, count, split, multi_label):
    """The row of a line without header; `count` is the number of fields in the first line."""
    fields = _fields(file, number, line, separator)
    if not fields[0].lower().endswith(SUFFIXES):
        raise wrong_line(file, number, "the path of a video, and its label", line)
    if multi_label:
        return _Row(file, number, line, fields[0], split, tuple(fields[1:]))
    if len(fields) != count or len(fields) > 3 or (len(fields) == 3 and not fields[1].isdecimal()):
        form = "path total_frames label" if count == 3 else "path label"
        raise wrong_line(file, number, f"`{form}`, as the first line (or see `multi_label`)", line)
    return _Row(file, number, line, fields[0], split, _several(fields[-1]) if count > 1 else ())


def _table(file, lines, separator, header, split):
    """The rows below a header."""
    rows = []
    for number, line in lines:
        fields = _fields(file, number, line, separator)
        if len(fields) != len(header):
            raise wrong_line(file, number, f"of {len(header)} fields ({', '.join(header)})", line)
        value = dict(zip(header, fields))
        if not value["path"] or value.get("split", "train") not in SPLITS:
            raise wrong_line(file, number, f"a path, and one of {', '.join(SPLITS)} where it has a split", line)
        name = value.get("class_name", "")
        labels = _several(value.get("label", "")) or ((name,) if name else ())
        rows.append(_Row(file, number, line, value["path"], SPLITS[value.get("split", split)], labels, name))
    return rows


def _fields(file, number, line, separator):
    try:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise wrong_line(file, number, f"fields ({error})", line) from error
    return [field.strip() for field in fields]


def _several(text):
    return tuple(label.strip() for label in text.split(",")) if text else ()


def _labels(rows, folder):
    """`(label of every row, names of the classes)`: None, or indices; tuples of them where any row has several."""
    if not rows:
        raise InputError(f"The lists must hold videos. Received: none below the header in {folder}")
    numbers = all(label.isdecimal() for label in rows[0].labels)
    for row in rows:
        if bool(row.labels) != bool(rows[0].labels):
            raise row.wrong("labelled as the first is")
        if any(label.isdecimal() != numbers for label in row.labels):
            raise row.wrong("labelled by a number" if numbers else "labelled by a name")
    if not rows[0].labels:
        return [None] * len(rows), None
    first, classes = _classes(rows, folder, numbers)
    known = {str(n) if numbers else name: n - first for n, name in enumerate(classes, start=first)}
    many = any(len(row.labels) > 1 for row in rows)
    labels = []
    for row in rows:
        try:
            found = sorted({known[str(int(label)) if numbers else label] for label in row.labels})
        except KeyError as error:
            raise row.wrong(f"labelled {first} to {first + len(classes) - 1}" if numbers else "of a class") from error
        labels.append(tuple(found) if many else found[0])
    return labels, tuple(classes)


def _classes(rows, folder, numbers):
    """`(number of the first class, names)`."""
    if (folder / "classInd.txt").is_file():
        return 1, read_numbered_classes(folder / "classInd.txt")
    if (folder / "classes.txt").is_file():
        return 0, [name for _, name in read_lines(folder / "classes.txt", comments=True)]
    if not numbers:
        return 0, sorted({label for row in rows for label in row.labels})
    names: dict[int, str] = {}
    for row in rows:
        if not row.class_name or len(row.labels) > 1:
            continue
        if names.setdefault(int(row.labels[0]), row.class_name) != row.class_name:
            raise row.wrong(f"of the class {names[int(row.labels[0])]!r}, as above")
    last = max(int(label) for row in rows for label in row.labels)
    return 0, [names.get(n, str(n)) for n in range(last + 1)]
