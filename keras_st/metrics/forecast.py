"""Scores of forecast frames: a NumPy function and a streaming `keras.metrics.Metric` for each.

Arrays are (B, T, H, W, C), T lead times. The name says the reduction, because benchmark tables do not:
`*_per_pixel` is the mean over pixels, `*_per_frame` the sum over H, W and C of a frame (what the PredRNN and
OpenSTL tables call MSE). Both are then averaged over frames. A value per frame first, the mean after: PSNR is
the mean of the frames' PSNRs, never the PSNR of a mean error.

Worked number: frames of 8x8 pixels, every one off by 0.1: mse_per_pixel 0.01, mse_per_frame 0.64,
mae_per_frame 6.4, psnr (data_range 1) 20 dB.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

SSIM_WINDOW = 7

# A value per frame, (..., H, W, C) -> (...). `xp` is numpy or keras.ops: one formula for both.


def _mse(xp, y, p):
    return xp.mean(xp.square(y - p), axis=(-3, -2, -1))


def _mse_sum(xp, y, p):
    return xp.sum(xp.square(y - p), axis=(-3, -2, -1))


def _mae(xp, y, p):
    return xp.mean(xp.abs(y - p), axis=(-3, -2, -1))


def _mae_sum(xp, y, p):
    return xp.sum(xp.abs(y - p), axis=(-3, -2, -1))


def _psnr(xp, y, p, data_range):
    return -10.0 * xp.log10(_mse(xp, y, p) / data_range**2)


def _ssim(xp, y, p, data_range):
    """Wang et al. 2004, eq. 13, uniform 7x7 window, sample covariance, windows inside the frame only."""
    if y.shape[-3] < SSIM_WINDOW or y.shape[-2] < SSIM_WINDOW:
        raise ValueError(f"SSIM needs frames of at least 7x7 pixels. Received: shape={tuple(y.shape)}")
    n = SSIM_WINDOW**2
    y_mean, p_mean = _window_mean(xp, y), _window_mean(xp, p)
    y_var = (_window_mean(xp, y * y) - y_mean * y_mean) * (n / (n - 1))
    p_var = (_window_mean(xp, p * p) - p_mean * p_mean) * (n / (n - 1))
    covariance = (_window_mean(xp, y * p) - y_mean * p_mean) * (n / (n - 1))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    likeness = (2 * y_mean * p_mean + c1) * (2 * covariance + c2)
    likeness = likeness / ((y_mean**2 + p_mean**2 + c1) * (y_var + p_var + c2))
    return xp.mean(likeness, axis=(-3, -2, -1))


def _window_mean(xp, x):
    if xp is np:
        windows = np.lib.stride_tricks.sliding_window_view(x, (SSIM_WINDOW, SSIM_WINDOW), axis=(-3, -2))
        return windows.mean(axis=(-2, -1))
    lead, frame = ops.shape(x)[:-3], ops.shape(x)[-3:]
    pooled = ops.average_pool(
        ops.reshape(x, (-1, *frame)), SSIM_WINDOW, strides=1, padding="valid", data_format="channels_last"
    )
    return ops.reshape(pooled, (*lead, *ops.shape(pooled)[1:]))


def _numpy(score, y_true, y_pred, per_lead_time, *args):
    y, p = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    if y.shape != p.shape or y.ndim != 5:
        raise ValueError(
            f"`y_true` and `y_pred` must both be (B, T, H, W, C). Received: shapes {y.shape} and {p.shape}"
        )
    with np.errstate(divide="ignore"):  # PSNR of equal frames is infinite by definition
        frames = score(np, y, p, *args)
    return frames.mean(axis=0) if per_lead_time else float(frames.mean())


def mse_per_pixel(y_true, y_pred, per_lead_time=False):
    """Mean squared error, mean over pixels. Unit: the data's, squared; lower is better.

    Args: y_true, y_pred: (B, T, H, W, C); per_lead_time: return (T,) instead of one float.
    """
    return _numpy(_mse, y_true, y_pred, per_lead_time)


def mse_per_frame(y_true, y_pred, per_lead_time=False):
    """Squared error summed over a frame's H, W and C, then averaged over frames; grows with the frame."""
    return _numpy(_mse_sum, y_true, y_pred, per_lead_time)


def mae_per_pixel(y_true, y_pred, per_lead_time=False):
    """Mean absolute error, mean over pixels. Lower is better."""
    return _numpy(_mae, y_true, y_pred, per_lead_time)


def mae_per_frame(y_true, y_pred, per_lead_time=False):
    """Absolute error summed over a frame's H, W and C, then averaged over frames; grows with the frame."""
    return _numpy(_mae_sum, y_true, y_pred, per_lead_time)


