"""Official splits of public data sets, read from small trees of the shape that a user downloads."""

import json
import subprocess
import sys

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines.datasets import kth, weizmann
from pipelines.datasets.activitynet import activitynet_listing
from pipelines.datasets.aslan import aslan_listing, aslan_pairs
from pipelines.datasets.hmdb51 import hmdb51_listing
from pipelines.datasets.kth import kth_listing
from pipelines.datasets.multithumos import multithumos_listing
from pipelines.datasets.scenes import scenes_listing
from pipelines.datasets.sports1m import sports1m_listing
from pipelines.datasets.ucf101 import ucf101_listing
from pipelines.datasets.ut_interaction import SEQUENCES, ut_interaction_listing
from pipelines.datasets.weizmann import weizmann_listing
from tests.conftest import DATA


def write(folder, files):
    """Files of the given text, the others empty."""
    for name, text in files.items() if isinstance(files, dict) else dict.fromkeys(files, "").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


def sizes(listing):
    return {split: len(videos) for split, videos in listing.splits.items()}


def ids(listing, split):
    return [video.id for video in listing.splits[split]]


def keys(listing, key):
    """Split -> what `key` gives of its videos' ids; nothing may be in two splits."""
    found = {split: {key(video.id) for video in videos} for split, videos in listing.splits.items()}
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    return found


# UCF101


@pytest.fixture
def ucf(tmp_path):
    """Two classes of 25 groups of two clips, in the three folds of the official lists: seven groups are the test."""
    classes = ("ApplyEyeMakeup", "YoYo")
    files = {"ucfTrainTestlist/classInd.txt": "".join(f"{n} {name}\r\n" for n, name in enumerate(classes, start=1))}
    for fold in (1, 2, 3):
        lines = {"train": [], "test": []}
        for number, name in enumerate(classes, start=1):
            for group in range(1, 26):
                split = "test" if 7 * fold - 6 <= group <= 7 * fold else "train"
                clips = [f"{name}/v_{name}_g{group:02}_c0{clip}.avi" for clip in (1, 2)]
                lines[split] += [f"{clip} {number}" if split == "train" else clip for clip in clips]
        files |= {f"ucfTrainTestlist/{split}list0{fold}.txt": "\r\n".join(lines[split]) + "\r\n" for split in lines}
    return write(tmp_path, files)


def test_ucf101(ucf):
    listing = ucf101_listing(ucf)
    assert listing.classes == ("ApplyEyeMakeup", "YoYo")
    assert sizes(listing) == {"train": 64, "validation": 8, "test": 28}
    groups = keys(listing, lambda name: int(name[-10:-8]))
    assert groups == {"train": set(range(8, 24)), "validation": {24, 25}, "test": set(range(1, 8))}
    first = listing.splits["train"][0]
    assert (first.id, first.label) == ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", 0)
    assert first.path == f"{ucf}/UCF-101/{first.id}" and listing.splits["test"][-1].label == 1


def test_ucf101_options(ucf):
    listing = ucf101_listing(ucf, fold=3, validation_groups=0)
    assert sizes(listing) == {"train": 72, "test": 28}
    assert {int(name[-10:-8]) for name in ids(listing, "test")} == set(range(15, 22))
    for options, word in (({"fold": 4}, "fold=4"), ({"validation_groups": 18}, "validation_groups=18")):
        with pytest.raises(InputError, match=word):
            ucf101_listing(ucf, **options)


@pytest.mark.parametrize(
    "line", ["YoYo/v_YoYo_g08_c01.avi 1", "Yoyo/v_Yoyo_g08_c01.avi 2", "YoYo/v_YoYo_c01.avi 2", "v_YoYo_g08_c01.avi"]
)
def test_ucf101_wrong_lines(ucf, tmp_path, line):
    path = tmp_path / "ucfTrainTestlist" / "trainlist01.txt"
    path.write_text(f"YoYo/v_YoYo_g08_c01.avi 2\n{line}\n")
    with pytest.raises(InputError, match=f"Line 2 of .*trainlist01.txt must be .*Received: '{line}'$"):
        ucf101_listing(ucf)
    path.unlink()
    with pytest.raises(InputError, match="trainlist01.txt must be a text file"):
        ucf101_listing(ucf)


# HMDB51


@pytest.fixture
def hmdb(tmp_path):
    files = {}
    for name in ("brush_hair", "wave"):
        lines = []
        for film in range(20):
            for clip in range(3):
                mark = (0, 2, 2, 2, *[1] * 16)[film]
                lines.append(f"#{film}_A_film__{name}_u_nm_np1_ba_goo_{clip}.avi {mark} ")
        files[f"testTrainMulti_7030_splits/{name}_test_split2.txt"] = "\n".join(lines)
    return write(tmp_path, files)


