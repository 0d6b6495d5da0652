"""Scores of classifications, from labels and scores per class. NumPy functions; higher is better."""

import numpy as np


def top_k_hits(y_true, scores, k=1):
    """Whether the true class is among the `k` highest scores: bool (N,).

    Args: y_true: int (N,); scores: (N, classes), of any monotone scale. Ties count against the class.
    """
    y_true, scores = _checked(y_true, scores)
    own = scores[np.arange(len(y_true)), y_true]
    return (scores >= own[:, None]).sum(axis=1) <= k


def top_k_accuracy(y_true, scores, k=1):
    """Share of samples whose true class is among the `k` highest scores."""
    return float(top_k_hits(y_true, scores, k).mean())


def confusion_matrix(y_true, scores):
    """Counts (classes, classes): row true class, column the class of the highest score."""
    y_true, scores = _checked(y_true, scores)
    matrix = np.zeros((scores.shape[1],) * 2, int)
    np.add.at(matrix, (y_true, scores.argmax(axis=1)), 1)
    return matrix


def _checked(y_true, scores):
    y_true, scores = np.asarray(y_true), np.asarray(scores)
    if y_true.ndim != 1 or scores.ndim != 2 or len(y_true) != len(scores) or y_true.dtype.kind not in "ui":
        raise ValueError(
            "`y_true` must be int (N,) and `scores` (N, classes). "
            f"Received: {y_true.dtype} {y_true.shape} and {scores.shape}"
        )
    if not len(y_true) or not np.isfinite(scores).all():
        raise ValueError(f"Scores must be finite, of one sample or more. Received: {len(y_true)} samples")
    if not 0 <= y_true.min() <= y_true.max() < scores.shape[1]:
        raise ValueError(f"Labels must lie in 0..{scores.shape[1] - 1}. Received: {y_true.min()} to {y_true.max()}")
    return y_true, scores
