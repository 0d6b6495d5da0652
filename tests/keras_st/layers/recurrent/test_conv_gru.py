"""ConvGRU and the stacked GRU-RCN against spec section 3."""

import keras
import numpy as np
import pytest

from keras_st import layers as st
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference.recurrent import conv_gru_step


@pytest.mark.parametrize("update_gate", ["new", "old"])
@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_layer_equals_the_numpy_witness(rng, update_gate, reset_after, use_bias, batch):
    layer = st.ConvGRU2D(
        4,
        (3, 5),
        padding="same",
        recurrent_kernel_size=(5, 3),
        update_gate=update_gate,
        reset_after=reset_after,
        use_bias=use_bias,
        return_sequences=True,
        dtype="float64",
    )
    x = rng.standard_normal((batch, 4, 6, 7, 2))
    h = rng.standard_normal((batch, 6, 7, 4))
    layer.build(x.shape)
    randomise(layer, rng)
    w = dict(zip(("kernel", "recurrent_kernel", "bias"), layer.get_weights()))
    outputs = numpy(layer(x, initial_state=[h]))
    for t in range(4):
        h = conv_gru_step(x[:, t], h, w, update_gate=update_gate, reset_after=reset_after)
        np.testing.assert_allclose(outputs[:, t], h, atol=ATOL)


def stacked_level(rng, low_channels=3, **kwargs):
    layer = st.ConvGRU2D(
        4,
        3,
        padding="same",
        use_bias=False,
        lower_filters=low_channels,
        return_sequences=True,
        dtype="float64",
        **kwargs,
    )
    layer.build((2, 4, 6, 7, 2 + low_channels))
    randomise(layer, rng)
    return layer


@pytest.mark.parametrize("lower_in_candidate", [False, True])
def test_stacked_level_equals_the_lecture_equations(rng, lower_in_candidate):
    layer = stacked_level(rng, lower_in_candidate=lower_in_candidate)
    x, low = rng.standard_normal((2, 4, 6, 7, 2)), rng.standard_normal((2, 4, 6, 7, 3))
    h = rng.standard_normal((2, 6, 7, 4))
    w = dict(zip(("kernel", "recurrent_kernel", "lower_kernel"), layer.get_weights()))
    outputs = numpy(layer(np.concatenate([x, low], axis=-1), initial_state=[h]))
    for t in range(4):
        h = conv_gru_step(x[:, t], h, w, low[:, t])
        np.testing.assert_allclose(outputs[:, t], h, atol=ATOL)


def test_v3_1_on_one_pixel_it_is_a_gru_with_z_negated(rng):
    x = rng.standard_normal((2, 5, 3)).astype("float32")
    gru = keras.layers.GRU(4, reset_after=False, return_sequences=True)
    gru.build(x.shape)
    randomise(gru, rng)
    for update_gate, sign in (("new", -1), ("old", 1)):
        ours = st.ConvGRU2D(4, 1, padding="same", update_gate=update_gate, return_sequences=True)
        ours.build((2, 5, 1, 1, 3))
        flip = np.repeat([sign, 1, 1], 4)
        kernel, recurrent_kernel, bias = (w * flip for w in gru.get_weights())
        ours.set_weights([kernel[None, None], recurrent_kernel[None, None], bias])
        np.testing.assert_allclose(numpy(ours(x[:, :, None, None]))[:, :, 0, 0], numpy(gru(x)), atol=1e-5)


def test_v3_2_without_lower_weights_it_is_an_independent_gru_rcn(rng):
    layer = stacked_level(rng)
    kernel, recurrent_kernel, lower = layer.get_weights()
    layer.set_weights([kernel, recurrent_kernel, 0 * lower])
    plain = st.ConvGRU2D(4, 3, padding="same", use_bias=False, return_sequences=True, dtype="float64")
    x = rng.standard_normal((2, 4, 6, 7, 5))
    plain.build((2, 4, 6, 7, 2))
    plain.set_weights([kernel, recurrent_kernel])
    np.testing.assert_array_equal(numpy(layer(x)), numpy(plain(x[..., :2])))


