"""Skeleton B: frame encoder, stacked cells, frame decoder, and the rollout that feeds predictions back."""

import keras
from keras import layers, ops

from keras_st.backend import scan
from keras_st.layers.config import ConfigFromArguments, with_dtype_of
from keras_st.layers.recurrent.attention_stack import AttentionStack
from keras_st.layers.recurrent.base import RecurrentConvCell, check_positive
from keras_st.layers.recurrent.sliding_window import SlidingWindowStack
from keras_st.layers.recurrent.spatial_rnn import SpatialRNN
from keras_st.layers.recurrent.stack import CellStack
from keras_st.layers.streaming import NotCausal
from keras_st.ops.axes import check_divisible, depth_to_space, merge_leading, space_to_depth, split_leading

FORECASTERS = ("shared", "conditioned", "unconditioned")
READOUTS = ("all", "last")


@keras.saving.register_keras_serializable(package="keras_st")
class EncoderForecaster(ConfigFromArguments, keras.Model):
    """Reads the frames of a context and forecasts the frames that follow.

    Context frames are folded into patches and run through the stacked cells. The forecast is then one of
      - "shared": the same cells run on, each step reading the frame predicted before it;
      - "conditioned": a second stack starts from the encoder's last states and reads predictions likewise;
      - "unconditioned": a second stack starts from those states and reads nothing (Shi et al. 2015).
    At every step the decoder maps the hidden states to a frame. The forecast of an `AttentionStack` looks back, at
    every step, at the hidden states that the encoder's top level had in the context (sequence to sequence with
    attention).

    Training may replace predictions that are fed back by the truth: see the inputs `future` and `*_flags`.
    Dropout masks of the cells are drawn once for the context and once for the forecast.
    No policy, no schedule and no random number lives in the model; `keras_st.training.schedules` makes flags.

    Inputs (dict):
        video: float (B, T, H, W, C), the context, any T >= 1; H and W multiples of `patch`.
        future: float (B, S, H, W, C), optional. The true frames after the context (read where a flag says so).
        future_flags: float (B, S-1), optional. 1: step k+1 of the forecast reads true frame k, 0: the prediction.
        context_flags: float (B, T-1), optional, "shared" only. The same for the steps inside the context.

    Returns (dict):
        frames: float32 (B, S, H, W, C), S = `horizon_frames`.
        context_frames: float32 (B, T-1, H, W, C), the predictions of context frames 1 to T-1
            (`predict_context=True` only).
        decoupling: float32 (B,), the mean over all steps of the term D of a `ZigZagStack` (`decoupling=True` only).

    Args:
        cells: list of cells, lowest first; or a `CellStack`, `ZigZagStack` or other stack of cells. The encoder runs
            the plain cells of an `AttentionStack`.
        horizon_frames: int. Frames to forecast where a call does not say.
        forecaster: "shared", "conditioned" or "unconditioned".
        patch: int. Side of the square of pixels folded into channels.
        readout: "all" (decoder reads every level's hidden state) or "last".
        activation: of the decoder; "sigmoid" keeps frames in 0..1.
        predict_context: bool, "shared" only. Also return the one-step predictions inside the context.

    Call args: `horizon_frames`: int, overrides the constructor's.

    Differs: Shi et al. do not say whether the forecaster's lowest level comes first or last; here it is first.

    Reference: X. Shi et al., "Convolutional LSTM Network", NeurIPS 2015, section 3.2 and figure 3.

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import ConvLSTMCell
        >>> from keras_st.models import encoder_forecaster
        >>> model = encoder_forecaster([ConvLSTMCell(2, 4, 3, padding="same")], horizon_frames=5, patch=2)
        >>> tuple(model({"video": np.zeros((1, 3, 8, 12, 1), "float32")})["frames"].shape)
        (1, 5, 8, 12, 1)
    """

    def __init__(
        self,
        cells,
        horizon_frames=10,
        forecaster="shared",
        patch=1,
        readout="all",
        activation="sigmoid",
        predict_context=False,
        **kwargs,
    ):
        if not isinstance(cells, (CellStack, list, tuple)):
            raise ValueError(f"`cells` must be a list of cells or a stack. Received: {type(cells).__name__}")
        if not isinstance(cells, CellStack) and not all(isinstance(cell, RecurrentConvCell) for cell in cells):
            kinds = [type(cell).__name__ for cell in cells]
            raise ValueError(f"`cells` must be cells of `keras_st.layers`, or one stack of them. Received: {kinds}")
        stack = cells if isinstance(cells, CellStack) else CellStack(cells)
        super().__init__(**with_dtype_of([stack], kwargs))
        for name, value, known in (("forecaster", forecaster, FORECASTERS), ("readout", readout, READOUTS)):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")
        if predict_context and forecaster != "shared":
            raise ValueError(f'`predict_context` needs forecaster="shared". Received: forecaster={forecaster!r}')
        check_positive("horizon_frames", horizon_frames)
        check_positive("patch", patch)
        self.cells = cells if isinstance(cells, CellStack) else list(cells)
        if predict_context and readout == "all" and not stack.independent_levels:
            raise ValueError(
                f'`predict_context` of a `{type(stack).__name__}` needs readout="last". Received: readout={readout!r}'
            )
        self.horizon_frames = horizon_frames
        self.forecaster = forecaster
        self.patch = patch
        self.readout = readout
        self.activation = activation
        self.predict_context = predict_context
        for cell in stack.cells:
            _check_keeps_size(cell)
        self.decoupling = getattr(stack, "decoupling", False)
        self.remembers = isinstance(stack, AttentionStack)
        if self.remembers and forecaster == "shared":
            raise ValueError(
                'An `AttentionStack` looks back at the encoder, so `forecaster` is "conditioned" or "unconditioned". '
                'Received: forecaster="shared"'
            )
        if isinstance(stack, SlidingWindowStack) and forecaster != "shared":
            raise ValueError(
                'A `SlidingWindowStack` reads its own predictions after the frames, so `forecaster` is "shared". '
                f"Received: forecaster={forecaster!r}"
            )
        levels = stack.cells if self.remembers else _levels(stack)
        all_steps = predict_context or self.remembers
        self.encoder = [
            SpatialRNN(level, return_sequences=all_steps or level is not levels[-1], return_state=True)
            for level in levels
        ]
        if forecaster == "shared":
            self.forecaster_stack = stack
        else:
            fed = forecaster == "conditioned" or (self.remembers and stack.position == "input")
            own = [_copy(cell, use_input=fed or n > 0) for n, cell in enumerate(stack.cells)]
            self.forecaster_stack = stack.with_cells(own)
        self.forecaster_layers = []  # an unfed stack of independent levels runs level by level
        if forecaster == "unconditioned" and stack.independent_levels:
            self.forecaster_layers = [SpatialRNN(cell, return_sequences=True) for cell in self.forecaster_stack.cells]

    observes = 0  # how many tensors `observe` keeps
    reads_missing = False  # whether NaN may stand for a missing value

    @property
    def input_shapes(self):
        """`{"video": (T, H, W, C)}` that it takes, None where a size may vary."""
        fixed = any(getattr(cell, "peephole", None) == "full" for cell in self.forecaster_stack.cells)
        return {"video": (None, *(self._built_size if fixed else (None, None)), self.channels)}

    @property
    def input_names(self):
        """Names of the inputs this form reads."""
        names = {"video"}
        if self.forecaster != "unconditioned":
            names |= {"future", "future_flags"}
        return names | {"context_flags"} if self.forecaster == "shared" else names

    def build(self, input_shape):
        batch, _, height, width, self.channels = _video_shape(input_shape)
        check_divisible(height, width, self.patch)
        self._built_size = height, width
        height, width = (size and size // self.patch for size in (height, width))
        shape = (batch, None, height, width, self.patch**2 * self.channels)
        frame = (batch, *shape[2:])
        for layer in self.encoder:
            layer.build(shape)
            step, _ = layer.cell.compute_output_shape((batch, *shape[2:]))
            shape = (batch, None, *step[1:])
        if not self.forecaster_stack.built:
            self.forecaster_stack.build((*frame[:-1], 0) if self.forecaster == "unconditioned" else frame)
        below = frame
        for layer in self.forecaster_layers:
            layer.build((batch, None, *below[1:]))
            below, _ = layer.cell.compute_output_shape(below)
        read = self.forecaster_stack.map_channels
        read = sum(read) if self.readout == "all" else read[-1]
        self.decoder = layers.Conv2D(
            frame[-1],
            1,
            activation=self.activation,
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="decoder",
        )
        self.decoder.build((batch, *shape[2:-1], read))
        self.built = True

    def call(self, inputs, training=None, horizon_frames=None, stream=None):
        if stream is not None:
            return self._streamed(inputs, stream, horizon_frames)
        horizon = self.horizon_frames if horizon_frames is None else horizon_frames
        check_positive("horizon_frames", horizon)
        _video_shape({name: tuple(x.shape) for name, x in inputs.items()} if isinstance(inputs, dict) else inputs)
        if not self.input_names >= set(inputs):
            raise ValueError(
                f"A {self.forecaster} forecaster takes {sorted(self.input_names)}. Received: {sorted(inputs)}"
            )
        video, future, flags = self._fold(inputs["video"]), None, inputs.get("future_flags")
        if flags is not None:
            _check_steps("future_flags", flags, horizon - 1)
            _check_steps("future", inputs["future"], horizon)
            future = self._fold(inputs["future"])[:, : horizon - 1]
        observed = []
        if "context_flags" in inputs or self.observes:
            (seen, *observed), states = self._read_step_by_step(video, inputs.get("context_flags"), training)
        else:
            seen, states = self._read(video, training)
        frames, states, observed = self._forecast(video, seen, states, observed, horizon, future, flags, training)
        outputs = {"frames": self._unfold(frames), **self.outputs_of(observed, training)}
        if self.predict_context:
            outputs["context_frames"] = self._unfold(seen[:, :-1])
        if self.decoupling:
            steps = ops.shape(video)[1] + horizon - (self.forecaster == "shared")
            total = states[self.forecaster_stack.state_names.index("decoupling")]
            outputs["decoupling"] = ops.cast(total, "float32") / ops.cast(steps, "float32")
        return outputs

    def stream(self, inputs, stream, horizon_frames=None):
        """The forecast after one more frame, `video` (B, 1, H, W, C); see `keras_st.layers.streaming`.

        Returns: `frames`, and what a subclass adds, as a call on all frames so far would.
        """
        return self(inputs, horizon_frames=horizon_frames, stream=stream)  # a call, so that weights get its precision

    def _streamed(self, inputs, stream, horizon_frames):
        horizon = self.horizon_frames if horizon_frames is None else horizon_frames
        check_positive("horizon_frames", horizon)
        if self.remembers:
            raise NotCausal("An attention over all frames seen keeps ever more of them. Received: a stream of frames")
        video, observed = self._fold(inputs["video"]), []
        if self.observes:
            stack, (batch, _, *spatial, _) = self.forecaster_stack, ops.shape(video)
            states = stream.take(list(stack.get_initial_state(batch, tuple(spatial))))
            (_, *observed), states = self._feed_back(video[:, 0], states, None, None, 1, False)
            stream.keep(states)
        else:
            before, frame = len(stream.last), video
            for layer in self.encoder:
                frame = layer.stream(frame, stream)
            states = stream.last[before:]
        seen = self._decode(self._hidden(states)) if self.forecaster == "shared" else None
        frames, _, observed = self._forecast(video, seen, states, observed, horizon)
        return {"frames": self._unfold(frames), **self.outputs_of(observed, False, stream)}

    def _forecast(self, video, seen, states, observed, horizon, future=None, flags=None, training=False):
        """Folded frames (B, S, h, w, P) after the context, the last states, what `observe` kept of all steps.

        `seen` is the prediction that the last frame of the context gave, of a "shared" forecaster.
        """
        if self.forecaster_layers:
            return self._run_unfed(video, states, horizon, training), states, observed
        if self.forecaster == "unconditioned":
            (frames,), states = self._feed_back(video[:, -1], states, None, None, horizon, training)
        elif self.forecaster == "conditioned":
            if flags is not None:  # the first step reads the last observed frame whatever the flags say
                flags, future = _prepend_zeros(flags), _prepend_zeros(future)
            (frames,), states = self._feed_back(video[:, -1], states, future, flags, horizon, training)
        else:
            (frames, *more), states = self._feed_back(seen[:, -1], states, future, flags, horizon - 1, training)
            frames = ops.concatenate([seen[:, -1:], frames], axis=1)
            observed = [ops.concatenate(parts, axis=1) for parts in zip(observed, more)]
        return frames, states, observed

    def _read(self, video, training):
        """Known frames, level by level: next-frame predictions (the last only unless asked) and states."""
        sequence, states, hidden = video, [], []
        for layer in self.encoder:
            sequence, *own = layer(sequence, training=training)
            states += own
            hidden.append(sequence)
        if self.remembers:
            states.append(sequence)
        if self.forecaster != "shared":
            return None, states
        return self._decode(hidden if self.predict_context else self._hidden(states)), states

    def observe(self, states):
        """What a subclass keeps of every step's states beside the frame: a list of (B, ...); see `outputs_of`."""
        return []

    def outputs_of(self, observed, training, stream=None):
        """A subclass's further outputs, from what `observe` kept of all steps (B, T - 1 + S, ...).

        In a `stream` these are the step of the newest frame and those of the forecast, (B, S, ...).
        """
        return {}

    def _read_step_by_step(self, video, flags, training):
        """The context in the loop of the forecast, so that a step may read a prediction in place of its frame."""
        batch, length, *spatial = ops.shape(video)[:-1]
        states = self.forecaster_stack.get_initial_state(batch, tuple(spatial))
        flags = ops.ones((batch, length - 1), dtype=video.dtype) if flags is None else flags
        truth, flags = _prepend_zeros(video[:, 1:]), _prepend_zeros(flags)
        return self._feed_back(video[:, 0], states, truth, flags, length, training)

    def _run_unfed(self, video, states, horizon, training):
        """The forecast of a stack that reads nothing, level by level."""
        batch, _, height, width, _ = ops.shape(video)
        sequence, hidden = ops.zeros((batch, horizon, height, width, 0), dtype=video.dtype), []
        for layer in self.forecaster_layers:
            own, states = states[: len(layer.cell.state_names)], states[len(layer.cell.state_names) :]
            sequence = layer(sequence, initial_state=own, training=training)
            hidden.append(sequence)
        return self._decode(hidden)

    def _feed_back(self, prediction, states, truth, flags, length, training):
        """`length` steps, each reading the last prediction, or the truth where its flag is 1; nothing if unconditioned.

        prediction (B, h, w, P); truth (B, length, h, w, P) and flags (B, length), or both None.
        Returns `[predictions (B, length, h, w, P), *what observe kept of each step (B, length, ...)]` and the last
        states.
        """
        stack = self.forecaster_stack
        width = 0 if self.forecaster == "unconditioned" else None
        noise = stack.sample_noise(prediction[..., :width], states) if training else None
        xs = []
        if flags is not None:
            flags = ops.cast(ops.swapaxes(flags, 0, 1), prediction.dtype)[:, :, None, None, None]
            xs = [ops.swapaxes(truth, 0, 1), flags]

        def step(carry, xs):
            frame, *states = carry
            if xs:
                truth, flag = xs
                frame = flag * truth + (1 - flag) * frame
            x = stack.project_sequence(frame[None, ..., :width], noise)[0]
            _, states = stack.step(x, states, noise)
            frame = self._decode(self._hidden(states))[:, 0]
            return [frame, *states], [frame, *self.observe(states)]

        if isinstance(length, int) and length == 0:
            return [x[:, None][:, :0] for x in (prediction, *self.observe(states))], states
        (_, *states), kept = scan(step, [prediction, *states], xs, length, [prediction, *self.observe(states)])
        return [ops.swapaxes(x, 0, 1) for x in kept], states

    def _hidden(self, states):
        """Every level's hidden state, the first of its own, as a sequence of one step."""
        return [hidden[:, None] for hidden in self.forecaster_stack.hidden_maps(states)]

    def _decode(self, hidden):
        """Hidden maps of every level (B, T, h, w, F) to folded frames (B, T, h, w, P)."""
        hidden = ops.concatenate(hidden, axis=-1) if self.readout == "all" else hidden[-1]
        batch, length = ops.shape(hidden)[:2]
        return split_leading(self.decoder(merge_leading(hidden)), batch, length)

    def _fold(self, video):
        return space_to_depth(ops.cast(video, self.compute_dtype), self.patch)

    def _unfold(self, frames):
        return ops.cast(depth_to_space(frames, self.patch), "float32")

    def compute_output_shape(self, input_shape):
        batch, length, *frame = _video_shape(input_shape)
        shapes = {"frames": (batch, self.horizon_frames, *frame)}
        if self.predict_context:
            shapes["context_frames"] = (batch, None if length is None else length - 1, *frame)
        if self.decoupling:
            shapes["decoupling"] = (batch,)
        return shapes

    @classmethod
    def from_config(cls, config, custom_objects=None):
        cells = keras.saving.deserialize_keras_object(config["cells"], custom_objects)
        return cls(**{**config, "cells": cells})


def encoder_forecaster(cells, **kwargs):
    """`EncoderForecaster(cells, **kwargs)`: frames of a context in, the frames that follow out."""
    return EncoderForecaster(cells, **kwargs)


def _levels(stack):
    """What runs one after the other over a known sequence: the cells, or the stack where they depend on each other."""
    return stack.cells if stack.independent_levels else [stack]


def _copy(cell, use_input):
    """A new cell of the same kind with its own weights; without an input kernel where `use_input` is False."""
    config = {**cell.get_config(), "name": f"{cell.name}_forecaster"}
    if not use_input:
        config["use_input"] = False
    return type(cell).from_config(config)


def _prepend_zeros(x):
    return ops.pad(x, [(0, 0), (1, 0), *[(0, 0)] * (len(x.shape) - 2)])


def _video_shape(shapes):
    """The shape of `video` among the named input shapes, checked."""
    if not isinstance(shapes, dict) or "video" not in shapes:
        got = sorted(shapes) if isinstance(shapes, dict) else type(shapes).__name__
        raise ValueError(f'The inputs must be a dict with a tensor "video". Received: {got}')
    shape = tuple(shapes["video"])
    if len(shape) != 5:
        raise ValueError(f"`video` must be (B, T, H, W, C). Received: shape={shape}")
    if shape[1] == 0:
        raise ValueError(f"`video` must hold at least one frame. Received: shape={shape}")
    if ("future_flags" in shapes) != ("future" in shapes):
        raise ValueError(f"`future` and `future_flags` go together. Received: {sorted(shapes)}")
    return shape


def _check_steps(name, x, steps):
    if x.shape[1] not in (None, steps):
        raise ValueError(f"`{name}` must have {steps} steps at this horizon. Received: shape={tuple(x.shape)}")


def _check_keeps_size(cell):
    shape = (1, *(64,) * cell.rank, 1)
    if tuple(cell.compute_output_shape(shape)[0][1:-1]) != shape[1:-1]:
        raise ValueError(
            'Cells must keep the size of a map (stride 1, padding="same"). '
            f"Received: strides={cell.strides}, padding={cell.padding!r}"
        )
