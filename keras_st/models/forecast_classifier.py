"""An encoder-forecaster whose steps also feed a classifier: recognise an action while predicting how it goes on."""

import keras
from keras import layers, ops

from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.streaming import NotCausal
from keras_st.models.encoder_forecaster import EncoderForecaster

POOLS = ("mean", "concat")


@keras.saving.register_keras_serializable(package="keras_st")
class ForecastClassifier(EncoderForecaster):
    """A "shared" `EncoderForecaster` with a second head: frame prediction and classification share the trunk.

    At every step, of the context as of the forecast, the top level's hidden state is averaged over all positions (and
    the depth of a window); the vectors of all steps go through layer normalisation (means of mostly empty maps are
    small, and the forecast would drown them), dropout and a dense layer:
        logits = W dropout(LN(d)) + b,   d = mean_t mean(H_t)   or   [mean(H_1); ...; mean(H_S)]
    Trained on  L = cross-entropy + lambda(i) L_forecast:  see `keras_st.training.schedules.LinearlyDecayedWeight`.
    Early recognition: the context is the first part of a clip, the horizon the rest.

    Inputs: those of `EncoderForecaster`.

    Returns (dict): its outputs, and `logits` float32 (B, classes).

    Args:
        cells, ...: see `EncoderForecaster`; `forecaster` is "shared".
        classes: int. Number of classes.
        pool: "mean" (any number of steps) or "concat" (exactly `num_steps`).
        num_steps: int or None. With "concat": context + horizon - 1.
        head_dropout: float in [0, 1). Rate before the dense layer.

    Raises:
        ValueError: values outside the above; with "concat" another number of steps.

    Differs: the paper's head is not known; this one is ours.

    Reference: Y. Wang et al., "Eidetic 3D LSTM: A Model for Video Prediction and Beyond", ICLR 2019, section 3.3
    """

    observes = 1

    def __init__(self, cells, classes, pool="mean", num_steps=None, head_dropout=0.0, forecaster="shared", **kwargs):
        super().__init__(cells, forecaster=forecaster, **kwargs)
        check_positive("classes", classes)
        if forecaster != "shared":
            raise ValueError(
                f'A `ForecastClassifier` runs one stack on: forecaster="shared". Received: forecaster={forecaster!r}'
            )
        if pool not in POOLS:
            raise ValueError(f"`pool` must be one of {POOLS}. Received: pool={pool!r}")
        if (pool == "concat") != (num_steps is not None):
            raise ValueError(
                '`num_steps` goes with pool="concat" (context + horizon - 1) and with no other. '
                f"Received: pool={pool!r}, num_steps={num_steps}"
            )
        if num_steps is not None:
            check_positive("num_steps", num_steps)
        if not 0.0 <= head_dropout < 1.0:
            raise ValueError(f"`head_dropout` must lie in [0, 1). Received: head_dropout={head_dropout}")
        self.classes, self.pool, self.num_steps, self.head_dropout = classes, pool, num_steps, head_dropout
        self.dropout_layer = layers.Dropout(head_dropout, dtype=self.dtype_policy)
        self.head_norm = layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="head_norm")
        self.head = layers.Dense(classes, dtype=self.dtype_policy, name="logits")

    def build(self, input_shape):
        super().build(input_shape)
        width = self.forecaster_stack.cells[-1].filters * (self.num_steps or 1)
        self.head_norm.build((None, width))
        self.head.build((None, width))

    def observe(self, states):
        return [self.forecaster_stack.top_mean(states)]

    def outputs_of(self, observed, training, stream=None):
        (steps,) = observed
        if stream is not None:
            if self.pool == "concat":
                raise NotCausal('pool="concat" takes a clip of known length. Received: a stream of frames')
            steps = ops.cast(steps, "float32")  # half precision cannot count far
            batch, _, width = ops.shape(steps)
            total, count = stream.take([ops.zeros((batch, width), "float32"), ops.zeros((batch, 1), "float32")])
            total, count = total + steps[:, 0], count + 1
            stream.keep([total, count])
            features = (total + ops.sum(steps[:, 1:], axis=1)) / (count + steps.shape[1] - 1)
        elif self.pool == "mean":
            features = ops.mean(steps, axis=1)
        else:
            if steps.shape[1] not in (None, self.num_steps):
                raise ValueError(
                    f'pool="concat" takes context + horizon - 1 = {self.num_steps} steps. Received: {steps.shape[1]}'
                )
            features = ops.reshape(steps, (ops.shape(steps)[0], self.num_steps * steps.shape[-1]))
        logits = self.head(self.dropout_layer(self.head_norm(features), training=training))
        return {"logits": ops.cast(logits, "float32")}

    def compute_output_shape(self, input_shape):
        shapes = super().compute_output_shape(input_shape)
        return {**shapes, "logits": (shapes["frames"][0], self.classes)}


def forecast_classifier(cells, classes, **kwargs):
    """`ForecastClassifier(cells, classes, **kwargs)`: frames in, the frames that follow and a class out."""
    return ForecastClassifier(cells, classes, **kwargs)
