"""What every cell, layer and model must do, on every backend."""

import copy
import inspect

import keras
import numpy as np
import pytest
from keras import ops, tree

from keras_st.layers.config import constructor_arguments
from keras_st.layers.streaming import NotCausal, Stream
from tests.conformance.cases import CASES, B, T, over

RECURRENT = [case for case in CASES if case.states]
WHOLE = (  # have a method `stream`, and refuse: they look at the clip as a whole
    "forecaster-attention-output",
    "forecaster-attention-input",
    "clip-classifier",
    "ALSTM-location",
    "ConvALSTM-sigmoid",
    "MotionConvALSTM-attention",
    "MotionALSTM",
    "OverlapAverage",
    "GRURCN-stacked-both-ways",
    "classifier-conv-pooling",
    "classifier-late-pooling",
    "classifier-slow-pooling",
    "classifier-local-pooling",
    "classifier-time-domain",
    "classifier-alstm",
    "classifier-video-lstm",
    "classifier-multi-lstm",
)


def numpy(x):
    return tree.map_structure(ops.convert_to_numpy, x)


def assert_close(a, b, atol=1e-5):
    tree.assert_same_structure(a, b)
    for x, y in zip(tree.flatten(numpy(a)), tree.flatten(numpy(b))):
        np.testing.assert_allclose(x, y, atol=atol)


def built(case, seed=0):
    keras.utils.set_random_seed(seed)
    layer = case.make()
    layer(case.inputs())
    return layer


def main_outputs(outputs):
    """Of a model what it is for, the frames or the classes; of a layer all its outputs."""
    return [outputs.get("frames", outputs.get("logits"))] if isinstance(outputs, dict) else tree.flatten(outputs)


def open_shape(shape):
    """Batch and, of sequences, time unknown."""
    return (None, *shape[1:]) if len(shape) == 2 else (None, None, *shape[2:])


def as_model(case, layer):
    """A layer in a functional model; a model as it is."""
    if isinstance(case.shape, dict):
        return layer
    x = over(case.shape, lambda shape: keras.Input(open_shape(shape)[1:]))
    return keras.Model(x, layer(x))


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


def test_parameter_count_is_the_closed_form(case):
    assert built(case).count_params() == case.params


def test_symbolic_output_shape_is_the_eager_one(case):
    layer = built(case)
    if isinstance(case.shape, dict):
        symbolic = layer.compute_output_shape(case.shape)
        assert {k: tuple(s) for k, s in symbolic.items()} == {
            k: v.shape for k, v in numpy(layer(case.inputs())).items()
        }
    else:
        outputs = layer(over(case.shape, lambda shape: keras.KerasTensor(open_shape(shape))))
        for symbolic, x in zip(tree.flatten(outputs), tree.flatten(numpy(layer(case.inputs()))), strict=True):
            eager = x.shape
            assert len(symbolic.shape) == len(eager) and symbolic.shape[0] is None
            assert all(s in (None, e) for s, e in zip(symbolic.shape, eager)) and tuple(symbolic.shape[2:]) == eager[2:]


def test_predict_equals_the_eager_call(case):
    layer = built(case)
    model = as_model(case, layer)
    assert_close(model.predict(case.inputs(1), verbose=0), layer(case.inputs(1)))


def test_save_and_load_keep_the_outputs(case, tmp_path):
    layer = built(case)
    model = as_model(case, layer)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(again(case.inputs(2)), model(case.inputs(2)), atol=1e-6)


def test_config_holds_every_argument_and_rebuilds(case):
    layer = built(case)
    config = layer.get_config()
    own = set(constructor_arguments(type(layer)))
    if "cell" not in config:
        own -= {"cell"}
    assert own <= set(config)
    if isinstance(getattr(layer, "cell", None), keras.Layer):
        cell = layer.cell.get_config()
        assert set(inspect.signature(type(layer.cell)).parameters) - {"args", "kwargs"} <= set(cell)
        assert type(layer.cell).from_config(cell).get_config() == cell
    assert type(layer).from_config(copy.deepcopy(config)).get_config() == config  # a functional model empties its own


@pytest.mark.parametrize("case", [case for case in CASES if case.params], ids=lambda case: case.name)
def test_every_weight_gets_a_gradient(case):
    layer = built(case)
    inputs = case.inputs(3)
    rng = np.random.default_rng(4)
    layer.set_weights([w + 0.1 * rng.standard_normal(w.shape).astype(w.dtype) for w in layer.get_weights()])

    def loss():
        return sum(ops.mean(ops.square(part)) for part in tree.flatten(layer(inputs)))

    for weight, gradient in zip(layer.trainable_variables, gradients(loss, layer.trainable_variables)):
        assert gradient is not None, weight.path
        blind = weight.name == "offset" and "sigmoid" not in case.name  # softmax does not see it
        assert blind or np.abs(gradient).max() > 0, weight.path


def gradients(loss, variables):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        return [g if g is None else g.numpy() for g in tape.gradient(value, [v.value for v in variables])]
    if keras.backend.backend() == "torch":
        value = loss()
        value.backward()
        return [v.value.grad if v.value.grad is None else v.value.grad.cpu().numpy() for v in variables]
    import jax

    def stateless(values):
        with keras.StatelessScope(state_mapping=zip(variables, values)):
            return loss()

    return [np.asarray(g) for g in jax.grad(stateless)([v.value for v in variables])]


