"""Scores of forecasts of rain rate in mm/h: NumPy functions, and `NowcastScores` for a stream of batches.

An event is a rate >= threshold, compared in float64 (0.5, 2, 5, 10 and 30 mm/h are the same number in float32). A cell
counts only where truth and forecast are both finite: NaN, or masked, is a missing measurement. Sums are float64,
counts int64.

    hits a: forecast and fallen    false alarms b: only forecast
    misses c: only fallen          correct negatives d: neither

    POD = a / (a + c)    FAR = b / (a + b)    CSI = a / (a + b + c)    bias = (a + b) / (a + c)
    GSS = (a - a_r) / (a + b + c - a_r),  a_r = (a + b)(a + c) / n,  n = a + b + c + d
    HSS = 2 (a d - b c) / [(a + c)(c + d) + (a + b)(b + d)] = 2 GSS / (1 + GSS)
    Corr = sum PT / sqrt(sum P^2 sum T^2 + 1e-9)    uncentred: not Pearson's

A ratio is that of the pooled counts: the mean of the ratios of samples is another number. Over 0 it is NaN.

Worked numbers, forecast [[.2, .7], [1.2, 0]], truth [[.6, .9], [.1, 0]] mm/h, threshold 0.5: a = b = c = d = 1, so
CSI 1/3, POD 1/2, FAR 1/2, bias 1, GSS = HSS = 0; Corr 0.5706 (Pearson's is 0.0438), MSE 0.3525, MAE 0.425.

Reference: X. Shi et al., "Convolutional LSTM Network", NIPS 2015, section 4.2 (CSI, FAR, POD, Corr, Rainfall-MSE);
X. Shi et al., "Deep Learning for Precipitation Nowcasting", NIPS 2017 (thresholds, HSS); I. Jolliffe, D. Stephenson,
"Forecast Verification", 2012, chapter 3 (GSS, bias).
"""

from typing import NamedTuple

import numpy as np

THRESHOLDS = (0.5, 2, 5, 10, 30)
EPSILON = 1e-9

# Numerator and denominator of every ratio of counts, float64. GSS is multiplied by n: a n - (a + b)(a + c) = a d - b c.
RATIOS = {
    "pod": lambda a, b, c, d: (a, a + c),
    "far": lambda a, b, c, d: (b, a + b),
    "csi": lambda a, b, c, d: (a, a + b + c),
    "hss": lambda a, b, c, d: (2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d)),
    "gss": lambda a, b, c, d: (a * d - b * c, (b + c) * (a + b + c + d) + a * d - b * c),
    "bias": lambda a, b, c, d: (a + b, a + c),
}


class Contingency(NamedTuple):
    """Numbers of cells, int64 and of one shape: a, b, c and d of the head of this module."""

    hits: np.ndarray
    false_alarms: np.ndarray
    misses: np.ndarray
    correct_negatives: np.ndarray


class Spectrum(NamedTuple):
    """`power_spectrum`: frequency float64 (R,) in cycles a pixel; power float64 (..., R); coefficients int64 (R,)."""

    frequency: np.ndarray
    power: np.ndarray
    coefficients: np.ndarray


class Reliability(NamedTuple):
    """`reliability`: share of events and mean probability float64 (bins,), NaN where empty; cells int64 (bins,)."""

    frequency: np.ndarray
    probability: np.ndarray
    cells: np.ndarray


class _Sums(NamedTuple):
    """Over the cells that count: their number, of |P - T|, of (P - T)^2, of P T, of P^2 and of T^2."""

    cells: np.ndarray
    absolute: np.ndarray
    squared: np.ndarray
    product: np.ndarray
    forecast: np.ndarray
    truth: np.ndarray


def contingency(y_true, y_pred, threshold, axis=None):
    """`Contingency` of the events `rate >= threshold`.

    Args:
        y_true, y_pred: rates in mm/h of one shape, any; NaN where missing.
        threshold: float. mm/h, above 0: with 0 a dry cell would be an event.
        axis: int, tuple of ints or None. Axes that are pooled; None: all. The others are the shape of the counts.

    Raises: ValueError: other shapes, a threshold that is not above 0 and finite, axes that are not there.
    """
    return _contingency(*_counted(y_true, y_pred), _threshold(threshold), axis)


