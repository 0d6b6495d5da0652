"""Running a served folder without Keras."""

import json
import pathlib

import tensorflow as tf

from keras_st.specs import InputError


def forecaster(folder, feature):
    """`(run, horizon)` of a served forecaster: `run(clips, horizon)` takes float32 (B, T, H, W, C) in 0..1.

    `feature`: `FeatureSpec` of its clips; a field's signature speaks in the field's unit.
    """
    signature, (low, high), horizon = _signature(folder, feature, "horizon_frames")

    def run(clips, horizon):
        outputs = call(clips)
        return {**outputs, "frames": (outputs["frames"] - low) / (high - low)}

    call = _caller(
        folder,
        signature,
        (low, high),
        "height and width must be multiples of the model's patch (and those it was trained on, where they are fixed)",
    )
    return run, horizon


def classifier(folder, feature):
    """`(run, clip_shape)` of a served classifier: `run(clips)` takes float32 (B, T, H, W, C) in 0..1."""
    signature, unit, _ = _signature(folder, feature, "classes")
    (served,) = signature.structured_input_signature[1].values()
    clip_shape = tuple(served.shape[1:])
    return _caller(folder, signature, unit, f"(T, H, W, C) must fit {clip_shape}"), clip_shape


def _signature(folder, feature, key):
    """`(signature, (low, high) of its input, entry `key` of features.json)`."""
    try:
        model = tf.saved_model.load(str(folder))
        stored = json.loads(pathlib.Path(folder, "assets.extra", "features.json").read_text())[key]
    except (OSError, ValueError, KeyError, IndexError, tf.errors.OpError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder} is not a whole served model. Received: {reason}") from error
    name = "serving_float" if "serving_float" in model.signatures else "serving_default"
    signature = model.signatures[name]
    signature.model = model  # the signature alone does not keep its variables alive
    unit = (0.0, 1.0) if name == "serving_float" or feature is None else feature.value_range or (0.0, 1.0)
    return signature, unit, stored


def _caller(folder, signature, unit, expected):
    low, high = unit
    (name,) = signature.structured_input_signature[1]  # "video" or "flow"

    def call(clips):
        try:
            return {k: v.numpy() for k, v in signature(**{name: tf.constant(low + (high - low) * clips)}).items()}
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{folder} cannot take clips of this size: {expected}. Received: shape={clips.shape}"
            ) from error

    return call
