"""ConvLSTM's own gradient (TensorFlow graphs) against autodiff of the plain loop, in float64."""

import keras
import numpy as np
import pytest

from keras_st import backend, layers
from tests.keras_st.layers.recurrent.test_conv_lstm import SIZES, randomise

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the other backends run the plain loop")
LAYERS = {1: layers.ConvLSTM1D, 2: layers.ConvLSTM2D, 3: layers.ConvLSTM3D}


@pytest.fixture
def runs(monkeypatch):
    """What every `ConvLSTMCell.run` returned."""
    results, run = [], layers.ConvLSTMCell.run

    def spied(self, *args):
        results.append(run(self, *args))
        return results[-1]

    monkeypatch.setattr(layers.ConvLSTMCell, "run", spied)
    return results


def gradients(layer, x, states, targets, dynamic_time=False):
    """Outputs and gradients of a sum over everything the layer returns, from inside a graph."""
    import tensorflow as tf

    shape = [None if dynamic_time and axis == 1 else size for axis, size in enumerate(x.shape)]

    @tf.function(input_signature=[tf.TensorSpec(shape, x.dtype)])
    def run(x):
        states_ = [tf.constant(s) for s in states]
        with tf.GradientTape() as tape:
            tape.watch([x, *states_])
            outputs = layer(x, initial_state=states_ or None)
            loss = sum(tf.reduce_sum(tf.cast(y, "float64") * t) for y, t in zip(outputs, targets))
        watched = [x, *states_, *(w.value for w in layer.trainable_weights)]
        return outputs, tape.gradient(loss, watched, unconnected_gradients="zero")

    outputs, grads = run(x)
    return [np.asarray(y) for y in [*outputs, *grads]]


def pair(rank, **kwargs):
    """A layer with its own gradient and its twin, which runs the loop."""
    kwargs = {"padding": "same", "return_sequences": True, "return_state": True, "dtype": "float64", **kwargs}
    own = LAYERS[rank](3, kwargs.pop("kernel_size", 3), **kwargs)
    return own, type(own).from_config({**own.get_config(), "unroll": False})


CASES = {
    "1D": (1, {}),
    "2D": (2, {"kernel_size": (3, 5)}),
    "3D": (3, {}),
    "even kernel": (2, {"kernel_size": (2, 4)}),
    "dilated": (2, {"dilation_rate": 2, "recurrent_dilation_rate": 2}),
    "no bias": (2, {"use_bias": False}),
    "no input": (2, {"use_input": False}),
    "last output": (2, {"return_sequences": False}),
    "backwards": (2, {"go_backwards": True}),
}


# Kernels' gradients are taken for five steps at a time.
@pytest.mark.parametrize("case, length", [("2D", 1), ("2D", 4), ("2D", 5), *((case, 11) for case in CASES)])
@pytest.mark.parametrize("given_states", [True, False])
def test_equals_autodiff_of_the_loop(rng, runs, case, given_states, length):
    rank, kwargs = CASES[case]
    own, loop = pair(rank, **kwargs)
    x = rng.standard_normal((2, length, *SIZES[rank], 2))
    for layer in (own, loop):
        layer.build(x.shape)
    randomise(own, rng)
    loop.set_weights(own.get_weights())
    state_shape = (2, *SIZES[rank], 3)
    states = list(rng.standard_normal((2, *state_shape))) if given_states else []
    output_shape = (2, length, *SIZES[rank], 3) if own.return_sequences else state_shape
    targets = [rng.standard_normal(shape) for shape in (output_shape, state_shape, state_shape)]
    got = gradients(own, x, states, targets)
    assert len(runs) == 1 and runs[0] is not None
    want = gradients(loop, x, states, targets)
    assert len(runs) == 1
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, atol=1e-10)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"peephole": "channel"},
        {"norm": True},
        {"gate_mode": "pooled"},
        {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"},
        {"recurrent_kernel_size": 5},
        {"recurrent_dilation_rate": 2},
        {"deform": "state"},
    ],
)
def test_other_cells_fall_back_to_the_loop(rng, runs, kwargs):
    own, loop = pair(2, **kwargs)
    x = rng.standard_normal((2, 3, 5, 6, 2))
    for layer in (own, loop):
        layer.build(x.shape)
    randomise(own, rng)
    loop.set_weights(own.get_weights())
    targets = [rng.standard_normal(shape) for shape in ((2, 3, 5, 6, 3), (2, 5, 6, 3), (2, 5, 6, 3))]
    for g, w in zip(gradients(own, x, [], targets), gradients(loop, x, [], targets), strict=True):
        np.testing.assert_allclose(g, w, atol=1e-10)
    assert runs == [None]


