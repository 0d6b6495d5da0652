"""ClipClassifier: its parts in order, averaging of frames, taps, C3D."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.layers import FramePreprocessing, FrameWise
from keras_st.models import C3D, FrameResNet, P3DResNet, clip_classifier
from tests.conformance.cases import CASES
from tests.reference import recognition as witness


def numpy(x):
    return keras.tree.map_structure(ops.convert_to_numpy, x)


def clip(rng, *shape):
    return rng.random(shape).astype("float32")


def small(**options):
    keras.utils.set_random_seed(0)
    return P3DResNet(18, width=4, include_top=False, pooling="avg", **options)


def test_preprocessing_backbone_head(rng):
    x = clip(rng, 2, 5, 32, 40, 3)
    model = clip_classifier(small(), 7, preprocessing=FramePreprocessing("keras_resnet"), dropout=0.5)
    logits = numpy(model({"video": x})["logits"])
    features = numpy(model.backbone(255 * x[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")))
    kernel, bias = model.dense.get_weights()
    np.testing.assert_allclose(logits, features @ kernel + bias, rtol=1e-4)
    assert model.compute_output_shape({"video": x.shape}) == {"logits": logits.shape} and model.num_classes == 7
    trained = [numpy(model({"video": x}, training=True)["logits"]) for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 1e-6  # dropout


def test_frames_are_scored_and_probabilities_averaged(rng):
    x = clip(rng, 2, 4, 32, 32, 3)
    backbone = FrameResNet(18, width=4, include_top=False, pooling="frames")
    model = clip_classifier(backbone, 5)
    frames = numpy(model({"video": x.reshape(8, 1, 32, 32, 3)})["logits"]).reshape(2, 4, 5)
    p = witness.softmax(frames)
    np.testing.assert_allclose(np.exp(numpy(model({"video": x})["logits"])), p.mean(1), atol=1e-5)
    mean = clip_classifier(backbone, 5, average="logits")
    mean.build({"video": (None, None, None, None, 3)})
    mean.dense.set_weights(model.dense.get_weights())
    got, want = numpy(mean({"video": x})["logits"]), frames.mean(1)  # up to a constant for every clip
    np.testing.assert_allclose(got - got.mean(-1, keepdims=True), want - want.mean(-1, keepdims=True), atol=1e-4)


def test_an_aggregator_stands_between(rng):
    """Any layers: frames' means, then a recurrent layer over them."""
    frames = FrameWise(keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]))
    model = clip_classifier(frames, 3, aggregator=keras.layers.LSTM(6))
    x = clip(rng, 2, 5, 8, 9, 1)
    forward, backward = (numpy(model({"video": v})["logits"]) for v in (x, x[:, ::-1]))
    assert forward.shape == (2, 3) and np.abs(forward - backward).max() > 1e-5


@pytest.mark.parametrize("name", ["whole", "parts"])
def test_save_and_load(rng, tmp_path, name):
    if name == "parts":
        model = clip_classifier(small(freeze_bn="all_but_first"), 3, preprocessing=FramePreprocessing(), dropout=0.2)
    else:
        model = clip_classifier(C3D((4, 32, 32, 3), width=4, classes=3, classifier_activation="linear"))
    x = clip(rng, 2, 4, 32, 32, 3)
    want = numpy(model({"video": x})["logits"])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy(again({"video": x})["logits"]), want, atol=1e-6)
    for argument in ("classes", "dropout", "average", "input_shapes"):
        assert getattr(again, argument) == getattr(model, argument)
    assert len(again.trainable_weights) == len(model.trainable_weights)


def test_taps(rng):
    x = clip(rng, 2, 16, 32, 32, 3)
    model = clip_classifier(small(), 3, preprocessing=FramePreprocessing())
    logits = numpy(model({"video": x})["logits"])
    taps = {name: numpy(v) for name, v in model.taps(["res4_last", "res5c", "pool5", "prob"])(x).items()}
    assert {name: v.shape for name, v in taps.items()} == {
        "res4_last": (2, 2, 2, 2, 16),
        "res5c": (2, 1, 1, 1, 32),
        "pool5": (2, 32),
        "prob": (2, 3),
    }
    np.testing.assert_allclose(taps["res5c"].mean((1, 2, 3)), taps["pool5"], atol=1e-5)
    np.testing.assert_allclose(taps["prob"], witness.softmax(logits), atol=1e-5)
    with pytest.raises(ValueError, match="Received: fc6"):
        model.taps(["pool5", "fc6"])


