"""Mixture of experts and context gating against their witnesses (recognition G2, G7)."""

import keras
import numpy as np
import pytest

from keras_st.layers.mixture import ContextGating, MixtureOfExperts
from tests.conformance.test_conformance import gradients
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference import youtube8m as witness
from tests.reference.recurrent import sigmoid

D, V = 5, 4


def close(got, want, atol=ATOL):
    np.testing.assert_allclose(numpy(got), want, atol=atol)


def norm_of(layer):
    return dict(zip(("gamma", "beta", "mean", "variance"), layer.get_weights()))


def randomise_norms(layer, rng):
    """Random moving statistics, of positive variance, in every normalisation inside."""
    for part in layer._flatten_layers():
        if isinstance(part, keras.layers.BatchNormalization):
            gamma, beta, mean = 0.5 * rng.standard_normal((3, *part.gamma.shape))
            part.set_weights([1 + gamma, beta, mean, rng.uniform(0.5, 2.0, part.gamma.shape)])


def counts(monkeypatch, layer, shape):
    """How many trained weights a layer has, and how many in all, built for `shape` without allocating any."""
    seen = []

    def add_weight(self, shape=None, initializer=None, dtype=None, trainable=True, **kwargs):
        seen.append((int(np.prod(shape)), trainable))
        return keras.KerasTensor(shape, dtype or self.variable_dtype)

    with monkeypatch.context() as patch:
        patch.setattr(keras.layers.Layer, "add_weight", add_weight)
        layer.build(shape)
    return sum(n for n, trained in seen if trained), sum(n for n, _ in seen)


def mixture(rng, experts=2, **kwargs):
    layer = MixtureOfExperts(V, experts, dtype="float64", **kwargs)
    layer.build((None, D))
    randomise(layer, rng, 1.0)
    return layer


def gating(rng, shape=(None, D), **kwargs):
    layer = ContextGating(dtype="float64", **kwargs)
    layer.build(shape)
    randomise(layer, rng, 1.0)
    randomise_norms(layer, rng)
    return layer


@pytest.mark.parametrize("experts", [1, 2, 3])
def test_mixture_equals_the_witness(rng, experts):
    layer, x = mixture(rng, experts), rng.standard_normal((3, D))
    close(sigmoid(numpy(layer(x))), witness.mixture(x, *layer.get_weights(), experts))


def test_mixture_of_frames_is_that_of_every_frame(rng):
    layer, x = mixture(rng), rng.standard_normal((3, 2, D))
    close(layer(x), np.stack([numpy(layer(x[:, t])) for t in range(2)], axis=1))
    assert layer.compute_output_shape((None, None, D)) == (None, None, V)


@pytest.mark.parametrize("experts", [1, 2, 5])
def test_g7_5_zero_weights_give_m_of_2_m_plus_1(rng, experts):
    layer = mixture(rng, experts)
    layer.set_weights([np.zeros(w.shape) for w in layer.get_weights()])
    close(sigmoid(numpy(layer(rng.standard_normal((3, D))))), np.full((3, V), experts / (2 * (experts + 1))))


def test_g7_5_one_expert_that_is_never_overruled_is_a_logistic_classifier(rng):
    layer, x = mixture(rng, 1), rng.standard_normal((3, D))
    x[:, 0] = 1.0
    gate, expert, bias = layer.get_weights()
    gate[0, 1::2] = -1e4  # the last gate of every class
    layer.set_weights([gate, expert, bias])
    close(layer(x), x @ expert + bias)


def test_mixture_log_odds_of_sure_classes_stay_finite(rng):
    """Float32 probabilities would be 0 and 1, their log-odds infinite."""
    layer = MixtureOfExperts(1, 1)
    layer.build((None, 1))
    layer.set_weights([np.array([[100.0, 0.0]]), np.array([[1.0]]), np.array([0.0])])
    x = np.array([[-60.0], [60.0]], "float32")
    got = numpy(layer(x))[:, 0]
    # x = -60: gate exp(-6000) : 1, so log p = -6060; x = 60: the gate is certain, log-odds 60
    np.testing.assert_allclose(got, [-6060.0, 60.0], rtol=1e-6)


@pytest.mark.parametrize("classes, count", [(3862, 19_781_164), (4716, 24_155_352)])
def test_g2_mixture_counts(monkeypatch, classes, count):
    assert counts(monkeypatch, MixtureOfExperts(classes), (None, 1024)) == (count, count)


