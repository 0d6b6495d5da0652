"""Storms on the sphere: densities of their centres, centres of densities, tracks, and their errors in km.

Positions are (..., 2): latitude and longitude in degrees, north and east positive. Longitudes may have any origin
(-75 is 285); what is returned stays near what was given: beside the grid, or within 180 degrees of the last fix.
Everything is NumPy float64.

Equations, with R = 6371 km:
    distance    d = 2 R asin sqrt(sin^2((lat2 - lat1) / 2) + cos(lat1) cos(lat2) sin^2((lon2 - lon1) / 2))
    density     D(p) = max_j exp(-d(p, c_j)^2 / (2 sigma_j^2)), or the sum over j, at most 1
    centre      of every 8-connected part of D >= threshold: the mean of its pixels' unit vectors with the weight
                D(p) cos(lat_p) (a pixel's area), or its highest pixel
    matching    of those with most pairs within the radius the one with the least sum of distances

Worked number: one degree of latitude is 111.19 km.

Reference: S. Kim et al., "Deep-Hurricane-Tracker: Tracking and Forecasting Extreme Climate Events", WACV 2019 (density
maps as targets; the widths, the decoding and the scores are our own).
"""

from typing import NamedTuple

import numpy as np

from keras_st.specs import InputError

EARTH_RADIUS_KM = 6371.0
KM_PER_DEGREE = np.pi * EARTH_RADIUS_KM / 180


def great_circle_km(lat1, lon1, lat2, lon2):
    """Distance on the sphere in km, by the haversine formula; float64 of the shape that degrees broadcast to.

    NaN where any of the four is NaN.
    """
    lat1, lon1, lat2, lon2 = (np.radians(np.asarray(x, np.float64)) for x in (lat1, lon1, lat2, lon2))
    h = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(h, 1)))  # rounding can leave more than 1 at antipodes


# Densities and their centres


def density(centres, sigmas, latitudes, longitudes, combine="max"):
    """Density D of storms on a grid of latitudes and longitudes, float64 (H, W) in 0..1; zeros without storms.

    1 at a pixel that is a centre; the integral of one storm is near 2 pi sigma^2. Two storms of one sigma merge where
    they are closer than 2 sqrt(-2 ln threshold) sigma (2.35 sigma at 0.5; with "sum" more): `centres` finds one.

    Args:
        centres: (M, 2) degrees.
        sigmas: km, above 0: a number or (M,). Less than a pixel would be lost between pixels: at least the longer side
            of a pixel at the storm's latitude is taken.
        latitudes: (H,) degrees of the rows.
        longitudes: (W,) degrees of the columns.
        combine: "max": of the nearest storm, relative to its sigma; "sum": of all, cut at 1.

    Raises:
        InputError: unknown `combine`.
        ValueError: centres, sigmas or a grid of other shape or beyond their range.
    """
    if combine not in ("max", "sum"):
        raise InputError.unknown("combine", combine, ("max", "sum"))
    positions = _positions("centres", centres)
    latitudes, longitudes = _grid(latitudes, longitudes)
    sigmas = np.asarray(sigmas, np.float64)
    if sigmas.shape not in ((), (len(positions),)) or not (np.isfinite(sigmas) & (sigmas > 0)).all():
        raise ValueError(
            f"`sigmas` must be a number or ({len(positions)},), in km, above 0. "
            f"Received: shape {sigmas.shape}, {sigmas.tolist()}"
        )
    lat, lon = positions[:, 0, None, None], positions[:, 1, None, None]  # (M, 1, 1)
    sigmas = np.maximum(sigmas.reshape(-1, 1, 1), _pixel_km(latitudes, longitudes, lat))
    gaussians = np.exp(-(great_circle_km(latitudes[:, None], longitudes, lat, lon) ** 2) / (2 * sigmas**2))
    return gaussians.max(axis=0, initial=0) if combine == "max" else np.minimum(gaussians.sum(axis=0), 1)


