"""Hurricanes, generated: fields as a climate model gives them, and the density of the storms in them.

Fields of real storms are not among our data: the CAM5 clips of the paper are not published. These have what makes
tracking hard and what can be checked:

    storms      up to `max_storms` at once; they begin and end inside clips, enter and leave the region, and move with
                the weather around them and with a drift to the west and the pole, at 10 to 40 km/h
    vortex      cyclonic wind and pressure of G. J. Holland (Mon. Wea. Rev. 108, 1980), with x = (R / r)^B, B = 2:
                    V(r) = V_max sqrt(x exp(1 - x))      p(r) = p_0 - (V_max^2 rho e / B) (1 - exp(-x))
                a ring of rain at the radius R of the highest wind, moist and warm around its centre
    weather     trade winds, a jet, a subtropical high, waves, a temperature that falls towards the poles, noise
    distractors broad extratropical lows without a core of wind or a ring of rain, and rain without a storm

A storm counts while its highest wind is a hurricane's, 33 m/s; its diameter is that of the area of such winds, and the
width of its density sigma = diameter / 4, at least a pixel (`keras_st.metrics.tracks.density`).

Reference: S. Kim et al., "Deep-Hurricane-Tracker: Tracking and Forecasting Extreme Climate Events", WACV 2019 (the
channels and their order). Differs: a region and a grid of our own, by default 1 degree; all rules of the generator.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_st.metrics.tracks import density, great_circle_km
from keras_st.specs import FeatureSpec, InputError
from keras_st.tracking import frames_apart
from pipelines.datasets.generated import SPLITS, TEST_SEED, check_options
from pipelines.sampling import epoch_key, shuffled

# Channel: unit, what a model sees as 0 and as 1. Values beyond are cut.
CHANNELS = {
    "PSL": ("Pa", 90_000.0, 104_000.0),  # pressure at sea level
    "U850": ("m/s", -60.0, 60.0),  # wind to the east at 850 hPa
    "V850": ("m/s", -60.0, 60.0),  # wind to the north
    "PRECT": ("m/s", 0.0, 2.5e-6),  # precipitation
    "TS": ("K", 265.0, 315.0),  # temperature of the surface
    "QREFHT": ("kg/kg", 0.0, 0.03),  # humidity near it
}
HURRICANE = 33.0  # m/s
SLOWEST, FASTEST = 10 / 3.6, 40 / 3.6  # m/s
GROWTH_HOURS = 12.0  # from calm to the highest wind, and back
APART_KM = 1200.0  # storms of a clip, at all times
AIR, SHAPE = 1.15, 2.0  # kg/m^3, Holland's B
METRES = 111_195.0  # of a degree of latitude
NOISE = {"PSL": 60.0, "U850": 1.0, "V850": 1.0, "PRECT": 4e-8, "TS": 0.4, "QREFHT": 5e-4}
LABEL = np.dtype([("clip", int), ("t", int), ("id", int), ("lat", float), ("lon", float), ("diameter_km", float)])


class Clips(NamedTuple):
    """N clips: `fields` float32 (N, T, H, W, 6) in 0..1 and `density` float32 (N, T, H, W, 1).

    `labels`: records of clip, t, id, lat, lon, diameter_km, one a storm and frame. `latitudes` (H,) and `longitudes`
    (W,): degrees of the rows and columns.
    """

    fields: np.ndarray
    density: np.ndarray
    labels: np.ndarray
    latitudes: np.ndarray
    longitudes: np.ndarray

    def true_centres(self):
        """Positions (M_t, 2) in degrees of the storms in every frame of every clip, lists of lists."""
        frames = [[np.zeros((0, 2)) for _ in clip] for clip in self.fields]
        for row in self.labels:
            frames[row["clip"]][row["t"]] = np.append(frames[row["clip"]][row["t"]], [[row["lat"], row["lon"]]], axis=0)
        return frames


def hurricane(
    split: str,
    *,
    region: tuple[float, float, float, float] = (5.0, 52.0, 265.0, 328.0),
    grid: tuple[int, int] = (48, 64),
    num_frames: int = 10,
    step_hours: float = 3.0,
    max_storms: int = 3,
    distractors: bool = True,
    num_sequences: int = 240,
    num_test_sequences: int = 60,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Clips of fields with storms in them, and the density of the storms.

    Args:
        split: "train", "validation" or "test".
        region: latitude of the first and the last row, longitude of the first and the last column, degrees.
        grid: height and width in pixels. Rows go from south to north where the region does.
        num_frames: frames in a clip.
        step_hours: between frames.
        max_storms: most storms in a clip; every number from none up is equally likely.
        distractors: extratropical lows and rain without a storm.
        num_sequences: training clips; every epoch has the same ones in another order.
        num_test_sequences: clips of the validation and of the test split.
        epoch: of training (int or scalar tensor).
        seed: of the training and validation clips. The test set is the same for every seed.

    Returns:
        `tf.data.Dataset` of dicts: `video` float32 (num_frames, H, W, 6) in 0..1, `CHANNELS`; `density` float32
        (num_frames, H, W, 1) in 0..1; `id` string. `clips` gives the same with its labels and its grid.

    Raises:
        InputError: unknown split, sizes out of range, a region that is none.
    """
    found = clips(
        split, region, grid, num_frames, step_hours, max_storms, distractors, num_sequences, num_test_sequences, seed
    )
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        fields, densities = tf.constant(found.fields), tf.constant(found.density)
    order = tf.range(len(found.fields))
    if split == "train":
        order = shuffled(order, epoch_key(seed, epoch))

    def element(n):
        name = tf.strings.join([f"hurricane/{split}/", tf.strings.as_string(n)])
        return {"video": fields[n], "density": densities[n], "id": name}

    return tf.data.Dataset.from_tensor_slices(order).map(element, num_parallel_calls=tf.data.AUTOTUNE)


