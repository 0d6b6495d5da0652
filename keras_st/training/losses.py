"""Losses on frames, by name."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_st")
def l1_l2(y_true, y_pred):
    """mean(d^2) + mean(|d|): what PredRNN and E3D-LSTM train on, as means instead of sums."""
    d = y_true - y_pred
    return ops.mean(ops.square(d), axis=-1) + ops.mean(ops.abs(d), axis=-1)


LOSSES = {
    "mse": keras.losses.mean_squared_error,
    "l1_l2": l1_l2,
    "binary_crossentropy": keras.losses.binary_crossentropy,
}
