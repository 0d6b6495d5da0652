"""Storms on the sphere: hand values, geometry from unit vectors, brute force and SciPy (spec 7.2, 7.4)."""

import itertools

import numpy as np
import pytest

from keras_st.metrics import tracks as t
from keras_st.specs import InputError

LATITUDES = np.linspace(0, 60, 128)  # the grid of Kim et al.: 0.47 x 0.62 degrees
LONGITUDES = np.linspace(180, 340, 257)


def angle_km(a, b):
    """Distance from the angle of unit vectors: not by the haversine formula."""
    x, y = (
        np.array([np.cos(p) * np.cos(q), np.cos(p) * np.sin(q), np.sin(p)]) for p, q in (np.radians(a), np.radians(b))
    )
    return 6371 * np.arctan2(np.linalg.norm(np.cross(x, y)), x @ y)


def turned(positions, axis, degrees):
    """Positions after the globe was turned about an axis: an isometry that knows nothing of latitudes."""
    lat, lon = np.radians(positions).T
    x = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    k, w = np.array(axis) / np.linalg.norm(axis), np.radians(degrees)
    x = x * np.cos(w) + np.cross(k, x) * np.sin(w) + k * (x @ k)[:, None] * (1 - np.cos(w))
    return np.degrees(np.stack([np.arcsin(x[:, 2]), np.arctan2(x[:, 1], x[:, 0])], -1))


# Distance


def test_known_distances():
    assert t.great_circle_km(10, 20, 11, 20) == pytest.approx(111.19, abs=0.01)
    assert t.great_circle_km(0, 20, 0, 21) == pytest.approx(111.19, abs=0.01)
    assert t.great_circle_km(60, 20, 60, 21) == pytest.approx(55.60, abs=0.01)
    assert t.great_circle_km(0, 0, 0, 90) == pytest.approx(np.pi * 6371 / 2)
    assert t.great_circle_km(40.64, -73.78, 51.47, -0.46) == pytest.approx(5540, abs=5)  # New York, London
    assert t.great_circle_km(31, 7, 31, 7) == 0


def test_poles_antimeridian_and_antipodes():
    assert t.great_circle_km(90, 0, 90, 123) == pytest.approx(0, abs=1e-9)
    assert t.great_circle_km(90, 50, -90, -10) == pytest.approx(np.pi * 6371)
    assert t.great_circle_km(89, 0, 89, 180) == pytest.approx(2 * 111.195, abs=0.01)  # over the pole
    assert t.great_circle_km(0, 179.5, 0, -179.5) == pytest.approx(111.195, abs=0.01)
    assert t.great_circle_km(15, 285, 15, -75) == pytest.approx(0, abs=1e-9)
    assert t.great_circle_km(12.3, 45.6, -12.3, -134.4) == pytest.approx(np.pi * 6371)


def test_distance_is_the_angle_of_unit_vectors(rng):
    a, b = (np.stack([rng.uniform(-90, 90, 50), rng.uniform(-180, 360, 50)], -1) for _ in range(2))
    found = t.great_circle_km(a[:, 0], a[:, 1], b[:, 0], b[:, 1])
    np.testing.assert_allclose(found, [angle_km(*pair) for pair in zip(a, b)], rtol=1e-9)
    assert found.dtype == np.float64


def test_distance_broadcasts_and_keeps_nan():
    found = t.great_circle_km(np.zeros((3, 1)), 0, 0, [1, np.nan])
    assert found.shape == (3, 2) and np.isnan(found[:, 1]).all() and np.isfinite(found[:, 0]).all()


# Densities


def test_one_storm_peaks_at_its_centre_and_falls_by_its_sigma():
    row, column = 50, 120
    d = t.density([[LATITUDES[row], LONGITUDES[column]]], 300.0, LATITUDES, LONGITUDES)
    assert d.shape == (128, 257) and d.dtype == np.float64
    assert d[row, column] == 1 and d.max() == 1 and d.min() >= 0
    assert np.unravel_index(d.argmax(), d.shape) == (row, column)
    latitudes = LATITUDES[row] + np.array([0, 300 / t.KM_PER_DEGREE])
    at_sigma = t.density([[latitudes[0], 200]], 300.0, latitudes, [200, 201])
    assert at_sigma[1, 0] == pytest.approx(np.exp(-0.5))


