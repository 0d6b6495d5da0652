"""What a served model answers: functions of named tensors, one a signature."""

import dataclasses

import keras
import tensorflow as tf

from keras_st.flow import TVL1Flow
from keras_st.layers import FrameWise
from keras_st.layers.streaming import NotCausal, Stream
from keras_st.specs import LENGTH, PIXELS, VIDEO, InputError

GREY_OR_COLOUR = (1, 3)  # channels of frames that come as JPEG or PNG, and of frames whose flow is computed


def client_features(features):
    """`FeatureSpec`s of what a client sends: pixels; the flow of a model that sees one is computed from them."""
    if not any(feature.name == "flow" for feature in features):
        return tuple(features)
    others = [feature for feature in features if feature.name != "flow"]
    if not any(feature.name == "video" for feature in others):
        size = next(feature.shape[:-1] for feature in features if feature.name == "flow")
        others = [dataclasses.replace(VIDEO, shape=(*size, 3)), *others]
    return tuple(others)


class Signatures:
    """The signatures of a model.

    Args:
        model: built forecaster or `ClipClassifier` of the project.
        features: `FeatureSpec`s of its inputs.
        task: what features.json says of it: `horizon_frames`, or `classes` and `multi_label`.
        sizes: `{input: shape}` of the only clips to be served, or None: of any that the model takes.
    """

    def __init__(self, model, features, task, sizes=None):
        self.model, self.features, self.task, self.sizes = model, features, task, sizes or {}
        self.forecasts = "horizon_frames" in task
        shapes = getattr(model, "input_shapes", None) or {features[0].name: (None, None, None, features[0].shape[-1])}
        self.shapes = {**shapes, LENGTH.name: LENGTH.shape}
        self.client = client_features(features)
        if "flow" in shapes:
            self.shapes["video"] = (*shapes["flow"][:-1], self.client[0].shape[-1])
        if sizes is not None:
            self._check_sizes()
        self._sent = {f.name: self._spec(f.name, _served(f)) for f in self.client}
        self._floats = {f.name: self._spec(f.name, "int32" if f == LENGTH else "float32") for f in features}
        # traced once for all signatures of whole clips
        self._whole = tf.function(self._run, input_signature=[self._floats], autograph=False)
        self._seen_clips = tf.function(self._seen, input_signature=[self._sent], autograph=False)

    def all(self):
        """`{name: concrete function}`, each from named tensors to a dict of named tensors."""
        made = {"serving_default": (self._default, self._sent)}
        if any(f.name in PIXELS for f in self.features) and (self.features[0].dtype == "uint8" or self._computes_flow):
            made["serving_float"] = self._float, self._floats
        (first, *others) = self.client
        if not others and first.name == "video" and first.dtype == "uint8" and first.shape[-1] in GREY_OR_COLOUR:
            made["encoded"] = self._encoded, {"video": tf.TensorSpec((None, None), "string", "video")}
        if not self.forecasts and any(self.model.part("backbone", f.name) is not None for f in self.features):
            made["features"] = self._features, self._sent
        return {**{name: _concrete(*function) for name, function in made.items()}, **self._streaming()}

    def default(self):
        """`serving_default` alone, a `tf.function`."""
        return tf.function(self._default, input_signature=[self._sent], autograph=False)

    @property
    def _computes_flow(self):
        return any(feature.name == "flow" for feature in self.features)

    def _check_sizes(self):
        """Raises InputError unless `sizes` are of what a client sends."""
        free = {f.name: (None, *self.shapes[f.name]) for f in self.client}
        for name in {**free, **self.sizes}:
            size = self.sizes.get(name)
            if name not in free or size is None or not tf.TensorShape(free[name]).is_compatible_with(size):
                raise InputError(f"`sizes` must be of the inputs {free}. Received: {name}={size}")

    def _spec(self, name, dtype):
        shape = (None, *self.shapes[name])
        if self.sizes:  # those of the flow are those of the video that it is computed from
            shape = self.sizes.get(name) or (*self.sizes["video"][:-1], shape[-1])
        return tf.TensorSpec(shape, dtype, name=name)

    # Whole clips

    def _run(self, inputs):
        if self.forecasts:
            outputs = self.model(inputs, horizon_frames=self.task["horizon_frames"], training=False)
        else:
            outputs = self.model(inputs, training=False)
        return self._answers(outputs)

    def _answers(self, outputs):
        """What is served of a model's outputs."""
        served = {}
        if self.forecasts:
            feature, frames = self.features[0], outputs["frames"]
            low, high = feature.value_range or (0.0, 1.0)
            in_unit = feature.dtype != "uint8"
            frames = low + (high - low) * frames if in_unit else tf.clip_by_value(frames, 0.0, 1.0)
            horizon = self.task["horizon_frames"] or None  # of maps of the frames themselves there is none
            served["frames"] = tf.ensure_shape(frames, (None, horizon, None, None, None))
        if "logits" in outputs:
            probabilities = (tf.sigmoid if self.task.get("multi_label") else tf.nn.softmax)(outputs["logits"])
            served |= {"logits": outputs["logits"], "probabilities": probabilities}
        return served | {name: outputs[name] for name in ("attention",) if name in outputs}

    def _float(self, inputs):
        return self._whole(self._checked(inputs))

    def _default(self, inputs):
        return self._whole(self._seen_clips(self._checked(inputs)))

    def _encoded(self, inputs):
        return self._default({"video": self._decoded(inputs["video"])})

    def _features(self, inputs):
        seen = self._seen_clips(self._checked(inputs))
        tap = self._tap()
        maps = keras.tree.flatten(tap(seen) if tap else self.model.features(seen))
        names = ["features"] if len(maps) == 1 else [f"features_{n}" for n in range(len(maps))]
        return {name: tf.cast(x, tf.float32) for name, x in zip(names, maps)}

    def _tap(self):
        """What a network with a classifier of its own gives before it; None where the model has the classifier."""
        if self.model.classes is not None:
            return None
        (stream,) = self.model.streams
        backbone, preprocessing = (self.model.part(name, stream) for name in ("backbone", "preprocessing"))
        network = backbone.layer if isinstance(backbone, FrameWise) else backbone
        inside = keras.Model(network.inputs, network.layers[-1].input)
        inside = FrameWise(inside) if isinstance(backbone, FrameWise) else inside
        return lambda seen: inside(seen[stream] if preprocessing is None else preprocessing(seen[stream]))

    # What a client sends

    def _seen(self, inputs):
        """Everything the model sees, float32 0..1, of what a client sends."""
        seen = {}
        for feature in self.client:
            x = inputs[feature.name]
            if feature != LENGTH:
                low, high = feature.value_range or (0.0, 1.0)
                x = (tf.cast(x, tf.float32) - low) / (high - low)
            seen[feature.name] = x
        for feature in self.features:
            if feature.name == "flow":
                flow = TVL1Flow(value_range=(0, 1))(seen["video"])
                flow = tf.concat([flow, flow[:, -1:]], axis=1)  # of the last frame the last field again
                if feature.value_range:
                    low, high = feature.value_range
                    flow = tf.clip_by_value((flow - low) / (high - low), 0.0, 1.0)
                seen["flow"] = flow
        return {feature.name: seen[feature.name] for feature in self.features}

    def _checked(self, inputs, told="video"):
        """The inputs, refused by name where the model would fail on them in words of its own.

        `told` is what a client calls `video`.
        """
        checks = []
        first = self.features[0].name if self.features[0].name in inputs else self.client[0].name
        size, patch = tf.shape(inputs[first]), getattr(self.model, "patch", 1)
        if self.forecasts and patch > 1:
            checks.append(_assert(told, f"must have sides that are multiples of {patch}", size[2:4] % patch == 0, size))
        least = getattr(self.model, "least_frames", 2 if self._computes_flow and "flow" not in inputs else 1)
        if least > 1:
            checks.append(_assert(told, f"must hold {least} frames or more", size[1] >= least, size))
        if LENGTH.name in inputs:
            length = inputs[LENGTH.name]
            checks.append(_assert(LENGTH.name, "must lie in 1..T", (length > 0) & (length <= size[1]), length))
        for name, x in inputs.items():
            if name != first:
                same = 1 if name == LENGTH.name or x.shape.rank < 3 else 2  # clips, and their steps
                told_as = f"must be of as many clips and steps as {first}"
                checks.append(_assert(name, told_as, tf.shape(x)[:same] == size[:same], tf.shape(x)))
        with tf.control_dependencies(checks):
            return {name: tf.identity(x) for name, x in inputs.items()}

    def _decoded(self, encoded):
        """Frames of JPEG or PNG bytes (B, T): uint8 (B, T, H, W, C), all of one size."""
        *_, height, width, channels = self.shapes["video"]

        def decode(frame):
            frame = tf.io.decode_jpeg(frame, channels=channels, name="video_frame")  # PNG as well
            checks = [
                _assert(
                    "video", f"frames must have a {name} of {wanted}", tf.shape(frame)[axis] == wanted, tf.shape(frame)
                )
                for axis, (name, wanted) in enumerate((("height", height), ("width", width)))
                if wanted is not None
            ]
            with tf.control_dependencies(checks):
                return tf.ensure_shape(frame, (height, width, channels))

        with tf.name_scope("video_frames_of_one_size"):  # errors name the operation
            frames = tf.map_fn(decode, tf.reshape(encoded, [-1]), fn_output_signature=tf.uint8)
        size = tf.concat([tf.shape(encoded), tf.shape(frames)[1:]], axis=0)
        return tf.ensure_shape(tf.reshape(frames, size), (None, *self.shapes["video"]))

    # Streams

    def _streaming(self):
        """`init_state` and `step`, of a causal recurrent model; else nothing."""
        if not hasattr(self.model, "stream") or self._computes_flow:  # which needs the next frame
            return {}
        frames = {}
        for feature in self.features:
            if feature == LENGTH:  # there is no padding in a stream
                continue
            name = "frame" if feature.name == "video" else feature.name
            frames[name] = tf.TensorSpec((None, *self.shapes[feature.name][1:]), _served(feature), name=name)
        names = dict(zip(frames, (feature.name for feature in self.features if feature != LENGTH)))
        horizon = self.task.get("horizon_frames", 0)

        def advance(inputs, states, horizon):
            clip = {names[name]: inputs[name][:, None] for name in frames}
            if LENGTH in self.features:
                clip[LENGTH.name] = tf.ones(tf.shape(inputs[next(iter(frames))])[:1], "int32")
            clip = self._seen(self._checked(clip, told=next(iter(frames))))
            stream = _ServedStream(states)
            return self.model.stream(clip, stream, **({"horizon_frames": horizon} if self.forecasts else {})), stream

        def numbered(states):
            return {f"state_{n}": tf.cast(x, _state_dtype(x)) for n, x in enumerate(states)}

        try:
            shortest = min(1, horizon)  # nothing of the forecast is used
            first = _needed(lambda inputs: numbered(advance(inputs, None, shortest)[1].first), frames)
            init_state = _concrete(first, frames)
        except NotCausal:
            return {}
        made = init_state.structured_outputs
        specs = {name: tf.TensorSpec(_any_batch(made[name].shape), made[name].dtype, name=name) for name in made}

        def step(inputs):
            states = [inputs[f"state_{n}"] for n in range(len(specs))]
            outputs, stream = advance(inputs, states, horizon)
            return {**self._answers(outputs), **numbered(stream.last)}

        return {"init_state": init_state, "step": _concrete(step, {**frames, **specs})}