def pod(y_true, y_pred, threshold, axis=None):
    """Probability of detection a / (a + c), 0..1, higher is better; NaN without an event in the truth.

    float64, a scalar or of the axes that are not pooled. Arguments and errors: see `contingency`.
    """
    return _ratio_of("pod", contingency(y_true, y_pred, threshold, axis))


def far(y_true, y_pred, threshold, axis=None):
    """False alarm ratio b / (a + b), 0..1, lower is better; NaN without an event in the forecast. See `pod`."""
    return _ratio_of("far", contingency(y_true, y_pred, threshold, axis))


def csi(y_true, y_pred, threshold, axis=None):
    """Critical success index a / (a + b + c), 0..1, higher is better; NaN without any event. See `pod`.

    Where all three are defined, 1 / CSI = 1 / POD + 1 / (1 - FAR) - 1.
    """
    return _ratio_of("csi", contingency(y_true, y_pred, threshold, axis))


def hss(y_true, y_pred, threshold, axis=None):
    """Heidke skill score 2 (a d - b c) / [(a + c)(c + d) + (a + b)(b + d)], -1..1, 0: chance. See `pod`.

    NaN if all cells are hits or all are correct negatives.
    """
    return _ratio_of("hss", contingency(y_true, y_pred, threshold, axis))


def gss(y_true, y_pred, threshold, axis=None):
    """Gilbert skill score (a - a_r) / (a + b + c - a_r), a_r = (a + b)(a + c) / n, -1/3..1, 0: chance. See `pod`.

    Also called equitable threat score. NaN if all cells are hits or all are correct negatives.
    """
    return _ratio_of("gss", contingency(y_true, y_pred, threshold, axis))


def bias(y_true, y_pred, threshold, axis=None):
    """Frequency bias (a + b) / (a + c), events forecast per event fallen, 0 or more, best is 1. See `pod`.

    NaN without an event in the truth, also if some were forecast.
    """
    return _ratio_of("bias", contingency(y_true, y_pred, threshold, axis))


def correlation(y_true, y_pred, axis=None):
    """sum PT / sqrt(sum P^2 sum T^2 + 1e-9): the cosine of forecast and truth, not Pearson's correlation.

    0..1 for rates, higher is better; 0 if either is dry everywhere, NaN without a cell. float64, a scalar or of the
    axes that are not pooled. Arguments and errors: see `contingency`.
    """
    return _mean_scores(_sums(*_counted(y_true, y_pred), axis))["correlation"]


def rainfall_mse(y_true, y_pred, axis=None):
    """Mean of (P - T)^2 over the cells that count, in (mm/h)^2; lower is better, NaN without a cell.

    Rates, not grey levels or dBZ: convert first. Arguments and errors: see `correlation`.
    """
    return _mean_scores(_sums(*_counted(y_true, y_pred), axis))["mse"]


def rainfall_mae(y_true, y_pred, axis=None):
    """Mean of |P - T| over the cells that count, in mm/h; lower is better, NaN without a cell. See `rainfall_mse`."""
    return _mean_scores(_sums(*_counted(y_true, y_pred), axis))["mae"]


