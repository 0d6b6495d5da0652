"""Systems of YouTube-8M against their witnesses (recognition G2, G3, G7)."""

import inspect

import keras
import numpy as np
import pytest

from keras_st.models import ClipClassifier
from keras_st.specs import ClassifyTask, InputError, Recipe
from keras_st.systems import youtube8m as systems
from tests.conformance.test_conformance import gradients
from tests.keras_st.layers.recurrent.test_conv_lstm import numpy, randomise
from tests.keras_st.layers.recurrent.test_fast_forward import chain_of
from tests.keras_st.layers.test_frame_bag import BAGS, deep_weights, lstm_weights, padded, videos, weights_of
from tests.keras_st.layers.test_mixture import counts, norm_of, randomise_norms
from tests.keras_st.models.test_temporal_resnet import weights_of as network_weights
from tests.reference import youtube8m as witness
from tests.reference.recurrent import sigmoid

T, V, SIZES = 6, 3, {"rgb": 5, "audio": 4}
LENGTHS = (3, T, 1)
FRAMES, MEANS = ClassifyTask(streams=("rgb", "audio")), ClassifyTask(streams=("mean_rgb", "mean_audio"))
TENSORFLOW = keras.backend.backend() == "tensorflow"
ATOL = 1e-6 if TENSORFLOW else 1e-4  # logits are float32

SMALL = {
    systems.build_yt8m_logistic: {},
    systems.build_yt8m_moe: {},
    systems.build_yt8m_dbof: {"clusters": 7, "units": 4, "sample_frames": 4},
    systems.build_yt8m_lstm: {"units": 4},
    systems.build_yt8m_netvlad: {"clusters": 4, "units": 5, "sample_frames": 5},
    systems.build_yt8m_two_stream: {"units": 3, "embedding": 4, "hidden": (6, 5)},
    systems.build_yt8m_fast_forward: {"units": 3, "hidden": (6, 5)},
    systems.build_yt8m_temporal_resnet: {"frames": 32, "width": 4, "blocks": 1, "units": 5},
}


@pytest.fixture
def double():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def built(builder, rng, task=FRAMES, scale=0.5, **options):
    model = builder(task, classes=V, **{**SMALL[builder], **options})
    means = task is MEANS
    model.build({s: (None, n) if means else (None, None, n) for s, n in zip(task.streams, SIZES.values())})
    if scale:
        randomise(model, rng, scale)
    randomise_norms(model, rng)
    return model


def clips(rng, lengths=LENGTHS):
    """Two streams of every video."""
    return {name: videos(rng, lengths, size) for name, size in SIZES.items()}


def batch(streams, length=T, filler=7.0):
    inputs = {name: padded(own, length, filler)[0] for name, own in streams.items()}
    return {**inputs, "length": np.array([len(video) for video in streams["rgb"]], "int32")}


def joined(streams, normalise=True):
    frames = [np.concatenate(pair, axis=-1) for pair in zip(*streams.values())]
    return [witness.unit(x) for x in frames] if normalise else frames


def dense(layer, x):
    kernel, *bias = layer.get_weights()
    return x @ kernel + (bias[0] if bias else 0.0)


def assert_logits(model, inputs, want, probabilities=False):
    got = numpy(model(inputs)["logits"])
    assert got.dtype == np.float32
    np.testing.assert_allclose(sigmoid(got) if probabilities else got, want, atol=ATOL * max(1.0, np.abs(want).max()))


# Against the witnesses


@pytest.mark.usefixtures("double")
def test_logistic_of_frames_and_of_videos(rng):
    model, streams = built(systems.build_yt8m_logistic, rng), clips(rng)
    means = np.stack([x.mean(0) for x in joined(streams)])
    assert_logits(model, batch(streams), dense(model.head, means))
    assert_logits(model, batch(streams, filler=0.0), dense(model.head, means))
    model = built(systems.build_yt8m_logistic, rng, MEANS)
    whole = {f"mean_{name}": np.stack([x.mean(0) for x in own]) for name, own in streams.items()}
    assert_logits(model, whole, dense(model.head, witness.unit(np.concatenate(list(whole.values()), -1))))


