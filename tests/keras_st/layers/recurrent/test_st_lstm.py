"""ST-LSTM and the zigzag of its memory against spec section 4."""

import keras
import numpy as np
import pytest

from keras_st import layers as st
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference.recurrent import conv, sigmoid, st_lstm_step

NAMES = ("kernel", "recurrent_kernel", "memory_kernel", "output_kernel", "fuse_kernel")


def make(filters=3, k=(3, 5), **kwargs):
    return st.STLSTMCell(2, filters, k, dtype="float64", **kwargs)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_step_equals_the_numpy_witness(rng, use_bias, batch):
    cell = make(use_bias=use_bias)
    cell.build((None, 6, 7, 2))
    randomise(cell, rng)
    names = NAMES if not use_bias else (*NAMES[:2], "bias", *NAMES[2:])
    w = dict(zip(names, cell.get_weights()))
    x = rng.standard_normal((batch, 6, 7, 2))
    states = [rng.standard_normal((batch, 6, 7, 3)) for _ in range(3)]
    output, new_states = cell(x, states)
    for got, want in zip(new_states, st_lstm_step(x, *states, w)):
        np.testing.assert_allclose(numpy(got), want, atol=ATOL)
    np.testing.assert_array_equal(numpy(output), numpy(new_states[0]))


def test_zigzag_equals_the_numpy_witness_over_time(rng):
    """M climbs the levels within a step; level 1 reads the M that left the top level a step before."""
    cells = [make(k=3), make(k=3), make(k=3)]
    layer = st.SpatialRNN(st.ZigZagStack(cells), return_sequences=True, return_state=True, dtype="float64")
    x = rng.standard_normal((2, 4, 5, 6, 2))
    layer.build(x.shape)
    randomise(layer, rng)
    states = [rng.standard_normal((2, 5, 6, 3)) for _ in range(7)]
    outputs, *last = layer(x, initial_state=[*states])
    w = [dict(zip(NAMES, cell.get_weights())) for cell in cells]
    h, c, m = list(states[0:6:2]), list(states[1:6:2]), states[6]
    for t in range(4):
        below = x[:, t]
        for k in range(3):
            h[k], c[k], m = st_lstm_step(below, h[k], c[k], m, w[k])
            below = h[k]
        np.testing.assert_allclose(numpy(outputs[:, t]), h[-1], atol=10 * ATOL)
    for got, want in zip(last, [h[0], c[0], h[1], c[1], h[2], c[2], m]):
        np.testing.assert_allclose(numpy(got), want, atol=10 * ATOL)


def test_memory_climbs_and_enters_the_bottom_a_step_later(rng, monkeypatch):
    """With L levels M is updated L S times; what leaves level L at t - 1 reaches level 1 at t and nothing before."""
    cells = [make(k=3) for _ in range(3)]
    stack = st.ZigZagStack(cells)
    stack.build((2, 5, 6, 2))
    randomise(stack, rng)
    steps = []
    step = st.STLSTMCell.step
    monkeypatch.setattr(st.STLSTMCell, "step", lambda self, *args: steps.append(self) or step(self, *args))
    x, states = rng.standard_normal((2, 2, 5, 6, 2)), list(rng.standard_normal((7, 2, 5, 6, 3)))
    _, first = stack(x[0], states)
    _, second = stack(x[1], first)
    moved = [*first[:-1], first[-1] + 0.1]
    _, other = stack(x[1], moved)
    assert steps[:6] == [*cells, *cells]
    assert np.abs(numpy(other[0]) - numpy(second[0])).max() > 1e-4  # level 1 at t


def test_regularizers_reach_every_kernel():
    cell = st.STLSTMCell(2, 3, 3, kernel_regularizer="l2", recurrent_regularizer="l2")
    cell.build((None, 5, 6, 2))
    assert all(w.regularizer is not None for w in cell.weights)


def test_count_of_the_released_network(monkeypatch):
    """4 levels of 128, k = 5, 4x4 patches of one channel, 1x1 head without bias: 23,838,720."""
    sizes = []
    monkeypatch.setattr(keras.layers.Layer, "add_weight", lambda self, shape=(), **_: sizes.append(int(np.prod(shape))))
    stack = st.ZigZagStack([st.STLSTMCell(2, 128, 5) for _ in range(4)])
    stack.build((None, 16, 16, 16))
    assert sum(sizes) + 128 * 16 == 23_838_720


def test_one_level_keeps_its_memory(rng):
    """L = 1: the zigzag is an ordinary second memory of the layer."""
    alone = st.SpatialRNN(make(k=3), return_sequences=True, dtype="float64")
    zigzag = st.SpatialRNN(st.ZigZagStack([make(k=3)]), return_sequences=True, dtype="float64")
    x = rng.standard_normal((2, 4, 5, 6, 2))
    alone.build(x.shape), zigzag.build(x.shape)
    randomise(alone, rng)
    zigzag.set_weights(alone.get_weights())
    np.testing.assert_array_equal(numpy(alone(x)), numpy(zigzag(x)))


