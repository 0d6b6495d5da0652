"""TFRecord shards of clips: one SequenceExample a clip, one encoded frame a step.

A folder holds `<split>-00000-of-00004.tfrecord` shards, `features.json` (schema version, feature spec) and
`dataset_info.json` (clips per split and per shard). Shards are uncompressed; TensorFlow checks the CRC of every
record it reads.

    context:        id (bytes), length (int64), height, width, channels (int64), encoding (bytes), schema (int64)
                    label (int64, optional)
    feature lists:  video (bytes, one PNG or raw frame a step)

Write from a data set by name: `python -m pipelines.records moving_mnist --out DIR`.
"""

import argparse
import functools
import json
import os
import pathlib
import re
import tempfile

import numpy as np
import tensorflow as tf

from keras_st import cli
from keras_st.specs import InputError

SCHEMA_VERSION = 1
ENCODINGS = ("png", "raw")
PNG_CHANNELS = (1, 3, 4)
SHUFFLED_AT_ONCE = 1000  # clips in memory, still encoded


def encode_clip(clip, encoding="png"):
    """A serialised SequenceExample of one element: `video` uint8 (T, H, W, C), `id`, optional scalar `label`."""
    for name, kind in (("video", np.ndarray), ("id", bytes)):
        if not isinstance(clip, dict) or not isinstance(clip.get(name), kind):
            raise InputError(
                f'A clip must be {{"video": uint8 array (T, H, W, C), "id": bytes}}. Received: {_described(clip)}'
            )
    video = clip["video"]
    if video.dtype != np.uint8 or video.ndim != 4 or 0 in video.shape:
        raise InputError(f"`video` must be uint8 (T, H, W, C), not empty. Received: {video.dtype} {video.shape}")
    if encoding not in ENCODINGS:
        raise InputError.unknown("encoding", encoding, ENCODINGS)
    if encoding == "png" and video.shape[-1] not in PNG_CHANNELS:
        raise InputError(f'PNG has 1, 3 or 4 channels; use encoding="raw". Received: shape={video.shape}')
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


def _described(clip):
    if not isinstance(clip, dict):
        return type(clip).__name__
    return "{" + ", ".join(f"{name!r}: {type(value).__name__}" for name, value in clip.items()) + "}"


def _feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def parse_clip(serialized, frame_shape, labelled=False):
    """Inverse of `encode_clip`, in the graph: `video` uint8 (T, *frame_shape), `id`, `label` if `labelled`."""
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
    frames = tf.debugging.assert_equal(
        context["length"],
        tf.shape(lists["video"], tf.int64)[0],
        "A record holds another number of frames than stated.",
    )
    with tf.control_dependencies([schema, frames]):
        shape = tf.stack([context["height"], context["width"], context["channels"]])

    def decode(frame):
        raw = lambda: tf.reshape(tf.io.decode_raw(frame, tf.uint8), shape)  # noqa: E731
        if frame_shape[-1] not in PNG_CHANNELS:
            return raw()
        return tf.cond(context["encoding"] == b"raw", raw, lambda: tf.io.decode_png(frame, frame_shape[-1]))

    video = tf.map_fn(decode, lists["video"], fn_output_signature=tf.TensorSpec(frame_shape, tf.uint8))
    clip = {"video": video, "id": context["id"]}
    return {**clip, "label": context["label"]} if labelled else clip


def write_shards(clips, folder, split, num_shards=1, encoding="png"):
    """Writes clips into `num_shards` shards of a split, round robin; returns their paths.

    Every shard is written aside and renamed when whole. Refuses a split that is already there.
    """
    folder = pathlib.Path(folder)
    if num_shards < 1:
        raise InputError(f"`num_shards` must be at least 1. Received: num_shards={num_shards}")
    if any(_is_shard(path.name, split) for path in folder.glob("*.tfrecord")):
        raise InputError(f"{folder} already holds shards of {split}; nothing is overwritten. Received: split={split!r}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{split}-{n:05d}-of-{num_shards:05d}.tfrecord" for n in range(num_shards)]
    counts, spec, shortest = [0] * num_shards, None, float("inf")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as aside:
        writers = [tf.io.TFRecordWriter(os.path.join(aside, path.name)) for path in paths]
        for n, clip in enumerate(clips):
            record = encode_clip(clip, encoding)
            own = {"schema": SCHEMA_VERSION, "frame": list(clip["video"].shape[1:]), "labelled": "label" in clip}
            spec = spec or own
            if own != spec:
                raise InputError(f"Clips of a folder must be alike; the first is {spec}. Received: clip {n} is {own}")
            shortest = min(shortest, len(clip["video"]))
            writers[n % num_shards].write(record)
            counts[n % num_shards] += 1
        for writer in writers:
            writer.close()
        if not sum(counts):
            raise InputError(f"There are no clips to write for split {split!r}. Received: an empty data set")
        shards = {path.name: {"clips": count, "shortest_clip": shortest} for path, count in zip(paths, counts)}
        _write_info(folder, spec, shards)
        for path in paths:
            os.replace(os.path.join(aside, path.name), path)
    return paths


