"""Table and curves of stored results. What they show is in the files, nothing is typed in.

    python -m benchmarks.results docs/results/*.json                     the table, as Markdown
    python -m benchmarks.results A.json B.json --curves FILE.png         learning curves and errors by lead time

Every file is a metrics.json of train.py or evaluate.py, or what benchmarks.formats or benchmarks.serving stores.
"""

import argparse
import json
import pathlib

COLUMNS = "result, data, test sequences, MSE per pixel [95 %], below best trivial, below last frame at lead 1, SSIM"
CLASSES = "result, system, data, test videos, parameters, accuracy [95 %], mean class accuracy, chance"
# the first it has
KINDS = (
    "forecasts",
    "classification",
    "frame_labels",
    "several_labels",
    "tracking",
    "tracks",
    "csi",
    "formats",
    "latency",
)
SEVERAL = "result, data, test videos, parameters, GAP@20, hit@1, PERR, mAP"
TRACKING = (
    "result, data, clips, loss or rule, F1 at 200 km [95 %], precision, recall, centre error (km), density MSE, Pearson"
)
TRACKS = "result, data, pieces, storms, forecast, mean error at 6 / 12 / 24 / 48 h (km), 95 % at 48 h"
NOWCASTS = (
    "result, minutes a step, windows, forecast, unknown cells, CSI 0.5 mm/h [95 %], CSI 2 mm/h [95 %], MAE (mm/h)"
)
OTHERS = ("predict", "predict_on_batch", "onnx")  # beside the C API
FORMATS = "system, free sizes, ONNX, KiB, LiteRT, KiB, LiteRT of one size, KiB"
LATENCY = (
    "system, clips a call, predict, predict_on_batch, ONNX Runtime, p99 / p50, clips a second, memory: predict, "
    "predict_on_batch, ONNX Runtime, step / (whole / T), step / whole(1), step from Python"
)
LABELS = "result, data, frames, parameters, mean average precision [95 %], of a constant score"


def data_name(result):
    data = result["data"]["name"]
    if data == "moving_mnist":
        return "MNIST digits" if result["data"].get("root") else "generated digits"
    return data + (f" ({pathlib.Path(result['data']['file']).stem})" if "file" in result["data"] else "")


