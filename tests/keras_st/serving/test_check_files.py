"""Exports that somebody or something has changed: each is refused by the check that is for it, before anything runs."""

import contextlib
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_st.serving.check import __main__ as command
from keras_st.serving.check import _check_files, check_export, version_folder
from keras_st.serving.check.operations import GRADIENTS, SAVING, SERVING, reason_against
from keras_st.serving.check.results import Result
from keras_st.serving.companions import sums
from keras_st.specs import InputError

WARMUP = "assets.extra/tf_serving_warmup_requests"


class Classifier(tf.Module):
    """Scores of clips. `twice` stores more weights, "read" or "unread"; `noise` is added to the scores."""

    def __init__(self, twice=None, noise=lambda x: 0.0):
        super().__init__()
        self.weights = tf.Variable(tf.random.stateless_normal((3, 500), [1, 2]))
        self.more = tf.Variable(tf.random.stateless_normal((500, 3), [3, 4]))
        self.copy = tf.Variable(self.weights + (twice == "unread")) if twice else None
        self.twice, self.noise = twice, noise

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, None, 3), tf.uint8, "video")])
    def serve(self, video):
        mean = tf.reduce_mean(tf.cast(video, tf.float32), [1, 2, 3]) / 255
        x = tf.tanh(mean @ self.weights)
        x = x + mean @ self.copy if self.twice == "read" else x
        return {"logits": tf.cast(tf.nn.relu(x) @ self.more + self.noise(mean), tf.float32)}


def write(module, folder, told=None, **signatures):
    """A SavedModel with a features.json."""
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve, **signatures})
    extra = folder / "assets.extra"
    extra.mkdir()
    feature = {"name": "video", "dtype": "uint8", "shape": [None, None, None, 3], "value_range": [0.0, 255.0]}
    (extra / "recipe.yaml").write_text("system: none\n")
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        writer.write(b"a record")
    known = {"features": [feature], "classes": ["a", "b", "c"], "multi_label": False, "files": sums(folder)}
    (extra / "features.json").write_text(json.dumps({**known, "example": {"video": [1, 4, 8, 6, 3]}, **(told or {})}))
    return folder


def resign(folder, files):
    """Brings the sums of features.json up to date, as somebody who changes an export would."""
    path = folder / "assets.extra" / "features.json"
    with contextlib.suppress(OSError, ValueError, KeyError, RecursionError):
        told = json.loads(path.read_text())
        if told["files"] == files:
            path.write_text(json.dumps({**told, "files": sums(folder)}))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = write(Classifier(), tmp_path_factory.mktemp("made") / "1")
    results, may_run = _check_files(folder)
    assert may_run and all(result.ok for result in results), results
    return folder


def with_bytes(name, change):
    def tamper(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return tamper


def flipped(content):
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def with_told(**changes):
    def tamper(folder):
        path = folder / "assets.extra" / "features.json"
        told = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))

    return tamper


def with_graph(change):
    def tamper(folder):
        path = folder / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        change(saved)
        path.write_bytes(saved.SerializeToString())

    return tamper


def with_node(op, **attributes):
    def change(saved):
        functions = saved.meta_graphs[0].graph_def.library.function
        node = functions[0].node_def.add(name="added", op=op)
        for name, value in attributes.items():
            node.attr[name].s = value

    return with_graph(change)


def that_runs(op):
    """An operation that is run when TensorFlow loads the graph."""

    def change(saved):
        meta = saved.meta_graphs[0]
        node = meta.graph_def.node.add(name="start", op="NoOp")
        meta.graph_def.node.add(name="added", op=op)
        node.input.append("^added")
        initialiser = meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"]
        initialiser.name = "start"

    return with_graph(change)


def served(saved):
    return saved.meta_graphs[0].signature_def["serving_default"]


def added_function(saved):
    return saved.meta_graphs[0].graph_def.library.function.add()


def that_may_write(saved):
    """A function that nothing of the graph calls: an object might."""
    function = added_function(saved)
    function.signature.name = "added"
    function.node_def.add(name="save", op="SaveV2")


def linked(folder):
    shutil.move(folder / "variables", folder.parent / "elsewhere")
    (folder / "variables").symlink_to(folder.parent / "elsewhere")