@pytest.mark.usefixtures("double")
def test_moe_of_frames_and_of_videos(rng):
    model, streams = built(systems.build_yt8m_moe, rng, experts=3), clips(rng)
    means = np.stack([x.mean(0) for x in joined(streams)])
    assert_logits(model, batch(streams), witness.mixture(means, *model.head.get_weights(), 3), True)
    model = built(systems.build_yt8m_moe, rng, MEANS)
    whole = {f"mean_{name}": np.stack([x.mean(0) for x in own]) for name, own in streams.items()}
    unit = witness.unit(np.concatenate(list(whole.values()), -1))
    assert_logits(model, whole, witness.mixture(unit, *model.head.get_weights(), 2), True)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("sample", [None, 4])
def test_dbof(rng, sample):
    model, streams = built(systems.build_yt8m_dbof, rng, sample_frames=sample), clips(rng)
    frames = joined(streams)
    if sample:
        frames = [x[witness.evenly_spaced(len(x), sample)] for x in frames]
    bag = witness.deep_bag(frames, deep_weights(model.aggregator.parts[-1]))
    assert_logits(model, batch(streams), witness.mixture(bag, *model.head.get_weights(), 2), True)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("states", ["top", "every"])
def test_lstm(rng, cell, states):
    model, streams = built(systems.build_yt8m_lstm, rng, cell=cell, states=states), clips(rng)
    ends = []
    for h in joined(streams):
        own = []
        for rnn in model.aggregator.parts[-1].rnns:
            w = lstm_weights(rnn)
            gates = h @ w["kernel"]
            h = witness.recurrent(gates, w, cell)
            own.append(h[-1])
            if cell == "lstm":  # the last cell from one more step of the equations
                c = np.zeros(4)
                for t in range(len(h)):
                    before = h[t - 1] if t else np.zeros(4)
                    c = witness.lstm_step(gates[t] + w["bias"] + before @ w["recurrent"], c, w["peephole"])[1]
                own.append(c)
        ends.append(np.concatenate(own) if states == "every" else h[-1])
    assert_logits(model, batch(streams), witness.mixture(np.stack(ends), *model.head.get_weights(), 2), True)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("pooling", ["net_vlad", "net_rvlad", "net_fv", "soft_dbow", "gated_dbof"])
@pytest.mark.parametrize("relu, gates", [(False, True), (True, False)])
def test_netvlad_and_kin(rng, pooling, relu, gates):
    options = {"clusters": 16, "relu": relu, "gating": gates, "probability_gating": gates}
    model, streams = built(systems.build_yt8m_netvlad, rng, pooling=pooling, **options), clips(rng)
    norm = norm_of(model.aggregator.parts[-1])
    frames = [witness.normalised(x[witness.evenly_spaced(len(x), 5)], norm) for x in joined(streams)]
    rgb, audio = model.aggregator.apart
    assert (rgb.clusters, audio.clusters) == (16, 2 if pooling in ("soft_dbow", "gated_dbof") else 8)
    parts = [([x[:, :5] for x in frames], rgb), ([x[:, 5:] for x in frames], audio)]
    x = np.concatenate([BAGS[type(bag)](own, weights_of(bag)) for own, bag in parts], axis=-1)
    head = list(model.head.parts)
    x = dense(head.pop(0), x)
    if relu:
        x = np.clip(witness.normalised(x, norm_of(head.pop(0))), 0, 6)
        head.pop(0)
    if gates:
        gating = head.pop(0)
        x = witness.gated(x, numpy(gating.kernel), norm_of(gating.norm))
    x = witness.mixture(x, *head.pop(0).get_weights(), 2)
    if gates:
        gating = head.pop(0)
        x = witness.gated(x, numpy(gating.kernel), norm_of(gating.norm))
    assert not head
    assert_logits(model, batch(streams), x, True)


def head_weights(model):
    return [tuple(part.get_weights()) for part in model.head.parts if part.weights]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("cell, peephole", [("lstm", True), ("lstm", False), ("gru", True)])