def test_density_is_symmetric_on_the_sphere():
    latitudes, longitudes = np.linspace(-10, 10, 41), np.linspace(170, 190, 41)
    d = t.density([[0, 180]], 250.0, latitudes, longitudes)
    np.testing.assert_allclose(d, d[::-1], atol=1e-12)
    np.testing.assert_allclose(d, d[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(d, d.T, rtol=0.02, atol=2e-4)  # a square of degrees is a square at the equator
    high = t.density([[60, 180]], 250.0, [55, 60, 65], [170, 180, 190])  # 10 degrees of longitude are 5 of latitude
    np.testing.assert_allclose(high[1, 0], high[0, 1], rtol=0.02)
    np.testing.assert_allclose(d, t.density([[0, -180]], 250.0, latitudes, longitudes), atol=1e-12)


def test_integral_is_two_pi_sigma_squared():
    step_km = 0.25 * t.KM_PER_DEGREE
    d = t.density([[0, 200]], 4 * step_km, np.arange(-15, 15.1, 0.25), np.arange(185, 215.1, 0.25))
    assert d.sum() == pytest.approx(2 * np.pi * 4**2, rel=0.005)  # px^2


def test_empty_frame():
    for none in ([], np.zeros((0, 2))):
        for sigmas in (200.0, []):
            for combine in ("max", "sum"):
                d = t.density(none, sigmas, LATITUDES, LONGITUDES, combine)
                assert d.shape == (128, 257) and not d.any()
    found = t.centres(np.zeros((128, 257)), LATITUDES, LONGITUDES)
    assert found.shape == (0, 2)
    scores = t.detection_scores([found], [[]])
    assert scores["precision"] == scores["recall"] == scores["f1"] == 1 and np.isnan(scores["centre_error_km"])


def test_sigma_is_at_least_a_pixel():
    latitudes, longitudes = np.arange(0, 70, 0.5), np.arange(260, 300, 1.0)
    at_equator = t.density([[0, 280]], 1.0, latitudes, longitudes)
    assert at_equator[0, 21] == pytest.approx(np.exp(-0.5), abs=1e-3)  # the longer side is that of longitude
    far_north = t.density([[69, 280]], 1.0, latitudes, longitudes)
    assert far_north[139, 20] == pytest.approx(np.exp(-0.5), abs=1e-3)  # there it is that of latitude
    wide = t.density([[0, 280]], 200.0, latitudes, longitudes)
    assert (at_equator <= wide).all() and at_equator.sum() < wide.sum() / 2
    across = t.density([[0, 180]], 1.0, [0, 1], [178, 179, 180, -179, -178])  # a pixel is 1 degree, not 359
    np.testing.assert_allclose(across[0, [1, 3]], np.exp(-0.5), atol=1e-3)


def test_each_storm_has_its_sigma_and_storms_are_combined():
    centres, sigmas = np.array([[10, 200], [12, 203]]), [200.0, 400.0]
    one, two = (t.density(c[None], s, LATITUDES, LONGITUDES) for c, s in zip(centres, sigmas))
    np.testing.assert_allclose(t.density(centres, sigmas, LATITUDES, LONGITUDES), np.maximum(one, two))
    both = t.density(centres, sigmas, LATITUDES, LONGITUDES, "sum")
    np.testing.assert_allclose(both, np.minimum(one + two, 1))
    assert (one + two).max() > 1 and both.max() == 1


def test_storms_closer_than_sigma_merge():
    sigma = 400.0
    for closeness, count in ((0.9, 1), (2.2, 1), (2.6, 2)):
        storms = [[20, 250], [20 + closeness * sigma / t.KM_PER_DEGREE, 250]]
        found = t.centres(t.density(storms, sigma, LATITUDES, LONGITUDES), LATITUDES, LONGITUDES)
        assert len(found) == count
        if count == 1:
            middle = np.mean(storms, axis=0)
            assert t.great_circle_km(*found[0], *middle) < 30


# Centres


def truths(rng, count=4):
    """Storms well inside the grid and apart from each other."""
    storms = np.stack([rng.uniform(8, 50, count), np.linspace(200, 320, count) + rng.uniform(-8, 8, count)], -1)
    return storms, rng.uniform(120, 350, count)


@pytest.mark.parametrize("method, pixels", [("centroid", 0.5), ("maximum", 0.71)])
def test_a_perfect_density_is_decoded(rng, method, pixels):
    for _ in range(5):
        storms, sigmas = truths(rng)
        found = t.centres(t.density(storms, sigmas, LATITUDES, LONGITUDES), LATITUDES, LONGITUDES, method=method)
        scores = t.detection_scores([found], [storms])
        assert scores["precision"] == scores["recall"] == scores["f1"] == 1
        pairs = t.match(found, storms)
        apart = (found[pairs.found] - storms[pairs.true]) / [LATITUDES[1], LONGITUDES[1] - LONGITUDES[0]]
        assert np.hypot(*apart.T).max() < pixels
        assert scores["centre_error_km"] < pixels * 0.625 * t.KM_PER_DEGREE


def test_centroid_knows_that_pixels_shrink_towards_the_pole():
    latitudes, longitudes = np.arange(50, 90, 0.5), np.arange(0, 120, 0.5)
    (found,) = t.centres(t.density([[72, 60]], 500.0, latitudes, longitudes), latitudes, longitudes)
    assert t.great_circle_km(*found, 72, 60) < 5  # the plain mean of degrees is 18 km off


@pytest.mark.parametrize("shift", [1, 3, 6])
def test_a_shift_by_pixels_is_an_error_of_so_many_pixels(rng, shift):
    storms, sigmas = truths(rng)
    d = np.roll(t.density(storms, sigmas, LATITUDES, LONGITUDES), shift, axis=0)
    scores = t.detection_scores([t.centres(d, LATITUDES, LONGITUDES)], [storms], radius_km=500)
    assert scores["f1"] == 1
    assert scores["centre_error_km"] == pytest.approx(shift * LATITUDES[1] * t.KM_PER_DEGREE, rel=0.06)


def test_centres_across_the_antimeridian_stay_beside_the_grid():
    latitudes = np.arange(-20, 20, 0.5)
    for longitudes in (np.arange(160, 200, 0.5), np.r_[np.arange(160, 180, 0.5), np.arange(-180, -160, 0.5)]):
        storms = [[10, 179.8], [-10, -179.9]]
        found = t.centres(t.density(storms, 300.0, latitudes, longitudes), latitudes, longitudes)
        np.testing.assert_allclose(t.great_circle_km(*found.T, *np.array(storms[::-1]).T), 0, atol=5)
        assert np.abs(longitudes[:, None] - found[:, 1]).min(axis=0).max() <= 0.5
    (found,) = t.centres(t.density([[10, -75]], 300.0, LATITUDES, LONGITUDES), LATITUDES, LONGITUDES)
    assert found[1] == pytest.approx(285, abs=0.1)


def test_pixels_that_touch_at_a_corner_are_one_storm():
    d = np.zeros((6, 7))
    d[0, 0] = d[1, 1] = 0.9
    d[4, 3] = 0.5  # at the threshold
    d[4, 6] = 0.49
    found = t.centres(d, np.arange(6.0), np.arange(7.0), method="maximum")
    np.testing.assert_array_equal(found, [[0, 0], [4, 3]])
    np.testing.assert_allclose(t.centres(d, np.arange(6.0), np.arange(7.0))[0], [0.5, 0.5], atol=1e-3)
    assert len(t.centres(d, np.arange(6.0), np.arange(7.0), threshold=0.4)) == 3
    assert len(t.centres(d, np.arange(6.0), np.arange(7.0), threshold=0.95)) == 0


def test_parts_are_those_of_scikit_image(rng):
    measure = pytest.importorskip("skimage.measure")
    for density in (0.1, 0.3, 0.5, 0.9):
        mask = rng.random((23, 31)) < density
        labels = measure.label(mask, connectivity=2)
        found = np.zeros_like(labels)
        for n, (rows, columns) in enumerate(t._parts(mask), start=1):
            found[rows, columns] = n
        np.testing.assert_array_equal(found, labels)  # both number parts by rows
    assert len(list(t._parts(np.ones((128, 257), bool)))) == 1


def test_maximum_is_the_highest_pixel_of_its_part():
    d = np.zeros((5, 9))
    d[1:4, 1:4], d[2, 3], d[3, 7] = 0.6, 0.8, 2.0
    np.testing.assert_array_equal(
        t.centres(d, np.arange(5.0), np.arange(9.0), method="maximum"), [[2.0, 3.0], [3.0, 7.0]]
    )


# Matching


def best_by_trying(distance, radius):
    """(pairs, sum) of the best matching, from all of them."""
    m, n = distance.shape
    best = (0, 0.0)
    columns = list(range(n)) + [None] * m
    for chosen in set(itertools.permutations(columns, m)):
        near = [distance[r, c] for r, c in enumerate(chosen) if c is not None and distance[r, c] <= radius]
        best = max(best, (len(near), -sum(near)))
    return best[0], -best[1]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 2), (3, 3), (4, 3)])
