"""Convolutional LSTM (Shi et al., 2015): the cell and its 1D, 2D and 3D layers."""

import keras
from keras import activations, initializers, ops

from keras_st.backend import conv_recurrence, sigmoid_gradient, tanh_gradient
from keras_st.layers.deformable import OffsetPredictor, check_groups
from keras_st.layers.recurrent.base import RecurrentConvCell
from keras_st.layers.recurrent.spatial_rnn import ConvRNN
from keras_st.ops.deformable import deformable_conv

PEEPHOLES = (None, "channel", "full")
DEFORMS = (None, "input", "state", "both", "aligned")


@keras.saving.register_keras_serializable(package="keras_st")
class ConvLSTMCell(RecurrentConvCell):
    """One step of a convolutional LSTM, with or without peepholes.

    Equations (Shi 2015, eq. 3; `*` convolution, `.` elementwise):
        A   = W_x * X_t + W_h * H_{t-1} + b              split into i, f, c, o
        i_t = s(A_i + w_ci . C_{t-1})                    s: recurrent_activation
        f_t = s(A_f + w_cf . C_{t-1})
        C_t = f_t . C_{t-1} + i_t . tanh(A_c)            tanh: activation
        o_t = s(A_o + w_co . C_t)                        C_t, not C_{t-1}
        H_t = o_t . tanh(C_t)

    Gate order: i, f, c, o (as Keras). Weights in order: kernel, recurrent_kernel, bias, peephole_kernel
    (gates i, f, o), so that the weights of `keras.layers.ConvLSTM2D` copy over with `set_weights`.

    State: hidden, cell: (B, *spatial, filters), compute dtype, zeros.

    Args:
        rank, filters, kernel_size, ...: see `RecurrentConvCell`.
        unit_forget_bias: bool. The forget bias starts at 1, whatever `bias_initializer` says (as Keras).
        peephole: None (Keras), "channel" (one weight per channel, what Shi 2015 used according to its
            parameter counts) or "full" (one per position and channel: needs a static spatial size and breaks
            translation equivariance). They start at zero.
        gate_mode: "conv" (above), or "pooled": gates i, f, o from W_g mean(X) + U_g mean(H), one value per channel, and
            convolutions for the candidate only (Zhang et al., NeurIPS 2018, variant a). Its kernels have `filters`
            outputs; gate_kernel and recurrent_gate_kernel (C or filters, 3 filters; gates i, f, o) follow the bias.
        norm: bool. Layer normalisation of W_x * X + b and of W_h * H: statistics over all axes but the batch, gain and
            bias per channel.

    Raises:
        ValueError: unknown `peephole`; `peephole="full"` with an unknown spatial size.

    Differs: Shi 2015 states no forget bias; 1 is the custom since Jozefowicz et al. 2015.

    Reference: X. Shi et al., "Convolutional LSTM Network: A Machine Learning Approach for Precipitation
    Nowcasting", NeurIPS 2015, https://arxiv.org/abs/1506.04214

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import ConvLSTMCell
        >>> cell = ConvLSTMCell(2, filters=4, kernel_size=3, padding="same")
        >>> cell.build((None, 8, 10, 1))
        >>> output, states = cell(np.ones((2, 8, 10, 1), "float32"), cell.get_initial_state(2))
        >>> tuple(output.shape), len(states)
        ((2, 8, 10, 4), 2)
    """

    state_names: tuple[str, ...] = ("hidden", "cell")
    input_gates = 4
    hidden_gates = 4
    # What `run` does in one: a subclass that changes any of it runs step by step.
    PARTS = ("step", "gates", "project", "project_sequence", "hidden_conv", "input_conv", "state_conv", "dropped")

    def __init__(
        self,
        rank,
        filters,
        kernel_size,
        *args,
        unit_forget_bias=True,
        peephole=None,
        gate_mode="conv",
        norm=False,
        **kwargs,
    ):
        super().__init__(rank, filters, kernel_size, *args, **kwargs)
        if peephole not in PEEPHOLES:
            raise ValueError(f"`peephole` must be one of {PEEPHOLES}. Received: peephole={peephole!r}")
        if gate_mode not in ("conv", "pooled"):
            raise ValueError(f'`gate_mode` must be "conv" or "pooled". Received: gate_mode={gate_mode!r}')
        if gate_mode == "pooled" and not (rank and self.use_input):
            raise ValueError(
                f'gate_mode="pooled" needs maps and an input. Received: rank={rank}, use_input={self.use_input}'
            )
        self.unit_forget_bias = unit_forget_bias
        self.peephole = peephole
        self.gate_mode = gate_mode
        self.norm = norm

    @property
    def convolved_gates(self):
        return (4, 4) if self.gate_mode == "conv" else (1, 1)  # pooled: the candidate alone

    def build(self, input_shape):
        super().build(input_shape)
        if self.gate_mode == "pooled":
            gates = 3 * self.filters
            self.gate_kernel = self.add_kernel("gate_kernel", (input_shape[-1], gates))
            self.recurrent_gate_kernel = self.add_kernel("recurrent_gate_kernel", (self.filters, gates), "recurrent")
        if self.norm:
            self.add_norm("input", 4)
            self.add_norm("hidden", 4)
        self.peephole_kernel = None
        if self.peephole:
            self.peephole_kernel = self.add_weight(
                shape=self._peephole_shape(input_shape), initializer="zeros", name="peephole_kernel"
            )

    def _peephole_shape(self, input_shape):
        if self.peephole == "channel":
            return (3 * self.filters,)
        if self._static_spatial is None:
            raise ValueError(
                f'`peephole="full"` needs a static spatial size. Received: input_shape={tuple(input_shape)}'
            )
        return (*self._state_spatial(self._static_spatial), 3 * self.filters)

    def first_bias(self, shape, dtype=None):
        bias = super().first_bias(shape, dtype)
        if not self.unit_forget_bias:
            return bias
        f = self.filters
        return ops.concatenate([bias[:f], initializers.Ones()((f,), dtype=dtype), bias[2 * f :]])

    def input_conv(self, x, kernel):
        return self._with_pooled_gates(super().input_conv(x, kernel), x, "gate_kernel")

    def state_conv(self, x, kernel):
        return self._with_pooled_gates(super().state_conv(x, kernel), x, "recurrent_gate_kernel")

    def _with_pooled_gates(self, candidate, x, name):
        """The convolved candidate beside gates i, f, o from the map's mean, the same at every position."""
        if self.gate_mode == "conv":
            return candidate
        pooled = ops.mean(x, axis=tuple(range(1, self.rank + 1)), keepdims=True)
        gates = ops.matmul(pooled, getattr(self, name))
        i, f, o = ops.split(ops.broadcast_to(gates, (*ops.shape(candidate)[:-1], 3 * self.filters)), 3, axis=-1)
        return ops.concatenate([i, f, candidate, o], axis=-1)

    def project(self, inputs):
        return self.normalised("input", super().project(inputs))

    def step(self, x, states, noise=None):
        h, c = states
        h, c, _ = self.gates(x + self.normalised("hidden", self.hidden_conv(h, noise)), c)
        return h, [h, c]

    def gates(self, a, c):
        """H_t, C_t and the gates [i, f, g, o] from the joined transform A and C_{t-1}."""
        i, f, g, o = ops.split(a, 4, axis=-1)
        w_ci, w_cf, w_co = self._peepholes(c)
        i = self._gate(i, w_ci, c)
        f = self._gate(f, w_cf, c)
        g = self.activation(g)
        c = f * c + i * g
        o = self._gate(o, w_co, c)
        return o * self.activation(c), c, [i, f, g, o]

    def run(self, inputs, states, noise=None, from_zero=False):
        """The whole sequence (B, T, *spatial, C) with a gradient of its own: `(outputs, last output, last states)`.

        None where the backend has none, or where this cell is not the plain one it is written for.
        """
        one_conv = (
            self.kernel_size == self._hidden_kernel_size
            and self.dilation_rate == self.recurrent_dilation_rate
            and max(self.strides, default=0) == 1
            and self.padding == "same"
        )
        plain = self.peephole is None and self.gate_mode == "conv" and not self.norm and noise is None
        usual = self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
        own_parts = all(getattr(type(self), part) is getattr(ConvLSTMCell, part) for part in ConvLSTMCell.PARTS)
        if not (one_conv and plain and usual and own_parts):
            return None
        dtype, recurrent_kernel = self.compute_dtype, ops.cast(self.recurrent_kernel, self.compute_dtype)
        if self.use_input:
            kernel = ops.cast(self.kernel, dtype)
        else:
            inputs, kernel = inputs[..., :0], recurrent_kernel[..., :0, :]
        bias = ops.zeros((4 * self.filters,), dtype) if self.bias is None else ops.cast(self.bias, dtype)
        weights = kernel, recurrent_kernel, bias, from_zero
        done = conv_recurrence(self.state_conv, self.gates, _gates_gradient, inputs, *states, *weights)
        if done is None:
            return None
        outputs, h, c = done
        return outputs, h, [h, c]

    def _peepholes(self, c):
        if self.peephole_kernel is None:
            return None, None, None
        known = tuple(self.peephole_kernel.shape[:-1])
        if self.peephole == "full" and any(n not in (None, k) for n, k in zip(c.shape[1:-1], known)):
            raise ValueError(f'peephole="full" was built for maps of {known}. Received: {tuple(c.shape[1:-1])}')
        return ops.split(ops.cast(self.peephole_kernel, c.dtype), 3, axis=-1)

    def _gate(self, a, peephole, c):
        return self.recurrent_activation(a if peephole is None else a + peephole * c)


