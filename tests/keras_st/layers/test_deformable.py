"""Deformable convolution and the ConvLSTMs made of it (spec 2.1)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st import layers as st
from keras_st.ops.deformable import deformable_conv
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference.recurrent import conv, conv_lstm_step, deformable, sigmoid


def run(x, kernel, offsets, modulation=None, groups=1):
    tensors = [None if t is None else ops.convert_to_tensor(t) for t in (x, kernel, offsets, modulation)]
    return numpy(deformable_conv(*tensors, groups=groups))


@pytest.fixture
def parts(rng):
    return rng.standard_normal((2, 6, 7, 4)), rng.standard_normal((3, 5, 4, 3)), np.zeros((2, 6, 7, 30))


@pytest.mark.parametrize("groups", [1, 2])
def test_equals_the_definition_for_random_offsets(parts, rng, groups):
    x, kernel, _ = parts
    offsets = 2 * rng.standard_normal((2, 6, 7, 30 * groups))
    modulation = rng.random((2, 6, 7, 15 * groups))
    np.testing.assert_allclose(
        run(x, kernel, offsets, modulation, groups), deformable(x, kernel, offsets, modulation, groups), atol=10 * ATOL
    )


def test_zero_offsets_are_a_convolution(parts):
    x, kernel, zero = parts
    np.testing.assert_allclose(run(x, kernel, zero), conv(x, kernel), atol=10 * ATOL)
    half = np.full((2, 6, 7, 15), 0.5)
    np.testing.assert_allclose(run(x, kernel, zero, half), 0.5 * conv(x, kernel), atol=10 * ATOL)


def test_whole_offsets_shift_the_zero_extended_map(parts):
    x, kernel, zero = parts
    shift = zero.reshape(2, 6, 7, 15, 2) + [1, -2]
    wide = np.pad(x, [(0, 0), (4, 4), (4, 4), (0, 0)])
    shifted = np.roll(wide, (-1, 2), axis=(1, 2))
    expected = conv(shifted, kernel)[:, 4:-4, 4:-4]
    shifted_output = run(x, kernel, shift.reshape(zero.shape))
    np.testing.assert_allclose(shifted_output, expected, atol=10 * ATOL)
    cropped = np.pad(x[:, 1:, :-2], [(0, 0), (0, 1), (2, 0), (0, 0)])  # shifting a cropped map is not the same
    assert np.abs(shifted_output - conv(cropped, kernel)).max() > 1e-2


def test_offsets_like_the_grid_are_dilation_two(rng):
    x, kernel = rng.standard_normal((1, 7, 8, 2)), rng.standard_normal((3, 3, 2, 3))
    grid = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)], float).ravel()
    offsets = np.broadcast_to(grid, (1, 7, 8, 18)).copy()
    np.testing.assert_allclose(run(x, kernel, offsets), conv(x, kernel, dilation=2), atol=10 * ATOL)


def test_a_ramp_is_reproduced_between_pixels_and_its_slope_is_the_gradient():
    ramp = np.broadcast_to(3.0 * np.arange(9)[None, None, :, None], (1, 8, 9, 1)).copy()
    kernel, offsets = np.full((1, 1, 1, 1), 2.0), np.zeros((1, 8, 9, 2))
    offsets[..., 1] = 0.37
    np.testing.assert_allclose(run(ramp, kernel, offsets)[:, :, :-1], 2 * (ramp + 3 * 0.37)[:, :, :-1], atol=10 * ATOL)
    gradient = offset_gradient(ramp, kernel, offsets)
    np.testing.assert_allclose(gradient[:, 1:-1, 1:-2, 1], 6.0, atol=100 * ATOL)  # slope times weight, along the row
    np.testing.assert_allclose(gradient[:, 1:-1, 1:-2, 0], 0.0, atol=100 * ATOL)


def test_at_whole_positions_the_gradient_is_the_difference_to_the_next_pixel(rng):
    """Where every offset starts: floor is constant, so d/dr = x(r + 1) - x(r)."""
    x, kernel = rng.standard_normal((2, 6, 7, 1)), np.full((1, 1, 1, 1), 2.0)
    gradient = offset_gradient(x, kernel, np.zeros((2, 6, 7, 2)))
    np.testing.assert_allclose(gradient[:, :-1, :, 0], 2 * (x[:, 1:] - x[:, :-1])[..., 0], atol=100 * ATOL)
    np.testing.assert_allclose(gradient[:, :, :-1, 1], 2 * (x[:, :, 1:] - x[:, :, :-1])[..., 0], atol=100 * ATOL)


def offset_gradient(x, kernel, offsets):
    """Of the sum of the output with respect to the offsets."""
    from tests.conformance.test_conformance import gradients

    offsets = keras.Variable(offsets, dtype="float64")
    x, kernel = (keras.ops.convert_to_tensor(a, dtype="float64") for a in (x, kernel))
    (gradient,) = gradients(lambda: keras.ops.sum(deformable_conv(x, kernel, offsets + 0.0)), [offsets])
    return gradient


def test_layer_starts_as_half_or_as_all_of_a_convolution(rng):
    x = rng.standard_normal((2, 6, 7, 4)).astype("float32")
    for modulation, factor in (("sigmoid", 0.5), ("2sigmoid", 1.0), (None, 1.0)):
        layer = st.DeformableConv2D(3, 3, modulation=modulation, use_bias=False)
        np.testing.assert_allclose(numpy(layer(x)), factor * conv(x, numpy(layer.kernel)), atol=1e-5)


def test_layer_equals_the_definition(rng):
    layer = st.DeformableConv2D(3, 3, groups=2, activation="tanh", dtype="float64")
    x = rng.standard_normal((2, 5, 6, 4))
    layer.build(x.shape)
    randomise(layer, rng)
    kernel, bias, offset_kernel, offset_bias = layer.get_weights()
    y = conv(x, offset_kernel) + offset_bias
    expected = np.tanh(deformable(x, kernel, y[..., :36], sigmoid(y[..., 36:]), 2) + bias)
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=10 * ATOL)


MODULATIONS = {None: lambda p: None, "sigmoid": sigmoid, "2sigmoid": lambda p: 2 * sigmoid(p)}


@pytest.mark.parametrize("use_input", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("deform", ["input", "state", "both"])
@pytest.mark.parametrize("modulation", MODULATIONS)
def test_gates_design_equals_the_numpy_witness(rng, deform, modulation, groups, use_input):
    kwargs = {"deform_groups": groups, "deform_modulation": modulation, "use_input": use_input, "dtype": "float64"}
    if not use_input and deform != "state":
        with pytest.raises(ValueError, match="use_input=False"):
            st.DeformableConvLSTMCell(2, 2, 3, deform=deform, **kwargs)
        return
    cell = st.DeformableConvLSTMCell(2, 2, 3, deform=deform, **kwargs)
    x, (h, c) = rng.standard_normal((2, 4, 5, 4)), rng.standard_normal((2, 2, 4, 5, 2))
    cell.build((None, 4, 5, 4))
    randomise(cell, rng)
    u = np.concatenate([x, h], -1) if use_input else h

    def transform(name, y, kernel):
        if name not in cell.predictors:
            return conv(y, kernel)
        predictor, offsets = cell.predictors[name], 18 * groups
        p = conv(u, numpy(predictor.offset_kernel)) + numpy(predictor.offset_bias)
        return deformable(y, kernel, p[..., :offsets], MODULATIONS[modulation](p[..., offsets:]), groups)

    a = transform("state", h, numpy(cell.recurrent_kernel))
    if use_input:
        a = a + transform("input", x, numpy(cell.kernel))
    i, f, g, o = np.split(a + numpy(cell.bias), 4, -1)
    want_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    want_h = sigmoid(o) * np.tanh(want_c)
    for got, want in zip(cell(x, [h, c])[1], (want_h, want_c)):
        np.testing.assert_allclose(numpy(got), want, atol=10 * ATOL)


def test_aligned_design_equals_the_numpy_witness(rng):
    cell = st.DeformableConvLSTMCell(2, 2, 3, deform="aligned", dtype="float64")
    x, (h, c) = rng.standard_normal((2, 4, 5, 3)), rng.standard_normal((2, 2, 4, 5, 2))
    cell.build((None, 4, 5, 3))
    randomise(cell, rng)

    def aligned(name, state, kernel):
        predictor = cell.predictors[name]
        p = conv(np.concatenate([state, x], -1), numpy(predictor.offset_kernel)) + numpy(predictor.offset_bias)
        return deformable(state, numpy(kernel), p[..., :18], sigmoid(p[..., 18:]))

    w = dict(zip(("kernel", "recurrent_kernel", "bias"), cell.get_weights()))
    h_a, c_a = aligned("state", h, cell.align_hidden_kernel), aligned("cell", c, cell.align_cell_kernel)
    for got, want in zip(cell(x, [h, c])[1], conv_lstm_step(x, h_a, c_a, w)):
        np.testing.assert_allclose(numpy(got), want, atol=10 * ATOL)


@pytest.mark.parametrize("deform", ["input", "state", "both"])
def test_reduces_to_conv_lstm_at_the_start(rng, deform):
    x = rng.standard_normal((2, 4, 5, 6, 3)).astype("float32")
    layer = st.ConvLSTM2D(4, 3, deform=deform, deform_modulation="2sigmoid", return_sequences=True)
    plain = st.ConvLSTM2D(4, 3, padding="same", return_sequences=True)
    layer.build(x.shape), plain.build(x.shape)
    plain.set_weights(layer.get_weights()[:3])
    np.testing.assert_allclose(numpy(layer(x)), numpy(plain(x)), atol=1e-5)
    again = st.ConvLSTM2D.from_config(layer.get_config())
    assert type(again.cell) is st.DeformableConvLSTMCell and again.deform == deform


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: st.ConvLSTM2D(3, 3, deform="all"), "deform='all'"),
        (lambda: st.ConvLSTM3D(3, 3, deform="both"), "rank=3"),
        (lambda: st.ConvLSTM2D(3, 3, deform="both", strides=2), "strides=(2, 2)"),
        (lambda: st.ConvLSTM2D(3, 3, deform="both", padding="valid"), "padding='valid'"),
        (lambda: st.ConvLSTM2D(3, 3, deform="both", deform_modulation="tanh"), "modulation='tanh'"),
        (lambda: st.DeformableConv2D(3, 3, groups=2).build((1, 5, 5, 3)), "groups=2"),
        (lambda: st.ConvLSTM2D(3, 3, deform="state", deform_groups=2).build((1, 2, 5, 5, 3)), "groups=2"),
    ],
)
def test_bad_arguments_are_named(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value)


def test_offsets_learn_a_shift(rng):
    """A 1x1 deformable convolution can only copy a moved image by moving its tap."""
    x = keras.ops.convert_to_numpy(keras.random.uniform((4, 9, 9, 1), seed=0))
    x = np.stack([conv(i[None], np.full((5, 5, 1, 1), 0.04))[0] for i in x]).astype("float32")
    y = np.roll(x, -1, axis=2)
    layer = st.DeformableConv2D(1, 1, modulation=None, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.Adam(0.02), "mse")
    losses = [model.train_on_batch(x, y) for _ in range(300)]
    assert losses[-1] < 0.5 * losses[0]
    assert float(ops.mean(layer.predictor(x)[0][:, :, 2:-2, 1])) > 0.3