def without(name):
    return lambda folder: (folder / name).unlink()


def lengthen_shard(folder):
    with open(folder / "variables/variables.data-00000-of-00001", "ab") as file:
        file.write(b"\1" * 100_000)


SHARD = "variables/variables.data-00000-of-00001"
VIDEO = {"name": "video", "dtype": "uint8", "shape": [None, None, None, 3], "value_range": [0.0, 255.0]}
CHANGES = {
    "a shard with a flipped bit": (
        with_bytes("variables/variables.data-00000-of-00001", flipped),
        "layout: the variables cannot be read: .*(C|c)hecksum",
    ),
    "a shard cut short": (
        with_bytes("variables/variables.data-00000-of-00001", lambda x: x[:-500]),
        "layout: the variables cannot be read",
    ),
    "no shard": (without("variables/variables.data-00000-of-00001"), "layout: the shards .* must be all there"),
    "a shard too many": (
        lambda folder: (folder / "variables/variables.data-00001-of-00002").write_bytes(b"x"),
        "layout: the shards .* must be all there, and no others",
    ),
    "an index with a flipped bit": (
        with_bytes("variables/variables.index", lambda x: x[:20] + bytes([x[20] ^ 8]) + x[21:]),
        "layout: the variables cannot be read",
    ),
    "no index": (without("variables/variables.index"), "layout: variables/variables.index is not there"),
    "a graph cut short": (with_bytes("saved_model.pb", lambda x: x[: len(x) // 2]), "layout: saved_model.pb cannot"),
    "an empty graph": (with_bytes("saved_model.pb", lambda x: b""), "layout: saved_model.pb must hold one graph"),
    "two graphs": (
        with_graph(lambda saved: saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])),
        "layout: saved_model.pb must hold one graph, .* it holds 2",
    ),
    "half written": (without("saved_model.pb"), "layout: saved_model.pb cannot be read"),
    "an export left unfinished": (
        lambda folder: (folder / ".writing-abc").mkdir(),
        "layout: .writing-abc is left of an export",
    ),
    "no features.json": (without("assets.extra/features.json"), "layout: .*features.json cannot be read"),
    "half a features.json": (with_bytes("assets.extra/features.json", lambda x: x[:-9]), "layout: .*features.json"),
    "features without a task": (with_told(classes=None), "layout: .*must tell"),
    "an example without a size": (with_told(example={"video": [1, None]}), "layout: the example"),
    "a file that is listed and not there": (
        with_told(files={"assets/x": "0"}),
        "layout: assets/x, which .* is not there",
    ),
    "files that are none": (with_told(files=["saved_model.pb"]), "layout: .*must list the files with their SHA-256"),
    "no files": (with_told(files=None), "layout: .*must list the files with their SHA-256 .older exports"),
    "a listed file outside": (with_told(files={"../../x": "0"}), "layout: ../../x, which .* is not there"),
    "a file with another sum": (with_told(files={"saved_model.pb": "0"}), "layout: saved_model.pb is not what was"),
    "an empty recipe": (with_bytes("assets.extra/recipe.yaml", lambda x: b""), "layout: recipe.yaml cannot"),
    "a recipe without a bottom": (with_bytes("assets.extra/recipe.yaml", lambda x: b"[" * 9999), "layout: recipe.yaml"),
    "features.json without a bottom": (
        with_bytes("assets.extra/features.json", lambda x: b"[" * 99999),
        "layout: .*features.json cannot be read: RecursionError",
    ),
    "labels in another encoding": (
        lambda folder: (folder / "assets" / "labels.txt").write_bytes("ä\nb\nc\n".encode("latin-1")),
        "layout: labels.txt does not name the classes",
    ),
    "a shard that is still being copied": (
        lambda folder: (folder / SHARD).rename(folder / f"{SHARD}.part"),
        "layout: the shards .* must be all there",
    ),
    "a second model": (
        lambda folder: (folder / "saved_model.pbtxt").write_text("x"),
        "layout: a model is in saved_model.pb alone, there is saved_model.pbtxt",
    ),
    "a link": (linked, "layout: variables.* is a link: a server sees this folder alone"),
    "a recipe that is none": (with_bytes("assets.extra/recipe.yaml", lambda x: b"[1, 2"), "layout: recipe.yaml cannot"),
    "labels of others": (
        lambda folder: (folder / "assets" / "labels.txt").write_text("a\nb\n"),
        "layout: labels.txt does not name the classes",
    ),
    "a warm-up file cut short": (with_bytes(WARMUP, lambda x: x[:-3]), "layout: tf_serving_warmup_requests cannot be"),
    "a warm-up file with a flipped bit": (
        with_bytes(WARMUP, lambda x: x[:14] + bytes([x[14] ^ 1]) + x[15:]),
        "layout: tf_serving_warmup_requests cannot be",
    ),
    "another feature": (
        with_told(features=[{**VIDEO, "name": "audio"}]),
        r"signatures: `serving_default` takes 'video', which features.json does not know",
    ),
    "another dtype": (
        with_told(features=[{**VIDEO, "dtype": "float32"}]),
        "signatures: `video` is uint8 .* features.json says float32",
    ),
    "other channels": (with_told(features=[{**VIDEO, "shape": [None, None, None, 1]}]), "signatures: `video` is uint8"),
    "other classes": (with_told(classes=["a", "b"]), "signatures: `logits` is .* features.json says 2"),
    "a forecaster it is not": (
        with_told(classes=None, horizon_frames=2),
        "signatures: by the horizon_frames of features.json there is `frames`, there is .*logits",
    ),
    "a signature for another way of calling": (
        with_graph(lambda saved: setattr(served(saved), "method_name", "tensorflow/serving/classify")),
        "signatures: `serving_default` must be called by tensorflow/serving/predict, it is by 'tensorflow/serving/cl",
    ),
    "a dtype that is none": (
        with_graph(lambda saved: setattr(served(saved).outputs["logits"], "dtype", 0)),
        "signatures: TypeError",
    ),
    "a resource": (
        with_graph(lambda saved: setattr(saved.meta_graphs[0].object_graph_def.nodes.add().resource, "device", "")),
        "operations: an object that is a resource may run functions when the export is loaded",
    ),
    "an object that restores itself": (
        with_graph(lambda saved: saved.meta_graphs[0].object_graph_def.nodes[0].saveable_objects["x"].SetInParent()),
        "operations: an object that restores itself runs functions",
    ),
    "a function named like an operation": (
        with_graph(lambda saved: setattr(added_function(saved).signature, "name", "WriteFile")),
        "operations: a function has the name of an operation, `WriteFile`",
    ),
    "no serving_default": (
        with_graph(lambda saved: saved.meta_graphs[0].signature_def.pop("serving_default")),
        "signatures: `serving_default` is not there",
    ),
    "Python in the graph": (
        with_node("EagerPyFunc", token=b"x"),
        "operations: `EagerPyFunc` runs Python .node `added`",
    ),
    "chance in the graph": (with_node("RandomUniform"), "operations: `RandomUniform` draws at random"),
    "a data set in the graph": (with_node("TensorSliceDataset"), "operations: `TensorSliceDataset` reads a data set"),
    "a file in the graph": (with_node("WriteFile"), "operations: `WriteFile` reads or writes files"),
    "a file written on loading": (that_runs("SaveV2"), "operations: `SaveV2` is run when the export is loaded"),
    "weights read from elsewhere on loading": (
        that_runs("RestoreV2"),
        "operations: `RestoreV2` is run when the export",
    ),
    "a file written by a function": (
        with_graph(that_may_write),
        "operations: `SaveV2` writes files, in function added, which is not",
    ),
    "an operation of others": (with_node("Addons>Warp"), "operations: `Addons>Warp` is of a custom library"),
    "an unknown operation": (with_node("NoSuchThing"), "operations: `NoSuchThing` is unknown to TensorFlow"),
    "an operation nobody needs": (with_node("Svd"), "operations: `Svd` is none that exports"),
    "a table in the graph": (with_node("HashTableV2"), "operations: `HashTableV2` keeps a state"),
    "a shard with more than weights": (lengthen_shard, "size: the shards hold"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_export_is_refused(made, tmp_path, change):
    folder = pathlib.Path(shutil.copytree(made, tmp_path / "1"))
    tamper, message = CHANGES[change]
    files = sums(folder)
    tamper(folder)
    resign(folder, files)
    results, may_run = _check_files(folder)
    failed = [str(result) for result in results if not result.ok]
    assert failed and not any(result.ok for result in results if result.name == message.split(":")[0])
    assert re.search(message, failed[0]), failed[0]
    assert may_run is message.startswith("size")
    assert ("operations" in {result.name for result in results}) is not message.startswith("layout")


def test_files_are_those_that_were_written_together(made, tmp_path):
    """Whole files of another version or of another hand, as an interrupted copy leaves them."""
    other = write(Classifier(), tmp_path / "other" / "1")
    (made / "assets").mkdir(exist_ok=True)

    def refusal(tamper):
        folder = pathlib.Path(shutil.copytree(made, tmp_path / "1"))
        tamper(folder)
        results, may_run = _check_files(folder)
        shutil.rmtree(folder)
        return None if may_run else str(results[-1])

    def mixed(folder):
        weights = tf.train.load_checkpoint(str(other / "variables" / "variables"))
        assert weights.get_variable_to_shape_map()
        shutil.copytree(other / "variables", folder / "variables", dirs_exist_ok=True)
        index = folder / "saved_model.pb"
        index.write_bytes((other / "saved_model.pb").read_bytes())

    assert refusal(lambda folder: None) is None
    assert refusal(lambda folder: (folder / "assets.extra" / "mine.txt").write_text("x")) is None
    assert "saved_model.pb is not what was written" in refusal(mixed)
    assert refusal(with_bytes("assets.extra/recipe.yaml", lambda x: x + b"more: 1\n")) is None
    assert "tf_serving_warmup_requests, which features.json lists, is not there" in refusal(without(WARMUP))
    assert "fingerprint.pb, which features.json lists, is not there" in refusal(without("fingerprint.pb"))
    assert "assets/x is not among the files" in refusal(lambda folder: (folder / "assets" / "x").write_text("x"))
    assert refusal(lambda folder: (folder.parent / ".writing-abc").mkdir()) is None  # another export, beside it


def test_a_version_is_an_integer(made, tmp_path):
    folder = pathlib.Path(shutil.copytree(made, tmp_path / "latest"))
    (result,) = check_export(folder)
    assert not result.ok and "must be an integer, it is 'latest'" in result.detail


@pytest.mark.parametrize(
    "module, message",
    [
        (Classifier(twice="unread"), "bytes of weights are stored, the signatures read .* must be stored once"),
        (Classifier(twice="read"), "two tensors hold the same weights: copy.* and weights"),
        (
            Classifier(noise=lambda x: tf.reduce_sum(tf.constant(np.random.rand(400_000), tf.float32))),
            "weights are var",
        ),
    ],
    ids=["unread", "read", "constant"],
)
def test_weights_are_stored_once_and_as_variables(tmp_path, module, message):
    results, may_run = _check_files(write(module, tmp_path / "1"))
    (failed,) = [result for result in results if not result.ok]
    assert may_run and failed.name == "size"
    assert re.search(message, failed.detail), failed


def assigned(variable):
    def noise(x):
        with tf.control_dependencies([variable.assign(variable + 1)]):
            return tf.identity(variable)

    return noise


@pytest.mark.parametrize(
    "noise, message",
    [
        (lambda x: tf.py_function(lambda y: y, [x[:, :1]], tf.float32), "`EagerPyFunc` runs Python"),
        (lambda x: tf.random.normal((3,)), "`RandomStandardNormal` draws at random"),
        (lambda x: tf.random.stateless_uniform((3,), [1, 2]), "draws at random"),
        (lambda x: tf.strings.length(tf.io.read_file("/etc/hostname")), "`ReadFile` reads or writes files"),
        (assigned(tf.Variable(0.0)), "`AssignVariableOp` saves, restores or changes variables, and a signature"),
    ],
    ids=["python", "random", "stateless", "file", "assign"],
)
def test_operations_that_really_serve_are_found(tmp_path, noise, message):
    module = Classifier(noise=lambda x: tf.cast(noise(x), tf.float32))
    module.kept = getattr(noise, "__closure__", None) and noise.__closure__[0].cell_contents
    results, may_run = _check_files(write(module, tmp_path / "1"))
    failed = [str(result) for result in results if not result.ok]
    assert not may_run and message in failed[0]


def test_saving_may_not_be_served():
    assert reason_against("SaveV2", served=False) is None and "a signature runs it" in reason_against("SaveV2", True)
    assert reason_against("TanhGrad", served=False) is None and reason_against("TanhGrad", served=True)
    assert not [op for op in SERVING | SAVING | GRADIENTS if not hasattr(tf.raw_ops, op)]
    assert not [op for op in SERVING if reason_against(op, True)]


class Streamed(Classifier):
    """`begin` gives the states that `advance` should take."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, "frame")])
    def begin(self, frame):
        return {"state_0": tf.zeros((tf.shape(frame)[0], 3))}

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, "frame")])
    def begin_wider(self, frame):
        return {"state_0": tf.zeros((tf.shape(frame)[0], 4))}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None, 3), tf.uint8, "frame"),
            tf.TensorSpec((None, 3), tf.float32, "state_0"),
        ]
    )
    def advance(self, frame, state_0):
        return {"logits": state_0, "state_0": state_0 + tf.reduce_mean(tf.cast(frame, tf.float32), [1, 2])}

    @tf.function(input_signature=[tf.TensorSpec((1, 2), tf.float32, "video")])
    def one(self, video):
        return {"logits": video}

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "video")])
    def doubles(self, video):
        return {"logits": tf.cast(video, tf.float64)}

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "video")])
    def total(self, video):
        return {"logits": tf.reduce_sum(video)}


@pytest.mark.parametrize(
    "signatures, message",
    [
        ({"init_state": "begin"}, "`init_state` and `step` come together"),
        ({"init_state": "begin_wider", "step": "advance"}, "`state_0` is .*4.* of `init_state`, .*3.* of `step`"),
        ({"init_state": "begin", "step": "begin"}, "must give, `step` take and give the same states"),
        ({"other": "one"}, "`video` of `other` must have a leading batch axis of any size"),
        ({"other": "doubles"}, "`logits` of `other` must be float32, it is float64"),
        ({"other": "total"}, "`logits` of `other` must have a leading batch axis"),
    ],
)
def test_signatures_fit_each_other(tmp_path, signatures, message):
    module = Streamed()
    folder = write(module, tmp_path / "1", **{name: getattr(module, function) for name, function in signatures.items()})
    results, may_run = _check_files(folder)
    assert not may_run and re.search(message, str(results[1])), results[1]


def test_folders_a_user_may_mean(made, tmp_path):
    shutil.copytree(made, tmp_path / "3")
    shutil.copytree(made, tmp_path / "12")
    assert version_folder(tmp_path).name == "12" and version_folder(tmp_path / "3").name == "3"
    for wrong in (tmp_path / "none", made / "variables"):
        with pytest.raises(InputError, match=f"Received: {wrong}, "):
            check_export(wrong)


def test_the_command_prints_a_line_a_check_and_exits_with_a_code(made, tmp_path, capsys, monkeypatch):
    from keras_st import cli

    folder = pathlib.Path(shutil.copytree(made, tmp_path / "1"))
    for given, code in (((str(tmp_path / "none"),), 2), (("--ful", str(folder)), 2)):
        with pytest.raises(SystemExit) as exit:
            cli.run(command.main, given)
        assert exit.value.code == code and capsys.readouterr().err.startswith("error: ")
    (folder / "saved_model.pb").unlink()
    with pytest.raises(SystemExit) as exit:
        command.main([str(tmp_path)])
    assert exit.value.code == 1
    assert capsys.readouterr().out.startswith("FAIL layout: saved_model.pb cannot be read")
    asked = []
    monkeypatch.setattr(command, "check_export", lambda *words: asked.append(words) or [Result("a", True, "b")])
    command.main(["x", "--full"])
    assert capsys.readouterr().out == "ok   a: b\n" and asked == [("x", True)]
