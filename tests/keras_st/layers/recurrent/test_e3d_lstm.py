"""E3D-LSTM against spec section 5; test names carry the verification items (V5.n)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st import layers as st
from tests.keras_st.layers.recurrent.test_conv_lstm import ATOL, numpy, randomise
from tests.reference.recurrent import conv, e3d_lstm_step, layer_norm, sigmoid

GATES = {
    "paper": {"x": "r i g i2 f2 g2 o", "h": "r i g o", "m": "i2 f2 g2"},
    "released": {"x": "r i g i2 f2 g2 o", "h": "r i g o", "m": "i2 f2 g2 m"},
}
MAP = (2, 5, 4)  # depth, height, width


def make(filters=3, k=(2, 3, 5), dtype="float64", **kwargs):
    return st.E3DLSTMCell(filters, k, dtype=dtype, **kwargs)


def reference_weights(cell):
    """The cell's weights by gate, from their documented order."""
    gates = {source: names.split() for source, names in GATES[cell.variant].items()}
    if cell.recall_steps == 0:
        gates["x"].remove("r"), gates["h"].remove("r")

    def by_gate(names, weight):
        return dict(zip(names, np.split(numpy(weight), len(names), -1)))

    f, w = cell.filters, {}
    for source, weight in (("x", cell.kernel), ("h", cell.recurrent_kernel), ("m", cell.memory_kernel)):
        w[source], w[f"b_{source}"] = by_gate(gates[source], weight), {}
    w["b_x"] = by_gate(gates["x"], cell.bias)
    output, fuse = numpy(cell.output_kernel), numpy(cell.fuse_kernel)
    w |= {"c_o": output[..., :f, :], "m_o": output[..., f:, :], "c_1": fuse[..., :f, :], "m_1": fuse[..., f:, :]}
    w["b_1"] = numpy(cell.biases["fuse"])
    if cell.variant == "released":
        w["b_h"] = by_gate(gates["h"], cell.biases["hidden"])
        w["b_m"] = by_gate(gates["m"], cell.biases["memory"])
        both = numpy(cell.biases["output"])
        w["b_output"] = both[:f] + both[f:]
    for name, norm in cell.norms.items():
        name = {"input": "x", "hidden": "h", "memory": "m", "cell": "cell", "recalled_memory": "memory"}[name]
        w[f"{name}_norm"] = {"gamma": numpy(norm.gamma), "beta": numpy(norm.beta)}
    return w


