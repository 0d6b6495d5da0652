"""SpatialRNN and CellStack: time, masks, states, dynamic sizes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st import layers as st


def numpy(x):
    return ops.convert_to_numpy(x)


def make(**kwargs):
    return st.ConvLSTM2D(3, 3, padding="same", **{"return_sequences": True, "return_state": True, **kwargs})


@pytest.fixture
def clip(rng):
    return rng.standard_normal((2, 5, 6, 7, 2)).astype("float32")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_unrolled_equals_looped(clip, masked, return_sequences):
    mask = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]], bool) if masked else None
    loop, unrolled = (make(unroll=u, return_sequences=return_sequences) for u in (False, True))
    loop.build(clip.shape), unrolled.build(clip.shape)
    unrolled.set_weights(loop.get_weights())
    for a, b in zip(loop(clip, mask=mask), unrolled(clip, mask=mask)):
        np.testing.assert_allclose(numpy(a), numpy(b), atol=1e-6)


def test_longer_than_the_unroll_limit_still_runs(rng):
    x = rng.standard_normal((1, 40, 4, 5, 1)).astype("float32")
    auto, unrolled = make(), make(unroll=True)
    auto.build(x.shape), unrolled.build(x.shape)
    unrolled.set_weights(auto.get_weights())
    for a, b in zip(auto(x), unrolled(x)):
        np.testing.assert_allclose(numpy(a), numpy(b), atol=1e-5)


def test_backwards_is_the_reversed_sequence(clip):
    forwards, backwards = make(), make(go_backwards=True)
    forwards.build(clip.shape), backwards.build(clip.shape)
    backwards.set_weights(forwards.get_weights())
    for a, b in zip(backwards(clip), forwards(clip[:, ::-1])):
        np.testing.assert_allclose(numpy(a), numpy(b), atol=1e-6)


def test_a_sequence_in_two_halves_equals_the_whole(clip):
    layer = make()
    whole = layer(clip)
    first = layer(clip[:, :2])
    second = layer(clip[:, 2:], initial_state=first[1:])
    np.testing.assert_allclose(numpy(whole[0])[:, 2:], numpy(second[0]), atol=1e-6)
    np.testing.assert_allclose(numpy(whole[2]), numpy(second[2]), atol=1e-6)


def test_stateful_carries_and_resets(clip):
    stateful, plain = make(stateful=True), make()
    stateful.build(clip.shape), plain.build(clip.shape)
    plain.cell.set_weights(stateful.cell.get_weights())
    whole = numpy(plain(clip)[0])
    halves = [numpy(stateful(part)[0]) for part in (clip[:, :2], clip[:, 2:])]
    np.testing.assert_allclose(np.concatenate(halves, axis=1), whole, atol=1e-6)
    stateful.reset_state()
    np.testing.assert_allclose(numpy(stateful(clip[:, :2])[0]), whole[:, :2], atol=1e-6)
    with pytest.raises(ValueError, match="static batch"):
        make(stateful=True).build((None, 5, 6, 7, 2))


def test_masked_steps_repeat_or_zero_the_output(clip):
    mask = np.array([[0, 1, 0, 1, 0], [1, 1, 0, 0, 1]], bool)
    repeat, zero = make(), make(zero_output_for_mask=True)
    repeat.build(clip.shape), zero.build(clip.shape)
    zero.set_weights(repeat.get_weights())
    r, z = numpy(repeat(clip, mask=mask)[0]), numpy(zero(clip, mask=mask)[0])
    np.testing.assert_array_equal(r[0, 0], 0)  # nothing came before
    np.testing.assert_array_equal(r[0, 2], r[0, 1])
    np.testing.assert_array_equal(z[~mask], 0)
    np.testing.assert_allclose(z[mask], r[mask], atol=1e-6)
    last = make(zero_output_for_mask=True, return_sequences=False)
    last.build(clip.shape)
    last.set_weights(repeat.get_weights())
    np.testing.assert_allclose(numpy(last(clip, mask=mask)[0]), z[:, -1], atol=1e-6)


def test_masks_travel_with_sequences_only(clip):
    mask = np.ones((2, 5), bool)
    assert make(return_state=False).compute_mask(clip, mask) is mask
    assert make().compute_mask(clip, mask) == [mask, None, None]
    assert make(return_sequences=False, return_state=False).compute_mask(clip, mask) is None


def test_sizes_are_dynamic(rng):
    inputs = keras.Input((None, None, None, 2))
    model = keras.Model(inputs, make(return_state=False)(inputs))
    assert model.output.shape == (None, None, None, None, 3)
    for shape in ((1, 3, 5, 6, 2), (2, 7, 9, 4, 2), (3, 35, 4, 4, 2)):
        x = rng.standard_normal(shape).astype("float32")
        expected = numpy(model.layers[-1](x))
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


def test_symbolic_initial_state():
    x, h, c = keras.Input((None, 6, 7, 2)), keras.Input((6, 7, 3)), keras.Input((6, 7, 3))
    model = keras.Model([x, h, c], make()(x, initial_state=[h, c]))
    assert [tuple(o.shape) for o in model.outputs] == [(None, None, 6, 7, 3), (None, 6, 7, 3), (None, 6, 7, 3)]


def test_wrong_states_are_named(clip):
    good = np.zeros((2, 6, 7, 3), "float32")
    for states in ([good], [good, good[:, :5]], [good, good, good]):
        with pytest.raises(ValueError, match=r"must have shapes .* Received: shapes="):
            make()(clip, initial_state=states)


def test_unroll_needs_static_time():
    with pytest.raises(ValueError, match="static time axis"):
        make(unroll=True).build((None, None, 6, 7, 2))


def test_stack_equals_layers_on_top_of_each_other(clip, rng):
    cells = [
        st.ConvLSTMCell(2, 3, 3, padding="same", strides=2, dropout=0.1),
        st.ConvLSTMCell(2, 4, 3, padding="same", recurrent_dropout=0.1),
    ]
    stack = st.SpatialRNN(st.CellStack(cells), return_sequences=True, return_state=True)
    output, *states = stack(clip)
    middle, *low = st.SpatialRNN(cells[0], return_sequences=True, return_state=True)(clip)
    top, *high = st.SpatialRNN(cells[1], return_sequences=True, return_state=True)(middle)
    for a, b in zip([output, *states], [top, *low, *high]):
        np.testing.assert_allclose(numpy(a), numpy(b), atol=1e-6)
    assert np.abs(numpy(stack(clip, training=True)[0]) - numpy(output)).max() > 1e-3
    step, _ = stack.cell(clip[:, 0], stack.cell.get_initial_state(2))
    np.testing.assert_allclose(numpy(step), numpy(output)[:, 0], atol=1e-6)
    with pytest.raises(ValueError, match="at least one cell"):
        st.CellStack([])


def test_bidirectional_with_states():
    both = keras.layers.Bidirectional(st.ConvGRU2D(4, 3, padding="same", return_state=True))
    output, *states = both(keras.Input((5, 8, 9, 3)))
    assert output.shape == (None, 8, 9, 8) and [s.shape for s in states] == [(None, 8, 9, 4)] * 2


def test_the_mask_of_a_masking_layer(rng):
    """It marks positions; a step counts where any position does."""
    x = rng.random((2, 4, 5, 6, 1)).astype("float32")
    x[0, 2:] = 0
    layer = st.ConvLSTM2D(3, 3, padding="same")
    masked = layer(keras.layers.Masking()(x))
    np.testing.assert_allclose(numpy(masked)[0], numpy(layer(x[:1, :2]))[0], atol=1e-6)
    np.testing.assert_allclose(numpy(masked)[1], numpy(layer(x))[1], atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (3, 4), (2,)])
def test_wrong_masks_are_named(rng, shape):
    with pytest.raises(ValueError, match="`mask` must be .*Received"):
        st.ConvLSTM2D(3, 3)(rng.random((2, 4, 5, 6, 1)), mask=np.ones(shape, bool))


def test_a_single_first_state_needs_no_list(rng):
    layer = st.ConvGRU2D(3, 3, padding="same")
    x, h = rng.random((2, 4, 5, 6, 1)).astype("float32"), rng.random((2, 5, 6, 3)).astype("float32")
    got, want = layer(x, initial_state=keras.ops.convert_to_tensor(h)), layer(x, initial_state=[h])
    np.testing.assert_array_equal(numpy(got), numpy(want))


def test_stateful_takes_batches_of_one_size(rng):
    layer = st.ConvLSTM2D(3, 3, stateful=True)
    layer(rng.random((2, 4, 5, 6, 1)))
    with pytest.raises(ValueError, match="states of 2 clips.*Received"):
        layer(rng.random((1, 4, 5, 6, 1)))