def _gates_gradient(gates, c_before, c, dh, dc):
    """Of `ConvLSTMCell.gates` without peepholes, with H_t: `(dA, dC_{t-1}, H_t)`.

    C_t = f . C_{t-1} + i . g, H_t = o . tanh(C_t)
    """
    i, f, g, o = gates
    tanh_c = ops.tanh(c)
    dc = dc + tanh_gradient(tanh_c, dh * o)
    da = [
        sigmoid_gradient(i, dc * g),
        sigmoid_gradient(f, dc * c_before),
        tanh_gradient(g, dc * i),
        sigmoid_gradient(o, dh * tanh_c),
    ]
    return ops.concatenate(da, axis=-1), dc * f, o * tanh_c


@keras.saving.register_keras_serializable(package="keras_st")
class DeformableConvLSTMCell(ConvLSTMCell):
    """ConvLSTM whose convolutions read where predicted offsets send them; `ConvLSTM2D(..., deform=...)` uses it.

    Equations: with D(., W; u) a deformable convolution whose offsets (and modulation) are predicted from u,
        deform="input"    A = D(X_t, W_x; [X_t; H]) + W_h * H + b
        deform="state"    A = W_x * X_t + D(H, W_h; [X_t; H]) + b
        deform="both"     A = D(X_t, W_x; [X_t; H]) + D(H, W_h; [X_t; H]) + b          H, C: the states before the step
        deform="aligned"  H^a = D(H, W_ah; [H; X_t]), C^a = D(C, W_ac; [C; X_t]), then ConvLSTM on (X_t, H^a, C^a)
    then gates as `ConvLSTMCell`. Predictors start at zero. "state" without an input (`use_input=False`)
    predicts from H.

    Weights: those of `ConvLSTMCell`; "aligned" adds align_hidden_kernel and align_cell_kernel (k, k, F, F); then each
    predictor's offset_kernel and offset_bias.

    Args:
        filters, kernel_size, ...: see `ConvLSTMCell`; rank 2, stride and dilation 1, padding "same".
        deform: "input", "state", "both" or "aligned".
        deform_groups: int. Groups of channels with offsets of their own.
        deform_modulation: see `OffsetPredictor`. With "2sigmoid" or None the start is exactly a ConvLSTM (all but
            "aligned").

    Differs: the aligned form's published network predicts offsets with a three-level pyramid; here a convolution does.

    Reference: J. Dai et al., ICCV 2017; X. Zhu et al., CVPR 2019;
    X. Xiang et al., "Zooming Slow-Mo", CVPR 2020 (aligned)
    """

    def __init__(
        self,
        rank,
        filters,
        kernel_size,
        *args,
        deform="both",
        deform_groups=1,
        deform_modulation="sigmoid",
        padding="same",
        **kwargs,
    ):
        super().__init__(rank, filters, kernel_size, *args, padding=padding, **kwargs)
        if deform not in DEFORMS[1:]:
            raise ValueError(f"`deform` must be one of {DEFORMS}. Received: deform={deform!r}")
        geometry = (*self.strides, *self.dilation_rate, *self.recurrent_dilation_rate)
        fed = self.use_input or deform == "state"
        if rank != 2 or self.padding != "same" or max(geometry) > 1 or self.gate_mode != "conv" or not fed:
            raise ValueError(
                "`deform` needs rank 2, stride and dilation 1, padding 'same', convolved gates and, all but 'state', "
                "an input. "
                f"Received: rank={rank}, strides={self.strides}, dilation_rate={self.dilation_rate}, "
                f"recurrent_dilation_rate={self.recurrent_dilation_rate}, padding={self.padding!r}, "
                f"gate_mode={self.gate_mode!r}, use_input={self.use_input}"
            )
        self.deform = deform
        self.deform_groups = deform_groups
        self.deform_modulation = deform_modulation
        sizes = {"input": self.kernel_size, "state": self._hidden_kernel_size, "cell": self._hidden_kernel_size}
        used = {"both": ("input", "state"), "aligned": ("state", "cell")}.get(deform, (deform,))
        self.predictors = {
            name: OffsetPredictor(sizes[name], deform_groups, deform_modulation, dtype=self.dtype_policy, name=name)
            for name in used
        }

    def build(self, input_shape):
        super().build(input_shape)
        for channels in {input_shape[-1] if name == "input" else self.filters for name in self.predictors}:
            check_groups(channels, self.deform_groups)
        if self.deform == "aligned":
            for name in ("align_hidden_kernel", "align_cell_kernel"):
                shape = (*self._hidden_kernel_size, self.filters, self.filters)
                setattr(self, name, self.add_kernel(name, shape, "recurrent"))
        for predictor in self.predictors.values():
            predictor.build((*input_shape[:-1], self.use_input * input_shape[-1] + self.filters))

    def _deformed(self, name, x, kernel, seen):
        offsets, modulation = self.predictors[name](seen)
        return deformable_conv(x, ops.cast(kernel, x.dtype), offsets, modulation, self.deform_groups)

    def project(self, inputs):
        """The input beside its transform (which a deformed input convolution needs the state for)."""
        if "input" in self.predictors:
            return inputs
        x = super().project(inputs)
        return ops.concatenate([x, inputs], axis=-1) if self.use_input else x

    def step(self, x, states, noise=None):
        h, c = self.dropped(states[0], noise), states[1]
        if "input" in self.predictors:
            seen = ops.concatenate([x, h], axis=-1)
            x_gates = self._deformed("input", x, self.kernel, seen)
            x_gates = x_gates if self.bias is None else x_gates + ops.cast(self.bias, x_gates.dtype)
            x_gates = self.normalised("input", x_gates)
        else:
            x_gates, x = x[..., : 4 * self.filters], x[..., 4 * self.filters :]
            seen = ops.concatenate([x, h], axis=-1) if self.use_input else h
        if self.deform == "aligned":
            seen_hidden, seen_cell = (ops.concatenate([state, x], axis=-1) for state in (h, c))
            h = self._deformed("state", h, self.align_hidden_kernel, seen_hidden)
            c = self._deformed("cell", c, self.align_cell_kernel, seen_cell)
        if self.deform in ("state", "both"):
            h_gates = self._deformed("state", h, self.recurrent_kernel, seen)
        else:
            h_gates = self.hidden_conv(h)
        h, c, _ = self.gates(x_gates + self.normalised("hidden", h_gates), c)
        return h, [h, c]