def centres(density, latitudes, longitudes, threshold=0.5, method="centroid"):
    """Positions of the storms of a density, float64 (M, 2) degrees, in the order of their first pixels by rows.

    Pixels at or above the threshold are one storm if they touch, also at a corner. The first and the last column of a
    grid do not touch, even where it goes round the Earth.

    Args:
        density: (H, W), 0 or more.
        latitudes: (H,) degrees.
        longitudes: (W,) degrees.
        threshold: density from which a pixel counts, above 0.
        method: "centroid" or "maximum" (the highest pixel, of equal ones the first by rows). A storm that the grid cuts
            off has its centroid too far inside.

    Raises:
        InputError: unknown `method`.
        ValueError: density or grid of other shapes, negative or not finite; a threshold of 0 or less.
    """
    if method not in ("centroid", "maximum"):
        raise InputError.unknown("method", method, ("centroid", "maximum"))
    latitudes, longitudes = _grid(latitudes, longitudes)
    density = np.asarray(density, np.float64)
    if density.shape != (len(latitudes), len(longitudes)):
        raise ValueError(
            f"`density` must be ({len(latitudes)}, {len(longitudes)}), as the grid. Received: shape={density.shape}"
        )
    if not (np.isfinite(density).all() and (density >= 0).all()):
        raise ValueError(f"`density` must be finite, 0 or more. Received: lowest {density.min()}")
    if not threshold > 0:
        raise ValueError(f"`threshold` must be above 0. Received: threshold={threshold}")
    found = []
    for rows, columns in _parts(density >= threshold):
        values, lat, lon = density[rows, columns], latitudes[rows], longitudes[columns]
        highest = values.argmax()
        if method == "maximum":
            found.append([lat[highest], lon[highest]])
        else:
            weights = values * np.cos(np.radians(lat))
            found.append(_degrees((weights[:, None] * _vectors(lat, lon)).sum(axis=0), near=lon[highest]))
    return np.array(found, np.float64).reshape(-1, 2)


def _parts(mask):
    """`(rows, columns)` of every 8-connected part of a mask (H, W), by rows.

    A flood fill: storms are a small part of a map, and labelling would need a package that is not always there.
    """
    pixels = [tuple(pixel) for pixel in np.argwhere(mask).tolist()]
    left = set(pixels)
    for first in pixels:
        if first not in left:
            continue
        left.remove(first)
        part, seen = [], [first]
        while seen:
            row, column = seen.pop()
            part.append((row, column))
            near = {(r, c) for r in range(row - 1, row + 2) for c in range(column - 1, column + 2)} & left
            left -= near
            seen.extend(near)
        yield np.array(sorted(part)).T


# Matching and its scores


class Matches(NamedTuple):
    """Pairs: `found` and `true`, int64 (P,) indices, ascending in `found`, and `distance_km`, float64 (P,)."""

    found: np.ndarray
    true: np.ndarray
    distance_km: np.ndarray


def match(found, true, radius_km=200.0):
    """Pairs of found and true positions at most a radius apart, each in one pair at most: `Matches`.

    As many pairs as there can be, and of those matchings the one with the least sum of distances.

    Args:
        found: (M, 2) degrees; empty: no storm.
        true: (N, 2) degrees.
        radius_km: a pair's largest distance, above 0.

    Raises: ValueError: positions of other shape, not finite or beyond the poles; a radius of 0 or less.

    Reference: H. W. Kuhn, "The Hungarian method for the assignment problem", Naval Research Logistics Quarterly 1955.
    """
    found, true = _positions("found", found), _positions("true", true)
    if not radius_km > 0:
        raise ValueError(f"`radius_km` must be above 0. Received: radius_km={radius_km}")
    distance = great_circle_km(found[:, None, 0], found[:, None, 1], true[:, 0], true[:, 1])  # (M, N)
    near = distance <= radius_km
    longest = distance.max(initial=0, where=near)
    cost = np.where(near, distance, 1 + longest * min(distance.shape))  # more than all near pairs together
    rows, columns = _assignment(cost) if len(found) <= len(true) else _assignment(cost.T)[::-1]
    pairs = sorted((row, column) for row, column in zip(rows, columns) if near[row, column])
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return Matches(rows, columns, distance[rows, columns])


def _assignment(cost):
    """`(rows, columns)` of least total cost (n, m), n <= m: every row has a column.

    A row at a time, along the shortest augmenting path by reduced costs cost - of_row - of_column. A column -1 stands
    for the start of the path.
    """
    n, m = cost.shape
    of_row, of_column, row_at = np.zeros(n), np.zeros(m + 1), np.full(m + 1, -1)
    for row in range(n):
        least, before, done = np.full(m + 1, np.inf), np.full(m + 1, -1), np.zeros(m + 1, bool)
        row_at[-1], column = row, -1
        while row_at[column] >= 0:
            done[column] = True
            reduced = cost[row_at[column]] - of_row[row_at[column]] - of_column[:m]
            better = np.flatnonzero(~done[:m] & (reduced < least[:m]))
            least[better], before[better] = reduced[better], column
            column = int(np.where(done[:m], np.inf, least[:m]).argmin())
            step = least[column]
            of_row[row_at[done]] += step
            of_column[done] -= step
            least[~done] -= step
        while column >= 0:
            row_at[column] = row_at[before[column]]
            column = int(before[column])
    columns = np.flatnonzero(row_at[:m] >= 0)
    return row_at[columns], columns