def row(path, result):
    """Of a forecaster."""
    scores = result["forecasts"][result["system"]]
    low, high = scores["mse_per_pixel"]["interval_95"]
    cells = [
        f"[{path.stem}]({path.name})",
        data_name(result),
        result["sequences"],
        f"{scores['mse_per_pixel']['mean']:.5f} [{low:.5f}, {high:.5f}]",
        f"{100 * result['mse_below_best_trivial']:.1f} % ({result['best_trivial']})",
        f"{100 * result['mse_below_last_frame_at_lead_1']:.1f} %",
        f"{scores['ssim']['mean']:.3f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def class_row(path, result):
    """Of a classifier."""
    entry = result["classification"]
    low, high = entry["interval_95"]
    cells = [
        f"[{path.stem}]({path.name})",
        result["system"],
        data_name(result),
        result["videos"],
        f"{result['parameters']:,}" if "parameters" in result else "",
        f"{entry['accuracy']:.3f} [{low:.3f}, {high:.3f}]",
        f"{entry['mean_class_accuracy']:.3f}",
        f"{entry['chance']:.3f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def label_row(path, result):
    """Of a model that labels frames."""
    entry = result["frame_labels"]
    interval = "" if entry["interval_95"] is None else " [{:.3f}, {:.3f}]".format(*entry["interval_95"])
    cells = [f"[{path.stem}]({path.name})", data_name(result), entry["frames"], f"{result.get('parameters', 0):,}"]
    return "| " + " | ".join(map(str, [*cells, f"{entry['map']:.3f}{interval}", f"{entry['chance']:.3f}"])) + " |"


def several_row(path, result):
    """Of a model of several labels a video."""
    entry = result["several_labels"]
    carrier = result["data"].get("carrier", "both")
    data = data_name(result) + ("" if carrier == "both" else f" ({carrier})")
    parameters = f"{result['parameters']:,}" if "parameters" in result else ""
    cells = [f"[{path.stem}]({path.name})", data, result["videos"], parameters]
    return "| " + " | ".join(map(str, cells + [f"{entry[k]:.3f}" for k in ("gap", "hit1", "perr", "map_all")])) + " |"


def tracking_row(path, result):
    """Of a model that finds storms: a row for it and one for the rule without a model."""
    rows = []
    for name, scores in ((result["loss"], result["tracking"]), ("a rule on vorticity", result["vorticity_rule"])):
        low, high = scores["f1"]["interval_95"]
        cells = [f"[{path.stem}]({path.name})", data_name(result), result["clips"], name]
        cells += [f"{scores['f1']['value']:.3f} [{low:.3f}, {high:.3f}]"]
        cells += [f"{scores[name]['value']:.3f}" for name in ("precision", "recall")]
        error, pearson = scores["centre_error_km"]["value"], scores["density_pearson"]
        cells += ["–" if error is None else f"{error:.1f}", f"{scores['density_mse']['value']:.2e}"]
        rows.append("| " + " | ".join(map(str, [*cells, "–" if pearson is None else f"{pearson:.3f}"])) + " |")
    return "\n".join(rows)


def tracks_row(path, result):
    """Of a model that forecasts tracks: a row each for it and the trivial forecasts."""
    rows = []
    for name, entry in result["tracks"].items():
        km = dict(zip(result["hours"], zip(entry["mean_km"], entry["interval_95"])))
        told = " / ".join(f"{km[hour][0]:.1f}" if hour in km else "–" for hour in (6, 12, 24, 48))
        last = "{:.1f} to {:.1f}".format(*km[48][1]) if 48 in km else "–"
        cells = [f"[{path.stem}]({path.name})", result["source"], result["pieces"], result["storms"], name, told]
        rows.append("| " + " | ".join(map(str, [*cells, last])) + " |")
    return "\n".join(rows)


def nowcast_row(path, result):
    """Of a radar event: a row each for the forecast and the baselines; means over lead times to an hour."""
    rows = []
    for name, entry in result["mean"].items():
        scores = zip(entry["csi_mean"], *entry["csi_interval_95"])
        told = ["–" if None in values else "{:.3f} [{:.3f}, {:.3f}]".format(*values) for values in list(scores)[:2]]
        cells = [f"[{path.stem}]({path.name})", f"{result['step_minutes']:g}", result["windows"], name]
        cells += ["dry" if name.endswith("_dry") else "last field", *told]
        rows.append("| " + " | ".join(map(str, [*cells, f"{entry['mae_mean']:.4f}"])) + " |")
    return "\n".join(rows)


def formats_row(path, result):
    """What ONNX and LiteRT make of the systems, a row each: the largest difference, or what is refused."""
    rows = []
    for entry in result["formats"]:
        cells = [entry["system"], ", ".join(entry["axes"])]
        for told in entry["formats"].values():
            if "refused" in told:
                cells += [f"no: {told['refused'].removeprefix('operation ')}", "–"]
                continue
            failed = f" (fails: {', '.join(told['failures'])})" if told["failures"] else ""
            worst = max(told["differences"].values(), default=None)
            cells += [("–" if worst is None else f"{worst:.0e}") + failed, f"{told['bytes'] / 1024:.0f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def latency_row(path, result):
    """Of served models, a row for every number of clips a call: times and memory of the C API are 1."""
    rows, alone = [], {}
    for entry in result["latency"]:
        calls, stream = entry["calls"], entry.get("stream")
        c = calls["c"]
        alone.setdefault(entry["system"], c["per_second"])
        cells = [entry["system"], str(entry["batch"])]
        told = {
            key: [f"{calls[name][key] / c[key]:.2f}" if name in calls else "–" for name in OTHERS]
            for key in ("p50_seconds", "memory_bytes")
        }
        cells += told["p50_seconds"]
        cells += [f"{c['p99_seconds'] / c['p50_seconds']:.2f}", f"{c['per_second'] / alone[entry['system']]:.2f}"]
        cells += told["memory_bytes"]
        if stream:
            cells += [f"{stream[key]:.2f}" for key in ("times_whole_by_frames", "times_one_frame")]
            cells += [f"{calls['step_in_python']['p50_seconds'] / calls['step']['p50_seconds']:.2f}"]
        rows.append("| " + " | ".join(cells + ["–"] * (3 * (not stream))) + " |")
    return "\n".join(rows)


def curves(results):
    """Mean squared error of the validation split by epoch, and of the test split by lead time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), dpi=150)
    by_epoch, by_lead = figure.subplots(1, 2)
    for name, result in results.items():
        history = result.get("history", {})
        values = history.get("val_mse") or history.get("val_frames_mse")
        if values:
            by_epoch.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
        values = result["forecasts"][result["system"]]["mse_per_pixel"]["per_lead_time"]
        by_lead.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
    by_epoch.set_xlabel("epoch")
    by_epoch.set_ylabel("MSE per pixel, validation")
    by_lead.set_xlabel("lead time (frames)")
    by_lead.set_ylabel("MSE per pixel, test")
    for axes in (by_epoch, by_lead):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.tight_layout()
    return figure


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__.split("\n")[0])
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    parser.add_argument("--curves", type=pathlib.Path, help="new PNG")
    options = parser.parse_args()
    results = {path: json.loads(path.read_text()) for path in options.files}
    if options.curves:
        if not all("forecasts" in result for result in results.values()):
            parser.error("--curves draws forecasters. Received: a result of a classifier")
        if options.curves.exists():
            parser.error(f"--curves is there already, nothing is overwritten. Received: {options.curves}")
        curves({path.stem: result for path, result in results.items()}).savefig(options.curves)
        return
    for key, make_row, columns in (
        ("forecasts", row, COLUMNS),
        ("classification", class_row, CLASSES),
        ("frame_labels", label_row, LABELS),
        ("several_labels", several_row, SEVERAL),
        ("tracking", tracking_row, TRACKING),
        ("tracks", tracks_row, TRACKS),
        ("csi", nowcast_row, NOWCASTS),
        ("formats", formats_row, FORMATS),
        ("latency", latency_row, LATENCY),
    ):
        kind = {path: next(k for k in KINDS if k in result) for path, result in results.items()}
        rows = [make_row(path, result) for path, result in results.items() if kind[path] == key]
        if rows:
            names = columns.split(", ")
            print("\n".join(["| " + " | ".join(names) + " |", "|---" * len(names) + "|", *rows]))


if __name__ == "__main__":
    main()
