"""A map of every frame: convolutions, stacked cells over time, a 1x1 convolution. Dense labelling of a sequence."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments, with_dtype_of
from keras_st.layers.frame_wise import FrameWise
from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.recurrent.spatial_rnn import SpatialRNN
from keras_st.layers.streaming import streamed
from keras_st.models.encoder_forecaster import _check_keeps_size, _video_shape
from keras_st.ops.axes import check_divisible, depth_to_space, space_to_depth


@keras.saving.register_keras_serializable(package="keras_st")
class FrameMapper(ConfigFromArguments, keras.Model):
    """Maps every frame of a clip to maps of its size, knowing the frames before it: a forecaster of horizon 0.

    Frames are folded into patches; convolutions with ReLU see each, the cells run over them one after the other, and a
    1x1 convolution gives a frame's maps, unfolded again:
        D_t = activation(W H_t + b),  H_t = cells(conv(X_t), H_{t-1})

    Inputs (dict): video: float (B, T, H, W, C), any T >= 1; H and W multiples of `patch`.

    Returns (dict): frames: float32 (B, T, H, W, out_channels).

    Args:
        cells: list of cells, lowest first, that keep the size of a map.
        filters: tuple of ints. Channels of the convolutions ahead of the cells; () for none.
        kernel_size: int. Of those convolutions.
        patch: int. Side of the square of pixels folded into channels.
        out_channels: int. Maps of a frame.
        activation: of the maps; "sigmoid" keeps them in 0..1.
        first_bias: float. Of the maps before training: of maps that are nearly everywhere 0 well below 0, or the first
            steps are spent on learning just that, and what sees the rest may die in them.

    Call args: `horizon_frames`: None or 0, what a caller of forecasters passes.

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import ConvLSTMCell
        >>> from keras_st.models import FrameMapper
        >>> model = FrameMapper([ConvLSTMCell(2, 4, 3, padding="same")], filters=(4,), patch=2)
        >>> tuple(model({"video": np.zeros((1, 3, 8, 12, 6), "float32")})["frames"].shape)
        (1, 3, 8, 12, 1)
    """

    horizon_frames, predict_context, decoupling, reads_missing = 0, False, False, False  # for what trains forecasters
    input_names = frozenset({"video"})

    def __init__(
        self,
        cells,
        filters=(16,),
        kernel_size=3,
        patch=1,
        out_channels=1,
        activation="sigmoid",
        first_bias=0.0,
        **kwargs,
    ):
        super().__init__(**with_dtype_of(cells, kwargs))
        for name, value in (("kernel_size", kernel_size), ("patch", patch), ("out_channels", out_channels)):
            check_positive(name, value)
        for cell in cells:
            _check_keeps_size(cell)
        self.cells = list(cells)
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.patch = patch
        self.out_channels = out_channels
        self.activation = activation
        self.first_bias = first_bias
        convolutions = [self._convolution(f, kernel_size, "relu") for f in self.filters]
        self.frame_layers = [FrameWise(layer, dtype=self.dtype_policy) for layer in convolutions]
        self.sequence_layers = [SpatialRNN(cell, return_sequences=True) for cell in self.cells]
        head = self._convolution(patch**2 * out_channels, 1, activation, first_bias)
        self.head = FrameWise(head, dtype=self.dtype_policy)

    def _convolution(self, filters, kernel_size, activation, bias=0.0):
        return layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            activation=activation,
            bias_initializer=keras.initializers.Constant(bias),
            data_format="channels_last",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        batch, length, height, width, self.channels = _video_shape(input_shape)
        check_divisible(height, width, self.patch)
        height, width = (size and size // self.patch for size in (height, width))
        shape = (batch, length, height, width, self.patch**2 * self.channels)
        for layer in (*self.frame_layers, *self.sequence_layers, self.head):
            layer.build(shape)
            shape = (*shape[:-1], layer.compute_output_shape(shape)[-1])
        self.built = True

    def call(self, inputs, training=None, horizon_frames=None):
        if horizon_frames:
            raise ValueError(f"Frames are mapped, not forecast: a horizon of 0. Received: {horizon_frames=}")
        _video_shape({name: tuple(x.shape) for name, x in inputs.items()} if isinstance(inputs, dict) else inputs)
        x = space_to_depth(ops.cast(inputs["video"], self.compute_dtype), self.patch)
        for layer in (*self.frame_layers, *self.sequence_layers, self.head):
            x = layer(x, training=training)
        return {"frames": ops.cast(depth_to_space(x, self.patch), "float32")}

    def stream(self, inputs, stream, horizon_frames=None):
        """The maps of one more frame, `video` (B, 1, H, W, C); see `keras_st.layers.streaming`."""
        if horizon_frames:
            raise ValueError(f"Frames are mapped, not forecast: a horizon of 0. Received: {horizon_frames=}")
        x = space_to_depth(ops.cast(inputs["video"], self.compute_dtype), self.patch)
        for layer in (*self.frame_layers, *self.sequence_layers, self.head):
            x = streamed(layer, x, stream)
        return {"frames": ops.cast(depth_to_space(x, self.patch), "float32")}

    def compute_output_shape(self, input_shape):
        return {"frames": (*_video_shape(input_shape)[:-1], self.out_channels)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        cells = keras.saving.deserialize_keras_object(config["cells"], custom_objects)
        return cls(**{**config, "cells": cells})
