"""ConvLSTM against its equations (spec 1.1 to 1.6) and against Keras."""

import inspect

import keras
import numpy as np
import pytest

from keras_st import layers as st
from tests.reference.recognition import stacked_peephole_lstm
from tests.reference.recurrent import conv_lstm_step, sigmoid

KERAS = {1: keras.layers.ConvLSTM1D, 2: keras.layers.ConvLSTM2D, 3: keras.layers.ConvLSTM3D}
OURS = {1: st.ConvLSTM1D, 2: st.ConvLSTM2D, 3: st.ConvLSTM3D}
JAX = keras.backend.backend() == "jax"
# Float64 is float64 on TensorFlow only: on JAX XLA's tanh is good to 1.3e-7 on CPU, and on PyTorch Keras takes means
# and matrix products of float64 in float32.
ATOL = 1e-10 if keras.backend.backend() == "tensorflow" else 1e-6
SIZES = {1: (7,), 2: (7, 6), 3: (4, 5, 6)}


def randomise(layer, rng, scale=0.4):
    layer.set_weights([scale * rng.standard_normal(w.shape) for w in layer.get_weights()])


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("peephole", [None, "channel", "full"])
@pytest.mark.parametrize("kwargs", [{}, {"strides": 2}, {"dilation_rate": 2, "recurrent_dilation_rate": 3}])
@pytest.mark.parametrize("batch", [1, 3])
def test_step_equals_the_numpy_witness(rng, peephole, kwargs, batch):
    cell = st.ConvLSTMCell(
        2, 4, (3, 5), padding="same", recurrent_kernel_size=(5, 3), peephole=peephole, dtype="float64", **kwargs
    )
    cell.build((None, 7, 9, 2))
    randomise(cell, rng)
    x = rng.standard_normal((batch, 7, 9, 2))
    state_shape = tuple(cell.get_initial_state(batch)[0].shape)
    h, c = rng.standard_normal((2, *state_shape))
    output, (new_h, new_c) = cell(x, [h, c])
    w = dict(zip(("kernel", "recurrent_kernel", "bias", "peephole"), cell.get_weights()))
    w["recurrent_dilation"] = kwargs.get("recurrent_dilation_rate", 1)
    want_h, want_c = conv_lstm_step(
        x, h, c, w, stride=kwargs.get("strides", 1), dilation=kwargs.get("dilation_rate", 1)
    )
    np.testing.assert_allclose(numpy(new_h), want_h, atol=ATOL)
    np.testing.assert_allclose(numpy(new_c), want_c, atol=ATOL)
    np.testing.assert_array_equal(numpy(output), numpy(new_h))


def test_layer_equals_the_numpy_witness_over_time(rng):
    layer = st.ConvLSTM2D(
        3, (3, 5), padding="same", peephole="channel", return_sequences=True, return_state=True, dtype="float64"
    )
    x = rng.standard_normal((2, 5, 6, 7, 2))
    h, c = rng.standard_normal((2, 2, 6, 7, 3))
    layer.build(x.shape)
    randomise(layer, rng)
    outputs, last_h, last_c = layer(x, initial_state=[h, c])
    w = dict(zip(("kernel", "recurrent_kernel", "bias", "peephole"), layer.get_weights()))
    for t in range(5):
        h, c = conv_lstm_step(x[:, t], h, c, w)
        np.testing.assert_allclose(numpy(outputs[:, t]), h, atol=ATOL)
    np.testing.assert_allclose(numpy(last_h), h, atol=ATOL)
    np.testing.assert_allclose(numpy(last_c), c, atol=ATOL)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"padding": "same"},
        {},
        {"padding": "same", "strides": 2},
        {"padding": "same", "dilation_rate": 2},
        {"go_backwards": True},
        {"use_bias": False, "activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"unit_forget_bias": False, "kernel_size": 2, "padding": "same"},
    ],
)
@pytest.mark.parametrize("masked", [False] if JAX else [False, True])  # with a mask Keras's own layer raises on JAX
def test_v1_1_equals_keras_under_copied_weights(rng, rank, kwargs, masked):
    kwargs = {"filters": 4, "kernel_size": 3, "return_sequences": True, "return_state": True, **kwargs}
    theirs, ours = KERAS[rank](**kwargs), OURS[rank](**kwargs)
    x = rng.standard_normal((2, 5, *SIZES[rank], 3)).astype("float32")
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool) if masked else None
    want = theirs(x, mask=mask)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    states = [rng.standard_normal(s.shape).astype("float32") for s in want[1:]]
    for got, expected in zip(ours(x, mask=mask), want):
        np.testing.assert_allclose(numpy(got), numpy(expected), atol=1e-5)
    for got, expected in zip(
        ours(x, initial_state=list(states), mask=mask), theirs(x, initial_state=list(states), mask=mask)
    ):
        np.testing.assert_allclose(numpy(got), numpy(expected), atol=1e-5)


