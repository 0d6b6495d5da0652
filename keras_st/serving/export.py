"""Writing a model as a versioned folder that TensorFlow Serving loads."""

import dataclasses
import json
import os
import pathlib
import tempfile

import keras
import tensorflow as tf
import yaml

from keras_st.specs import VIDEO, FeatureSpec, InputError


def export(model, base_dir, recipe=None, horizon=None, feature=None, classes=None):
    """Writes `model` to `base_dir/<next integer>` and returns that path.

    Signatures, with dynamic batch, time, height and width where the model has them so:
        serving_default: `video` in the dtype and range of the feature spec (uint8 0..255 for 8-bit video)
        serving_float:   `video` float32 0..1 (uint8 models only; `serving_default` of others takes float32 in the unit)
    Outputs of a forecaster: `frames` float32 (B, horizon, H, W, C), of video in 0..1, of fields in their unit; the
    number of context frames is free, the horizon fixed. Of a classifier: `logits` and `probabilities` (B, classes).

    The folder is written aside and renamed when whole. `assets.extra/` holds `recipe.yaml` and `features.json`.

    Args:
        model: built `EncoderForecaster` or `ClipClassifier` (TensorFlow backend).
        base_dir: path. Parent of the version folders.
        recipe: `keras_st.specs.Recipe` or None.
        horizon: int or None. Frames to forecast; None: the model's own. A classifier has none.
        feature: `FeatureSpec` of `video`; None: uint8 0..255 with the model's channels.
        classes: names of a classifier's classes; None: numbers.

    Raises:
        InputError: another backend than TensorFlow, or a model that is not built.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"Export needs KERAS_BACKEND=tensorflow. Received: {keras.backend.backend()}")
    if not model.built:
        raise InputError(f"The model must be built before it is exported. Received: {model.name}, not built")
    task = _task(model, horizon, classes)
    feature = feature or dataclasses.replace(VIDEO, shape=(None, None, None, model.channels))
    base = pathlib.Path(base_dir)
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix=".writing-") as aside:
        folder = os.path.join(aside, "model")
        _write_saved_model(model, folder, feature, task)
        extra = pathlib.Path(folder, "assets.extra")
        extra.mkdir()
        task["features"] = [dataclasses.asdict(feature)]
        (extra / "features.json").write_text(json.dumps(task, indent=1) + "\n")
        if recipe is not None:
            (extra / "recipe.yaml").write_text(yaml.safe_dump(recipe.as_dict(), sort_keys=False))
        return _rename_to_next_version(folder, base)


def _task(model, horizon, classes):
    """What features.json says of the model's task: `horizon_frames`, or the names of `classes`."""
    if hasattr(model, "horizon_frames"):
        if classes is not None and not hasattr(model, "classes"):
            raise InputError(f"Only a classifier has classes. Received: classes={classes}")
        return {"horizon_frames": model.horizon_frames if horizon is None else horizon}
    if horizon is not None:
        raise InputError(f"A classifier has no horizon. Received: horizon={horizon}")
    names = [str(n) for n in range(model.num_classes)] if classes is None else list(classes)
    if len(names) != model.num_classes:
        raise InputError(f"The model has {model.num_classes} classes. Received: {len(names)} names")
    return {"classes": names}


def _write_saved_model(model, folder, feature: FeatureSpec, task):
    low, high = feature.value_range or (0.0, 1.0)
    forecasts = "horizon_frames" in task
    shape = (None, None, None, None, feature.shape[-1]) if forecasts else (None, *model.clip_shape)

    def serving_float(clips):
        options = {"horizon_frames": task["horizon_frames"]} if forecasts else {}
        outputs = model({feature.name: clips}, **options, training=False)
        served = {}
        if forecasts:
            frames = outputs["frames"]
            in_unit = feature.dtype != "uint8"
            served["frames"] = low + (high - low) * frames if in_unit else tf.clip_by_value(frames, 0.0, 1.0)
        if "logits" in outputs:
            served |= {"logits": outputs["logits"], "probabilities": tf.nn.softmax(outputs["logits"])}
        return served

    def serving_default(clips):
        return serving_float((tf.cast(clips, tf.float32) - low) / (high - low))

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", serving_default, [tf.TensorSpec(shape, feature.dtype, name=feature.name)])
    if feature.dtype == "uint8":
        archive.add_endpoint("serving_float", serving_float, [tf.TensorSpec(shape, "float32", name=feature.name)])
    archive.write_out(folder, verbose=False)


def _rename_to_next_version(folder, base):
    while True:
        taken = [int(path.name) for path in base.iterdir() if path.name.isdigit()]
        target = base / str(max(taken, default=0) + 1)
        try:
            os.rename(folder, target)  # fails if another writer made the (non-empty) folder meanwhile
            return target
        except OSError:
            if not target.exists():
                raise