def feature(*, grid: tuple[int, int] = (48, 64), num_frames: int = 10, **_) -> FeatureSpec:
    """The spec of `video`: fields brought to 0..1 by `CHANNELS`."""
    return FeatureSpec("video", "float32", (num_frames, *grid, len(CHANNELS)), (0.0, 1.0))


def clips(
    split,
    region=(5.0, 52.0, 265.0, 328.0),
    grid=(48, 64),
    num_frames=10,
    step_hours=3.0,
    max_storms=3,
    distractors=True,
    num_sequences=240,
    num_test_sequences=60,
    seed=0,
):
    """The clips of `hurricane` as arrays, made once: `Clips`. Arguments and errors are its own."""
    least = {"num_frames": (num_frames, 1), "step_hours": (step_hours, 0.1), "max_storms": (max_storms, 0)}
    least |= {"num_sequences": (num_sequences, 1), "num_test_sequences": (num_test_sequences, 1)}
    check_options("hurricane", split, least)
    latitudes, longitudes = grid_of(region, grid)
    count = num_sequences if split == "train" else num_test_sequences
    seed = (TEST_SEED if split == "test" else 2 * seed + SPLITS.index(split)) + 1  # 0: the test set
    axes = tuple(latitudes.tolist()), tuple(longitudes.tolist())
    return _made(seed, count, *axes, num_frames, float(step_hours), max_storms, distractors)


def grid_of(region, grid):
    """`(latitudes (H,), longitudes (W,))` in degrees of a region and a size. Raises InputError as `hurricane` does."""
    south, north, west, east = region
    if min(grid) < 8:
        raise InputError(f"`grid` must be at least 8x8. Received: grid={tuple(grid)}")
    if not (-85 <= south <= 85 and -85 <= north <= 85 and abs(north - south) >= 5 and 5 <= east - west <= 360):
        raise InputError(
            "`region` must be latitudes in -85..85 and longitudes from west to east, 5 degrees apart or more. "
            f"Received: region={tuple(region)}"
        )
    return np.linspace(south, north, grid[0]), np.linspace(west, east, grid[1])


