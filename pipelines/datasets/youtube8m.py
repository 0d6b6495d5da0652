"""YouTube-8M (S. Abu-El-Haija et al., arXiv 1609.08675): features of videos at a frame a second, and their topics.

From research.google.com/youtube8m/download.html, read as published. `root` holds the shards of one level,
`train*.tfrecord`, `validate*.tfrecord` and `test*.tfrecord`, and `vocabulary.csv` where classes are to have names:

    video level     Example: id, labels (int64), mean_rgb (1024 float), mean_audio (128 float)
    frame level     SequenceExample: context id, labels; feature lists rgb, audio: 1024 and 128 bytes a frame
    segments (2019) the same, and in the context segment_labels, segment_start_times, segment_scores: classes that
                    were rated, 0 or 1, in 5 frames from a start

A byte q is the number `q * 4 / 255 + 4 / 512 - 2`. Bytes were rounded, the offset is for bytes that were cut: numbers
come back up to 0.0157 too large. That is the format. Early releases name the id `video_id`: also read.

`pipelines.datasets.youtube8m_writer` makes such shards, `pipelines.datasets.youtube8m_inspect` looks through them.
"""

import concurrent.futures
import csv
import functools
import os

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError
from pipelines import remote
from pipelines.records import SHUFFLED_AT_ONCE, SHUFFLED_BYTES
from pipelines.sampling import check_process, epoch_key, shuffled

PREFIXES = {"train": ("train",), "validation": ("validate", "validation"), "test": ("test",)}
LEVELS = ("frame", "video", "segment")
IDS = ("id", "video_id")
SEGMENT_FRAMES = 5
LOW, HIGH = -2.0, 2.0  # what bytes span
OFFSET = LOW + (HIGH - LOW) / 512


