"""Pooling of clips by hand, and against plain loops."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.layers import AttentionPooling, FlowStack, FrameMaxPool, FramePreprocessing, PairMaxPool, ScoreAverage
from tests.reference import recognition as witness


def numpy(x):
    return ops.convert_to_numpy(x)


def frame_maxima(x, size, before, after_rows, after_columns):
    """Maxima over windows every 2 pixels; zeros around."""
    padded = np.pad(x, [(0, 0), (0, 0), (before, after_rows), (before, after_columns), (0, 0)])
    rows = range(0, padded.shape[2] - size + 1, 2)
    columns = range(0, padded.shape[3] - size + 1, 2)
    return np.stack(
        [np.stack([padded[:, :, r : r + size, c : c + size].max((2, 3)) for c in columns], 2) for r in rows], 2
    )


@pytest.mark.parametrize("height, width", [(6, 9), (7, 8), (5, 5)])
@pytest.mark.parametrize("size, pad", [(2, "caffe"), (3, "caffe"), (3, "keras")])
def test_frame_maxima(rng, size, pad, height, width):
    """Caffe's "ceil": as many windows as begin inside and are not wholly cut; a cell is added only where one is."""
    x = rng.random((2, 3, height, width, 2)).astype("float32")
    if pad == "keras":
        want = frame_maxima(x, size, 1, 1, 1)
    else:
        want = frame_maxima(x, size, 0, (height - size) % 2, (width - size) % 2)
    layer = FrameMaxPool(size, pad)
    np.testing.assert_array_equal(numpy(layer(x)), want)
    assert layer.compute_output_shape(x.shape) == want.shape


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_frame_pairs(rng, length):
    x = rng.normal(size=(2, length, 3, 4, 2)).astype("float32")
    want = np.stack([x[:, t : t + 2].max(1) for t in range(0, length, 2)], 1)
    np.testing.assert_array_equal(numpy(PairMaxPool()(x)), want)
    assert PairMaxPool().compute_output_shape(x.shape) == want.shape
    inputs = keras.Input((None, 3, 4, 2))
    np.testing.assert_array_equal(keras.Model(inputs, PairMaxPool()(inputs)).predict(x, verbose=0), want)


def test_attention_pooling(rng):
    x = rng.normal(size=(2, 3, 4, 5, 6)).astype("float32")
    layer = AttentionPooling(7)
    np.testing.assert_allclose(numpy(layer(x)), x.mean((1, 2, 3)), atol=1e-6)  # v = 0: the mean
    w, b, v = (rng.normal(size=s).astype("float32") for s in ((6, 7), (7,), (7, 1)))
    layer.hidden.set_weights([w, b])
    layer.score.set_weights([v])
    tokens = x.reshape(2, 60, 6).astype("float64")
    scores = np.tanh(tokens @ w + b) @ v
    a = np.exp(scores - scores.max(1, keepdims=True))
    a /= a.sum(1, keepdims=True)
    np.testing.assert_allclose(numpy(layer(x)), (a * tokens).sum(1), atol=1e-5)
    permuted = tokens[:, rng.permutation(60)].reshape(x.shape).astype("float32")
    np.testing.assert_allclose(numpy(layer(permuted)), numpy(layer(x)), atol=1e-5)


def test_score_average_by_hand():
    """Spec H2: three clips with p0 = .4, .4, .9 make .567."""
    p = np.array([[[0.4, 0.6], [0.4, 0.6], [0.9, 0.1]]], "float32")
    np.testing.assert_allclose(np.exp(numpy(ScoreAverage()(np.log(p) + 3.0))), [[1.7 / 3, 1.3 / 3]], atol=1e-6)
    logits = numpy(ScoreAverage("logits")(np.log(p)))
    np.testing.assert_allclose(logits, np.log(p).mean(1), atol=1e-6)


KINDS = {"probabilities": "mean", "last": "last", "max": "max", "linear": "linear"}  # the witness's names


