"""YouTube-8M models in NumPy float64, written from the spec (recognition G2, G3).

A video is its real frames (T, D), without padding; videos of a batch are a list. A batch normalisation is a dict of
`gamma`, `beta`, `mean` and `variance`; epsilon is 1e-3.
"""

import numpy as np

from tests.reference.recurrent import sigmoid

EPSILON = 1e-3


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def unit(x, axis=-1):
    """x / |x|, a zero stays zero."""
    return x / np.sqrt(np.maximum((x * x).sum(axis, keepdims=True), 1e-12))


def normalised(x, bn):
    return bn["gamma"] * (x - bn["mean"]) / np.sqrt(bn["variance"] + EPSILON) + bn["beta"]


def statistics(videos):
    """Mean and variance of every feature over all real frames of all videos."""
    frames = np.concatenate(videos)
    mean = sum(frames) / len(frames)
    return mean, sum((frame - mean) ** 2 for frame in frames) / len(frames)


def evenly_spaced(length, frames):
    """Which of `length` frames stand for the middles of `frames` equal parts of the video."""
    return [int((n + 0.5) * length / frames) for n in range(frames)]


# Heads


def mixture(x, gate, expert, bias, experts):
    """p = sum_m softmax(g)_m s(e_m) of every class; x (B, D); class-major columns, the last gate of each the dummy."""
    classes = expert.shape[1] // experts
    p = np.zeros((len(x), classes))
    for n, k in np.ndindex(*p.shape):
        g = softmax(np.array([x[n] @ gate[:, k * (experts + 1) + m] for m in range(experts + 1)]))
        for m in range(experts):
            column = k * experts + m
            p[n, k] += g[m] * sigmoid(x[n] @ expert[:, column] + bias[column])
    return p


def gated(x, kernel, bn):
    """y = x . s(BN(x W)), of features or of probabilities."""
    return x * sigmoid(normalised(x @ kernel, bn))


# Bags of frames: one vector a video


def deep_bag(videos, w, pool=np.max, activation=sigmoid):
    """`w`: input_bn, clusters (D, K), clusters_bn, hidden (K, H), hidden_bn."""
    bags = []
    for x in videos:
        a = activation(normalised(normalised(x, w["input_bn"]) @ w["clusters"], w["clusters_bn"]))
        bags.append(pool(a, axis=0))
    return activation(normalised(np.stack(bags) @ w["hidden"], w["hidden_bn"]))


def assignment(x, w):
    """a = softmax(BN(x Wc)), (T, K); `w`: clusters (D, K), clusters_bn."""
    return softmax(normalised(x @ w["clusters"], w["clusters_bn"]))


def vlad(videos, w):
    """V_k = sum_t a_tk (x_t - c_k), each a unit vector, then all of them as one; `w`: also centres (K, D) or None."""
    out = []
    for x in videos:
        a = assignment(x, w)
        rows = np.zeros((a.shape[1], x.shape[1]))
        for t, k in np.ndindex(*a.shape):
            rows[k] += a[t, k] * (x[t] - (0.0 if w.get("centres") is None else w["centres"][k]))
        out.append(unit(unit(rows).reshape(-1)))
    return np.stack(out)


def soft_bag(videos, w):
    """How much of the video each cluster gets, a unit vector."""
    return np.stack([unit(sum(assignment(x, w))) for x in videos])


def gated_bag(videos, w):
    """Soft counts times s(BN(unit(max_t a) Wa Wb)), a unit vector; `w`: also down (K, D), up (D, K), gates_bn."""
    out = []
    for x in videos:
        a = assignment(x, w)
        gates = normalised(unit(a.max(0)) @ w["down"] @ w["up"], w["gates_bn"])
        out.append(unit(a.sum(0) * sigmoid(gates)))
    return np.stack(out)


def fisher(videos, w):
    """First and second order; `w`: also centres (K, D), scales (K, D), of which s = scales^2 + 1e-6."""
    c, s, out = w["centres"], w["scales"] ** 2 + 1e-6, []
    for x in videos:
        a = assignment(x, w)
        first, second = np.zeros_like(c), np.zeros_like(c)
        for t, k in np.ndindex(*a.shape):
            first[k] += a[t, k] * (x[t] - c[k]) / s[k]
            second[k] += a[t, k] * (x[t] ** 2 - 2 * c[k] * x[t] + c[k] ** 2) / s[k] ** 2 - a[t, k]
        out.append(np.concatenate([unit(unit(first).reshape(-1)), unit(second.reshape(-1))]))
    return np.stack(out)


def attended(h, vector):
    """sum_t softmax_t(w . h_t) h_t of one video (T, C), and the weights."""
    weights = softmax(np.array([frame @ vector for frame in h]))
    return sum(weight * frame for weight, frame in zip(weights, h)), weights


# Recurrence: one video (T, D); `w` of an LSTM: kernel, recurrent, bias, peephole (i, f, o); gates i, f, candidate, o


