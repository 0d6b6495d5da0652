"""Classification scores by hand."""

import numpy as np
import pytest

from keras_st.metrics import classify

LABELS = np.array([0, 1, 2, 1])
SCORES = np.array([[3.0, 2, 1], [3, 2, 1], [3, 2, 1], [0, 1, 0]])


def test_by_hand():
    assert classify.top_k_accuracy(LABELS, SCORES) == 0.5
    assert classify.top_k_accuracy(LABELS, SCORES, k=2) == 0.75
    assert classify.top_k_accuracy(LABELS, SCORES, k=3) == 1.0
    np.testing.assert_array_equal(classify.confusion_matrix(LABELS, SCORES), [[1, 0, 0], [1, 1, 0], [1, 0, 0]])


def test_ties_count_against_the_class():
    assert classify.top_k_accuracy(np.array([0]), np.ones((1, 3))) == 0.0


@pytest.mark.parametrize(
    "labels, scores",
    [
        (LABELS, SCORES[:3]),
        (LABELS + 1, SCORES),
        (LABELS / 2, SCORES),
        (LABELS[:0], SCORES[:0]),
        (LABELS, SCORES * np.nan),
    ],
)
def test_bad_input_is_named(labels, scores):
    with pytest.raises(ValueError, match="Received"):
        classify.top_k_accuracy(labels, scores)


def test_mean_class_accuracy_and_recalls_by_hand():
    """Class 0: 1 of 1, class 1: 1 of 2, class 2: 0 of 1; a class without samples is left out."""
    np.testing.assert_allclose(classify.class_recalls(LABELS, SCORES), [1, 0.5, 0])
    assert classify.mean_class_accuracy(LABELS, SCORES) == 0.5
    wider = np.concatenate([SCORES, np.full((4, 1), -9.0)], axis=1)
    assert np.isnan(classify.class_recalls(LABELS, wider)[3])
    assert classify.mean_class_accuracy(LABELS, wider) == 0.5


def test_most_confused_pairs_by_hand():
    labels, guesses = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([1, 1, 0, 0, 1, 1, 2])
    assert classify.most_confused(labels, np.eye(3)[guesses]) == [(0, 1, 2), (1, 0, 1), (2, 1, 1)]
    assert classify.most_confused(labels, np.eye(3)[guesses], 1) == [(0, 1, 2)]
    assert classify.most_confused(labels, np.eye(3)[labels]) == []


def test_fusion_by_hand():
    a, b = np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]])
    np.testing.assert_allclose(classify.fused([a, b]), [[0.5, 0.5]])
    np.testing.assert_allclose(classify.fused([a, b], [3, 1]), [[0.65, 0.35]])
    for scores, weights in (([], None), ([a, b[:, :1]], None), ([a, b], [1]), ([a, b], [1, -1]), ([a, b], [0, 0])):
        with pytest.raises(ValueError, match="Received"):
            classify.fused(scores, weights)


def test_softmax_of_large_logits():
    np.testing.assert_allclose(classify.softmax(np.array([[1000.0, 1000.0 + np.log(3)]])), [[0.25, 0.75]])


def test_average_precision_by_hand():
    """Positives at ranks 1 and 3: (1 + 2/3) / 2; all tied: the share of positives, whatever their order."""
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    assert classify.average_precision([1, 0, 1, 0], scores) == pytest.approx((1 + 2 / 3) / 2)
    assert classify.average_precision([0, 0, 0, 1], scores) == 0.25
    assert classify.average_precision([1, 1, 0, 0], scores) == classify.average_precision([1, 1, 1, 1], scores) == 1
    for labels in ([1, 0, 0, 0], [0, 0, 0, 1]):
        assert classify.average_precision(labels, np.ones(4)) == 0.25
    assert classify.average_precision(np.array([True, False]), [-1.0, -2.0]) == 1
    assert np.isnan(classify.average_precision([0, 0, 0, 0], scores))


def test_average_precision_is_that_of_scikit_learn(rng):
    sklearn = pytest.importorskip("sklearn.metrics")
    for n in range(60):
        size = int(rng.integers(1, 40))
        labels = rng.integers(0, 2, size)
        labels[rng.integers(size)] = 1
        scores = rng.integers(0, 2 + n, size) / 7 if n % 2 else rng.normal(size=size)  # with and without ties
        want = sklearn.average_precision_score(labels, scores)
        assert classify.average_precision(labels, scores) == pytest.approx(want, abs=1e-12)
    labels, scores = rng.integers(0, 2, (50, 4)), rng.integers(0, 9, (50, 4))
    want = sklearn.average_precision_score(labels, scores, average=None)
    np.testing.assert_allclose(classify.class_average_precisions(labels, scores), want)
    assert classify.mean_average_precision(labels, scores) == pytest.approx(want.mean())


