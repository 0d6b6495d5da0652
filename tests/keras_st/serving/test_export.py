"""The exported folder: layout, versions, signatures, what they refuse."""

import dataclasses
import json
import os

import keras
import numpy as np
import pytest

from keras_st import saved
from keras_st.flow import TVL1Flow
from keras_st.serving import c_loader, export
from keras_st.serving.c_loader import ServedModel
from keras_st.serving.signatures import Signatures
from keras_st.specs import VIDEO, ClassifyTask, FeatureSpec, InputError
from keras_st.systems import build
from keras_st.systems.video_lstm import build_video_lstm

COMPANIONS = ("README.md", "models.config", "batching.config", "monitoring.config")


def test_a_served_folder_gives_the_numbers_of_the_run(tiny_run, rng):
    run, served = tiny_run
    clips = [  # any batch, time, height and width; both dtypes
        rng.integers(0, 256, (b, t, h, w, 1), np.uint8)
        for b, t, h, w in ((1, 1, 16, 16), (3, 4, 16, 16), (2, 7, 10, 24))
    ]
    clips.append(rng.random((2, 3, 8, 6, 1)).astype("float32"))
    forecaster = saved.load(run)
    with ServedModel(served) as model:
        for clip in clips:
            signature = "serving_default" if clip.dtype == np.uint8 else "serving_float"
            frames = model.run(signature, {"video": clip})["frames"]
            assert frames.dtype == np.float32 and frames.min() >= 0 and frames.max() <= 1
            np.testing.assert_allclose(frames, forecaster.predict(clip), atol=1e-5)
            np.testing.assert_allclose(saved.load(served).predict(clip), forecaster.predict(clip), atol=1e-5)


def test_concat_of_another_length_is_an_error_when_served(tmp_path):
    import tensorflow as tf

    model = build("e3d_lstm_classifier", tiny=True, pool="concat")
    model.build({"video": (None, 4, 16, 16, 1)})
    serve = tf.saved_model.load(export(model, tmp_path)).signatures["serving_default"]
    assert serve(video=tf.zeros((2, 4, 16, 16, 1), tf.uint8))["logits"].shape == (2, 6)
    for frames in (1, 10):
        with pytest.raises(tf.errors.InvalidArgumentError):
            serve(video=tf.zeros((2, frames, 16, 16, 1), tf.uint8))


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory):
    """`(model, loaded export)` of a forecaster whose frames come in patches of 2 x 2."""
    import tensorflow as tf

    model = build("pred_rnn", tiny=True, patch=2)
    model.build({"video": (None, 4, 16, 16, 1)})
    folder = export(model, tmp_path_factory.mktemp("forecaster"))
    return model, tf.saved_model.load(folder)


@pytest.fixture(scope="module")
def two_streams(tmp_path_factory):
    """`(model, loaded export)` of a classifier that sees pixels and flow."""
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    task = ClassifyTask(clip_frames=3, resize=(16, 16), channels=1, streams=("video", "flow"))
    model = build_video_lstm(task, classes=3, filters=2, hidden=4, width=2)
    features = [
        dataclasses.replace(VIDEO, shape=(3, 16, 16, 1)),
        FeatureSpec("flow", "float32", (3, 16, 16, 2), (-0.5, 0.5), "px/frame"),
    ]
    model.build({feature.name: (None, *feature.shape) for feature in features})
    folder = export(model, tmp_path_factory.mktemp("two_streams"), features=features)
    return model, tf.saved_model.load(folder)


def test_flow_is_computed_of_what_a_client_sends(two_streams, rng):
    """TV-L1 of the pixels, the last field again, in the range of the feature, cut to it."""
    model, served = two_streams
    y, x, t = np.arange(16)[:, None], np.arange(16), np.arange(3)[:, None, None]
    waves = [np.sin(0.5 * (x - 0.4 * t) + n) + np.cos(0.6 * (y - 0.9 * t * n)) for n in (0, 1)]  # smooth: flow is clear
    clip = (60 * (2 + np.stack(waves)[..., None])).astype("uint8")
    flow = np.asarray(TVL1Flow()(clip.astype("float32")))
    flow = np.concatenate([flow, flow[:, -1:]], axis=1)
    assert np.abs(flow).max() > 0.5
    given = {"video": (clip / 255).astype("float32"), "flow": np.clip(flow, -0.5, 0.5) + 0.5}
    logits = np.asarray(model(given)["logits"])
    np.testing.assert_allclose(served.signatures["serving_default"](video=clip)["logits"], logits, atol=1e-4)
    np.testing.assert_allclose(served.signatures["serving_float"](**given)["logits"], logits, atol=1e-5)
    assert np.abs(logits - np.asarray(model({**given, "flow": np.full_like(flow, 0.5)})["logits"])).max() > 1e-4
    assert {"init_state", "step"}.isdisjoint(served.signatures)  # the flow of a frame needs the next one