def test_two_stream(rng, cell, peephole):
    model, streams = built(systems.build_yt8m_two_stream, rng, cell=cell, peephole=peephole), clips(rng)
    branches = []
    for branch in model.aggregator.apart:
        embed, both, _, attention = branch.parts
        w = dict(zip(("embed", "embed_bias"), embed.get_weights()))
        w.update(zip(("forward", "backward"), map(lstm_weights, both.rnns)), vector=numpy(attention.vector)[:, 0])
        branches.append(w)
    want = witness.two_stream(list(zip(*streams.values())), branches, head_weights(model), cell)
    assert_logits(model, batch(streams), want)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_fast_forward_of_two_chains(rng, cell):
    model, streams = built(systems.build_yt8m_fast_forward, rng, cell=cell, depth=3), clips(rng)
    recurrent, attention = model.aggregator.parts
    vectors = []
    for x in joined(streams, normalise=False):
        h = np.concatenate([chain_of(recurrent, x, chain)[1] for chain in (0, 1)], axis=-1)
        vectors.append(witness.attended(h, numpy(attention.vector)[:, 0])[0])
    assert_logits(model, batch(streams), [witness.dense_head(x, head_weights(model)) for x in vectors])


@pytest.mark.usefixtures("double")
def test_fast_forward_of_seven_levels_as_released(rng):
    """Maxima over time of h^7 and a^7, linear, linear."""
    options = {"preset": "offline_depth7_release", "hidden": (4,)}
    model, streams = built(systems.build_yt8m_fast_forward, rng, **options), clips(rng)
    recurrent = model.aggregator.parts[0]
    assert (recurrent.depth, recurrent.chains) == (7, 1) and recurrent.activation is keras.activations.relu
    vectors = []
    for x in joined(streams, normalise=False):
        path, h = chain_of(recurrent, x)
        vectors.append(np.concatenate([h.max(0), path.max(0)]))
    (w1, b1), (w2, b2) = head_weights(model)
    assert_logits(model, batch(streams), (np.stack(vectors) @ w1 + b1) @ w2 + b2)


@pytest.mark.usefixtures("double")
def test_temporal_resnet(rng):
    model, streams = built(systems.build_yt8m_temporal_resnet, rng), clips(rng)
    (network,) = model.aggregator.parts
    x = witness.temporal_resnet(joined(streams, normalise=False), network_weights(network), 32)
    (w1, b1), (w2, b2) = head_weights(model)
    assert_logits(model, batch(streams), (x @ w1 + b1) @ w2 + b2)


# Counts (G2, G3), from shapes alone


def full(monkeypatch, builder, classes, **options):
    shapes = {"rgb": (None, None, 1024), "audio": (None, None, 128)}
    return counts(monkeypatch, builder(FRAMES, classes=classes, **options), shapes)


def test_g2_counts(monkeypatch):
    assert full(monkeypatch, systems.build_yt8m_logistic, 3862)[1] == 1152 * 3862 + 3862
    assert full(monkeypatch, systems.build_yt8m_moe, 3862)[1] == 1152 * 3862 * 5 + 2 * 3862
    assert full(monkeypatch, systems.build_yt8m_dbof, 3862)[0] == 37_627_692
    assert full(monkeypatch, systems.build_yt8m_lstm, 3862)[1] == 17_309_696 + 19_781_164
    options = {"probability_gating": False}
    assert full(monkeypatch, systems.build_yt8m_netvlad, 3862, **options)[0] == 286_824_448 + 19_781_164
    gates = 3862**2 + 2 * 3862
    assert full(monkeypatch, systems.build_yt8m_netvlad, 3862)[0] == 286_824_448 + 19_781_164 + gates


def test_g3_counts(monkeypatch):
    builder, fast = systems.build_yt8m_two_stream, systems.build_yt8m_fast_forward
    assert full(monkeypatch, builder, 4716, peephole=False)[1] == 112_219_756
    assert full(monkeypatch, builder, 4716)[1] == 112_219_756 + 12_288
    assert full(monkeypatch, builder, 4716, cell="gru")[1] == 112_219_756 - 4 * 1024 * (512 + 1024 + 1)
    assert full(monkeypatch, fast, 4716)[1] == 68_202_496 + 69_667_436
    assert full(monkeypatch, fast, 4716, preset="offline_depth7_release")[1] == 41_196_032 + 14_908_012
    assert full(monkeypatch, systems.build_yt8m_temporal_resnet, 4716) == (155_057_260, 155_129_452)


# Masks, order, gradients, files

builders = pytest.mark.parametrize("builder", SMALL, ids=lambda builder: builder.__name__)


