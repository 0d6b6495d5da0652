"""Pooling over time of sequences of anything: all of it, or window by window."""

import math

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.recurrent.base import check_positive

KINDS = ("max", "mean")


@keras.saving.register_keras_serializable(package="keras_st")
class TemporalPool(ConfigFromArguments, layers.Layer):
    """Maximum or mean over time: (B, T, ...) -> (B, ...).

    Args: kind: "max" or "mean". Call args: inputs; mask bool (B, T): steps that count (with none: zeros).
    """

    def __init__(self, kind="max", **kwargs):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
        self.kind = kind
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return (ops.max if self.kind == "max" else ops.mean)(inputs, axis=1)
        mask = ops.reshape(mask, (*ops.shape(mask)[:2], *(1,) * (len(inputs.shape) - 2)))
        kept = ops.where(mask, inputs, ops.zeros_like(inputs))
        count = ops.sum(ops.cast(mask, inputs.dtype), axis=1)
        if self.kind == "mean":
            return ops.sum(kept, axis=1) / ops.maximum(count, 1)
        least = ops.min(inputs, axis=1, keepdims=True)
        highest = ops.max(ops.where(mask, inputs, least), axis=1)
        return ops.where(count > 0, highest, ops.zeros_like(highest))

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])


@keras.saving.register_keras_serializable(package="keras_st")
class WindowMax(ConfigFromArguments, layers.Layer):
    """Maxima over windows of time: (B, T, ...) -> (B, W, ...), W = max(1, floor((T - window) / stride) + 1).

    A clip shorter than a window is one window; steps at the end that fill none are left out.

    Args: window, stride: in steps (10 and 5 in Ng et al., CVPR 2015).
    Call args: inputs; mask bool (B, T): steps that count.
    Masking: a window counts where all of its steps do, the first where any does.
    """

    def __init__(self, window=10, stride=5, **kwargs):
        super().__init__(**kwargs)
        check_positive("window", window)
        check_positive("stride", stride)
        self.window, self.stride = window, stride
        self.supports_masking = True

    def call(self, inputs, mask=None):
        batch, _, *step = ops.shape(inputs)
        if mask is not None:
            mask = ops.reshape(mask, (*ops.shape(mask)[:2], *(1,) * len(step)))
            least = ops.min(ops.where(mask, inputs, inputs[:, :1]), axis=1, keepdims=True)
            inputs = ops.where(mask, inputs, least)
        x = last_repeated(inputs, self.window)  # which changes no maximum
        size = -1 if None in inputs.shape[2:] else math.prod(inputs.shape[2:])
        x = ops.reshape(x, (batch, ops.shape(x)[1], size))
        x = ops.max_pool(x, self.window, self.stride, "valid", "channels_last")
        return ops.reshape(x, (batch, ops.shape(x)[1], *step))

    def compute_mask(self, inputs, mask=None):
        if mask is None:
            return None
        left_out = 1.0 - ops.cast(mask, "float32")[..., None]
        inside = ops.max_pool(last_repeated(left_out, self.window), self.window, self.stride, "valid", "channels_last")
        any_first = ops.any(mask[:, : self.window], axis=1, keepdims=True)
        return ops.concatenate([any_first, inside[:, 1:, 0] == 0], axis=1)

    def compute_output_shape(self, input_shape):
        batch, length, *rest = input_shape
        return (batch, None if length is None else windows(length, self.window, self.stride), *rest)


def windows(length, window, stride):
    """How many windows a clip of `length` steps holds."""
    return max(1, (length - window) // stride + 1)


def last_repeated(x, steps):
    """(B, T, ...) with the last step repeated until there are `steps`."""
    length = x.shape[1]
    if length is not None:
        missing = max(steps - length, 0)
        return ops.concatenate([x, ops.repeat(x[:, -1:], missing, axis=1)], axis=1) if missing else x
    padded = ops.concatenate([x, ops.repeat(x[:, -1:], steps - 1, axis=1)], axis=1)
    return padded[:, : ops.maximum(ops.shape(x)[1], steps)]


@keras.saving.register_keras_serializable(package="keras_st")
class LastPadded(ConfigFromArguments, layers.Layer):
    """Clips of fewer than `steps` steps with their last one repeated: (B, T, ...) -> (B, max(T, steps), ...).

    Raises: ValueError: a mask; what follows counts every step.
    """

    def __init__(self, steps, **kwargs):
        super().__init__(**kwargs)
        check_positive("steps", steps)
        self.steps = steps

    def call(self, inputs, mask=None):
        if mask is not None:
            raise ValueError(f"`{self.name}` takes clips that are not padded. Received: a mask")
        return last_repeated(inputs, self.steps)

    def compute_output_shape(self, input_shape):
        batch, length, *rest = input_shape
        return (batch, None if length is None else max(length, self.steps), *rest)


@keras.saving.register_keras_serializable(package="keras_st")
class AsMaps(layers.Layer):
    """Sequences of vectors as maps of one position, (B, T, C) -> (B, T, 1, 1, C); maps as they are."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs[:, :, None, None] if len(inputs.shape) == 3 else inputs

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 1, 1, input_shape[2]) if len(input_shape) == 3 else input_shape
