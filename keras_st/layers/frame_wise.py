"""A layer of frames applied to clips."""

import keras
from keras import layers, ops, tree

from keras_st.layers.config import ConfigFromArguments
from keras_st.ops.axes import merge_leading, split_leading


@keras.saving.register_keras_serializable(package="keras_st")
class FrameWise(ConfigFromArguments, layers.Layer):
    """Applies a layer to every frame: (B, T, ...) -> (B, T, ...), time folded into batch.

    Batch and time may be unknown. (`keras.layers.TimeDistributed` returns the wrong number of frames when time is
    unknown, in Keras 3.14 to 3.15.1.)

    Args:
        layer: layer or model of one input, called on (B*T, ...); of one output, or a list or dict of them.

    Masking: a (B, T) mask passes through; the layer does not see it.
    """

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer
        self.supports_masking = True

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build((None, *input_shape[2:]))
        self.built = True

    def call(self, inputs, training=None):
        batch, length = ops.shape(inputs)[:2]
        kwargs = {"training": training} if self.layer._call_has_training_arg else {}
        outputs = self.layer(merge_leading(inputs), **kwargs)
        return tree.map_structure(lambda x: split_leading(x, batch, length), outputs)

    def compute_output_spec(self, inputs, training=None):
        frames = self.layer.compute_output_spec(keras.KerasTensor((None, *inputs.shape[2:]), inputs.dtype))
        return tree.map_structure(lambda x: keras.KerasTensor((*inputs.shape[:2], *x.shape[1:]), x.dtype), frames)

    def compute_output_shape(self, input_shape):
        spec = self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))
        return tree.map_structure(lambda x: x.shape, spec)

    def compute_mask(self, inputs, mask=None):
        return mask

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})
