"""Recurrent cells and heads of recognition in NumPy float64, written from the spec (B2, C2, C3, C5, D, E, F, H2).

A recurrent layer is a dict of `kernel`, `recurrent_kernel` and `bias`, of four gates i, f, candidate, o joined in the
last axis; matrices for vectors, (rows, columns, in, 4 filters) for maps. An additive attention is a dict of `wc`
(channels, A), `wd` (query, A), `b` (A,), `u` (A,) and the number `c`. States come as (H, C), batch first.
"""

import numpy as np

from tests.reference.recurrent import conv
from tests.reference.recurrent import sigmoid as logistic


def double(*arrays):
    return [np.asarray(a, np.float64) for a in arrays]


def softmax(x, temperature=1.0):
    """Over the last axis of x / temperature."""
    x = np.asarray(x, np.float64) / temperature
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def lstm_gates(a, c):
    """New hidden state and cell from the joined pre-activation i, f, candidate, o and the old cell; no peepholes."""
    a_i, a_f, a_g, a_o = np.split(a, 4, axis=-1)
    c = logistic(a_f) * c + logistic(a_i) * np.tanh(a_g)
    return logistic(a_o) * np.tanh(c), c


def lstm_step(x, h, c, w):
    return lstm_gates(x @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"], c)


def conv_lstm_step(x, h, c, w):
    return lstm_gates(conv(x, w["kernel"]) + conv(h, w["recurrent_kernel"]) + w["bias"], c)


def spatial_attention(x, query, wc, wd, b, u, c, sigmoid=False, top=None, wt=None):
    """Z = u . tanh(x Wc + query Wd + b) + c at each position of x (B, H, W, C), normalised: (B, H, W).

    `query` and `top` are maps (B, H, W, F) or vectors (B, F), the same at every position; `top` Wt joins the sum.
    """
    x, query = double(x, query)
    batch, height, width, _ = x.shape

    def at(state, n, i, j):
        return state[n] if state.ndim == 2 else state[n, i, j]

    z = np.zeros((batch, height, width))
    for n, i, j in np.ndindex(batch, height, width):
        a = x[n, i, j] @ wc + at(query, n, i, j) @ wd + b
        if top is not None:
            a = a + at(top, n, i, j) @ wt
        z[n, i, j] = u @ np.tanh(a) + c
    return logistic(z) if sigmoid else softmax(z.reshape(batch, -1)).reshape(z.shape)


def conv_alstm(x, weights, initial, sigmoid=False):
    """ConvLSTM of A . X, attention from H_{t-1}; x (B, T, H, W, C); `weights`: attention, top.

    Returns the hidden maps (B, T, H, W, F) and the attention (B, T, H, W).
    """
    (x,), (h, c) = double(x), double(*initial)
    hidden, attention = [], []
    for t in range(x.shape[1]):
        a = spatial_attention(x[:, t], h, **weights["attention"], sigmoid=sigmoid)
        h, c = conv_lstm_step(a[..., None] * x[:, t], h, c, weights["top"])
        hidden.append(h)
        attention.append(a)
    return np.stack(hidden, 1), np.stack(attention, 1)


def motion_conv_alstm(x, flow, weights, initial, feed_top="gates", sigmoid=False):
    """VideoLSTM; x and flow (B, T, H, W, C); `weights`: attention, bottom, top; `initial`: H, C, Hm, Cm.

    `feed_top` says what H_{t-1} enters: "gates" through the bottom's `feed_kernel` (kernel of the bottom's size, no
    bias), "attention" through the attention's `wt` (F, A), or None. Returns the top hidden maps, the attention maps and
    the bottom hidden maps.
    """
    (x, flow), (h, c, hm, cm) = double(x, flow), double(*initial)
    bottom = weights["bottom"]
    hidden, attention, motion = [], [], []
    for t in range(x.shape[1]):
        a = conv(flow[:, t], bottom["kernel"]) + conv(hm, bottom["recurrent_kernel"]) + bottom["bias"]
        if feed_top == "gates":
            a = a + conv(h, bottom["feed_kernel"])
        hm, cm = lstm_gates(a, cm)
        top = h if feed_top == "attention" else None
        a = spatial_attention(x[:, t], hm, **weights["attention"], sigmoid=sigmoid, top=top)
        h, c = conv_lstm_step(a[..., None] * x[:, t], h, c, weights["top"])
        hidden.append(h)
        attention.append(a)
        motion.append(hm)
    return np.stack(hidden, 1), np.stack(attention, 1), np.stack(motion, 1)


def mean_initial_state(x, kernels_and_biases, mask=None):
    """One state per (kernel, bias), from the mean over time of x, of real steps only where there is a `mask` (B, T).

    A kernel (rows, columns, in, out) reads the mean map, tanh(conv); a matrix reads the mean over time and cells.
    """
    (x,) = double(x)
    mask = np.ones(x.shape[:2]) if mask is None else np.asarray(mask, np.float64)
    mean = np.zeros((x.shape[0], *x.shape[2:]))
    for n, t in np.ndindex(*mask.shape):
        mean[n] += mask[n, t] * x[n, t] / mask[n].sum()
    states = []
    for kernel, bias in kernels_and_biases:
        if kernel.ndim == 2:
            cells = mean.reshape(mean.shape[0], -1, mean.shape[-1])
            states.append(np.tanh(cells.mean(1) @ kernel + bias))
        else:
            states.append(np.tanh(conv(mean, kernel) + bias))
    return states


def alstm_attention(x, h, w, score):
    """Weights (B, H, W) of the cells of x (B, H, W, C) for the query h (B, F), by the score of that name."""
    if score == "bahdanau":
        return spatial_attention(x, h, **w)
    batch, height, width, _ = x.shape
    z = np.zeros((batch, height * width))
    for n, k in np.ndindex(*z.shape):
        cell = x[n, k // width, k % width]
        if score == "location":
            z[n, k] = w["w_loc"][:, k] @ h[n]
        elif score == "dot":
            z[n, k] = h[n] @ cell
        elif score == "bilinear":
            z[n, k] = h[n] @ w["w"] @ cell
        else:
            raise ValueError(score)
    return softmax(z).reshape(batch, height, width)


def alstm(x, weights, initial, num_layers, score="bahdanau"):
    """LSTMs, stacked, of the context sum_i A_i X_i; the query is the top layer's h_{t-1}; x (B, T, H, W, C).

    `weights`: attention (additive; or `w_loc` (F, H W) of location, `w` (F, C) of bilinear, nothing of dot) and layers,
    a list, the lowest first; `initial`: (h, c) of each layer. Returns the top h (B, T, F) and the attention.
    """
    (x,) = double(x)
    states = [double(*state) for state in initial]
    assert len(weights["layers"]) == len(states) == num_layers
    hidden, attention = [], []
    for t in range(x.shape[1]):
        a = alstm_attention(x[:, t], states[-1][0], weights.get("attention"), score)
        value = np.einsum("bhw,bhwc->bc", a, x[:, t])
        for n, layer in enumerate(weights["layers"]):
            states[n] = lstm_step(value, *states[n], layer)
            value = states[n][0]
        hidden.append(value)
        attention.append(a)
    return np.stack(hidden, 1), np.stack(attention, 1)


def motion_alstm(x, flow, weights, initial, feed_top="gates"):
    """As `motion_conv_alstm`, of vectors: flow (B, T, D), all kernels matrices, the top LSTM reads the context."""
    (x, flow), (h, c, hm, cm) = double(x, flow), double(*initial)
    bottom = weights["bottom"]
    hidden, attention, motion = [], [], []
    for t in range(x.shape[1]):
        a = flow[:, t] @ bottom["kernel"] + hm @ bottom["recurrent_kernel"] + bottom["bias"]
        if feed_top == "gates":
            a = a + h @ bottom["feed_kernel"]
        hm, cm = lstm_gates(a, cm)
        a = spatial_attention(x[:, t], hm, **weights["attention"], top=h if feed_top == "attention" else None)
        h, c = lstm_step(np.einsum("bhw,bhwc->bc", a, x[:, t]), h, c, weights["top"])
        hidden.append(h)
        attention.append(a)
        motion.append(hm)
    return np.stack(hidden, 1), np.stack(attention, 1), np.stack(motion, 1)


def attention_penalty(attention):
    """Sum over cells of (1 - sum over time)^2, one number per video; attention (B, T, cells...)."""
    (attention,) = double(attention)
    missing = 1.0 - attention.sum(1)
    return (missing**2).reshape(attention.shape[0], -1).sum(-1)


def multi_lstm(v, weights, window, initial=None):
    """LSTM of the attended last `window` frames of v (B, T, D); starts at zero unless told.

    `weights`: attention with `wh` (F, A), `wv` (D, A), `w` (A,); lstm. Returns h (B, T, F) and the attention
    (B, T, window), the current frame first, 0 before the first frame of the video.
    """
    (v,) = double(v)
    batch, length, _ = v.shape
    w = weights["attention"]
    filters = weights["lstm"]["recurrent_kernel"].shape[0]
    h, c = double(*initial) if initial is not None else (np.zeros((batch, filters)), np.zeros((batch, filters)))
    hidden, attention = np.zeros((batch, length, filters)), np.zeros((batch, length, window))
    for t in range(length):
        recent = min(window, t + 1)
        x = np.zeros((batch, v.shape[-1]))
        for n in range(batch):
            e = [(np.tanh(h[n] @ w["wh"]) * np.tanh(v[n, t - j] @ w["wv"])) @ w["w"] for j in range(recent)]
            attention[n, t, :recent] = softmax(e)
            for j in range(recent):
                x[n] += attention[n, t, j] * v[n, t - j]
        h, c = lstm_step(x, h, c, weights["lstm"])
        hidden[:, t] = h
    return hidden, attention


def overlap_average(o, window, beta=None, mask=None):
    """y_tau = sum_j beta_j O_{tau+j, j} / sum_j beta_j, both over the j with a real step tau+j; (B, T, K).

    `o`: (B, T, window, K) or (B, T, window K); row j of step t is of frame t-j. `beta` (window,) is 1 / window if none.
    """
    (o,) = double(o)
    batch, length = o.shape[:2]
    o = o.reshape(batch, length, window, -1)
    beta = np.full(window, 1.0 / window) if beta is None else np.asarray(beta, np.float64)
    mask = np.ones((batch, length)) if mask is None else np.asarray(mask, np.float64)
    y = np.zeros((batch, length, o.shape[-1]))
    for n, tau in np.ndindex(batch, length):
        total = 0.0
        for j in range(window):
            if tau + j < length and mask[n, tau + j]:
                y[n, tau] += beta[j] * o[n, tau + j, j]
                total += beta[j]
        y[n, tau] /= total or 1.0
    return y


def gru_rcn_level(x, lower, weights, initial=None):
    """Hidden maps (B, T, H, W, F) of one level; `lower` None or the level below, pooled to H x W, from the same step.

    `weights`: kernel and recurrent_kernel of z, r, candidate joined, lower_kernel of z, r, bias (3F,) or none.
    """
    (x,) = double(x)
    u_z, u_r, u_n = np.split(weights["recurrent_kernel"], 3, axis=-1)
    h = np.zeros((*x[:, 0].shape[:-1], u_z.shape[-1])) if initial is None else np.asarray(initial, np.float64)
    hidden = []
    for t in range(x.shape[1]):
        a_z, a_r, a_n = np.split(conv(x[:, t], weights["kernel"]) + weights.get("bias", 0.0), 3, axis=-1)
        if lower is not None:
            w_z, w_r = np.split(weights["lower_kernel"], 2, axis=-1)
            a_z = a_z + conv(lower[:, t], w_z)
            a_r = a_r + conv(lower[:, t], w_r)
        z = logistic(a_z + conv(h, u_z))
        r = logistic(a_r + conv(h, u_r))
        n = np.tanh(a_n + conv(r * h, u_n))
        h = (1 - z) * h + z * n
        hidden.append(h)
    return np.stack(hidden, 1)


def adaptive_max_pool(x, size):
    """Maximum of the blocks that cut the maps x (..., H, W, C) into `size` (rows, columns), sizes that divide H, W."""
    (x,) = double(x)
    rows, columns = size
    high, wide = x.shape[-3] // rows, x.shape[-2] // columns
    assert (high * rows, wide * columns) == x.shape[-3:-1]
    y = np.zeros((*x.shape[:-3], rows, columns, x.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        block = x[..., i * high : (i + 1) * high, j * wide : (j + 1) * wide, :]
        y[..., i, j, :] = block.max((-3, -2))
    return y


def peephole_lstm(x, weights, initial=None):
    """x (B, T, D); `weights` of a recurrent layer and `peephole` (3F,) of i, f, o. Returns h and c (B, T, F)."""
    (x,) = double(x)
    w_ci, w_cf, w_co = np.split(weights["peephole"], 3)
    zeros = np.zeros((x.shape[0], w_ci.size))
    h, c = double(*initial) if initial is not None else (zeros, zeros)
    hidden, cells = [], []
    for t in range(x.shape[1]):
        a = x[:, t] @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights["bias"]
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=-1)
        i = logistic(a_i + w_ci * c)
        f = logistic(a_f + w_cf * c)
        c = f * c + i * np.tanh(a_g)
        h = logistic(a_o + w_co * c) * np.tanh(c)
        hidden.append(h)
        cells.append(c)
    return np.stack(hidden, 1), np.stack(cells, 1)


def stacked_peephole_lstm(x, layers, initial=None):
    """h and c of the top layer; `layers`: weights, the lowest first; `initial`: (h, c) of each layer."""
    h, c = x, None
    for n, weights in enumerate(layers):
        h, c = peephole_lstm(h, weights, None if initial is None else initial[n])
    return h, c


def dense(x, layer):
    kernel, bias = layer
    return x @ kernel + bias


def fc(x, layer):
    return np.maximum(dense(x, layer), 0.0)


def window_count(length, size=10, stride=5):
    return max(1, (length - size) // stride + 1)


def windows_max(frames, size=10, stride=5):
    """Maximum over time within each window, flat: (windows, h w c); a video shorter than a window is one window."""
    starts = [stride * n for n in range(window_count(len(frames), size, stride))]
    return np.stack([frames[s : s + size].max(0).ravel() for s in starts])


# The heads of Beyond Short Snippets: maps (T, h, w, c) of one video, flattened in that order, and three (kernel, bias):
# two rectified layers and the classifier. They return logits (K,).


def bss_conv(frames, layers):
    (frames,) = double(frames)
    fc1, fc2, last = layers
    return dense(fc(fc(frames.max(0).ravel(), fc1), fc2), last)


def bss_late(frames, layers):
    (frames,) = double(frames)
    fc1, fc2, last = layers
    return dense(np.stack([fc(fc(f.ravel(), fc1), fc2) for f in frames]).max(0), last)


def bss_slow(frames, layers, size=10, stride=5):
    (frames,) = double(frames)
    fc1, fc2, last = layers
    return dense(fc(np.stack([fc(w, fc1) for w in windows_max(frames, size, stride)]).max(0), fc2), last)


def bss_local(frames, layers, size=10, stride=5):
    """The classifier's kernel has one block of rows per window, the first window's first."""
    (frames,) = double(frames)
    fc1, fc2, last = layers
    return dense(np.concatenate([fc(fc(w, fc1), fc2) for w in windows_max(frames, size, stride)]), last)


def bss_time_domain(frames, convolution, layers, stride=5, rectify=True):
    """`convolution`: kernel (10, 3, 3, c, filters) and bias; zeros around each map, none before or after the video."""
    (frames,) = double(frames)
    fc1, fc2, last = layers
    kernel, bias = convolution
    taps = len(kernel)
    assert len(frames) >= taps
    maps = []
    for start in range(0, len(frames) - taps + 1, stride):
        a = bias + sum(conv(frames[start + k][None], kernel[k])[0] for k in range(taps))
        maps.append(np.maximum(a, 0.0) if rectify else a)
    return dense(fc(fc(np.stack(maps).max(0).ravel(), fc1), fc2), last)


def linear_gains(length):
    """0 to 1 along the steps; the only step of a video of one counts 1."""
    return np.array([t / (length - 1) for t in range(length)]) if length > 1 else np.ones(1)


def aggregate(p, how):
    """Scores (B, K) of the videos from those of their steps p (B, T, K)."""
    (p,) = double(p)
    if how == "last":
        return p[:, -1]
    if how == "max":
        return p.max(1)
    if how == "mean":
        return p.mean(1)
    if how == "linear":
        g = linear_gains(p.shape[1])
        return np.einsum("t,btk->bk", g, p) / g.sum()
    raise ValueError(how)


def gain_weighted_loss(p, labels, gains=None):
    """sum_t g_t CE_t / sum_t g_t of each video, g linear by default; p (B, T, K) probabilities, labels (B,) indices."""
    (p,) = double(p)
    g = linear_gains(p.shape[1]) if gains is None else np.asarray(gains, np.float64)
    loss = np.zeros(len(p))
    for n, t in np.ndindex(*p.shape[:2]):
        loss[n] += g[t] * -np.log(p[n, t, labels[n]]) / g.sum()
    return loss


def mean_loss(p, labels):
    return np.array([np.mean([-np.log(step[label]) for step in video]) for video, label in zip(p, labels)])


def fuse(p, q, w):
    """Convex combination of the scores of two models."""
    p, q = double(p, q)
    return w * p + (1.0 - w) * q


def clip_and_video_accuracy(p, labels):
    """Of clip scores p (V, clips, K): the share of clips right by themselves, and of videos right by their mean."""
    p, labels = np.asarray(p, np.float64), np.asarray(labels)
    clips = [float(np.argmax(clip) == label) for video, label in zip(p, labels) for clip in video]
    videos = [float(np.argmax(video.mean(0)) == label) for video, label in zip(p, labels)]
    return np.mean(clips), np.mean(videos)
