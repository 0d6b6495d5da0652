"""Files beside a served model: labels, signatures in words, the server's configuration."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from prediction_service import RunningMean
from tensorflow_serving.config import model_server_config_pb2

from keras_st.serving.c_loader import ServedModel
from keras_st.serving.companions import sums, write_companions, write_labels, write_server_files
from keras_st.specs import VIDEO, InputError

# The messages of tensorflow_serving/servables/tensorflow/session_bundle_config.proto and config/monitoring_config.proto
# that the server reads; tensorflow-serving-api does not hold them.
BATCHING = {
    "max_batch_size": (1, "Int64Value"),
    "batch_timeout_micros": (2, "Int64Value"),
    "max_enqueued_batches": (3, "Int64Value"),
    "num_batch_threads": (4, "Int64Value"),
    "thread_pool_name": (5, "StringValue"),
    "allowed_batch_sizes": (6, "repeated int64"),
    "pad_variable_length_inputs": (7, "bool"),
}
CLASSES, EXAMPLE = ["walk", "überqueren", "stand still"], {"video": [2, 4, 6, 8, 1]}
PROMETHEUS = {"enable": (1, "bool"), "path": (2, "string")}
MONITORING = {"prometheus_config": (1, "PrometheusConfig")}


def messages():
    """`(BatchingParameters, MonitoringConfig)`."""
    file = descriptor_pb2.FileDescriptorProto(name="server.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    kinds = {"int64": 3, "bool": 8, "string": 9, "message": 11}
    parts = {"BatchingParameters": BATCHING, "PrometheusConfig": PROMETHEUS, "MonitoringConfig": MONITORING}
    for name, fields in parts.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            word = kind.removeprefix("repeated ")
            added = message.field.add(name=field, number=number, label=3 if word != kind else 1)
            added.type = kinds.get(word, kinds["message"])
            if added.type == kinds["message"]:
                added.type_name = (
                    f".google.protobuf.{word}" if word.endswith("Value") else f".tensorflow.serving.{word}"
                )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))
        for name in ("BatchingParameters", "MonitoringConfig")
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model's folder with one version and all that stands beside it."""
    base = tmp_path_factory.mktemp("served") / "toy model"
    base.mkdir()
    RunningMean().save(base / "1")
    before = sums(base / "1")
    write_companions(base / "1", "toy model", [VIDEO], EXAMPLE, CLASSES)
    assert set(sums(base / "1")) - set(before) == {
        *("assets/labels.txt", "assets.extra/README.md", "assets.extra/tf_serving_warmup_requests")
    }
    assert write_server_files(base, CLASSES) == [
        base / name for name in ("models.config", "batching.config", "monitoring.config", "README.md")
    ]
    return base


def test_labels_do_not_keep_a_folder_from_loading(base):
    assert (base / "1" / "assets" / "labels.txt").read_text("utf-8") == "walk\nüberqueren\nstand still\n"
    assert set(tf.saved_model.load(str(base / "1")).signatures) >= {"serving_default", "init_state", "step"}
    with ServedModel(base / "1") as model:
        assert set(model.signatures) >= {"serving_default", "init_state", "step"}


@pytest.mark.parametrize("name", ["two\nlines", "", "carriage\rreturn"])
def test_a_label_is_a_line(tmp_path, name):
    with pytest.raises(InputError, match=r"one line of text. Received: "):
        write_labels(tmp_path, ["walk", name])
    assert not (tmp_path / "assets").exists()


