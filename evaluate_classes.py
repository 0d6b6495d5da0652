"""Scores a trained classifier, or runs it on a video: what `evaluate.py` does with models of classes."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import tensorflow as tf

from keras_st import cli, viz
from keras_st.metrics import classify, localisation
from keras_st.reports import classify as class_report
from keras_st.reports import frame_labels as frame_report
from keras_st.reports import several_labels as label_report
from keras_st.reports.attention import draw_attention, summarise_localisation
from keras_st.reports.files import write_evaluation, write_report, written_aside
from keras_st.specs import LENGTH, InputError
from pipelines.clips import read_clip

SHOWN = 3  # videos drawn in the report
EXTRACTED_CLIPS, AT_ONCE = 20, 8  # clips of a video for its features, and how many of them at a time


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


def score_classes(model, out, views=(), split="test"):
    """Scores a classifier on a split of its data set; writes tables, pictures, scores.npz and the report."""
    recipe = recipe_beside(model, **dict(views))
    if recipe.task.labels == "frames":
        return score_frame_labels(model, out, recipe, split)
    if recipe.task.labels == "several":
        return score_several_labels(model, out, recipe, split)
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
        "views": views_told(task),
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
    shown = [(name, video, maps, boxes.get(name)) for name, (maps, video) in looked.items() if video is not None]
    return write_classes(out, result, frames, labels, scores, names, model.classes, shown, model.path.parent)


def heading(model, recipe, split, videos):
    """What every evaluation of a classifier says first."""
    streams = "" if recipe.task.streams == ("video",) else f" ({', '.join(recipe.task.streams)})"
    told = {"system": recipe.system + streams, "data": recipe.data, "split": split, "videos": videos}
    return told if model.model is None else {**told, "parameters": model.model.count_params()}


def views_told(task):
    """What metrics.json says of the views of a video."""
    return {
        "clips": task.test_clips,
        "crops": task.test_crops,
        "frames": task.clip_frames,
        "average": task.average,
    }


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

    def write(folder):
        rows = {"scores": np.concatenate(scores).astype("float32"), "labels": np.concatenate(labels).astype("int8")}
        np.savez(folder / "scores.npz", **rows, ids=names, lengths=[len(s) for s in scores], classes=model.classes)
        frame_report.write_tables(folder, result)
        return frame_report.draw(folder, parts[:SHOWN], model.classes)

    return write_evaluation(out, result, write, model.path.parent)


def score_several_labels(model, out, recipe, split):
    """Scores a model of several labels a video; writes tables, pictures, predictions.csv, scores.npz, report."""
    scores = label_report.Scores(len(model.classes), recipe.data.get("level") == "segment")
    for inputs, targets in views_of(recipe, model.features, split):
        views = {feature.name: inputs[feature.name].numpy() for feature in model.features}
        _, averaged, _ = score_views(model, views, recipe.task.average)
        scores.add([name.decode() for name in inputs["id"].numpy()], targets["logits"].numpy(), averaged)
    result = {
        **heading(model, recipe, split, len(scores.ids)),
        "views": views_told(recipe.task),
        "several_labels": scores.summary(model.classes),
        "seed": recipe.training.seed,
        **cli.provenance(model.path),
    }
    return write_several_labels(out, result, scores, model.classes, model.path.parent)


def write_several_labels(out, result, scores, classes, run=None):
    """The folder of an evaluation of several labels a video; returns its path."""

    def write(folder):
        scores.save(folder / "scores.npz", classes)
        if not scores.segments:
            label_report.write_predictions(folder / "predictions.csv", scores)
        label_report.write_tables(folder, result)
        return label_report.draw(folder, result)

    return write_evaluation(out, result, write, run)


def write_classes(out, result, frames, labels, scores, names, classes, attention=(), run=None):
    """The folder of an evaluation of classes; returns its path."""

    def write(folder):
        np.savez(folder / "scores.npz", scores=scores.astype("float32"), labels=labels, ids=names, classes=classes)
        class_report.write_tables(folder, result)
        return draw_attention(folder, attention) + class_report.draw(folder, result, frames)

    return write_evaluation(out, result, write, run)


def views_of(recipe, features, split):
    """Batches of the test views of a split, as many videos as views fit in a training batch."""
    import train
    from pipelines.classify import view_batches

    task = recipe.task
    videos = max(1, recipe.training.batch_size // (task.test_clips * task.test_crops))
    return view_batches(train.dataset_of(recipe, split), features, task, videos)


def score_views(model, views, average):
    """`(logits (B, V, K), scores (B, K), attention (B, V, T, h, w, 1) or None)` of views, by input (B, V, T, ...).

    Scores are probabilities, float64.
    """
    batch, count = next(iter(views.values())).shape[:2]
    merged = {name: x.reshape(batch * count, *x.shape[2:]) for name, x in views.items()}
    outputs = model.outputs(merged)
    logits, attention = outputs["logits"].reshape(batch, count, -1), outputs.get("attention")
    if attention is not None:
        attention = attention.reshape(batch, count, *attention.shape[1:])
    if not np.isfinite(logits).all():
        raise InputError(f"The model's logits are not finite. Received: {model.path}")
    probabilities, exact = classify.sigmoid if model.multi_label else classify.softmax, logits.astype("float64")
    if average == "logits":
        return logits, probabilities(exact.mean(axis=1)), attention
    return logits, probabilities(exact).mean(axis=1), attention


def classify_input(model, path, out, views):
    """Says what happens in one video or clip; writes probabilities.json, frames.png and report.html."""
    from pipelines.classify import views_of_clip

    recipe = recipe_beside(model, **views)
    labels = (model.recipe or {}).get("task", {}).get("labels", "video")
    if labels != "video":
        raise InputError(f"--input is for a model of one class a video. Received: {model.path}, of labels={labels}")
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
    if LENGTH in model.features or len(model.feature.shape) == 1:
        raise InputError(
            f"--extract is of clips drawn from videos, not of padded or whole ones. Received: {model.path}"
        )
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
