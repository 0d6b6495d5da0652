"""Softmax and weighted sums of attention. Pure functions of tensors."""

import math

from keras import ops


def masked_softmax(scores, mask=None):
    """Softmax over the last axis where `mask` (bool, broadcastable) is True, exactly 0 elsewhere.

    A row with nothing to attend to is all zeros, not NaN (`keras.layers.Attention` returns uniform weights there in
    float32, the unmasked ones in float64).
    """
    if mask is None:
        return ops.softmax(scores, axis=-1)
    mask = ops.cast(mask, "bool")
    least = ops.min(scores, axis=-1, keepdims=True)
    highest = ops.stop_gradient(ops.max(ops.where(mask, scores, least), axis=-1, keepdims=True))
    weights = ops.where(
        mask, ops.exp(ops.where(mask, scores - highest, ops.zeros_like(scores))), ops.zeros_like(scores)
    )
    total = ops.sum(weights, axis=-1, keepdims=True)
    return weights / ops.where(total > 0, total, ops.ones_like(total))


def dot_scores(query, keys, scale=False):
    """score = s . h: (B, Tq, D), (B, T, D) -> (B, Tq, T); `scale` divides by the root of D."""
    scores = ops.matmul(query, ops.swapaxes(keys, 1, 2))
    return scores / math.sqrt(query.shape[-1]) if scale else scores


def spatial_softmax(scores):
    """Softmax over rows and columns: (B, H, W, 1) -> (B, H, W, 1), sums to 1 in every map."""
    batch, height, width, _ = ops.shape(scores)
    flat = ops.softmax(ops.reshape(scores, (batch, height * width)), axis=-1)
    return ops.reshape(flat, (batch, height, width, 1))


def attention_penalty(attention):
    """sum_i (1 - sum_t a_{t,i})^2 for every video: (B, T, H, W, 1) -> (B,). 0 where every position is seen once in all.

    Sharma et al., 2015, weighted by lambda; their code sums over the batch and averages over positions instead.
    """
    seen = ops.sum(attention, axis=1)
    return ops.sum(ops.square(1.0 - seen), axis=tuple(range(1, len(seen.shape))))
