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
