"""Scores of a forecaster: summary, tables, pictures."""

import csv

import numpy as np

from keras_st import cli
from keras_st.metrics import forecast as metrics
from keras_st.metrics.bootstrap import bootstrap_interval
from keras_st.reports.classify import accuracy_line


def summarise(scores, recipe, forecaster):
    """The metric table as plain values: mean, 95 % bootstrap interval over sequences, and every lead time."""
    table = {}
    for name, values in scores.items():
        table[name] = {}
        for metric, frames in values.items():
            table[name][metric] = summarise_metric(frames)
        # Jensen: the mean of PSNRs is never below the PSNR of the mean error; if it is, an axis was mixed up.
        if "exact_frames" not in table[name]["psnr"]:
            bound = -10 * np.log10(table[name]["mse_per_pixel"]["mean"])
            assert table[name]["psnr"]["mean"] >= bound - 1e-6, "mean PSNR below the PSNR of the mean error"
    mse = {name: values["mse_per_pixel"] for name, values in table.items()}
    best = min(metrics.TRIVIAL_FORECASTS, key=lambda name: mse[name]["mean"])
    first = {name: values["per_lead_time"][0] for name, values in mse.items()}
    return {
        "system": recipe.system,
        "data": recipe.data,
        "split": "test",
        "sequences": len(next(iter(scores[recipe.system].values()))),
        "context_frames": recipe.task.context_frames,
        "horizon_frames": recipe.task.horizon_frames,
        "value_range": list(forecaster.value_range),
        "clipped": forecaster.is_video,
        "unit": forecaster.feature.unit,
        "best_trivial": best,
        "mse_below_best_trivial": _cut(mse[recipe.system]["mean"], mse[best]["mean"]),
        "mse_below_last_frame_at_lead_1": _cut(first[recipe.system], first["last_frame"]),
        "forecasts": table,
        "seed": recipe.training.seed,
        **cli.provenance(forecaster.path),
    }


def summarise_metric(frames):
    """Mean, 95 % interval over sequences and mean per lead time of values (sequences, lead times).

    Frames forecast exactly have an infinite PSNR: they are left out of the means and counted.
    """
    finite = np.isfinite(frames)

    def mean(values, keep):
        return float(values[keep].mean()) if keep.any() else None

    entry = {
        "mean": mean(frames, finite),
        "per_lead_time": [mean(frames[:, t], finite[:, t]) for t in range(frames.shape[1])],
    }
    if finite.all():
        entry["interval_95"] = list(bootstrap_interval(frames.mean(axis=1)))
    else:
        entry["exact_frames"] = int((~finite).sum())
    return entry


def _cut(ours, theirs):
    """By which share `ours` is below `theirs`; None where theirs is 0."""
    return 1 - ours / theirs if theirs else None


def write_tables(folder, result):
    """metrics.csv (a row per forecast, metric and lead time) and metrics.md (what a person reads first)."""
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["forecast", "metric", "lead_time", "value"])
        for name, values in result["forecasts"].items():
            for metric, entry in values.items():
                writer.writerows((name, metric, t + 1, v) for t, v in enumerate(entry["per_lead_time"]))
    metric_names = list(next(iter(result["forecasts"].values())))
    lines = [
        f"{result['sequences']} test sequences of {result['data']['name']}, {result['context_frames']} frames in, "
        f"{result['horizon_frames']} out, {_range(result)}. Mean over lead times, 95 % bootstrap interval over "
        "sequences. SSIM: 7x7 uniform window, range 1.",
        "",
        "| forecast | " + " | ".join(metric_names) + " |",
        "|---|" + "---|" * len(metric_names),
    ]
    for name, values in result["forecasts"].items():
        cells = []
        for metric in metric_names:
            low_high = values[metric].get("interval_95")
            interval = f" [{low_high[0]:.4g}, {low_high[1]:.4g}]" if low_high else ""
            exact = values[metric].get("exact_frames")
            cells.append(_number(values[metric]["mean"]) + interval + (f" ({exact} frames exact)" if exact else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"MSE {_below(result['mse_below_best_trivial'])} the best trivial forecast "
        f"({result['best_trivial']}), averaged over lead times 1 to {result['horizon_frames']}; "
        f"{_below(result['mse_below_last_frame_at_lead_1'])} last_frame at lead time 1.",
        "",
        "| MSE per pixel at lead time | " + " | ".join(str(t + 1) for t in range(result["horizon_frames"])) + " |",
        "|---|" + "---|" * result["horizon_frames"],
    ]
    for name, values in result["forecasts"].items():
        cells = (_number(v) for v in values["mse_per_pixel"]["per_lead_time"])
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if "classification" in result:
        seen = result["context_frames"]
        of = f"from the {seen} frames seen of {seen + result['horizon_frames']}"
        lines += ["", accuracy_line(result["classification"], of)]
    (folder / "metrics.md").write_text("\n".join(lines) + "\n")


def _range(result):
    low, high = result["value_range"]
    if result["clipped"]:
        return "values 0..1, forecasts clipped to 0..1"
    return f"values 0..1 (of {low:g} to {high:g} {result['unit']}), forecasts not clipped"


def _number(value):
    return "–" if value is None else f"{value:.4g}"


def _below(cut):
    if cut is None:
        return "not comparable with"
    return f"{100 * abs(cut):.1f} % {'below' if cut >= 0 else 'above'}"
