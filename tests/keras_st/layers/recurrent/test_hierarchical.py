"""Clocked and chunked hierarchies (spec 2.4)."""

import numpy as np
import pytest
from keras import ops

from keras_st import layers as st
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise


def cell(filters=3, **kwargs):
    return st.ConvLSTMCell(2, filters, 3, padding="same", dtype="float64", **kwargs)


def run(cell_or_stack, x, **kwargs):
    rnn = st.SpatialRNN(cell_or_stack, return_sequences=True, return_state=True, dtype="float64", **kwargs)
    return [numpy(part) for part in rnn(x)]


@pytest.fixture
def clip(rng):
    return rng.standard_normal((2, 7, 6, 8, 2))


@pytest.fixture
def clocked(clip, rng):
    stack = st.ClockStack([cell(3), cell(4), cell(2)], periods=(1, 2, 3), dtype="float64")
    stack.build((None, 6, 8, 2))
    randomise(stack, rng)
    return stack


def test_a_level_is_a_conv_lstm_on_every_pth_step_held_in_between(clip, clocked):
    output, *states = run(clocked, clip)
    below = clip
    for n, (level, period) in enumerate(zip(clocked.cells, clocked.periods)):
        if n:
            pooled = [numpy(ops.average_pool(below[:, t], 2, strides=2, padding="same")) for t in range(7)]
            below = np.stack(pooled, axis=1)
        ticks, *_ = run(level, below[:, ::period])
        below = np.repeat(ticks, period, axis=1)[:, :7]
        first = sum(c.filters for c in clocked.cells[:n])
        shown = below.repeat(2**n, axis=2).repeat(2**n, axis=3)[:, :, :6, :8]
        np.testing.assert_allclose(output[..., first : first + level.filters], shown, atol=ATOL)
    np.testing.assert_array_equal(states[-1], [7, 7])


def test_input_between_ticks_does_not_reach_a_slow_level(clip, clocked):
    changed = clip.copy()
    changed[:, 5] += 1  # level 2 ticks at 0, 3, 6
    before, after = run(clocked, clip)[0], run(clocked, changed)[0]
    np.testing.assert_array_equal(after[:, 5, ..., 7:], before[:, 5, ..., 7:])
    assert np.abs(after[:, 5, ..., :3] - before[:, 5, ..., :3]).max() > 1e-3


def test_periods_of_one_are_an_ordinary_stack(clip, rng):
    cells = [cell(3), cell(4)]
    clock = st.ClockStack(cells, periods=(1, 1), pool=1, dtype="float64")
    output, *states = run(clock, clip)
    top, *plain = run(st.CellStack(cells, dtype="float64"), clip)
    np.testing.assert_allclose(output[..., 3:], top, atol=ATOL)
    for a, b in zip(states, plain):
        np.testing.assert_allclose(a, b, atol=ATOL)


def test_streams_at_different_steps_share_a_batch(clip, clocked):
    """The clock is per stream: one that starts a step later ticks a step later."""
    _, *early = run(clocked, clip[:1, :1])
    x = ops.convert_to_tensor(clip[:1, 1])
    fresh = clocked.get_initial_state(1, (6, 8))
    both = [ops.concatenate([ops.convert_to_tensor(a), b]) for a, b in zip(early, fresh)]
    _, mixed = clocked(ops.concatenate([x, x]), both)
    _, later = clocked(x, [ops.convert_to_tensor(s) for s in early])
    _, first = clocked(x, fresh)
    for m, a, b in zip(mixed, later, first):
        np.testing.assert_allclose(numpy(m), np.concatenate([numpy(a), numpy(b)]), atol=ATOL)


def test_one_chunk_is_a_pass_and_a_step(clip):
    lower, upper = cell(3), cell(4)
    layer = st.ChunkedRNN(lower, upper, chunk_frames=7, dtype="float64")
    got = numpy(layer(clip))
    _, hidden, _ = run(lower, clip)
    np.testing.assert_allclose(got, run(upper, hidden[:, None])[0], atol=ATOL)


def test_chunks_are_read_from_zero_states_and_a_short_last_one_counts_with_what_it_has(clip):
    lower, upper = cell(3), cell(4)
    got = numpy(st.ChunkedRNN(lower, upper, chunk_frames=3, dtype="float64")(clip))
    summaries = [run(lower, clip[:, a:b])[1] for a, b in ((0, 3), (3, 6), (6, 7))]
    np.testing.assert_allclose(got, run(upper, np.stack(summaries, axis=1))[0], atol=ATOL)


def test_masked_frames_do_not_count(clip):
    layer = st.ChunkedRNN(cell(3), cell(4), chunk_frames=3, dtype="float64")
    mask = np.array([[True] * 5 + [False] * 2] * 2)
    np.testing.assert_allclose(numpy(layer(clip, mask=mask))[:, :2], numpy(layer(clip[:, :5])), atol=ATOL)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: st.ClockStack([cell(), cell()], periods=(1,)), "periods=(1,)"),
        (lambda: st.ClockStack([cell(), cell()], periods=(2, 1)), "periods=(2, 1)"),
        (lambda: st.ClockStack([cell()], periods=(1,), pool=0), "pool=0"),
        (lambda: st.ClockStack([cell(strides=2)], periods=(1,)).build((None, 6, 8, 2)), "keep the size"),
        (lambda: st.ChunkedRNN(cell(), cell(), 0), "chunk_frames=0"),
    ],
)
def test_bad_arguments_are_named(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value)


def test_a_chunk_of_masked_frames_leaves_the_upper_state(rng):
    """Padded to a longer clip and masked, it ends where the short one does."""
    layer = st.ChunkedRNN(st.ConvLSTMCell(2, 3, 3, padding="same"), st.ConvLSTMCell(2, 4, 3, padding="same"), 2)
    clip = rng.standard_normal((2, 7, 6, 8, 1)).astype("float32")
    mask = np.arange(7) < np.array([[3], [7]])
    padded, short = numpy(layer(clip, mask=mask)), numpy(layer(clip[:1, :3]))
    np.testing.assert_allclose(padded[0, -1], short[0, -1], atol=1e-6)
    np.testing.assert_array_equal(numpy(layer.compute_mask(clip, mask)), [[1, 1, 0, 0], [1, 1, 1, 1]])


def test_a_level_changes_as_often_as_it_ticks(clip):
    """ceil(S / p) times in S steps."""
    stack = st.ClockStack([st.ConvLSTMCell(2, 3, 3, padding="same") for _ in range(2)], periods=(1, 3))
    stack.build((2, *clip.shape[2:]))
    states, changes = stack.get_initial_state(2, clip.shape[2:4]), 0
    for t in range(clip.shape[1]):
        _, new = stack(clip[:, t], states)
        changes += bool(np.abs(numpy(new[2]) - numpy(states[2])).max() > 0)
        states = new
    assert changes == -(-clip.shape[1] // 3)
