"""Sliding windows over a zigzag stack, and the E3D-LSTM network built on them (spec 5.2)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st import layers as st
from keras_st.models import encoder_forecaster
from keras_st.specs import ForecastTask
from keras_st.systems.e3d_lstm import build_e3d_lstm
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.keras_st.layers.recurrent.test_e3d_lstm import reference_weights
from tests.reference.recurrent import conv, e3d_lstm_step, st_lstm_step

B, S, H, W, C = 2, 4, 6, 10, 1
NAMES = ("kernel", "recurrent_kernel", "memory_kernel", "output_kernel", "fuse_kernel")


def e3d_cells(**kwargs):
    return [st.E3DLSTMCell(3, (2, 3, 3), dtype="float64", **{"recall_steps": 2, **kwargs}) for _ in range(2)]


def st_cells():
    return [st.STLSTMCell(2, 3, 3, dtype="float64") for _ in range(2)]


def forecaster(stack, horizon=3, patch=2, **kwargs):
    options = {"readout": "last", "activation": "linear", "predict_context": True, **kwargs}
    return encoder_forecaster(stack, horizon_frames=horizon, patch=patch, **options)


def patches(frames, p):
    """`reshape_patch` of the released code, by index."""
    b, h, w, c = frames.shape
    out = np.zeros((b, h // p, w // p, p * p * c))
    for i, j, k in np.ndindex(p, p, c):
        out[..., (i * p + j) * c + k] = frames[:, i::p, j::p, k]
    return out


def decoded(model, hidden):
    """The decoder as the paper has it: a convolution (T, 1, 1) of stride (T, 1, 1) over the depth of H."""
    depth, filters = hidden.shape[1], hidden.shape[-1]
    kernel = numpy(model.decoder.kernel)[0, 0].reshape(depth, filters, -1)
    return np.einsum("btyxf,tfp->byxp", hidden, kernel) + numpy(model.decoder.bias)


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_network_equals_the_numpy_witness(rng, window, batch):
    """Windows of the last frames (zeros before the first), two levels, decoder; then on over its own predictions."""
    video = rng.random((batch, S, H, W, C))
    model = forecaster(st.SlidingWindowStack(e3d_cells(), window=window))
    model.build({"video": video.shape})
    randomise(model, rng)
    outputs = model({"video": video})
    w = [reference_weights(cell) for cell in model.cells.cells]
    truth = [patches(video[:, t], 2) for t in range(S)]
    zero_frame = np.zeros_like(truth[0])
    zero = np.zeros((batch, window, H // 2, W // 2, 3))
    read, predictions = [zero_frame] * (window - 1), []
    h, past, m = [zero, zero], [[zero], [zero]], zero
    for t in range(S + 2):
        read.append(truth[t] if t < S else predictions[-1])
        below = np.stack(read[-window:], axis=1)
        for k in range(2):
            h[k], c, m = e3d_lstm_step(below, h[k], past[k][-1], m, past[k][-2:], w[k])
            past[k].append(c)
            below = h[k]
        predictions.append(decoded(model, h[1]))
    got = np.concatenate([numpy(outputs["context_frames"]), numpy(outputs["frames"])], axis=1)
    atol = max(1e-5, 10 * ATOL)  # frames are returned as float32
    for t, want in enumerate(predictions):
        np.testing.assert_allclose(patches(got[:, t], 2), want, atol=atol)


def test_a_windowed_stack_equals_the_witness_from_random_states(rng):
    """In float64, before the decoder: random hidden states, histories of two, memory and window."""
    layer = st.SpatialRNN(st.SlidingWindowStack(e3d_cells(recall_steps=3)), return_sequences=True)
    x = rng.standard_normal((3, 5, 5, 4, 2))
    layer.build(x.shape)
    randomise(layer, rng)
    states = [
        np.full(3, 2, "int32") if len(s.shape) == 1 else rng.standard_normal(s.shape)
        for s in layer.get_initial_state(3, (5, 4))
    ]
    outputs = numpy(layer(x, initial_state=states))
    w = [reference_weights(cell) for cell in layer.cell.cells]
    h, m, read = [states[0], states[3]], states[6], [states[7][:, 0], states[7][:, 1]]
    past = [[states[n][:, 1], states[n][:, 2]] for n in (1, 4)]
    for t in range(5):
        read.append(x[:, t])
        below = np.stack(read[-2:], axis=1)
        for k in range(2):
            h[k], c, m = e3d_lstm_step(below, h[k], past[k][-1], m, past[k][-3:], w[k])
            past[k].append(c)
            below = h[k]
        want = np.concatenate([h[1][:, 0], h[1][:, 1]], axis=-1)  # depth in channels, slot by slot
        np.testing.assert_allclose(outputs[:, t], want, atol=10 * ATOL)


@pytest.mark.parametrize("conv3d", ["bottom", "top"])
def test_a_baseline_equals_the_numpy_witness(rng, conv3d):
    """The 3-D convolution (T, k, k), no padding in time, below or above ST-LSTM levels."""
    video = rng.random((B, S, H, W, C))
    model = forecaster(st.SlidingWindowStack(st_cells(), 3, conv3d=conv3d, conv_filters=4, conv_kernel_size=3))
    model.build({"video": video.shape})
    randomise(model, rng)
    outputs = model({"video": video})
    cells, kernel, bias = model.cells.cells, numpy(model.cells.conv.kernel), numpy(model.cells.conv.bias)
    kernel = np.stack(np.split(kernel, 3, axis=2))  # (T, kh, kw, channels, filters)
    w = [dict(zip(NAMES, cell.get_weights())) for cell in cells]
    zero = np.zeros((B, H // 2, W // 2, 3))

    def conv3(maps):
        return np.maximum(sum(conv(x, k) for x, k in zip(maps, kernel)) + bias, 0)

    h, c, m = [zero, zero], [zero, zero], zero
    read, hidden, predictions = [np.zeros((B, H // 2, W // 2, 4))] * 2, [zero, zero], []
    for t in range(S + 2):
        read.append(patches(video[:, t], 2) if t < S else predictions[-1])
        below = conv3(read[-3:]) if conv3d == "bottom" else read[-1]
        for k in range(2):
            h[k], c[k], m = st_lstm_step(below, h[k], c[k], m, w[k])
            below = h[k]
        hidden.append(h[1])
        top = conv3(hidden[-3:]) if conv3d == "top" else h[1]
        predictions.append(conv(top, numpy(model.decoder.kernel)) + numpy(model.decoder.bias))
    got = np.concatenate([numpy(outputs["context_frames"]), numpy(outputs["frames"])], axis=1)
    for t, want in enumerate(predictions):
        np.testing.assert_allclose(patches(got[:, t], 2), want, atol=max(1e-5, 10 * ATOL))


@pytest.mark.parametrize("conv3d", ["inside", "bottom", "top"])
def test_with_a_stride_cells_step_now_and_then(rng, conv3d):
    """Stride 2: steps at t = 0, 2, 4 only, on the window that is there; between them output and states stand."""
    cells = e3d_cells() if conv3d == "inside" else st_cells()
    stack = st.SlidingWindowStack(cells, 2, 2, conv3d)
    layer = st.SpatialRNN(stack, return_sequences=True)
    x = rng.random((B, 5, 5, 4, C))
    layer.build(x.shape)
    randomise(layer, rng)
    outputs = numpy(layer(x))
    np.testing.assert_array_equal(outputs[:, 1], outputs[:, 0])
    np.testing.assert_array_equal(outputs[:, 3], outputs[:, 2])
    assert np.abs(outputs[:, 2] - outputs[:, 0]).max() > 1e-3
    changed = x.copy()
    changed[:, 1] += 1.0  # read at t = 2, where there is a window of frames
    after = numpy(layer(changed))
    np.testing.assert_array_equal(after[:, :2], outputs[:, :2])
    assert (np.abs(after[:, 2] - outputs[:, 2]).max() > 1e-3) == (conv3d != "top")
    if conv3d == "top":  # frames between two steps are not read at all: the same as every second frame
        every = st.SpatialRNN(st.SlidingWindowStack(cells, 2, 1, conv3d), return_sequences=True)
        every.build(x.shape)
        every.set_weights(layer.get_weights())
        np.testing.assert_allclose(outputs[:, ::2], numpy(every(x[:, ::2])), atol=ATOL)


@pytest.mark.parametrize("stack", ["inside", "bottom", "top"])
def test_v5_7_causality(rng, stack):
    """Frame s moves no prediction before s + 1; with all flags 0 the future moves nothing."""
    cells = e3d_cells() if stack == "inside" else st_cells()
    model = forecaster(st.SlidingWindowStack(cells, conv3d=stack))
    video, future = rng.random((B, S, H, W, C)), rng.random((B, 3, H, W, C))
    model.build({"video": video.shape})
    randomise(model, rng)
    before = model({"video": video})
    for s in range(1, S):
        changed = video.copy()
        changed[:, s] += 1.0
        after = model({"video": changed})
        a, b = numpy(after["context_frames"]), numpy(before["context_frames"])
        np.testing.assert_array_equal(a[:, :s], b[:, :s])  # predictions of frames 1 to s
        moved = a[:, s] - b[:, s] if s < S - 1 else numpy(after["frames"])[:, 0] - numpy(before["frames"])[:, 0]
        assert np.abs(moved).max() > 1e-3
    for value, moves in ((0.0, False), (1.0, True)):
        flags = np.full((B, 2), value)
        a = numpy(model({"video": video, "future": future, "future_flags": flags})["frames"])
        b = numpy(model({"video": video, "future": future + 1, "future_flags": flags})["frames"])
        assert (np.abs(a - b).max() > 0) == moves


def test_an_even_kernel_pads_after(rng):
    """Depth 2, kernel depth 2: slot 0 sees (0, 1), slot 1 itself: [1, 10] with kernel [1, 100] is [1001, 10]."""
    cell = st.E3DLSTMCell(1, (2, 1, 1), use_bias=False)
    cell.build((1, 2, 1, 1, 1))
    x = np.array([1.0, 10.0], "float32").reshape(1, 2, 1, 1, 1)
    kernel = np.array([1.0, 100.0], "float32").reshape(2, 1, 1, 1, 1)
    assert numpy(cell.input_conv(ops.convert_to_tensor(x), kernel)).ravel().tolist() == [1001.0, 10.0]


@pytest.mark.parametrize("variant, expected", [("paper", 12_069_392), ("released", 12_898_832)])
def test_v5_6_counts_of_the_whole_network(monkeypatch, variant, expected):
    sizes = []
    monkeypatch.setattr(keras.layers.Layer, "add_weight", lambda self, shape=(), **_: sizes.append(int(np.prod(shape))))
    model = build_e3d_lstm(ForecastTask(10, 10), variant=variant)
    model.build({"video": (None, 10, 64, 64, 1)})
    assert sum(sizes) == expected


def test_recall_of_all_steps_of_a_task():
    model = build_e3d_lstm(ForecastTask(4, 3), filters=(2,), recall_steps=None)
    assert [cell.recall_steps for cell in model.cells.cells] == [6]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: st.SlidingWindowStack(e3d_cells(), window=0), "window=0"),
        (lambda: st.SlidingWindowStack(e3d_cells(), window_stride=0), "window_stride=0"),
        (lambda: st.SlidingWindowStack(e3d_cells(), conv3d="outside"), "conv3d='outside'"),
        (lambda: st.SlidingWindowStack(e3d_cells(), conv3d="top"), r"ranks=\[3, 3\]"),
        (lambda: st.SlidingWindowStack(st_cells()), r"ranks=\[2, 2\]"),
        (lambda: st.SlidingWindowStack([st.E3DLSTMCell(3, (2, 3, 3), strides=2)]), "keep the size"),
        (lambda: st.SlidingWindowStack(e3d_cells(recall_steps=None)), "recall_steps=None"),
        (lambda: forecaster(st.SlidingWindowStack(e3d_cells()), forecaster="conditioned"), "conditioned"),
        (lambda: forecaster(st.SlidingWindowStack(e3d_cells()), readout="all"), "readout"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dropout_reaches_the_window(rng):
    cells = [st.E3DLSTMCell(3, (2, 3, 3), dropout=0.5, recurrent_dropout=0.5) for _ in range(2)]
    layer = st.SpatialRNN(st.SlidingWindowStack(cells))
    x = rng.random((2, 3, 5, 4, 1)).astype("float32")
    assert np.abs(numpy(layer(x, training=True)) - numpy(layer(x))).max() > 1e-3
    np.testing.assert_array_equal(numpy(layer(x)), numpy(layer(x)))
