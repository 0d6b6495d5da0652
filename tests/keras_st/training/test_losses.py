"""Losses by hand."""

import numpy as np
import pytest
from keras import ops

from keras_st.training.losses import LOSSES, FrameLabelLoss, L1L2Sum, SeveralLabelLoss, StepLoss, l1_l2
from tests.reference import recognition as witness

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


def test_c3_step_loss_by_hand():
    """Class 0 of p = .9, .4, .3 over three steps; g = (0, .5, 1) where linear. The clips' losses are averaged."""
    logits = np.log(np.array([[[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]], "float32")) + 2.0
    minus_logs = -np.log([0.9, 0.4, 0.3])
    assert float(StepLoss()([0], logits)) == pytest.approx(minus_logs.mean(), rel=1e-5)
    linear = (0.5 * minus_logs[1] + minus_logs[2]) / 1.5
    assert float(StepLoss("linear")([0], logits)) == pytest.approx(linear, rel=1e-5)
    both = np.concatenate([logits, logits])
    other = -np.log([0.1, 0.6, 0.7])
    assert float(StepLoss()([0, 1], both)) == pytest.approx((minus_logs.mean() + other.mean()) / 2, rel=1e-5)


@pytest.mark.parametrize("steps", [1, 4])
def test_c3_step_loss_equals_the_witness(rng, steps):
    """With equal gains it is the mean loss; of one step the gain is 1."""
    logits, labels = rng.standard_normal((3, steps, 5)), np.array([4, 0, 2])
    p = witness.softmax(logits)
    none = {"reduction": None}
    for gain, want in (("mean", witness.mean_loss(p, labels)), ("linear", witness.gain_weighted_loss(p, labels))):
        got = ops.convert_to_numpy(StepLoss(gain, **none)(labels, logits.astype("float32")))
        np.testing.assert_allclose(got, want, rtol=1e-4)
    np.testing.assert_allclose(witness.gain_weighted_loss(p, labels, np.ones(steps)), witness.mean_loss(p, labels))
    assert StepLoss.from_config(StepLoss("linear").get_config()).gain == "linear"
    with pytest.raises(ValueError, match="Received: gain='quadratic'"):
        StepLoss("quadratic")


def test_f_frame_label_loss_by_hand(rng):
    """Mean over classes of the frames that have labels, of the whole batch; -1: none."""
    logits = rng.standard_normal((2, 3, 4))
    labels = rng.integers(0, 2, logits.shape)
    p = 1 / (1 + np.exp(-logits))
    losses = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    assert float(FrameLabelLoss()(labels, logits)) == pytest.approx(losses.mean(), rel=1e-5)
    known = np.array([[1, 1, 0], [1, 0, 0]], bool)
    labels[~known] = -1
    assert float(FrameLabelLoss()(labels, logits)) == pytest.approx(losses[known].mean(), rel=1e-5)
    assert float(FrameLabelLoss()(-np.ones_like(labels), logits)) == 0.0
    sure = np.full((1, 1, 2), 200.0)
    assert float(FrameLabelLoss()(np.array([[[1, 0]]]), sure)) == pytest.approx(
        100.0
    )  # finite, where log(1 - p) is not
    assert FrameLabelLoss.from_config(FrameLabelLoss().get_config()).reduction == "sum"


def test_g2_several_label_loss_by_hand(rng):
    """Sum over classes, mean over videos (recognition G2); a class that is not known counts nothing."""
    logits = rng.standard_normal((3, 4))
    labels = rng.integers(0, 2, logits.shape)
    p = 1 / (1 + np.exp(-logits))
    losses = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    assert float(SeveralLabelLoss()(labels, logits)) == pytest.approx(losses.sum(axis=1).mean(), rel=1e-5)
    known = rng.random(labels.shape) < 0.5
    rated = np.where(known, labels, -1)
    assert float(SeveralLabelLoss()(rated, logits)) == pytest.approx((known * losses).sum(axis=1).mean(), rel=1e-5)
    assert np.isfinite(float(SeveralLabelLoss()(np.array([[1, 0]]), np.array([[-200.0, 200.0]]))))
    SeveralLabelLoss.from_config(SeveralLabelLoss().get_config())