def fss(y_true, y_pred, threshold, scale):
    """Fractions skill score, float in 0..1; higher is better, NaN without any event.

        FSS = 1 - sum (S_P - S_T)^2 / (sum S_P^2 + sum S_T^2)

    S(i, j) is the share of events in the window of scale x scale cells around (i, j), from i - scale // 2 on; cells
    outside the field are no events. Sums go over cells, and over fields if there are several: they are pooled.

    Differs: pysteps takes a missing cell for no event, in the field where it is missing. Here it is none in both, like
    a cell outside, and has no term in the sums.

    Args:
        y_true, y_pred: (..., H, W), rates in mm/h, NaN where missing.
        threshold: float. mm/h, above 0.
        scale: int. Pixels, at least 1; 1 compares cell by cell.

    Raises: ValueError: other shapes, threshold or scale.

    Reference: N. Roberts, H. Lean, "Scale-selective verification of rainfall accumulations", MWR 2008;
    pysteps.verification.spatialscores.fss.
    """
    truth, forecast, counts = _counted(y_true, y_pred)
    threshold, scale = _threshold(threshold), _whole("scale", scale)
    if truth.ndim < 2:
        raise ValueError(f"Fields must be (..., H, W). Received: shape={truth.shape}")
    share_t, share_p = (_window_sums(x >= threshold, scale)[counts] for x in (truth, forecast))
    worst = np.sum(share_p**2) + np.sum(share_t**2)
    return float(1 - _ratio(np.sum((share_p - share_t) ** 2), worst))


def power_spectrum(field):
    """Radially averaged power spectrum of fields: `Spectrum`.

        P(r) = mean of |F(k)|^2 / (H W) over the coefficients with round(L |k|) = r,  k = (k_y / H, k_x / W)

    F is the discrete Fourier transform, not normalised, L = max(H, W), r = 0 .. (L - 1) // 2, the frequency r / L
    cycles a pixel (a wavelength of L / r pixels). Power has the field's unit squared, (mm/h)^2: |F|^2 / (H W), summed
    over ALL coefficients, is the sum of the squares of the field, and noise of variance v has power v at every r.
    Coefficients beyond the last ring (the corners) are left out.

    Differs: pysteps takes (k_y, k_x) for k, so that in a field with H != W a ring joins different wavelengths. For
    H = W both are the same.

    Args: field: (..., H, W), finite.
    Raises: ValueError: no such field, or values that are not finite.
    Reference: pysteps.utils.spectral.rapsd; E. Ruzanski, V. Chandrasekar, "Scale filtering for improved nowcasting
    performance in a high-resolution X-band radar network", TGRS 2011.
    """
    field = _filled(field)
    if field.ndim < 2 or 0 in field.shape:
        raise ValueError(f"`field` must be (..., H, W). Received: shape={field.shape}")
    if not np.isfinite(field).all():
        raise ValueError(f"`field` must be finite. Received: {(~np.isfinite(field)).sum()} cells that are not")
    height, width = field.shape[-2:]
    longest = max(height, width)
    rows = np.fft.fftfreq(height, 1 / height) * longest / height
    columns = np.fft.fftfreq(width, 1 / width) * longest / width
    rings = np.round(np.hypot(rows[:, None], columns)).astype(int).ravel()
    number = (longest - 1) // 2 + 1
    order = np.argsort(rings, kind="stable")
    order = order[: np.searchsorted(rings[order], number)]
    coefficients = np.bincount(rings[order], minlength=number)
    power = np.abs(np.fft.fft2(field)) ** 2 / (height * width)
    power = power.reshape(*field.shape[:-2], -1)[..., order]  # (..., coefficients), ring after ring, none empty
    power = np.add.reduceat(power, np.cumsum(coefficients) - coefficients, axis=-1) / coefficients
    return Spectrum(np.arange(number) / longest, power, coefficients)


def reliability(y_true, probability, bins):
    """Observed frequency of an event by forecast probability: `Reliability`. A forecast is reliable if they agree.

    Bin n holds n / bins <= probability < (n + 1) / bins, the last one 1 too.

    Args:
        y_true: 1 where the event was seen, 0 where not, NaN where missing; any shape.
        probability: of the event, 0..1, NaN where missing; the same shape.
        bins: int. Number of bins, at least 1.

    Raises: ValueError: other shapes or values, no bin.

    Reference: J. Broecker, L. Smith, "Increasing the reliability of reliability diagrams", WAF 2007.
    """
    truth, probability, counts = _counted(y_true, probability)
    bins = _whole("bins", bins)
    truth, probability = truth[counts], probability[counts]
    for name, wrong in (
        ("`y_true` must be 0, 1 or NaN", truth[(truth != 0) & (truth != 1)]),
        ("`probability` must lie in 0..1", probability[(probability < 0) | (probability > 1)]),
    ):
        if wrong.size:
            raise ValueError(f"{name}. Received: {wrong[0]:g}")
    place = np.searchsorted(np.arange(1, bins) / bins, probability, side="right")
    cells = np.bincount(place, minlength=bins)
    return Reliability(*(_ratio(np.bincount(place, x, bins), cells) for x in (truth, probability)), cells)


