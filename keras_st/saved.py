"""Trained models from disk, whatever form they have there, behind one method: `predict`."""

import dataclasses
import json
import pathlib
import re
import zipfile

import numpy as np

from keras_st.metrics.classify import sigmoid, softmax
from keras_st.specs import LENGTH, PIXELS, VIDEO, FeatureSpec, InputError


def load(path):
    """A trained model from a run folder, a `.keras` file or a served version folder.

    Returns: `SavedForecaster` or `SavedClassifier`: `predict(clip)`, `feature`, `recipe` (dict or None) and `path`.

    No code that comes with it is run. Whether a served folder is as it was written, `keras_st.serving.check` says.

    Raises: InputError: nothing there, or nothing that can be loaded.
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return _from_served(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file() or file.suffix != ".keras":
        raise InputError(
            "Expected a run folder with model.keras, a .keras file or a served version folder with saved_model.pb. "
            f"Received: {path}{'' if path.exists() else ', which is not there'}"
        )
    return _from_keras(file)


class SavedModel:
    """A trained model that takes clips given as arrays.

    Attributes:
        features: `FeatureSpec` of everything it takes; 8-bit video where nothing beside the model says (then
            `feature_is_known` is False). `feature` is the first.
        recipe: dict of the recipe it was trained with, or None.
    """

    def __init__(self, path, run, features, recipe, feature_is_known=True):
        self.path, self._run, self.features, self.recipe = path, run, tuple(features), recipe
        self.feature_is_known = feature_is_known

    @property
    def feature(self):
        return self.features[0]

    @property
    def is_video(self):
        """Whether the clips are 8-bit video; else they are fields, in a unit of their own."""
        return self.feature.dtype == "uint8"

    @property
    def value_range(self):
        """What the model sees as 0 and 1."""
        return self.feature.value_range or (0.0, 1.0)

    def scale(self, clip, feature=None):
        """A clip in the range of a feature (None: the first) as float32 0..1, checked: dtype, rank, channels, range.

        Fields, in the feature's unit, may leave the range that training saw, and then 0..1; stored features, which have
        no range, stay as they are.
        """
        clip, feature = np.asarray(clip), feature or self.feature
        if feature == LENGTH:
            if clip.dtype.kind not in "iu" or clip.ndim > 1 or (clip.size and clip.min() < 0):
                raise InputError(f"`length` must be integers, 0 or more. Received: {clip.dtype} {clip.tolist()}")
            return clip.astype("int32")
        shape, rank = feature.shape, len(feature.shape)
        if clip.ndim not in (rank, rank + 1) or clip.shape[-1] != shape[-1] or 0 in clip.shape:
            letters = "".join(f"{letter}, " for letter in ("T", "H", "W")[: rank - 1])
            wanted = f"({letters}{shape[-1]}), or a batch of them"
            raise InputError(f"A clip must be {wanted}. Received: {feature.name}, shape={clip.shape}")
        if feature.dtype != "uint8":
            if clip.dtype.kind not in "uif" or not (feature.missing or np.isfinite(clip).all()):
                raise InputError(f"A clip must hold finite numbers. Received: dtype={clip.dtype}")
            if clip.dtype == np.uint8 and feature.name not in PIXELS:
                raise InputError(f"`{feature.name}` must be numbers, not codes of them. Received: dtype=uint8")
            low, high = feature.value_range or (0.0, 1.0)
            return ((clip - low) / (high - low)).astype("float32")
        if clip.dtype == np.uint8:
            return clip.astype("float32") / 255.0
        if clip.dtype not in (np.float32, np.float64, np.float16):
            raise InputError(f"A clip must be uint8 (0..255) or float (0..1). Received: dtype={clip.dtype}")
        if not (clip.min() >= 0 and clip.max() <= 1):  # false for NaN
            raise InputError(
                f"A float clip must be finite and in 0..1. Received: values from {clip.min():.4g} to {clip.max():.4g}"
            )
        return clip.astype("float32")

    def _in_batches(self, run, clips, batch_size):
        """`run` on parts of an array, or of every array of a dict."""
        count = len(next(iter(clips.values())) if isinstance(clips, dict) else clips)
        starts = range(0, count, batch_size)
        try:
            parts = [run(tree_map(lambda x, n=n: x[n : n + batch_size], clips)) for n in starts]
        except ValueError as error:  # the model's own word on sizes it cannot take
            raise InputError(own_words(error)) from error
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def tree_map(function, x):
    return {name: function(value) for name, value in x.items()} if isinstance(x, dict) else function(x)


class SavedForecaster(SavedModel):
    """A trained model that forecasts frames.

    Attributes:
        horizon_frames: frames it forecasts when not told.
    """

    def __init__(self, path, run, feature, recipe, horizon_frames, horizon_is_fixed, feature_is_known=True):
        super().__init__(path, run, [feature], recipe, feature_is_known)
        self.horizon_frames, self._horizon_is_fixed = horizon_frames, horizon_is_fixed

    def predict(self, clip, horizon=None, batch_size=32):
        """Forecasts the frames after a clip.

        Args:
            clip: uint8 0..255 or float 0..1 (fields: in their unit), (T, H, W, C) or (B, T, H, W, C), any T, H and W
                the model takes.
            horizon: int or None. Frames to forecast; a served folder has its own fixed horizon.
            batch_size: clips at a time.

        Returns: float32 (horizon, H, W, C), with a batch axis where the clip has one; video 0..1, fields in their unit.
        """
        clips = self.scale(clip)
        frames = self.outputs(clips if clips.ndim == 5 else clips[None], horizon, batch_size)["frames"]
        if not self.is_video:
            low, high = self.value_range
            frames = low + (high - low) * frames
        return frames if clips.ndim == 5 else frames[0]

    def outputs(self, clips, horizon=None, batch_size=32):
        """Everything the model returns for scaled clips, float32 0..1 (B, T, H, W, C): dict of arrays.

        `frames` of video are clipped to 0..1.
        """
        horizon = self.horizon_frames if horizon is None else horizon
        if horizon != self.horizon_frames and min(horizon, self.horizon_frames) < 1:
            least = "0: it maps frames" if self.horizon_frames < 1 else "at least 1 frame"
            raise InputError(f"The horizon must be {least}. Received: horizon={horizon}")
        if self._horizon_is_fixed and horizon != self.horizon_frames:
            raise InputError(
                f"{self.path} was exported with a horizon of {self.horizon_frames}. Received: horizon={horizon}"
            )
        outputs = self._in_batches(lambda batch: self._run(batch, horizon), clips, batch_size)
        if self.is_video:
            outputs["frames"] = np.clip(outputs["frames"], 0.0, 1.0)
        return outputs


class SavedClassifier(SavedModel):
    """A trained model that says what happens in a clip.

    Attributes:
        input_shapes: `{name: shape of a clip}` that it takes, (T, H, W, C) of pixels, None where a size varies.
        classes: names of the classes in the order of its scores; numbers where nothing beside the model says.
        multi_label: whether classes do not exclude each other.
        model: the Keras model; None of a served folder.
    """

    def __init__(self, path, run, features, recipe, input_shapes, classes, multi_label, known=True, model=None):
        super().__init__(path, run, features, recipe, known)
        self.input_shapes, self.classes, self.multi_label, self.model = input_shapes, classes, multi_label, model

    @property
    def shows_pixels(self):
        """Whether its first input can be looked at."""
        return self.feature.name in PIXELS

    def predict(self, clip, batch_size=8, everything=False):
        """Probabilities of the classes of a clip; with `everything` a dict of all that the model returns.

        Args:
            clip: uint8 0..255 or float 0..1 (fields: in their unit), (T, H, W, C) or (B, T, H, W, C), sampled and
                sized as in training (`evaluate.py PATH --input` does both for a video of any length and size). Of a
                model of several inputs a dict of such arrays, by name; `length`, the steps before padding, int (), may
                be left out where there is none.
            batch_size: clips at a time.
            everything: also return `logits` and, of a model that attends, `attention` (T, h, w, 1), beside
                `probabilities`, all float32, in a dict.

        Returns: float32 (classes,), with a batch axis where the clip has one; of a model of frame labels, per frame:
            (T, classes). Of a model of several labels every probability is for itself.
        """
        clips = clip if isinstance(clip, dict) else {self.feature.name: clip}
        if LENGTH in self.features and LENGTH.name not in clips and self.feature.name in clips:
            shape = np.shape(clips[self.feature.name])
            clips = {**clips, LENGTH.name: np.full(shape[:-2], shape[-2] if len(shape) > 1 else 0, "int32")}
        clips = self._without_padding(clips)
        if set(clips) != {feature.name for feature in self.features}:
            raise InputError(f"The model takes {[f.name for f in self.features]}. Received: {[*clips]}")
        scaled = {feature.name: self.scale(clips[feature.name], feature) for feature in self.features}
        self._check_together(scaled)
        single = scaled[self.feature.name].ndim == len(self.feature.shape)
        outputs = self.outputs(tree_map(lambda x: x[None], scaled) if single else scaled, batch_size)
        logits = outputs["logits"]
        kept = {name: outputs[name] for name in ("logits", "attention") if name in outputs}
        kept["probabilities"] = (sigmoid if self.multi_label else softmax)(logits)
        kept = tree_map(lambda x: x[0], kept) if single else kept
        return kept if everything else kept["probabilities"]

    def _without_padding(self, clips):
        """Clips whose steps behind `length` are 0, whatever stands there, NaN too."""
        if LENGTH not in self.features or set(clips) != {feature.name for feature in self.features}:
            return clips
        length, padded = np.asarray(clips[LENGTH.name]), {}
        for feature in self.features:
            x = np.asarray(clips[feature.name])
            if feature != LENGTH and x.ndim == length.ndim + 2 and length.shape == x.shape[:-2]:
                if length.dtype.kind in "iu" and not ((length >= 1) & (length <= x.shape[-2])).all():
                    raise InputError(f"`length` must lie in 1..{x.shape[-2]}. Received: {length.tolist()}")
                x = np.where(np.arange(x.shape[-2])[:, None] < length[..., None, None], x, x.dtype.type(0))
            padded[feature.name] = x
        return padded

    def _check_together(self, clips):
        """Raises InputError unless all inputs are of the same clips, and padded ones of the same steps."""
        more = {f.name: clips[f.name].shape[: clips[f.name].ndim - len(f.shape)] for f in self.features}
        steps = {f.name: clips[f.name].shape[-len(f.shape)] for f in self.features if len(f.shape) > 1}
        if len(set(more.values())) > 1 or (LENGTH in self.features and len(set(steps.values())) > 1):
            shapes = {name: x.shape for name, x in clips.items()}
            raise InputError(f"Inputs must be of the same clips and steps. Received: {shapes}")

    def outputs(self, clips, batch_size=8):
        """What the model itself returns for a batch of clips that `scale` has scaled: dicts by name, in and out.

        For clips in their own range there is `predict(..., everything=True)`.
        """
        for name, shape in self.input_shapes.items():
            if any(size not in (None, n) for n, size in zip(clips[name].shape[1:], shape)):
                raise InputError(f"A clip must be {shape}. Received: {name}, shape={clips[name].shape[1:]}")
        return self._in_batches(self._run, clips, batch_size)


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def own_words(error):
    """The message of an error that Keras has wrapped in the call's arguments (it sets the original in bold)."""
    found = re.search(r"\x1b\[1m(.*?)\x1b\[0m", str(error), re.DOTALL)
    return found.group(1) if found else str(error)