class _ServedStream(Stream):
    """A stream whose states come from a client: they are looked at before they are used."""

    def take(self, first):
        start, states = len(self.first), super().take(first)
        if self._given is None:
            return states
        checked = []
        for number, (x, like) in enumerate(zip(states, first), start):
            told, same = "must be of as many streams, as large, as frames", tf.shape(x) == tf.shape(like)
            with tf.control_dependencies([_assert(f"state_{number}", told, same, tf.shape(x))]):
                checked.append(tf.identity(x))
        return checked


def _concrete(function, specs):
    """A concrete function that refuses other shapes than its own, and none at all.

    A server feeds what it gets, whatever is declared.
    """

    def checked(inputs):
        inputs = {name: tf.ensure_shape(inputs[name], spec.shape, name) for name, spec in specs.items()}
        return function(_not_empty(inputs))

    return tf.function(checked, input_signature=[specs], autograph=False).get_concrete_function()


def _needed(function, specs):
    """`function` without what its outputs do not need: a `tf.function` runs its loops and assertions all the same."""
    whole = tf.compat.v1.wrap_function(lambda *inputs: function(dict(zip(specs, inputs))), [*specs.values()])
    needed = whole.prune(whole.inputs[: len(specs)], whole.structured_outputs)
    return lambda inputs: needed(*(inputs[name] for name in specs))


def _served(feature):
    """Dtype in which an input is served: bytes and integers as they are, all else float32."""
    return feature.dtype if feature.dtype in ("uint8", "int32") else "float32"


def _state_dtype(x):
    """Dtype in which a state is served: integers as they are, all else float32 (REST knows no half precision)."""
    return x.dtype if x.dtype.is_integer else "float32"


def _any_batch(shape):
    return (None, *shape[1:])


def _assert(name, expected, condition, received):
    return tf.debugging.Assert(tf.reduce_all(condition), [f"`{name}` {expected}. Received:", received])


def _not_empty(inputs):
    """Inputs of at least one clip, frame and pixel."""
    checks = [_assert(name, "must not be empty", tf.shape(x) > 0, tf.shape(x)) for name, x in inputs.items()]
    with tf.control_dependencies(checks):
        return {name: tf.identity(x) for name, x in inputs.items()}
