"""Scores of YouTube-8M: by hand, against loops from the definitions, against scikit-learn; streams of batches."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_st.metrics import classify, youtube8m

LABELS = np.array([[1, 0, 0], [0, 1, 1]])
SCORES = np.array([[0.9, 0.6, 0.1], [0.8, 0.3, 0.7]])


# Loops


def plain_ap(pairs, positives):
    found = total = 0
    for rank, (_, hit) in enumerate(sorted(pairs, key=lambda pair: -pair[0]), start=1):
        found += hit
        total += hit * found / rank
    return total / positives


def plain_pairs(labels, scores, k):
    """`(score, hit, class)` of the k best of every video."""
    for row, hits in zip(scores, labels):
        best = sorted(range(len(row)), key=lambda c: -row[c])[:k]
        yield from ((row[c], hits[c], c) for c in best)


def plain_gap(labels, scores, k):
    return plain_ap([pair[:2] for pair in plain_pairs(labels, scores, k)], labels.sum())


def plain_class_aps(labels, scores, k):
    pairs = list(plain_pairs(labels, scores, k))
    return [
        plain_ap([pair[:2] for pair in pairs if pair[2] == c], labels[:, c].sum()) if labels[:, c].any() else np.nan
        for c in range(labels.shape[1])
    ]


def plain_perr(labels, scores):
    values = []
    for row, hits in zip(scores, labels):
        best = sorted(range(len(row)), key=lambda c: -row[c])[: hits.sum()]
        values.append(sum(hits[c] for c in best if row[c] > 0) / max(len(best), 1))
    return np.mean(values)


def distinct(rng, videos, classes, rate=0.2):
    """Labels, and probabilities that all differ, higher for the true classes."""
    labels = (rng.random((videos, classes)) < rate).astype(int)
    logits = rng.normal(2 * labels - 3, 1.5)
    return labels, 1 / (1 + np.exp(-logits))


# By hand


def test_by_hand():
    assert classify.hit1(LABELS, SCORES) == 0.5
    assert classify.perr(LABELS, SCORES) == 0.75
    assert classify.gap(LABELS, SCORES, 2) == pytest.approx(0.555556, abs=1e-6)
    assert classify.gap(LABELS, SCORES, 3) == pytest.approx(0.755556, abs=1e-6)
    assert classify.gap(LABELS, SCORES) == classify.gap(LABELS, SCORES, 3)
    assert classify.mean_ap(LABELS, SCORES, 2) == pytest.approx(0.666667, abs=1e-6)
    assert classify.mean_ap(LABELS, SCORES, 3) == pytest.approx(0.833333, abs=1e-6)
    assert classify.mean_ap(LABELS, SCORES, None) == pytest.approx(0.833333, abs=1e-6)


def test_streams_by_hand():
    for metric, want in (
        (classify.Hit1(), 0.5),
        (classify.PERR(), 0.75),
        (classify.GAP(k=2), 0.555556),
        (classify.GAP(k=3), 0.755556),
        (classify.MeanAP(k=2), 0.666667),
        (classify.MeanAP(k=3), 0.833333),
        (classify.MeanAP(k=None), 0.833333),
        (classify.GAP(k=2, bins=10_000), 0.555556),
        (classify.MeanAP(k=2, bins=1000, classes=3), 0.666667),
        (classify.MeanAP(k=None, bins=1000, classes=3), 0.833333),
    ):
        for row in range(2):
            metric.update_state(LABELS[row : row + 1], SCORES[row : row + 1].astype("float32"))
        assert float(metric.result()) == pytest.approx(want, abs=3e-6)


def test_a_score_of_0_is_not_found_and_a_video_without_labels_counts():
    labels, scores = np.array([[1, 1, 0], [0, 0, 0]]), np.array([[0.5, 0.0, 0.0], [0.3, 0.2, 0.1]])
    assert classify.perr(labels, scores) == 0.25 and classify.hit1(labels, scores) == 0.5
    metric = classify.PERR()
    metric.update_state(labels, scores)
    assert float(metric.result()) == 0.25
    logits = classify.PERR(from_logits=True)
    logits.update_state(labels, np.array([[3.0, -1.0, -2.0], [0.0, 1.0, 2.0]]))
    assert float(logits.result()) == 0.5


def test_precision_at_equal_recall_of_videos_with_many_classes(rng):
    for rate in (0.2, 0.6):  # of 300: fewer and more than are ranked as a rule
        labels, scores = distinct(rng, 9, 300, rate)
        metric = classify.PERR()
        metric.update_state(labels, scores.astype("float32"))
        assert float(metric.result()) == pytest.approx(plain_perr(labels, scores), abs=1e-6)


def test_positives_outside_the_best_count_as_not_found():
    labels, scores = np.array([[0, 0, 1]]), np.array([[0.9, 0.8, 0.7]])
    assert classify.gap(labels, scores, 2) == classify.mean_ap(labels, scores, 2) == 0
    assert classify.gap(labels, scores, 3) == pytest.approx(1 / 3)


def test_without_positives_a_score_is_0():
    labels = np.zeros((2, 3), int)
    assert classify.gap(labels, SCORES) == classify.mean_ap(labels, SCORES) == classify.perr(labels, SCORES) == 0
    assert np.isnan(classify.class_aps(labels, SCORES)).all()
    for metric in (classify.GAP(), classify.MeanAP(), classify.GAP(bins=9), classify.MeanAP(bins=9, classes=3)):
        assert float(metric.result()) == 0
        metric.update_state(labels, SCORES)
        assert float(metric.result()) == 0


def test_segments_by_hand():
    """Class 0: rated at ranks 1 (hit), 2 not rated, 3 (miss), 4 (hit): (1 + 2/3) / 2; with k = 3 the last is lost."""
    labels = np.array([[1, -1], [-1, 0], [0, -1], [1, -1]])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    assert classify.segment_mean_ap(labels, scores) == pytest.approx((1 + 2 / 3) / 2)
    assert classify.segment_mean_ap(labels, scores, 3) == pytest.approx(1 / 2)
    assert classify.segment_mean_ap(np.minimum(labels, 0), scores) == 0
    assert classify.SegmentMeanAP().result() == 0


# Against others


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 30), st.integers(1, 12), st.integers(1, 14), st.floats(0.05, 0.9))
def test_functions_are_the_definitions(seed, videos, classes, k, rate):
    labels, scores = distinct(np.random.default_rng(seed), videos, classes, rate)
    labels[0, 0] = 1
    assert classify.gap(labels, scores, k) == pytest.approx(plain_gap(labels, scores, k), abs=1e-12)
    np.testing.assert_allclose(classify.class_aps(labels, scores, k), plain_class_aps(labels, scores, k), atol=1e-12)
    assert classify.mean_ap(labels, scores, k) == pytest.approx(np.nanmean(plain_class_aps(labels, scores, k)))
    assert classify.perr(labels, scores) == pytest.approx(plain_perr(labels, scores))
    assert classify.hit1(labels, scores) == np.mean([row[best] for row, best in zip(labels, scores.argmax(1))])


def test_untruncated_precisions_are_those_of_scikit_learn(rng):
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, scores = distinct(rng, 200, 15)
    want = sklearn.average_precision_score(labels, scores, average=None)
    for k in (15, 20, None):
        np.testing.assert_allclose(classify.class_aps(labels, scores, k), want)
        assert classify.mean_ap(labels, scores, k) == pytest.approx(want.mean())
        micro = sklearn.average_precision_score(labels, scores, average="micro")
        assert classify.gap(labels, scores, k) == pytest.approx(micro)
    np.testing.assert_allclose(classify.class_average_precisions(labels, scores), want)


def test_equal_scores_rank_in_a_fixed_order_that_is_not_the_given_one():
    """Sorted hits first, a stable order would give 1; shuffled it is near the share of positives."""
    labels = np.repeat([1, 0], 5000)[:, None]
    found = classify.gap(labels, np.full((10_000, 1), 0.5))
    assert found == classify.gap(labels, np.full((10_000, 1), 0.5)) and abs(found - 0.5) < 0.02


# Streams


def uneven(rng, count):
    """Places where batches end."""
    cuts = np.sort(rng.integers(0, count + 1, 3))
    return [part for part in np.split(np.arange(count), cuts) if len(part)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 40), st.integers(1, 25), st.integers(0, 1))
def test_uneven_batches_equal_one(seed, videos, classes, ties):
    rng = np.random.default_rng(seed)
    labels, scores = distinct(rng, videos, classes)
    scores = np.round(scores, 1) if ties else scores
    for metric, want in (
        (classify.GAP(), classify.gap(labels, scores)),
        (classify.GAP(k=3), classify.gap(labels, scores, 3)),
        (classify.MeanAP(k=3), classify.mean_ap(labels, scores, 3)),
        (classify.MeanAP(k=None), classify.mean_ap(labels, scores, None)),
    ):
        for part in uneven(rng, videos):
            metric.update_state(labels[part], scores[part])
        assert metric.result() == pytest.approx(want, abs=1e-12)
    rated = np.where(rng.random(labels.shape) < 0.5, labels, -1)
    metric = classify.SegmentMeanAP(k=9)  # so that it drops some on the way
    for part in uneven(rng, videos):
        metric.update_state(rated[part], scores[part])
    assert metric.result() == pytest.approx(classify.segment_mean_ap(rated, scores, 9), abs=1e-12)


@pytest.mark.parametrize("name", ["Hit1", "PERR"])
def test_means_of_uneven_batches(rng, name):
    labels, scores = distinct(rng, 50, 9)
    labels[:5] = 0
    scores[10:15] *= scores[10:15] > 0.3
    metric = getattr(classify, name)()
    for part in uneven(rng, 50):
        metric.update_state(labels[part], scores[part].astype("float32"))
    assert float(metric.result()) == pytest.approx(getattr(classify, name.lower())(labels, scores), abs=1e-6)
    metric.reset_state()
    metric.update_state(labels, scores, sample_weight=np.arange(50) < 7)
    assert float(metric.result()) == pytest.approx(getattr(classify, name.lower())(labels[:7], scores[:7]), abs=1e-6)


@pytest.mark.parametrize("videos, classes, spread", [(300, 40, 1.5), (3000, 40, 0.3), (1000, 25, 6.0)])
def test_bins_are_near(rng, videos, classes, spread):
    """Constant memory, within 1e-3 of the exact scores, of probabilities and of logits; batches do not matter."""
    labels = (rng.random((videos, classes)) < 0.1).astype(int)
    logits = rng.normal(2 * spread * labels - 4, spread).astype("float32")
    scores = (1 / (1 + np.exp(-logits))).astype("float32")
    for make, want in (
        (lambda **how: classify.GAP(bins=10_000, **how), classify.gap(labels, logits)),
        (lambda **how: classify.MeanAP(bins=2000, classes=classes, **how), classify.mean_ap(labels, logits)),
        (lambda **how: classify.MeanAP(None, 2000, classes, **how), classify.mean_ap(labels, logits, None)),
    ):
        for values, from_logits in ((scores, False), (logits, True)):
            metric, whole = make(from_logits=from_logits), make(from_logits=from_logits)
            for part in uneven(rng, videos):
                metric.update_state(labels[part], values[part])
            assert float(metric.result()) == pytest.approx(want, abs=1e-3)
            whole.update_state(labels, values)
            assert float(metric.result()) == pytest.approx(float(whole.result()), abs=1e-6)


def test_pairs_in_one_bin_rank_as_on_average_in_random_order(rng):
    """7 hits of 20 equal scores, after 3 hits and 2 misses: the mean over shuffles of the exact score."""
    before, tied = np.array([1, 0, 1, 1, 0]), np.repeat([1, 0], [7, 13])
    means = [
        plain_ap([(-n, hit) for n, hit in enumerate([*before, *rng.permutation(tied)])], 10) for _ in range(20_000)
    ]
    scores = np.concatenate([np.linspace(0.9, 0.8, 5), np.full(20, 0.3)])[:, None]
    metric = classify.GAP(bins=2000)
    metric.update_state(np.concatenate([before, tied])[:, None], scores)
    assert float(metric.result()) == pytest.approx(np.mean(means), abs=1e-3)


def test_per_class_results(rng):
    labels, scores = distinct(rng, 60, 5)
    labels[:, 2] = 0
    for metric, tolerance in ((classify.MeanAP(k=3), 1e-12), (classify.MeanAP(k=3, bins=20_000, classes=5), 1e-2)):
        assert not np.any(metric.per_class()[1])
        metric.update_state(labels, scores)
        precisions, positives = metric.per_class()
        np.testing.assert_allclose(precisions, classify.class_aps(labels, scores, 3), atol=tolerance)
        np.testing.assert_array_equal(positives, labels.sum(0))
        assert np.isnan(precisions[2])


def test_memory_is_of_k_pairs_a_video(rng):
    metric = classify.GAP()
    labels, scores = distinct(rng, 100, 3862, 0.001)
    metric.update_state(labels, scores.astype("float32"))
    ((kept),) = metric._kept
    assert sum(values.nbytes for values in kept) == 100 * 20 * 7
    segments = classify.SegmentMeanAP(k=10)
    for _ in range(9):
        segments.update_state(np.ones((7, 3), int), rng.random((7, 3)))
        assert sum(len(kept) for kept, _ in segments._kept) <= 20


def test_metrics_are_reset_and_come_back_from_their_config(rng):
    labels, scores = distinct(rng, 30, 4)
    for metric in (
        classify.Hit1(name="h"),
        classify.PERR(from_logits=True),
        classify.GAP(k=2),
        classify.GAP(k=2, bins=50, from_logits=True),
        classify.MeanAP(k=2, bins=50, classes=4),
        classify.MeanAP(k=None),
        classify.SegmentMeanAP(k=7),
    ):
        metric.update_state(labels, scores)
        first = float(metric.result())
        metric.reset_state()
        assert float(metric.result()) == 0
        back = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
        assert type(back) is type(metric) and back.get_config() == metric.get_config() and back.name == metric.name
        back.update_state(labels, scores)
        assert first > 0 and float(back.result()) == pytest.approx(first, abs=1e-6)


def test_metrics_with_bins_work_in_compile(rng):
    labels, scores = distinct(rng, 96, 7)
    logits = np.log(scores / (1 - scores)).astype("float32")
    model = keras.Sequential([keras.Input((7,)), keras.layers.Activation("sigmoid")])
    metrics = [classify.Hit1(name="hit1"), classify.PERR(name="perr"), classify.GAP(k=3, bins=10_000, name="gap")]
    metrics.append(classify.MeanAP(k=3, bins=5000, classes=7, name="map"))
    model.compile(loss="binary_crossentropy", metrics=metrics)
    found = model.evaluate(logits, labels.astype("float32"), batch_size=40, verbose=0, return_dict=True)
    assert found["hit1"] == pytest.approx(classify.hit1(labels, scores), abs=1e-6)
    assert found["perr"] == pytest.approx(classify.perr(labels, scores), abs=1e-6)
    assert found["gap"] == pytest.approx(classify.gap(labels, scores, 3), abs=3e-3)
    assert found["map"] == pytest.approx(classify.mean_ap(labels, scores, 3), abs=1e-2)


def test_exact_metrics_say_so_in_a_graph(rng):
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch has no graph here: arrays are at hand")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Activation("sigmoid")])
    model.compile(loss="binary_crossentropy", metrics=[classify.GAP()])
    with pytest.raises(ValueError, match="set `bins`"):
        model.evaluate(SCORES, LABELS, verbose=0)


# Mistakes


@pytest.mark.parametrize(
    "labels, scores",
    [
        (LABELS, SCORES[:1]),
        (LABELS[0], SCORES[0]),
        (2 * LABELS, SCORES),
        (-LABELS, SCORES),
        (LABELS / 2, SCORES),
        (LABELS[:0], SCORES[:0]),
        (LABELS, SCORES * np.nan),
    ],
)
def test_bad_input_is_named(labels, scores):
    for score in (classify.hit1, classify.perr, classify.gap, classify.mean_ap, classify.class_aps):
        with pytest.raises(ValueError, match="Received"):
            score(labels, scores)
    with pytest.raises(ValueError, match="Received"):
        classify.GAP().update_state(labels, scores)


def test_bad_options_are_named():
    for make, message in (
        (lambda: classify.GAP(k=0), "k=0"),
        (lambda: classify.GAP(bins=0), "bins=0"),
        (lambda: classify.MeanAP(bins=10), "classes=None"),
        (lambda: classify.SegmentMeanAP(k=0), "k=0"),
        (lambda: classify.gap(LABELS, SCORES, 0), "k=0"),
        (lambda: classify.GAP().update_state(LABELS, SCORES, [1, 1]), "sample_weight"),
        (lambda: classify.SegmentMeanAP().update_state(LABELS, SCORES, [1, 1]), "sample_weight"),
        (lambda: classify.segment_mean_ap(2 * LABELS, SCORES), "-1 or 0 or 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_the_names_are_in_one_place():
    assert classify.GAP is youtube8m.GAP and classify.gap is youtube8m.gap
