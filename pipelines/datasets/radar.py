"""Rain rates seen by weather radar: fields (time, y, x) in mm/h, some cells of which are missing.

A folder holds one .npz file an event, and `splits.csv` (`file,split`): events, never frames, are for training,
validation or testing. A file holds

    rate            numbers (tile, time, y, x): the rate is `rate * scale + offset`; numbers equal to `missing`, and
                    NaN, are missing. Tiles are places seen at the same times.
    time            datetime64 (time,), a constant step apart
    step_minutes    that step
    scale, offset, missing      packing; without them 1, 0 and none
    pixel_km, source, projection    passed through, for people

Row 0 is north, column 0 is west. `write_event` makes such files from fields of one's own.

Values below 0 and infinite ones are damage and become missing. A rate is at most `LARGEST`: what is above is cut.
"""

import csv
import dataclasses
import functools
import os
import pathlib
import zipfile

import numpy as np
import tensorflow as tf

from keras_st.specs import FeatureSpec, InputError, every_nth
from pipelines.sampling import epoch_key, shuffled

SPLITS = ("train", "validation", "test")
LARGEST = 600.0  # mm/h
SCALE, MISSING = 0.01, 65535  # of packed rates
FIELDS = ("rate", "time", "step_minutes")


@dataclasses.dataclass(frozen=True)
class Event:
    """A radar event.

    Args:
        name: of the file, without suffix.
        codes: uint16 (tile, time, y, x), hundredths of a mm/h; 65535: missing.
        time: datetime64[s] (time,).
        step_minutes: from frame to frame.
        told: what else the file says: `pixel_km`, `source`, `projection`, ... as they are.
    """

    name: str
    codes: np.ndarray
    time: np.ndarray
    step_minutes: float
    told: dict

    @property
    def rate(self):
        """float32 (tile, time, y, x) in mm/h, NaN where missing."""
        return unpacked(self.codes)


