"""The witnesses of recognition against the values and identities that the spec prints."""

import numpy as np
import pytest

from tests.reference import recognition as r
from tests.reference import recurrent

B, T, H, W, C, F, A, M = 2, 3, 2, 3, 4, 5, 3, 2


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def attention_weights(rng, channels=C, query=F):
    return {
        "wc": rng.normal(size=(channels, A)),
        "wd": rng.normal(size=(query, A)),
        "b": rng.normal(size=A),
        "u": rng.normal(size=A),
        "c": rng.normal(),
    }


def layer(rng, inputs, units, size=None, feed=None):
    """Weights of an LSTM, of a ConvLSTM where there is a `size`; `feed` units of another state enter it too."""
    space = () if size is None else (size, size)
    w = {
        "kernel": rng.normal(size=(*space, inputs, 4 * units)) * 0.5,
        "recurrent_kernel": rng.normal(size=(*space, units, 4 * units)) * 0.5,
        "bias": rng.normal(size=4 * units) * 0.5,
    }
    if feed is not None:
        w["feed_kernel"] = rng.normal(size=(*space, feed, 4 * units)) * 0.5
    return w


def states(rng, units, space=(H, W)):
    return tuple(rng.normal(size=(B, *space, u)) for u in units for _ in "hc")


def conv_lstm(x, h, c, w):
    hidden = []
    for t in range(x.shape[1]):
        h, c = recurrent.conv_lstm_step(x[:, t], h, c, w)
        hidden.append(h)
    return np.stack(hidden, 1)


def lstm(x, h, c, w):
    """An LSTM is a ConvLSTM of 1 x 1 maps (B7.3)."""
    w = {**w, "kernel": w["kernel"][None, None], "recurrent_kernel": w["recurrent_kernel"][None, None]}
    return conv_lstm(x[:, :, None, None], h[:, None, None], c[:, None, None], w)[:, :, 0, 0]


def test_attention_by_hand():  # B7.8
    x = np.array([1.0, 3.0]).reshape(1, 1, 1, 2, 1)
    ones = {"wc": np.ones((1, 1)), "wd": np.ones((1, 1)), "b": np.zeros(1), "u": np.ones(1), "c": 0.0}
    for query in (np.zeros((1, 1)), np.zeros((1, 1, 2, 1))):
        close(r.spatial_attention(x[:, 0], query, **ones), [[[0.441899, 0.558101]]], 1e-6)
    sigmoid = r.spatial_attention(x[:, 0], np.zeros((1, 1)), **ones, sigmoid=True)
    close(sigmoid, 1 / (1 + np.exp(-np.array([[[0.761594, 0.995055]]]))), 1e-6)

    def hidden(value):  # all weights 1, from zeros
        gate = 1 / (1 + np.exp(-value))
        return gate * np.tanh(gate * np.tanh(value))

    w = {"kernel": np.ones((1, 4)), "recurrent_kernel": np.ones((1, 4)), "bias": np.zeros(4)}
    h, a = r.alstm(x, {"attention": ones, "layers": [w]}, [(np.zeros((1, 1)),) * 2], 1)
    close(a, [[[[0.441899, 0.558101]]]], 1e-6)
    close(h, [[[hidden(2.116203)]]], 1e-6)
    w = {**w, "kernel": np.ones((1, 1, 1, 4)), "recurrent_kernel": np.ones((1, 1, 1, 4))}
    h, a = r.conv_alstm(x, {"attention": ones, "top": w}, (np.zeros((1, 1, 2, 1)),) * 2)
    close(h.ravel(), hidden(np.array([0.441899, 1.674303])), 1e-6)


def test_attention_is_the_equation(rng):  # B2, E
    x, h, top, w = (
        rng.normal(size=(B, H, W, C)),
        rng.normal(size=(B, F)),
        rng.normal(size=(B, 2)),
        attention_weights(rng),
    )
    wt, bilinear = rng.normal(size=(2, A)), rng.normal(size=(F, C))
    z = np.tanh(x @ w["wc"] + (h @ w["wd"] + w["b"] + top @ wt)[:, None, None]) @ w["u"] + w["c"]
    close(r.spatial_attention(x, h, **w, top=top, wt=wt), r.softmax(z.reshape(B, -1)).reshape(z.shape))
    close(r.spatial_attention(x, h, **w, sigmoid=True, top=top, wt=wt), recurrent.sigmoid(z))
    z = np.einsum("bhwc,fc,bf->bhw", x, bilinear, h)
    expected = r.softmax(z.reshape(B, -1)).reshape(z.shape)
    close(r.alstm_attention(x, h, {"w": bilinear}, "bilinear"), expected)
    close(r.alstm_attention(x, h @ bilinear, None, "dot"), expected)


