"""What a record holds: one SequenceExample a video, one encoded frame a step.

    context:        id (bytes), schema, length, height, width (int64); label (int64, one or K) where videos have labels
    feature lists:  video (bytes a step), flow (bytes a step), time (int64 microseconds a step), label (K int64 a step),
                    arrays by their names (bytes a step)

Frames are JPEG, PNG or raw bytes. A field of flow is an 8-bit picture of 2H rows, u above v
(`pipelines.flow.encode_flow`), PNG or raw. Arrays, features of frames for instance, are raw float16 or float32, little
endian; a record that holds them may do without video (and height and width).
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_st.specs import VIDEO, FeatureSpec, InputError
from pipelines.flow import decode_flow, encode_flow

SCHEMA_VERSION = 2
ENCODINGS = ("jpeg", "png", "raw")
CHANNELS = {"jpeg": (1, 3), "png": (1, 3, 4)}
PICTURES = ("video", "flow")
TAKEN = {*PICTURES, "time", "label", "id", "schema", "length", "height", "width", "size"}  # no names of arrays
ARRAY_DTYPES = ("float16", "float32")


@dataclasses.dataclass(frozen=True)
class RecordSpec:
    """What the records of a folder have in common.

    Args:
        video: spec of `video`: uint8 (T, H, W, C), None where sizes vary; `encoding` says how frames are stored. None
            where there are arrays alone.
        flow: spec of `flow`: float32 (T, H, W, 2), `value_range` (-bound, bound); None without flow.
        label_shape: of `label`: () for one class a video, (K,) for several, (None, K) for several a frame, 0 or 1 (a
            row of -1: not labelled); None without labels.
        classes: names of the classes.
        timed: whether every frame has a time.
        flow_method: what computed the flow.
        quality: of JPEG, 1 to 100.
        arrays: specs of further arrays a step: float16 or float32 (T, ...), `encoding` "raw".
    """

    video: FeatureSpec | None = None
    flow: FeatureSpec | None = None
    label_shape: tuple[int | None, ...] | None = None
    classes: tuple[str, ...] | None = None
    timed: bool = False
    flow_method: str | None = None
    quality: int = 95
    arrays: tuple[FeatureSpec, ...] = ()

    def __post_init__(self):
        if self.video is None and (self.flow is not None or not self.arrays):
            raise InputError(f"Records hold video (flow beside it) or arrays. Received: {list(self.features)}")
        if self.video is not None:
            _check_encoding(self.video)
        for n, array in enumerate(self.arrays):
            _check_array(array, {*TAKEN, *(other.name for other in self.arrays[:n])})
        if not 1 <= self.quality <= 100:
            raise InputError(f"`quality` must lie in 1..100. Received: quality={self.quality}")

    @property
    def features(self):
        """Specs of what is stored a step, by name."""
        return {spec.name: spec for spec in (self.video, self.flow, *self.arrays) if spec is not None}

    @property
    def label_is_of_frames(self):
        """Whether every frame has labels of its own."""
        return self.label_shape is not None and len(self.label_shape) == 2

    def as_dict(self):
        """Plain values for JSON; `from_dict` reads them."""
        label = {"shape": self.label_shape, "classes": self.classes} if self.label_shape is not None else None
        features = [dataclasses.asdict(spec) for spec in self.features.values()]
        for spec in features:
            del spec["missing"]  # nothing is, in records, and code of before does not know it
        return {
            "schema": SCHEMA_VERSION,
            "features": features,
            "label": label,
            "timed": self.timed,
            "flow_method": self.flow_method,
            "quality": self.quality,
        }

    @classmethod
    def from_dict(cls, stored):
        """Inverse of `as_dict`; InputError for another schema version."""
        if stored["schema"] != SCHEMA_VERSION:
            raise InputError(f"This code reads schema {SCHEMA_VERSION}. Received: schema {stored['schema']}")
        features = {}
        for spec in stored["features"]:
            span = spec["value_range"]
            known = {**spec, "shape": tuple(spec["shape"]), "value_range": None if span is None else tuple(span)}
            features[spec["name"]] = FeatureSpec(**known)
        video, flow = (features.pop(name, None) for name in PICTURES)
        label = stored["label"] or {"shape": None, "classes": None}
        return cls(
            video,
            flow,
            arrays=tuple(features.values()),
            label_shape=None if label["shape"] is None else tuple(label["shape"]),
            classes=None if label["classes"] is None else tuple(label["classes"]),
            timed=stored["timed"],
            flow_method=stored["flow_method"],
            quality=stored["quality"],
        )


def video_spec(shape, encoding="png", fps=None):
    """Spec of stored frames (H, W, C)."""
    return dataclasses.replace(VIDEO, shape=(None, *shape), encoding=encoding, fps=fps)


def flow_spec(shape, bound, encoding="png", unit="px/frame", fps=None):
    """Spec of the flow stored beside frames (H, W, C); components beyond `bound` are cut to it.

    JPEG would lose up to a pixel and more where flow jumps, so beside JPEG frames flow is PNG.
    """
    encoding = "png" if encoding == "jpeg" else encoding
    return FeatureSpec("flow", "float32", (None, *shape[:2], 2), (-float(bound), float(bound)), unit, encoding, fps)


def array_spec(name, shape, dtype="float16", unit=""):
    """Spec of a stored array a step, of this shape and "float16" or "float32"."""
    return FeatureSpec(name, dtype, (None, *shape), None, unit, "raw")


def spec_of(clip, encoding="png", flow_bound=20.0):
    """The `RecordSpec` of a clip of arrays.

    clip: `id` bytes; `video` uint8 (T, H, W, C), `flow`, `label`, `time` if any; all else by its own name float16 or
        float32 (T, ...).
    """
    named = isinstance(clip, dict) and isinstance(clip.get("id"), bytes)
    arrays = sorted(clip.keys() - {*PICTURES, "time", "label", "id"}) if named else []
    video, label = clip.get("video") if named else None, None
    if not isinstance(video, np.ndarray) and (not arrays or video is not None):
        raise InputError(
            'A clip must be {"video": uint8 array (T, H, W, C), "id": bytes}, or hold other arrays by their names. '
            f"Received: {_described(clip)}"
        )
    if video is not None and (video.dtype != np.uint8 or video.ndim != 4 or 0 in video.shape):
        raise InputError(f"`video` must be uint8 (T, H, W, C), not empty. Received: {video.dtype} {video.shape}")
    if "label" in clip:
        label = np.shape(clip["label"])
        label = (None, *label[1:]) if len(label) == 2 else label
    if video is None and "flow" in clip:
        raise InputError(f"`flow` is stored beside `video`. Received: {_described(clip)}")
    shape = None if video is None else video.shape[1:]
    return RecordSpec(
        None if video is None else video_spec(shape, encoding),
        flow_spec(shape, flow_bound, encoding) if "flow" in clip else None,
        label,
        timed="time" in clip,
        arrays=tuple(_array_spec_of(name, clip[name]) for name in arrays),
    )


def _array_spec_of(name, values):
    known = isinstance(values, np.ndarray) and values.dtype in ARRAY_DTYPES
    if not known or values.ndim < 2 or 0 in values.shape:
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise InputError(f"`{name}` must be float16 or float32 (T, ...), not empty. Received: {found}")
    return array_spec(name, values.shape[1:], values.dtype.name)


def steps_of(clip):
    """The steps of a clip of arrays, as `encode_clip` takes them."""
    names = [name for name in clip if name not in ("id", "label") or (name == "label" and np.ndim(clip["label"]) == 2)]
    length = len(clip["video"] if "video" in clip else clip[min(clip.keys() - TAKEN)])
    for name in names:
        if len(clip[name]) != length:
            raise InputError(f"`{name}` needs a value for each of {length} frames. Received: {len(clip[name])}")
    return (dict(zip(names, values)) for values in zip(*(clip[name] for name in names)))


def _check_encoding(video):
    encoding, channels = video.encoding, video.shape[-1]
    if encoding not in ENCODINGS:
        raise InputError.unknown("encoding", encoding, ENCODINGS)
    if channels not in CHANNELS.get(encoding, (channels,)):
        raise InputError(
            f'{encoding} has {" or ".join(map(str, CHANNELS[encoding]))} channels; use encoding="raw". '
            f"Received: channels={channels}"
        )


def _check_array(array, taken):
    if array.name in taken:
        raise InputError(f"Arrays need names of their own, none of {sorted(TAKEN)}. Received: {array.name!r}")
    if array.dtype not in ARRAY_DTYPES or array.encoding != "raw" or None in array.shape[1:]:
        raise InputError(
            f"`{array.name}` must be float16 or float32 of one shape, stored raw. "
            f"Received: {array.dtype} {array.shape}, {array.encoding!r}"
        )


def _described(clip):
    if not isinstance(clip, dict):
        return type(clip).__name__
    return "{" + ", ".join(f"{name!r}: {type(value).__name__}" for name, value in clip.items()) + "}"


# Writing


def encode_clip(steps: Iterable[dict], spec: RecordSpec, id: bytes, label=None):
    """`(serialised SequenceExample, (T, H, W, C))`, without video (T,); encoded one by one as `steps` gives them.

    steps: dicts of `video` uint8 (H, W, C), `flow` float32 (H, W, 2) in px, `time` in seconds, `label` (K,) of 0 and 1
        (-1: not labelled), arrays by their names, finite; as `spec` has them.
    label: int, or (K,) of 0 and 1, of the whole video.
    """
    lists: dict[str, list] = {}
    length, size = 0, ()
    for step in steps:
        length, values = length + 1, {array.name: _raw(step[array.name], array) for array in spec.arrays}
        if spec.video is not None:
            frame = step["video"]
            size = size or frame.shape
            if frame.dtype != np.uint8 or frame.shape != size or not _fits(size, spec.video.shape[1:]):
                raise InputError(
                    f"Frames must be uint8 {spec.video.shape[1:]}, all alike. Received: {frame.dtype} {frame.shape}"
                )
            values["video"] = _encoded(frame, spec.video.encoding, spec.quality)
        if spec.flow is not None:
            values["flow"] = _encoded(_flow_picture(step["flow"], size[:2], spec.flow), spec.flow.encoding)
        if spec.timed:
            values["time"] = round(step["time"] * 1e6)
        if spec.label_is_of_frames:
            values["label"] = _checked_label(step["label"], (spec.label_shape or ())[1:])
        for name, value in values.items():
            lists.setdefault(name, []).append(_feature(value))
    if not length:
        raise InputError("A clip must hold a frame. Received: none")
    context = {"id": bytes(id), "schema": SCHEMA_VERSION, "length": length}
    if size:
        context |= {"height": size[0], "width": size[1]}
    if spec.label_shape is not None and not spec.label_is_of_frames:
        context["label"] = _checked_label(label, spec.label_shape, spec.classes)
    record = tf.train.SequenceExample(
        context=tf.train.Features(feature={name: _feature(value) for name, value in context.items()}),
        feature_lists=tf.train.FeatureLists(
            feature_list={name: tf.train.FeatureList(feature=values) for name, values in lists.items()}
        ),
    )
    return record.SerializeToString(deterministic=True), (length, *size)


def _checked_label(label, shape, classes=None):
    label = np.asarray(label)
    if label.dtype.kind not in "iu" or label.shape != shape:
        raise InputError(f"`label` must be whole numbers of shape {shape}. Received: {label.dtype} {label.shape}")
    if classes and not shape and not 0 <= label < len(classes):
        raise InputError(f"`label` must be one of {len(classes)} classes, from 0. Received: {label}")
    return label


def _flow_picture(flow, size, spec):
    if flow.shape != (*size, 2):
        raise InputError(f"`flow` must be {(*size, 2)}, as the frames. Received: {flow.dtype} {flow.shape}")
    codes = encode_flow(flow, _bound(spec))
    return np.concatenate([codes[..., :1], codes[..., 1:]])


def _raw(values, spec):
    values = np.asarray(values)
    if values.dtype != spec.dtype or values.shape != spec.shape[1:]:
        raise InputError(
            f"`{spec.name}` must be {spec.dtype} {spec.shape[1:]} a step. Received: {values.dtype} {values.shape}"
        )
    if wrong := np.count_nonzero(~np.isfinite(values)):
        raise InputError(f"`{spec.name}` must be finite. Received: {wrong} values of a step that are NaN or infinite")
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def _bound(spec):
    return spec.value_range[1] if spec.value_range else 0.0


def _fits(shape, known):
    return len(shape) == len(known) and all(k in (None, n) for n, k in zip(shape, known))


def _encoded(picture, encoding, quality=95):
    if encoding == "jpeg":
        return tf.io.encode_jpeg(picture, quality=quality).numpy()
    return tf.io.encode_png(picture).numpy() if encoding == "png" else picture.tobytes()


def _feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=np.atleast_1d(value)))


# Reading, in the graph


def parse_clip(serialized, spec: RecordSpec):
    """A record as dict: `video`, `flow` and arrays string (T,), encoded step by step, for `decode_frames`; with video
    `size` int32 (2,), height and width; `id` string; `label` int64 and `time` float64 (T,) in seconds where stored.
    """
    numbers = ("schema", "length", *(("height", "width") if spec.video is not None else ()))
    context = {name: tf.io.FixedLenFeature([], tf.int64) for name in numbers}
    context["id"] = tf.io.FixedLenFeature([], tf.string)
    lists = {name: tf.io.FixedLenSequenceFeature([], tf.string) for name in spec.features}
    if spec.timed:
        lists["time"] = tf.io.FixedLenSequenceFeature([], tf.int64)
    if spec.label_shape is not None:
        if spec.label_is_of_frames:
            lists["label"] = tf.io.FixedLenSequenceFeature(spec.label_shape[1:], tf.int64)
        else:
            context["label"] = tf.io.FixedLenFeature(spec.label_shape, tf.int64)
    context, lists = tf.io.parse_single_sequence_example(serialized, context, lists)
    checks = [
        tf.debugging.assert_equal(
            context["schema"],
            tf.constant(SCHEMA_VERSION, tf.int64),
            "The record has another schema version than this code.",
        ),
        *(
            tf.debugging.assert_equal(
                context["length"],
                tf.shape(values, tf.int64)[0],
                "A record holds another number of frames than stated.",
            )
            for values in lists.values()
        ),
    ]
    with tf.control_dependencies(checks):
        clip = {"id": tf.identity(context["id"]), **{name: tf.identity(lists[name]) for name in spec.features}}
        if spec.video is not None:
            clip["size"] = tf.cast(tf.stack([context["height"], context["width"]]), tf.int32)
    if spec.timed:
        clip["time"] = tf.cast(lists["time"], tf.float64) / 1e6
    if spec.label_shape is not None:
        clip["label"] = lists["label"] if spec.label_is_of_frames else context["label"]
    return clip


def decode_frames(frames, spec: FeatureSpec, size=None):
    """Encoded steps (string, (T,)): `video` uint8 (T, H, W, C), `flow` float32 (T, H, W, 2), an array as its spec says.

    size: height and width of frames and flow. What is decoded already is returned as it is.
    """
    if frames.dtype != tf.string:
        return frames
    if spec.name not in PICTURES:
        return _decoded_arrays(frames, spec)
    is_flow = spec.name == "flow"
    height, width, channels = (size[0] * 2, size[1], 1) if is_flow else (size[0], size[1], spec.shape[-1])
    if spec.encoding == "raw":
        pictures = tf.reshape(tf.io.decode_raw(frames, tf.uint8), [-1, height, width, channels])
    else:
        decode = tf.io.decode_jpeg if spec.encoding == "jpeg" else tf.io.decode_png
        signature = tf.TensorSpec((None, None, channels), tf.uint8)
        pictures = tf.map_fn(lambda frame: decode(frame, channels), frames, fn_output_signature=signature)
    if is_flow:
        halves = tf.reshape(pictures, [-1, 2, size[0], size[1]])
        pictures = decode_flow(tf.transpose(halves, [0, 2, 3, 1]), _bound(spec))
    return tf.ensure_shape(pictures, (frames.shape[0], *spec.shape[1:]))


def _decoded_arrays(steps, spec):
    dtype = tf.as_dtype(spec.dtype)
    bytes_a_step = math.prod(spec.shape[1:]) * dtype.size
    whole = tf.debugging.assert_equal(
        tf.strings.length(steps), bytes_a_step, f"A record holds steps of {spec.name} of another size than stated."
    )
    with tf.control_dependencies([whole]):
        arrays = tf.io.decode_raw(steps, dtype)
    return tf.ensure_shape(tf.reshape(arrays, [-1, *spec.shape[1:]]), (steps.shape[0], *spec.shape[1:]))


def decode_clip(clip, spec: RecordSpec):
    """What `parse_clip` returns, with arrays of every frame in place of strings and without `size`."""
    frames = {name: decode_frames(clip[name], feature, clip.get("size")) for name, feature in spec.features.items()}
    return {**{name: value for name, value in clip.items() if name != "size"}, **frames}