def youtube8m(
    split: str,
    *,
    root: str = "",
    level: str = "frame",
    classes: int = 3862,
    max_frames: int = 300,
    rgb_size: int = 1024,
    audio_size: int = 128,
    process: int = 0,
    processes: int = 1,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Features and labels of YouTube-8M.

    Args:
        split: "train", "validation" (also "validate") or "test".
        root: folder of the shards.
        level: "frame": videos, frame by frame; "video": means over their frames, of shards of their own; "segment":
            the rated segments of videos, of frame-level shards.
        classes: 3862 (since 2018), 4716 (2016, 2017) or another number; labels beyond are an error.
        max_frames: frames of an element; longer videos are cut, shorter ones followed by zeros.
        rgb_size: numbers a frame of `rgb`; 0: not read.
        audio_size: numbers a frame of `audio`; 0: not read.
        process: which of `processes` this is; each reads its own part of the split, together they read it once.
        processes: how many read.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split: shards, then videos in a buffer of 256 MiB, 1000 at most.

    Returns:
        `tf.data.Dataset` of dicts, `id` string and `label` int64 (classes,), 1 for the video's classes, otherwise 0:
        frame: `rgb` float32 (max_frames, 1024), `audio` float32 (max_frames, 128), `length` int32, frames before the
            padding, which is exactly 0. Audio that a record does not hold is 0.
        video: `mean_rgb` float32 (1024,), `mean_audio` float32 (128,), 0 where a record does not hold it.
        segment: as frame, of 5 frames; `id` is `<video>:<start>`; `label` is 1 or 0 where rated, otherwise -1.

    Shards are opened once before use: 12 bytes of every record are read to count them (of other file systems, and for
    segments, all).

    Raises: InputError: an unknown split or level; no shards; a shard that is cut short. A record that is damaged, has
    no frames, frames of another size or labels beyond `classes` raises `tf.errors.InvalidArgumentError` while reading,
    with the shard and the record's place in it.
    """
    if level not in LEVELS:
        raise InputError.unknown("level", level, LEVELS)
    for name, value in (("classes", classes), ("max_frames", max_frames)):
        if value < 1:
            raise InputError(f"`{name}` must be at least 1. Received: {name}={value}")
    sizes = sizes_of(rgb_size, audio_size)
    check_process(process, processes)
    paths = paths_of(root, split)
    if not paths:
        names = " or ".join(f"{prefix}*.tfrecord" for prefix in prefixes_of(split))
        raise InputError(f"{root} must hold {names}. Received: no such file")
    by_shard = len(paths) % processes == 0
    paths = paths[process::processes] if by_shard else paths
    with concurrent.futures.ThreadPoolExecutor() as pool:
        counts = dict(zip(paths, pool.map(lambda path: _count(path, *_stamp(path)), paths)))
    found = counts if level != "segment" else {path: _count_segments(path, *_stamp(path)) for path in paths}
    count = sum(found.values())
    if not count:
        what = "rated segments" if level == "segment" else "videos"
        raise InputError(f"Shards of {split} in {root} must hold {what}. Received: none")

    def part(elements):
        return elements if by_shard else elements.shard(processes, process)

    records = _records(paths, counts, epoch_key(seed, epoch) if shuffle and split == "train" else None)
    if level == "segment":
        read = functools.partial(_read_segments, sizes, classes)
        elements = part(records.map(read, num_parallel_calls=tf.data.AUTOTUNE).unbatch())
    else:
        read = functools.partial(_read_means if level == "video" else _read_frames, sizes, classes, max_frames)
        elements = part(records).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    count = count if by_shard else len(range(process, count, processes))
    return elements.apply(tf.data.experimental.assert_cardinality(count))


def classes(root=""):
    """Names of the classes in `vocabulary.csv`, None where it is not there."""
    path = f"{str(root).rstrip('/')}/vocabulary.csv"
    return read_vocabulary(path) if root and tf.io.gfile.exists(path) else None


def read_vocabulary(path):
    """Names of the classes from the published table, by its columns Index and Name (without name, KnowledgeGraphId)."""
    try:
        with tf.io.gfile.GFile(str(path)) as file:
            rows = list(csv.DictReader(file.read().splitlines()))
        names = {int(row["Index"]): row["Name"] or row["KnowledgeGraphId"] for row in rows}
    except (OSError, tf.errors.OpError, UnicodeDecodeError, ValueError, KeyError, TypeError, csv.Error) as error:
        message = f"{path} must be a table with Index, KnowledgeGraphId and Name. Received: {error!r}"
        raise InputError(message) from error
    if not rows or len(names) < len(rows) or sorted(names) != list(range(len(rows))):
        raise InputError(f"{path} must number its classes 0, 1, 2 ... Received: {len(rows)} rows, {len(names)} numbers")
    return tuple(names[n] for n in range(len(names)))


def sizes_of(rgb_size, audio_size):
    """`{stream: numbers a frame}` of the streams that are read."""
    sizes = {"rgb": rgb_size, "audio": audio_size}
    if min(sizes.values()) < 0 or not any(sizes.values()):
        raise InputError(
            "`rgb_size` and `audio_size` are numbers a frame, not both 0. "
            f"Received: rgb_size={rgb_size}, audio_size={audio_size}"
        )
    return {name: size for name, size in sizes.items() if size}


# Shards


def prefixes_of(split):
    """What the names of a split's shards begin with."""
    split = "validation" if split == "validate" else split
    if split not in PREFIXES:
        raise InputError(f"`split` of youtube8m must be one of {tuple(PREFIXES)}. Received: split={split!r}")
    return PREFIXES[split]


def paths_of(root, split):
    """Paths of a split's shards, sorted."""
    if root:
        remote.prepare_path(root)
    if not root or not (remote.is_remote(root) or tf.io.gfile.isdir(root)):  # object stores have no folders
        raise InputError(f"`root` must be the folder of the shards. Received: root={root!r}")
    prefixes = prefixes_of(split)
    names = [name for name in tf.io.gfile.listdir(root) if name.startswith(prefixes) and name.endswith(".tfrecord")]
    return [f"{str(root).rstrip('/')}/{name}" for name in sorted(names)]


def scan(path):
    """`(records, whole)` of a local shard: 12 bytes of every record are read, the length that stands before it."""
    count, place, size = 0, 0, os.path.getsize(path)
    with open(path, "rb", buffering=0) as file:
        while place < size:
            file.seek(place)
            header = file.read(12)  # the length and its CRC; the record and its CRC follow
            place += 16 + int.from_bytes(header[:8], "little")
            if len(header) < 12 or place > size:
                return count, False
            count += 1
    return count, True


def _stamp(path):
    status = tf.io.gfile.stat(path)
    return status.length, status.mtime_nsec


@functools.lru_cache(maxsize=8192)
def _count(path, size, modified):
    """Records in a shard; a file of another size or date is counted again."""
    if remote.is_remote(path):
        return _reduced(path, lambda record: tf.constant(1, tf.int64))
    count, whole = scan(path)
    if not whole:
        raise InputError(f"{path} is damaged or cut short. Received: its end within record {count}")
    return count


@functools.lru_cache(maxsize=8192)
def _count_segments(path, size, modified):
    starts = {"segment_start_times": tf.io.VarLenFeature(tf.int64)}

    def segments(record):
        context, _ = tf.io.parse_single_sequence_example(record, starts)
        return tf.size(tf.unique(context["segment_start_times"].values).y, tf.int64)

    return _reduced(path, segments)


def _reduced(path, count):
    """The sum of a count of every record of a shard."""
    try:
        with tf.init_scope():  # eager, also where the data set is made inside another one's graph
            return int(tf.data.TFRecordDataset(path).reduce(np.int64(0), lambda total, record: total + count(record)))
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise InputError(f"{path} is damaged or cut short. Received: {str(error.message).splitlines()[0]}") from error


def _records(paths, counts, key):
    """`(path, place in the shard, record)`; the record is "" where it, or one before it, is damaged.

    TensorFlow's own error does not say which file it was, and cannot be caught while training.
    """
    lengths = tf.constant([counts[path] for path in paths], tf.int64)
    order = tf.range(len(paths)) if key is None else shuffled(tf.range(len(paths)), key)

    def of_shard(n):
        path = tf.gather(tf.constant(paths), n)
        found = tf.data.TFRecordDataset(path, buffer_size=2**20).ignore_errors()
        found = found.concatenate(tf.data.Dataset.from_tensors("").repeat())
        places = tf.data.Dataset.range(tf.gather(lengths, n), output_type=tf.int32)
        return tf.data.Dataset.zip(places, found).map(lambda place, record: (path, place, record))

    records = tf.data.Dataset.from_tensor_slices(order).flat_map(of_shard)
    if key is None:
        return records
    size = sum(_stamp(path)[0] for path in paths) / max(sum(counts[path] for path in paths), 1)
    return _mixed(records, max(1, min(SHUFFLED_AT_ONCE, int(SHUFFLED_BYTES / max(size, 1)))), key)


def _mixed(records, size, key):
    """Records drawn from a buffer of so many, as `Dataset.shuffle` does, but by `key` alone: not by the global seed.

    Nothing is copied: where strings are gathered into another order, reading takes half as long again.
    """
    spec = records.element_spec
    mixed = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=size,
        seed=key[0],
        seed2=key[1] + 1,  # two seeds of 0 would mean any
        output_types=[part.dtype for part in spec],
        output_shapes=[part.shape for part in spec],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(mixed, spec)


# Records, in the graph


def _read_frames(sizes, classes, max_frames, path, place, record):
    context, numbers, length = _parse_frames(sizes, classes, path, place, record, {"labels": tf.int64})
    return {
        "id": context["id"],
        **{name: _padded(values, max_frames) for name, values in numbers.items()},
        "length": tf.minimum(length, max_frames),
        "label": _marked(tf.zeros([classes], tf.int64), context["labels"][:, None], 1),
    }


def _read_segments(sizes, classes, path, place, record):
    """All rated segments of a video, a batch."""
    names = {"segment_labels": tf.int64, "segment_start_times": tf.int64, "segment_scores": tf.float32}
    context, numbers, length = _parse_frames(sizes, classes, path, place, record, names)
    label, start, score = (context[name] for name in names)
    start = tf.cast(start, tf.int32)
    right = [tf.size(label) == tf.size(start), tf.size(score) == tf.size(start)]
    right.append(tf.reduce_all((start >= 0) & (start < length)))
    told = "Segments need a class and a score each, and start within their video."
    label, start, score = _checked((label, start, score), right, lambda: told, path, place)
    starts, segment = tf.unique(start)
    count, rated = tf.size(starts), tf.stack([tf.cast(segment, tf.int64), label], 1)
    steps = starts[:, None] + tf.range(SEGMENT_FRAMES)
    return {
        "id": tf.strings.join([tf.fill([count], context["id"]), tf.strings.as_string(starts)], ":"),
        **{name: tf.gather(_padded(values, length + SEGMENT_FRAMES), steps) for name, values in numbers.items()},
        "length": tf.minimum(length - starts, SEGMENT_FRAMES),
        "label": _marked(tf.fill([count, classes], tf.constant(-1, tf.int64)), rated, tf.cast(score > 0, tf.int64)),
    }


def _read_means(sizes, classes, max_frames, path, place, record):
    wanted = {f"mean_{name}": tf.float32 for name in sizes}
    context, _ = _parsed(path, record, {**wanted, "labels": tf.int64})
    means = [context[name] for name in wanted]
    right = [tf.size(means[0]) > 0, *(tf.reduce_all(tf.math.is_finite(mean)) for mean in means)]
    right += [(tf.size(mean) == size) | (tf.size(mean) == 0) for mean, size in zip(means, sizes.values())]
    context = _right(context, right, classes, path, place, record, lambda: [tf.size(mean) for mean in means])
    return {
        "id": context["id"],
        **{f"mean_{name}": _padded(context[f"mean_{name}"], size) for name, size in sizes.items()},
        "label": _marked(tf.zeros([classes], tf.int64), context["labels"][:, None], 1),
    }


def _parse_frames(sizes, classes, path, place, record, wanted):
    """`(context, numbers of each stream float32 (T, D), T)`."""
    context, lists = _parsed(path, record, wanted, sizes)
    length = tf.size(lists[next(iter(sizes))])
    right = [length > 0, *(tf.reduce_all(tf.strings.length(lists[name]) == size) for name, size in sizes.items())]
    if len(sizes) == 2:
        right.append((tf.size(lists["audio"]) == length) | (tf.size(lists["audio"]) == 0))

    def found():
        return [tf.strings.length(lists[name])[:1] for name in sizes]

    context = _right({**context, **lists}, right, classes, path, place, record, found)
    codes = {name: tf.reshape(tf.io.decode_raw(context[name], tf.uint8), [-1, size]) for name, size in sizes.items()}
    return context, {name: dequantize(q) for name, q in codes.items()}, length


def _parsed(path, record, wanted, lists=()):
    """Lists of the context by name, and the id; lists of bytes. An Example is a SequenceExample that is all context."""
    wanted = {name: tf.io.VarLenFeature(dtype) for name, dtype in wanted.items()}
    ids = {name: tf.io.FixedLenFeature([], tf.string, "") for name in IDS}
    steps = {name: tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True) for name in lists}
    context, lists = tf.io.parse_single_sequence_example(record, {**ids, **wanted}, steps, example_name=path)
    name = tf.strings.join([context[name] for name in IDS])  # one of them is empty
    return {"id": name, **{name: context[name].values for name in wanted}}, lists


