"""MultiLSTM against its witness (recognition F)."""

import keras
import numpy as np
import pytest

from keras_st import layers as st
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference import recognition as witness

T, D, F, A, K = 7, 3, 4, 5, 2


def close(got, want, atol=ATOL):
    np.testing.assert_allclose(numpy(got), want, atol=atol)


def multi_lstm(rng, window=3, batch=2, attention=True, **kwargs):
    cell = st.MultiLSTMCell(F, window, attention, A if attention else None, dtype="float64", **kwargs)
    layer = st.SpatialRNN(cell, return_sequences=True, return_state=True)
    layer.build((batch, T, D))
    randomise(layer, rng)
    return layer


def weights_of(cell):
    weights = {"lstm": dict(zip(("kernel", "recurrent_kernel", "bias"), cell.lstm.get_weights()))}
    if cell.scorer is not None:
        kernel, vector = (numpy(w) for w in (cell.scorer.kernel, cell.scorer.vector))
        weights["attention"] = {"wh": kernel[:F], "wv": kernel[F:], "w": vector[:, 0]}
    return weights


def lstm_of(cell):
    lstm = st.SpatialRNN(st.PeepholeLSTMCell(F, peephole=None, dtype="float64"), return_sequences=True)
    lstm.build((2, T, D))
    lstm.set_weights(cell.lstm.get_weights())
    return lstm


@pytest.mark.parametrize("window", [1, 3, 9])
@pytest.mark.parametrize("batch", [1, 2])
def test_f_equals_the_witness(rng, window, batch):
    layer = multi_lstm(rng, window, batch)
    v, (h, c) = rng.standard_normal((batch, T, D)), rng.standard_normal((2, batch, F))
    nothing = [np.zeros((batch, window, D + A)), np.zeros(batch)]
    hidden, attention, last_h, last_c, recent, seen = layer(v, initial_state=[h, c, *nothing])
    want, weights = witness.multi_lstm(v, weights_of(layer.cell), window, (h, c))
    close(hidden, want), close(attention, weights), close(last_h, want[:, -1])
    known = min(window, T)
    close(recent[:, -known:, :D], v[:, -known:])
    np.testing.assert_array_equal(numpy(seen), np.full(batch, known))


def test_f_in_two_halves_it_remembers_the_window(rng):
    layer, v = multi_lstm(rng), rng.standard_normal((2, T, D))
    whole, first = layer(v), layer(v[:, :4])
    second = layer(v[:, 4:], initial_state=first[2:])
    for a, b, c in zip(whole[:2], first, second):
        close(np.concatenate([numpy(b), numpy(c)], axis=1), numpy(a))


def test_f_the_first_frame_attends_to_itself(rng):
    attention = numpy(multi_lstm(rng)(rng.standard_normal((2, T, D)))[1])
    np.testing.assert_array_equal(attention[:, 0], np.tile([1.0, 0.0, 0.0], (2, 1)))
    np.testing.assert_array_equal(attention[:, 1, 2], 0.0)
    assert attention[:, 2:].min() > 0
    close(attention.sum(-1), np.ones((2, T)))


def test_f_a_window_of_one_is_an_lstm_labeller(rng):
    layer, v = multi_lstm(rng, window=1), rng.standard_normal((2, T, D))
    hidden = numpy(layer(v)[0])
    close(hidden, numpy(lstm_of(layer.cell)(v)))
    np.testing.assert_array_equal(numpy(st.OverlapAverage(1, dtype="float64")(hidden)), hidden)


@pytest.mark.parametrize("attention", [True, False])
def test_f_without_a_say_of_the_score_it_reads_a_moving_average(rng, attention):
    """w = 0, and the form without attention (LSTM + i)."""
    layer, v = multi_lstm(rng, attention=attention), rng.standard_normal((2, T, D))
    if attention:
        layer.cell.scorer.vector.assign(np.zeros((A, 1)))
    moving = np.stack([v[:, max(0, t - 2) : t + 1].mean(1) for t in range(T)], axis=1)
    hidden, weights, *_ = layer(v)
    close(hidden, numpy(lstm_of(layer.cell)(moving)))
    close(weights[0, 1], [1 / 2, 1 / 2, 0]), close(weights[:, 2:], np.full((2, T - 2, 3), 1 / 3))


