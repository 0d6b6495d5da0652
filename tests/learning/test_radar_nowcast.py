"""radar_nowcast from the command line to the scores, and from NumPy to NumPy."""

import json

import numpy as np
import pytest

import evaluate
import evaluate_nowcast
import train
from keras_st import nowcast, saved
from keras_st.metrics.nowcast import NowcastScores, csi
from keras_st.reports import nowcast as report
from keras_st.specs import InputError
from pipelines.datasets.radar import write_event

START = np.datetime64("2020-05-01T00:00:00")
OPTIONS = "--task.context_frames=4 --task.horizon_frames=3 --model.filters=[2] --model.smoothing=4 --data.crop=[24,24]"
TRAINED = OPTIONS + " --training.epochs=1 --training.batch_size=4 --data.window_stride=3"


def showers(steps, height, width, seed=0, minutes=5.0):
    """Times, and fields of showers that move a cell down and two to the right a step, some cells missing, in mm/h."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype("float32")
    rate = np.zeros((steps, height, width), "float32")
    for row, column, peak in zip(*rng.uniform([[-10], [-20], [2]], [[height], [width], [20]], (3, 12))):
        for t in range(steps):
            rate[t] += peak * np.exp(-((y - row - t) ** 2 + (x - column - 2 * t) ** 2) / 18)
    rate[rate < 0.1] = 0
    rate[:, :3, :4] = np.nan
    return START + np.arange(steps) * np.timedelta64(round(60 * minutes), "s"), rate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Events: training, validation, a test of another size and of 6 minutes, a dry test."""
    root = tmp_path_factory.mktemp("radar")
    for seed, (name, height, width, minutes) in enumerate(
        [("a", 32, 40, 5), ("v", 32, 40, 5), ("b", 27, 34, 6), ("dry", 32, 40, 5)]
    ):
        times, rate = showers(10, height, width, seed, minutes)
        write_event(root / f"{name}.npz", rate * (name != "dry"), times)
    (root / "splits.csv").write_text("file,split\na.npz,train\nv.npz,validation\nb.npz,test\ndry.npz,test\n")
    return root


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """`(run folder, served folder)`."""
    out = tmp_path_factory.mktemp("nowcast")
    words = ["radar_nowcast", f"--data.root={folder}", *TRAINED.split()]
    train.main([*words, f"--runs={out / 'runs'}", f"--saved_models={out / 'served'}"])
    (run,) = (out / "runs/radar_nowcast").iterdir()
    return run, out / "served/radar_nowcast/1"


def test_training_writes_scores_by_event_beside_the_baselines(trained, folder):
    run, _ = trained
    (evaluation,) = (run / "evaluation").iterdir()
    result = json.loads((evaluation / "metrics.json").read_text())
    assert {"radar_nowcast", "persistence", "extrapolation", "extrapolation_dry"} <= {
        *result["events"]["b"]["forecasts"]
    }
    rows = json.loads((evaluation / "nowcast_b.json").read_text())
    assert rows["lead_minutes"] == [6, 12, 18] and rows["threshold"] == [0.5, 2, 5, 10, 30] and rows["windows"] == 2
    assert rows["event"] == "b" and "last field stays" in rows["rule"] and rows["environment"]["commit"]
    for key in ("csi", "csi_persistence", "csi_extrapolation"):
        assert np.shape(rows[key]) == (5, 3)
    assert np.mean(rows["csi_extrapolation"][0]) > np.mean(rows["csi_persistence"][0])  # the showers do move
    dry = json.loads((evaluation / "nowcast_dry.json").read_text())
    assert dry["csi"] == [[None] * 3] * 5 and dry["mae"] == [0, 0, 0]  # nothing fell, nothing was forecast
    assert not (evaluation / "csi_dry.png").exists()
    for name in ("report.html", "metrics.md", "metrics.csv", "rain_b.png", "csi_b.png", "spectrum_b.png"):
        assert (evaluation / name).stat().st_size > 500
    page = (evaluation / "report.html").read_text()
    assert "rain_b.png" in page and "rain_dry.png" in page and "CSI 0.5" in page


