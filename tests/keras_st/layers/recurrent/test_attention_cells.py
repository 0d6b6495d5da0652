"""ALSTM, ConvALSTM and their motion-steered forms against the witnesses (recognition B2, B7, E)."""

import keras
import numpy as np
import pytest

from keras_st import layers as st
from keras_st.ops.attention import attention_penalty
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference import recognition as witness

T, H, W, C, D, F, A = 3, 4, 5, 3, 2, 4, 3
MAPS, VECTORS = (H, W), ()


def attention_of(cell):
    """Weights of the score by the witness's names."""
    if cell.score == "location":
        return {"w_loc": numpy(cell.location_kernel)}
    if cell.score in ("dot", "bilinear"):
        return dict(zip("w", [numpy(w) for w in cell.attention.weights]))
    layer, size = cell.attention, cell.attention.query_size
    kernel, vector, bias, offset = (numpy(w) for w in (layer.kernel, layer.vector, layer.bias, layer.offset))
    weights = {"wd": kernel[:size], "wc": kernel[size:], "b": bias, "u": vector[:, 0], "c": offset[0]}
    if getattr(cell, "feed_top", None) == "attention":
        weights["wt"] = numpy(cell.feed_kernel)
    return weights


def lstm_of(cell):
    return dict(zip(("kernel", "recurrent_kernel", "bias"), (numpy(w) for w in cell.weights)))


def weights_of(cell):
    weights = {"attention": attention_of(cell), "top": lstm_of(cell.cells[-1])}
    weights["layers"] = [lstm_of(level) for level in cell.cells]
    if cell.bottom is not None:
        weights["bottom"] = lstm_of(cell.bottom)
        if cell.feed_top == "gates":
            weights["bottom"]["feed_kernel"] = numpy(cell.feed_kernel)
    return weights


def ready(cell, rng, *shapes):
    """The cell run over sequences, all its weights random."""
    layer = st.SpatialRNN(cell, return_sequences=True, return_state=True)
    layer.build(shapes[0] if len(shapes) == 1 else list(shapes))
    randomise(layer, rng)
    return layer


def states(rng, batch, *kinds):
    """h and c of every kind: `MAPS` or `VECTORS`."""
    return [rng.standard_normal((batch, *kind, F)) for kind in kinds for _ in "hc"]


def tensor(x):
    return keras.ops.convert_to_tensor(x)


def close(got, want, atol=ATOL):
    np.testing.assert_allclose(numpy(got), want, atol=atol)


def conv_alstm(rng, batch=2, size=(H, W), **options):
    options = {"attention_units": A, "init_state": "zeros", **options}
    cell = st.ConvALSTMCell(F, options.pop("kernel_size", (3, 5)), dtype="float64", **options)
    return ready(cell, rng, (batch, T, *size, C))


def motion(rng, batch=2, size=(H, W), **options):
    options = {"attention_units": A, "init_state": "zeros", **options}
    cell = st.MotionConvALSTMCell(F, options.pop("kernel_size", (3, 5)), dtype="float64", **options)
    return ready(cell, rng, (batch, T, *size, C), (batch, T, *size, D))


def alstm(rng, batch=2, channels=C, size=(H, W), **options):
    options = {"num_layers": 1, "init_state": "zeros", **options}
    if options.get("score", "bahdanau") == "bahdanau":
        options["attention_units"] = A
    return ready(st.ALSTMCell(F, dtype="float64", **options), rng, (batch, T, *size, channels))


def motion_alstm(rng, batch=2, size=(H, W), **options):
    options = {"attention_units": A, "init_state": "zeros", **options}
    return ready(st.MotionALSTMCell(F, dtype="float64", **options), rng, (batch, T, *size, C), (batch, T, D))


# The equations, over time, from random states


