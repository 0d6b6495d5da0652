"""GRU-RCN over several levels against its witness (recognition D)."""

import keras
import numpy as np
import pytest

from keras_st import layers as st
from tests.counting import parameters, without_memory
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference import recognition as witness

T = 4
SHAPES = [(8, 12, 2), (4, 6, 3), (5,)]  # two maps and a dense layer
FILTERS = (3, 4, 2)
FORMS = [{}, {"stacked": True}, {"bidirectional": True}, {"stacked": True, "bidirectional": True, "use_bias": True}]


def close(got, want, atol=ATOL):
    np.testing.assert_allclose(numpy(got), want, atol=atol)


def percepts(rng, batch=2, steps=T):
    return [rng.standard_normal((batch, steps, *shape)) for shape in SHAPES]


def gru_rcn(rng, shapes=SHAPES, filters=FILTERS, **options):
    layer = st.GRURCN(filters, 3, dtype="float64", **options)
    layer.build([(None, None, *shape) for shape in shapes])
    randomise(layer, rng)
    return layer


def weights_of(rnn):
    weights = {w.name: numpy(w) for w in rnn.cell.weights}
    assert weights.keys() <= {"kernel", "recurrent_kernel", "bias", "lower_kernel"}
    return weights


def climbed(x, rnns, stacked):
    """Mean of the last hidden map of every level, by the witness."""
    means, lower = [], None
    for level, rnn in zip(x, rnns):
        level = level[:, :, None, None] if level.ndim == 3 else level
        if lower is not None:
            lower = witness.adaptive_max_pool(lower, level.shape[2:4])
        lower = witness.gru_rcn_level(level, lower if stacked else None, weights_of(rnn))
        means.append(lower[:, -1].mean((1, 2)))
    return means


