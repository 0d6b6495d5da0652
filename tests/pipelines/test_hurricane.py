"""Generated hurricanes: their physics, their labels, their density; tracks as densities; fields of one's own."""

import numpy as np
import pytest

from keras_st.metrics import tracks
from keras_st.specs import ForecastTask, InputError
from keras_st.tracking import storm_clip
from pipelines import make_dataset
from pipelines.build import feature_spec
from pipelines.datasets import hurricane as module
from pipelines.datasets.hurricane import CHANNELS, Moving, clips, grid_of, to_input, wind
from pipelines.datasets.hurricane_tracks import hurricane_tracks
from pipelines.forecast import forecast_batches

SMALL = {"grid": (24, 40), "region": (8.0, 31.0, 280.0, 319.0), "num_frames": 6}
NORTH, SOUTH = (8.0, 31.0, 280.0, 319.0), (-31.0, -8.0, 280.0, 319.0)


@pytest.fixture(scope="module")
def made():
    return clips("validation", **SMALL, num_test_sequences=24)


def units(fields):
    """Fields 0..1 in their units, by name."""
    return {name: low + (high - low) * fields[..., n] for n, (name, (_, low, high)) in enumerate(CHANNELS.items())}


def one_storm(centre, region, peak=60.0, noise=False):
    """Fields (H, W) by name of a storm at rest in still weather."""
    latitudes, longitudes = grid_of(region, (24, 40))
    storm = Moving(np.array([centre]), np.array([peak]), 90.0)
    calm = module.Weather(0.0, 0.0, 45.0, 30.0, np.zeros((0, 5)))
    rng = np.random.default_rng(0)
    values = module.render(rng, calm, [storm], latitudes, longitudes, np.zeros(1), distractors=False)[0]
    return dict(zip(CHANNELS, np.moveaxis(values, -1, 0))), latitudes, longitudes


def curl(u, v, latitudes, longitudes):
    """Of a wind (H, W) in m/s on degrees: 1/s."""
    metres = 111_195.0
    east = np.gradient(v, longitudes, axis=1) / (metres * np.cos(np.radians(latitudes))[:, None])
    return east - np.gradient(u, latitudes, axis=0) / metres


@pytest.mark.parametrize("region, centre", [(NORTH, (17.3, 300.6)), (SOUTH, (-20.4, 290.2))])
def test_the_vortex_lies_where_its_label_says_and_turns_as_the_hemisphere_does(region, centre):
    fields, latitudes, longitudes = one_storm(centre, region)
    turning = curl(fields["U850"], fields["V850"], latitudes, longitudes)
    for values in (-np.abs(turning), fields["PSL"]):
        row, column = np.unravel_index(values.argmin(), values.shape)
        assert abs(latitudes[row] - centre[0]) <= 1 and abs(longitudes[column] - centre[1]) <= 1
    row, column = np.unravel_index(np.abs(turning).argmax(), turning.shape)
    assert turning[row, column] * np.sign(centre[0]) > 1e-4
    near = (abs(latitudes[:, None] - centre[0]) < 2) & (abs(longitudes - centre[1]) < 2)
    for name in ("PRECT", "TS", "QREFHT"):  # rain, a warm and moist core
        assert fields[name][near].mean() > fields[name][~near & (abs(latitudes[:, None] - centre[0]) < 2)].mean()


def test_winds_turn_around_a_storm_across_the_seam_of_longitudes():
    track, latitudes, longitudes = np.array([[20.0, 358.0]]), np.array([20.0]), np.array([355.0, 1.0])
    r, east, north = module._around(track, latitudes, longitudes)
    np.testing.assert_allclose(east[0, 0], [-1, 1], atol=1e-6)
    np.testing.assert_allclose(r[0, 0, 0], r[0, 0, 1], rtol=1e-6)
    assert np.abs(north).max() < 1e-6


