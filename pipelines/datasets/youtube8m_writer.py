"""Writes features as shards of YouTube-8M's form, which `pipelines.datasets.youtube8m` reads."""

import contextlib
import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError
from pipelines import remote
from pipelines.datasets.youtube8m import HIGH, LEVELS, LOW, SEGMENT_FRAMES, paths_of, prefixes_of
from pipelines.records import told_of


def quantize(values):
    """Bytes of numbers (...): `round((x + 2) * 255 / 4)` of x cut to -2..2."""
    return np.rint((np.clip(values, LOW, HIGH) - LOW) * (255 / (HIGH - LOW))).astype(np.uint8)


def write_youtube8m(clips, folder, split, num_shards=1, *, level="frame", compat=False):
    """Writes features in the published form, round robin into `num_shards` shards; returns their paths.

    Args:
        clips: dicts of `id`, bytes or text; `labels`, numbers of classes; `rgb` (T, 1024) or of another size, at a
            frame a second; where there is sound `audio` (T, 128); where segments are rated `segments`, a sequence of
            `(start frame, class, 0 or 1)`. In bytes features are cut to -2..2: whiten or scale them first.
        folder: made where it is not there.
        split: "train", "validation" or "test".
        num_shards: at least 1.
        level: "frame", or "video": means over frames.
        compat: without audio write 128 zeros a frame, as the official extractor does: bytes of -1.992 at frame level,
            0 at video level. Otherwise records without audio hold none, which is read as 0.

    Refuses a split that is already there. A shard is written aside and renamed when whole.
    """
    remote.check_local(folder)
    folder, prefix = pathlib.Path(folder), prefixes_of(split)[0]
    if level not in LEVELS[:2]:
        raise InputError.unknown("level", level, LEVELS[:2])
    if num_shards < 1:
        raise InputError(f"`num_shards` must be at least 1. Received: num_shards={num_shards}")
    folder.mkdir(parents=True, exist_ok=True)
    if there := paths_of(folder, split):
        raise InputError(f"{folder} already holds shards of {split}; nothing is overwritten. Received: {there[0]}")
    names = [f"{prefix}{n:04d}.tfrecord" for n in range(num_shards)]
    sizes: dict[str, int] = {}
    seen: set[bytes] = set()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as aside:
        with contextlib.ExitStack() as stack:
            with told_of(folder):
                files = [stack.enter_context(tf.io.TFRecordWriter(f"{aside}/{name}")) for name in names]
            for n, clip in enumerate(clips):
                record = _encoded(clip, level, compat, sizes, seen).SerializeToString(deterministic=True)
                with told_of(folder):
                    files[n % num_shards].write(record)
        if not seen:
            raise InputError(f"There are no clips to write for split {split!r}. Received: an empty data set")
        for name in names:
            os.replace(f"{aside}/{name}", folder / name)
    return [folder / name for name in names]


def _encoded(clip, level, compat, sizes, seen):
    """A clip as Example or SequenceExample; `sizes` and `seen` are of the clips before it."""
    if missing := [key for key in ("id", "labels", "rgb") if clip.get(key) is None]:
        raise InputError(f"A clip needs `id`, `labels` and `rgb`. Missing: {missing}. Received: {sorted(clip)}")
    name = clip["id"].encode() if isinstance(clip["id"], str) else bytes(clip["id"])
    if not name or name in seen:
        raise InputError(f"Every clip needs an `id` of its own. Received: {name!r}")
    seen.add(name)
    streams = {stream: np.asarray(clip[stream]) for stream in ("rgb", "audio") if clip.get(stream) is not None}
    for stream, values in streams.items():
        if values.dtype.kind != "f":
            raise InputError(f"`{stream}` of {name!r} must be numbers, not codes of them. Received: {values.dtype}")
        size = sizes.setdefault(stream, values.shape[-1] if values.ndim == 2 else 0)
        if values.shape != (len(streams["rgb"]), size) or not values.size or not np.isfinite(values).all():
            raise InputError(
                f"`{stream}` of {name!r} must be finite numbers ({len(streams['rgb'])} frames, {size or 'numbers'}), "
                f"as all clips have them. Received: {values.dtype} {values.shape}"
            )
    if level == "video" and clip.get("segments"):
        raise InputError(f"Segments are of frame-level records. Received: segments of {name!r}, level='video'")
    length, labels = len(streams["rgb"]), np.asarray(clip["labels"])
    if labels.ndim != 1 or (labels.size and (labels.dtype.kind not in "iu" or labels.min() < 0)):
        raise InputError(f"`labels` of {name!r} must be numbers of classes. Received: {clip['labels']!r}")
    context = {"id": _feature([name]), "labels": _feature(labels.tolist())}
    if level == "video":
        means = {f"mean_{stream}": _feature(values.mean(axis=0).tolist()) for stream, values in streams.items()}
        if compat and "audio" not in streams:
            means["mean_audio"] = _feature([0.0] * sizes.setdefault("audio", 128))
        return tf.train.Example(features=tf.train.Features(feature={**context, **means}))
    if segments := clip.get("segments"):
        starts, classes, scores = zip(*segments)
        if min(starts) < 0 or max(starts) >= length or min(classes) < 0:
            raise InputError(
                f"Segments of {name!r} must start within its {length} frames. Received: {list(segments)!r}"
            )
        context["segment_start_times"] = _feature(list(map(int, starts)))
        context["segment_end_times"] = _feature([int(start) + SEGMENT_FRAMES for start in starts])
        context["segment_labels"] = _feature(list(map(int, classes)))
        context["segment_scores"] = _feature(list(map(float, scores)))
    frames = {stream: [_feature([q.tobytes()]) for q in quantize(values)] for stream, values in streams.items()}
    if compat and "audio" not in streams:
        frames["audio"] = [_feature([bytes(sizes.setdefault("audio", 128))])] * length
    return tf.train.SequenceExample(
        context=tf.train.Features(feature=context),
        feature_lists=tf.train.FeatureLists(
            feature_list={stream: tf.train.FeatureList(feature=steps) for stream, steps in frames.items()}
        ),
    )


def _feature(values):
    """A list of bytes, whole numbers or floats; an empty one is of whole numbers."""
    kind = type(values[0]) if values else int
    if kind is bytes:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if kind is float:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
