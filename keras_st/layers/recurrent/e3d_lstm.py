"""Eidetic 3D LSTM (Wang et al., 2019): 3-D convolutions inside, and a recall of its own past states."""

import keras
from keras import ops

from keras_st.layers.recurrent.base import RecurrentConvCell
from keras_st.ops.axes import moved_up
from keras_st.ops.recall import recall

VARIANTS = ("paper", "released")
EMPTY_SLOTS = ("mask", "zeros")


@keras.saving.register_keras_serializable(package="keras_st")
class E3DLSTMCell(RecurrentConvCell):
    """One step of E3D-LSTM on maps with depth: (B, T, H, W, C), T the frames of a sliding window.

    Equations (`*` 3-D convolution, `.` elementwise, H the hidden state, M the memory that comes in, LN layer
    normalisation):
        r  = s(W_xr * X + W_hr * H)      i  = s(W_xi * X + W_hi * H)          g  = tanh(W_xg * X + W_hg * H)
        C' = i . g + LN(C + RECALL(r, the last `recall_steps` of C))
        i' = s(W'_xi * X + W_mi * M)     f' = s(W'_xf * X + W_mf * M + 1)     g' = tanh(W'_xg * X + W_mg * M)
        M' = i' . g' + f' . M
        o  = s(W_xo * X + W_ho * H + W_co * C' + W_mo * M')
        H' = o . tanh(W_1x1x1 * [C'; M'])
    `variant="released"` (google/e3d_lstm) differs in two lines, m_m being a fourth convolution of M:
        M' = i' . g' + f' . tanh(m_m)
        o  = s(tanh(W_xo * X + W_ho * H + W_co * C' + W_mo * M'))
    `eidetic_memory=True` recalls the memory too (ours: the paper's formula is not known), 𝓜 the last M' of this level:
        r' = s(W'_xr * X + W_mr * M)     M' = i' . g' + LN(M + RECALL(r', 𝓜))
    `keras_st.ops.recall.recall` is RECALL.

    Gate order: kernel r, i, g, i', f' (or r'), g', o; recurrent_kernel r, i, g, o; memory_kernel i', f', g' (released:
    then m_m). Without recall there is no r.
    Weights in order: kernel, recurrent_kernel, [bias], memory_kernel, output_kernel, fuse_kernel, [fuse_bias, and
    released: hidden_bias, memory_bias, output_bias], then gain and bias of every normalisation. With k the kernel's
    volume, D input channels and F filters: k F (7 D + 9 F) + 2 F^2 + 10 F, released k F (7 D + 10 F) + 2 F^2 + 50 F.

    State:
        hidden: (B, T, H, W, F).
        history: (B, recall_steps, T, H, W, F), the last C, newest last: C itself is history[:, -1]. A step moves it up
            by one; the order means nothing to RECALL.
        written: (B,) int32, how many of them there are so far, from 1: the zero state counts, as in the released code.
        memory_history: as history, of M (`eidetic_memory=True` only).
        memory: (B, T, H, W, F).
    All but `written` in the compute dtype and zero at first. Without recall: hidden, cell, memory.

    Args:
        filters, kernel_size, ...: see `RecurrentConvCell`; here rank 3, `padding="same"` and glorot initializers. As
            everywhere in TensorFlow, an even kernel pads after: with depth 2, slot 0 sees both slots and slot 1 itself.
        recall_steps: int. How many past states RECALL reads (the paper's tau; 5). 0: no recall. None: all steps of a
            sequence of known length (the released code).
        variant: "paper" or "released".
        update_memory: bool or None. False: M stays what it was, zero for ever, as the released code has it. None: True
            for "paper", False for "released".
        eidetic_memory: bool. Recall the memory as well; "paper" only.
        empty_slots: "mask" (states that are not there yet do not count) or "zeros" (they count as zeros).
        norm: bool. LN on C + RECALL: statistics over all axes but the batch, gain and bias per channel.
        gate_norm: bool or None. LN on the joined transforms of X, of H and of M. None: True for "released".
        norm_epsilon: float. 1e-5; the released code has 1e-12, which magnifies gradients of constant maps thousandfold.
        forget_bias: float. Added to f'.

    Raises:
        ValueError: values outside the above; `recall_steps=None` where the number of steps is not known.

    Reference: Y. Wang et al., "Eidetic 3D LSTM: A Model for Video Prediction and Beyond", ICLR 2019

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import E3DLSTMCell
        >>> cell = E3DLSTMCell(4, (2, 3, 3))
        >>> cell.build((None, 2, 8, 12, 1))
        >>> output, states = cell(np.ones((1, 2, 8, 12, 1), "float32"), cell.get_initial_state(1))
        >>> tuple(output.shape), tuple(states[1].shape)
        ((1, 2, 8, 12, 4), (1, 5, 2, 8, 12, 4))
    """

    def __init__(
        self,
        filters,
        kernel_size=(2, 5, 5),
        *,
        recall_steps=5,
        variant="paper",
        update_memory=None,
        eidetic_memory=False,
        empty_slots="mask",
        norm=True,
        gate_norm=None,
        norm_epsilon=1e-5,
        forget_bias=1.0,
        padding="same",
        recurrent_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(
            3, filters, kernel_size, padding=padding, recurrent_initializer=recurrent_initializer, **kwargs
        )
        for name, value, known in (("variant", variant, VARIANTS), ("empty_slots", empty_slots, EMPTY_SLOTS)):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")
        if recall_steps is not None and (type(recall_steps) is not int or recall_steps < 0):
            raise ValueError(f"`recall_steps` must be an int from 0, or None. Received: recall_steps={recall_steps!r}")
        if not norm_epsilon > 0:
            raise ValueError(f"`norm_epsilon` must be positive. Received: norm_epsilon={norm_epsilon}")
        if eidetic_memory and (variant != "paper" or recall_steps == 0):
            raise ValueError(
                '`eidetic_memory` needs variant="paper" and recall. '
                f"Received: variant={variant!r}, recall_steps={recall_steps}"
            )
        released = variant == "released"
        self.recall_steps = recall_steps
        self.variant = variant
        self.update_memory = not released if update_memory is None else update_memory
        self.eidetic_memory = eidetic_memory
        self.empty_slots = empty_slots
        self.norm = norm
        self.gate_norm = released if gate_norm is None else gate_norm
        self.norm_epsilon = norm_epsilon
        self.forget_bias = forget_bias

    @property
    def recalls(self):
        return self.recall_steps != 0

    @property
    def input_gates(self):
        return 6 + self.recalls

    @property
    def hidden_gates(self):
        return 3 + self.recalls

    @property
    def state_names(self):
        if not self.recalls:
            return ("hidden", "cell", "memory")
        return ("hidden", "history", "written", *["memory_history"] * self.eidetic_memory, "memory")

    # Weights

    def build(self, input_shape):
        super().build(input_shape)
        size, f, memory_gates = self._hidden_kernel_size, self.filters, 4 if self.variant == "released" else 3
        self.memory_kernel = self.add_kernel("memory_kernel", (*size, f, memory_gates * f))
        self.output_kernel = self.add_kernel("output_kernel", (*size, 2 * f, f))
        self.fuse_kernel = self.add_kernel("fuse_kernel", (1, 1, 1, 2 * f, f))
        self.biases = {}
        if self.use_bias:
            biases = {"fuse": 1}
            if self.variant == "released":  # a bias on each of its six convolutions; "output" has that of C' and of M'
                biases |= {"hidden": self.hidden_gates, "memory": 4, "output": 2}
            self.biases = {
                name: self.add_weight(
                    shape=(gates * f,),
                    initializer=self.bias_initializer,
                    regularizer=self.bias_regularizer,
                    constraint=self.bias_constraint,
                    name=f"{name}_bias",
                )
                for name, gates in biases.items()
            }
        if self.gate_norm:
            for name, gates in (("input", self.input_gates), ("hidden", self.hidden_gates), ("memory", memory_gates)):
                self.add_norm(name, gates, self.norm_epsilon)
        if self.norm:
            for name in ("cell", *["recalled_memory"] * self.eidetic_memory):
                self.add_norm(name, 1, self.norm_epsilon)

    def project(self, inputs):
        return self.normalised("input", super().project(inputs))

    def _gates(self, name, x):
        """The joined transform of H or of M, one tensor a gate: bias, normalisation, split."""
        if name in self.biases:
            x = x + ops.cast(self.biases[name], x.dtype)
        return ops.split(self.normalised(name, x), x.shape[-1] // self.filters, axis=-1)

    # One step

    def step(self, x, states, noise=None):
        h, history, *counted, m = states
        s, tanh, released = self.recurrent_activation, self.activation, self.variant == "released"
        *x_r, x_i, x_g, x_i2, x_f2, x_g2, x_o = ops.split(x, self.input_gates, axis=-1)
        *h_r, h_i, h_g, h_o = self._gates("hidden", self.hidden_conv(h, noise))
        m_i, m_f, m_g, *m_m = self._gates("memory", self.state_conv(m, self.memory_kernel))

        recalled = history  # without recall: C
        if self.recalls:
            written = counted[0]
            recalled = history[:, -1] + self._recall(s(x_r[0] + h_r[0]), history, written)
        c = s(x_i + h_i) * tanh(x_g + h_g) + self.normalised("cell", recalled)

        m_new = s(x_i2 + m_i) * tanh(x_g2 + m_g)
        if self.eidetic_memory:
            recalled = m + self._recall(s(x_f2 + m_f), counted[1], written)
            m_new = m_new + self.normalised("recalled_memory", recalled)
        else:
            m_new = m_new + s(x_f2 + m_f + self.forget_bias) * (tanh(m_m[0]) if released else m)

        both = ops.concatenate([c, m_new], axis=-1)
        o = x_o + h_o + self.state_conv(both, self.output_kernel)
        if "output" in self.biases:
            o = o + ops.cast(sum(ops.split(self.biases["output"], 2)), o.dtype)
        o = s(tanh(o)) if released else s(o)
        fused = ops.conv(both, ops.cast(self.fuse_kernel, both.dtype), 1, "same", "channels_last")
        if "fuse" in self.biases:
            fused = fused + ops.cast(self.biases["fuse"], fused.dtype)
        h = o * tanh(fused)

        if not self.recalls:
            return h, [h, c, m_new if self.update_memory else m]
        counted = [written + 1, *(moved_up(past, m_new) for past in counted[1:])]
        return h, [h, moved_up(history, c), *counted, m_new if self.update_memory else m]

    def _recall(self, query, history, written):
        slots = history.shape[1]
        return recall(query, history, ops.arange(slots) >= slots - written[:, None])

    # First states

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        h, *_ = states = super().get_initial_state(batch_size, spatial_shape)
        if not self.recalls:
            return states
        slots = num_steps if self.recall_steps is None else self.recall_steps
        if not isinstance(slots, int):
            raise ValueError(
                f"`recall_steps=None` recalls all steps, so their number must be known. Received: num_steps={num_steps}"
            )
        first = ops.full((batch_size,), slots if self.empty_slots == "zeros" else 1, dtype="int32")
        history = ops.zeros((batch_size, slots, *ops.shape(h)[1:]), dtype=h.dtype)
        return [h, history, first, *[history] * self.eidetic_memory, h]

    def compute_output_shape(self, input_shape, states_shape=None):
        output, states = super().compute_output_shape(input_shape)
        if self.recalls:
            history = (output[0], self.recall_steps, *output[1:])
            states = [output, history, (output[0],), *[history] * self.eidetic_memory, output]
        return output, states

    def get_config(self):
        config = super().get_config()
        del config["rank"]
        return config
