"""Both directions, and fast-forward recurrence, against their witnesses (recognition G3, G7)."""

import keras
import numpy as np
import pytest

from keras_st import layers as st
from keras_st.layers.recurrent import fast_forward as ff
from tests.conformance.test_conformance import gradients
from tests.keras_st.layers.recurrent.test_conv_lstm import numpy, randomise
from tests.keras_st.layers.test_frame_bag import lstm_weights, padded, videos
from tests.keras_st.layers.test_mixture import close, counts
from tests.reference import youtube8m as witness

T, D, H = 6, 5, 3
TENSORFLOW = keras.backend.backend() == "tensorflow"
ATOL = 1e-10 if TENSORFLOW else 1e-5  # levels multiply what single precision leaves


def made(layer, rng, scale=0.5):
    layer.build((None, None, D))
    randomise(layer, rng, scale)
    return layer


def fast_forward(rng, depth=2, chains=2, cell="lstm", **kwargs):
    return made(ff.FastForwardRNN(H, depth, chains, cell, dtype="float64", **kwargs), rng)


def levels_of(layer, chain=0):
    """Weights of a chain as the witness takes them."""
    levels = []
    for n in range(chain * layer.depth, (chain + 1) * layer.depth):
        recurrent, bias, *peephole = layer.rnns[n].cell.get_weights()
        level = {"recurrent": recurrent, "bias": bias, "peephole": peephole[0] if peephole else np.zeros(3 * H)}
        level["path"], level["path_bias"] = numpy(layer.path_kernel(n)), numpy(layer.path_biases[n])
        if n % layer.depth:
            level["hidden"] = numpy(layer.hidden_kernels[n])
        levels.append(level)
    return levels


def chain_of(layer, x, chain=0):
    first = "backward" if chain else "forward"
    activation = np.tanh if layer.activation is keras.activations.tanh else lambda a: np.maximum(a, 0)
    return witness.fast_forward(x, levels_of(layer, chain), layer.cell, first, activation)


def assert_videos_equal(outputs, mask, want):
    """Outputs (B, T, C) at real frames are those of every video alone."""
    for n, steps in enumerate(want):
        close(outputs[n][: mask[n].sum()], steps, ATOL)


# Both directions


@pytest.mark.parametrize("cell, peephole", [("lstm", False), ("lstm", True), ("gru", False)])
def test_g7_3_both_directions_start_at_the_ends_of_every_video(rng, cell, peephole):
    layer, clips = made(ff.BidirectionalRNN(H, cell, peephole, dtype="float64"), rng), videos(rng)
    x, mask = padded(clips)
    want = []
    for video in clips:
        ways = []
        for rnn in layer.rnns:
            w = lstm_weights(rnn)
            ways.append(witness.recurrent(video @ w["kernel"], w, cell, backward=rnn.go_backwards))
        want.append(np.concatenate(ways, axis=-1))
    outputs = numpy(layer(x, mask=mask))
    assert_videos_equal(outputs, mask, want)
    for video, steps in zip(clips, want):
        close(layer(video[None])[0], steps)
    assert layer.compute_output_shape((None, None, D)) == (None, None, 2 * H)


def test_directions_differ_at_first():
    layer = ff.BidirectionalRNN(H)
    layer.build((None, None, D))
    forward, backward = (numpy(rnn.cell.kernel) for rnn in layer.rnns)
    assert np.abs(forward - backward).max() > 1e-3


# Fast-forward


@pytest.mark.parametrize("cell, peephole", [("lstm", True), ("lstm", False), ("gru", True)])
@pytest.mark.parametrize("depth, chains", [(1, 1), (2, 2), (3, 1), (3, 2)])
def test_fast_forward_equals_the_witness(rng, cell, peephole, depth, chains):
    layer = fast_forward(rng, depth, chains, cell, peephole=peephole, return_path=True)
    clips = videos(rng)
    x, mask = padded(clips)
    outputs, gates = numpy(layer(x, mask=mask)), layer.gates
    assert outputs.shape[-1] == chains * (H + gates) == layer.compute_output_shape((None, None, D))[-1]
    for chain in range(chains):
        paths, hidden = zip(*(chain_of(layer, video, chain) for video in clips))
        assert_videos_equal(outputs[..., chain * H : (chain + 1) * H], mask, hidden)
        first = chains * H + chain * gates
        assert_videos_equal(outputs[..., first : first + gates], mask, paths)


def test_fast_forward_without_its_path_is_its_first_part(rng):
    layer, x = fast_forward(rng, return_path=True), rng.standard_normal((2, T, D))
    plain = fast_forward(rng)
    plain.set_weights(layer.get_weights())
    np.testing.assert_array_equal(numpy(plain(x)), numpy(layer(x))[..., : 2 * H])


