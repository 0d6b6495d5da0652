"""Radar events: values, missing cells, splits by event, steps, windows, crops and turns."""

import os
import pathlib

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines.datasets import radar as module
from pipelines.datasets.radar import radar, read_event, write_event

START = np.datetime64("2020-05-01T00:00:00")


def times(count, minutes=5):
    return START + np.arange(count) * np.timedelta64(round(60 * minutes), "s")


def fields(count, height=6, width=8, tile=0):
    """Fields whose values say where and when they are, in hundredths of a mm/h."""
    t, y, x = np.meshgrid(np.arange(count), np.arange(height), np.arange(width), indexing="ij")
    return (10_000 * tile + 100 * t + 10 * y + x) / 100


@pytest.fixture
def folder(tmp_path):
    """Two training events of 5 minutes, one of 2, one for validation, one of 10 minutes for testing."""
    write_event(tmp_path / "a.npz", np.stack([fields(8), fields(8, tile=1)]), times(8), source="made")
    write_event(tmp_path / "b.npz", fields(6, 4, 8), times(6), pixel_km=2.0)
    write_event(tmp_path / "fine.npz", fields(20), times(20, 2))
    write_event(tmp_path / "v.npz", fields(7), times(7))
    write_event(tmp_path / "t.npz", fields(7), times(7, 10))
    rows = ["file,split", "a.npz,train", "b.npz,train", "fine.npz,train", "v.npz,validation", "t.npz,test"]
    (tmp_path / "splits.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def read(root, split="train", **options):
    return list(radar(split, root=str(root), **{"num_frames": 4, **options}).as_numpy_iterator())


def test_windows_of_a_split(folder):
    found = read(folder, shuffle=False)
    assert [clip["id"].decode() for clip in found[:2]] == ["a/0/2020-05-01T00:00", "a/0/2020-05-01T00:05"]
    assert len(found) == 5 + 5 + 3 and found[0]["video"].shape == found[0]["mask"].shape == (4, 6, 8, 1)
    np.testing.assert_allclose(found[6]["video"][..., 0], fields(8, tile=1)[1:5], atol=1e-4)
    assert found[0]["mask"].all() and not found[-1]["mask"][:, 4:].any() and found[-1]["mask"][:, :4].all()
    assert not found[-1]["video"][:, 4:].any()  # of smaller events what is not there is missing
    assert {clip["id"].decode()[0] for clip in read(folder, "validation")} == {"v"}
    assert len(read(folder, shuffle=False, window_stride=3)) == 2 + 2 + 1
    spec = module.feature(root=str(folder), num_frames=4)
    assert (spec.shape, spec.unit, spec.value_range) == ((4, 6, 8, 1), "mm/h", None)


def test_steps(folder):
    """Events whose step divides the wanted one are thinned out, others left out; None: as they are."""
    found = read(folder, shuffle=False, step_minutes=10)
    assert [clip["id"].decode().split("/")[0] for clip in found].count("a") == 2 * 2
    np.testing.assert_allclose(found[1]["video"][..., 0], fields(8)[1:8:2], atol=1e-4)
    thin = [clip for clip in found if clip["id"].startswith(b"fine")]
    assert len(thin) == 5
    np.testing.assert_allclose(thin[0]["video"][..., 0], fields(20)[0:20:5], atol=1e-4)
    assert {clip["id"].decode()[0] for clip in read(folder, step_minutes=2)} == {"f"}
    assert {clip["id"].decode().split("/")[0] for clip in read(folder, step_minutes=None)} == {"a", "b", "fine"}
    assert len(read(folder, "test", step_minutes=10)) == 4
    with pytest.raises(InputError, match="multiple of an event's.*Received: step_minutes=5.0, .*events {'t': 10.0}"):
        read(folder, "test")


def test_a_step_may_differ_by_a_tolerance(folder):
    """10 minutes are within a quarter of 8 and 12.5; thinned steps are exact: of 2 minutes no 4 comes as 5."""
    for step in (8.0, 12.5):
        with pytest.raises(InputError, match=f"Received: step_minutes={step}, step_tolerance=0.1"):
            read(folder, "test", step_minutes=step, step_tolerance=0.1)
        assert len(read(folder, "test", step_minutes=step, step_tolerance=0.3)) == 4
    assert module.event_steps(str(folder), "train", 5.0, 0.3) == {"a": 5.0, "b": 5.0}
    assert module.event_steps(str(folder), "train", 10.0, 0.3) == {"a": 10.0, "b": 10.0, "fine": 10.0}
    assert module.event_steps(str(folder), "train") == {"a": 5.0, "b": 5.0}
    assert module.event_steps(str(folder), "test", None) == {"t": 10.0}
    assert module.feature(root=str(folder), num_frames=4, step_tolerance=0.25).missing
    with pytest.raises(InputError, match="must lie in 0..0.5. Received: step_tolerance=0.5"):
        read(folder, step_tolerance=0.5)


def test_missing_negative_and_large_values(tmp_path):
    rate = fields(5)
    rate[0, 0, :5] = np.nan, -1.0, np.inf, 700.0, 0.04
    write_event(tmp_path / "a.npz", rate, times(5), threshold=0.05)
    got = read_event(tmp_path / "a.npz").rate[0]
    assert np.isnan(got[0, 0, :3]).all() and got[0, 0, 3] == np.float32(600) and got[0, 0, 4] == 0
    np.testing.assert_allclose(got[1:], rate[1:], atol=1e-4)
    (tmp_path / "splits.csv").write_text("file,split\na.npz,train\n")
    clip = read(tmp_path, shuffle=False)[0]
    assert clip["mask"][0, 0, :5, 0].tolist() == [False, False, False, True, True] and np.isfinite(clip["video"]).all()


def test_masked_cells_are_missing(tmp_path):
    rate = np.ma.masked_array(fields(3), False, fill_value=9999)
    rate[0, 0, 1] = np.ma.masked
    rate.data[0, 0, 1] = 9999
    write_event(tmp_path / "a.npz", rate, times(3))
    assert np.isnan(read_event(tmp_path / "a.npz").rate[0, 0, 0, 1])


def test_codes_above_the_largest_rate_are_cut(tmp_path):
    codes = np.full((1, 2, 3, 4), 60500, np.uint16)
    codes[0, 0, 0, 0] = 65535
    packing = {"scale": np.float32(0.01), "offset": 0.0, "missing": np.uint16(65535)}
    np.savez(tmp_path / "a.npz", rate=codes, time=times(2), step_minutes=5, **packing)
    rate = read_event(tmp_path / "a.npz").rate
    assert np.isnan(rate[0, 0, 0, 0]) and np.nanmax(rate) == np.float32(600)


@pytest.mark.parametrize("told", [{"projection": None}, {"grid": {"x": 1}}])
def test_what_is_passed_through_can_be_read_again(tmp_path, told):
    with pytest.raises(InputError, match=f"`{next(iter(told))}` must be numbers or strings. Received: "):
        write_event(tmp_path / "a.npz", fields(3), times(3), **told)
    assert not (tmp_path / "a.npz").exists()


def test_units_and_other_packings(tmp_path):
    write_event(tmp_path / "z.npz", np.full((2, 3, 4), 23.0), times(2), unit="dBZ", zr=(200, 1.6))
    assert read_event(tmp_path / "z.npz").rate[0, 0, 0, 0] == pytest.approx((10**2.3 / 200) ** (1 / 1.6), abs=0.005)
    codes = np.array([[[[0, 10], [250, 20]]] * 2], np.uint8).reshape(1, 2, 2, 2)
    np.savez(
        tmp_path / "own.npz", rate=codes, time=times(2), step_minutes=5, scale=0.5, offset=-1, missing=np.uint8(250)
    )
    got = read_event(tmp_path / "own.npz")
    np.testing.assert_allclose(got.rate[0, 0], [[np.nan, 4.0], [np.nan, 9.0]])
    np.savez(tmp_path / "float.npz", rate=fields(2)[None], time=times(2), step_minutes=5, projection="+proj=stere")
    assert read_event(tmp_path / "float.npz").told == {"projection": "+proj=stere"}


def test_crops_and_turns_are_the_same_for_a_window_and_its_mask(folder):
    found = read(folder, crop=(4, 4), turn=True, step_minutes=5)
    assert all(clip["video"].shape == (4, 4, 4, 1) for clip in found)
    seen = set()
    for clip in found:
        if not clip["mask"].all():
            continue
        video = np.rint(100 * clip["video"][..., 0]).astype(int)
        assert (np.diff(video, axis=0) == 100).all()  # time runs on in the same places
        down, right = video[0, 1, 0] - video[0, 0, 0], video[0, 0, 1] - video[0, 0, 0]
        seen.add((down, right))
        assert {abs(down), abs(right)} == {1, 10}
    assert len(seen) > 4
    again, other = (read(folder, crop=(4, 4), turn=True, epoch=e) for e in (0, 1))
    assert [c["video"].tolist() for c in again] == [c["video"].tolist() for c in found]
    assert [c["video"].tolist() for c in other] != [c["video"].tolist() for c in found]
    assert read(folder, "validation", crop=(4, 4), turn=True)[0]["video"].shape == (4, 6, 8, 1)


@pytest.mark.parametrize(
    "options, told",
    [
        ({"split": "dev"}, "split"),
        ({"num_frames": 0}, "num_frames"),
        ({"window_stride": 0}, "window_stride"),
        ({"num_frames": 9}, "fit into an event of train"),
        ({"crop": (7, 4)}, "crop"),
        ({"crop": (4, 3), "turn": True}, "square"),
        ({"step_minutes": 7}, "multiple of an event's"),
        ({"root": ""}, "splits.csv"),
    ],
)
def test_bad_options(folder, options, told):
    options = {"split": "train", "root": str(folder), "num_frames": 4, **options}
    with pytest.raises(InputError, match=f"{told}.*Received"):
        radar(options.pop("split"), **options)


def test_bad_files(folder):
    def told(name, arrays=None, content=None):
        path = folder / name
        if arrays is not None:
            np.savez(path, **arrays)
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.*Received") as error:
            read_event(path)
        assert "\n" not in str(error.value)

    good = {"rate": fields(4)[None], "time": times(4), "step_minutes": 5}
    told("missing.npz")
    told("empty.npz", content=b"")
    told("cut.npz", content=(folder / "a.npz").read_bytes()[:300])
    told("less.npz", {"rate": good["rate"]})
    told("text.npz", {**good, "rate": np.full((1, 4, 2, 2), "x")})
    told("flat.npz", {**good, "rate": fields(4)})
    told("times.npz", {**good, "time": times(3)})
    told("gap.npz", {**good, "time": np.delete(times(5), 2)})
    told("back.npz", {**good, "time": times(4)[::-1]})
    told("step.npz", {**good, "step_minutes": 6})
    told("pickled.npz", {**good, "rate": np.array([{}], object)})
    with pytest.raises(InputError, match="new .npz file"):
        write_event(folder / "a.npz", fields(4), times(4))
    with pytest.raises(InputError, match="a folder that is there. Received: .*none/b.npz"):
        write_event(folder / "none/b.npz", fields(3), times(3))
    with pytest.raises(InputError, match="`time` must be datetime64. Received: int64"):
        write_event(folder / "c.npz", fields(3), 5 * np.arange(3))
    with pytest.raises(InputError, match="cells that are not missing, negative or infinite. Received: none"):
        write_event(folder / "c.npz", np.full((3, 4, 5), np.nan), times(3))
    with pytest.raises(InputError, match="unit='mm'"):
        write_event(folder / "new.npz", fields(4), times(4), unit="mm")
    for table in ("file,split\na.npz,dev\n", "a,b\n1,2\n", "file,split\na.npz,train\na.npz,test\n", "file,split\n"):
        (folder / "splits.csv").write_text(table)
        with pytest.raises(InputError, match="splits.csv must.*Received"):
            read(folder)
    assert not [path for path in folder.iterdir() if "partial" in path.name]


@pytest.mark.data
def test_real_events():
    root = pathlib.Path(os.environ.get("KERAS_ST_DATA", ""), "radar")
    if not root.is_dir():
        pytest.skip("needs radar under KERAS_ST_DATA")
    event = read_event(root / "fmi_20170509.npz")
    assert event.rate.shape == (2, 40, 256, 256) and event.step_minutes == 5 and event.told["pixel_km"] == 2
    assert np.isnan(event.rate).mean() == pytest.approx(0.035, abs=0.01)
    assert (event.rate > 0.1).mean() == pytest.approx(0.11, abs=0.01)
    test = radar("test", root=str(root), num_frames=24)
    assert int(test.cardinality()) == 2 * 17
    clip = next(iter(test.as_numpy_iterator()))
    known = event.rate[0, :24]
    np.testing.assert_array_equal(clip["mask"][..., 0], np.isfinite(known))
    np.testing.assert_allclose(clip["video"][..., 0], np.nan_to_num(known), atol=1e-4)
