"""Attention ConvLSTMs and pooled gates reduce to ConvLSTM, and follow their equations (spec 2.2)."""

import keras
import numpy as np
import pytest

from keras_st import layers as st
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference.recurrent import conv, conv_lstm_step, sigmoid


def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("rescale", [False, True])
def test_input_attention_equals_the_numpy_witness(rng, rescale):
    cell = st.AttentionConvLSTMCell(2, 3, (3, 5), attention_units=4, rescale=rescale, dtype="float64")
    cell.build((None, 5, 6, 2))
    randomise(cell, rng)
    names = ("kernel", "recurrent_kernel", "bias", "w_xa", "w_ha", "b_a", "w")
    w = dict(zip(names, cell.get_weights()))
    x, (h, c) = rng.standard_normal((2, 5, 6, 2)), rng.standard_normal((2, 2, 5, 6, 3))
    e = conv(np.tanh(conv(x, w["w_xa"]) + conv(h, w["w_ha"]) + w["b_a"]), w["w"])
    a = softmax(e.reshape(2, -1)).reshape(2, 5, 6, 1)
    want_h, want_c = conv_lstm_step(a * x * (30 if rescale else 1), h, c, w)
    _, (new_h, new_c) = cell(x, [h, c])
    np.testing.assert_allclose(numpy(new_h), want_h, atol=ATOL)
    np.testing.assert_allclose(numpy(new_c), want_c, atol=ATOL)


def test_uniform_rescaled_attention_is_a_conv_lstm(rng):
    x = rng.standard_normal((2, 4, 5, 6, 2))
    layer = st.AttentionConvLSTM2D(3, 3, rescale=True, dtype="float64")
    plain = st.ConvLSTM2D(3, 3, padding="same", dtype="float64")
    layer.build(x.shape), plain.build(x.shape)
    randomise(layer, rng)
    layer.cell.attention_vector.assign(np.zeros((1, 1, 8, 1)))
    plain.set_weights(layer.get_weights()[:3])
    np.testing.assert_allclose(numpy(layer(x)), numpy(plain(x)), atol=ATOL)
    np.testing.assert_allclose(numpy(layer.attention_maps(x)), 1 / 30, atol=ATOL)


def test_attention_maps_are_those_of_the_run(rng):
    x = rng.standard_normal((2, 4, 5, 6, 2)).astype("float32")
    layer = st.AttentionConvLSTM2D(3, 3, return_sequences=True)
    hidden = numpy(layer(x))
    maps = numpy(layer.attention_maps(x))
    np.testing.assert_allclose(maps.sum((2, 3, 4)), 1, atol=1e-5)
    cell = layer.cell
    again = cell.attend(cell.project(x[:, 3]), hidden[:, 2])
    np.testing.assert_allclose(maps[:, 3], numpy(again), atol=1e-6)


@pytest.mark.parametrize("scale", [False, True])
def test_self_attention_memory_equals_the_numpy_witness(rng, scale):
    cell = st.SelfAttentionConvLSTMCell(
        2, 3, 3, padding="same", recurrent_kernel_size=(3, 5), attention_units=4, scale=scale, dtype="float64"
    )
    cell.build((None, 4, 5, 2))
    randomise(cell, rng)
    names = ("kernel", "recurrent_kernel", "bias", "q", "k", "v", "mk", "mv", "z", "m", "bm")
    w = dict(zip(names, cell.get_weights()))
    x, (h, c, m) = rng.standard_normal((2, 4, 5, 2)), rng.standard_normal((3, 2, 4, 5, 3))
    new_h, new_c = conv_lstm_step(x, h, c, w)

    def tokens(y, kernel):
        return y.reshape(2, 20, 3) @ kernel[0, 0]

    q = tokens(new_h, w["q"]) / (2.0 if scale else 1.0)
    z_h = softmax(q @ tokens(new_h, w["k"]).swapaxes(1, 2)) @ tokens(new_h, w["v"])
    z_m = softmax(q @ tokens(m, w["mk"]).swapaxes(1, 2)) @ tokens(m, w["mv"])
    z = (np.concatenate([z_h, z_m], -1) @ w["z"][0, 0]).reshape(2, 4, 5, 3)
    i, g, o = np.split(conv(np.concatenate([z, new_h], -1), w["m"]) + w["bm"], 3, -1)
    new_m = sigmoid(i) * np.tanh(g) + (1 - sigmoid(i)) * m
    for got, want in zip(cell(x, [h, c, m])[1], (sigmoid(o) * new_m, new_c, new_m)):
        np.testing.assert_allclose(numpy(got), want, atol=ATOL)


