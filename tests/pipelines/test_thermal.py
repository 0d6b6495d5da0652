"""Thermal recordings: intervals, degrees, split; on files of the same shape and on the real ones where they are."""

import numpy as np
import pytest

from keras_st.specs import ClassifyTask, InputError
from pipelines import feature_spec, make_dataset
from pipelines.build import class_names
from pipelines.classify import training_clips, view_batches
from tests.conftest import DATA

TRAIN, TEST = "20200626_154313_mlx90640_01_light_none", "20200628_183032_mlx90640_01_light_natural"


def write(folder, name, intervals, length=60, **changed):
    temp = (2500 + np.arange(length)[:, None, None] + np.zeros((1, 24, 32))).astype("int16")
    starts, ends, labels = zip(*intervals)
    values = {"temp": temp, "interval_start": starts, "interval_end": ends}
    values["interval_label"] = np.array([str(label) for label in labels])
    np.savez(folder / f"{name}.npz", **{**values, **changed})


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, TRAIN, [(n * 8, n * 8 + 5 + n, n) for n in range(6)])
    write(tmp_path, TEST, [(3, 30, 0), (30, 31, 7)])
    return tmp_path


def read(folder, split, name="thermal", **options):
    return list(make_dataset(name, split, root=str(folder), **options).as_numpy_iterator())


def test_a_video_is_a_labelled_interval_in_degrees(folder):
    first, second = read(folder, "test")
    assert first["video"].shape == (27, 24, 32, 1) and second["video"].shape == (1, 24, 32, 1)
    np.testing.assert_allclose(first["video"][:, 0, 0, 0], 25.03 + 0.01 * np.arange(27), atol=1e-4)
    assert (first["label"], second["label"]) == (0, 7) and first["id"].decode() == f"{TEST}/3-30"
    spec = feature_spec(make_dataset("thermal", "test", root=str(folder)), "thermal", root=str(folder))
    assert (spec.dtype, spec.value_range, spec.unit) == ("float32", (15.0, 40.0), "degrees Celsius")
    assert class_names("thermal")[7] == "falling"


def test_every_fifth_training_interval_is_held_out(folder):
    assert [int(e["label"]) for e in read(folder, "train", shuffle=False)] == [0, 1, 2, 3, 5]
    assert [int(e["label"]) for e in read(folder, "validation")] == [4]
    assert len({tuple(int(e["label"]) for e in read(folder, "train", epoch=n)) for n in range(5)}) > 1


@pytest.mark.parametrize(
    "changed, word",
    [
        ({"temp": np.zeros((60, 24, 30), "int16")}, "24, 30"),
        ({"temp": np.zeros((60, 24, 32), "float32")}, "float32"),
        ({"interval_end": [90, 31]}, "3 to 90"),
        ({"interval_start": [-1, 30]}, "-1 to 30"),
        ({"interval_label": np.array(["0", "10"])}, "label 10"),
        ({"interval_label": np.array(["0", "walk"])}, "walk"),
    ],
)
def test_content_that_does_not_fit_is_named(folder, changed, word):
    write(folder, TEST, [(3, 30, 0), (30, 31, 7)], **changed)
    with pytest.raises(InputError, match=f"Received: .*{word}"):
        read(folder, "test")


def test_missing_and_truncated_files_are_named(folder, tmp_path_factory):
    whole = (folder / f"{TEST}.npz").read_bytes()
    (folder / f"{TEST}.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{TEST}.*Received"):
        read(folder, "test")
    for root in (str(tmp_path_factory.mktemp("empty")), ""):
        with pytest.raises(InputError, match="must hold the .npz"):
            read(root, "train")
    with pytest.raises(InputError, match="split='all'"):
        read(folder, "all")


# Labels of frames