def test_wind_and_pressure_are_hollands(rng):
    """A storm of 60 m/s at 90 km, B = 2: at 180 km 60 sqrt(x exp(1 - x)), x = 1/4; V^2 rho e / 2 less pressure."""
    latitudes, longitudes = np.linspace(10, 30, 401), np.linspace(290, 310, 401)
    storm = Moving(np.array([[20.0, 300.0]]), np.array([60.0]), 90.0)
    calm = module.Weather(0.0, 0.0, 45.0, 30.0, np.zeros((0, 5)))
    values = module.render(rng, calm, [storm], latitudes, longitudes, np.zeros(1), distractors=False)[0]
    row = np.abs(latitudes - (20 + 180 / 111.195)).argmin()  # due north the wind blows to the west
    assert values[row, 200, 1] == pytest.approx(-60 * np.sqrt(0.25 * np.exp(0.75)), abs=4)
    assert values[200, 200, 0] == pytest.approx(values[:, 0, 0].mean() - 3600 * 1.15 * np.e / 2, abs=400)
    # the ring of rain: more at the radius of the highest wind than in the eye
    ring = np.abs(latitudes - (20 + 90 / 111.195)).argmin()
    assert values[ring, 198:203, 3].mean() > 1.5 * values[200, 198:203, 3].mean()


def test_diameter_is_where_winds_of_a_hurricane_end():
    storm = Moving(np.zeros((3, 2)), np.array([30.0, 33.0, 66.0]), 100.0)
    none, least, large = storm.diameter_km
    assert none == 0 and least == pytest.approx(200, rel=0.05)
    x = (100 / (large / 2)) ** 2
    assert 66 * np.sqrt(x * np.exp(1 - x)) == pytest.approx(33, rel=1e-3)


def test_labels_density_and_fields_agree(made):
    assert made.fields.shape == (24, 6, 24, 40, 6) and made.density.shape == (24, 6, 24, 40, 1)
    assert made.fields.dtype == made.density.dtype == "float32" and 0 <= made.fields.min() <= made.fields.max() <= 1
    named, checked = units(made.fields.astype("float64")), 0
    for clip, t in {(row["clip"], row["t"]) for row in made.labels}:
        rows = made.labels[(made.labels["clip"] == clip) & (made.labels["t"] == t)]
        places = np.stack([rows["lat"], rows["lon"]], axis=-1)
        expected = tracks.density(places, rows["diameter_km"] / 4, made.latitudes, made.longitudes)
        np.testing.assert_allclose(made.density[clip, t, ..., 0], expected, atol=1e-6)
        turning = curl(named["U850"][clip, t], named["V850"][clip, t], made.latitudes, made.longitudes)
        for lat, lon in places:
            row, column = np.abs(made.latitudes - lat).argmin(), np.abs(made.longitudes - lon).argmin()
            if not (4 <= row < 20 and 4 <= column < 36):
                continue
            window = slice(row - 4, row + 5), slice(column - 4, column + 5)
            for values in (-turning, named["PSL"][clip, t]):
                r, c = np.unravel_index(values[window].argmin(), (9, 9))
                assert abs(r - 4) <= 1 and abs(c - 4) <= 1
            assert turning[row, column] > 0
            checked += 1
    assert checked > 30


def test_what_the_clips_hold(made):
    storms = [made.labels[made.labels["clip"] == n] for n in range(24)]
    numbers = {len(np.unique(rows["id"])) for rows in storms}
    assert {0, 1, 2} <= numbers <= {0, 1, 2, 3}
    for n, rows in enumerate(storms):  # clips without storms have no density at all
        assert (made.density[n].max() > 0) == bool(len(rows))
    per_frame = [np.bincount(rows["t"], minlength=6) for rows in storms if len(rows)]
    assert any(counts[0] < counts[-1] for counts in per_frame)  # born in a clip
    assert any(counts[0] > counts[-1] for counts in per_frame)  # died, or left
    steps = []
    for rows in storms:
        for name in np.unique(rows["id"]):
            own = rows[rows["id"] == name]
            km = tracks.great_circle_km(own["lat"][:-1], own["lon"][:-1], own["lat"][1:], own["lon"][1:])
            steps += [d for d, gap in zip(km, np.diff(own["t"])) if gap == 1]
    assert min(steps) >= 30 * 0.95 and max(steps) <= 120 * 1.05  # 10 to 40 km/h in 3 hours