def to_input(fields, latitudes, longitudes, step_hours, trained_degrees=1.0, trained_hours=3.0):
    """Fields of your own as a model takes them: float32 (T', H', W', 6) in 0..1, and their grid and times.

    Rules: values are brought to 0..1 by `CHANNELS`; a finer or coarser regular grid is interpolated (bilinear) to the
    degrees a pixel that training saw, over the same region; of a finer time step every k-th frame is taken.

    Args:
        fields: (T, H, W, 6), `CHANNELS` in their units.
        latitudes: (H,) degrees, evenly spaced, rising or falling; longitudes: (W,) degrees, rising evenly.
        step_hours: between frames; `trained_hours` or a whole part of it.

    Returns: `(video, latitudes (H',), longitudes (W',), frames)`, frames: which of the T were taken.

    Raises: InputError: another number of channels, values that are missing (NaN: fill them first) or far from the unit,
        an uneven grid, a time step that does not lead to the trained one.
    """
    fields = np.asarray(fields, np.float64)
    if fields.ndim != 4 or fields.shape[-1] != len(CHANNELS) or 0 in fields.shape:
        raise InputError(f"Fields must be (T, H, W, {len(CHANNELS)}): {', '.join(CHANNELS)}. Received: {fields.shape}")
    axes = []
    for name, values, size in (("latitudes", latitudes, fields.shape[1]), ("longitudes", longitudes, fields.shape[2])):
        values = np.asarray(values, np.float64)
        steps = np.diff(values)
        if values.shape != (size,) or size < 2 or not np.allclose(steps, steps[0], rtol=1e-3) or not steps[0]:
            raise InputError(f"`{name}` must be {size} evenly spaced degrees. Received: shape={values.shape}")
        axes.append(values if steps[0] > 0 else values[::-1])
    if np.asarray(latitudes)[0] > np.asarray(latitudes)[-1]:
        fields = fields[:, ::-1]
    if np.asarray(longitudes)[0] > np.asarray(longitudes)[-1]:
        raise InputError(f"`longitudes` must rise to the east. Received: {longitudes[0]} to {longitudes[-1]}")
    every = frames_apart(step_hours, trained_hours)
    for (name, (unit, low, high)), values in zip(CHANNELS.items(), np.moveaxis(fields, -1, 0)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} must be known everywhere, fill what is missing. Received: NaN or infinity")
        if values.min() < low - (high - low) or values.max() > high + (high - low):
            raise InputError(
                f"{name} must be in {unit}. Received: values from {values.min():.4g} to {values.max():.4g}"
            )
    frames = np.arange(0, len(fields), every)
    fields = fields[frames]
    for axis in (1, 2):
        old = axes[axis - 1]
        new = np.arange(old[0], old[-1] + 1e-6, trained_degrees)
        place = np.interp(new, old, np.arange(len(old)))
        first = np.minimum(place.astype(int), len(old) - 2)
        part = (place - first).reshape([-1 if n == axis else 1 for n in range(4)])
        fields = (1 - part) * fields.take(first, axis) + part * fields.take(first + 1, axis)
        axes[axis - 1] = new
    return scaled(fields), *axes, frames


def scaled(fields):
    """Fields (..., 6) in their units as float32 in 0..1."""
    low, high = np.array([limits[1:] for limits in CHANNELS.values()]).T
    return np.clip((fields - low) / (high - low), 0, 1).astype("float32")


# What is drawn


@functools.lru_cache(maxsize=4)
def _made(seed, count, latitudes, longitudes, num_frames, step_hours, max_storms, distractors):
    latitudes, longitudes = np.array(latitudes), np.array(longitudes)
    shape = (count, num_frames, len(latitudes), len(longitudes))
    fields, densities, labels = np.zeros((*shape, len(CHANNELS)), "float32"), np.zeros((*shape, 1), "float32"), []
    hours = step_hours * np.arange(num_frames)
    for clip in range(count):
        rng = np.random.default_rng([seed, clip])
        weather = draw_weather(rng)
        storms = draw_storms(rng, weather, rng.integers(max_storms + 1), latitudes, longitudes, hours)
        values = render(rng, weather, storms, latitudes, longitudes, hours, distractors)
        fields[clip] = scaled(values)
        rows = []
        for n, storm in enumerate(storms):
            lat, lon = storm.track.T
            inside = (lat >= latitudes.min()) & (lat <= latitudes.max())
            inside &= (lon >= longitudes.min()) & (lon <= longitudes.max())
            for t in np.flatnonzero(inside & (storm.diameter_km > 0)):
                rows.append((clip, t, n, lat[t], lon[t], storm.diameter_km[t]))
        rows = np.array(rows, LABEL)
        for t in np.unique(rows["t"]):
            now = rows[rows["t"] == t]
            places = np.stack([now["lat"], now["lon"]], axis=-1)
            densities[clip, t, ..., 0] = density(places, now["diameter_km"] / 4, latitudes, longitudes)
        labels.append(rows)
    return Clips(fields, densities, np.concatenate(labels), latitudes, longitudes)


