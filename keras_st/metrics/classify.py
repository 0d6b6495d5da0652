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


def class_recalls(y_true, scores):
    """Share of each class's samples that are recognised, float (classes,); NaN for a class without samples."""
    matrix = confusion_matrix(y_true, scores)
    counts = matrix.sum(axis=1)
    return np.divide(np.diag(matrix), counts, out=np.full(len(matrix), np.nan), where=counts > 0)


def mean_class_accuracy(y_true, scores):
    """Mean over classes of the recall of each, so that frequent classes count no more than rare ones.

    Classes without samples are left out. (mmaction2 counts them as 0.)
    """
    return float(np.nanmean(class_recalls(y_true, scores)))


def most_confused(y_true, scores, count=3):
    """`[(true class, predicted class, samples)]` of the largest entries beside the confusion matrix's diagonal."""
    matrix = confusion_matrix(y_true, scores)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:count]
    pairs = (np.unravel_index(n, matrix.shape) for n in order)
    return [(int(row), int(column), int(matrix[row, column])) for row, column in pairs if matrix[row, column]]


def softmax(logits):
    """Probabilities (..., classes) of logits."""
    shifted = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def fused(scores, weights=None):
    """Convex combination of the scores of several models of the same samples: `sum_m w_m scores_m / sum_m w_m`.

    Args: scores: sequence of (N, classes), on one scale (probabilities, say); weights: of the models, None: equal.
    """
    scores = [np.asarray(s, np.float64) for s in scores]
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    if not scores or len({s.shape for s in scores}) > 1 or scores[0].ndim != 2:
        raise ValueError(f"`scores` must be (N, classes), alike. Received: {[s.shape for s in scores]}")
    if weights.shape != (len(scores),) or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum()):
        raise ValueError(
            f"`weights` must be one of each model, none negative, not all 0. Received: {weights.tolist()} "
            f"for {len(scores)} models"
        )
    return sum(w * s for w, s in zip(weights / weights.sum(), scores))


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
