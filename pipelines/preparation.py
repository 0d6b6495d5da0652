"""How a video becomes a record: which of its frames are kept, their flow, their labels."""

import dataclasses
import math
from collections.abc import Iterator
from itertools import chain, count, islice, pairwise, takewhile
from typing import Literal

import numpy as np

from keras_st.specs import InputError
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
        flow_fps: flow to the frame 1/flow_fps s later instead of the next kept one; needs `fps`, not above flow_fps.
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
        """What the records of the listing's videos hold."""
        shape = (*(self.size or (None, None)), self.channels)
        unit = f"px in 1/{self.flow_fps:g} s" if self.flow_fps else "px/frame"
        classes = listing.classes if listing.label_kind else None
        label = {None: None, "one": (), "many": (len(classes or ()),), "frames": (None, len(classes or ()))}
        return RecordSpec(
            video=video_spec(shape, self.encoding, self.fps),
            flow=None if self.flow == "none" else flow_spec(shape, self.flow_bound, self.encoding, unit, self.fps),
            label_shape=label[listing.label_kind],
            classes=classes,
            timed=True,
            quality=self.quality,
        )


def steps_of(video: Video, how: Preparation, spec: RecordSpec) -> Iterator[dict]:
    """The steps of a video's record: `video`, `time`, and `flow` and `label` where `spec` has them."""
    field = None
    for time, image, following in islice(kept_frames(video, how), how.max_frames):
        step = {"video": image, "time": time}
        if spec.flow is not None:
            if following is not None:
                field = flow_between(image, following, how.flow)
            step["flow"] = np.zeros((*image.shape[:2], 2), np.float32) if field is None else field
        if spec.label_is_of_frames:
            step["label"] = many_hot({c for start, end, c in video.intervals or () if start <= time < end}, spec)
        yield step


def many_hot(labels, spec):
    """(K,) of 1 for the given classes and 0 for the others."""
    return np.isin(np.arange(len(spec.classes or ())), list(labels)).astype(np.int64)


def kept_frames(video: Video, how: Preparation):
    """`(time, image, image that flow leads to, or None)` of every frame that is kept."""
    start, end = video.span or (0.0, math.inf)
    frames = frames_of(video.path, how.size, how.short_side, how.channels)
    if how.fps is None:
        images: Iterator = ((frame.time, frame.image) for frame in frames if frame.time >= start - TOLERANCE)
    else:
        images = on_screen(frames, offsets_of(how.fps, how.flow_fps), start)
    images = takewhile(lambda image: image[0] < end - TOLERANCE, images)
    if how.flow_fps:  # they come in twos, a kept one and the one that flow leads to
        for time, image in images:
            yield time, image, next(images, (None, None))[1]
    else:
        for (time, image), (_, following) in pairwise(chain(images, [(None, None)])):
            yield time, image, following


def offsets_of(fps, flow_fps):
    """0, 1/fps, 2/fps, ... in seconds, each followed by itself + 1/flow_fps where that is given."""
    for n in count():
        yield n / fps
        if flow_fps:
            yield n / fps + 1 / flow_fps
