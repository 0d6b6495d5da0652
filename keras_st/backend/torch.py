"""PyTorch forms of the primitives in `keras_st.backend`."""

import torch


def scan(step, carry, xs, length, y_dtypes):
    collected = [[] for _ in y_dtypes]
    for t in range(int(length)):
        carry, ys = step(list(carry), [x[t] for x in xs])
        for column, y in zip(collected, ys):
            column.append(y)
    return list(carry), [torch.stack(column) for column in collected]


def is_compiled():
    return False