def test_scores_are_those_of_the_windows(trained):
    """Everything at once, from the run's own forecasts, against what was stored."""
    run, _ = trained
    model = saved.load(run)
    windows = list(evaluate_nowcast.windows_of_test(evaluate_nowcast.recipe_beside(model)))
    ids = np.concatenate([w[0] for w in windows])
    context, truth = (np.concatenate([w[n] for w in windows])[ids == "b"][..., 0] for n in (1, 2))
    forecast = model.predict(context[..., None])[..., 0]
    (evaluation,) = (run / "evaluation").iterdir()
    stored = json.loads((evaluation / "nowcast_b.json").read_text())
    wanted = [csi(truth[:, n], forecast[:, n], 0.5) for n in range(3)]
    np.testing.assert_allclose(stored["csi"][0], wanted, atol=2e-3)  # compiled and not, rounding moves a cell or two
    last = [csi(truth[:, n], np.nan_to_num(context[:, -1]), 2) for n in range(3)]
    np.testing.assert_allclose(stored["csi_persistence"][1], last, atol=1e-6)
    assert np.isnan(context).any() and np.isnan(truth).any()


def test_the_served_model_gives_the_same(trained, folder):
    run, served = trained
    _, rate = showers(6, 30, 38, 9)
    for clip in (rate, np.nan_to_num(rate)):
        ours, theirs = (saved.load(path).predict(clip[..., None]) for path in (run, served))
        assert np.mean(np.abs(ours - theirs) > 1e-3) < 0.01 and theirs.shape == (3, 30, 38, 1)


def test_forecast_of_arrays(trained):
    model, (_, rate) = saved.load(trained[0]), showers(9, 27, 33, 5)
    found = nowcast.forecast(model, rate)
    assert found.shape == (3, 27, 33) and found.dtype == np.float32
    assert np.isnan(found[:, :3, :4]).all() and np.isfinite(found[:, 3:]).all()
    np.testing.assert_array_equal(nowcast.forecast(trained[0], rate[-4:]), found)  # four are read
    masked = nowcast.forecast(model, np.ma.masked_invalid(rate), horizon=2)
    assert isinstance(masked, np.ma.MaskedArray) and masked.shape == (2, 27, 33) and masked.mask[0, 0, 0]
    np.testing.assert_allclose(masked[:, 5:], found[:2, 5:], atol=1e-4)
    negative = np.where(np.isnan(rate), -1.0, rate)
    np.testing.assert_array_equal(nowcast.forecast(model, negative), found)
    assert not nowcast.forecast(model, np.zeros((4, 30, 30))).any()
    late = rate.copy()
    late[-1, 10:, :8] = np.nan  # seen before, not now: not known, and not dry
    assert np.isnan(nowcast.forecast(model, late)[:, 10:, :8]).all()


def test_forecast_in_decibels(trained):
    model, (_, rate) = saved.load(trained[0]), showers(5, 24, 32, 6)
    rate = np.nan_to_num(rate)
    with np.errstate(divide="ignore"):
        found = nowcast.forecast(model, 10 * np.log10(223 * rate**1.53), unit="dBZ")
    wanted = nowcast.forecast(model, rate)
    wet = wanted > 0.1
    differ = np.abs(found[wet] - 10 * np.log10(223 * wanted[wet] ** 1.53)) > 0.01
    assert differ.mean() < 0.01  # rounding changes the order of a few cells
    assert (found[wanted == 0] == -32).all() and wet.any()


def test_dry_decibels_are_no_echoes(trained):
    """-32 dBZ, as radar composites have it, is 0.0002 mm/h: the motion of rain would else stand still with them."""
    model, (_, rate) = saved.load(trained[0]), showers(5, 24, 32, 6)
    rate = np.where(rate > 2, rate, 0)  # in patches
    decibels = np.maximum(10 * np.log10(np.maximum(223 * rate**1.53, 1e-9)), -32)
    found, wanted = nowcast.forecast(model, decibels, unit="dBZ"), nowcast.forecast(model, rate)
    rates = np.where(found > -32, (10 ** (found / 10) / 223) ** (1 / 1.53), 0)
    assert (np.abs(rates - wanted) > 1e-3 * (1 + wanted)).mean() < 0.01 and 0.2 < (rate == 0).mean() < 0.8


