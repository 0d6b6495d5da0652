"""Scores of videos with several labels each, as YouTube-8M's evaluation defines them: functions and streaming metrics.

`y_true` (N, classes) is 1 for each of a video's classes, otherwise 0; `scores` (N, classes) are probabilities. Higher
is better; without any positive a score is 0. Pairs of score and hit are ranked over all videos, the `k` best of each;
a positive that is not among them still counts, as not found. Equal scores rank in an order shuffled with a fixed seed.

Worked numbers, scores (.9, .6, .1) of classes {0} and (.8, .3, .7) of {1, 2}:

    hit1 1/2   perr (1 + 1/2) / 2   gap (1 + 2/3) / 3 with k = 2, (1 + 2/3 + 3/5) / 3 with k = 3
    mean_ap (1 + 0 + 1) / 3 with k = 2, (1 + 1/2 + 1) / 3 with k = 3

Reference: github.com/google/youtube-8m, eval_util.py and average_precision_calculator.py.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

FEW = 100
BINS = 10_000  # of rankings that are counted, not kept
REACH = 16.0  # bins span logits of -16..16: beyond, a float32 probability is 0 or 1 but for 1e-7


def hit1(y_true, scores):
    """Share of videos whose best class is one of theirs."""
    y_true, scores = _checked(y_true, scores)
    return float(y_true[np.arange(len(scores)), scores.argmax(axis=1)].mean())


def perr(y_true, scores):
    """Precision at equal recall rate: of a video with G classes, the share of its G best that are its own, averaged.

    A class with a score of 0 is not found; a video without classes counts as 0.
    """
    y_true, scores = _checked(y_true, scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    found = np.take_along_axis(y_true & (scores > 0), order, axis=1)
    count = y_true.sum(axis=1, keepdims=True)
    found &= np.arange(scores.shape[1]) < count
    return float((found.sum(axis=1) / np.maximum(count[:, 0], 1)).mean())


def gap(y_true, scores, k=20):
    """Global average precision: the pairs of all videos in one ranking, `sum_i hit_i precision(i) / positives`."""
    y_true, scores = _checked(y_true, scores)
    scores, hits, _ = _top(y_true, scores, k)
    return float(_precisions(scores.ravel(), hits.ravel(), np.zeros(scores.size, int), y_true.sum()[None])[0])


def class_aps(y_true, scores, k=20):
    """Average precision of each class over its pairs, float (classes,); NaN for a class without positives.

    k: pairs that are kept of a video; None: all, with which a class's average precision is the usual one
    (`classify.class_average_precisions`, but for ties).
    """
    y_true, scores = _checked(y_true, scores)
    scores, hits, places = _top(y_true, scores, k)
    positives = y_true.sum(axis=0)
    return _with_nan(_precisions(scores.ravel(), hits.ravel(), places.ravel(), positives), positives)


def mean_ap(y_true, scores, k=20):
    """Mean over classes of `class_aps`; classes without positives are left out."""
    return _mean(class_aps(y_true, scores, k))


def segment_mean_ap(y_true, scores, k=100_000):
    """Mean over classes of the average precision of rated segments (2019); classes without positives are left out.

    The segments of a class are ranked, the `k` best taken, and of them those that were rated for the class.

    Args: y_true: (N, classes), 1 or 0 where a segment was rated for a class, otherwise -1; scores: (N, classes).
    """
    metric = SegmentMeanAP(k)
    metric.update_state(y_true, scores)
    return metric.result()


def _checked(y_true, scores, rated=(0, 1)):
    """bool (N, classes) and scores, in their own precision."""
    y_true, scores = np.asarray(y_true), np.asarray(scores)
    if y_true.ndim != 2 or y_true.shape != scores.shape or not np.isin(y_true, rated).all():
        raise ValueError(
            f"`y_true` ({' or '.join(map(str, rated))}) and `scores` must be alike, (N, classes). "
            f"Received: {y_true.dtype} {y_true.shape} and {scores.shape}"
        )
    if not y_true.size or not np.isfinite(scores).all():
        raise ValueError(f"Scores must be finite, of one video or more. Received: {scores.dtype} {scores.shape}")
    return y_true == 1 if rated == (0, 1) else y_true, scores


def _top(y_true, scores, k):
    """`(scores, hits, classes)`, each (N, k), of every video's best classes, in no order."""
    if k is not None and k < 1:
        raise ValueError(f"`k` must be at least 1. Received: k={k}")
    count = scores.shape[1]
    places = np.broadcast_to(np.arange(count), scores.shape)
    if k is not None and k < count:
        places = np.argpartition(scores, count - k, axis=1)[:, count - k :]
    return *(np.take_along_axis(values, places, axis=1) for values in (scores, y_true)), places