def radar(
    split: str,
    *,
    root: str = "",
    step_minutes: float | None = 5.0,
    step_tolerance: float = 0.0,
    num_frames: int = 24,
    window_stride: int = 1,
    crop: tuple[int, int] | None = None,
    turn: bool = False,
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Windows of radar events.

    Args:
        split: "train", "validation" or "test": events, by `splits.csv`.
        root: folder of the events.
        step_minutes: from frame to frame. Events with a finer step that divides it are thinned out (of 2 minutes every
            fifth frame gives 10), all others are left out. None: every event has its own.
        step_tolerance: share by which the step of an event that is not thinned out may differ from it: with 0.2 one of
            6 minutes is taken as if it had 5. `event_steps` tells the true ones.
        num_frames: frames in a window.
        window_stride: frames from the start of a window to that of the next.
        crop: height and width cut out of the training windows at random; validation and test fields are whole.
        turn: training windows are turned by 0, 90, 180 or 270 degrees and mirrored at random: motion is turned with
            them.
        epoch: of training; every epoch has another order, other crops and turns.
        seed: of them.
        shuffle: shuffle the training windows.

    Returns:
        `tf.data.Dataset` of dicts: `video` float32 (num_frames, y, x, 1) in mm/h, 0 where missing; `mask` bool of that
        shape, true where known; `id` string, `<event>/<tile>/<time of the first frame>`. Fields of smaller events are
        filled up with missing cells.

    Raises: InputError: an unknown split; a folder without events, or with none of this step; a file that is missing,
    damaged or of another content; windows longer than every event; a crop that does not fit.
    """
    if split not in SPLITS:
        raise InputError(f"`split` of radar must be one of {SPLITS}. Received: split={split!r}")
    if not 0 <= step_tolerance < 0.5:
        raise InputError(f"`step_tolerance` must lie in 0..0.5. Received: step_tolerance={step_tolerance}")
    for name, value in (("num_frames", num_frames), ("window_stride", window_stride)):
        if value < 1:
            raise InputError(f"`{name}` must be at least 1. Received: {name}={value}")
    codes, starts, every, names = _windows(root, split, step_minutes, step_tolerance, num_frames, window_stride)
    training = split == "train"
    size = crop if crop and training else codes.shape[1:]
    if size[0] > codes.shape[1] or size[1] > codes.shape[2] or min(size) < 1:
        size = f"{codes.shape[1]}x{codes.shape[2]}"
        raise InputError(f"`crop` (--data.crop=[64,64]) must fit into fields of {size}. Received: crop={crop}")
    if turn and training and size[0] != size[1]:
        raise InputError(f"Windows that are turned must be square (`crop`). Received: {size[0]}x{size[1]}")
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        codes, starts, every, names = (tf.constant(x) for x in (codes, starts, every, names))
    order = tf.range(len(names))
    if training and shuffle:
        order = shuffled(order, epoch_key(seed, epoch))

    def window(place):
        pair = tf.stack([tf.cast(seed, tf.int64) * 1_000_003 + tf.cast(epoch, tf.int64), tf.cast(place, tf.int64)])
        places = starts[place] + every[place] * tf.range(num_frames)
        video = tf.gather(codes, places)[..., None]
        if size != tuple(codes.shape[1:]):
            video = tf.image.stateless_random_crop(video, (num_frames, *size, 1), pair)
        if turn and training:
            way = tf.random.stateless_uniform([], pair + [0, 1_000_003], 0, 8, tf.int32)  # of a square's eight
            video = tf.image.rot90(video, way % 4)
            video = tf.cond(way < 4, lambda: video, lambda: tf.reverse(video, [2]))
        video = tf.ensure_shape(video, (num_frames, *size, 1))
        mask = video != MISSING
        rate = tf.where(mask, tf.cast(video, tf.float32) * SCALE, 0.0)
        return {"video": rate, "mask": mask, "id": names[place]}

    return tf.data.Dataset.from_tensor_slices(order).map(window, num_parallel_calls=tf.data.AUTOTUNE)


def feature(
    *,
    root: str = "",
    crop: tuple[int, int] | None = None,
    num_frames: int = 24,
    step_minutes: float | None = 5.0,
    step_tolerance: float = 0.0,
    **_,
) -> FeatureSpec:
    """The spec of `video` in training: mm/h from 0 up."""
    size = crop or _largest(_thinned(root, "train", step_minutes, step_tolerance)[0])
    return FeatureSpec("video", "float32", (num_frames, *size, 1), None, "mm/h", missing=True)


def event_steps(root, split, step_minutes=5.0, step_tolerance=0.0):
    """`{name: minutes from frame to frame}` of the events of a split, as `radar` gives their windows."""
    events, every = _thinned(root, split, step_minutes, step_tolerance)
    return {event.name: event.step_minutes * every[event.name] for event in events}


def unpacked(codes):
    """float32 rates in mm/h of codes, NaN where missing."""
    return np.where(codes == MISSING, np.float32(np.nan), codes.astype("float32") * np.float32(SCALE))


def packed(rate):
    """uint16 codes of rates in mm/h: hundredths; NaN, infinite and negative ones are missing."""
    known = np.isfinite(rate) & (rate >= 0)
    return np.where(known, np.rint(np.where(known, np.minimum(rate, LARGEST), 0) / SCALE), MISSING).astype("uint16")


def write_event(path, rate, time, *, unit="mm/h", zr=(223.0, 1.53), threshold=0.0, **told):
    """Writes fields of one's own as an event.

    Args:
        path: new .npz file.
        rate: numbers (time, y, x), or (tile, time, y, x), NaN, or masked, where missing.
        time: datetime64 (time,), a constant step apart.
        unit: "mm/h", or "dBZ": reflectivity, of which `Z = a R^b` makes rates.
        zr: a and b.
        threshold: rates below become 0.
        **told: what is to be passed through, numbers and strings: `pixel_km`, `source`, `projection`, ...

    Raises: InputError: a path that is taken, an unknown unit, shapes that do not fit, unequal steps, objects in `told`.
    """
    path, time = pathlib.Path(path), np.asarray(time)
    rate = np.ma.filled(np.ma.asarray(rate, float), np.nan)
    if path.exists() or path.suffix != ".npz" or not path.parent.is_dir():
        raise InputError(f"An event goes to a new .npz file in a folder that is there. Received: {path}")
    if time.dtype.kind in "biuf":
        raise InputError(f"`time` must be datetime64. Received: {time.dtype}")
    time = time.astype("datetime64[s]")
    if unit not in ("mm/h", "dBZ"):
        raise InputError(f'`unit` must be "mm/h" or "dBZ". Received: unit={unit!r}')
    for name, value in told.items():
        if np.asarray(value).dtype.kind == "O":
            raise InputError(f"`{name}` must be numbers or strings. Received: {value!r}")
    if unit == "dBZ":
        rate = (10 ** (rate / 10) / zr[0]) ** (1 / zr[1])
    rate = np.where(rate < threshold, np.where(rate < 0, np.nan, 0.0), rate)
    codes = packed(rate if rate.ndim != 3 else rate[None])
    step = _checked(path, codes, time)
    partial = path.with_name(f".{path.name}.partial.npz")
    arrays = {"rate": codes, "time": time, "step_minutes": np.float32(step)}
    packing = {"scale": np.float32(SCALE), "offset": np.float32(0), "missing": np.uint16(MISSING)}
    np.savez_compressed(partial, **arrays, **packing, **told)
    os.rename(partial, path)


def read_event(path) -> Event:
    """An event from its file, checked; see the module for its form."""
    path = pathlib.Path(path)
    return _read_event(str(path), *_stamp(path))


def events_of(root, split):
    """Paths of the events of a split, in the order of `splits.csv`."""
    table = pathlib.Path(root, "splits.csv")
    if not root or not table.is_file():
        raise InputError(f"radar needs splits.csv and the events it names in `root`. Received: root={root!r}")
    try:
        with open(table, newline="") as file:
            rows = [(row["file"], row["split"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise InputError(f"{table} must be a table of `file,split`. Received: {error!r}") from error
    files = [name for name, _ in rows]
    if wrong := [part for _, part in rows if part not in SPLITS] or [n for n in files if files.count(n) > 1]:
        raise InputError(f"{table} must give every file one of {SPLITS}. Received: {wrong[0]!r}")
    if not (paths := [pathlib.Path(root, name) for name, part in rows if part == split]):
        raise InputError(f"{table} must name events of {split}. Received: none")
    return paths


def _windows(root, split, step_minutes, step_tolerance, num_frames, window_stride):
    """Frames of all events (N, y, x); of every window the first frame, frames from one to the next, and name."""
    events, every = _thinned(root, split, step_minutes, step_tolerance)
    height, width = _largest(events)
    frames, starts, strides, names, first = [], [], [], [], 0
    for event in events:
        _, count, *size = event.codes.shape
        room = count - (num_frames - 1) * every[event.name]
        for tile, codes in enumerate(event.codes):
            more = ((0, 0), (0, height - size[0]), (0, width - size[1]))
            frames.append(np.pad(codes, more, constant_values=MISSING))
            for start in range(0, room, window_stride):
                starts.append(first + start)
                strides.append(every[event.name])
                names.append(f"{event.name}/{tile}/{event.time[start].astype('datetime64[m]')}")
            first += count
    if not names:
        lengths = {event.name: event.codes.shape[1] // every[event.name] for event in events}
        raise InputError(f"A window must fit into an event of {split}. Received: {num_frames=}, frames {lengths}")
    return np.concatenate(frames), np.array(starts, "int32"), np.array(strides, "int32"), names


def _thinned(root, split, step_minutes, step_tolerance):
    """Events of a split that can have a step; by name, frames from one to the next that give it."""
    events = [read_event(path) for path in events_of(root, split)]
    own = {event.name: event.step_minutes for event in events}
    every = {
        name: 1 if step_minutes is None else every_nth(own_step, step_minutes, step_tolerance)
        for name, own_step in own.items()
    }
    events = [event for event in events if every[event.name]]
    if not events:
        raise InputError(
            "`step_minutes` must be a multiple of an event's, or nearer to one than `step_tolerance`. "
            f"Received: {step_minutes=}, {step_tolerance=}, events {own}"
        )
    return events, every


def _largest(events):
    """Height and width that all events fit into."""
    return tuple(max(event.codes.shape[axis] for event in events) for axis in (2, 3))


def _stamp(path):
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} must be a radar event. Received: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _read_event(path, size, modified):
    """An event; a file of another size or date is read again."""
    path = pathlib.Path(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        rate, time, step = (arrays.pop(name) for name in FIELDS)
        scale, offset = (float(arrays.pop(name, default)) for name, default in (("scale", 1), ("offset", 0)))
        missing, time, step = arrays.pop("missing", None), time.astype("datetime64[s]"), float(step)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must be a whole .npz with {', '.join(FIELDS)}. Received: {error}") from error
    if rate.dtype.kind not in "uif":
        raise InputError(f"{path} must hold numbers `rate`. Received: {rate.dtype}")
    if (rate.dtype, scale, offset, missing) != (np.uint16, np.float32(SCALE), 0.0, MISSING):
        lost = np.zeros(rate.shape, bool) if missing is None else rate == missing
        rate = packed(np.where(lost, np.nan, rate.astype(float) * scale + offset))
    rate = np.where(rate == MISSING, rate, np.minimum(rate, np.uint16(LARGEST / SCALE)))
    if abs(_checked(path, rate, time) - step) > 0.01:
        raise InputError(f"{path} must have `step_minutes` between its times. Received: step_minutes={step}")
    told = {name: value.item() if not value.ndim else value for name, value in arrays.items()}
    return Event(path.stem, rate, time, step, told)


def _checked(path, codes, time):
    """The step in minutes of an event whose shapes and times fit."""
    if codes.ndim != 4 or 0 in codes.shape or time.shape != codes.shape[1:2] or len(time) < 2:
        raise InputError(
            f"{path} must hold `rate` (tile, time, y, x), of two times or more, and their `time`. "
            f"Received: rate {codes.shape}, time {time.shape}"
        )
    if (codes == MISSING).all():
        raise InputError(f"{path} must hold cells that are not missing, negative or infinite. Received: none")
    steps = np.unique(np.diff(time))
    if len(steps) > 1 or steps[0] <= np.timedelta64(0):
        raise InputError(f"{path} must have frames a constant step apart. Received: steps of {steps.tolist()} s")
    return steps[0] / np.timedelta64(60, "s")
