"""Folders of TFRecord shards, a record a video (`pipelines.schema`): its frames, features of them, or both.

A folder holds `<split>-00000-of-00004.tfrecord` shards, `features.json` (schema version, `RecordSpec`) and
`dataset_info.json` (videos, frames, bytes and SHA-256 of every shard; what was skipped, and why). Shards are
uncompressed; TensorFlow checks the CRC of every record it reads. `pipelines.prepare` makes them of video files.

Write from a data set by name: `python -m pipelines.records moving_mnist --out DIR`.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import tempfile

import tensorflow as tf

from keras_st import cli
from keras_st.specs import FeatureSpec, InputError
from pipelines import remote
from pipelines.sampling import check_process, epoch_key, shuffled
from pipelines.schema import ENCODINGS, PICTURES, RecordSpec, decode_clip, encode_clip, parse_clip, spec_of, steps_of

SHUFFLED_BYTES = 2**28  # of records in memory at once, still encoded
SHUFFLED_AT_ONCE = 1000  # records, at most
PLAN = ".prepare"  # folder in a folder of shards that is not finished


class ShardWriter:
    """Writes one shard; `close` says what is in it."""

    def __init__(self, path, spec: RecordSpec):
        self.path, self.spec = pathlib.Path(path), spec
        self.clips, self.frames, self.shortest = 0, 0, None
        self.sizes: set[tuple[int, ...]] = set()  # of frames, (H, W, C)
        with told_of(self.path):
            self.file = tf.io.TFRecordWriter(str(path))

    def write(self, steps, id, label=None):
        """Appends a record; see `pipelines.schema.encode_clip`."""
        record, (length, *size) = encode_clip(steps, self.spec, id, label)
        with told_of(self.path):
            self.file.write(record)
        if size:
            self.sizes.add(tuple(size))
        self.clips, self.frames = self.clips + 1, self.frames + length
        self.shortest = min(self.shortest or length, length)

    def close(self):
        """What `dataset_info.json` says of the shard."""
        with told_of(self.path):
            self.file.close()
            with open(self.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self.path.stat().st_size
        counts = {"clips": self.clips, "frames": self.frames, "shortest_clip": self.shortest}
        return {**counts, "bytes": size, "sha256": digest}


class WriteError(InputError):
    """A file that cannot be written."""


class told_of:
    """Failures to write a file become a `WriteError` that names it."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, (OSError, tf.errors.OpError)):
            reason = (getattr(error, "message", "") or str(error)).splitlines()[0]
            raise WriteError(f"{self.path} cannot be written. Received: {reason}") from error


def write_shards(clips, folder, split, num_shards=1, encoding="png", flow_bound=20.0, classes=None):
    """Writes clips into `num_shards` shards of a split, round robin; returns their paths.

    Args:
        clips: dicts of arrays, all alike but for their lengths: `video` uint8 (T, H, W, C), `id` bytes; where they have
            them `flow` float32 (T, H, W, 2) in px/frame, `time` (T,) in seconds, `label`, an int or (K,) or (T, K) of 0
            and 1 (in a frame that is not labelled -1); by names of their own features or other arrays, float16 or
            float32 (T, ...), finite, beside `video` or in its place.
        folder: made where it is not there.
        split: name in front of the files.
        num_shards: at least 1.
        encoding: of frames, "jpeg" (loses a little), "png" or "raw".
        flow_bound: largest component of flow that can be stored, in px/frame.
        classes: their names, in the order of the labels.

    Every shard is written aside and renamed when whole. Refuses a split that is already there.
    """
    remote.check_local(folder)
    folder = pathlib.Path(folder)
    if num_shards < 1:
        raise InputError(f"`num_shards` must be at least 1. Received: num_shards={num_shards}")
    if encoding not in ENCODINGS:
        raise InputError.unknown("encoding", encoding, ENCODINGS)
    check_free(folder, [split])
    folder.mkdir(parents=True, exist_ok=True)
    names = shard_names(split, num_shards)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as aside:
        writers, spec, seen = [], None, set()
        for n, clip in enumerate(clips):
            own = with_classes(spec_of(clip, encoding, flow_bound), classes)
            if clip["id"] in seen:
                raise InputError(f"Every clip needs an `id` of its own. Received twice: {clip['id']!r}")
            seen.add(clip["id"])
            spec = spec or own
            if own != spec:
                raise InputError(
                    f"Clips of a folder must be alike; the first is {brief(spec)}. Received: clip {n} is {brief(own)}"
                )
            writers = writers or [ShardWriter(pathlib.Path(aside, name), spec) for name in names]
            writers[n % num_shards].write(steps_of(clip), clip["id"], clip.get("label"))
        if not writers:
            raise InputError(f"There are no clips to write for split {split!r}. Received: an empty data set")
        shards = {name: writer.close() for name, writer in zip(names, writers)}
        write_info(folder, spec, shards)
        for name in names:
            os.replace(pathlib.Path(aside, name), folder / name)
    return [folder / name for name in names]