def test_dynamic_and_long_time_fall_back_to_the_loop(rng, runs):
    own, _ = pair(2)
    own.build((2, None, 5, 6, 2))
    targets = [1.0, 1.0, 1.0]
    x = rng.standard_normal((2, 3, 5, 6, 2))
    dynamic = gradients(own, x, [], targets, dynamic_time=True)
    static = gradients(own, x, [], targets)
    for g, w in zip(dynamic, static, strict=True):
        np.testing.assert_allclose(g, w, atol=1e-10)
    gradients(own, rng.standard_normal((1, backend.LONGEST_UNROLL + 1, 4, 5, 2)), [], targets)
    assert [r is None for r in runs] == [True, False, True]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_layer_used_twice_trains_like_the_loop(rng, jit_compile):
    """Reuse, a stack, Keras's own training step, saving."""
    x, y = rng.random((2, 4, 6, 7, 3)), rng.random((2, 4, 6, 7, 3))
    losses = []
    for unroll in (None, False):
        keras.utils.set_random_seed(0)
        layer = layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True, unroll=unroll, dtype="float64")
        inputs = keras.Input(x.shape[1:], dtype="float64")
        model = keras.Model(inputs, layer(layer(inputs)))
        model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=jit_compile and unroll is None)
        losses.append([model.train_on_batch(x, y) for _ in range(4)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    assert losses[0][-1] < losses[0][0]


def test_half_precision(rng, runs):
    own, loop = pair(2, dtype="mixed_float16")
    x = rng.random((2, 6, 5, 6, 2)).astype("float32")
    for layer in (own, loop):
        layer.build(x.shape)
    loop.set_weights(own.get_weights())
    got, want = (gradients(layer, x, [], [1.0, 1.0, 1.0]) for layer in (own, loop))
    assert runs[0] is not None
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype and np.isfinite(g).all()
        np.testing.assert_allclose(g, w, rtol=0.02, atol=0.02 * np.abs(w).max())


@pytest.mark.parametrize("part", layers.ConvLSTMCell.PARTS)
def test_a_subclass_that_changes_a_part_runs_step_by_step(rng, part):
    """Its own equations hold inside a graph as outside."""
    import tensorflow as tf

    def halved(self, *args, **kwargs):
        y = getattr(layers.ConvLSTMCell, part)(self, *args, **kwargs)
        return (0.5 * y[0], *y[1:]) if isinstance(y, tuple) else 0.5 * y

    cell = type("Halved", (layers.ConvLSTMCell,), {part: halved})(2, 3, 3, padding="same", dtype="float64")
    layer = layers.SpatialRNN(cell)
    x = rng.standard_normal((2, 4, 5, 6, 2))
    eager = layer(x)
    np.testing.assert_allclose(tf.function(layer)(x), eager, atol=1e-10)
    plain = layers.SpatialRNN(layers.ConvLSTMCell(2, 3, 3, padding="same", dtype="float64"))
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    assert np.abs(plain(x) - eager).max() > 1e-3


def test_inputs_of_unknown_channels(rng):
    """The kernel knows them; the gradient of the inputs once came back as the inputs."""
    import tensorflow as tf

    own, loop = pair(2, return_state=False)
    x = rng.standard_normal((2, 4, 5, 6, 2))
    for layer in (own, loop):
        layer.build(x.shape)
    loop.set_weights(own.get_weights())

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 5, 6, None), "float64")])
    def gradient(x):
        grads = []
        for layer in (own, loop):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(layer(x) ** 2)
            grads.append(tape.gradient(loss, [x, *(w.value for w in layer.trainable_weights)]))
        return grads

    for got, want in zip(*gradient(x)):
        np.testing.assert_allclose(got, want, atol=1e-10)
