"""TFRecord shards: round trip, order, atomic writing, damage."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import InputError
from pipelines import make_dataset, records, schema


@pytest.fixture
def clips(rng):
    return [
        {"video": rng.integers(0, 256, (t, 6, 8, 3), np.uint8), "id": f"clip{n}".encode(), "label": n}
        for n, t in enumerate((3, 5, 4, 3, 6))
    ]


def read(folder, split="test", **options):
    return list(make_dataset("records", split, root=str(folder), **options).as_numpy_iterator())


@pytest.mark.parametrize("encoding", ["png", "raw"])
@pytest.mark.parametrize("num_shards", [1, 2])
def test_round_trip(clips, tmp_path, encoding, num_shards):
    paths = records.write_shards(clips, tmp_path / "shards", "test", num_shards, encoding)
    assert [p.name for p in paths] == [f"test-{n:05d}-of-{num_shards:05d}.tfrecord" for n in range(num_shards)]
    back = {clip["id"]: clip for clip in read(tmp_path / "shards")}
    assert len(back) == 5
    for clip in clips:
        np.testing.assert_array_equal(back[clip["id"]]["video"], clip["video"])
        assert back[clip["id"]]["label"] == clip["label"]
    assert not list((tmp_path / "shards").glob(".writing*"))


def test_generated_clips_survive_as_shards(tmp_path):
    records.main(
        [
            "moving_mnist",
            "--out",
            str(tmp_path / "d"),
            "--split=test",
            "--shards=2",
            "--options",
            "num_test_sequences=6",
        ]
    )
    written = {c["id"]: c["video"] for c in read(tmp_path / "d")}
    made = {c["id"]: c["video"] for c in make_dataset("moving_mnist", "test", num_test_sequences=6).as_numpy_iterator()}
    assert written.keys() == made.keys()
    for name in made:
        np.testing.assert_array_equal(written[name], made[name])


def test_training_order_is_a_function_of_seed_and_epoch(clips, tmp_path):
    records.write_shards(clips, tmp_path, "train", 2)

    def order(**options):
        return [clip["id"] for clip in read(tmp_path, "train", **options)]

    assert order(seed=1, epoch=2) == order(seed=1, epoch=2)
    assert len({tuple(order(seed=1, epoch=e)) for e in range(6)}) > 1
    assert sorted(order(seed=1, epoch=3)) == sorted(order(shuffle=False))
    assert order(shuffle=False, epoch=1) == order(shuffle=False, epoch=2)


def test_splits_share_a_folder_and_nothing_is_overwritten(clips, tmp_path):
    records.write_shards(clips[:2], tmp_path, "train")
    records.write_shards(clips[2:], tmp_path, "test")
    assert len(read(tmp_path, "train")) == 2 and len(read(tmp_path, "test")) == 3
    with pytest.raises(InputError, match="nothing is overwritten"):
        records.write_shards(clips, tmp_path, "test")


def test_bad_clips_leave_nothing_behind(clips, tmp_path):
    for bad in (
        {"video": clips[0]["video"].astype("float32"), "id": b"x"},
        {"video": clips[0]["video"][0], "id": b"x"},
        {"video": clips[0]["video"][:0], "id": b"x"},
    ):
        with pytest.raises(InputError, match="uint8"):
            records.write_shards([clips[0], bad], tmp_path / "d", "test")
        assert not list((tmp_path / "d").iterdir())
    with pytest.raises(InputError, match="empty data set"):
        records.write_shards([], tmp_path / "d", "test")
    with pytest.raises(InputError, match="num_shards=0"):
        records.write_shards(clips, tmp_path / "d", "test", 0)
    with pytest.raises(InputError, match="encoding='jpg'"):
        records.write_shards(clips, tmp_path / "d", "test", encoding="jpg")


def test_two_clips_of_one_name_are_refused(clips, tmp_path):
    with pytest.raises(InputError, match="Received twice: b'clip0'"):
        records.write_shards([clips[0], clips[0]], tmp_path, "test")


def test_what_is_missing_is_named(clips, tmp_path):
    with pytest.raises(InputError, match="features.json"):
        read(tmp_path)
    records.write_shards(clips, tmp_path, "test", 2)
    with pytest.raises(InputError, match="shards of 'train'"):
        read(tmp_path, "train")
    (tmp_path / "test-00001-of-00002.tfrecord").unlink()
    with pytest.raises(InputError, match="test-00001-of-00002.tfrecord"):
        read(tmp_path)


def test_damage_is_an_error_not_a_short_data_set(clips, tmp_path):
    (path,) = records.write_shards(clips, tmp_path, "test")
    first = tf.train.SequenceExample.FromString(next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF  # one bit pattern in the middle: the CRC must notice
    for content in (bytes(damaged), whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="test-00000-of-00001.tfrecord is damaged"):
            read(tmp_path)
        with pytest.raises(tf.errors.DataLossError):
            read(tmp_path, verify=False)
    end = 12 + len(first.SerializeToString()) + 4  # cut at a record's end, every CRC that is left is right
    path.write_bytes(whole[:end])
    with pytest.raises(InputError, match="should hold 5 clips. Received: 1"):
        read(tmp_path)
    with pytest.raises(tf.errors.FailedPreconditionError, match="expected to contain 5 elements"):
        read(tmp_path, verify=False)


def test_unlike_clips_are_refused(clips, tmp_path):
    grey = {"video": clips[0]["video"][..., :1], "id": b"grey", "label": 1}
    small = {"video": clips[0]["video"][:, :4], "id": b"small", "label": 1}
    bare = {"video": clips[0]["video"], "id": b"bare"}
    for other in (grey, small, bare):
        with pytest.raises(InputError, match="must be alike"):
            records.write_shards([clips[0], other], tmp_path / "a", "test")
    records.write_shards(clips, tmp_path / "b", "train")
    with pytest.raises(InputError, match="describes other clips"):
        records.write_shards([grey], tmp_path / "b", "test")
    two = {"video": clips[0]["video"][..., :2], "id": b"two"}
    with pytest.raises(InputError, match="raw"):
        records.write_shards([two], tmp_path / "c", "test")
    records.write_shards([two], tmp_path / "c", "test", encoding="raw")
    np.testing.assert_array_equal(read(tmp_path / "c")[0]["video"], two["video"])


def test_what_is_no_clip_is_named(clips, tmp_path):
    for bad, word in (
        (clips[0]["video"], "ndarray"),
        ({"video": clips[0]["video"]}, "'video': ndarray"),
        ({"video": clips[0]["video"], "id": "a"}, "'id': str"),
    ):
        with pytest.raises(InputError, match=word):
            records.write_shards([bad], tmp_path / "d", "test")


def test_a_split_is_not_mixed_with_one_of_a_longer_name(clips, tmp_path):
    records.write_shards(clips[:2], tmp_path, "test-hard")
    records.write_shards(clips[2:], tmp_path, "test")
    assert len(read(tmp_path)) == 3 and len(read(tmp_path, "test-hard")) == 2


def test_short_clips_are_named_before_training(clips, tmp_path):
    records.write_shards(clips, tmp_path, "test")
    assert len(read(tmp_path, min_frames=3)) == 5
    with pytest.raises(InputError, match="at least 4 frames .* Received: 3"):
        read(tmp_path, min_frames=4)


def test_another_schema_is_refused(clips, tmp_path, monkeypatch):
    records.write_shards(clips, tmp_path, "test")
    features = json.loads((tmp_path / "features.json").read_text())
    (tmp_path / "features.json").write_text(json.dumps({**features, "schema": 99}))
    with pytest.raises(InputError, match="schema 99"):
        read(tmp_path)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 99)  # a record of an older schema in a folder that claims 99
    with pytest.raises(tf.errors.InvalidArgumentError, match="another schema version"):
        read(tmp_path)