def _from_keras(file):
    import keras

    import keras_st.models

    try:
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is not a whole model of this library. Received: {_first_line(error)}") from error
    kinds = ("ClipClassifier", "EncoderForecaster", "FrameMapper", "LagrangianForecaster", "TrackForecaster")
    if not isinstance(model, tuple(getattr(keras_st.models, kind) for kind in kinds)):
        raise InputError(f"{file} must hold a model of this library. Received: {type(model).__name__}")
    folder = file.parent
    features, recipe = _read_features(folder / "features.json"), _read_recipe(folder / "recipe.yaml")
    known = features is not None
    if isinstance(model, keras_st.models.ClipClassifier):
        if not known:
            features = [_guessed(stream, shape) for stream, shape in model.input_shapes.items()]
        classes = _read_task(folder / "features.json").get("classes") or [str(n) for n in range(model.num_classes)]
        shapes, run = model.input_shapes, _runner(model)
        return SavedClassifier(file, run, features, recipe, shapes, classes, model.multi_label, known, model)

    feature = features[0] if known else dataclasses.replace(VIDEO, shape=(None, None, None, model.channels))

    def forecast(clips, horizon):
        if isinstance(model, keras_st.models.LagrangianForecaster) and horizon == model.horizon_frames:
            if clips.shape[1] < model.context_frames:
                raise ValueError(f"The model reads {model.context_frames} fields. Received: shape={clips.shape}")
            return model.predict_on_batch({"video": clips})  # compiled: motion takes hundreds of small steps
        return _runner(model, horizon_frames=horizon)({"video": clips})

    return SavedForecaster(file, forecast, feature, recipe, model.horizon_frames, False, known)


