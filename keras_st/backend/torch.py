"""PyTorch forms of the primitives in `keras_st.backend`."""

import torch


def scan(step, carry, xs, length, y_like):
    collected = [[] for _ in y_like]
    steps = zip(*(x.unbind(0) for x in xs)) if xs else [()] * int(length)  # the gradient of x[t] is as large as x
    for xs_t in steps:
        carry, ys = step(list(carry), list(xs_t))
        for column, y in zip(collected, ys):
            column.append(y)
    return list(carry), [torch.stack(column) for column in collected]


def is_compiled():
    return False


def fused_attention(q, k, valid=None):
    mask = None if valid is None else valid[:, None, None]
    return torch.nn.functional.scaled_dot_product_attention(q[:, None], k[:, None], k[:, None], mask, scale=1.0)[:, 0]
