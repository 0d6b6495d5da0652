"""Optical flow, done once and offline: OpenCV's methods behind one contract, flow as bytes, Middlebury's `.flo` files.

Everywhere flow is float32 (..., H, W, 2), the displacement (u, v) in pixels per frame of what a pixel of the earlier
frame shows: u to the right, v down. Unknown flow is NaN. `keras_st.flow.TVL1Flow` computes flow in the graph.

| encoding | byte | zero | error |
|---|---|---|---|
| `encode_flow`, "nearest" | round(255 (clip(u, -b, b) + b) / 2b), half to even: VideoLSTM (b = 20) | 128 | b / 255 |
| `encode_flow`, "trunc" | the same cut off: mmaction2 (b = 20) | 127 | 2b / 255 |
| `encode_scale16` | round(clip(16 u + 128, 0, 255)), and the flow's length as a third channel: LRCN | 128 | 1 / 32 |

Two readings of a byte q of `encode_flow`: in px/frame (q - 127.5) 2b / 255, which `decode_flow` gives (128, written
for zero, reads as b / 255); as the input of a network q - 128, where zero is 0.
"""

import pathlib

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError, MissingExtra

ROUNDINGS = ("nearest", "trunc")
FLO_MAGIC = np.float32(202021.25)  # "PIEH" as bytes
FLO_HEADER = 12  # bytes: the magic number, int32 width, int32 height
FLO_LARGEST_SIDE = 99_999  # pixels, as in Middlebury's own reader
FLO_KNOWN = 1e9  # a component beyond it means unknown
FLO_UNKNOWN = 1e10  # as it is written


# Flow of a grey pair. What computes it is made anew for every pair: DIS starts from what it has seen before.


def _tvl1(cv2, first, second):
    return cv2.optflow.DualTVL1OpticalFlow_create().calc(first, second, None)


def _dis(cv2, first, second):
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)


def _dis_fast(cv2, first, second):
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(first, second, None)


def _farneback(cv2, first, second):
    return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)


# TV-L1 at OpenCV's defaults; DIS at its presets; Farneback at the numbers mmaction2 uses.
METHODS = {"tvl1": _tvl1, "dis": _dis, "dis_fast": _dis_fast, "farneback": _farneback}


def flow_of(frames, method="tvl1"):
    """Flow of a video, from every frame to the next; the last field is repeated, so that there is one for every frame.

    Args:
        frames: uint8 (T, H, W, 1) or (T, H, W, 3) RGB, which becomes grey as 0.299 R + 0.587 G + 0.114 B.
        method: name in `METHODS`: "tvl1" (Zach et al. 2007), "dis" (Kroeger et al. 2016, preset medium), "dis_fast"
            (preset fast), "farneback" (Farneback 2003).

    Returns: float32 (T, H, W, 2) in px/frame; of a single frame zeros.

    Raises: InputError: other frames; an unknown method; frames too small for the method; no OpenCV.
    """
    frames = np.ascontiguousarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] not in (1, 3) or 0 in frames.shape:
        raise InputError(f"Frames must be uint8 (T, H, W, 1 or 3). Received: {frames.dtype} {frames.shape}")
    if method not in METHODS:
        raise InputError.unknown("method", method, METHODS)
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra('Flow needs OpenCV: pip install "keras_st[video]". Received: no module cv2') from error
    grey = frames[..., 0] if frames.shape[-1] == 1 else [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]
    try:
        fields = [METHODS[method](cv2, first, second) for first, second in zip(grey, grey[1:])]
    except cv2.error as error:
        height, width = frames.shape[1:3]
        raise InputError(f"{method!r}: {error.err.strip()}. Received: {height}x{width} pixels") from error
    return np.stack([*fields, fields[-1]]) if fields else np.zeros((*frames.shape[:3], 2), np.float32)


def flow_between(first, second, method="tvl1"):
    """Flow of one pair of frames, uint8 (H, W, 1 or 3): float32 (H, W, 2) in px/frame. See `flow_of`."""
    if np.shape(first) != np.shape(second):
        raise InputError(f"Frames of a pair must be alike. Received: {np.shape(first)} and {np.shape(second)}")
    return flow_of(np.stack([first, second]), method)[0]


