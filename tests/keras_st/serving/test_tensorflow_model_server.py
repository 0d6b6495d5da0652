"""The real server, where it is installed: the files beside a model start it, the client talks to it."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from prediction_service import RunningMean

from examples import serving_client as client
from keras_st.serving.c_loader import ServedModel
from keras_st.serving.companions import write_companions, write_server_files
from keras_st.specs import VIDEO

BINARY = "tensorflow_model_server"
PREDICT = {"grpc": client.predict_grpc, "rest": client.predict_rest}
EXAMPLE = {"video": [1, 3, 6, 8, 1]}
pytestmark = pytest.mark.skipif(shutil.which(BINARY) is None, reason=f"no {BINARY} on the PATH")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`({"grpc": address, "rest": address}, model, file of what the server said)`."""
    base = tmp_path_factory.mktemp("models") / "toy"
    base.mkdir()
    folder, classes = RunningMean().save(base / "1"), ["dark", "dim", "bright"]
    write_companions(folder, "toy", [VIDEO], EXAMPLE, classes)
    write_server_files(base, classes)
    config = base / "models.config"
    config.write_text(config.read_text().replace("/models/toy", str(base)))  # where a container mounts it
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("localhost", 0))) for _ in range(2)]
        ports = [one.getsockname()[1] for one in free]
    words = [
        *(BINARY, f"--port={ports[0]}", f"--rest_api_port={ports[1]}", f"--model_config_file={config}"),
        *("--enable_batching", f"--batching_parameters_file={base / 'batching.config'}"),
        f"--monitoring_config_file={base / 'monitoring.config'}",
    ]
    said = base.parent / "server.log"
    with open(said, "w") as log, ServedModel(folder) as model:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            wait(f"http://localhost:{ports[1]}/v1/models/toy", process, said)
            yield {"grpc": f"localhost:{ports[0]}", "rest": f"localhost:{ports[1]}"}, model, said
        finally:
            process.terminate()
            process.wait(30)


def wait(status, process, said):
    """Until version 1 is available."""
    for _ in range(600):
        assert process.poll() is None, said.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(status, timeout=5) as answer:
            if json.load(answer)["model_version_status"][0]["state"] == "AVAILABLE":
                return
        time.sleep(0.1)
    raise AssertionError(f"The server did not become available: {said.read_text()}")


@pytest.fixture(params=["grpc", "rest"])
def way(request):
    return request.param


def clips(batch=2):
    return np.random.default_rng(0).integers(0, 256, (batch, 5, 6, 8, 1), np.uint8)


def assert_same(outputs, expected):
    assert set(outputs) == set(expected)
    for name, x in expected.items():
        np.testing.assert_allclose(outputs[name], x, atol=1e-6)


@pytest.mark.parametrize("signature", ["serving_default", "serving_float", "forecast", "encoded"])
def test_the_server_gives_the_numbers_of_the_loader(server, way, signature):
    addresses, model, _ = server
    video = clips()
    png = np.array([[tf.io.encode_png(frame).numpy() for frame in clip] for clip in video], object)
    sent = {"serving_float": (video / 255).astype("float32"), "encoded": png}
    inputs = {"video": sent.get(signature, video)}
    assert_same(PREDICT[way](addresses[way], "toy", inputs, signature), model.run(signature, inputs))


def test_the_server_keeps_nothing_of_a_stream(server, way):
    addresses, model, _ = server
    video = clips()
    *_, last = client.stream(addresses[way], "toy", video.swapaxes(0, 1), rest=way == "rest")
    assert_same(last, model.run("serving_default", {"video": video}))


def test_requests_that_are_joined_get_their_own_answers(server):
    addresses, model, _ = server
    videos = clips(12)[:, None]
    with ThreadPoolExecutor(12) as pool:
        answers = pool.map(lambda video: client.predict_grpc(addresses["grpc"], "toy", {"video": video}), videos)
        for video, outputs in zip(videos, answers):
            assert_same(outputs, model.run("serving_default", {"video": video}))


def test_wrong_requests_leave_the_server_running(server, way):
    addresses, model, _ = server
    video = clips()
    right = {"video": video}
    cut = np.array([[tf.io.encode_jpeg(video[0, 0]).numpy()[:99]]], object)
    for inputs, signature in (
        ({"video": video[0]}, "serving_default"),
        ({"video": video + 0.5}, "serving_default"),
        ({}, "serving_default"),
        ({"video": video}, "other"),
        ({"video": cut}, "encoded"),
    ):
        with pytest.raises(client.ServingError, match="toy at localhost"):
            PREDICT[way](addresses[way], "toy", inputs, signature)
        assert_same(PREDICT[way](addresses[way], "toy", right), model.run("serving_default", right))


def test_the_server_is_warm_and_counts(server):
    addresses, model, said = server
    assert f"Number of warmup records read: {len(model.signatures)}" in said.read_text()
    with urllib.request.urlopen(f"http://{addresses['rest']}/monitoring/prometheus/metrics", timeout=5) as answer:
        assert b"tensorflow" in answer.read()
