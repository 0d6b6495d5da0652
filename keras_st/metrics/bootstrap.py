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
