"""Forecast of one moving spot on the sphere: constant velocity, corrected by an encoder-forecaster."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments, with_dtype_of
from keras_st.models.encoder_forecaster import _video_shape
from keras_st.ops.axes import merge_leading, split_leading
from keras_st.ops.sphere import RADIANS, carried_on, degrees, east_and_north, normalised, turned, unit_vectors
from keras_st.ops.warp import warp


@keras.saving.register_keras_serializable(package="keras_st")
class TrackForecaster(ConfigFromArguments, keras.Model):
    """Moves the last density of a spot to where it will be: where its motion leads, and a learnt correction.

    With c_t the centroids of the densities D_t as unit vectors (weights D_t cos(lat)), b = c_T-1 the last of them, all
    on the sphere:
        s_k    = where the great circle from c_T-2 to b leads in k steps; s_-1 = c_T-2
        M_t    = D_t turned as s_(t-T+1) is turned to b: without acceleration all lie on each other
        a      = core(M, where every pixel is, the velocity at every step), (B, S, H, W, 6)
        d_k    = W mean(a_k, weights M_T-1) + bias, degrees a step to the east and north; W and bias begin at 0
        x_k    = s_k moved by k d_k
        frames = D_T-1 turned as b is turned to x_k
    Untrained it is the constant velocity of `keras_st.metrics.tracks.constant_velocity`, but for the pixels.

    Inputs (dict): video: float (B, T, H, W, 3), any T >= 1 (of one frame no motion is known): the density of one spot,
        and of every pixel the latitude as (degrees + 90) / 180 and the longitude as (degrees + 540) / 1080, on an even
        grid, the same in all frames; H and W multiples of the core's patch. Where there is no density the forecast is
        empty too.

    Returns (dict): frames: float32 (B, S, H, W, 1), S = `horizon_frames`: densities. Behind the edge of the last map
        its outermost pixels go on.

    Args:
        core: `EncoderForecaster`, "unconditioned"; its horizon is the default.

    Call args: `horizon_frames`: int, overrides the core's.

    Computes in float32 but for the core.
    """

    predict_context = decoupling = reads_missing = False  # for what trains forecasters
    activation = "sigmoid"  # of densities in 0..1 come densities in 0..1
    input_names = frozenset({"video"})

    def __init__(self, core, **kwargs):
        super().__init__(**with_dtype_of([core], kwargs))
        self.autocast = False  # half precision knows a place to a degree
        if core.forecaster != "unconditioned":
            raise ValueError(f'`core` must be "unconditioned". Received: forecaster={core.forecaster!r}')
        self.core = core
        self.correction = layers.Dense(2, kernel_initializer="zeros", dtype="float32", name="correction")

    @property
    def horizon_frames(self):
        return self.core.horizon_frames

    @property
    def patch(self):
        """What H and W are multiples of."""
        return self.core.patch

    def build(self, input_shape):
        shape = _video_shape(input_shape)
        self.channels = shape[-1]
        if self.channels != 3:
            raise ValueError(
                f"`video` must be (B, T, H, W, 3): density, latitude, longitude. Received: shape={tuple(shape)}"
            )
        if not self.core.built:  # a loaded one is
            self.core.build({"video": (*shape[:-1], 6)})
        self.correction.build((None, None, 6))
        self.built = True

    def call(self, inputs, training=None, horizon_frames=None):
        horizon = self.horizon_frames if horizon_frames is None else horizon_frames
        video = ops.cast(inputs["video"], "float32")
        batch, length, height, width = ops.shape(video)[:4]
        density, latitude, longitude = (
            video[..., :1],
            180 * video[:, -1, ..., 1] - 90,
            1080 * video[:, -1, ..., 2] - 540,
        )
        points = unit_vectors(latitude, longitude)  # (B, H, W, 3)
        weights = density[..., 0] * ops.cos(latitude * RADIANS)[:, None]
        centres = normalised(ops.einsum("bthw,bhwk->btk", weights, points))
        centres = ops.concatenate([centres[:, :1], centres], axis=1)  # a storm is at rest before it is known
        before, now = centres[:, -2:-1], centres[:, -1:]  # (B, 1, 3)
        steps = ops.cast(ops.arange(length), "float32")[None] - ops.cast(length - 1, "float32")
        past = carried_on(before, now, steps)  # (B, T, 3)
        registered = _moved(density, points, latitude, longitude, past, now)
        east, north = east_and_north(centres[:, 1:])
        step = centres[:, 1:] - centres[:, :-1]
        velocity = ops.stack([ops.sum(step * east, -1), ops.sum(step * north, -1)], axis=-1) / RADIANS  # (B, T, 2)
        velocity = velocity[:, :, None, None]
        shape = (batch, length, height, width)
        parts = [registered, ops.broadcast_to(points[:, None], (*shape, 3)), ops.broadcast_to(velocity, (*shape, 2))]
        seen = self.core({"video": ops.concatenate(parts, axis=-1)}, training=training, horizon_frames=horizon)
        weights = registered[:, -1] / ops.maximum(ops.sum(registered[:, -1], axis=(1, 2), keepdims=True), 1e-6)
        steps = ops.cast(ops.arange(1, horizon + 1), "float32")[None]  # (1, S)
        moved = self.correction(ops.einsum("bshwc,bhwk->bsc", seen["frames"], weights)) * steps[..., None] * RADIANS
        straight = carried_on(before, now, steps)
        east, north = east_and_north(straight)
        ends = normalised(straight + moved[..., :1] * east + moved[..., 1:] * north)  # (B, S, 3)
        last = ops.broadcast_to(density[:, -1:], (batch, horizon, height, width, 1))
        return {"frames": _moved(last, points, latitude, longitude, now, ends)}

    def compute_output_shape(self, input_shape):
        batch, _, height, width, _ = _video_shape(input_shape)
        return {"frames": (batch, self.horizon_frames, height, width, 1)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**{**config, "core": keras.saving.deserialize_keras_object(config["core"], custom_objects)})


def _moved(maps, points, latitude, longitude, start, end):
    """Maps (B, N, H, W, 1) under the turns of the sphere that take `start` to `end`, each (B, N, 3) or (B, 1, 3)."""
    batch, count, height, width, _ = ops.shape(maps)
    flat = ops.broadcast_to(ops.reshape(points, (batch, 1, height * width, 3)), (batch, count, height * width, 3))
    start, end = (ops.broadcast_to(x, (batch, count, 3)) for x in (start, end))
    lat, lon = degrees(turned(flat, end, start))  # where a pixel's value comes from
    first_row, first_column = latitude[:, 0, 0], longitude[:, 0, 0]
    row_step = _step(latitude[:, -1, 0] - first_row, height)
    column_step = _step(longitude[:, 0, -1] - first_column, width)
    lat, lon = (ops.reshape(x, (batch, count, height, width)) for x in (lat, lon))
    down = (lat - latitude[:, None]) / row_step[:, None, None, None]
    right = lon - longitude[:, None]
    right = (right - 360 * ops.floor((right + 180) / 360)) / column_step[:, None, None, None]
    flow = ops.stack([right, down], axis=-1)
    return split_leading(warp(merge_leading(maps), merge_leading(flow)), batch, count)


def _step(span, count):
    """Degrees from pixel to pixel, 1 where a grid has no extent (an empty frame): any will do, a 0 would not."""
    return ops.where(span == 0, 1.0, span / ops.cast(ops.maximum(count - 1, 1), "float32"))
