"""3-D convolution whose flat kernels run as what they are."""

import keras
from keras import layers, ops

from keras_st.ops.axes import merge_leading, split_leading


@keras.saving.register_keras_serializable(package="keras_st")
class FlatConv3D(layers.Conv3D):
    """`keras.layers.Conv3D` (channels last) for kernels that are flat in time or in space; same weights, same values.

    A kernel of one frame, (1, k, k), runs as a 2-D convolution of the frames; a kernel of one pixel, (k, 1, 1), as a
    2-D convolution of time against all positions. Backends have fast code for these; for 3-D kernels that happen to be
    flat most do not. Any other kernel is refused.

    Padding: "same" is zero padding by kernel // 2 on both sides whatever the stride, as in Caffe and PyTorch (Keras
    pads less before than after where the stride is 2 and the size even, which shifts the grid). Sizes: odd kernels.
    """

    def __init__(self, filters, kernel_size, strides=1, padding="same", use_bias=False, **kwargs):
        super().__init__(filters, kernel_size, strides=strides, padding=padding, use_bias=use_bias, **kwargs)
        flat_in_time = self.kernel_size[0] == self.strides[0] == 1
        flat_in_space = self.kernel_size[1:] == self.strides[1:] == (1, 1)
        if not (flat_in_time or flat_in_space) or max(self.dilation_rate) > 1 or self.groups > 1:
            raise ValueError(
                "A flat kernel is (1, k, k) with stride (1, s, s), or (k, 1, 1) with stride (s, 1, 1), neither dilated "
                f"nor in groups. Received: kernel_size={self.kernel_size}, strides={self.strides}, "
                f"dilation_rate={self.dilation_rate}, groups={self.groups}"
            )
        if padding not in ("same", "valid") or any(k % 2 == 0 for k in self.kernel_size):
            raise ValueError(
                '`padding` must be "same" or "valid", kernel sizes odd. '
                f"Received: padding={padding!r}, kernel_size={self.kernel_size}"
            )
        self._in_frames = flat_in_time

    def call(self, inputs):
        kernel = ops.cast(self.kernel, inputs.dtype)
        if self._in_frames:
            batch, length = ops.shape(inputs)[:2]
            maps, kernel, strides = merge_leading(inputs), kernel[0], self.strides[1:]
        else:
            batch, length, height, width = ops.shape(inputs)[:4]
            maps = ops.reshape(inputs, (batch, length, height * width, inputs.shape[-1]))
            kernel, strides = kernel[:, 0], (self.strides[0], 1)
        maps = self._conv2d(maps, kernel, strides)
        if self.use_bias:
            maps = maps + ops.cast(self.bias, maps.dtype)
        maps = self.activation(maps)
        if self._in_frames:
            return split_leading(maps, batch, length)
        return ops.reshape(maps, (batch, ops.shape(maps)[1], height, width, self.filters))

    def _conv2d(self, maps, kernel, strides):
        padding = self.padding
        if padding == "same" and max(strides) > 1:
            if max(kernel.shape[:2]) > 1:
                maps = ops.pad(maps, [[0, 0], *([k // 2] * 2 for k in kernel.shape[:2]), [0, 0]])
            padding = "valid"
        if tuple(kernel.shape[:2]) == (1, 1):  # a matrix product of every pixel
            return ops.matmul(maps[:, :: strides[0], :: strides[1]], kernel[0, 0])
        return ops.conv(maps, kernel, strides, padding, "channels_last")

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape

        def size(n, kernel, stride):
            padded = 2 * (kernel // 2) if self.padding == "same" else 0
            return None if n is None else (n + padded - kernel) // stride + 1

        return (batch, *map(size, sizes, self.kernel_size, self.strides), self.filters)