def _precisions(scores, hits, places, positives):
    """Average precision of the pairs of each class: float (classes,), 0 for one without positives.

    Args: scores, hits, places: (pairs,), `places` says the class; positives: (classes,), found or not.
    """
    order = np.random.default_rng(0).permutation(len(scores))
    order = order[np.lexsort((-scores[order], places[order]))]
    hits, places = hits[order], places[order]
    first = np.searchsorted(places, np.arange(len(positives)))  # of each class
    ranks = np.arange(1, len(hits) + 1) - first[places]
    found = np.append(0, np.cumsum(hits))
    precision = (found[1:] - found[first][places]) / ranks
    return np.bincount(places, hits * precision, len(positives)) / np.maximum(positives, 1)


def _with_nan(precisions, positives):
    return np.where(positives > 0, precisions, np.nan)


def _mean(precisions):
    return 0.0 if np.isnan(precisions).all() else float(np.nanmean(precisions))


# Streaming


class _VideoMean(keras.metrics.Metric):
    """Streaming mean of a value of every video. `sample_weight` (B,) weighs videos; labels of -1 count as 0."""

    def __init__(self, from_logits=False, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.from_logits = from_logits
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = self._values(ops.cast(y_true > 0, "float32"), ops.cast(y_pred, "float32"))
        weights = ops.ones_like(values) if sample_weight is None else ops.cast(sample_weight, "float32")
        self.total.assign_add(ops.sum(values * weights))
        self.count.assign_add(ops.sum(weights))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="keras_st")
class Hit1(_VideoMean):
    """Streaming `hit1`, of probabilities or logits."""

    def _values(self, y_true, y_pred):
        best = ops.argmax(y_pred, axis=1)
        return ops.take_along_axis(y_true, best[:, None], axis=1)[:, 0]


@keras.saving.register_keras_serializable(package="keras_st")
class PERR(_VideoMean):
    """Streaming `perr`.

    Args: from_logits: bool. Scores are logits, whose probabilities all are above 0.
    """

    def _values(self, y_true, y_pred):
        classes, count = y_pred.shape[1], ops.sum(y_true, axis=1)
        right = y_true if self.from_logits else y_true * ops.cast(y_pred > 0, "float32")

        def found(best):
            places = ops.top_k(y_pred, best)[1]
            among = ops.arange(best, dtype="float32") < count[:, None]
            return ops.sum(ops.take_along_axis(right, places, axis=1) * ops.cast(among, "float32"), axis=1)

        few = min(FEW, classes)  # videos have few classes: ranking all of them would take ten times as long
        hits = ops.cond(ops.max(count) > few, lambda: found(classes), lambda: found(few))
        return hits / ops.maximum(count, 1.0)