def test_activation_is_of_the_candidate_not_of_the_output(rng):
    """The released "depth 7" form: ReLU candidates, tanh of the cell."""
    layer, x = fast_forward(rng, 2, 1, activation="relu"), 2 * rng.standard_normal((2, T, D))
    got = numpy(layer(x))
    close(got, [chain_of(layer, video)[1] for video in x])
    assert np.abs(got).max() < 1
    tanh = fast_forward(rng, 2, 1)
    tanh.set_weights(layer.get_weights())
    assert np.abs(numpy(tanh(x)) - got).max() > 1e-2


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_g7_6_without_hidden_kernels_the_path_is_linear_in_the_frame(rng, cell):
    layer, x = fast_forward(rng, 4, 1, cell, return_path=True), rng.standard_normal((2, T, D))
    for kernel in layer.hidden_kernels[1:]:
        kernel.assign(np.zeros(kernel.shape))
    product = np.eye(D)
    for n in range(4):
        product = product @ numpy(layer.path_kernel(n))
    constant = numpy(layer(x))[..., H:] - x @ product
    close(constant, np.broadcast_to(constant[:1, :1], constant.shape), ATOL)
    assert np.abs(constant).max() > 1e-2


def test_g7_6_so_it_starts(rng):
    layer = ff.FastForwardRNN(64, 3, 2, path_rate=0.04)
    layer.build((None, None, 40))
    for n in range(6):
        deviation = numpy(layer.path_kernel(n)).std()
        np.testing.assert_allclose(deviation, 1 / (3 * 8), rtol=0.1)
        assert (layer.hidden_kernels[n] is None) == (n % 3 == 0)
        assert n % 3 == 0 or (numpy(layer.hidden_kernels[n]) == 0).all()
    first, second = (numpy(layer.path_kernel(n)) for n in (0, 3))
    assert np.abs(first - second).max() > 1e-3
    first, second = (numpy(layer.rnns[n].cell.recurrent_kernel) for n in (0, 1))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("cell, peephole", [("lstm", False), ("lstm", True), ("gru", False)])
def test_g7_6_one_level_is_the_plain_layer(rng, cell, peephole):
    layer, x = fast_forward(rng, 1, 1, cell, peephole=peephole), rng.standard_normal((2, T, D))
    step = st.ConvGRUCell(0, H, 1, dtype="float64")
    if cell == "lstm":
        step = st.PeepholeLSTMCell(H, peephole="channel" if peephole else None, dtype="float64")
    plain = st.SpatialRNN(step, return_sequences=True)
    plain.build((None, None, D))
    recurrent, bias, *rest = layer.rnns[0].cell.get_weights()
    plain.set_weights([numpy(layer.path_kernel(0)), recurrent, bias + numpy(layer.path_biases[0]), *rest])
    close(layer(x), numpy(plain(x)))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_g7_6_time_reversed_the_chains_change_places(rng, depth):
    layer, x = fast_forward(rng, depth), rng.standard_normal((2, T, D))
    swapped = fast_forward(rng, depth)
    for n in range(2 * depth):
        other = (n + depth) % (2 * depth)
        for name in ("path_kernels", "hidden_kernels", "path_biases"):
            weight = getattr(swapped, name)[n]
            if weight is not None:
                weight.assign(getattr(layer, name)[other])
        swapped.rnns[n].cell.set_weights(layer.rnns[other].cell.get_weights())
    got, reversed_ = numpy(layer(x)), numpy(swapped(x[:, ::-1]))[:, ::-1]
    close(got, np.concatenate([reversed_[..., H:], reversed_[..., :H]], axis=-1))


def test_path_rate_slows_the_path_under_adam(rng):
    """One step moves every F by path_rate times what it moves without; the output is the same before it."""
    x = keras.ops.convert_to_tensor(rng.standard_normal((4, T, D)), "float32")
    moved, outputs = [], []
    for rate in (1.0, 0.04):
        layer = ff.FastForwardRNN(H, 2, 1, path_rate=rate)
        layer.build((None, None, D))
        randomise(layer, np.random.default_rng(0), 0.5)
        layer.path_kernels[1].assign(layer.path_kernels[1] / rate)
        outputs.append(numpy(layer(x)))
        before, weights = numpy(layer.path_kernel(1)), layer.trainable_variables
        grads = gradients(lambda layer=layer: keras.ops.sum(layer(x)), weights)
        keras.optimizers.Adam(1e-3, epsilon=1e-12).apply([keras.ops.convert_to_tensor(g) for g in grads], weights)
        moved.append(numpy(layer.path_kernel(1)) - before)
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-6)
    np.testing.assert_allclose(np.abs(moved[0]), 1e-3, rtol=1e-2)
    np.testing.assert_allclose(moved[1], 0.04 * moved[0], rtol=2e-2)