def test_weather_moves_storms_to_the_pole_and_lows_are_no_storms():
    many = [clips("train", **SMALL, num_sequences=30, seed=n) for n in range(2)]
    drift = []
    for made in many:
        for clip in range(30):
            for name in range(3):
                own = made.labels[(made.labels["clip"] == clip) & (made.labels["id"] == name)]
                if len(own) > 1:
                    drift.append(own["lat"][-1] - own["lat"][0])
    assert np.mean(drift) > 0.2
    quiet = clips("train", **SMALL, num_sequences=12, max_storms=0)
    assert quiet.density.max() == 0 and len(quiet.labels) == 0
    calm = clips("train", **SMALL, num_sequences=12, max_storms=0, distractors=False)
    assert units(quiet.fields)["PSL"].min() < units(calm.fields)["PSL"].min() - 500  # lows
    assert units(quiet.fields)["PRECT"].max() > 2 * units(calm.fields)["PRECT"].max()  # rain


def test_waves_blow_along_their_stream_function():
    """A wave alone: its wind is free of divergence, and lows are turned around counterclockwise in the north."""
    waves = np.array([[3.0, 0.01, 0.03, 0.2, 0.0]])
    weather = module.Weather(0.0, 0.0, 45.0, 30.0, waves)
    lat, lon = np.linspace(20, 40, 81)[:, None], np.linspace(280, 320, 161)[None]
    u, v, pressure = (np.broadcast_to(x, (81, 161)) for x in wind(weather, lat, lon, 0.0))
    flat = np.gradient(u, lon[0], axis=1) + np.gradient(v, lat[:, 0], axis=0)
    turning = np.gradient(v, lon[0], axis=1) - np.gradient(u, lat[:, 0], axis=0)
    assert np.abs(flat).max() < 0.02 * np.abs(turning).max()
    assert np.corrcoef(turning.ravel(), pressure.ravel())[0, 1] < -0.99


def test_splits_and_seeds():
    def first(split, seed):
        return clips(split, **SMALL, num_sequences=2, num_test_sequences=2, seed=seed).fields

    assert (first("test", 0) == first("test", 1)).all()
    assert not (first("train", 0) == first("train", 1)).all()
    one, two, three = (first(split, 0) for split in ("train", "validation", "test"))
    assert not (one == two).all() and not (two == three).all() and not (one == three).all()


def test_step_hours_move_storms_farther():
    def moved(hours):
        made = clips("train", **SMALL, num_sequences=12, step_hours=hours)
        own = made.labels[(made.labels["id"] == 0) & np.isin(made.labels["t"], (0, 1))]
        pairs = [own[own["clip"] == n] for n in range(12)]
        ways = [(p["lat"], p["lon"]) for p in pairs if len(p) == 2]
        return np.mean([tracks.great_circle_km(lat[0], lon[0], lat[1], lon[1]) for lat, lon in ways])

    assert moved(6.0) > 1.5 * moved(3.0)


def test_elements_and_batches():
    options = {**SMALL, "num_sequences": 4, "num_test_sequences": 2}
    dataset = make_dataset("hurricane", "train", **options, epoch=1)
    elements = list(dataset.as_numpy_iterator())
    made = clips("train", **options)
    names = [element["id"].decode() for element in elements]
    assert sorted(names) == [f"hurricane/train/{n}" for n in range(4)]
    for element in elements:
        n = int(element["id"].decode().split("/")[-1])
        np.testing.assert_array_equal(element["video"], made.fields[n])
        np.testing.assert_array_equal(element["density"], made.density[n])
    later = make_dataset("hurricane", "train", **options, epoch=3).as_numpy_iterator()
    other = [element["id"].decode() for element in later]
    assert names != other
    spec = feature_spec(dataset, "hurricane", **SMALL)
    assert (spec.shape, spec.value_range, spec.unit) == ((6, 24, 40, 6), (0.0, 1.0), "")
    inputs, targets = next(iter(forecast_batches(dataset, spec, ForecastTask(6, 0), 4)))
    np.testing.assert_array_equal(targets["frames"][0], elements[0]["density"])
    np.testing.assert_array_equal(inputs["video"][0], elements[0]["video"])
    inputs, targets = next(iter(forecast_batches(dataset, spec, ForecastTask(4, 2), 4)))
    np.testing.assert_array_equal(targets["frames"][0], elements[0]["density"][4:])
    (_, one), (_, back) = list(forecast_batches(dataset, spec, ForecastTask(6, 0), 4, reverse_input=True))
    np.testing.assert_array_equal(back["frames"], one["frames"][:, ::-1])


