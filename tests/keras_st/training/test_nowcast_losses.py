"""Losses on rain against NumPy in float64, missing cells among them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.training.nowcast_losses import BalancedLoss, RelativeLoss


@pytest.fixture
def fields(rng):
    """Truth with missing cells, and a forecast partly below 0, (B, T, H, W, 1) in mm/h."""
    truth = rng.gamma(0.3, 12, (3, 2, 5, 4, 1)).astype("float32")
    truth[rng.random(truth.shape) < 0.2] = np.nan
    truth[2, 0, 0, :, 0] = 0.5, 2.0, 10.0, 30.0  # on the thresholds: the upper bin
    return truth, (rng.gamma(0.3, 12, truth.shape) - 0.25).astype("float32")


def test_balanced(fields):
    truth, forecast = (x.astype("float64") for x in fields)
    known = ~np.isnan(truth)
    weight = np.select([truth < 0.5, truth < 2, truth < 5, truth < 10, truth < 30], [1, 1, 2, 5, 10], 30)
    d = np.where(known, forecast - truth, 0)
    wanted = (weight * (d**2 + np.abs(d)))[known].sum() / known.sum()
    np.testing.assert_allclose(float(BalancedLoss()(*fields)), wanted, rtol=1e-5)
    assert (weight[known] == 30).any() and (weight[known] == 5).any()


@pytest.mark.parametrize("floor", [0.3, 0.1])
def test_relative(fields, floor):
    truth, forecast = (x.astype("float64") for x in fields)
    known = ~np.isnan(truth)
    x = np.log1p(np.where(known, truth, 0) / floor)
    d = np.where(known, np.log1p(np.maximum(forecast / floor, -0.99)) - x, 0)
    sums = [(z * known).sum((1, 2, 3, 4)) for z in (d**2, x**2, 1)]
    wanted = np.mean(sums[0] / (sums[1] + 0.02 * sums[2] + 1))
    np.testing.assert_allclose(float(RelativeLoss(floor)(*fields)), wanted, rtol=1e-5)
    assert (forecast / floor < -0.99).any() == (floor == 0.1)


@pytest.mark.parametrize("loss", [BalancedLoss(), RelativeLoss()], ids=["balanced", "relative"])
def test_missing_cells_have_no_part(loss, fields):
    truth, forecast = fields
    other = np.where(np.isnan(truth), forecast + 100, forecast).astype("float32")
    assert float(loss(truth, other)) == float(loss(truth, forecast))
    nothing = np.full_like(truth, np.nan)
    assert float(loss(nothing, forecast)) == 0
    dry = np.zeros_like(truth)
    assert float(loss(dry, dry)) == 0 and 0 < float(loss(dry, dry + 1)) < np.inf
    again = type(loss).from_config(loss.get_config())
    assert float(again(truth, forecast)) == float(loss(truth, forecast))


def test_gradients_are_finite_where_cells_are_missing(fields):
    truth, _ = fields
    model = keras.Sequential([keras.Input(truth.shape[1:]), keras.layers.EinsumDense("bthwc,co->bthwo", (2, 5, 4, 1))])
    for loss in (BalancedLoss(), RelativeLoss()):
        model.compile(keras.optimizers.SGD(0.01), loss=loss)
        model.train_on_batch(np.nan_to_num(truth), truth)
        assert all(np.isfinite(ops.convert_to_numpy(w)).all() for w in model.weights)


def test_the_mean_is_their_own():
    with pytest.raises(ValueError, match="Received: reduction='mean'"):
        BalancedLoss(reduction="mean")