def test_g3_counts(monkeypatch):
    depth_2, depth_7 = ff.FastForwardRNN(1024), ff.FastForwardRNN(512, 7, 1, activation="relu", return_path=True)
    assert counts(monkeypatch, depth_2, (None, None, 1152)) == (68_202_496, 68_202_496)
    assert counts(monkeypatch, depth_7, (None, None, 1152)) == (41_196_032, 41_196_032)
    assert depth_2.compute_output_shape((None, None, 1152)) == (None, None, 2048)
    assert depth_7.compute_output_shape((None, None, 1152)) == (None, None, 512 + 2048)
    both = ff.BidirectionalRNN(1024)
    assert counts(monkeypatch, both, (None, None, 512))[0] == 13_117_952 - (1024 * 512 + 512) - 2048
    assert counts(monkeypatch, ff.BidirectionalRNN(1024, peephole=True), (None, None, 512))[0] == 12_591_104 + 6144


@pytest.mark.parametrize(
    "options, word",
    [
        ({"units": 0}, "units=0"),
        ({"depth": 0}, "depth=0"),
        ({"chains": 3}, "chains=3"),
        ({"cell": "rnn"}, "cell='rnn'"),
        ({"path_rate": 0.0}, "path_rate=0.0"),
    ],
)
def test_unknown_options_are_refused(options, word):
    with pytest.raises(ValueError, match=f"Received: {word}"):
        ff.FastForwardRNN(**{"units": 2, **options})


CASES = {
    "BidirectionalRNN": lambda: ff.BidirectionalRNN(H, "lstm", True),
    "FastForwardRNN": lambda: ff.FastForwardRNN(H, 3, 2, path_rate=0.5, return_path=True),
    "FastForwardRNN-gru": lambda: ff.FastForwardRNN(H, 2, 1, "gru", kernel_initializer="he_normal"),
    "FastForwardRNN-relu": lambda: ff.FastForwardRNN(H, 2, 1, peephole=False, activation="relu", return_path=True),
}
cases = pytest.mark.parametrize("name", CASES)


@cases
def test_every_weight_gets_a_gradient(name, rng):
    layer = made(CASES[name](), rng)
    x, mask = padded(videos(rng))
    x = x.astype("float32")

    def loss():
        return keras.ops.mean(keras.ops.square(layer(x, mask=mask)))

    for weight, gradient in zip(layer.trainable_variables, gradients(loss, layer.trainable_variables)):
        assert gradient is not None and np.abs(gradient).max() > 0, weight.path


@cases
def test_saved_and_loaded_it_gives_the_same(name, rng, tmp_path):
    layer = CASES[name]()
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    inputs, mask = keras.Input((None, D)), keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask))
    randomise(layer, rng)
    x, real = padded(videos(rng))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy(again([x, real])), numpy(model([x, real])), atol=1e-6)
    np.testing.assert_allclose(model.predict([x, real], verbose=0), numpy(model([x, real])), atol=1e-6)


@pytest.mark.parametrize(
    "make", [lambda **k: ff.GateLSTMCell(H, "relu", **k), lambda **k: ff.GateGRUCell(0, H, 1, **k)]
)
def test_cells_of_gates_rebuild_from_their_config(make):
    cell = make()
    assert type(cell).from_config(cell.get_config()).get_config() == cell.get_config()
    with pytest.raises(ValueError, match="no input kernel. Received: use_input=True"):
        make(use_input=True)


@cases
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_finite_and_close(name, policy, rng):
    plain = made(CASES[name](), rng, 0.3)
    x, mask = padded(videos(rng))
    x = x.astype("float32")
    keras.config.set_dtype_policy(policy)
    try:
        half = CASES[name]()
        half.build((None, None, D))
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(plain.get_weights())
    got = half(x, mask=keras.ops.convert_to_tensor(mask))
    np.testing.assert_allclose(numpy(keras.ops.cast(got, "float32")), numpy(plain(x, mask=mask)), atol=0.06)


@cases
def test_the_mask_goes_on(name, rng):
    layer, (x, mask) = CASES[name](), padded(videos(rng))
    np.testing.assert_array_equal(numpy(layer.compute_mask(x, mask)), mask)


@cases
@pytest.mark.skipif(not TENSORFLOW, reason="export is TensorFlow's")
def test_exports_with_unknown_batch_and_time(name, rng, tmp_path):
    import tensorflow as tf

    layer = made(CASES[name](), rng)
    archive = keras.export.ExportArchive()
    archive.track(layer)
    signature = [tf.TensorSpec((None, None, D), tf.float32), tf.TensorSpec((None, None), tf.bool)]
    archive.add_endpoint("serve", lambda x, mask: layer(x, mask=mask), signature)
    archive.write_out(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    for lengths in ((3, 6, 1), (2,), (9, 8)):
        x, mask = padded(videos(rng, lengths), max(lengths))
        x = x.astype("float32")
        np.testing.assert_allclose(numpy(served.serve(x, mask)), numpy(layer(x, mask=mask)), atol=1e-5)