@pytest.mark.parametrize(
    "options, told",
    [
        ({"grid": (4, 9)}, "grid=(4, 9)"),
        ({"region": (5, 95, 260, 300)}, "region=(5, 95, 260, 300)"),
        ({"region": (5, 50, 300, 260)}, "region=(5, 50, 300, 260)"),
        ({"num_frames": 0}, "num_frames=0"),
        ({"step_hours": 0}, "step_hours=0"),
        ({"max_storms": -1}, "max_storms=-1"),
        ({"num_sequences": 0}, "num_sequences=0"),
    ],
)
def test_bad_options_are_named(options, told):
    with pytest.raises(InputError) as error:
        make_dataset("hurricane", "train", **options)
    assert "Received: " in str(error.value) and told in str(error.value) and "\n" not in str(error.value)


# Fields of one's own


def physical(made, clip=0):
    return np.stack(list(units(made.fields[clip].astype("float64")).values()), axis=-1)


def test_fields_in_their_units_become_what_a_model_saw(made):
    video, latitudes, longitudes, frames = to_input(physical(made), made.latitudes, made.longitudes, 3)
    np.testing.assert_allclose(video, made.fields[0], atol=1e-6)
    np.testing.assert_allclose(latitudes, made.latitudes)
    assert frames.tolist() == list(range(6)) and video.dtype == "float32"
    upside_down = to_input(physical(made)[:, ::-1], made.latitudes[::-1], made.longitudes, 3)
    np.testing.assert_array_equal(upside_down[0], video)
    assert upside_down[1][0] == made.latitudes[0]


def test_another_grid_is_interpolated_and_another_step_thinned():
    lat, lon = np.linspace(10, 30, 41), np.linspace(280, 300, 21)  # half a degree, one degree
    fields = np.zeros((6, 41, 21, 6))
    fields[..., 0] = 90_000 + 100 * lat[:, None] + 10 * lon - 2_800  # linear: bilinear interpolation is exact
    fields[..., 4] = 300
    fields[..., 0] += 5.0 * np.arange(6)[:, None, None]
    video, latitudes, longitudes, frames = to_input(fields, lat, lon, 1)
    assert video.shape == (2, 21, 21, 6) and frames.tolist() == [0, 3]
    expected = 100 * latitudes[:, None] + 10 * longitudes - 2_800
    np.testing.assert_allclose(14_000 * video[0, ..., 0], expected, atol=0.01)
    np.testing.assert_allclose(14_000 * (video[1] - video[0])[..., 0], 15.0, atol=0.01)
    finer, *_ = to_input(fields, lat, lon, 3, trained_degrees=0.25)
    assert finer.shape == (6, 81, 81, 6)


def test_fields_that_cannot_be_used_are_named(made):
    good, lat, lon = physical(made), made.latitudes, made.longitudes
    holes, uneven = good.copy(), lat.copy()
    holes[1, 2, 3, 4], uneven[3] = np.nan, uneven[3] + 0.4
    for fields, rows, columns, hours, told in (
        (good[..., :5], lat, lon, 3, "(6, 24, 40, 5)"),
        (holes, lat, lon, 3, "TS must be known everywhere"),
        (good / 100, lat, lon, 3, "PSL must be in Pa"),
        (good, uneven, lon, 3, "`latitudes`"),
        (good, lat, lon[:-1], 3, "`longitudes`"),
        (good, lat, lon[::-1], 3, "rise to the east"),
        (good, lat, lon, 2, "step_hours=2"),
        (good, lat, lon, 6, "step_hours=6"),
        (good, lat, lon, 0, "step_hours=0"),
    ):
        with pytest.raises(InputError) as error:
            to_input(fields, rows, columns, hours)
        assert told in str(error.value) and "Received: " in str(error.value) and "\n" not in str(error.value)


# Tracks


TEXT = """AL{number:02d}{year},            UNNAMED,     {count},
{entries}
"""


def hurdat(year, count=15, number=1):
    """A storm that goes north-west, as text."""
    lines = []
    for n in range(count):
        day, hour = 1 + n // 4, 6 * (n % 4)
        lat, lon = f"{12 + 0.5 * n:.1f}N", f"{40 + 0.8 * n:.1f}W"
        lines.append(
            f"{year}09{day:02d}, {hour:02d}00,  , HU, {lat}, {lon},  80, 980, " + ", ".join(["-999"] * 12) + ","
        )
    return TEXT.format(number=number, year=year, count=count, entries="\n".join(lines))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "tracks.txt").write_text(hurdat(2000) + hurdat(2001) + hurdat(2013) + hurdat(2016) + hurdat(2017, 9))
    return tmp_path