def test_every_keras_argument_is_taken_with_its_default():
    theirs = inspect.signature(keras.layers.ConvLSTM2D).parameters
    ours = inspect.signature(st.ConvLSTM2D).parameters
    layer_level = {"activity_regularizer", "kwargs"}  # arguments of every Keras layer
    for name in set(theirs) - layer_level:
        assert ours[name].default == theirs[name].default, name
    layer = st.ConvLSTM2D(2, 3, activity_regularizer="l2", kernel_regularizer="l1", bias_constraint="non_neg")
    layer(np.ones((1, 2, 5, 5, 1), "float32"))
    assert len(layer.losses) == 2


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("peephole, extra", [(None, 0), ("channel", 3), ("full", None)])
def test_v1_2_parameter_count(rank, peephole, extra):
    layer = OURS[rank](5, 3, padding="same", recurrent_kernel_size=5, peephole=peephole)
    layer.build((None, 4, *SIZES[rank], 3))
    positions = int(np.prod(SIZES[rank]))
    peepholes = 3 * 5 * positions if extra is None else extra * 5
    assert layer.count_params() == 4 * 5 * (3**rank * 3 + 5**rank * 5 + 1) + peepholes


def test_v1_2_count_of_the_spec():
    layer = st.ConvLSTM2D(5, 3)
    layer.build((None, None, None, None, 3))
    assert layer.count_params() == 1460


def test_v1_3_on_one_pixel_it_is_an_lstm(rng):
    x = rng.standard_normal((2, 4, 3)).astype("float32")
    for kernel_size, tap in ((1, 0), (3, 1)):
        ours = st.ConvLSTM2D(5, kernel_size, padding="same", return_sequences=True)
        ours.build((2, 4, 1, 1, 3))
        randomise(ours, rng)
        kernel, recurrent_kernel, bias = ours.get_weights()
        lstm = keras.layers.LSTM(5, return_sequences=True)
        lstm.build(x.shape)
        lstm.set_weights([kernel[tap, tap], recurrent_kernel[tap, tap], bias])
        got = ours(x[:, :, None, None])[:, :, 0, 0]
        np.testing.assert_allclose(numpy(got), numpy(lstm(x)), atol=1e-6)


def test_v1_4_rank_ladder(rng):
    x = rng.standard_normal((2, 4, 6, 3)).astype("float32")
    one, two = (cls(4, k, padding="same") for cls, k in ((st.ConvLSTM1D, 3), (st.ConvLSTM2D, (3, 1))))
    one.build(x.shape), two.build((2, 4, 6, 1, 3))
    randomise(one, rng)
    two.set_weights([np.expand_dims(w, 1) if w.ndim == 3 else w for w in one.get_weights()])
    np.testing.assert_allclose(numpy(one(x)), numpy(two(x[:, :, :, None]))[:, :, 0], atol=1e-6)
    x = rng.standard_normal((2, 4, 6, 5, 3)).astype("float32")
    two, three = (cls(4, k, padding="same") for cls, k in ((st.ConvLSTM2D, 3), (st.ConvLSTM3D, (1, 3, 3))))
    two.build(x.shape), three.build((2, 4, 1, 6, 5, 3))
    randomise(two, rng)
    three.set_weights([w[None] if w.ndim == 4 else w for w in two.get_weights()])
    np.testing.assert_allclose(numpy(two(x)), numpy(three(x[:, :, None]))[:, 0], atol=1e-6)