def with_classes(spec, classes):
    """A `RecordSpec` with names of classes; InputError where it is not labelled with so many."""
    if classes is None:
        return spec
    if spec.label_shape is None or spec.label_shape[-1:] not in ((), (len(classes),)):
        raise InputError(
            f"{len(classes)} classes need labels of so many. "
            f"Received: {'no `label`' if spec.label_shape is None else f'label {spec.label_shape}'}"
        )
    return dataclasses.replace(spec, classes=tuple(map(str, classes)))


def shard_names(split, count):
    """`<split>-00000-of-<count>.tfrecord` and on."""
    return [f"{split}-{n:05d}-of-{count:05d}.tfrecord" for n in range(count)]


def is_shard(name, split):
    """Whether a file is named as a shard of a split."""
    return re.fullmatch(rf"{re.escape(split)}-\d{{5}}-of-\d{{5}}\.tfrecord", name) is not None


def check_free(folder, splits):
    """Raises InputError where a folder has shards of one of the splits."""
    for split in splits:
        if any(is_shard(path.name, split) for path in pathlib.Path(folder).glob("*.tfrecord")):
            raise InputError(
                f"{folder} already holds shards of {split}; nothing is overwritten. Received: split={split!r}"
            )


def split_of(name):
    """The split in the name of a shard."""
    return name.rsplit("-", 3)[0]


def splits_of(info):
    """Names of the splits in a `dataset_info.json`."""
    return sorted({split_of(name) for name in info["shards"]})


def shards_of(info, split):
    """Name -> what a `dataset_info.json` states, of the shards of a split, in order."""
    return {name: shard for name, shard in sorted(info["shards"].items()) if is_shard(name, split)}


def counted(split, shards):
    """How much the shards of a split hold, in a line; `shards`: name -> what is stated."""
    clips, frames, size = (sum(shard[name] for shard in shards.values()) for name in ("clips", "frames", "bytes"))
    return f"{split}: {clips} videos, {frames} frames, {size / 2**20:.1f} MiB in {len(shards)} shards"


def described(spec):
    """What records hold, in a line."""
    words = [
        f"{f.name} {f.dtype} {f.shape}{f' in {f.unit}' if f.unit else ''}, stored as {f.encoding}"
        for f in spec.features.values()
    ]
    labels = {None: "no labels", 0: "a class a video", 1: "classes of videos", 2: "classes of frames"}
    rank = None if spec.label_shape is None else len(spec.label_shape)
    return "; ".join([*words, labels[rank]])


def brief(spec):
    """A `RecordSpec` in a line."""
    words = {name: (f.dtype, *f.shape[1:], f.encoding) for name, f in spec.features.items()}
    return {**words, "label": spec.label_shape, "time": spec.timed}


def write_info(folder, spec, shards, skipped=(), made=None):
    """Adds shards to `features.json` and `dataset_info.json`; refuses records unlike those that are there."""
    features, info = pathlib.Path(folder, "features.json"), pathlib.Path(folder, "dataset_info.json")
    spec = json.loads(json.dumps(check_alike(folder, spec).as_dict()))
    known = json.loads(info.read_text()) if info.exists() else {"shards": {}, "skipped": [], "made": []}
    known = {
        "shards": {**known["shards"], **shards},
        "skipped": [*known["skipped"], *skipped],
        "made": [*known["made"], *([made] if made else [])],
    }
    for path, content in ((features, spec), (info, known)):
        write_json(path, content)


