"""The few primitives `keras.ops` lacks, one small module per backend, imported on first use.

- `scan(step, carry, xs, length, y_like)`: a loop over the leading axis whose outputs need not look like
  its carry (`keras.ops.scan` demands that on TensorFlow).
- `sigmoid_gradient(s, upstream)`, `tanh_gradient(t, upstream)`: of an activation, from its value.
- `fused_attention(q, k, valid)`: where a backend has one that is faster than `keras_st.ops.recall`.
- `multiply_adds(function, *shapes)`: those of convolutions and matrix products, where a backend can tell.
- `conv_recurrence(...)`: a recurrence around a convolution with a gradient of its own, where a backend gains by it.
"""

import importlib

import keras
from keras import ops


def _module():
    return importlib.import_module(f"keras_st.backend.{keras.backend.backend()}")


LONGEST_UNROLL = 32


def scan(step, carry, xs, length, y_like, unroll=None):
    """Runs `carry, ys = step(carry, xs_t)` for `t` in `range(length)`.

    Args:
        step: function of `(carry, xs_t)` returning `(new_carry, ys_t)`, all flat lists of tensors.
        carry: list of tensors; shapes and dtypes must not change from step to step.
        xs: list of tensors with a leading axis of `length`.
        length: int, or a scalar tensor where time is dynamic.
        y_like: list of tensors with the dtypes and shapes of `ys_t` (an empty list where nothing is collected).
        unroll: bool or None. Write the steps out. None: where `length` is an int of at most `LONGEST_UNROLL` and the
            steps are being compiled by XLA, in which a loop around a convolution is 20 to 40 times slower on CPU.
            Elsewhere a loop is faster and leaner: written out, TensorFlow keeps every step's kernel gradient at once.

    Returns:
        `(carry, ys)`: the last carry, and every `ys_t` stacked on a new leading axis.
    """
    static = isinstance(length, int)
    if unroll and not static:
        raise ValueError("`unroll=True` needs a static number of steps. Received: a dynamic length")
    if unroll is None:
        unroll = static and length <= LONGEST_UNROLL and _module().is_compiled()
    if not unroll or length == 0:
        return _module().scan(step, carry, xs, length, y_like)
    rows = []
    for xs_t in zip(*(ops.unstack(x, length) for x in xs)) if xs else [()] * length:
        carry, ys = step(carry, list(xs_t))
        rows.append(ys)
    return carry, [ops.stack(column) for column in zip(*rows)]


def conv_recurrence(conv, gates, gates_gradient, inputs, hidden, cell, kernel, recurrent_kernel, bias, from_zero):
    """Runs `h_t, c_t = gates(W_x * x_t + W_h * h_{t-1} + b, c_{t-1})` with a gradient of its own, or returns None.

    None: this backend runs (and differentiates) the plain loop at least as well, as does TensorFlow outside a graph,
    for a dynamic or long time axis.

    Args:
        conv: function `(x, kernel)`: the convolution, bilinear.
        gates: function `(a, c) -> (h, new_c, kept)`, pointwise; `kept` is a list of tensors the gradient needs.
        gates_gradient: function `(kept, c, new_c, dh, dc) -> (da, dc_before, h)`; h is recomputed rather than kept.
        inputs: (B, T, *spatial, C); hidden, cell: (B, *spatial, F), the states before the first step.
        kernel, recurrent_kernel, bias: tensors; kernels of one size, for which one convolution of [x; h] does.
            `kernel` may have no input channels.
        from_zero: bool. `hidden` is known to be zero, so that the first step needs no state convolution.

    Returns: `(outputs (B, T, *spatial, F), last h, last c)`, or None.
    """
    own = getattr(_module(), "conv_recurrence", None)
    length = inputs.shape[1]
    if own is None or length is None or not 0 < length <= LONGEST_UNROLL:
        return None
    return own(conv, gates, gates_gradient, inputs, hidden, cell, kernel, recurrent_kernel, bias, from_zero)


def fused_attention(q, k, valid=None):
    """softmax(Q K^T) K for q (B, N, C), k (B, M, C), valid bool (B, M), in one operation that never holds the matrix.

    None where the backend has none that is faster than chunks in `keras.ops`.
    """
    own = getattr(_module(), "fused_attention", None)
    return own(q, k, valid) if own else None


def sigmoid_gradient(s, upstream):
    """`upstream * s * (1 - s)`, in one pass where the backend has it so."""
    own = getattr(_module(), "sigmoid_gradient", None)
    return own(s, upstream) if own else upstream * s * (1 - s)


def tanh_gradient(t, upstream):
    """`upstream * (1 - t^2)`, in one pass where the backend has it so."""
    own = getattr(_module(), "tanh_gradient", None)
    return own(t, upstream) if own else upstream * (1 - t * t)


def multiply_adds(function, *shapes):
    """Multiply-adds of the convolutions and matrix products in `function(*x)` for float32 x of `shapes`.

    None where the backend cannot tell (all but TensorFlow), or where the function holds a loop.
    """
    own = getattr(_module(), "multiply_adds", None)
    return own(function, *shapes) if own else None
