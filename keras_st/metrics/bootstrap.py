"""Uncertainty of a mean score over the samples it was taken from."""

import numpy as np


def bootstrap_interval(values, level=0.95, resamples=1000, seed=0):
    """Percentile bootstrap interval of the mean of `values` (N,): `(low, high)`.

    `values` are scores of independent samples (sequences, videos, events), not of frames of one sample.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"`values` must be a non-empty vector. Received: shape={values.shape}")
    rows = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def ratio_interval(numerators, denominators, level=0.95, resamples=1000, seed=0):
    """Percentile bootstrap interval of sum(numerators) / sum(denominators) over N samples, both (N,): `(low, high)`.

    Of F1 over clips (2 pairs; found + true), of a mean over pieces that belong to storms (a storm's sum; its pieces).
    Resamples whose denominators are all 0 are left out; NaN where that is all of them.

    >>> ratio_interval([2, 4, 6], [1, 2, 3])
    (2.0, 2.0)
    """
    parts = np.stack([np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)])
    if parts.ndim != 2 or not parts.size:
        raise ValueError(f"Both must be vectors of samples. Received: shape={parts.shape[1:]}")
    rows = np.random.default_rng(seed).integers(0, parts.shape[1], (resamples, parts.shape[1]))
    top, bottom = parts[:, rows].sum(axis=-1)
    if not (bottom > 0).any():
        return float("nan"), float("nan")
    low, high = np.quantile(
        (top / np.where(bottom > 0, bottom, np.nan))[bottom > 0], [(1 - level) / 2, (1 + level) / 2]
    )
    return float(low), float(high)