def test_c3_the_hand_example():
    """Two classes, three steps, g = (0, .5, 1): last 1, max 0, mean 0, weighted 1."""
    p = np.array([[[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]])
    x = np.log(p) + np.array([5.0, -2.0, 0.5])[:, None]  # logits may be shifted, step by step
    want = {
        "last": [0.3, 0.7],
        "max": [0.9, 0.7],
        "probabilities": [1.6 / 3, 1.4 / 3],
        "linear": [0.5 / 1.5, 1.0 / 1.5],
    }
    for average, values in want.items():
        got = np.exp(numpy(ScoreAverage(average)(x.astype("float32"))))
        if average == "last":
            got = got / got.sum()  # it returns the step's logits themselves
        np.testing.assert_allclose(got, [values], atol=1e-6)
    chosen = [int(numpy(ScoreAverage(a)(x)).argmax()) for a in ("last", "max", "probabilities", "linear")]
    assert chosen == [1, 0, 0, 1]
    np.testing.assert_allclose(numpy(ScoreAverage("logits")(x)), x.mean(1), atol=1e-6)


@pytest.mark.parametrize("average", [*KINDS, "logits"])
@pytest.mark.parametrize("length", [1, 5])
def test_c3_averages_equal_the_witness(rng, average, length):
    x = 3 * rng.standard_normal((2, length, 4))
    want = x.mean(1) if average == "logits" else np.log(witness.aggregate(witness.softmax(x), KINDS[average]))
    got = numpy(ScoreAverage(average, dtype="float64")(x))
    if average == "last":
        got = np.log(witness.softmax(got))
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("average", [*KINDS, "logits"])
def test_c3_padded_steps_do_not_count(rng, average):
    """Weights of "linear" run over the real steps; of one step they are 1."""
    x = 3 * rng.standard_normal((3, 5, 4)).astype("float32")
    mask = np.arange(5) < np.array([[3], [1], [5]])
    layer = ScoreAverage(average)
    got = numpy(layer(x, mask=mask))
    for n, length in enumerate((3, 1, 5)):
        np.testing.assert_allclose(got[n], numpy(layer(x[n : n + 1, :length]))[0], atol=1e-5)
    x[~mask] = 1e6
    np.testing.assert_allclose(numpy(layer(x, mask=mask)), got, atol=1e-5)


def test_preprocessing_by_hand():
    x = np.array([0.2, 0.4, 1.0], "float32").reshape(1, 1, 1, 1, 3)

    def of(source, x=x):
        return numpy(FramePreprocessing(source)(x)).reshape(-1)

    np.testing.assert_allclose(of("centred"), [-0.6, -0.2, 1.0], atol=1e-6)
    np.testing.assert_allclose(of("keras_resnet"), [255 - 103.939, 102 - 116.779, 51 - 123.68], atol=1e-4)
    np.testing.assert_allclose(of("p3d_rgb"), [255 - 104, 102 - 117, 51 - 123], atol=1e-4)
    np.testing.assert_allclose(of("p3d_flow", x[..., :2]), [51 - 128, 102 - 128], atol=1e-4)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 4, 5, 3)).astype("float32")
    theirs = keras.applications.resnet.preprocess_input(pixels.copy())
    np.testing.assert_allclose(numpy(FramePreprocessing("keras_resnet")(pixels / 255)), theirs, atol=1e-3)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: FrameMaxPool(4), "pool_size=4"),
        (lambda: FrameMaxPool(2, "keras"), "keras"),
        (lambda: FrameMaxPool(3, "same"), "same"),
        (lambda: AttentionPooling(0), "units=0"),
        (lambda: ScoreAverage("mean"), "average='mean'"),
        (lambda: FramePreprocessing("imagenet"), "imagenet"),
        (lambda: FramePreprocessing("p3d_flow")(np.zeros((1, 1, 2, 2, 3))), "Received: 3"),
        (lambda: [FramePreprocessing("p3d_rgb")(np.zeros((1, 1, 2, 2, c))) for c in (3, 1)], "Received: 1"),
        (lambda: FrameMaxPool(3)(np.zeros((1, 2, 1, 4, 3))), "too small"),
    ],
)
def test_unknown_options_are_refused(make, word):
    with pytest.raises(ValueError, match=f"Received: .*{word}|{word}"):
        make()


@pytest.mark.parametrize("length", [1, 3, 7])
def test_stacked_flow_is_u1_v1_to_ul_vl(length):
    """Every component is a number of its own: field, place and direction can be read off; the last is repeated."""
    flow = np.arange(2 * 7 * 3 * 4 * 2, dtype=np.float32).reshape(2, 7, 3, 4, 2)
    full, padded = numpy(FlowStack(length, full=True)(flow)), numpy(FlowStack(length)(flow))
    assert full.shape == (2, 7 - length + 1, 3, 4, 2 * length) and padded.shape == (2, 7, 3, 4, 2 * length)
    for n in range(7):
        for k in range(length):
            np.testing.assert_array_equal(padded[:, n, ..., 2 * k : 2 * k + 2], flow[:, min(n + k, 6)])
    np.testing.assert_array_equal(full, padded[:, : 7 - length + 1])
    with pytest.raises(ValueError, match="as many. Received: 7"):
        FlowStack(8, full=True)(flow)
