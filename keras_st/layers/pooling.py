"""Pooling of clips: maxima in space and time, attention over positions, averages of scores."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.ops.axes import merge_leading, split_leading

PADS = ("caffe", "keras")
AVERAGES = ("probabilities", "logits")
STEP_AVERAGES = (*AVERAGES, "last", "max", "linear")
NEVER = -3e4  # the logarithm of a probability of 0, in half precision as well


@keras.saving.register_keras_serializable(package="keras_st")
class FrameMaxPool(ConfigFromArguments, layers.Layer):
    """Maxima over windows of pixels in every frame: (B, T, H, W, C) of non-negative values, such as ReLU gives.

    Args:
        pool_size: int. 2 or 3; windows start every 2 pixels.
        pad: what a window beyond the edge sees, as zeros. "caffe": none before, one cell after where a window would be
            cut ("ceil" mode). "keras": of size 3, one cell on both sides (`keras.applications`), a grid that lies one
            pixel earlier.
    """

    def __init__(self, pool_size=2, pad="caffe", **kwargs):
        super().__init__(**kwargs)
        if pool_size not in (2, 3):
            raise ValueError(f"`pool_size` must be 2 or 3. Received: pool_size={pool_size}")
        if pad not in PADS or (pad == "keras" and pool_size == 2):
            raise ValueError(f'`pad` must be one of {PADS}, "keras" of size 3. Received: pad={pad!r}')
        self.pool_size, self.pad = pool_size, pad

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)
        batch, length = ops.shape(inputs)[:2]
        maps = merge_leading(inputs)
        before_after = [1 if self.pad == "keras" else 0, 1]
        maps = ops.pad(maps, [[0, 0], before_after, before_after, [0, 0]])
        return split_leading(ops.max_pool(maps, self.pool_size, 2, "valid", "channels_last"), batch, length)

    def compute_output_shape(self, input_shape):
        batch, length, *size, channels = input_shape
        more = 2 if self.pad == "keras" else 1
        size = [None if n is None else (n + more - self.pool_size) // 2 + 1 for n in size]
        if 0 in size:
            raise ValueError(f"Frames are too small for {self.name}. Received: shape={tuple(input_shape)}")
        return (batch, length, *size, channels)


@keras.saving.register_keras_serializable(package="keras_st")
class PairMaxPool(layers.Layer):
    """The larger of frames 2k and 2k+1: (B, T, H, W, C) -> (B, ceil(T / 2), H, W, C); an odd last frame stays."""

    def call(self, inputs):
        batch, length, *rest = ops.shape(inputs)
        if not (isinstance(length, int) and length % 2 == 0):  # an odd last frame is its own pair
            inputs = ops.concatenate([inputs, inputs[:, -1:]], axis=1)
            length = (length + 1) // 2 * 2
            inputs = inputs[:, :length]
        return ops.max(ops.reshape(inputs, (batch, length // 2, 2, *rest)), axis=2)

    def compute_output_shape(self, input_shape):
        batch, length, *rest = input_shape
        return (batch, None if length is None else -(-length // 2), *rest)


@keras.saving.register_keras_serializable(package="keras_st")
class AttentionPooling(ConfigFromArguments, layers.Layer):
    """A weighted mean over all positions and frames: (B, T, H, W, C) -> (B, C).

    Equations:  a = softmax_n(v . tanh(W x_n + b)),   y = sum_n a_n x_n,   n over frames and positions.
    With v = 0 (as it starts) this is the mean. Ours: the P3D paper names attention as future work only.

    Args:
        units: int. Size of the hidden layer.
    """

    def __init__(self, units=128, **kwargs):
        super().__init__(**kwargs)
        if type(units) is not int or units < 1:
            raise ValueError(f"`units` must be a positive int. Received: units={units!r}")
        self.units = units
        self.hidden = layers.Dense(units, "tanh", dtype=self.dtype_policy, name="hidden")
        self.score = layers.Dense(1, use_bias=False, kernel_initializer="zeros", dtype=self.dtype_policy, name="score")

    def build(self, input_shape):
        self.hidden.build((None, None, input_shape[-1]))
        self.score.build((None, None, self.units))

    def call(self, inputs):
        batch, *_, channels = ops.shape(inputs)
        tokens = ops.reshape(inputs, (batch, -1, channels))  # (B, N, C)
        weights = ops.softmax(self.score(self.hidden(tokens)), axis=1)  # (B, N, 1)
        return ops.sum(weights * tokens, axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])


@keras.saving.register_keras_serializable(package="keras_st")
class ScoreAverage(ConfigFromArguments, layers.Layer):
    """Logits of parts of a video (B, N, K) to logits of the whole (B, K), whose softmax are its probabilities.

    Equations: p_n = softmax(x_n), n from 0,
        "probabilities"   log mean_n p_n
        "logits"          mean_n x_n
        "last"            x_{N-1}
        "max"             log max_n p_n
        "linear"          log (sum_n g_n p_n / sum_n g_n),  g_n = n / (N - 1): late steps count more
    "last", "max", "linear" and "probabilities" are how Ng et al., CVPR 2015, join an LSTM's steps (the form of g_n is
    from memory of it).

    Args: average: one of the above. Call args: inputs; mask: bool (B, N), parts that count; N is then their number.
    """

    def __init__(self, average="probabilities", **kwargs):
        super().__init__(**kwargs)
        if average not in STEP_AVERAGES:
            raise ValueError(f"`average` must be one of {STEP_AVERAGES}. Received: average={average!r}")
        self.average = average
        self.supports_masking = True

    def call(self, inputs, mask=None):
        weights = self._weights(inputs, mask)  # (B or 1, N, 1), sums to 1 over n
        if self.average in ("logits", "last"):
            return ops.sum(weights * inputs, axis=1)
        logs, counts = ops.log_softmax(inputs, axis=-1), weights > 0
        if self.average == "max":
            return ops.max(ops.where(counts, logs, NEVER), axis=1)
        return ops.logsumexp(ops.where(counts, logs + ops.log(ops.where(counts, weights, 1.0)), NEVER), axis=1)

    def stream(self, inputs, stream):
        """The average after one more part (B, 1, K); see `keras_st.layers.streaming`."""
        x = inputs[:, 0]
        if self.average == "last":
            return x
        batch, dtype = ops.shape(x)[0], x.dtype
        empty = 0.0 if self.average == "logits" else NEVER  # a sum, or its logarithm
        total, place = stream.take([ops.full(ops.shape(x), empty, dtype), ops.zeros((batch, 1), dtype)])
        if self.average == "logits":
            total = total + x
            output = total / (place + 1)
        else:
            logs = ops.log_softmax(x, axis=-1)
            if self.average == "max":
                output = total = ops.maximum(total, logs)
            elif self.average == "probabilities":
                total = ops.logaddexp(total, logs)
                output = total - ops.log(place + 1)
            else:  # the first part has all of the weight, and none as soon as there is another
                later = ops.maximum(place, 1)
                total = ops.where(place > 0, ops.logaddexp(total, logs + ops.log(later)), total)
                output = ops.where(place > 0, total - ops.log(later * (later + 1) / 2), logs)
        stream.keep([total, place + 1])
        return output

    def _weights(self, inputs, mask):
        batch, length = ops.shape(inputs)[:2]
        real = ops.ones((1, length), inputs.dtype) if mask is None else ops.cast(mask, inputs.dtype)
        place = ops.cumsum(real, axis=1) - 1  # of a part among those that count
        count = ops.sum(real, axis=1, keepdims=True)
        if self.average == "last":
            weights = ops.cast(place == count - 1, inputs.dtype) * real
        elif self.average == "linear":
            weights = real * ops.where(count > 1, place, ops.ones_like(place))  # one part: all of the weight
        else:
            weights = real
        return (weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0))[..., None]

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])