def test_mean_average_precision_leaves_out_what_has_no_labels():
    """The second row has none, the third class no positives; what is scored there does not matter."""
    labels = np.array([[1, 0, 0], [-1, -1, -1], [0, 1, 0], [1, 1, 0]])
    scores = np.array([[0.1, 0.5, 0], [np.nan, 9, 9], [0.9, 0.9, 0], [0.5, 0.7, 0]])
    each = classify.class_average_precisions(labels, scores)
    np.testing.assert_allclose(each, [(1 / 2 + 2 / 3) / 2, 1, np.nan])
    assert classify.mean_average_precision(labels, scores) == pytest.approx((7 / 12 + 1) / 2)
    assert classify.mean_average_precision(labels.astype("float32"), scores) == pytest.approx((7 / 12 + 1) / 2)


@pytest.mark.parametrize(
    "labels, scores",
    [
        (np.zeros((2, 3)), np.zeros((2, 3))),
        (np.ones((2, 3)), np.full((2, 3), np.inf)),
        (np.full((2, 3), -1), np.zeros((2, 3))),
        (np.array([[1, -1]]), np.zeros((1, 2))),
        (np.array([[2, 0]]), np.zeros((1, 2))),
        (np.array([[0.5, 0]]), np.zeros((1, 2))),
        (np.ones((2, 3)), np.zeros((3, 3))),
        (np.ones(3), np.zeros(3)),
    ],
)
def test_bad_labels_of_several_classes_are_named(labels, scores):
    with pytest.raises(ValueError, match="Received"):
        classify.mean_average_precision(labels, scores)


def test_mean_over_splits_by_hand():
    splits = [{"accuracy": 0.9, "top_5_accuracy": 1.0}, {"accuracy": 0.6, "top_5_accuracy": 0.5}]
    assert classify.mean_over_splits(splits) == {"accuracy": 0.75, "top_5_accuracy": 0.75}
    for bad in ([], [{"accuracy": 1.0}, {"mean_class_accuracy": 1.0}]):
        with pytest.raises(ValueError, match="Received"):
            classify.mean_over_splits(bad)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 2.5, 300.0])
def test_a_known_temperature_is_found(temperature):
    """Labels drawn from softmax(margins / t); rows may be shifted, which softmax does not see."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 5))
    labels = (classify.softmax(logits).cumsum(1) < rng.random((len(logits), 1))).sum(1).clip(max=4)
    margins = temperature * (logits + rng.normal(size=(len(logits), 1)))
    found = classify.fit_temperature(labels, margins)
    assert found == pytest.approx(temperature, rel=0.03)

    def likelihood(t):
        p = classify.softmax(margins / t)
        return np.log(p[np.arange(len(p)), labels]).mean()

    assert likelihood(found) > max(likelihood(0.98 * found), likelihood(1.02 * found))


def test_temperature_by_hand():
    """Two classes, margins (d, 0), 3 of 4 right: softmax gives sigmoid(d / t) = (4 * 3/4 + 1/2) / 5 = 0.7."""
    margins = np.tile([2.0, 0.0], (4, 1))
    assert classify.fit_temperature(np.array([0, 0, 0, 1]), margins) == pytest.approx(2 / np.log(0.7 / 0.3))
    alone = classify.fit_temperature(np.array([0, 0, 0, 0]), margins)  # all right: 0.9, not 1
    assert alone == pytest.approx(2 / np.log(0.9 / 0.1))


def test_margins_that_tell_nothing_have_no_temperature():
    for labels, margins in ((np.array([1, 0]), np.eye(2)), (np.array([1, 0]), np.ones((2, 2))), (LABELS, SCORES[::-1])):
        with pytest.raises(ValueError, match="higher for the true class"):
            classify.fit_temperature(labels, margins)


def test_tuned_weights_prefer_the_better_model():
    """The better of two gets what it needs; where more weights do as well, the ones nearest to equal are taken."""
    labels, good = np.arange(6) % 3, np.eye(3)[np.arange(6) % 3] * 0.2 + 0.8 / 3
    bad = np.eye(3)[(np.arange(6) + 1) % 3] * 0.5 + 0.5 / 3
    assert classify.tuned_weights(labels, [good, bad]) == [0.8, 0.2]  # 0.2 w > 0.5 (1 - w): w > 0.714
    assert classify.tuned_weights(labels, [bad, good]) == [0.2, 0.8]
    assert classify.tuned_weights(labels, [good, good]) == [0.5, 0.5]
    assert classify.tuned_weights(labels, [bad, bad]) == [0.5, 0.5]
    assert classify.tuned_weights(labels, [good, good, good]) == [0.4, 0.3, 0.3]
    assert classify.tuned_weights(labels, [good, bad, good]) == [0.4, 0.2, 0.4]
    assert classify.tuned_weights(labels, [good]) == [1.0]


def test_weights_are_tuned_over_the_whole_grid(rng):
    labels, scores = rng.integers(0, 4, 80), rng.dirichlet(np.ones(4), (3, 80))
    best = max(
        classify.top_k_accuracy(labels, classify.fused(scores, (a, b, 10 - a - b)))
        for a in range(11)
        for b in range(11 - a)
    )
    weights = classify.tuned_weights(labels, scores)
    assert classify.top_k_accuracy(labels, classify.fused(scores, weights)) == best and sum(weights) == pytest.approx(1)
