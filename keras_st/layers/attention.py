"""Attention of queries over keys, by the scores of the field."""

import keras
from keras import initializers, layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.ops.attention import dot_scores, masked_softmax

SCORES = ("dot", "bilinear", "additive", "bahdanau", "gated")
WITH_UNITS = SCORES[2:]


@keras.saving.register_keras_serializable(package="keras_st")
class SequenceAttention(ConfigFromArguments, layers.Layer):
    """Weighted sum of values, the weights a softmax over the scores of a query against every key.

    Equations (query s, keys h, values v):
        score(s, h) = s . h                      "dot", s and h of one size
                      s W h                      "bilinear", W (ds, dh)
                      w . tanh(W [s; h])         "additive", W (ds + dh, units), w (units)
                      w . tanh(W [s; h] + b) + c "bahdanau", b (units), c (1): additive with biases
                      w . (tanh(W_s s) . tanh(W_h h))   "gated", W = [W_s; W_h] (MultiLSTM)
        a = softmax over keys of the scores      output = sum of a v

    Args:
        score: "dot", "bilinear", "additive", "bahdanau" or "gated".
        units: int. Width of the last three; only for them.
        scale: bool. Divide dot and bilinear scores by the root of the key size.
        kernel_initializer: of W and w.

    Call args:
        query: float (B, Tq, ds).
        keys: float (B, T, dh).
        values: float (B, T, dv), None: the keys.
        mask: bool (B, T). Keys where it is False get weight 0; a query with no key left gets zeros.
        keys_mask: bool (B, T), the same; Keras fills it with the mask that the keys carry from a layer before.
        return_attention: bool. Also return the weights (B, Tq, T).

    Returns: float (B, Tq, dv), or `(output, weights)`.

    Raises: ValueError: unknown score, `units` missing or not needed, sizes that a dot cannot join.
    """

    def __init__(self, score="dot", units=None, scale=False, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        if score not in SCORES:
            raise ValueError(f"`score` must be one of {SCORES}. Received: score={score!r}")
        if (score in WITH_UNITS) != (units is not None):
            raise ValueError(
                f"`units` is needed for {WITH_UNITS} and only there. Received: score={score!r}, units={units}"
            )
        if scale and score in WITH_UNITS:
            raise ValueError(f"`scale` is for dot and bilinear scores. Received: score={score!r}, scale=True")
        self.supports_masking = True
        self.score = score
        self.units = units
        self.scale = scale
        self.kernel_initializer = initializers.get(kernel_initializer)

    def build(self, query_shape, keys_shape, values_shape=None):
        query, key = query_shape[-1], keys_shape[-1]
        if self.score == "dot" and query != key:
            raise ValueError(f"A dot score needs queries and keys of one size. Received: sizes {query} and {key}")
        if self.score == "bilinear":
            self.kernel = self.add_weight(shape=(query, key), initializer=self.kernel_initializer, name="kernel")
        if self.score in WITH_UNITS:
            self.query_size, shape = query, (query + key, self.units)
            self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
            self.vector = self.add_weight(shape=(self.units, 1), initializer=self.kernel_initializer, name="vector")
        if self.score == "bahdanau":
            self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
            self.offset = self.add_weight(shape=(1,), initializer="zeros", name="offset")
        self.built = True

    def query_part(self, query):
        """What of the scores depends on the queries (..., ds) alone."""
        if self.score in WITH_UNITS:
            query = ops.matmul(query, self._cast(self.kernel[: self.query_size], query))
            return ops.tanh(query) if self.score == "gated" else query
        return ops.matmul(query, self._cast(self.kernel, query)) if self.score == "bilinear" else query

    def key_part(self, keys):
        """What of the scores depends on the keys (..., dh) alone."""
        if self.score not in WITH_UNITS:
            return keys
        part = ops.matmul(keys, self._cast(self.kernel[self.query_size :], keys))
        if self.score == "bahdanau":
            part = part + self._cast(self.bias, keys)
        return ops.tanh(part) if self.score == "gated" else part

    def joined(self, query_part, key_part):
        """Scores (...) of parts (..., size) that stand beside each other, or broadcast."""
        if self.score not in WITH_UNITS:
            return ops.sum(query_part * key_part, axis=-1)
        hidden = query_part * key_part if self.score == "gated" else ops.tanh(query_part + key_part)
        scores = ops.matmul(hidden, self._cast(self.vector, hidden))[..., 0]
        return scores + self._cast(self.offset, scores) if self.score == "bahdanau" else scores

    def scores(self, query, keys):
        """(B, Tq, T), before mask and softmax."""
        query_part, key_part = self.query_part(query), self.key_part(keys)
        if self.score in WITH_UNITS:
            return self.joined(query_part[:, :, None], key_part[:, None])
        return dot_scores(query_part, key_part, self.scale)

    @staticmethod
    def _cast(weight, like):
        return ops.cast(weight, like.dtype)  # for calls from outside `call`, where nothing is cast

    def call(self, query, keys, values=None, mask=None, keys_mask=None, return_attention=False):
        mask = keys_mask if mask is None else mask
        weights = masked_softmax(self.scores(query, keys), None if mask is None else mask[:, None])
        output = ops.matmul(weights, keys if values is None else values)
        return (output, weights) if return_attention else output

    def compute_mask(self, query, mask=None, **kwargs):
        return None  # the mask is of the keys, which are gone

    def compute_output_spec(self, query, keys, values=None, mask=None, keys_mask=None, return_attention=False):
        value = keys if values is None else values
        output = keras.KerasTensor((*query.shape[:2], value.shape[-1]), self.compute_dtype)
        weights = keras.KerasTensor((*query.shape[:2], keys.shape[1]), self.compute_dtype)
        return (output, weights) if return_attention else output


@keras.saving.register_keras_serializable(package="keras_st")
class TemporalAttention(ConfigFromArguments, layers.Layer):
    """Sum over time of a sequence of maps, weighted by attention: key frames count more.

    Equation: with p(H) the mean over rows and columns, a = softmax over t of score(p(H_T), p(H_t)), output
    sum_t a_t H_t. With zero scores it is the mean over time.

    Args: score, units, scale, kernel_initializer: see `SequenceAttention`.

    Call args: float (B, T, H, W, C); mask bool (B, T): masked frames get weight 0, the query is still the last frame;
    `return_attention` also returns the weights (B, T). Returns: float (B, H, W, C).
    """

    def __init__(self, score="dot", units=None, scale=False, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.attention = SequenceAttention(score, units, scale, kernel_initializer, dtype=self.dtype_policy)
        self.supports_masking = True
        self.score, self.units, self.scale = score, units, scale
        self.kernel_initializer = self.attention.kernel_initializer

    def build(self, input_shape):
        pooled = (input_shape[0], input_shape[1], input_shape[-1])
        self.attention.build((input_shape[0], 1, input_shape[-1]), pooled)
        self.built = True

    def call(self, inputs, mask=None, return_attention=False):
        pooled = ops.mean(inputs, axis=(2, 3))
        weights = self.attention.scores(pooled[:, -1:], pooled)[:, 0]
        weights = masked_softmax(weights, mask)
        output = ops.sum(weights[:, :, None, None, None] * inputs, axis=1)
        return (output, weights) if return_attention else output

    def compute_mask(self, inputs, mask=None):
        return None  # time is gone

    def compute_output_spec(self, inputs, mask=None, return_attention=False):
        output = keras.KerasTensor((inputs.shape[0], *inputs.shape[2:]), self.compute_dtype)
        return (output, keras.KerasTensor(inputs.shape[:2], self.compute_dtype)) if return_attention else output