@pytest.mark.parametrize("score", ["bahdanau", "sigmoid"])
@pytest.mark.parametrize("batch", [1, 2])
def test_b2_conv_alstm_equals_the_witness(rng, score, batch):
    layer = conv_alstm(rng, batch, score=score)
    x, first = rng.standard_normal((batch, T, H, W, C)), states(rng, batch, MAPS)
    hidden, attention, last, _ = layer(x, initial_state=first)
    want, maps = witness.conv_alstm(x, weights_of(layer.cell), first, score == "sigmoid")
    close(hidden, want), close(attention, maps[..., None]), close(last, want[:, -1])


@pytest.mark.parametrize("score", ["bahdanau", "sigmoid"])
@pytest.mark.parametrize("feed_top", ["gates", "attention", None])
@pytest.mark.parametrize("batch, bottom", [(1, 1), (2, (5, 3))])
def test_b2_motion_conv_alstm_equals_the_witness(rng, feed_top, score, batch, bottom):
    layer = motion(rng, batch, feed_top=feed_top, score=score, bottom_kernel_size=bottom)
    x, flow = rng.standard_normal((batch, T, H, W, C)), rng.standard_normal((batch, T, H, W, D))
    first = states(rng, batch, MAPS, MAPS)
    hidden, attention, *last = layer([x, flow], initial_state=first)
    want = witness.motion_conv_alstm(x, flow, weights_of(layer.cell), first, feed_top, score == "sigmoid")
    close(hidden, want[0]), close(attention, want[1][..., None]), close(last[2], want[2][:, -1])


@pytest.mark.parametrize("feed_top", ["gates", "attention", None])
@pytest.mark.parametrize("batch", [1, 2])
def test_b2_motion_alstm_equals_the_witness(rng, feed_top, batch):
    layer = motion_alstm(rng, batch, feed_top=feed_top)
    x, flow = rng.standard_normal((batch, T, H, W, C)), rng.standard_normal((batch, T, D))
    first = states(rng, batch, VECTORS, VECTORS)
    hidden, attention, *last = layer([x, flow], initial_state=first)
    want = witness.motion_alstm(x, flow, weights_of(layer.cell), first, feed_top)
    close(hidden, want[0]), close(attention, want[1][..., None]), close(last[2], want[2][:, -1])


@pytest.mark.parametrize("score", ["bahdanau", "location", "dot", "bilinear"])
@pytest.mark.parametrize("batch, num_layers", [(1, 1), (2, 3)])
def test_e_alstm_equals_the_witness(rng, score, batch, num_layers):
    """With several levels the query is the top one's state."""
    channels = F if score == "dot" else C
    layer = alstm(rng, batch, channels, score=score, num_layers=num_layers)
    x, first = rng.standard_normal((batch, T, H, W, channels)), states(rng, batch, *[VECTORS] * num_layers)
    hidden, attention, *last = layer(x, initial_state=first)
    pairs = list(zip(first[::2], first[1::2]))
    want, maps = witness.alstm(x, weights_of(layer.cell), pairs, num_layers, score)
    close(hidden, want), close(attention, maps[..., None]), close(last[-2], want[:, -1])


def test_b2_sigmoid_motion_alstm_weighs_every_cell_by_itself(rng):
    layer = motion_alstm(rng, score="sigmoid")
    x, flow = rng.standard_normal((2, T, H, W, C)), rng.standard_normal((2, T, D))
    _, attention, _, _, hm, _ = layer([x, flow])
    want = witness.spatial_attention(x[:, -1], numpy(hm), **attention_of(layer.cell), sigmoid=True)
    close(attention[:, -1, ..., 0], want)


