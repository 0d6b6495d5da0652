"""The C loader beside TensorFlow's own Python loader: equal numbers of every dtype, and what is refused."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from keras_st.serving.c_loader import INVALID_ARGUMENT, ServedModel, Signature, Tensor
from keras_st.specs import InputError

LONG = bytes(range(256)) * 3 + b"\0"  # beyond what a string holds in place, with zeros inside and at the end


class EveryType(tf.Module):
    """One function of inputs of every dtype, one of a scalar, one that refuses at run time."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(tf.random.stateless_normal((3, 2), [1, 2]))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 3), tf.uint8, "video"),
            tf.TensorSpec((None, 3), tf.float32, "flow"),
            tf.TensorSpec((None,), tf.int32, "length"),
            tf.TensorSpec((None,), tf.bool, "mask"),
            tf.TensorSpec((None,), tf.int64, "step"),
            tf.TensorSpec((None, None), tf.string, "encoded"),
        ]
    )
    def mixed(self, video, flow, length, mask, step, encoded):
        return {
            "frames": tf.matmul(tf.cast(video, tf.float32), self.weights),
            "logits": tf.matmul(flow, self.weights),
            "length": length + 1,
            "mask": ~mask,
            "step": step * 2,
            "joined": tf.strings.join([encoded, encoded]),
        }

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32, "x"), tf.TensorSpec((), tf.string, "text")])
    def scalar(self, x, text):
        return {"x": x * tf.reduce_sum(self.weights), "text": text}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x")])
    def pairs(self, x):
        return {"x": tf.reshape(x, (-1, 2))}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder, module = tmp_path_factory.mktemp("c") / "1", EveryType()
    signatures = {"serving_default": module.mixed, "scalar": module.scalar, "pairs": module.pairs}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    with ServedModel(folder) as model:
        yield folder, model


def request(rng, batch, frames):
    return {
        "video": rng.integers(0, 256, (batch, frames, 3), np.uint8),
        "flow": rng.standard_normal((batch, 3)).astype("float32"),
        "length": rng.integers(0, 9, batch, np.int32),
        "mask": rng.integers(0, 2, batch).astype(bool),
        "step": rng.integers(-(2**60), 2**60, batch, np.int64),
        "encoded": np.array([b"", LONG, b"short"] * (batch * frames), object).reshape(batch, 3 * frames),
    }


@pytest.mark.parametrize("batch, frames", [(1, 1), (3, 2), (0, 2), (2, 0)])
def test_every_dtype_equals_the_python_loader(served, rng, batch, frames):
    folder, model = served
    inputs = request(rng, batch, frames)
    outputs = model.run("serving_default", inputs)
    python = tf.saved_model.load(str(folder)).signatures["serving_default"]
    dtypes = {name: spec.dtype for name, spec in python.structured_input_signature[1].items()}
    expected = python(**{name: tf.constant(x.tolist(), dtypes[name], x.shape) for name, x in inputs.items()})
    assert set(outputs) == set(expected)
    for name, x in expected.items():
        assert outputs[name].dtype == x.numpy().dtype, name
        np.testing.assert_array_equal(outputs[name], x.numpy(), err_msg=name)


def test_scalars(served):
    _, model = served
    outputs = model.run("scalar", {"x": np.float32(2), "text": LONG})
    assert outputs["x"].shape == outputs["text"].shape == () and outputs["text"][()] == LONG
    assert outputs["x"] == pytest.approx(2 * model.run("scalar", {"x": np.float32(1), "text": b""})["x"])


def test_signatures_say_what_goes_in_and_comes_out(served):
    _, model = served
    assert set(model.signatures) == {"serving_default", "scalar", "pairs"}
    assert model.signatures["scalar"] == Signature(
        {"x": Tensor("float32", ()), "text": Tensor("string", ())},
        {"x": Tensor("float32", ()), "text": Tensor("string", ())},
    )
    inputs = model.signatures["serving_default"].inputs
    assert inputs["video"] == Tensor("uint8", (None, None, 3)) and inputs["encoded"] == Tensor("string", (None, None))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"video": None}, "without 'video'"),
        ({"vide": np.zeros(1)}, "did you mean 'video'.*Received: .*'vide'"),
        (
            {"video": np.zeros((1, 2, 3), "float32")},
            "`video` of `serving_default` must be uint8. Received: dtype=float32",
        ),
        ({"flow": np.zeros((1, 3))}, "`flow` .*must be float32. Received: dtype=float64"),
        ({"video": np.zeros((1, 2, 4), "uint8")}, r"`video` .*\(None, None, 3\). Received: shape=\(1, 2, 4\)"),
        ({"video": np.zeros((2, 3), "uint8")}, r"`video` .*Received: shape=\(2, 3\)"),
        ({"encoded": np.array([["text"]], object)}, "`encoded` .*must be string. Received: dtype=objects"),
        ({"encoded": np.zeros((1, 1), "uint8")}, "`encoded` .*must be string. Received: dtype=uint8"),
    ],
)
def test_wrong_requests_name_the_input(served, rng, change, message):
    _, model = served
    inputs = {name: x for name, x in {**request(rng, 1, 2), **change}.items() if x is not None}
    with pytest.raises(InputError, match=message) as caught:
        model.run("serving_default", inputs)
    assert caught.value.code == INVALID_ARGUMENT and "\n" not in str(caught.value)


def test_what_tensorflow_refuses_keeps_its_code_and_the_next_request_is_answered(served):
    _, model = served
    with pytest.raises(InputError, match=r"`pairs` cannot take x \(3,\). Received: .*reshape.*3 values") as caught:
        model.run("pairs", {"x": np.zeros(3, "float32")})
    assert caught.value.code == INVALID_ARGUMENT and "\n" not in str(caught.value)
    assert model.run("pairs", {"x": np.arange(4, dtype="float32")})["x"].tolist() == [[0, 1], [2, 3]]


def test_unknown_signature_and_closed_model(served):
    folder, model = served
    with pytest.raises(InputError, match="did you mean 'pairs'"):
        model.run("pair", {})
    with ServedModel(folder) as other:
        pass
    with pytest.raises(InputError, match="a closed model"):
        other.run("pairs", {"x": np.zeros(2, "float32")})


@pytest.mark.parametrize("broken", ["nothing", "truncated"])
def test_a_folder_that_cannot_be_loaded(served, tmp_path, broken):
    if broken == "truncated":
        (tmp_path / "saved_model.pb").write_bytes((served[0] / "saved_model.pb").read_bytes()[:1000])
    with pytest.raises(InputError, match=f"{tmp_path} cannot be loaded. Received: .") as caught:
        ServedModel(tmp_path)
    assert caught.value.code != 0


def test_threads_share_a_session(served, rng):
    _, model = served
    requests = [request(rng, batch, 2) for batch in (1, 2, 3, 4)]
    alone = [model.run("serving_default", inputs) for inputs in requests]

    def serve(n):
        for _ in range(25):
            outputs = model.run("serving_default", requests[n])
            for name, x in alone[n].items():
                np.testing.assert_array_equal(outputs[name], x, err_msg=name)

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(serve, range(4)))) == 4  # the first error of a thread is raised here