@builders
def test_g7_3_padding_changes_no_score(builder, rng):
    """Neither what it holds nor how long it is; a video alone scores as it does beside longer ones."""
    model, streams = built(builder, rng), clips(rng)
    want = numpy(model(batch(streams))["logits"])
    for inputs in (batch(streams, filler=-3.0), batch(streams, 11)):
        np.testing.assert_allclose(numpy(model(inputs)["logits"]), want, atol=1e-4)
    for n in range(len(LENGTHS)):
        alone = {name: own[n][None] for name, own in streams.items()}
        np.testing.assert_allclose(numpy(model(alone)["logits"])[0], want[n], atol=1e-4)


@builders
def test_a_video_without_frames_scores_finitely_whatever_its_padding(builder, rng):
    model, streams = built(builder, rng), clips(rng, (0, 4))
    one, other = (numpy(model(batch(streams, filler=filler))["logits"]) for filler in (0.0, 5.0))
    assert np.isfinite(one).all()
    np.testing.assert_allclose(one, other, atol=1e-5)


@builders
def test_who_sees_the_order_of_frames(builder, rng):
    blind = builder.__name__.removeprefix("build_yt8m_") in ("logistic", "moe", "dbof", "netvlad")
    every = {"sample_frames": None} if "sample_frames" in inspect.signature(builder).parameters else {}
    model, inputs = built(builder, rng, **every), batch(clips(rng, (T, T)))
    backwards = {name: x[:, ::-1] if x.ndim == 3 else x for name, x in inputs.items()}
    difference = np.abs(numpy(model(inputs)["logits"]) - numpy(model(backwards)["logits"])).max()
    assert difference < 1e-5 if blind else difference > 1e-3


@builders
def test_both_streams_count(builder, rng):
    model, inputs = built(builder, rng), batch(clips(rng))
    want = numpy(model(inputs)["logits"])
    for name in SIZES:
        # not a multiple: unit vectors would not show it
        changed = {**inputs, name: inputs[name] + np.linspace(-1, 1, inputs[name].shape[-1])}
        assert np.abs(numpy(model(changed)["logits"]) - want).max() > 1e-4


@builders
@pytest.mark.parametrize("names", [("rgb",), ("audio", "rgb", "text")])
def test_any_number_of_streams(builder, rng, names):
    model = builder(ClassifyTask(streams=names), classes=V, **SMALL[builder])
    shapes = {name: (None, None, 3 + n) for n, name in enumerate(names)}
    model.build(shapes)
    inputs = {name: rng.standard_normal((2, T, shape[-1])) for name, shape in shapes.items()}
    assert model(inputs)["logits"].shape == (2, V)


@builders
def test_every_weight_gets_a_gradient(builder, rng):
    model, inputs = built(builder, rng, scale=0), batch(clips(rng, (3, T, 1, 5)))
    model.set_weights([w + 0.3 * rng.standard_normal(w.shape).astype(w.dtype) for w in model.get_weights()])
    randomise_norms(model, rng)
    target = keras.ops.convert_to_tensor(rng.integers(0, 2, (4, V)), "float32")

    def loss():
        logits = model(inputs, training=True)["logits"]
        return keras.ops.mean(keras.ops.binary_crossentropy(target, logits, from_logits=True))

    weights = model.trainable_variables
    for weight, gradient in zip(weights, gradients(loss, weights)):
        assert gradient is not None and np.abs(gradient).max() > 0, weight.path


@builders
def test_saved_and_loaded_it_scores_the_same(builder, rng, tmp_path):
    model, inputs = built(builder, rng), batch(clips(rng))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again, ClipClassifier) and again.count_params() == model.count_params()
    np.testing.assert_allclose(numpy(again(inputs)["logits"]), numpy(model(inputs)["logits"]), atol=1e-6)
    np.testing.assert_allclose(model.predict(inputs, verbose=0)["logits"], numpy(model(inputs)["logits"]), atol=1e-5)


# Options

