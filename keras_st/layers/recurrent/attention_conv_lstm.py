"""ConvLSTM with attention: on its input (where to look) and on its state (self-attention memory)."""

import keras
from keras import ops

from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.recurrent.conv_lstm import ConvLSTMCell
from keras_st.layers.recurrent.spatial_rnn import ConvRNN
from keras_st.ops.attention import dot_scores, spatial_softmax


@keras.saving.register_keras_serializable(package="keras_st")
class AttentionConvLSTMCell(ConvLSTMCell):
    """ConvLSTM whose input is weighed by an attention map at every step.

    Equations: with e the map of scores,
        e_t = w * tanh(W_xa * X_t + W_ha * H_{t-1} + b_a)
        a_t = softmax over all positions of e_t                      (B, H, W, 1)
        X~_t = a_t . X_t,  times H W with `rescale`                  then ConvLSTM on X~_t
    With `rescale` uniform attention is the identity, and the cell a ConvLSTM; without it inputs shrink by the number
    of positions, as published.

    Weights: those of `ConvLSTMCell`, then attention_kernel (k, k, C, A), attention_recurrent_kernel (k, k, F, A),
    attention_bias (A), attention_vector (1, 1, A, 1).

    State: as `ConvLSTMCell`.

    Args:
        filters, kernel_size, ...: see `ConvLSTMCell`; rank 2, stride 1, padding "same".
        attention_units: int. A, channels of the hidden score map.
        rescale: bool. Multiply by the number of positions.

    Reference: Z. Li et al., "VideoLSTM Convolves, Attends and Flows for Action Recognition", 2016 (attention map).
    """

    def __init__(self, rank, filters, kernel_size, *args, attention_units=8, rescale=False, padding="same", **kwargs):
        super().__init__(rank, filters, kernel_size, *args, padding=padding, **kwargs)
        plain = self.gate_mode == "conv" and self.use_input
        if rank != 2 or max(self.strides) > 1 or self.padding != "same" or not plain:
            raise ValueError(
                "Attention on the input needs an input, rank 2, stride 1, padding 'same' and convolved gates. "
                f"Received: rank={rank}, strides={self.strides}, padding={self.padding!r}, "
                f"gate_mode={self.gate_mode!r}, use_input={self.use_input}"
            )
        check_positive("attention_units", attention_units)
        self.attention_units = attention_units
        self.rescale = rescale

    def build(self, input_shape):
        super().build(input_shape)
        a, size = self.attention_units, self._hidden_kernel_size
        self.attention_kernel = self.add_kernel("attention_kernel", (*self.kernel_size, input_shape[-1], a))
        self.attention_recurrent_kernel = self.add_kernel("attention_recurrent_kernel", (*size, self.filters, a))
        self.attention_bias = self.add_weight(shape=(a,), initializer="zeros", name="attention_bias")
        self.attention_vector = self.add_kernel("attention_vector", (1, 1, a, 1))

    def project(self, inputs):
        """What does not depend on the state: the input itself beside its part of the scores."""
        scores = self.input_conv(inputs, self.attention_kernel) + ops.cast(self.attention_bias, inputs.dtype)
        return ops.concatenate([inputs, scores], axis=-1)

    def attend(self, x, hidden, noise=None):
        """Attention map (B, H, W, 1) of a projected input and the hidden state before it."""
        seen = self.state_conv(self.dropped(hidden, noise), self.attention_recurrent_kernel)
        scores = x[..., -self.attention_units :] + seen
        vector = ops.cast(self.attention_vector, scores.dtype)
        return spatial_softmax(ops.conv(ops.tanh(scores), vector, 1, "same", data_format="channels_last"))

    def step(self, x, states, noise=None):
        attended = self.attend(x, states[0], noise) * x[..., : -self.attention_units]
        if self.rescale:
            height, width = ops.shape(x)[1:3]
            attended = attended * ops.cast(height * width, attended.dtype)
        return super().step(super().project(attended), states, noise)


@keras.saving.register_keras_serializable(package="keras_st")
class AttentionConvLSTM2D(ConvRNN):
    """`AttentionConvLSTMCell` over a sequence (B, T, H, W, C), with `attention_maps` to look at.

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import AttentionConvLSTM2D
        >>> layer = AttentionConvLSTM2D(4, 3, rescale=True, return_sequences=True)
        >>> clips = np.ones((2, 5, 8, 10, 3), "float32")
        >>> tuple(layer(clips).shape), tuple(layer.attention_maps(clips).shape)
        ((2, 5, 8, 10, 4), (2, 5, 8, 10, 1))
    """

    cell_class = AttentionConvLSTMCell
    rank = 2

    def attention_maps(self, sequences):
        """Attention at every step, (B, T, H, W, 1); every map sums to 1. Not for `go_backwards` or given states."""
        sequences = ops.convert_to_tensor(sequences, dtype=self.compute_dtype)
        batch, _, *spatial = ops.shape(sequences)[:-1]
        steps = ops.swapaxes(sequences, 0, 1)
        x, states, maps = self.cell.project_sequence(steps), self.cell.get_initial_state(batch, tuple(spatial)), []
        for t in range(sequences.shape[1]):
            maps.append(self.cell.attend(x[t], states[0]))
            _, states = self.cell.step(x[t], states)
        return ops.stack(maps, axis=1)


