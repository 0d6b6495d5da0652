"""Forecast scores: hand values, scikit-image, streaming (spec 9.1, 9.2, 9.5)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from keras_st.metrics import forecast as f
from keras_st.metrics.bootstrap import bootstrap_interval

SHAPE = (3, 4, 9, 11, 2)
PAIRS = [
    (f.mse_per_pixel, f.MSEPerPixel, ()),
    (f.mse_per_frame, f.MSEPerFrame, ()),
    (f.mae_per_pixel, f.MAEPerPixel, ()),
    (f.mae_per_frame, f.MAEPerFrame, ()),
    (f.psnr, f.PSNR, (1.0,)),
    (f.ssim, f.SSIM, (1.0,)),
]


@pytest.fixture
def pair(rng):
    y = rng.random(SHAPE)
    return y, np.clip(y + 0.2 * rng.standard_normal(SHAPE), 0, 1)


def test_constant_offset():
    y = np.zeros((2, 3, 8, 8, 1))
    p = y.copy()
    p[..., :5, 0, :] = 0.1  # n = 5 pixels off by 0.1
    assert f.mse_per_frame(y, p) == pytest.approx(5 * 0.01)
    assert f.mae_per_frame(y, p) == pytest.approx(5 * 0.1)
    assert f.mse_per_pixel(y, p) == pytest.approx(5 * 0.01 / 64)
    assert f.mae_per_pixel(y, p) == pytest.approx(5 * 0.1 / 64)
    assert f.psnr(y, y + 0.1, 1.0) == pytest.approx(20.0)
    assert f.psnr(255 * y, 255 * (y + 0.1), 255) == pytest.approx(20.0)


def test_equal_frames(pair):
    y, _ = pair
    assert f.mse_per_pixel(y, y) == 0
    assert f.ssim(y, y, 1.0) == pytest.approx(1)
    assert f.psnr(y, y, 1.0) == np.inf


def test_sum_is_mean_times_size(pair):
    assert f.mse_per_frame(*pair) == pytest.approx(f.mse_per_pixel(*pair) * 9 * 11 * 2)


@pytest.mark.parametrize("data_range", [1.0, 2.0, 255.0])
def test_ssim_equals_scikit_image(pair, data_range):
    metrics = pytest.importorskip("skimage.metrics")
    y, p = (data_range * x for x in pair)
    expected = [
        [
            metrics.structural_similarity(y[b, t], p[b, t], data_range=data_range, channel_axis=-1, win_size=7)
            for t in range(4)
        ]
        for b in range(3)
    ]
    np.testing.assert_allclose(f.ssim(y, p, data_range, per_lead_time=True), np.mean(expected, axis=0), atol=1e-10)
    streaming = f.SSIM(data_range)
    streaming.update_state(y, p)
    assert float(streaming.result()) == pytest.approx(np.mean(expected), abs=1e-4)


def test_ssim_is_symmetric_and_scale_free(pair):
    y, p = pair
    assert f.ssim(y, p, 1.0) == pytest.approx(f.ssim(p, y, 1.0))
    assert f.ssim(3 * y, 3 * p, 3.0) == pytest.approx(f.ssim(y, p, 1.0))
    assert f.ssim(y, p, 2.0) > f.ssim(y, p, 1.0)  # the range matters: state it


def test_mean_psnr_is_not_below_psnr_of_the_mean(pair):
    assert f.psnr(*pair, 1.0) >= -10 * np.log10(f.mse_per_pixel(*pair))


@pytest.mark.parametrize("function, streaming, args", PAIRS)
def test_streaming_over_uneven_batches_equals_one_shot(pair, function, streaming, args):
    y, p = pair
    whole, by_lead = streaming(*args), streaming(*args, horizon_frames=4)
    for rows in (slice(0, 1), slice(1, 3)):
        whole.update_state(y[rows], p[rows])
        by_lead.update_state(y[rows], p[rows])
    assert float(whole.result()) == pytest.approx(function(y, p, *args), rel=1e-4)
    np.testing.assert_allclose(np.asarray(by_lead.result()), function(y, p, *args, per_lead_time=True), rtol=1e-4)
    again = streaming.from_config(by_lead.get_config())
    assert again.get_config() == by_lead.get_config()
    whole.reset_state()
    assert float(whole.result()) == 0


def test_sample_weight_drops_frames(pair):
    y, p = pair
    metric = f.MSEPerPixel()
    metric.update_state(y, p, sample_weight=np.array([1, 0, 0]))
    assert float(metric.result()) == pytest.approx(f.mse_per_pixel(y[:1], p[:1]), rel=1e-5)
    metric.reset_state()
    weights = np.zeros((3, 4))
    weights[2, 1] = 1
    metric.update_state(y, p, sample_weight=weights)
    assert float(metric.result()) == pytest.approx(f.mse_per_pixel(y[2:, 1:2], p[2:, 1:2]), rel=1e-5)


def test_frame_scores_are_the_functions_before_the_mean(pair):
    scores = f.frame_scores(*pair, data_range=1.0)
    assert set(scores) == {"mse_per_pixel", "mse_per_frame", "mae_per_pixel", "mae_per_frame", "psnr", "ssim"}
    for name, values in scores.items():
        args = (1.0,) if name in ("psnr", "ssim") else ()
        np.testing.assert_allclose(values.mean(axis=0), getattr(f, name)(*pair, *args, per_lead_time=True))
    assert "ssim" not in f.frame_scores(np.zeros((1, 1, 6, 9, 1)), np.ones((1, 1, 6, 9, 1)), 1.0)


def test_bad_shapes_are_named(pair):
    y, p = pair
    with pytest.raises(ValueError, match="Received: shapes"):
        f.mse_per_pixel(y, p[:, :2])
    with pytest.raises(ValueError, match="Received: shapes"):
        f.mse_per_pixel(y[0], p[0])
    with pytest.raises(ValueError, match="7x7"):
        f.ssim(y[:, :, :6], p[:, :, :6], 1.0)


def test_trivial_forecasts():
    context = np.arange(6.0).reshape(1, 3, 1, 2, 1)
    np.testing.assert_array_equal(f.last_frame(context, 2).ravel(), [4, 5, 4, 5])
    np.testing.assert_array_equal(f.black(context, 2), 0)
    np.testing.assert_array_equal(f.context_mean(context, 1).ravel(), [2, 3])
    assert set(f.TRIVIAL_FORECASTS) == {"last_frame", "black", "context_mean"}


@settings(max_examples=25, deadline=None)
@given(some.integers(1, 3), some.integers(1, 3), some.integers(1, 3), some.integers(0, 10**6))
def test_order_of_frames_and_channels_is_irrelevant(batch, time, channels, seed):
    rng = np.random.default_rng(seed)
    y, p = rng.random((2, batch, time, 8, 9, channels))
    for function, _, args in PAIRS:
        value = function(y, p, *args)
        turned = function(y[:, ::-1, ..., ::-1], p[:, ::-1, ..., ::-1], *args)
        assert value == pytest.approx(turned, rel=1e-9)


def test_bootstrap_interval_covers_the_mean(rng):
    values = rng.standard_normal(200) + 3
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high and high - low == pytest.approx(4 * values.std() / 200**0.5, rel=0.15)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.ones(5)) == (1.0, 1.0)
    for bad in (np.zeros(0), np.zeros((2, 2))):
        with pytest.raises(ValueError, match="Received: shape"):
            bootstrap_interval(bad)
