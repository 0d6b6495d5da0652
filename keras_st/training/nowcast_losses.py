"""Losses on fields of rain in mm/h, (B, T, H, W, 1). NaN in the truth is a missing cell, which has no part in them."""

import keras
from keras import ops

THRESHOLDS = (0.5, 2.0, 5.0, 10.0, 30.0)  # mm/h
WEIGHTS = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # of rates below, between and above them


@keras.saving.register_keras_serializable(package="keras_st")
class BalancedLoss(keras.losses.Loss):
    """Balanced squared and absolute error: mean of w(R) (d^2 + |d|), d = P - R in mm/h.

    w = 1, 1, 2, 5, 10, 30 for rates R of below 0.5, 2, 5, 10, 30 mm/h and above.

    Differs: the paper sums over the field, and over grey levels; a mean does not depend on size and missing cells.

    Reference: X. Shi et al., "Deep Learning for Precipitation Nowcasting", NIPS 2017, section 3.3.
    """

    def __init__(self, name="balanced_loss", reduction="sum", dtype=None):
        super().__init__(name=name, reduction=_summed(reduction), dtype=dtype)

    def call(self, y_true, y_pred):
        truth, known = _known(y_true)
        weight = known * WEIGHTS[0]
        for threshold, below, above in zip(THRESHOLDS, WEIGHTS, WEIGHTS[1:]):
            weight = weight + (above - below) * known * ops.cast(truth >= threshold, known.dtype)
        d = y_pred - truth
        return ops.sum(weight * (d * d + ops.abs(d))) / ops.maximum(ops.sum(known), 1.0)


@keras.saving.register_keras_serializable(package="keras_st")
class RelativeLoss(keras.losses.Loss):
    """Squared error of log rates relative to the rain there is: a shower counts as much as a front.

        x = log(1 + R / floor),  L = mean over windows of  sum (x_P - x_R)^2 / (sum x_R^2 + dry)

    Sums are over the known cells of a window, all lead times; `dry` is 1 + 0.02 times their number: a dry window
    has a loss too. The floor is the loss's own, whatever that of a model is.

    Args: floor: mm/h. Forecasts below -0.99 floor count as that.
    """

    def __init__(self, floor=0.3, name="relative_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.floor = floor

    def call(self, y_true, y_pred):
        truth, known = _known(y_true)
        truth = ops.log1p(truth / self.floor)
        d = known * (ops.log1p(ops.maximum(y_pred / self.floor, -0.99)) - truth)
        error, rain, cells = (ops.sum(x, axis=(1, 2, 3, 4)) for x in (d * d, truth * truth, known))
        return error / (rain + 0.02 * cells + 1.0)

    def get_config(self):
        return {**super().get_config(), "floor": self.floor}


def _known(truth):
    """The truth with 0 where it is missing; 1 where it is known, otherwise 0."""
    known = ops.isfinite(truth)
    return ops.where(known, truth, 0.0), ops.cast(known, truth.dtype)


def _summed(reduction):
    if reduction != "sum":
        raise ValueError(f'The mean is taken here, `reduction` is "sum". Received: reduction={reduction!r}')
    return reduction
