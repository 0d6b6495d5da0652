"""The recognition systems against the witnesses, on stored features; their counts in full (recognition B to F)."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.layers import FrameWise, LevelScores
from keras_st.models import ClipClassifier
from keras_st.specs import VIDEO, ClassifyTask, InputError
from keras_st.systems import beyond_short_snippets as snippets
from keras_st.systems import recipe
from keras_st.systems.gru_rcn import build_gru_rcn
from keras_st.systems.lrcn import build_lrcn
from keras_st.systems.multi_lstm import build_multi_lstm
from keras_st.systems.video_lstm import (
    build_alstm,
    build_conv_alstm,
    build_conv_lstm_classifier,
    build_fc_lstm_classifier,
    build_motion_alstm,
    build_video_lstm,
)
from keras_st.training.compile import compile_classifier
from pipelines.classify import view_batches
from pipelines.videos import in_memory
from tests.conformance.test_conformance import gradients
from tests.counting import parameters, without_memory
from tests.keras_st.layers.recurrent.test_attention_cells import weights_of
from tests.reference import recognition as witness

ONE, TWO = ("maps",), ("maps", "motion")
H, W, C, D, K, UNITS, HIDDEN = 3, 4, 2, 3, 3, 4, 5


def numpy(x):
    return keras.tree.map_structure(ops.convert_to_numpy, x)


def on_features(builder, streams, shapes, rng, frames=4, scale=0.5, **options):
    """A system on stored features, its weights random, and two clips of them."""
    task = ClassifyTask(clip_frames=frames, streams=streams, labels=options.pop("labels", "video"))
    model = builder(task, K, **options)
    model.build({name: (None, model.clip_frames, *shape) for name, shape in zip(streams, shapes)})
    model.set_weights([scale * rng.standard_normal(w.shape) for w in model.get_weights()])
    x = {name: rng.standard_normal((2, frames, *shape)).astype("float32") for name, shape in zip(streams, shapes)}
    return model, x


def inside(part):
    """The layers of a layer, the lowest first."""
    if isinstance(part, FrameWise):
        part = part.layer
    if isinstance(part, keras.Sequential | ClipClassifier | LevelScores):
        if isinstance(part, ClipClassifier):
            parts = [part.aggregator, part.head or part.dense]
        else:
            parts = part.layers if isinstance(part, keras.Sequential) else part.classifiers
        return [layer for each in parts for layer in inside(each)]
    return [part]


def weights_of_kind(part, kind):
    """Weights of every layer of that kind in it, the lowest first."""
    return [tuple(numpy(w) for w in layer.weights) for layer in inside(part) if type(layer) is kind]


def kernels(part):
    return weights_of_kind(part, keras.layers.Dense)


def lstm_of(rnn):
    names = ("kernel", "recurrent_kernel", "bias", "peephole")
    return dict(zip(names, (numpy(w) for w in rnn.cell.weights)))


def log_mean(logits):
    return np.log(witness.softmax(logits).mean(1))


# B7, C1, C3, D: counts


def total(builder, streams, shapes, frames=30, **options):
    """Parameters of a system with the paper's sizes, and of its aggregator and head."""
    with without_memory():
        model = builder(ClassifyTask(clip_frames=frames, streams=streams), **options)
        model.build({name: (None, frames, *shape) for name, shape in zip(streams, shapes)})
        return parameters(model), model


MAPS, FC7 = (7, 7, 512), (4096,)


@pytest.mark.parametrize(
    "builder, streams, shapes, options, count",
    [
        (build_conv_lstm_classifier, ONE, [MAPS], {}, 44_671_077),
        (build_conv_alstm, ONE, [MAPS], {}, 49_916_006),
        (build_video_lstm, TWO, [MAPS, MAPS], {"bottom_kernel_size": 1}, 53_589_094),
        (build_video_lstm, TWO, [MAPS, MAPS], {}, 78_754_918),
        (build_alstm, ONE, [MAPS], {"num_layers": 1}, 3_778_662),
        (build_motion_alstm, TWO, [MAPS, FC7], {}, 18_461_798),
        (build_fc_lstm_classifier, ONE, [FC7], {}, 10_068_069),
    ],
)
def test_b7_counts(builder, streams, shapes, options, count):
    assert total(builder, streams, shapes, classes=101, **options)[0] == count