def test_hmdb51(hmdb):
    listing = hmdb51_listing(hmdb, fold=2)
    assert listing.classes == ("brush_hair", "wave") and len(listing.videos) == 2 * 19 * 3
    films = keys(listing, lambda name: name.split("/")[1].split("_")[0])
    assert {split: len(found) for split, found in films.items()} == {"train": 14, "validation": 2, "test": 3}
    assert films["test"] == {"#1", "#2", "#3"}  # and film 0 is in none
    video = listing.splits["test"][0]
    assert video.id == "brush_hair/#1_A_film__brush_hair_u_nm_np1_ba_goo_0.avi" and video.path == f"{hmdb}/{video.id}"
    assert {video.label for video in listing.splits["validation"]} == {0, 1}
    assert sizes(hmdb51_listing(hmdb, fold=2, validation=0.0)) == {"train": 96, "test": 18}


def test_hmdb51_wrong(hmdb, tmp_path):
    with pytest.raises(InputError, match="_test_split1.txt. Received: none"):
        hmdb51_listing(hmdb, fold=1)
    for line in ("a.avi 3", "a.avi", "1"):
        path = write(tmp_path, {"testTrainMulti_7030_splits/wave_test_split2.txt": f"b.avi 1\n{line}\n"})
        with pytest.raises(InputError, match=f"Line 2 of .*wave_test_split2.txt.*'{line}'"):
            hmdb51_listing(path, fold=2)


# Weizmann


@pytest.fixture
def weizmann_tree(tmp_path):
    names = [f"{person}_{action}" for person in weizmann.PERSONS for action in weizmann.CLASSES]
    twice = [f"lena_{action}" for action in ("run", "skip", "walk")]
    names = [name for name in names if name not in twice] + [f"{name}{n}" for name in twice for n in (1, 2)]
    return write(tmp_path, [f"{name.split('_')[1][:4]}/{name}.avi" for name in names])


def test_weizmann(weizmann_tree):
    tested = []
    for fold in range(1, 10):
        listing = weizmann_listing(weizmann_tree, fold=fold)
        persons = keys(listing, lambda name: name.split("_")[0])
        assert {split: len(found) for split, found in persons.items()} == {"train": 7, "validation": 1, "test": 1}
        assert len(listing.videos) == 93
        tested += persons["test"]
    assert tuple(tested) == weizmann.PERSONS
    labels = {video.id: weizmann.CLASSES[video.label] for video in listing.videos}
    assert (labels["lena_walk2"], labels["daria_wave2"], labels["ira_wave1"]) == ("walk", "wave2", "wave1")
    assert list(weizmann_listing(weizmann_tree, validation_persons=0).splits) == ["train", "test"]


def test_weizmann_wrong(weizmann_tree, tmp_path):
    with pytest.raises(InputError, match="fold=10"):
        weizmann_listing(weizmann_tree, fold=10)
    write(tmp_path, ["anna_walk.avi"])
    with pytest.raises(InputError, match="Received: .*anna_walk.avi"):
        weizmann_listing(weizmann_tree)


# KTH


HEAD = """
This database contains sequences of six classes of actions performed by
Training:   person11, 12, 13, 14, 15, 16, 17, 18

"""


@pytest.fixture
def kth_tree(tmp_path):
    names = [f"person{p:02}_{action}_d{d}" for p in range(1, 26) for action in kth.CLASSES for d in range(1, 5)]
    names.remove("person13_handclapping_d3")
    return write(tmp_path, [f"{name.split('_')[1]}/{name}_uncomp.avi" for name in names])


def test_kth_recognition(kth_tree):
    listing = kth_listing(kth_tree)
    assert sizes(listing) == {"train": 191, "validation": 192, "test": 216} and listing.classes == kth.CLASSES
    persons = keys(listing, lambda name: int(name[6:8]))
    assert persons["train"] == set(range(11, 19)) and persons["test"] == {22, 2, 3, 5, 6, 7, 8, 9, 10}
    assert persons["validation"] == {19, 20, 21, 23, 24, 25, 1, 4}
    video = next(video for video in listing.videos if video.id == "person02_jogging_d1")
    assert video.label == 3 and video.path.endswith("jogging/person02_jogging_d1_uncomp.avi") and video.span is None