def _runner(model, **options):
    import keras

    def run(inputs):
        outputs = model(inputs, **options)
        return {name: np.asarray(keras.ops.convert_to_numpy(x)) for name, x in outputs.items()}

    return run


def _guessed(stream, shape):
    """What a `.keras` file alone tells of an input."""
    if stream == "video":
        return dataclasses.replace(VIDEO, shape=(None, None, None, shape[-1]))
    return FeatureSpec(stream, "float32", shape)


def _from_served(folder):
    import keras_st.serving.load as served

    extra = folder / "assets.extra"
    features, recipe = _read_features(extra / "features.json"), _read_recipe(extra / "recipe.yaml")
    task = _read_task(extra / "features.json")
    if features is None:
        raise InputError(f"{folder} is not a whole served model. Received: no {extra.name}/features.json")
    if "horizon_frames" not in task and "classes" in task:
        if "multi_label" not in task:
            raise InputError(f"{folder} is of an older version: export it again. Received: no multi_label")
        run, input_shapes = served.classifier(folder, features)
        return SavedClassifier(folder, run, features, recipe, input_shapes, task["classes"], task["multi_label"])
    run, horizon = served.forecaster(folder, features[0])
    return SavedForecaster(folder, run, features[0], recipe, horizon, True)


def _read_task(path):
    """What a features.json says of the task, `classes` among it; empty where there is none."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _read_features(path):
    if not path.is_file():
        return None
    try:
        features = [_feature_spec(**fields) for fields in json.loads(path.read_text())["features"]]
        if not features:
            raise ValueError("it names no input")
        return features
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} is not the feature spec train.py wrote. Received: {_first_line(error)}") from error


def _feature_spec(shape, value_range, **fields):
    return FeatureSpec(shape=tuple(shape), value_range=value_range and tuple(value_range), **fields)


def _read_recipe(path):
    if not path.is_file():
        return None
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not the recipe train.py wrote. Received: {_first_line(error)}") from error
