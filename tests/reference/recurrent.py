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


def deformable(x, kernel, offsets, modulation=None, groups=1):
    """Spec 2.1, tap by tap and pixel by pixel; offsets (B, H, W, 2GK) as (group, tap, (row, column))."""
    (b, height, width, channels), (kh, kw, _, filters) = x.shape, kernel.shape
    taps, size = kh * kw, channels // groups
    offsets = offsets.reshape(b, height, width, groups, taps, 2)
    m = np.ones((b, height, width, groups, taps)) if modulation is None else modulation
    m = m.reshape(b, height, width, groups, taps)
    y = np.zeros((b, height, width, filters))
    for n, r, c, g, t in np.ndindex(b, height, width, groups, taps):
        i, j = divmod(t, kw)
        row = r + i - (kh - 1) // 2 + offsets[n, r, c, g, t, 0]
        column = c + j - (kw - 1) // 2 + offsets[n, r, c, g, t, 1]
        part = slice(g * size, (g + 1) * size)
        value = np.zeros(size)
        for yy in (int(np.floor(row)), int(np.floor(row)) + 1):
            for xx in (int(np.floor(column)), int(np.floor(column)) + 1):
                if 0 <= yy < height and 0 <= xx < width:
                    value += (1 - abs(row - yy)) * (1 - abs(column - xx)) * x[n, yy, xx, part]
        y[n, r, c] += m[n, r, c, g, t] * value @ kernel[i, j, part]
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


def conv_gru_step(x, h, w, low=None, update_gate="new", reset_after=False):
    """Spec 3.1. `w`: kernel, recurrent_kernel, bias or None, lower_kernel (z, r) or None; gates z, r, candidate."""
    f = h.shape[-1]
    a_z, a_r, a_g = np.split(conv(x, w["kernel"]) + (0.0 if w.get("bias") is None else w["bias"]), 3, axis=-1)
    u_z, u_r, u = (w["recurrent_kernel"][..., n * f : (n + 1) * f] for n in range(3))
    if low is not None:
        a_z = a_z + conv(low, w["lower_kernel"][..., :f])
        a_r = a_r + conv(low, w["lower_kernel"][..., f : 2 * f])
        if w["lower_kernel"].shape[-1] == 3 * f:  # ours, not the lecture's
            a_g = a_g + conv(low, w["lower_kernel"][..., 2 * f :])
    z = sigmoid(a_z + conv(h, u_z))
    r = sigmoid(a_r + conv(h, u_r))
    g = np.tanh(a_g + (r * conv(h, u) if reset_after else conv(r * h, u)))
    return (1 - z) * h + z * g if update_gate == "new" else z * h + (1 - z) * g


def st_lstm_step(x, h, c, m, w):
    """Spec 4, gates i, f, g, i', f', g', o; biases only on the input transform."""
    f = h.shape[-1]
    xs = np.split(conv(x, w["kernel"]) + (0.0 if w.get("bias") is None else w["bias"]), 7, axis=-1)
    hs = np.split(conv(h, w["recurrent_kernel"]), 4, axis=-1)
    ms = np.split(conv(m, w["memory_kernel"]), 3, axis=-1)
    i, g = sigmoid(xs[0] + hs[0]), np.tanh(xs[2] + hs[2])
    c = sigmoid(xs[1] + hs[1] + 1) * c + i * g
    i2, g2 = sigmoid(xs[3] + ms[0]), np.tanh(xs[5] + ms[2])
    m = sigmoid(xs[4] + ms[1] + 1) * m + i2 * g2
    w_co, w_mo = w["output_kernel"][..., :f, :], w["output_kernel"][..., f:, :]
    o = sigmoid(xs[6] + hs[3] + conv(c, w_co) + conv(m, w_mo))
    fused = conv(c, w["fuse_kernel"][..., :f, :]) + conv(m, w["fuse_kernel"][..., f:, :])
    return o * np.tanh(fused), c, m


def layer_norm(x, w, epsilon=1e-5):
    """Statistics over all axes but the batch, gain and bias per channel."""
    axes = tuple(range(1, x.ndim))
    x = x - x.mean(axes, keepdims=True)
    return x / np.sqrt((x**2).mean(axes, keepdims=True) + epsilon) * w["gamma"] + w["beta"]


def recall(r, history):
    """Spec 5.1, `history` a list of maps (B, T, H, W, C); position by position."""
    b, c = r.shape[0], r.shape[-1]
    q = r.reshape(b, -1, c)
    k = np.stack(history, 1).reshape(b, -1, c)
    scores = np.einsum("bnc,bmc->bnm", q, k)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bnm,bmc->bnc", p / p.sum(-1, keepdims=True), k).reshape(r.shape)


def e3d_lstm_step(x, h, c, m, past_c, w, released=False, past_m=None, forget_bias=1.0):
    """Spec 5.1 and 5.5, every gate a convolution of its own, histories as lists of maps; past_c ends with c.

    `w`: per gate and source the kernel and, where there is one, the bias, e.g. w["x"]["r"], w["b"]["r"]; norms by name,
    absent where off. `past_m`: eidetic memory.
    """

    def source(name, value, gates):
        a = {g: conv(value, w[name][g]) + w[f"b_{name}"].get(g, 0.0) for g in gates}
        if f"{name}_norm" not in w:
            return a
        joined = layer_norm(np.concatenate([a[g] for g in gates], -1), w[f"{name}_norm"])
        return dict(zip(gates, np.split(joined, len(gates), -1)))

    r_gate = ["r"] if past_c else []
    of_x = source("x", x, [*r_gate, "i", "g", "i2", "f2", "g2", "o"])
    of_h = source("h", h, [*r_gate, "i", "g", "o"])
    of_m = source("m", m, ["i2", "f2", "g2", *["m"] * released])
    carried = c + recall(sigmoid(of_x["r"] + of_h["r"]), past_c) if past_c else c
    if "cell_norm" in w:
        carried = layer_norm(carried, w["cell_norm"])
    c = sigmoid(of_x["i"] + of_h["i"]) * np.tanh(of_x["g"] + of_h["g"]) + carried
    i2, g2 = sigmoid(of_x["i2"] + of_m["i2"]), np.tanh(of_x["g2"] + of_m["g2"])
    if past_m:
        carried = m + recall(sigmoid(of_x["f2"] + of_m["f2"]), past_m)
        m = i2 * g2 + (layer_norm(carried, w["memory_norm"]) if "memory_norm" in w else carried)
    else:
        m = i2 * g2 + sigmoid(of_x["f2"] + of_m["f2"] + forget_bias) * (np.tanh(of_m["m"]) if released else m)
    o = of_x["o"] + of_h["o"] + conv(c, w["c_o"]) + conv(m, w["m_o"]) + w.get("b_output", 0.0)
    o = sigmoid(np.tanh(o)) if released else sigmoid(o)
    fused = conv(c, w["c_1"]) + conv(m, w["m_1"]) + w["b_1"]
    return o * np.tanh(fused), c, m
