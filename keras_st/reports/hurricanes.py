"""Scores of hurricanes found and forecast: summaries and tables."""

import csv

import numpy as np

from keras_st.metrics import tracks
from keras_st.metrics.bootstrap import ratio_interval
from keras_st.reports.files import plain


def summarise_tracking(found, true, densities, truths, threshold, radius_km):
    """Scores over all frames of N clips, with 95 % bootstrap intervals over clips.

    Args:
        found: per clip a list of the frames' centres (M_t, 2) in degrees; true: likewise.
        densities: (N, T, H, W) of the model; truths: (N, T, H, W).
    """
    scores = tracks.detection_scores(sum(found, []), sum(true, []), radius_km)
    pairs, errors, frames = [], [], []  # of every clip
    for clip in zip(found, true):
        distances = [tracks.match(*frame, radius_km).distance_km for frame in zip(*clip)]
        pairs.append(sum(map(len, distances)))
        errors.append(sum(d.sum() for d in distances))
        frames.append([sum(map(len, side)) for side in clip])
    pairs, (n_found, n_true) = np.array(pairs), np.array(frames).T
    intervals = {
        "precision": ratio_interval(pairs, n_found),
        "recall": ratio_interval(pairs, n_true),
        "f1": ratio_interval(2 * pairs, n_found + n_true),
        "centre_error_km": ratio_interval(errors, pairs),
    }
    squared = ((np.asarray(densities, np.float64) - truths) ** 2).mean(axis=(1, 2, 3))
    both = np.stack([np.ravel(densities), np.ravel(truths)]).astype(np.float64)
    varies = (both.std(axis=1) > 0).all()
    empty = n_true == 0
    return {
        **{name: {"value": plain(scores[name]), "interval_95": plain(intervals[name])} for name in scores},
        "density_mse": {
            "value": float(squared.mean()),
            "interval_95": plain(ratio_interval(squared, np.ones(len(squared)))),
        },
        "density_pearson": float(np.corrcoef(both)[0, 1]) if varies else None,
        "centres_true": int(n_true.sum()),
        "centres_found": int(n_found.sum()),
        "clips_without_storms": int(empty.sum()),
        "found_in_clips_without_storms": int(n_found[empty].sum()),
        "threshold": threshold,
        "radius_km": radius_km,
    }


def summarise_forecasts(forecasts, truth, storms, ours):
    """Great-circle errors by lead in km of forecasts `{name: (N, L, 2)}`, intervals over storms, not over their pieces.

    Pieces in which any forecast has NaN (its storm left the grid) are left out of all, and counted.
    """
    kept = np.isfinite(np.stack(list(forecasts.values()))).all(axis=(0, 2, 3))
    km = {
        name: tracks.great_circle_km(x[kept, :, 0], x[kept, :, 1], truth[kept, :, 0], truth[kept, :, 1])
        for name, x in forecasts.items()
    }
    table = {name: _by_lead(values, storms[kept]) for name, values in km.items()}
    base = km["constant_velocity"]
    table[ours]["minus_constant_velocity_km"] = _by_lead(km[ours] - base, storms[kept])
    table[ours]["skill"] = [float(1 - a / b) if b else None for a, b in zip(km[ours].mean(axis=0), base.mean(axis=0))]
    return table, int((~kept).sum())


def _by_lead(values, storms):
    """Mean (L,) of (N, L) values and its 95 % bootstrap intervals over storms."""
    names, of = np.unique(storms, return_inverse=True)
    pieces = np.bincount(of, minlength=len(names))
    sums = [np.bincount(of, column, len(names)) for column in values.T]
    intervals = [plain(ratio_interval(total, pieces)) for total in sums]
    return {"mean_km": values.mean(axis=0).tolist(), "interval_95": intervals}


def write_tracking(folder, result):
    """metrics.csv and metrics.md."""
    scores, rule = result["tracking"], result["vorticity_rule"]
    tables = {result["system"]: scores, "vorticity_rule": rule}
    rows = [
        (name, metric, entry["value"], *entry["interval_95"])
        for name, table in tables.items()
        for metric, entry in table.items()
        if isinstance(entry, dict)
    ]
    _write_csv(folder, ["tracker", "metric", "value", "low", "high"], rows)
    head = (
        f"{result['clips']} test clips of {result['frames']} frames of {result['data']['name']}, generated fields: "
        f"{scores['centres_true']} hurricanes in frames, {scores['centres_found']} found (a density of "
        f"{scores['threshold']:g} or more), pairs at most {scores['radius_km']:g} km apart. 95 % bootstrap interval "
        "over clips."
    )
    told = (
        f"vorticity_rule: where the wind of the fields turns by {rule['least_per_second']:.1e} a second or more, the "
        "level with the highest F1 on the validation clips."
    )
    metrics = [metric for metric, entry in scores.items() if isinstance(entry, dict)]
    lines = ["| tracker | " + " | ".join(metrics) + " | density_pearson |", "|---" * (len(metrics) + 2) + "|"]
    for name, table in tables.items():
        cells = [f"{_number(table[m]['value'])} {_interval(table[m]['interval_95'])}" for m in metrics]
        lines.append(f"| {name} | " + " | ".join([*cells, _number(table["density_pearson"])]) + " |")
    lines += ["", told]
    (folder / "metrics.md").write_text("\n".join([head, "", *lines]) + "\n")


def write_forecasts(folder, result):
    """metrics.csv and metrics.md."""
    rows = [
        (name, hour, value, *interval)
        for name, entry in result["tracks"].items()
        for hour, value, interval in zip(result["hours"], entry["mean_km"], entry["interval_95"])
    ]
    _write_csv(folder, ["forecast", "hours", "mean_km", "low", "high"], rows)
    head = (
        f"{result['pieces']} pieces of the tracks of {result['storms']} storms ({result['source']}), "
        f"{result['context_frames']} fixes in. Mean great-circle error in km, lower is better; 95 % bootstrap interval "
        f"over storms. {result['left_grid']} pieces whose storm left the grid are not scored."
    )
    lines = ["| hours | " + " | ".join(map(str, result["hours"])) + " |", "|---" * (len(result["hours"]) + 1) + "|"]
    ours = result["tracks"][result["system"]]
    entries = {**result["tracks"], "minus constant_velocity": ours["minus_constant_velocity_km"]}
    for name, entry in entries.items():
        cells = [f"{v:.1f} [{low:.1f}, {high:.1f}]" for v, (low, high) in zip(entry["mean_km"], entry["interval_95"])]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    skill = ["–" if v is None else f"{100 * v:.1f} %" for v in ours["skill"]]
    lines.append("| below constant_velocity by | " + " | ".join(skill) + " |")
    (folder / "metrics.md").write_text("\n".join([head, "", *lines]) + "\n")


def _write_csv(folder, header, rows):
    with (folder / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _interval(interval):
    return f"[{_number(interval[0])}, {_number(interval[1])}]"


def _number(value):
    return "–" if value is None else f"{value:.4g}"
