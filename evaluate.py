"""Scores a trained model on held-out data, or runs it on a clip of yours.

    python evaluate.py PATH                                      scores on the test split of its own data set
    python evaluate.py PATH --input clip.npy --horizon 15        forecasts the frames after a clip
    python evaluate.py PATH --input clip.avi                     says what happens in a video
    python evaluate.py PATH --split validation                   scores a classifier on another split
    python evaluate.py --fuse PATH PATH --weights 0.6 0.4        averages the scores of evaluations of classifiers
    python evaluate.py --fuse A B --tune VA VB                   with the weights that are best on the validation split
    python evaluate.py --fuse A idt.csv --calibration folds.csv  with scores from elsewhere, here margins of SVMs
    python evaluate.py --mean PATH PATH PATH                     averages the results on the splits of a data set
    python evaluate.py PATH --extract pool5 prob --split train   features of the videos of a split, one .npz

PATH is a run folder, a .keras file in one, or a served folder (saved_models/<system>/<version>); after --fuse and
--mean the folder of an evaluation. --fuse and --tune also take files: CSV (header `id,<class>,<class>,...`, or also
`label`), or .npz of `ids`, `scores` (videos, classes), also `classes`, `labels`. They hold probabilities, or margins,
of which `softmax(margins / t)` is fused; --calibration names, for each file of margins, one of labelled margins of
training folds, on which t is fitted. Evaluations of several labels a video are averaged as they are.

Writes report.html, PNGs, metrics.json, .csv, .md (a forecaster also forecast.gif; a classifier scores.npz, of several
labels also predictions.csv; with --input frames.npy or probabilities.json in their place) to a new folder:
`<run>/evaluation/<n>`, `runs/<system>/evaluations/<n>` for a served folder, `runs/fused/<n>`, `runs/mean/<n>`, or
`--out`.
"""

import argparse
import os
import pathlib
from collections.abc import Callable

import numpy as np

from keras_st import cli

with cli.quiet_import():
    import tensorflow as tf

    tf.config.list_physical_devices()

import evaluate_classes
import evaluate_hurricanes
import evaluate_nowcast
from evaluate_classes import recipe_beside
from keras_st import saved, viz
from keras_st.metrics import forecast as metrics
from keras_st.reports import classify as class_report
from keras_st.reports import forecast as forecast_report
from keras_st.reports import fusion
from keras_st.reports import several_labels as label_report
from keras_st.reports.files import write_evaluation, write_report, written_aside
from keras_st.saved import SavedClassifier
from keras_st.specs import InputError
from pipelines.clips import read_clip

SHOWN = 3  # sequences drawn in the report

# name of a data set -> function(forecaster, out, horizon): scores of their own, where those of pixels say little
OWN_SCORES: dict[str, Callable] = {
    "hurricane": evaluate_hurricanes.score_tracking,
    "hurricane_tracks": evaluate_hurricanes.score_forecasts,
    "radar": evaluate_nowcast.score,
}


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("path", nargs="?", help="run folder, .keras file or served folder")
    parser.add_argument(
        "--input",
        help=".npy clip (T, H, W[, C]), uint8 0..255 or float 0..1, of a field in its unit (rain: mm/h, NaN missing); "
        "of a classifier also a video",
    )
    parser.add_argument("--horizon", type=int, help="frames to forecast (default: as trained)")
    parser.add_argument("--fuse", nargs="+", metavar="SCORES", help="folders of evaluations, files of scores")
    parser.add_argument("--weights", nargs="+", type=float, help="of what is fused (default: equal)")
    parser.add_argument("--tune", nargs="+", metavar="SCORES", help="the systems of --fuse on the validation split")
    parser.add_argument("--calibration", nargs="+", metavar="FILE", help="labelled margins, for each file of margins")
    parser.add_argument("--mean", nargs="+", metavar="EVALUATION", help="of one system on the splits of a data set")
    parser.add_argument("--extract", nargs="+", metavar="TAP", help="layers of a classifier's backbone, or prob")
    parser.add_argument("--split", help="split that is scored or whose features are extracted (default: test)")
    parser.add_argument("--clips", type=int, help="clips of a video at test or extraction (default: as in the recipe)")
    parser.add_argument("--crops", type=int, choices=(1, 5, 10), help="crops of a clip (default: as in the recipe)")
    parser.add_argument("--out", help="folder to make (--extract: .npz file to write); must not exist")
    options = cli.parse(parser, argv)
    if options.out and pathlib.Path(options.out).exists():
        raise InputError(f"Nothing is overwritten; what --out names must not exist. Received: --out={options.out}")
    check_together(options)
    if options.fuse:
        out = fuse(options, pathlib.Path(options.out or next_number("runs/fused")))
    elif options.mean:
        result = fusion.mean_of_splits(options.mean)
        out = fusion.write_mean(pathlib.Path(options.out or next_number("runs/mean")), result)
    else:
        model = saved.load(options.path)
        out = pathlib.Path(options.out) if options.out else next_folder(model)
        is_classifier = isinstance(model, SavedClassifier)
        for option in ("horizon",) if is_classifier else ("extract", "split", "clips", "crops"):
            if getattr(options, option) is not None:
                kind = "classifier" if is_classifier else "forecaster"
                raise InputError(f"--{option} is not for a {kind}. Received: {options.path}")
        if options.extract:
            print(f"features: {evaluate_classes.extract(model, options)}")
            return
        if is_classifier:
            views = {"test_clips": options.clips, "test_crops": options.crops}
            views = {name: value for name, value in views.items() if value is not None}
            if options.input:
                out = evaluate_classes.classify_input(model, options.input, out, views)
            else:
                out = evaluate_classes.score_classes(model, out, views, options.split or "test")
        elif options.input:
            own = evaluate_nowcast.predict if model.feature.missing else predict
            out = own(model, options.input, options.horizon, out)
        else:
            out = score(model, out, options.horizon)
    print(f"report: {out / 'report.html'}")