def test_self_attention_invariants(rng):
    cell = st.SelfAttentionConvLSTMCell(2, 3, 3, padding="same", dtype="float64")
    cell.build((None, 4, 5, 2))
    randomise(cell, rng)
    h, m = rng.standard_normal((2, 2, 4, 5, 3))
    z = numpy(cell.aggregate(h, m))
    order = rng.permutation(20)

    def permuted(y):
        return y.reshape(2, 20, 3)[:, order].reshape(2, 4, 5, 3)

    np.testing.assert_allclose(numpy(cell.aggregate(permuted(h), permuted(m))), permuted(z), atol=ATOL)
    states = [np.zeros((2, 4, 5, 3))] * 3
    for _ in range(6):  # a convex mix of tanh values and itself: |M| stays below 1
        _, states = cell(3 * rng.standard_normal((2, 4, 5, 2)), states)
        assert np.abs(numpy(states[2])).max() <= 1
    one_h, one_m = rng.standard_normal((2, 1, 1, 1, 3))  # one position: Z_h = V_h, Z_m = V_m
    values = [one_h @ numpy(cell.value_kernel), one_m @ numpy(cell.memory_value_kernel)]
    want = np.concatenate(values, axis=-1)[0] @ numpy(cell.attention_output_kernel)[0]
    np.testing.assert_allclose(numpy(cell.aggregate(one_h, one_m))[0], want, atol=ATOL)
    for kernel in (cell.value_kernel, cell.memory_value_kernel):  # no values: Z = 0, no attention is left
        kernel.assign(np.zeros(kernel.shape))
    np.testing.assert_array_equal(numpy(cell.aggregate(h, m)), 0)
    states = list(rng.standard_normal((3, 2, 4, 5, 3)))
    before = numpy(cell(rng.standard_normal((2, 4, 5, 2)) * 0 + 1, states)[0])
    cell.query_kernel.assign(3 * numpy(cell.query_kernel) + 1)
    np.testing.assert_array_equal(numpy(cell(np.ones((2, 4, 5, 2)), states)[0]), before)


def test_separable_memory_gates(rng):
    """Depthwise k x k, then 1 x 1: the k x k kernel they make together gives the same cell."""
    cells = [
        st.SelfAttentionConvLSTMCell(
            2, 3, 3, padding="same", recurrent_kernel_size=(3, 5), separable=s, dtype="float64"
        )
        for s in (True, False)
    ]
    for cell in cells:
        cell.build((None, 4, 5, 2))
    randomise(cells[0], rng)
    *first, depthwise, pointwise, bias = cells[0].get_weights()
    cells[1].set_weights([*first, depthwise * pointwise, bias])
    x, states = rng.standard_normal((2, 4, 5, 2)), list(rng.standard_normal((3, 2, 4, 5, 3)))
    for got, want in zip(cells[0](x, states)[1], cells[1](x, states)[1]):
        np.testing.assert_allclose(numpy(got), numpy(want), atol=ATOL)


def test_maps_in_half_precision(rng):
    x = rng.standard_normal((2, 3, 5, 6, 2)).astype("float32")
    layer = st.AttentionConvLSTM2D(3, 3, dtype="mixed_float16")
    layer(x)
    np.testing.assert_allclose(numpy(layer.attention_maps(x)).astype("float32").sum((2, 3, 4)), 1, atol=1e-2)
    cell = st.SelfAttentionConvLSTMCell(2, 3, 3, padding="same", dtype="mixed_float16")
    cell.build((None, 5, 6, 2))
    weights, _ = cell.attention(*rng.standard_normal((2, 2, 5, 6, 3)).astype("float32"))
    np.testing.assert_allclose(numpy(weights).astype("float32").sum(-1), 1, atol=1e-2)