def psnr(y_true, y_pred, data_range, per_lead_time=False):
    """Peak signal to noise ratio in dB, -10 log10(MSE / data_range^2) per frame, averaged over frames.

    Higher is better; infinite as soon as one frame is exact. `data_range` is the width of the value range (1.0, 255).
    """
    return _numpy(_psnr, y_true, y_pred, per_lead_time, data_range)


def ssim(y_true, y_pred, data_range, per_lead_time=False):
    """Structural similarity in [-1, 1], uniform 7x7 window, sample covariance, averaged over channels and frames.

    Equal to `skimage.metrics.structural_similarity(..., data_range=data_range, channel_axis=-1)` (to 1e-4).
    Higher is better. Published tables differ in window and range: compare like with like.
    """
    return _numpy(_ssim, y_true, y_pred, per_lead_time, data_range)


def frame_scores(y_true, y_pred, data_range):
    """Every score above, a value per frame: `{name: (B, T)}`; SSIM only for frames of at least 7x7 pixels."""
    y, p = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    scores = {"mse_per_pixel": _mse, "mse_per_frame": _mse_sum, "mae_per_pixel": _mae, "mae_per_frame": _mae_sum}
    with np.errstate(divide="ignore"):
        values = {name: score(np, y, p) for name, score in scores.items()}
        values["psnr"] = _psnr(np, y, p, data_range)
    if min(y.shape[-3:-1]) >= SSIM_WINDOW:
        values["ssim"] = _ssim(np, y, p, data_range)
    return values


class _FrameMean(keras.metrics.Metric):
    """Streaming mean over frames, or over the frames of each lead time.

    Args: horizon_frames: int or None. With an int, `result()` is a vector with one value per lead time.
    `sample_weight` (B,) or (B, T) weighs frames.
    """

    score: Callable

    def __init__(self, horizon_frames=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.horizon_frames = horizon_frames
        shape = () if horizon_frames is None else (horizon_frames,)
        self.total = self.add_variable(shape, "zeros", name="total")
        self.count = self.add_variable(shape, "zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y, p = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        frames = type(self).score(ops, y, p, *self._score_arguments())
        weights = ops.ones_like(frames)
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, "float32")
            weights = weights * (sample_weight[:, None] if len(sample_weight.shape) == 1 else sample_weight)
        axis = None if self.horizon_frames is None else 0
        self.total.assign_add(ops.sum(frames * weights, axis=axis))
        self.count.assign_add(ops.sum(weights, axis=axis))

    def _score_arguments(self):
        return ()

    def result(self):
        return ops.divide_no_nan(self.total, self.count)

    def get_config(self):
        return {**super().get_config(), "horizon_frames": self.horizon_frames}


class _RangedFrameMean(_FrameMean):
    def __init__(self, data_range, horizon_frames=None, name=None, **kwargs):
        super().__init__(horizon_frames, name=name, **kwargs)
        self.data_range = data_range

    def _score_arguments(self):
        return (self.data_range,)

    def get_config(self):
        return {**super().get_config(), "data_range": self.data_range}


@keras.saving.register_keras_serializable(package="keras_st")
class MSEPerPixel(_FrameMean):
    """Streaming `mse_per_pixel`."""

    score = staticmethod(_mse)


@keras.saving.register_keras_serializable(package="keras_st")
class MSEPerFrame(_FrameMean):
    """Streaming `mse_per_frame`."""

    score = staticmethod(_mse_sum)


@keras.saving.register_keras_serializable(package="keras_st")
class MAEPerPixel(_FrameMean):
    """Streaming `mae_per_pixel`."""

    score = staticmethod(_mae)


@keras.saving.register_keras_serializable(package="keras_st")
class MAEPerFrame(_FrameMean):
    """Streaming `mae_per_frame`."""

    score = staticmethod(_mae_sum)


@keras.saving.register_keras_serializable(package="keras_st")
class PSNR(_RangedFrameMean):
    """Streaming `psnr`."""

    score = staticmethod(_psnr)


@keras.saving.register_keras_serializable(package="keras_st")
class SSIM(_RangedFrameMean):
    """Streaming `ssim`."""

    score = staticmethod(_ssim)


def last_frame(context, horizon_frames):
    """Persistence: every forecast frame is the last observed one. (B, T, H, W, C) -> (B, horizon, H, W, C)."""
    return np.repeat(np.asarray(context)[:, -1:], horizon_frames, axis=1)


def black(context, horizon_frames):
    """Zeros: on sparse frames a strong opponent of anything that misplaces what it draws."""
    return np.zeros_like(last_frame(context, horizon_frames))


def context_mean(context, horizon_frames):
    """Every forecast frame is the mean of the context."""
    return np.repeat(np.asarray(context).mean(axis=1, keepdims=True), horizon_frames, axis=1)


TRIVIAL_FORECASTS = {"last_frame": last_frame, "black": black, "context_mean": context_mean}
