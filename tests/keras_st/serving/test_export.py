"""The exported folder: layout, versions, equal numbers in a process without Keras."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_st import saved
from keras_st.serving import export
from keras_st.specs import InputError
from keras_st.systems import build

CHILD = """
import sys
sys.modules["keras"] = sys.modules["tf_keras"] = None  # any import of Keras now fails
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
clips, out = np.load(sys.argv[2]), {}
for name in clips.files:
    signature = "serving_default" if clips[name].dtype == np.uint8 else "serving_float"
    out[name] = model.signatures[signature](video=tf.constant(clips[name]))["frames"].numpy()
np.savez(sys.argv[3], **out)
"""


def test_a_process_without_keras_gets_the_same_numbers(tiny_run, tmp_path, rng):
    run, served = tiny_run
    clips = {  # dynamic batch, time, height and width; both dtypes
        f"clip{n}": rng.integers(0, 256, (b, t, h, w, 1), np.uint8)
        for n, (b, t, h, w) in enumerate([(1, 1, 16, 16), (3, 4, 16, 16), (2, 7, 10, 24)])
    }
    clips["float"] = rng.random((2, 3, 8, 6, 1)).astype("float32")
    np.savez(tmp_path / "in.npz", **clips)
    subprocess.run([sys.executable, "-c", CHILD, served, tmp_path / "in.npz", tmp_path / "out.npz"], check=True)
    forecaster, out = saved.load(run), np.load(tmp_path / "out.npz")
    for name, clip in clips.items():
        assert out[name].dtype == np.float32 and out[name].min() >= 0 and out[name].max() <= 1
        np.testing.assert_allclose(out[name], forecaster.predict(clip), atol=1e-5)
        np.testing.assert_allclose(saved.load(served).predict(clip), forecaster.predict(clip), atol=1e-5)


@pytest.mark.parametrize("name", ["e3d_lstm", "e3d_lstm_classifier"])
def test_e3d_lstm_without_keras_at_any_length(name, tmp_path, rng):
    """Windows, a history of past states and their recall, in a process without Keras, longer than the history too."""
    model = build(name, tiny=True, recall_steps=2)
    model.build({"video": (None, 4, 16, 16, 1)})
    served = export(model, tmp_path / "served")
    clips = {f"clip{n}": rng.integers(0, 256, s, np.uint8) for n, s in enumerate([(1, 1, 16, 16, 1), (3, 6, 8, 12, 1)])}
    np.savez(tmp_path / "in.npz", **clips)
    subprocess.run([sys.executable, "-c", CHILD, served, tmp_path / "in.npz", tmp_path / "out.npz"], check=True)
    out = np.load(tmp_path / "out.npz")
    for key, clip in clips.items():
        frames = model({"video": (clip / 255).astype("float32")})["frames"]
        np.testing.assert_allclose(out[key], np.clip(frames, 0, 1), atol=1e-5)


def test_concat_of_another_length_is_an_error_when_served(tmp_path):
    import tensorflow as tf

    model = build("e3d_lstm_classifier", tiny=True, pool="concat")
    model.build({"video": (None, 4, 16, 16, 1)})
    serve = tf.saved_model.load(export(model, tmp_path)).signatures["serving_default"]
    assert serve(video=tf.zeros((2, 4, 16, 16, 1), tf.uint8))["logits"].shape == (2, 6)
    for frames in (1, 10):
        with pytest.raises(tf.errors.InvalidArgumentError):
            serve(video=tf.zeros((2, frames, 16, 16, 1), tf.uint8))


def test_layout(tiny_run):
    run, served = tiny_run
    assert {p.name for p in served.iterdir()} >= {"saved_model.pb", "variables", "assets.extra"}
    assert (served / "assets.extra" / "recipe.yaml").read_text() == (run / "recipe.yaml").read_text()
    features = json.loads((served / "assets.extra" / "features.json").read_text())
    assert features["horizon_frames"] == 3 and features["features"][0]["dtype"] == "uint8"


def test_versions_count_up_and_nothing_is_left_aside(tmp_path):
    model = build("conv_lstm", tiny=True)
    model({"video": np.zeros((1, 2, 8, 8, 1))})
    (tmp_path / "7").mkdir()
    (tmp_path / "note.txt").write_text("not a version")
    assert export(model, tmp_path) == tmp_path / "8"
    assert export(model, tmp_path, horizon=5) == tmp_path / "9"
    assert sorted(os.listdir(tmp_path)) == ["7", "8", "9", "note.txt"]
    assert saved.load(tmp_path / "9").predict(np.zeros((2, 8, 8, 1), "uint8")).shape == (5, 8, 8, 1)


def test_an_unbuilt_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be built"):
        export(build("conv_lstm", tiny=True), tmp_path / "x")
    assert not (tmp_path / "x").exists()
