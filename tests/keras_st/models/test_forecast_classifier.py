"""The second head: every step's hidden state, pooled, classifies."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st import layers as st
from keras_st.models import forecast_classifier

SHAPE = (2, 4, 6, 8, 1)


def numpy(x):
    return ops.convert_to_numpy(x)


def normed(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def make(stack=None, **kwargs):
    stack = stack or st.SlidingWindowStack([st.E3DLSTMCell(3, (2, 3, 3), recall_steps=2) for _ in range(2)])
    options = {"classes": 5, "horizon_frames": 3, "patch": 2, "readout": "last", "activation": "linear", **kwargs}
    return forecast_classifier(stack, **options)


def test_logits_are_of_the_mean_hidden_state_of_every_step(rng):
    """Steps one by one: the context, then the model's own predictions; means over depth, rows, columns."""
    from keras_st.ops.axes import space_to_depth

    video = rng.random(SHAPE).astype("float32")
    mean, concat = make(), make(pool="concat", num_steps=6)
    outputs = mean({"video": video})
    frames = np.concatenate([video, numpy(outputs["frames"])], axis=1)[:, :6]
    states, vectors = mean.cells.get_initial_state(2, (3, 4)), []
    for t in range(6):
        _, states = mean.cells(space_to_depth(ops.convert_to_tensor(frames[:, t]), 2), states)
        vectors.append(numpy(states[3]).mean(axis=(1, 2, 3)))  # hidden_1
    kernel, bias = mean.head.get_weights()
    np.testing.assert_allclose(numpy(outputs["logits"]), normed(np.mean(vectors, axis=0)) @ kernel + bias, atol=1e-4)
    concat({"video": video})
    for own, other in zip(concat.weights, mean.weights):
        if own.shape == other.shape:
            own.assign(other)
    head = [rng.standard_normal((18, 5)), rng.standard_normal(5)]
    concat.head.set_weights(head)
    joined = concat({"video": video})
    np.testing.assert_allclose(numpy(joined["frames"]), numpy(outputs["frames"]), atol=1e-6)
    np.testing.assert_allclose(
        numpy(joined["logits"]), normed(np.concatenate(vectors, 1)) @ head[0] + head[1], atol=1e-4
    )


@pytest.mark.parametrize("cells", ["plain", "bottom", "top"])
def test_any_shared_stack_classifies(rng, cells):
    video = rng.random(SHAPE).astype("float32")
    stack = [st.ConvLSTMCell(2, 3, 3, padding="same")]
    if cells != "plain":
        stack = st.SlidingWindowStack([st.STLSTMCell(2, 3, 3)], conv3d=cells, conv_kernel_size=3)
    outputs = make(stack, predict_context=True)({"video": video})
    shapes = {name: tuple(x.shape) for name, x in outputs.items()}
    assert shapes == {"frames": (2, 3, 6, 8, 1), "context_frames": (2, 3, 6, 8, 1), "logits": (2, 5)}


def test_dropout_of_the_head_acts_in_training_only(rng):
    keras.utils.set_random_seed(0)
    video = rng.random(SHAPE).astype("float32")
    model = make(head_dropout=0.5)
    still = numpy(model({"video": video})["logits"])
    np.testing.assert_array_equal(still, numpy(model({"video": video})["logits"]))
    assert np.abs(numpy(model({"video": video}, training=True)["logits"]) - still).max() > 1e-4


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"classes": 0}, "classes=0"),
        ({"pool": "max"}, "pool='max'"),
        ({"pool": "concat"}, "num_steps=None"),
        ({"num_steps": 6}, "num_steps=6"),
        ({"pool": "concat", "num_steps": 0}, "num_steps=0"),
        ({"head_dropout": 1.0}, "head_dropout=1.0"),
        ({"forecaster": "conditioned"}, "forecaster"),
    ],
)
def test_bad_arguments_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        make(**bad)


def test_concat_takes_its_own_number_of_steps(rng):
    model = make(pool="concat", num_steps=6)
    with pytest.raises(ValueError, match="Received: 4"):
        model({"video": rng.random((2, 2, 6, 8, 1)).astype("float32")})
