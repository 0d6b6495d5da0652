"""Writing a model as a versioned folder that TensorFlow Serving loads."""

import dataclasses
import json
import os
import pathlib
import tempfile

import keras
import tensorflow as tf
import yaml

from keras_st.specs import LENGTH, VIDEO, FeatureSpec, InputError


def export(model, base_dir, recipe=None, horizon=None, features=None, classes=None):
    """Writes `model` to `base_dir/<next integer>` and returns that path.

    Signatures, with dynamic batch, time, height and width where the model has them so:
        serving_default: inputs in dtype and range of their feature specs (`video` uint8 0..255, `flow` in px/frame)
        serving_float:   inputs float32 0..1 (models of 8-bit video only; flow beside it is brought to 0..1 from the
                         range of its feature spec)
    Outputs of a forecaster: `frames` float32 (B, horizon, H, W, C), of video in 0..1, of fields in their unit; the
    number of context frames is free, the horizon fixed. Of a classifier: `logits` and `probabilities` (B, classes),
    of one of frame labels (B, T, classes), and, where the model has it, its `attention`. A model of padded clips also
    takes `length` int32 (B,).

    The folder is written aside and renamed when whole. `assets.extra/` holds `recipe.yaml` and `features.json`.

    Args:
        model: built `EncoderForecaster` or `ClipClassifier` (TensorFlow backend).
        base_dir: path. Parent of the version folders.
        recipe: `keras_st.specs.Recipe` or None.
        horizon: int or None. Frames to forecast; None: the model's own. A classifier has none.
        features: `FeatureSpec` of every input; None: `video`, uint8 0..255 with the model's channels.
        classes: names of a classifier's classes; None: numbers.

    Raises:
        InputError: another backend than TensorFlow, or a model that is not built.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"Export needs KERAS_BACKEND=tensorflow. Received: {keras.backend.backend()}")
    if not model.built:
        raise InputError(f"The model must be built before it is exported. Received: {model.name}, not built")
    task = _task(model, horizon, classes)
    if features is None:
        if "horizon_frames" not in task and set(model.input_shapes) != {"video"}:
            raise InputError(
                f"`features` says what the inputs are. Received: features=None for {[*model.input_shapes]}"
            )
        channels = model.channels if "horizon_frames" in task else model.input_shapes["video"][-1]
        features = [dataclasses.replace(VIDEO, shape=(None, None, None, channels))]
    base = pathlib.Path(base_dir)
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix=".writing-") as aside:
        folder = os.path.join(aside, "model")
        _write_saved_model(model, folder, features, task)
        extra = pathlib.Path(folder, "assets.extra")
        extra.mkdir()
        task["features"] = [dataclasses.asdict(feature) for feature in features]
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
    return {"classes": names, "multi_label": model.multi_label}


def _write_saved_model(model, folder, features: list[FeatureSpec], task):
    forecasts = "horizon_frames" in task
    ranges = {feature.name: feature.value_range or (0.0, 1.0) for feature in features}
    any_size = {features[0].name: (None, None, None, features[0].shape[-1])}
    shapes = any_size if forecasts else {**model.input_shapes, LENGTH.name: LENGTH.shape}

    def serving_float(inputs):
        options = {"horizon_frames": task["horizon_frames"]} if forecasts else {}
        outputs = model(inputs, **options, training=False)
        served = {}
        if forecasts:
            low, high = ranges[features[0].name]
            in_unit, frames = features[0].dtype != "uint8", outputs["frames"]
            served["frames"] = low + (high - low) * frames if in_unit else tf.clip_by_value(frames, 0.0, 1.0)
        if "logits" in outputs:
            probabilities = (tf.sigmoid if task.get("multi_label") else tf.nn.softmax)(outputs["logits"])
            served |= {"logits": outputs["logits"], "probabilities": probabilities}
        return served | {name: outputs[name] for name in ("attention",) if name in outputs}

    def serving_default(inputs):
        scaled = {}
        for name, x in inputs.items():
            low, high = ranges[name]
            if name == LENGTH.name:
                scaled[name] = x
                continue
            scaled[name] = (tf.cast(x, tf.float32) - low) / (high - low)
        return serving_float(scaled)

    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, function, as_float in (
        ("serving_default", serving_default, False),
        ("serving_float", serving_float, True),
    ):
        if as_float and features[0].dtype != "uint8":
            continue
        signature = {
            feature.name: tf.TensorSpec(
                (None, *shapes[feature.name]), "float32" if as_float else _served(feature), name=feature.name
            )
            for feature in features
        }
        archive.add_endpoint(name, function, [signature])
    archive.write_out(folder, verbose=False)


def _served(feature):
    """Dtype in which an input is served: bytes and integers as they are, all else float32."""
    return feature.dtype if feature.dtype in ("uint8", "int32") else "float32"


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
