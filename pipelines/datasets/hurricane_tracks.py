"""Tracks of storms as density sequences: HURDAT2's (see `hurdat2`), or generated ones that need no file."""

import pathlib

import numpy as np
import tensorflow as tf

from keras_st.metrics.tracks import EARTH_RADIUS_KM
from keras_st.specs import FeatureSpec, InputError
from keras_st.tracking import storm_grid
from pipelines.datasets import hurdat2
from pipelines.datasets.generated import TEST_SEED, check_options
from pipelines.datasets.hurricane import draw_weather, move
from pipelines.sampling import epoch_key, shuffled


def hurricane_tracks(
    split: str,
    *,
    root: str = "",
    grid: tuple[int, int] = (32, 48),
    step_degrees: float = 2.0,
    sigma_km: float = 350.0,
    num_frames: int = 13,
    context_frames: int = 5,
    shuffle: bool = True,
    num_sequences: int = 1000,
    num_test_sequences: int = 200,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Pieces of tracks, 6 hours a frame: the density of one storm on a grid around its last known position.

    Real tracks are split by season (`hurdat2.SPLITS`: train to 2011, validation 2012 to 2014, test 2015 to 2018); a
    piece begins at every fix of a storm that is tropical or subtropical for all of it (`hurdat2.track_windows`).
    The grid stays where the storm was last known. Within 48 hours no storm of 1970 to 2018 leaves the default grid;
    one that leaves yours has a density that fades to 0 there.

    Args:
        split: "train", "validation" or "test".
        root: folder of HURDAT2 text files (`*.txt`), or one of them; empty: generated tracks, which drift as
            the storms of `hurricane` do.
        grid: height and width of the grid in pixels.
        step_degrees: of latitude and longitude from a pixel to the next.
        sigma_km: of the density.
        num_frames: fixes of a piece, past and future.
        context_frames: of them known.
        shuffle: a new order of the training pieces every epoch.
        num_sequences: generated training tracks.
        num_test_sequences: generated tracks of the validation and of the test split.
        epoch: of training (int or scalar tensor).
        seed: of generated tracks (the test set is the same for every seed) and of the order.

    Returns:
        `tf.data.Dataset` of dicts: `video` float32 (num_frames, H, W, 3): density, (latitude + 90) / 180 and
        (longitude + 540) / 1080 of the pixels; `density` float32 (num_frames, H, W, 1); `track` float32
        (num_frames, 2) degrees; `id` string, the storm's, a number and the season.

    Raises:
        InputError: unknown split, sizes out of range, no files, a split without pieces; what `read_hurdat2` refuses.
    """
    least = {"step_degrees": (step_degrees, 0.05), "sigma_km": (sigma_km, 1), "context_frames": (context_frames, 1)}
    least |= {"num_frames": (num_frames, context_frames + 1), "grid": (min(grid), 4)}
    least |= {"num_sequences": (num_sequences, 1), "num_test_sequences": (num_test_sequences, 1)}
    check_options("hurricane_tracks", split, least)
    if sigma_km < 111.2 * step_degrees:
        raise InputError(f"`sigma_km` must be a pixel or more, {111.2 * step_degrees:.0f} km. Received: {sigma_km}")
    if root:
        fixes, names = _real(root, split, num_frames, context_frames)
    else:
        count = num_sequences if split == "train" else num_test_sequences
        fixes, names = _generated(split, count, num_frames, seed)
    last = fixes[:, context_frames - 1]
    latitudes, longitudes = storm_grid(last[:, 0], last[:, 1], grid, step_degrees)
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        parts = [tf.constant(x, tf.float32) for x in (fixes, latitudes, longitudes)]
        ids = tf.constant(names)
    order = tf.range(len(names))
    if split == "train" and shuffle:
        order = shuffled(order, epoch_key(seed, epoch))

    def piece(n):
        track, rows, columns = (part[n] for part in parts)
        maps = _densities(track, rows, columns, sigma_km)
        places = [(rows[:, None] + 90) / 180, (columns[None] + 540) / 1080]
        places = [tf.broadcast_to(place, tf.shape(maps)) for place in places]
        return {"video": tf.stack([maps, *places], axis=-1), "density": maps[..., None], "track": track, "id": ids[n]}

    return tf.data.Dataset.from_tensor_slices(order).map(piece, num_parallel_calls=tf.data.AUTOTUNE)


def feature(*, grid: tuple[int, int] = (32, 48), num_frames: int = 13, **_) -> FeatureSpec:
    """The spec of `video`: a density and the places of its pixels."""
    return FeatureSpec("video", "float32", (num_frames, *grid, 3), (0.0, 1.0))


def _densities(track, latitudes, longitudes, sigma_km):
    """`keras_st.metrics.tracks.density` of every fix (T, 2), in the graph: float32 (T, H, W)."""
    radians = np.pi / 180
    lat, lon = (track[:, n, None, None] * radians for n in range(2))
    rows, columns = latitudes[:, None] * radians, longitudes * radians
    h = tf.sin((rows - lat) / 2) ** 2 + tf.cos(rows) * tf.cos(lat) * tf.sin((columns - lon) / 2) ** 2
    away = 2 * EARTH_RADIUS_KM * tf.asin(tf.sqrt(tf.minimum(h, 1.0)))
    return tf.exp(-(away**2) / (2 * sigma_km**2))


def _real(root, split, num_frames, context_frames):
    """`(fixes (N, num_frames, 2), ids)` of the pieces of a split."""
    path = pathlib.Path(root)
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"`root` must hold HURDAT2 text files (*.txt). Received: root={root!r}")
    storms = [storm for file in files for storm in hurdat2.read_hurdat2(file)]
    leads = tuple(hurdat2.STEP_HOURS * n for n in range(1, num_frames - context_frames + 1))
    found = hurdat2.track_windows(hurdat2.seasons(storms, hurdat2.SPLITS[split]), context_frames, leads)
    if not len(found.ids):
        seasons = hurdat2.SPLITS[split]
        raise InputError(
            f"`root` must hold storms of {seasons[0]} to {seasons[-1]} that last {num_frames} fixes for {split}. "
            f"Received: root={root!r}, with none"
        )
    names = [f"{storm}/{n}/{year}" for n, (storm, year) in enumerate(zip(found.ids, found.years))]
    return np.concatenate([found.past, found.future], axis=1), names


def _generated(split, count, num_frames, seed):
    seeds = {"train": 2 * seed + 1, "validation": 2 * seed + 2, "test": TEST_SEED + 1}
    hours, fixes = hurdat2.STEP_HOURS * np.arange(num_frames), []
    for n in range(count):
        rng = np.random.default_rng([seeds[split], n])
        start = rng.uniform(10, 30), rng.uniform(-90, -30)
        fixes.append(move(draw_weather(rng), start, hours, rng.normal(0, 1, 2)))
    return np.array(fixes), [f"{split}{n}/{n}/0" for n in range(count)]