class NowcastScores:
    """Scores by threshold and lead time, of batches of windows: those of the functions on everything at once.

    Counts and sums are kept of every window (208 bytes a lead time with five thresholds), so that the scores of a
    choice of windows, a bootstrap's say, need no second pass over the fields.

    Args:
        thresholds: floats in mm/h, above 0, rising.
        leads: int or None. Number of lead times T; None: that of the first batch.

    Raises: ValueError: thresholds that are none, not above 0 or not rising; other numbers of lead times.

    >>> scores = NowcastScores(thresholds=(0.5,))
    >>> scores.update([[[[0.6, 0.9], [0.1, 0.0]]]], [[[[0.2, 0.7], [1.2, 0.0]]]])
    >>> result = scores.result()
    >>> float(result["pod"][0, 0]), float(result["correlation"][0].round(4))
    (0.5, 0.5706)
    """

    def __init__(self, thresholds=THRESHOLDS, leads=None):
        self.thresholds = tuple(_threshold(threshold) for threshold in thresholds)
        if not self.thresholds or any(low >= high for low, high in zip(self.thresholds, self.thresholds[1:])):
            raise ValueError(f"`thresholds` must be rising, one or more. Received: thresholds={self.thresholds}")
        self.leads = None if leads is None else _whole("leads", leads)
        self._counts = []  # of each batch (B, thresholds, leads, 4)
        self._sums = []  # (B, leads, 6)

    def update(self, y_true, y_pred):
        """Adds windows: rates in mm/h (B, T, H, W), NaN where missing; H and W may differ from batch to batch.

        Raises: ValueError: other shapes, another T.
        """
        truth, forecast, counts = _counted(y_true, y_pred)
        if truth.ndim != 4 or truth.shape[1] != (self.leads or truth.shape[1]) or not truth.shape[1]:
            times = "T" if self.leads is None else self.leads
            raise ValueError(f"Windows must be (B, {times}, H, W). Received: shape={truth.shape}")
        self.leads = truth.shape[1]
        tables = [_contingency(truth, forecast, counts, threshold, (2, 3)) for threshold in self.thresholds]
        self._counts.append(np.stack([np.stack(table, axis=-1) for table in tables], axis=1))
        self._sums.append(np.stack(_sums(truth, forecast, counts, (2, 3)), axis=-1))

    @property
    def counts(self):
        """int64 (windows, thresholds, leads, 4): hits, false alarms, misses, correct negatives, in order of `update`.

        Raises: ValueError: no batch yet.
        """
        return np.concatenate(self._with_batches(self._counts))

    def result(self, windows=None):
        """Scores of all windows pooled, `{name: float64 array}`, but for the whole numbers int64.

            csi, pod, far, hss, gss, bias    (thresholds, leads), NaN where undefined
            mae, mse, correlation            (leads,) in mm/h, (mm/h)^2 and 1; NaN without a cell
            <name>_mean                      (thresholds,) or (): mean over the lead times where <name> is defined
            <name>_undefined                 the same, int64: lead times where it is not
            cells                            (leads,) int64: cells that counted

        Args: windows: int (N,) or None. Indices of the windows that are pooled, repeated ones more than once; None:
        all, each once.

        Raises: ValueError: no batch yet; windows that are not there.
        """
        counts, sums = self.counts, np.concatenate(self._with_batches(self._sums))
        if windows is not None:
            windows = np.asarray(windows)
            if (
                windows.ndim != 1
                or windows.dtype.kind not in "iu"
                or not np.isin(windows, np.arange(len(counts))).all()
            ):
                raise ValueError(f"`windows` must be indices of the {len(counts)} windows. Received: windows={windows}")
            counts, sums = counts[windows], sums[windows]
        table, totals = (
            Contingency(*np.moveaxis(counts.sum(axis=0), -1, 0)),
            _Sums(*np.moveaxis(sums.sum(axis=0), -1, 0)),
        )
        scores = {name: _ratio_of(name, table) for name in RATIOS} | _mean_scores(totals)
        result = dict(scores)
        for name, values in scores.items():
            defined = np.isfinite(values)
            result[f"{name}_mean"] = _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))
            result[f"{name}_undefined"] = (~defined).sum(axis=-1)
        return result | {"cells": totals.cells.astype(np.int64)}

    def _with_batches(self, parts):
        if not parts:
            raise ValueError("Scores need `update` first. Received: 0 windows")
        return parts


