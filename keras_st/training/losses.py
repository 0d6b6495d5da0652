"""Losses on frames, by name; on the class scores of steps."""

import keras
from keras import ops

from keras_st.training.nowcast_losses import BalancedLoss, RelativeLoss


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


@keras.saving.register_keras_serializable(package="keras_st")
class StepLoss(keras.losses.Loss):
    """Cross-entropy of the class scores of every step:  sum_t g_t CE(x_t, y) / sum_t g_t.

    Args: gain: "mean", g_t = 1, or "linear", g_t = t / (T - 1) (Ng et al., CVPR 2015; of one step 1).

    Call args: y_true: int (B,); y_pred: logits (B, T, classes).
    """

    def __init__(self, gain="mean", name="step_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        if gain not in ("mean", "linear"):
            raise ValueError(f'`gain` must be "mean" or "linear". Received: gain={gain!r}')
        self.gain = gain

    def call(self, y_true, y_pred):
        batch, steps = ops.shape(y_pred)[:2]
        labels = ops.broadcast_to(ops.reshape(ops.cast(y_true, "int32"), (-1, 1)), (batch, steps))
        losses = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)  # (B, T)
        gains = ops.ones((steps,), losses.dtype)
        if self.gain == "linear":  # of one step 1
            gains = ops.where(ops.equal(steps, 1), gains, ops.cast(ops.arange(steps), losses.dtype))
        return ops.sum(gains * losses, axis=1) / ops.sum(gains)

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}


@keras.saving.register_keras_serializable(package="keras_st")
class FrameLabelLoss(keras.losses.Loss):
    """Binary cross-entropy of every class of every frame, mean over classes and over the frames that have labels.

    Call args: y_true: 0, 1 or, of frames without labels, -1 (B, T, classes); y_pred: logits of that shape.
    """

    def __init__(self, name="frame_label_loss", reduction="sum", dtype=None):
        if reduction != "sum":
            raise ValueError(f'The mean is taken here, `reduction` is "sum". Received: reduction={reduction!r}')
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        losses, known = _label_losses(y_true, y_pred)
        return ops.sum(losses) / ops.maximum(ops.sum(known), 1.0)


@keras.saving.register_keras_serializable(package="keras_st")
class SeveralLabelLoss(keras.losses.Loss):
    """Binary cross-entropy of every class of a video, sum over classes: YouTube-8M's.

    Call args: y_true: 0, 1 or, of classes that are not known, -1 (B, classes); y_pred: logits of that shape.

    Differs: the starter code takes probabilities p, and log(p + 1e-5).
    """

    def __init__(self, name="several_label_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return ops.sum(_label_losses(y_true, y_pred)[0], axis=-1)


def _label_losses(y_true, y_pred):
    """Binary cross-entropy of logits, 0 where the label is -1; 1 where it is known, otherwise 0."""
    y_true = ops.cast(y_true, y_pred.dtype)
    known = ops.cast(y_true >= 0, y_pred.dtype)
    return known * (ops.maximum(y_pred, 0) - y_pred * y_true + ops.log1p(ops.exp(-ops.abs(y_pred)))), known


@keras.saving.register_keras_serializable(package="keras_st")
def weighted_binary_crossentropy(y_true, y_pred, weight=10.0):
    """(1 + (weight - 1) y) BCE(y, p): for densities that are nearly everywhere 0. Of a known y lowest at p = y."""
    y_true = ops.cast(y_true, y_pred.dtype)
    return ops.mean((1 + (weight - 1) * y_true) * ops.binary_crossentropy(y_true, y_pred), axis=-1)


LOSSES = {
    "mse": keras.losses.mean_squared_error,
    "l1_l2": l1_l2,
    "l1_l2_sum": L1L2Sum(),
    "binary_crossentropy": keras.losses.binary_crossentropy,
    "balanced": BalancedLoss(),
    "relative": RelativeLoss(),
    "weighted_binary_crossentropy": weighted_binary_crossentropy,
}
