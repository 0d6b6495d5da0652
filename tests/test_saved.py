"""`keras_st.saved.load(...)`: every form on disk, every clip that cannot be used."""

import shutil

import keras
import numpy as np
import pytest

from keras_st import saved
from keras_st.specs import InputError


def test_run_folder_file_and_served_folder_agree(tiny_run, rng):
    run, served = tiny_run
    clip = rng.integers(0, 256, (5, 12, 8, 1), np.uint8)
    frames = saved.load(run).predict(clip)
    assert frames.shape == (3, 12, 8, 1) and frames.dtype == np.float32
    for path in (run / "model.keras", served):
        np.testing.assert_allclose(saved.load(path).predict(clip), frames, atol=1e-5)
    np.testing.assert_allclose(saved.load(run).predict(clip / 255.0), frames, atol=1e-5)
    np.testing.assert_allclose(saved.load(run).predict(clip[None])[0], frames, atol=1e-6)


def test_horizon_is_free_until_export(tiny_run):
    run, served = tiny_run
    clip = np.zeros((2, 8, 8, 1), "uint8")
    assert len(saved.load(run).predict(clip, horizon=9)) == 9
    with pytest.raises(InputError, match="horizon of 3. Received: horizon=9"):
        saved.load(served).predict(clip, horizon=9)
    with pytest.raises(InputError, match="horizon=0"):
        saved.load(run).predict(clip, horizon=0)


@pytest.mark.parametrize(
    "clip, word",
    [
        (np.zeros((4, 8, 8), "uint8"), "(4, 8, 8)"),
        (np.zeros((4, 8, 8, 3), "uint8"), "(4, 8, 8, 3)"),
        (np.zeros((0, 8, 8, 1), "uint8"), "(0, 8, 8, 1)"),
        (np.zeros((4, 7, 8, 1), "uint8"), "height=7"),
        (np.zeros((4, 8, 8, 1), "int32"), "int32"),
        (np.full((4, 8, 8, 1), "a"), "dtype"),
        (np.full((4, 8, 8, 1), 1.5), "1.5"),
        (np.full((4, 8, 8, 1), -0.5), "-0.5"),
        (np.full((4, 8, 8, 1), np.nan), "finite"),
    ],
)
def test_bad_clips_are_named(tiny_run, clip, word):
    run, _ = tiny_run
    with pytest.raises(InputError, match="Received") as error:
        saved.load(run).predict(clip)
    assert word in str(error.value)


def test_what_cannot_be_loaded_is_named(tmp_path, tiny_run):
    run, served = tiny_run
    (tmp_path / "cut.keras").write_bytes((run / "model.keras").read_bytes()[:500])
    (tmp_path / "text.keras").write_text("no")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_bytes((served / "saved_model.pb").read_bytes()[:500])
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.keras").write_bytes((run / "model.keras").read_bytes())
    (tmp_path / "run" / "features.json").write_text('{"features": []}')
    shutil.copytree(served, tmp_path / "cut_variables")
    data = tmp_path / "cut_variables" / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    for name in ("run", "other.keras", "cut_variables", "none", "cut.keras", "text.keras", "served", "."):
        with pytest.raises(InputError):
            saved.load(tmp_path / name)
