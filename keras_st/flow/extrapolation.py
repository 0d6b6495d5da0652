"""Lagrangian extrapolation: the last field, carried on by the motion of those before it."""

import keras
import numpy as np
from keras import layers, ops

from keras_st.flow.tvl1 import TVL1Flow
from keras_st.ops.warp import inside, warp

OUTSIDE = ("last", "nearest", "zero")


def backward_displacements(flow, steps):
    """Where what a cell shows after l = 1..steps steps of a steady flow came from: list of float (B, H, W, 2).

    Equation (semi-Lagrangian, one step of the flow at a time): D_0 = 0, D_l(x) = D_{l-1}(x) - v(x + D_{l-1}(x)), and a
    field f that is carried on is f_l(x) = f(x + D_l(x)) = `warp(f, D_l)`. Beyond the border the flow is that of the
    nearest cell.

    Args: flow: float (B, H, W, 2), (u, v) in pixels per step; steps: int.

    Reference: U. Germann, I. Zawadzki, "Scale-dependence of the predictability of precipitation from continental radar
    images. Part I", Monthly Weather Review 130, 2002 (the semi-Lagrangian scheme, there with three iterations a step).
    """
    found, displacement = [], ops.zeros_like(flow)
    for _ in range(steps):
        displacement = displacement - warp(flow, displacement)
        found.append(displacement)
    return found


def carried(field, displacement, seen):
    """A field (B, H, W, C) on its way; bool (B, H, W, 1): whether what is there now comes from cells that were seen.

    Between cells a value is the mean of those that were seen; it is known where they have more than half the weight.

    Args: displacement: (B, H, W, 2), one of `backward_displacements`; seen: float (B, H, W, 1), 1 where not missing.
    """
    share = warp(seen, displacement)
    return warp(field * seen, displacement) / ops.maximum(share, 0.5), inside(displacement) & (share > 0.5)


@keras.saving.register_keras_serializable(package="keras_st")
class Extrapolation(layers.Layer):
    """Fields of rain (B, T, H, W, 1) -> those of the next steps: the last one, advected.

    Motion is the mean of the `TVL1Flow` between the last `pairs` + 1 fields, of log(1 + rate / `floor`), smoothed by a
    Gaussian in which cells without an echo weigh little; it is steady over the forecast. See `backward_displacements`.

    Args:
        horizon_frames: int. Steps that are forecast.
        pairs: int. Pairs of fields whose flow is averaged.
        smoothing: float. Deviation of the Gaussian in pixels.
        floor: float. Rate in mm/h below which differences hardly count.
        outside: what stands where the motion comes from beyond the border, or from a missing cell: the "last" field,
            the "nearest" cell of the border (missing: 0), or "zero".

    Call args:
        inputs: float (B, T, H, W, 1) in mm/h, 0 where missing; T > `pairs`.
        mask: bool of that shape, false where missing, or None.

    Returns (dict): `frames` float32 (B, horizon_frames, H, W, 1) in mm/h; `known` bool of that shape, whether a cell
    was carried there; `flow` float32 (B, H, W, 2) in pixels per step.

    Raises: ValueError: arguments outside these ranges, too few fields.
    """

    def __init__(self, horizon_frames=12, pairs=3, smoothing=12.0, floor=0.1, outside="last", **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        for name, count in (("horizon_frames", horizon_frames), ("pairs", pairs)):
            if type(count) is not int or count < 1:
                raise ValueError(f"`{name}` must be a positive int. Received: {name}={count!r}")
        for name, value in (("smoothing", smoothing), ("floor", floor)):
            if not value > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
        if outside not in OUTSIDE:
            raise ValueError(f"`outside` must be one of {OUTSIDE}. Received: outside={outside!r}")
        self.horizon_frames, self.pairs, self.smoothing = horizon_frames, pairs, smoothing
        self.floor, self.outside = floor, outside
        self.tvl1 = TVL1Flow(name="tvl1")
        self.supports_masking = True

    def build(self, input_shape):
        """Nothing is trained."""

    def call(self, inputs, mask=None):
        if inputs.shape[1] is not None and inputs.shape[1] <= self.pairs:
            raise ValueError(f"Motion needs {self.pairs + 1} fields. Received: shape={tuple(inputs.shape)}")
        flow = self.motion(inputs)
        frames, known = self.carried(inputs[:, -1], flow, None if mask is None else mask[:, -1])
        return {"frames": frames, "known": known, "flow": flow}

    def carried(self, last, flow, mask=None):
        """`frames` and `known` of a field (B, H, W, 1) on a steady flow; mask: where it is not missing."""
        seen = ops.ones_like(last) if mask is None else ops.cast(mask, last.dtype)
        frames, known = [], []
        for displacement in backward_displacements(flow, self.horizon_frames):
            frame, there = carried(last, displacement, seen)
            if self.outside != "nearest":
                frame = ops.where(there, frame, last if self.outside == "last" else ops.zeros_like(last))
            frames.append(frame)
            known.append(there)
        return ops.stack(frames, 1), ops.stack(known, 1)

    def motion(self, inputs):
        """Steady flow (B, H, W, 2) of fields (B, T, H, W, 1), in pixels per step."""
        fields = ops.log1p(inputs[:, -self.pairs - 1 :] / self.floor)
        most = ops.maximum(ops.max(fields, axis=(1, 2, 3, 4), keepdims=True), 1e-6)
        flows = self.tvl1(fields * (255.0 / most))  # (B, pairs, H, W, 2)
        echo = ops.cast(ops.minimum(fields[:, 1:], fields[:, :-1]) > 0, flows.dtype) + 1e-3
        batch, pairs, height, width, _ = ops.shape(flows)
        both = ops.reshape(ops.concatenate([flows * echo, echo], -1), (batch * pairs, height, width, 3))
        both = self._smoothed(both)
        flow = both[..., :2] / (both[..., 2:] + 1e-6)
        return ops.mean(ops.reshape(flow, (batch, pairs, height, width, 2)), axis=1)

    def _smoothed(self, x):
        """A Gaussian over height and width; beyond the border there is nothing."""
        reach = int(np.ceil(3 * self.smoothing))
        line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / self.smoothing) ** 2)
        line = (line / line.sum()).astype("float32")
        for kernel in (line[:, None], line[None]):
            kernel = ops.convert_to_tensor(np.tile(kernel[:, :, None, None], (1, 1, 3, 1)))
            x = ops.depthwise_conv(x, kernel, padding="same", data_format="channels_last")
        return x

    def get_config(self):
        names = ("horizon_frames", "pairs", "smoothing", "floor", "outside")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        batch, _, height, width, _ = input_shape
        frames = (batch, self.horizon_frames, height, width, 1)
        return {"frames": frames, "known": frames, "flow": (batch, height, width, 2)}

    def compute_output_spec(self, inputs, mask=None):
        dtypes = {"frames": "float32", "known": "bool", "flow": "float32"}
        return {n: keras.KerasTensor(s, dtypes[n]) for n, s in self.compute_output_shape(inputs.shape).items()}
