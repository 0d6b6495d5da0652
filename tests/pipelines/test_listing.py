"""Listings of any videos: folders, list files, how splits are drawn, what a listing refuses."""

import collections
import csv
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_st.specs import InputError
from pipelines.datasets.folder import folder_listing
from pipelines.datasets.list_file import list_file_listing
from pipelines.listing import (
    Listing,
    Video,
    find_files,
    hold_out,
    locate,
    read_lines,
    read_numbered_classes,
    split_by_group,
)
from tests.conftest import DATA

THIRDS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return str(folder)


def found(listing):
    """Split -> ids -> label."""
    return {split: {video.id: video.label for video in videos} for split, videos in listing.splits.items()}


# Splits


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30).map(str)), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
def test_a_group_is_in_one_split_whatever_the_order(members, shuffler):
    splits = split_by_group(members, THIRDS)
    of_group = collections.defaultdict(set)
    for (_, group), split in zip(members, splits):
        of_group[group].add(split)
    assert all(len(found) == 1 for found in of_group.values())
    mixed = members[:]
    shuffler.shuffle(mixed)
    assert dict(zip(mixed, split_by_group(mixed, THIRDS))) == dict(zip(members, splits))


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1))
def test_every_class_has_its_fractions(sizes):
    members = [(label, f"{label}{n}") for label, size in sizes.items() for n in range(size)]
    splits = split_by_group(members, THIRDS)
    for label, size in sizes.items():
        count = collections.Counter(split for (name, _), split in zip(members, splits) if name == label)
        if size >= 3:
            assert set(count) == set(THIRDS)
        else:
            assert set(count) == {"train", "validation"} if size == 2 else {"train"}
        for split, fraction in THIRDS.items():
            assert abs(count[split] - fraction * size) <= 2  # the least of one each takes up to two from the largest


def test_known_splits():
    """The same on every machine: shards that are prepared again hold what they held."""
    members = [("a", f"video{n}") for n in range(10)]
    splits = split_by_group(members, {"train": 0.6, "validation": 0.2, "test": 0.2})
    assert [n for n, split in enumerate(splits) if split == "validation"] == [0, 7]
    assert [n for n, split in enumerate(splits) if split == "test"] == [2, 3]
    assert collections.Counter(splits) == {"train": 6, "validation": 2, "test": 2}
    assert set(split_by_group(members, {"train": 0.0, "validation": 0.5, "test": 0.5})) == {"validation", "test"}


def test_hold_out():
    videos = [Video("x", f"{label}/g{n // 2}_{n}", label) for label in range(2) for n in range(40)]
    splits = hold_out(videos, lambda video: video.id.split("_")[0], 0.1)
    assert {split: len(part) for split, part in splits.items()} == {"train": 72, "validation": 8}
    groups = [{video.id.split("_")[0] for video in part} for part in splits.values()]
    assert not groups[0] & groups[1]
    assert hold_out(videos, None, 0) == {"train": videos}
    with pytest.raises(InputError, match="validation=1.5"):
        hold_out(videos, None, 1.5)


# Files


def test_find_files(tmp_path):
    touch(tmp_path, "b.MP4", "a/x.avi", "a/deep/y.webm", "a/notes.txt", ".hidden.mp4", ".trash/z.mp4")
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    videos, others = find_files(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in videos] == ["a/deep/y.webm", "a/x.avi", "b.MP4"]
    assert [path.name for path in others] == ["notes.txt"]
    assert locate(tmp_path)("y") == str(videos[0]) and locate(tmp_path)("no") == str(tmp_path / "no.mp4")


def test_a_linked_folder_is_a_class(tmp_path):
    touch(tmp_path / "disk", "x.mp4")
    touch(tmp_path / "data", "a/y.mp4")
    os.symlink(tmp_path / "disk", tmp_path / "data" / "b")
    assert folder_listing(str(tmp_path / "data")).classes == ("a", "b")


def test_unreadable_folders_are_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="nowhere.*Received: No such file"):
        find_files(tmp_path / "nowhere")
    touch(tmp_path, "a/x.mp4", "locked/y.mp4")
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(InputError, match="locked must be a folder.*Received: Permission denied"):
        folder_listing(str(tmp_path))


def test_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa é\r\n\r\n# words\n#7.avi 1\n#\n".encode())
    assert read_lines(path) == [(1, "a é"), (3, "# words"), (4, "#7.avi 1"), (5, "#")]
    assert read_lines(path, comments=True) == [(1, "a é"), (4, "#7.avi 1")]
    path.write_bytes(b"\xff\xfe\x00")
    for name in ("list.txt", "none.txt"):
        with pytest.raises(InputError, match=f"{name} must be a text file.*Received"):
            read_lines(tmp_path / name)