CHANGES = [  # what changes the scores of a model of the same random weights, or else its size
    (systems.build_yt8m_dbof, {"pooling": "mean"}),
    (systems.build_yt8m_dbof, {"activation": "relu6"}),
    (systems.build_yt8m_dbof, {"sample_frames": 2}),
    (systems.build_yt8m_lstm, {"sample_frames": 2}),
    (systems.build_yt8m_netvlad, {"sample_frames": 2}),
    (systems.build_yt8m_netvlad, {"sample_frames": None}),
    (systems.build_yt8m_fast_forward, {"path_rate": 0.5}),
]
SIZES_CHANGE = [
    (systems.build_yt8m_moe, {"experts": 3}),
    (systems.build_yt8m_dbof, {"clusters": 9}),
    (systems.build_yt8m_dbof, {"units": 9}),
    (systems.build_yt8m_dbof, {"experts": 3}),
    (systems.build_yt8m_lstm, {"units": 5}),
    (systems.build_yt8m_lstm, {"num_layers": 3}),
    (systems.build_yt8m_lstm, {"cell": "gru"}),
    (systems.build_yt8m_lstm, {"states": "every"}),
    (systems.build_yt8m_lstm, {"experts": 3}),
    (systems.build_yt8m_netvlad, {"pooling": "net_fv"}),
    (systems.build_yt8m_netvlad, {"clusters": 6}),
    (systems.build_yt8m_netvlad, {"units": 6}),
    (systems.build_yt8m_netvlad, {"relu": True}),
    (systems.build_yt8m_netvlad, {"gating": False}),
    (systems.build_yt8m_netvlad, {"probability_gating": False}),
    (systems.build_yt8m_netvlad, {"experts": 3}),
    (systems.build_yt8m_two_stream, {"cell": "gru"}),
    (systems.build_yt8m_two_stream, {"units": 4}),
    (systems.build_yt8m_two_stream, {"embedding": None}),
    (systems.build_yt8m_two_stream, {"peephole": False}),
    (systems.build_yt8m_two_stream, {"hidden": (7, 5)}),
    (systems.build_yt8m_fast_forward, {"preset": "offline_depth7_release", "hidden": (6,)}),
    (systems.build_yt8m_fast_forward, {"cell": "gru"}),
    (systems.build_yt8m_fast_forward, {"units": 4}),
    (systems.build_yt8m_fast_forward, {"depth": 3}),
    (systems.build_yt8m_fast_forward, {"chains": 1}),
    (systems.build_yt8m_fast_forward, {"pool": "max", "hidden": (6,)}),
    (systems.build_yt8m_fast_forward, {"hidden": (6, 6)}),
    (systems.build_yt8m_fast_forward, {"peephole": False}),
    (systems.build_yt8m_temporal_resnet, {"width": 8}),
    (systems.build_yt8m_temporal_resnet, {"blocks": 2}),
    (systems.build_yt8m_temporal_resnet, {"units": 6}),
]
TRAINING = [  # what acts in training
    (systems.build_yt8m_logistic, {"l2": 1.0}),
    (systems.build_yt8m_moe, {"l2": 1.0}),
    (systems.build_yt8m_dbof, {"l2": 1.0}),
    (systems.build_yt8m_lstm, {"l2": 1.0}),
    (systems.build_yt8m_netvlad, {"l2": 1.0}),
    (systems.build_yt8m_dbof, {"momentum": 0.5}),
    (systems.build_yt8m_netvlad, {"momentum": 0.5}),
    (systems.build_yt8m_temporal_resnet, {"momentum": 0.5}),
]


