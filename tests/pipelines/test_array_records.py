"""TFRecord shards of features and other float arrays, beside frames or alone."""

import hashlib
import json
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_st.specs import VIDEO, ClassifyTask, FeatureSpec, InputError
from pipelines import feature_spec, inspect, make_dataset, records, schema
from pipelines.build import class_names
from pipelines.classify import check_elements, training_clips, view_batches

CLASSES = ("run", "jump", "sit", "wave")


@pytest.fixture
def clips(rng):
    return [
        {
            "features": rng.normal(size=(t, 2, 3, 5)).astype("float16"),
            "pooled": rng.normal(size=(t, 7)).astype("float32"),
            "id": b"clip%d" % n,
            "label": n % 4,
        }
        for n, t in enumerate((3, 5, 4, 3, 6))
    ]


def read(folder, split="test", **options):
    return make_dataset("records", split, root=str(folder), **options)


@pytest.mark.parametrize("with_video", [False, True])
def test_arrays_come_back_bit_by_bit(clips, tmp_path, rng, with_video):
    for clip in clips if with_video else ():
        clip["video"] = rng.integers(0, 256, (len(clip["pooled"]), 6, 8, 3), np.uint8)
        clip["flow"] = rng.uniform(-9, 9, (*clip["video"].shape[:3], 2)).astype("float32")
        clip["time"] = np.arange(len(clip["video"])) / 8
    clips[0]["features"].flat[:4] = [65504, -65504, 6e-8, -0.0]  # largest, smallest of all, signed zero
    records.write_shards(iter(clips), tmp_path, "test", 2, classes=CLASSES)
    back = {clip["id"]: clip for clip in read(tmp_path).as_numpy_iterator()}
    for clip in clips:
        found = back[clip["id"]]
        assert found.keys() == clip.keys() and found["label"] == clip["label"]
        for name in ("features", "pooled"):
            assert found[name].dtype == clip[name].dtype
            np.testing.assert_array_equal(
                found[name].view(f"u{clip[name].itemsize}"), clip[name].view(f"u{clip[name].itemsize}")
            )
    assert class_names("records", root=str(tmp_path)) == CLASSES
    spec = records.feature(root=str(tmp_path), stream="features")
    assert (spec.name, spec.dtype, spec.shape, spec.value_range) == ("features", "float16", (None, 2, 3, 5), None)
    assert ("size" in read(tmp_path, encoded=True).element_spec) == with_video
    assert (records.read_spec(tmp_path).video is not None) == with_video


arrays = st.tuples(st.sampled_from(["float16", "float32"]), st.lists(st.integers(1, 4), min_size=1, max_size=3))
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(
    st.integers(1, 5),
    st.dictionaries(st.sampled_from(["a", "block2_pool", "flow_features"]), arrays, min_size=1),
    st.integers(0, 99),
)
def test_any_arrays_survive_a_record(length, kinds, seed):
    rng = np.random.default_rng(seed)
    clip = {name: rng.normal(size=(length, *shape)).astype(dtype) for name, (dtype, shape) in kinds.items()}
    clip["id"] = b"x"
    spec = schema.spec_of(clip)
    assert schema.RecordSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec
    record, shape = schema.encode_clip(schema.steps_of(clip), spec, clip["id"])
    back = schema.decode_clip(schema.parse_clip(record, spec), spec)
    assert shape == (length,) and back.keys() == clip.keys()
    for name in kinds:
        np.testing.assert_array_equal(back[name], clip[name])


def test_records_without_arrays_are_what_they_were(tmp_path):
    """Bytes of schema 2 as first written: such folders stay readable, by code of then too."""
    clip = {"video": np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3, 1), "id": b"v", "label": 1}
    (path,) = records.write_shards([clip], tmp_path, "test", encoding="raw")
    with open(path, "rb") as file:
        record = file.read()[12:-4]
    example = tf.train.SequenceExample.FromString(record)
    assert sorted(example.context.feature) == ["height", "id", "label", "length", "schema", "width"]
    assert example.context.feature["schema"].int64_list.value == [2]
    assert sorted(example.feature_lists.feature_list) == ["video"]
    assert hashlib.sha256(record).hexdigest()[:16] == "3761e6360372d024"
    told = (tmp_path / "features.json").read_bytes()
    assert hashlib.sha256(told).hexdigest()[:16] == "56400361ad5e1ec5"