def encode_flow(flow, bound=20, rounding="nearest"):
    """Flow as bytes: round(255 (clip(u, -b, b) + b) / 2b).

    Args:
        flow: float (..., 2) in px/frame, known everywhere.
        bound: b, in px/frame: what lies beyond is clipped.
        rounding: "nearest" (half to even: zero becomes 128) or "trunc" (cut off, as mmaction2 does: zero becomes 127).

    Returns: uint8 (..., 2). For b = 20: -25 and -20 become 0, 0 becomes 128, 10 becomes 191, 20 becomes 255.

    Raises: InputError: a bound that is not positive; another rounding; flow that is not finite.
    """
    _check_bound(bound)
    if rounding not in ROUNDINGS:
        raise InputError.unknown("rounding", rounding, ROUNDINGS)
    scaled = 255 * (np.clip(_known(flow), -bound, bound) + bound) / (2 * bound)
    return (np.rint(scaled) if rounding == "nearest" else scaled).astype(np.uint8)


def decode_flow(codes, bound=20):
    """Flow in px/frame that bytes of `encode_flow` stand for: (q - 127.5) 2b / 255.

    Args: codes: uint8 (..., 2), an array or, as in tf.data, a tensor; bound: that of the encoding, in px/frame.

    Returns: float32 (..., 2), of the kind of `codes`. Of "nearest" it is b / 255 off at most (inside the bound).
    """
    _check_bound(bound)
    codes = tf.cast(codes, tf.float32) if tf.is_tensor(codes) else np.asarray(codes, np.float32)
    return (codes - 127.5) * np.float32(2 * bound / 255)


def encode_scale16(flow):
    """Flow as LRCN's three channels: 16 u + 128, 16 v + 128, 16 |(u, v)| + 128, rounded, clipped to 0..255.

    Args: flow: float (..., 2) in px/frame, known everywhere.

    Returns: uint8 (..., 3); displacements beyond -8 and +7.94 px are clipped. Zero becomes 128, 128, 128.
    """
    flow = _known(flow)
    parts = np.concatenate([flow, np.linalg.norm(flow, axis=-1, keepdims=True)], axis=-1)
    return np.rint(np.clip(16 * parts + 128, 0, 255)).astype(np.uint8)


def read_flo(path):
    """Flow of a Middlebury `.flo` file: float32 (H, W, 2) in px/frame, NaN where it is unknown (beyond 1e9).

    Raises: InputError, naming the file: missing; no such file format; sizes that cannot be; cut short or too long.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"{path} must be a .flo file. Received: no such file")
    content = path.read_bytes()
    if content[:4] != FLO_MAGIC.astype("<f4").tobytes():
        raise InputError(f"{path} must begin as a .flo file, with PIEH. Received: {content[:4]!r}")
    if len(content) < FLO_HEADER:
        raise InputError(f"{path} breaks off in its header. Received: {len(content)} bytes")
    width, height = map(int, np.frombuffer(content, "<i4", 2, offset=4))
    if not (0 < width <= FLO_LARGEST_SIDE and 0 < height <= FLO_LARGEST_SIDE):
        raise InputError(f"{path} must have sides of 1 to {FLO_LARGEST_SIDE}. Received: {width} wide, {height} high")
    stated = FLO_HEADER + 8 * width * height
    if len(content) != stated:
        raise InputError(f"{path} must have {stated} bytes for {width}x{height}. Received: {len(content)}")
    flow = np.frombuffer(content, "<f4", offset=FLO_HEADER).reshape(height, width, 2).astype(np.float32)
    known = np.all(np.abs(flow) <= FLO_KNOWN, axis=-1, keepdims=True)
    return np.where(known, flow, np.float32(np.nan))


def write_flo(path, flow):
    """Writes flow (H, W, 2) in px/frame as a new Middlebury `.flo` file; NaN is written as 1e10, unknown.

    Raises: InputError: another shape; a file that is there already.
    """
    path, flow = pathlib.Path(path), np.asarray(flow, np.float32)
    if flow.ndim != 3 or flow.shape[-1] != 2 or 0 in flow.shape:
        raise InputError(f"Flow of a .flo file must be (H, W, 2). Received: shape={flow.shape}")
    height, width = flow.shape[:2]
    content = FLO_MAGIC.astype("<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    content += np.where(np.isnan(flow), FLO_UNKNOWN, flow).astype("<f4").tobytes()
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise InputError(f"{path} is there already, nothing is overwritten. Received: path={path}") from error


def _check_bound(bound):
    if not (np.isfinite(bound) and bound > 0):
        raise InputError(f"`bound` must be a positive number of pixels. Received: bound={bound}")


def _known(flow):
    """Flow as float64, of which every component is a finite number."""
    flow = np.asarray(flow, np.float64)
    unknown = np.count_nonzero(~np.isfinite(flow))
    if flow.ndim < 1 or flow.shape[-1] != 2:
        raise InputError(f"Flow must be (..., 2). Received: shape={flow.shape}")
    if unknown:
        raise InputError(f"Bytes have no code for unknown flow. Received: {unknown} components that are not finite")
    return flow
