"""YouTube-8M's records: read as published, from protocol buffers made by hand; damage is named; what is written."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_st.specs import InputError
from pipelines import feature_spec, make_dataset
from pipelines.build import class_names
from pipelines.datasets import youtube8m as module
from pipelines.datasets import youtube8m_inspect
from pipelines.datasets.youtube8m_writer import quantize, write_youtube8m

REFUSED = tf.errors.InvalidArgumentError


def by_hand(codes):
    return np.float32(codes) * np.float32(4 / 255) + np.float32(4 / 512 - 2)


def many(values):
    kind = type(values[0]) if len(values) else int
    lists = {bytes: ("bytes_list", tf.train.BytesList), float: ("float_list", tf.train.FloatList)}
    name, form = lists.get(kind, ("int64_list", tf.train.Int64List))
    return tf.train.Feature(**{name: form(value=values)})


def frame_record(streams, labels=(), key="id", name=b"abcd", **context):
    """A SequenceExample of uint8 arrays (T, D)."""
    context = {**({key: many([name])} if key else {}), "labels": many(list(labels)), **context}
    lists = {s: tf.train.FeatureList(feature=[many([row.tobytes()]) for row in q]) for s, q in streams.items()}
    return tf.train.SequenceExample(
        context=tf.train.Features(feature=context), feature_lists=tf.train.FeatureLists(feature_list=lists)
    ).SerializeToString()


def video_record(means, labels=(), key="id", name=b"abcd"):
    features = {key: many([name]), "labels": many(list(labels))}
    features |= {f"mean_{s}": many([float(v) for v in values]) for s, values in means.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as file:
        for record in records:
            file.write(record)


def codes(rng, length, rgb=1024, audio=128):
    return {s: rng.integers(0, 256, (length, d), np.uint8) for s, d in (("rgb", rgb), ("audio", audio)) if d}


def read(folder, split="train", **options):
    return list(make_dataset("youtube8m", split, root=str(folder), **options).as_numpy_iterator())


@pytest.fixture
def videos(rng, tmp_path):
    """Three shards of training videos, 1 to 300 frames: `{id: (codes, labels)}`; they are in `tmp_path`."""
    lengths = [[1, 300, 120], [7], [31, 2]]
    made = {}
    for shard, row in enumerate(lengths):
        names = [b"v%d%d" % (shard, n) for n in range(len(row))]
        for name, length in zip(names, row):
            made[name] = codes(rng, length), sorted(rng.choice(3862, int(rng.integers(1, 6)), False).tolist())
        records = [frame_record(*made[name], name=name) for name in names]
        write(tmp_path / f"train{93 * shard:04d}.tfrecord", records)
    return made


# Reading


def test_frames_as_published(videos, tmp_path):
    dataset = make_dataset("youtube8m", "train", root=str(tmp_path))
    assert int(dataset.cardinality()) == 6
    assert {name: (spec.dtype.name, tuple(spec.shape)) for name, spec in dataset.element_spec.items()} == {
        "id": ("string", ()),
        "rgb": ("float32", (300, 1024)),
        "audio": ("float32", (300, 128)),
        "length": ("int32", ()),
        "label": ("int64", (3862,)),
    }
    found = {e["id"]: e for e in dataset.as_numpy_iterator()}
    assert found.keys() == videos.keys()
    for name, (streams, labels) in videos.items():
        length = len(streams["rgb"])
        assert found[name]["length"] == length
        np.testing.assert_array_equal(np.flatnonzero(found[name]["label"]), labels)
        assert set(found[name]["label"]) == {0, 1}
        for stream, q in streams.items():
            np.testing.assert_array_equal(found[name][stream][:length], by_hand(q))
            assert not found[name][stream][length:].any()  # after dequantising: not the number of a byte 0
    (batch,) = dataset.batch(6).as_numpy_iterator()
    assert np.concatenate([batch["rgb"], batch["audio"]], -1).shape == (6, 300, 1152)


def test_the_table_of_bytes():
    numbers = module.dequantize(tf.constant([0, 127, 128, 255], tf.uint8)).numpy()
    np.testing.assert_allclose(numbers, [-1.9921875, -0.0000306, 0.0156556, 2.0078125], atol=2e-7)
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(module.dequantize(every).numpy(), by_hand(every))


def test_longer_videos_are_cut(rng, tmp_path):
    streams = codes(rng, 9)
    write(tmp_path / "test0000.tfrecord", [frame_record(streams)])
    (element,) = read(tmp_path, "test", max_frames=4)
    assert element["length"] == 4
    np.testing.assert_array_equal(element["rgb"], by_hand(streams["rgb"][:4]))


def test_own_sizes_streams_and_classes(rng, tmp_path):
    streams = codes(rng, 3, 12, 5)
    write(tmp_path / "test0000.tfrecord", [frame_record(streams, [9, 2, 9])])
    (element,) = read(tmp_path, "test", rgb_size=12, audio_size=5, classes=10)
    np.testing.assert_array_equal(element["label"], [0, 0, 1, 0, 0, 0, 0, 0, 0, 1])  # a label twice counts once
    np.testing.assert_array_equal(element["audio"][:3], by_hand(streams["audio"]))
    (element,) = read(tmp_path, "test", rgb_size=12, audio_size=0, classes=4716)
    assert set(element) == {"id", "rgb", "length", "label"} and element["label"].shape == (4716,)
    (element,) = read(tmp_path, "test", rgb_size=0, audio_size=5)
    assert set(element) == {"id", "audio", "length", "label"} and element["length"] == 3


def test_video_level(rng, tmp_path):
    means = {"rgb": rng.normal(size=1024).astype("float32"), "audio": rng.normal(size=128).astype("float32")}
    silent = video_record({"rgb": means["rgb"]}, key="video_id", name=b"old")
    write(tmp_path / "validate0000.tfrecord", [video_record(means, [3, 1]), silent])
    first, second = read(tmp_path, "validation", level="video")
    assert set(first) == {"id", "mean_rgb", "mean_audio", "label"} and first["id"] == b"abcd"
    for stream, mean in means.items():
        np.testing.assert_array_equal(first[f"mean_{stream}"], mean)
    np.testing.assert_array_equal(np.flatnonzero(first["label"]), [1, 3])
    assert second["id"] == b"old" and not second["label"].any() and not second["mean_audio"].any()
    assert first["label"].dtype == np.int64


def test_segments_are_rated_or_not(rng, tmp_path):
    streams = codes(rng, 12)
    rated = {
        "segment_start_times": many([5, 0, 5, 10]),
        "segment_labels": many([7, 3, 2, 7]),
        "segment_scores": many([1.0, 0.0, 0.0, 1.0]),
    }
    plain = frame_record(codes(rng, 30), [1], name=b"plain")  # not rated
    write(tmp_path / "validate0001.tfrecord", [plain, frame_record(streams, [7], **rated)])
    dataset = make_dataset("youtube8m", "validate", root=str(tmp_path), level="segment", classes=8)
    assert int(dataset.cardinality()) == 3 and dataset.element_spec["rgb"].shape == (5, 1024)
    first, second, third = dataset.as_numpy_iterator()
    assert [e["id"] for e in (first, second, third)] == [b"abcd:5", b"abcd:0", b"abcd:10"]
    np.testing.assert_array_equal(first["label"], [-1, -1, 0, -1, -1, -1, -1, 1])
    np.testing.assert_array_equal(second["label"], [-1, -1, -1, 0, -1, -1, -1, -1])
    np.testing.assert_array_equal(first["rgb"], by_hand(streams["rgb"][5:10]))
    np.testing.assert_array_equal(third["audio"][:2], by_hand(streams["audio"][10:]))
    assert [e["length"] for e in (first, second, third)] == [5, 5, 2] and not third["rgb"][2:].any()
    parts = [read(tmp_path, "validate", level="segment", classes=8, process=p, processes=2) for p in (0, 1)]
    assert [[e["id"] for e in part] for part in parts] == [[b"abcd:5", b"abcd:10"], [b"abcd:0"]]


@pytest.mark.parametrize("names", [("validate0007",), ("validation3",), ("validate0", "validation-00000-of-00001")])
def test_both_names_of_the_validation_split(rng, tmp_path, names):
    for n, name in enumerate(names):
        write(tmp_path / f"{name}.tfrecord", [frame_record(codes(rng, 2), name=b"%d" % n)])
    write(tmp_path / "train0000.tfrecord", [frame_record(codes(rng, 2))])
    assert len(read(tmp_path, "validate")) == len(read(tmp_path, "validation")) == len(names)


def test_order_is_a_function_of_seed_and_epoch(videos, tmp_path):
    def order(**options):
        return [e["id"] for e in read(tmp_path, **options)]

    before = order(seed=1, epoch=2)
    tf.random.set_seed(5)
    again = order(seed=1, epoch=2)
    tf.random.set_seed(None)
    assert before == again and order() == order()
    assert len({tuple(order(seed=1, epoch=e)) for e in range(6)}) > 3
    assert order(shuffle=False) == sorted(videos) == sorted(order(seed=4))
    dataset = make_dataset("youtube8m", "train", root=str(tmp_path), seed=4, epoch=1)
    assert [e["id"] for e in dataset.skip(2).as_numpy_iterator()] == order(seed=4, epoch=1)[2:]
    endless = tf.data.Dataset.range(2).flat_map(  # as training reads, epoch by epoch
        tf.autograph.experimental.do_not_convert(
            lambda epoch: make_dataset("youtube8m", "train", root=str(tmp_path), seed=4, epoch=epoch)
        )
    )
    assert [e["id"] for e in endless.as_numpy_iterator()] == order(seed=4, epoch=0) + order(seed=4, epoch=1)


def test_large_videos_are_shuffled_few_at_a_time(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHUFFLED_BYTES", 1)
    orders = {tuple(e["id"] for e in read(tmp_path, epoch=e)) for e in range(12)}
    assert len(orders) > 2 and all(o.index(b"v00") + 1 == o.index(b"v01") for o in orders)  # only the shards are


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_videos(videos, tmp_path, processes):
    parts = [read(tmp_path, process=p, processes=processes) for p in range(processes)]
    assert sorted(e["id"] for part in parts for e in part) == sorted(videos)
    for p, part in enumerate(parts):
        dataset = make_dataset("youtube8m", "train", root=str(tmp_path), process=p, processes=processes)
        assert int(dataset.cardinality()) == len(part)
    with pytest.raises(InputError, match="process=3"):
        read(tmp_path, process=3, processes=processes)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**16), st.integers(1, 9), st.integers(1, 6), st.integers(0, 4), st.integers(1, 7))
def test_what_is_read_is_what_was_stored(tmp_path, seed, length, rgb, audio, max_frames):
    rng = np.random.default_rng(seed)
    streams, labels = codes(rng, length, rgb, audio), rng.integers(0, 9, rng.integers(4)).tolist()
    write(tmp_path / "test0.tfrecord", [frame_record(streams, labels, key=rng.choice(["id", "video_id"]))])
    sizes = {"rgb_size": rgb, "audio_size": audio}
    (element,) = read(tmp_path, "test", classes=9, max_frames=max_frames, **sizes)
    assert set(np.flatnonzero(element["label"])) == set(labels) and element["id"] == b"abcd"
    assert element["length"] == min(length, max_frames)
    for stream, q in streams.items():
        want = np.zeros((max_frames, q.shape[1]), np.float32)
        want[: min(length, max_frames)] = by_hand(q[:max_frames])
        np.testing.assert_array_equal(element[stream], want)


# What is wrong


@pytest.mark.parametrize(
    "options, message",
    [
        ({"split": "all"}, "split='all'"),
        ({"level": "frames"}, "did you mean 'frame'.*level='frames'"),
        ({"classes": 0}, "classes=0"),
        ({"max_frames": 0}, "max_frames=0"),
        ({"rgb_size": 0, "audio_size": 0}, "rgb_size=0, audio_size=0"),
        ({"audio_size": -1}, "audio_size=-1"),
        ({"root": ""}, "root=''"),
        ({"root": "nowhere"}, "root='nowhere'"),
        ({"split": "test"}, r"test\*.tfrecord. Received: no such file"),
        ({"split": "validate"}, r"validate\*.tfrecord or validation\*.tfrecord"),
        ({"level": "segment"}, "must hold rated segments. Received: none"),
        ({"video_size": 1}, "Unknown option of youtube8m"),
    ],
)
def test_mistakes_are_named(videos, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make_dataset("youtube8m", **{"split": "train", "root": str(tmp_path), **options})


def test_a_shard_that_is_cut_short_is_named_before_training(videos, tmp_path):
    path = tmp_path / "train0093.tfrecord"
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:5], whole + b"123"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="train0093.tfrecord is damaged or cut short. .*within record [01]$"):
            read(tmp_path)
    path.write_bytes(b"")  # holds nothing, which is no damage
    assert len(read(tmp_path)) == 5
    for other in tmp_path.glob("*.tfrecord"):
        other.write_bytes(b"")
    with pytest.raises(InputError, match="must hold videos. Received: none"):
        read(tmp_path)


@pytest.mark.parametrize("options", [{}, {"shuffle": False}])
def test_a_damaged_record_stops_training_with_its_shard(videos, tmp_path, options):
    path = tmp_path / "train0000.tfrecord"
    content = bytearray(path.read_bytes())
    content[5_000] ^= 0xFF  # in the second record: the CRC must notice
    path.write_bytes(content)
    with pytest.raises(REFUSED, match=r"train0000.tfrecord\] \[record\] \[[12]\]"):
        read(tmp_path, **options)


WRONG = {
    "no frames": {"streams": {}},
    "another size": {"streams": {"rgb": np.zeros((2, 12), np.uint8), "audio": np.zeros((2, 5), np.uint8)}},
    "uneven sizes": {"streams": {"rgb": np.zeros((2, 1024), np.uint8), "audio": np.zeros((2, 127), np.uint8)}},
    "less audio than frames": {
        "streams": {"rgb": np.zeros((2, 1024), np.uint8), "audio": np.zeros((1, 128), np.uint8)}
    },
    "label beyond": {"labels": [3862]},
    "label below": {"labels": [-1]},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_record_of_other_content_stops_training_with_its_shard(rng, tmp_path, what):
    good = frame_record(codes(rng, 2), [1])
    bad = frame_record(**{"streams": codes(rng, 2), **WRONG[what]})
    write(tmp_path / "train0000.tfrecord", [good])
    write(tmp_path / "train0001.tfrecord", [good, bad])
    with pytest.raises(REFUSED, match=r"train0001.tfrecord\] \[record\] \[1\]"):
        read(tmp_path)


def test_what_is_no_example_is_named(rng, tmp_path):
    write(tmp_path / "train0000.tfrecord", [frame_record(codes(rng, 2))])
    write(tmp_path / "train0001.tfrecord", [b"\xff" * 30])
    for level in ("frame", "video"):
        with pytest.raises(REFUSED, match="train000[01].tfrecord"):
            read(tmp_path, level=level)


@pytest.mark.parametrize("rgb", [[], np.zeros(1023), np.full(1024, np.nan)])
def test_means_of_other_content_stop_training_with_their_shard(tmp_path, rgb):
    write(tmp_path / "train0000.tfrecord", [video_record({"rgb": rgb, "audio": np.zeros(128)})])
    with pytest.raises(REFUSED, match="train0000.tfrecord"):
        read(tmp_path, level="video")


@pytest.mark.parametrize(
    "rated",
    [
        {"segment_start_times": many([12]), "segment_labels": many([1]), "segment_scores": many([1.0])},
        {"segment_start_times": many([-1]), "segment_labels": many([1]), "segment_scores": many([1.0])},
        {"segment_start_times": many([0, 5]), "segment_labels": many([1]), "segment_scores": many([1.0, 0.0])},
        {"segment_start_times": many([0]), "segment_labels": many([1])},
        {"segment_start_times": many([0]), "segment_labels": many([9000]), "segment_scores": many([1.0])},
    ],
)
def test_wrong_segments_are_named(rng, tmp_path, rated):
    write(tmp_path / "validate0000.tfrecord", [frame_record(codes(rng, 12), **rated)])
    with pytest.raises(REFUSED, match=r"validate0000.tfrecord\] \[record\] \[0\]"):
        read(tmp_path, "validate", level="segment")


def test_segments_of_a_damaged_shard_are_named(rng, tmp_path):
    rated = {"segment_start_times": many([0]), "segment_labels": many([1]), "segment_scores": many([1.0])}
    path = tmp_path / "validate0000.tfrecord"
    write(path, [frame_record(codes(rng, 12), **rated)])
    content = bytearray(path.read_bytes())
    content[5_000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="validate0000.tfrecord is damaged"):
        read(tmp_path, "validate", level="segment")


# Looking through shards


def test_every_kind_of_record_is_counted_and_named(rng, tmp_path, capsys):
    good = [frame_record(codes(rng, 3), [n], name=b"good%d" % n) for n in range(2)]
    other = {
        "without frames": frame_record({}, [1], name=b"empty"),
        "of other sizes": frame_record(codes(rng, 3, 12), [1], name=b"small"),
        "labels beyond the classes": frame_record(codes(rng, 3), [4000], name=b"beyond"),
        "too long": frame_record(codes(rng, 301), [1], name=b"long"),
        "without labels": frame_record(codes(rng, 3), name=b"bare"),
        "without audio": frame_record({"rgb": codes(rng, 3)["rgb"]}, [1], name=b"silent"),
        "without id": frame_record(codes(rng, 3), [1], key=None),
        "id of another record": frame_record(codes(rng, 3), [1], name=b"good0"),
        "of another form": b"\xff" * 30,
    }
    write(tmp_path / "train0000.tfrecord", [*good, *other.values()])
    found = youtube8m_inspect.inspect(str(tmp_path))["train"]
    names = [b"empty", b"small", b"beyond", b"long", b"bare", b"silent", b"", b"good0", b""]
    for place, (kind, name) in enumerate(zip(other, names), start=2):
        where = f"train0000.tfrecord record {place}"
        assert where + (f" ({name.decode()})" if name else "") in found["found"][kind], kind
    assert {kind: len(records) for kind, records in found["found"].items()} == {
        **dict.fromkeys(other, 1),
        "without audio": 2,  # the empty one too
    }
    assert (found["videos"], found["longest"], found["shards"]) == (11, 301, 1)
    with pytest.raises(InputError, match="Received: 4 of them"):
        youtube8m_inspect.main([str(tmp_path)])
    told = capsys.readouterr().out
    assert "train: 11 videos, 325 frames, 301 at most in 1 shards" in told
    assert "1 too long: train0000.tfrecord record 5 (long)" in told
    with pytest.raises(InputError):
        youtube8m_inspect.main([str(tmp_path), "--max_frames=400", "--names=1"])
    told = capsys.readouterr().out
    assert "too long" not in told and "2 without audio: train0000.tfrecord record 2 (empty), and 1 more" in told


@pytest.mark.parametrize(
    "context, kind",
    [
        ({"segment_start_times": many([9]), "segment_labels": many([1]), "segment_scores": many([1.0])}, "segments"),
        ({"segment_start_times": many([0])}, "segments"),
        ({"segment_start_times": many([1.0])}, "of another form"),
    ],
    ids=["late", "alone", "floats"],
)
def test_what_segments_may_not_be_is_named(rng, tmp_path, context, kind):
    write(tmp_path / "train0000.tfrecord", [frame_record(codes(rng, 9), [1], **context)])
    found = youtube8m_inspect.inspect(str(tmp_path))["train"]["found"]
    assert [name for name in found if name.startswith(kind)] and set(found) <= set(youtube8m_inspect.REFUSED)
    clip = {"id": "a", "labels": [1], "rgb": np.zeros((9, 1024)), "segments": [(9, 1, 1)]}
    with pytest.raises(InputError, match="within its 9 frames.*Received"):
        write_youtube8m([clip], tmp_path / "own", "train")
    with pytest.raises(InputError, match="frame-level.*Received"):
        write_youtube8m([{**clip, "segments": [(0, 1, 1)]}], tmp_path / "own", "train", level="video")


def test_damage_is_counted_and_named_and_the_rest_still_read(videos, tmp_path, capsys):
    first, last = tmp_path / "train0000.tfrecord", tmp_path / "train0186.tfrecord"
    content = bytearray(first.read_bytes())
    content[5_000] ^= 0xFF
    first.write_bytes(content)
    last.write_bytes(last.read_bytes()[:-10])
    found = youtube8m_inspect.inspect(str(tmp_path))["train"]
    assert found["found"] == {
        "damaged": ["train0000.tfrecord record 1"],
        "cut short": ["train0186.tfrecord record 1"],
    }
    assert found["videos"] == 4 and found["frames"] == 1 + 120 + 7 + 31
    with pytest.raises(InputError, match="Received: 2 of them"):
        youtube8m_inspect.main([str(tmp_path)])


def test_means_are_looked_at(tmp_path):
    write(tmp_path / "train0000.tfrecord", [video_record({"rgb": np.ones(1024), "audio": np.ones(128)}, [1])])
    write(tmp_path / "test0000.tfrecord", [video_record({"rgb": np.ones(1024), "audio": np.full(128, np.nan)})])
    told = youtube8m_inspect.inspect(str(tmp_path), "video")
    assert told["train"]["found"] == {} and told["test"]["found"].keys() == {"of other sizes", "without labels"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="Received: none"):
        youtube8m_inspect.inspect(str(tmp_path / "empty"))


# Names of classes, specs


def test_vocabulary(tmp_path):
    header = "Index,TrainVideoCount,KnowledgeGraphId,Name,WikiUrl,Vertical1,Vertical2,Vertical3,WikiDescription\n"
    path = tmp_path / "vocabulary.csv"
    assert class_names("youtube8m", root=str(tmp_path)) is None and class_names("youtube8m") is None
    path.write_text(header + '0,788288,/m/03bt1gh,Game,u,Games,,,"A game, played"\n1,5,/m/01,,u,,,,\n')
    assert class_names("youtube8m", root=str(tmp_path)) == ("Game", "/m/01")
    for content in (
        header,
        header + "1,5,/m/0,A,u,,,,\n",
        header + "0,5,/m/0,A,u,,,,\n" * 2,
        "a,b\n1,2\n",
        header + "x",
    ):
        path.write_text(content)
        with pytest.raises(InputError, match="vocabulary.csv must.*Received"):
            module.read_vocabulary(path)
    with pytest.raises(InputError, match="nowhere.csv must"):
        module.read_vocabulary(tmp_path / "nowhere.csv")


def test_specs_of_the_streams(videos, tmp_path):
    options = {"root": str(tmp_path), "max_frames": 20}
    dataset = make_dataset("youtube8m", "train", **options)
    spec = feature_spec(dataset, "youtube8m", stream="audio", **options)
    assert (spec.name, spec.dtype, spec.shape, spec.value_range) == ("audio", "float32", (20, 128), None)
    with pytest.raises(InputError, match="audio, rgb. Received: stream='video'"):
        feature_spec(dataset, "youtube8m", **options)


# Writing


def clips(rng, count=5, audio=True):
    for n in range(count):
        streams = {"rgb": rng.uniform(-2.5, 2.5, (n + 1, 1024)), "audio": rng.uniform(-2, 2, (n + 1, 128))}
        streams = streams if audio else {"rgb": streams["rgb"]}
        yield {"id": f"own{n}", "labels": [n, 3 * n + 7], **streams}


def test_bytes_are_the_nearest():
    """Error of a round trip inside the range: -0.00003 to 0.01566; what lies beyond is cut."""
    x = np.linspace(-2, 2, 100_001)
    error = by_hand(quantize(x)) - x
    assert -0.00004 < error.min() < -0.00002 and 0.0156 < error.max() < 0.01566
    np.testing.assert_array_equal(quantize(np.array([-9.0, -2, 2, 9])), [0, 0, 255, 255])
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(quantize(every * (4 / 255) - 2), every)


def test_written_shards_are_read(rng, tmp_path):
    made = list(clips(rng))
    paths = write_youtube8m(iter(made), tmp_path / "own", "train", 2)
    assert [path.name for path in paths] == ["train0000.tfrecord", "train0001.tfrecord"]
    found = {e["id"].decode(): e for e in read(tmp_path / "own")}
    assert len(found) == 5 and not list((tmp_path / "own").glob(".writing*"))
    for clip in made:
        element, length = found[clip["id"]], len(clip["rgb"])
        assert element["length"] == length and np.flatnonzero(element["label"]).tolist() == sorted(set(clip["labels"]))
        for stream in ("rgb", "audio"):
            np.testing.assert_array_equal(element[stream][:length], by_hand(quantize(clip[stream])))
    assert youtube8m_inspect.inspect(str(tmp_path / "own"))["train"]["found"] == {}
    write_youtube8m(iter(made), tmp_path / "own", "validation")
    assert len(read(tmp_path / "own", "validate")) == 5 and (tmp_path / "own" / "validate0000.tfrecord").exists()


def test_the_layout_is_the_published_one(rng, tmp_path):
    (clip,) = clips(rng, 1)
    clip["segments"] = [(0, 4, 1), (0, 2, 0)]
    (path,) = write_youtube8m([clip], tmp_path, "test")
    (record,) = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    found = tf.train.SequenceExample.FromString(record)
    assert set(found.context.feature) == {
        "id", "labels", "segment_start_times", "segment_end_times", "segment_labels", "segment_scores"
    }  # fmt: skip
    assert found.context.feature["segment_end_times"].int64_list.value == [5, 5]
    assert set(found.feature_lists.feature_list) == {"rgb", "audio"}
    steps = found.feature_lists.feature_list["rgb"].feature
    assert [len(step.bytes_list.value) for step in steps] == [1] and len(steps[0].bytes_list.value[0]) == 1024
    want = frame_record(
        {stream: quantize(clip[stream]) for stream in ("rgb", "audio")}, clip["labels"], name=b"own0",
        segment_start_times=many([0, 0]), segment_end_times=many([5, 5]), segment_labels=many([4, 2]),
        segment_scores=many([1.0, 0.0]),
    )  # fmt: skip
    assert found == tf.train.SequenceExample.FromString(want)


def test_missing_audio(rng, tmp_path):
    """Left out; as the official extractor writes it: bytes of 0 a frame, and a mean of 0."""
    for compat, value in ((False, 0.0), (True, by_hand(0))):
        folder = tmp_path / str(compat)
        write_youtube8m(clips(rng, 2, audio=False), folder / "frame", "train", compat=compat)
        write_youtube8m(clips(rng, 2, audio=False), folder / "video", "train", compat=compat, level="video")
        for element in read(folder / "frame"):
            assert (element["audio"][: element["length"]] == value).all()
            assert not element["audio"][element["length"] :].any()
        (record, *_) = tf.data.TFRecordDataset(str(folder / "video" / "train0000.tfrecord")).as_numpy_iterator()
        assert ("mean_audio" in tf.train.Example.FromString(record).features.feature) == compat
        assert not any(element["mean_audio"].any() for element in read(folder / "video", level="video"))
        noted = youtube8m_inspect.inspect(str(folder / "frame"))["train"]["found"]
        assert len(noted["without audio"]) == (0 if compat else 2)


def test_means_are_of_the_numbers(rng, tmp_path):
    made = list(clips(rng))
    write_youtube8m(made, tmp_path, "test", level="video")
    for clip, element in zip(made, read(tmp_path, "test", level="video")):
        np.testing.assert_allclose(element["mean_rgb"], clip["rgb"].mean(0), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(element["mean_audio"], clip["audio"].mean(0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rgb": np.zeros((3, 12))}, "3 frames, 1024.*float64"),
        ({"rgb": np.zeros(1024)}, "Received: float64 .1024,."),
        ({"rgb": np.zeros((0, 1024)), "audio": None}, r"Received: float64 \(0, 1024\)"),
        ({"rgb": np.full((1, 1024), np.nan), "audio": None}, "finite"),
        ({"audio": np.zeros((3, 128))}, "`audio` of"),
        ({"rgb": None}, "Missing: .'rgb'."),
        ({"labels": None}, "Missing: .'labels'."),
        ({"labels": [0.5]}, "numbers of classes"),
        ({"labels": [-1]}, "numbers of classes"),
        ({"labels": 3}, "numbers of classes"),
        ({"id": "own0"}, "id` of its own. Received: b'own0'"),
        ({"id": ""}, "Received: b''"),
    ],
)
def test_what_cannot_be_written_is_named(rng, tmp_path, change, message):
    first, second = clips(rng, 2)
    with pytest.raises(InputError, match=message):
        write_youtube8m([first, {**second, **change}], tmp_path, "train")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(rng, tmp_path):
    write_youtube8m(clips(rng), tmp_path, "validation")
    for options, message in (
        ({"split": "validate"}, "nothing is overwritten. Received: .*validate0000"),
        ({"split": "trainpj"}, "split='trainpj'"),
        ({"split": "test", "num_shards": 0}, "num_shards=0"),
        ({"split": "test", "level": "segment"}, "level='segment'"),
    ):
        with pytest.raises(InputError, match=message):
            write_youtube8m(clips(rng), tmp_path, **options)
    with pytest.raises(InputError, match="empty data set"):
        write_youtube8m([], tmp_path, "test")
