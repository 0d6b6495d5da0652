"""Writing a model as a versioned folder that TensorFlow Serving loads."""

import dataclasses
import json
import os
import pathlib
import tempfile

import keras
import tensorflow as tf
import yaml

from keras_st.serving.companions import sums, write_companions, write_server_files
from keras_st.serving.signatures import Signatures
from keras_st.specs import VIDEO, InputError


def export(model, base_dir, recipe=None, horizon=None, features=None, classes=None):
    """Writes `model` to `base_dir/<next integer>` and returns that path.

    Signatures, with dynamic batch, time, height and width where the model has them so:
        serving_default: a clip as a client has it: inputs in dtype and range of their feature specs (`video` uint8
                         0..255). Where the model sees optical flow, `TVL1Flow` computes it of the pixels.
        serving_float:   inputs float32 0..1, `flow` brought there from the range of its feature spec (models of 8-bit
                         video or flow)
        encoded:         `video` string (B, T), a JPEG or PNG a frame (models of 8-bit video of 1 or 3 channels alone)
        features:        inputs of serving_default; `features` float32 (or `features_0`, ...) that the backbone gives
        init_state:      `frame` (B, H, W, C) of a stream, of which only the shape is used (stored features by their
                         name): `state_0`, ..., with which streams begin (causal recurrent models)
        step:            `frame` and `state_*`: the outputs of serving_default for the frames so far, of frame labels
                         and of maps of frames those of the frame, and the next `state_*`
    Outputs of a forecaster: `frames` float32 (B, horizon, H, W, C), of video in 0..1, of fields in their unit; the
    number of context frames is free, the horizon fixed. Of a classifier: `logits` and `probabilities` (B, classes),
    of one of frame labels (B, T, classes), and, where the model has it, its `attention`. A model of padded clips also
    takes `length` int32 (B,).

    The folder is written aside and renamed when whole. `assets.extra/` holds `features.json`: the task, the features,
    shapes of an `example` of serving_default's inputs, the `files` written and their SHA-256; the signatures in words,
    with a recipe `recipe.yaml`, and with tensorflow-serving-api (the extra `serving`) warm-up requests.
    `assets/labels.txt` names the classes. The server's configuration stands beside the versions, see
    `write_server_files`.

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
    features, task = what_is_served(model, features, horizon, classes)
    base = pathlib.Path(base_dir)
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix=".writing-") as aside:
        folder = os.path.join(aside, "model")
        functions = _write_saved_model(model, folder, features, task)
        task["features"] = [dataclasses.asdict(feature) for feature in features]
        task["example"] = _example(model, features, functions["serving_default"], recipe)
        write_companions(folder, base.resolve().name, features, task["example"], task.get("classes"))
        extra = pathlib.Path(folder, "assets.extra")
        if recipe is not None:
            (extra / "recipe.yaml").write_text(yaml.safe_dump(recipe.as_dict(), sort_keys=False))
        task["files"] = sums(folder)
        (extra / "features.json").write_text(json.dumps(task, indent=1) + "\n")
        target = _rename_to_next_version(folder, base)
    write_server_files(base, task.get("classes"))
    return target


def what_is_served(model, features=None, horizon=None, classes=None):
    """`(features, task)` of `Signatures`, of what `export` is given; raises what it does."""
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
    return features, task


def _task(model, horizon, classes):
    """What features.json says of the model's task: `horizon_frames`, the names of `classes`, or, of some, both."""
    if hasattr(model, "horizon_frames"):
        told = {"horizon_frames": model.horizon_frames if horizon is None else horizon}
        if hasattr(model, "classes"):
            return {**told, "classes": _names(classes, model.classes), "multi_label": False}
        if classes is not None:
            raise InputError(f"Only a classifier has classes. Received: classes={classes}")
        return told
    if horizon is not None:
        raise InputError(f"A classifier has no horizon. Received: horizon={horizon}")
    return {"classes": _names(classes, model.num_classes), "multi_label": model.multi_label}


def _names(classes, count):
    names = [str(n) for n in range(count)] if classes is None else list(classes)
    if len(names) != count:
        raise InputError(f"The model has {count} classes. Received: {len(names)} names")
    return names


def _example(model, features, function, recipe):
    """`{name: shape}` of one clip that serving_default takes, as short and as large as in training."""
    task = getattr(recipe, "task", None)
    lengths = [
        getattr(x, n, None) for x, n in ((model, "context_frames"), (task, "context_frames"), (task, "clip_frames"))
    ]
    known, shapes = {feature.name: feature.shape for feature in features}, {}
    for name, spec in function.structured_input_signature[0][0].items():
        like = known.get(name, known.get("flow", ()))
        found = next((n for n in (*lengths, *like[:1]) if n), 4)
        sizes = (None, found, *(size or 32 for size in like[1:]))
        shapes[name] = [1, *(n or size for n, size in zip(spec.shape[1:], sizes[1:]))]
    return shapes


def _write_saved_model(model, folder, features, task):
    """The signatures, and each weight that they read, once (Keras's `ExportArchive` may hold it twice)."""
    functions = Signatures(model, features, task).all()
    read = {id(handle) for function in functions.values() for handle in function.captured_inputs}
    module = tf.Module()
    module.weights = [v.value for v in model.variables if id(v.value.handle) in read]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # nothing is trained there
    tf.saved_model.save(module, folder, signatures=functions, options=options)
    return functions


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