def test_mixture_kernels_differ_and_are_penalised():
    layer = MixtureOfExperts(V, 1, kernel_regularizer=keras.regularizers.L2(0.5))
    layer.build((None, D))
    gate, expert, _ = (numpy(w) for w in layer.weights)
    assert (
        abs(np.corrcoef(gate.ravel()[: expert.size], expert.ravel())[0, 1]) < 0.9
    )  # one seed would give the same draws
    layer(np.ones((1, D), "float32"))
    np.testing.assert_allclose(float(sum(layer.losses)), 0.5 * ((gate**2).sum() + (expert**2).sum()), rtol=1e-5)


def test_gating_equals_the_witness(rng):
    layer, x = gating(rng), rng.standard_normal((3, D))
    close(layer(x), witness.gated(x, numpy(layer.kernel), norm_of(layer.norm)))


def test_gating_of_log_odds_gates_probabilities(rng):
    layer, x = gating(rng, log_odds=True), 3 * rng.standard_normal((3, D))
    close(sigmoid(numpy(layer(x))), witness.gated(sigmoid(x), numpy(layer.kernel), norm_of(layer.norm)))


def test_gating_of_sure_log_odds_stays_finite(rng):
    layer = gating(rng, log_odds=True)
    x = np.array([[-200.0, 200.0, 0.0, 50.0, -50.0]])
    got = numpy(layer(x))
    assert np.isfinite(got).all() and got[0, 0] < -199 and got[0, 4] < -49


@pytest.mark.parametrize("log_odds", [False, True])
def test_g7_4_gates_of_zero_halve(rng, log_odds):
    layer, x = ContextGating(log_odds, dtype="float64"), rng.standard_normal((3, D))
    layer.build((None, D))
    layer.kernel.assign(np.zeros((D, D)))
    if log_odds:
        close(sigmoid(numpy(layer(x))), sigmoid(x) / 2)
    else:
        close(layer(x), x / 2)


def test_gating_counts(monkeypatch):
    assert counts(monkeypatch, ContextGating(), (None, 1024)) == (1024**2 + 2 * 1024, 1024**2 + 4 * 1024)


def test_gating_trains_on_the_statistics_of_real_frames(rng):
    layer, x = gating(rng, (None, None, D), momentum=0.0), rng.standard_normal((2, 6, D))
    mask = np.arange(6) < np.array([[2], [6]])
    layer(x, mask=mask, training=True)
    mean, variance = witness.statistics([(x[0] @ numpy(layer.kernel))[:2], x[1] @ numpy(layer.kernel)])
    close(layer.norm.moving_mean, mean, 1e-6)
    close(layer.norm.moving_variance, variance, 1e-6)


CASES = {
    "mixture": lambda: MixtureOfExperts(V, 3, "he_normal", keras.regularizers.L2(1e-4)),
    "gating": lambda: ContextGating(momentum=0.5),
    "gating of log-odds": lambda: ContextGating(log_odds=True),
}


@pytest.mark.parametrize("name", CASES)
def test_every_weight_gets_a_gradient(name, rng):
    layer = CASES[name]()
    x = rng.standard_normal((4, D)).astype("float32")
    layer(x)

    def loss():
        return keras.ops.mean(keras.ops.square(layer(x)))

    for weight, gradient in zip(layer.trainable_variables, gradients(loss, layer.trainable_variables)):
        assert gradient is not None and np.abs(gradient).max() > 0, weight.path


@pytest.mark.parametrize("name", CASES)
def test_saved_and_loaded_it_gives_the_same(name, rng, tmp_path):
    layer = CASES[name]()
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    model, x = keras.Sequential([keras.Input((D,)), layer]), rng.standard_normal((4, D)).astype("float32")
    randomise_norms(layer, rng)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(keras.saving.load_model(tmp_path / "model.keras")(x)), numpy(model(x)))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_finite_and_close(name, policy, rng):
    plain, x = CASES[name](), rng.standard_normal((4, D)).astype("float32")
    want = numpy(plain(x))
    keras.config.set_dtype_policy(policy)
    try:
        half = CASES[name]()
        half.build((None, D))
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(plain.get_weights())
    np.testing.assert_allclose(numpy(keras.ops.cast(half(x), "float32")), want, atol=0.08)


@pytest.mark.parametrize("options, word", [({"classes": 0}, "classes=0"), ({"classes": 2, "experts": 0}, "experts=0")])
def test_unknown_options_are_refused(options, word):
    with pytest.raises(ValueError, match=f"Received: {word}"):
        MixtureOfExperts(**options)