def lstm_step(a, c, peephole, activation=np.tanh):
    """h and c from the joined pre-activation; the output gate sees the new cell."""
    (a_i, a_f, a_g, a_o), (p_i, p_f, p_o) = np.split(a, 4), np.split(peephole, 3)
    i, f = sigmoid(a_i + p_i * c), sigmoid(a_f + p_f * c)
    c = f * c + i * activation(a_g)
    return sigmoid(a_o + p_o * c) * np.tanh(c), c


def recurrent(gates, w, cell="lstm", backward=False, activation=np.tanh):
    """Hidden states (T, H) over pre-gates (T, 4 H or 3 H) that hold the input's part; bias and recurrence are added.

    A GRU has gates z, r, candidate, resets before its product and lets z weigh the new value.
    """
    size, bias = w["recurrent"].shape[0], w["bias"]
    h, c, out = np.zeros(size), np.zeros(size), np.zeros((len(gates), size))
    for t in range(len(gates))[:: -1 if backward else 1]:
        a = gates[t] + bias
        if cell == "lstm":
            h, c = lstm_step(a + h @ w["recurrent"], c, w["peephole"], activation)
        else:
            u_z, u_r, u = np.split(w["recurrent"], 3, axis=1)
            a_z, a_r, a_g = np.split(a, 3)
            z, r = sigmoid(a_z + h @ u_z), sigmoid(a_r + h @ u_r)
            h = (1 - z) * h + z * np.tanh(a_g + (r * h) @ u)
        out[t] = h
    return out


def two_stream(videos, streams, head, cell="lstm"):
    """Logits. `videos`: a tuple of streams (T, D) each; `streams`: embed and embed_bias, forward, backward, vector."""
    out = []
    for video in videos:
        vectors = []
        for x, w in zip(video, streams):
            x = np.tanh(x @ w["embed"] + w["embed_bias"])
            both = [
                recurrent(x @ w[way]["kernel"], w[way], cell, backward=way == "backward")
                for way in ("forward", "backward")
            ]
            vectors.append(attended(np.concatenate(both, axis=1), w["vector"])[0])
        out.append(dense_head(np.concatenate(vectors), head))
    return np.stack(out)


def dense_head(x, head):
    """Dense ReLU, dense tanh, dense; `head`: three (kernel, bias)."""
    (w1, b1), (w2, b2), (w3, b3) = head
    return np.tanh(np.maximum(x @ w1 + b1, 0) @ w2 + b2) @ w3 + b3


def fast_forward(x, levels, cell="lstm", first="forward", activation=np.tanh):
    """a^L (T, 4 H or 3 H) and h^L (T, H) of one chain; directions alternate.

    A level: path (F, or W^1 of the first), hidden (W, none of the first), path_bias, and the recurrent layer's own.
    """
    a, h = np.asarray(x, np.float64), None
    for n, w in enumerate(levels):
        a = a @ w["path"] + w["path_bias"]
        if n:
            a = a + h @ w["hidden"]
        h = recurrent(a, w, cell, backward=(n % 2 == 1) != (first == "backward"), activation=activation)
    return a, h


# Temporal residual CNN


def centred(x, frames):
    """(T, D) in the middle of `frames` zeros; of a longer video the middle is left."""
    left, out = (frames - len(x)) // 2, np.zeros((frames, x.shape[1]))
    for t in range(len(x)):
        if 0 <= left + t < frames:
            out[left + t] = x[t]
    return out


def conv(x, kernel, stride=1, pad=0):
    """Cross-correlation over time, `pad` zeros on both sides; (T, C), kernel (k, C, F)."""
    x, size = np.pad(x, ((pad, pad), (0, 0))), len(kernel)
    steps = (len(x) - size) // stride + 1
    return np.stack([np.einsum("kc,kcf->f", x[t * stride : t * stride + size], kernel) for t in range(steps)])


def ceil_max(x, size=3, stride=2):
    """Maxima over windows; the last one may be cut."""
    steps = -((size - len(x)) // stride) + 1
    return np.stack([x[t * stride : t * stride + size].max(0) for t in range(steps)])


def relu_normalised(x, bn):
    return np.maximum(normalised(x, bn), 0)


def residual_block(x, w):
    """x + conv3(BN-ReLU(conv3(BN-ReLU(x)))); `w`: bn1, conv1, bn2, conv2."""
    y = conv(relu_normalised(x, w["bn1"]), w["conv1"], pad=1)
    return x + conv(relu_normalised(y, w["bn2"]), w["conv2"], pad=1)


def temporal_resnet(videos, w, frames):
    """The mean over time; `w`: conv1, bn1, stages (bn, conv, blocks), bn. The first stage halves time once more."""
    out = []
    for x in videos:
        x = relu_normalised(conv(centred(x, frames), w["conv1"], 2, 3), w["bn1"])
        for n, stage in enumerate(w["stages"]):
            x = conv(relu_normalised(ceil_max(x), stage["bn"]), stage["conv"], 1 if n else 2)
            for block in stage["blocks"]:
                x = residual_block(x, block)
        out.append(relu_normalised(x, w["bn"]).mean(0))
    return np.stack(out)