def test_matching_is_the_best_of_all(rng, shape):
    for _ in range(10):
        found, true = (np.stack([rng.uniform(10, 14, n), rng.uniform(-60, -56, n)], -1) for n in shape)
        pairs = t.match(found, true, 200)
        distance = np.array([[angle_km(a, b) for b in true] for a in found])
        assert len(set(pairs.found)) == len(set(pairs.true)) == len(pairs.found)
        np.testing.assert_allclose(pairs.distance_km, distance[pairs.found, pairs.true], rtol=1e-9)
        assert (pairs.distance_km <= 200).all() and (np.diff(pairs.found) > 0).all()
        count, total = best_by_trying(distance, 200)
        assert len(pairs.found) == count and pairs.distance_km.sum() == pytest.approx(total)


def test_assignment_equals_scipy(rng):
    optimize = pytest.importorskip("scipy.optimize")
    for n, m in [(1, 1), (1, 7), (5, 5), (8, 20), (30, 30)]:
        for cost in (rng.random((n, m)), rng.integers(0, 4, (n, m)).astype(float), rng.normal(size=(n, m))):
            rows, columns = t._assignment(cost)
            assert sorted(rows) == list(range(n)) and len(set(columns)) == n
            assert cost[rows, columns].sum() == pytest.approx(cost[optimize.linear_sum_assignment(cost)].sum())


