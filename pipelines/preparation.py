"""How a video becomes a record: which of its frames are kept, their flow, their labels."""

import dataclasses
import math
from collections.abc import Iterator
from itertools import chain, count, islice, pairwise, takewhile
from typing import Literal

import numpy as np

from keras_st.specs import InputError
from pipelines.datasets.array import array_shape, frames_of_array
from pipelines.flow import flow_between
from pipelines.listing import Listing, Video
from pipelines.schema import RecordSpec, flow_spec, video_spec
from pipelines.videos import TOLERANCE, frames_of, on_screen


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How a video becomes a record.

    Args:
        size: height and width that frames are brought to; proportions are not kept.
        short_side: length that the shorter side is brought to, in proportion; not with `size`.
        channels: 3 (RGB) or 1 (grey).
        fps: frames a second: at every 1/fps the frame that is then on screen. None: every frame of the file.
        max_frames: frames of a video that are kept, from its beginning.
        encoding: of frames: "jpeg" (small), "png" (exact, slow to read), "raw" (exact, large, quick to read).
        quality: of JPEG, 1 to 100.
        flow: optical flow from every kept frame to the next, computed at the size that is stored, by OpenCV.
        flow_fps: flow to the frame on screen 1/flow_fps s later instead of the next kept one, scaled from the time
            between the two frames to that; 0 where it is still the same frame. Needs `fps`, not above flow_fps.
        flow_bound: largest component of flow that is stored, in px/frame; what lies beyond is cut to it.
    """

    size: tuple[int, int] | None = None
    short_side: int | None = None
    channels: Literal[1, 3] = 3
    fps: float | None = None
    max_frames: int | None = None
    encoding: Literal["jpeg", "png", "raw"] = "jpeg"
    quality: int = 95
    flow: Literal["none", "tvl1", "dis", "farneback"] = "none"
    flow_fps: float | None = None
    flow_bound: float = 20.0

    def __post_init__(self):
        for name in ("size", "short_side", "fps", "max_frames", "flow_fps", "flow_bound"):
            value = getattr(self, name)
            if value is not None and not min(value if isinstance(value, tuple) else (value,)) > 0:
                raise InputError(f"`{name}` must be positive. Received: {name}={value}")
        if self.size and self.short_side:
            raise InputError(f"Give `size` or `short_side`. Received: {self.size} and {self.short_side}")
        if self.flow_fps and (self.flow == "none" or not self.fps or self.flow_fps < self.fps):
            raise InputError(
                "`flow_fps` needs `flow`, and `fps` not above it. "
                f"Received: flow_fps={self.flow_fps}, flow={self.flow}, fps={self.fps}"
            )

    def spec(self, listing: Listing) -> RecordSpec:
        """What the records of the listing's videos hold; InputError for options that arrays do not take."""
        shape, of_arrays = (*(self.size or (None, None)), self.channels), listing.videos[0].array is not None
        if of_arrays:
            if self.size or self.short_side or self.fps:
                raise InputError("Arrays are stored as they are, without times. Received: size, short_side or fps")
            shape = array_shape(listing.videos[0])
        unit = f"px in 1/{self.flow_fps:g} s" if self.flow_fps else "px/frame"
        classes = listing.classes if listing.label_kind else None
        label = {None: None, "one": (), "many": (len(classes or ()),), "frames": (None, len(classes or ()))}
        return RecordSpec(
            video=video_spec(shape, self.encoding, self.fps),
            flow=None if self.flow == "none" else flow_spec(shape, self.flow_bound, self.encoding, unit, self.fps),
            flow_method=None if self.flow == "none" else self.flow,
            label_shape=label[listing.label_kind],
            classes=classes,
            timed=not of_arrays,
            quality=self.quality,
        )


def steps_of(video: Video, how: Preparation, spec: RecordSpec) -> Iterator[dict]:
    """The steps of a video's record: `video`, and `time`, `flow` and `label` where `spec` has them.

    The field of the last frame, which leads nowhere, is the one before it (with `max_frames`: leads to the frame after
    the last that is kept); that of a single frame is 0.
    """
    field = None
    for time, frame, following in islice(kept_frames(video, how), how.max_frames):
        step = {"video": frame.image, "time": time}
        if spec.flow is not None:
            if following is not None:
                field = flow_between(frame.image, following.image, how.flow) * interval_scale(frame, following, how)
            step["flow"] = np.zeros((*frame.image.shape[:2], 2), np.float32) if field is None else field
        if spec.label_is_of_frames:
            step["label"] = many_hot({c for start, end, c in video.intervals or () if start <= time < end}, spec)
        yield step


def interval_scale(frame, following, how):
    """What flow between two frames is multiplied by: 1; with `flow_fps` 1/flow_fps s over the time between them."""
    if not how.flow_fps:
        return np.float32(1)
    between = following.time - frame.time
    return np.float32(1 / how.flow_fps / between if between > TOLERANCE else 0)


def many_hot(labels, spec):
    """(K,) of 1 for the given classes and 0 for the others."""
    return np.isin(np.arange(len(spec.classes or ())), list(labels)).astype(np.int64)


def kept_frames(video: Video, how: Preparation):
    """`(time, frame, frame that flow leads to, or None)` of every frame that is kept."""
    start, end = video.span or (0.0, math.inf)
    if video.array is not None:
        shown: Iterator = ((frame.time, frame) for frame in frames_of_array(video))
    else:
        frames = frames_of(video.path, how.size, how.short_side, how.channels)
        if how.fps is None:
            shown = ((frame.time, frame) for frame in frames if frame.time >= start - TOLERANCE)
        else:
            shown = on_screen(frames, offsets_of(how.fps, how.flow_fps), start)
    shown = takewhile(lambda one: one[0] < end - TOLERANCE, shown)
    if how.flow_fps:  # they come in twos, a kept one and the one that flow leads to
        for time, frame in shown:
            yield time, frame, next(shown, (None, None))[1]
    else:
        for (time, frame), (_, following) in pairwise(chain(shown, [(None, None)])):
            yield time, frame, following


def offsets_of(fps, flow_fps):
    """0, 1/fps, 2/fps, ... in seconds, each followed by itself + 1/flow_fps where that is given."""
    for n in count():
        yield n / fps
        if flow_fps:
            yield n / fps + 1 / flow_fps