def check_alike(folder, spec):
    """The `RecordSpec` of a folder's records and further ones; InputError where more than sizes of frames differ."""
    features = pathlib.Path(folder, "features.json")
    if not features.exists():
        return spec
    known = RecordSpec.from_dict(json.loads(features.read_text()))
    if resized(known, (None, None)) != resized(spec, (None, None)):
        size = (None, None) if known.video is None else known.video.shape[1:3]
        stored, given = known.as_dict(), resized(spec, size).as_dict()
        other = [name for name in given if given[name] != stored[name]]
        raise InputError(f"{features} describes other clips than those given. Received: other {', '.join(other)}")
    return spec if known == spec else resized(spec, (None, None))


def resized(spec, size):
    """A `RecordSpec` whose frames all have a size (height, width); None where they differ."""
    frames = {
        name: dataclasses.replace(feature, shape=(None, *size, feature.shape[-1]))
        for name, feature in spec.features.items()
        if name in PICTURES
    }
    return dataclasses.replace(spec, **frames)


def write_json(path, content):
    """A JSON file, in its place when whole."""
    partial = path.with_name(path.name + ".partial")
    with told_of(path):
        partial.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial, path)


# Reading


def read_spec(root) -> RecordSpec:
    """What the records of a folder of shards hold; InputError for a folder that has none, or of another schema."""
    try:
        remote.prepare_path(root)
        stored = json.loads(_text(root, "features.json"))
        if stored["schema"] is None:
            raise ValueError("no schema")
        return RecordSpec.from_dict(stored)
    except InputError as error:
        raise InputError(f"{root}: {error}") from error
    except (OSError, RuntimeError, tf.errors.OpError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{root} must hold features.json and dataset_info.json. Received: {_reason(error)}") from error


def read_info(root):
    """`dataset_info.json` of a folder of shards, as dict of `shards`, `skipped` and `made`."""
    try:
        info = json.loads(_text(root, "dataset_info.json"))
        return {name: info[name] for name in ("shards", "skipped", "made")}
    except (OSError, tf.errors.OpError, ValueError, KeyError, TypeError) as error:
        if tf.io.gfile.isdir(_join(root, PLAN)):
            raise InputError(f"{root} is not finished: run its command again, it goes on. Received: {root}") from error
        raise InputError(f"{root} must hold features.json and dataset_info.json. Received: {_reason(error)}") from error


def _reason(error):
    text = str(getattr(error, "message", "") or error).splitlines()[0]
    return f"{type(error).__name__}: {re.sub(r'{{.*?}} | .Op:.*', '', text)}"  # without TensorFlow's own names


def _text(root, name):
    with tf.io.gfile.GFile(_join(root, name)) as file:  # also of other file systems
        return file.read()


def _join(root, name):
    return f"{str(root).rstrip('/')}/{name}"


@functools.lru_cache(maxsize=4096)
def _clips_in(path, size, modified):
    """Records in a shard, every CRC checked; a file of another size or date is read again."""
    try:
        with tf.init_scope():  # eager, also where the data set is made inside another one's graph
            return sum(1 for _ in tf.data.TFRecordDataset(path))
    except tf.errors.DataLossError as error:
        raise InputError(f"{path} is damaged or cut short. Received: {_reason(error)}") from error


def check_shard(root, name, stated):
    """Raises InputError unless a shard is there whole: every CRC, and as many records as stated."""
    path = _join(root, name)
    try:
        status = tf.io.gfile.stat(path)
    except tf.errors.OpError as error:
        raise InputError(f"{path} must be a shard. Received: {_reason(error)}") from error
    found = _clips_in(path, status.length, status.mtime_nsec)
    if found != stated["clips"]:
        raise InputError(f"{path} should hold {stated['clips']} clips. Received: {found}")


def read_dataset(
    split: str,
    *,
    root: str = "",
    min_frames: int = 1,
    verify: bool = True,
    encoded: bool = False,
    process: int = 0,
    processes: int = 1,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Videos of the shards in `root`.

    Args:
        split: name in front of the shard files.
        root: folder that `pipelines.prepare` or `write_shards` made.
        min_frames: frames that every clip must have at least.
        verify: read every shard through once before use, so that damage is named before training starts.
        encoded: give frames as they are stored, so that only those that are used are decoded
            (`pipelines.schema.decode_frames`).
        process: which of `processes` this is; each reads its own part of the split, together they read it once.
        processes: how many read.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split: shards, then videos within neighbours that fit into 256 MiB.

    Returns:
        `tf.data.Dataset` of dicts: `id` string; where stored `video` uint8 (T, H, W, C), `flow` float32 (T, H, W, 2) in
        px/frame, `time` float64 (T,) in seconds, `label` int64, scalar, (K,) or (T, K), arrays by their names, float16
        or float32 (T, ...). With `encoded` `video`, `flow` and arrays are strings (T,), and with video `size` int32
        (2,) is there. The same arguments give the same elements in the same
        order, so that `.skip(n)` goes on where another reader stopped.

    Raises: InputError: a folder, split, shard or file that is missing, damaged, cut short or of another schema; clips
    that are too short. With `verify=False` damage raises `tf.errors.DataLossError` while reading.
    """
    if not root or not (remote.is_remote(root) or tf.io.gfile.isdir(root)):  # object stores have no folders
        raise InputError(f"`root` must be the folder of the shards. Received: root={root!r}")
    check_process(process, processes)
    spec, info = read_spec(root), read_info(root)
    shards = shards_of(info, split)
    missing = [name for name in shards if not tf.io.gfile.exists(_join(root, name))]
    if not shards or missing:
        raise InputError(
            f"{root} must hold the shards of {split!r}. Missing: {missing or 'all'}. Received: root={root}"
        )
    shortest = min(shard["shortest_clip"] for shard in shards.values() if shard["clips"])
    if shortest < min_frames:
        raise InputError(
            f"Clips must hold at least {min_frames} frames (context + horizon). Received: {shortest} in {root}"
        )
    for name, stated in shards.items() if verify else ():
        check_shard(root, name, stated)
    by_shard = len(shards) % processes == 0
    names = list(shards)[process::processes] if by_shard else list(shards)
    count = sum(shards[name]["clips"] for name in names)
    paths = [_join(root, name) for name in names]
    if split == "train" and shuffle:
        key = epoch_key(seed, epoch)
        size = sum(shards[name]["bytes"] for name in names) / max(count, 1)
        at_once = max(1, min(SHUFFLED_AT_ONCE, int(SHUFFLED_BYTES / max(size, 1))))
        chunks = tf.data.TFRecordDataset(shuffled(tf.constant(paths), key)).batch(at_once)
        records = chunks.enumerate(1).map(lambda n, chunk: shuffled(chunk, key + n * 1_000_003)).unbatch()
    else:
        records = tf.data.TFRecordDataset(paths)
    if not by_shard:
        records, count = records.shard(processes, process), len(range(process, count, processes))

    def read(record):
        clip = parse_clip(record, spec)
        return clip if encoded else decode_clip(clip, spec)

    clips = records.map(read, num_parallel_calls=tf.data.AUTOTUNE)
    return clips.apply(tf.data.experimental.assert_cardinality(count))


def feature(*, root: str = "", stream: str = "video", **_) -> FeatureSpec:
    """The spec of the `video`, `flow` or an array of a folder of shards."""
    return read_spec(root).features[stream]


def main(argv):
    """`python -m pipelines.records NAME --out DIR [--split=S] [--shards=N] [--encoding=raw] [--options a=1 b=2]`."""
    import yaml

    from pipelines.build import class_names, make_dataset

    parser = argparse.ArgumentParser(
        prog="python -m pipelines.records", description="Writes a data set as TFRecord shards."
    )
    parser.add_argument("name", help="data set")
    parser.add_argument("--out", required=True, help="folder of the shards")
    parser.add_argument("--split", default="train")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--encoding", default="png", help="jpeg, png or raw")
    parser.add_argument("--options", nargs="*", default=[], metavar="name=value", help="options of the data set")
    given = cli.parse(parser, argv)
    options = {}
    for word in given.options:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"Options are written name=value. Received: {word}")
        options[name] = yaml.safe_load(value)
    clips = make_dataset(given.name, given.split, **options).as_numpy_iterator()
    classes = class_names(given.name, **options)
    for path in write_shards(clips, given.out, given.split, given.shards, given.encoding, classes=classes):
        print(path)


if __name__ == "__main__":
    cli.run(main)
