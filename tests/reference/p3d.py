"""P3D units in NumPy float64, written from the spec (recognition A2, A3, A9), loops and all."""

import numpy as np


def relu(x):
    return np.maximum(x, 0.0)


def spatial(x, kernel, stride=1):
    """1 x k x k convolution of x (B, T, H, W, C) with kernel (1, k, k, C, F), zeros of k // 2 around."""
    _, k, _, _, filters = kernel.shape
    p = k // 2
    batch, length, height, width, _ = x.shape
    padded = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p), (0, 0)])
    rows, columns = (height + 2 * p - k) // stride + 1, (width + 2 * p - k) // stride + 1
    out = np.zeros((batch, length, rows, columns, filters))
    for i in range(rows):
        for j in range(columns):
            window = padded[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            out[:, :, i, j] = np.einsum("btijc,ijcf->btf", window, kernel[0])
    return out


def temporal(x, kernel):
    """3 x 1 x 1 convolution, kernel (3, 1, 1, C, F): previous, current, next frame; zeros beyond the ends."""
    out = np.zeros((*x.shape[:-1], kernel.shape[-1]))
    for t in range(x.shape[1]):
        for tap, s in enumerate((t - 1, t, t + 1)):
            if 0 <= s < x.shape[1]:
                out[:, t] += x[:, s] @ kernel[tap, 0, 0]
    return out


def norm(x, weights, epsilon):
    gamma, beta, mean, variance = weights
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def merged(kind, merge, s, t, last=relu):
    if kind == "A":
        return last(t)
    if merge == "torch_port":
        return s + relu(t)
    if kind == "B":
        return last(s + t)
    return last(0.5 * s + 0.5 * t) if merge == "caffe" else last(s + t)


def bottleneck(x, w, kind, merge, stride, epsilon):
    """`w`: name -> (kernel, (gamma, beta, mean, variance)) of W1, S, T, W3 and, where there is one, W0."""

    def apply(name, x, stride=1):
        kernel, statistics = w[name]
        conv = temporal(x, kernel) if name == "T" else spatial(x, kernel, stride)
        return norm(conv, statistics, epsilon)

    u = relu(apply("W1", x, stride))
    s = relu(apply("S", u))
    z = s
    if kind is not None:
        z = merged(kind, merge, s, apply("T", u if kind == "B" else s))
    short = apply("W0", x, stride) if "W0" in w else x
    return relu(apply("W3", z) + short)


def basic(x, w, kind, merge, stride, epsilon):
    """Spec A9: two pairs; the second linear before the sum. B of a unit that changes shape reads s (ours)."""

    def apply(name, x, stride=1):
        kernel, statistics = w[name]
        conv = temporal(x, kernel) if name.startswith("T") else spatial(x, kernel, stride)
        return norm(conv, statistics, epsilon)

    s = relu(apply("S1", x, stride))
    z = s
    if kind is not None:
        z = merged(kind, merge, s, apply("T1", x if kind == "B" and "W0" not in w else s))
    s = apply("S2", z)
    y = s
    if kind is not None:
        y = merged(kind, merge, s, apply("T2", z if kind == "B" else s), last=lambda v: v)
    return relu(y + (apply("W0", x, stride) if "W0" in w else x))