def detection_scores(found_per_frame, true_per_frame, radius_km=200.0):
    """Scores of found centres against true ones, over all frames together: a dict of floats.

    precision = pairs / found, recall = pairs / true, f1 = 2 pairs / (found + true), pairs as `match` has them in each
    frame; higher is better. Neither found nor true ones in any frame: all three are 1; only one of them: all are 0.
    centre_error_km: mean distance of the pairs, lower is better; NaN without pairs.

    Args:
        found_per_frame: (M_t, 2) degrees of every frame.
        true_per_frame: (N_t, 2) degrees of as many frames.
        radius_km: a pair's largest distance.

    Worked number: 2 true, one of them found 111.19 km off, 2 false: precision 1/3, recall 1/2, f1 2/5.

    Raises: ValueError: other numbers of frames; what `match` refuses.
    """
    found_per_frame, true_per_frame = list(found_per_frame), list(true_per_frame)
    if len(found_per_frame) != len(true_per_frame):
        raise ValueError(
            "Found and true centres must be of the same frames. "
            f"Received: {len(found_per_frame)} and {len(true_per_frame)} frames"
        )
    found, true = (sum(map(len, frames)) for frames in (found_per_frame, true_per_frame))
    distances = [match(*frame, radius_km).distance_km for frame in zip(found_per_frame, true_per_frame)]
    errors = np.concatenate([np.zeros(0), *distances])
    pairs, empty = len(errors), float(found + true == 0)
    return {
        "precision": pairs / found if found else empty,
        "recall": pairs / true if true else empty,
        "f1": 2 * pairs / (found + true) if found + true else 1.0,
        "centre_error_km": float(errors.mean()) if pairs else float("nan"),
    }


def link(frames, gate_km):
    """Ids of the tracks that positions belong to: `[int64 (M_t,)]`, a vector a frame, numbered from 0 as they begin.

    Positions of consecutive frames are paired as `match` does; one without a pair in the frame before begins a track.
    A track ends with the first frame that does not have it. Two tracks keep their ids, also where their paths cross, as
    long as each moves less than the gate and neither comes within the gate of where the other was a frame before.

    Args:
        frames: (M_t, 2) degrees of every frame, in order.
        gate_km: largest distance from a frame to the next, above 0.

    Raises: ValueError: what `match` refuses.
    """
    ids = []
    before, begun = np.zeros((0, 2)), 0
    for positions in frames:
        pairs = match(before, positions, gate_km)
        own = np.full(len(positions), -1)
        own[pairs.true] = ids[-1][pairs.found] if ids else -1
        new = np.flatnonzero(own < 0)
        own[new] = begun + np.arange(len(new))
        ids.append(own)
        before, begun = positions, begun + len(new)
    return ids


# Forecasts of tracks


def errors_by_lead(forecast, truth):
    """Mean great-circle error of each lead in km, float64 (L,), over N forecasts; lower is better.

    Args:
        forecast: (N, L, 2) degrees.
        truth: (N, L, 2) degrees. A pair with NaN in either is left out of its lead's mean; a lead without any is NaN.

    Raises: ValueError: other or different shapes.
    """
    forecast, truth = np.asarray(forecast, np.float64), np.asarray(truth, np.float64)
    if forecast.shape != truth.shape or forecast.ndim != 3 or forecast.shape[-1] != 2:
        raise ValueError(
            f"`forecast` and `truth` must both be (N, L, 2). Received: shapes {forecast.shape} and {truth.shape}"
        )
    errors = great_circle_km(forecast[..., 0], forecast[..., 1], truth[..., 0], truth[..., 1])
    known = np.isfinite(errors)
    count = known.sum(axis=0)
    return np.where(count > 0, errors.sum(axis=0, where=known) / np.maximum(count, 1), np.nan)