@pytest.mark.parametrize("text, line", [("1 a\n3 b\n", 2), ("0 a\n", 1), ("1 a\n2 a\n", 2), ("1\n", 1)])
def test_numbered_classes(tmp_path, text, line):
    path = tmp_path / "classInd.txt"
    path.write_text("1 Apply Eye\n2 B  \n")
    assert read_numbered_classes(path) == ("Apply Eye", "B")
    path.write_text(text)
    with pytest.raises(InputError, match=f"Line {line} of .*classInd.txt"):
        read_numbered_classes(path)
    path.write_text("\n")
    with pytest.raises(InputError, match="empty"):
        read_numbered_classes(path)


# Listings


@pytest.mark.parametrize(
    "videos, word",
    [
        ([], "none"),
        ([Video("x", "a", 0), Video("y", "a", 1)], "twice: a"),
        ([Video("x", "a", 2)], r"0..1.*\[2\]"),
        ([Video("x", "a", 0), Video("x", "b", (0, 1))], "many.*one"),
        ([Video("x", "a", intervals=((0.0, 1.0, 5),))], r"\[5\]"),
    ],
)
def test_listings_that_cannot_be(videos, word):
    with pytest.raises(InputError, match=f"Received.*{word}|{word}"):
        Listing({"train": videos}, ("p", "q"))


# Folders


def test_split_folders(tmp_path):
    root = touch(tmp_path, "train/b/1.mp4", "train/a/x/2.mp4", "val/b/3.mp4", "test/c/4.AVI", "train/a/readme.txt")
    listing = folder_listing(root)
    assert listing.classes == ("a", "b", "c")
    assert found(listing) == {
        "train": {"train/a/x/2.mp4": 0, "train/b/1.mp4": 1},
        "validation": {"val/b/3.mp4": 1},
        "test": {"test/c/4.AVI": 2},
    }
    assert [os.path.basename(name) for name in listing.ignored] == ["readme.txt"]
    assert all(os.path.isfile(video.path) for video in listing.videos)


def test_class_folders_are_split_here(tmp_path):
    names = [f"{label}/g{n // 4:02}_{n}.mp4" for label in ("walk", "run") for n in range(100)]
    listing = folder_listing(touch(tmp_path, *names))
    assert listing.classes == ("run", "walk") and list(listing.splits) == ["train", "validation", "test"]
    count = {s: collections.Counter(video.label for video in videos) for s, videos in listing.splits.items()}
    assert count == {"train": {0: 80, 1: 80}, "validation": {0: 10, 1: 10}, "test": {0: 10, 1: 10}}
    assert found(listing) == found(folder_listing(str(tmp_path)))
    other = folder_listing(str(tmp_path), fractions=(0.5, 0.0, 0.5))
    assert {s: len(v) for s, v in other.splits.items()} == {"train": 100, "test": 100}


def test_groups_stay_together(tmp_path):
    names = [f"{label}/g{n // 4:02}_{n}.mp4" for label in ("walk", "run") for n in range(100)]
    listing = folder_listing(touch(tmp_path, *names), group=r"g\d+")
    groups = {split: {video.id.split("/")[1][:3] for video in videos} for split, videos in listing.splits.items()}
    assert {split: len(names) for split, names in groups.items()} == {"train": 20, "validation": 3, "test": 2}
    assert len(set.union(*groups.values())) == 25
    loose = folder_listing(str(tmp_path))
    assert set.intersection(*({v.id.split("/")[1][:3] for v in videos} for videos in loose.splits.values()))


def test_no_class_folders_no_labels(tmp_path):
    listing = folder_listing(touch(tmp_path, *(f"{n}.mp4" for n in range(10))))
    assert listing.classes is None and listing.label_kind is None
    assert {split: len(videos) for split, videos in listing.splits.items()} == {"train": 8, "validation": 1, "test": 1}
    listing = folder_listing(touch(tmp_path / "own", "train/1.mp4", "test/2.mp4"))
    assert found(listing) == {"train": {"train/1.mp4": None}, "test": {"test/2.mp4": None}} and not listing.classes


def test_a_class_may_be_called_train(tmp_path):
    root = touch(tmp_path, "train/1.mp4", "plane/2.mp4")
    assert folder_listing(root).classes == ("plane", "train")