# First states


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("make", [conv_alstm, motion, alstm, motion_alstm])
def test_b2_first_states_come_from_the_mean(rng, make, masked):
    """tanh of a convolution of the mean map (1x1 of motion), of the mean over cells too where states are vectors."""
    layer = make(rng, init_state="mean", **({"num_layers": 2} if make is alstm else {}))
    cell, x = layer.cell, rng.standard_normal((2, T, H, W, C))
    flow = rng.standard_normal((2, T, D) if make is motion_alstm else (2, T, H, W, D))
    sequences = [x] if cell.bottom is None else [x, flow]
    mask = np.array([[1, 1, 0], [1, 1, 1]], bool) if masked else None
    kernels = [(numpy(k), numpy(b)) for k, b in zip(cell.initial_kernels, cell.initial_biases)]
    if make is motion:
        assert [k.shape[:2] for k, _ in kernels] == [(3, 5), (1, 1)]
    first = []
    for n, kernel_bias in enumerate(kernels):
        source = flow if n == len(cell.cells) else x
        (joined,) = witness.mean_initial_state(source, [kernel_bias], mask)
        first += np.split(joined, 2, -1)
    inputs = sequences[0] if len(sequences) == 1 else sequences
    for got, want in zip(layer(inputs, mask=mask), layer(inputs, initial_state=first, mask=mask)):
        close(got, numpy(want))
    assert np.abs(numpy(layer(inputs, mask=mask)[0]) - numpy(layer(inputs, initial_state=first[::-1])[0])).max() > 1e-3


# B7, identity by identity


def test_b7_1_uniform_attention_is_a_conv_lstm_of_the_divided_map(rng):
    layer = conv_alstm(rng)
    layer.cell.attention.vector.assign(np.zeros((A, 1)))
    layer.cell.attention.offset.assign(np.zeros(1))
    plain = st.ConvLSTM2D(F, (3, 5), padding="same", return_sequences=True, dtype="float64")
    x, first = rng.standard_normal((2, T, H, W, C)), states(rng, 2, MAPS)
    plain.build(x.shape)
    plain.set_weights(layer.cell.cells[0].get_weights())
    hidden, attention, *_ = layer(x, initial_state=first)
    close(attention, np.full((2, T, H, W, 1), 1 / (H * W)))
    close(hidden, numpy(plain(x / (H * W), initial_state=first)))


def test_b7_2_the_conv_lstm_is_keras_s(rng):
    options = {"padding": "same", "return_sequences": True, "unit_forget_bias": False}
    theirs = keras.layers.ConvLSTM2D(F, 3, **options)
    x = rng.standard_normal((2, T, H, W, C)).astype("float32")
    want = theirs(x)
    top = st.ConvALSTMCell(F, 3, unit_forget_bias=False, init_state="zeros")
    top.build((2, H, W, C))
    ours = st.SpatialRNN(top.cells[0], return_sequences=True)
    assert not numpy(top.cells[0].bias).any() and not theirs.get_weights()[2].any()
    top.cells[0].set_weights(theirs.get_weights())
    close(ours(x), numpy(want), 1e-5)


def test_b7_3_on_one_cell_all_are_an_lstm(rng):
    """ConvALSTM by the centre of its kernels == ALSTM == LSTM; where motion steers, the bottom has no say."""
    maps, vectors = conv_alstm(rng, size=(1, 1)), alstm(rng, size=(1, 1))
    lstm = st.SpatialRNN(st.PeepholeLSTMCell(F, peephole=None, dtype="float64"), return_sequences=True)
    lstm.build((2, T, C))
    kernel, recurrent, bias = maps.cell.cells[0].get_weights()
    centre = [kernel[1, 2], recurrent[1, 2], bias]
    vectors.cell.cells[0].set_weights(centre), lstm.set_weights(centre)
    x, (h, c) = rng.standard_normal((2, T, 1, 1, C)), states(rng, 2, VECTORS)
    want = numpy(lstm(x[:, :, 0, 0], initial_state=[h, c]))
    wide, narrow = maps(x, initial_state=[h[:, None, None], c[:, None, None]]), vectors(x, initial_state=[h, c])
    close(wide[1], np.ones((2, T, 1, 1, 1))), close(wide[0][:, :, 0, 0], want), close(narrow[0], want)
    steered, flow = motion(rng, size=(1, 1)), rng.standard_normal((2, T, 1, 1, D))
    steered.cell.cells[0].set_weights([kernel, recurrent, bias])
    first = [s[:, None, None] for s in (h, c, *states(rng, 2, VECTORS))]
    close(steered([x, flow], initial_state=first)[0][:, :, 0, 0], want)