def test_models_config_names_the_mounted_folder(base):
    config = text_format.Parse((base / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("toy model", "/models/toy model", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1
    assert f"-v \"$PWD\":'{model.base_path}':ro" in (base / "README.md").read_text()


def test_the_server_can_read_its_configuration(base):
    batching, monitoring = messages()
    parameters = text_format.Parse((base / "batching.config").read_text(), batching())
    assert parameters.allowed_batch_sizes[-1] == parameters.max_batch_size.value  # the server insists
    assert [*parameters.allowed_batch_sizes] == sorted(set(parameters.allowed_batch_sizes))
    assert parameters.pad_variable_length_inputs is False
    for name in ("batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"):
        assert getattr(parameters, name).value > 0
    prometheus = text_format.Parse((base / "monitoring.config").read_text(), monitoring()).prometheus_config
    assert prometheus.enable and prometheus.path == "/monitoring/prometheus/metrics"


def test_the_docker_command_names_ports_and_files_that_are_there(base):
    (command,) = re.findall(r"^(docker run .*?[^\\])$", (base / "README.md").read_text(), re.M | re.S)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:4] == ["docker", "run", "--rm", "-p"] and {"8500:8500", "8501:8501"} < set(words)
    assert "--enable_batching" in words
    files = dict(word.split("=") for word in words if "=" in word)
    assert set(files) == {"--model_config_file", "--batching_parameters_file", "--monitoring_config_file"}
    for path in files.values():
        assert (base / path.removeprefix("/models/toy model/")).is_file()


def test_what_is_there_is_not_overwritten(base, tmp_path):
    (tmp_path / "batching.config").write_text("mine")
    written = write_server_files(tmp_path)
    assert [path.name for path in written] == ["models.config", "monitoring.config", "README.md"]
    assert (tmp_path / "batching.config").read_text() == "mine"
    assert write_server_files(tmp_path) == []
    readme = (tmp_path / "README.md").read_text()
    assert f"serving_client.py forecast {tmp_path.name} --input" in readme and "labels" not in readme
    assert "serving_client.py classify 'toy model' --input" in (base / "README.md").read_text()


def rows(folder):
    """{(signature, way, tensor): [dtype, shape, values]} of the table."""
    lines = re.findall(r"^\| (`.*) \|$", (folder / "assets.extra" / "README.md").read_text("utf-8"), re.M)
    cells = [[cell.strip().strip("`") for cell in line.split(" | ")] for line in lines]
    return {tuple(cell[:3]): cell[3:] for cell in cells}


def test_every_tensor_of_every_signature_is_in_the_table(base):
    table = rows(base / "1")
    with ServedModel(base / "1") as model:
        for signature, served in model.signatures.items():
            for way, tensors in (("in", served.inputs), ("out", served.outputs)):
                for name, tensor in tensors.items():
                    dtype, shape, _ = table.pop((signature, way, name))
                    assert dtype == tensor.dtype and shape.count(",") == max(1, len(tensor.shape) - 1)
    assert not table


def test_the_table_says_shapes_and_units(base):
    table = rows(base / "1")
    assert table["serving_default", "in", "video"] == ["uint8", "(B, T, H, W, 1)", "0..255, grey level"]
    assert table["serving_default", "out", "frames"] == ["float32", "(B, 1, H, W, 1)", "0..1"]
    assert table["serving_float", "in", "video"][-1] == "0..1"
    assert table["encoded", "in", "video"] == ["string", "(B, T)", "a JPEG or PNG file per frame"]
    assert table["init_state", "in", "frame"][1:] == ["(B, H, W, 1)", "any: only the shape counts"]
    assert table["step", "in", "frame"][-1] == "0..255, grey level"
    assert table["step", "in", "state_0"][1:] == ["(B, ?, ?, 1)", "from `init_state` or the last `step"]
    assert table["step", "out", "state_1"] == ["int32", "(B,)", "for the next `step"]


def test_fields_are_in_their_unit(tmp_path):
    folder = RunningMean().save(tmp_path / "1")
    rain = dataclasses.replace(VIDEO, dtype="float32", value_range=(0.0, 60.0), unit="dBZ")
    write_companions(folder, "rain", [rain], EXAMPLE)
    table = rows(folder)
    assert table["serving_default", "in", "video"][-1] == table["step", "out", "frames"][-1] == "0..60, dBZ"


def test_the_request_of_the_table_is_answered(base):
    text = (base / "1" / "assets.extra" / "README.md").read_text("utf-8")
    (command,) = re.findall(r"^(python -c .*) \| curl -d @- (?:\S*)$", text, re.M)
    sent = json.loads(subprocess.run(shlex.split(command), check=True, capture_output=True).stdout)
    assert "http://localhost:8501/v1/models/toy%20model:predict" in text
    video = np.array(sent["inputs"]["video"], "uint8")
    with ServedModel(base / "1") as model:
        assert video.shape == (2, 4, 6, 8, 1)
        assert model.run("serving_default", {"video": video})["frames"].shape == (2, 1, 6, 8, 1)


def test_without_the_extra_there_are_no_warmup_requests(tmp_path, monkeypatch):
    folder = RunningMean().save(tmp_path / "1")
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    write_companions(folder, "toy", [VIDEO], EXAMPLE)
    assert [path.name for path in (folder / "assets.extra").iterdir()] == ["README.md"]
