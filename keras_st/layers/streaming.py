"""Frame by frame: what layers keep from one frame of a stream to the next."""

import keras
from keras import layers, ops

from keras_st.layers.frame_wise import FrameWise

STEPWISE = (FrameWise, layers.Dense, layers.Dropout)  # of every step by itself


class NotCausal(ValueError):
    """What is asked for a frame needs frames that come later, or the clip's length."""


class Stream:
    """The states of all layers that look back, in the order in which a frame meets them.

    Such a layer has a method `stream(x, stream)`, `x` one more step (B, 1, ...): it takes its states, makes a step and
    keeps the new ones. What it returns is what its call on all steps so far would: the last step of a sequence, or what
    stands for all of them.

    Args:
        states: list of tensors, `last` of the step before, in any precision; None: the stream begins.

    Attributes:
        first: the states a stream begins with.
        last: the states after the step.
    """

    def __init__(self, states=None):
        self._given, self.first, self.last = states, [], []

    def take(self, first):
        """The states of the layer whose turn it is; `first`: a list of those that a stream begins with."""
        start = len(self.first)
        self.first += first
        if self._given is None:
            return first
        return [ops.cast(x, like.dtype) for x, like in zip(self._given[start:], first)]

    def keep(self, states):
        """Its states after the step."""
        self.last += states


def streamed(layer, x, stream):
    """`layer` on one more step (B, 1, ...) of a stream.

    Raises: NotCausal: a layer that is not of every step by itself and cannot be streamed.
    """
    if hasattr(layer, "stream"):
        return layer.stream(x, stream)
    if isinstance(layer, keras.Sequential):
        for part in layer.layers:
            x = streamed(part, x, stream)
        return x
    if not isinstance(layer, STEPWISE):
        raise NotCausal(f"`{layer.name}` looks at a clip as a whole. Received: a stream of frames")
    return layer(x)