@keras.saving.register_keras_serializable(package="keras_st")
class PeepholeLSTMCell(ConvLSTMCell):
    """One step of the fully connected LSTM with diagonal peepholes (FC-LSTM), on vectors.

    Equations: those of `ConvLSTMCell` with matrix products for convolutions; a peephole weight per unit.
    Weights in order: kernel (D, 4 units), recurrent_kernel (units, 4 units), bias, peephole_kernel (3 units).

    State: hidden, cell: (B, units), compute dtype, zeros. Run it with `SpatialRNN` on (B, T, D).

    Args:
        units: int. Size of the state.
        peephole: "channel" or None; without it the cell is `keras.layers.LSTMCell`.
        others: those of `ConvLSTMCell` that have no geometry (activations, initializers, dropout, ...).

    Reference: A. Graves, "Generating Sequences With Recurrent Neural Networks", 2013, as used by Shi et al. 2015.
    """

    GEOMETRY = (
        "strides",
        "padding",
        "dilation_rate",
        "recurrent_kernel_size",
        "recurrent_dilation_rate",
        "data_format",
    )

    def __init__(self, units, peephole="channel", **kwargs):
        for name in (*self.GEOMETRY, "filters", "kernel_size"):
            if name in kwargs:
                raise ValueError(f"`PeepholeLSTMCell` works on vectors. Received: {name}={kwargs[name]}")
        if peephole == "full":
            raise ValueError('`peephole` must be "channel" or None. Received: peephole="full"')
        super().__init__(0, units, 1, peephole=peephole, **kwargs)

    @property
    def units(self):
        return self.filters

    def get_config(self):
        config = super().get_config()
        for name in (*self.GEOMETRY, "rank", "filters", "kernel_size"):
            del config[name]
        return config


