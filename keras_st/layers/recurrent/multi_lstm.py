"""MultiLSTM (Yeung et al., 2015): an LSTM that attends to its last inputs and labels several frames at every step."""

import keras
from keras import initializers, layers, ops

from keras_st.layers.attention import SequenceAttention
from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.recurrent.conv_lstm import PeepholeLSTMCell
from keras_st.layers.streaming import NotCausal
from keras_st.ops.attention import masked_softmax
from keras_st.ops.axes import moved_up

AVERAGES = ("logits", "probabilities")


@keras.saving.register_keras_serializable(package="keras_st")
class MultiLSTMCell(ConfigFromArguments, layers.Layer):
    """One step of an LSTM whose input is a weighted sum of the last N inputs.

    Equations (v_t inputs, j = 0..N-1 steps back, `.` elementwise):
        e_{t,j} = w . (tanh(h_{t-1} Wh) . tanh(v_{t-j} Wv))
        a_t = softmax_j(e_{t,j}) over j <= t        1 / min(N, t + 1) with attention=False (the paper's LSTM + i)
        x_t = sum_j a_{t,j} v_{t-j}                 h_t, c_t = LSTM(x_t, h_{t-1}, c_{t-1}), gates i, f, c, o
    With w = 0 the input is a moving average, with N = 1 the cell is an LSTM.

    State: hidden, cell (B, units); window (B, N, D + A): the last inputs beside their part of the scores, newest last;
    seen (B,): how many of them are there. Zeros at first.
    Output: `[h_t (B, units), a_t (B, N)]`, a_{t,0} the weight of the current input.

    Args:
        units: int.
        window: int. N (15 in the paper, from memory of it).
        attention: bool. False: uniform weights.
        attention_units: int or None. A; None: `units`.
        unit_forget_bias: bool. The forget bias starts at 1.
        kernel_initializer: of all kernels but the recurrent one.

    Reference: S. Yeung et al., "Every Moment Counts: Dense Detailed Labeling of Actions in Complex Videos", IJCV 2018
    """

    state_names = ("hidden", "cell", "window", "seen")
    num_outputs = 2
    rank = 0

    def __init__(
        self,
        units,
        window=15,
        attention=True,
        attention_units=None,
        unit_forget_bias=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("units", units)
        check_positive("window", window)
        if attention_units is not None:
            check_positive("attention_units", attention_units)
        if attention_units is not None and not attention:
            raise ValueError(f"`attention_units` needs attention. Received: attention_units={attention_units}")
        self.units, self.window, self.attention, self.attention_units = units, window, attention, attention_units
        self.unit_forget_bias = unit_forget_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.lstm = PeepholeLSTMCell(
            units,
            peephole=None,
            unit_forget_bias=unit_forget_bias,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="lstm",
        )
        self.scorer = None
        if attention:
            options = {"kernel_initializer": self.kernel_initializer, "dtype": self.dtype_policy, "name": "attention"}
            self.scorer = SequenceAttention("gated", attention_units or units, **options)

    @property
    def filters(self):
        return self.units

    def build(self, input_shape):
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(f"`MultiLSTMCell` reads vectors (B, D), D known. Received: input_shape={input_shape}")
        self.input_size = input_shape[-1]
        self.lstm.build(tuple(input_shape))
        if self.scorer is not None:
            self.scorer.build((None, self.units), (None, self.input_size))
        self.built = True

    def project_sequence(self, inputs, noise=None):
        """The inputs beside their part of the scores: what the window remembers."""
        return inputs if self.scorer is None else ops.concatenate([inputs, self.scorer.key_part(inputs)], axis=-1)

    def step(self, x, states, noise=None):
        h, c, window, seen = states
        window, seen = moved_up(window, x), ops.minimum(seen + 1, self.window)
        values, keys = window[..., : self.input_size], window[..., self.input_size :]
        back = ops.arange(self.window - 1, -1, -1, dtype=seen.dtype)  # steps back of every entry
        scores = ops.zeros_like(window[..., 0])
        if self.scorer is not None:
            scores = self.scorer.joined(self.scorer.query_part(h)[:, None], keys)
        weights = masked_softmax(scores, back < seen[:, None])
        x = ops.sum(weights[..., None] * values, axis=1)
        h, (_, c) = self.lstm.step(self.lstm.project_sequence(x[None])[0], [h, c])
        return [h, ops.flip(weights, axis=1)], [h, c, window, seen]

    def call(self, inputs, states, training=None):
        return self.step(self.project_sequence(inputs[None])[0], states)

    def run(self, inputs, states, noise=None, from_zero=False):
        """None: every step needs the one before."""

    def sample_noise(self, inputs, states):
        """None: the cell has no dropout of its own."""

    @property
    def _remembered(self):
        return self.input_size + (0 if self.scorer is None else self.scorer.units)

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        window = ops.zeros((batch_size, self.window, self._remembered), dtype=self.compute_dtype)
        return [*self.lstm.get_initial_state(batch_size), window, ops.zeros((batch_size,), dtype=self.compute_dtype)]

    def get_initial_output(self, batch_size, spatial_shape=None):
        weights = ops.zeros((batch_size, self.window), dtype=self.compute_dtype)
        return [self.lstm.get_initial_output(batch_size), weights]

    def compute_output_shape(self, input_shape, states_shape=None):
        batch, hidden = input_shape[0], (input_shape[0], self.units)
        states = [hidden, hidden, (batch, self.window, self._remembered), (batch,)]
        return [hidden, (batch, self.window)], states


@keras.saving.register_keras_serializable(package="keras_st")
class OverlapAverage(ConfigFromArguments, layers.Layer):
    """Predictions for the last N frames, made at every step, averaged for every frame.

    Equation: row j of O_t is the prediction for frame t - j;
        y_tau = sum_j O_{tau+j, j} / (number of j with tau + j < T)
    Frame tau needs the outputs up to tau + N - 1.

    Args:
        window: int. N.
        average: "logits", or "probabilities": the log odds of the mean of their sigmoids.
        online: bool. Row 0 alone: what is known at the frame itself.

    Call args: float (B, T, N K), row by row; mask bool (B, T): steps that count. Returns: float (B, T, K), logits.
    """

    def __init__(self, window, average="logits", online=False, **kwargs):
        super().__init__(**kwargs)
        check_positive("window", window)
        if average not in AVERAGES:
            raise ValueError(f"`average` must be one of {AVERAGES}. Received: average={average!r}")
        if online and average != "logits":
            raise ValueError(f"`online` averages nothing. Received: online=True, average={average!r}")
        self.window, self.average, self.online = window, average, online
        self.supports_masking = True

    def call(self, inputs, mask=None):
        self.compute_output_shape(inputs.shape)
        batch, length = ops.shape(inputs)[:2]
        rows = ops.reshape(inputs, (batch, length, self.window, inputs.shape[-1] // self.window))
        if self.online:
            return rows[:, :, 0]
        if self.average == "probabilities":
            # in half precision 1 - 1e-6 would be 1
            rows = ops.sigmoid(ops.cast(rows, keras.backend.result_type(rows.dtype, "float32")))
        counts = ops.ones((batch, length), rows.dtype) if mask is None else ops.cast(mask, rows.dtype)
        later = self.window - 1
        counts, rows = ops.pad(counts, [[0, 0], [0, later]]), ops.pad(rows, [[0, 0], [0, later], [0, 0], [0, 0]])
        total, number = 0.0, 0.0
        for j in range(self.window):
            count = counts[:, j : j + length, None]
            total, number = total + count * rows[:, j : j + length, j], number + count
        mean = total / ops.maximum(number, 1.0)
        if self.average == "logits":
            return mean
        mean = ops.clip(mean, 1e-6, 1 - 1e-6)
        return ops.cast(ops.log(mean) - ops.log(1 - mean), inputs.dtype)

    def stream(self, inputs, stream):
        """The frame's logits as they are known at it; see `keras_st.layers.streaming`."""
        if self.window > 1 and not self.online:
            raise NotCausal(f"`{self.name}` averages over later steps unless it is `online`. Received: online=False")
        return self(inputs)

    def compute_output_shape(self, input_shape):
        if input_shape[-1] % self.window:
            raise ValueError(
                f"The last axis must be a multiple of window={self.window}. Received: shape={tuple(input_shape)}"
            )
        return (*input_shape[:-1], input_shape[-1] // self.window)
