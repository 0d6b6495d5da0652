"""Finding and forecasting hurricanes: the models, their geometry, what is served of them, basin-wide forecasts."""

import keras
import numpy as np
import pytest

import train
from keras_st import saved
from keras_st.layers import ConvLSTMCell
from keras_st.metrics import tracks
from keras_st.metrics.bootstrap import bootstrap_interval, ratio_interval
from keras_st.models import FrameMapper, TrackForecaster, encoder_forecaster
from keras_st.ops import sphere
from keras_st.specs import InputError
from keras_st.systems import build
from keras_st.tracking import decode, forecast_storms, storm_clip
from keras_st.training.losses import weighted_binary_crossentropy

TRACKING = ["hurricane_tracking", "--data.grid=[16,24]", "--data.num_sequences=4", "--data.num_test_sequences=2"]
TRACKING += ["--task.context_frames=3", "--model.conv_filters=[4]", "--model.filters=[4]", "--training.epochs=1"]
FORECASTING = ["hurricane_forecasting", "--data.num_sequences=8", "--data.num_test_sequences=4", "--model.filters=[4]"]
FORECASTING += ["--task.horizon_frames=4", "--training.epochs=1", "--training.batch_size=4"]


def trained(words, folder):
    """`(run, served)` of a run of train.py."""
    train.main([*words, f"--runs={folder / 'runs'}", f"--saved_models={folder / 'served'}"])
    (run,) = (folder / "runs" / words[0]).iterdir()
    return run, folder / "served" / words[0] / "1"


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    return trained(TRACKING, tmp_path_factory.mktemp("tracking"))


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory):
    return trained(FORECASTING, tmp_path_factory.mktemp("forecasting"))


def moving(start, step, count):
    """A track (count, 2) of great-circle motion."""
    first = np.array([start, np.add(start, step)], float)
    return np.concatenate([first, tracks.constant_velocity(first, np.arange(1, count - 1))])


# Geometry


def test_the_sphere_is_that_of_the_metrics(rng):
    track = np.stack([rng.uniform(-60, 60, (20, 2)), rng.uniform(-170, 170, (20, 2))], axis=-1)  # (20, 2 fixes, 2)
    track[:, 1] = track[:, 0] + rng.uniform(-3, 3, (20, 2))
    points = sphere.unit_vectors(*(keras.ops.convert_to_tensor(x, "float32") for x in np.moveaxis(track, -1, 0)))
    steps = keras.ops.convert_to_tensor([[1.0, 4.0, 8.0, -1.0]])
    ends = sphere.degrees(sphere.carried_on(points[:, :1], points[:, 1:], steps))
    ends = np.stack([keras.ops.convert_to_numpy(x) for x in ends], axis=-1)
    expected = tracks.constant_velocity(track, (1, 4, 8))
    assert tracks.great_circle_km(*np.moveaxis(ends[:, :3], -1, 0), *np.moveaxis(expected, -1, 0)).max() < 2
    assert tracks.great_circle_km(*ends[:, 3].T, *track[:, 0].T).max() < 1


def test_turns_take_their_start_to_their_end_and_keep_distances(rng):
    points, start, end = (rng.standard_normal((3, n, 3)).astype("float32") for n in (5, 1, 1))
    points, start, end = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (points, start, end))
    both = np.concatenate([points, start], axis=1)
    tensors = (keras.ops.convert_to_tensor(x) for x in (both, start[:, 0], end[:, 0]))
    moved = keras.ops.convert_to_numpy(sphere.turned(*tensors))
    np.testing.assert_allclose(moved[:, -1], end[:, 0], atol=1e-5)
    np.testing.assert_allclose(moved @ moved.swapaxes(1, 2), both @ both.swapaxes(1, 2), atol=1e-5)


def test_east_and_north():
    east, north = sphere.east_and_north(sphere.unit_vectors(np.float32([[30.0]]), np.float32([[90.0]])))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(east)[0, 0], [-1, 0, 0], atol=1e-6)
    half = np.sqrt(3) / 2
    np.testing.assert_allclose(keras.ops.convert_to_numpy(north)[0, 0], [0, -0.5, half], atol=1e-6)


# The forecaster


@pytest.mark.parametrize(
    "start, step", [((15.0, -60.0), (0.6, -1.2)), ((38.0, -70.0), (1.2, 1.5)), ((20.0, 179.0), (0.8, 1.0))]
)
def test_untrained_it_is_constant_velocity(start, step):
    track = moving(start, step, 13)
    clip, *axes = storm_clip(track[:5], (32, 48), 2.0, 350.0)
    model = build("hurricane_forecasting", filters=(4,))
    maps = keras.ops.convert_to_numpy(model({"video": clip[None]})["frames"])[0, ..., 0]
    found = decode(maps, *axes)
    assert tracks.great_circle_km(*found.T, *track[5:].T).max() < 8  # a pixel is 222 km
    with_fewer = model({"video": clip[None]}, horizon_frames=2)["frames"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(with_fewer)[0, ..., 0], maps[:2], atol=1e-5)


