"""What a record holds: one SequenceExample a video, one encoded frame a step.

    context:        id (bytes), schema, length, height, width (int64); label (int64, one or K) where videos have labels
    feature lists:  video (bytes a step), flow (bytes a step), time (int64 microseconds a step), label (K int64 a step)

Frames are JPEG, PNG or raw bytes. A field of flow is an 8-bit picture of 2H rows, u above v
(`pipelines.flow.encode_flow`), PNG or raw.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_st.specs import VIDEO, FeatureSpec, InputError
from pipelines.flow import decode_flow, encode_flow

SCHEMA_VERSION = 2
ENCODINGS = ("jpeg", "png", "raw")
CHANNELS = {"jpeg": (1, 3), "png": (1, 3, 4)}


@dataclasses.dataclass(frozen=True)
class RecordSpec:
    """What the records of a folder have in common.

    Args:
        video: spec of `video`: uint8 (T, H, W, C), None where sizes vary; `encoding` says how frames are stored.
        flow: spec of `flow`: float32 (T, H, W, 2), `value_range` (-bound, bound); None without flow.
        label_shape: of `label`: () for one class a video, (K,) for several, (None, K) for several a frame, 0 or 1;
            None without labels.
        classes: names of the classes.
        timed: whether every frame has a time.
        flow_method: what computed the flow.
        quality: of JPEG, 1 to 100.
    """

    video: FeatureSpec
    flow: FeatureSpec | None = None
    label_shape: tuple[int | None, ...] | None = None
    classes: tuple[str, ...] | None = None
    timed: bool = False
    flow_method: str | None = None
    quality: int = 95

    def __post_init__(self):
        encoding, channels = self.video.encoding, self.video.shape[-1]
        if encoding not in ENCODINGS:
            raise InputError.unknown("encoding", encoding, ENCODINGS)
        if channels not in CHANNELS.get(encoding, (channels,)):
            raise InputError(
                f'{encoding} has {" or ".join(map(str, CHANNELS[encoding]))} channels; use encoding="raw". '
                f"Received: channels={channels}"
            )
        if not 1 <= self.quality <= 100:
            raise InputError(f"`quality` must lie in 1..100. Received: quality={self.quality}")

    @property
    def features(self):
        """Specs of what is stored as frames, by name."""
        return {spec.name: spec for spec in (self.video, self.flow) if spec is not None}

    @property
    def label_is_of_frames(self):
        """Whether every frame has labels of its own."""
        return self.label_shape is not None and len(self.label_shape) == 2

    def as_dict(self):
        """Plain values for JSON; `from_dict` reads them."""
        label = {"shape": self.label_shape, "classes": self.classes} if self.label_shape is not None else None
        features = [dataclasses.asdict(spec) for spec in self.features.values()]
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
        features = {
            spec["name"]: FeatureSpec(
                **{**spec, "shape": tuple(spec["shape"]), "value_range": tuple(spec["value_range"])}
            )
            for spec in stored["features"]
        }
        label = stored["label"] or {"shape": None, "classes": None}
        return cls(
            **features,
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


def spec_of(clip, encoding="png", flow_bound=20.0):
    """The `RecordSpec` of a clip of arrays: `video` uint8 (T, H, W, C), `id` bytes; `flow`, `label`, `time` if any."""
    for name, kind in (("video", np.ndarray), ("id", bytes)):
        if not isinstance(clip, dict) or not isinstance(clip.get(name), kind):
            raise InputError(
                f'A clip must be {{"video": uint8 array (T, H, W, C), "id": bytes}}. Received: {_described(clip)}'
            )
    video = clip["video"]
    if video.dtype != np.uint8 or video.ndim != 4 or 0 in video.shape:
        raise InputError(f"`video` must be uint8 (T, H, W, C), not empty. Received: {video.dtype} {video.shape}")
    shape, label = video.shape[1:], None
    if "label" in clip:
        label = np.shape(clip["label"])
        label = (None, *label[1:]) if len(label) == 2 else label
    flow = flow_spec(shape, flow_bound, encoding) if "flow" in clip else None
    return RecordSpec(video_spec(shape, encoding), flow, label, timed="time" in clip)


def steps_of(clip):
    """The steps of a clip of arrays, as `encode_clip` takes them."""
    names = [name for name in ("video", "flow", "time") if name in clip]
    names += ["label"] if np.ndim(clip.get("label")) == 2 else []
    for name in names:
        if len(clip[name]) != len(clip["video"]):
            raise InputError(
                f"`{name}` needs a value for each of {len(clip['video'])} frames. Received: {len(clip[name])}"
            )
    return (dict(zip(names, values)) for values in zip(*(clip[name] for name in names)))


def _described(clip):
    if not isinstance(clip, dict):
        return type(clip).__name__
    return "{" + ", ".join(f"{name!r}: {type(value).__name__}" for name, value in clip.items()) + "}"


# Writing


def encode_clip(steps: Iterable[dict], spec: RecordSpec, id: bytes, label=None):
    """`(serialised SequenceExample, (T, H, W, C))`; frames are encoded one by one as `steps` gives them.

    steps: dicts of `video` uint8 (H, W, C), `flow` float32 (H, W, 2) in px, `time` in seconds, `label` (K,) of 0 and 1,
        as `spec` has them.
    label: int, or (K,) of 0 and 1, of the whole video.
    """
    lists: dict[str, list] = {}
    size = None
    for step in steps:
        frame = step["video"]
        size = size or frame.shape[:2]
        if frame.dtype != np.uint8 or frame.shape[:2] != size or not _fits(frame.shape, spec.video.shape[1:]):
            raise InputError(
                f"Frames must be uint8 {spec.video.shape[1:]}, all alike. Received: {frame.dtype} {frame.shape}"
            )
        values = {"video": _encoded(frame, spec.video.encoding, spec.quality)}
        if spec.flow is not None:
            values["flow"] = _encoded(_flow_picture(step["flow"], size, spec.flow), spec.flow.encoding)
        if spec.timed:
            values["time"] = round(step["time"] * 1e6)
        if spec.label_is_of_frames:
            values["label"] = _checked_label(step["label"], (spec.label_shape or ())[1:])
        for name, value in values.items():
            lists.setdefault(name, []).append(_feature(value))
    if size is None:
        raise InputError("A clip must hold a frame. Received: none")
    length = len(lists["video"])
    context = {"id": bytes(id), "schema": SCHEMA_VERSION, "length": length, "height": size[0], "width": size[1]}
    if spec.label_shape is not None and not spec.label_is_of_frames:
        context["label"] = _checked_label(label, spec.label_shape)
    record = tf.train.SequenceExample(
        context=tf.train.Features(feature={name: _feature(value) for name, value in context.items()}),
        feature_lists=tf.train.FeatureLists(
            feature_list={name: tf.train.FeatureList(feature=values) for name, values in lists.items()}
        ),
    )
    return record.SerializeToString(deterministic=True), (length, *size, spec.video.shape[-1])


def _checked_label(label, shape):
    label = np.asarray(label)
    if label.dtype.kind not in "iu" or label.shape != shape:
        raise InputError(f"`label` must be whole numbers of shape {shape}. Received: {label.dtype} {label.shape}")
    return label


def _flow_picture(flow, size, spec):
    if flow.shape != (*size, 2):
        raise InputError(f"`flow` must be {(*size, 2)}, as the frames. Received: {flow.dtype} {flow.shape}")
    codes = encode_flow(flow, _bound(spec))
    return np.concatenate([codes[..., :1], codes[..., 1:]])


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
    """A record as dict: `video` (and `flow`) string (T,), an encoded frame a step, for `decode_frames`; `size` int32
    (2,), height and width; `id` string; `label` int64 and `time` float64 (T,) in seconds where stored.
    """
    context = {name: tf.io.FixedLenFeature([], tf.int64) for name in ("schema", "length", "height", "width")}
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
        size = tf.cast(tf.stack([context["height"], context["width"]]), tf.int32)
    clip = {"id": context["id"], "size": size, **{name: lists[name] for name in spec.features}}
    if spec.timed:
        clip["time"] = tf.cast(lists["time"], tf.float64) / 1e6
    if spec.label_shape is not None:
        clip["label"] = lists["label"] if spec.label_is_of_frames else context["label"]
    return clip


def decode_frames(frames, spec: FeatureSpec, size):
    """Encoded frames (string, (T,)) of `size` (height, width): `video` uint8 (T, H, W, C), `flow` float32 (T, H, W, 2).

    Frames that are arrays already are returned as they are.
    """
    if frames.dtype != tf.string:
        return frames
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


def decode_clip(clip, spec: RecordSpec):
    """What `parse_clip` returns, with arrays of every frame in place of strings and without `size`."""
    frames = {name: decode_frames(clip[name], feature, clip["size"]) for name, feature in spec.features.items()}
    return {**{name: value for name, value in clip.items() if name != "size"}, **frames}