@pytest.mark.parametrize(
    "names, options, word",
    [
        (["notes.txt"], {}, "none among 1 files"),
        (["a/1.mp4", "2.mp4"], {}, "2.mp4"),
        (["train/a/1.mp4", "2.mp4"], {}, "2.mp4"),
        (["train/1.mp4", "2.mp4"], {}, "2.mp4"),
        (["train/a/1.mp4", "train/2.mp4"], {}, "train/2.mp4"),
        (["train/a/1.mp4", "test/a/2.mp4", "more/3.mp4"], {}, "more"),
        (["a/1.mp4"], {"fractions": (0.5, 0.5, 0.5)}, "0.5, 0.5, 0.5"),
        (["a/1.mp4"], {"group": "("}, "group='\\('"),
        (["a/g1.mp4", "a/h1.mp4"], {"group": r"g\d"}, "a/h1.mp4"),
        (["train/g1_1.mp4", "test/g1_2.mp4"], {"group": r"g\d"}, "g1"),
    ],
)
def test_folders_that_cannot_be(tmp_path, names, options, word):
    with pytest.raises(InputError, match=f"Received: .*{word}"):
        folder_listing(touch(tmp_path, *names), **options)


# List files


def listed(folder, text, **options):
    (folder / "list.txt").write_text(text)
    return list_file_listing(str(folder / "list.txt"), **options)


@pytest.mark.parametrize(
    "text",
    [
        "a/1.mp4 0\nb/2.avi 2\n",
        "a/1.mp4 31 0\nb/2.avi 47 2\n",
        "# words\n\na/1.mp4\t0\nb/2.avi\t2",
        "a/1.mp4,0\nb/2.avi,2",
        "a/1.mp4, 31, 0\nb/2.avi, 47, 2",
        '"a/1.mp4"  0\nb/2.avi 2',
        "path,label\na/1.mp4,0\nb/2.avi,2\n",
        "label\tPath\n0\ta/1.mp4\n2\tb/2.avi\n",
    ],
)
def test_forms_of_a_list(tmp_path, text):
    listing = listed(tmp_path, text)
    assert found(listing) == {"train": {"a/1.mp4": 0, "b/2.avi": 2}} and listing.classes == ("0", "1", "2")
    assert [video.path for video in listing.videos] == [str(tmp_path / "a/1.mp4"), str(tmp_path / "b/2.avi")]


def test_paths_with_blanks_commas_and_hashes(tmp_path):
    for text in ('"my cat.mp4" 1\nb.mp4 0', "my cat.mp4,1\nb.mp4,0", "my cat.mp4\t1\nb.mp4\t0"):
        assert found(listed(tmp_path, text))["train"] == {"my cat.mp4": 1, "b.mp4": 0}
    assert found(listed(tmp_path, "one,two.mp4 1\n#20_clap.mp4 0"))["train"] == {"one,two.mp4": 1, "#20_clap.mp4": 0}


def test_names_of_classes(tmp_path):
    assert found(listed(tmp_path, "1.mp4 walk\n2.mp4 run")) == {"train": {"1.mp4": 1, "2.mp4": 0}}
    (tmp_path / "classes.txt").write_text("walk\nsit\nrun\n")
    assert found(listed(tmp_path, "1.mp4 walk\n2.mp4 run")) == {"train": {"1.mp4": 0, "2.mp4": 2}}
    assert found(listed(tmp_path, "1.mp4 0\n2.mp4 2")) == {"train": {"1.mp4": 0, "2.mp4": 2}}
    (tmp_path / "classInd.txt").write_text("1 walk\n2 sit\n3 run\n")
    listing = listed(tmp_path, "1.mp4 1\n2.mp4 03")
    assert found(listing) == {"train": {"1.mp4": 0, "2.mp4": 2}} and listing.classes == ("walk", "sit", "run")


def test_several_labels(tmp_path):
    listing = listed(tmp_path, "1.mp4 3,1\n2.mp4 0\n")
    assert found(listing) == {"train": {"1.mp4": (1, 3), "2.mp4": (0,)}} and listing.label_kind == "many"
    assert found(listed(tmp_path, '1.mp4,"3,1"\n2.mp4,0\n')) == found(listing)
    assert found(listed(tmp_path, "1.mp4 3 1\n2.mp4 0\n", multi_label=True)) == found(listing)
    assert found(listed(tmp_path, "1.mp4 run,jump\n"))["train"] == {"1.mp4": (0, 1)}


