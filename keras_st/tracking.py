"""From densities on a map to forecasts of every storm in them: decoded, linked, forecast one by one. NumPy."""

from typing import NamedTuple

import numpy as np

from keras_st.metrics import tracks
from keras_st.specs import InputError, every_nth

STEP_HOURS = 6.0  # between the fixes a forecaster is trained on
FAINT = 0.01  # density from which a pixel of one storm's own map counts when its centre is decoded
REACH_KM = 700.0  # of a storm's density around its centre


def frames_apart(step_hours, trained_hours):
    """Which n-th frames are as far apart as in training. Raises InputError where none are."""
    every = every_nth(step_hours, trained_hours)
    if not every:
        raise InputError(f"A step must be {trained_hours:g} h or a whole part of it. Received: step_hours={step_hours}")
    return every


def storm_grid(latitude, longitude, grid, step_degrees):
    """Latitudes (..., H) and longitudes (..., W) in degrees of a grid around a position, cut at 89 degrees.

    The position is in the middle, unless the grid would reach over a pole: then it lies nearer to that edge.
    Longitudes go on beyond 180 degrees.
    """
    latitude, longitude = np.asarray(latitude, np.float64)[..., None], np.asarray(longitude, np.float64)[..., None]
    rows, columns = (step_degrees * (np.arange(size) - (size - 1) / 2) for size in grid)
    room = 89 - rows[-1]
    if room < 0:
        raise InputError(f"A grid must fit between the poles. Received: {grid[0]} rows of {step_degrees} degrees")
    return np.clip(latitude, -room, room) + rows, longitude + columns


def storm_clip(track, grid, step_degrees, sigma_km):
    """What a track forecaster sees of a track (T, 2): float32 (T, H, W, 3), and the latitudes and longitudes.

    The density of the storm on the grid around its last position, and the latitude and longitude of every pixel,
    (latitude + 90) / 180 and (longitude + 540) / 1080: longitudes lie in -540..540.
    """
    latitudes, longitudes = storm_grid(*track[-1], grid, step_degrees)
    maps = np.stack([tracks.density(fix[None], sigma_km, latitudes, longitudes) for fix in track])
    lat, lon = np.broadcast_arrays((latitudes[:, None] + 90) / 180, (longitudes + 540) / 1080)
    places = np.broadcast_to(np.stack([lat, lon], axis=-1), (len(track), *maps.shape[1:], 2))
    return np.concatenate([maps[..., None], places], axis=-1).astype("float32"), latitudes, longitudes


def decode(maps, latitudes, longitudes):
    """Position (L, 2) of the one storm in each of the maps (L, H, W); NaN where it has left the grid.

    The centroid of the part with the highest pixel; without a pixel above half, or with that pixel on the edge, the
    storm has left.
    """
    found = np.full((len(maps), 2), np.nan)
    for n, density in enumerate(maps):
        row, column = np.unravel_index(density.argmax(), density.shape)
        edge = row in (0, density.shape[0] - 1) or column in (0, density.shape[1] - 1)
        if density[row, column] >= 0.5 and not edge:
            parts = tracks.centres(np.maximum(density, 0), latitudes, longitudes, FAINT)
            highest = latitudes[row], longitudes[column]
            found[n] = min(parts, key=lambda part: tracks.great_circle_km(*part, *highest))
    return found


def find(density, latitudes, longitudes, threshold=0.5):
    """Positions (M, 2) of the storms of a map (H, W): the parts of `tracks.centres`, each with all that belongs to it.

    What is above a threshold alone is a few pixels, whose centroid is off by a fifth of one. So every pixel goes to the
    nearest part within `REACH_KM`, and the centroid is that of `decode`; of storms on the edge it is the part's.
    """
    parts = tracks.centres(density, latitudes, longitudes, threshold)
    away = tracks.great_circle_km(np.asarray(latitudes)[:, None, None], np.asarray(longitudes)[:, None], *parts.T)
    nearest = away.argmin(axis=-1) if len(parts) else None
    own = [np.where((nearest == n) & (away[..., n] <= REACH_KM), density, 0) for n in range(len(parts))]
    whole = decode(own, latitudes, longitudes)
    return np.where(np.isfinite(whole), whole, parts)


class StormForecast(NamedTuple):
    """`track` (T, 2) degrees, the storm's last fixes; `forecast` (S, 2), where it will be, NaN off its grid."""

    track: np.ndarray
    forecast: np.ndarray


def forecast_storms(forecaster, density, latitudes, longitudes, step_hours=6.0, gate_km=400.0, threshold=0.5):
    """Where the storms of a density sequence will be: `[StormForecast]`, of those that are in all of the last fixes.

    Every frame's centres are decoded and linked over time; each storm is then drawn alone on a grid around its last
    position, as in training, and forecast from there. A sequence without storms gives an empty list.

    Args:
        forecaster: of `hurricane_forecasting`, from `keras_st.saved.load`: its recipe says the grid, the width of a
            density and how many fixes it needs.
        density: (T, H, W) in 0..1. The last frame is now.
        latitudes: (H,) degrees; longitudes: (W,).
        step_hours: between frames; 6 or a whole part of it, then every k-th frame back from the last is taken.
        gate_km: farthest way of a storm from a frame to the next.
        threshold: density from which a pixel is a storm's.

    Raises: InputError: a model of another system, too few frames, NaN, another shape than the grid's.
    """
    recipe = forecaster.recipe or {}
    if recipe.get("system") != "hurricane_forecasting":
        raise InputError(f"Storms are forecast by a hurricane_forecasting. Received: system={recipe.get('system')}")
    data, fixes = recipe["data"], recipe["task"]["context_frames"]
    density = np.asarray(density, np.float64)
    every = frames_apart(step_hours, STEP_HOURS)
    least = 1 + every * (fixes - 1)
    if density.ndim != 3 or len(density) < least or not np.isfinite(density).all():
        raise InputError(f"A density must be (T, H, W), finite, T at least {least}. Received: shape={density.shape}")
    try:
        frames = [find(frame, latitudes, longitudes, threshold) for frame in density[-least::every]]
    except ValueError as error:
        raise InputError(str(error)) from error
    ids, found = tracks.link(frames, gate_km), []
    for storm in ids[-1]:
        if all(storm in frame for frame in ids):
            track = np.stack([places[own == storm][0] for places, own in zip(frames, ids)])
            clip, *axes = storm_clip(track, data["grid"], data["step_degrees"], data["sigma_km"])
            maps = forecaster.predict(clip)[..., 0]
            found.append(StormForecast(track, decode(maps, *axes)))
    return found
