"""Scores of classifications, from labels and scores per class. NumPy functions; higher is better.

What joins scores is here too: probabilities of margins, weights of several models, means over splits. Those of videos
with several labels (`gap`, `GAP` ...) come from `keras_st.metrics.youtube8m`.
"""

import itertools

import numpy as np

from keras_st.metrics.youtube8m import (  # noqa: F401
    GAP,
    PERR,
    Hit1,
    MeanAP,
    SegmentMeanAP,
    class_aps,
    gap,
    hit1,
    mean_ap,
    perr,
    segment_mean_ap,
)


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


def average_precision(y_true, scores):
    """Precision averaged over the steps of recall: `AP = sum_n (R_n - R_{n-1}) P_n`, n over falling thresholds.

    Samples of equal score share one threshold. NaN without positives. (scikit-learn: the same, and 0 there.)

    Args: y_true: 0 or 1 (N,); scores: (N,), of any monotone scale.

    >>> average_precision([1, 0, 1, 0], [0.9, 0.6, 0.6, 0.1])  # 1/2 * 1 + 1/2 * 2/3
    0.8333333333333333
    """
    return float(class_average_precisions(np.asarray(y_true)[..., None], np.asarray(scores)[..., None])[0])


def class_average_precisions(y_true, scores):
    """Average precision of each class over all samples: float (classes,); NaN for a class without positives.

    Args:
        y_true: (N, classes), 1 for each of a sample's classes, otherwise 0; rows of -1 are not labelled and left out.
        scores: (N, classes), comparable within a class.
    """
    y_true, scores = _checked_several(y_true, scores)
    precisions = np.full(y_true.shape[1], np.nan)
    for k in np.flatnonzero(y_true.any(axis=0)):
        order = np.argsort(-scores[:, k], kind="stable")
        last = np.append(np.flatnonzero(np.diff(scores[order, k])), len(order) - 1)  # of samples of equal score
        found = np.cumsum(y_true[order, k])[last]
        precisions[k] = np.sum(np.diff(found, prepend=0) * found / (last + 1)) / found[-1]
    return precisions


def mean_average_precision(y_true, scores):
    """Mean over classes of `class_average_precisions`; classes without positives are left out.

    Samples are videos or frames: those of all videos are ranked together.
    """
    precisions = class_average_precisions(y_true, scores)
    if np.isnan(precisions).all():
        raise ValueError(f"`y_true` must have positives. Received: none in {np.shape(y_true)}")
    return float(np.nanmean(precisions))


def mean_over_splits(results):
    """Means of the scores of a data set's splits, each split counting alike: `{name: mean}`.

    results: `[{name: score}]`, the same names for all splits.

    >>> mean_over_splits([{"accuracy": 0.5}, {"accuracy": 0.75}])
    {'accuracy': 0.625}
    """
    results = list(results)
    if not results or any(result.keys() != results[0].keys() for result in results):
        raise ValueError(f"`results` must have the same scores. Received: {[sorted(result) for result in results]}")
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}


def softmax(logits):
    """Probabilities (..., classes) of logits."""
    shifted = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def sigmoid(logits):
    """Probabilities of classes that do not exclude each other, (...)."""
    logits = np.asarray(logits)
    small = np.exp(-np.abs(logits))  # of the less likely: 1 - p would lose small probabilities
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))


def fit_temperature(y_true, margins):
    """The t for which the labels are most likely under `softmax(margins / t)`: float, in the margins' unit.

    One sample's worth of the targets is spread over all classes, `(N onehot + 1 / K) / (N + 1)` (after Platt 1999), so
    that t is not 0 where every margin is right. The likelihood is concave in b = 1 / t. Its slope is bisected, to

        mean over samples of sum_k (softmax(b margins)_k - target_k) margins_k = 0

    Args: y_true: int (N,); margins: (N, K) of held-out samples, of those a classifier was fitted on they are too good.
    Raises: ValueError: the true class has no higher margin than the mean of all, so no t fits.
    Reference: Platt, Probabilistic outputs for support vector machines, 1999; Guo et al., On calibration, ICML 2017.
    """
    y_true, margins = _checked(y_true, margins)
    margins = margins - margins.mean(axis=1, keepdims=True, dtype=np.float64)
    target = margins[np.arange(len(y_true)), y_true].mean() * len(y_true) / (len(y_true) + 1)
    spread = np.abs(margins).max()
    if not target > 1e-9 * spread:
        raise ValueError(
            "Margins must be higher for the true class than for the mean of all classes. Received: a mean of "
            f"{target:.3g} above it"
        )

    def slope(b):
        return (softmax(b * margins) * margins).sum(axis=1).mean() - target

    high = 1 / spread
    while slope(high) < 0:
        high *= 2
    low = high
    while slope(low) > 0:
        low /= 2
    for _ in range(50):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / high)


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


def tuned_weights(y_true, scores, steps=10):
    """The weights of models, multiples of `1 / steps` with a sum of 1, whose `fused` scores are most accurate.

    Of equally accurate ones those nearest to equal weights (smallest sum of squares), then those that give more to the
    earlier models. Weights are chosen on other samples than they are reported on.

    Args: y_true: int (N,); scores: sequence of (N, classes), on one scale.
    """
    scores = list(scores)
    cuts = itertools.combinations(range(steps + len(scores) - 1), len(scores) - 1)
    grid = [tuple(int(w) for w in np.diff(cut, prepend=-1, append=steps + len(scores) - 1) - 1) for cut in cuts]

    def rank(weights):
        return top_k_accuracy(y_true, fused(scores, weights)), -sum(w * w for w in weights), weights

    return [w / steps for w in max(grid, key=rank)]


def _checked_several(y_true, scores):
    """bool and float64 (N, classes) of the samples that are labelled."""
    y_true, scores = np.asarray(y_true), np.asarray(scores, np.float64)
    if y_true.ndim != 2 or y_true.shape != scores.shape or not np.isin(y_true, (-1, 0, 1)).all():
        raise ValueError(
            "`y_true` (0, 1, of samples without labels -1) and `scores` must be alike, (N, classes). "
            f"Received: {y_true.dtype} {y_true.shape} and {scores.shape}"
        )
    unlabelled = (y_true == -1).any(axis=1)
    if (y_true[unlabelled] != -1).any():
        raise ValueError("A sample's labels must be -1 for all classes or for none. Received: -1 beside others")
    y_true, scores = y_true[~unlabelled] == 1, scores[~unlabelled]
    if not len(y_true) or not np.isfinite(scores).all():
        raise ValueError(f"Scores must be finite, of one sample or more. Received: {len(y_true)} samples")
    return y_true, scores


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