def test_several_lists_and_none_of_labels(tmp_path):
    (tmp_path / "test.csv").write_text("path,label\n9.mp4,walk\n")
    (tmp_path / "val.txt").write_text("8.mp4 sit\n")
    files = {"validation": str(tmp_path / "val.txt"), "test": str(tmp_path / "test.csv")}
    listing = listed(tmp_path, "1.mp4 run\n", root="/videos", **files)
    assert found(listing) == {"train": {"1.mp4": 0}, "validation": {"8.mp4": 1}, "test": {"9.mp4": 2}}
    assert [video.path for video in listing.videos] == ["/videos/1.mp4", "/videos/8.mp4", "/videos/9.mp4"]
    assert found(listed(tmp_path, "./1.mp4\n2.mp4\n", split="test")) == {"test": {"1.mp4": None, "2.mp4": None}}


@pytest.mark.parametrize(
    "text, line",
    [
        ("1.mp4 0\n2.mp4\n", 2),
        ("1.mp4 0\n\n2.mp4 7 1\n", 3),
        ("1.mp4 many 0\n", 1),
        ("1.mp4 1 5 0\n", 1),
        ("1.mp4 0\n2.mp4 walk\n", 2),
        ("1.mp4 walk\n2.mp4 3\n", 2),
        ("my cat.mp4 0\n", 1),
        ("1.mp4 0\nclip 1\n", 2),
        ("frames/1 0\n", 1),
        ('1.mp4 0\n"2.mp4 1\n', 2),
        ("path,label\n1.mp4,0\n2.mp4\n", 3),
        ("path,label,split\n1.mp4,0,train\n2.mp4,0,dev\n", 3),
        ("path,label\n1.mp4,0\n,1\n", 3),
        ("path,label\n1.mp4,0\n2.mp4,\n", 3),
        ("path,label,class_name\n1.mp4,0,walk\n2.mp4,0,run\n", 3),
    ],
)
def test_wrong_lines_are_named(tmp_path, text, line):
    with pytest.raises(InputError, match=f"^Line {line} of .*list.txt must be .* Received: '[^\n]*'$"):
        listed(tmp_path, text)


def test_wrong_lists_are_named(tmp_path):
    for text in ("", "# words\n", "path,label\n"):
        with pytest.raises(InputError, match="Received: no"):
            listed(tmp_path, text)
    with pytest.raises(InputError, match="twice: 1.mp4"):
        listed(tmp_path, "1.mp4 0\n1.mp4 1\n")
    (tmp_path / "classes.txt").write_text("walk\nrun\n")
    for label, form in (("2", "labelled 0 to 1"), ("sit", "of a class")):
        with pytest.raises(InputError, match=f"Line 1 of .*{form}"):
            listed(tmp_path, f"1.mp4 {label}\n")
    with pytest.raises(InputError, match="none.txt must be a text file"):
        list_file_listing(str(tmp_path / "none.txt"))


def test_order_of_a_folder_does_not_matter(tmp_path, monkeypatch):
    root = touch(tmp_path, *(f"{label}/{n}.mp4" for label in "ab" for n in range(9)))
    first, walk = folder_listing(root), os.walk

    def mixed(*args, **options):
        for path, folders, names in walk(*args, **options):
            random.Random(1).shuffle(names)
            folders.reverse()
            yield path, folders, names

    monkeypatch.setattr(os, "walk", mixed)
    assert found(folder_listing(root)) == found(first)


@pytest.mark.data
def test_the_real_list():
    path = DATA / "ut_interaction" / "clips.csv"
    if not path.is_file():
        pytest.skip(f"no UT-Interaction under KERAS_ST_DATA ({DATA})")
    listing = list_file_listing(str(path))
    assert {split: len(videos) for split, videos in listing.splits.items()} == {
        "train": 53,
        "validation": 12,
        "test": 24,
    }
    assert listing.classes == ("handshake", "hug", "kick", "point", "punch", "push")
    assert all(os.path.isfile(video.path) for video in listing.videos)
    rows = {row["path"]: int(row["label"]) for row in csv.DictReader(path.open())}
    assert {video.id: video.label for video in listing.videos} == rows


@pytest.mark.data
def test_real_folders():
    if not (DATA / "ut_interaction").is_dir():
        pytest.skip(f"no UT-Interaction under KERAS_ST_DATA ({DATA})")
    listing = folder_listing(str(DATA / "ut_interaction"), group=r"_\d+_")
    assert listing.classes == ("set1", "set2") and len(listing.videos) == 89
    assert {os.path.basename(name) for name in listing.ignored} == {"clips.csv", "README.md"}
    clips = folder_listing(str(DATA / "sample_clips"))
    assert len(clips.videos) == 4 and clips.classes is None
