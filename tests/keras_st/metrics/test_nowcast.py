"""Scores of rain rates: by hand, invariants, loops from the definitions, streaming (spec 9.3)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import ndimage

from keras_st.metrics import nowcast as n

TRUTH, FORECAST = np.array([[0.6, 0.9], [0.1, 0.0]]), np.array([[0.2, 0.7], [1.2, 0.0]])
RATIOS = {name: getattr(n, name) for name in ("pod", "far", "csi", "hss", "gss", "bias")}
MEANS = {"mae": n.rainfall_mae, "mse": n.rainfall_mse, "correlation": n.correlation}


def rain(rng, *shape):
    """Truth and a forecast that is like it: about a third of the cells dry, 0.5 to 30 mm/h all occur."""
    truth = np.maximum(rng.gamma(0.5, 12.0, shape) - 1, 0)
    return truth, np.maximum(truth * rng.uniform(0.3, 2, shape) + rng.normal(0, 1, shape), 0)


def holed(rng, field, share=0.2):
    return np.where(rng.random(field.shape) < share, np.nan, field)


def plain_contingency(truth, forecast, threshold):
    counts = [0, 0, 0, 0]
    for t, p in zip(truth.ravel(), forecast.ravel()):
        if np.isfinite(t) and np.isfinite(p):
            counts[(0 if t >= threshold else 1) if p >= threshold else (2 if t >= threshold else 3)] += 1
    return tuple(counts)


def plain_fss(truth, forecast, threshold, scale):
    """One field, no cell missing."""
    height, width = truth.shape

    def share(field, i, j):
        events = 0
        for y in range(i - scale // 2, i - scale // 2 + scale):
            for x in range(j - scale // 2, j - scale // 2 + scale):
                events += 0 <= y < height and 0 <= x < width and field[y, x] >= threshold
        return events / scale**2

    shares = [(share(truth, i, j), share(forecast, i, j)) for i in range(height) for j in range(width)]
    return 1 - sum((t - p) ** 2 for t, p in shares) / sum(t**2 + p**2 for t, p in shares)


# Counts and their ratios


def test_by_hand():
    assert n.contingency(TRUTH, FORECAST, 0.5) == (1, 1, 1, 1)
    assert n.csi(TRUTH, FORECAST, 0.5) == pytest.approx(1 / 3)
    assert n.pod(TRUTH, FORECAST, 0.5) == n.far(TRUTH, FORECAST, 0.5) == 0.5
    assert n.gss(TRUTH, FORECAST, 0.5) == n.hss(TRUTH, FORECAST, 0.5) == 0
    assert n.bias(TRUTH, FORECAST, 0.5) == 1
    assert n.correlation(TRUTH, FORECAST) == pytest.approx(0.5706, abs=5e-5)
    assert np.corrcoef(TRUTH.ravel(), FORECAST.ravel())[0, 1] == pytest.approx(0.0438, abs=5e-5)
    assert n.rainfall_mse(TRUTH, FORECAST) == pytest.approx(1.41 / 4)
    assert n.rainfall_mae(TRUTH, FORECAST) == pytest.approx(1.7 / 4)


def test_unequal_counts_by_hand():
    """a, b, c, d = 4, 3, 2, 11; a_r = 7 * 6 / 20."""
    truth, forecast = np.repeat([1, 0, 1, 0], [4, 3, 2, 11]), np.repeat([1, 1, 0, 0], [4, 3, 2, 11])
    table = n.contingency(truth, forecast, 1)
    assert (table.hits, table.false_alarms, table.misses, table.correct_negatives) == (4, 3, 2, 11)
    expected = {"pod": 4 / 6, "far": 3 / 7, "csi": 4 / 9, "bias": 7 / 6, "gss": (4 - 2.1) / (9 - 2.1)}
    expected["hss"] = 2 * (44 - 6) / (6 * 13 + 7 * 14)
    assert {name: score(truth, forecast, 1) for name, score in RATIOS.items()} == pytest.approx(expected)
    assert expected["hss"] == pytest.approx(2 * expected["gss"] / (1 + expected["gss"]))


def test_a_rate_at_the_threshold_is_an_event():
    assert n.contingency([2.0, 2.0, 1.9], [2.0, 1.9, 2.0], 2) == (1, 1, 1, 0)
    assert n.fss([[2.0, 0.0]], [[3.0, 0.0]], 2, 1) == n.fss([[3.0, 0.0]], [[2.0, 0.0]], 2, 1) == 1


@settings(max_examples=60, deadline=None)
@given(some.integers(1, 40), some.sampled_from(n.THRESHOLDS), some.integers(0, 10**6))
def test_invariants(cells, threshold, seed):
    rng = np.random.default_rng(seed)
    truth, forecast = (holed(rng, field) for field in rain(rng, cells, 3))
    assert n.contingency(truth, forecast, threshold) == plain_contingency(truth, forecast, threshold)
    values = {name: score(truth, forecast, threshold) for name, score in RATIOS.items()}
    csi, pod, precision = values["csi"], values["pod"], 1 - values["far"]
    if not np.isnan(pod + precision):
        assert csi <= min(pod, precision) + 1e-12
        assert values["bias"] == pytest.approx(pod / precision if precision else values["bias"])
        if csi > 0:
            assert 1 / csi == pytest.approx(1 / pod + 1 / precision - 1)
    if not np.isnan(values["gss"]):
        assert -1 / 3 - 1e-12 <= values["gss"] <= 1
        assert values["hss"] == pytest.approx(2 * values["gss"] / (1 + values["gss"]))


def test_perfect_forecast(rng):
    truth, _ = rain(rng, 20, 30)
    for name, best in {"pod": 1, "far": 0, "csi": 1, "hss": 1, "gss": 1, "bias": 1}.items():
        assert RATIOS[name](truth, truth, 5) == best
    assert n.rainfall_mse(truth, truth) == n.rainfall_mae(truth, truth) == 0
    assert n.correlation(truth, truth) == pytest.approx(1)


def test_dry_forecast(rng):
    truth, _ = rain(rng, 20, 30)
    dry = np.zeros_like(truth)
    assert n.pod(truth, dry, 5) == n.csi(truth, dry, 5) == n.bias(truth, dry, 5) == n.hss(truth, dry, 5) == 0
    assert np.isnan(n.far(truth, dry, 5))
    assert n.correlation(truth, dry) == 0
    assert n.far(dry, truth, 5) == 1 and np.isnan(n.pod(dry, truth, 5)) and np.isnan(n.bias(dry, truth, 5))


@pytest.mark.parametrize("rate", [0.0, 9.0])
def test_skill_is_undefined_where_all_cells_are_alike(rate):
    field = np.full((3, 4), rate)
    assert np.isnan(n.hss(field, field, 5)) and np.isnan(n.gss(field, field, 5))


def test_a_random_forecast_has_no_skill(rng):
    truth, forecast = rng.random((2, 400_000)) < np.array([[0.3], [0.1]])
    assert n.hss(truth, forecast, 1) == pytest.approx(0, abs=0.01)
    assert n.gss(truth, forecast, 1) == pytest.approx(0, abs=0.01)


def test_pooled_is_not_the_mean_of_ratios():
    """A sample with 9 misses, one with a hit: 1 / 10, not (0 + 1) / 2."""
    truth, forecast = np.zeros((2, 9)), np.zeros((2, 9))
    truth[0] = truth[1, 0] = forecast[1, 0] = 1
    assert n.csi(truth, forecast, 1) == 0.1
    np.testing.assert_array_equal(n.csi(truth, forecast, 1, axis=1), [0, 1])


@pytest.mark.parametrize("score", [*RATIOS.values(), *MEANS.values()])
def test_axes(score, rng):
    truth, forecast = (holed(rng, field) for field in rain(rng, 3, 4, 6, 9))
    args = (5,) if score in RATIOS.values() else ()
    by_lead = score(truth, forecast, *args, axis=(0, 2, 3))
    assert by_lead.shape == (4,) and by_lead.dtype == np.float64
    np.testing.assert_allclose(by_lead, [score(truth[:, t], forecast[:, t], *args) for t in range(4)])
    np.testing.assert_array_equal(score(truth, forecast, *args, axis=(-1, -2, 0)), by_lead)
    assert score(truth, forecast, *args, axis=-1).shape == (3, 4, 6)
    assert np.ndim(score(truth, forecast, *args)) == 0
    assert score(truth, forecast, *args, axis=(0, 1, 2, 3)) == score(truth, forecast, *args)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("score", [*RATIOS.values(), *MEANS.values()])
def test_missing_cells_change_nothing_else(score, missing, rng):
    truth, forecast = rain(rng, 12, 17)
    args = (2,) if score in RATIOS.values() else ()
    lost, gone = rng.random((2, 12, 17)) < 0.2
    kept = ~lost & ~gone
    value = score(np.where(lost, missing, truth), np.where(gone, missing, forecast), *args)
    assert value == pytest.approx(score(truth[kept], forecast[kept], *args), rel=1e-12)
    masked = (
        np.ma.masked_array(np.where(lost, 9999, truth), lost),
        np.ma.masked_array(np.where(gone, 0, forecast), gone),
    )
    assert score(*masked, *args) == value
    assert value != score(truth, forecast, *args)
    assert np.isnan(score(truth * np.nan, forecast, *args)) and np.isnan(score(truth, forecast * np.nan, *args))


def test_counts_are_int64_of_the_cells_that_count(rng):
    truth, forecast = (holed(rng, field) for field in rain(rng, 3, 20, 30))
    table = n.contingency(truth.astype("float32"), forecast.astype("float32"), 0.5, axis=(1, 2))
    assert {counts.dtype for counts in table} == {np.dtype("int64")}
    np.testing.assert_array_equal(sum(table), np.isfinite(truth + forecast).sum(axis=(1, 2)))


@pytest.mark.parametrize("threshold", [0, -1, np.nan, np.inf, (0.5, 2)])
def test_bad_thresholds_are_named(threshold):
    for score in (n.contingency, *RATIOS.values()):
        with pytest.raises(ValueError, match=r"threshold must .* Received: threshold=.+$"):
            score(TRUTH, FORECAST, threshold)
    with pytest.raises(ValueError, match=r"threshold must .* Received: threshold=.+$"):
        n.fss(TRUTH, FORECAST, threshold, 1)
    with pytest.raises(ValueError, match=r"threshold must .* Received: threshold=.+$"):
        n.NowcastScores((threshold,))


def test_bad_shapes_and_axes_are_named():
    for score in (*RATIOS.values(), *MEANS.values()):
        args = (5,) if score in RATIOS.values() else ()
        with pytest.raises(ValueError, match=r"Received: shapes \(2, 2\) and \(1, 2\)$"):
            score(TRUTH, FORECAST[:1], *args)
        for axis in (2, -3, (0, 2), (0, -2)):
            with pytest.raises(ValueError, match=r"Received: axis=.+$"):
                score(TRUTH, FORECAST, *args, axis=axis)


# Means


def test_correlation_is_uncentred_and_has_its_epsilon():
    assert n.correlation([1.0, 1.0], [1.0, 1.0]) == pytest.approx(2 / np.sqrt(4 + 1e-9), rel=1e-14)
    assert n.correlation([1e-3], [1e-3]) == pytest.approx(1e-6 / np.sqrt(1e-12 + 1e-9))
    assert n.correlation([0.0, 3.0], [3.0, 0.0]) == 0


def test_sums_are_float64(rng):
    truth = (1000 + rng.random((300, 400))).astype("float32")
    forecast = truth + rng.random((300, 400)).astype("float32")
    expected = np.mean((forecast.astype("float64") - truth) ** 2)
    assert n.rainfall_mse(truth, forecast) == pytest.approx(expected, rel=1e-12)


# Fractions


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 30])
def test_fss_equals_loops_and_a_uniform_filter(scale, rng):
    truth, forecast = rain(rng, 9, 14)
    value = n.fss(truth, forecast, 5, scale)
    assert value == pytest.approx(plain_fss(truth, forecast, 5, scale), rel=1e-12)
    t, p = (ndimage.uniform_filter((x >= 5).astype(float), scale, mode="constant") for x in (truth, forecast))
    assert value == pytest.approx(1 - ((t - p) ** 2).sum() / (t**2 + p**2).sum(), rel=1e-9)
    assert isinstance(value, float) and 0 < value < 1


def test_fss_of_perfect_and_of_hopeless_forecasts(rng):
    truth, _ = rain(rng, 9, 14)
    assert n.fss(truth, truth, 5, 3) == 1
    assert n.fss(truth, 0 * truth, 5, 3) == 0
    assert np.isnan(n.fss(0 * truth, 0 * truth, 5, 3))
    far_apart = np.zeros((2, 12, 20))
    far_apart[0, 2, 2] = far_apart[1, 9, 17] = 9
    assert n.fss(*far_apart, 5, 3) == 0


def test_fss_forgives_a_displacement_below_its_scale():
    """An event a pixel aside: windows of 3 share 6 of 9 cells, so 1 - (3 + 3) / (9 + 9)."""
    truth, forecast = np.zeros((2, 11, 15))
    truth[5, 7] = forecast[5, 8] = 9
    assert n.fss(truth, forecast, 5, 1) == 0
    assert n.fss(truth, forecast, 5, 3) == pytest.approx(2 / 3)
    assert n.fss(truth, forecast, 5, 5) == pytest.approx(4 / 5)


def test_fss_pools_fields(rng):
    truth, forecast = rain(rng, 2, 3, 8, 11)
    sums = np.zeros(2)
    for t, p in zip(truth.reshape(6, 8, 11), forecast.reshape(6, 8, 11)):
        t, p = (ndimage.uniform_filter((x >= 5).astype(float), 3, mode="constant") for x in (t, p))
        sums += ((t - p) ** 2).sum(), (t**2 + p**2).sum()
    assert n.fss(truth, forecast, 5, 3) == pytest.approx(1 - sums[0] / sums[1])


def test_fss_takes_missing_cells_for_cells_outside(rng):
    truth, forecast = rain(rng, 9, 14)
    wide = [np.pad(x, ((2, 1), (0, 3)), constant_values=9.0) for x in (truth, forecast)]
    expected = n.fss(truth, forecast, 5, 3)
    outside = np.pad(np.zeros((9, 14), bool), ((2, 1), (0, 3)), constant_values=True)
    for one, other in ((np.nan, 9.0), (9.0, np.nan), (np.nan, np.nan)):
        t, p = np.where(outside, one, wide[0]), np.where(outside, other, wide[1])
        assert n.fss(t, p, 5, 3) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(n.fss(truth * np.nan, forecast, 5, 3))


@pytest.mark.parametrize("scale", [0, -1, 2.5, True, None])
def test_bad_scales_are_named(scale):
    with pytest.raises(ValueError, match=r"`scale` must .* Received: scale=.+$"):
        n.fss(TRUTH, FORECAST, 0.5, scale)
    with pytest.raises(ValueError, match=r"\(\.\.\., H, W\)\. Received: shape=\(2,\)$"):
        n.fss(TRUTH[0], FORECAST[0], 0.5, 1)


# Spectrum


@pytest.mark.parametrize("height, width", [(32, 48), (48, 32), (40, 40), (15, 21), (64, 1)])
def test_spectrum_of_a_wave_peaks_at_its_wavelength(height, width):
    """A wave along the longer side; along the shorter one; amplitude 2: 2^2 / 4 H W in each of two coefficients."""
    longest = max(height, width)
    y, x = np.mgrid[:height, :width]
    for across, size in ((y, height), (x, width)):
        if size < 8:
            continue
        cycles = size // 4
        frequency, power, coefficients = n.power_spectrum(2 * np.cos(2 * np.pi * cycles * across / size))
        assert len(frequency) == len(power) == len(coefficients) == (longest - 1) // 2 + 1
        np.testing.assert_allclose(frequency, np.arange(len(power)) / longest)
        assert abs(frequency[power.argmax()] - cycles / size) <= 0.5 / longest
        assert power.argmax() == round(longest * cycles / size)
        assert (power * coefficients).max() == pytest.approx(2 * height * width)
        assert np.delete(power * coefficients, power.argmax()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("height, width", [(12, 20), (20, 12), (17, 17), (16, 16), (7, 30)])
def test_spectrum_keeps_the_sum_of_squares(height, width, rng):
    """Of a field without waves beyond the last ring, by a filter; and against loops."""
    longest, field = max(height, width), rng.normal(1, 2, (height, width))
    transform = np.fft.fft2(field)
    sums, counts = np.zeros(longest), np.zeros(longest, int)
    for i, ky in enumerate(np.fft.fftfreq(height)):
        for j, kx in enumerate(np.fft.fftfreq(width)):
            ring = round(longest * (ky**2 + kx**2) ** 0.5)
            sums[ring] += abs(transform[i, j]) ** 2 / (height * width)
            counts[ring] += 1
            if ring > (longest - 1) // 2:
                transform[i, j] = 0
    _, power, coefficients = n.power_spectrum(field)
    rings = len(power)
    np.testing.assert_array_equal(coefficients, counts[:rings])
    np.testing.assert_allclose(power, sums[:rings] / counts[:rings])
    assert power[0] == pytest.approx(field.mean() ** 2 * field.size)
    smooth = np.fft.ifft2(transform)
    assert np.abs(smooth.imag).max() < 1e-12
    assert (n.power_spectrum(smooth.real).power * coefficients).sum() == pytest.approx((smooth.real**2).sum())
    assert (power * coefficients).sum() < (field**2).sum()


def test_spectrum_of_noise_is_its_variance_and_fields_keep_their_axes(rng):
    fields = 3 * rng.standard_normal((2, 5, 40, 60))
    frequency, power, _ = n.power_spectrum(fields)
    assert power.shape == (2, 5, 30) and frequency[-1] < 0.5
    assert power.mean(axis=(0, 1))[5:] == pytest.approx(9, rel=0.25)
    np.testing.assert_allclose(power[1, 2], n.power_spectrum(fields[1, 2]).power)


@pytest.mark.parametrize("field", [np.zeros(5), np.zeros((0, 5)), np.full((4, 5), np.nan), np.full((4, 5), np.inf)])
def test_bad_fields_are_named(field):
    with pytest.raises(ValueError, match=r"`field` must .* Received: .+$"):
        n.power_spectrum(field)


# Reliability


def test_reliability_by_hand():
    truth = [1, 0, 1, 1, np.nan, 0, 1]
    probability = [0.1, 0.2, 0.5, 1.0, 0.6, np.nan, 0.9]
    frequency, mean, cells = n.reliability(truth, probability, 4)
    np.testing.assert_array_equal(cells, [2, 0, 1, 2])
    np.testing.assert_allclose(frequency, [0.5, np.nan, 1, 1])
    np.testing.assert_allclose(mean, [0.15, np.nan, 0.5, 0.95])
    assert n.reliability(np.zeros(10), np.arange(10) / 10, 10).cells.tolist() == [1] * 10  # lower edges belong


def test_reliability_of_honest_probabilities_is_the_diagonal(rng):
    probability = rng.random((200, 50, 20))
    frequency, mean, cells = n.reliability(rng.random(probability.shape) < probability, probability, 10)
    np.testing.assert_allclose(frequency, mean, atol=0.02)
    assert cells.sum() == probability.size and cells.dtype == np.int64
    assert np.isnan(n.reliability([np.nan], [0.5], 3).frequency).all()


@pytest.mark.parametrize(
    "truth, probability, bins, told",
    [
        ([0.5], [0.5], 5, "0, 1 or NaN. Received: 0.5"),
        ([1], [1.5], 5, "0..1. Received: 1.5"),
        ([1], [-0.1], 5, "0..1. Received: -0.1"),
        ([1], [0.5], 0, "Received: bins=0"),
        ([1], [0.5, 0.5], 5, r"Received: shapes \(1,\) and \(2,\)"),
    ],
)
def test_bad_probabilities_are_named(truth, probability, bins, told):
    with pytest.raises(ValueError, match=told + "$"):
        n.reliability(truth, probability, bins)


# Streaming


@pytest.fixture
def windows(rng):
    """(7, 3, 6, 9), cells missing; at the last lead time all of the truth, at the one before it rain is light."""
    truth, forecast = (holed(rng, field) for field in rain(rng, 7, 3, 6, 9))
    truth[:, 1], forecast[:, 1] = np.minimum(truth[:, 1], 9), np.minimum(forecast[:, 1], 9)
    truth[:, 2] = np.nan
    return truth, forecast


def streamed(windows, sizes=(1, 4, 2), **options):
    scores = n.NowcastScores(**options)
    for rows in np.split(np.arange(7), np.cumsum(sizes)[:-1]):
        scores.update(windows[0][rows], windows[1][rows])
    return scores


@pytest.mark.parametrize("options", [{}, {"leads": 3}, {"thresholds": (1, 10.0)}])
def test_streaming_over_uneven_batches_equals_everything_at_once(windows, options):
    scores = streamed(windows, **options)
    result, at_once = scores.result(), streamed(windows, (7,), **options).result()
    thresholds = options.get("thresholds", n.THRESHOLDS)
    for name, score in RATIOS.items():
        expected = np.array([score(*windows, threshold, axis=(0, 2, 3)) for threshold in thresholds])
        np.testing.assert_array_equal(result[name], expected)
        assert result[name].shape == (len(thresholds), 3)
    for name, score in MEANS.items():
        np.testing.assert_allclose(result[name], score(*windows, axis=(0, 2, 3)), rtol=1e-12)
    for name, values in at_once.items():
        np.testing.assert_allclose(result[name], values, rtol=1e-12)
    np.testing.assert_array_equal(result["cells"], np.isfinite(sum(windows)).sum(axis=(0, 2, 3)))
    assert scores.leads == 3


def test_undefined_ratios_are_left_out_of_means_and_counted(windows):
    result = streamed(windows).result()
    np.testing.assert_array_equal(result["csi_undefined"], [1, 1, 1, 2, 2])  # no rain of 10 mm/h at lead time 1
    np.testing.assert_allclose(result["csi_mean"][:3], result["csi"][:3, :2].mean(axis=1))
    np.testing.assert_allclose(result["csi_mean"][3:], result["csi"][3:, 0])
    assert result["mse_undefined"] == 1 and result["mse_mean"] == pytest.approx(result["mse"][:2].mean())
    assert np.isnan(result["mae"][2]) and result["cells"][2] == 0
    dry = n.NowcastScores((5,))
    dry.update(np.zeros((2, 3, 4, 5)), np.zeros((2, 3, 4, 5)))
    assert np.isnan(dry.result()["csi_mean"]).all() and dry.result()["csi_undefined"] == [3]
    assert dry.result()["mae_mean"] == 0


def test_counts_are_kept_by_window(windows):
    scores = streamed(windows)
    assert scores.counts.shape == (7, 5, 3, 4) and scores.counts.dtype == np.int64
    for number, threshold in enumerate(n.THRESHOLDS):
        expected = np.stack(n.contingency(*windows, threshold, axis=(2, 3)), axis=-1)
        np.testing.assert_array_equal(scores.counts[:, number], expected)


def test_scores_of_a_choice_of_windows(windows):
    chosen = np.array([3, 0, 3, 6])
    result = streamed(windows).result(chosen)
    for name, score in RATIOS.items():
        expected = [score(windows[0][chosen], windows[1][chosen], 2, axis=(0, 2, 3))]
        np.testing.assert_array_equal(result[name][1:2], expected)
    for name, score in MEANS.items():
        expected = score(windows[0][chosen], windows[1][chosen], axis=(0, 2, 3))
        np.testing.assert_allclose(result[name], expected, rtol=1e-12)
    for bad in ([7], [-1], [0.5], [True] * 7, 3):
        with pytest.raises(ValueError, match=r"(?s)indices of the 7 windows. Received: windows=.+$"):
            streamed(windows).result(bad)


def test_fields_may_differ_in_size_from_batch_to_batch(rng):
    scores, pairs = n.NowcastScores(), [rain(rng, 2, 3, 5, 8), rain(rng, 1, 3, 10, 4)]
    for pair in pairs:
        scores.update(*pair)
    truth, forecast = (np.concatenate([np.moveaxis(p[k], 1, 0).reshape(3, -1) for p in pairs], axis=1) for k in (0, 1))
    np.testing.assert_allclose(scores.result()["csi"][0], n.csi(truth, forecast, 0.5, axis=1))
    np.testing.assert_allclose(scores.result()["mse"], n.rainfall_mse(truth, forecast, axis=1))


def test_bad_streams_are_named(windows):
    truth, forecast = windows
    for wrong in (truth[0], truth[..., None], truth[:, :0]):
        with pytest.raises(ValueError, match=r"\(B, T, H, W\)\. Received: shape=.+$"):
            n.NowcastScores().update(wrong, wrong)
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)\. Received: shape=\(7, 2, 6, 9\)$"):
        streamed(windows).update(truth[:, :2], forecast[:, :2])
    with pytest.raises(ValueError, match=r"\(B, 2, H, W\)"):
        n.NowcastScores(leads=2).update(truth, forecast)
    with pytest.raises(ValueError, match="Received: shapes"):
        n.NowcastScores().update(truth, forecast[:2])
    for thresholds in ((), (2, 0.5), (2, 2)):
        with pytest.raises(ValueError, match=r"rising, one or more. Received: thresholds=.+$"):
            n.NowcastScores(thresholds)
    with pytest.raises(ValueError, match=r"Received: leads=0$"):
        n.NowcastScores(leads=0)
    for empty in (lambda: n.NowcastScores().result(), lambda: n.NowcastScores().counts):
        with pytest.raises(ValueError, match="Received: 0 windows$"):
            empty()


# Another implementation


def test_equal_to_pysteps(rng):
    categorical = pytest.importorskip("pysteps.verification.detcatscores")
    spatial = pytest.importorskip("pysteps.verification.spatialscores")
    spectral = pytest.importorskip("pysteps.utils.spectral")
    truth, forecast = rain(rng, 24, 30)
    for threshold in n.THRESHOLDS:  # no rate is the threshold, which pysteps takes for no event
        expected = categorical.det_cat_fct(forecast, truth, threshold, ["POD", "FAR", "CSI", "HSS", "GSS", "BIAS"])
        assert {name.upper(): score(truth, forecast, threshold) for name, score in RATIOS.items()} == pytest.approx(
            expected
        )
        for scale in (1, 2, 5, 8):
            value = spatial.fss(forecast, truth, threshold, scale)
            assert n.fss(truth, forecast, threshold, scale) == pytest.approx(value)
    for size in (24, 25):
        field = rng.random((size, size))
        power, frequency = spectral.rapsd(field, fft_method=np.fft, return_freq=True)
        np.testing.assert_allclose(n.power_spectrum(field).power, power)
        np.testing.assert_allclose(n.power_spectrum(field).frequency, frequency)
