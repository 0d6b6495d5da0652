"""Trained models from disk, whatever form they have there, behind one method: `predict`."""

import dataclasses
import json
import pathlib
import re
import zipfile

import numpy as np

from keras_st.metrics.classify import softmax
from keras_st.specs import VIDEO, FeatureSpec, InputError


def load(path):
    """A trained model from a run folder, a `.keras` file or a served version folder.

    Returns: `SavedForecaster` or `SavedClassifier`: `predict(clip)`, `feature`, `recipe` (dict or None) and `path`.

    Raises: InputError: nothing there, or nothing that can be loaded.
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return _from_served(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file() or file.suffix != ".keras":
        raise InputError(
            "Expected a run folder with model.keras, a .keras file or a served version folder with saved_model.pb. "
            f"Received: {path}"
        )
    return _from_keras(file)


class SavedModel:
    """A trained model that takes clips given as arrays.

    Attributes:
        feature: `FeatureSpec` of the clips it takes; 8-bit video where nothing beside the model says (then
            `feature_is_known` is False).
        recipe: dict of the recipe it was trained with, or None.
    """

    def __init__(self, path, run, feature, recipe, feature_is_known=True):
        self.path, self._run, self.feature, self.recipe = path, run, feature, recipe
        self.feature_is_known = feature_is_known

    @property
    def is_video(self):
        """Whether the clips are 8-bit video; else they are fields, in a unit of their own."""
        return self.feature.dtype == "uint8"

    @property
    def value_range(self):
        """What the model sees as 0 and 1."""
        return self.feature.value_range or (0.0, 1.0)

    def scale(self, clip):
        """A clip in the feature's own range as float32 0..1, checked: dtype, rank, channels, range, finite.

        Fields, in the feature's unit, may leave the range that training saw, and then 0..1.
        """
        clip = np.asarray(clip)
        channels = self.feature.shape[-1]
        if clip.ndim not in (4, 5) or clip.shape[-1] != channels or 0 in clip.shape:
            raise InputError(f"A clip must be (T, H, W, {channels}), or a batch of them. Received: shape={clip.shape}")
        if not self.is_video:
            if clip.dtype.kind not in "uif" or not np.isfinite(clip).all():
                raise InputError(f"A clip must hold finite numbers. Received: dtype={clip.dtype}")
            low, high = self.value_range
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
        try:
            parts = [run(clips[n : n + batch_size]) for n in range(0, len(clips), batch_size)]
        except ValueError as error:  # the model's own word on sizes it cannot take
            raise InputError(_own_words(error)) from error
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class SavedForecaster(SavedModel):
    """A trained model that forecasts frames.

    Attributes:
        horizon_frames: frames it forecasts when not told.
    """

    def __init__(self, path, run, feature, recipe, horizon_frames, horizon_is_fixed, feature_is_known=True):
        super().__init__(path, run, feature, recipe, feature_is_known)
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
        if horizon < 1:
            raise InputError(f"The horizon must be at least 1 frame. Received: horizon={horizon}")
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
        clip_shape: (T, H, W, C) that it takes, None where it varies.
        classes: names of the classes in the order of its scores; numbers where nothing beside the model says.
        model: the Keras model; None of a served folder.
    """

    def __init__(self, path, run, feature, recipe, clip_shape, classes, feature_is_known=True, model=None):
        super().__init__(path, run, feature, recipe, feature_is_known)
        self.clip_shape, self.classes, self.model = clip_shape, classes, model

    def predict(self, clip, batch_size=8):
        """Probabilities of the classes of a clip.

        Args:
            clip: uint8 0..255 or float 0..1 (fields: in their unit), (T, H, W, C) or (B, T, H, W, C), sampled and
                sized as in training (`evaluate.py PATH --input` does both for a video of any length and size).
            batch_size: clips at a time.

        Returns: float32 (classes,), with a batch axis where the clip has one.
        """
        clips = self.scale(clip)
        logits = self.logits(clips if clips.ndim == 5 else clips[None], batch_size)
        probabilities = softmax(logits)
        return probabilities if clips.ndim == 5 else probabilities[0]

    def logits(self, clips, batch_size=8):
        """Scores float32 (B, classes) of scaled clips, float32 0..1 (B, T, H, W, C)."""
        wrong = [n for n, size in zip(clips.shape[1:], self.clip_shape) if size not in (None, n)]
        if wrong:
            raise InputError(f"A clip must be {self.clip_shape} (T, H, W, C). Received: shape={clips.shape[1:]}")
        return self._in_batches(self._run, clips, batch_size)["logits"]


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def _own_words(error):
    """The message of an error that Keras has wrapped in the call's arguments (it sets the original in bold)."""
    found = re.search(r"\x1b\[1m(.*?)\x1b\[0m", str(error), re.DOTALL)
    return found.group(1) if found else str(error)


def _from_keras(file):
    import keras

    import keras_st.models

    try:
        model = keras.saving.load_model(file, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is not a whole model of this library. Received: {_first_line(error)}") from error
    if not isinstance(model, (keras_st.models.EncoderForecaster, keras_st.models.ClipClassifier)):
        raise InputError(f"{file} must hold a model of this library. Received: {type(model).__name__}")
    folder = file.parent
    feature, recipe = _read_feature(folder / "features.json"), _read_recipe(folder / "recipe.yaml")
    known = feature is not None
    name = getattr(model, "stream", "video")
    feature = feature or dataclasses.replace(VIDEO, name=name, shape=(None, None, None, model.channels))

    def run(clips, *horizon):
        outputs = model({name: clips}, **({"horizon_frames": horizon[0]} if horizon else {}))
        return {name: np.asarray(keras.ops.convert_to_numpy(x)) for name, x in outputs.items()}

    if isinstance(model, keras_st.models.ClipClassifier):
        classes = read_classes(folder / "features.json") or [str(n) for n in range(model.num_classes)]
        return SavedClassifier(file, run, feature, recipe, model.clip_shape, classes, known, model)
    return SavedForecaster(file, run, feature, recipe, model.horizon_frames, False, known)


def _from_served(folder):
    import keras_st.serving.load as served

    extra = folder / "assets.extra"
    feature, recipe = _read_feature(extra / "features.json"), _read_recipe(extra / "recipe.yaml")
    classes = read_classes(extra / "features.json")
    if classes is not None:
        run, clip_shape = served.classifier(folder, feature)
        return SavedClassifier(folder, run, feature, recipe, clip_shape, classes)
    run, horizon = served.forecaster(folder, feature)
    return SavedForecaster(folder, run, feature, recipe, horizon, True)


def read_classes(path):
    """Names of the classes in a features.json, None where it has none."""
    try:
        return json.loads(path.read_text()).get("classes")
    except (OSError, ValueError):
        return None


def _read_feature(path):
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text())["features"][0]
        value_range = fields["value_range"] and tuple(fields["value_range"])
        return FeatureSpec(**{**fields, "shape": tuple(fields["shape"]), "value_range": value_range})
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} is not the feature spec train.py wrote. Received: {_first_line(error)}") from error


def _read_recipe(path):
    if not path.is_file():
        return None
    import yaml

    return yaml.safe_load(path.read_text())