def persistence(track, leads):
    """The last position at every lead: float64 (..., L, 2).

    Args:
        track: (..., T, 2) degrees, T at least 1.
        leads: (L,) as in `constant_velocity`; only their number matters.

    Raises: ValueError: a track of other shape, or leads that are not numbers above 0.
    """
    track, leads = _track(track, 1), _leads(leads)
    return np.repeat(track[..., -1:, :], len(leads), axis=-2)


def constant_velocity(track, leads):
    """The motion between the last two positions goes on: float64 (..., L, 2) degrees.

    On the sphere: along the great circle through the two, at their angular speed. With unit vectors a, b of them, theta
    the angle between and t = (b cos(theta) - a) / sin(theta) the direction of motion at b,

        x(k) = b cos(k theta) + t sin(k theta)      so x(-1) = a, x(0) = b

    Two equal positions stay. Longitudes are within 180 degrees of the last one: 179 goes on to 181, not to -179.

    Args:
        track: (..., T, 2) degrees, T at least 2, the last two an interval apart. NaN gives NaN.
        leads: (L,), above 0, in intervals: 6-hour positions and leads of 6, 12 and 24 hours: (1, 2, 4).

    Raises: ValueError: a track of other shape, or leads that are not numbers above 0.
    """
    track, leads = _track(track, 2), _leads(leads)
    a, b = (_vectors(track[..., n, 0], track[..., n, 1]) for n in (-2, -1))
    normal = np.cross(a, b)
    sine = np.linalg.norm(normal, axis=-1, keepdims=True)
    theta = np.arctan2(sine, (a * b).sum(axis=-1, keepdims=True))  # exact for small steps, where acos is not
    t = np.cross(normal, b) / np.where(sine > 0, sine, 1)
    angle = theta[..., None, :] * leads[:, None]  # (..., L, 1)
    x = b[..., None, :] * np.cos(angle) + t[..., None, :] * np.sin(angle)
    return _degrees(x, near=track[..., -1:, 1])


# Arguments, geometry


def _positions(name, value):
    positions = np.asarray(value, np.float64)
    if positions.shape == (0,):
        positions = positions.reshape(0, 2)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ValueError(f"`{name}` must be (M, 2), latitude and longitude. Received: shape={positions.shape}")
    if not np.isfinite(positions).all() or (np.abs(positions[:, 0]) > 90).any():
        wrong = ~np.isfinite(positions).all(axis=1) | (np.abs(positions[:, 0]) > 90)
        raise ValueError(f"`{name}` must be finite, latitudes -90 to 90. Received: {positions[wrong][0].tolist()}")
    return positions


def _grid(latitudes, longitudes):
    grid = np.asarray(latitudes, np.float64), np.asarray(longitudes, np.float64)
    for name, values in zip(("latitudes", "longitudes"), grid):
        if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
            raise ValueError(f"`{name}` must be two or more finite degrees. Received: shape={values.shape}")
    if np.abs(grid[0]).max() > 90:
        raise ValueError(f"`latitudes` must lie in -90..90. Received: {grid[0].min()} to {grid[0].max()}")
    return grid


def _pixel_km(latitudes, longitudes, at):
    """The longer side of a pixel at a latitude."""
    height = np.abs(np.diff(latitudes)).mean()
    width = np.abs((np.diff(longitudes) + 180) % 360 - 180).mean()  # also where a grid steps from 180 to -179
    return KM_PER_DEGREE * np.maximum(height, width * np.cos(np.radians(at)))


def _track(value, least):
    track = np.asarray(value, np.float64)
    if track.ndim < 2 or track.shape[-1] != 2 or track.shape[-2] < least:
        raise ValueError(f"`track` must be (..., T, 2), T at least {least}. Received: shape={track.shape}")
    return track


def _leads(value):
    leads = np.asarray(value, np.float64)
    if leads.ndim != 1 or not len(leads) or not (np.isfinite(leads) & (leads > 0)).all():
        raise ValueError(f"`leads` must be one or more numbers above 0. Received: leads={value}")
    return leads


def _vectors(lat, lon):
    """Unit vectors (..., 3) of degrees."""
    lat, lon = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _degrees(vectors, near):
    """Degrees (..., 2) of vectors (..., 3) of any length; longitudes within 180 of `near`."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    lon = np.degrees(np.arctan2(y, x))
    return np.stack([np.degrees(np.arctan2(z, np.hypot(x, y))), near + (lon - near + 180) % 360 - 180], axis=-1)
