"""The client against TensorFlow Serving's interfaces: equal numbers, streams, refusals."""

import ast
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from prediction_service import RunningMean, serve

from examples import serving_client as client
from keras_st.serving import export
from keras_st.systems import build

FILE = pathlib.Path(client.__file__)
PREDICT = {"grpc": client.predict_grpc, "rest": client.predict_rest}
SIGNATURES = {"grpc": client.signatures_grpc, "rest": client.signatures_rest}


def encoded(clips, encode):
    return np.array([[encode(frame).numpy() for frame in clip] for clip in clips], object)


CLIP = np.zeros((1, 2, 4, 4, 1), np.uint8)
PNG = encoded(CLIP, tf.io.encode_png)
JPEG = encoded(np.random.default_rng(0).integers(0, 256, (1, 2, 64, 64, 1), np.uint8), tf.io.encode_jpeg)
CUT = np.array([[JPEG[0, 0], JPEG[0, 1][: len(JPEG[0, 1]) // 3]]], object)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`({"grpc": address, "rest": address}, model)`."""
    folder = RunningMean().save(tmp_path_factory.mktemp("toy") / "1")
    with serve(folder, "toy", 3) as (grpc_address, rest_address, model):
        yield {"grpc": grpc_address, "rest": rest_address}, model


@pytest.fixture(params=["grpc", "rest"])
def way(request):
    return request.param


@pytest.fixture
def clips():
    return np.random.default_rng(1).integers(0, 256, (2, 5, 6, 7, 1), np.uint8)


def assert_same(outputs, expected):
    assert set(outputs) == set(expected)
    for name, x in expected.items():
        assert outputs[name].dtype == x.dtype
        np.testing.assert_array_equal(outputs[name], x)


# Requests


@pytest.mark.parametrize("signature", ["serving_default", "serving_float", "forecast", "encoded"])
def test_numbers_are_those_of_the_model(server, way, clips, signature):
    addresses, model = server
    sent = {"serving_float": (clips / 255).astype("float32"), "encoded": encoded(clips, tf.io.encode_png)}
    inputs = {"video": sent.get(signature, clips)}
    outputs = PREDICT[way](addresses[way], "toy", inputs, signature)
    assert_same(outputs, model.run(signature, inputs))
    pixels = model.run("serving_default", {"video": clips})
    np.testing.assert_allclose(outputs["frames"], pixels["frames"], atol=1e-6)


def test_jpeg_frames(server, way, clips):
    addresses, model = server
    smooth = np.sort(clips, axis=2)
    jpeg = encoded(smooth, lambda frame: tf.io.encode_jpeg(frame, quality=95))
    outputs = PREDICT[way](addresses[way], "toy", {"video": jpeg}, "encoded")
    decoded = np.array([[tf.io.decode_jpeg(file).numpy() for file in clip] for clip in jpeg])
    assert_same(outputs, model.run("serving_default", {"video": decoded}))
    assert_same(PREDICT[way](addresses[way], "toy", {"video": jpeg.tolist()}, "encoded"), outputs)


def test_messages_larger_than_four_megabytes(server):
    addresses, model = server
    video = np.random.default_rng(0).integers(0, 256, (1, 5, 1030, 1030, 1), np.uint8)
    outputs = client.predict_grpc(addresses["grpc"], "toy", {"video": video}, "forecast")
    assert video.nbytes > 4 * 2**20 and outputs["frames"].nbytes > 4 * 2**20
    assert_same(outputs, model.run("forecast", {"video": video}))


def test_signatures_are_the_models(server, way):
    addresses, model = server
    version, told = SIGNATURES[way](addresses[way], "toy")
    assert version == 3 and set(told) == set(model.signatures)
    for name, signature in model.signatures.items():
        for part in ("inputs", "outputs"):
            tensors = getattr(signature, part)
            assert told[name][part] == {key: (tensor.dtype, tensor.shape) for key, tensor in tensors.items()}


# Streams


def test_a_stream_gives_what_the_clip_up_to_its_frame_gives(server, way, clips):
    addresses, model = server
    frames = (clips[:, t] for t in range(5))
    answers = list(client.stream(addresses[way], "toy", frames, rest=way == "rest"))
    assert len(answers) == 5
    for t, outputs in enumerate(answers):
        expected = model.run("serving_default", {"video": clips[:, : t + 1]})
        assert set(outputs) == set(expected)
        for name, x in expected.items():
            np.testing.assert_allclose(outputs[name], x, atol=1e-6)


def test_streams_do_not_know_each_other(server, way, clips):
    addresses, model = server
    one, two = (client.stream(addresses[way], "toy", clips[n : n + 1].swapaxes(0, 1), way == "rest") for n in (0, 1))
    *_, last = zip(one, two)
    expected = model.run("serving_default", {"video": clips})["frames"]
    np.testing.assert_allclose(np.concatenate([outputs["frames"] for outputs in last]), expected, atol=1e-6)


def test_a_stream_stays_with_the_version_that_began(monkeypatch, clips):
    asked = []

    def predict(address, model, inputs, signature, version, timeout):
        asked.append((signature, version, timeout))
        return {"state_0": np.zeros(1)} | ({"frames": np.zeros(1)} if signature == "step" else {})

    monkeypatch.setattr(client, "signatures_grpc", lambda *args: (args[2] or 7, {"step": {}}))
    monkeypatch.setattr(client, "predict_grpc", predict)
    for version, known in ((None, 7), (2, 2)):
        asked.clear()
        outputs = list(client.stream("x:1", "toy", [clips[:, 0]] * 2, version=version, timeout=5))
        assert asked == [(name, known, 5) for name in ("init_state", "step", "step")]
        assert [set(answer) for answer in outputs] == [{"frames"}] * 2


def test_a_stream_of_features(monkeypatch):
    asked = []

    def predict(address, model, inputs, signature, version, timeout):
        asked.append({name: x.tolist() for name, x in inputs.items()})
        return {"state_0": np.ones(1)} | ({"logits": np.zeros(1)} if signature == "step" else {})

    monkeypatch.setattr(client, "signatures_grpc", lambda *_: (1, {"step": {}}))
    monkeypatch.setattr(client, "predict_grpc", predict)
    (outputs,) = client.stream("x:1", "toy", [{"rgb": np.zeros((1, 2)), "length": np.ones(1)}])
    rgb = {"rgb": [[0, 0]], "length": [1]}
    assert asked == [rgb, {**rgb, "state_0": [1]}] and set(outputs) == {"logits"}


def test_a_model_without_steps_does_not_stream(monkeypatch, clips):
    monkeypatch.setattr(client, "signatures_rest", lambda *_: (1, {"serving_default": {}}))
    with pytest.raises(client.ServingError, match="cannot stream: no signature `step`. Received: serving_default"):
        next(client.stream("x:1", "toy", [clips[:, 0]], rest=True))


# An export


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """As `server`, of a forecaster of the project."""
    forecaster = build("conv_lstm", tiny=True)
    forecaster.build({"video": (None, 4, 8, 8, 1)})
    folder = export(forecaster, tmp_path_factory.mktemp("served") / "conv_lstm")
    with serve(folder, "conv_lstm") as (grpc_address, rest_address, model):
        yield {"grpc": grpc_address, "rest": rest_address}, model


def test_an_export_is_served(exported, way, clips):
    addresses, model = exported
    clips = clips[:, :, :, :6]
    expected = model.run("serving_default", {"video": clips})
    assert_same(PREDICT[way](addresses[way], "conv_lstm", {"video": clips}), expected)
    *_, last = client.stream(addresses[way], "conv_lstm", clips.swapaxes(0, 1), rest=way == "rest")
    np.testing.assert_allclose(last["frames"], expected["frames"], atol=1e-5)
    png = {"video": encoded(clips, tf.io.encode_png)}
    np.testing.assert_allclose(
        PREDICT[way](addresses[way], "conv_lstm", png, "encoded")["frames"], expected["frames"], atol=1e-5
    )


def test_an_export_names_what_is_wrong(exported, clips, monkeypatch):
    monkeypatch.setattr(client, "_filled", lambda inputs: inputs)
    addresses, model = exported
    frame = clips[:, 0, :, :6]
    states = model.run("init_state", {"frame": frame})
    for inputs, signature, told in (
        ({"video": clips[:, :0]}, "serving_default", "`video` must not be empty"),
        ({"video": clips[:0]}, "serving_default", "`video` must not be empty"),
        ({"video": clips}, "serving_default", "`video` .*multiples of 2"),
        ({"video": CUT}, "encoded", "video"),
        ({"video": PNG[:, :0]}, "encoded", "`video` must not be empty"),
        ({"frame": frame[:0], **states}, "step", r"`(frame|state_\d)` must "),
        ({"frame": frame[:1], **states}, "step", r"`state_\d` must be of as many streams, as large, as frames"),
        ({"frame": frame, "state_0": states["state_0"]}, "step", "state_1"),
    ):
        with pytest.raises(client.ServingError, match=told):
            client.predict_grpc(addresses["grpc"], "conv_lstm", inputs, signature)
    assert client.predict_grpc(addresses["grpc"], "conv_lstm", {"frame": frame, **states}, "step")


# Refusals

WRONG = {
    "shape": ({"video": CLIP[0]}, "serving_default", "video"),
    "channels": ({"video": CLIP.repeat(3, axis=-1)}, "serving_default", "video"),
    "dtype": ({"video": CLIP + 0.5}, "serving_default", "video"),
    "missing": ({}, "serving_default", "video"),
    "missing state": ({"frame": CLIP[:, 0], "state_0": np.zeros((1, 4, 4, 1), "float32")}, "step", "state_1"),
    "no clip": ({"video": CLIP[:0]}, "serving_default", "video"),
    "no frame": ({"video": CLIP[:, :0]}, "serving_default", "video"),
    "no encoded frame": ({"video": PNG[:, :0]}, "encoded", "video"),
    "cut short": ({"video": CUT}, "encoded", "video"),
    "no image": ({"video": np.array([[b"GIF"]], object)}, "encoded", "video"),
    "signature": ({"video": CLIP}, "serving", "serving"),
}


@pytest.mark.parametrize("is_checked", [True, False])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_is_told_and_the_next_one_answered(server, way, wrong, is_checked, monkeypatch):
    addresses, model = server
    if not is_checked:  # an empty input reaches the server, as from other clients
        monkeypatch.setattr(client, "_filled", lambda inputs: inputs)
    inputs, signature, named = WRONG[wrong]
    with pytest.raises(client.ServingError, match=named) as told:
        PREDICT[way](addresses[way], "toy", inputs, signature)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500
    assert_same(PREDICT[way](addresses[way], "toy", {"video": CLIP}), model.run("serving_default", {"video": CLIP}))


def test_an_empty_input_is_not_sent():
    for predict in PREDICT.values():
        with pytest.raises(client.ServingError, match=r"`video` must not be empty. Received: shape=\(0, 2, 4, 4, 1\)"):
            predict("nowhere:1", "toy", {"video": CLIP[:0]})


@pytest.mark.parametrize("name, version", [("other", None), ("toy", 4), ("a/b", None)])
def test_an_unknown_model_or_version(server, way, name, version):
    addresses, _ = server
    for call in (
        lambda: PREDICT[way](addresses[way], name, {"video": CLIP}, version=version),
        lambda: SIGNATURES[way](addresses[way], name, version),
    ):
        with pytest.raises(client.ServingError, match=f"{name} at localhost:.* ({name}|Malformed|a%2Fb)"):
            call()
    assert PREDICT[way](addresses[way], "toy", {"video": CLIP}, version=3)


def test_no_server(way):
    with pytest.raises(client.ServingError, match=r"toy at localhost:1: .*(refused|UNAVAILABLE)"):
        PREDICT[way]("localhost:1", "toy", {"video": CLIP}, timeout=5)


def test_an_answer_may_take_a_while_only(way):
    with socket.create_server(("localhost", 0)) as silent:
        address = f"localhost:{silent.getsockname()[1]}"
        with pytest.raises(client.ServingError, match="(DEADLINE_EXCEEDED|timed out)"):
            PREDICT[way](address, "toy", {"video": CLIP}, timeout=0.2)


# On its own


def test_the_client_imports_neither_keras_nor_keras_st():
    tree = ast.parse(FILE.read_text())
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    allowed = {*sys.stdlib_module_names, "numpy", "cv2", "grpc", "google", "tensorflow", "tensorflow_serving"}
    assert {name.split(".")[0] for name in names} <= allowed
    above = {a.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    assert above <= {*sys.stdlib_module_names, "numpy"}


CHILD = """
import runpy, sys
for name in ("keras", "tensorflow", "tensorflow_serving", "grpc"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv.pop(1))  # where a cv2 is that does not load, with words of its own
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_rest_needs_numpy_alone(server, tmp_path, clips):
    np.save(tmp_path / "clip.npy", clips[0])
    (tmp_path / "cv2.py").write_text("import os; os.write(2, b'libGL missing'); raise ImportError('libGL')")
    words = [sys.executable, "-c", CHILD, tmp_path, FILE, "classify", "toy", f"--input={tmp_path / 'clip.npy'}"]
    done = subprocess.run([*words, "--rest", f"--address={server[0]['rest']}"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("class ") == 3, done.stderr
    done = subprocess.run([*words, f"--address={server[0]['grpc']}"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: gRPC needs tensorflow-serving-api")
    words[-1] = f"--input={tmp_path}"
    done = subprocess.run([*words, "--rest", f"--address={server[0]['rest']}"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: Videos need OpenCV") and done.stderr.count("\n") == 1
