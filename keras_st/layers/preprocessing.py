"""What pixels and flow become before a network sees them."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.recurrent.base import check_positive

# source -> (channels or None for any, mirrored to BGR, scale, means in the order of the network)
SOURCES = {
    "centred": (None, False, 2.0, 1.0),
    "keras_resnet": (3, True, 255.0, (103.939, 116.779, 123.68)),
    "p3d_rgb": (3, True, 255.0, (104.0, 117.0, 123.0)),
    "p3d_flow": (2, False, 255.0, 128.0),
}


@keras.saving.register_keras_serializable(package="keras_st")
class FramePreprocessing(ConfigFromArguments, layers.Layer):
    """Frames of values 0..1 (RGB) as a source of weights expects them:  scale x - mean,  channels mirrored for BGR.

    Args:
        source: "centred" (2 x - 1, any channels: for weights learnt here), "keras_resnet" (`keras.applications`
            ResNet50/101/152: 0..255 BGR minus its means), "p3d_rgb" (the authors' P3D: BGR minus 104, 117, 123) or
            "p3d_flow" (their flow network: two channels of 0..255, minus 128).

    Call args: inputs: float (..., channels), 0..1.

    Raises: ValueError: unknown source; a number of channels that the source does not have.
    """

    def __init__(self, source="centred", **kwargs):
        super().__init__(**kwargs)
        if source not in SOURCES:
            raise ValueError(f"`source` must be one of {tuple(SOURCES)}. Received: source={source!r}")
        self.source = source

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)
        _, mirrored, scale, mean = SOURCES[self.source]
        x = ops.flip(inputs, axis=-1) if mirrored else inputs
        return x * scale - ops.convert_to_tensor(mean, x.dtype)

    def compute_output_shape(self, input_shape):
        channels = SOURCES[self.source][0]
        if channels not in (None, input_shape[-1]):
            raise ValueError(
                f'Preprocessing "{self.source}" takes frames of {channels} channels. Received: {input_shape[-1]}'
            )
        return input_shape


@keras.saving.register_keras_serializable(package="keras_st")
class FlowStack(ConfigFromArguments, layers.Layer):
    """Every field of flow with those that follow, as channels: (B, T, H, W, 2) -> (B, T, H, W, 2 length).

    Channels of step t: u_t, v_t, u_{t+1}, v_{t+1}, ..., `length` fields; the last one is repeated beyond the end. With
    `full` windows only: T - length + 1 steps. (Two-stream networks have a length of 10; Simonyan and Zisserman 2014.)

    Args: length: int; full: bool.
    """

    def __init__(self, length=10, full=False, **kwargs):
        super().__init__(**kwargs)
        check_positive("length", length)
        self.length, self.full = length, full

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)
        steps, more = ops.shape(inputs)[1], self.length - 1
        if self.full:
            steps = steps - more
        else:
            inputs = ops.concatenate([inputs, ops.repeat(inputs[:, -1:], more, axis=1)], axis=1)
        return ops.concatenate([inputs[:, n : n + steps] for n in range(self.length)], axis=-1)

    def compute_output_shape(self, input_shape):
        batch, steps, height, width, channels = input_shape
        if self.full and steps is not None:
            if steps < self.length:
                raise ValueError(f"Full windows of {self.length} fields need as many. Received: {steps}")
            steps = steps - self.length + 1
        return (batch, steps, height, width, channels * self.length)
