"""P3D ResNet: counts, shapes, exact transfer from 2-D, what it is blind to (recognition A4 to A10)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.layers import P3DBlock
from keras_st.models import FrameResNet, P3DResNet, inflate_resnet
from tests.conformance.test_conformance import gradients

BACKEND = keras.backend.backend()
LIKE_KERAS = {"stem_pool": "keras", "bn_epsilon": 1.001e-5}
STAGES = ("res2_last", "res3_last", "res4_last", "res5c")


def units_of(model):
    return [layer for layer in model.layers if isinstance(layer, P3DBlock)]


def numpy(x):
    return ops.convert_to_numpy(x)


def randomise(model, seed=0):
    """Biases, means and variances that hide nothing; residual ends scaled so that maps do not grow (A10.1)."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.3, bias.shape)])
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape
            gamma = rng.uniform(0.7, 1.3, n) * (0.3 if layer.name.endswith("_3_bn") else 1.0)
            layer.set_weights([gamma, rng.normal(0, 0.1, n), rng.normal(0, 0.2, n), rng.uniform(0.5, 1.5, n)])
    return model


@pytest.fixture(scope="module")
def resnet50():
    keras.utils.set_random_seed(1)
    return randomise(keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3)))


TAPS_2D = ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")


@pytest.fixture(scope="module")
def frames_and_taps(resnet50):
    """Random clips (2, 4, 64, 64, 3) and what ResNet50 gives for every frame, tap by tap."""
    clips = np.random.default_rng(2).normal(0, 60, (2, 4, 64, 64, 3)).astype("float32")
    outputs = [resnet50.get_layer(name).output for name in TAPS_2D]
    taps = keras.Model(resnet50.input, outputs)(clips.reshape(8, 64, 64, 3), training=False)
    return clips, [numpy(x).reshape(2, 4, *x.shape[1:]) for x in taps]


def tapped(model, clips):
    return [numpy(x) for x in keras.Model(model.input, [model.get_layer(n).output for n in ("stem", *STAGES)])(clips)]


def relative(got, want):
    return np.abs(got - want).max() / np.abs(want).max()


# A4, A5


@pytest.mark.parametrize(
    "depth, count, trainable, heads",
    [
        (63, 24_983_232, 24_868_032 + 2 * 28_800, (25_190_181, 25_802_832, 25_981_095)),
        (131, 47_387_328, 47_150_272 + 2 * 59_264, (47_594_277, 48_206_928, 48_385_191)),
        (199, 65_844_928, 65_500_352 + 2 * 86_144, (66_051_877, 66_664_528, 66_842_791)),
    ],
)
def test_a5_parameter_counts(depth, count, trainable, heads):
    model = P3DResNet(depth, classes=487)
    head = size(model.get_layer("logits").weights)
    assert size(model.weights) == heads[-1] and size(model.weights) - head == count
    assert size(model.trainable_weights) - head == trainable
    assert [total - count for total in heads[:2]] == [2049 * 101, 2049 * 400] and head == 2049 * 487
    temporal = sum(np.prod(u.temporal[0].kernel.shape) for u in units_of(model) if u.temporal)
    assert temporal == {63: 1_413_120, 131: 4_755_456, 199: 7_507_968}[depth]


def size(weights):
    return sum(int(np.prod(w.shape)) for w in weights)


@pytest.mark.parametrize("depth, conv, channels", [(18, 11_166_912, 4_800), (34, 21_267_648, 8_512)])
def test_a9_basic_parameter_counts(depth, conv, channels):
    flat, mixed = FrameResNet(depth, include_top=False), P3DResNet(depth, include_top=False)
    assert size(flat.weights) == conv + 4 * channels
    temporal, more = {18: (1_032_192, 1_792), 34: (2_826_240, 4_480)}[depth]
    assert size(mixed.weights) == conv + temporal + 4 * (channels + more)


def test_a5_all_cycles_and_inputs_count_alike():
    counts = {size(P3DResNet(63, include_top=False, cycle=c, width=16).weights) for c in ("A", "B", "C", "ABC")}
    assert len(counts) == 1
    flow = P3DResNet(63, (None, None, None, 2), include_top=False, width=64)
    assert 24_983_232 - size(flow.weights) == 64 * 49
    assert size(FrameResNet(50, include_top=False).weights) == 23_561_152