def test_the_nearest_first_is_not_the_best():
    true, found = [[0, 0], [0, 1.5]], [[0, 0.9], [0, -1.0]]  # 0.9 is nearest to 1.5, and to 0 nearer than -1.0
    pairs = t.match(found, true)
    assert pairs.found.tolist() == [0, 1] and pairs.true.tolist() == [1, 0]
    true, found = [[0, 0], [0, 1.7]], [[0, 0.1], [0, -1.7]]  # as many pairs as there can be
    assert len(t.match(found, true, 200).found) == 2


def test_gate():
    assert len(t.match([[0, 0]], [[0, 1]], 111.2).found) == 1
    assert len(t.match([[0, 0]], [[0, 1]], 111.1).found) == 0
    assert len(t.match([[0, 0]], [[0, 1.79]]).found) == 1  # 200 km unless told
    assert len(t.match([[0, 0]], [[0, 1.81]]).found) == 0
    assert t.match([[0, 179]], [[0, -179]], np.inf).distance_km == pytest.approx([222.39], abs=0.01)
    for found, true in (([], []), ([], [[1, 2]]), ([[1, 2]], np.zeros((0, 2)))):
        pairs = t.match(found, true)
        assert [len(part) for part in pairs] == [0, 0, 0] and pairs.found.dtype == pairs.true.dtype == np.int64


