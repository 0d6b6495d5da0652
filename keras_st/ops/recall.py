"""RECALL: attention over remembered maps that never holds the whole score matrix. Pure functions of tensors."""

import keras
from keras import ops

from keras_st import backend
from keras_st.ops.attention import masked_softmax

QUERIES_AT_ONCE = 128


def recall(query, history, valid=None):
    """softmax(Q K^T) K: every position of the query looks at every position of every remembered map.

    Q is the query as (B, N, C), K the history as (B, S N, C), N = product of the spatial sizes; one head, no scaling.
    Scores are taken for 128 queries at a time, against all keys, and again in the backward pass: peak memory is
    128 S N floats a clip, where the matrix as a whole has S N^2.

    Args:
        query: float (B, *spatial, C).
        history: float (B, S, *spatial, C), the remembered maps, in any order.
        valid: bool (B, S) or None (all): maps that count; at least one a clip.

    Returns: float (B, *spatial, C).

    Reference: Y. Wang et al., "Eidetic 3D LSTM", ICLR 2019, RECALL.
    """
    batch, *spatial, channels = ops.shape(query)
    slots = ops.shape(history)[1]
    q = ops.reshape(query, (batch, -1, channels))
    k = ops.reshape(history, (batch, -1, channels))
    if valid is not None:
        count = ops.shape(q)[1]
        valid = ops.reshape(ops.repeat(valid[:, :, None], count, axis=2), (batch, slots * count))
    seen = backend.fused_attention(q, k, valid)
    if seen is None:
        seen = attend_in_chunks(q, k, valid)
    return ops.reshape(seen, (batch, *spatial, channels))


def plain_attention(q, k, valid=None):
    """softmax(Q K^T) K with the matrix in memory: what `recall` equals."""
    scores = ops.matmul(q, ops.swapaxes(k, 1, 2))
    return ops.matmul(masked_softmax(scores, None if valid is None else valid[:, None]), k)


def attend_in_chunks(q, k, valid=None):
    """softmax(Q K^T) K for q (B, N, C), k (B, M, C), valid (B, M), a few rows of the matrix at a time.

    Gradient, with P = softmax(Q K^T), O = P K and G that of O:
        dS = P . (G K^T - rowsum(G . O))       dQ = dS K       dK = dS^T Q + P^T G
    """
    batch, count, channels = ops.shape(q)
    chunks = (count + QUERIES_AT_ONCE - 1) // QUERIES_AT_ONCE  # of no negative number: ONNX rounds those towards zero
    dtype = keras.backend.standardize_dtype(q.dtype)
    valid = ops.ones(ops.shape(k)[:2], "bool") if valid is None else valid
    bias = ops.cast(ops.where(valid, 0.0, -6e4 if dtype == "float16" else -1e30), dtype)[:, None]

    def in_chunks(x):  # (B, N, C) -> (chunks, B, n, C), zeros at the end
        x = ops.pad(x, [(0, 0), (0, chunks * QUERIES_AT_ONCE - count), (0, 0)])
        return ops.swapaxes(ops.reshape(x, (batch, chunks, QUERIES_AT_ONCE, x.shape[-1])), 0, 1)

    def joined(x):
        return ops.reshape(ops.swapaxes(x, 0, 1), (batch, chunks * QUERIES_AT_ONCE, channels))[:, :count]

    def weights(q, k_transposed, bias):
        scores = ops.matmul(q, k_transposed) + bias
        if dtype == "float16":  # whose sums end at 65,504
            return ops.cast(ops.softmax(ops.cast(scores, "float32"), axis=-1), dtype)
        return ops.softmax(scores, axis=-1)

    @ops.custom_gradient
    def attend(q, k, bias):
        k_transposed = ops.swapaxes(k, 1, 2)

        def forward(carry, rows):
            return carry, [ops.matmul(weights(rows[0], k_transposed, bias), k)]

        rows = in_chunks(q)
        _, (seen,) = backend.scan(forward, [], [rows], chunks, [rows[0]])
        seen = joined(seen)

        def gradient(*args, upstream=None):
            g = args[-1] if upstream is None else upstream
            k_transposed = ops.swapaxes(k, 1, 2)  # again: kept, it would be a second history

            def backward(carry, rows):
                q, g, along = rows
                p = weights(q, k_transposed, bias)
                ds = p * (ops.matmul(g, k_transposed) - along)
                both = ops.matmul(ops.swapaxes(ops.concatenate([ds, p], axis=1), 1, 2), ops.concatenate([q, g], axis=1))
                return [carry[0] + both], [ops.matmul(ds, k)]

            along = ops.sum(g * seen, axis=-1, keepdims=True)
            rows = [in_chunks(q), in_chunks(g), in_chunks(along)]
            (dk,), (dq,) = backend.scan(backward, [ops.zeros_like(k)], rows, chunks, [rows[0][0]])
            return joined(dq), dk, ops.zeros_like(bias)

        return seen, gradient

    return attend(q, k, bias)
