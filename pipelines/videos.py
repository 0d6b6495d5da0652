"""Decoding of video files, and videos held in memory."""

import collections
import dataclasses
import heapq
import math
import pathlib
from collections.abc import Iterable, Iterator
from itertools import chain, count

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError, MissingExtra
from pipelines.sampling import epoch_key, shuffled

MISSING_FRAMES, MISSING_SHARE = 2, 0.01  # of what a header states; intact files may hold one or two frames fewer
TOLERANCE = 1e-6  # seconds: containers count time in fractions of their own
REORDERED = 8  # frames over which times can be out of order
FORMATS = {1: "gray", 3: "rgb24"}
QUARTER_TURNS = {0: 0, 90: 1, 180: 2, 270: 3}


@dataclasses.dataclass(frozen=True)
class Frame:
    """A decoded frame: `image` uint8 (H, W, C), on screen from `time` for `duration` (seconds)."""

    time: float
    duration: float
    image: np.ndarray


def frames_of(path, size=None, short_side=None, channels=3) -> Iterator[Frame]:
    """The frames of the first video stream of a file, one by one, at the times the file gives them.

    Args:
        path: of the file, in whatever FFmpeg decodes. Turned as its header says (phones), 8 bits.
        size: height and width that frames are brought to, None: as they are.
        short_side: length that the shorter side is brought to, proportions kept; not with `size`.
        channels: 3 (RGB) or 1 (grey).

    Raises: InputError, naming the file, where it is missing, not a video, not decodable to its end, damaged by the word
    of its decoder, or ends more than two frames (of long videos one in a hundred) before its header says; where times
    do not rise. MissingExtra where PyAV is not installed.
    """
    av = _av()
    path = pathlib.Path(path)
    found, last, end = 0, 0.0, 0.0
    try:
        if not path.is_file():
            raise InputError(f"{path} must be a video file. Received: no such file")
        if not path.stat().st_size:
            raise InputError(f"{path} is not a whole video. Received: an empty file")
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path} holds no video. Received: streams {[s.type for s in container.streams]}")
            stream = container.streams.video[0]
            stated = _stated_end(container, stream)
            step = float(1 / stream.average_rate) if stream.average_rate else 0.0
            for time, decoded in _in_order(container.decode(stream), step):
                if found and time <= last:
                    raise InputError(f"Times of frames must rise. Received: {path}: {time} s after {last} s")
                if decoded.is_corrupt:
                    raise InputError(f"{path} is damaged. Received: a broken frame at {time:.3f} s")
                duration = float(decoded.duration * decoded.time_base) if decoded.duration else step
                yield Frame(time, duration, _image(decoded, size, short_side, channels))
                found, last, end = found + 1, time, time + duration
    except InputError:
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"{path} is not a whole video. Received: {type(error).__name__}: {error}") from error
    if not found:
        raise InputError(f"{path} holds no frame. Received: an empty video")
    if stream.frames - found > max(MISSING_FRAMES, MISSING_SHARE * stream.frames):
        raise InputError(f"{path} breaks off: its header says {stream.frames} frames. Received: {found} of them")
    if not stream.frames and stated - end > max(MISSING_FRAMES * step, MISSING_SHARE * stated):
        raise InputError(f"{path} breaks off: its header says {stated:.2f} s. Received: {end:.2f} s")


def _stated_end(container, stream):
    """When the video ends, in seconds, as its header says; 0 where it does not."""
    if stream.duration:
        return float((stream.start_time or 0) + stream.duration) * float(stream.time_base)
    if "DURATION" in stream.metadata:  # Matroska and WebM, per stream
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    alone = len(container.streams) == 1  # the container's is that of its longest stream
    return container.duration / 1e6 if alone and container.duration else 0.0


def _in_order(frames, step):
    """`(seconds, frame)`. Frames are decoded in the order they are shown; their times are sorted among neighbours.

    AVI holds no times: those made up for it belong, where frames were coded out of order, to the frames around.
    """
    waiting: collections.deque = collections.deque()
    times: list[float] = []
    last = -step
    for frame in chain(frames, [None] * REORDERED):
        if frame is not None:
            last = frame.time if frame.time is not None else last + step
            heapq.heappush(times, last)
            waiting.append(frame)
        if waiting and (frame is None or len(waiting) > REORDERED):
            yield heapq.heappop(times), waiting.popleft()


def _av():
    try:
        import av
    except ImportError as error:
        raise MissingExtra('Decoding needs PyAV: pip install "keras_st[video]". Received: no module av') from error
    return av


def _image(decoded, size, short_side, channels):
    turns = QUARTER_TURNS.get(round(decoded.rotation) % 360, 0)
    height, width = (decoded.width, decoded.height) if turns % 2 else (decoded.height, decoded.width)
    height, width = size or scaled_size(height, width, short_side)
    stored = (width, height) if turns % 2 else (height, width)  # before it is turned
    image = decoded.to_ndarray(format=FORMATS[channels], height=stored[0], width=stored[1], interpolation="AREA")
    image = image.reshape(*stored, channels)
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def scaled_size(height, width, short_side):
    """Height and width when the shorter of them is brought to `short_side`; as they are where that is None."""
    if short_side is None:
        return height, width
    factor = short_side / min(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def on_screen(frames: Iterable[Frame], offsets: Iterable[float], start=0.0) -> Iterator[tuple[float, Frame]]:
    """`(time, frame)`: the frame that is on screen at each of several times, until the last one ends.

    The times are those of the rising `offsets` (seconds) after `start`, or after the first frame where that is later.
    """
    offsets, shown, time = iter(offsets), None, math.inf
    for frame in frames:
        if shown is None:
            start = max(start, frame.time)
            time = start + next(offsets, math.inf)
        while shown is not None and time < frame.time - TOLERANCE:
            yield time, shown
            time = start + next(offsets, math.inf)
        if time == math.inf:
            return
        shown = frame
    while shown is not None and time < shown.time + shown.duration - TOLERANCE:
        yield time, shown
        time = start + next(offsets, math.inf)


def decode(path, size=None, channels=3, fps=None):
    """Frames uint8 (T, H, W, C) of a video file (`frames_of`): all, or with `fps` those on screen every 1/fps s."""
    frames = frames_of(path, size, channels=channels)
    if fps is None:
        return np.stack([frame.image for frame in frames])
    return np.stack([frame.image for _, frame in on_screen(frames, (n / fps for n in count()))])


def in_memory(videos, labels, ids, *, shuffle, epoch, seed):
    """`tf.data.Dataset` of dicts `video` (T, H, W, C), `label` int64, `id` string of arrays with frames of one size.

    videos: list of arrays; labels: ints, or of frames arrays (T, K); ids: strings. With `shuffle` every epoch has
    another order.
    """
    of_frames = np.ndim(labels[0]) == 2
    with tf.init_scope():  # once, also where the data set is made inside another one's graph
        frames = tf.constant(np.concatenate(videos))
        ends = np.cumsum([len(video) for video in videos])
        spans = tf.constant(np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1))
        labels, ids = tf.constant(np.concatenate(labels) if of_frames else labels, tf.int64), tf.constant(ids)
    order = tf.range(len(videos))
    if shuffle:
        order = shuffled(order, epoch_key(seed, epoch))

    def element(n):
        def steps(values):
            return tf.ensure_shape(values[spans[n, 0] : spans[n, 1]], (None, *values.shape[1:]))

        return {"video": steps(frames), "label": steps(labels) if of_frames else labels[n], "id": ids[n]}

    return tf.data.Dataset.from_tensor_slices(order).map(element, num_parallel_calls=tf.data.AUTOTUNE)
