"""Scores of optical flow, over the pixels whose true flow is known.

Flow is (..., H, W, 2), (u, v) in pixels per frame. Where the truth is NaN or beyond 1e9 in a component (Middlebury's
mark), or where `known` says so, a pixel does not count.

Worked number: truth (3, 4), forecast (0, 0) everywhere: end_point_error 5 px; angular_error arccos(1 / sqrt(26)) =
78.69 degrees.

Reference: S. Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011, section 4.1;
J. Barron, D. Fleet, S. Beauchemin, "Performance of Optical Flow Techniques", IJCV 1994 (the angle).
"""

import numpy as np

KNOWN = 1e9


def end_point_error(y_true, y_pred, known=None):
    """Mean over pixels of |(u, v) - (u', v')|, in pixels per frame; lower is better.

    Args:
        y_true, y_pred: (..., H, W, 2); y_true may be unknown in places, y_pred may not where it counts.
        known: bool (..., H, W) or None: pixels that count, of those whose truth is known.

    Raises: ValueError: other or different shapes; a forecast that is not finite where it counts; no pixel counts.
    """
    truth, flow = _counted(y_true, y_pred, known)
    return float(np.linalg.norm(truth - flow, axis=-1).mean())


def angular_error(y_true, y_pred, known=None):
    """Mean over pixels of the angle between (u, v, 1) and (u', v', 1), in degrees; lower is better.

    Less hard on errors of large flow than `end_point_error`. Arguments and errors are those of it.
    """
    truth, flow = (np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1) for x in _counted(y_true, y_pred, known))
    # By the tangent: the cosine of a small angle says little about it.
    sine = np.linalg.norm(np.cross(truth, flow), axis=-1)
    return float(np.degrees(np.arctan2(sine, (truth * flow).sum(axis=-1))).mean())


def _counted(y_true, y_pred, known):
    """(N, 2) each, float64: the pixels that count."""
    truth, flow = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    if truth.shape != flow.shape or truth.ndim < 3 or truth.shape[-1] != 2:
        raise ValueError(f"Flow must be (..., H, W, 2) twice. Received: shapes {truth.shape} and {flow.shape}")
    counts = np.all(np.abs(truth) <= KNOWN, axis=-1)
    if known is not None:
        if np.shape(known) != counts.shape:
            raise ValueError(f"`known` must have shape {counts.shape}. Received: shape={np.shape(known)}")
        counts = counts & np.asarray(known, bool)
    if not counts.any():
        raise ValueError(f"No pixel has known flow. Received: shape={truth.shape}")
    truth, flow = truth[counts], flow[counts]
    if not np.isfinite(flow).all():
        raise ValueError(f"`y_pred` must be finite where it counts. Received: {(~np.isfinite(flow)).sum()} others")
    return truth, flow