def test_encoded_frames_and_features(two_streams, rng):
    import tensorflow as tf

    model, served = two_streams
    clip = rng.integers(0, 256, (2, 3, 16, 16, 1), np.uint8)
    encoded = [[tf.io.encode_png(frame).numpy() for frame in frames] for frames in clip]
    wanted = served.signatures["serving_default"](video=clip)
    found = served.signatures["encoded"](video=tf.constant(encoded))
    for name in ("logits", "probabilities", "attention"):
        np.testing.assert_array_equal(found[name], wanted[name])
    encoded[0][1] = tf.io.encode_jpeg(clip[0, 1], quality=90).numpy()  # each frame may be either
    assert np.abs(served.signatures["encoded"](video=tf.constant(encoded))["logits"] - wanted["logits"]).max() < 0.1
    maps = served.signatures["features"](video=clip)
    assert {name: x.shape[:2] for name, x in maps.items()} == {"features_0": (2, 3), "features_1": (2, 3)}


def test_a_stream_is_the_clip_frame_by_frame(forecaster, rng):
    _, served = forecaster
    clip = rng.integers(0, 256, (3, 4, 8, 12, 1), np.uint8)  # another size than it was built for
    states = served.signatures["init_state"](frame=clip[:, 0])
    for t in range(4):
        outputs = served.signatures["step"](frame=clip[:, t], **states)
        states = {name: x for name, x in outputs.items() if name.startswith("state_")}
        whole = served.signatures["serving_default"](video=clip[:, : t + 1])
        np.testing.assert_allclose(outputs["frames"], whole["frames"], atol=1e-5)
    assert np.abs(whole["frames"] - served.signatures["serving_default"](video=clip[:, :1])["frames"]).max() > 1e-3