OPTIONS = {
    "paper": {},
    "released": {"variant": "released", "update_memory": True},
    "released-as-is": {"variant": "released"},
    "eidetic-memory": {"eidetic_memory": True},
    "no-norm": {"norm": False},
    "gate-norm": {"gate_norm": True},
    "no-recall": {"recall_steps": 0},
    "one-step": {"recall_steps": 1},
    "eidetic-no-norm": {"eidetic_memory": True, "norm": False},
    "forget-bias": {"forget_bias": -0.5},
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_steps_equal_the_numpy_witness_for_longer_than_the_history(rng, options, batch):
    """V5.8, V5.9: explicit lists of past states, cut to the last `recall_steps`; random states that are not zero."""
    cell = make(**{"recall_steps": 3, **options})
    cell.build((None, *MAP, 2))
    randomise(cell, rng)
    if not cell.norm:  # nothing holds C and M back: with large weights they grow, and every error with them
        cell.set_weights([0.3 * w for w in cell.get_weights()])
    w, tau = reference_weights(cell), cell.recall_steps
    xs = rng.standard_normal((6, batch, *MAP, 2))
    states = cell.get_initial_state(batch)
    states = [s if len(s.shape) == 1 else rng.standard_normal(s.shape) for s in states]  # all but `written`
    h, m = states[0], states[-1]
    past_c = [states[1][:, -1]] if tau else []  # `written` says that there is one
    past_m = [states[3][:, -1]] if cell.eidetic_memory else None
    c = past_c[0] if tau else states[1]
    for x in xs:
        output, states = cell(x, states)
        recalled = past_m and past_m[-tau:]
        released = cell.variant == "released"
        h, c, new_m = e3d_lstm_step(x, h, c, m, past_c[-tau:], w, released, recalled, cell.forget_bias)
        if tau:
            past_c.append(c)
        if past_m:
            past_m.append(new_m)
        m = new_m if cell.update_memory else m
        np.testing.assert_allclose(numpy(output), h, atol=10 * ATOL)
        np.testing.assert_allclose(numpy(states[-1]), m, atol=10 * ATOL)
        np.testing.assert_allclose(numpy(states[1][:, -1] if tau else states[1]), c, atol=10 * ATOL)
        assert output.shape == (batch, *MAP, 3)


@pytest.mark.parametrize("filters", [(3, 3, 3)])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_stack_equals_the_numpy_witness(rng, filters, batch):
    """M climbs the levels; every level recalls its own C."""
    cells = [make(f, (2, 3, 3), recall_steps=2) for f in filters]
    layer = st.SpatialRNN(st.ZigZagStack(cells), return_sequences=True, dtype="float64")
    x = rng.standard_normal((batch, 5, *MAP, 2))
    layer.build((None, None, *x.shape[2:]))
    randomise(layer, rng)
    states = [
        np.full(batch, 2, "int32") if len(s.shape) == 1 else rng.standard_normal(s.shape)
        for s in layer.get_initial_state(batch, MAP)
    ]
    outputs = numpy(layer(x, initial_state=states))
    h, m, w = states[0:9:3], states[-1], [reference_weights(cell) for cell in cells]
    past = [[history[:, 0], history[:, 1]] for history in states[1:9:3]]
    for t in range(5):
        below = x[:, t]
        for k in range(3):
            h[k], c, m = e3d_lstm_step(below, h[k], past[k][-1], m, past[k][-2:], w[k])
            past[k].append(c)
            below = h[k]
        np.testing.assert_allclose(outputs[:, t], h[-1], atol=10 * ATOL)


def test_slots_that_are_empty_count_as_nothing_or_as_zeros(rng):
    """The zero state is an entry: masked, five slots are the list [0] at first; as zeros they are five zeros."""
    x = rng.standard_normal((2, *MAP, 2))
    outputs = {}
    for empty, tau in (("mask", 5), ("mask", 1), ("zeros", 5), ("zeros", 1)):
        cell = make(recall_steps=tau, empty_slots=empty)
        cell.build((None, *MAP, 2))
        randomise(cell, np.random.default_rng(1))
        states = cell.get_initial_state(2)
        first, states = cell(x, states)
        second, _ = cell(x, states)
        outputs[empty, tau] = numpy(first), numpy(second)
    for one in outputs.values():
        np.testing.assert_allclose(one[0], outputs["mask", 5][0], atol=ATOL)  # only zeros yet
    w = reference_weights(cell)
    zero = np.zeros((2, *MAP, 3))
    h, c, m = e3d_lstm_step(x, zero, zero, zero, [zero], w)
    for (empty, tau), past in ((("mask", 5), [zero, c]), (("zeros", 5), [zero] * 4 + [c]), (("mask", 1), [c])):
        want, _, _ = e3d_lstm_step(x, h, c, m, past, w)
        np.testing.assert_allclose(outputs[empty, tau][1], want, atol=ATOL)


def test_recall_of_all_steps_needs_their_number(rng):
    """Q4: `recall_steps=None` is a history as long as the sequence."""
    x = rng.standard_normal((2, 6, *MAP, 2))
    every, six = (st.SpatialRNN(make(recall_steps=n), return_sequences=True, dtype="float64") for n in (None, 6))
    every.build(x.shape)
    six.build(x.shape)
    randomise(every, rng)
    six.set_weights(every.get_weights())
    np.testing.assert_array_equal(numpy(every(x)), numpy(six(x)))
    with pytest.raises(ValueError, match="num_steps=None"):
        every.get_initial_state(2)


def test_streams_at_different_steps_share_a_batch(rng):
    """The count has a batch axis: a clip at its first step beside one at its fourth."""
    cell = make(recall_steps=3)
    cell.build((None, *MAP, 2))
    randomise(cell, rng)
    old, new = cell.get_initial_state(1), cell.get_initial_state(1)
    for _ in range(3):
        _, old = cell(rng.standard_normal((1, *MAP, 2)), old)
    x = rng.standard_normal((2, *MAP, 2))
    together, _ = cell(x, [ops.concatenate(pair) for pair in zip(old, new)])
    np.testing.assert_allclose(numpy(together[:1]), numpy(cell(x[:1], old)[0]), atol=ATOL)
    np.testing.assert_allclose(numpy(together[1:]), numpy(cell(x[1:], new)[0]), atol=ATOL)


@pytest.mark.parametrize("empty_slots", ["mask", "zeros"])
def test_a_stateful_layer_starts_and_restarts_as_a_plain_one(rng, empty_slots):
    """The count of states starts at 1 (or at the number of slots), not at 0; a second call goes on."""
    x = rng.standard_normal((2, 4, *MAP, 2))
    plain, stateful = (
        st.SpatialRNN(make(empty_slots=empty_slots), return_sequences=True, stateful=s, dtype="float64") for s in (0, 1)
    )
    plain.build(x.shape)
    stateful.build(x.shape)
    randomise(plain, rng)
    stateful.cell.set_weights(plain.cell.get_weights())
    whole = numpy(plain(x))
    np.testing.assert_allclose(numpy(stateful(x)), whole, atol=ATOL)
    assert np.abs(numpy(stateful(x)) - whole).max() > 1e-3
    stateful.reset_state()
    np.testing.assert_allclose(numpy(stateful(x[:, :3])), whole[:, :3], atol=ATOL)
    np.testing.assert_allclose(numpy(stateful(x[:, 3:])), whole[:, 3:], atol=ATOL)


def test_v5_1_one_position_recalls_itself(rng):
    """tau = T = H = W = 1: C' = i . g + LN(2 C) whatever r is."""
    cell = make(k=(1, 1, 1), recall_steps=1)
    cell.build((None, 1, 1, 1, 2))
    randomise(cell, rng)
    x, c = rng.standard_normal((4, 1, 1, 1, 2)), rng.standard_normal((4, 1, 1, 1, 3))
    h, m = rng.standard_normal((2, 4, 1, 1, 1, 3))
    _, states = cell(x, [h, c[:, None], np.ones(4, "int32"), m])
    w = reference_weights(cell)
    i = sigmoid(conv(x, w["x"]["i"]) + w["b_x"]["i"] + conv(h, w["h"]["i"]))
    g = np.tanh(conv(x, w["x"]["g"]) + w["b_x"]["g"] + conv(h, w["h"]["g"]))
    np.testing.assert_allclose(numpy(states[1])[:, -1], i * g + layer_norm(2 * c, w["cell_norm"]), atol=ATOL)


@pytest.mark.parametrize("norm, c, h", [(True, 0.380797, 0.475537), (False, 3.842914, 0.499975)])
def test_v5_3_hand_cell(norm, c, h):
    cell = make(1, (1, 1, 1), recall_steps=2, norm=norm)
    cell.build((None, 1, 1, 1, 1))
    cell.set_weights([np.zeros(w.shape) for w in cell.get_weights()])
    bias = np.zeros(7)
    bias[2] = 1.0  # of g
    cell.bias.assign(bias)
    cell.fuse_kernel.assign(np.ones((1, 1, 1, 2, 1)))
    if norm:
        cell.norms["cell"].gamma.assign([1.0])
    two, zero = np.full((1, 1, 1, 1, 1), 2.0), np.zeros((1, 1, 1, 1, 1))
    history = np.stack([zero, two], axis=1)
    output, states = cell(zero, [zero, history, np.full(1, 2, "int32"), two])
    assert numpy(states[1])[0, -1].item() == pytest.approx(c, abs=1e-6)
    assert numpy(states[-1]).item() == pytest.approx(1.462117, abs=1e-6)
    assert numpy(output).item() == pytest.approx(h, abs=1e-6)


def test_v5_4_without_recall_it_is_an_st_lstm_that_never_forgets(rng):
    """T = 1, kt = 1, no norm: ST-LSTM with b_f = +50."""
    cell = make(k=(1, 3, 5), recall_steps=0, norm=False)
    cell.build((None, 1, 5, 4, 2))
    randomise(cell, rng)
    cell.biases["fuse"].assign(np.zeros(3))
    other = st.STLSTMCell(2, 3, (3, 5), use_bias=True, dtype="float64")
    other.build((None, 5, 4, 2))
    kernel, recurrent, bias, memory, output, fuse = (w[0] if w.ndim == 5 else w for w in cell.get_weights()[:6])

    def with_forget(w, value):  # i, g, ... -> i, f, g, ...
        i, *rest = np.split(w, w.shape[-1] // 3, -1)
        return np.concatenate([i, np.full_like(i, value), *rest], -1)

    weights = [with_forget(kernel, 0), with_forget(recurrent, 0), with_forget(bias, 50.0), memory, output, fuse]
    other.set_weights(weights)
    x = rng.standard_normal((2, 5, 4, 2))
    states = rng.standard_normal((3, 2, 5, 4, 3))
    for _ in range(2):
        _, got = cell(x[:, None], [s[:, None] for s in states])
        _, states = other(x, states)
        for a, b in zip(got, states):
            np.testing.assert_allclose(numpy(a)[:, 0], numpy(b), atol=10 * ATOL)


def test_v5_5_a_memory_that_is_never_updated_stays_zero(rng):
    """Q1: outputs do not depend on the kernels of M, only on the biases of its gates."""
    x = rng.standard_normal((1, 4, *MAP, 2))
    for update in (False, True):
        stack = st.ZigZagStack([make(update_memory=update) for _ in range(2)])
        layer = st.SpatialRNN(stack, return_state=True, dtype="float64")
        layer.build(x.shape)
        randomise(layer, np.random.default_rng(3))
        before, *states = layer(x)
        for cell in stack.cells:
            cell.memory_kernel.assign(numpy(cell.memory_kernel) + 1.0)
        after, *_ = layer(x)
        changed = np.abs(numpy(after) - numpy(before)).max()
        assert (np.abs(numpy(states[-1])).max() > 0) == update
        assert changed > 1e-3 if update else changed == 0.0


@pytest.mark.parametrize(
    "variant, patch, expected",
    [("paper", 16, 12_069_392), ("released", 16, 12_898_832), ("released", 64, 13_980_224)],
)
def test_v5_6_counts_of_the_published_networks(monkeypatch, variant, patch, expected):
    sizes = []
    monkeypatch.setattr(keras.layers.Layer, "add_weight", lambda self, shape=(), **_: sizes.append(int(np.prod(shape))))
    stack = st.ZigZagStack([st.E3DLSTMCell(64, variant=variant) for _ in range(4)])
    stack.build((None, 2, 16, 16, patch))
    decoder = 2 * 64 * patch + patch
    assert sum(sizes) + decoder == expected
    k, d = 50, patch
    level = {"paper": lambda d: k * 64 * (7 * d + 9 * 64) + 2 * 64**2 + 10 * 64}.get(
        variant, lambda d: k * 64 * (7 * d + 10 * 64) + 2 * 64**2 + 50 * 64
    )
    assert sum(sizes) == level(d) + 3 * level(64)


def test_v5_10_the_released_output_gate_is_squashed_twice(rng):
    """Q3: o lies in (0.2689, 0.7311); the paper's in (0, 1)."""
    extremes = {}
    for variant in ("paper", "released"):
        cell = make(variant=variant, gate_norm=False)
        cell.build((None, *MAP, 2))
        randomise(cell, np.random.default_rng(5))
        cell.bias.assign(10 * np.sign(rng.standard_normal(cell.bias.shape)))
        cell.fuse_kernel.assign(np.zeros(cell.fuse_kernel.shape))
        cell.biases["fuse"].assign(np.full(3, 50.0))  # tanh = 1, so that H is o
        output, _ = cell(rng.standard_normal((2, *MAP, 2)), cell.get_initial_state(2))
        extremes[variant] = numpy(output).min(), numpy(output).max()
    low, high = sigmoid(np.array([-1.0, 1.0]))
    assert low - 1e-6 <= extremes["released"][0] and extremes["released"][1] <= high + 1e-6
    assert extremes["paper"][0] < 0.01 and extremes["paper"][1] > 0.99


def test_q6_epsilon_of_the_released_code_magnifies_gradients_of_constant_maps():
    """A map that is constant has no spread: its gradient through LN goes with epsilon^-1/2."""
    from tests.conformance.test_conformance import gradients

    sizes = []
    for epsilon in (1e-12, 1e-5):
        cell = make(recall_steps=0, norm_epsilon=epsilon)
        cell.build((None, *MAP, 2))
        zero, ramp = np.zeros((1, *MAP, 3)), np.arange(3.0 * np.prod(MAP)).reshape(1, *MAP, 3)
        c = keras.Variable(zero, dtype="float64")

        def loss(cell=cell, c=c, zero=zero, ramp=ramp):
            h = m = ops.convert_to_tensor(zero)
            _, states = cell.step(ops.zeros((1, *MAP, 18), "float64"), [h, c + 0, m])
            return ops.sum(states[1] * ops.convert_to_tensor(ramp))

        sizes.append(np.abs(gradients(loss, [c])[0]).max())
    assert sizes[0] / sizes[1] == pytest.approx(np.sqrt(1e-5 / 1e-12), rel=1e-3)


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"recall_steps": -1}, "recall_steps=-1"),
        ({"recall_steps": 2.5}, "recall_steps=2.5"),
        ({"recall_steps": True}, "recall_steps=True"),
        ({"variant": "openstl"}, "variant='openstl'"),
        ({"empty_slots": "skip"}, "empty_slots='skip'"),
        ({"eidetic_memory": True, "variant": "released"}, "variant='released'"),
        ({"eidetic_memory": True, "recall_steps": 0}, "recall_steps=0"),
        ({"norm_epsilon": 0.0}, "norm_epsilon=0.0"),
        ({"kernel_size": (5, 5)}, r"kernel_size=\(5, 5\)"),
        ({"filters": 0}, "filters=0"),
    ],
)
def test_bad_arguments_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        st.E3DLSTMCell(**{"filters": 3, **bad})


def test_use_bias_false_leaves_the_kernels_and_norms():
    cell = make(use_bias=False)
    cell.build((None, *MAP, 2))
    k = 2 * 3 * 5
    assert cell.count_params() == k * 3 * (7 * 2 + 9 * 3) + 2 * 9 + 2 * 3