class Weather(NamedTuple):
    """What storms move in: speeds of trade wind and jet (m/s), latitudes of jet and high, and K waves."""

    trade: float
    jet: float
    jet_latitude: float
    high_latitude: float
    waves: np.ndarray  # (K, 5): amplitude m/s, waves a degree to the north and east, phase, turns an hour


def draw_weather(rng):
    """A `Weather`, the same for all hours but for its waves, which move."""
    count = 4
    degrees = rng.uniform(20, 50, count)  # length of a wave
    way = rng.uniform(-0.6, 0.6, count)
    waves = np.stack(
        [
            rng.uniform(0.5, 3, count),
            np.sin(way) / degrees,
            np.cos(way) / degrees,
            rng.uniform(0, 1, count),
            rng.uniform(-0.004, 0.008, count),
        ],
        axis=-1,
    )
    return Weather(rng.uniform(4, 8), rng.uniform(10, 18), rng.uniform(40, 50), rng.uniform(28, 35), waves)


def wind(weather, latitude, longitude, hours):
    """`(u, v)` in m/s and the waves' pressure in Pa at degrees and hours that broadcast."""
    away = np.abs(latitude)
    u = -weather.trade * np.exp(-(((away - 12) / 12) ** 2)) + weather.jet * np.exp(
        -(((away - weather.jet_latitude) / 10) ** 2)
    )
    v = pressure = 0.0
    for amplitude, north, east, phase, turns in weather.waves:
        angle = 2 * np.pi * (north * latitude + east * longitude + phase - turns * hours)
        length = np.hypot(north, east)
        # stream function -> wind; the pressure is in balance with it at 30 degrees
        u, v = u - amplitude * north / length * np.cos(angle), v + amplitude * east / length * np.cos(angle)
        balance = AIR * 7.3e-5 * np.sign(latitude) * METRES / (2 * np.pi * length)
        pressure = pressure + amplitude * balance * np.sin(angle)
    return u, v, pressure


class Moving(NamedTuple):
    """A storm in a clip: `track` (T, 2) degrees, `speed` (T,) its highest wind in m/s, `radius_km` of it."""

    track: np.ndarray
    speed: np.ndarray
    radius_km: float

    @property
    def diameter_km(self):
        """(T,) of the area of winds of a hurricane, 0 where there is none."""
        x = np.linspace(1e-4, 1, 2000)
        outer = np.interp(HURRICANE / np.maximum(self.speed, HURRICANE), np.sqrt(x * np.exp(1 - x)), x)
        return np.where(self.speed >= HURRICANE, 2 * self.radius_km * outer ** (-1 / SHAPE), 0.0)


def draw_storms(rng, weather, count, latitudes, longitudes, hours):
    """`[Moving]`, at most `count` (as many as find room), at the hours of a clip."""
    storms: list[Moving] = []
    for _ in range(20 * count):
        if len(storms) == count:
            break
        away = np.abs(latitudes)
        lat = rng.uniform(away.min() + 0.1 * np.ptp(away), away.min() + 0.7 * np.ptp(away))
        start = lat * (1 if latitudes.mean() > 0 else -1), rng.uniform(longitudes.min(), longitudes.max() + 4)
        track = move(weather, start, hours, rng.normal(0, 1, 2))
        first = rng.uniform(-48, 0.6 * hours[-1] + 1)
        last = max(first + 24, rng.uniform(0.4, 2.5) * hours[-1])
        life = np.clip(np.minimum(hours - first, last - hours) / GROWTH_HOURS, 0, 1)
        near = [great_circle_km(*track.T, *other.track.T).min() < APART_KM for other in storms]
        if not any(near):
            storms.append(Moving(track, life * rng.uniform(42, 70), rng.uniform(50, 110)))
    return storms


def move(weather, start, hours, own=(0.0, 0.0)):
    """Track (T, 2) in degrees of what begins at `start`: the wind around it, a drift, `own` m/s east and north."""
    track = [np.array(start, float)]
    for now, step in zip(hours, np.diff(hours)):
        lat, lon = track[-1]
        u, v, _ = wind(weather, lat, lon, now)
        velocity = np.array([0.8 * u - 1.5 + own[0], 0.8 * v + (2.0 if lat >= 0 else -2.0) + own[1]])
        speed = np.hypot(*velocity)
        velocity *= np.clip(speed, SLOWEST, FASTEST) / max(speed, 1e-6)
        degrees = velocity * 3600 * step / METRES
        track.append(track[-1] + [degrees[1], degrees[0] / np.cos(np.radians(lat))])
    return np.clip(np.array(track), (-85, -720), (85, 720))