@pytest.mark.parametrize(
    "signature, wrong, told",
    [
        ("serving_default", {"video": np.zeros((0, 2, 8, 8, 1), np.uint8)}, "`video` must not be empty"),
        ("serving_default", {"video": np.zeros((1, 0, 8, 8, 1), np.uint8)}, "`video` must not be empty"),
        ("serving_float", {"video": np.zeros((1, 2, 0, 8, 1), np.float32)}, "`video` must not be empty"),
        (
            "serving_default",
            {"video": np.zeros((1, 2, 8, 7, 1), np.uint8)},
            "`video` must have sides that are multiples of 2",
        ),
        ("step", {"frame": np.zeros((1, 8, 7, 1), np.uint8)}, "`frame` must have sides that are multiples of 2"),
        (
            "step",
            {"frame": np.zeros((2, 8, 8, 1), np.uint8)},
            "`state_0` must be of as many streams, as large, as frames",
        ),
        ("encoded", {"video": np.zeros((1, 0), object)}, "`video` must not be empty"),
        ("encoded", {"video": np.array([[b"no picture"]])}, "video_frames_of_one_size"),
        ("encoded", {"video": "truncated"}, "video_frames_of_one_size"),
        ("encoded", {"video": "two sizes"}, "video_frames_of_one_size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_requests_are_told_which_input_is_wrong(signature, wrong, told, forecaster):
    import tensorflow as tf

    _, served = forecaster
    jpegs = [tf.io.encode_jpeg(np.full((8, size, 1), 90, np.uint8)).numpy() for size in (8, 12)]
    made = {"truncated": [[jpegs[0][:-20]]], "two sizes": [jpegs]}
    video = wrong.get("video")
    inputs = {"video": tf.constant(made[video])} if isinstance(video, str) else dict(wrong)
    if signature == "encoded" and video is not None and not isinstance(video, str):
        inputs = {"video": tf.constant(video.tolist(), tf.string, shape=video.shape)}
    if signature == "step":
        inputs |= served.signatures["init_state"](frame=np.zeros((1, 8, 8, 1), np.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){told}"):
        served.signatures[signature](**{name: tf.convert_to_tensor(x) for name, x in inputs.items()})
    served.signatures["serving_default"](video=np.zeros((1, 2, 8, 8, 1), np.uint8))  # it still answers


@pytest.mark.parametrize(
    "name, shape, told",
    [
        ("hurricane_forecasting", (1, 3, 18, 24, 3), "`video` must have sides that are multiples of 4"),
        ("radar_nowcast", (1, 3, 32, 32, 1), "`video` must hold 4 frames or more"),
    ],
)
def test_models_around_a_forecaster_tell_too(name, shape, told):
    import tensorflow as tf

    model = build(name, tiny=True)
    model.build({"video": (None, None, None, None, shape[-1])})
    features = [FeatureSpec("video", "float32", (None, None, None, shape[-1]), missing=True)]
    serve = Signatures(model, features, {"horizon_frames": model.horizon_frames}).default()
    with pytest.raises(tf.errors.InvalidArgumentError, match=told):
        serve({"video": tf.zeros(shape)})


def test_weights_of_every_position_fix_the_size(tmp_path):
    model = build("conv_lstm", tiny=True, peephole="full")
    model.build({"video": (None, None, 8, 12, 1)})
    with ServedModel(export(model, tmp_path)) as served:
        assert served.signatures["serving_default"].inputs["video"].shape == (None, None, 8, 12, 1)
        assert served.signatures["step"].inputs["frame"].shape == (None, 8, 12, 1)
        with pytest.raises(InputError, match="`video` of `serving_default` must be"):
            served.run("serving_default", {"video": np.zeros((1, 2, 8, 8, 1), "uint8")})


def test_labels_of_a_forecaster_that_classifies_are_as_many_as_its_classes(tmp_path):
    model = build("e3d_lstm_classifier", tiny=True)
    model.build({"video": (None, 2, 8, 8, 1)})
    with pytest.raises(InputError, match="has 6 classes. Received: 1 names"):
        export(model, tmp_path, classes=["one"])


def test_states_are_served_in_single_precision(tmp_path, rng):
    """Whatever the model computes in: clients and REST know no half precision, and no sum of a stream ends."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("e3d_lstm_classifier", tiny=True)
    finally:
        keras.config.set_dtype_policy("float32")
    model.build({"video": (None, 2, 8, 8, 1)})
    clip = rng.integers(0, 256, (2, 3, 8, 8, 1), np.uint8)
    with ServedModel(export(model, tmp_path)) as served:
        states = served.run("init_state", {"frame": clip[:, 0]})
        assert {x.dtype.name for x in states.values()} == {"float32", "int32"}
        for t in range(3):
            outputs = served.run("step", {"frame": clip[:, t], **states})
            states = {name: outputs.pop(name) for name in states}
        whole = served.run("serving_default", {"video": clip})
    for name, x in outputs.items():
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, whole[name], atol=0.03)


@pytest.mark.parametrize(
    "signature, wrong, told",
    [
        ("serving_default", {"video": np.zeros((1, 4, 8, 8), np.uint8)}, "video.* not compatible with expected shape"),
        ("serving_float", {"video": np.zeros((1, 4, 8, 8, 3), np.float32)}, "video.* not compatible with"),
        ("step", {"frame": np.zeros((1, 8, 8, 3), np.uint8)}, "frame.* not compatible with"),
        ("step", {"state_1": np.zeros((1, 1, 1, 4), np.float32)}, "`state_1` must be of as many streams, as large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_compares_no_shapes_is_told_by_the_graph(signature, wrong, told, tmp_path, monkeypatch):
    """Where TensorFlow's session is fed what no Python has looked at, a smaller state would be broadcast."""
    model = build("conv_lstm", tiny=True, filters=(4,))
    model.build({"video": (None, 4, 16, 16, 1)})
    monkeypatch.setattr(c_loader, "_checked", lambda signature, specs, inputs: inputs)
    with ServedModel(export(model, tmp_path)) as served:
        frame = {"frame": np.zeros((1, 8, 8, 1), np.uint8)}
        inputs = {**frame, **served.run("init_state", frame)} if signature == "step" else {}
        with pytest.raises(InputError, match=told):
            served.run(signature, {**inputs, **wrong})


def test_every_weight_is_stored_once(tmp_path):
    model = build("frame_resnet", tiny=True, width=16)
    model.build({"video": (None, 4, 32, 32, 3)})
    stored = (export(model, tmp_path) / "variables" / "variables.data-00000-of-00001").stat().st_size
    weights = sum(np.asarray(weight).nbytes for weight in model.variables)
    assert weights < stored < 1.03 * weights


def test_layout(tiny_run):
    run, served = tiny_run
    assert {p.name for p in served.iterdir()} >= {"saved_model.pb", "variables", "assets.extra"}
    assert (served / "assets.extra" / "recipe.yaml").read_text() == (run / "recipe.yaml").read_text()
    features = json.loads((served / "assets.extra" / "features.json").read_text())
    assert features["horizon_frames"] == 3 and features["features"][0]["dtype"] == "uint8"


def test_versions_count_up_and_nothing_is_left_aside(tmp_path):
    model = build("conv_lstm", tiny=True)
    model({"video": np.zeros((1, 2, 8, 8, 1))})
    (tmp_path / "7").mkdir()
    (tmp_path / "note.txt").write_text("not a version")
    assert export(model, tmp_path) == tmp_path / "8"
    assert export(model, tmp_path, horizon=5) == tmp_path / "9"
    assert sorted(path for path in os.listdir(tmp_path) if path not in COMPANIONS) == ["7", "8", "9", "note.txt"]
    assert saved.load(tmp_path / "9").predict(np.zeros((2, 8, 8, 1), "uint8")).shape == (5, 8, 8, 1)


def test_an_unbuilt_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be built"):
        export(build("conv_lstm", tiny=True), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_first_states_take_no_step(tmp_path):
    """`init_state` is asked for a shape: it runs no convolution of the model."""
    import tensorflow as tf

    model = build("conv_gru", tiny=True)
    model.build({"video": (None, 4, 16, 16, 1)})
    served = tf.saved_model.load(export(model, tmp_path)).signatures

    def operations(name):
        return {node.op for f in served[name].graph.as_graph_def().library.function for node in f.node_def}

    assert "Conv2D" in operations("step") and "Conv2D" not in operations("init_state")
