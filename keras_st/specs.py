"""What is predicted from what, and how it is trained: frozen dataclasses. Standard library only."""

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints


class InputError(ValueError):
    """What a user gave cannot be used. One line: the thing, what was expected, `Received: ...`.

    Command lines print it without a traceback and exit with code 2.
    """

    @classmethod
    def unknown(cls, kind, name, known):
        """The error for a name that does not exist, with the nearest one that does."""
        near = difflib.get_close_matches(str(name), list(known), 1)
        hint = f", did you mean {near[0]!r}?" if near else "."
        return cls(f"Unknown {kind}{hint} Known: {', '.join(sorted(known))}. Received: {kind}={name!r}")


class MissingExtra(InputError):
    """A package that an extra installs is not there."""


@dataclass(frozen=True)
class FeatureSpec:
    """One named tensor of a clip.

    Args:
        name: key in the element's dict ("video", "flow", ...).
        dtype: "uint8", "float32", ...
        shape: without batch; None where a size may vary. Video: (T, H, W, C).
        value_range: smallest and largest value, which a model sees as 0 and 1; None where unbounded.
        unit: of the values.
        encoding: how steps are stored in records, "jpeg", "png" or "raw"; empty where they are arrays.
        fps: steps a second that videos were brought to; None: as they came.
        missing: whether values may be missing: NaN.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    value_range: tuple[float, float] | None = None
    unit: str = ""
    encoding: str = ""
    fps: float | None = None
    missing: bool = False


PIXELS = ("video", "flow")  # streams that are resized, cropped and mirrored; all others are stored features
LENGTH = FeatureSpec("length", "int32", (), unit="steps")  # of a padded clip, beside its streams
VIDEO = FeatureSpec("video", "uint8", (None, None, None, None), (0.0, 255.0), "grey level")


@dataclass(frozen=True)
class ForecastTask:
    """Frames in, the frames that follow out, or maps of the same frames.

    Args:
        context_frames: frames the model sees.
        horizon_frames: frames it forecasts; 0: it maps every frame that it sees.
    """

    context_frames: int = 10
    horizon_frames: int = 10

    def __post_init__(self):
        _at_least(self, 1, "context_frames")
        _at_least(self, 0, "horizon_frames")


@dataclass(frozen=True)
class ClassifyTask:
    """Classes of a video, one or several, or of its frames.

    A model sees clips: frames sampled from a video, resized, cropped. Training draws one clip a video at random; a
    test scores `test_clips` x `test_crops` views of it and averages them.

    Args:
        clip_frames: frames of a clip. Videos that are too short start over (see `short`); where the data set pads them
            (YouTube-8M) frames of every video, which is taken whole.
        frame_stride: frames from one frame of a clip to the next.
        resize: height and width that frames are brought to, None: as they are.
        crop: height and width cut out of them (training: at random, test: the centre), None: all.
        flip: training mirrors half of the clips left to right. Not where left and right are classes.
        channels: of the frames of `video`; None: those of the data set (without one 3).
        test_clips: clips of a video at test, spread evenly.
        test_crops: 1 (the centre), 5 (corners and centre) or 10 (those and their mirror images).
        placement: of the test clips, "centre" (of equal segments of their starts) or "ends" (first and last clip touch
            the ends).
        average: what is averaged over views, "probabilities" or "logits".
        streams: what a model sees: "video", the optical "flow" stored beside it, or names of stored features.
        short: what videos shorter than a clip do: start over ("loop") or repeat their "last" frame.
        labels: one class for a "video", "several" for a video, or several for every one of its "frames".
    """

    clip_frames: int = 16
    frame_stride: int = 1
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    flip: bool = False
    channels: int | None = None
    test_clips: int = 1
    test_crops: Literal[1, 5, 10] = 1
    placement: Literal["centre", "ends"] = "centre"
    average: Literal["probabilities", "logits"] = "probabilities"
    streams: tuple[str, ...] = ("video",)
    short: Literal["loop", "last"] = "loop"
    labels: Literal["video", "several", "frames"] = "video"

    def __post_init__(self):
        _at_least(self, 1, "clip_frames", "frame_stride", "test_clips")
        _one_of_its_own(self, "test_crops", "placement", "average", "short", "labels")
        if not self.streams or len(set(self.streams)) < len(self.streams):
            raise InputError(f"`streams` must be names, each once. Received: streams={list(self.streams)}")
        for name in ("resize", "crop", "channels"):
            value = getattr(self, name)
            if value is not None and min(value if isinstance(value, tuple) else (value,)) < 1:
                raise InputError(f"`{name}` must be at least 1. Received: {name}={value}")
        if self.crop and self.resize and (self.crop[0] > self.resize[0] or self.crop[1] > self.resize[1]):
            raise InputError(f"`crop` must fit into `resize`. Received: crop={self.crop}, resize={self.resize}")
        if self.test_crops > 1 and not self.crop:
            raise InputError(
                "Several crops need a recipe with a crop (train with --task.crop=[height,width]). "
                f"Received: test_crops={self.test_crops}, crop=None"
            )

    @property
    def multi_label(self):
        """Whether classes do not exclude each other."""
        return self.labels != "video"

    @property
    def clip_shape(self):
        """(T, H, W, C) of the clips of the first stream, video or flow; None where the data set decides."""
        channels = 2 if self.streams[0] == "flow" else self.channels or 3
        return (self.clip_frames, *(self.crop or self.resize or (None, None)), channels)

    def fitted(self, features):
        """This task with the channels, and where neither crop nor resize says it the size, of pixels in `features`."""
        task, pixels = self, [spec for spec in features if spec.name in PIXELS]
        for spec in pixels:
            if spec.name == "video":
                task = dataclasses.replace(task, channels=spec.shape[-1])
        if pixels and not (task.resize or task.crop) and None not in pixels[0].shape[1:3]:
            task = dataclasses.replace(task, resize=pixels[0].shape[1:3])
        return task

    def clip_shapes(self, features):
        """`{name: shape}` of clips of these `FeatureSpec`s, None where a size varies."""
        size = self.crop or self.resize or (None, None)
        return {
            spec.name: (self.clip_frames, *(size if spec.name in PIXELS else spec.shape[1:-1]), spec.shape[-1])
            if len(spec.shape) > 1
            else spec.shape  # of whole videos
            for spec in features
        }


@dataclass(frozen=True)
class Rollout:
    """Which steps read the truth while training; see `keras_st.training.schedules`.

    Args:
        policy: "free" feeds the forecast on itself, "teacher" on the truth, "scheduled" on the truth ever less
            often, "reverse" also samples inside the context.
        start_rate: scheduled: probability of truth at step 0.
        changing_rate: scheduled: its fall per optimizer step.
        start_step: reverse: step at which the probabilities begin to move.
        stop_step: scheduled, reverse: step from which the forecast never reads the truth.
        alpha: reverse: time constant in steps.
    """

    policy: Literal["free", "teacher", "scheduled", "reverse"] = "free"
    start_rate: float = 1.0
    changing_rate: float = 2e-5
    start_step: int = 25_000
    stop_step: int = 50_000
    alpha: float = 5_000.0

    def __post_init__(self):
        _at_least(self, 0, "start_rate", "changing_rate", "start_step", "stop_step")
        if self.policy == "reverse" and not (self.stop_step > self.start_step and self.alpha > 0):
            raise InputError(
                "Reverse sampling needs `stop_step` above `start_step` and a positive `alpha`. "
                f"Received: start_step={self.start_step}, stop_step={self.stop_step}, alpha={self.alpha}"
            )


@dataclass(frozen=True)
class Training:
    """How weights are fitted.

    Args:
        epochs: passes over the training split (generators make new sequences in every one).
        batch_size: clips per optimizer step.
        optimizer: "adam", or "sgd" with a momentum of 0.9.
        learning_rate: highest rate; it rises linearly and then falls to 0 by a half cosine.
        weight_decay: share of every weight that a step of rate 1 takes off (decoupled), 0 for none.
        warmup_fraction: share of the steps in which the rate rises.
        clip_norm: largest global norm of the gradient, 0 for none.
        seed: of weights, clips and sampling.
    """

    epochs: int = 10
    batch_size: int = 16
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_fraction: float = 0.05
    clip_norm: float = 0.0
    seed: int = 0

    def __post_init__(self):
        _at_least(self, 1, "epochs", "batch_size")
        _one_of_its_own(self, "optimizer")
        _at_least(self, 0, "weight_decay", "warmup_fraction", "clip_norm", "seed")
        if self.warmup_fraction > 1:
            raise InputError(f"`warmup_fraction` must be at most 1. Received: warmup_fraction={self.warmup_fraction}")
        if not self.learning_rate > 0:
            raise InputError(f"`learning_rate` must be positive. Received: learning_rate={self.learning_rate}")


@dataclass(frozen=True)
class ForecastTraining(Training):
    """How the weights of a forecaster are fitted.

    Args:
        loss: name in `keras_st.training.losses.LOSSES`.
        forecast_weight: weight of the losses on frames beside a classifier's, at step 0 (E3D-LSTM's lambda(0)).
        forecast_weight_decay: its fall per optimizer step (epsilon).
        forecast_weight_floor: its smallest value (eta), 0 or more.
        context_loss_weight: weight of the one-step predictions inside the context, 0 for none.
        decoupling_weight: weight of the model's decoupling term (PredRNN-V2: 0.1), 0 for none.
        reverse_input: every batch is followed by itself reversed in time, a step of its own (PredRNN).
        rollout: which steps read the truth.
        **kwargs: see `Training`.
    """

    loss: Literal[
        "mse",
        "l1_l2",
        "l1_l2_sum",
        "binary_crossentropy",
        "weighted_binary_crossentropy",
        "balanced",
        "relative",
    ] = "mse"
    forecast_weight: float = 1.0
    forecast_weight_decay: float = 0.0
    forecast_weight_floor: float = 0.0
    context_loss_weight: float = 0.0
    decoupling_weight: float = 0.0
    reverse_input: bool = False
    rollout: Rollout = field(default_factory=Rollout)

    def __post_init__(self):
        super().__post_init__()
        _at_least(self, 0, "context_loss_weight", "decoupling_weight")
        _at_least(self, 0, "forecast_weight_decay", "forecast_weight_floor")
        _at_least(self, self.forecast_weight_floor, "forecast_weight")


@dataclass(frozen=True)
class Recipe:
    """Everything one training run needs.

    Args:
        system: name in `keras_st.systems.SYSTEMS`.
        builder: function `(task, **model) -> keras.Model`; its signature types the options in `model`.
        task: what is predicted.
        data: `name` of the data set in `pipelines` and its options.
        model: options of the builder.
        training: how weights are fitted; `ForecastTraining` of a forecaster.
        small: what `tiny` replaces, as `{"model": {...}, "data": {...}, "task": {...}}`; data of another name replace
            all of `data`.
    """

    system: str
    builder: Callable = field(repr=False)
    task: ForecastTask | ClassifyTask = field(default_factory=ForecastTask)
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    small: dict[str, dict[str, Any]] = field(default_factory=dict)

    def build(self, **overrides):
        """The model, untrained; `overrides` replace entries of `model`."""
        return self.builder(self.task, **{**self.model, **overrides})

    def tiny(self):
        """The same recipe at a size for tests: seconds, not minutes."""
        data = self.small.get("data", {})
        return dataclasses.replace(
            self,
            task=dataclasses.replace(self.task, **self.small.get("task", {})),
            data=data if "name" in data else {**self.data, **data},
            model={**self.model, **self.small.get("model", {})},
            training=dataclasses.replace(self.training, epochs=1, batch_size=4),
        )

    def as_dict(self):
        """Plain values for YAML and JSON."""
        return {
            "system": self.system,
            "task": dataclasses.asdict(self.task),
            "data": dict(self.data),
            "model": dict(self.model),
            "training": dataclasses.asdict(self.training),
        }


def every_nth(own, wanted, tolerance=0.0):
    """Which frames of a step `own` give a step `wanted`, in one unit: every n-th, 0 where none do.

    n own = wanted, to a millionth; of n = 1 a share `tolerance` of `wanted` may be between them.
    """
    if not own > 0:
        return 0
    n = max(round(wanted / own), 1)
    return n if abs(n * own - wanted) <= max(tolerance * wanted if n == 1 else 0, 1e-6) else 0


def _one_of_its_own(options, *names):
    """Checks fields typed `Literal[...]`: command lines do it by type, Python does not."""
    types = get_type_hints(type(options))
    for name in names:
        known = get_args(types[name])
        if getattr(options, name) not in known:
            raise InputError(f"`{name}` must be one of {known}. Received: {name}={getattr(options, name)!r}")


def _at_least(options, least, *names):
    for name in names:
        if getattr(options, name) < least:
            raise InputError(f"`{name}` must be at least {least}. Received: {name}={getattr(options, name)}")
