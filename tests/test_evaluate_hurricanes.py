"""Evaluation of hurricanes: what is written, and that its numbers are those of the metrics."""

import json

import numpy as np
import pytest

import evaluate
import evaluate_hurricanes
import train
from benchmarks import results
from keras_st import saved, viz_tracks
from keras_st.metrics import tracks
from keras_st.reports import hurricanes as report
from keras_st.specs import InputError

TRACKING = ["hurricane_tracking", "--data.grid=[16,24]", "--data.num_sequences=4", "--data.num_test_sequences=6"]
TRACKING += ["--task.context_frames=3", "--model.conv_filters=[4]", "--model.filters=[4]", "--training.epochs=1"]
FORECASTING = ["hurricane_forecasting", "--data.num_sequences=8", "--data.num_test_sequences=12", "--model.filters=[4]"]
FORECASTING += ["--task.horizon_frames=4", "--training.epochs=1", "--training.batch_size=4"]


@pytest.fixture(scope="module", params=[TRACKING, FORECASTING], ids=["tracking", "forecasting"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train.main([*request.param, f"--runs={folder / 'runs'}", f"--saved_models={folder / 'served'}"])
    (run,) = (folder / "runs" / request.param[0]).iterdir()
    return run, folder / "served" / request.param[0] / "1"


def test_what_is_written(run, tmp_path, capsys, monkeypatch):
    out = run[0] / "evaluation" / "1"
    names = {path.name for path in out.iterdir()}
    assert {"metrics.json", "metrics.csv", "metrics.md", "report.html", "training.png"} <= names
    result = json.loads((out / "metrics.json").read_text())
    assert result["environment"]["commit"] and result["training_environment"]["command"].startswith("python ")
    assert result["split"] == "test" and result["history"]["loss"]
    html = (out / "report.html").read_text()
    pictures = {path.name for path in out.glob("*.png")}
    assert len(pictures) >= 4 and all(name in html for name in pictures)
    if "reliability" in result:
        told = result["reliability"]
        assert "reliability.png" in pictures and sum(told["cells"]) == 6 * 3 * 16 * 24
        assert all((share is None) == (cells == 0) for share, cells in zip(told["frequency"], told["cells"]))
    # a served folder is scored with the same numbers
    evaluate.main([str(run[1]), f"--out={tmp_path / 'served'}"])
    key = "tracking" if "tracking" in result else "tracks"
    again = json.loads((tmp_path / "served" / "metrics.json").read_text())[key]
    if key == "tracking":
        assert again["density_mse"]["value"] == pytest.approx(result[key]["density_mse"]["value"], rel=1e-4)
    else:
        for name, entry in result[key].items():
            np.testing.assert_allclose(again[name]["mean_km"], entry["mean_km"], rtol=1e-3)
    monkeypatch.setattr("sys.argv", ["results", str(out / "metrics.json")])
    capsys.readouterr()
    results.main()
    told = capsys.readouterr().out
    if key == "tracking":
        assert f"| {result[key]['f1']['value']:.3f} [" in told
    else:
        assert all(f"| {entry['mean_km'][0]:.1f} / {entry['mean_km'][1]:.1f}" in told for entry in result[key].values())


def test_forecasts_are_scored_beside_the_trivial_ones(run):
    result = json.loads((run[0] / "metrics.json").read_text())
    if "tracks" not in result:
        pytest.skip("of forecasting")
    recipe = train.load_recipe(saved.load(run[0]).recipe)
    track = np.stack([e["track"] for e in train.dataset_of(recipe, "test").as_numpy_iterator()]).astype(float)
    assert result["hours"] == [6, 12, 18, 24] and result["pieces"] == 12 and result["left_grid"] == 0
    for name, function in (("constant_velocity", tracks.constant_velocity), ("persistence", tracks.persistence)):
        expected = tracks.errors_by_lead(function(track[:, :5], np.arange(1, 5)), track[:, 5:])
        np.testing.assert_allclose(result["tracks"][name]["mean_km"], expected, rtol=1e-6)
    ours, base = (result["tracks"][name]["mean_km"] for name in ("hurricane_forecasting", "constant_velocity"))
    difference = result["tracks"]["hurricane_forecasting"]["minus_constant_velocity_km"]["mean_km"]
    np.testing.assert_allclose(difference, np.subtract(ours, base), atol=1e-6)


def test_a_clip_of_ones_own_is_mapped_or_forecast(run, tmp_path, rng):
    clip = rng.random((4, 16, 24, 6) if "tracking" in str(run[0]) else (4, 32, 48, 3)).astype("float32")
    if clip.shape[-1] == 3:
        recipe = train.load_recipe(saved.load(run[0]).recipe)
        clip[..., 1:] = next(train.dataset_of(recipe, "test").as_numpy_iterator())["video"][:4, ..., 1:]
    np.save(tmp_path / "clip.npy", clip)
    evaluate.main([str(run[1]), f"--input={tmp_path / 'clip.npy'}", f"--out={tmp_path / 'out'}"])
    frames = np.load(tmp_path / "out" / "frames.npy")
    np.testing.assert_allclose(frames, saved.load(run[0]).predict(clip), atol=1e-5)
    assert (tmp_path / "out" / "strip.png").exists()
    np.save(tmp_path / "holes.npy", np.where(clip > 0.9, np.nan, clip))
    with pytest.raises(InputError, match="finite numbers"):
        evaluate.main([str(run[0]), f"--input={tmp_path / 'holes.npy'}", f"--out={tmp_path / 'none'}"])
    assert not (tmp_path / "none").exists()


def test_a_model_of_other_data_is_not_scored_here(run, tmp_path):
    model = saved.load(run[0])
    model.recipe["system"] = "conv_lstm"
    with pytest.raises(InputError, match="Received: conv_lstm"):
        evaluate.score(model, tmp_path / "out")


def test_tracking_scores_by_hand():
    """Two clips of one frame: one of two storms found 111 km off and one false; nothing there and nothing found."""
    none = np.zeros((0, 2))
    true = [[np.array([[10.0, 300.0], [30.0, 310.0]])], [none]]
    found = [[np.array([[11.0, 300.0], [20.0, 320.0]])], [none]]
    truths = np.zeros((2, 1, 4, 5))
    truths[0, 0, 1, 2] = 1
    scores = report.summarise_tracking(found, true, truths / 2, truths, 0.5, 200.0)
    assert [scores[k]["value"] for k in ("precision", "recall", "f1")] == [0.5, 0.5, 0.5]
    assert scores["centre_error_km"]["value"] == pytest.approx(111.19, abs=0.01)
    assert scores["density_mse"]["value"] == pytest.approx(0.25 / 40) and scores["density_pearson"] == pytest.approx(1)
    assert (scores["clips_without_storms"], scores["found_in_clips_without_storms"]) == (1, 0)
    nothing = report.summarise_tracking([[none]], [[none]], truths[1:], truths[1:], 0.5, 200.0)
    assert nothing["f1"]["value"] == 1 and nothing["centre_error_km"]["value"] is None
    assert nothing["density_pearson"] is None and nothing["f1"]["interval_95"] == [None, None]


def test_a_perfect_density_is_reliable(rng):
    truth = rng.random((2, 3, 8, 9))
    found = evaluate_hurricanes.reliability_of(truth, truth)
    np.testing.assert_allclose(found.frequency, found.probability)
    assert found.cells.sum() == truth.size and len(found.cells) == 10
    halved = evaluate_hurricanes.reliability_of(truth / 2, truth)
    np.testing.assert_allclose(halved.frequency[:5], 2 * halved.probability[:5])
    assert np.isnan(halved.frequency[5:]).all()


def test_the_rule_finds_turning_winds():
    """A lone vortex of 60 m/s: found by the rule where it is; a level that nothing reaches finds nothing."""
    from pipelines.datasets.hurricane import clips

    made = clips("validation", num_frames=2, num_test_sequences=8, max_storms=1, distractors=False)
    axes = made.latitudes, made.longitudes
    level = evaluate_hurricanes.best_level(made)
    found = sum(evaluate_hurricanes.found_in(evaluate_hurricanes.by_vorticity(made, level), axes), [])
    assert tracks.detection_scores(found, sum(made.true_centres(), []))["f1"] > 0.8
    assert not sum(map(len, sum(evaluate_hurricanes.found_in(evaluate_hurricanes.by_vorticity(made, 1.0), axes), [])))
    assert 3e-5 < level < 6e-4  # inside what is tried


def test_forecasts_by_hand():
    """Errors are of all pieces, intervals of storms; a piece that a forecast has left is nobody's."""
    truth = np.zeros((4, 1, 2))
    north = np.array([1.0, 3.0, 2.0, 9.0])[:, None, None] * [1, 0]
    ours = north / 2
    ours[3] = np.nan
    forecasts = {"ours": ours, "constant_velocity": north}
    table, left = report.summarise_forecasts(forecasts, truth, np.array(["a", "a", "b", "c"]), "ours")
    degree = tracks.KM_PER_DEGREE
    assert left == 1
    assert table["constant_velocity"]["mean_km"] == pytest.approx([2 * degree], rel=1e-3)
    assert table["ours"]["skill"] == pytest.approx([0.5], rel=1e-3)
    assert table["ours"]["minus_constant_velocity_km"]["mean_km"] == pytest.approx([-degree], rel=1e-3)
    low, high = table["constant_velocity"]["interval_95"][0]
    assert (low, high) == pytest.approx((2 * degree, 2 * degree))  # storms, not pieces, are drawn: each has this mean


def test_pictures_show_what_they_are_given():
    past, truth = np.array([[10.0, -50.0], [11.0, -51.0]]), np.array([[12.0, -52.0], [13.0, -53.0]])
    forecasts = {"model": truth + 1, "constant_velocity": np.full((2, 2), np.nan)}
    (axes,) = viz_tracks.track_map(past, truth, forecasts, [6, 12], {"model": 150.0}, "a storm").axes
    assert "model, 150 km off at 12 h" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert axes.get_xlim()[0] < -53 and axes.get_ylim()[1] > 14
    (axes,) = viz_tracks.error_curves([6, 12], {"model": ([1.0, 2.0], [[0.5, 1.5], [1, 3]])}).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, 2])
    maps, lat, lon = np.eye(4, 5), np.linspace(10, 13, 4), np.linspace(300, 304, 5)
    figure = viz_tracks.detections({"rain": maps}, maps, maps, truth, past, lat, lon, "a frame")
    assert [axes.get_title() for axes in figure.axes] == ["rain", "density, true", "density, model"]
    for rows, values in ((lat, maps), (lat[::-1], maps[::-1])):  # south is below, whichever way the rows go
        image = viz_tracks.detections({}, values, values, truth, past, rows, lon).axes[0].images[0]
        np.testing.assert_array_equal(image.get_array(), maps)