def test_uniform_attention_divides(rng):  # B7.1
    x, initial = rng.normal(size=(B, T, H, W, C)), states(rng, [F])
    w = {"attention": {**attention_weights(rng), "u": np.zeros(A), "c": 0.0}, "top": layer(rng, C, F, 3)}
    h, a = r.conv_alstm(x, w, initial)
    close(a, np.full((B, T, H, W), 1 / (H * W)))
    close(h, conv_lstm(x / (H * W), *initial, w["top"]))


def test_one_cell(rng):  # B7.3
    x, (h, c) = rng.normal(size=(B, T, 1, 1, C)), states(rng, [F], ())
    attention, w = attention_weights(rng), layer(rng, C, F)
    padded = {k: np.pad(v[None, None], [(1, 1), (1, 1), (0, 0), (0, 0)]) for k, v in w.items() if k != "bias"}
    maps, a = r.conv_alstm(x, {"attention": attention, "top": {**w, **padded}}, (h[:, None, None], c[:, None, None]))
    vectors, _ = r.alstm(x, {"attention": attention, "layers": [w]}, [(h, c)], 1)
    close(a, np.ones((B, T, 1, 1)))
    close(maps[:, :, 0, 0], vectors)
    close(vectors, lstm(x[:, :, 0, 0], h, c, w))


def test_context_is_sum_of_attended_map(rng):  # B7.4
    x = rng.normal(size=(B, T, H, W, C))
    attention, w = attention_weights(rng), layer(rng, C, F)
    h, c = states(rng, [F], ())
    maps = tuple(np.broadcast_to(s[:, None, None], (B, H, W, F)) for s in (h, c))
    _, of_maps = r.conv_alstm(x, {"attention": attention, "top": layer(rng, C, F, 3)}, maps)
    hidden, of_vectors = r.alstm(x, {"attention": attention, "layers": [w]}, [(h, c)], 1)
    close(of_maps[:, 0], of_vectors[:, 0])
    assert np.abs(of_maps[:, 1] - of_vectors[:, 1]).max() > 1e-3
    contexts = (of_vectors[..., None] * x).sum((2, 3))
    close(hidden, lstm(contexts, h, c, w))


def motion_weights(rng):
    return {
        "attention": attention_weights(rng, query=M),
        "bottom": layer(rng, 2, M, 3, feed=F),
        "top": layer(rng, C, F, 3),
    }


def test_motion_without_feed(rng):  # B7.5
    x, flow = rng.normal(size=(B, T, H, W, C)), rng.normal(size=(B, T, H, W, 2))
    w, initial = motion_weights(rng), states(rng, [F, M])
    fed = r.motion_conv_alstm(x, flow, w, initial)
    cut = {**w, "bottom": {**w["bottom"], "feed_kernel": np.zeros((3, 3, F, 4 * M))}}
    without = r.motion_conv_alstm(x, flow, cut, initial)
    for a, b in zip(without, r.motion_conv_alstm(x, flow, w, initial, feed_top=None)):
        close(a, b)
    close(without[2], conv_lstm(flow, *initial[2:], w["bottom"]))
    assert np.abs(fed[2] - without[2]).max() > 1e-3
    wt = {**w, "attention": {**w["attention"], "wt": np.zeros((F, A))}}
    for a, b in zip(without, r.motion_conv_alstm(x, flow, wt, initial, feed_top="attention")):
        close(a, b)
    cut["attention"] = {**w["attention"], "wd": np.zeros((M, A))}
    _, seen, _ = r.motion_conv_alstm(x, flow, cut, initial)
    _, other, _ = r.motion_conv_alstm(x, rng.normal(size=flow.shape), cut, states(rng, [F, M]))
    close(seen, other)


