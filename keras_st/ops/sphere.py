"""Points of the sphere as unit vectors (..., 3). Pure functions of tensors; degrees in, degrees out."""

import math

from keras import ops

RADIANS = math.pi / 180


def unit_vectors(latitude, longitude):
    """(..., 3) of degrees (...): x to 0 E, y to 90 E, z to the north pole."""
    lat, lon = latitude * RADIANS, longitude * RADIANS
    return ops.stack([ops.cos(lat) * ops.cos(lon), ops.cos(lat) * ops.sin(lon), ops.sin(lat)], axis=-1)


def degrees(vectors):
    """Latitude and longitude in degrees, each (...), of vectors (..., 3) of any length but 0."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return ops.arctan2(z, ops.sqrt(ops.maximum(x**2 + y**2, 1e-12))) / RADIANS, ops.arctan2(y, x) / RADIANS


def normalised(vectors):
    return vectors / ops.sqrt(ops.maximum(ops.sum(vectors**2, axis=-1, keepdims=True), 1e-14))


def carried_on(before, now, steps):
    """Where motion along the great circle from `before` (..., 3) to `now` leads in `steps` (...) more such steps.

    x(k) = b cos(k theta) + t sin(k theta), as `keras_st.metrics.tracks.constant_velocity`; k may be negative.
    """
    across = before - ops.sum(before * now, axis=-1, keepdims=True) * now  # of length sin(theta), away from the motion
    sine = ops.sqrt(ops.maximum(ops.sum(across**2, axis=-1, keepdims=True), 1e-14))
    angle = ops.arctan2(sine, ops.sum(before * now, axis=-1, keepdims=True)) * steps[..., None]
    return now * ops.cos(angle) - across / sine * ops.sin(angle)


def east_and_north(at):
    """Unit vectors to the east and to the north, each (..., 3), at points (..., 3) away from the poles."""
    x, y = at[..., 0], at[..., 1]
    east = normalised(ops.stack([-y, x, ops.zeros_like(x)], axis=-1))
    return east, ops.cross(at, east)


def turned(points, start, end):
    """Points (..., N, 3) under the smallest turn that takes `start` (..., 3) to `end` (..., 3), not its antipode."""
    axis = ops.cross(start, end)[..., None, :]  # of length sin(angle)
    cosine = ops.sum(start * end, axis=-1)[..., None, None]
    along = ops.sum(axis * points, axis=-1, keepdims=True)
    axis_points = ops.cross(ops.broadcast_to(axis, ops.shape(points)), points)
    return points * cosine + axis_points + axis * along / (1 + cosine)