def test_a4_kinds_run_on_from_stage_to_stage():
    kinds = {d: "".join(u.kind or "-" for u in units_of(P3DResNet(d, width=4))) for d in (63, 131, 199)}
    assert kinds[63] == "ABC" + "ABCA" + "BCABCA" + "---"
    assert kinds[131][:13] == "ABC" + "ABCA" + "BCABCA" and kinds[131].endswith("---")
    assert kinds[199].startswith("ABC" + "ABCABCAB" + "CAB") and kinds[199].endswith("CAB---")
    assert [kinds[199].count(k) for k in "ABC"] == [16, 16, 15]
    assert {u.kind for u in units_of(P3DResNet(63, cycle="B", width=4))} == {"B", None}


@pytest.mark.parametrize(
    "clip, shapes",
    [
        ((16, 160, 160), [(16, 80, 80), (8, 40, 40), (8, 40, 40), (4, 20, 20), (2, 10, 10), (1, 5, 5)]),
        ((32, 224, 224), [(32, 112, 112), (16, 56, 56), (16, 56, 56), (8, 28, 28), (4, 14, 14), (2, 7, 7)]),
        ((5, 90, 51), [(5, 45, 26), (3, 22, 13), (3, 22, 13), (2, 11, 7), (1, 6, 4), (1, 3, 2)]),
    ],
)
def test_a4_shapes(clip, shapes):
    model = P3DResNet(63, (*clip, 3), width=4)
    names = ("stem", "pool1_pairs", *STAGES)
    for name, shape, channels in zip(names, shapes, (4, 4, 16, 32, 64, 128)):
        assert tuple(model.get_layer(name).output.shape[1:]) == (*shape, channels), name
    x = np.zeros((1, *clip, 3), "float32")
    assert model.get_layer("pool5").output.shape == (None, 128) and model(x).shape == (1, 400)
    inside = keras.Model(model.input, [model.get_layer(n).output for n in names])(x)
    assert [tuple(y.shape[1:4]) for y in inside] == shapes


def test_any_length_and_size_where_they_are_left_open():
    model = P3DResNet(18, width=4, classes=3)
    for shape in ((1, 1, 32, 32, 3), (2, 7, 40, 33, 3), (1, 16, 64, 48, 3)):
        y = numpy(model(np.random.default_rng(0).normal(size=shape).astype("float32")))
        assert y.shape == (shape[0], 3) and np.isfinite(y).all()
        np.testing.assert_allclose(y.sum(-1), 1, atol=1e-5)


# A7, A8, A10: transfer from 2-D


@pytest.mark.parametrize("cycle", ["A", "B", "C", "ABC"])
def test_a10_1_inflated_net_is_the_2d_one_on_every_frame(resnet50, frames_and_taps, cycle):
    clips, want = frames_and_taps
    model = P3DResNet(63, include_top=False, cycle=cycle, temporal_pool=False, **LIKE_KERAS)
    inflate_resnet(model, resnet50)
    got = tapped(model, clips)
    for name, ours, theirs in zip(("stem", *STAGES), got, want):
        assert relative(ours, theirs) < 1e-5, name
    assert {u.temporal[1].epsilon for u in units_of(model) if u.temporal} == {1.001e-5}  # trap 2: float32 hides it


@pytest.mark.parametrize("merge, cycle", [("paper", "C"), ("paper", "ABC"), ("torch_port", "ABC")])
def test_a8_exact_rule_holds_for_every_merge(resnet50, frames_and_taps, merge, cycle):
    clips, want = frames_and_taps
    model = P3DResNet(63, include_top=False, cycle=cycle, merge=merge, temporal_pool=False, **LIKE_KERAS)
    assert relative(tapped(inflate_resnet(model, resnet50), clips)[-1], want[-1]) < 1e-5