def test_motion_reads_the_current_bottom_and_the_last_top(rng):  # B2
    x, flow = rng.normal(size=(B, 1, H, W, C)), rng.normal(size=(B, 1, H, W, 2))
    w, (h, c, hm, cm) = motion_weights(rng), states(rng, [F, M])
    hidden, attention, bottom = r.motion_conv_alstm(x, flow, w, (h, c, hm, cm))
    joined = {**w["bottom"], "kernel": np.concatenate([w["bottom"]["kernel"], w["bottom"]["feed_kernel"]], 2)}
    new, _ = recurrent.conv_lstm_step(np.concatenate([flow[:, 0], h], -1), hm, cm, joined)
    close(bottom[:, 0], new)
    a = r.spatial_attention(x[:, 0], new, **w["attention"])
    close(attention[:, 0], a)
    close(hidden[:, 0], recurrent.conv_lstm_step(a[..., None] * x[:, 0], h, c, w["top"])[0])


def test_motion_alstm_is_motion_conv_alstm_on_one_cell(rng):  # B7.3
    x, flow = rng.normal(size=(B, T, 1, 1, C)), rng.normal(size=(B, T, 2))
    w = {"attention": attention_weights(rng, query=M), "bottom": layer(rng, 2, M, feed=F), "top": layer(rng, C, F)}
    w["attention"]["wt"] = rng.normal(size=(F, A))
    initial = states(rng, [F, M], ())
    maps = {part: {k: v if k == "bias" else v[None, None] for k, v in w[part].items()} for part in ("bottom", "top")}
    of_maps = tuple(s[:, None, None] for s in initial)
    for feed in ("gates", "attention", None):
        h, a, hm = r.motion_alstm(x, flow, w, initial, feed)
        wide = r.motion_conv_alstm(x, flow[:, :, None, None], {**w, **maps}, of_maps, feed)
        close(h, wide[0][:, :, 0, 0])
        close(a, wide[1])
        close(hm, wide[2][:, :, 0, 0])


def test_attention_sums_shifts_and_permutes(rng):  # B7.6
    x, query, w = rng.normal(size=(B, H, W, C)), rng.normal(size=(B, H, W, F)), attention_weights(rng)
    a = r.spatial_attention(x, query, **w)
    close(a.sum((1, 2)), np.ones(B))
    close(r.spatial_attention(x, query, **{**w, "c": w["c"] + 7.0}), a)
    order = rng.permutation(H * W)

    def permuted(m):
        return m.reshape(B, H * W, -1)[:, order].reshape(m.shape)

    close(r.spatial_attention(permuted(x), permuted(query), **w), permuted(a))


def test_mean_initial_state(rng):  # B2; padding by mask (0)
    x = rng.normal(size=(B, T, H, W, C))
    maps, vectors = (rng.normal(size=(3, 3, C, F)), rng.normal(size=F)), (rng.normal(size=(C, F)), rng.normal(size=F))
    a, b = r.mean_initial_state(x, [maps, vectors])
    close(a, np.tanh(recurrent.conv(x.mean(1), maps[0]) + maps[1]))
    close(b, np.tanh(x.mean((1, 2, 3)) @ vectors[0] + vectors[1]))
    (v,) = r.mean_initial_state(x[:, :, 0, 0], [vectors])
    close(v, np.tanh(x[:, :, 0, 0].mean(1) @ vectors[0] + vectors[1]))
    padded = np.concatenate([x, rng.normal(size=x.shape)], 1)
    for full, short in zip(
        r.mean_initial_state(padded, [maps, vectors], np.arange(2 * T) < T * np.ones((B, 1))), (a, b)
    ):
        close(full, short)


@pytest.mark.parametrize("score", ["bahdanau", "location", "dot", "bilinear"])
def test_alstm_scores(score, rng):  # E
    channels = F if score == "dot" else C
    x, layers = rng.normal(size=(B, T, H, W, channels)), [layer(rng, channels, F), layer(rng, F, F), layer(rng, F, F)]
    attention = {
        "bahdanau": attention_weights(rng),
        "location": {"w_loc": rng.normal(size=(F, H * W))},
        "dot": {},
        "bilinear": {"w": rng.normal(size=(F, C))},
    }[score]
    initial = [states(rng, [F], ()) for _ in layers]
    h, a = r.alstm(x, {"attention": attention, "layers": layers}, initial, 3, score)
    close(a.sum((2, 3)), np.ones((B, T)))
    value = (a[..., None] * x).sum((2, 3))
    for w, state in zip(layers, initial):
        value = lstm(value, *state, w)
    close(h, value)
    order = rng.permutation(H * W)
    other = x.reshape(B, T, H * W, channels)[:, :, order].reshape(x.shape)
    moved, b = r.alstm(other, {"attention": attention, "layers": layers}, initial, 3, score)
    if score == "location":
        close(a[:, 0], b[:, 0])
        assert np.abs(moved - h).max() > 1e-3
    else:
        close(a.reshape(B, T, -1)[..., order], b.reshape(B, T, -1))
        close(moved, h)