def test_b7_4_the_context_is_the_sum_of_the_attended_map(rng):
    """Where the query map is constant; where it varies, it is another."""
    maps, vectors = conv_alstm(rng), alstm(rng)
    vectors.cell.attention.set_weights(maps.cell.attention.get_weights())
    x, query = rng.standard_normal((2, H, W, C)), rng.standard_normal((2, F))
    x = tensor(x)
    keys = [maps.cell.attention.key_part(x)]
    constant = np.broadcast_to(query[:, None, None], (2, H, W, F)).copy()
    _, attended = maps.cell.look(x, keys, tensor(constant))
    _, context = vectors.cell.look(x, keys, tensor(query))
    assert attended.shape == (2, H, W, C) and context.shape == (2, C)
    close(context, numpy(attended).sum((1, 2)))
    constant[:, 0, 0] += 1.0
    _, other = maps.cell.look(x, keys, tensor(constant))
    assert np.abs(numpy(other).sum((1, 2)) - numpy(context)).max() > 1e-3


def test_b7_5_without_the_feed_the_bottom_is_a_conv_lstm_on_flow(rng):
    layer = motion(rng)
    layer.cell.feed_kernel.assign(0 * numpy(layer.cell.feed_kernel))
    x, flow = rng.standard_normal((2, T, H, W, C)), rng.standard_normal((2, T, H, W, D))
    first = states(rng, 2, MAPS, MAPS)
    plain = st.ConvLSTM2D(F, (3, 5), padding="same", return_state=True, dtype="float64")
    plain.build(flow.shape)
    plain.set_weights(layer.cell.bottom.get_weights())
    _, attention, _, _, hm, cm = layer([x, flow], initial_state=first)
    for got, want in zip((hm, cm), plain(flow, initial_state=first[2:])[1:]):
        close(got, numpy(want))
    other = [rng.standard_normal(flow.shape), states(rng, 2, MAPS, MAPS)]
    assert np.abs(numpy(layer([x, other[0]], initial_state=other[1])[1]) - numpy(attention)).max() > 1e-3
    kernel = numpy(layer.cell.attention.kernel).copy()
    kernel[: layer.cell.attention.query_size] = 0  # Wd = 0 as well: attention sees the map alone
    layer.cell.attention.kernel.assign(kernel)
    seen = layer([x, flow], initial_state=first)[1]
    close(layer([x, other[0]], initial_state=other[1])[1], numpy(seen))


@pytest.mark.parametrize("make", [conv_alstm, motion, alstm, motion_alstm])
def test_b7_6_attention_sums_to_one_ignores_the_offset_and_permutes(rng, make):
    layer = make(rng)
    cell, x = layer.cell, rng.standard_normal((2, H, W, C))
    query = rng.standard_normal((2, H, W, F) if make in (conv_alstm, motion) else (2, F))

    def look(x, query):
        return numpy(cell.look(tensor(x), [cell.attention.key_part(tensor(x))], tensor(query))[0])

    attention = look(x, query)
    close(attention.sum((1, 2, 3)), np.ones(2))
    order = rng.permutation(H * W)

    def permuted(m):
        return m.reshape(2, H * W, -1)[:, order].reshape(m.shape) if m.ndim == 4 else m

    close(look(permuted(x), permuted(query)), permuted(attention))
    cell.attention.offset.assign(numpy(cell.attention.offset) + 7.0)
    close(look(x, query), attention)


