"""RECALL: values by hand, invariants (spec V5.1, V5.2), and the chunked form against the plain one."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.ops import recall as module
from keras_st.ops.recall import attend_in_chunks, plain_attention, recall
from tests.conformance.test_conformance import gradients

# Keras on PyTorch takes float64 products in float32.
ATOL = 1e-6 if keras.backend.backend() == "torch" else 1e-10


def run(query, history, valid=None):
    return ops.convert_to_numpy(recall(ops.convert_to_tensor(query), ops.convert_to_tensor(history), valid))


@pytest.mark.parametrize("keys, r, expected", [((0.0, 2.0), 0.5, 1.462117), ((-1.0, 1.0), 1.0, 0.761594)])
def test_v5_2_by_hand(keys, r, expected):
    history = np.array(keys).reshape(1, 2, 1, 1, 1, 1)
    assert run(np.full((1, 1, 1, 1, 1), r), history).item() == pytest.approx(expected, abs=1e-6)


def test_v5_1_invariants(rng):
    r, history = rng.random((2, 2, 3, 4, 5)), rng.standard_normal((2, 3, 2, 3, 4, 5))
    out = run(r, history)
    for order in itertools.permutations(range(3)):
        np.testing.assert_allclose(run(r, history[:, order]), out, atol=ATOL)
    shuffled = rng.permutation(history.reshape(2, 72, 5), axis=1).reshape(history.shape)
    np.testing.assert_allclose(run(r, shuffled), out, atol=ATOL)
    np.testing.assert_allclose(run(r, np.concatenate([history, history], 1)), out, atol=ATOL)
    tokens = history.reshape(2, 1, 1, 1, 72, 5)
    assert (out <= tokens.max(4) + ATOL).all() and (out >= tokens.min(4) - ATOL).all()
    equal = np.broadcast_to(rng.standard_normal(5), history.shape)
    np.testing.assert_allclose(run(r, equal), equal[:, 0], atol=ATOL)
    order = rng.permutation(24)  # of positions, in query and history alike
    moved_r = r.reshape(2, 24, 5)[:, order].reshape(r.shape)
    moved = history.reshape(2, 3, 24, 5)[:, :, order].reshape(history.shape)
    np.testing.assert_allclose(run(moved_r, moved).reshape(2, 24, 5), out.reshape(2, 24, 5)[:, order], atol=ATOL)


def test_slots_that_do_not_count_are_as_if_absent(rng):
    r, history = rng.random((2, 1, 3, 4, 5)), rng.standard_normal((2, 4, 1, 3, 4, 5))
    valid = np.array([[False, True, True, False], [True, True, True, True]])
    out = run(r, history, valid)
    np.testing.assert_allclose(out[:1], run(r[:1], history[:1, 1:3]), atol=ATOL)
    np.testing.assert_allclose(out[1:], run(r[1:], history[1:]), atol=ATOL)


SHAPES = [(2, 130, 3, 5), (1, 300, 2, 4), (3, 7, 1, 2), (2, 128, 2, 3)]  # B, N, slots, C: N over, at and under a chunk


@pytest.mark.parametrize("dtype, atol", [("float64", ATOL), ("float32", 1e-5)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_chunks_equal_the_plain_form_in_value_and_gradient(rng, shape, dtype, atol):
    batch, count, slots, channels = shape
    q = keras.Variable(rng.random((batch, count, channels)), dtype=dtype)
    k = keras.Variable(rng.standard_normal((batch, slots * count, channels)), dtype=dtype)
    valid = np.repeat(rng.random((batch, slots)) < 0.6, count, axis=1)
    valid[:, -count:] = True
    weight = rng.standard_normal((batch, count, channels)).astype(dtype)
    forms = [attend_in_chunks, plain_attention]
    if keras.backend.backend() == "torch":
        forms.insert(0, module.backend.fused_attention)
    values, slopes = [], []
    for form in forms:
        values.append(ops.convert_to_numpy(form(q + 0, k + 0, ops.convert_to_tensor(valid))))
        for variable in (q, k):
            if keras.backend.backend() == "torch":
                variable.value.grad = None
        got = gradients(
            lambda form=form: ops.sum(form(q + 0, k + 0, ops.convert_to_tensor(valid)) * ops.convert_to_tensor(weight)),
            [q, k],
        )
        slopes.append([np.array(ops.convert_to_numpy(g)) for g in got])
    for value, slope in zip(values[:-1], slopes[:-1]):
        np.testing.assert_allclose(value, values[-1], atol=atol)
        for a, b in zip(slope, slopes[-1]):
            np.testing.assert_allclose(a, b, atol=10 * atol)


def test_large_scores_do_not_overflow(rng):
    r, history = np.ones((1, 1, 2, 2, 4), "float32"), 500 * rng.standard_normal((1, 2, 1, 2, 2, 4)).astype("float32")
    assert np.isfinite(run(r, history)).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(rng, dtype):
    q, k = rng.random((2, 130, 4)), rng.standard_normal((2, 260, 4))
    exact = ops.convert_to_numpy(plain_attention(ops.convert_to_tensor(q), ops.convert_to_tensor(k)))
    half = attend_in_chunks(*(ops.cast(x, dtype) for x in (q, k)))
    assert keras.backend.standardize_dtype(half.dtype) == dtype
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(half, "float32")), exact, atol=0.02)


def test_float16_holds_more_keys_than_it_can_count():
    q, k = ops.ones((1, 1, 1), "float16"), ops.ones((1, 70_000, 1), "float16")
    assert float(ops.convert_to_numpy(attend_in_chunks(q, k))[0, 0, 0]) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="sizes are dynamic in TensorFlow graphs only")
def test_gradient_with_every_size_unknown(rng):
    import tensorflow as tf

    def slopes(q, k):
        with tf.GradientTape() as tape:
            tape.watch([q, k])
            y = tf.reduce_sum(attend_in_chunks(q, k) ** 2)
        return tape.gradient(y, [q, k])

    q, k = (tf.constant(rng.standard_normal(s)) for s in ((2, 150, 3), (2, 450, 3)))
    spec = tf.TensorSpec((None, None, 3), tf.float64)
    for a, b in zip(tf.function(slopes, input_signature=[spec, spec])(q, k), slopes(q, k)):
        np.testing.assert_allclose(a, b, atol=1e-10)