def test_arrays_train_a_classifier(clips, tmp_path):
    records.write_shards(clips, tmp_path, "train")
    root, task = str(tmp_path), ClassifyTask(clip_frames=4, streams=("features", "pooled"))
    batches = {}
    for encoded in (True, False):
        dataset = read(tmp_path, "train", encoded=encoded)
        specs = tuple(feature_spec(dataset, "records", root=root, stream=name) for name in task.streams)
        check_elements(dataset, specs, task)
        pair = training_clips(dataset, specs, task, 5, 3), view_batches(dataset, specs, task, 5)
        batches[encoded] = [next(b.as_numpy_iterator())[0] for b in pair]
    assert batches[True][0]["features"].shape == (5, 4, 2, 3, 5) and batches[True][1]["pooled"].shape == (5, 1, 4, 7)
    for a, b in zip(batches[True], batches[False]):
        for name in task.streams:
            np.testing.assert_array_equal(a[name], b[name])
    with pytest.raises(InputError, match="holds features, pooled. Received: stream='video'"):
        feature_spec(dataset, "records", root=root)


def test_frames_that_are_not_labelled_stay_so(tmp_path):
    label = np.array([[0, 1], [-1, -1], [1, 1]])
    clip = {"features": np.ones((3, 2), "float16"), "id": b"x", "label": label}
    records.write_shards([clip], tmp_path, "test", classes=("a", "b"))
    (back,) = read(tmp_path).as_numpy_iterator()
    np.testing.assert_array_equal(back["label"], label)
    assert inspect.classes_of(tmp_path, "test", records.read_spec(tmp_path)) == {"a": 1, "b": 2}


ONE = np.ones((3, 2), "float32")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"features": ONE.astype("float64")}, r"`features` must be float16 or float32 \(T, ...\).*float64 \(3, 2\)"),
        ({"features": ONE.astype(">f4")}, "`features` must be float16 or float32.*>f4"),
        ({"features": ONE.astype("int32")}, "`features` must be float16 or float32.*int32"),
        ({"features": ONE[:, 0]}, r"`features` must be .*float32 \(3,\)"),
        ({"features": ONE[:, :0]}, r"`features` must be .*float32 \(3, 0\)"),
        ({"features": [1.0]}, "`features` must be .*Received: list"),
        (
            {"features": np.where(ONE > 0, np.nan, ONE).astype("float32")},
            "`features` must be finite. Received: 2 values",
        ),
        ({"features": np.float16([[1, 2], [3, np.inf], [5, 6]])}, "`features` must be finite. Received: 1 values"),
        ({"more": ONE[:2]}, "`more` needs a value for each of 3 frames. Received: 2"),
        ({"time": [0.0]}, "`time` needs a value for each of 3 frames. Received: 1"),
        ({"size": ONE}, "names of their own.*Received: 'size'"),
        ({"flow": np.zeros((3, 4, 4, 2), "float32")}, "`flow` is stored beside `video`"),
        ({"label": 4}, "one of 4 classes, from 0. Received: 4"),
        ({"label": -1}, "one of 4 classes, from 0. Received: -1"),
        ({"label": np.ones((3, 5), int)}, r"4 classes need labels of so many. Received: label \(None, 5\)"),
        ({"video": [1]}, "Received: .*'video': list"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        records.write_shards([{"features": ONE, "id": b"x", "label": 0, **change}], tmp_path, "test", classes=CLASSES)
    assert not list(tmp_path.iterdir())


def test_unlike_arrays_are_refused(clips, tmp_path):
    other = {**clips[0], "id": b"other"}
    unlike = [
        {**other, "features": other["features"].astype("float32")},
        {**other, "features": other["features"][:, :1]},
        {name: value for name, value in other.items() if name != "pooled"},
        {**other, "more": other["pooled"]},
    ]
    for clip in unlike:
        with pytest.raises(InputError, match="must be alike.*Received: clip 1"):
            records.write_shards([clips[0], clip], tmp_path / "a", "test")
    records.write_shards(clips, tmp_path / "b", "train")
    for clip in unlike:
        with pytest.raises(InputError, match="describes other clips.*Received: other features"):
            records.write_shards([clip], tmp_path / "b", "test")
    frames = {**other, "video": np.zeros((3, 4, 4, 1), np.uint8)}
    with pytest.raises(InputError, match="describes other clips"):
        records.write_shards([frames], tmp_path / "b", "test")
    with pytest.raises(InputError, match="no `label`"):
        records.write_shards([{"features": ONE, "id": b"x"}], tmp_path / "c", "test", classes=CLASSES)


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "video .* or arrays. Received: \\[\\]"),
        ({"flow": schema.flow_spec((4, 4), 20), "arrays": (schema.array_spec("a", (2,)),)}, r"\['flow', 'a'\]"),
        ({"arrays": (schema.array_spec("a", (2,)),) * 2}, "Received: 'a'"),
        ({"arrays": (schema.array_spec("a", (2,), "float64"),)}, "Received: float64"),
        ({"arrays": (schema.array_spec("a", (None, 2)),)}, "of one shape.*None"),
        ({"arrays": (FeatureSpec("a", "float32", (None, 2), encoding="png"),)}, "stored raw.*'png'"),
        ({"video": VIDEO}, "encoding"),
    ],
)
def test_records_that_cannot_be_are_named(options, message):
    with pytest.raises(InputError, match=message):
        schema.RecordSpec(**options)


