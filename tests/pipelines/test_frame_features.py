"""Features of UCF101 frames: codes to numbers, splits by group; on a file of the same form and on the real one."""

import numpy as np
import pytest

from keras_st.specs import ClassifyTask, InputError
from pipelines import feature_spec, make_dataset
from pipelines.build import class_names
from pipelines.classify import training_clips, view_batches
from pipelines.datasets.frame_features import GROUPS, group_of
from tests.conftest import DATA


def content(rng, groups=10, videos=3, **changed):
    """Two classes of so many groups of so many videos; groups 1 and 2 are for the test."""
    names = [
        f"v_{c}_g{g:02d}_c{n:02d}" for c in ("Archery", "Biking") for g in range(1, groups + 1) for n in range(videos)
    ]
    values = {
        "features": rng.integers(0, 256, (len(names), 5, 4), np.uint8),
        "label": np.array(["Biking" in name for name in names], np.uint8),
        "split": np.array(["_g01_" in name or "_g02_" in name for name in names], np.uint8),
        "video": np.array(names),
        "class_names": np.array(["Archery", "Biking"]),
        "scale": np.float32(1 / 32),
        "offset": np.float32(-4),
    }
    return {**values, **changed}


@pytest.fixture
def values(rng):
    return content(rng)


@pytest.fixture
def folder(tmp_path, values):
    np.savez(tmp_path / "features.npz", **values)
    return tmp_path


def read(folder, split="train", **options):
    return list(make_dataset("frame_features", split, root=str(folder), **options).as_numpy_iterator())


def test_codes_become_numbers(folder, values):
    found = {e["id"].decode(): e for split in ("train", "validation", "test") for e in read(folder, split)}
    assert len(found) == len(values["video"])
    for name, codes, label in zip(values["video"], values["features"], values["label"]):
        assert found[name]["features"].dtype == np.float32 and found[name]["label"] == label
        np.testing.assert_array_equal(found[name]["features"], codes / 32 - 4)
    assert class_names("frame_features", root=str(folder)) == ("Archery", "Biking")
    dataset = make_dataset("frame_features", "train", root=str(folder))
    spec = feature_spec(dataset, "frame_features", stream="features", root=str(folder))
    assert (spec.name, spec.dtype, spec.shape, spec.value_range) == ("features", "float32", (5, 4), None)
    ((inputs, _),) = training_clips(dataset, (spec,), ClassifyTask(clip_frames=3), 99, 0).as_numpy_iterator()
    assert inputs["features"].shape[1:] == (3, 4) and inputs["features"].min() < -3
    (batch,) = view_batches(dataset, (spec,), ClassifyTask(clip_frames=5), 99).as_numpy_iterator()
    assert batch[0]["features"].shape[1:] == (1, 5, 4)


def test_whole_groups_are_held_out(folder):
    parts = {split: read(folder, split) for split in ("train", "validation", "test")}
    groups = {split: {e["id"].decode()[:-4] for e in found} for split, found in parts.items()}
    assert len(groups["validation"]) == 2 and len(groups["train"]) == 14 and len(groups["test"]) == 4
    assert not groups["train"] & groups["validation"] and {e["label"] for e in parts["validation"]} == {0, 1}
    assert all(len(parts[split]) == 3 * len(groups[split]) for split in parts)
    assert [e["id"] for e in read(folder, "validation", seed=3, epoch=2)] == [e["id"] for e in parts["validation"]]
    more = {e["id"].decode()[:-4] for e in read(folder, "validation", validation=0.5)}
    assert len(more) == 8
    with pytest.raises(InputError, match="Received: none .validation=0"):
        read(folder, "validation", validation=0)
    assert len(read(folder, "train", validation=0)) == 48


def test_the_order_is_a_function_of_seed_and_epoch(folder):
    def order(**options):
        return [e["id"] for e in read(folder, **options)]

    assert order(seed=1, epoch=2) == order(seed=1, epoch=2) != order(seed=1, epoch=3)
    assert order(seed=1) != order(seed=2) and sorted(order(seed=1)) == sorted(order(shuffle=False))