@pytest.mark.parametrize("options", FORMS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("batch", [1, 2])
def test_d_equals_the_witness(rng, options, batch):
    layer, x = gru_rcn(rng, **options), percepts(rng, batch)
    stacked, levels = options.get("stacked", False), len(SHAPES)
    want = climbed(x, layer.rnns[:levels], stacked)
    if options.get("bidirectional"):
        backward = climbed([level[:, ::-1] for level in x], layer.rnns[levels:], stacked)
        want = [np.concatenate(pair, axis=-1) for pair in zip(want, backward)]
    got = layer(x)
    assert len(got) == levels
    for a, b in zip(got, want):
        close(a, b)
    kernels = [rnn.cell.kernel.shape[:2] for rnn in layer.rnns[:levels]]
    assert kernels == [(3, 3), (3, 3), (1, 1)]


def test_d_a_stacked_level_equals_the_witness_from_any_state(rng):
    layer = gru_rcn(rng, stacked=True, use_bias=True)
    x, lower, h = (rng.standard_normal((2, *shape)) for shape in ((T, 4, 6, 3), (T, 4, 6, 3), (4, 6, 4)))
    hidden = layer.rnns[1](np.concatenate([x, lower], axis=-1), initial_state=[h])
    close(hidden, witness.gru_rcn_level(x, lower, weights_of(layer.rnns[1]), h))


def test_d_on_one_cell_it_is_keras_s_gru_with_z_negated(rng):
    layer, x = gru_rcn(rng, [(5,)], (4,)), rng.standard_normal((2, T, 5))
    gru = keras.layers.GRU(4, reset_after=False, use_bias=False, dtype="float64")
    gru.build(x.shape)
    gru.set_weights([w[0, 0] * np.repeat([-1, 1, 1], 4) for w in layer.get_weights()])
    (got,) = layer(x)
    close(got, numpy(gru(x)))


def test_d_a_shut_gate_keeps_the_first_state(rng):
    layer = gru_rcn(rng)
    rnn, x, h = layer.rnns[0], rng.random((2, T, 8, 12, 2)) + 1.0, rng.standard_normal((2, 8, 12, 3))
    kernel, recurrent = rnn.cell.get_weights()
    kernel[..., :3], recurrent[..., :3] = -1e3, 0.0
    rnn.cell.set_weights([kernel, recurrent])
    close(rnn(x, initial_state=[h]), np.repeat(h[:, None], T, axis=1))


def test_d_stacked_without_vertical_kernels_is_plain(rng):
    stacked, plain, x = gru_rcn(rng, stacked=True), gru_rcn(rng), percepts(rng)
    for above, rnn in zip(stacked.rnns, plain.rnns):
        rnn.cell.set_weights(above.cell.get_weights()[:2])
    assert max(np.abs(numpy(a) - numpy(b)).max() for a, b in zip(stacked(x), plain(x))) > 1e-3
    for above in stacked.rnns[1:]:
        above.cell.lower_kernel.assign(np.zeros(above.cell.lower_kernel.shape))
    for a, b in zip(stacked(x), plain(x)):
        close(a, numpy(b))


def test_d_plain_levels_have_no_order(rng):
    layer, x, order = gru_rcn(rng), percepts(rng), (2, 0, 1)
    other = gru_rcn(rng, [SHAPES[n] for n in order], tuple(FILTERS[n] for n in order))
    for rnn, n in zip(other.rnns, order):
        rnn.cell.set_weights(layer.rnns[n].cell.get_weights())
    outputs = layer(x)
    for got, n in zip(other([x[n] for n in order]), order):
        close(got, numpy(outputs[n]))


@pytest.mark.parametrize("stacked", [False, True])
def test_d_time_reversed_and_directions_exchanged_the_halves_swap(rng, stacked):
    layer = gru_rcn(rng, bidirectional=True, stacked=stacked)
    other, x = gru_rcn(rng, bidirectional=True, stacked=stacked), percepts(rng)
    for a, b in zip(layer.rnns, [*other.rnns[3:], *other.rnns[:3]]):
        b.set_weights(a.get_weights())
    for got, want in zip(other([level[:, ::-1] for level in x]), layer(x)):
        forward, backward = np.split(numpy(want), 2, axis=-1)
        close(got, np.concatenate([backward, forward], axis=-1))
        assert np.abs(forward - backward).max() > 1e-3


@pytest.mark.parametrize("options", FORMS, ids=lambda o: "-".join(o) or "plain")
def test_d_padded_and_masked_equals_short(rng, options):
    layer, x = gru_rcn(rng, **options), percepts(rng)
    mask = np.arange(T) < np.array([[3], [T]])
    for padded, short in zip(layer(x, mask=mask), layer([level[:1, :3] for level in x])):
        close(numpy(padded)[:1], numpy(short))


def test_d_a_level_that_is_cut_when_pooled_loses_its_last_row(rng):
    """As the networks' own pooling does: 21 rows make 10."""
    layer, x = gru_rcn(rng, [(5, 7, 2), (2, 3, 2)], (3, 2), stacked=True), None
    x = [rng.standard_normal((1, T, *shape)) for shape in ((5, 7, 2), (2, 3, 2))]
    lower = numpy(layer.rnns[0](x[0]))
    lower = witness.adaptive_max_pool(lower[:, :, :4, :6], (2, 3))
    want = witness.gru_rcn_level(x[1], lower, weights_of(layer.rnns[1]))
    close(layer(x)[1], want[:, -1].mean((1, 2)))


def test_d_classifiers_average_probabilities(rng):
    layer = st.LevelScores(5, dtype="float64")
    x = [rng.standard_normal((2, n)) for n in (3, 4)]
    layer.build([v.shape for v in x])
    randomise(layer, rng, 2.0)
    logits = [v @ numpy(dense.kernel) + numpy(dense.bias) for v, dense in zip(x, layer.classifiers)]
    close(layer(x), np.log(np.mean([witness.softmax(z) for z in logits], axis=0)))
    mean = st.LevelScores(5, average="logits", dtype="float64")
    mean.build([v.shape for v in x])
    mean.set_weights(layer.get_weights())
    close(mean(x), np.mean(logits, axis=0))
    dropping = st.LevelScores(5, dropout=0.7, dtype="float64")
    dropping.build([v.shape for v in x])
    assert np.abs(numpy(dropping(x, training=True)) - numpy(dropping(x))).max() > 1e-3


VGG = [(56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 512), (4096,)]


def test_d_counts():
    """Of a level 3 k^2 h (c + h); stacked 2 k^2 h h' more."""
    with without_memory():
        counts = {}
        for stacked in (False, True):
            layer = st.GRURCN(stacked=stacked)
            layer.build([(None, 10, *shape) for shape in VGG])
            counts[stacked] = [parameters(rnn) for rnn in layer.rnns]
            assert parameters(layer) == sum(counts[stacked])
        head = st.LevelScores(101)
        head.build(layer.compute_output_shape([(None, 10, *shape) for shape in VGG]))
        both = st.GRURCN(bidirectional=True)
        both.build([(None, 10, *shape) for shape in VGG])
        assert parameters(both) == 2 * sum(counts[False]) and both.compute_output_shape(
            [(None, 10, *shape) for shape in VGG]
        ) == [(None, 2 * filters) for filters in both.filters]
        assert parameters(head) == 123_321
    assert counts[False] == [331_776, 1_327_104, 5_308_416, 5_308_416, 7_077_888]
    assert sum(counts[False]) == 19_353_600
    assert sum(counts[True]) - sum(counts[False]) == 2_179_072


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: st.GRURCN((3, 4)).build([(None, T, 8, 12, 2)]), "Received: 1"),
        (
            lambda: st.GRURCN((3, 4), stacked=True).build([(None, T, 5, 5, 2), (None, T, 3, 3, 2)]),
            "(5, 5) below (3, 3)",
        ),
        (
            lambda: st.GRURCN((3, 4), stacked=True).build([(None, T, 2, 2, 2), (None, T, 4, 4, 2)]),
            "(2, 2) below (4, 4)",
        ),
        (
            lambda: st.GRURCN((3, 4), stacked=True).build([(None, T, None, None, 2), (None, T, 3, 3, 2)]),
            "(None, None) below",
        ),
        (lambda: st.LevelScores(3, average="median"), "average='median'"),
    ],
)
def test_bad_arguments_are_named(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value)