def test_damage_is_named(clips, tmp_path):
    (path,) = records.write_shards(clips, tmp_path, "test")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="test-00000-of-00001.tfrecord is damaged or cut short"):
        read(tmp_path)
    path.write_bytes(whole[: 12 + struct.unpack("<Q", whole[:8])[0] + 4])  # cut where a record ends
    with pytest.raises(InputError, match="should hold 5 clips. Received: 1"):
        read(tmp_path)
    example = tf.train.SequenceExample.FromString(next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()))
    cut = tf.train.SequenceExample.FromString(example.SerializeToString())
    step = cut.feature_lists.feature_list["pooled"].feature[1].bytes_list
    step.value[0] = step.value[0][:-4]
    spec = records.read_spec(tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError, match="steps of pooled of another size"):
        schema.decode_clip(schema.parse_clip(cut.SerializeToString(), spec), spec)
    del example.feature_lists.feature_list["features"].feature[2]
    with pytest.raises(tf.errors.InvalidArgumentError, match="another number of frames"):
        schema.parse_clip(example.SerializeToString(), spec)


def test_inspection_counts_and_checks_and_draws_nothing(clips, tmp_path, capsys):
    for split in ("train", "test"):
        records.write_shards(clips, tmp_path, split, 2, classes=CLASSES)
    inspect.main([str(tmp_path)])
    told = capsys.readouterr().out
    assert "features float16 (None, 2, 3, 5), stored as raw; pooled float32 (None, 7), stored as raw; a class a" in told
    assert "test: 5 videos, 21 frames" in told and "run 2, jump 1, sit 1, wave 1" in told
    assert "no pictures" in told and not (tmp_path / "pictures").exists()
    path = tmp_path / "test-00001-of-00002.tfrecord"
    whole = bytearray(path.read_bytes())
    whole[40] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match="test-00001-of-00002.tfrecord"):
        inspect.main([str(tmp_path)])


def test_frames_are_drawn_and_arrays_are_not(clips, tmp_path, rng, capsys):
    for clip in clips:
        clip["video"] = rng.integers(0, 256, (len(clip["pooled"]), 16, 16, 3), np.uint8)
    records.write_shards(clips, tmp_path, "test")
    inspect.main([str(tmp_path), "--videos=2"])
    assert [path.name for path in (tmp_path / "pictures" / "1").iterdir()] == ["test.png"]


def test_a_data_set_written_by_name_keeps_its_classes(tmp_path):
    records.main(
        ["left_right", f"--out={tmp_path}", "--split=test", "--options", "num_test_sequences=3", "frame_size=8"]
    )
    assert class_names("records", root=str(tmp_path)) == ("right", "left")