@pytest.mark.parametrize("builder, options", CHANGES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_option_changes_the_scores(builder, options, rng):
    inputs = batch(clips(rng))
    scores = [numpy(built(builder, np.random.default_rng(3), **own)(inputs)["logits"]) for own in ({}, options)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-4


@pytest.mark.parametrize("builder, options", SIZES_CHANGE, ids=lambda value: getattr(value, "__name__", str(value)))
def test_option_changes_the_size(builder, options, rng):
    assert built(builder, rng, **options).count_params() != built(builder, rng).count_params()


@pytest.mark.parametrize("builder, options", TRAINING, ids=lambda value: getattr(value, "__name__", str(value)))
def test_option_changes_training(builder, options, rng):
    inputs, results = batch(clips(rng)), []
    for own in ({}, options):
        model = built(builder, np.random.default_rng(3), **own)
        model(inputs, training=True)
        results.append([float(keras.ops.convert_to_numpy(sum(model.losses, keras.ops.zeros(()))))])
        results[-1] += [numpy(w).sum() for w in model.non_trainable_variables if "moving" in w.path]
    np.testing.assert_raises(AssertionError, np.testing.assert_allclose, *results, rtol=1e-3)


def test_l2_is_half_the_sum_of_squares_of_kernels(rng):
    model = built(systems.build_yt8m_moe, rng, l2=0.5)
    gate, expert, _ = model.head.get_weights()
    model(batch(clips(rng)))
    got = float(keras.ops.convert_to_numpy(sum(model.losses)))
    np.testing.assert_allclose(got, 0.25 * ((gate**2).sum() + (expert**2).sum()), rtol=1e-5)


def test_dbof_draws_frames_or_runs_in_training(rng):
    methods = {}
    for method in ("frames", "run"):
        model = systems.build_yt8m_dbof(FRAMES, V, sample_frames=4, sample_method=method)
        methods[method] = model.aggregator.parts[0]
    assert {name: (part.method, part.frames, part.ordered) for name, part in methods.items()} == {
        "frames": ("frames", 4, False),
        "run": ("run", 4, False),
    }
    assert systems.build_yt8m_lstm(FRAMES, V, sample_frames=4).aggregator.parts[0].ordered


def test_dropout_acts_on_every_direction_and_on_the_linear_layer(rng):
    inputs = batch(clips(rng))
    for builder in (systems.build_yt8m_two_stream, systems.build_yt8m_temporal_resnet):
        for rate, varies in ((0.0, False), (0.5, True)):
            model = built(builder, rng, dropout=rate)
            first, second = (numpy(model(inputs, training=True)["logits"]) for _ in range(2))
            assert (np.abs(first - second).max() > 1e-6) == varies


def test_temporal_resnet_sees_so_many_frames(rng):
    (network,) = systems.build_yt8m_temporal_resnet(FRAMES, V, frames=64).aggregator.parts
    assert network.parts[0].frames == 64


@pytest.mark.parametrize("pool, hidden", [("max", (4, 4)), ("attention", (4,))])
def test_fast_forward_refuses_other_dense_layers(pool, hidden):
    with pytest.raises(InputError, match=r"Received: hidden=\[4"):
        systems.build_yt8m_fast_forward(FRAMES, V, pool=pool, hidden=hidden)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="did you mean 'net_vlad'.* Received: pooling='netvlad'"):
        systems.build_yt8m_netvlad(FRAMES, V, pooling="netvlad")
    with pytest.raises(InputError, match="did you mean 'offline_depth2'.* Received: preset='offline'"):
        systems.build_yt8m_fast_forward(FRAMES, V, preset="offline")


def test_systems_of_frames_refuse_whole_videos():
    for builder in SMALL:
        if builder in (systems.build_yt8m_logistic, systems.build_yt8m_moe):
            mixed = ClassifyTask(streams=("rgb", "mean_audio"))
            with pytest.raises(InputError, match="all be of frames or all of videos"):
                builder(mixed, V)
        else:
            with pytest.raises(InputError, match="reads frames"):
                builder(MEANS, V)


# Recipes

RECIPES = [getattr(systems, name) for name in dir(systems) if name.startswith("yt8m_")]


def test_nine_recipes():
    names = "logistic moe dbof lstm netvlad two_stream_lstm two_stream_gru fast_forward_lstm temporal_resnet"
    assert {recipe.__name__ for recipe in RECIPES} == {f"yt8m_{name}" for name in names.split()}


@pytest.mark.parametrize("make", RECIPES, ids=lambda make: make.__name__)
def test_recipe_builds_at_test_size(make, rng):
    recipe = make("youtube8m")
    assert isinstance(recipe, Recipe) and recipe.system == make.__name__ and recipe.data["name"] == "youtube8m"
    assert recipe.model["classes"] == 3862 and make().data["name"] == "topics"
    assert f"train.py {recipe.system}" in make.__doc__
    known = set(inspect.signature(recipe.builder).parameters)
    tiny = recipe.tiny()
    assert set(recipe.model) <= set(tiny.model) <= known
    model, whole = tiny.build(), recipe.task.streams == ("mean_rgb", "mean_audio")
    model.build({s: (None, n) if whole else (None, None, n) for s, n in zip(recipe.task.streams, (1024, 128))})
    inputs = {s: rng.standard_normal((2, n) if whole else (2, 4, n)) for s, n in zip(recipe.task.streams, (1024, 128))}
    logits = model(inputs)["logits"]
    assert logits.shape == (2, tiny.model["classes"]) and model.count_params() < 2e6