def test_alstm_query_is_the_top_layer(rng):  # E
    layers, w_loc = [layer(rng, C, F), layer(rng, F, F)], rng.normal(size=(F, H * W))
    initial = [states(rng, [F], ()), states(rng, [F], ())]
    x = rng.normal(size=(B, T, H, W, C))
    h, a = r.alstm(x, {"attention": {"w_loc": w_loc}, "layers": layers}, initial, 2, "location")
    close(a[:, 0].reshape(B, -1), r.softmax(initial[1][0] @ w_loc))
    close(a[:, 1:].reshape(B, T - 1, -1), r.softmax(h[:, :-1] @ w_loc))


def test_uniform_alstm_is_average_pooled(rng):  # E
    x, w, (h, c) = rng.normal(size=(B, T, H, W, C)), layer(rng, C, F), states(rng, [F], ())
    flat = {**attention_weights(rng), "u": np.zeros(A)}
    hidden, _ = r.alstm(x, {"attention": flat, "layers": [w]}, [(h, c)], 1)
    close(hidden, lstm(x.mean((2, 3)), h, c, w))


def test_penalty():  # E
    close(r.attention_penalty(np.tile([1.0, 0.0], (1, 3, 1))), [5.0])
    close(r.attention_penalty(np.eye(49).reshape(1, 49, 7, 7)), [0.0])
    both = np.stack([np.tile([1.0, 0.0], (2, 1)), np.eye(2)])
    close(r.attention_penalty(both), [2.0, 0.0])


def multi_weights(rng, d=4):
    attention = {"wh": rng.normal(size=(F, A)), "wv": rng.normal(size=(d, A)), "w": rng.normal(size=A)}
    return {"attention": attention, "lstm": layer(rng, d, F)}


def test_multi_lstm(rng):  # F
    v, w, zeros = rng.normal(size=(B, 6, 4)), multi_weights(rng), np.zeros((B, F))
    h, a = r.multi_lstm(v, w, 3)
    close(a.sum(-1), np.ones((B, 6)))
    close(a[:, 0], np.tile([1.0, 0.0, 0.0], (B, 1)))
    close(a[:, 1, 2], np.zeros(B))
    x = a[..., 0, None] * v
    for j in (1, 2):
        x[:, j:] += a[:, j:, j, None] * v[:, :-j]
    close(h, lstm(x, zeros, zeros, w["lstm"]))
    e = np.einsum(
        "a,ba,bja->bj",
        w["attention"]["w"],
        *(np.tanh(s @ w["attention"][k]) for s, k in ((h[:, 3], "wh"), (v[:, [4, 3, 2]], "wv"))),
    )
    close(a[:, 4], r.softmax(e))
    h, a = r.multi_lstm(v, w, 1)
    close(a, np.ones((B, 6, 1)))
    close(h, lstm(v, zeros, zeros, w["lstm"]))
    w["attention"]["w"] = np.zeros(A)
    h, a = r.multi_lstm(v, w, 3)
    moving = np.stack([v[:, max(0, t - 2) : t + 1].mean(1) for t in range(6)], 1)
    close(h, lstm(moving, zeros, zeros, w["lstm"]))


def test_overlap_average(rng):  # F
    length, window, classes = 7, 3, 2
    q, o = rng.normal(size=(B, length, classes)), rng.normal(size=(B, length, window, classes))
    for t in range(length):
        for j in range(min(window, t + 1)):
            o[:, t, j] = q[:, t - j]
    for beta in (None, [0.7, 0.2, 0.1], [2.0, 1.0, 3.0]):
        close(r.overlap_average(o, window, beta), q)
        close(r.overlap_average(o.reshape(B, length, -1), window, beta), q)
    y = r.overlap_average(o, window, [0.7, 0.2, 0.1], np.arange(length) < 5 * np.ones((B, 1)))
    close(y[:, :5], r.overlap_average(o[:, :5], window, [0.7, 0.2, 0.1]))
    changed = rng.normal(size=o.shape)
    changed[:, :5] = o[:, :5]  # frame 5 changed, all that comes after it too
    close(r.overlap_average(changed, window)[:, : 5 - window + 1], q[:, : 5 - window + 1])


