"""The few primitives `keras.ops` lacks, one small module per backend, imported on first use.

- `scan(step, carry, xs, length, y_dtypes)`: a loop over the leading axis whose outputs need not look like
  its carry (`keras.ops.scan` demands that on TensorFlow).
"""

import importlib

import keras
from keras import ops


def _module():
    return importlib.import_module(f"keras_st.backend.{keras.backend.backend()}")


LONGEST_UNROLL = 32


def scan(step, carry, xs, length, y_dtypes, unroll=None):
    """Runs `carry, ys = step(carry, xs_t)` for `t` in `range(length)`.

    Args:
        step: function of `(carry, xs_t)` returning `(new_carry, ys_t)`, all flat lists of tensors.
        carry: list of tensors; shapes and dtypes must not change from step to step.
        xs: list of tensors with a leading axis of `length`.
        length: int, or a scalar tensor where time is dynamic.
        y_dtypes: list of str. Dtypes of `ys_t` (an empty list where nothing is collected).
        unroll: bool or None. Write the steps out. None: where `length` is an int of at most `LONGEST_UNROLL`;
            a compiled (XLA) loop around a convolution is 20 to 40 times slower on CPU than the steps written out.

    Returns:
        `(carry, ys)`: the last carry, and every `ys_t` stacked on a new leading axis.
    """
    static = isinstance(length, int)
    if unroll and not static:
        raise ValueError("`unroll=True` needs a static number of steps. Received: a dynamic length")
    if not static or length == 0 or not (length <= LONGEST_UNROLL if unroll is None else unroll):
        return _module().scan(step, carry, xs, length, y_dtypes)
    rows = []
    for t in range(length):
        carry, ys = step(carry, [x[t] for x in xs])
        rows.append(ys)
    return carry, [ops.stack(column) for column in zip(*rows)]