def test_a10_1_in_float64():
    """To 1e-12 on TensorFlow; Keras on the other backends computes parts of it in float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        resnet = randomise(keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3)))
        model = P3DResNet(63, include_top=False, temporal_pool=False, **LIKE_KERAS)
    finally:
        keras.config.set_dtype_policy(policy)
    inflate_resnet(model, resnet)
    frames = np.random.default_rng(2).normal(0, 60, (4, 64, 64, 3))
    want = numpy(keras.Model(resnet.input, [resnet.get_layer(n).output for n in TAPS_2D])(frames)[-1])
    got = tapped(model, frames[None])[-1][0]
    assert got.dtype == np.float64 and relative(got, want) < (1e-12 if BACKEND == "tensorflow" else 1e-6)


def test_a10_2_static_clip_with_pooling_is_the_frame(resnet50):
    frame = np.random.default_rng(3).normal(0, 60, (1, 64, 64, 3)).astype("float32")
    model = inflate_resnet(P3DResNet(63, include_top=False, pooling="avg", **LIKE_KERAS), resnet50)
    want = numpy(resnet50(frame, training=False)).mean(axis=(1, 2))
    assert relative(numpy(model(np.repeat(frame[:, None], 16, axis=1))), want) < 1e-5


def test_a10_3_any_clip_with_pooling_is_stages_and_frame_maxima(resnet50, frames_and_taps):
    """The hand loop: a 2-D stage on frames, the larger of frames 2k and 2k + 1, the next stage."""
    clips, _ = frames_and_taps
    got = tapped(inflate_resnet(P3DResNet(63, include_top=False, **LIKE_KERAS), resnet50), clips)
    x = np.reshape(clips, (8, 64, 64, 3))
    source = resnet50.input
    for name in ("pool1_pool", *TAPS_2D[1:]):
        target = resnet50.get_layer(name).output
        x = numpy(keras.Model(source, target)(x, training=False))
        if name != TAPS_2D[-1] and len(x) > 2:
            x = x.reshape(2, -1, *x.shape[1:])
            x = np.maximum(x[:, ::2], x[:, 1::2]).reshape(-1, *x.shape[2:])
        source = target
    assert relative(got[-1][:, 0], x) < 1e-5


def test_a7_traps_are_seen(resnet50, frames_and_taps):
    """An unfolded bias, the other stem pool: each moves the result far more than the tolerance above."""
    clips, want = frames_and_taps
    model = inflate_resnet(P3DResNet(63, include_top=False, temporal_pool=False, **LIKE_KERAS), resnet50)
    norm = model.get_layer("res4_last").spatial[1]
    gamma, beta, mean, variance = norm.get_weights()
    bias = resnet50.get_layer("conv4_block6_2_conv").get_weights()[1]
    norm.set_weights([gamma, beta, mean + bias, variance])
    assert relative(tapped(model, clips)[-1], want[-1]) > 1e-4
    other = P3DResNet(63, include_top=False, temporal_pool=False, bn_epsilon=1.001e-5)
    with pytest.raises(ValueError, match="stem_pool=\"keras\".*Received: stem_pool='caffe'"):
        inflate_resnet(other, resnet50)
    with pytest.raises(ValueError, match="bn_epsilon=1.001e-05.*Received"):
        inflate_resnet(P3DResNet(63, include_top=False, stem_pool="keras"), resnet50)
    with pytest.raises(ValueError, match="same units"):
        inflate_resnet(P3DResNet(131, include_top=False, width=64, **LIKE_KERAS), resnet50)
    with pytest.raises(ValueError, match="same channels"):
        inflate_resnet(P3DResNet(63, include_top=False, width=8, **LIKE_KERAS), resnet50)
    with pytest.raises(ValueError, match="not V2"):
        inflate_resnet(other, keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="temporal_init"):
        inflate_resnet(other, resnet50, "mean")


def test_a7_4_strides_sit_on_the_first_convolution():
    strides = {
        (u.name.split("_")[0], n): conv.strides[1]
        for u in units_of(P3DResNet(63, width=4))
        for n, (conv, _) in enumerate((u.reduce, u.spatial, u.expand))
        if u.name.endswith("_1")
    }
    assert {key for key, stride in strides.items() if stride == 2} == {("res3", 0), ("res4", 0), ("res5", 0)}


@pytest.mark.parametrize("depth, name", [(131, "ResNet101"), (199, "ResNet152")])
def test_a7_6_deeper_nets_have_the_same_names(depth, name):
    resnet = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(32, 32, 3))
    model = inflate_resnet(P3DResNet(depth, include_top=False, temporal_pool=False, **LIKE_KERAS), randomise(resnet))
    frame = np.random.default_rng(4).normal(0, 60, (1, 32, 32, 3)).astype("float32")
    assert relative(numpy(model(frame[None]))[0], numpy(resnet(frame, training=False))) < 1e-5


def test_a7_flow_stem_is_the_mean_of_the_colours(resnet50):
    model = inflate_resnet(P3DResNet(63, (None, None, None, 2), include_top=False, **LIKE_KERAS), resnet50)
    (kernel,) = model.get_layer("stem_conv").get_weights()
    want = resnet50.get_layer("conv1_conv").get_weights()[0].mean(axis=2)
    assert kernel.shape == (1, 7, 7, 2, 64)
    for channel in range(2):
        np.testing.assert_allclose(kernel[0, :, :, channel], want, rtol=1e-6)


def test_a8_other_inits_are_not_exact_where_the_spec_says_so(resnet50, frames_and_taps):
    clips, want = frames_and_taps
    static = np.repeat(clips[:, :1], 4, axis=1)

    def far(init, cycle, clips=clips):
        model = P3DResNet(63, include_top=False, cycle=cycle, temporal_pool=False, **LIKE_KERAS)
        inflate_resnet(model, resnet50, init)
        got = tapped(model, clips)[1]  # stage 2
        return np.abs(got - want[1])

    assert far("zeros", "B").max() < 1e-3 and far("zeros", "A").max() > 0.1
    assert far("average", "A").max() > 0.1
    assert far("gaussian", "A").max() > 0.1 and far("gaussian", "B").max() < 1.0
    noisy = inflate_resnet(P3DResNet(63, include_top=False, **LIKE_KERAS), resnet50, "gaussian")
    assert units_of(noisy)[0].temporal[0].get_weights()[0].std() == pytest.approx(0.001, rel=0.05)
    model = P3DResNet(63, include_top=False, cycle="A", temporal_pool=False, **LIKE_KERAS)
    averaged = tapped(inflate_resnet(model, resnet50, "average"), np.concatenate([static] * 2, axis=1))[1]
    exact = want[1][:, :1]
    inside, edge = np.abs(averaged[:, 3:5] - exact).max(), np.abs(averaged[:, :1] - exact).max()
    assert inside < 1e-3 < 0.1 < edge  # three units reach three frames


def test_a10_8_every_temporal_kernel_has_a_gradient_after_the_exact_init(resnet50):
    model = inflate_resnet(P3DResNet(63, include_top=False, pooling="avg", freeze_bn="all", **LIKE_KERAS), resnet50)
    clips = np.random.default_rng(5).normal(0, 60, (2, 16, 32, 32, 3)).astype("float32")
    target = ops.convert_to_tensor(np.random.default_rng(6).normal(size=(2, 2048)).astype("float32"))
    kernels = [u.temporal[0].kernel for u in units_of(model) if u.temporal]
    found = gradients(lambda: ops.mean(ops.square(model(clips, training=True) - target)), kernels)
    assert len(found) == 13
    for gradient in found:
        assert np.abs(gradient).max() > 0


# A10: what the net can and cannot see


def random_net(cycle="ABC", **options):
    keras.utils.set_random_seed(7)
    return P3DResNet(18, cycle=cycle, width=8, include_top=False, pooling="avg", **options)


def test_a10_5_pairs_are_blind(rng):
    clip = rng.normal(size=(1, 16, 32, 32, 3)).astype("float32")
    swapped = clip[:, [n ^ 1 for n in range(16)]]
    across = clip[:, [0, 2, 1, *range(3, 16)]]
    net, keeps_time = random_net(), random_net(temporal_pool=False)
    np.testing.assert_array_equal(numpy(net(clip)), numpy(net(swapped)))
    assert relative(numpy(net(across)), numpy(net(clip))) > 1e-3
    assert relative(numpy(keeps_time(swapped)), numpy(keeps_time(clip))) > 1e-3


@pytest.mark.parametrize("cycle", ["B", "ABC"])
@pytest.mark.parametrize("group", [4, 8, 16])
def test_a10_5_without_temporal_weights_halves_of_groups_are_blind(rng, cycle, group):
    net = random_net(cycle)
    for unit in units_of(net):
        for conv, _ in (p for p in (unit.temporal, getattr(unit, "temporal_2", None)) if p):
            conv.set_weights([0 * conv.get_weights()[0]])
    clip = rng.normal(size=(1, 16, 32, 32, 3)).astype("float32")
    order = np.arange(16).reshape(-1, 2, group // 2)[:, ::-1].reshape(-1)
    np.testing.assert_array_equal(numpy(net(clip)), numpy(net(clip[:, order])))


def test_a10_6_only_the_stem_normalisation_trains():
    free, frozen, none = (P3DResNet(63, include_top=False, freeze_bn=f) for f in (None, "all_but_first", "all"))
    channels = 28_800
    assert size(free.trainable_weights) - size(frozen.trainable_weights) == 2 * (channels - 64)
    assert size(frozen.trainable_weights) - size(none.trainable_weights) == 2 * 64
    assert {w.path.split("/")[0] for w in frozen.trainable_weights if w.name in ("gamma", "beta")} == {"stem_bn"}


def test_a10_7_symmetric_taps_make_time_reversible(rng):
    net = random_net()
    clip = rng.normal(size=(1, 32, 32, 32, 3)).astype("float32")
    assert relative(numpy(net(clip[:, ::-1])), numpy(net(clip))) > 1e-3
    for unit in units_of(net):
        for conv, _ in (p for p in (unit.temporal, getattr(unit, "temporal_2", None)) if p):
            (kernel,) = conv.get_weights()
            conv.set_weights([np.stack([kernel[0], kernel[1], kernel[0]])])
    assert relative(numpy(net(clip[:, ::-1])), numpy(net(clip))) < 1e-5


# The frame-wise net, weights from files, errors


def test_frame_resnet_is_keras_resnet_on_every_frame(resnet50, frames_and_taps):
    clips, want = frames_and_taps
    model = inflate_resnet(FrameResNet(50, include_top=False), resnet50)
    assert relative(tapped(model, clips)[-1], want[-1]) < 1e-5


def test_frame_resnet_averages_the_probabilities_of_frames(rng):
    model = FrameResNet(18, width=4, classes=5)
    clip = rng.normal(size=(2, 6, 32, 32, 3)).astype("float32")
    frames = numpy(model(clip.reshape(12, 1, 32, 32, 3))).reshape(2, 6, 5)
    np.testing.assert_allclose(numpy(model(clip)), frames.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(numpy(model(clip[:, ::-1])), frames.mean(axis=1), atol=1e-6)


def test_weights_from_files(resnet50, tmp_path, rng):
    clip = rng.normal(size=(1, 4, 32, 32, 3)).astype("float32")
    net = P3DResNet(18, width=4, classes=3)
    net.save(tmp_path / "net.keras")
    net.save_weights(tmp_path / "net.weights.h5")
    for name in ("net.keras", "net.weights.h5"):
        again = P3DResNet(18, width=4, classes=3, weights=tmp_path / name)
        np.testing.assert_allclose(numpy(again(clip)), numpy(net(clip)), atol=1e-6)
    for name in ("net.keras", "net.weights.h5"):
        with pytest.raises(ValueError, match="does not hold the weights.*Received"):
            P3DResNet(18, width=8, classes=3, weights=tmp_path / name)
    other = P3DResNet(18, width=4, classes=5, weights=tmp_path / "net.keras")  # a head of its own
    np.testing.assert_array_equal(other.get_layer("res5c").get_weights()[0], net.get_layer("res5c").get_weights()[0])
    for form in ({"cycle": "B"}, {"merge": "paper"}, {"bn_epsilon": 1e-3}, {"stem_pool": "keras"}):
        with pytest.raises(ValueError, match="holds a network of .*Received"):
            P3DResNet(18, width=4, classes=3, weights=tmp_path / "net.keras", **form)
    for bad in ("nowhere.keras", "resnet.txt", tmp_path):
        with pytest.raises(ValueError, match="existing .h5 or .keras file. Received"):
            P3DResNet(18, width=4, weights=bad)
    with pytest.raises(ValueError, match="50 layers and more"):
        P3DResNet(18, weights="imagenet")


def test_2d_weights_from_files(resnet50, tmp_path):
    resnet50.save(tmp_path / "resnet50.keras")
    options = {"include_top": False, **LIKE_KERAS}
    (want,) = resnet50.get_layer("conv3_block2_2_conv").get_weights()[:1]
    model = P3DResNet(63, weights=tmp_path / "resnet50.keras", **options)
    for net in (model, FrameResNet(50, include_top=False, weights=tmp_path / "resnet50.keras")):
        units = [u for u in units_of(net) if u.name.startswith("res3")]
        np.testing.assert_array_equal(units[1].spatial[0].get_weights()[0][0], want)


def test_imagenet_weights_come_from_keras_applications(resnet50, monkeypatch, tmp_path):
    """Without a network: what would be downloaded is replaced, the file of keras.applications likewise."""
    asked = []

    def resnet(**options):
        asked.append(options)
        return resnet50

    monkeypatch.setattr(keras.applications, "ResNet50", resnet)
    (tmp_path / "resnet50_notop.h5").write_bytes(b"")
    for weights in ("imagenet", tmp_path / "resnet50_notop.h5"):
        model = P3DResNet(63, include_top=False, weights=weights, **LIKE_KERAS)
        (kernel,) = model.get_layer("stem_conv").get_weights()
        np.testing.assert_array_equal(kernel[0], resnet50.get_layer("conv1_conv").get_weights()[0])
    assert asked == [
        {"include_top": False, "weights": "imagenet"},
        {"include_top": False, "weights": str(tmp_path / "resnet50_notop.h5")},
    ]


def test_a_frame_resnet_is_inflated_exactly(rng):
    """Ours as a source: basic units too, its stem pool and epsilon."""
    keras.utils.set_random_seed(3)
    source = FrameResNet(18, width=8, include_top=False, stem_pool="caffe", bn_epsilon=1e-3)
    for weight in source.weights:
        if weight.name in ("moving_mean", "beta"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    model = P3DResNet(18, width=8, include_top=False, temporal_pool=False, bn_epsilon=1e-3)
    x = rng.normal(size=(2, 5, 32, 40, 3)).astype("float32")
    want = numpy(source(x))
    assert relative(numpy(inflate_resnet(model, source)(x)), want) < 1e-5
    with pytest.raises(ValueError, match='stem_pool="caffe"'):
        inflate_resnet(P3DResNet(18, width=8, include_top=False, **LIKE_KERAS), source)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"depth": 50}, "depth"),
        ({"cycle": "ABD"}, "cycle"),
        ({"cycle": ""}, "cycle"),
        ({"merge": "sum"}, "merge"),
        ({"stem_pool": "torch"}, "pad"),
        ({"freeze_bn": True}, "freeze_bn"),
        ({"pooling": "sum"}, "pooling"),
        ({"classes": 0}, "classes"),
        ({"width": 0}, "width"),
        ({"input_shape": (16, 112, 112)}, "input_shape"),
        ({"input_shape": (16, 112, 112, None)}, "input_shape"),
    ],
)
def test_unknown_options_are_refused(options, word):
    with pytest.raises(ValueError, match=f"`{word}`.*Received"):
        P3DResNet(**{"depth": 18, "width": 4, **options})


def test_a_clip_with_other_channels_is_refused():
    with pytest.raises(ValueError, match="expected shape=.*None, 3., found shape=.*32, 2"):
        P3DResNet(18, width=4)(np.zeros((1, 4, 32, 32, 2), "float32"))


def test_frames_of_one_pixel_are_refused():
    with pytest.raises(ValueError, match="too small.*Received"):
        P3DResNet(18, (16, 2, 2, 3), width=4)