class _Ranking(keras.metrics.Metric):
    """Pairs of all videos: kept, or counted in bins.

    Kept pairs are NumPy arrays, `k` a video (7 bytes a pair), so a score is exact, and the metric is for loops in
    Python: an evaluation, not `compile`. With `bins` the memory is constant: hits and pairs are counted in bins of
    equal width in the logit, and pairs of a bin rank as they would on average in random order. That is within 1e-3 of
    the exact score for some thousand pairs a ranking and more, and works everywhere.
    """

    def __init__(self, k, bins, classes, from_logits, name, kwargs):
        super().__init__(name=name, **kwargs)
        for option, value in (("k", k), ("bins", bins)):
            if value is not None and value < 1:
                raise ValueError(f"`{option}` must be at least 1. Received: {option}={value}")
        self.k, self.bins, self.from_logits = k, bins, from_logits
        self._kept: list[tuple] = []
        self._positives: Any = 0
        if bins is not None:
            self.hits = self.add_variable((classes * bins,), "zeros", name="hits")
            self.pairs = self.add_variable((classes * bins,), "zeros", name="pairs")
            self.positives = self.add_variable((classes,), "zeros", name="positives")

    def update_state(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError("Rankings have no weights of videos. Received: sample_weight")
        if self.bins is None:
            return self._keep(*_checked(*_as_numpy(y_true, y_pred)))
        y_true, y_pred = ops.cast(y_true > 0, "float32"), ops.cast(y_pred, "float32")
        scores, hits, places = self._top(y_true, y_pred)
        hits = ops.reshape(hits, (-1,))
        if not self.from_logits:
            scores = ops.clip(scores, 1e-7, 1 - 1e-7)
            scores = ops.log(scores) - ops.log1p(-scores)
        place = ops.floor((scores + REACH) * (self.bins / (2 * REACH)))
        place = ops.cast(ops.clip(place, 0, self.bins - 1), "int32") + self._first_bin(places)
        place, size = ops.reshape(place, (-1,)), self.hits.shape[0]
        self.hits.assign_add(ops.segment_sum(hits, place, size))
        self.pairs.assign_add(ops.segment_sum(ops.ones_like(hits), place, size))
        self.positives.assign_add(self._positives_of(ops, y_true))

    def _top(self, y_true, scores):
        count = scores.shape[1]
        if self.k is None or self.k >= count:
            return scores, y_true, ops.broadcast_to(ops.arange(count, dtype="int32"), ops.shape(scores))
        scores, places = ops.top_k(scores, self.k, sorted=False)
        return scores, ops.take_along_axis(y_true, places, axis=1), places

    def _keep(self, y_true, scores):
        scores, hits, places = _top(y_true, scores, self.k)
        places = places.astype(np.min_scalar_type(y_true.shape[1] - 1))
        self._kept.append(tuple(values.ravel() for values in (scores, hits, places)))
        self._positives = self._positives + self._positives_of(np, y_true.astype(int))

    def _exact(self):
        """Average precisions of the rankings, of kept pairs."""
        scores, hits, places = (np.concatenate(parts) for parts in zip(*self._kept))
        return _precisions(scores, hits, self._first_bin(places.astype(int)), self._positives)

    def _estimated(self):
        """The same of counted ones.

        n pairs, p of them hits, after N pairs with H hits. At place i = 1..n the chance of a hit is p / n; i - 1 pairs
        before it hold (i - 1) a hits on average, a = (p - 1) / (n - 1):

            p / n sum_i (H + 1 + (i - 1) a) / (N + i) = p / n (a n + (H + 1 - a (N + 1)) (h(N + n) - h(N)))

        with harmonic numbers h.
        """
        shape = (self.positives.shape[0], self.bins)
        p, n = (ops.flip(ops.reshape(ops.convert_to_tensor(x), shape), axis=1) for x in (self.hits, self.pairs))
        hits, pairs = ops.cumsum(p, axis=1) - p, ops.cumsum(n, axis=1) - n
        a = ops.where(n > 1, (p - 1) / ops.maximum(n - 1, 1.0), 0.0)
        sums = a * n + (hits + 1 - a * (pairs + 1)) * (_tail(pairs + n) - _tail(pairs) + ops.log1p(n / (pairs + 3.5)))
        return ops.sum(p / ops.maximum(n, 1.0) * sums, axis=1) / ops.maximum(self.positives, 1.0)

    def reset_state(self):
        super().reset_state()
        self._kept, self._positives = [], 0

    def get_config(self):
        return {**super().get_config(), "k": self.k, "bins": self.bins, "from_logits": self.from_logits}


def _tail(n):
    """h(n) - log(n + 3.5) but for a constant and 2e-6: asymptotic series of h(n + 3), less what that has more."""
    square = ops.square(n + 3.5)
    return 1 / (24 * square) - 7 / (960 * ops.square(square)) - 1 / (n + 1) - 1 / (n + 2) - 1 / (n + 3)


@keras.saving.register_keras_serializable(package="keras_st")
class GAP(_Ranking):
    """Streaming `gap`.

    Args:
        k: int. Pairs that are kept of a video.
        bins: int or None. None: exact, in Python loops only. Otherwise constant memory (10_000 do), for `compile`.
        from_logits: bool. Scores are logits, no probabilities; only bins need to know.
    """

    def __init__(self, k=20, bins=None, from_logits=False, name=None, **kwargs):
        super().__init__(k, bins, 1, from_logits, name, kwargs)

    def _first_bin(self, places):
        return 0 * places

    def _positives_of(self, xp, y_true):
        return xp.reshape(xp.sum(y_true), (1,))

    def result(self):
        if self.bins is not None:
            return self._estimated()[0]
        return float(self._exact()[0]) if self._kept else 0.0


@keras.saving.register_keras_serializable(package="keras_st")
class MeanAP(_Ranking):
    """Streaming `mean_ap`.

    Args:
        k: int or None. Pairs that are kept of a video; None: all, of all classes.
        bins: int or None. None: exact, in Python loops only. Otherwise memory of two numbers a class and bin (ten
            times that while a result is computed), for `compile`.
        classes: int. Their number, needed with `bins`.
        from_logits: bool. Scores are logits, no probabilities; only bins need to know.
    """

    def __init__(self, k=20, bins=None, classes=None, from_logits=False, name=None, **kwargs):
        if bins is not None and not classes:
            raise ValueError(f"`bins` need the number of classes. Received: classes={classes}")
        super().__init__(k, bins, classes, from_logits, name, kwargs)
        self.classes = classes

    def _first_bin(self, places):
        return places if self.bins is None else ops.cast(places, "int32") * self.bins

    def _positives_of(self, xp, y_true):
        return xp.sum(y_true, axis=0)

    def per_class(self):
        """`(average precisions, positives)` NumPy (classes,), NaN for a class without positives."""
        if self.bins is None and not self._kept:
            return np.zeros(0), np.zeros(0)
        positives = self._positives if self.bins is None else ops.convert_to_numpy(self.positives)
        precisions = self._exact() if self.bins is None else ops.convert_to_numpy(self._estimated())
        return _with_nan(precisions, positives), positives

    def result(self):
        if self.bins is None:
            return _mean(self.per_class()[0]) if self._kept else 0.0
        among = ops.cast(self.positives > 0, "float32")
        return ops.divide_no_nan(ops.sum(self._estimated() * among), ops.sum(among))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="keras_st")