@pytest.mark.parametrize("case", RECURRENT, ids=lambda case: case.name)
def test_every_state_changes_at_both_of_two_steps(case):
    layer = built(case)
    cell, x = layer.cell, case.inputs(5)
    batch, _, *spatial = tree.flatten(x)[0].shape[:-1]
    states = layer.get_initial_state(batch, tuple(spatial))
    for t in range(2):
        _, new_states = cell(tree.map_structure(lambda x, t=t: x[:, t], x), states)
        for name, old, new in zip(cell.state_names, states, new_states, strict=True):
            assert np.abs(numpy(new) - numpy(old)).max() > 1e-6, (name, t)
            assert new.shape == old.shape and new.shape[0] == batch
        states = new_states


def test_one_clip_alone_equals_itself_in_a_batch(case):
    layer = built(case)
    both = case.inputs(6)
    one = tree.map_structure(lambda x: x[1:], both)
    for alone, batched in zip(main_outputs(numpy(layer(one))), main_outputs(numpy(layer(both))), strict=True):
        np.testing.assert_allclose(alone[0], batched[1], atol=1e-5)


@pytest.mark.parametrize("case", [case for case in RECURRENT if case.causal], ids=lambda case: case.name)
def test_causal_or_context_only(case):
    """No output of a step may depend on a later input step."""
    layer = built(case)
    x = case.inputs(7)
    before = numpy(layer(x))
    for sequence in tree.flatten(x):
        sequence[:, -1] += 1.0
    after = numpy(layer(x))
    for a, b in zip(tree.flatten(after), tree.flatten(before)):
        np.testing.assert_array_equal(a[:, :-1], b[:, :-1])
    assert np.abs(tree.flatten(after)[0] - tree.flatten(before)[0])[:, -1].max() > 1e-6


@pytest.mark.parametrize("case", [case for case in CASES if hasattr(case.make(), "stream")], ids=lambda case: case.name)
def test_a_stream_is_the_call_on_all_frames_so_far(case):
    """Or it is refused, where later steps or the length of the clip decide."""
    layer, sequences = built(case), case.inputs(8)
    rng = np.random.default_rng(0)
    for weight in layer.trainable_variables:  # where zeros are the first values nothing would be seen
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape).astype("float32"))
    states, batched = None, []
    for t in range(T):
        stream = Stream(states)
        try:
            step = layer.stream(tree.map_structure(lambda x, t=t: x[:, t : t + 1], sequences), stream)
        except NotCausal:
            assert case.name in WHOLE
            return
        whole = layer(tree.map_structure(lambda x, t=t: x[:, : t + 1], sequences))
        for new, old in zip(tree.flatten(stream.last), tree.flatten(stream.first), strict=True):
            assert new.shape == old.shape and new.dtype == old.dtype and new.shape[0] == B
        for name in set(step) if isinstance(step, dict) else [None]:
            for got, want in zip(*(tree.flatten(numpy(x if name is None else x[name])) for x in (step, whole))):
                if want.ndim == got.ndim + 1 or want.shape[1:2] == (t + 1,):  # of every frame: the newest
                    want, got = want[:, -1], got if want.ndim > got.ndim else got[:, -1]
                np.testing.assert_allclose(got, want, atol=1e-5)
        states = stream.last
        batched.append(states)
    assert case.name not in WHOLE
    alone = None  # streams of a batch do not touch each other
    for t in range(T):
        stream = Stream(alone)
        layer.stream(tree.map_structure(lambda x, t=t: x[1:, t : t + 1], sequences), stream)
        alone = stream.last
        for one, both in zip(alone, batched[t], strict=True):
            np.testing.assert_allclose(numpy(one)[0], numpy(both)[1], atol=1e-5)


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case.shape, dict)], ids=lambda case: case.name)
def test_a_stream_in_half_precision_is_close(case):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, clips, states = built(case), case.inputs(8), None
    finally:
        keras.config.set_dtype_policy("float32")
    if not hasattr(model, "stream") or case.name in WHOLE:
        return
    for t in range(2):
        stream = Stream(states)
        step = model.stream({name: x[:, t : t + 1] for name, x in clips.items()}, stream)
        assert [new.dtype for new in stream.last] == [first.dtype for first in stream.first]
        states = stream.last
    (got,), (want,) = main_outputs(step), main_outputs(model({name: x[:, :2] for name, x in clips.items()}))
    assert keras.backend.standardize_dtype(got.dtype) == "float32"
    got, want = numpy(got), numpy(want)
    if got.shape != want.shape:  # of every frame: the newest
        want = want[:, -1:] if got.ndim == want.ndim else want[:, -1]
    np.testing.assert_allclose(got, want, atol=0.05)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_finite_and_close(case, policy):
    keras.utils.set_random_seed(0)
    plain = built(case)
    keras.config.set_dtype_policy(policy)
    try:
        mixed = case.make()
        mixed(case.inputs())
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(plain.get_weights())
    got, want = numpy(mixed(case.inputs(8))), numpy(plain(case.inputs(8)))
    for a, b in zip(main_outputs(got), main_outputs(want), strict=True):
        assert np.isfinite(a.astype("float32")).all()
        np.testing.assert_allclose(a.astype("float32"), b, atol=0.05)


def test_a_layer_may_be_used_twice(case):
    layer = built(case)
    a, b = case.inputs(9), case.inputs(10)
    first, second, again = numpy(layer(a)), numpy(layer(b)), numpy(layer(a))
    assert_close(first, again, atol=0)
    assert np.abs(main_outputs(first)[0] - main_outputs(second)[0]).max() > 0
