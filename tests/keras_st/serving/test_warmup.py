"""Warm-up requests: of every signature, answered by the model, in TensorFlow Serving's own messages."""

import re
import sys

import numpy as np
import pytest
import tensorflow as tf
from prediction_service import RunningMean
from tensorflow_serving.apis import prediction_log_pb2

from keras_st.serving.c_loader import ServedModel, Signature, Tensor
from keras_st.serving.warmup import example_inputs, write_warmup
from keras_st.specs import InputError, MissingExtra

EXAMPLE = {"video": [2, 3, 6, 8, 1]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return RunningMean().save(tmp_path_factory.mktemp("toy") / "4")


@pytest.fixture
def fresh(folder):
    yield folder
    (folder / "assets.extra" / "tf_serving_warmup_requests").unlink(missing_ok=True)


def requests(path):
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    assert all(log.WhichOneof("log_type") == "predict_log" for log in logs)
    return [log.predict_log.request for log in logs]


def test_every_signature_is_asked_once(fresh):
    path = write_warmup(fresh, "toy", 4, EXAMPLE)
    assert path == fresh / "assets.extra" / "tf_serving_warmup_requests" and path.stat().st_size < 10_000
    shapes = {"frames": (2, 1, 6, 8, 1), "state_0": (2, 6, 8, 1)}
    with ServedModel(fresh) as model:
        asked = requests(path)
        assert sorted(request.model_spec.signature_name for request in asked) == sorted(model.signatures)
        for request in asked:
            assert request.model_spec.name == "toy" and request.model_spec.version.value == 4
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            outputs = model.run(request.model_spec.signature_name, inputs)
            for name in outputs.keys() & shapes:
                assert outputs[name].shape == shapes[name]


def test_names_of_the_folders_are_the_models(fresh):
    for request in requests(write_warmup(fresh)):
        assert request.model_spec.name == fresh.parent.name and not request.model_spec.HasField("version")
        if request.model_spec.signature_name == "serving_default":
            assert tf.make_ndarray(request.inputs["video"]).shape == (1, 1, 1, 1, 1)


def test_a_step_gets_the_states_that_the_model_begins_with(tmp_path):
    class Ones(RunningMean):
        def init_state(self, frame):
            return {name: x + 1 for name, x in super().init_state(frame).items()}

    path = write_warmup(Ones().save(tmp_path / "1"), example=EXAMPLE)
    (step,) = (request for request in requests(path) if request.model_spec.signature_name == "step")
    for name in ("state_0", "state_1"):
        assert (tf.make_ndarray(step.inputs[name]) == 1).all()


@pytest.mark.parametrize("shape", [[2, 3, 6, 8, 2], [3, 6, 8, 1]])
def test_an_example_that_does_not_fit_is_an_error(fresh, shape):
    told = re.escape(f"The example of `video` must fit (None, None, None, None, 1). Received: {tuple(shape)}")
    with pytest.raises(InputError, match=told):
        write_warmup(fresh, example={"video": shape})
    assert not (fresh / "assets.extra" / "tf_serving_warmup_requests").exists()


def test_requests_are_never_overwritten(fresh):
    written = write_warmup(fresh, example=EXAMPLE).read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        write_warmup(fresh)
    assert (fresh / "assets.extra" / "tf_serving_warmup_requests").read_bytes() == written


def test_the_protocol_is_an_extra(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(MissingExtra, match=r"keras_st\[serving\]"):
        write_warmup(fresh)


def test_inputs_of_streams_of_features():
    clip = Signature({"rgb": Tensor("float32", (None, None, 8)), "length": Tensor("int32", (None,))}, {})
    step = Signature({"rgb": Tensor("float32", (None, 8)), "length": Tensor("int32", (None,))}, {})
    signatures, example = {"serving_default": clip, "step": step}, {"rgb": [2, 7, 8], "length": [2]}
    for signature, shape, length in (("serving_default", (2, 7, 8), 7), ("step", (2, 8), 1)):
        inputs = example_inputs(signatures, signature, example)
        assert inputs["rgb"].shape == shape and inputs["rgb"].dtype == np.float32 and not inputs["rgb"].any()
        assert inputs["length"].dtype == np.int32 and inputs["length"].tolist() == [length, length]


def test_computed_flow_is_as_large_as_the_video():
    frames = {"video": Tensor("uint8", (None, None, 6, 8, 3))}
    floats = {"flow": Tensor("float32", (None, None, 6, 8, 2)), "video": Tensor("float32", (None, None, 6, 8, 3))}
    signatures = {"serving_default": Signature(frames, {}), "serving_float": Signature(floats, {})}
    inputs = example_inputs(signatures, "serving_float", {"video": [1, 4, 6, 8, 3]})
    assert {name: x.shape for name, x in inputs.items()} == {"flow": (1, 4, 6, 8, 2), "video": (1, 4, 6, 8, 3)}
