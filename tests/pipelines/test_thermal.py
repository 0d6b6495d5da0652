"""Thermal recordings: intervals, degrees, split; on files of the same shape and on the real ones where they are."""

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import feature_spec, make_dataset
from pipelines.build import class_names
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


def read(folder, split, **options):
    return list(make_dataset("thermal", split, root=str(folder), **options).as_numpy_iterator())


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


@pytest.mark.data
def test_the_real_recordings():
    folder = DATA / "fir_thermal_actions"
    if not folder.is_dir():
        pytest.skip(f"no thermal recordings under KERAS_ST_DATA ({DATA})")
    counts = {split: len(read(folder, split)) for split in ("train", "validation", "test")}
    assert counts["train"] > 25 and counts["validation"] > 5 and counts["test"] > 10
    assert {int(e["label"]) for e in read(folder, "test")} == {0, 6, 7, 8}
    assert (
        min(e["video"].min() for e in read(folder, "train")) > 15
        and max(e["video"].max() for e in read(folder, "train")) < 40
    )