def test_the_correction_moves_the_forecast_to_the_east_and_north_ever_farther():
    track = moving((20.0, -60.0), (0.3, -0.5), 13)
    clip, *axes = storm_clip(track[:5], (32, 48), 2.0, 350.0)
    model = build("hurricane_forecasting", filters=(4,))
    model({"video": clip[None]})
    model.correction.bias.assign([0.0, 0.25])  # degrees a step to the north
    found = decode(keras.ops.convert_to_numpy(model({"video": clip[None]})["frames"])[0, ..., 0], *axes)
    np.testing.assert_allclose(found[:, 0] - track[5:, 0], 0.25 * np.arange(1, 9), atol=0.08)
    model.correction.bias.assign([0.25, 0.0])
    found = decode(keras.ops.convert_to_numpy(model({"video": clip[None]})["frames"])[0, ..., 0], *axes)
    east = (found[:, 1] - track[5:, 1]) * np.cos(np.radians(track[5:, 0]))
    np.testing.assert_allclose(east, 0.25 * np.arange(1, 9), atol=0.08)


def test_the_network_sees_a_storm_that_stands_still_and_its_velocity(monkeypatch):
    """Without acceleration all densities lie on the last one; velocity is that of each step, degrees east and north."""
    track = moving((20.0, -60.0), (0.6, -1.0), 5)
    clip, latitudes, longitudes = storm_clip(track, (32, 48), 2.0, 350.0)
    model, seen = build("hurricane_forecasting", filters=(4,)), []
    core = type(model.core).__call__
    monkeypatch.setattr(
        type(model.core), "__call__", lambda self, x, **kwargs: seen.append(x["video"]) or core(self, x, **kwargs)
    )
    model({"video": clip[None]})
    (maps,) = (keras.ops.convert_to_numpy(x)[0] for x in seen)
    assert maps.shape == (5, 32, 48, 6)
    for density in maps[..., 0]:
        (centre,) = tracks.centres(np.maximum(density, 0), latitudes, longitudes, 0.01)
        assert tracks.great_circle_km(*centre, *track[-1]) < 8  # a pixel is 222 km
    steps = np.diff(track, axis=0)
    steps = np.stack([steps[:, 1] * np.cos(np.radians(track[1:, 0])), steps[:, 0]], axis=-1)
    np.testing.assert_allclose(maps[1:, 0, 0, 4:], steps, atol=0.03)
    np.testing.assert_allclose(maps[0, 0, 0, 4:], 0, atol=1e-6)  # at rest before it is known
    assert (maps[..., 4:] == maps[:, :1, :1, 4:]).all()


def test_no_storm_no_forecast():
    clip, *axes = storm_clip(moving((20.0, -60.0), (0.3, -0.5), 5), (32, 48), 2.0, 350.0)
    clip[..., 0] = 0
    maps = keras.ops.convert_to_numpy(build("hurricane_forecasting", filters=(4,))({"video": clip[None]})["frames"])
    assert (maps == 0).all() and np.isnan(decode(maps[0, ..., 0], *axes)).all()


def test_a_storm_that_leaves_its_grid_has_no_position():
    track = moving((20.0, -60.0), (2.0, -4.0), 13)
    clip, *axes = storm_clip(track[:5], (16, 24), 2.0, 350.0)
    maps = keras.ops.convert_to_numpy(build("hurricane_forecasting", filters=(4,))({"video": clip[None]})["frames"])
    found = decode(maps[0, ..., 0], *axes)
    assert np.isfinite(found[:3]).all() and np.isnan(found[-2:]).all()


def test_every_weight_of_the_forecaster_has_a_slope():
    track = moving((20.0, -60.0), (0.6, -0.5), 13)
    clip, *axes = storm_clip(track[:5], (32, 48), 2.0, 350.0)
    model = build("hurricane_forecasting", filters=(4,))
    model.compile("sgd", loss="mse")
    model({"video": clip[None]})
    model.correction.kernel.assign(np.full((6, 2), 0.1))
    before = model.get_weights()
    model.train_on_batch({"video": clip[None]}, {"frames": np.roll(clip[None, :1, ..., :1], 3, axis=2).repeat(8, 1)})
    named = zip(model.weights, before, model.get_weights())
    assert not [w.path for w, old, new in named if (old == new).all() and "recurrent" not in w.path]


