"""TFRecord shards of clips: one SequenceExample a clip, one encoded frame a step.

A folder holds `<split>-00000-of-00004.tfrecord` shards, `features.json` (schema version, feature spec) and
`dataset_info.json` (clips per split and per shard). Shards are uncompressed; TensorFlow checks the CRC of every
record it reads.

    context:        id (bytes), length (int64), height, width, channels (int64), encoding (bytes), schema (int64)
                    label (int64, optional)
    feature lists:  video (bytes, one PNG, JPEG or raw frame a step)

Write from a data set by name: `python -m pipelines.records moving_mnist --out DIR`.
"""

import argparse
import json
import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from keras_st import cli
from keras_st.specs import InputError

SCHEMA_VERSION = 1
ENCODINGS = ("png", "raw")
SHUFFLED_AT_ONCE = 1000  # clips in memory, still encoded


def encode_clip(clip, encoding="png"):
    """A serialised SequenceExample of one element: `video` uint8 (T, H, W, C), `id`, optional scalar `label`."""
    video = np.asarray(clip["video"])
    if video.dtype != np.uint8 or video.ndim != 4 or 0 in video.shape:
        raise InputError(f"`video` must be uint8 (T, H, W, C), not empty. Received: {video.dtype} {video.shape}")
    if encoding not in ENCODINGS:
        raise InputError.unknown("encoding", encoding, ENCODINGS)
    encode = {"png": lambda frame: tf.io.encode_png(frame).numpy(), "raw": lambda frame: frame.tobytes()}[encoding]
    length, height, width, channels = video.shape
    context = {"id": bytes(clip["id"]), "encoding": encoding.encode(), "schema": SCHEMA_VERSION, "length": length}
    context.update(height=height, width=width, channels=channels)
    if "label" in clip:
        context["label"] = int(clip["label"])
    frames = tf.train.FeatureList(feature=[_feature(encode(frame)) for frame in video])
    return tf.train.SequenceExample(
        context=tf.train.Features(feature={name: _feature(value) for name, value in context.items()}),
        feature_lists=tf.train.FeatureLists(feature_list={"video": frames}),
    ).SerializeToString()


def _feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def parse_clip(serialized, channels, labelled=False):
    """Inverse of `encode_clip`, in the graph: `video` uint8 (T, H, W, channels), `id`, `label` if `labelled`."""
    scalars = {
        name: tf.io.FixedLenFeature([], tf.int64) for name in ("schema", "length", "height", "width", "channels")
    }
    if labelled:
        scalars["label"] = tf.io.FixedLenFeature([], tf.int64)
    texts = {name: tf.io.FixedLenFeature([], tf.string) for name in ("id", "encoding")}
    context, lists = tf.io.parse_single_sequence_example(
        serialized, {**scalars, **texts}, {"video": tf.io.FixedLenSequenceFeature([], tf.string)}
    )
    schema = tf.debugging.assert_equal(
        context["schema"],
        tf.constant(SCHEMA_VERSION, tf.int64),
        "The record has another schema version than this code.",
    )
    with tf.control_dependencies([schema]):
        shape = tf.stack([context["height"], context["width"], context["channels"]])

    def decode(frame):
        raw = lambda: tf.reshape(tf.io.decode_raw(frame, tf.uint8), shape)  # noqa: E731
        return tf.cond(context["encoding"] == b"raw", raw, lambda: tf.io.decode_png(frame, channels))

    video = tf.map_fn(decode, lists["video"], fn_output_signature=tf.TensorSpec((None, None, channels), tf.uint8))
    clip = {"video": video, "id": context["id"]}
    return {**clip, "label": context["label"]} if labelled else clip


def write_shards(clips, folder, split, num_shards=1, encoding="png"):
    """Writes clips into `num_shards` shards of a split, round robin; returns their paths.

    Every shard is written aside and renamed when whole. Refuses a split that is already there.
    """
    folder = pathlib.Path(folder)
    if num_shards < 1:
        raise InputError(f"`num_shards` must be at least 1. Received: num_shards={num_shards}")
    if any(folder.glob(f"{split}-*-of-*.tfrecord")):
        raise InputError(f"{folder} already holds shards of {split}; nothing is overwritten. Received: split={split!r}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{split}-{n:05d}-of-{num_shards:05d}.tfrecord" for n in range(num_shards)]
    counts, spec = [0] * num_shards, None
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as aside:
        writers = [tf.io.TFRecordWriter(os.path.join(aside, path.name)) for path in paths]
        for n, clip in enumerate(clips):
            record = encode_clip(clip, encoding)
            spec = spec or {
                "schema": SCHEMA_VERSION,
                "channels": int(clip["video"].shape[-1]),
                "labelled": "label" in clip,
            }
            writers[n % num_shards].write(record)
            counts[n % num_shards] += 1
        for writer in writers:
            writer.close()
        if not sum(counts):
            raise InputError(f"There are no clips to write for split {split!r}. Received: an empty data set")
        _write_info(folder, spec, {path.name: count for path, count in zip(paths, counts)})
        for path in paths:
            os.replace(os.path.join(aside, path.name), path)
    return paths