def _filled(field):
    """float64, NaN where masked."""
    return np.ma.filled(np.ma.asarray(field, np.float64), np.nan)


def _counted(y_true, y_pred):
    """Truth and forecast float64, bool where a cell counts; where it does not both are 0, which is never an event."""
    truth, forecast = _filled(y_true), _filled(y_pred)
    if truth.shape != forecast.shape:
        raise ValueError(f"Truth and forecast must be alike. Received: shapes {truth.shape} and {forecast.shape}")
    counts = np.isfinite(truth) & np.isfinite(forecast)
    return np.where(counts, truth, 0), np.where(counts, forecast, 0), counts


def _threshold(threshold):
    if not (np.ndim(threshold) == 0 and np.isfinite(threshold) and threshold > 0):
        raise ValueError(f"A threshold must be one rate above 0 mm/h. Received: threshold={threshold}")
    return float(threshold)


def _whole(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be a whole number, at least 1. Received: {name}={value}")
    return int(value)


def _axes(axis, ndim):
    axes = tuple(range(ndim)) if axis is None else (axis,) if np.ndim(axis) == 0 else tuple(axis)
    if any(not -ndim <= a < ndim for a in axes) or len({a % ndim for a in axes}) < len(axes):
        raise ValueError(f"`axis` must name different ones of {ndim} axes. Received: axis={axis}")
    return axes


def _contingency(truth, forecast, counts, threshold, axis):
    axes = _axes(axis, truth.ndim)
    fallen, told = truth >= threshold, forecast >= threshold
    hits, fallen, told, cells = (
        np.sum(which, axis=axes, dtype=np.int64) for which in (fallen & told, fallen, told, counts)
    )
    return Contingency(hits, told - hits, fallen - hits, cells - told - fallen + hits)


def _sums(truth, forecast, counts, axis):
    axes, error = _axes(axis, truth.ndim), forecast - truth
    terms = (counts, np.abs(error), error**2, forecast * truth, forecast**2, truth**2)
    return _Sums(*(np.sum(term, axis=axes, dtype=np.float64) for term in terms))


def _mean_scores(sums):
    norm = np.sqrt(sums.forecast * sums.truth + EPSILON)
    return {
        "mae": _ratio(sums.absolute, sums.cells),
        "mse": _ratio(sums.squared, sums.cells),
        "correlation": _ratio(sums.product, np.where(sums.cells > 0, norm, 0)),
    }


def _ratio_of(name, table):
    return _ratio(*RATIOS[name](*(np.asarray(count, np.float64) for count in table)))


def _ratio(numerator, denominator):
    """NaN where the denominator is 0; a scalar of scalars."""
    quotient = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=quotient, where=np.asarray(denominator) != 0)[()]


def _window_sums(events, scale):
    """Events of (..., H, W) in the window around every cell, float64: differences of cumulative sums, exact."""
    sums = events.astype(np.float64)
    for axis in (-2, -1):
        size = sums.shape[axis]
        before = np.insert(np.cumsum(sums, axis=axis), 0, 0, axis=axis)
        first = np.arange(size) - scale // 2
        low, high = np.clip(first, 0, size), np.clip(first + scale, 0, size)
        sums = np.take(before, high, axis=axis) - np.take(before, low, axis=axis)
    return sums
