"""The lecture's attention (spec 8) and attention over frames (spec 2.2 A4)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.layers import SequenceAttention, TemporalAttention
from keras_st.ops.attention import masked_softmax, spatial_softmax
from tests.reference import recognition

KINDS = [
    {"score": "dot"},
    {"score": "bilinear"},
    {"score": "additive", "units": 7},
    {"score": "bahdanau", "units": 7},
    {"score": "gated", "units": 7},
]


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture
def tensors(rng):
    return rng.standard_normal((2, 3, 4)).astype("float32"), rng.standard_normal((2, 5, 4)).astype("float32")


def witness(layer, s, h):
    """Scores from the definitions, one pair at a time."""
    weights = [numpy(w) for w in layer.weights]
    out = np.zeros((*s.shape[:2], h.shape[1]))
    for b, i, j in np.ndindex(out.shape):
        if layer.score == "dot":
            out[b, i, j] = s[b, i] @ h[b, j]
        elif layer.score == "bilinear":
            out[b, i, j] = s[b, i] @ weights[0] @ h[b, j]
        elif layer.score == "additive":
            out[b, i, j] = np.tanh(np.concatenate([s[b, i], h[b, j]]) @ weights[0]) @ weights[1][:, 0]
        elif layer.score == "gated":
            of_query, of_key = s[b, i] @ weights[0][: s.shape[-1]], h[b, j] @ weights[0][s.shape[-1] :]
            out[b, i, j] = (np.tanh(of_query) * np.tanh(of_key)) @ weights[1][:, 0]
        else:
            kernel, vector, bias, offset = weights
            out[b, i, j] = np.tanh(np.concatenate([s[b, i], h[b, j]]) @ kernel + bias) @ vector[:, 0] + offset[0]
    return out


def randomise(layer, rng):
    layer.set_weights([rng.standard_normal(w.shape) for w in layer.get_weights()])


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k["score"])
def test_output_is_the_definition(tensors, kind, rng):
    s, h = tensors
    v = rng.standard_normal((2, 5, 6)).astype("float32")
    layer = SequenceAttention(**kind)
    layer.build(s.shape, h.shape)
    randomise(layer, rng)
    output, weights = layer(s, h, v, return_attention=True)
    np.testing.assert_allclose(numpy(layer.scores(s, h)), witness(layer, s, h), atol=1e-5)
    e = np.exp(witness(layer, s, h))
    expected = e / e.sum(-1, keepdims=True)
    np.testing.assert_allclose(numpy(weights), expected, atol=1e-5)
    np.testing.assert_allclose(numpy(output), expected @ v, atol=1e-5)
    np.testing.assert_allclose(numpy(layer(s, h)), expected @ h, atol=1e-5)  # values default to the keys


def test_equal_to_keras(tensors):
    s, h = tensors
    dot = SequenceAttention("dot")
    np.testing.assert_allclose(numpy(dot(s, h)), numpy(keras.layers.Attention()([s, h])), atol=1e-5)
    bilinear = SequenceAttention("bilinear")
    got = numpy(bilinear(s, h))
    w = numpy(bilinear.kernel)
    np.testing.assert_allclose(got, numpy(keras.layers.Attention()([s @ w, h])), atol=1e-5)
    additive = SequenceAttention("additive", units=7)
    got = numpy(additive(s, h))
    theirs = keras.layers.AdditiveAttention()
    w = numpy(additive.kernel)
    inputs = [s @ w[:4], h, h @ w[4:]]
    theirs.build([x.shape for x in inputs])
    theirs.set_weights([numpy(additive.vector)[:, 0]])
    np.testing.assert_allclose(got, numpy(theirs(inputs)), atol=1e-5)


def test_bahdanau_is_the_spatial_attention_and_gated_the_multi_lstm_s(rng):
    """Spec B2 and F: queries and keys of different sizes, in float64."""
    x, query = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((2, 6))
    layer = SequenceAttention("bahdanau", units=7, dtype="float64")
    layer.build((2, 1, 6), (2, 15, 4))
    randomise(layer, rng)
    kernel, vector, bias, offset = layer.get_weights()
    want = recognition.spatial_attention(x, query, kernel[6:], kernel[:6], bias, vector[:, 0], offset[0])
    _, weights = layer(query[:, None], x.reshape(2, 15, 4), return_attention=True)
    np.testing.assert_allclose(numpy(weights).reshape(2, 3, 5), want, atol=1e-6)
    assert [w.shape for w in layer.get_weights()] == [(10, 7), (7, 1), (7,), (1,)]
    gated = SequenceAttention("gated", units=7, dtype="float64")
    gated.build((2, 1, 6), (2, 15, 4))
    randomise(gated, rng)
    gated.vector.assign(np.zeros((7, 1)))
    _, weights = gated(query[:, None], x.reshape(2, 15, 4), return_attention=True)
    np.testing.assert_allclose(numpy(weights), np.full((2, 1, 15), 1 / 15), atol=1e-6)


def test_bilinear_with_the_unit_matrix_is_dot(rng):
    s, h = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4))
    bilinear = SequenceAttention("bilinear", dtype="float64")
    bilinear.build(s.shape, h.shape)
    bilinear.kernel.assign(np.eye(4))
    np.testing.assert_allclose(numpy(bilinear(s, h)), numpy(SequenceAttention("dot", dtype="float64")(s, h)), atol=1e-6)


def test_masked_keys_get_no_gradient_and_an_empty_row_a_finite_one(rng):
    from tests.conformance.test_conformance import gradients

    s = ops.convert_to_tensor(rng.standard_normal((2, 3, 4)).astype("float32"))
    keys = keras.Variable(rng.standard_normal((2, 5, 4)))
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
    layer = SequenceAttention("dot")
    (gradient,) = gradients(lambda: ops.sum(ops.square(layer(s, keys + 0.0, mask=mask))), [keys])
    np.testing.assert_array_equal(gradient[~mask], 0)
    assert np.abs(gradient[mask]).min() > 0


def test_the_mask_that_keys_carry_counts(rng):
    s, h = rng.standard_normal((2, 3, 4)).astype("float32"), rng.standard_normal((2, 5, 4)).astype("float32")
    h[:, 2] = 0
    keys = keras.layers.Masking()(h)
    _, weights = SequenceAttention("dot")(ops.convert_to_tensor(s), keys, return_attention=True)
    np.testing.assert_array_equal(numpy(weights)[:, :, 2], 0)


def test_scores_of_any_size_are_told_apart():
    weights = masked_softmax(ops.convert_to_tensor([[-2e9, -2e9, 0.0]]), np.array([[True, True, False]]))
    np.testing.assert_array_equal(numpy(weights), [[0.5, 0.5, 0.0]])


def test_hand_value():
    s, h = np.array([[[1.0, 0.0]]], "float32"), np.eye(2, dtype="float32")[None]
    _, weights = SequenceAttention("dot")(s, h, return_attention=True)
    np.testing.assert_allclose(numpy(weights)[0, 0], [0.731059, 0.268941], atol=1e-6)


def test_scale_divides_by_the_root_of_the_size(tensors):
    s, h = tensors
    np.testing.assert_allclose(
        numpy(SequenceAttention("dot", scale=True)(s, h)), numpy(SequenceAttention("dot")(s / 2, h)), atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k["score"])
def test_invariants(tensors, kind, rng):
    s, h = tensors
    layer = SequenceAttention(**kind)
    output, weights = layer(s, h, return_attention=True)
    np.testing.assert_allclose(numpy(weights).sum(-1), 1, atol=1e-6)
    order = rng.permutation(5)
    np.testing.assert_allclose(numpy(layer(s, h[:, order])), numpy(output), atol=1e-6)  # pairs may be permuted
    same = np.repeat(h[:, :1], 5, axis=1)
    values = rng.standard_normal((*same.shape[:2], 2)).astype("float32")
    want = np.repeat(values.mean(1, keepdims=True), 3, axis=1)
    np.testing.assert_allclose(numpy(layer(s, same, values)), want, atol=1e-6)  # equal keys: the mean of the values
    np.testing.assert_allclose(numpy(layer(s, h[:, :1], h[:, :1])), np.repeat(h[:, :1], 3, axis=1), atol=1e-6)


def test_masks(tensors):
    s, h = tensors
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
    output, weights = SequenceAttention("dot")(s, h, mask=mask, return_attention=True)
    assert (numpy(weights)[0][:, ~mask[0]] == 0).all()
    short = SequenceAttention("dot")(s[:1], h[:1, mask[0]])
    np.testing.assert_allclose(numpy(output)[:1], numpy(short), atol=1e-6)
    np.testing.assert_array_equal(numpy(output)[1], 0)  # nothing to attend to: zeros, not NaN
    changed = h.copy()
    changed[0, 1] = 1e6  # a masked key moves nothing
    got, want = (numpy(SequenceAttention("dot")(s, keys, h, mask=mask))[0] for keys in (changed, h))
    np.testing.assert_array_equal(got, want)


def test_softmaxes(rng):
    scores = rng.standard_normal((2, 3, 4))
    plain = numpy(masked_softmax(ops.convert_to_tensor(scores)))
    np.testing.assert_allclose(
        numpy(masked_softmax(ops.convert_to_tensor(scores + 100), np.ones(4, bool))), plain, atol=1e-5
    )
    maps = numpy(spatial_softmax(ops.convert_to_tensor(rng.standard_normal((2, 3, 5, 1)))))
    np.testing.assert_allclose(maps.sum((1, 2, 3)), 1, atol=1e-6)


def test_temporal_attention(rng):
    x = rng.standard_normal((2, 4, 5, 6, 3)).astype("float32")
    assert TemporalAttention()(x).shape == (2, 5, 6, 3)  # the defaults
    layer = TemporalAttention("bilinear")
    output, weights = layer(x, return_attention=True)
    pooled = x.mean((2, 3))
    e = np.exp(np.einsum("bi,ij,btj->bt", pooled[:, -1], numpy(layer.attention.kernel), pooled))
    e /= e.sum(1, keepdims=True)
    np.testing.assert_allclose(numpy(weights), e, atol=1e-5)
    np.testing.assert_allclose(numpy(output), np.einsum("bt,bthwc->bhwc", e, x), atol=1e-5)
    layer.attention.kernel.assign(0 * numpy(layer.attention.kernel))
    np.testing.assert_allclose(numpy(layer(x)), x.mean(1), atol=1e-6)  # zero scores: the mean over time
    np.testing.assert_allclose(numpy(layer(x[:, :1])), x[:, 0], atol=1e-6)  # one frame: the identity
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
    np.testing.assert_allclose(numpy(layer(x, mask=mask))[0], x[0, :2].mean(0), atol=1e-6)


@pytest.mark.parametrize(
    "kwargs, word",
    [
        ({"score": "cosine"}, "score='cosine'"),
        ({"score": "additive"}, "units=None"),
        ({"score": "bahdanau"}, "units=None"),
        ({"score": "gated", "units": 3, "scale": True}, "scale=True"),
        ({"score": "dot", "units": 3}, "units=3"),
        ({"score": "additive", "units": 3, "scale": True}, "scale=True"),
    ],
)
def test_bad_arguments_are_named(kwargs, word):
    with pytest.raises(ValueError, match="Received") as error:
        SequenceAttention(**kwargs)
    assert word in str(error.value)
    with pytest.raises(ValueError, match="sizes 3 and 4"):
        SequenceAttention("dot").build((2, 1, 3), (2, 5, 4))


def test_weights_are_an_output_of_functional_models(rng):
    s, h = rng.random((2, 3, 4)).astype("float32"), rng.random((2, 5, 4)).astype("float32")
    inputs = [keras.Input((None, 4)), keras.Input((None, 4))]
    layer = SequenceAttention("dot")
    model = keras.Model(inputs, layer(*inputs, return_attention=True))
    for got, want in zip(model([s, h]), layer(s, h, return_attention=True), strict=True):
        np.testing.assert_allclose(numpy(got), numpy(want), atol=1e-6)
    clip = keras.Input((None, 5, 6, 3))
    pooled, weights = TemporalAttention()(clip, return_attention=True)
    assert pooled.shape == (None, 5, 6, 3) and weights.shape == (None, None)
