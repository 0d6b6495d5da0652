"""Running a served folder without Keras."""

import json
import pathlib

import tensorflow as tf

from keras_st.specs import InputError


def forecaster(folder, feature):
    """`(run, horizon)` of a served forecaster: `run(clips, horizon)` takes float32 (B, T, H, W, C) in 0..1.

    `feature`: `FeatureSpec` of its clips; a field's signature speaks in the field's unit.
    """
    try:
        model = tf.saved_model.load(str(folder))
        horizon = json.loads(pathlib.Path(folder, "assets.extra", "features.json").read_text())["horizon_frames"]
    except (OSError, ValueError, KeyError, IndexError, tf.errors.OpError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder} is not a whole served forecaster. Received: {reason}") from error
    name = "serving_float" if "serving_float" in model.signatures else "serving_default"
    signature = model.signatures[name]
    low, high = (0.0, 1.0) if name == "serving_float" or feature is None else feature.value_range or (0.0, 1.0)

    def run(clips, horizon):
        try:
            outputs = {k: v.numpy() for k, v in signature(video=tf.constant(low + (high - low) * clips)).items()}
            return {**outputs, "frames": (outputs["frames"] - low) / (high - low)}
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{folder} cannot take clips of this size: height and width must be multiples of the model's patch "
                f"(and those it was trained on, where they are fixed). Received: shape={clips.shape}"
            ) from error

    run.model = model  # the signature alone does not keep its variables alive
    return run, horizon
