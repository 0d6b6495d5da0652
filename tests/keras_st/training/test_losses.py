"""Losses by hand."""

import numpy as np
import pytest
from keras import ops

from keras_st.training.losses import LOSSES, L1L2Sum, l1_l2

Y = np.zeros((2, 1, 2, 2, 1), "float32")
P = np.array([1.0, -2.0, 0.5, 0.0, 0.0, 0.0, 0.0, 3.0], "float32").reshape(Y.shape)


def value(loss):
    return float(ops.convert_to_numpy(loss(Y, P)))


def test_means_and_the_released_sums():
    """sum d^2 = 14.25, sum |d| = 6.5 over 8 values."""
    assert float(ops.mean(l1_l2(Y, P))) == pytest.approx(14.25 / 8 + 6.5 / 8)
    assert float(ops.mean(l1_l2(Y, P, l2_weight=0.5))) == pytest.approx(0.5 * 14.25 / 8 + 6.5 / 8)
    assert value(L1L2Sum()) == pytest.approx(0.5 * 14.25 + 6.5)
    assert value(L1L2Sum(l2_weight=1.0)) == pytest.approx(14.25 + 6.5)
    assert value(LOSSES["l1_l2_sum"]) == pytest.approx(0.5 * 14.25 + 6.5)


def test_the_sum_is_saved_with_its_weight():
    again = L1L2Sum.from_config(L1L2Sum(l2_weight=0.25).get_config())
    assert value(again) == pytest.approx(0.25 * 14.25 + 6.5)
