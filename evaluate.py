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
training folds, on which t is fitted.

Writes report.html, PNGs, metrics.json, .csv, .md (a forecaster also forecast.gif; a classifier scores.npz; with --input
frames.npy or probabilities.json in their place) to a new folder: `<run>/evaluation/<n>`,
`runs/<system>/evaluations/<n>` for a served folder, `runs/fused/<n>`, `runs/mean/<n>`, or `--out`.
"""

import argparse
import dataclasses
import json
import os
import pathlib

import numpy as np

from keras_st import cli

with cli.quiet_import():
    import tensorflow as tf

    tf.config.list_physical_devices()

from keras_st import saved, viz
from keras_st.metrics import classify, localisation
from keras_st.metrics import forecast as metrics
from keras_st.reports import classify as class_report
from keras_st.reports import forecast as forecast_report
from keras_st.reports import frame_labels as frame_report
from keras_st.reports import fusion
from keras_st.reports.attention import draw_attention, summarise_localisation
from keras_st.reports.files import read_history, write_report, written_aside
from keras_st.saved import SavedClassifier
from keras_st.specs import InputError
from pipelines.clips import read_clip

SHOWN = 3  # sequences drawn in the report
EXTRACTED_CLIPS, AT_ONCE = 20, 8  # clips of a video for its features, and how many of them at a time


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("path", nargs="?", help="run folder, .keras file or served folder")
    parser.add_argument(
        "--input", help=".npy clip (T, H, W[, C]), uint8 0..255 or float 0..1; of a classifier also a video"
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
        result, *arrays = fusion.fuse(options.fuse, options.weights, options.calibration or (), options.tune or ())
        out = write_classes(pathlib.Path(options.out or next_number("runs/fused")), result, {}, None, *arrays)
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
            print(f"features: {extract(model, options)}")
            return
        if is_classifier:
            views = {"test_clips": options.clips, "test_crops": options.crops}
            views = {name: value for name, value in views.items() if value is not None}
            if options.input:
                out = classify_input(model, options.input, out, views)
            else:
                out = score_classes(model, out, views, options.split or "test")
        elif options.input:
            out = predict(model, options.input, options.horizon, out)
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
    result = forecast_report.summarise(scores, recipe, forecaster)
    history = read_history(forecaster.path.parent / "history.csv")
    if history is not None:
        result["history"] = history
    if labels:
        labels, logits = np.concatenate(labels), np.concatenate(logits)
        result["classification"] = class_report.summarise_classes(labels, logits)
    with written_aside(out) as folder:
        (folder / "metrics.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
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
        pictures += draw_history(folder, history)
        write_report(folder, f"{recipe.system} on {recipe.data['name']}", pictures, folder / "metrics.md")
    print((out / "metrics.md").read_text())
    return out


def draw_history(folder, history):
    """The losses over epochs, where they are known; `[(caption, file)]`."""
    if history is None:
        return []
    losses = {name: values for name, values in history.items() if name.endswith("loss")}
    viz.training_curves(losses).savefig(folder / "training.png")
    return [("Training", "training.png")]


def recipe_beside(model, **task):
    """The recipe a model was trained with, with options of its task replaced."""
    import train  # which imports this module

    if model.recipe is None:
        raise InputError(
            f"There is no recipe.yaml beside the model, so its data set is unknown. Received: {model.path}"
        )
    recipe = train.load_recipe(model.recipe)
    recipe = dataclasses.replace(recipe, task=dataclasses.replace(recipe.task, **task))
    if not model.feature_is_known:  # a .keras file without features.json beside it
        model.features = train.features_of(recipe, "test")
    return recipe


def test_split(forecaster, horizon):
    """`(recipe, batches)` of the test split a forecaster was trained beside."""
    import train

    recipe = recipe_beside(forecaster, horizon_frames=forecaster.horizon_frames if horizon is None else horizon)
    return recipe, train.batches_of(recipe, forecaster.features, "test")


# Classes


def score_classes(model, out, views=(), split="test"):
    """Scores a classifier on a split of its data set; writes tables, pictures, scores.npz and the report."""
    recipe = recipe_beside(model, **dict(views))
    if recipe.task.labels == "frames":
        return score_frame_labels(model, out, recipe, split)
    task, parts, frames, looked = recipe.task, [], {}, {}
    boxes = true_boxes(recipe, split)
    for inputs, targets in views_of(recipe, model.features, split):
        views = {name: inputs[name].numpy() for name in task.streams}
        logits, averaged, attention = score_views(model, views, task.average)
        labels, names = targets["logits"].numpy(), [name.decode() for name in inputs["id"].numpy()]
        parts.append((labels, averaged, names, (logits.argmax(-1) == labels[:, None]).mean(axis=1)))
        for n, (label, guess, name) in enumerate(zip(labels, averaged.argmax(-1), names)):
            pair = (model.classes[label], model.classes[guess])
            wanted = label != guess and len(frames.setdefault(pair, [])) < class_report.EXAMPLES
            if model.shows_pixels and (wanted or len(looked) < SHOWN):
                video = viewable(views[task.streams[0]][n, 0], model.feature)
            if model.shows_pixels and wanted:
                frames[pair].append((name, video))
            if attention is not None and (boxes or len(looked) < SHOWN):
                looked[name] = (attention[n, 0], video if model.shows_pixels and len(looked) < SHOWN else None)
    if not parts:
        raise InputError(f"A split that is scored must hold videos. Received: split={split!r}, with none")
    labels, scores, names, views_right = (np.concatenate(part) for part in zip(*parts))
    result = {
        **heading(model, recipe, split, len(labels)),
        "views": {
            "clips": task.test_clips,
            "crops": task.test_crops,
            "frames": task.clip_frames,
            "average": task.average,
        },
        "view_accuracy": float(views_right.mean()),
        "classification": class_report.summarise_classes(labels, scores, model.classes),
        "seed": recipe.training.seed,
        **cli.provenance(model.path),
    }
    if boxes and looked:
        probabilities, truth = dict(zip(names, scores)), dict(zip(names, labels.tolist()))
        maps, size = {name: attention for name, (attention, _) in looked.items()}, model.feature.shape[1:3]
        share = localisation.mean_share(
            [localisation.Tube(0, tube) for tube in true_boxes(recipe, "train").values()], size
        )
        result["localisation"] = summarise_localisation(maps, probabilities, truth, boxes, size, share)
    history = read_history(model.path.parent / "history.csv")
    if history is not None:
        result["history"] = history
    shown = [(name, video, maps, boxes.get(name)) for name, (maps, video) in looked.items() if video is not None]
    return write_classes(out, result, frames, history, labels, scores, names, model.classes, shown)


def heading(model, recipe, split, videos):
    """What every evaluation of a classifier says first."""
    streams = "" if recipe.task.streams == ("video",) else f" ({', '.join(recipe.task.streams)})"
    told = {"system": recipe.system + streams, "data": recipe.data, "split": split, "videos": videos}
    return told if model.model is None else {**told, "parameters": model.model.count_params()}


def true_boxes(recipe, split):
    """`{id: boxes (T, 4)}` of the frames of every video's first view; empty where the data set has none.

    Boxes are in pixels of whole frames: a task that resizes or crops is not scored by them.
    """
    import train
    from pipelines.classify import view_places

    clips, task = train.dataset_of(recipe, split, encoded=False), recipe.task
    if "boxes" not in clips.element_spec:
        return {}
    if task.resize or task.crop:
        print("boxes are of whole frames: with a resize or crop, where attention lies is not scored")
        return {}
    found = {}
    for clip in clips:
        places = view_places(tf.shape(clip["boxes"])[0], task)[0]
        found[clip["id"].numpy().decode()] = tf.gather(clip["boxes"], places).numpy()
    return found


def score_frame_labels(model, out, recipe, split):
    """Scores a model that labels frames; writes tables, pictures, scores.npz (frames below each other), report."""
    parts = []
    for inputs, targets in views_of(recipe, model.features, split):
        views = {name: inputs[name].numpy()[0] for name in recipe.task.streams}  # one video, one view of all of it
        logits = model.outputs(views)["logits"][0]
        if not np.isfinite(logits).all():
            raise InputError(f"The model's logits are not finite. Received: {model.path}")
        parts.append((inputs["id"].numpy()[0].decode(), targets["logits"].numpy()[0], classify.sigmoid(logits)))
    names, labels, scores = zip(*parts)
    result = {
        **heading(model, recipe, split, len(names)),
        "frame_labels": frame_report.summarise_frame_labels(labels, scores, model.classes),
        "seed": recipe.training.seed,
        **cli.provenance(model.path),
    }
    history = read_history(model.path.parent / "history.csv")
    if history is not None:
        result["history"] = history
    with written_aside(out) as folder:
        (folder / "metrics.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
        rows = {"scores": np.concatenate(scores).astype("float32"), "labels": np.concatenate(labels).astype("int8")}
        np.savez(folder / "scores.npz", **rows, ids=names, lengths=[len(s) for s in scores], classes=model.classes)
        frame_report.write_tables(folder, result)
        pictures = frame_report.draw(folder, parts[:SHOWN], model.classes) + draw_history(folder, history)
        write_report(folder, f"{result['system']} on {result['data']['name']}", pictures, folder / "metrics.md")
    print((out / "metrics.md").read_text())
    return out


def write_classes(out, result, frames, history, labels, scores, names, classes, attention=()):
    """The folder of an evaluation of classes; returns its path."""
    with written_aside(out) as folder:
        (folder / "metrics.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
        np.savez(folder / "scores.npz", scores=scores.astype("float32"), labels=labels, ids=names, classes=classes)
        class_report.write_tables(folder, result)
        pictures = draw_attention(folder, attention) + class_report.draw(folder, result, frames)
        pictures += draw_history(folder, history)
        write_report(folder, f"{result['system']} on {result['data']['name']}", pictures, folder / "metrics.md")
    print((out / "metrics.md").read_text())
    return out


def views_of(recipe, features, split):
    """Batches of the test views of a split, as many videos as views fit in a training batch."""
    import train
    from pipelines.classify import view_batches

    task = recipe.task
    videos = max(1, recipe.training.batch_size // (task.test_clips * task.test_crops))
    return view_batches(train.dataset_of(recipe, split), features, task, videos)


def score_views(model, views, average):
    """`(logits (B, V, K), scores (B, K), attention (B, V, T, h, w, 1) or None)` of views, by input (B, V, T, ...).

    Scores are probabilities.
    """
    batch, count = next(iter(views.values())).shape[:2]
    merged = {name: x.reshape(batch * count, *x.shape[2:]) for name, x in views.items()}
    outputs = model.outputs(merged)
    logits, attention = outputs["logits"].reshape(batch, count, -1), outputs.get("attention")
    if attention is not None:
        attention = attention.reshape(batch, count, *attention.shape[1:])
    if not np.isfinite(logits).all():
        raise InputError(f"The model's logits are not finite. Received: {model.path}")
    if average == "logits":
        return logits, classify.softmax(logits.mean(axis=1)), attention
    return logits, classify.softmax(logits).mean(axis=1), attention


def classify_input(model, path, out, views):
    """Says what happens in one video or clip; writes probabilities.json, frames.png and report.html."""
    from pipelines.classify import views_of_clip

    recipe = recipe_beside(model, **views)
    if (model.recipe or {}).get("task", {}).get("labels") == "frames":
        raise InputError(f"--input is for a model of one class a video. Received: {model.path}, which labels frames")
    if len(model.features) > 1 or not model.shows_pixels:
        names = [feature.name for feature in model.features]
        raise InputError(f"--input is for a model of frames alone or flow alone. Received: a model of {names}")
    clip = read_input(path, recipe.data, model.feature)
    try:
        shown = model.scale(clip)
        low, high = model.value_range
        seen = views_of_clip(low + (high - low) * shown, recipe.task, model.feature).numpy()
        _, scores, attention = score_views(model, {model.feature.name: seen[None]}, recipe.task.average)
    except (InputError, tf.errors.InvalidArgumentError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be classified: {reason} Received: shape={clip.shape}") from error
    order = np.argsort(-scores[0])[:10]
    table = {model.classes[n]: float(scores[0, n]) for n in order}
    with written_aside(out) as folder:
        (folder / "probabilities.json").write_text(json.dumps(table, indent=1) + "\n")
        lines = ["| class | probability |", "|---|---|", *(f"| {name} | {p:.3f} |" for name, p in table.items())]
        (folder / "probabilities.md").write_text("\n".join(lines) + "\n")
        viz.examples([(os.path.basename(path), viewable(shown, model.feature))]).savefig(folder / "frames.png")
        pictures = [("Frames", "frames.png")]
        if attention is not None:
            clip = viewable(seen[0], model.feature)
            pictures += draw_attention(folder, [(os.path.basename(path), clip, attention[0, 0], None)])
        title = f"{os.path.basename(path)}: {model.classes[order[0]]}"
        write_report(folder, title, pictures, folder / "probabilities.md")
    print((out / "probabilities.md").read_text())
    return out


def viewable(frames, feature):
    """What is drawn of a clip of values 0..1: of flow its colours, full at its longest, at least a pixel."""
    if feature.name != "flow":
        return frames
    low, high = feature.value_range
    flow = low + (high - low) * frames
    return viz.flow_to_color(flow, largest=max(1.0, float(np.linalg.norm(flow, axis=-1).max())))


def read_input(path, data, feature):
    """The frames of a file as the data set of a recipe holds them: a video resized and thinned out alike.

    A .npy clip is taken as it is.
    """
    from pipelines.videos import decode

    if pathlib.Path(path).suffix == ".npy":
        return read_clip(path)
    if feature.name == "flow":
        raise InputError(
            f"This model sees optical flow, as a .npy file (T, H, W, 2) in {feature.unit}. Received: {path}"
        )
    size = None if None in feature.shape[1:3] else feature.shape[1:3]
    channels = 1 if feature.dtype == "uint8" and feature.shape[-1] == 1 else 3
    return decode(path, size, channels, feature.fps)[:: data.get("frame_step", 1)]


def extract(model, options):
    """Features of the videos of a split: the mean over views (and frames) of every tap, one .npz of arrays by tap.

    Beside them `labels` and `ids`. 20 clips a video (the P3D paper's) unless told. Returns its path.
    """
    split = options.split or "test"
    out = pathlib.Path(options.out or model.path.parent / f"features_{split}.npz")
    if out.exists() or not out.parent.is_dir():
        raise InputError(f"The features go to a new file in a folder that exists. Received: --out={out}")
    recipe = recipe_beside(model, test_clips=options.clips or EXTRACTED_CLIPS, test_crops=options.crops or 1)
    if model.model is None:
        raise InputError(f"--extract needs a run folder or a .keras file. Received: {model.path}")
    try:
        taps = model.model.taps(options.extract)
    except ValueError as error:
        raise InputError(str(error)) from error
    parts = {name: [] for name in (*options.extract, "labels", "ids")}
    for inputs, targets in views_of(recipe, model.features, split):
        for video in inputs[recipe.task.streams[0]].numpy():
            clips = [taps(video[n : n + AT_ONCE], training=False) for n in range(0, len(video), AT_ONCE)]
            for name in options.extract:
                values = np.concatenate([np.asarray(clip[name]) for clip in clips])
                frames = name == "pool5" and values.ndim == 3  # of a frame-wise network
                parts[name].append(values.mean(axis=(0, 1) if frames else 0)[None])
        parts["labels"].append(targets["logits"].numpy())
        parts["ids"].append(np.array([name.decode() for name in inputs["id"].numpy()]))
    partial = out.with_name(f".{out.name}.partial.npz")
    np.savez(partial, **{name: np.concatenate(values) for name, values in parts.items()})
    os.replace(partial, out)
    return out


if __name__ == "__main__":
    cli.run(main)