def _right(values, right, classes, path, place, record, sizes):
    """The values of a record of which all in `right` is true, and that has no other labels than it may.

    sizes: function that gives the numbers in what was read of a step, for the message.
    """
    labels = [value for name, value in values.items() if name in ("labels", "segment_labels")]
    right = [*right, *(tf.reduce_all((label >= 0) & (label < classes)) for label in labels)]
    wrong = f"A record must have steps of the sizes asked for, labels below {classes} (youtube8m_inspect names all)."
    damaged = "This record or one before it in its shard is damaged (youtube8m_inspect says which)."

    def told():
        return tf.where(tf.equal(record, ""), damaged, wrong)

    def more():
        return ["numbers a step", *sizes(), "labels", *labels]

    return dict(zip(values, _checked(values.values(), right, told, path, place, more)))


def _checked(values, right, told, path, place, more=list):
    """The values, after one assertion for all: an operation costs as much as hundreds of numbers.

    told, more: functions, for what only the message needs is only computed for it.
    """

    def refuse():
        return tf.debugging.Assert(False, [told(), "Received:", path, "record", place, *more()])

    check = tf.cond(tf.reduce_all(tf.stack(right)), tf.no_op, refuse)
    with tf.control_dependencies([check]):
        return [tf.identity(value) for value in values]


def _padded(values, length):
    """The first `length` rows of values, then zeros."""
    values = values[:length]
    values = tf.concat([values, tf.zeros([length - tf.shape(values)[0], *values.shape[1:]])], 0)
    return values if tf.is_tensor(length) else tf.ensure_shape(values, [length, *values.shape[1:]])


def _marked(label, places, value):
    return tf.tensor_scatter_nd_update(label, places, tf.broadcast_to(tf.cast(value, tf.int64), tf.shape(places)[:1]))


def dequantize(codes):
    """float32 numbers of bytes (...): `codes * 4 / 255 + 4 / 512 - 2`."""
    codes = tf.bitcast(codes, tf.quint8)  # for an operation that does all of it in one pass
    return tf.quantization.dequantize(codes, OFFSET, OFFSET + HIGH - LOW, "MIN_COMBINED")