def test_kth_forecast(kth_tree):
    persons = keys(kth_listing(kth_tree, protocol="forecast"), lambda name: int(name[6:8]))
    assert persons == {"train": set(range(1, 15)), "validation": {15, 16}, "test": set(range(17, 26))}
    listing = kth_listing(kth_tree, protocol="forecast", validation_persons=0)
    assert sizes(listing) == {"train": 383, "test": 216}
    for split in ("train", "test"):  # what the reader of the clips asks of them
        assert {int(name[6:8]) for name in ids(listing, split)} == set(kth.PERSONS[split])


def test_kth_sequences(kth_tree, tmp_path):
    rows = "person11_boxing_d1\t\tframes\t1-95, 96-185\nperson13_handclapping_d3\t*missing*\n"
    write(tmp_path, {"00sequences.txt": f"{HEAD}{rows}person01_walking_d2    \tframes\t3-4\n"})
    (tmp_path / "walking" / "person01_walking_d2_uncomp.avi").unlink()
    listing = kth_listing(kth_tree, sequences=True)
    assert [(v.id, v.span, v.label) for v in listing.splits["train"]] == [
        ("person11_boxing_d1/1-95", (0.0, 3.8), 0),
        ("person11_boxing_d1/96-185", (3.8, 7.4), 0),
    ]
    (lost,) = listing.splits["validation"]
    assert lost.path == f"{kth_tree}/person01_walking_d2_uncomp.avi" and lost.span == (2 / 25, 4 / 25)


def test_kth_wrong(kth_tree, tmp_path):
    with pytest.raises(InputError, match="00sequences.txt must be a text file"):
        kth_listing(kth_tree, sequences=True)
    for row in ("person11_boxing_d1 frames 9-2", "person11_boxing_d1 frames", "person11_cooking_d1 frames 1-9"):
        write(tmp_path, {"00sequences.txt": HEAD + row})
        with pytest.raises(InputError, match=f"Line 5 of .*00sequences.txt.*'{row}'"):
            kth_listing(kth_tree, sequences=True)
    write(tmp_path, {"00sequences.txt": HEAD})
    with pytest.raises(InputError, match="Received: none"):
        kth_listing(kth_tree, sequences=True)
    with pytest.raises(InputError, match="protocol='retrieval'"):
        kth_listing(kth_tree, protocol="retrieval")
    for name in ("person26_boxing_d1_uncomp.avi", "more/person11_boxing_d1_uncomp.avi"):
        write(tmp_path, [name])
        with pytest.raises(InputError, match=f"Received: .*{name}"):
            kth_listing(kth_tree)
        (tmp_path / name).unlink()


# UT-Interaction


def test_ut_interaction(tmp_path):
    names = [f"set{1 + (s > 10)}/{6 * s + c}_{s}_{c}.avi" for s in range(1, 21) for c in range(6)]
    root = write(tmp_path, names)
    sequences = keys(ut_interaction_listing(root), lambda name: int(name.split("_")[1]))
    assert sequences == {split: set(SEQUENCES[split]) for split in SEQUENCES}
    for leave_out, others in ((4, range(1, 11)), (20, range(11, 21))):
        sequences = keys(ut_interaction_listing(root, leave_out=leave_out), lambda name: int(name.split("_")[1]))
        assert sequences == {"train": set(others) - {leave_out}, "test": {leave_out}}
    with pytest.raises(InputError, match="leave_out=21"):
        ut_interaction_listing(root, leave_out=21)


@pytest.mark.data
def test_real_ut_interaction():
    if not (DATA / "ut_interaction").is_dir():
        pytest.skip(f"no UT-Interaction under KERAS_ST_DATA ({DATA})")
    listing = ut_interaction_listing(str(DATA / "ut_interaction"))
    assert sizes(listing) == {"train": 53, "validation": 12, "test": 24}
    left_out = [ut_interaction_listing(str(DATA / "ut_interaction"), leave_out=n) for n in range(1, 21)]
    tested = [name for listing in left_out if listing.splits["test"] for name in ids(listing, "test")]
    assert len(tested) == 89 == len(set(tested))  # every clip is the test once


# Sports-1M