def test_gradients_reach_every_trainable_weight(rng):
    from tests.conformance.test_conformance import gradients

    model = clip_classifier(small(), 3)
    x, y = clip(rng, 2, 16, 32, 32, 3), np.array([0, 2])
    model({"video": x})

    def loss():
        logits = model({"video": x}, training=True)["logits"]
        return ops.mean(ops.sparse_categorical_crossentropy(y, logits, from_logits=True))

    for weight, gradient in zip(model.trainable_variables, gradients(loss, model.trainable_variables)):
        assert gradient is not None and np.abs(gradient).max() > 0, weight.path


@pytest.mark.parametrize("channels", [1, 2])
def test_clips_of_other_channels_are_refused(rng, channels):
    model = clip_classifier(small(), 3, preprocessing=FramePreprocessing("p3d_rgb"))
    model({"video": clip(rng, 1, 4, 32, 32, 3)})
    with pytest.raises(ValueError, match=f"3 channels. Received: .*{channels}"):
        model({"video": clip(rng, 1, 4, 32, 32, channels)})


@pytest.mark.parametrize(
    "options, word",
    [
        ({"classes": 0}, "classes=0"),
        ({"classes": 3, "dropout": 1.0}, "dropout=1.0"),
        ({"classes": 3, "average": "median"}, "average='median'"),
        ({"classes": None, "dropout": 0.5}, "classes=None"),
    ],
)
def test_unknown_options_are_refused(options, word):
    with pytest.raises(ValueError, match=f"Received: .*{word}"):
        clip_classifier(small(), **options)


# Padding, steps, streams, attention

KINDS = {case.name.removeprefix("classifier-"): case for case in CASES if case.name.startswith("classifier-")}
FRAMES, LENGTHS = 5, (3, 5)


def of_kind(kind, rng):
    """A classifier of that kind for clips of any length, and two of 5 frames."""
    keras.utils.set_random_seed(1)
    model, shapes = KINDS[kind].make(), KINDS[kind].shape
    model.build({name: (None, None, *shape[2:]) for name, shape in shapes.items()})
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model, {name: clip(rng, 2, FRAMES, *shape[2:]) for name, shape in shapes.items()}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"local-pooling", "time-domain"}))
def test_padding_changes_no_score(rng, kind):
    model, x = of_kind(kind, rng)
    for sequence in x.values():
        sequence[0, LENGTHS[0] :] = 9.0
    padded, plain = numpy(model({**x, "length": np.array(LENGTHS)})), numpy(model(x))
    short = numpy(model({name: sequence[:1, : LENGTHS[0]] for name, sequence in x.items()}))
    assert short.keys() == padded.keys() == set(model.returned)
    for name, want in short.items():
        steps = LENGTHS[0] if want.ndim > 2 else None  # of outputs of steps, those of the clip
        np.testing.assert_allclose(padded[name][0, :steps], want[0], atol=1e-5)
        np.testing.assert_allclose(padded[name][1], plain[name][1], atol=1e-5)
    if "attention" in padded:
        np.testing.assert_array_equal(padded["attention"][0, LENGTHS[0] :], 0)
    assert np.abs(plain["logits"] - padded["logits"]).max() > 1e-4  # it would, were it not told


