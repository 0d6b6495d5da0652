"""Scores a trained model on held-out data, or runs it on a clip of yours.

    python evaluate.py PATH                                      scores on the test split of its own data set
    python evaluate.py PATH --input clip.npy --horizon 15        forecasts the frames after a clip

PATH is a run folder, a .keras file in one, or a served folder (saved_models/<system>/<version>). Writes report.html,
PNGs, forecast.gif and metrics.json, .csv, .md (with --input frames.npy in their place) to a new folder:
`<run>/evaluation/<n>`, `runs/<system>/evaluations/<n>` for a served folder, or `--out`.
"""

import argparse
import contextlib
import csv
import dataclasses
import html
import json
import os
import pathlib
import tempfile

import numpy as np

from keras_st import cli

with cli.quiet_import():
    import tensorflow as tf

    tf.config.list_physical_devices()

from keras_st import saved, viz
from keras_st.metrics import classify
from keras_st.metrics import forecast as metrics
from keras_st.metrics.bootstrap import bootstrap_interval
from keras_st.specs import InputError
from pipelines.clips import read_clip

SHOWN = 3  # sequences drawn in the report


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("path", help="run folder, .keras file or served folder")
    parser.add_argument("--input", help=".npy clip (T, H, W[, C]), uint8 0..255 or float 0..1")
    parser.add_argument("--horizon", type=int, help="frames to forecast (default: as trained)")
    parser.add_argument("--out", help="folder to make; must not exist")
    options = cli.parse(parser, argv)
    forecaster = saved.load(options.path)
    out = pathlib.Path(options.out) if options.out else next_folder(forecaster)
    if out.exists():
        raise InputError(f"Nothing is overwritten; the folder must not exist. Received: --out={out}")
    if options.input:
        out = predict(forecaster, options.input, options.horizon, out)
    else:
        out = score(forecaster, out, options.horizon)
    print(f"report: {out / 'report.html'}")


def next_folder(forecaster):
    """`<run>/evaluation/<n>`, or `runs/<system>/evaluations/<n>`: a served folder is never written to."""
    path = forecaster.path
    if path.suffix == ".keras":
        parent = path.parent / "evaluation"
    else:
        parent = pathlib.Path("runs", (forecaster.recipe or {}).get("system", "served"), "evaluations")
    taken = [int(p.name) for p in parent.iterdir() if p.name.isdigit()] if parent.is_dir() else []
    return parent / str(max(taken, default=0) + 1)


# A clip of the user's


def predict(forecaster, clip_path, horizon, out):
    """Forecasts the frames after one clip; writes frames.npy, forecast.gif, strip.png and report.html."""
    clip = read_clip(clip_path)
    try:
        context = forecaster.scale(clip)
        frames = forecaster.predict(clip, horizon)
    except InputError as error:
        raise InputError(f"{clip_path} cannot be forecast: {error}") from error
    with written_aside(out) as folder:
        np.save(folder / "frames.npy", frames)
        shown = frames if forecaster.is_video else forecaster.scale(frames)
        viz.save_gif(folder / "forecast.gif", context, shown)
        viz.strip(context, shown).savefig(folder / "strip.png")
        title = f"Forecast of {len(frames)} frames after {os.path.basename(clip_path)}"
        pictures = [("The clip, then the forecast (under the white bar)", "forecast.gif"), ("Frames", "strip.png")]
        write_report(folder, title, pictures)
    unit = "values 0..1" if forecaster.is_video else forecaster.feature.unit
    print(f"frames: {out / 'frames.npy'} {frames.dtype} {frames.shape}, {unit}")
    return out


# Scores


