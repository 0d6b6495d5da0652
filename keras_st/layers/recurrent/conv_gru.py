"""Convolutional GRU (Ballas et al., 2016) and its stacked form with a lower level's state."""

import keras
from keras import ops

from keras_st.layers.recurrent.base import RecurrentConvCell
from keras_st.layers.recurrent.spatial_rnn import ConvRNN


@keras.saving.register_keras_serializable(package="keras_st")
class ConvGRUCell(RecurrentConvCell):
    """One step of a convolutional GRU (GRU-RCN), optionally reading the level below (stacked GRU-RCN).

    Equations (Ballas 2016; `*` convolution, `.` elementwise, l the level):
        z_t = s(W_z * x_t + [W_z,low * P(h_t^{l-1})] + U_z * h_{t-1})          s: recurrent_activation
        r_t = s(W_r * x_t + [W_r,low * P(h_t^{l-1})] + U_r * h_{t-1})
        g_t = tanh(W * x_t + U * (r_t . h_{t-1}))                             tanh: activation
        h_t = (1 - z_t) . h_{t-1} + z_t . g_t
    The lower level's *current* state enters z and r only: the third equation has no such term. P, a pooling to this
    level's size, is the caller's: the last `lower_filters` channels of the input are P(h_t^{l-1}).

    Gate order: z, r, candidate, as `keras.layers.GRU`. Weights in order: kernel, recurrent_kernel, bias, lower_kernel.

    State: hidden (B, *spatial, filters), compute dtype, zeros.

    Args:
        rank, filters, kernel_size, ...: see `RecurrentConvCell`. The paper has no biases: `use_bias=False`.
        update_gate: "new" (above, Ballas 2016: z weighs the new value) or "old" (Keras, HKO-7: z weighs the old one).
        reset_after: bool. False: U * (r . h), as above; True: r . (U * h), which is one convolution a step.
        lower_filters: int. How many channels of the input, the last ones, are the level below; 0: none.
        lower_in_candidate: bool. Also feed the level below to the candidate (ours, not the paper's).

    Differs: `reset_after=True` has no bias of its own inside the reset, unlike `keras.layers.GRU`.

    Reference: N. Ballas et al., "Delving Deeper into Convolutional Networks for Learning Video Representations",
    ICLR 2016, https://arxiv.org/abs/1511.06432
    """

    input_gates = 3
    hidden_gates = 3

    def __init__(
        self,
        rank,
        filters,
        kernel_size,
        *args,
        update_gate="new",
        reset_after=False,
        lower_filters=0,
        lower_in_candidate=False,
        **kwargs,
    ):
        super().__init__(rank, filters, kernel_size, *args, **kwargs)
        if update_gate not in ("new", "old"):
            raise ValueError(f'`update_gate` must be "new" or "old". Received: update_gate={update_gate!r}')
        if not isinstance(lower_filters, int) or lower_filters < 0:
            raise ValueError(f"`lower_filters` must be an int of at least 0. Received: lower_filters={lower_filters}")
        if lower_filters and not self.use_input:
            raise ValueError(
                f"`lower_filters` needs an input. Received: lower_filters={lower_filters}, use_input=False"
            )
        if lower_in_candidate and not lower_filters:
            raise ValueError("`lower_in_candidate` needs `lower_filters`. Received: lower_filters=0")
        self.update_gate = update_gate
        self.reset_after = reset_after
        self.lower_filters = lower_filters
        self.lower_in_candidate = lower_in_candidate

    def build(self, input_shape):
        *rest, channels = input_shape
        if self.lower_filters and channels is not None and channels <= self.lower_filters:
            raise ValueError(
                f"The input must have more than lower_filters={self.lower_filters} channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        super().build((*rest, channels and channels - self.lower_filters))
        if self.lower_filters:
            gates = 3 if self.lower_in_candidate else 2
            shape = (*self.kernel_size, self.lower_filters, gates * self.filters)
            self.lower_kernel = self.add_kernel("lower_kernel", shape)

    def project(self, inputs):
        if not self.lower_filters:
            return super().project(inputs)
        own, lower = inputs[..., : -self.lower_filters], inputs[..., -self.lower_filters :]
        x = super().project(own)
        low = self.input_conv(lower, self.lower_kernel)
        if not self.lower_in_candidate:
            low = ops.concatenate([low, ops.zeros_like(x[..., 2 * self.filters :])], axis=-1)
        return x + low

    def step(self, x, states, noise=None):
        (h,) = states
        z, r, g = ops.split(x, 3, axis=-1)
        if self.reset_after:
            u_z, u_r, u_g = ops.split(self.hidden_conv(h, noise), 3, axis=-1)
        else:
            u_z, u_r = ops.split(self.hidden_conv(h, noise, slice(0, 2)), 2, axis=-1)
        z = self.recurrent_activation(z + u_z)
        r = self.recurrent_activation(r + u_r)
        u_g = r * u_g if self.reset_after else self.hidden_conv(r * h, noise, slice(2, None))
        g = self.activation(g + u_g)
        h = (1 - z) * h + z * g if self.update_gate == "new" else z * h + (1 - z) * g
        return h, [h]


class ConvGRU(ConvRNN):
    """Convolutional GRU over a sequence of maps; use `ConvGRU1D`, `ConvGRU2D` or `ConvGRU3D`.

    `ConvGRUCell` has the equations and the cell's arguments; `SpatialRNN` has `return_sequences`, `return_state`,
    `go_backwards`, `stateful`, `unroll`, `zero_output_for_mask`, masks and states.
    For both directions: `keras.layers.Bidirectional(ConvGRU2D(...))`.

    Call args: float (B, T, *spatial, C); `mask` bool (B, T); `initial_state` [hidden].
    Returns: (B, T, *spatial, filters), the last step only unless `return_sequences`; then the state, if `return_state`.

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import ConvGRU2D
        >>> clips = np.zeros((2, 5, 8, 10, 3), "float32")
        >>> tuple(ConvGRU2D(4, 3, padding="same", use_bias=False)(clips).shape)
        (2, 8, 10, 4)
    """

    cell_class = ConvGRUCell


@keras.saving.register_keras_serializable(package="keras_st")
class ConvGRU1D(ConvGRU):
    """`ConvGRU` over (B, T, W, C)."""

    rank = 1


@keras.saving.register_keras_serializable(package="keras_st")
class ConvGRU2D(ConvGRU):
    """`ConvGRU` over (B, T, H, W, C)."""

    rank = 2


@keras.saving.register_keras_serializable(package="keras_st")
class ConvGRU3D(ConvGRU):
    """`ConvGRU` over (B, T, D, H, W, C)."""

    rank = 3
