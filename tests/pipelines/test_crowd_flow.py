"""City flow grids: windows of a series, parts in time, bad files."""

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import feature_spec, make_dataset
from tests.conftest import DATA


@pytest.fixture
def city(tmp_path):
    """A folder with city.npz: 50 hours of 4 x 3 cells; cell values tell slot and place."""
    flow = np.arange(50 * 4 * 3 * 2).reshape(50, 4, 3, 2).astype("uint16")
    time = np.datetime64("2020-02-28T20:00:00") + np.arange(50) * np.timedelta64(3600, "s")
    np.savez(tmp_path / "city.npz", flow=flow, time=time)
    return tmp_path, flow, time


def elements(root, split, **options):
    dataset = make_dataset("crowd_flow", split, root=str(root), file="city.npz", **options)
    return dataset, list(dataset.as_numpy_iterator())


def test_windows_stay_in_their_part_and_cover_it(city):
    root, flow, _ = city
    starts = {}
    for split, (first, last) in {"train": (0, 35), "validation": (35, 40), "test": (40, 50)}.items():
        dataset, clips = elements(root, split, num_frames=4, shuffle=False)
        assert int(dataset.cardinality()) == len(clips) == last - first - 3
        for n, clip in enumerate(clips):
            np.testing.assert_array_equal(clip["video"], flow[first + n : first + n + 4])
        starts[split] = clips[0]["id"]
    assert clips[0]["video"].dtype == np.float32
    assert starts["train"] == b"city/2020-02-28T20:00" and starts["test"] == b"city/2020-03-01T12:00"


def test_order_is_shuffled_by_seed_and_epoch(city):
    root, _, _ = city

    def order(**options):
        return [clip["id"] for clip in elements(root, "train", num_frames=4, **options)[1]]

    assert order() == order() and sorted(order()) == sorted(order(epoch=1))
    assert order() != order(epoch=1) and order() != order(seed=1) and order() != order(shuffle=False)


def test_the_range_is_that_of_the_training_part(city):
    root, flow, _ = city
    options = {"root": str(root), "file": "city.npz", "num_frames": 4}
    spec = feature_spec(make_dataset("crowd_flow", "test", **options), "crowd_flow", **options)
    assert spec.value_range == (0.0, float(flow[:35].max())) and spec.shape == (4, 4, 3, 2)
    assert spec.unit == "counts a slot"


def write(path, flow=None, time=None):
    flow = np.ones((20, 2, 2, 1)) if flow is None else flow
    time = np.datetime64("2020-01-01T00:00:00") + np.arange(20) * np.timedelta64(1800, "s") if time is None else time
    np.savez(path, flow=flow, time=time)


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "city.npz"
    with pytest.raises(InputError, match="needs city.npz"):
        elements(tmp_path, "train", num_frames=2)
    gap = np.datetime64("2020-01-01T00:00:00") + np.r_[np.arange(10), np.arange(11, 21)] * np.timedelta64(1800, "s")
    cases = [
        ({"flow": -np.ones((20, 2, 2, 1))}, "none below 0"),
        ({"flow": np.full((20, 2, 2, 1), np.nan)}, "finite"),
        ({"flow": np.ones((20, 2, 2))}, r"\(20, 2, 2\)"),
        ({"flow": np.ones((20, 2, 2, 1), object)}, "whole .npz"),
        ({"flow": np.ones((19, 2, 2, 1))}, "for each slot"),
        ({"time": gap}, "without gaps"),
        ({"time": np.repeat(gap[:1], 20)}, "without gaps"),
    ]
    for content, message in cases:
        write(path, **content)
        with pytest.raises(InputError, match=message):
            elements(tmp_path, "train", num_frames=2)
    write(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="whole .npz"):
        elements(tmp_path, "train", num_frames=2)
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="whole .npz"):
        elements(tmp_path, "train", num_frames=2)


def test_a_window_must_fit(city):
    root, _, _ = city
    for frames in (0, 6):
        with pytest.raises(InputError, match=f"num_frames={frames}"):
            elements(root, "validation", num_frames=frames)
    with pytest.raises(InputError, match="split='dev'"):
        elements(root, "dev", num_frames=2)


@pytest.mark.parametrize(
    "file, shape, peak",
    [("nyc_bike_2014.npz", (16, 8, 2), 239.0), ("nyc_taxi_pickups_201501.npz", (10, 20, 1), 2963.0)],
)
def test_the_real_series(file, shape, peak):
    root = DATA / "crowd_flow"
    if not (root / file).is_file():
        pytest.skip(f"no {file} under KERAS_ST_DATA ({DATA})")
    options = {"root": str(root), "file": file, "num_frames": 8}
    dataset = make_dataset("crowd_flow", "test", **options)
    assert dataset.element_spec["video"].shape == (8, *shape)
    assert feature_spec(dataset, "crowd_flow", **options).value_range == (0.0, peak)
    mean = np.mean([clip["video"].mean() for clip in dataset.take(20).as_numpy_iterator()])
    assert 1 < mean < 100
