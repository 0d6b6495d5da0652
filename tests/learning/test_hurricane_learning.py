"""Hurricanes: what is found in held-out fields, and real tracks forecast at least as well as at constant velocity."""

import json
import os
import pathlib

import pytest

import train

ROOT = pathlib.Path(os.environ.get("KERAS_ST_DATA", ""), "hurdat2")


def scores(words, folder):
    train.main([*words, f"--runs={folder / 'runs'}", f"--saved_models={folder / 'served'}"])
    (run,) = (folder / "runs" / words[0]).iterdir()
    return json.loads((run / "metrics.json").read_text())


def test_hurricanes_are_found(tmp_path):
    """A small budget on small fields; the recipe itself reaches more (docs/results)."""
    words = ["hurricane_tracking", "--data.grid=[24,32]", "--data.region=[8,31,280,311]", "--data.num_sequences=160"]
    words += ["--model.conv_filters=[16]", "--model.filters=[16]", "--training.epochs=8"]
    found = scores(words, tmp_path)["tracking"]
    assert found["f1"]["value"] >= 0.85 and found["centre_error_km"]["value"] < 60


@pytest.mark.skipif(not ROOT.is_dir(), reason="no HURDAT2 under KERAS_ST_DATA")
def test_real_tracks_are_forecast_better_than_at_constant_velocity(tmp_path):
    """A third of the recipe's epochs and a quarter of its channels: already below from a day on, and beside it at 12 h.

    The whole recipe is below at 12 h too (docs/results/hurricane_forecasting.json).
    """
    words = ["hurricane_forecasting", f"--data.root={ROOT}", "--model.filters=[8]", "--training.epochs=2"]
    result = scores(words, tmp_path)
    ours, base = (result["tracks"][name]["mean_km"] for name in ("hurricane_forecasting", "constant_velocity"))
    by_hour = {hour: (a, b) for hour, a, b in zip(result["hours"], ours, base)}
    assert result["pieces"] == 763 and [round(by_hour[h][1], 1) for h in (6, 12, 24, 48)] == [22.7, 57.8, 156.4, 458.4]
    for hour, most in ((12, 1.03), (24, 0.97), (48, 0.92)):
        assert by_hour[hour][0] <= most * by_hour[hour][1], by_hour