def score(forecaster, out, horizon=None):
    """Scores a model beside the trivial forecasts on its data set's test split; writes tables, pictures, report."""
    recipe, test = test_split(forecaster, horizon)
    horizon = recipe.task.horizon_frames
    forecasts = {}
    for name, trivial in metrics.TRIVIAL_FORECASTS.items():
        forecasts[name] = lambda context, trivial=trivial: trivial(context, horizon)
    scores, shown, labels, logits = {name: [] for name in (recipe.system, *forecasts)}, [], [], []
    for inputs, targets in test:
        context, truth = inputs["video"].numpy(), targets["frames"].numpy()
        outputs = forecaster.outputs(context, horizon)
        if "logits" in outputs and "logits" in targets:
            labels.append(targets["logits"].numpy())
            logits.append(outputs["logits"])
            if not np.isfinite(outputs["logits"]).all():
                raise InputError(f"The model's logits are not finite. Received: {forecaster.path}")
        for name in scores:
            frames = outputs["frames"] if name == recipe.system else forecasts[name](context)
            if not np.isfinite(frames).all():
                raise InputError(f"The model forecasts values that are not finite. Received: {forecaster.path}")
            scores[name].append(metrics.frame_scores(truth, frames, data_range=1.0))
            if name == recipe.system and len(shown) < SHOWN:
                shown += list(zip(context, frames, truth))[: SHOWN - len(shown)]
    scores = {name: {m: np.concatenate([p[m] for p in parts]) for m in parts[0]} for name, parts in scores.items()}
    result = summarise(scores, recipe, forecaster)
    history = read_history(forecaster.path.parent / "history.csv")
    if history is not None:
        result["history"] = history
    if labels:
        result["classification"] = summarise_classes(np.concatenate(labels), np.concatenate(logits))
    with written_aside(out) as folder:
        (folder / "metrics.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
        write_tables(folder, result)
        viz.save_gif(folder / "forecast.gif", *shown[0])
        pictures = [("Truth left, forecast right (under the white bar)", "forecast.gif")]
        for n, sequence in enumerate(shown):
            viz.strip(*sequence).savefig(folder / f"strip_{n + 1}.png")
            pictures.append((f"Test sequence {n + 1}", f"strip_{n + 1}.png"))
        for metric, unit in (("mse_per_pixel", ""), ("psnr", " (dB)"), ("ssim", "")):
            curves = {name: values[metric]["per_lead_time"] for name, values in result["forecasts"].items()}
            curves = {name: c for name, c in curves.items() if None not in c}
            viz.lead_time_curves(curves, metric + unit).savefig(folder / f"{metric}.png")
            pictures.append((f"{metric} by lead time", f"{metric}.png"))
        if labels:
            confusion = result["classification"]["confusion"]
            viz.confusion_matrix(confusion).savefig(folder / "confusion.png")
            pictures.append(("Confusion: row true class, column predicted", "confusion.png"))
        if history is not None:
            viz.training_curves({name: values for name, values in history.items() if name.endswith("loss")}).savefig(
                folder / "training.png"
            )
            pictures.append(("Training", "training.png"))
        write_report(folder, f"{recipe.system} on {recipe.data['name']}", pictures, folder / "metrics.md")
    print((out / "metrics.md").read_text())
    return out


def test_split(forecaster, horizon):
    """`(recipe, batches)` of the test split a model was trained beside."""
    import train  # which imports this module

    if forecaster.recipe is None:
        raise InputError(
            f"There is no recipe.yaml beside the model, so its data set is unknown. Received: {forecaster.path}"
        )
    recipe = train.load_recipe(forecaster.recipe)
    task = dataclasses.replace(recipe.task, horizon_frames=forecaster.horizon_frames if horizon is None else horizon)
    recipe = dataclasses.replace(recipe, task=task)
    if not forecaster.feature_is_known:  # a .keras file without features.json beside it
        forecaster.feature = train.feature_of(recipe, "test")
    return recipe, train.batches_of(recipe, forecaster.feature, "test")


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
        "model": str(cli.with_variable(str(forecaster.path))),
        "environment": cli.environment(),
        "training_environment": read_json(forecaster.path.parent / "environment.json"),
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


def summarise_classes(labels, logits):
    """Accuracy of a classifier with its 95 % interval over clips, beside the share of the most frequent class."""
    hits = classify.top_k_hits(labels, logits)
    return {
        "accuracy": float(hits.mean()),
        "interval_95": list(bootstrap_interval(hits.astype(float))),
        "most_frequent_class": float(np.bincount(labels).max() / len(labels)),
        "confusion": classify.confusion_matrix(labels, logits).tolist(),
    }


def _cut(ours, theirs):
    """By which share `ours` is below `theirs`; None where theirs is 0."""
    return 1 - ours / theirs if theirs else None


# Files


@contextlib.contextmanager
def written_aside(out):
    """A temporary folder that becomes `out` when the block ends well; otherwise nothing is left."""
    out = pathlib.Path(out)
    if out.exists():
        raise InputError(f"Nothing is overwritten; the folder must not exist. Received: {out}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder must be one that can be made. Received: {error}") from error
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".writing-") as aside:
        folder = pathlib.Path(aside, "out")
        folder.mkdir()
        yield folder
        os.rename(folder, out)


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
        entry = result["classification"]
        low, high = entry["interval_95"]
        lines += [
            "",
            f"Accuracy {entry['accuracy']:.3f} [{low:.3f}, {high:.3f}] from the {result['context_frames']} frames seen "
            f"of {result['context_frames'] + result['horizon_frames']}; "
            f"the most frequent class is {entry['most_frequent_class']:.3f} of the clips.",
        ]
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


def write_report(folder, title, pictures, table=None):
    """report.html: the tables, then every picture, all files beside it."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    if table is not None:
        body.append(_markdown_as_html(table.read_text()))
    for caption, file in pictures:
        body.append(f'<figure><img src="{file}" alt="{html.escape(caption)}">')
        body.append(f"<figcaption>{html.escape(caption)}</figcaption></figure>")
    (folder / "report.html").write_text(REPORT.format(title=html.escape(title), body="\n".join(body)))


REPORT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; margin: 1em 0; font-size: 85%; display: block; overflow-x: auto }}
td, th {{ border: 1px solid #ccc; padding: .3em .6em; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
img {{ max-width: 100%; border: 1px solid #ddd }} figure {{ margin: 1.5em 0 }} figcaption {{ color: #555 }}
</style></head><body>
{body}
</body></html>
"""


def _markdown_as_html(text):
    """The two things our own tables use: paragraphs and pipe tables."""
    parts = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        if not lines[0].startswith("|"):
            parts.append(f"<p>{html.escape(block)}</p>")
            continue
        rows = [[html.escape(cell.strip()) for cell in line.strip("|").split("|")] for line in lines]
        head = "".join(f"<th>{cell}</th>" for cell in rows[0])
        tail = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows[2:])
        parts.append(f"<table><tr>{head}</tr>{tail}</table>")
    return "\n".join(parts)


def read_json(path):
    """The content of a JSON file, None where there is none."""
    return json.loads(path.read_text()) if path.is_file() else None


def read_history(path):
    """`{name: [value per epoch]}` of the losses and errors in a run's history.csv, None where there is none."""
    if not path.is_file():
        return None
    with path.open() as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else []) if name.endswith(("loss", "mse"))]
    return {name: [float(row[name]) for row in rows] for name in names} or None


if __name__ == "__main__":
    cli.run(main)