def test_numbered_videos_have_the_groups_of_the_published_list():
    assert [group_of(f"v_{n:06d}") for n in (177, 178, 181, 182, 259)] == [
        None, "ApplyLipstick_g08", "ApplyLipstick_g08", "ApplyLipstick_g09", "ApplyLipstick_g25",
    ]  # fmt: skip
    assert group_of("v_002004") == "BodyWeightSquats_g25" and group_of("v_002003") == "BodyWeightSquats_g24"
    assert group_of("v_002011") is None and group_of("v_Archery_g11_c02") == "Archery_g11" and group_of("a.avi") is None
    assert all(len(sizes) == 18 and set(sizes) <= set("4567") for _, sizes in GROUPS.values())


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"features": np.zeros((60, 5), np.uint8)}, r"uint8 \(video, frame, number\). Received: uint8 \(60, 5\)"),
        ({"features": np.zeros((60, 5, 4), "float32")}, "Received: float32"),
        ({"features": np.zeros((59, 5, 4), np.uint8)}, "`label` for each of 59"),
        ({"label": np.full(60, 2)}, "labels 2 to 2"),
        ({"label": np.zeros(60)}, "`label`.*float64"),
        ({"split": np.full(60, 2)}, r"splits \[2\]"),
        ({"video": np.full(60, "v_Archery_g09_c01")}, "a name twice"),
        ({"video": np.array([f"film{n}" for n in range(60)])}, "numbered as in UCF101.*Received: film6"),
        ({"class_names": np.array("Archery")}, "its 0 `class_names`"),
        ({"scale": np.array([1.0])}, "`scale` of .*features.npz must be a number"),
        ({"offset": np.float32(np.nan)}, "Received: nan"),
    ],
)
def test_content_that_does_not_fit_is_named(folder, rng, changed, message):
    np.savez(folder / "features.npz", **content(rng, **changed))
    with pytest.raises(InputError, match=message):
        read(folder)


def test_missing_and_truncated_files_are_named(folder, values, tmp_path_factory):
    for root in ("", str(tmp_path_factory.mktemp("empty"))):
        with pytest.raises(InputError, match="needs features.npz in `root`"):
            read(root)
        with pytest.raises(InputError, match="needs features.npz"):
            class_names("frame_features", root=root)
    with pytest.raises(InputError, match="split='all'"):
        read(folder, "all")
    with pytest.raises(InputError, match="validation=1"):
        read(folder, validation=1)
    whole = (folder / "features.npz").read_bytes()
    (folder / "features.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="features.npz must be a whole .npz"):
        read(folder)
    np.savez(folder / "features.npz", **{name: value for name, value in values.items() if name != "offset"})
    with pytest.raises(InputError, match="offset"):
        read(folder)


@pytest.mark.data
def test_the_real_file():
    folder = DATA / "ucf101_frame_features"
    if not folder.is_dir():
        pytest.skip(f"no frame features under KERAS_ST_DATA ({DATA})")
    parts = {split: read(folder, split) for split in ("train", "validation", "test")}
    assert len(parts["train"]) + len(parts["validation"]) == 1341 and len(parts["test"]) == 258
    assert 0.08 < len(parts["validation"]) / 1341 < 0.13
    classes = class_names("frame_features", root=str(folder))
    assert len(classes) == 14 and set(classes) == set(GROUPS)
    groups = {}
    for split in ("train", "validation"):
        for e in parts[split]:
            group = group_of(e["id"].decode())
            assert group.rsplit("_", 1)[0] == classes[e["label"]]
            assert groups.setdefault(group, split) == split
    assert len(groups) == 14 * 18
    assert {e["label"] for e in parts["validation"]} == set(range(14))
    assert all(group_of(e["id"].decode()) is None for e in parts["test"])  # groups 1 to 7
    values = np.stack([e["features"] for e in parts["train"]])
    assert values.shape[1:] == (25, 256) and values.min() == -4 and abs(values.mean()) < 0.1