class ConvLSTM(ConvRNN):
    """Convolutional LSTM over a sequence of maps; use `ConvLSTM1D`, `ConvLSTM2D` or `ConvLSTM3D`.

    `ConvLSTMCell` has the equations, the gate order and the cell's arguments; `SpatialRNN` has
    `return_sequences`, `return_state`, `go_backwards`, `stateful`, `unroll`, `zero_output_for_mask`, masks and
    states. The arguments of `keras.layers.ConvLSTM1D/2D/3D` mean the same here, but for `data_format` (channels last
    only) and dropout (one mask for all gates); their weights copy over with `set_weights`.
    `deform` (2D only) takes `DeformableConvLSTMCell` for the cell, with its arguments; padding is then "same".

    Call args: float (B, T, *spatial, C); `mask` bool (B, T); `initial_state` [hidden, cell].
    Returns: (B, T, *spatial, filters), the last step only unless `return_sequences`; then the states, if
    `return_state`.

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import ConvLSTM2D
        >>> clips = np.zeros((2, 5, 8, 10, 3), "float32")
        >>> tuple(ConvLSTM2D(4, 3, padding="same", return_sequences=True)(clips).shape)
        (2, 5, 8, 10, 4)
    """

    cell_class = ConvLSTMCell

    def __init__(self, filters, kernel_size, *cell_args, deform=None, **kwargs):
        if deform is not None:
            self.cell_class = DeformableConvLSTMCell
            kwargs["deform"] = deform
        super().__init__(filters, kernel_size, *cell_args, **kwargs)

    @property
    def deform(self):
        return getattr(self.cell, "deform", None)


@keras.saving.register_keras_serializable(package="keras_st")
class ConvLSTM1D(ConvLSTM):
    """`ConvLSTM` over (B, T, W, C)."""

    rank = 1


@keras.saving.register_keras_serializable(package="keras_st")
class ConvLSTM2D(ConvLSTM):
    """`ConvLSTM` over (B, T, H, W, C)."""

    rank = 2


@keras.saving.register_keras_serializable(package="keras_st")
class ConvLSTM3D(ConvLSTM):
    """`ConvLSTM` over (B, T, D, H, W, C)."""

    rank = 3
