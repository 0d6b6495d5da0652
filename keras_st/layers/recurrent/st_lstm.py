"""Spatio-temporal LSTM (Wang et al., 2017): a second memory that climbs the stack."""

import keras
from keras import ops

from keras_st.layers.recurrent.base import RecurrentConvCell


@keras.saving.register_keras_serializable(package="keras_st")
class STLSTMCell(RecurrentConvCell):
    """One step of PredRNN's spatio-temporal LSTM.

    Equations (`*` convolution, `.` elementwise; M the memory that comes in):
        i  = s(W_xi * X + W_hi * H)      f  = s(W_xf * X + W_hf * H + 1)      g  = tanh(W_xg * X + W_hg * H)
        C' = f . C + i . g
        i' = s(W'_xi * X + W_mi * M)     f' = s(W'_xf * X + W_mf * M + 1)     g' = tanh(W'_xg * X + W_mg * M)
        M' = f' . M + i' . g'
        o  = s(W_xo * X + W_ho * H + W_co * C' + W_mo * M')
        H' = o . tanh(W_1x1 * [C'; M'])

    Gate order: kernel i, f, g, i', f', g', o; recurrent_kernel i, f, g, o; memory_kernel i', f', g'.
    Weights in order: kernel, recurrent_kernel, [bias], memory_kernel, output_kernel, fuse_kernel.

    State: hidden, cell, memory: (B, *spatial, filters), compute dtype, zeros. Alone, the cell keeps its memory from
    step to step; in a `ZigZagStack` the memory is shared by all levels.

    Args:
        rank, filters, kernel_size, ...: see `RecurrentConvCell`; here `use_bias=False` and `padding="same"`.
        forget_bias: float. Added to f and f' (1, as the released code).
        norm: bool. Layer normalisation after every k x k convolution: statistics over all axes but the batch, gain and
            bias per channel (`keras.layers.GroupNormalization(groups=1)`). Off in the released PyTorch code.

    Differs: the paper's equations have biases, the released code none; `use_bias=True` gives the seven of the input
    transform.

    Reference: Y. Wang et al., "PredRNN: Recurrent Neural Networks for Predictive Learning using Spatiotemporal LSTMs",
    NeurIPS 2017
    """

    state_names = ("hidden", "cell", "memory")
    input_gates = 7
    hidden_gates = 4

    def __init__(
        self, rank, filters, kernel_size, *, use_bias=False, padding="same", forget_bias=1.0, norm=False, **kwargs
    ):
        super().__init__(rank, filters, kernel_size, use_bias=use_bias, padding=padding, **kwargs)
        self.forget_bias = forget_bias
        self.norm = norm

    def build(self, input_shape):
        super().build(input_shape)
        size, f = self._hidden_kernel_size, self.filters
        for name, shape in (
            ("memory_kernel", (*size, f, 3 * f)),
            ("output_kernel", (*size, 2 * f, f)),
            ("fuse_kernel", (*(1,) * self.rank, 2 * f, f)),
        ):
            setattr(self, name, self.add_kernel(name, shape))
        if self.norm:
            for name, gates in (("input", 7), ("hidden", 4), ("memory", 3), ("output", 1)):
                self.add_norm(name, gates)

    def project(self, inputs):
        return self.normalised("input", super().project(inputs))

    def step(self, x, states, noise=None):
        states, _ = self.update(x, states, noise)
        return states[0], states

    def update(self, x, states, noise=None):
        """New states, and what the step adds to C and to M before forgetting: `[h, c, m], (i . g, i' . g')`."""
        h, c, m = states
        s, tanh = self.recurrent_activation, self.activation
        x_i, x_f, x_g, x_i2, x_f2, x_g2, x_o = ops.split(x, 7, axis=-1)
        h_i, h_f, h_g, h_o = ops.split(self.normalised("hidden", self.hidden_conv(h, noise)), 4, axis=-1)
        m_i, m_f, m_g = ops.split(self.normalised("memory", self.state_conv(m, self.memory_kernel)), 3, axis=-1)
        c_new, m_new = s(x_i + h_i) * tanh(x_g + h_g), s(x_i2 + m_i) * tanh(x_g2 + m_g)
        c = s(x_f + h_f + self.forget_bias) * c + c_new
        m = s(x_f2 + m_f + self.forget_bias) * m + m_new
        both = ops.concatenate([c, m], axis=-1)
        o = s(x_o + h_o + self.normalised("output", self.state_conv(both, self.output_kernel)))
        h = o * tanh(ops.conv(both, self.fuse_kernel, 1, "same", data_format="channels_last"))
        return [h, c, m], (c_new, m_new)
