"""ONNX and LiteRT files: the numbers of the model in their own runtimes, and what is refused."""

import dataclasses
import os
import sys

import numpy as np
import pytest

import train
from keras_st.serving.other_formats import export_litert, export_onnx
from keras_st.specs import VIDEO, InputError, MissingExtra
from keras_st.systems import recipe

CLIPS = [(1, 4, 32, 32), (3, 6, 32, 32), (2, 3, 16, 48)]


def made(name):
    model = train.build_model(recipe(name).tiny(), [dataclasses.replace(VIDEO, shape=(None, 32, 32, 1))])
    return model, CLIPS[: 2 if hasattr(model, "num_classes") else 3]  # a classifier's frames have one size


def answers(model, clip, **options):
    """What is served, from the model itself."""
    outputs = model({"video": (clip / 255).astype("float32")}, **options)
    if "frames" in outputs:
        return {"frames": np.clip(outputs["frames"], 0, 1)}
    logits = np.asarray(outputs["logits"])
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return {"logits": logits, "probabilities": exp / exp.sum(-1, keepdims=True)}


def onnx_runner(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda **clip: dict(zip(names, session.run(names, clip)))


def litert_runner(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    return lambda **clip: interpreter.get_signature_runner()(**clip)


def check(run, model, sizes, rng, **options):
    for size in sizes:
        clip = rng.integers(0, 256, (*size, 1), np.uint8)
        wanted, outputs = answers(model, clip, **options), run(video=clip)
        assert outputs.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_allclose(outputs[name], wanted[name], atol=1e-5)


@pytest.mark.parametrize("name", ["conv_lstm", "conv_gru", "lrcn"])  # conv_gru: loops that read a clip of no channels
def test_onnx_runtime_gives_the_models_numbers(name, tmp_path, rng):
    model, sizes = made(name)
    path = export_onnx(model, tmp_path / "new" / "m.onnx")
    check(onnx_runner(path), model, sizes, rng)
    assert os.listdir(path.parent) == ["m.onnx"]


def test_litert_takes_every_size_where_no_loop_collects_and_the_horizon_is_chosen(tmp_path, rng):
    model, sizes = made("conv_lstm")
    run = litert_runner(export_litert(model, tmp_path / "m.tflite", horizon=5))
    check(run, model, sizes, rng, horizon_frames=5)


def test_litert_needs_sizes_for_a_recurrent_layer(tmp_path, rng):
    model, sizes = made("lrcn")
    with pytest.raises(InputError, match="LiteRT cannot express.*Received: operation TensorListReserve"):
        export_litert(model, tmp_path / "m.tflite")
    assert not os.listdir(tmp_path)
    path = export_litert(model, tmp_path / "m.tflite", sizes={"video": (*sizes[0], 1)})
    check(litert_runner(path), model, sizes[:1], rng)


def test_the_first_operation_that_is_not_there_is_named(tmp_path, monkeypatch):
    import tensorflow as tf

    model, _ = made("c3d")
    with pytest.raises(InputError, match="LiteRT cannot express .*Received: operation MaxPool3D"):
        export_litert(model, tmp_path / "m.tflite")
    model, _ = made("lrcn")
    monkeypatch.setattr(model, "call", lambda inputs, **_: {"logits": tf.math.lgamma(inputs["video"][:, 0, 0, :2, 0])})
    with pytest.raises(InputError, match="ONNX cannot express .*Received: operation Lgamma"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("export", [export_onnx, export_litert])
def test_nothing_is_overwritten(export, tmp_path):
    (tmp_path / "m").write_text("here")
    with pytest.raises(InputError, match="Nothing is overwritten"):
        export(made("conv_lstm")[0], tmp_path / "m")
    assert (tmp_path / "m").read_text() == "here"


@pytest.mark.parametrize(
    "sizes", [{}, {"video": (1, 4, 16, 16, 3)}, {"video": (1, 4, 16)}, {"clip": (1, 4, 16, 16, 1)}]
)
def test_sizes_fit_the_inputs(sizes, tmp_path):
    with pytest.raises(InputError, match="`sizes` must be of the inputs.*Received: (video|clip)="):
        export_litert(made("conv_lstm")[0], tmp_path / "m", sizes=sizes)


def test_tf2onnx_is_an_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingExtra, match=r"keras_st\[onnx\]"):
        export_onnx(made("conv_lstm")[0], tmp_path / "m")