def test_b7_counts_of_the_parts():
    _, model = total(build_conv_alstm, ONE, [MAPS], classes=101)
    cell = model.aggregator.cell
    assert parameters(cell.cells[0]) == 18_876_416 and parameters(cell.attention) == 525_313
    initial = [*cell.initial_kernels, *cell.initial_biases]
    assert sum(int(np.prod(w.shape)) for w in initial) == 4_719_616
    assert parameters(model.head) == 25_794_661


def test_c1_counts():
    """LRCN with its network of frames; one of 1,024 units."""
    with without_memory():
        task = ClassifyTask(clip_frames=16, resize=(240, 320), crop=(227, 227))
        model = build_lrcn(task, 101, backbone="caffenet")
        model.build({"video": (None, 16, 227, 227, 3)})
        parts = parameters(model.backbone), parameters(model.aggregator), parameters(model.dense)
        assert parts == (60_937_856, 4_457_472, 25_957) and parameters(model) == 65_421_285
    _, model = total(build_lrcn, ONE, [FC7], 16, classes=101, units=1024)
    assert (parameters(model.aggregator), parameters(model.dense)) == (20_975_616, 103_525)


def test_c3_counts():
    _, model = total(snippets.build_snippet_lstm, ONE, [FC7], 120, classes=487)
    assert (parameters(model.aggregator), parameters(model.dense)) == (17_843_712, 249_831)


@pytest.mark.parametrize("stacked, more", [(False, 0), (True, 2_179_072)])
def test_d_counts(stacked, more):
    streams = ("pool2", "pool3", "pool4", "pool5", "fc7")
    shapes = [(56, 56, 128), (28, 28, 256), (14, 14, 512), MAPS, FC7]
    count, model = total(build_gru_rcn, streams, shapes, 10, classes=101, stacked=stacked)
    assert parameters(model.head) == 123_321 and count == 19_353_600 + 123_321 + more


# B2, E: VideoLSTM and what it is compared with


def through_the_head(hidden, model):
    """Flattened, tanh, dense at every step; the log of the mean of the probabilities."""
    (w1, b1), (w2, b2) = kernels(model.head)
    steps = np.tanh(hidden.reshape(*hidden.shape[:2], -1) @ w1 + b1) @ w2 + b2
    return {"step_logits": steps, "logits": log_mean(steps)}


def first_states(cell, x):
    """As the spec has them, from what each cell reads."""
    states = []
    for n, kernel_bias in enumerate(zip(map(numpy, cell.initial_kernels), map(numpy, cell.initial_biases))):
        source = x["motion"] if n == len(cell.cells) else x["maps"]
        (joined,) = witness.mean_initial_state(source, [kernel_bias])
        states += np.split(joined, 2, axis=-1)
    return states