def gru_weights(rng):
    return {
        "kernel": rng.normal(size=(3, 3, C, 3 * F)) * 0.3,
        "recurrent_kernel": rng.normal(size=(3, 3, F, 3 * F)) * 0.3,
        "lower_kernel": rng.normal(size=(3, 3, M, 2 * F)) * 0.3,
    }


def test_gru_rcn(rng):  # D
    x, lower, w = rng.normal(size=(B, T, H, W, C)), rng.normal(size=(B, T, H, W, M)), gru_weights(rng)
    h0 = rng.normal(size=(B, H, W, F))
    w["bias"] = rng.normal(size=3 * F)
    for low in (None, lower):
        h, expected = h0, []
        for t in range(T):
            h = recurrent.conv_gru_step(x[:, t], h, w, None if low is None else low[:, t])
            expected.append(h)
        close(r.gru_rcn_level(x, low, w, h0), np.stack(expected, 1))
    plain = r.gru_rcn_level(x, None, w)
    close(r.gru_rcn_level(x, lower, {**w, "lower_kernel": np.zeros((3, 3, M, 2 * F))}), plain)
    shut = np.concatenate([np.full(F, -100.0), np.zeros(2 * F)])
    close(r.gru_rcn_level(x, None, {**w, "bias": shut}, h0), np.tile(h0[:, None], (1, T, 1, 1, 1)))


def test_adaptive_max_pool(rng):  # D
    x = np.arange(24.0).reshape(1, 4, 6, 1)
    close(r.adaptive_max_pool(x, (2, 2))[0, ..., 0], [[8, 11], [20, 23]])
    close(r.adaptive_max_pool(x, (4, 6)), x)
    v = rng.normal(size=(B, T, 4, 6, C))
    close(r.adaptive_max_pool(v, (1, 1))[:, :, 0, 0], v.max((2, 3)))


def test_peephole_lstm(rng):  # C5
    ones = {"kernel": np.ones((1, 4)), "recurrent_kernel": np.ones((1, 4)), "bias": np.zeros(4), "peephole": np.ones(3)}
    h, c = r.peephole_lstm(np.ones((1, 1, 1)), ones)
    close(c, [[[0.556770]]], 1e-6)
    close(h, [[[0.417551]]], 1e-6)
    x, layers = rng.normal(size=(B, T, C)), [layer(rng, C, F), layer(rng, F, M)]
    peepholes = [rng.normal(size=3 * F), rng.normal(size=3 * M)]
    initial = [states(rng, [F], ()), states(rng, [M], ())]
    close(
        r.peephole_lstm(x, {**layers[0], "peephole": np.zeros(3 * F)}, initial[0])[0], lstm(x, *initial[0], layers[0])
    )
    layers = [{**w, "peephole": p} for w, p in zip(layers, peepholes)]
    h, _ = r.stacked_peephole_lstm(x, layers, initial)
    value = x
    for w, state in zip(layers, initial):
        value = lstm(value, *state, w)  # the ConvLSTM reads its peepholes too
    close(h, value)


def bss_layers(rng, inputs, windows=1):
    sizes = [(inputs, 6), (6, 5), (5 * windows, 3)]
    return [(rng.normal(size=s), rng.normal(size=s[1])) for s in sizes]


def test_bss_windows():  # C2
    assert [r.window_count(n) for n in (30, 120, 10, 14, 15, 7, 1)] == [5, 23, 1, 1, 2, 1, 1]