def test_scores_by_hand():
    true = [[[10, 0], [30, 0]]]
    scores = t.detection_scores([[[11, 0], [50, 0], [60, 0]]], true)
    assert scores["precision"] == pytest.approx(1 / 3) and scores["recall"] == pytest.approx(1 / 2)
    assert scores["f1"] == pytest.approx(2 / 5) and scores["centre_error_km"] == pytest.approx(111.19, abs=0.01)
    # frames count together, by their storms: a found one does not match a true one of another frame
    scores = t.detection_scores([[[10, 0]], [], [[10, 0]]], [[[10, 0], [30, 0]], [[10, 0]], []])
    assert scores == {"precision": 1 / 2, "recall": 1 / 3, "f1": 2 / 5, "centre_error_km": 0.0}


def test_scores_where_one_side_is_empty():
    for found, true in (([[]], [[[1, 2]]]), ([[[1, 2]]], [[]])):
        scores = t.detection_scores(found, true)
        assert (scores["precision"], scores["recall"], scores["f1"]) == (0, 0, 0)
        assert np.isnan(scores["centre_error_km"])
    assert t.detection_scores([], [])["f1"] == 1
    assert t.detection_scores([[[1, 2]]], [[[1, 2]]])["f1"] == 1


# Tracks


def test_ids_survive_a_crossing():
    """The paths cross, at different times: the storms stay further apart than the gate."""
    steps = np.arange(12.0)
    a, b = np.stack([10 + 0 * steps, 200 + steps], -1), np.stack([2 + 2 * steps, 209 + 0 * steps], -1)
    gate = 250.0
    for one, other in ((a[1:], b[:-1]), (b[1:], a[:-1])):
        assert t.great_circle_km(*one.T, *other.T).min() > gate
    assert a[9].tolist() == b[4].tolist()
    frames = [np.stack([p, q] if n % 3 else [q, p]) for n, (p, q) in enumerate(zip(a, b))]
    ids = t.link(frames, gate)
    own = [pair if n % 3 else pair[::-1] for n, pair in enumerate(ids)]
    assert np.ptp(own, axis=0).tolist() == [0, 0] and own[0][0] != own[0][1]


def test_ids_survive_a_crossing_of_decoded_densities():
    """One goes east, one north across its path; by rows, centres come in another order after the crossing."""
    steps = np.arange(7.0)
    a, b = np.stack([20 + 0 * steps, 240 + steps], -1), np.stack([12 + 2 * steps, 249 + 0 * steps], -1)
    frames, own = [], []
    for pair in np.stack([a, b], 1):
        found = t.centres(t.density(pair, 150.0, LATITUDES, LONGITUDES), LATITUDES, LONGITUDES)
        pairs = t.match(found, pair, 60)
        assert len(found) == len(pairs.found) == 2
        own.append(pairs.found[np.argsort(pairs.true)])  # where a and b are among the centres
        frames.append(found)
    assert len({tuple(order) for order in own}) == 2
    linked = [frame[order].tolist() for frame, order in zip(t.link(frames, 260), own)]
    assert linked == [linked[0]] * 7 and sorted(linked[0]) == [0, 1]


def test_tracks_begin_end_and_are_not_taken_up_again():
    frames = [[[10, 0]], [[10, 1], [40, 0]], [[40, 1]], [], [[40, 1]]]
    assert [own.tolist() for own in t.link(frames, 200)] == [[0], [0, 1], [1], [], [2]]
    assert [own.tolist() for own in t.link([[[10, 0]], [[10, 5]]], 200)] == [[0], [1]]  # too far
    assert [own.tolist() for own in t.link([[[0, 179.5]], [[0, -179.5]]], 200)] == [[0], [0]]
    assert t.link([], 200) == []
    assert all(own.dtype == np.int64 for own in t.link(frames, 200))


# Forecasts


