"""Running a served folder without Keras."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from keras_st.serving.check import files, graph
from keras_st.serving.check.results import Failed
from keras_st.specs import InputError


def forecaster(folder, feature):
    """`(run, horizon)` of a served forecaster: `run(clips, horizon)` takes float32 (B, T, H, W, C) in 0..1.

    `feature`: `FeatureSpec` of its clips; a field's signature speaks in the field's unit.
    """
    signature, horizon = _signature(folder, "horizon_frames")
    ranges = _ranges(signature, [feature])
    (low, high) = ranges[feature.name]

    def run(clips, horizon):
        outputs = call({feature.name: clips})
        return {**outputs, "frames": (outputs["frames"] - low) / (high - low)}

    call = _caller(
        folder,
        signature,
        ranges,
        "height and width must be multiples of the model's patch (and those it was trained on, where they are fixed), "
        "and all frames be there that it reads",
    )
    return run, horizon


def classifier(folder, features):
    """`(run, input_shapes)` of a served classifier: `run(inputs)` takes a dict of float32 (B, T, ...), pixels 0..1."""
    signature, _ = _signature(folder, "classes")
    shapes = {name: tuple(spec.shape[1:]) for name, spec in signature.structured_input_signature[1].items()}
    return _caller(folder, signature, _ranges(signature, features), f"clips must fit {shapes}"), shapes


def _signature(folder, key):
    """`(signature, entry `key` of features.json)`; the float one where there is one.

    Nothing of a folder whose graph holds other operations than those of our exports is loaded.
    """
    try:
        graph.operations(files.read_graph(pathlib.Path(folder, "saved_model.pb")))
        model = tf.saved_model.load(str(folder))
        stored = json.loads(pathlib.Path(folder, "assets.extra", "features.json").read_text())[key]
    except (OSError, ValueError, KeyError, IndexError, Failed, tf.errors.OpError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder} is not a whole served model. Received: {reason}") from error
    name = "serving_float" if "serving_float" in model.signatures else "serving_default"
    signature = model.signatures[name]
    signature.model, signature.is_float = model, name == "serving_float"  # alone it does not keep its variables alive
    return signature, stored


def _ranges(signature, features):
    """What a signature takes for 0 and 1, by input."""
    return {f.name: (0.0, 1.0) if signature.is_float else f.value_range or (0.0, 1.0) for f in features}


def _caller(folder, signature, ranges, expected):
    specs = signature.structured_input_signature[1]

    def call(inputs):
        served = {}
        for name, (low, high) in ranges.items():
            x, dtype = low + (high - low) * inputs[name], specs[name].dtype.as_numpy_dtype
            served[name] = tf.constant(np.round(x).astype(dtype) if np.issubdtype(dtype, np.integer) else x)
        try:
            return {name: value.numpy() for name, value in signature(**served).items()}
        except tf.errors.InvalidArgumentError as error:
            shapes = {name: x.shape for name, x in inputs.items()}
            raise ValueError(f"{folder} cannot take clips of this size: {expected}. Received: {shapes}") from error

    return call