def test_bss_heads(rng):  # C2
    frames = rng.normal(size=(22, 2, 3, 2))
    layers, local = bss_layers(rng, 12), bss_layers(rng, 12, 3)
    kernel = (rng.normal(size=(10, 3, 3, 2, 4)) * 0.2, rng.normal(size=4))
    reader = bss_layers(rng, 24)
    order = rng.permutation(22)
    for head in (r.bss_conv, r.bss_late):
        close(head(frames[order], layers), head(frames, layers))
    assert np.abs(r.bss_slow(frames[order], layers) - r.bss_slow(frames, layers)).max() > 1e-3
    assert np.abs(r.bss_local(frames[order], local) - r.bss_local(frames, local)).max() > 1e-3
    assert (
        np.abs(r.bss_time_domain(frames[order], kernel, reader) - r.bss_time_domain(frames, kernel, reader)).max()
        > 1e-3
    )
    close(r.bss_slow(frames[:20][::-1], layers), r.bss_slow(frames[:20], layers))
    (w1, b1), (w2, b2), (w3, b3) = layers

    def single(f):
        return np.maximum(np.maximum(f.ravel() @ w1 + b1, 0) @ w2 + b2, 0) @ w3 + b3

    still = np.tile(frames[:1], (22, 1, 1, 1))
    for head in (r.bss_conv, r.bss_late, r.bss_slow):
        close(head(still, layers), single(frames[0]))
    for length in (10, 7):
        for head in (r.bss_slow, r.bss_local):
            close(head(frames[:length], layers), single(frames[:length].max(0)))
    (w1, b1), (w2, b2), (w3, b3) = local
    blocks = w3.reshape(3, 5, 3)
    by_hand = b3.copy()
    for block, start in zip(blocks, (0, 5, 10)):
        pooled = frames[start : start + 10].max(0).ravel()
        by_hand += np.maximum(np.maximum(pooled @ w1 + b1, 0) @ w2 + b2, 0) @ block
    close(r.bss_local(frames, local), by_hand)


def test_time_domain_is_the_convolution(rng):  # C2
    frames, reader = rng.normal(size=(22, 2, 3, 2)), bss_layers(rng, 24)
    kernel, bias = rng.normal(size=(10, 3, 3, 2, 4)) * 0.2, rng.normal(size=4)
    padded = np.pad(frames, [(0, 0), (1, 1), (1, 1), (0, 0)])
    maps = recurrent.conv(padded[None], kernel, padding="valid")[0, ::5] + bias  # starts 0, 5, 10
    assert len(maps) == 3
    for rectify in (True, False):
        pooled = np.maximum(maps, 0) if rectify else maps
        expected = r.bss_conv(pooled, reader)
        close(r.bss_time_domain(frames, (kernel, bias), reader, rectify=rectify), expected)
    # one frame, one position, every frame: the reduction of S4
    point = rng.normal(size=(1, 1, 1, 2, 4))
    expected = r.bss_conv(np.maximum(frames @ point[0, 0, 0] + bias, 0), reader)
    close(r.bss_time_domain(frames, (point, bias), reader, stride=1), expected)


def test_aggregation_by_hand():  # C3
    p = np.array([[[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]])
    close(r.linear_gains(3), [0, 0.5, 1])
    close(r.aggregate(p, "mean"), [[0.533, 0.467]], 1e-3)
    close(r.aggregate(p, "linear"), [[0.333, 0.667]], 1e-3)
    chosen = [int(r.aggregate(p, how)[0].argmax()) for how in ("last", "max", "mean", "linear")]
    assert chosen == [1, 0, 0, 1]
    close(r.aggregate(p, "max"), [[0.9, 0.7]])
    two = np.concatenate([p, p[:, ::-1]])
    close(r.gain_weighted_loss(two, [0, 1], np.ones(3)), r.mean_loss(two, [0, 1]))
    close(
        r.gain_weighted_loss(two, [0, 1]),
        [-(0.5 * np.log(0.4) + np.log(0.3)) / 1.5, -(0.5 * np.log(0.6) + np.log(0.1)) / 1.5],
    )


def test_fusion_and_protocol_by_hand():  # B4, H2
    p = np.array([[[0.4, 0.6], [0.4, 0.6], [0.9, 0.1]]])
    close(p.mean(1)[0, 0], 0.567, 1e-3)
    close(r.clip_and_video_accuracy(p, [0]), [1 / 3, 1.0])
    close(r.fuse([0.9, 0.1], [0.3, 0.7], 1 / 3), [0.5, 0.5])
    close(r.fuse([0.9, 0.1], [0.3, 0.7], 0.5), [0.6, 0.4])
    close(r.softmax([0.0, np.log(3.0)]), [0.25, 0.75])
    close(r.softmax([0.0, 2 * np.log(3.0)], temperature=2.0), [0.25, 0.75])