def test_v1_5_peepholes_reduce(rng):
    x = rng.standard_normal((2, 4, 5, 6, 3)).astype("float32")
    none, channel, full = (st.ConvLSTM2D(4, 3, padding="same", peephole=p) for p in (None, "channel", "full"))
    for layer in (none, channel, full):
        layer.build(x.shape)
    randomise(none, rng)
    weights = none.get_weights()
    channel.set_weights([*weights, np.zeros(12)])
    np.testing.assert_allclose(numpy(channel(x)), numpy(none(x)), atol=1e-6)
    peephole = rng.standard_normal(12)
    channel.set_weights([*weights, peephole])
    full.set_weights([*weights, np.broadcast_to(peephole, (5, 6, 12))])
    np.testing.assert_allclose(numpy(channel(x)), numpy(full(x)), atol=1e-6)
    assert np.abs(numpy(channel(x)) - numpy(none(x))).max() > 1e-2


def test_v1_6_hand_values():
    cell = st.ConvLSTMCell(2, 1, 3, padding="same", peephole="channel", dtype="float64")
    cell.build((None, 1, 1, 1))
    one = np.ones((1, 1, 1, 1))
    cell.set_weights([np.zeros(w.shape) for w in cell.get_weights()])
    cell.bias.assign([0.0, 1.0, 0.0, 0.0])
    _, (h, c) = cell(0 * one, [0 * one, one])
    assert float(c[0, 0, 0, 0]) == pytest.approx(0.731059, abs=1e-6)
    assert float(h[0, 0, 0, 0]) == pytest.approx(0.311856, abs=1e-6)
    cell.bias.assign([0.0, 1.0, 0.3, 0.0])
    cell.peephole_kernel.assign([0.5, 0.5, 0.5])
    _, (h, c) = cell(0 * one, [0 * one, one])
    assert float(c[0, 0, 0, 0]) == pytest.approx(0.998905, abs=1e-6)
    assert float(h[0, 0, 0, 0]) == pytest.approx(0.473677, abs=1e-6)
    assert sigmoid(0.5 * float(c[0, 0, 0, 0])) == pytest.approx(0.622331, abs=1e-6)  # o reads C_t