def _write_info(folder, spec, counts):
    features, info = folder / "features.json", folder / "dataset_info.json"
    if features.exists() and json.loads(features.read_text()) != spec:
        raise InputError(f"{features} describes other clips than those given. Received: {spec}")
    known = json.loads(info.read_text()) if info.exists() else {}
    for path, content in ((features, spec), (info, {**known, **counts})):
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial, path)


def _shuffled(x, key):
    """A permutation that is a function of `key` alone (a shuffle buffer's seed cannot be a tensor everywhere)."""
    return tf.random.experimental.stateless_shuffle(x, key)


def read_dataset(split: str, *, root: str = "", epoch: int = 0, seed: int = 0, shuffle: bool = True) -> tf.data.Dataset:
    """Clips of the shards in `root`.

    Args:
        split: name in front of the shard files.
        root: folder that `write_shards` made.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split: shards, then clips within `SHUFFLED_AT_ONCE` neighbours.

    Returns: `tf.data.Dataset` of dicts: `video` uint8 (T, H, W, C), `id` string, `label` int64 where stored.

    Raises: InputError: a folder, split, shard or file that is missing, or shards of another schema. A record that
    fails its CRC, or a truncated shard, raises `tf.errors.DataLossError` while reading, which names the offset.
    """
    folder = pathlib.Path(root)
    try:
        spec = json.loads((folder / "features.json").read_text())
        counts = json.loads((folder / "dataset_info.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"`root` must be a folder of shards with features.json and dataset_info.json. Received: {error}"
        ) from error
    if spec["schema"] != SCHEMA_VERSION:
        raise InputError(
            f"{folder} has schema {spec['schema']}, this code reads {SCHEMA_VERSION}. Received: root={root}"
        )
    names = sorted(name for name in counts if name.startswith(f"{split}-"))
    missing = [name for name in names if not (folder / name).is_file()]
    if not names or missing:
        raise InputError(
            f"{folder} must hold the shards of {split!r}. Missing: {missing or 'all'}. Received: root={root}"
        )
    total = sum(counts[name] for name in names)
    paths = [str(folder / name) for name in names]
    if split == "train" and shuffle:
        key = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
        chunks = tf.data.TFRecordDataset(_shuffled(tf.constant(paths), key)).batch(SHUFFLED_AT_ONCE)
        records = chunks.enumerate(1).map(lambda n, chunk: _shuffled(chunk, key + n * 1_000_003)).unbatch()
    else:
        records = tf.data.TFRecordDataset(paths)
    clips = records.map(
        lambda r: parse_clip(r, spec["channels"], spec["labelled"]), num_parallel_calls=tf.data.AUTOTUNE
    )
    return clips.apply(tf.data.experimental.assert_cardinality(total))


def main(argv):
    """`python -m pipelines.records NAME --out DIR [--split=S] [--shards=N] [--encoding=raw] [--options a=1 b=2]`."""
    import yaml

    from pipelines.build import make_dataset

    parser = argparse.ArgumentParser(
        prog="python -m pipelines.records", description="Writes a data set as TFRecord shards."
    )
    parser.add_argument("name", help="data set")
    parser.add_argument("--out", required=True, help="folder of the shards")
    parser.add_argument("--split", default="train")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--encoding", default="png", help="png or raw")
    parser.add_argument("--options", nargs="*", default=[], metavar="name=value", help="options of the data set")
    given = cli.parse(parser, argv)
    options = {}
    for word in given.options:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"Options are written name=value. Received: {word}")
        options[name] = yaml.safe_load(value)
    clips = make_dataset(given.name, given.split, **options).as_numpy_iterator()
    for path in write_shards(clips, given.out, given.split, given.shards, given.encoding):
        print(path)


if __name__ == "__main__":
    cli.run(main)