def test_errors_by_lead():
    truth = np.zeros((3, 2, 2))
    forecast = truth.copy()
    forecast[:, 0, 0] = [1, 2, 3]
    forecast[1, 1, 1] = 1
    errors = t.errors_by_lead(forecast, truth)
    np.testing.assert_allclose(errors, [2 * 111.195, 111.195 / 3], rtol=1e-4)
    truth[2, 0] = np.nan
    forecast[0, 0, 1] = np.nan
    np.testing.assert_allclose(t.errors_by_lead(forecast, truth)[0], 2 * 111.195, rtol=1e-4)
    truth[:, 1] = np.nan
    errors = t.errors_by_lead(forecast, truth)
    assert np.isfinite(errors[0]) and np.isnan(errors[1])


def test_persistence_is_the_last_position(rng):
    track = rng.uniform(0, 50, (5, 3, 2))
    found = t.persistence(track, (1, 2, 4, 8))
    assert found.shape == (5, 4, 2)
    for k in range(4):
        np.testing.assert_array_equal(found[:, k], track[:, -1])
    assert t.persistence(track[0], [1]).shape == (1, 2)


@pytest.mark.parametrize("axis", [[0, 0, 1], [1, 0, 0], [0.3, -0.8, 0.4], [0.01, 0, 1]])
def test_constant_velocity_is_exact_on_great_circles(axis):
    """The equator, turned about two axes: a great circle; positions at every 2 degrees of it."""
    circle = turned(turned(np.stack([np.zeros(180), np.arange(0, 360, 2.0)], -1), [1, 0, 0], 35), axis, 50)
    leads = (1, 2, 3.5, 8)
    for n in range(2, 160, 3):
        found = t.constant_velocity(circle[n - 2 : n], leads)
        assert found.shape == (4, 2)
        for position, lead in zip(found, leads):
            if lead == int(lead):
                assert t.great_circle_km(*position, *circle[n - 1 + int(lead)]) < 1e-4  # 10 cm
            assert t.great_circle_km(*position, *circle[n - 1]) == pytest.approx(lead * 2 * t.KM_PER_DEGREE)


def test_constant_velocity_across_antimeridian_and_pole():
    np.testing.assert_allclose(t.constant_velocity([[0, 178], [0, 179]], (1, 2, 4)), [[0, 180], [0, 181], [0, 183]])
    np.testing.assert_allclose(t.constant_velocity([[0, 179], [0, -179]], (1, 2)), [[0, -177], [0, -175]])
    np.testing.assert_allclose(t.constant_velocity([[0, -179], [0, -181]], (1,)), [[0, -183]])
    (over,) = t.constant_velocity([[88, 10], [89.5, 10]], (1,))
    assert t.great_circle_km(*over, 89, 190) < 1e-6
    np.testing.assert_allclose(t.constant_velocity([[10, 350], [11, 350]], (1,)), [[12, 350]])


def test_constant_velocity_of_many_tracks(rng):
    tracks = np.cumsum(rng.uniform(-1, 1, (2, 6, 4, 2)), axis=-2) + [20, 280]
    found = t.constant_velocity(tracks, (1, 3))
    assert found.shape == (2, 6, 2, 2)
    np.testing.assert_allclose(found[1, 4], t.constant_velocity(tracks[1, 4, -2:], (1, 3)))
    plane = tracks[..., -1:, :] + (tracks[..., -1:, :] - tracks[..., -2:-1, :]) * [[1], [3]]
    assert t.great_circle_km(*np.moveaxis(found - plane + [0, 0], -1, 0), 0, 0).max() < 30  # nearly a plane there


def test_constant_velocity_of_storms_that_stay_or_are_unknown():
    still = t.constant_velocity([[17.3, -61.2], [17.3, -61.2]], (1, 8))
    np.testing.assert_allclose(still, [[17.3, -61.2]] * 2, rtol=1e-12)
    hardly = t.constant_velocity([[17.3, -61.2], [17.3, -61.2 + 1e-9]], (8,))
    np.testing.assert_allclose(hardly, [[17.3, -61.2 + 8e-9]], atol=1e-11)
    assert np.isnan(t.constant_velocity([[np.nan, np.nan], [17, -61]], (1,))).all()


# What is refused


