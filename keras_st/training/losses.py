"""Losses on frames, by name."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_st")
def l1_l2(y_true, y_pred, l2_weight=1.0):
    """l2_weight mean(d^2) + mean(|d|): what PredRNN and E3D-LSTM train on, as means instead of sums."""
    d = y_true - y_pred
    return l2_weight * ops.mean(ops.square(d), axis=-1) + ops.mean(ops.abs(d), axis=-1)


@keras.saving.register_keras_serializable(package="keras_st")
class L1L2Sum(keras.losses.Loss):
    """l2_weight sum(d^2) + sum(|d|) over the whole batch: with the default 0.5, the released E3D-LSTM code's loss.

    The released code sums over all predictions: `context_loss_weight` is then 1. As there, it is not divided by the
    batch; Adam hides the scale, `clip_norm` does not.
    """

    def __init__(self, l2_weight=0.5, reduction="sum", name="l1_l2_sum", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.l2_weight = l2_weight

    def call(self, y_true, y_pred):
        d = y_true - y_pred
        return self.l2_weight * ops.sum(ops.square(d), axis=-1) + ops.sum(ops.abs(d), axis=-1)

    def get_config(self):
        return {**super().get_config(), "l2_weight": self.l2_weight}


LOSSES = {
    "mse": keras.losses.mean_squared_error,
    "l1_l2": l1_l2,
    "l1_l2_sum": L1L2Sum(),
    "binary_crossentropy": keras.losses.binary_crossentropy,
}