def test_frames_have_the_actions_of_all_intervals_over_them(folder):
    write(folder, TEST, [(3, 30, 0), (25, 41, 7), (26, 28, 0)], length=105)
    windows = read(folder, "test", "thermal_frames", window_frames=25)
    assert [e["id"].decode() for e in windows] == [f"{TEST}/0-25", f"{TEST}/25-50"]  # nothing is labelled after 41
    label = np.concatenate([e["label"] for e in windows])
    want = np.full((50, 10), -1)
    want[3:41] = 0
    want[3:30, 0] = want[25:41, 7] = 1
    np.testing.assert_array_equal(label, want)
    assert windows[0]["label"].dtype == np.int64 and (label[25:30].sum(1) == 2).all()
    video = np.concatenate([e["video"] for e in windows])
    np.testing.assert_allclose(video[:, 0, 0, 0], 25 + 0.01 * np.arange(50), atol=1e-4)
    write(folder, TEST, [(3, 30, 0), (104, 105, 7)], length=105)
    rest = read(folder, "test", "thermal_frames", window_frames=50)[-1]
    assert rest["id"].decode() == f"{TEST}/100-105" and rest["label"].sum() == -39
    dataset = make_dataset("thermal_frames", "test", root=str(folder))
    assert feature_spec(dataset, "thermal_frames", root=str(folder)).value_range == (15.0, 40.0)
    assert class_names("thermal_frames") == class_names("thermal")
    assert dataset.element_spec["label"].shape.as_list() == [None, 10]


def test_every_fifth_window_is_held_out(folder):
    def names(split, **options):
        return [
            e["id"].decode().split("/")[1] for e in read(folder, split, "thermal_frames", window_frames=6, **options)
        ]

    assert names("validation") == ["24-30"]
    whole = [f"{n}-{n + 6}" for n in range(0, 50, 6)]  # frames 50 to 59 are not labelled
    assert names("train", shuffle=False) == [name for name in whole if name != "24-30"]
    assert names("train", epoch=1) == names("train", epoch=1) != names("train", epoch=2)


def test_windows_that_cannot_be_are_named(folder):
    with pytest.raises(InputError, match="window_frames=0"):
        read(folder, "train", "thermal_frames", window_frames=0)
    with pytest.raises(InputError, match="Received: too few"):
        read(folder, "validation", "thermal_frames")  # one window
    with pytest.raises(InputError, match="thermal_frames must be .*split='all'"):
        read(folder, "all", "thermal_frames")


def test_labelled_frames_are_cut_and_seen_whole(folder):
    dataset = make_dataset("thermal_frames", "train", root=str(folder), window_frames=10, shuffle=False)
    spec, task = feature_spec(dataset, "thermal_frames"), ClassifyTask(clip_frames=4, labels="frames")
    ((inputs, targets),) = training_clips(dataset, (spec,), task, 8, 0).as_numpy_iterator()
    assert inputs["video"].shape == (4, 4, 24, 32, 1) and targets["logits"].shape == (4, 4, 10)
    for (views, labels), element in zip(view_batches(dataset, (spec,), task, 8).as_numpy_iterator(), dataset):
        assert views["video"].shape == (1, 1, 10, 24, 32, 1)
        np.testing.assert_array_equal(labels["logits"][0], element["label"])


@pytest.fixture
def real():
    folder = DATA / "fir_thermal_actions"
    if not folder.is_dir():
        pytest.skip(f"no thermal recordings under KERAS_ST_DATA ({DATA})")
    return folder


@pytest.mark.data
def test_the_real_recordings(real):
    counts = {split: len(read(real, split)) for split in ("train", "validation", "test")}
    assert counts["train"] > 25 and counts["validation"] > 5 and counts["test"] > 10
    assert {int(e["label"]) for e in read(real, "test")} == {0, 6, 7, 8}
    assert (
        min(e["video"].min() for e in read(real, "train")) > 15
        and max(e["video"].max() for e in read(real, "train")) < 40
    )


@pytest.mark.data
def test_frames_of_the_real_recordings(real):
    parts = {split: read(real, split, "thermal_frames") for split in ("train", "validation", "test")}
    assert [len(parts[split]) for split in parts] == [12, 2, 4]
    length = {split: sum(len(e["video"]) for e in found) for split, found in parts.items()}
    assert length["train"] + length["validation"] == 563 + 743 + 718 + 471 and length["test"] == 685
    assert max(len(e["video"]) for e in parts["test"]) == 200
    label = np.concatenate([e["label"] for e in parts["test"]])
    assert (label[:, 0] == -1).sum() == 38 and (label >= 0).any(1).sum() == 647
    np.testing.assert_array_equal((label == 1).sum(0), [289, 0, 0, 0, 0, 0, 172, 134, 52, 0])