@pytest.mark.parametrize("kind", ["lrcn", "multi-lstm"])
def test_padding_in_half_precision(rng, kind):
    """Where a cast drops the mask that a tensor carries."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, x = of_kind(kind, rng)
    finally:
        keras.config.set_dtype_policy("float32")
    x["video"][0, LENGTHS[0] :] = 9.0
    padded = numpy(model({**x, "length": np.array(LENGTHS)})["logits"])
    alone = numpy(model({"video": x["video"][:1, : LENGTHS[0]]})["logits"])
    assert padded.dtype == np.float32
    np.testing.assert_allclose(padded[:1, : alone.shape[1] if alone.ndim == 3 else None], alone, atol=2e-3)
    assert np.abs(numpy(model(x)["logits"])[0] - padded[0]).max() > 5e-3


def test_padding_of_a_network_of_one_length(rng):
    """Local pooling keeps its windows; those beyond the clip do not see the padding."""
    keras.utils.set_random_seed(1)
    model, x = KINDS["local-pooling"].make(), KINDS["local-pooling"].inputs()
    model(x)
    length, other = np.array([2, 3]), {"video": x["video"].copy()}
    for n, steps in enumerate(length):
        other["video"][n, steps:] = 9.0
    got, want = (numpy(model({**clips, "length": length})["logits"]) for clips in (x, other))
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert np.abs(numpy(model(x)["logits"]) - numpy(model(other)["logits"])).max() > 1e-3


def test_what_cannot_leave_out_steps_refuses_a_length(rng):
    model, x = of_kind("time-domain", rng)
    with pytest.raises(ValueError, match="takes clips that are not padded"):
        model({**x, "length": np.array(LENGTHS)})


def test_scores_of_steps(rng):
    model, x = of_kind("lrcn", rng)
    outputs = numpy(model(x))
    p = witness.softmax(outputs["step_logits"])
    assert p.shape == (2, FRAMES, 5)
    np.testing.assert_allclose(np.exp(outputs["logits"]), p.mean(1), atol=1e-5)
    model, x = of_kind("snippets", rng)
    outputs = numpy(model(x))
    want = witness.aggregate(witness.softmax(outputs["step_logits"]), "linear")
    np.testing.assert_allclose(np.exp(outputs["logits"]), want, atol=1e-5)
    model, x = of_kind("multi-lstm", rng)
    assert numpy(model(x)["logits"]).shape == (2, FRAMES, 5)
    with pytest.raises(ValueError, match=r"needs scores of steps.*Received: \(2, 5\)"):
        clip_classifier(small(), 5, step_loss="mean")({"video": clip(rng, 2, 4, 32, 32, 3)})


def test_e_the_penalty_counts_real_steps(rng):
    """Weight x mean over clips of the sum over cells of (1 - sum over real steps)^2, in training only."""
    model, x = of_kind("alstm", rng)
    attention = numpy(model(x)["attention"])
    assert not model.losses
    model(x, training=True)
    want = witness.attention_penalty(attention).mean()
    np.testing.assert_allclose(float(model.losses[0]), model.attention_penalty * want, rtol=1e-4)
    model({**x, "length": np.array(LENGTHS)}, training=True)
    short = [witness.attention_penalty(attention[n : n + 1, :length])[0] for n, length in enumerate(LENGTHS)]
    np.testing.assert_allclose(float(model.losses[0]), model.attention_penalty * np.mean(short), rtol=1e-4)
    assert abs(np.mean(short) - want) > 1e-3


def test_every_stream_has_its_network_and_preprocessing(rng):
    model, x = of_kind("video-lstm", rng)
    appearance, motion = model.features(x)
    for name, got in (("video", appearance), ("flow", motion)):
        network = model.backbone[name]
        np.testing.assert_allclose(numpy(got), numpy(network(2 * x[name] - 1)), atol=1e-5)  # centred
    assert model.input_shapes["flow"][-1] == 1 and set(model.input_shapes) == {"video", "flow"}
    assert numpy(model(x)["attention"]).shape == (2, FRAMES, 6, 8, 1)
    with pytest.raises(ValueError, match="of one stream"):
        model.taps(["prob"])
    with pytest.raises(ValueError, match="`flow` has 1 channels. Received"):
        model({**x, "flow": x["video"]})


def test_clips_of_another_number_of_frames_are_refused(rng):
    model = KINDS["local-pooling"].make()
    model(KINDS["local-pooling"].inputs())
    with pytest.raises(ValueError, match="Clips have 4 frames. Received"):
        model({"video": clip(rng, 1, 5, 6, 8, 2)})


@pytest.mark.parametrize(
    "options, word",
    [
        ({"step_loss": "last"}, "step_loss='last'"),
        ({"step_loss": "mean", "average": None}, "average=None"),
        ({"attention_penalty": 0.5}, "0.5"),
        ({"attention_penalty": -0.5, "attends": True}, "-0.5"),
        ({"head": keras.layers.Dense(3), "dropout": 0.5}, "dropout=0.5"),
        ({"streams": ("video", "flow")}, "streams="),
        ({"backbone": {"audio": None}}, "audio"),
        ({"preprocessing": {"audio": None}}, "audio"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, word):
    with pytest.raises(ValueError, match="Received") as error:
        clip_classifier(**{"backbone": keras.layers.Flatten(), "classes": 3, **options})
    assert word in str(error.value) and "\n" not in str(error.value)


def test_several_labels(rng, tmp_path):
    """The probability of a class is the sigmoid of its logit, also as a tap and of a loaded model."""
    pool = keras.layers.GlobalAveragePooling3D(name="pool")
    model = clip_classifier(keras.Sequential([pool]), classes=3, multi_label=True)
    model.build({"video": (None, None, 4, 6, 2)})
    clips = clip(rng, 2, 3, 4, 6, 2)
    logits = np.asarray(keras.ops.convert_to_numpy(model({"video": clips})["logits"]))
    prob = np.asarray(keras.ops.convert_to_numpy(model.taps(["prob"])(clips)["prob"]))
    np.testing.assert_allclose(prob, 1 / (1 + np.exp(-logits)), atol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    assert again.multi_label and clip_classifier(keras.layers.Flatten(), 3, average=None).multi_label
    with pytest.raises(ValueError, match="exclude each other"):
        clip_classifier(keras.layers.Reshape((-1, 48)), 3, multi_label=True)({"video": clips})


# C3D (recognition A11)


@pytest.mark.parametrize("classes, count", [(101, 78_409_573), (487, 79_991_015)])
def test_a11_counts(classes, count):
    model = C3D(classes=classes)
    assert model.count_params() == count
    by_name = {layer.name: layer.count_params() for layer in model.layers}
    assert by_name["fc6"] == 33_558_528 and by_name["fc7"] == 16_781_312
    assert sum(n for name, n in by_name.items() if name.startswith("conv")) == 27_655_936
    assert model.get_layer("pool5").output.shape == (None, 1, 4, 4, 512)


def test_a11_last_maxima_start_at_pixel_0_or_before(rng):
    """Maps of 7x7: Caffe's windows are 0-1, 2-3, 4-5, 6; PyTorch's (and mmaction2's) 0, 1-2, 3-4, 5-6."""
    x = clip(rng, 1, 16, 112, 112, 3)
    same, torch = (C3D(width=4, include_top=False, pool5_pad=p) for p in ("same", "torch"))
    torch.set_weights(same.get_weights())
    before = numpy(keras.Model(same.input, same.get_layer("conv5b").output)(x))
    assert before.shape == (1, 2, 7, 7, 32)
    flat = before.max(1)[0]
    for model, edges in ((same, [(0, 2), (2, 4), (4, 6), (6, 7)]), (torch, [(0, 1), (1, 3), (3, 5), (5, 7)])):
        want = [[flat[a:b, c:d].max((0, 1)) for c, d in edges] for a, b in edges]
        np.testing.assert_allclose(numpy(model(x))[0, 0], want, rtol=1e-5)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"input_shape": (None, 112, 112, 3)}, "None, 112, 112, 3"),
        ({"input_shape": (16, 112, 112)}, "16, 112, 112"),
        ({"pool5_pad": "valid"}, "valid"),
        ({"width": 0}, "width=0"),
        ({"weights": "nowhere.keras"}, "nowhere.keras"),
    ],
)
def test_c3d_refuses_what_it_cannot_build(options, word):
    with pytest.raises(ValueError, match=f"Received: .*{word}"):
        C3D(**options)


def test_c3d_weights_from_files(rng, tmp_path):
    model = C3D((4, 32, 32, 3), width=4, classes=3)
    model.save(tmp_path / "c3d.keras")
    again = C3D((4, 32, 32, 3), width=4, classes=3, weights=tmp_path / "c3d.keras")
    x = clip(rng, 1, 4, 32, 32, 3)
    np.testing.assert_allclose(numpy(again(x)), numpy(model(x)), atol=1e-6)
    C3D((4, 32, 32, 3), width=4, classes=5, weights=tmp_path / "c3d.keras")  # a head of its own
    with pytest.raises(ValueError, match="weights.h5 or .keras"):
        (tmp_path / "c3d.h5").write_bytes(b"")
        C3D((4, 32, 32, 3), width=4, weights=tmp_path / "c3d.h5")