@pytest.mark.parametrize("make", [conv_alstm, motion, alstm, motion_alstm])
@pytest.mark.parametrize("init_state", ["zeros", "mean"])
def test_b7_7_causal_from_zeros_but_not_from_the_mean(rng, make, init_state):
    layer = make(rng, init_state=init_state)
    x = rng.standard_normal((2, T, H, W, C))
    flow = rng.standard_normal((2, T, D) if make is motion_alstm else (2, T, H, W, D))

    def outputs(x, flow):
        hidden, attention, *_ = layer(x if layer.cell.bottom is None else [x, flow])
        return [numpy(hidden)[:, :-1], numpy(attention)[:, :-1]]

    before, later = outputs(x, flow), (x.copy(), flow.copy())
    for sequence in later:
        sequence[:, -1] += 1.0
    changes = [np.abs(a - b).max() for a, b in zip(before, outputs(*later))]
    assert max(changes) == 0 if init_state == "zeros" else min(changes) > 1e-6


def hidden(value):
    """h of an LSTM with all weights 1 on a sum of inputs, from zeros."""
    gate = 1 / (1 + np.exp(-value))
    return gate * np.tanh(gate * np.tanh(value))


def test_b7_8_hand_values():
    x = np.array([1.0, 3.0]).reshape(1, 1, 1, 2, 1)
    maps = st.ConvALSTMCell(1, 1, init_state="zeros", dtype="float64")
    vectors = st.ALSTMCell(1, 1, init_state="zeros", dtype="float64")
    found = []
    for cell in (maps, vectors):
        layer = st.SpatialRNN(cell, return_sequences=True)
        layer.build(x.shape)
        for w in cell.weights:
            w.assign(np.ones(w.shape))
        for bias in (cell.attention.bias, cell.attention.offset, cell.cells[0].bias):
            bias.assign(np.zeros(bias.shape))
        found.append([numpy(output) for output in layer(x)])
    for _, attention in found:
        close(attention.ravel(), [0.441899, 0.558101], 1e-6)
    close(found[0][0].ravel(), hidden(np.array([0.441899, 1.674303])), 1e-6)
    close(found[1][0].ravel(), [hidden(2.116203)], 1e-6)
    step = tensor(x[:, 0])
    _, attended = maps.look(step, [maps.attention.key_part(step)], tensor(np.zeros((1, 1, 2, 1))))
    close(numpy(attended).ravel(), [0.441899, 1.674303], 2e-6)


# E


def test_e_location_ignores_the_image_and_bahdanau_moves_with_it(rng):
    """Cells permuted: weights of "location" stay, so its context changes; of "bahdanau" they move, it stays."""
    order, x, query = rng.permutation(H * W), rng.standard_normal((2, H, W, C)), rng.standard_normal((2, F))
    moved = x.reshape(2, H * W, C)[:, order].reshape(x.shape)
    for score in ("location", "bahdanau"):
        cell = alstm(rng, score=score).cell

        def look(x, cell=cell):
            x = tensor(x)
            keys = [] if cell.attention is None else [cell.attention.key_part(x)]
            return [numpy(part) for part in cell.look(x, keys, tensor(query))]

        (weights, context), (weights_moved, context_moved) = look(x), look(moved)
        close(weights.sum((1, 2, 3)), np.ones(2))
        if score == "location":
            close(weights_moved, weights)
            assert np.abs(context_moved - context).max() > 1e-3
        else:
            close(weights_moved.reshape(2, -1), weights.reshape(2, -1)[:, order])
            close(context_moved, context)


def test_e_uniform_weights_are_an_lstm_of_means(rng):
    for options in ({}, {"score": "location"}, {"score": "bilinear"}):
        layer = alstm(rng, **options)
        cell = layer.cell
        weight = cell.location_kernel if cell.attention is None else cell.attention.weights[-1]
        if cell.score == "bahdanau":
            weight = cell.attention.vector
        weight.assign(np.zeros(weight.shape))
        lstm = st.SpatialRNN(st.PeepholeLSTMCell(F, peephole=None, dtype="float64"), return_sequences=True)
        lstm.build((2, T, C))
        lstm.set_weights(cell.cells[0].get_weights())
        x, first = rng.standard_normal((2, T, H, W, C)), states(rng, 2, VECTORS)
        close(layer(x, initial_state=first)[0], numpy(lstm(x.mean((2, 3)), initial_state=first)))