def render(rng, weather, storms, latitudes, longitudes, hours, distractors=True):
    """Fields float64 (T, H, W, 6) in the units of `CHANNELS`."""
    lat, lon, time = latitudes[:, None], longitudes[None], hours[:, None, None]
    u, v, pressure = wind(weather, lat, lon, time)
    away = np.abs(lat)
    shape = (len(hours), len(latitudes), len(longitudes))
    pressure = pressure + 101_000 + 1_000 * np.exp(-(((away - weather.high_latitude) / 12) ** 2))
    band = np.exp(-(((away - 8) / 6) ** 2)) * (1 + 0.5 * np.sin(2 * np.pi * (lon / 25 + time / 200)))
    rain = 1.5e-7 * np.broadcast_to(band, shape)
    temperature = 301 - 0.012 * np.maximum(away - 10, 0) ** 2 + 0.5 * np.sin(2 * np.pi * lon / 60)
    temperature = np.broadcast_to(temperature, shape)
    humidity = 0.018 * np.exp((temperature - 301) / 16)
    for storm in storms:
        r, east, north = _around(storm.track, latitudes, longitudes)
        speed, radius = storm.speed[:, None, None], storm.radius_km
        x = (radius / r) ** SHAPE
        around = speed * np.sqrt(x * np.exp(1 - x)) * np.sign(storm.track[:, 0])[:, None, None]
        u, v = u - around * north, v + around * east
        pressure = pressure - speed**2 * AIR * np.e / SHAPE * (1 - np.exp(-x))
        strength = speed / 50
        rain = rain + 1.2e-6 * strength * np.exp(-(((r - radius) / (0.8 * radius)) ** 2))
        humidity = humidity + 0.004 * strength * np.exp(-((r / (3 * radius)) ** 2))
        temperature = temperature + 1.5 * np.minimum(strength, 1) * np.exp(-((r / (4 * radius)) ** 2))
    if distractors:
        for _ in range(rng.integers(3)):  # lows
            sign = 1 if latitudes.mean() > 0 else -1
            start = sign * rng.uniform(30, 48), rng.uniform(longitudes.min() - 5, longitudes.max())
            lows = np.stack([0 * hours + start[0], start[1] + rng.uniform(0.25, 0.5) * hours], axis=-1)
            r, east, north = _around(lows, latitudes, longitudes)
            x = r / rng.uniform(500, 900)
            around = sign * rng.uniform(10, 18) * x * np.exp(0.5 * (1 - x**2))
            u, v = u - around * north, v + around * east
            pressure = pressure - rng.uniform(1500, 3500) * np.exp(-(x**2) / 2)
            rain = rain + 2e-7 * np.exp(-(x**2))
        for _ in range(rng.integers(2, 6)):  # rain
            start = rng.uniform(latitudes.min(), latitudes.max()), rng.uniform(longitudes.min(), longitudes.max())
            r, _, _ = _around(move(weather, start, hours), latitudes, longitudes)
            rain = rain + rng.uniform(5e-7, 1.5e-6) * np.exp(-((r / rng.uniform(80, 160)) ** 2))
    values = [pressure, u, v, rain, temperature, humidity]
    noise = [scale * rng.standard_normal(shape) for scale in NOISE.values()]
    fields = np.stack([value + more for value, more in zip(values, noise)], axis=-1)
    return np.maximum(fields, [0, -np.inf, -np.inf, 0, 0, 0])


def _around(track, latitudes, longitudes):
    """Distance in km (T, H, W), at least 1, from the points of a track, and the way from them: east, north."""
    lat, lon = track[:, 0, None, None], track[:, 1, None, None]
    r = np.maximum(great_circle_km(latitudes[:, None], longitudes, lat, lon), 1.0)
    east = ((longitudes - lon + 180) % 360 - 180) * np.cos(np.radians(lat))
    north = latitudes[:, None] - lat
    length = np.maximum(np.hypot(east, north), 1e-6)
    return r, east / length, north / length