def test_other_steps(trained):
    """Every second field of 2.5 minutes is read; 6 minutes count as 5; 7 do not."""
    model, (_, rate) = saved.load(trained[0]), showers(9, 24, 32, 7)
    np.testing.assert_array_equal(nowcast.forecast(model, rate, 2.5), nowcast.forecast(model, rate[::2]))
    np.testing.assert_array_equal(nowcast.forecast(model, rate, 6), nowcast.forecast(model, rate))
    for step in (7.0, 0.0, float("nan")):
        with pytest.raises(InputError, match=f"5 minutes apart. Received: step_minutes={step}"):
            nowcast.forecast(model, rate, step)


@pytest.mark.parametrize(
    "fields, options, told",
    [
        (np.zeros((4, 8)), {}, r"must be \(time, y, x\). Received: shape=\(4, 8\)"),
        (np.zeros((0, 8, 8)), {}, "Received: shape"),
        (np.zeros((3, 24, 24)), {}, "reads 4 fields. Received: shape="),
        (np.zeros((4, 24, 24)), {"unit": "mm"}, "Received: unit='mm'"),
        (np.zeros((4, 24, 24)), {"horizon": 0}, "Received: horizon=0"),
        (np.full((4, 24, 24), np.nan), {}, "must have cells that are not missing"),
    ],
    ids=["rank", "empty", "few", "unit", "horizon", "nothing"],
)
def test_fields_that_cannot_be_forecast(trained, fields, options, told):
    with pytest.raises(InputError, match=told):
        nowcast.forecast(trained[0], fields, **options)


def test_too_few_fields_of_a_served_model(trained):
    with pytest.raises(InputError, match="all frames be there that it reads. Received: "):
        nowcast.forecast(trained[1], np.zeros((3, 24, 24)))


def test_only_a_model_of_rain(tiny_run):
    with pytest.raises(InputError, match="needs a trained radar_nowcast. Received: "):
        nowcast.forecast(tiny_run[0], np.zeros((4, 16, 16)))


def test_models_that_know_no_missing_cells_are_refused(folder):
    words = ["conv_lstm", "--data.name=radar", f"--data.root={folder}", "--model.filters=[2]"]
    words += ["--task.context_frames=4", "--task.horizon_frames=3", "--data.step_tolerance=0.2"]
    with pytest.raises(InputError, match="missing cells .take radar_nowcast.. Received: conv_lstm"):
        train.main(words)
    with pytest.raises(InputError, match="know the losses balanced, relative. Received: mse"):
        train.main(["radar_nowcast", f"--data.root={folder}", *TRAINED.split(), "--training.loss=mse"])


def test_a_loss_for_rain_changes_the_weights(folder):
    """The options of `--training.loss` that know missing cells."""
    kernels = []
    for loss in ("relative", "balanced"):
        words = ["radar_nowcast", f"--data.root={folder}", *TRAINED.split(), f"--training.loss={loss}"]
        recipe, _ = train.parse(words)
        features, steps = train.examine(recipe)
        model = train.build_model(recipe, features)
        train.compile_model(model, recipe.training, steps)
        inputs, targets = (
            tree.copy() for tree in next(train.training_batches(recipe, features, 0, steps).as_numpy_iterator())
        )
        targets["frames"] = np.where(targets["frames"] > 1, np.nan, targets["frames"])
        inputs["video"] = np.where(inputs["video"] > 5, np.nan, inputs["video"])
        assert np.isnan(inputs["video"]).any() and np.isfinite(model.train_on_batch(inputs, targets))
        kernels.append(np.array(model.forecaster.decoder.kernel))
    assert np.isfinite(kernels).all() and np.abs(kernels[0] - kernels[1]).max() > 1e-6