def test_sports1m(tmp_path):
    url = "https://www.youtube.com/watch?v="
    train = "".join(f"{url}-id_{n:03} {n % 3}\n" for n in range(100)) + f"{url}-id_000 2\n"
    files = {"labels.txt": "road bicycle racing\nrunning\ngolf\n", "videos/x/-id_007.webm": ""}
    files |= {"original/train_partition.txt": train, "original/test_partition.txt": f"{url}UDqivjS-lpI 2,1\n"}
    root = write(tmp_path, files)
    listing = sports1m_listing(root)
    assert listing.classes == ("road bicycle racing", "running", "golf") and listing.label_kind == "many"
    assert sizes(listing) == {"train": 90, "validation": 10, "test": 1}
    videos = {video.id: video for video in listing.videos}
    assert videos["UDqivjS-lpI"].label == (1, 2) and videos["-id_000"].label == (0, 2)
    assert videos["-id_007"].path == f"{root}/videos/x/-id_007.webm"
    assert videos["-id_008"].path == f"{root}/videos/-id_008.mp4"
    assert sizes(sports1m_listing(root, validation=0.0)) == {"train": 100, "test": 1}
    for line in (f"{url}abc 3", "abc 1", f"{url}abc"):
        write(tmp_path, {"original/test_partition.txt": f"{url}abd 1\n{line}\n"})
        with pytest.raises(InputError, match="Line 2 of .*test_partition.txt"):
            sports1m_listing(root)
    write(tmp_path, {"original/test_partition.txt": f"{url}-id_005 1\n"})
    with pytest.raises(InputError, match="in both: -id_005"):
        sports1m_listing(root)


# ActivityNet


def notes(*segments):
    return [{"segment": [start, end], "label": label} for start, end, label in segments]


@pytest.fixture
def activitynet(tmp_path):
    database = {
        f"t{n}": {"subset": "training", "annotations": notes((1, 2, "Diving"), (4, 5.5, "Archery"))} for n in range(9)
    }
    database["bad"] = {"subset": "training", "annotations": notes((3, 2, "Diving"), (0, 9, "Zumba"))}
    database["none"] = {"subset": "training", "annotations": []}
    database["v1"] = {"subset": "validation", "annotations": notes((0.5, 7.25, "Zumba"))}
    database["h1"] = {"subset": "testing", "annotations": []}
    text = json.dumps({"database": database, "taxonomy": [], "version": "VERSION 1.3"})
    return write(tmp_path, {"activity_net.v1-3.min.json": text, "v1-3/train_val/v_t0.mkv": ""})


def test_activitynet_trimmed(activitynet):
    listing = activitynet_listing(activitynet)
    assert listing.classes == ("Archery", "Diving", "Zumba") and listing.label_kind == "one"
    assert sizes(listing) == {"train": 19, "validation": 1}
    first, second = listing.splits["train"][:2]
    assert (second.id, second.label, second.span) == ("v_t0/1", 0, (4.0, 5.5)) and first.path == second.path
    assert first.path == f"{activitynet}/v1-3/train_val/v_t0.mkv"
    assert listing.splits["validation"][0].path == f"{activitynet}/v_v1.mp4"
    assert listing.ignored == ("v_bad/0: 3.0 to 2.0 s", "v_none: no annotation")
    keys(listing, lambda name: name.split("/")[0])


def test_activitynet_whole(activitynet):
    listing = activitynet_listing(activitynet, trimmed=False, validation=0.2)
    assert listing.label_kind == "many" and sizes(listing) == {"train": 8, "validation": 2, "test": 1}
    labels = {video.id: video.label for video in listing.videos}
    assert labels["v_t3"] == (0, 1) and labels["v_bad"] == (1, 2) and labels["v_v1"] == (2,)
    keys(activitynet_listing(activitynet, validation=0.2), lambda name: name.split("/")[0])


@pytest.mark.parametrize(
    "text, word",
    [
        ("{", "JSONDecodeError"),
        ("{}", "KeyError"),
        ("[]", "TypeError"),
        ('{"database": {"a": {"subset": "training"}}}', "annotations"),
        ('{"database": {"a": {"subset": "dev", "annotations": []}}}', "a in 'dev'"),
        ('{"database": {"a": {"subset": "training", "annotations": [{"label": "x", "segment": [1]}]}}}', "a: "),
    ],
)
def test_activitynet_wrong(tmp_path, text, word):
    with pytest.raises(InputError, match="activity_net.v1-3.min.json.*Received: FileNotFoundError"):
        activitynet_listing(str(tmp_path))
    with pytest.raises(InputError, match=f"activity_net.v1-3.min.json.*Received: .*{word}"):
        activitynet_listing(write(tmp_path, {"activity_net.v1-3.min.json": text}))


# MultiTHUMOS