@pytest.mark.parametrize("recurrent_size, recurrent_dilation", [(3, 1), (3, 2), (1, 1)])
def test_v1_7_receptive_field(rng, recurrent_size, recurrent_dilation):
    layer = st.ConvLSTM2D(
        2,
        5,
        padding="same",
        dilation_rate=2,
        recurrent_kernel_size=recurrent_size,
        recurrent_dilation_rate=recurrent_dilation,
        return_sequences=True,
        dtype="float64",
    )
    x = np.zeros((1, 4, 31, 33, 1))
    layer.build(x.shape)
    randomise(layer, rng)
    quiet = numpy(layer(x))
    x[0, 0, 15, 16] = 1.0
    touched = np.abs(numpy(layer(x)) - quiet).max(axis=-1)[0] > 0
    for t in range(4):
        radius = 2 * 2 + t * recurrent_dilation * (recurrent_size // 2)
        rows, columns = np.nonzero(touched[t])
        assert max(abs(rows - 15).max(), abs(columns - 16).max()) == radius


def test_dilated_layer_is_one_layer_a_phase(rng):
    """Spec 2.3: with d_x = d_h = d it is d x d independent undilated layers on x[:, :, a::d, b::d]."""
    dilated = st.ConvLSTM2D(
        3, 3, padding="same", dilation_rate=2, recurrent_dilation_rate=2, return_sequences=True, dtype="float64"
    )
    plain = st.ConvLSTM2D(3, 3, padding="same", return_sequences=True, dtype="float64")
    x = rng.standard_normal((2, 4, 6, 8, 2))
    for layer in (dilated, plain):
        layer.build((2, 4, None, None, 2))
    randomise(dilated, rng)
    plain.set_weights(dilated.get_weights())
    got = numpy(dilated(x))
    for a, b in np.ndindex(2, 2):
        want = numpy(plain(np.ascontiguousarray(x[:, :, a::2, b::2])))
        np.testing.assert_allclose(got[:, :, a::2, b::2], want, atol=10 * ATOL)


def test_dilated_kernels_are_kernels_with_zeros_between(rng):
    dilated = st.ConvLSTM2D(3, 3, padding="same", dilation_rate=2, recurrent_dilation_rate=3, dtype="float64")
    wide = st.ConvLSTM2D(3, 5, padding="same", recurrent_kernel_size=7, dtype="float64")
    x = rng.standard_normal((2, 4, 9, 10, 2))
    for layer in (dilated, wide):
        layer.build(x.shape)
    randomise(dilated, rng)
    kernel, recurrent_kernel, bias = dilated.get_weights()
    stuffed, recurrent_stuffed = np.zeros((5, 5, 2, 12)), np.zeros((7, 7, 3, 12))
    stuffed[::2, ::2], recurrent_stuffed[::3, ::3] = kernel, recurrent_kernel
    wide.set_weights([stuffed, recurrent_stuffed, bias])
    np.testing.assert_allclose(numpy(dilated(x)), numpy(wide(x)), atol=10 * ATOL)


def test_v1_8_translation_equivariance(rng):
    def shifted_difference(peephole):
        layer = st.ConvLSTM2D(3, 3, padding="same", peephole=peephole, dtype="float64")
        x = np.zeros((1, 3, 14, 15, 1))
        x[:, :, 5:9, 5:9] = rng.standard_normal((1, 3, 4, 4, 1))
        layer.build(x.shape)
        randomise(layer, rng)
        y, moved = numpy(layer(x)), numpy(layer(np.roll(x, (1, 2), axis=(2, 3))))
        return np.abs(np.roll(y, (1, 2), axis=(1, 2)) - moved)[:, 5:-5, 5:-5].max()

    assert shifted_difference("channel") < 1e-12
    assert shifted_difference("full") > 1e-3


def test_v1_9_padded_and_masked_equals_short(rng):
    layer = st.ConvLSTM2D(3, 3, padding="same", return_sequences=True, return_state=True)
    x = rng.standard_normal((2, 3, 5, 6, 2)).astype("float32")
    padded = np.concatenate([x, 9 * np.ones((2, 2, 5, 6, 2), "float32")], axis=1)
    mask = np.array([[True] * 3 + [False] * 2] * 2)
    short, long = layer(x), layer(padded, mask=mask)
    np.testing.assert_allclose(numpy(short[0]), numpy(long[0])[:, :3], atol=1e-6)
    for a, b in zip(short[1:], long[1:]):
        np.testing.assert_allclose(numpy(a), numpy(b), atol=1e-6)


def test_v1_10_round_trip_keeps_the_gate_activation():
    layer = st.ConvLSTM2D(3, 3, recurrent_activation="hard_sigmoid", name="gates")
    again = st.ConvLSTM2D.from_config(layer.get_config())
    assert again.cell.recurrent_activation is keras.activations.hard_sigmoid
    assert again.get_config() == layer.get_config()


def test_input_less_cell_reads_batch_and_time_only(rng):
    layer = st.ConvLSTM2D(3, 3, padding="same", use_input=False, return_sequences=True, dtype="float64")
    states = [rng.standard_normal((2, 5, 6, 3)) for _ in range(2)]
    outputs = layer(np.zeros((2, 4, 5, 6, 0)), initial_state=states)
    assert len(layer.get_weights()) == 2
    w = {"recurrent_kernel": layer.get_weights()[0], "bias": layer.get_weights()[1]}
    h, c = states
    for t in range(4):
        h, c = conv_lstm_step(None, h, c, w)
        np.testing.assert_allclose(numpy(outputs[:, t]), h, atol=ATOL)


@pytest.mark.parametrize("where", ["dropout", "recurrent_dropout"])
def test_dropout_acts_in_training_only_and_is_fixed_along_the_sequence(rng, where):
    layer = st.ConvLSTM2D(3, 3, padding="same", seed=1, **{where: 0.5})
    x = rng.standard_normal((2, 4, 5, 6, 2)).astype("float32")
    still = numpy(layer(x))
    np.testing.assert_array_equal(numpy(layer(x, training=False)), still)
    assert np.abs(numpy(layer(x, training=True)) - still).max() > 1e-3
    cell = layer.cell
    states = [keras.ops.convert_to_tensor(rng.standard_normal((2, 5, 6, 3)).astype("float32")) for _ in range(2)]
    noise = cell.sample_noise(keras.ops.convert_to_tensor(x[:, 0]), states)
    steps = keras.ops.convert_to_tensor(np.repeat(x[:, :1], 2, axis=1).swapaxes(0, 1))
    projected = numpy(cell.project_sequence(steps, noise))
    np.testing.assert_array_equal(projected[0], projected[1])


@pytest.mark.parametrize("unroll", [False, True])
def test_recurrent_dropout_drops_the_same_units_at_every_step(unroll):
    """The candidate reads its own unit only, i = o = 1, f = 0: a unit dropped at every step is 0 from the first on."""
    layer = st.ConvLSTM1D(8, 1, padding="same", recurrent_dropout=0.5, seed=3, return_sequences=True, unroll=unroll)
    layer.build((1, 6, 1, 1))
    f = 8
    recurrent = np.zeros((1, f, 4 * f))
    recurrent[0, np.arange(f), 2 * f + np.arange(f)] = 1.0  # the candidate reads its own unit only
    layer.set_weights([np.zeros((1, 1, 4 * f)), recurrent, np.repeat([50.0, -50.0, 0.0, 50.0], f)])
    first = [np.full((1, 1, f), 0.5, "float32"), np.zeros((1, 1, f), "float32")]
    alive = numpy(layer(np.zeros((1, 6, 1, 1), "float32"), initial_state=first, training=True))[0, :, 0] > 1e-6
    assert 0 < alive[-1].sum() < f
    np.testing.assert_array_equal(alive, np.repeat(alive[:1], 6, axis=0))


def test_compiled_equals_eager(rng):
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    layer = st.ConvLSTM2D(3, 3, padding="same")
    x = rng.standard_normal((2, 4, 5, 6, 2)).astype("float32")
    np.testing.assert_allclose(numpy(tf.function(layer, jit_compile=True)(x)), numpy(layer(x)), atol=1e-5)


@pytest.mark.parametrize(
    "kwargs, word",
    [
        ({"filters": 0}, "filters=0"),
        ({"filters": 2.5}, "filters=2.5"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size=(3, 3, 3)"),
        ({"kernel_size": 0}, "kernel_size=0"),
        ({"padding": "causal"}, "padding=causal"),
        ({"data_format": "channels_first"}, "data_format=channels_first"),
        ({"strides": 2, "dilation_rate": 2}, "strides=2"),
        ({"peephole": "dense"}, "peephole='dense'"),
        ({"recurrent_kernel_size": 4}, "recurrent_kernel_size=(4, 4)"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"recurrent_dropout": -0.1}, "recurrent_dropout=-0.1"),
    ],
)
def test_bad_arguments_are_named(kwargs, word):
    with pytest.raises(ValueError) as error:
        st.ConvLSTM2D(**{"filters": 2, "kernel_size": 3, **kwargs})
    assert "Received:" in str(error.value) and word in str(error.value)


def test_unknown_argument_is_refused():
    with pytest.raises((TypeError, ValueError), match="kernel_sise"):
        st.ConvLSTM2D(2, 3, kernel_sise=3)


def test_bad_shapes_are_named(rng):
    with pytest.raises(ValueError, match=r"rank 2 takes 4 axes.*Received: input_shape=\(2, 5, 1\)"):
        st.ConvLSTM2D(2, 3).build((2, 3, 5, 1))
    with pytest.raises(ValueError, match="static spatial size"):
        st.ConvLSTM2D(2, 3, peephole="full").build((None, None, None, 8, 1))
    with pytest.raises(ValueError, match="channel axis"):
        st.ConvLSTM2D(2, 3).build((None, None, 8, 8, None))
    cell = st.ConvLSTMCell(2, 2, 3)
    cell.build((None, None, None, 1))
    with pytest.raises(ValueError, match="spatial_shape"):
        cell.get_initial_state(2)
    with pytest.raises(ValueError, match="rank=4"):
        st.ConvLSTMCell(4, 2, 3)


def test_fc_lstm_equals_its_equations(rng):
    """Spec 1.1, through the convolutional witness on maps of one pixel; count 4DF + 4F^2 + 4F + 3F."""
    layer = st.SpatialRNN(st.PeepholeLSTMCell(5, dtype="float64"), return_sequences=True, dtype="float64")
    x, (h, c) = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 2, 5))
    layer.build(x.shape)
    randomise(layer, rng)
    assert layer.count_params() == 4 * 3 * 5 + 4 * 25 + 4 * 5 + 3 * 5
    outputs = numpy(layer(x, initial_state=[h, c]))
    kernel, recurrent_kernel, bias, peephole = layer.get_weights()
    w = {"kernel": kernel[None], "recurrent_kernel": recurrent_kernel[None], "bias": bias, "peephole": peephole}
    h, c = h[:, None], c[:, None]
    for t in range(4):
        h, c = conv_lstm_step(x[:, t, None], h, c, w)
        np.testing.assert_allclose(outputs[:, t], h[:, 0], atol=ATOL)


