"""What an export must do when it runs: a good one passes, each fault is found by the check that is for it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_st.serving import check
from keras_st.serving.c_loader import RequestError, Signature, Tensor
from keras_st.serving.check import clean_process, runs
from keras_st.serving.check.requests import LEVELS, Requests, decoded, encoded
from keras_st.serving.check.results import Differences, Failed
from keras_st.specs import LENGTH, VIDEO, FeatureSpec, InputError

predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
from tensorflow_serving.apis import prediction_log_pb2

WARMUP = "assets.extra/tf_serving_warmup_requests"
CHECKS = ["layout", "signatures", "operations", "size", "clean process", "C loader", "streaming", "batching", "repeats"]
PIXELS, FRAME = Tensor("uint8", (None, None, None, None, 1)), Tensor("uint8", (None, None, None, 1))
STATES = {"state_0": Tensor("float32", (None, 2)), "state_1": Tensor("int32", (None, 1))}
SCORES = {"logits": Tensor("float32", (None, 2)), "probabilities": Tensor("float32", (None, None, 2))}


def features(video):
    """Two numbers a frame, float32 (B, T, 2), of pixels in 0..1."""
    return np.stack([video.mean((2, 3, 4)), video.max((2, 3, 4))], -1).astype("float32")


class Toy:
    """A served model in NumPy: scores are means over the frames so far. A subclass is wrong somewhere."""

    signatures = {
        "serving_default": Signature({"video": PIXELS}, SCORES),
        "serving_float": Signature({"video": Tensor("float32", PIXELS.shape)}, SCORES),
        "encoded": Signature({"video": Tensor("string", (None, None))}, SCORES),
        "init_state": Signature({"frame": FRAME}, STATES),
        "step": Signature(
            {"frame": FRAME, **STATES}, {"logits": SCORES["logits"], "probabilities": SCORES["logits"], **STATES}
        ),
    }

    def run(self, signature, inputs):
        return getattr(self, signature)(**inputs)

    def serving_default(self, video):
        return self.serving_float((video / np.float32(255)).astype("float32"))

    def serving_float(self, video):
        x = features(video)
        return {"logits": x.mean(1), "probabilities": x}

    def encoded(self, video):
        return self.serving_default(decoded(video, 1))

    def init_state(self, frame):
        return {"state_0": np.zeros((len(frame), 2), "float32"), "state_1": np.zeros((len(frame), 1), "int32")}

    def step(self, frame, state_0, state_1):
        x = features(frame[:, None] / np.float32(255))[:, 0]
        total, count = state_0 + x, state_1 + 1
        logits = (total / count).astype("float32")
        return {"logits": logits, "probabilities": x, "state_0": total, "state_1": count}


def requests(toy, **told):
    return Requests(toy, {"features": [VIDEO], "classes": ["a", "b"], "example": {"video": [1, 4, 6, 8, 1]}, **told})


ALL = {
    "grid": lambda given: runs.grid(given, False, []),
    "streaming": lambda given: runs.streaming(given, False),
    "batching": runs.batching,
    "repeats": runs.repeats,
    "float": runs.float_input,
    "encoded": runs.encoded_input,
}


@pytest.mark.parametrize("name", ALL)
def test_a_good_model_passes(name):
    assert ALL[name](requests(Toy()))


class NotFinite(Toy):
    def serving_float(self, video):
        outputs = super().serving_float(video)
        return {**outputs, "logits": outputs["logits"] / 0.0 if video.shape[0] > 1 else outputs["logits"]}


class OneRow(Toy):
    def serving_float(self, video):
        return {name: x[:1] for name, x in super().serving_float(video).items()}


class OtherRank(Toy):
    def serving_float(self, video):
        outputs = super().serving_float(video)
        return {**outputs, "logits": outputs["probabilities"]}


class Refuses(Toy):
    def encoded(self, video):
        raise RequestError("no. Received: nothing")


class StateKept(Toy):
    def step(self, frame, state_0, state_1):
        return {**super().step(frame, state_0, state_1), "state_0": state_0}


class StreamsMixed(Toy):
    def step(self, frame, state_0, state_1):
        return super().step(frame, np.broadcast_to(state_0.mean(0), state_0.shape).astype("float32"), state_1)


class OtherRow(Toy):
    def step(self, frame, state_0, state_1):
        outputs = super().step(frame, state_0, state_1)
        return {**outputs, "probabilities": state_0}


class OfBatch(Toy):
    def serving_float(self, video):
        outputs = super().serving_float(video)
        return {**outputs, "logits": outputs["logits"] - outputs["logits"].mean(0, keepdims=True)}


class Remembers(Toy):
    calls = 0

    def serving_float(self, video):
        self.calls += 1
        outputs = super().serving_float(video)
        return {**outputs, "logits": outputs["logits"] + np.float32(self.calls * 1e-6)}


class OneAtATime(Toy):
    def serving_float(self, video):
        self.video = video
        time.sleep(0.01)  # another thread comes in
        return super().serving_float(self.video)


class OtherScale(Toy):
    def serving_default(self, video):
        return self.serving_float((video / np.float32(256)).astype("float32"))


class OtherPixels(Toy):
    def encoded(self, video):
        return self.serving_default(255 - decoded(video, 1))


@pytest.mark.parametrize(
    "fault, name, message",
    [
        (NotFinite, "grid", "`logits` of `serving_default` is not finite"),
        (OneRow, "grid", r"`logits` of `serving_default` is \(1, 2\) for 2 clips"),
        (OtherRank, "grid", r"`logits` of `serving_default` is \(1, 4, 2\)"),
        (Refuses, "grid", "`encoded` refuses the example: no. Received: nothing"),
        (StateKept, "streaming", "`logits` of `step` after 2 frames differs"),
        (OtherRow, "streaming", "`probabilities` of `step` after 1 frames differs"),
        (StreamsMixed, "streaming", "of streams in a batch differs"),
        (OfBatch, "batching", "`logits` of `serving_default` in a batch differs"),
        (Remembers, "repeats", "`logits` of `serving_default` differs from call to call"),
        (OneAtATime, "repeats", "of `serving_default` beside another thread differs"),
        (OtherScale, "float", "of `serving_float` differs"),
        (OtherPixels, "encoded", "of `encoded` of png differs"),
    ],
)
def test_a_fault_is_found(fault, name, message):
    np.seterr(divide="ignore", invalid="ignore")
    with pytest.raises(Failed, match=message):
        ALL[name](requests(fault()))


class TwoFramesUp(Toy):
    """Takes no single frame, and no clip of another height than 6."""

    def serving_float(self, video):
        if video.shape[1] < 2 or video.shape[2] != 6:
            raise RequestError(f"`video` is wrong. Received: {video.shape}")
        return super().serving_float(video)


def test_sizes_that_a_graph_refuses_are_counted_and_told():
    found = runs.grid(requests(TwoFramesUp()), False, [])
    assert (
        "7 requests of 5 signatures, 3 sizes refused by the graph (`video` is wrong. Received: (2, 7, 12, 8, 1))"
        in found
    )
    found = runs.grid(requests(Toy()), True, answers := [])
    sizes = {inputs["video"].shape for signature, inputs, _ in answers if signature == "serving_default"}
    assert sizes == {(b, t, h, 8, 1) for b in (1, 2, 5) for t in (1, 4, 7) for h in (6, 12)} and "refused" not in found
    with pytest.raises(Failed, match="no clip is taken, the last was refused: `video` is wrong"):
        requests(TwoFramesUp(), example={"video": [1, 1, 6, 8, 1]})
    with pytest.raises(Failed, match="the whole clip is refused: `video` is wrong"):
        given = requests(Toy())
        given.model = TwoFramesUp()
        given._example = {"video": (1, 4, 7, 8, 1)}
        runs.streaming(given, True)


def test_a_graph_that_fails_without_naming_an_input_is_at_fault():
    def fails(self, video):
        if len(video) > 1:
            raise RequestError("Incompatible shapes: [2,3] vs. [1,3]")
        return Toy.serving_float(self, video)

    model = Toy()
    model.serving_float = fails.__get__(model)
    with pytest.raises(Failed, match=r"fails at {'video': \(2, .*} and names no input: Incompatible shapes"):
        runs.grid(requests(model), False, [])


class Fields(Toy):
    """Of stored features, with lengths, whose example nobody says; it takes four steps."""

    signatures = {
        "serving_default": Signature(
            {"rgb": Tensor("float32", (None, None, 3)), "length": Tensor("int32", (None,))},
            {"logits": Tensor("float32", (None, 3))},
        )
    }

    def serving_default(self, rgb, length):
        if rgb.shape[1] > 4:
            raise RequestError(f"`rgb` is too long. Received: {rgb.shape}")
        assert ((length > 0) & (length <= rgb.shape[1])).all() and 1 < abs(rgb).max() < 2
        return {"logits": (rgb * (np.arange(rgb.shape[1])[:, None] < length[:, None, None])).sum(1).astype("float32")}


def test_an_example_is_looked_for_where_none_is_told():
    spec = FeatureSpec("rgb", "float32", (None, 3))
    given = Requests(Fields(), {"features": [spec, LENGTH], "classes": ["a"]})
    assert given.frames == 4 and "refused" in ALL["grid"](given) and ALL["batching"](given)


def test_pixels_are_those_that_divide_and_multiply_alike():
    x = LEVELS.astype("float32")
    assert len(LEVELS) > 100 and {0, 255} <= set(LEVELS.tolist())
    assert (x / np.float32(255) == x * (np.float32(1) / np.float32(255))).all()


def test_images_come_back():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 3), np.uint8)
    np.testing.assert_array_equal(decoded(encoded(images, "png"), 3), images)
    assert encoded(images, "jpeg").shape == (2, 3) and encoded(images, "jpeg")[0, 0].startswith(b"\xff\xd8")


def test_numbers_differ_by_value_shape_dtype_and_name():
    same, x = Differences(), np.array([1.0, np.nan, 100.0], "float32")
    same.add("a", {"x": x}, {"x": x + np.float32(1e-4)})
    for other, message in ((x + 1, "differs by 1"), (x[:2], "expected"), (x.astype("float64"), "expected")):
        with pytest.raises(Failed, match=message):
            same.add("a", {"x": other}, {"x": x})
    with pytest.raises(Failed, match=r"a gives \['y'\], expected \['x'\]"):
        same.add("a", {"y": x}, {"x": x})
    with pytest.raises(Failed, match="`x` of a differs"):
        same.add("a", {"x": np.array([1, 2])}, {"x": np.array([1, 3])})
    assert 0 < same.largest < 1e-5 and "tolerance" in str(same)


def log(signature, **inputs):
    made = prediction_log_pb2.PredictionLog()
    made.predict_log.request.model_spec.signature_name = signature
    for name, x in inputs.items():
        made.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(x))
    return made.SerializeToString()


def filtered(record):
    """A request for one output alone, which is not there."""
    made = prediction_log_pb2.PredictionLog.FromString(record)
    made.predict_log.request.output_filter.append("scores")
    return made.SerializeToString()


def write_records(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def test_warm_up_requests_are_run(tmp_path, monkeypatch):
    given, video = requests(Toy()), np.zeros((1, 2, 4, 4, 1), "uint8")
    good = write_records(tmp_path / "good", [log("serving_default", video=video), log("", video=video)])
    assert runs.warmup(given, good) == "2 requests answered, of serving_default"
    for records, message in (
        ([], "there must be 1 to 1000 requests, there are 0"),
        ([log("serving_default", video=video)] * 1001, "there are 1001"),
        ([prediction_log_pb2.PredictionLog().SerializeToString()], "record 0 holds no PredictLog"),
        ([log("serving_default", video=video), b"\xff"], "record 1 holds no PredictLog"),
        ([filtered(log("", video=video))], "record 0 asks `serving_default` for 'scores', which it does not give"),
    ):
        with pytest.raises(Failed, match=message):
            runs.warmup(given, write_records(tmp_path / "bad", records))
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(InputError, match=r"keras_st\[serving\].*Received: "):
        runs.warmup(given, good)


# With processes


@pytest.fixture(scope="module")
def checked(tiny_run, tmp_path_factory):
    """A whole export with warm-up requests, one whose warm-up asks for what is not there: results of the full check."""
    _, served = tiny_run
    folder, results = tmp_path_factory.mktemp("checked"), {}
    video, frame = np.zeros((1, 2, 8, 8, 1), "uint8"), np.zeros((1, 8, 8, 1), "uint8")
    for name, records in (
        ("good", [log("serving_default", video=video), log("init_state", frame=frame)]),
        ("wrong", [log("serving_default", video=video[..., 0])]),
    ):
        shutil.copytree(served, folder / name / "1")
        write_records(folder / name / "1" / WARMUP, records)
    results = check.check_exports([folder / "good" / "1", str(folder / "wrong")], full=True)
    assert [*results] == [folder / "good" / "1", str(folder / "wrong")]
    return [*results.values()]


def test_a_whole_export_passes_every_check(checked):
    good, _ = checked
    assert [result.name for result in good] == [*CHECKS, "float input", "encoded", "warm-up"]
    assert all(result.ok for result in good), good
    told = {result.name: result.detail for result in good}
    assert "66 requests of 5 signatures" in told["C loader"] and "equal to the clean process" in told["C loader"]
    assert "2 requests answered, of init_state, serving_default" in told["warm-up"]
    assert "png, jpeg" in told["encoded"] and "frames" in told["streaming"]


def test_a_warm_up_that_is_refused_fails_alone(checked):
    _, wrong = checked
    assert [result.name for result in wrong if not result.ok] == ["warm-up"]
    assert "`video` of `serving_default` must be" in wrong[-1].detail


DIES = """
import json, os, pathlib, signal, sys
for job in json.load(open(sys.argv[1])):
    pathlib.Path(job["work"], "seen").touch()
    if job["folder"] == "crash":
        os.kill(os.getpid(), 11)
    if job["folder"] == "raise":
        raise KeyError("nothing")
    if job["folder"] == "loop":
        signal.pause()
    pathlib.Path(job["work"], "made").touch()