def check_together(options):
    """Raises InputError for options that do not go together."""
    given = [name for name in ("path", "fuse", "mean") if getattr(options, name) is not None]
    if len(given) != 1:
        raise InputError(f"Give a model, --fuse or --mean, one of them. Received: {' and '.join(given) or 'none'}")
    for option in ("weights", "tune", "calibration"):
        if getattr(options, option) is not None and not options.fuse:
            raise InputError(f"--{option} goes with --fuse. Received: --{option}={getattr(options, option)}")
    of_models = ("input", "horizon", "extract", "split", "clips", "crops")
    more = [f"--{name}" for name in of_models if getattr(options, name) is not None]
    if more and options.path is None:
        raise InputError(f"--{given[0]} takes evaluations, no options of models. Received: {', '.join(more)}")
    if options.split and options.input:
        raise InputError(f"--split is of a data set, not of --input. Received: --split={options.split}")
    if options.extract and options.input:
        raise InputError(f"--extract reads a split, not --input. Received: --input={options.input}")


def fuse(options, out):
    """Joins evaluations; returns the folder it writes."""
    if label_report.is_of_several_labels(options.fuse[0]):
        for option in ("tune", "calibration"):
            if getattr(options, option) is not None:
                raise InputError(f"--{option} is for one class a video. Received: {options.fuse[0]}, of several")
        return evaluate_classes.write_several_labels(out, *label_report.fuse(options.fuse, options.weights))
    result, *arrays = fusion.fuse(options.fuse, options.weights, options.calibration or (), options.tune or ())
    return evaluate_classes.write_classes(out, result, {}, *arrays)


def next_folder(model):
    """`<run>/evaluation/<n>`, or `runs/<system>/evaluations/<n>`: a served folder is never written to."""
    path = model.path
    if path.suffix == ".keras":
        return next_number(path.parent / "evaluation")
    return next_number(pathlib.Path("runs", (model.recipe or {}).get("system", "served"), "evaluations"))


def next_number(parent):
    """`parent/<n>`, the first that is free above all that are taken."""
    parent = pathlib.Path(parent)
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
        maps = frames.shape[-1] != context.shape[-1]  # of another kind than the clip, in 0..1
        shown = frames if forecaster.is_video or maps else forecaster.scale(frames)
        context = context.mean(axis=-1, keepdims=True) if maps else context
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
    if own := OWN_SCORES.get((forecaster.recipe or {}).get("data", {}).get("name")):
        return own(forecaster, out, horizon)
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
    result = forecast_report.summarise(scores, recipe, forecaster)
    if labels:
        labels, logits = np.concatenate(labels), np.concatenate(logits)
        result["classification"] = class_report.summarise_classes(labels, logits)

    def write(folder):
        forecast_report.write_tables(folder, result)
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
        if "classification" in result:
            pictures += class_report.draw(folder, result, {})
        return pictures

    return write_evaluation(out, result, write, forecaster.path.parent)


def test_split(forecaster, horizon):
    """`(recipe, batches)` of the test split a forecaster was trained beside."""
    import train

    recipe = recipe_beside(forecaster, horizon_frames=forecaster.horizon_frames if horizon is None else horizon)
    return recipe, train.batches_of(recipe, forecaster.features, "test")


if __name__ == "__main__":
    cli.run(main)