SYSTEMS = {
    "alstm": (build_alstm, ONE, {"units": UNITS, "num_layers": 2}),
    "conv_alstm": (build_conv_alstm, ONE, {"filters": UNITS}),
    "motion_alstm": (build_motion_alstm, TWO, {"units": UNITS}),
    "video_lstm": (build_video_lstm, TWO, {"filters": UNITS, "bottom_kernel_size": 1}),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_b2_attending_systems_equal_the_witness(rng, name):
    builder, streams, options = SYSTEMS[name]
    shapes = [(H, W, C), (D,) if name == "motion_alstm" else (H, W, D)][: len(streams)]
    model, x = on_features(builder, streams, shapes, rng, hidden=HIDDEN, **options)
    cell = model.aggregator.cell
    weights, first = weights_of(cell), first_states(cell, x)
    if name == "alstm":
        hidden, maps = witness.alstm(x["maps"], weights, list(zip(first[::2], first[1::2])), 2)
    elif name == "conv_alstm":
        hidden, maps = witness.conv_alstm(x["maps"], weights, first)
    else:
        steered = witness.motion_alstm if name == "motion_alstm" else witness.motion_conv_alstm
        hidden, maps, _ = steered(x["maps"], x["motion"], weights, first)
    got, want = numpy(model(x)), {"attention": maps[..., None], **through_the_head(hidden, model)}
    assert got.keys() == want.keys()
    for key, value in want.items():
        np.testing.assert_allclose(got[key], value, atol=1e-5)


def test_b2_systems_without_attention_equal_the_witness(rng):
    model, x = on_features(build_fc_lstm_classifier, ONE, [(D,)], rng, units=UNITS, hidden=HIDDEN)
    hidden, _ = witness.peephole_lstm(x["maps"], {**lstm_of(model.aggregator), "peephole": np.zeros(3 * UNITS)})
    np.testing.assert_allclose(numpy(model(x)["logits"]), through_the_head(hidden, model)["logits"], atol=1e-5)
    model, x = on_features(build_conv_lstm_classifier, ONE, [(H, W, C)], rng, filters=UNITS, hidden=HIDDEN)
    weights, h, steps = lstm_of(model.aggregator), np.zeros((2, H, W, UNITS)), []
    c = h
    for t in range(4):
        h, c = witness.conv_lstm_step(x["maps"][:, t].astype("float64"), h, c, weights)
        steps.append(h)
    want = through_the_head(np.stack(steps, axis=1), model)
    np.testing.assert_allclose(numpy(model(x)["logits"]), want["logits"], atol=1e-5)


# C1: LRCN


def test_c1_one_frame_is_the_frame_network_through_one_step(rng):
    """From zeros: h = o tanh(i g); recurrent weights have no say."""
    model, x = on_features(build_lrcn, ONE, [(D,)], rng, frames=1, units=UNITS)
    w, (kernel, bias) = lstm_of(model.aggregator), kernels(model)[-1]
    a_i, _, a_g, a_o = np.split(x["maps"][:, 0] @ w["kernel"] + w["bias"], 4, axis=-1)
    h = witness.logistic(a_o) * np.tanh(witness.logistic(a_i) * np.tanh(a_g))
    np.testing.assert_allclose(numpy(model(x)["logits"]), log_mean((h @ kernel + bias)[:, None]), atol=1e-5)


def test_c1_equals_the_witness_and_sees_order_only_through_its_state(rng):
    """Frames permuted: another score; reset at every step, as the mean of single frames, the same."""
    model, x = on_features(build_lrcn, ONE, [(D,)], rng, frames=5, units=UNITS)
    kernel, bias = kernels(model)[-1]
    hidden, _ = witness.peephole_lstm(x["maps"], {**lstm_of(model.aggregator), "peephole": np.zeros(3 * UNITS)})
    outputs = numpy(model(x))
    np.testing.assert_allclose(outputs["step_logits"], hidden @ kernel + bias, atol=1e-5)
    np.testing.assert_allclose(outputs["logits"], log_mean(hidden @ kernel + bias), atol=1e-5)
    permuted = {"maps": x["maps"][:, [3, 0, 4, 1, 2]]}
    assert np.abs(numpy(model(permuted)["logits"]) - outputs["logits"]).max() > 1e-3

    def frame_by_frame(clips):
        logits = numpy(model({"maps": clips["maps"].reshape(10, 1, D)})["logits"])
        return witness.softmax(logits).reshape(2, 5, K).mean(1)

    np.testing.assert_allclose(frame_by_frame(permuted), frame_by_frame(x), atol=1e-6)


def test_c1_ten_crops_of_a_constant_image_score_alike():
    task = ClassifyTask(clip_frames=3, crop=(16, 16), test_crops=10)
    clips = in_memory([np.full((5, 20, 24, 3), 90, np.uint8)], [0], ["v"], shuffle=False, epoch=0, seed=0)
    spec = dataclasses.replace(VIDEO, shape=(None, 20, 24, 3))
    ((views, _),) = view_batches(clips, (spec,), task, 1).as_numpy_iterator()
    assert views["video"].shape == (1, 10, 3, 16, 16, 3)
    keras.utils.set_random_seed(0)
    model = build_lrcn(task, K, units=UNITS, width=2)
    scores = model.predict({"video": views["video"][0]}, verbose=0)["logits"]
    np.testing.assert_allclose(scores, np.repeat(scores[:1], 10, axis=0), atol=1e-6)


# C2: five ways to pool

POOLS = {
    "conv": (snippets.build_conv_pooling, witness.bss_conv),
    "late": (snippets.build_late_pooling, witness.bss_late),
    "slow": (snippets.build_slow_pooling, witness.bss_slow),
    "local": (snippets.build_local_pooling, witness.bss_local),
    "time-domain": (snippets.build_time_domain_conv, witness.bss_time_domain),
}


def pooled(name, rng, frames, shape=(H, W, C), **options):
    if name == "time-domain":
        options = {"filters": 3, **options}
    return on_features(POOLS[name][0], ONE, [shape], rng, frames, 1.0, units=UNITS, **options)


@pytest.mark.parametrize("frames", [7, 10, 22])
@pytest.mark.parametrize("name", POOLS)
def test_c2_pooling_equals_the_witness(rng, name, frames):
    model, x = pooled(name, rng, frames)
    got, layers = numpy(model(x)["logits"]), kernels(model)
    for n, clip in enumerate(x["maps"]):
        if name == "time-domain":
            (convolution,) = weights_of_kind(model, keras.layers.Conv3D)
            clip = np.concatenate([clip, np.repeat(clip[-1:], max(0, 10 - frames), axis=0)])
            want = witness.bss_time_domain(clip, convolution, layers)
        else:
            want = POOLS[name][1](clip, layers)
        np.testing.assert_allclose(got[n], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", POOLS)
def test_c2_what_is_blind_to_order(rng, name):
    """Conv and late to any, slow to a clip played backwards where T - 10 is a multiple of 5, the others to neither."""
    model, x = pooled(name, rng, 20)
    score = numpy(model(x)["logits"])

    def changed(frames):
        return np.abs(numpy(model({"maps": frames})["logits"]) - score).max()

    permuted, reversed_ = changed(x["maps"][:, rng.permutation(20)]), changed(x["maps"][:, ::-1])
    blind = {"conv": (True, True), "late": (True, True), "slow": (False, True)}.get(name, (False, False))
    assert (permuted < 1e-4, reversed_ < 1e-4) == blind
    assert max(permuted if not blind[0] else 1, reversed_ if not blind[1] else 1) > 1e-2


@pytest.mark.parametrize("name", ["conv", "late", "slow"])
def test_c2_identical_frames_are_the_single_frame(rng, name):
    model, x = pooled(name, rng, 22)
    still = np.repeat(x["maps"][:, :1], 22, axis=1)
    single = [witness.bss_conv(clip[:1], kernels(model)) for clip in still]
    np.testing.assert_allclose(numpy(model({"maps": still})["logits"]), single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frames, windows", [(30, 5), (120, 23)])
def test_c2_the_local_classifier_has_rows_for_every_window(frames, windows):
    _, model = total(snippets.build_local_pooling, ONE, [(2, 2, 8)], frames, classes=487)
    assert model.dense.kernel.shape == (windows * 4096, 487)


def test_c2_time_kernel_of_one_is_the_reduction_of_the_lecture(rng):
    model, x = pooled("time-domain", rng, 6, time_kernel=(1, 1, 1), time_stride=1)
    (convolution,) = weights_of_kind(model, keras.layers.Conv3D)
    for got, clip in zip(numpy(model(x)["logits"]), x["maps"]):
        want = witness.bss_time_domain(clip, convolution, kernels(model), stride=1)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


# C3: the deep LSTM


@pytest.mark.parametrize("aggregation", ["last", "max", "probabilities", "linear"])
def test_c3_the_deep_lstm_equals_the_witness(rng, aggregation):
    options = {"units": UNITS, "num_layers": 3, "aggregation": aggregation}
    model, x = on_features(snippets.build_snippet_lstm, ONE, [(D,)], rng, 5, **options)
    levels = [lstm_of(rnn) for rnn in model.aggregator.layers]
    assert len(levels) == 3 and all("peephole" in level for level in levels)
    hidden, _ = witness.stacked_peephole_lstm(x["maps"], levels)
    kernel, bias = kernels(model)[-1]
    steps, outputs = hidden @ kernel + bias, numpy(model(x))
    np.testing.assert_allclose(outputs["step_logits"], steps, atol=1e-5)
    want = np.log(witness.aggregate(witness.softmax(steps), {"probabilities": "mean"}.get(aggregation, aggregation)))
    got = outputs["logits"]
    if aggregation == "last":
        got = np.log(witness.softmax(got))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_c3_the_gain_grows_along_the_steps(rng):
    model, x = on_features(snippets.build_snippet_lstm, ONE, [(D,)], rng, 5, units=UNITS, num_layers=1)
    compile_classifier(model, recipe("snippet_lstm").training, 1)
    labels = np.array([2, 0])
    outputs = model(x)
    targets = dict.fromkeys(model.returned, labels)
    loss = float(model.compute_loss(x, targets, outputs))
    p = witness.softmax(numpy(outputs["step_logits"]))
    assert loss == pytest.approx(witness.gain_weighted_loss(p, labels).mean(), rel=1e-4)
    assert abs(loss - witness.mean_loss(p, labels).mean()) > 1e-3


# D, F


def test_d_scores_are_the_mean_of_the_levels_probabilities(rng):
    options = {"filters": (3, 4), "stacked": True}
    model, x = on_features(build_gru_rcn, TWO, [(4, 6, C), (D,)], rng, **options)
    weights = [{w.name: numpy(w) for w in rnn.cell.weights} for rnn in model.aggregator.rnns]
    low = witness.gru_rcn_level(x["maps"], None, weights[0])
    above = witness.adaptive_max_pool(low, (1, 1))
    high = witness.gru_rcn_level(x["motion"][:, :, None, None], above, weights[1])
    levels = zip((low, high), kernels(model.head))
    p = [witness.softmax(h[:, -1].mean((1, 2)) @ kernel + bias) for h, (kernel, bias) in levels]
    np.testing.assert_allclose(numpy(model(x)["logits"]), np.log(np.mean(p, axis=0)), atol=1e-5)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_f_multi_lstm_equals_the_witness(rng, average):
    options = {"units": UNITS, "window": 3, "attention_units": 2, "average": average, "labels": "frames"}
    model, x = on_features(build_multi_lstm, ONE, [(D,)], rng, 6, **options)
    cell = model.aggregator.cell
    kernel, vector = numpy(cell.scorer.kernel), numpy(cell.scorer.vector)
    score = {"wh": kernel[:UNITS], "wv": kernel[UNITS:], "w": vector[:, 0]}
    lstm = dict(zip(("kernel", "recurrent_kernel", "bias"), (numpy(w) for w in cell.lstm.weights)))
    hidden, attention = witness.multi_lstm(x["maps"], {"attention": score, "lstm": lstm}, 3)
    ((kernel, bias),) = kernels(model.head)
    o, outputs = hidden @ kernel + bias, numpy(model(x))
    if average == "logits":
        want = witness.overlap_average(o, 3)
    else:
        p = witness.overlap_average(witness.logistic(o), 3)
        want = np.log(p) - np.log(1 - p)
    np.testing.assert_allclose(outputs["logits"], want, atol=1e-4)
    np.testing.assert_allclose(outputs["attention"], attention, atol=1e-5)


def test_f_the_ablations(rng):
    """LSTM: a window of 1. + i: uniform. + a: attention, its own label alone. All of it: `outputs`."""
    counts = {}
    for name, options in {
        "lstm": {"window": 1, "attention": False},
        "i": {"window": 3, "attention": False, "outputs": False},
        "a": {"window": 3, "attention_units": 2, "outputs": False},
        "o": {"window": 3, "attention_units": 2},
    }.items():
        model, _ = on_features(build_multi_lstm, ONE, [(D,)], rng, units=UNITS, labels="frames", **options)
        counts[name] = model.count_params()
    base = 4 * UNITS * (D + UNITS + 1) + (UNITS + 1) * K
    score = 2 * (UNITS + D + 1)
    assert counts == {"lstm": base, "i": base, "a": base + score, "o": base + score + 2 * (UNITS + 1) * K}


# Every system, whole

NEW = (
    *("alstm", "conv_alstm", "conv_lstm_classifier", "fc_lstm_classifier", "motion_alstm", "video_lstm", "lrcn"),
    *("conv_pooling", "late_pooling", "slow_pooling", "local_pooling", "time_domain_conv", "snippet_lstm"),
    *("gru_rcn", "stacked_gru_rcn", "bidirectional_gru_rcn", "multi_lstm"),
)


@pytest.mark.parametrize("name", NEW)
def test_every_weight_of_a_system_is_trained_and_saved(rng, name, tmp_path):
    made = recipe(name).tiny()
    task = dataclasses.replace(made.task, clip_frames=12, resize=(16, 24), crop=None)
    keras.utils.set_random_seed(0)
    model = dataclasses.replace(made, task=task).build()
    x = {s: rng.random((2, 12, 16, 24, 2 if s == "flow" else 3)).astype("float32") for s in task.streams}
    outputs = model(x)
    compile_classifier(model, made.training, 10)
    labels = np.array([1, 0]) if task.labels == "video" else rng.integers(0, 2, outputs["logits"].shape)
    targets = dict.fromkeys(model.returned, labels)

    def loss():
        return model.compute_loss(x, targets, model(x, training=True))

    for weight, gradient in zip(model.trainable_variables, gradients(loss, model.trainable_variables)):
        assert gradient is not None and np.isfinite(gradient).all(), weight.path
        blind = weight.name == "offset"  # softmax does not see it
        assert blind or np.abs(gradient).max() > 0, weight.path
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")(x)
    for key, value in numpy(outputs).items():
        np.testing.assert_allclose(numpy(again[key]), value, atol=1e-5)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: build_video_lstm(ClassifyTask(), K), "streams=['video']"),
        (lambda: build_motion_alstm(ClassifyTask(), K), "streams=['video']"),
        (lambda: build_multi_lstm(ClassifyTask(), K), 'labels="video"'),
        (lambda: build_lrcn(ClassifyTask(crop=(16, 16)), K, fine_tune=False), "fine_tune=False"),
        (lambda: build_lrcn(ClassifyTask(crop=(16, 16)), K, backbone="vgg16", weights="imagenet"), "centred"),
        (lambda: build_alstm(ClassifyTask(crop=(16, 16)), K, score="cosine"), "score='cosine'"),
        (lambda: snippets.build_snippet_lstm(ClassifyTask(crop=(16, 16)), K, aggregation="median"), "average='median'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(make, word):
    with pytest.raises((InputError, ValueError), match="Received") as error:
        make()
    assert word in str(error.value) and "\n" not in str(error.value)