"""


def test_a_process_that_dies_takes_one_export_with_it(tmp_path):
    jobs = {}
    for name in ("first", "crash", "second", "raise", "third"):
        jobs[name] = {"folder": name, "work": str(tmp_path / name)}
        (tmp_path / name).mkdir()
    ended = check._run_child(["-c", DIES], jobs, "made")
    assert ended == {
        **dict.fromkeys(jobs),
        "crash": "the process crashed with signal 11",
        "raise": "the process failed: KeyError: 'nothing'",
    }
    assert all(pathlib.Path(job["work"], "seen").exists() for job in jobs.values())


def test_a_process_that_does_not_end_takes_one_export_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "LONGEST", 1.5)
    jobs = {name: {"folder": name, "work": str(tmp_path / name)} for name in ("first", "loop", "second")}
    for name in jobs:
        (tmp_path / name).mkdir()
    ended = check._run_child(["-c", DIES], jobs, "made")
    assert ended == {**dict.fromkeys(jobs), "loop": "the process did not end within 4.5 seconds"}


def test_keras_cannot_be_imported_in_the_clean_process(tmp_path):
    (tmp_path / "jobs.json").write_text("[]")
    code = "import clean_process; clean_process.main(); import keras"
    folder = pathlib.Path(clean_process.__file__).parent
    child = subprocess.run(
        [sys.executable, "-P", "-c", code, tmp_path / "jobs.json"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert child.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of keras halted")


def test_the_clean_process_and_the_c_loader_must_agree(tmp_path):
    x = np.ones((2, 3), "float32")
    (tmp_path / "results.json").write_text(json.dumps([["C loader", True, "1 request"], ["batching", True, ""]]))
    np.savez(tmp_path / "requests.npz", **{"0/s/in/x": x, "0/s/out/y": x})
    for answers, ok in (({"0/s/out/y": x}, True), ({"0/s/out/y": x * 1.001}, False), ({"0/s/out/z": x}, False)):
        np.savez(tmp_path / "answers.npz", **answers)
        clean, by_c, batching = check._joined(tmp_path, None, True, None)
        assert clean.ok and by_c.ok is ok and batching.ok
    clean, *_ = check._joined(tmp_path, None, True, "the process failed: ModuleNotFoundError")
    assert not clean.ok and "ModuleNotFoundError" in clean.detail
    (by_c,) = check._joined(tmp_path, "the process crashed with signal 11", False, None)
    assert not by_c.ok and "signal 11" in by_c.detail
