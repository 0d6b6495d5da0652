"""Shards to what training sees: frames chosen before they are decoded, flow beside frames, several processes."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_st.specs import ClassifyTask, ForecastTask, InputError
from pipelines import feature_spec, make_dataset, records, schema
from pipelines.classify import training_clips, view_batches
from pipelines.forecast import forecast_batches
from pipelines.sampling import random_clip, spread_clips


def numbered(length, n, height=12, width=16):
    """A clip whose frame t is 10 t + n grey levels, brighter to the right, and whose flow is (x, t)."""
    column = np.arange(width, dtype=np.float32)
    video = np.broadcast_to(
        10 * np.arange(length)[:, None, None, None] + n + column[:, None], (length, height, width, 1)
    )
    flow = np.stack(np.broadcast_arrays(column / 2, np.arange(length, dtype=np.float32)[:, None, None]), -1)
    flow = np.broadcast_to(flow, (length, height, width, 2)).astype(np.float32)
    time = np.arange(length) / 25 + 1.5
    return {"video": video.astype(np.uint8), "flow": flow, "time": time, "id": b"v%d" % n, "label": n % 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("shards")
    for split, lengths in (("train", (9, 5, 12, 7, 6, 8, 10)), ("test", (9, 4))):
        records.write_shards([numbered(t, n) for n, t in enumerate(lengths)], path, split, 2, flow_bound=16)
    return path


def read(folder, split="train", **options):
    return make_dataset("records", split, root=str(folder), **options)


def specs(folder, *names):
    return tuple(feature_spec(read(folder), "records", root=str(folder), stream=name) for name in names)


TASK = {"clip_frames": 3, "frame_stride": 2}


@pytest.mark.parametrize(
    "task", [{}, {"crop": (7, 9), "flip": True}, {"resize": (24, 8), "crop": (20, 6), "flip": True}]
)
def test_chosen_before_decoded_is_the_same_as_after(folder, task):
    task, both = ClassifyTask(**TASK, **task), specs(folder, "video", "flow")

    def batches(encoded):
        clips = read(folder, seed=3, epoch=1, encoded=encoded)
        if encoded:
            assert clips.element_spec["video"].dtype == tf.string and clips.element_spec["flow"].dtype == tf.string
        return list(training_clips(clips, both, task, 3, 5).as_numpy_iterator())

    for (a, labels), (b, others) in zip(batches(True), batches(False), strict=True):
        np.testing.assert_array_equal(labels["logits"], others["logits"])
        for name in ("video", "flow"):
            np.testing.assert_array_equal(a[name], b[name])
    views = [
        list(view_batches(read(folder, "test", encoded=e), both, task, 2).as_numpy_iterator()) for e in (True, False)
    ]
    np.testing.assert_array_equal(views[0][0][0]["flow"], views[1][0][0]["flow"])


def test_only_the_chosen_frames_are_decoded(folder, tmp_path):
    clips = read(folder, "test", encoded=True, shuffle=False).take(1)
    spoilt = clips.map(lambda c: {**c, "video": tf.concat([c["video"][:3], tf.fill([6], "no picture")], 0)})
    task = ClassifyTask(clip_frames=1, test_clips=1)
    with pytest.raises(tf.errors.InvalidArgumentError):  # the middle frame
        list(view_batches(spoilt, specs(folder, "video"), task, 1))
    with_end = ClassifyTask(clip_frames=1, test_clips=2, placement="ends")
    first = spoilt.map(lambda c: {**c, "video": tf.concat([c["video"][:1], c["video"][1:8], c["video"][:1]], 0)})
    assert len(list(view_batches(first, specs(folder, "video"), with_end, 1))) == 1


def test_frames_and_flow_are_cut_and_mirrored_alike(folder):
    task, seen = ClassifyTask(**TASK, crop=(7, 9), flip=True), set()
    video, flow = specs(folder, "video", "flow")
    for seed in range(12):
        for inputs, _ in training_clips(read(folder), (video, flow), task, 1, seed).as_numpy_iterator():
            frames = inputs["video"][0, :, 0, :, 0] * 255
            u, v = np.moveaxis(inputs["flow"][0, :, 0] * 32 - 16, -1, 0)
            mirrored = frames[0, 0] > frames[0, 1]
            left = frames.min() - 10 * np.round(v[0, 0])  # n + the first column that is in the window
            column = np.abs(u[0]) * 2
            np.testing.assert_allclose(np.diff(np.abs(u[0])), -0.5 if mirrored else 0.5, atol=0.15)
            assert (u[0] < 0.1).all() if mirrored else (u[0] > -0.1).all()
            np.testing.assert_allclose(frames[:, 0] - frames[0, 0], 10 * (v[:, 0] - v[0, 0]), atol=2.5)  # same times
            assert -0.2 <= left - column.min() <= 6.5  # n, so the same columns
            seen.add(bool(mirrored))
    assert seen == {True, False}


def test_resized_flow_counts_in_new_pixels(folder):
    task = ClassifyTask(clip_frames=2, resize=(24, 8))
    flow = specs(folder, "flow")
    (inputs, _), *_ = view_batches(read(folder, "test"), flow, task, 1).as_numpy_iterator()
    field = inputs["flow"][0, 0] * 32 - 16
    assert field.shape == (2, 24, 8, 2)
    middle = numbered(9, 0)["flow"][4:6]  # the clip in the middle of nine frames
    np.testing.assert_allclose(field[..., 0].mean(), middle[..., 0].mean() / 2, atol=0.1)  # half as wide
    np.testing.assert_allclose(field[..., 1].mean((1, 2)), middle[..., 1].mean((1, 2)) * 2, atol=0.1)  # twice as high


def test_ten_crops_mirror_flow_with_its_sign(folder):
    task = ClassifyTask(clip_frames=2, crop=(12, 16), test_crops=10)
    (inputs, _), *_ = view_batches(read(folder, "test"), specs(folder, "flow"), task, 1).as_numpy_iterator()
    flow = inputs["flow"][0] * 32 - 16
    np.testing.assert_allclose(flow[5][:, :, ::-1], flow[0] * [-1, 1], atol=1e-4)


def test_forecasts_read_windows(folder):
    (spec,) = specs(folder, "video")
    task = ForecastTask(2, 2)
    pair = [
        list(forecast_batches(read(folder, encoded=e, seed=1), spec, task, 7, 3).as_numpy_iterator()) for e in (0, 1)
    ]
    np.testing.assert_array_equal(pair[0][0][0]["video"], pair[1][0][0]["video"])
    np.testing.assert_array_equal(pair[0][0][1]["frames"], pair[1][0][1]["frames"])


@pytest.mark.parametrize("processes", [2, 3])  # two shards: each its own, or every record in turn
def test_processes_share_the_records(folder, processes):
    def names(**options):
        return [clip["id"] for clip in read(folder, seed=2, epoch=1, encoded=True, **options).as_numpy_iterator()]

    parts = [names(process=p, processes=processes) for p in range(processes)]
    assert sorted(sum(parts, [])) == sorted(names())
    assert all(
        int(read(folder, process=p, processes=processes).cardinality()) == len(parts[p]) for p in range(processes)
    )
    with pytest.raises(InputError, match="process=3, processes=3"):
        read(folder, process=3, processes=3)


def test_a_stopped_reader_goes_on_where_it_was(folder):
    def names(dataset):
        return [clip["id"] for clip in dataset.as_numpy_iterator()]

    whole = names(read(folder, seed=4, epoch=2))
    assert names(read(folder, seed=4, epoch=2).skip(3)) == whole[3:]


def test_large_records_are_shuffled_few_at_a_time(folder, monkeypatch):
    monkeypatch.setattr(records, "SHUFFLED_BYTES", 1)
    orders = {tuple(c["id"] for c in read(folder, epoch=e).as_numpy_iterator()) for e in range(8)}
    assert len(orders) == 2  # of the two shards; records stay in order


def test_a_stream_that_is_not_stored_is_named(folder, tmp_path):
    clip = numbered(3, 0)
    records.write_shards([{"video": clip["video"], "id": b"x"}], tmp_path, "train")
    with pytest.raises(InputError, match="stream='flow'"):
        specs(tmp_path, "flow")


# Properties


sizes = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(sizes, st.sampled_from([1, 3]), st.sampled_from(["png", "raw"]), st.integers(0, 2**16), st.sampled_from("nofs"))
def test_records_return_what_was_written(size, channels, encoding, seed, kind):
    rng = np.random.default_rng(seed)
    clip = {"video": rng.integers(0, 256, (*size, channels), np.uint8), "id": rng.bytes(5)}
    clip["flow"] = rng.uniform(-25, 25, (*size, 2)).astype(np.float32)
    clip["time"] = np.cumsum(rng.uniform(0.001, 3, size[0]))
    labels = {"o": int(rng.integers(9)), "s": rng.integers(0, 2, 4), "f": rng.integers(0, 2, (size[0], 4)), "n": None}
    if labels[kind] is not None:
        clip["label"] = labels[kind]
    spec = schema.spec_of(clip, encoding)
    record, shape = schema.encode_clip(schema.steps_of(clip), spec, clip["id"], clip.get("label"))
    back = schema.decode_clip(schema.parse_clip(record, schema.RecordSpec.from_dict(spec.as_dict())), spec)
    assert shape == clip["video"].shape and back.keys() == clip.keys() and back["id"].numpy() == clip["id"]
    np.testing.assert_array_equal(back["video"], clip["video"])
    assert np.abs(back["flow"] - np.clip(clip["flow"], -20, 20)).max() <= 20 / 255 + 1e-5
    np.testing.assert_allclose(back["time"], clip["time"], atol=1e-6)
    np.testing.assert_array_equal(back.get("label", 0), clip.get("label", 0))
    assert schema.encode_clip(schema.steps_of(clip), spec, clip["id"], clip.get("label"))[0] == record


@quick
@given(
    st.integers(1, 50), st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(0, 99),
    st.sampled_from(["centre", "ends"]),
)  # fmt: skip
def test_clips_lie_in_the_video(length, frames, stride, clips, seed, placement):
    one = random_clip(length, frames, stride, tf.constant([seed, 0], tf.int64)).numpy()
    many = spread_clips(length, frames, stride, clips, placement).numpy()
    reach = (frames - 1) * stride + 1
    for indices in (one, *many):
        assert indices.shape == (frames,) and indices.min() >= 0 and indices.max() < length
        if reach <= length:
            np.testing.assert_array_equal(np.diff(indices), stride)
    assert many.shape == (clips, frames)
    if reach <= length:
        assert (np.diff(many[:, 0]) >= 0).all()
        if placement == "ends" and clips > 1:
            assert many[0, 0] == 0 and many[-1, -1] == length - 1


# What cannot be stored


@pytest.mark.parametrize(
    "change, message",
    [
        ({"flow": np.zeros((3, 12, 15, 2), np.float32)}, "as the frames"),
        ({"flow": np.full((3, 12, 16, 2), np.nan, np.float32)}, "not finite"),
        ({"flow": np.zeros((2, 12, 16, 2), np.float32)}, "`flow` needs a value for each of 3 frames"),
        ({"time": [1.0]}, "`time` needs a value for each of 3 frames"),
        ({"label": 0.5}, "whole numbers"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        records.write_shards([{**numbered(3, 0), **change}], tmp_path / "out", "train")
    assert not list((tmp_path / "out").glob("*"))