def test_bad_inputs_are_named():
    core = encoder_forecaster([ConvLSTMCell(2, 2, 3, padding="same")], horizon_frames=2, forecaster="unconditioned")
    with pytest.raises(ValueError, match="Received: shape="):
        TrackForecaster(core).build({"video": (None, 4, 8, 8, 1)})
    with pytest.raises(ValueError, match="Received: forecaster='shared'"):
        TrackForecaster(encoder_forecaster([ConvLSTMCell(2, 2, 3, padding="same")]))
    mapper = FrameMapper([ConvLSTMCell(2, 2, 3, padding="same")])
    with pytest.raises(ValueError, match="Received: horizon_frames=3"):
        mapper({"video": np.zeros((1, 2, 4, 4, 1), "float32")}, horizon_frames=3)


# The tracker


def test_a_frame_depends_on_those_before_it_only(rng):
    model = build("hurricane_tracking", tiny=True)
    video = rng.random((1, 4, 8, 12, 6)).astype("float32")
    other = video.copy()
    other[:, 2:] = 0.5
    one, two = (keras.ops.convert_to_numpy(model({"video": x})["frames"]) for x in (video, other))
    np.testing.assert_allclose(one[:, :2], two[:, :2], atol=1e-6)
    assert np.abs(one[:, 2:] - two[:, 2:]).max() > 1e-4 and one.shape == (1, 4, 8, 12, 1)
    assert one.min() > 0 and one.max() < 1


def test_weighted_cross_entropy_is_lowest_at_the_truth():
    y = np.linspace(0.05, 0.95, 7)[:, None].astype("float32")
    p = np.linspace(0.01, 0.99, 99)[None].astype("float32")
    losses = keras.ops.convert_to_numpy(
        weighted_binary_crossentropy(*(np.broadcast_to(x, (7, 99))[..., None] for x in (y, p)))
    )
    np.testing.assert_allclose(p[0, losses.argmin(axis=1)], y[:, 0], atol=0.011)
    half = np.full((1, 1), 0.5, "float32")
    storm, calm = (float(weighted_binary_crossentropy(np.full((1, 1), v, "float32"), half)[0]) for v in (1.0, 0.0))
    assert storm == pytest.approx(10 * calm) and calm == pytest.approx(np.log(2), rel=1e-4)


def test_one_clip_is_learnt_by_heart():
    """Spec 7.4: overfit one clip, recall 1."""
    from pipelines.datasets.hurricane import clips

    made = clips("train", grid=(16, 24), region=(8, 23, 280, 303), num_frames=3, num_sequences=12, seed=1)
    n = np.bincount(made.labels["clip"], minlength=12).argmax()
    keras.utils.set_random_seed(0)
    model = build("hurricane_tracking", conv_filters=(8,), filters=(8,))
    model.compile(keras.optimizers.Adam(0.005), loss={"frames": weighted_binary_crossentropy})
    batch = {"video": made.fields[n : n + 1]}, {"frames": made.density[n : n + 1]}
    for _ in range(300):
        model.train_on_batch(*batch)
    density = keras.ops.convert_to_numpy(model(batch[0])["frames"])[0, ..., 0]
    found = [tracks.centres(frame, made.latitudes, made.longitudes) for frame in density]
    own = made.labels[made.labels["clip"] == n]
    true = [np.stack([own["lat"], own["lon"]], axis=-1)[own["t"] == t] for t in range(3)]
    scores = tracks.detection_scores(found, true, 200)
    assert len(own) >= 3 and scores["recall"] == 1 and scores["precision"] == 1


# From the command line to what is served


@pytest.mark.parametrize("name", ["tracker", "forecaster"])
def test_runs_and_served_folders_give_the_same_numbers(name, request, rng):
    run, served = request.getfixturevalue(name)
    own, other = saved.load(run), saved.load(served)
    clip = rng.random((5, 16, 24, 6)).astype("float32")
    if name == "forecaster":
        clip, *_ = storm_clip(moving((20.0, -60.0), (0.6, -0.5), 5), (32, 48), 2.0, 350.0)
    frames = own.predict(clip)
    assert frames.shape == ((5, 16, 24, 1) if name == "tracker" else (4, 32, 48, 1))
    np.testing.assert_allclose(other.predict(clip), frames, atol=1e-5)
    assert own.horizon_frames == other.horizon_frames == (0 if name == "tracker" else 4)
    with pytest.raises(InputError, match="finite numbers"):
        own.predict(np.full(clip.shape, np.nan))
    with pytest.raises(InputError, match="Received: horizon="):
        own.predict(clip, horizon=2 if name == "tracker" else 0)


