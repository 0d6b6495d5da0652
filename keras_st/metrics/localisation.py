"""Where an action happens: boxes and tubes from attention maps, and the scores of tubes against true ones.

Boxes are (top, left, bottom, right) in pixels of the frame, half-open: row r is inside where top <= r < bottom, so the
height is bottom - top. A tube is a box in each of consecutive frames.

Attention to tubes:
    1. maps are enlarged to the frame (bilinear) and divided by their maximum, frame by frame;
    2. a centred mean over time smooths them, over fewer frames at the ends;
    3. of the parts at or above a threshold the one with the largest sum of attention has the box;
    4. boxes of consecutive frames that overlap make a tube, short tubes are dropped;
    5. score = class probability x mean attention inside.

Overlap of tubes p, g on frames T_p, T_g (ST-IoU): sum over t in both of IoU(p_t, g_t), divided by |T_p or T_g|.
Worked number: p on frames 1 to 4, g on 3 to 6, the same boxes: 2 / 6.

Mean average precision at an overlap: a detection is right if a true tube of its class in its video overlaps it that
much and is not taken yet; average precision of each class over its detections, mean over classes that have a truth.

Reference: Z. Li et al., "VideoLSTM Convolves, Attends and Flows for Action Recognition", CVIU 2018 (the idea; steps,
thresholds and scores are our own).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from keras_st.metrics.classify import average_precision
from keras_st.specs import MissingExtra

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True, eq=False)
class Tube:
    """Boxes float (n, 4) of the frames `start` to start + n - 1, one or more; mean attention inside, if it has any.

    Raises: ValueError: no boxes, or boxes that are not finite or end before they begin.
    """

    start: int
    boxes: np.ndarray
    attention: float = 1.0

    def __post_init__(self):
        boxes = _checked_boxes(self.boxes)
        if boxes.ndim != 2 or not len(boxes):
            raise ValueError(f"A tube has boxes (n, 4), n at least 1. Received: shape={boxes.shape}")
        object.__setattr__(self, "boxes", boxes)

    def __len__(self):
        return len(self.boxes)


class Detection(NamedTuple):
    """A tube that was found, or (without its score) a true one: id of the video, class, tube, score."""

    video: str
    label: int
    tube: Tube
    score: float = 1.0


def smoothed_attention(attention, frame_size, smooth_frames=5):
    """Steps 1 and 2: float (T, height, width) in 0..1.

    Frames whose attention is all zero stay so and are left out of the means of others.

    Args:
        attention: (T, h, w) or (T, h, w, 1), 0 or more, of any scale.
        frame_size: (height, width) in pixels.
        smooth_frames: frames of a mean, odd; 1: no smoothing.

    Raises:
        ValueError: attention of other shape, negative or not finite; other sizes.
        MissingExtra: no OpenCV.
    """
    attention = np.asarray(attention, np.float64)
    if attention.ndim == 4 and attention.shape[-1] == 1:
        attention = attention[..., 0]
    if attention.ndim != 3 or 0 in attention.shape:
        raise ValueError(f"`attention` must be (T, h, w) or (T, h, w, 1). Received: shape={attention.shape}")
    if not (np.isfinite(attention).all() and (attention >= 0).all()):
        raise ValueError(f"`attention` must be finite, 0 or more. Received: lowest {attention.min()}")
    if len(frame_size) != 2 or min(frame_size) < 1:
        raise ValueError(f"`frame_size` must be (height, width), at least 1. Received: frame_size={frame_size}")
    if smooth_frames < 1 or smooth_frames % 2 == 0:
        raise ValueError(f"`smooth_frames` must be odd, at least 1. Received: smooth_frames={smooth_frames}")
    height, width = map(int, frame_size)
    cv2 = _opencv()
    maps = np.stack([cv2.resize(a, (width, height), interpolation=cv2.INTER_LINEAR) for a in attention])
    largest = maps.max(axis=(1, 2), keepdims=True)
    seen = largest > 0
    maps = np.divide(maps, largest, out=np.zeros_like(maps), where=seen)
    reach = smooth_frames // 2
    means = np.zeros_like(maps)
    for t in np.flatnonzero(seen):
        near = slice(max(t - reach, 0), t + reach + 1)
        means[t] = maps[near].sum(axis=0) / seen[near].sum()
    return means


def attention_boxes(attention, frame_size, smooth_frames=5, threshold=0.5):
    """Steps 1 to 3: the box of every frame, float (T, 4); NaN where there is none.

    No box has a frame whose attention is all zero, or below the threshold everywhere (a mean over frames that attend to
    different places). Pixels that touch at a corner are connected.

    Args:
        attention, frame_size, smooth_frames: see `smoothed_attention`, which also says what is refused.
        threshold: attention from which a pixel counts, above 0, at most 1.
    """
    return _boxes_of(smoothed_attention(attention, frame_size, smooth_frames), threshold)


def attention_tubes(attention, frame_size, smooth_frames=5, threshold=0.5, least_iou=0.1, least_frames=5):
    """Steps 1 to 4: `[Tube]`, each with the mean of the smoothed attention inside; arguments of the functions above."""
    maps = smoothed_attention(attention, frame_size, smooth_frames)
    boxes = _boxes_of(maps, threshold)
    return link_tubes(boxes, mean_inside(maps, boxes), least_iou, least_frames)


def mean_inside(maps, boxes):
    """Mean of maps (T, height, width) inside the box of each frame, float (T,); NaN where there is none.

    Pixels count that a box (T, 4) touches; it must hold one.
    """
    maps, boxes = np.asarray(maps, np.float64), np.asarray(boxes, np.float64)
    if maps.ndim != 3 or boxes.shape != (len(maps), 4):
        raise ValueError(
            f"Maps must be (T, height, width), boxes (T, 4). Received: shapes {maps.shape} and {boxes.shape}"
        )
    means = np.full(len(maps), np.nan)
    for t in np.flatnonzero(np.isfinite(boxes).all(axis=1)):
        top, left = np.maximum(np.floor(boxes[t, :2]), 0).astype(int)
        bottom, right = np.ceil(boxes[t, 2:]).astype(int)
        inside = maps[t, top:bottom, left:right]
        if not inside.size:
            raise ValueError(f"A box must lie in the frame. Received: {boxes[t].tolist()}, frame {maps.shape[1:]}")
        means[t] = inside.mean()
    return means


def link_tubes(boxes, inside, least_iou=0.1, least_frames=5):
    """Step 4: `[Tube]` in the order of time.

    Args:
        boxes: (T, 4), NaN where a frame has none, which ends a tube.
        inside: (T,), mean attention inside the box of each frame (`mean_inside`); a tube has the mean over its frames.
        least_iou: overlap of a box with the one before it that continues the tube; less begins another.
        least_frames: shorter tubes are dropped.
    """
    boxes, inside = np.asarray(boxes, np.float64), np.asarray(inside, np.float64)
    if boxes.ndim != 2 or boxes.shape[-1] != 4 or inside.shape != boxes.shape[:1]:
        raise ValueError(
            f"Boxes must be (T, 4), what is inside (T,). Received: shapes {boxes.shape} and {inside.shape}"
        )
    there = np.isfinite(boxes).all(axis=1)
    runs = []
    for t in np.flatnonzero(there):
        if t and there[t - 1] and box_iou(boxes[t - 1], boxes[t]) >= least_iou:
            runs[-1].append(t)
        else:
            runs.append([t])
    return [Tube(int(run[0]), boxes[run], float(inside[run].mean())) for run in runs if len(run) >= least_frames]


def tube_score(probability, tube):
    """Step 5: probability of the class x mean attention inside."""
    return float(probability) * tube.attention


def box_iou(a, b):
    """Area common to boxes (..., 4) and (..., 4) over that of both together, 0..1; 0 where neither has any."""
    a, b = _checked_boxes(a), _checked_boxes(b)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.maximum(sides, 0).prod(axis=-1)
    both = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - common
    return np.divide(common, both, out=np.zeros_like(both), where=both > 0)[()]


def st_iou(p, g):
    """Overlap of two tubes in space and time, 0..1; see the head of this module."""
    first, last = max(p.start, g.start), min(p.start + len(p), g.start + len(g))
    if first >= last:
        return 0.0
    ious = box_iou(p.boxes[first - p.start : last - p.start], g.boxes[first - g.start : last - g.start])
    return float(ious.sum()) / (len(p) + len(g) - (last - first))


def tube_average_precision(detections, truths, least_iou=0.2):
    """`classify.average_precision` of the detections, with recall counted over all truths: 0..1, higher is better.

    In the order of falling scores (equal ones: as given) each detection takes, of the true tubes of its video and class
    that are not taken yet, the one it overlaps most, if by `least_iou` or more; then it is right.

    Args: detections: `Detection`s or tuples alike; truths: the same, scores do not matter; least_iou: of `st_iou`.

    Raises: ValueError: no truth; a score that is not finite.
    """
    detections, truths = _checked(detections, truths)
    scores = np.array([d.score for d in detections], np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(f"Scores must be finite. Received: {scores[~np.isfinite(scores)][0]}")
    free = {}
    for truth in truths:
        free.setdefault((truth.video, truth.label), []).append(truth.tube)
    right = np.zeros(len(scores), int)
    for n in np.argsort(-scores, kind="stable"):
        left = free.get((detections[n].video, detections[n].label), [])
        overlaps = [st_iou(detections[n].tube, tube) for tube in left]
        if overlaps and max(overlaps) >= least_iou:
            del left[int(np.argmax(overlaps))]
            right[n] = 1
    return average_precision(right, scores) * int(right.sum()) / len(truths) if right.any() else 0.0


def localisation_map(detections, truths, thresholds=THRESHOLDS):
    """`{threshold: mean over classes of tube_average_precision}`, over classes that have a truth.

    Arguments and errors are those of `tube_average_precision`.
    """
    detections, truths = _checked(detections, truths)
    classes = [
        ([d for d in detections if d.label == label], [t for t in truths if t.label == label])
        for label in sorted({t.label for t in truths})
    ]
    return {
        least: float(np.mean([tube_average_precision(found, true, least) for found, true in classes]))
        for least in thresholds
    }


def mean_share(tubes, frame_size):
    """Mean height and width of the boxes of true tubes, over all their frames, as shares of the frame: (2,)."""
    boxes = [tube.boxes for tube in tubes]
    if not boxes:
        raise ValueError("The mean box needs true tubes. Received: 0")
    boxes = np.concatenate(boxes)
    return (boxes[:, 2:] - boxes[:, :2]).mean(axis=0) / np.asarray(frame_size)


def centre_box(frame_size, num_frames, share):
    """The baseline that looks at nothing: the `Tube` of one box in the middle of all frames.

    Its score is the class probability (`tube_score` of a tube without attention).

    Args:
        frame_size: (height, width) in pixels; num_frames: of the video.
        share: (height, width) of the box as shares of the frame: `mean_share` of the TRAINING truths.
    """
    size, share = np.asarray(frame_size, np.float64), np.asarray(share, np.float64)
    if size.shape != (2,) or share.shape != (2,) or not ((share > 0) & (share <= 1)).all():
        raise ValueError(
            f"The frame and its share must have a height and a width, the share in 0..1. "
            f"Received: frame_size={size.tolist()}, share={share.tolist()}"
        )
    box = np.concatenate([(1 - share) / 2 * size, (1 + share) / 2 * size])
    return Tube(0, np.tile(box, (num_frames, 1)))


def _boxes_of(maps, threshold):
    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` must be above 0, at most 1. Received: threshold={threshold}")
    cv2 = _opencv()
    boxes = np.full((len(maps), 4), np.nan)
    for t, attention in enumerate(maps):
        count, part = cv2.connectedComponents((attention >= threshold).astype(np.uint8), connectivity=8)
        if count > 1:  # part 0 is what lies below the threshold
            mass = np.bincount(part.ravel(), attention.ravel(), count)
            rows, columns = np.nonzero(part == 1 + mass[1:].argmax())
            boxes[t] = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return boxes


def _checked(detections, truths):
    detections, truths = [Detection(*d) for d in detections], [Detection(*t) for t in truths]
    if not truths:
        raise ValueError(f"Average precision needs true tubes. Received: 0 and {len(detections)} detections")
    return detections, truths


def _checked_boxes(boxes):
    boxes = np.asarray(boxes, np.float64)
    if not boxes.ndim or boxes.shape[-1] != 4:
        raise ValueError(f"Boxes must be (..., 4). Received: shape={boxes.shape}")
    good = np.isfinite(boxes).all(axis=-1) & (boxes[..., 2:] >= boxes[..., :2]).all(axis=-1)
    if not good.all():
        raise ValueError(
            "Boxes must be finite (top, left, bottom, right), none ending before it begins. "
            f"Received: {boxes[~good][0].tolist()}"
        )
    return boxes


def _opencv():
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra('Boxes need OpenCV: pip install "keras_st[video]". Received: no module cv2') from error
    return cv2