def test_f_later_frames_do_not_reach_back_further_than_the_window(rng):
    """A changed frame t alters y from t - N + 1 on, never before; the cell itself is causal."""
    layer, v, window = multi_lstm(rng), rng.standard_normal((2, T, D)), 3
    kernel, average = rng.standard_normal((F, window * K)), st.OverlapAverage(window, dtype="float64")

    def labels(v):
        hidden = numpy(layer(v)[0])
        return hidden, numpy(average(hidden @ kernel))

    (h, y), changed = labels(v), v.copy()
    changed[:, 5] += 1.0
    h_changed, y_changed = labels(changed)
    np.testing.assert_array_equal(h_changed[:, :5], h[:, :5])
    np.testing.assert_array_equal(y_changed[:, : 5 - window + 1], y[:, : 5 - window + 1])
    assert np.abs(y_changed - y)[:, 5 - window + 1].max() > 1e-6
    online = st.OverlapAverage(window, online=True, dtype="float64")
    np.testing.assert_array_equal(numpy(online(h @ kernel)), (h @ kernel)[..., :K])  # row 0: known at the frame


def test_f_padded_and_masked_equals_short(rng):
    layer, v = multi_lstm(rng), rng.standard_normal((2, T, D))
    mask = np.arange(T) < np.array([[4], [T]])
    padded, short = layer(v, mask=mask), layer(v[:1, :4])
    for a, b in zip(padded[:2], short[:2]):
        close(numpy(a)[:1, :4], numpy(b))
    for a, b in zip(padded[2:], short[2:]):
        close(numpy(a)[:1], numpy(b))


# Labels of several steps, averaged


@pytest.mark.parametrize("window", [1, 3, 9])
@pytest.mark.parametrize("masked", [False, True])
def test_f_overlap_average_equals_the_witness(rng, window, masked):
    o = rng.standard_normal((2, T, window * K))
    mask = np.arange(T) < np.array([[4], [T]]) if masked else None
    want = witness.overlap_average(o, window, mask=mask)
    layer = st.OverlapAverage(window, dtype="float64")
    close(layer(o, mask=mask), want)
    if masked:
        close(numpy(layer(o, mask=mask))[:1, :4], numpy(layer(o[:1, :4])))
    p = witness.overlap_average(1 / (1 + np.exp(-o)), window, mask=mask)
    got = numpy(st.OverlapAverage(window, "probabilities", dtype="float64")(o, mask=mask))
    real = np.ones((2, T), bool) if mask is None else mask
    close(1 / (1 + np.exp(-got))[real], p[real], max(ATOL, 1e-7))


def test_f_agreeing_predictions_are_what_is_said(rng):
    """O_{t,j} = q(t - j), whatever a step says of frames before the first."""
    q, o = rng.standard_normal((2, T, K)), rng.standard_normal((2, T, 3, K))
    for t in range(T):
        for j in range(min(3, t + 1)):
            o[:, t, j] = q[:, t - j]
    for average in ("logits", "probabilities"):
        close(st.OverlapAverage(3, average, dtype="float64")(o.reshape(2, T, 3 * K)), q, max(ATOL, 1e-9))


def test_f_overlap_average_in_half_precision():
    """Sure labels stay finite."""
    sure = np.array([-30.0, 30.0] * 3, "float32").reshape(1, 1, 6).repeat(4, axis=1)
    for policy in ("mixed_float16", "mixed_bfloat16"):
        got = numpy(st.OverlapAverage(3, "probabilities", dtype=policy)(sure)).astype("float32")
        assert np.isfinite(got).all() and (np.sign(got) == [-1, 1]).all()


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: st.MultiLSTMCell(0), "units=0"),
        (lambda: st.MultiLSTMCell(4, 0), "window=0"),
        (lambda: st.MultiLSTMCell(4, attention_units=0), "attention_units=0"),
        (lambda: st.MultiLSTMCell(4, attention=False, attention_units=3), "attention_units=3"),
        (lambda: st.MultiLSTMCell(4).build((None, 5, 3)), "input_shape=(None, 5, 3)"),
        (lambda: st.OverlapAverage(0), "window=0"),
        (lambda: st.OverlapAverage(2, "median"), "average='median'"),
        (lambda: st.OverlapAverage(2)(np.zeros((1, 3, 5))), "shape=(1, 3, 5)"),
    ],
)
def test_bad_arguments_are_named(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value)


def test_f_count():
    """LSTM 4F(D + F + 1), scorer A(F + D + 1)."""
    cell = st.MultiLSTMCell(F, 15, attention_units=A)
    cell.build((None, D))
    assert cell.count_params() == 4 * F * (D + F + 1) + A * (F + D + 1)
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell)).window == 15
