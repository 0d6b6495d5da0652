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
