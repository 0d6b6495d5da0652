"""Beside pysteps itself: scores, extrapolation, and a nowcast method that it runs."""

import json
import os
import pathlib
import sys

os.environ.setdefault("PYSTEPSRC", str(pathlib.Path(__file__).parent / "none"))  # pysteps then takes its defaults
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))  # train.py and evaluate.py

import numpy as np
import pytest
from pysteps import extrapolation, motion, nowcasts
from pysteps.utils.spectral import rapsd
from pysteps.verification.detcatscores import det_cat_fct
from pysteps.verification.detcontscores import det_cont_fct
from pysteps.verification.spatialscores import fss as pysteps_fss

import evaluate_nowcast
import train
from keras_st import nowcast
from keras_st.metrics import nowcast as metrics
from pipelines.datasets.radar import write_event


def showers(steps, height=48, width=64, seed=0):
    """Fields of showers that move a cell down and two to the right a step, in mm/h."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    rate = np.zeros((steps, height, width))
    for row, column, peak in zip(*rng.uniform([[-10], [-30], [2]], [[height], [width], [20]], (3, 25))):
        for t in range(steps):
            rate[t] += peak * np.exp(-((y - row - t) ** 2 + (x - column - 2 * t) ** 2) / 12)
    return np.where(rate < 0.1, 0, rate)


@pytest.fixture
def fields():
    truth, forecast = showers(2, seed=1)[-1], showers(3, seed=1)[-1]
    truth[:5, :4] = np.nan
    return truth, forecast


@pytest.mark.parametrize("threshold", [0.5, 2, 5])
@pytest.mark.parametrize("name", ["pod", "far", "csi", "hss", "gss", "bias"])
def test_scores_of_a_threshold(fields, name, threshold):
    """Theirs are of rates above the threshold, ours also of those on it; theirs take a missing cell for a dry one."""
    truth, forecast = np.nan_to_num(fields[0]), fields[1]
    theirs = det_cat_fct(forecast, truth, threshold - 1e-9, {"gss": "ETS"}.get(name, name.upper()))
    wanted = next(iter(theirs.values()))
    np.testing.assert_allclose(getattr(metrics, name)(truth, forecast, threshold), wanted, rtol=1e-6)


@pytest.mark.parametrize("ours, theirs", [("rainfall_mse", "MSE"), ("rainfall_mae", "MAE")])
def test_errors(fields, ours, theirs):
    wanted = next(iter(det_cont_fct(fields[1], fields[0], theirs).values()))
    np.testing.assert_allclose(getattr(metrics, ours)(*fields), wanted, rtol=1e-6)


@pytest.mark.parametrize("scale", [1, 4, 9])
def test_fractions_and_spectrum(fields, scale):
    truth, forecast = np.nan_to_num(fields[0]), fields[1]
    wanted = pysteps_fss(forecast, truth, 0.5 - 1e-9, scale)
    np.testing.assert_allclose(metrics.fss(truth, forecast, 0.5, scale), wanted, rtol=1e-6)
    square = forecast[:, :48]
    ours = metrics.power_spectrum(square)
    power, frequency = rapsd(square, fft_method=np.fft, return_freq=True)
    np.testing.assert_allclose(ours.power, power[: len(ours.power)], rtol=1e-5)
    np.testing.assert_allclose(ours.frequency, frequency[: len(ours.frequency)])


def test_extrapolation_is_that_of_pysteps():
    fields = showers(9, seed=3)
    found = nowcast.pysteps_extrapolation(fields[:4], 5)
    assert found.shape == (5, 48, 64) and found.dtype == np.float32 and np.isnan(found).any()
    decibels = np.where(fields[1:4] < 0.1, -15, 10 * np.log10(np.maximum(fields[1:4], 1e-9)))
    velocity = motion.get_method("LK")(decibels, verbose=False)
    wanted = extrapolation.get_method("semilagrangian")(fields[3], velocity, 5)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    known, still = np.isfinite(found), np.abs(fields[4:] - fields[3])
    assert np.abs(found - fields[4:])[known].mean() < 0.6 * still[known].mean()
    forecasts = evaluate_nowcast.make_baselines(5)(fields[None, :4, ..., None])
    ours, dry = (forecasts[name][0, ..., 0] for name in ("pysteps", "pysteps_dry"))
    np.testing.assert_array_equal(ours, np.where(known, found, fields[3]))
    np.testing.assert_array_equal(dry, np.where(known, found, 0))


def test_a_trained_nowcast_is_a_method_of_pysteps_and_is_scored_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times = np.datetime64("2020-05-01T00:00:00") + np.arange(9) * np.timedelta64(300, "s")
    for seed, name in enumerate(("train", "validation", "test")):
        write_event(tmp_path / f"{name}.npz", showers(9, seed=seed), times)
    (tmp_path / "splits.csv").write_text("file,split\ntrain.npz,train\nvalidation.npz,validation\ntest.npz,test\n")
    words = "--task.context_frames=4 --task.horizon_frames=3 --model.filters=[2] --model.smoothing=4"
    words += " --data.crop=[32,32] --training.epochs=1 --training.batch_size=2"
    train.main(["radar_nowcast", f"--data.root={tmp_path}", *words.split()])
    (run,) = pathlib.Path("runs/radar_nowcast").iterdir()
    (scores,) = (run / "evaluation").glob("*/nowcast_test.json")
    assert "pysteps" in json.loads(scores.read_text())["mean"]
    monkeypatch.setitem(nowcasts.interface._nowcast_methods, "keras_st", nowcast.pysteps_method(run))
    fields = showers(4, seed=7)
    found = nowcasts.get_method("keras_st")(fields, np.zeros((2, 48, 64)), 3)
    assert found.shape == (3, 48, 64) and found.max() > 0.5
