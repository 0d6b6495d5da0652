"""evaluate.py: tables, pictures, clips of the user's, mistakes."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import evaluate
from keras_st import cli
from keras_st.metrics import forecast as metrics
from keras_st.metrics.bootstrap import bootstrap_interval
from keras_st.reports import forecast as report
from keras_st.saved import load
from keras_st.specs import InputError


def test_scores_of_run_and_served_folder_agree(tiny_run, tmp_path):
    run, served = tiny_run
    results = []
    for n, path in enumerate((run, served)):
        evaluate.main([str(path), f"--out={tmp_path / str(n)}"])
        results.append(json.loads((tmp_path / str(n) / "metrics.json").read_text())["forecasts"])
    for name in results[0]:
        for metric in results[0][name]:
            assert results[0][name][metric]["mean"] == pytest.approx(results[1][name][metric]["mean"], rel=1e-4)


def test_the_table_is_the_metric_functions_on_the_test_split(tiny_run):
    run, _ = tiny_run
    result = json.loads((run / "metrics.json").read_text())
    forecaster = load(run)
    recipe, batches = evaluate.test_split(forecaster, None)
    inputs, targets = (
        np.concatenate([part[i][name].numpy() for part in batches]) for i, name in ((0, "video"), (1, "frames"))
    )
    assert len(inputs) == result["sequences"] == 8
    frames = forecaster.predict(inputs)
    ours, last = result["forecasts"]["conv_lstm"], metrics.last_frame(inputs, 3)
    assert ours["mse_per_pixel"]["mean"] == pytest.approx(metrics.mse_per_pixel(targets, frames), rel=1e-5)
    assert ours["ssim"]["per_lead_time"] == pytest.approx(list(metrics.ssim(targets, frames, 1.0, True)), rel=1e-4)
    assert result["forecasts"]["last_frame"]["psnr"]["mean"] == pytest.approx(metrics.psnr(targets, last, 1.0))
    low, high = ours["mse_per_pixel"]["interval_95"]
    assert low < ours["mse_per_pixel"]["mean"] < high
    best = min(result["forecasts"][n]["mse_per_pixel"]["mean"] for n in metrics.TRIVIAL_FORECASTS)
    assert result["mse_below_best_trivial"] == pytest.approx(1 - ours["mse_per_pixel"]["mean"] / best)


def test_a_score_is_summarised_over_sequences_and_by_lead_time():
    frames = np.array([[1.0, 3.0], [2.0, 6.0], [3.0, 9.0]])
    entry = report.summarise_metric(frames)
    assert entry["mean"] == 4 and entry["per_lead_time"] == [2, 6]
    assert entry["interval_95"] == list(bootstrap_interval([2, 4, 6]))  # of sequences, not of frames
    exact = report.summarise_metric(np.array([[np.inf, np.inf], [20.0, np.inf]]))
    assert exact == {"mean": 20.0, "per_lead_time": [20.0, None], "exact_frames": 3}
    assert report._cut(1.0, 0.0) is None and report._below(-0.04) == "4.0 % above"


def test_lead_1_is_the_first_forecast_frame(tiny_run):
    result = json.loads((tiny_run[0] / "metrics.json").read_text())
    ours, last = (result["forecasts"][n]["mse_per_pixel"]["per_lead_time"] for n in ("conv_lstm", "last_frame"))
    assert ours[0] != ours[-1]
    assert result["mse_below_last_frame_at_lead_1"] == pytest.approx(1 - ours[0] / last[0])


def test_still_clips_and_broken_models_are_told_apart(tiny_run, tmp_path, monkeypatch):
    """Clips that never change: persistence is exact, ratios have no meaning, the report is still written."""
    run, _ = tiny_run
    forecaster = load(run)
    still = [({"video": tf.fill([2, 4, 16, 16, 1], 0.5)}, {"frames": tf.fill([2, 3, 16, 16, 1], 0.5)})]
    recipe, _ = evaluate.test_split(forecaster, None)
    monkeypatch.setattr(evaluate, "test_split", lambda *a: (recipe, still))
    out = evaluate.score(forecaster, tmp_path / "still")
    result = json.loads((out / "metrics.json").read_text())
    assert result["forecasts"]["last_frame"]["psnr"]["exact_frames"] == 6
    assert result["mse_below_best_trivial"] is None and "not comparable" in (out / "metrics.md").read_text()
    monkeypatch.setattr(forecaster, "_run", lambda clips, horizon: {"frames": np.full((2, 3, 16, 16, 1), np.nan)})
    with pytest.raises(InputError, match="not finite"):
        evaluate.score(forecaster, tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


def test_files_of_an_evaluation(tiny_run):
    run, _ = tiny_run
    folder = run / "evaluation" / "1"
    report = (folder / "report.html").read_text()
    for name in ("strip_1.png", "forecast.gif", "mse_per_pixel.png", "training.png"):
        assert name in report
        Image.open(folder / name).verify()
    gif = Image.open(folder / "forecast.gif")
    assert gif.n_frames == 7 and gif.width > 2 * 100
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert len(rows) == 4 * 6 * 3
    assert "| conv_lstm |" in (folder / "metrics.md").read_text()


def test_longer_horizon_is_scored_too(tiny_run, tmp_path):
    run, _ = tiny_run
    evaluate.main([str(run), "--horizon=5", f"--out={tmp_path / 'out'}"])
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(result["forecasts"]["black"]["ssim"]["per_lead_time"]) == 5


def test_a_clip_of_another_size_and_length(tiny_run, tmp_path, rng):
    run, served = tiny_run
    clip = rng.integers(0, 256, (7, 24, 40), np.uint8)
    np.save(tmp_path / "clip.npy", clip)
    evaluate.main([str(run), f"--input={tmp_path / 'clip.npy'}", "--horizon=15", f"--out={tmp_path / 'out'}"])
    frames = np.load(tmp_path / "out" / "frames.npy")
    assert frames.shape == (15, 24, 40, 1) and frames.dtype == np.float32
    assert frames.min() >= 0 and frames.max() <= 1
    assert Image.open(tmp_path / "out" / "forecast.gif").n_frames == 7 + 15
    assert "strip.png" in (tmp_path / "out" / "report.html").read_text()
    evaluate.main([str(served), f"--input={tmp_path / 'clip.npy'}", f"--out={tmp_path / 'served'}"])
    np.testing.assert_allclose(np.load(tmp_path / "served" / "frames.npy"), frames[:3], atol=1e-5)


def test_folders_count_up(tiny_run, tmp_path, monkeypatch):
    run, served = tiny_run
    monkeypatch.chdir(tmp_path)
    taken = max(int(p.name) for p in (run / "evaluation").iterdir())
    assert evaluate.next_folder(load(run)) == run / "evaluation" / str(taken + 1)
    assert str(evaluate.next_folder(load(served))) == "runs/conv_lstm/evaluations/1"


@pytest.fixture
def clips(tmp_path):
    """Clips that cannot be used, and a word their error must hold."""
    good = np.zeros((4, 8, 8, 1), "uint8")
    arrays = {
        "shape.npy": (good[0, 0], "shape=(8, 1)"),
        "odd.npy": (good[:, :7], "height=7"),
        "colour.npy": (np.zeros((4, 8, 8, 3), "uint8"), "(4, 8, 8, 3)"),
        "dtype.npy": (good.astype("int64"), "int64"),
        "range.npy": (good + 2.5, "2.5"),
        "nan.npy": (good * np.nan, "finite"),
    }
    for name, (array, _) in arrays.items():
        np.save(tmp_path / name, array)
    np.save(tmp_path / "good.npy", good)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:140])
    (tmp_path / "movie.mp4").write_bytes(b"")
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez(file, good=good)
    words = {name: word for name, (_, word) in arrays.items()}
    return {
        **words,
        "cut.npy": "whole",
        "none.npy": "no such file",
        "movie.mp4": "another kind",
        "archive.npy": "archive",
    }


def test_bad_clips_are_one_line_exit_2_and_leave_nothing(tiny_run, clips, tmp_path, capfd):
    run, _ = tiny_run
    before = sorted(tmp_path.iterdir())
    for name, word in clips.items():
        with pytest.raises(SystemExit) as stop:
            cli.run(evaluate.main, [str(run), f"--input={tmp_path / name}", f"--out={tmp_path / 'out'}"])
        lines = capfd.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and len(lines) == 1, lines
        assert name in lines[0] and word in lines[0] and "Received: " in lines[0], lines
        assert sorted(tmp_path.iterdir()) == before


def test_mistakes_on_the_command_line(tiny_run, tmp_path, capfd):
    run, served = tiny_run
    (tmp_path / "there").mkdir()
    good = tmp_path / "good.npy"
    np.save(good, np.zeros((4, 8, 8, 1), "uint8"))
    for words, word in (
        ([str(run), "--inptu=x"], "did you mean --input"),
        ([str(run), "--horizon=x"], "invalid int"),
        ([str(tmp_path)], "Expected a run folder"),
        ([str(run), f"--input={good}", f"--out={tmp_path / 'there'}"], "Nothing is overwritten"),
        ([str(run), f"--input={good}", "--horizon=0", f"--out={tmp_path / 'out'}"], "horizon=0"),
        ([str(run), "--horizon=0", f"--out={tmp_path / 'out'}"], "horizon=0"),
        ([str(served), f"--input={good}", "--horizon=9", f"--out={tmp_path / 'out'}"], "horizon=9"),
        ([str(served), "--horizon=9", f"--out={tmp_path / 'out'}"], "horizon=9"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.run(evaluate.main, words)
        lines = capfd.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and len(lines) == 1 and word in lines[0], lines
    assert not (tmp_path / "out").exists()