def test_v3_3_the_candidate_cannot_see_the_level_below(rng):
    x = np.concatenate([np.zeros((2, 4, 6, 7, 2)), rng.standard_normal((2, 4, 6, 7, 3))], axis=-1)
    layer = stacked_level(rng)
    assert np.abs(numpy(layer(x))).max() == 0  # W x = 0, h_0 = 0: h stays 0 whatever the level below is
    other = stacked_level(rng, lower_in_candidate=True)
    assert other.count_params() == layer.count_params() + 9 * 3 * 4
    assert np.abs(numpy(other(x))).max() > 1e-3
    stack = st.SpatialRNN(st.CellStack([st.ConvGRUCell(2, 4, 3, padding="same") for _ in range(2)]))
    stack.build(x.shape)
    randomise(stack, rng)
    assert np.abs(numpy(stack(x))).max() > 1e-3  # the ordinary stack's upper candidate sees the lower level


def test_v3_4_gates_at_their_limits(rng):
    layer = st.ConvGRU2D(4, 3, padding="same", return_sequences=True, dtype="float64")
    x, h = rng.standard_normal((2, 4, 6, 7, 2)), rng.standard_normal((2, 6, 7, 4))
    layer.build(x.shape)
    randomise(layer, rng)
    kernel, recurrent_kernel, _ = layer.get_weights()
    low, high, none = np.full(4, -1e3), np.full(4, 1e3), np.zeros(4)
    layer.set_weights([kernel, recurrent_kernel, np.concatenate([low, none, none])])
    np.testing.assert_allclose(numpy(layer(x, initial_state=[h]))[:, -1], h, atol=1e-12)
    layer.set_weights([kernel, recurrent_kernel, np.concatenate([high, low, none])])
    from tests.reference.recurrent import conv

    memoryless = np.tanh(conv(x[:, -1], kernel[..., 8:]))
    np.testing.assert_allclose(numpy(layer(x, initial_state=[h]))[:, -1], memoryless, atol=ATOL)


def test_v3_5_published_counts(monkeypatch):
    """Levels C = 128, 256, 512, 512 and F = 64, 128, 256, 256: stacked and unstacked."""

    def count(cell, channels):
        sizes = []
        monkeypatch.setattr(
            keras.layers.Layer, "add_weight", lambda self, shape=(), **_: sizes.append(int(np.prod(shape)))
        )
        cell.build((None, 7, 7, channels))
        return sum(sizes)

    channels, filters = (128, 256, 512, 512), (64, 128, 256, 256)
    below = (0, *filters[:-1])
    make = lambda f, low: st.ConvGRUCell(2, f, 3, padding="same", use_bias=False, lower_filters=low)  # noqa: E731
    assert sum(count(make(f, low), c + low) for c, f, low in zip(channels, filters, below)) == 14_192_640
    assert sum(count(make(f, 0), c) for c, f in zip(channels, filters)) == 12_275_712


def test_both_directions(rng):
    layer = keras.layers.Bidirectional(st.ConvGRU2D(3, 3, padding="same", return_sequences=True))
    x = rng.standard_normal((2, 4, 6, 7, 2)).astype("float32")
    y = numpy(layer(x))
    assert y.shape == (2, 4, 6, 7, 6)
    forward, backward = numpy(layer.forward_layer(x)), numpy(layer.backward_layer(x))[:, ::-1]
    np.testing.assert_allclose(y, np.concatenate([forward, backward], axis=-1), atol=1e-6)
    symbolic = layer(keras.KerasTensor((None, None, 6, 7, 2)))
    assert tuple(symbolic.shape) == (None, None, 6, 7, 6)


@pytest.mark.parametrize(
    "kwargs, word",
    [
        ({"update_gate": "both"}, "update_gate='both'"),
        ({"lower_filters": -1}, "lower_filters=-1"),
        ({"lower_in_candidate": True}, "lower_filters=0"),
    ],
)
def test_bad_arguments_are_named(kwargs, word):
    with pytest.raises(ValueError, match="Received") as error:
        st.ConvGRU2D(3, 3, **kwargs)
    assert word in str(error.value)
    with pytest.raises(ValueError, match="lower_filters=3"):
        st.ConvGRU2D(3, 3, lower_filters=3).build((2, 4, 6, 7, 3))
