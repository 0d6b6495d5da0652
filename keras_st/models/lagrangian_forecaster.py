"""Rain in the frame that moves with it: a forecaster between two advections."""

import keras
import numpy as np
from keras import ops

from keras_st.flow.extrapolation import Extrapolation, backward_displacements, carried
from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.recurrent.base import check_positive
from keras_st.models.encoder_forecaster import EncoderForecaster
from keras_st.ops.distribution import match_distribution

DRIEST = -1e6  # below every log rate


@keras.saving.register_keras_serializable(package="keras_st")
class LagrangianForecaster(ConfigFromArguments, keras.Model):
    """Fields of rain -> the next ones: advection, and a network for what changes on the way.

        x_t = log(1 + R_t / floor)                    rates R, t = -N + 1 .. 0; missing cells are 0
        v   = mean TV-L1 motion of the last fields    (`Extrapolation.motion`), steady, no gradient
        z_t = A(x_t, -t v)                            the context, brought to where its rain is at t = 0
        y_l = A(G_(s l) x_0 + F(z)_l, l v)            l = 1 .. horizon
        R_l = distribution of A(R_0, l v), in the order of y_l

    A(f, l v) carries a field on for l steps (`backward_displacements`); what comes from beyond the border, or from a
    missing cell, is not known: there the field stays where it was, spread, without F. G_s is a Gaussian of deviation s
    pixels: small rain is lost first. F is an `EncoderForecaster`; its decoder starts at 0, so an untrained model
    extrapolates.

    The last line is probability matching (`match_distribution`), per window and lead time: the network says where it
    rains, advection how much, and neither drizzle spreads nor heavy rain fades with lead time. Total rain can therefore
    neither grow nor decay, and a dry sequence stays dry (without `match` a trained network decides). In training, where
    ranks have no gradient, R_l = floor (exp(y_l) - 1), which may fall below 0 (not below -floor).

    Inputs (dict): video: float (B, T, H, W, 1) in mm/h, T >= `context_frames`, of which the last ones are read. NaN,
        infinite and negative cells are missing. Any H and W, other ones in every call.

    Returns (dict): frames: float32 (B, S, H, W, 1) in mm/h, 0 where neither the last field nor the motion knows.

    Args:
        forecaster: `EncoderForecaster`, "unconditioned": it gives changes and reads fields.
        context_frames: int. Fields that are read, more than `pairs`.
        horizon_frames: int. Fields that are forecast where a call does not say.
        spread: float. s, pixels per step; 0 for none.
        floor: float. mm/h.
        pairs, smoothing: of the motion, see `Extrapolation`.
        match: whether the distribution is that of the advected field.

    Call args: `horizon_frames`: int, overrides the constructor's.

    Raises: ValueError: arguments outside these ranges; fewer fields.
    """

    channels, activation, input_names = 1, "linear", frozenset({"video"})
    predict_context = decoupling = False
    reads_missing = True

    def __init__(
        self,
        forecaster,
        context_frames=12,
        horizon_frames=12,
        spread=0.2,
        floor=0.1,
        pairs=3,
        smoothing=12.0,
        match=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(forecaster, EncoderForecaster):
            raise ValueError(f"`forecaster` must be an EncoderForecaster. Received: {type(forecaster).__name__}")
        if forecaster.forecaster != "unconditioned":  # fed back, a change would stand where it reads fields
            raise ValueError(f'A core must be "unconditioned". Received: forecaster={forecaster.forecaster!r}')
        check_positive("horizon_frames", horizon_frames)
        if context_frames <= pairs:
            raise ValueError(f"Motion of {pairs} pairs needs more fields. Received: context_frames={context_frames}")
        if not spread >= 0:
            raise ValueError(f"`spread` must be 0 or more. Received: spread={spread}")
        self.forecaster, self.context_frames, self.horizon_frames = forecaster, context_frames, horizon_frames
        self.spread, self.floor, self.match = spread, floor, match
        self.pairs, self.smoothing = pairs, smoothing
        self.extrapolation = Extrapolation(horizon_frames, pairs, smoothing, floor)

    @property
    def least_frames(self):
        """Fields that a call needs."""
        return self.context_frames

    def build(self, input_shape):
        batch, _, height, width, _ = input_shape["video"]
        if not self.forecaster.built:  # a loaded one is
            height, width = (size and size + -size % self.forecaster.patch for size in (height, width))
            self.forecaster.build({"video": (batch, self.context_frames, height, width, 1)})
            self.forecaster.decoder.kernel.assign(ops.zeros(self.forecaster.decoder.kernel.shape))
        self.built = True

    def call(self, inputs, training=None, horizon_frames=None):
        horizon = self.horizon_frames if horizon_frames is None else horizon_frames
        check_positive("horizon_frames", horizon)
        video, context = inputs["video"], self.context_frames
        if video.shape[1] is not None and video.shape[1] < context:
            raise ValueError(f"The model reads {context} fields. Received: shape={tuple(video.shape)}")
        video = ops.cast(video[:, -context:], "float32")
        known = ops.isfinite(video) & (video >= 0)
        rate, seen = ops.where(known, video, 0.0), ops.cast(known, "float32")
        flow = ops.stop_gradient(self.extrapolation.motion(rate))
        ways = backward_displacements(flow, max(horizon, context - 1))

        def carry(field, steps, seen, otherwise):
            moved, there = carried(field, ways[steps - 1], seen)
            return ops.where(there, moved, otherwise), there | (seen > 0.5)

        x, last = ops.log1p(rate / self.floor), context - 1
        registered = [carry(x[:, t], last - t, seen[:, t], x[:, t])[0] for t in range(last)] + [x[:, last]]
        change = self._change(ops.stack(registered, 1), horizon, training)
        spread = self._spread(x[:, last], seen[:, last], horizon)
        fields = [
            carry(spread[..., n : n + 1] + change[:, n], n + 1, seen[:, last], spread[..., n : n + 1])
            for n in range(horizon)
        ]
        y, known = (ops.stack(parts, 1) for parts in zip(*fields))
        if training or not self.match:
            y = ops.where(known, y, 0.0)
            return {"frames": self.floor * ops.expm1(y if training else ops.maximum(y, 0.0))}
        advected = [carry(rate[:, last], n + 1, seen[:, last], rate[:, last])[0] for n in range(horizon)]
        y = ops.where(known, y, DRIEST)  # there `advected` is 0: no rain of other cells is put there
        return {"frames": match_distribution(y, ops.stack(advected, 1))}

    def _change(self, registered, horizon, training):
        """F of the context, filled up with dry cells to whole patches."""
        height, width = ops.shape(registered)[2:4]
        more = [(0, -size % self.forecaster.patch) for size in (height, width)]
        filled = ops.pad(registered, [(0, 0), (0, 0), *more, (0, 0)])
        frames = self.forecaster({"video": filled}, training=training, horizon_frames=horizon)["frames"]
        return frames[:, :, :height, :width]

    def _spread(self, x, seen, horizon):
        """G_(s l) x for l = 1 .. horizon, (B, H, W, horizon): the mean over seen cells, weighted by the Gaussian."""
        if not self.spread:
            return ops.tile(x, (1, 1, 1, horizon))
        reach = int(np.ceil(3 * self.spread * max(horizon, self.horizon_frames)))
        line = np.arange(-reach, reach + 1)[:, None] / (self.spread * np.arange(1, horizon + 1))
        line = np.exp(-0.5 * line**2).astype("float32")  # (2 reach + 1, horizon)

        def smoothed(x):
            x = ops.depthwise_conv(x, line[:, None, :, None], padding="same", data_format="channels_last")
            return ops.depthwise_conv(x, line[None, :, :, None], padding="same", data_format="channels_last")

        x, seen = (ops.tile(field, (1, 1, 1, horizon)) for field in (x, seen))
        return smoothed(x * seen) / ops.maximum(smoothed(seen), 1e-6)

    def compute_output_shape(self, input_shape):
        batch, _, *field = input_shape["video"]
        return {"frames": (batch, self.horizon_frames, *field)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(
            **{**config, "forecaster": keras.saving.deserialize_keras_object(config["forecaster"], custom_objects)}
        )
