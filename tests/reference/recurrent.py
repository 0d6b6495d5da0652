"""Recurrent cells, one step, channels last, any spatial rank."""

import itertools

import numpy as np


def conv(x, kernel, stride=1, dilation=1, padding="same"):
    """Cross-correlation, zero padding; `same` pads more after than before, as TensorFlow."""
    rank = kernel.ndim - 2
    sizes = kernel.shape[:rank]
    reach = [dilation * (k - 1) for k in sizes]
    spatial = x.shape[1:-1]
    if padding == "same":
        out = [-(-n // stride) for n in spatial]
        total = [max((o - 1) * stride + r + 1 - n, 0) for o, r, n in zip(out, reach, spatial)]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    else:
        out = [(n - r - 1) // stride + 1 for n, r in zip(spatial, reach)]
    y = np.zeros((x.shape[0], *out, kernel.shape[-1]))
    for tap in itertools.product(*(range(k) for k in sizes)):
        window = tuple(slice(t * dilation, t * dilation + (o - 1) * stride + 1, stride) for t, o in zip(tap, out))
        y += x[(slice(None), *window)] @ kernel[tap]
    return y


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def conv_lstm_step(x, h, c, w, **input_conv):
    """Spec 1.2. `w`: kernel, recurrent_kernel, bias, and peephole (i, f, o) or None; gates i, f, c, o."""
    a = conv(x, w["kernel"], **input_conv) if w.get("kernel") is not None else 0.0
    a = a + conv(h, w["recurrent_kernel"], dilation=w.get("recurrent_dilation", 1))
    a = a + (0.0 if w.get("bias") is None else w["bias"])
    a_i, a_f, a_c, a_o = np.split(a, 4, axis=-1)
    w_ci, w_cf, w_co = np.split(w["peephole"], 3, axis=-1) if w.get("peephole") is not None else (0.0, 0.0, 0.0)
    i = sigmoid(a_i + w_ci * c)
    f = sigmoid(a_f + w_cf * c)
    c = f * c + i * np.tanh(a_c)
    o = sigmoid(a_o + w_co * c)
    return o * np.tanh(c), c