@keras.saving.register_keras_serializable(package="keras_st")
class SelfAttentionConvLSTMCell(ConvLSTMCell):
    """ConvLSTM with a self-attention memory (SA-ConvLSTM).

    Equations: a ConvLSTM step gives H, C; then with N = H W positions, d `attention_units`, 1x1 projections
        Q = W_q H, K_h = W_k H, V_h = W_v H, K_m = W_mk M, V_m = W_mv M          (N, d)
        Z = W_z [softmax(Q K_h^T) V_h ; softmax(Q K_m^T) V_m]
        i', g', o' = s, tanh, s of W_m * [Z; H] + b_m
        M' = i' . g' + (1 - i') . M            H' = o' . M'
    H' is the output and the hidden state of the next step; C stays the ConvLSTM's.

    Weights: those of `ConvLSTMCell`, then query_kernel, key_kernel, value_kernel, memory_key_kernel,
    memory_value_kernel (1, 1, F, d), attention_output_kernel (1, 1, 2d, F), memory_kernel (k, k, 2F, 3F), memory_bias.
    With `separable` memory_depthwise_kernel (k, k, 2F, 1) precedes memory_kernel, which is (1, 1, 2F, 3F).

    State: hidden, cell, memory: (B, H, W, filters), compute dtype, zeros.

    Args:
        filters, kernel_size, ...: see `ConvLSTMCell`; rank 2. The memory's gates use the size of the state kernels.
        attention_units: int or None. d; None: `filters`.
        scale: bool. Divide scores by the root of d (a public port does, the paper, from memory, does not).

        separable: bool. The memory's gates from a depthwise k x k convolution, then a 1 x 1 one (the paper, from memory
            of it), instead of one k x k convolution (a public port).

    Memory: scores take 4 B N^2 bytes a map, twice; N up to about 1024 is practical.

    Reference: Z. Lin et al., "Self-Attention ConvLSTM for Spatiotemporal Prediction", AAAI 2020
    """

    state_names = ("hidden", "cell", "memory")

    def __init__(self, rank, filters, kernel_size, *args, attention_units=None, scale=False, separable=False, **kwargs):
        super().__init__(rank, filters, kernel_size, *args, **kwargs)
        if rank != 2 or self.gate_mode != "conv":
            raise ValueError(
                f"Self-attention needs rank 2 and convolved gates. Received: rank={rank}, gate_mode={self.gate_mode!r}"
            )
        check_positive("attention_units", filters if attention_units is None else attention_units)
        self.attention_units = attention_units
        self.scale = scale
        self.separable = separable

    def build(self, input_shape):
        super().build(input_shape)
        f, d = self.filters, self.attention_units or self.filters
        one = (1, 1)
        shapes = {f"{name}_kernel": (*one, f, d) for name in ("query", "key", "value", "memory_key", "memory_value")}
        shapes["attention_output_kernel"] = (*one, 2 * d, f)
        if self.separable:
            shapes["memory_depthwise_kernel"] = (*self._hidden_kernel_size, 2 * f, 1)
        shapes["memory_kernel"] = (*(one if self.separable else self._hidden_kernel_size), 2 * f, 3 * f)
        for name, shape in shapes.items():
            setattr(self, name, self.add_kernel(name, shape))
        self.memory_bias = self.add_weight(shape=(3 * f,), initializer="zeros", name="memory_bias")

    def attention(self, h, m):
        """Weights over the positions of H and of M: two tensors (B, N, N), rows sum to 1."""
        h, m = (ops.cast(x, self.compute_dtype) for x in (h, m))
        query = self._tokens(h, self.query_kernel)
        keys = self._tokens(h, self.key_kernel), self._tokens(m, self.memory_key_kernel)
        return [ops.softmax(dot_scores(query, k, self.scale), axis=-1) for k in keys]

    def _tokens(self, x, kernel):
        batch, height, width, _ = ops.shape(x)
        kernel = ops.cast(kernel, x.dtype)
        return ops.reshape(
            ops.conv(x, kernel, 1, "same", data_format="channels_last"), (batch, height * width, kernel.shape[-1])
        )

    def aggregate(self, h, m):
        """Z (B, H, W, filters): what every position gathers from H and from M."""
        from_h, from_m = self.attention(h, m)
        z_h = ops.matmul(from_h, self._tokens(h, self.value_kernel))
        z_m = ops.matmul(from_m, self._tokens(m, self.memory_value_kernel))
        z = ops.concatenate([z_h, z_m], axis=-1)
        z = ops.cast(ops.reshape(z, (*ops.shape(h)[:-1], z.shape[-1])), h.dtype)  # float64 on PyTorch
        return ops.conv(z, self.attention_output_kernel, 1, "same", data_format="channels_last")

    def step(self, x, states, noise=None):
        h, c, m = states
        h, (_, c) = super().step(x, [h, c], noise)
        z = self.aggregate(h, m)
        seen = ops.concatenate([z, h], axis=-1)
        if self.separable:
            seen = ops.depthwise_conv(seen, self.memory_depthwise_kernel, 1, "same", "channels_last")
        gates = self.state_conv(seen, self.memory_kernel)
        i, g, o = ops.split(gates + ops.cast(self.memory_bias, gates.dtype), 3, axis=-1)
        i = self.recurrent_activation(i)
        m = i * self.activation(g) + (1 - i) * m
        h = self.recurrent_activation(o) * m
        return h, [h, c, m]