def test_e_penalty_of_attention(rng):
    """0 where every cell is seen once in all; (T-1)^2 + (K-1) where one of K takes all T steps."""
    one = np.zeros((1, 3, 1, 2, 1))
    one[:, :, 0, 0] = 1.0
    close(attention_penalty(one), [5.0], 1e-6)
    once = np.eye(49).reshape(1, 49, 7, 7, 1)
    close(attention_penalty(once), [0.0], 1e-6)
    once[0, 3, 0, 3] = 0.5
    close(attention_penalty(once), [0.25], 1e-6)
    maps = rng.random((2, T, H, W, 1))
    close(attention_penalty(maps), witness.attention_penalty(maps), 1e-5)


# Masks, sizes, options


@pytest.mark.parametrize("make", [conv_alstm, motion, alstm, motion_alstm])
@pytest.mark.parametrize("init_state", ["zeros", "mean"])
def test_padded_and_masked_equals_short(rng, make, init_state):
    layer = make(rng, init_state=init_state)
    x = rng.standard_normal((2, T, H, W, C))
    flow = rng.standard_normal((2, T, D) if make is motion_alstm else (2, T, H, W, D))
    mask = np.arange(T) < np.array([[T - 1], [T]])

    def run(x, flow, mask=None):
        return layer(x if layer.cell.bottom is None else [x, flow], mask=mask)

    padded, short = run(x, flow, mask), run(x[:1, :-1], flow[:1, :-1])
    for a, b in zip(padded[:2], short[:2]):
        close(numpy(a)[:1, :-1], numpy(b))
    for a, b in zip(padded[2:], short[2:]):
        close(numpy(a)[:1], numpy(b))


def test_maps_of_any_size(rng):
    cell = st.MotionConvALSTMCell(F, 3)
    layer = st.SpatialRNN(cell, return_sequences=True)
    with pytest.raises(ValueError, match="`spatial_shape` is needed"):
        cell.build([(None, None, None, C), (None, None, None, D)])
        cell.get_initial_state(2)
    for height, width in ((4, 5), (2, 3)):
        x = rng.random((1, T, height, width, C)).astype("float32")
        hidden, attention = layer([x, x[..., :D]])
        assert hidden.shape == (1, T, height, width, F) and attention.shape == (1, T, height, width, 1)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: st.ALSTMCell(4, score="cosine"), "score='cosine'"),
        (lambda: st.ALSTMCell(4, score="sigmoid"), "score='sigmoid'"),
        (lambda: st.ALSTMCell(4, num_layers=0), "num_layers=0"),
        (lambda: st.ALSTMCell(0), "filters=0"),
        (lambda: st.ConvALSTMCell(4, 3, score="dot"), "score='dot'"),
        (lambda: st.ConvALSTMCell(4, 3, init_state="max"), "init_state='max'"),
        (lambda: st.ConvALSTMCell(4, 3, attention_units=0), "attention_units=0"),
        (lambda: st.ConvALSTMCell(4, 0), "kernel_size=0"),
        (lambda: st.MotionConvALSTMCell(4, 3, feed_top=True), "feed_top=True"),
        (lambda: st.MotionConvALSTMCell(4, 3, bottom_kernel_size=0), "kernel_size=0"),
        (lambda: st.MotionALSTMCell(4, feed_top="bottom"), "feed_top='bottom'"),
        (lambda: st.ALSTMCell(4, score="location").build((None, None, 5, 3)), "input_shape=(None, None, 5, 3)"),
        (lambda: st.ALSTMCell(4, score="dot").build((None, 4, 5, 3)), "sizes 4 and 3"),
        (lambda: st.ConvALSTMCell(4, 3).build((None, 4, 5, None)), "input_shape=(None, 4, 5, None)"),
        (lambda: st.ConvALSTMCell(4, 3).build((None, 3)), "input_shape=(None, 3)"),
    ],
)
def test_bad_arguments_are_named(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value) and "\n" not in str(error.value)
