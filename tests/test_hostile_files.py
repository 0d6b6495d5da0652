"""Files that carry code: nothing of it runs when they are loaded, trained from or checked."""

import io
import json
import os
import pickle
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import train
from keras_st import saved
from keras_st.serving import check
from keras_st.serving.check import c_process, clean_process
from keras_st.specs import InputError
from keras_st.systems import build


@pytest.fixture
def marker(tmp_path):
    """A path that the code in every file of this module would make."""
    return tmp_path / "marker"


@pytest.fixture
def lambda_file(tmp_path, marker):
    """A `.keras` file whose Lambda layer makes the marker, where it is run."""
    path, made = tmp_path / "code.keras", str(marker)
    code = f"lambda x: (open({made!r}, 'w').close(), x)[1]"
    layer = keras.layers.Lambda(eval(code), output_shape=(3,))
    keras.Sequential([keras.Input((3,)), layer]).save(path)
    marker.unlink(missing_ok=True)
    return path


def test_a_lambda_is_not_run(lambda_file, marker):
    for path in (lambda_file, lambda_file.parent):
        if path.is_dir():
            shutil.copy(lambda_file, path / "model.keras")
        with pytest.raises(InputError, match="is not a whole model of this library. Received: .*`Lambda` layer"):
            saved.load(path)
    assert not marker.exists()


def test_the_lambda_would_run(lambda_file, marker):
    keras.saving.load_model(lambda_file, safe_mode=False)(np.zeros((1, 3)))
    assert marker.exists()


def test_training_does_not_run_a_lambda(lambda_file, marker, ut_tree, tmp_path):
    words = ["--data.name=ut_interaction", f"--data.root={ut_tree}", f"--model.weights={lambda_file}"]
    for system in ("p3d", "frame_resnet", "lrcn"):
        with pytest.raises((InputError, ValueError), match="`Lambda` layer"):
            train.main([system, *words, f"--runs={tmp_path / 'runs'}", f"--saved_models={tmp_path / 'served'}"])
    assert not marker.exists()


class Runs:
    """Unpickled, it makes the marker."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mknod, (str(self.path),)


def test_the_pickle_would_run(marker):
    pickle.loads(pickle.dumps(Runs(marker)))
    assert marker.exists()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A good `.keras` file of the project."""
    path, model = tmp_path_factory.mktemp("good") / "model.keras", build("conv_lstm", tiny=True)
    model({"video": np.zeros((1, 2, 8, 8, 1))})
    model.save(path)
    return path


def with_part(archive, path, name, content):
    """A copy of an archive with a part replaced, or added."""
    with zipfile.ZipFile(archive) as good, zipfile.ZipFile(path, "w") as bad:
        for part in good.namelist():
            if part.split(".")[:2] != name.split(".")[:2]:  # model.weights.npz stands for model.weights.h5
                bad.writestr(part, good.read(part))
        bad.writestr(name, content)
    return path


def test_pickled_weights_are_not_run(archive, marker, tmp_path):
    stored = io.BytesIO()
    np.savez(stored, **{"__root__": np.array([Runs(marker)], object)})
    path = with_part(archive, tmp_path / "pickled.keras", "model.weights.npz", stored.getvalue())
    with pytest.raises(InputError, match="is not a whole model of this library"):
        saved.load(path)
    assert not marker.exists()


@pytest.mark.parametrize("module, name", [("os", "mknod"), ("builtins", "exec"), ("keras.src.utils", "get_file")])
def test_functions_of_other_modules_are_not_called(archive, marker, tmp_path, module, name):
    config = {"module": module, "class_name": name, "config": {"path": str(marker)}, "registered_name": None}
    for part in (config, {"module": module, "class_name": "function", "config": name, "registered_name": name}):
        path = with_part(archive, tmp_path / f"{name}.keras", "config.json", json.dumps(part))
        with pytest.raises(InputError, match="of this library"):
            saved.load(path)
    assert not marker.exists()


def command(marker):
    """YAML that makes the marker, where it is read with all of YAML's tags."""
    return f"system: conv_lstm\nx: !!python/object/apply:os.mknod ['{marker}']\n"


class WritesOnLoading(tf.Module):
    """A SavedModel of which TensorFlow's own loader runs a function that writes a file."""

    def __init__(self, path):
        super().__init__()

        class Resource(tf.saved_model.experimental.TrackableResource):
            def _create_resource(self):
                return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

            def _initialize(self):
                tf.raw_ops.SaveV2(
                    prefix=str(path), tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
                )

        self.resource = Resource()
        _ = self.resource.resource_handle

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, None, 1), tf.uint8, "video")])
    def serve(self, video):
        return {"frames": tf.cast(video, tf.float32)}


def test_a_served_folder_that_writes_when_it_is_loaded(tiny_run, marker, tmp_path):
    _, served = tiny_run
    module, folder = WritesOnLoading(marker), tmp_path / "1"
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for function in saved_model.meta_graphs[0].graph_def.library.function:
        if "initializer" in function.signature.name:
            (result,) = (node for node in function.node_def if node.op == "Identity")
            result.input.append("^SaveV2")  # else it would be left out
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    shutil.copytree(served / "assets.extra", folder / "assets.extra")
    written = marker.with_name(marker.name + ".index")
    written.unlink(missing_ok=True)
    tf.saved_model.load(str(folder))
    assert written.exists()  # so it would
    written.unlink()
    with pytest.raises(InputError, match="is not a whole served model. Received: .*when the export is loaded"):
        saved.load(folder)
    assert not written.exists()


@pytest.mark.parametrize("place", ["run", "served"])
def test_yaml_is_only_data(tiny_run, marker, tmp_path, place):
    run, served = tiny_run
    folder = shutil.copytree(run if place == "run" else served, tmp_path / "1")
    recipe = folder / ("recipe.yaml" if place == "run" else "assets.extra/recipe.yaml")
    recipe.write_text(command(marker))
    with pytest.raises(InputError, match="recipe.yaml .*Received: "):
        saved.load(folder)
    if place == "run":
        with pytest.raises(InputError):
            train.main([f"--resume={folder}"])
    else:
        (result,) = check.check_export(folder)
        assert (result.name, result.ok, result.detail) == ("layout", False, "recipe.yaml cannot be read")
    assert not marker.exists()


def test_a_served_folder_with_code_beside_the_graph(tiny_run, marker, tmp_path, lambda_file):
    """Keras 2 read `keras_metadata.pb` and the layers in it; nothing here does, nor any pickle in the folder."""
    _, served = tiny_run
    folder = shutil.copytree(served, tmp_path / "1")
    with zipfile.ZipFile(lambda_file) as archive:
        config = archive.read("config.json")
    node = tf.compat.v1.NodeDef(name="root", op="_tf_keras_sequential")
    node.attr["metadata"].s = config
    (folder / "keras_metadata.pb").write_bytes(node.SerializeToString())
    for name in ("model.pkl", "variables/variables.pkl", "assets/features.npy", "assets.extra/features.pkl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(pickle.dumps(Runs(marker)))
    assert saved.load(folder).predict(np.zeros((2, 8, 8, 1), "uint8")).shape == (3, 8, 8, 1)
    results, may_run = check._check_files(folder)
    assert not may_run and results[-1].detail == "assets/features.npy is not among the files of features.json"
    (tmp_path / "work").mkdir()
    assert all(result.ok for result in c_process.check(folder, tmp_path / "work", full=False))
    clean_process.answer(str(folder), tmp_path / "work")
    assert (tmp_path / "work" / "answers.npz").is_file() and not marker.exists()