def test_memory_is_memoryless_without_its_kernel_and_forget_gate(rng):
    cell = make(k=3, forget_bias=-1e3)
    cell.build((None, 5, 6, 2))
    randomise(cell, rng)
    cell.memory_kernel.assign(0 * numpy(cell.memory_kernel))
    x, h, c = rng.standard_normal((1, 5, 6, 2)), *rng.standard_normal((2, 1, 5, 6, 3))
    memories = [numpy(cell(x, [h, c, m])[1][2]) for m in rng.standard_normal((2, 1, 5, 6, 3))]
    np.testing.assert_array_equal(*memories)


def test_hand_value():
    """Kernels 0, C = M = 2, fuse weights 1: C = M = 1.462117..., the gate i.g is 0; H = 0.5 tanh(C + M)."""
    cell = make(filters=1, k=3)
    cell.build((None, 1, 1, 1))
    cell.set_weights([np.zeros(w.shape) for w in cell.get_weights()])
    cell.fuse_kernel.assign(np.ones((1, 1, 2, 1)))
    one = np.ones((1, 1, 1, 1))
    _, (h, c, m) = cell(one, [0 * one, 2 * one, 2 * one])
    assert numpy(c).item() == pytest.approx(1.462117, abs=1e-6)
    assert numpy(m).item() == pytest.approx(1.462117, abs=1e-6)
    assert numpy(h).item() == pytest.approx(0.497124, abs=1e-6)


def test_norm_standardises_each_transform(rng):
    """With `norm`, scaling a kernel changes nothing: its convolution is standardised."""
    cell = make(k=3, norm=True)
    cell.build((None, 8, 9, 2))
    x, (h, c, m) = rng.standard_normal((2, 8, 9, 2)), rng.standard_normal((3, 2, 8, 9, 3))
    before = numpy(cell(x, [h, c, m])[0])
    for kernel in (cell.kernel, cell.recurrent_kernel, cell.memory_kernel, cell.output_kernel):
        kernel.assign(5 * numpy(kernel))
    np.testing.assert_allclose(numpy(cell(x, [h, c, m])[0]), before, atol=1e-4)


class _WithMemory(keras.layers.Layer):
    state_names, filters = ("memory",), 3


def test_bad_stacks_are_named():
    with pytest.raises(ValueError, match="decoupling.*Received"):
        st.ZigZagStack([_WithMemory()], decoupling=True)
    with pytest.raises(ValueError, match=r"one width. Received: filters=\[3, 4\]"):
        st.ZigZagStack([make(3), make(4)])
    with pytest.raises(ValueError, match="`memory` as their last state"):
        st.ZigZagStack([st.ConvLSTMCell(2, 3, 3)])


def cosines(dc, dm, adapter):
    """Spec 4: mean over channels of |cos| over positions, one clip at a time."""
    a, b = dc @ adapter, dm @ adapter
    return np.mean(
        [
            [
                abs(np.vdot(x[..., k], y[..., k])) / (np.linalg.norm(x[..., k]) * np.linalg.norm(y[..., k]))
                for k in range(3)
            ]
            for x, y in zip(a, b)
        ],
        axis=-1,
    )


def test_decoupling_sums_the_cosine_of_the_increments(rng):
    """dC = C' - f . C and dM = M' - f' . M, with f and f' from the NumPy witness's convolutions."""
    cells = [make(k=3), make(k=3)]
    stack = st.ZigZagStack(cells, decoupling=True)
    layer = st.SpatialRNN(stack, return_state=True)
    x = rng.standard_normal((2, 3, 5, 6, 2))
    layer.build(x.shape)
    randomise(layer, rng)
    states = [rng.standard_normal((2, 5, 6, 3)) for _ in range(5)]
    _, *last = layer(x, initial_state=[*states, np.array([0.5, -0.25])])
    w, adapter = [dict(zip(NAMES, cell.get_weights())) for cell in cells], numpy(stack.adapter_kernel)
    h, c, m = list(states[0:4:2]), list(states[1:4:2]), states[4]
    total = np.array([0.5, -0.25])
    for t in range(3):
        below = x[:, t]
        for k in range(2):
            x_f = conv(below, w[k]["kernel"])
            f = sigmoid(x_f[..., 3:6] + conv(h[k], w[k]["recurrent_kernel"])[..., 3:6] + 1)
            f_m = sigmoid(x_f[..., 12:15] + conv(m, w[k]["memory_kernel"])[..., 3:6] + 1)
            h[k], new_c, new_m = st_lstm_step(below, h[k], c[k], m, w[k])
            total = total + cosines(new_c - f * c[k], new_m - f_m * m, adapter) / 2
            below, c[k], m = h[k], new_c, new_m
    np.testing.assert_allclose(numpy(last[-1]), total, atol=100 * ATOL)
    np.testing.assert_allclose(numpy(last[-2]), m, atol=10 * ATOL)


def test_decoupling_of_nothing_is_zero_with_a_finite_gradient():
    """The first step on zeros adds nothing to C nor M; a cosine of zeros must not be NaN."""
    stack = st.ZigZagStack([make()], decoupling=True)
    stack.build((None, 5, 6, 2))
    dc = keras.ops.zeros((2, 5, 6, 3), dtype="float64")
    np.testing.assert_array_equal(numpy(stack._overlap(dc, dc)), 0.0)