def test_real_tracks_by_season(root):
    found = {split: list(hurricane_tracks(split, root=str(root)).as_numpy_iterator()) for split in module.SPLITS}
    assert {split: len(elements) for split, elements in found.items()} == {"train": 6, "validation": 3, "test": 3}
    assert [e["id"].decode() for e in found["test"]] == [f"AL012016/{n}/2016" for n in range(3)]
    first = found["test"][0]
    np.testing.assert_allclose(first["track"][:2], [[12.0, -40.0], [12.5, -40.8]], atol=1e-5)
    clip, latitudes, longitudes = storm_clip(first["track"][:5].astype("float64"), (32, 48), 2.0, 350.0)
    np.testing.assert_allclose(first["video"][:5], clip, atol=2e-5)  # the graph's density is the one of NumPy
    np.testing.assert_array_equal(first["density"], first["video"][..., :1])
    lat = 180.0 * first["video"][0, :, 0, 1] - 90
    assert lat.mean() == pytest.approx(14.0, abs=1e-3) and np.diff(lat) == pytest.approx(2.0, abs=1e-3)
    at = tracks.centres(first["density"][-1, ..., 0], latitudes, longitudes, 0.05)
    assert tracks.great_circle_km(*at[0], *first["track"][-1]) < 10


def test_generated_tracks_need_no_file():
    one, again, other = (
        list(hurricane_tracks("test", num_test_sequences=3, seed=seed).as_numpy_iterator()) for seed in (0, 1, 0)
    )
    assert (one[0]["track"] == again[0]["track"]).all() and (one[0]["track"] == other[0]["track"]).all()
    validation = next(hurricane_tracks("validation", num_test_sequences=3).as_numpy_iterator())
    assert not (validation["track"] == one[0]["track"]).all()
    km = tracks.great_circle_km(*one[0]["track"][:-1].T, *one[0]["track"][1:].T)
    assert (km > 55).all() and (km < 250).all()


def test_shuffle_and_sizes():
    options = {"grid": (16, 24), "step_degrees": 3.0, "sigma_km": 400.0, "num_sequences": 6}
    still = [e["id"] for e in hurricane_tracks("train", **options, shuffle=False, epoch=2).as_numpy_iterator()]
    moved = [e["id"] for e in hurricane_tracks("train", **options, epoch=2).as_numpy_iterator()]
    assert still != moved and sorted(still) == sorted(moved)
    element = next(hurricane_tracks("test", **options, num_frames=4, context_frames=2).as_numpy_iterator())
    assert element["video"].shape == (4, 16, 24, 3) and element["density"].max() > 0.8
    wide = next(hurricane_tracks("test", **{**options, "sigma_km": 800.0}).as_numpy_iterator())
    narrow = next(hurricane_tracks("test", **options).as_numpy_iterator())
    assert wide["density"].sum() > 3 * narrow["density"].sum()


def test_a_storm_near_the_pole_keeps_its_grid_between_the_poles():
    clip, latitudes, longitudes = storm_clip(np.array([[78.0, 10.0], [79.0, 12.0]]), (32, 48), 2.0, 350.0)
    assert latitudes.max() == 89 and longitudes.mean() == 12 and clip[-1, ..., 0].max() > 0.9
    with pytest.raises(InputError, match="Received: 100 rows"):
        storm_clip(np.zeros((2, 2)), (100, 48), 2.0, 350.0)


def test_tracks_that_cannot_be_used_are_named(root, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for options, told in (
        ({"root": str(empty)}, "root="),
        ({"root": str(tmp_path / "nowhere.txt")}, "No such file"),
        ({"root": str(root), "num_frames": 30}, "with none"),
        ({"sigma_km": 100.0}, "100"),
        ({"step_degrees": 0.0}, "step_degrees=0"),
        ({"num_frames": 5}, "num_frames=5"),
        ({"grid": (2, 48)}, "grid=2"),
        ({"num_sequences": 0}, "num_sequences=0"),
    ):
        with pytest.raises(InputError) as error:
            hurricane_tracks("train", **options)
        assert told in str(error.value) and "Received: " in str(error.value) and "\n" not in str(error.value)
