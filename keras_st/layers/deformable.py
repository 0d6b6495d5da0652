"""Deformable 2D convolution (v1 and v2)."""

import keras
from keras import activations, initializers, layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.ops.deformable import deformable_conv

MODULATIONS = (None, "sigmoid", "2sigmoid")


@keras.saving.register_keras_serializable(package="keras_st")
class OffsetPredictor(ConfigFromArguments, layers.Layer):
    """Where every tap of a deformable convolution reads, and how much it counts: one convolution, zero at first.

    Args:
        kernel_size: (int, int). Of the convolution that is deformed, and of this one.
        groups: int. Groups of channels with offsets of their own.
        modulation: None (v1), "sigmoid" (v2: m in (0, 1), 0.5 at first, half the plain response) or "2sigmoid" (ours:
            m in (0, 2), 1 at first, so that the start is exactly the plain convolution).

    Returns: `(offsets (B, H, W, 2 G K), modulation (B, H, W, G K) or None)`; offsets are (row, column) per tap.
    """

    def __init__(self, kernel_size, groups=1, modulation="sigmoid", **kwargs):
        super().__init__(**kwargs)
        if modulation not in MODULATIONS:
            raise ValueError(f"`modulation` must be one of {MODULATIONS}. Received: modulation={modulation!r}")
        self.kernel_size = tuple(kernel_size)
        self.groups = groups
        self.modulation = modulation

    def build(self, input_shape):
        taps = self.groups * self.kernel_size[0] * self.kernel_size[1]
        outputs = (3 if self.modulation else 2) * taps
        shape = (*self.kernel_size, input_shape[-1], outputs)
        self.offset_kernel = self.add_weight(shape=shape, initializer="zeros", name="offset_kernel")
        self.offset_bias = self.add_weight(shape=(outputs,), initializer="zeros", name="offset_bias")
        self.built = True

    def call(self, inputs):
        y = ops.conv(inputs, self.offset_kernel, 1, "same", data_format="channels_last") + ops.cast(
            self.offset_bias, inputs.dtype
        )
        if self.modulation is None:
            return y, None
        cut = 2 * y.shape[-1] // 3
        m = ops.sigmoid(y[..., cut:])
        return y[..., :cut], 2 * m if self.modulation == "2sigmoid" else m

    def compute_output_shape(self, input_shape):
        taps = self.groups * self.kernel_size[0] * self.kernel_size[1]
        lead = tuple(input_shape[:-1])
        return (*lead, 2 * taps), (*lead, taps) if self.modulation else None


@keras.saving.register_keras_serializable(package="keras_st")
class DeformableConv2D(ConfigFromArguments, layers.Layer):
    """Convolution whose taps are moved by offsets predicted from the input: (B, H, W, C) -> (B, H, W, filters).

    Equation: y(p) = sum_n m_n(p) x(p + p_n + d_n(p)) w_n + b; d and m from one convolution of x (`OffsetPredictor`).
    "same" padding, stride 1. Weights: kernel, bias, offset_kernel, offset_bias.

    Args: filters, kernel_size, activation, use_bias, kernel_initializer: as `keras.layers.Conv2D`;
        groups, modulation: see `OffsetPredictor`.

    Raises: ValueError: unknown modulation; channels that `groups` does not divide.

    Reference: J. Dai et al., ICCV 2017 (modulation=None); X. Zhu et al., CVPR 2019.

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import DeformableConv2D
        >>> tuple(DeformableConv2D(4, 3)(np.ones((2, 6, 8, 3), "float32")).shape)
        (2, 6, 8, 4)
    """

    def __init__(
        self,
        filters,
        kernel_size,
        groups=1,
        modulation="sigmoid",
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        self.groups = groups
        self.modulation = modulation
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.predictor = OffsetPredictor(self.kernel_size, groups, modulation, dtype=self.dtype_policy)

    def build(self, input_shape):
        check_groups(input_shape[-1], self.groups)
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None
        self.predictor.build(input_shape)
        self.built = True

    def call(self, inputs):
        offsets, modulation = self.predictor(inputs)
        kernel = ops.cast(self.kernel, inputs.dtype)
        y = deformable_conv(inputs, kernel, offsets, modulation, self.groups)
        return self.activation(y if self.bias is None else y + ops.cast(self.bias, y.dtype))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)


def check_groups(channels, groups):
    """Raises ValueError where `groups` does not divide the channels."""
    if groups < 1 or channels % groups:
        raise ValueError(f"`groups` must divide the channels ({channels}). Received: groups={groups}")
