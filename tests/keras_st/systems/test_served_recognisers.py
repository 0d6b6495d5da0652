"""Every recogniser, exported at toy size, in one process without Keras: the same scores and attention."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from keras_st.serving import export
from keras_st.specs import LENGTH, PIXELS, VIDEO, ClassifyTask, FeatureSpec
from keras_st.systems import list_systems, recipe

CHILD = """
import json, sys
sys.modules["keras"] = sys.modules["tf_keras"] = None  # any import of Keras now fails
import numpy as np, tensorflow as tf
folders, inputs, out = json.loads(sys.argv[1]), np.load(sys.argv[2]), {}
for name, folder in folders.items():
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    _, specs = signature.structured_input_signature
    for n, size in enumerate(json.loads(sys.argv[4])[name]):
        given = {stream: tf.constant(inputs[f"{name}/{n}/{stream}"]) for stream in specs}
        for key, value in signature(**given).items():
            out[f"{name}/{n}/{key}"] = value.numpy()
np.savez(sys.argv[3], **out)
"""
FEATURES = {
    "video": dataclasses.replace(VIDEO, shape=(None, 32, 32, 1)),
    "flow": FeatureSpec("flow", "float32", (None, 32, 32, 2), (-8.0, 8.0), "px/frame"),
    "rgb": FeatureSpec("rgb", "float32", (None, 7)),
    "audio": FeatureSpec("audio", "float32", (None, 5)),
    "mean_rgb": FeatureSpec("mean_rgb", "float32", (7,)),
    "mean_audio": FeatureSpec("mean_audio", "float32", (5,)),
}
ELSEWHERE = ("p3d", "c3d", "frame_resnet")  # tests/test_classes.py
NAMES = [
    name for name in list_systems() if isinstance(recipe(name).task, ClassifyTask) and not name.startswith(ELSEWHERE)
]


def drawn(spec, batch, length, rng):
    """Random values of an input."""
    shape = tuple(length if size is None else size for size in spec.shape)
    low, high = spec.value_range or (-2.0, 2.0)
    if spec.dtype == "float32":
        return rng.uniform(low, high, (batch, *shape)).astype("float32")
    return rng.integers(low, high, (batch, *shape), spec.dtype)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """`{system: (model, [inputs])}` and what the child process gave, by `system/number of the input/output`."""
    folder, rng = tmp_path_factory.mktemp("recognisers"), np.random.default_rng(0)
    models, folders, given, sizes = {}, {}, {}, {}
    for name in NAMES:
        made = recipe(name).tiny()
        size = {"channels": 1, "resize": (32, 32)} if made.task.streams[0] in PIXELS else {}
        task = dataclasses.replace(made.task, clip_frames=12, **size)
        model = dataclasses.replace(made, task=task).build()
        features = [FEATURES[stream] for stream in task.streams]
        model.build({spec.name: (None, *(12 if n is None else n for n in spec.shape)) for spec in features})
        features += [LENGTH] if task.streams == ("rgb", "audio") else []
        folders[name] = str(export(model, folder / name, features=features))
        fixed = model.input_shapes[task.streams[0]][0] if size else None
        sizes[name] = [(2, 12), (1, fixed or 15)]
        inputs = []
        for n, (batch, length) in enumerate(sizes[name]):
            clips = {spec.name: drawn(spec, batch, length, rng) for spec in features if spec != LENGTH}
            if LENGTH in features:  # the second is the first video of the first, with more behind its end
                clips["length"] = np.array([9, 12][:batch], "int32")
                for stream in task.streams if n else ():
                    clips[stream][:, :9] = inputs[0][stream][:1, :9]
            inputs.append(clips)
            given |= {f"{name}/{n}/{stream}": x for stream, x in clips.items()}
        models[name] = model, inputs
    np.savez(folder / "in.npz", **given)
    words = [json.dumps(folders), folder / "in.npz", folder / "out.npz", json.dumps(sizes)]
    subprocess.run([sys.executable, "-c", CHILD, *words], check=True)
    with np.load(folder / "out.npz") as out:
        return models, dict(out)


@pytest.mark.parametrize("name", NAMES)
def test_a_process_without_keras_gives_scores_and_attention(name, served):
    models, out = served
    model, inputs = models[name]
    for n, clips in enumerate(inputs):
        scaled = {}
        for stream, x in clips.items():
            low, high = getattr(FEATURES.get(stream), "value_range", None) or (0.0, 1.0)
            scaled[stream] = x if stream == "length" else ((x - low) / (high - low)).astype("float32")
        outputs = model(scaled)
        keys = {"logits", "probabilities", *(["attention"] if model.attends else [])}
        assert {key.split("/")[2] for key in out if key.startswith(f"{name}/{n}/")} == keys
        for key in keys - {"probabilities"}:
            np.testing.assert_allclose(out[f"{name}/{n}/{key}"], outputs[key], atol=2e-5)
        probabilities = out[f"{name}/{n}/probabilities"]
        assert probabilities.dtype == np.float32 and ((probabilities >= 0) & (probabilities <= 1)).all()
        if not model.multi_label:
            np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    if "length" in inputs[0]:
        np.testing.assert_allclose(out[f"{name}/0/logits"][:1], out[f"{name}/1/logits"], atol=2e-5)