def test_multithumos(tmp_path):
    many = "".join(f"video_validation_{n:07} 1.0 2.0\n" for n in range(20))
    files = {"class_list.txt": "1 BaseballPitch\n2 Run\n", "TH14/video_test_0000004.mp4": ""}
    files["annotations/BaseballPitch.txt"] = f"\n  video_test_0000004 72.80 76.40  \n{many}"
    files["annotations/Run.txt"] = "video_test_0000004 1.5 75\nvideo_test_0000004 3.0 3.0\n"
    root = write(tmp_path, files)
    listing = multithumos_listing(root)
    assert sizes(listing) == {"train": 18, "validation": 2, "test": 1} and listing.label_kind == "frames"
    (video,) = listing.splits["test"]
    assert video.intervals == ((1.5, 75.0, 1), (72.8, 76.4, 0)) and video.id == "video_test_0000004"
    assert video.path == f"{root}/TH14/video_test_0000004.mp4"
    assert listing.ignored == ("annotations/Run.txt, line 2: video_test_0000004 3.0 3.0",)
    assert sizes(multithumos_listing(root, validation=0.0)) == {"train": 20, "test": 1}
    for line in ("video_test_0000004 1.5", "v_test_4 1 2", "video_test_0000004 1..5 2", "video_test_0000004 -1 2"):
        write(tmp_path, {"annotations/Run.txt": f"video_test_0000004 1 2\n{line}\n"})
        with pytest.raises(InputError, match=f"Line 2 of .*Run.txt must be .*'{line}'"):
            multithumos_listing(root)
    (tmp_path / "annotations" / "Run.txt").unlink()
    with pytest.raises(InputError, match="Run.txt must be a text file"):
        multithumos_listing(root)


# ASLAN


def test_aslan(tmp_path, rng):
    io = pytest.importorskip("scipy.io")
    root = write(tmp_path, [f"ASLAN_AVI/{n:04}.avi" for n in range(1, 31)])
    listing = aslan_listing(root)
    assert sizes(listing) == {"test": 30} and listing.label_kind is None and ids(listing, "test")[6] == "0007"
    table = rng.integers(1, 31, (6, 5, 10))
    table[:, 2] = np.array([1, 1, 1, 0, 0, 0])[:, None]
    io.savemat(tmp_path / "View2.mat", {"action_splits_pairs": table.astype(float)})
    pairs = aslan_pairs(root)
    assert len(pairs) == 60 and pairs[13] == (f"{table[1, 0, 2]:04}", f"{table[1, 1, 2]:04}", 1, 3)
    assert {fold for *_, fold in pairs} == set(range(1, 11)) and sum(same for _, _, same, _ in pairs) == 30
    command = [sys.executable, "-m", "pipelines.datasets.aslan"]
    run = subprocess.run([*command, root], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [",".join(map(str, pair)) for pair in pairs]
    from keras_st.transfer import read_pairs

    (tmp_path / "pairs.csv").write_text(run.stdout)
    first, second, same, folds = read_pairs(tmp_path / "pairs.csv", ids(listing, "test"))
    assert first[13] == table[1, 0, 2] - 1 and second[13] == table[1, 1, 2] - 1 and same[13] and folds[13] == 3


def test_aslan_wrong(tmp_path):
    io = pytest.importorskip("scipy.io")
    path = tmp_path / "View2.mat"
    with pytest.raises(InputError, match="View2.mat must be"):
        aslan_pairs(str(tmp_path))
    path.write_bytes(b"MATLAB 5.0" * 30)
    with pytest.raises(InputError, match="View2.mat must be"):
        aslan_pairs(str(tmp_path))
    for wrong in (np.zeros((6, 5)), np.full((6, 5, 10), 7.0)):
        io.savemat(path, {"action_splits_pairs": wrong})
        with pytest.raises(InputError, match=r"View2.mat must hold pairs.*Received: \(6, 5"):
            aslan_pairs(str(tmp_path))
    with pytest.raises(InputError, match="Received: .*clip.mp4"):
        aslan_listing(write(tmp_path, ["clip.mp4"]))


# Dynamic scenes


def test_scenes(tmp_path):
    names = [f"{label}/{label}_{n:02}.mp4" for label in ("Beach", "Ocean") for n in range(5)]
    root = write(tmp_path, names)
    assert sizes(scenes_listing(root)) == {"test": 10} and scenes_listing(root).classes == ("Beach", "Ocean")
    tested = []
    for fold in range(1, 11):
        listing = scenes_listing(root, fold=fold)
        assert sizes(listing) == {"train": 9, "test": 1} and len(set(ids(listing, "train"))) == 9
        tested += ids(listing, "test")
        assert tested[-1] not in ids(listing, "train")
    assert tested == names
    with pytest.raises(InputError, match=r"0..10. Received: fold=11"):
        scenes_listing(root, fold=11)
