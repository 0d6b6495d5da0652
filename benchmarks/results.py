"""Table and curves of stored results. What they show is in the files, nothing is typed in.

    python -m benchmarks.results docs/results/*.json                     the table, as Markdown
    python -m benchmarks.results A.json B.json --curves FILE.png         learning curves and errors by lead time

Every file is a metrics.json of train.py or evaluate.py.
"""

import argparse
import json
import pathlib

COLUMNS = "result, data, test sequences, MSE per pixel [95 %], below best trivial, below last frame at lead 1, SSIM"
CLASSES = "result, system, data, test videos, parameters, accuracy [95 %], mean class accuracy, chance"
KINDS = ("forecasts", "classification", "frame_labels", "several_labels")  # a forecaster may classify too
SEVERAL = "result, data, test videos, parameters, GAP@20, hit@1, PERR, mAP"
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
    ):
        kind = {path: next(k for k in KINDS if k in result) for path, result in results.items()}
        rows = [make_row(path, result) for path, result in results.items() if kind[path] == key]
        if rows:
            names = columns.split(", ")
            print("\n".join(["| " + " | ".join(names) + " |", "|---" * len(names) + "|", *rows]))


if __name__ == "__main__":
    main()
