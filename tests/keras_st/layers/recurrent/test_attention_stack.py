"""Sequence-to-sequence attention over remembered maps (spec 8), on its own and in the encoder-forecaster."""

import keras
import numpy as np
import pytest

from keras_st import layers as st
from keras_st.models import encoder_forecaster
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference.recurrent import conv_lstm_step

SCORES = [{}, {"scale": True}, {"score": "bilinear"}, {"score": "additive", "units": 4}]


def conv_lstm(filters=3):
    return st.ConvLSTMCell(2, filters, 3, padding="same", dtype="float64")


def look_back(hidden, memory, score):
    """Spec 8 with pooled queries and keys; `score(s, h)` of two vectors."""
    seen = np.zeros_like(hidden)
    for b in range(len(hidden)):
        query = hidden[b].mean((0, 1))
        scores = np.array([score(query, frame.mean((0, 1))) for frame in memory[b]])
        weights = np.exp(scores) / np.exp(scores).sum()
        seen[b] = sum(a * frame for a, frame in zip(weights, memory[b]))
    return seen


def score_function(kwargs, weights):
    if kwargs.get("score") == "bilinear":
        return lambda s, h: s @ weights[0] @ h
    if kwargs.get("score") == "additive":
        return lambda s, h: np.tanh(np.concatenate([s, h]) @ weights[0]) @ weights[1][:, 0]
    return lambda s, h: s @ h / (np.sqrt(len(h)) if kwargs.get("scale") else 1.0)


@pytest.mark.parametrize("kwargs", SCORES)
@pytest.mark.parametrize("position", ["output", "input"])
@pytest.mark.parametrize("batch", [1, 2])
def test_equals_the_numpy_witness_over_time(rng, position, kwargs, batch):
    stack = st.AttentionStack([conv_lstm(2), conv_lstm(3)], position, **kwargs)
    layer = st.SpatialRNN(stack, return_sequences=True, return_state=True)
    x = rng.standard_normal((batch, 4, 5, 6, 2))
    layer.build(x.shape)
    randomise(layer, rng)
    memory = rng.standard_normal((batch, 3, 5, 6, 3))
    states = [rng.standard_normal((batch, 5, 6, f)) for f in (2, 2, 3, 3)]
    outputs, *last = layer(x, initial_state=[*states, memory])

    score = score_function(kwargs, stack.attention.get_weights())
    w = [dict(zip(("kernel", "recurrent_kernel", "bias"), cell.get_weights())) for cell in stack.cells]
    h1, c1, h2, c2 = states
    for t in range(4):
        seen = [look_back(h2, memory, score)] if position == "input" else []
        h1, c1 = conv_lstm_step(np.concatenate([x[:, t], *seen], -1), h1, c1, w[0])
        h2, c2 = conv_lstm_step(h1, h2, c2, w[1])
        want = h2
        if position == "output":
            joined = np.concatenate([look_back(h2, memory, score), h2], -1)
            want = np.tanh(joined @ numpy(stack.output_kernel))
        np.testing.assert_allclose(numpy(outputs[:, t]), want, atol=10 * ATOL)
    for got, want in zip(last, (h1, c1, h2, c2, memory), strict=True):
        np.testing.assert_allclose(numpy(got), want, atol=10 * ATOL)


def test_weights_are_those_of_the_step(rng):
    """Of one remembered map the sum is that map; the weights sum to one and follow the state."""
    stack = st.AttentionStack([conv_lstm()])
    stack.build((2, 5, 6, 1))
    randomise(stack, rng)
    h, c = rng.standard_normal((2, 2, 5, 6, 3))
    memory = rng.standard_normal((2, 4, 5, 6, 3))
    weights = numpy(stack.attention_weights([h, c, memory]))
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=ATOL)
    assert np.abs(weights - numpy(stack.attention_weights([-h, c, memory]))).max() > 1e-3
    (alone,) = stack.hidden_maps([h, c, memory[:, :1]])
    want = np.tanh(np.concatenate([memory[:, 0], h], -1) @ numpy(stack.output_kernel))
    np.testing.assert_allclose(numpy(alone), want, atol=10 * ATOL)