def test_storms_of_a_basin_are_forecast_each_for_itself(forecaster):
    latitudes, longitudes = np.arange(5.0, 50.0), np.arange(260.0, 330.0)
    ways = [moving((14.0, 310.0), (0.4, -1.0), 9), moving((28.0, 275.0), (1.0, 0.8), 9)]
    born = moving((20.0, 290.0), (0.3, -0.6), 9)
    density = np.stack(
        [
            tracks.density([way[t] for way in ways] + ([born[t]] if t > 2 else []), 200, latitudes, longitudes)
            for t in range(5)
        ]
    )
    model = saved.load(forecaster[1])
    found = forecast_storms(model, density, latitudes, longitudes)
    assert len(found) == 2  # the third is not known for five fixes
    for way, storm in zip(ways, found):
        assert tracks.great_circle_km(*storm.track.T, *way[:5].T).max() < 15
        assert storm.forecast.shape == (4, 2)
        # one epoch on a few tracks: still near constant velocity
        assert tracks.great_circle_km(*storm.forecast.T, *way[5:].T).max() < 300
    assert forecast_storms(model, np.zeros_like(density), latitudes, longitudes) == []
    finer = np.repeat(density, 2, axis=0)[1:]  # every 3 hours, what lies between repeated
    again = forecast_storms(model, finer, latitudes, longitudes, step_hours=3.0)
    np.testing.assert_allclose([s.forecast for s in again], [s.forecast for s in found], atol=1e-6)
    near = forecast_storms(model, density, latitudes, longitudes, gate_km=125.0)  # slower than 125 km in 6 hours
    assert len(near) == 1
    assert len(forecast_storms(model, 0.6 * density, latitudes, longitudes, threshold=0.3)) == 2
    assert forecast_storms(model, 0.4 * density, latitudes, longitudes) == []


def test_densities_that_cannot_be_forecast_are_named(forecaster, tracker):
    model, axes = saved.load(forecaster[0]), (np.arange(5.0, 25.0), np.arange(260.0, 290.0))
    density = np.zeros((5, 20, 30))
    for wrong, told in (
        (density[:3], "T at least 5"),
        (np.where(np.arange(30) == 4, np.nan, density), "finite"),
        (density[:, :10], "as the grid"),
        (density - 1, "0 or more"),
    ):
        with pytest.raises(InputError, match=told) as error:
            forecast_storms(model, wrong, *axes)
        assert "Received: " in str(error.value)
    with pytest.raises(InputError, match="step_hours=4"):
        forecast_storms(model, density, *axes, step_hours=4)
    with pytest.raises(InputError, match="system=hurricane_tracking"):
        forecast_storms(saved.load(tracker[0]), density, *axes)


def test_data_and_systems_that_do_not_fit_are_named(tmp_path):
    for words, told in (
        (["conv_lstm", "--data.name=hurricane", "--task.context_frames=3", "--task.horizon_frames=2"], "6 channels"),
        ([*TRACKING, "--task.horizon_frames=2"], "horizon_frames=2"),
        ([*TRACKING, "--model.patch=5"], "patch=5"),
        ([*FORECASTING, "--task.horizon_frames=0"], "num_frames=5"),
        ([*FORECASTING, "--data.name=hurricane"], "(None, 9, 48, 64, 6)"),
    ):
        with pytest.raises(InputError) as error:
            train.main([*words, f"--runs={tmp_path}"])
        assert told in str(error.value) and "Received: " in str(error.value)
    assert not list(tmp_path.iterdir())


def test_interval_of_a_ratio(rng):
    values, sizes = rng.random(50), np.ones(50)
    assert ratio_interval(values, sizes) == pytest.approx(bootstrap_interval(values))
    low, high = ratio_interval(sizes * 3, sizes * 2)
    assert low == high == 1.5
    assert np.isnan(ratio_interval(np.zeros(4), np.zeros(4))).all()
    with pytest.raises(ValueError, match="Received: shape="):
        ratio_interval([], [])


def test_frames_without_a_grid_are_no_reason_to_fail(rng):
    """As what a server sends before the first client does, or all of one latitude."""
    model, clip = build("hurricane_forecasting", tiny=True), np.zeros((2, 3, 8, 12, 3), "float32")
    assert not np.any(model({"video": clip})["frames"])
    clip[..., 0], clip[..., 1:] = rng.random((2, 3, 8, 12)), 0.7
    assert np.isfinite(model({"video": clip})["frames"]).all()