class SegmentMeanAP(keras.metrics.Metric):
    """Streaming `segment_mean_ap`, in Python loops; memory of up to 2 k segments, 5 bytes a class each.

    Args: k: int. Segments of a class that are taken.
    """

    def __init__(self, k=100_000, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        if k < 1:
            raise ValueError(f"`k` must be at least 1. Received: k={k}")
        self.k = k
        self._kept: list[tuple] = []
        self._positives: Any = 0

    def update_state(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError("Rankings have no weights of segments. Received: sample_weight")
        y_true, scores = _checked(*_as_numpy(y_true, y_pred), rated=(-1, 0, 1))
        self._positives = self._positives + (y_true == 1).sum(axis=0)
        self._kept.append((y_true.astype(np.int8), scores))
        if sum(len(scores) for _, scores in self._kept) > 2 * self.k:
            self._kept = [self._best()]

    def _best(self):
        """The best `k` segments of every class."""
        y_true, scores = (np.concatenate(parts) for parts in zip(*self._kept))
        order = np.argsort(-scores, axis=0, kind="stable")[: self.k]
        return np.take_along_axis(y_true, order, axis=0), np.take_along_axis(scores, order, axis=0)

    def result(self):
        if not self._kept:
            return 0.0
        y_true, scores = self._best()
        rows, places = np.nonzero(y_true != -1)
        precisions = _precisions(scores[rows, places], y_true[rows, places] == 1, places, self._positives)
        return _mean(_with_nan(precisions, self._positives))

    def reset_state(self):
        super().reset_state()
        self._kept, self._positives = [], 0

    def get_config(self):
        return {**super().get_config(), "k": self.k}


def _as_numpy(*tensors):
    try:
        return [np.asarray(ops.convert_to_numpy(tensor)) for tensor in tensors]
    except (TypeError, NotImplementedError, AttributeError, ValueError) as error:
        raise ValueError("Exact rankings are kept in Python: in a graph, set `bins`. Received: a symbol") from error