def test_without_first_states_it_remembers_zeros(rng):
    layer = st.SpatialRNN(st.AttentionStack([conv_lstm()]), return_state=True)
    _, *states = layer(rng.standard_normal((2, 3, 5, 6, 1)))
    assert tuple(states[-1].shape) == (2, 1, 5, 6, 3) and not numpy(states[-1]).any()


def forecaster(position, form, **kwargs):
    cells = [st.ConvLSTMCell(2, f, 3, padding="same") for f in (4, 3)]
    return encoder_forecaster(
        st.AttentionStack(cells, position), horizon_frames=3, forecaster=form, patch=2, activation="linear", **kwargs
    )


@pytest.mark.parametrize("readout", ["all", "last"])
@pytest.mark.parametrize("form", ["conditioned", "unconditioned"])
@pytest.mark.parametrize("position", ["output", "input"])
def test_the_forecast_looks_back_at_every_encoder_state(rng, position, form, readout):
    """The memory is the encoder's top states; with another memory and the same last states the forecast differs."""
    model = forecaster(position, form, readout=readout)
    clip = rng.random((2, 4, 6, 8, 1)).astype("float32")
    frames = model({"video": clip})["frames"]
    assert tuple(frames.shape) == (2, 3, 6, 8, 1)
    _, states = model._read(model._fold(keras.ops.convert_to_tensor(clip)), training=False)
    *states, memory = states
    assert tuple(memory.shape) == (2, 4, 3, 4, 3)
    np.testing.assert_allclose(numpy(memory[:, -1]), numpy(states[2]), atol=1e-6)  # the top level's last hidden state
    stack, frame = model.forecaster_stack, model._fold(keras.ops.convert_to_tensor(clip))[:, -1]
    x = frame if form == "conditioned" else frame[..., :0]
    seen = []
    for other in (memory, -memory):
        now, all_states = x, [*states, other]
        for _ in range(2):
            _, all_states = stack.step(stack.project_sequence(now[None])[0], all_states)
        seen.append(numpy(stack.hidden_maps(all_states)[-1]))
    assert np.abs(seen[0] - seen[1]).max() > 1e-5


@pytest.mark.parametrize("position", ["output", "input"])
def test_one_step_of_the_forecast_by_hand(rng, position):
    """Unconditioned: the first forecast frame is the decoder's reading of one step from the encoder's states."""
    model = forecaster(position, "unconditioned", readout="last")
    clip = rng.random((2, 4, 6, 8, 1)).astype("float32")
    frames = numpy(model({"video": clip})["frames"])
    sequence = model._fold(keras.ops.convert_to_tensor(clip))
    states = []
    for layer in model.encoder:
        sequence, *own = layer(sequence)
        states += own
    stack = model.forecaster_stack
    nothing = keras.ops.zeros((2, 3, 4, 0))
    _, after = stack.step(stack.project_sequence(nothing[None])[0], [*states, sequence])
    want = model._unfold(model.decoder(stack.hidden_maps(after)[-1])[:, None])
    np.testing.assert_allclose(frames[:, :1], numpy(want), atol=1e-5)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: st.AttentionStack([conv_lstm()], "middle"), "position='middle'"),
        (lambda: st.AttentionStack([st.ConvLSTMCell(1, 3, 3)]), "ranks=[1]"),
        (lambda: st.AttentionStack([conv_lstm()], score="cosine"), "score='cosine'"),
        (lambda: forecaster("output", "shared"), 'forecaster="shared"'),
        (lambda: encoder_forecaster([st.AttentionStack([conv_lstm()])]), "['AttentionStack']"),
        (lambda: encoder_forecaster([st.ConvLSTM2D(3, 3)]), "['ConvLSTM2D']"),
    ],
)
def test_bad_arguments_are_named(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value)