def test_fc_lstm_without_peepholes_is_keras_lstm(rng):
    x = rng.standard_normal((2, 4, 3)).astype("float32")
    ours, theirs = st.SpatialRNN(st.PeepholeLSTMCell(5, peephole=None)), keras.layers.LSTM(5)
    ours.build(x.shape), theirs.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(numpy(ours(x)), numpy(theirs(x)), atol=1e-6)


def test_c5_hand_values():
    """Recognition C5: all weights and peepholes 1, biases 0, x = 1 from zeros; o looks at the new cell."""
    layer = st.SpatialRNN(st.PeepholeLSTMCell(1, dtype="float64"), return_state=True)
    layer.build((1, 1, 1))
    layer.set_weights([np.ones(w.shape) if n != 2 else np.zeros(4) for n, w in enumerate(layer.get_weights())])
    h, _, c = layer(np.ones((1, 1, 1)))
    assert float(c[0, 0]) == pytest.approx(0.556770, abs=1e-6)
    assert float(h[0, 0]) == pytest.approx(0.417551, abs=1e-6)


def test_c5_stacked_with_peepholes_equals_the_witness(rng):
    """Recognition C3, C5: levels on top of each other, from random states; count 4(DH + H^2 + H) + 3H."""
    sizes, x = (3, 5, 4), rng.standard_normal((2, 6, 3))
    levels, weights, states, value = [], [], [], x
    for inputs, units in zip(sizes, sizes[1:]):
        layer = st.SpatialRNN(st.PeepholeLSTMCell(units, dtype="float64"), return_sequences=True)
        layer.build((2, 6, inputs))
        randomise(layer, rng)
        assert layer.count_params() == 4 * (inputs * units + units**2 + units) + 3 * units
        weights.append(dict(zip(("kernel", "recurrent_kernel", "bias", "peephole"), layer.get_weights())))
        states.append(rng.standard_normal((2, 2, units)))
        levels.append(layer)
    for layer, state in zip(levels, states):
        value = layer(value, initial_state=list(state))
    np.testing.assert_allclose(numpy(value), stacked_peephole_lstm(x, weights, states)[0], atol=ATOL)


def test_c5_a_conv_lstm_with_peepholes_on_one_cell_is_it(rng):
    x, states = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 2, 5))
    maps = st.ConvLSTM2D(5, 3, padding="same", peephole="channel", return_sequences=True, dtype="float64")
    vectors = st.SpatialRNN(st.PeepholeLSTMCell(5, dtype="float64"), return_sequences=True)
    maps.build((2, 4, 1, 1, 3)), vectors.build(x.shape)
    randomise(maps, rng)
    kernel, recurrent_kernel, bias, peephole = maps.get_weights()
    vectors.set_weights([kernel[1, 1], recurrent_kernel[1, 1], bias, peephole])
    wide = maps(x[:, :, None, None], initial_state=[s[:, None, None] for s in states])
    np.testing.assert_allclose(numpy(wide)[:, :, 0, 0], numpy(vectors(x, initial_state=list(states))), atol=ATOL)


@pytest.mark.parametrize("kwargs, word", [({"strides": 2}, "strides=2"), ({"peephole": "full"}, "full")])
def test_fc_lstm_refuses_geometry(kwargs, word):
    with pytest.raises(ValueError, match=word):
        st.PeepholeLSTMCell(5, **kwargs)