def test_intervals_and_means_of_an_event():
    """Of two windows, one forecast perfectly: the draws are that window twice, both, or the other twice."""
    truth = np.zeros((2, 2, 8, 8))
    truth[:, :, :4] = 1.0
    forecast = truth.copy()
    forecast[1] = truth[1, :, ::-1]
    scores = report.EventScores("e", 40.0, 2, ["net", "extrapolation"])
    scores.update(truth[:, 0], truth, {"net": forecast, "extrapolation": truth})
    found = scores.summary("net")
    assert found["means_over_minutes"] == 40 and found["lead_minutes"] == [40, 80]  # 80 minutes is beyond the hour
    table = found["forecasts"]["net"]
    assert table["csi_mean"][0] == pytest.approx(1 / 3, abs=1e-5) and table["csi_mean"][-1] is None
    assert table["csi_interval_95"][0][0] == 0 and table["csi_interval_95"][1][0] == 1
    assert table["mae_mean"] == pytest.approx(0.5) and found["above"]["extrapolation"]["csi"][1][0] == 0
    assert table["fss"]["40"]["0.5"][0] == pytest.approx(0.5)
    counts = NowcastScores((0.5,), 2)
    counts.update(truth, forecast)
    assert counts.result()["csi"][0, 0] == pytest.approx(1 / 3)


def test_means_are_over_the_leads_at_which_it_rained():
    """False alarms at a dry lead do not enter a mean that another forecast has no number for."""
    truth = np.zeros((1, 2, 4, 4))
    truth[0, 0, :2] = 3.0
    wrong = truth.copy()
    wrong[0, 1, 0, 0] = 3.0
    scores = report.EventScores("e", 5.0, 2, ["net", "extrapolation"])
    scores.update(truth[:, 0], truth, {"net": wrong, "extrapolation": truth})
    forecasts = scores.summary("net")["forecasts"]
    assert forecasts["net"]["csi"][0] == [1, 0] and forecasts["extrapolation"]["csi"][0] == [1, None]
    assert forecasts["net"]["csi_mean"][0] == forecasts["extrapolation"]["csi_mean"][0] == 1


def test_spectra_are_of_the_same_cells(rng):
    truth = rng.gamma(0.3, 5, (2, 1, 12, 16))
    truth[..., 8:] = np.nan
    scores = report.EventScores("e", 60.0, 1, ["net"])
    scores.update(truth[:, 0], truth, {"net": np.where(np.isnan(truth), 50, truth)})
    spectra = scores.spectra()[1]
    np.testing.assert_allclose(spectra["net"].power, spectra["truth"].power, rtol=1e-5)


def test_fields_of_ones_own_from_the_command_line(trained, tmp_path):
    _, rate = showers(5, 26, 33, 8)
    np.save(tmp_path / "rain.npy", rate)
    evaluate.main([str(trained[0]), f"--input={tmp_path / 'rain.npy'}", f"--out={tmp_path / 'out'}"])
    frames = np.load(tmp_path / "out/frames.npy")
    np.testing.assert_array_equal(frames, nowcast.forecast(trained[0], rate))
    assert (tmp_path / "out/rain.png").stat().st_size > 5000 and "last field stays" in (
        tmp_path / "out/report.html"
    ).read_text()
    np.save(tmp_path / "few.npy", rate[:2])
    with pytest.raises(InputError, match="few.npy cannot be forecast: The model reads 4 fields. Received: "):
        evaluate.main([str(trained[0]), f"--input={tmp_path / 'few.npy'}"])
    np.save(tmp_path / "tiles.npy", np.stack([rate] * 2))
    with pytest.raises(InputError, match=r"must be \(time, y, x\). Received: shape=\(2, 5, 26, 33\)"):
        evaluate.main([str(trained[0]), f"--input={tmp_path / 'tiles.npy'}"])
    with pytest.raises(InputError, match="come as a .npy of numbers in mm/h. Received: --input=clip.avi"):
        evaluate.main([str(trained[0]), "--input=clip.avi"])


def test_evaluation_of_a_served_model(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate.main([str(trained[1]), "--out=scores"])
    assert (tmp_path / "scores/nowcast_b.json").is_file()