def test_pooled_gates_on_one_pixel_are_an_lstm(rng):
    x = rng.standard_normal((2, 4, 1, 1, 3)).astype("float32")
    layer = st.ConvLSTM2D(5, 1, padding="same", gate_mode="pooled", return_sequences=True)
    lstm = keras.layers.LSTM(5, return_sequences=True)
    layer.build(x.shape), lstm.build((2, 4, 3))
    randomise(layer, rng)
    kernel, recurrent, bias, gates, recurrent_gates = layer.get_weights()

    def joined(candidate, gates):
        i, f, o = np.split(gates, 3, -1)
        return np.concatenate([i, f, candidate[0, 0], o], -1)

    lstm.set_weights([joined(kernel, gates), joined(recurrent, recurrent_gates), bias])
    np.testing.assert_allclose(numpy(layer(x))[:, :, 0, 0], numpy(lstm(x[:, :, 0, 0])), atol=1e-5)


def test_pooled_gates_equal_the_numpy_witness(rng):
    cell = st.ConvLSTMCell(2, 3, (3, 5), padding="same", gate_mode="pooled", peephole="channel", dtype="float64")
    cell.build((None, 5, 6, 2))
    randomise(cell, rng)
    kernel, recurrent, bias, gates, recurrent_gates, peephole = cell.get_weights()
    x, (h, c) = rng.standard_normal((2, 5, 6, 2)), rng.standard_normal((2, 2, 5, 6, 3))
    b_i, b_f, b_g, b_o = np.split(bias, 4)
    p_i, p_f, p_o = np.split(peephole, 3)
    i, f, o = np.split(x.mean((1, 2)) @ gates + h.mean((1, 2)) @ recurrent_gates, 3, -1)
    i, f, o = (a[:, None, None] for a in (i, f, o))
    new_c = sigmoid(f + b_f + p_f * c) * c
    new_c += sigmoid(i + b_i + p_i * c) * np.tanh(conv(x, kernel) + conv(h, recurrent) + b_g)
    new_h = sigmoid(o + b_o + p_o * new_c) * np.tanh(new_c)
    for got, want in zip(cell(x, [h, c])[1], (new_h, new_c)):
        np.testing.assert_allclose(numpy(got), want, atol=ATOL)


def test_norm_standardises_both_transforms(rng):
    cell = st.ConvLSTMCell(2, 3, 3, padding="same", norm=True, use_bias=False, dtype="float64")
    cell.build((None, 8, 9, 2))
    x, (h, c) = rng.standard_normal((2, 8, 9, 2)), rng.standard_normal((2, 2, 8, 9, 3))
    before = numpy(cell(x, [h, c])[0])
    a = conv(x, numpy(cell.kernel))
    a = (a - a.mean((1, 2, 3), keepdims=True)) / np.sqrt(a.var((1, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(numpy(cell.project(x)), a, atol=1e-5)
    for kernel in (cell.kernel, cell.recurrent_kernel):
        kernel.assign(5 * numpy(kernel))
    np.testing.assert_allclose(numpy(cell(x, [h, c])[0]), before, atol=1e-4)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: st.AttentionConvLSTM2D(3, 3, strides=2), "strides=(2, 2)"),
        (lambda: st.AttentionConvLSTM2D(3, 3, padding="valid"), "padding='valid'"),
        (lambda: st.AttentionConvLSTMCell(1, 3, 3), "rank=1"),
        (lambda: st.AttentionConvLSTM2D(3, 3, gate_mode="pooled"), "gate_mode='pooled'"),
        (lambda: st.SelfAttentionConvLSTMCell(3, 3, 3), "rank=3"),
        (lambda: st.SelfAttentionConvLSTMCell(2, 3, 3, attention_units=0), "attention_units=0"),
        (lambda: st.SelfAttentionConvLSTMCell(2, 3, 3, gate_mode="pooled"), "gate_mode='pooled'"),
        (lambda: st.ConvLSTM2D(3, 3, gate_mode="dense"), "gate_mode='dense'"),
        (lambda: st.ConvLSTM2D(3, 3, gate_mode="pooled", use_input=False), "use_input=False"),
    ],
)
def test_bad_arguments_are_named(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value)