@pytest.mark.parametrize(
    "bad, told",
    [
        (lambda: t.density([[1, 2, 3]], 1.0, LATITUDES, LONGITUDES), r"`centres` must be \(M, 2\)"),
        (lambda: t.density([[91, 2]], 1.0, LATITUDES, LONGITUDES), r"-90 to 90. Received: \[91.0, 2.0\]"),
        (lambda: t.density([[np.nan, 2]], 1.0, LATITUDES, LONGITUDES), "finite"),
        (lambda: t.density([[1, 2]], 0.0, LATITUDES, LONGITUDES), "`sigmas`"),
        (lambda: t.density([[1, 2]], np.nan, LATITUDES, LONGITUDES), "`sigmas`"),
        (lambda: t.density([[1, 2]], [1.0, 2.0], LATITUDES, LONGITUDES), r"`sigmas`.*\(1,\)"),
        (lambda: t.density([[1, 2]], 1.0, [5.0], LONGITUDES), "`latitudes`"),
        (lambda: t.density([[1, 2]], 1.0, [5.0, 95.0], LONGITUDES), "-90..90"),
        (lambda: t.density([[1, 2]], 1.0, LATITUDES, [[1, 2]]), "`longitudes`"),
        (lambda: t.density([[1, 2]], 1.0, LATITUDES, [1, np.inf]), "`longitudes`"),
        (lambda: t.centres(np.zeros((257, 128)), LATITUDES, LONGITUDES), r"\(128, 257\).*\(257, 128\)"),
        (lambda: t.centres(np.full((2, 2), np.nan), [1, 2], [1, 2]), "finite"),
        (lambda: t.centres(np.full((2, 2), -1), [1, 2], [1, 2]), "lowest -1"),
        (lambda: t.centres(np.zeros((2, 2)), [1, 2], [1, 2], threshold=0), "threshold=0"),
        (lambda: t.centres(np.zeros((2, 2)), [1, 2], [1, 2], threshold=np.nan), "threshold=nan"),
        (lambda: t.match([1, 2], [[1, 2]]), "`found` must be"),
        (lambda: t.match([[1, 2]], np.zeros((3, 0))), "`true` must be"),
        (lambda: t.match([[1, 2]], [[1, 2]], 0), "radius_km=0"),
        (lambda: t.match([], [], np.nan), "radius_km=nan"),
        (lambda: t.detection_scores([[]], [[], []]), "1 and 2 frames"),
        (lambda: t.link([[[1, np.inf]]], 100), "finite"),
        (lambda: t.link([[]], -1), "radius_km=-1"),
        (lambda: t.errors_by_lead(np.zeros((3, 2)), np.zeros((3, 2))), r"\(N, L, 2\)"),
        (lambda: t.errors_by_lead(np.zeros((3, 4, 2)), np.zeros((3, 1, 2))), r"\(3, 4, 2\) and \(3, 1, 2\)"),
        (lambda: t.persistence([1, 2], [1]), "`track`"),
        (lambda: t.persistence(np.zeros((0, 2)), [1]), "at least 1"),
        (lambda: t.constant_velocity([[1, 2]], [1]), "at least 2"),
        (lambda: t.constant_velocity(np.zeros((2, 3)), [1]), "`track`"),
        (lambda: t.constant_velocity(np.zeros((2, 2)), 4), "leads=4"),
        (lambda: t.constant_velocity(np.zeros((2, 2)), []), "leads="),
        (lambda: t.constant_velocity(np.zeros((2, 2)), [1, -1]), "leads="),
    ],
)
def test_bad_input_is_named(bad, told):
    with pytest.raises(ValueError, match=told) as error:
        bad()
    assert "Received: " in str(error.value) and "\n" not in str(error.value)


def test_unknown_options_name_the_nearest():
    with pytest.raises(InputError, match="did you mean 'sum'"):
        t.density([], 1.0, LATITUDES, LONGITUDES, combine="summ")
    with pytest.raises(InputError, match="did you mean 'centroid'"):
        t.centres(np.zeros((2, 2)), [1, 2], [1, 2], method="centroids")