def _write_info(folder, spec, shards):
    features, info = folder / "features.json", folder / "dataset_info.json"
    if features.exists() and json.loads(features.read_text()) != spec:
        raise InputError(f"{features} describes other clips than those given. Received: {spec}")
    known = json.loads(info.read_text()) if info.exists() else {}
    for path, content in ((features, spec), (info, {**known, **shards})):
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial, path)


def _shuffled(x, key):
    """A permutation that is a function of `key` alone (a shuffle buffer's seed cannot be a tensor everywhere)."""
    return tf.random.experimental.stateless_shuffle(x, key)


def _is_shard(name, split):
    return re.fullmatch(rf"{re.escape(split)}-\d{{5}}-of-\d{{5}}\.tfrecord", name) is not None


@functools.lru_cache(maxsize=4096)
def _clips_in(path, size, modified):
    """Records in a shard, every CRC checked; a file of another size or date is read again."""
    try:
        with tf.init_scope():  # eager, also where the data set is made inside another one's graph
            return sum(1 for _ in tf.data.TFRecordDataset(path))
    except tf.errors.DataLossError as error:
        raise InputError(f"{path} is damaged or cut short. Received: {error.message.splitlines()[0]}") from error


def read_dataset(
    split: str,
    *,
    root: str = "",
    min_frames: int = 1,
    verify: bool = True,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Clips of the shards in `root`.

    Args:
        split: name in front of the shard files.
        root: folder that `write_shards` made.
        min_frames: frames that every clip must have at least.
        verify: read every shard through once before use, so that damage is named before training starts.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split: shards, then clips within `SHUFFLED_AT_ONCE` neighbours.

    Returns: `tf.data.Dataset` of dicts: `video` uint8 (T, H, W, C), `id` string, `label` int64 where stored.

    Raises: InputError: a folder, split, shard or file that is missing, damaged, cut short or of another schema; clips
    that are too short. With `verify=False` damage raises `tf.errors.DataLossError` while reading.
    """
    folder = pathlib.Path(root)
    if not root or not folder.is_dir():
        raise InputError(f"`root` must be the folder of the shards. Received: root={root!r}")
    try:
        spec = json.loads((folder / "features.json").read_text())
        shards = json.loads((folder / "dataset_info.json").read_text())
        schema = spec["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} must hold features.json and dataset_info.json. Received: {error}") from error
    if schema != SCHEMA_VERSION:
        raise InputError(f"{folder} has schema {schema}, this code reads {SCHEMA_VERSION}. Received: root={root}")
    shards = {name: shard for name, shard in sorted(shards.items()) if _is_shard(name, split)}
    missing = [name for name in shards if not (folder / name).is_file()]
    if not shards or missing:
        raise InputError(
            f"{folder} must hold the shards of {split!r}. Missing: {missing or 'all'}. Received: root={root}"
        )
    shortest = min(shard["shortest_clip"] for shard in shards.values())
    if shortest < min_frames:
        raise InputError(
            f"Clips must hold at least {min_frames} frames (context + horizon). Received: {shortest} in {folder}"
        )
    paths = [folder / name for name in shards]
    for path in paths if verify else ():
        found, stated = _clips_in(str(path), path.stat().st_size, path.stat().st_mtime_ns), shards[path.name]["clips"]
        if found != stated:
            raise InputError(f"{path} should hold {stated} clips. Received: {found}")
    paths = [str(path) for path in paths]
    if split == "train" and shuffle:
        key = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
        chunks = tf.data.TFRecordDataset(_shuffled(tf.constant(paths), key)).batch(SHUFFLED_AT_ONCE)
        records = chunks.enumerate(1).map(lambda n, chunk: _shuffled(chunk, key + n * 1_000_003)).unbatch()
    else:
        records = tf.data.TFRecordDataset(paths)
    clips = records.map(lambda r: parse_clip(r, spec["frame"], spec["labelled"]), num_parallel_calls=tf.data.AUTOTUNE)
    return clips.apply(tf.data.experimental.assert_cardinality(sum(shard["clips"] for shard in shards.values())))


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
