"""Scores of several systems on the same videos, joined; results on the splits of a data set, averaged.

A system is the folder of a classifier's evaluation, or a file of scores that were made elsewhere:

    .csv    header `id,<class>,<class>,...`, a row a video; columns in any order, one may be `label`, a class
    .npz    `ids` (N,), `scores` (N, K); `classes` (K,), without them the evaluations'; `labels` (N,), columns or names

Ids are those in the evaluations' scores.npz. The file's stem names the system. Its rows are probabilities (none
negative, a sum of 1 within 1e-3) or margins of one classifier per class, such as an SVM of hand-crafted features.
Margins become probabilities by `softmax(margins / t)`. t is fitted on a second file of the same form, with labels:
margins of training videos, each from a classifier not fitted on it (`keras_st.metrics.classify.fit_temperature`).
"""

import collections
import csv
import dataclasses
import json
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np

from keras_st import cli
from keras_st.metrics import classify
from keras_st.reports.classify import summarise_classes
from keras_st.reports.files import read_json, write_report, written_aside
from keras_st.specs import InputError

STEPS = 10  # tuned weights are multiples of 1 / STEPS
NEAR_1 = 1e-3  # of sums of probabilities
METRICS = {
    "accuracy": "top 1",
    "top_5_accuracy": "top 5",
    "mean_class_accuracy": "mean class accuracy",
    "map": "mAP",
}  # that are averaged over splits: name in metrics.json -> in tables


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a folder or a file holds. Rows are videos, columns classes.

    Args:
        path: as given.
        ids: str (N,), unique.
        scores: float64 (N, K), finite.
        classes: str (K,), None where the file does not name them.
        labels: names or columns (N,), None where the file has none.
        result: metrics.json of an evaluation, None of a file.
    """

    path: str
    ids: np.ndarray
    scores: np.ndarray
    classes: np.ndarray | None = None
    labels: np.ndarray | None = None
    result: dict[str, Any] | None = None

    @property
    def system(self):
        return pathlib.Path(self.path).stem if self.result is None else self.result["system"]

    @property
    def are_probabilities(self):
        return (self.scores >= 0).all() and (np.abs(self.scores.sum(axis=1) - 1) <= NEAR_1).all()


# Fusion


def fuse(paths, weights=None, calibration=(), tune=()):
    """The scores of several systems, averaged: `(metrics, labels, scores, ids, classes)`, as an evaluation has them.

    Args:
        paths: folders of evaluations and files of scores, of the same videos and classes; one folder or more.
        weights: of the systems; None: equal.
        calibration: files of labelled margins, one for each file of margins in `paths`, in their order.
        tune: in place of weights: the same systems on the validation split, in the order of `paths`. The weights are
            multiples of 0.1 (`classify.tuned_weights`); a file's margins take the temperature of `calibration`.
    """
    if tune and weights is not None:
        raise InputError(f"Weights are given or tuned, not both. Received: --weights {weights} and --tune")
    systems = [read(path) for path in paths]
    first = next((system for system in systems if system.result), None)
    if first is None:
        raise InputError(f"Files of scores are fused with an evaluation or more. Received: {' '.join(map(str, paths))}")
    systems = [aligned(system, first.ids, first.classes) for system in systems]
    labels = labels_of(systems)
    fits = fit_temperatures(systems, calibration)
    tuned = None
    if tune:
        weights, tuned = tune_weights(tune, systems, fits)
    try:
        fused = classify.fused([probabilities(*pair) for pair in zip(systems, fits)], weights)
    except ValueError as error:
        raise InputError(str(error)) from error
    results = [system.result for system in systems if system.result]
    metrics = {
        **{name: first.result[name] for name in ("data", "split", "videos")},
        "views": {
            name: " / ".join(dict.fromkeys(str(result["views"].get(name)) for result in results))
            for name in first.result["views"]
        },
        "system": " + ".join(system.system for system in systems),
        "fused": [stored_path(path) for path in paths],
        "weights": weights or [1 / len(systems)] * len(systems),
        "parts": [part_alone(*pair, labels) for pair in zip(systems, fits)],
        "calibration": [fit for fit in fits if fit],
        "classification": summarise_classes(labels, fused, first.classes.tolist()),
        "environment": cli.environment(),
    }
    if tuned:
        metrics["tuned"] = tuned
    return metrics, labels, fused, first.ids, first.classes


def part_alone(system, fit, labels):
    """What one of the systems has by itself."""
    return {"system": system.system, "accuracy": classify.top_k_accuracy(labels, probabilities(system, fit))}


def fit_temperatures(systems, calibration):
    """`{"file", "temperature", "fitted_on", "videos"}` of every system of margins, None of the others."""
    of_margins = [system.path for system in systems if not system.are_probabilities]
    if len(of_margins) != len(calibration):
        raise InputError(
            "Margins (rows that are not probabilities) need --calibration, a file of labelled margins of training "
            f"folds for each file of margins. Received: {_list(calibration)} for {_list(of_margins)}"
        )
    fits, files = [], iter(calibration)
    for system in systems:
        fits.append(None if system.are_probabilities else fit_temperature(system, read(next(files))))
    return fits


def fit_temperature(system, held_out):
    """The entry of one system; `held_out` are its margins on other videos."""
    _check_apart("Temperatures are fitted", held_out, system)
    if held_out.labels is None or held_out.are_probabilities:
        lack = "no labels" if held_out.labels is None else "probabilities"
        raise InputError(f"--calibration takes margins with labels. Received: {held_out.path}, with {lack}")
    held_out = aligned(held_out, held_out.ids, system.classes)
    try:
        temperature = classify.fit_temperature(held_out.labels, held_out.scores)
    except ValueError as error:
        raise InputError(f"{held_out.path}: {error}") from error
    return {
        "file": stored_path(system.path),
        "temperature": temperature,
        "fitted_on": stored_path(held_out.path),
        "videos": len(held_out.ids),
    }


def probabilities(system, fit):
    """(N, K) of a system, of margins by their temperature."""
    return classify.softmax(system.scores / fit["temperature"]) if fit else system.scores


def tune_weights(paths, systems, fits):
    """`(weights, what metrics.json tells about them)`."""
    if len(paths) != len(systems):
        raise InputError(f"--tune takes the {len(systems)} systems of --fuse in their order. Received: {_list(paths)}")
    trials = [read(path) for path in paths]
    split = next(system.result["split"] for system in systems if system.result)
    for trial, system in zip(trials, systems):
        if trial.result and (trial.result["split"] != "validation" or split == "validation"):
            raise InputError(
                "Weights are tuned on the validation split only (evaluate.py MODEL --split validation), for another. "
                f"Received: {trial.path}, split={trial.result['split']!r}, for split={split!r}"
            )
        if trial.result and system.result and trial.system != system.system:
            raise InputError(
                "--tune takes the systems of --fuse in their order. "
                f"Received: {trial.path}, system={trial.system!r}, for {system.path}, system={system.system!r}"
            )
        if trial.are_probabilities != system.are_probabilities:
            raise InputError(
                "Of a system both --fuse and --tune take margins, or both probabilities. "
                f"Received: {system.path} and {trial.path}"
            )
    first = next((trial for trial in trials if trial.labels is not None), None)
    if first is None:
        raise InputError(f"--tune needs labels, of one file or more. Received: none in {_list(paths)}")
    if not any(trial.result for trial in trials):  # nothing told the split
        _check_apart("Weights are tuned", first, systems[0])
    trials = [aligned(trial, first.ids, systems[0].classes) for trial in trials]
    labels, scores = labels_of(trials), [probabilities(*pair) for pair in zip(trials, fits)]
    weights = classify.tuned_weights(labels, scores, STEPS)
    return weights, {
        "evaluations": [stored_path(path) for path in paths],
        "split": "validation",
        "videos": len(labels),
        "accuracy": classify.top_k_accuracy(labels, classify.fused(scores, weights)),
        "step": 1 / STEPS,
    }


# Reading


def read(path):
    """`Scores` of an evaluation's folder, a CSV or an .npz file, checked."""
    path = pathlib.Path(path)
    if path.suffix.lower() in (".csv", ".npz") and not path.is_dir():
        return _checked(path, _read_csv(path) if path.suffix.lower() == ".csv" else _read_npz(path))
    try:
        arrays = _read_npz(path / "scores.npz")
    except InputError as error:
        raise InputError(
            f"{path} must be the folder of a classifier's evaluation, or a .csv or .npz file. {error}"
        ) from error
    if "columns" in arrays:
        raise InputError(f"What is fused must be one class a video, of all. Received: several labels in {path}")
    for name in ("classes", "labels"):
        if name not in arrays:
            raise InputError(f"{path} must be the folder of a classifier's evaluation. Received: no {name}")
    result = read_result(path)
    if "several_labels" in result:
        raise InputError(f"What is fused must be one class a video, of all. Received: several labels in {path}")
    if not {"classification", "views"} <= result.keys():
        raise InputError(f"What is fused must be classes of videos. Received: labels of frames in {path}")
    return _checked(path, arrays, result)


def read_result(folder):
    """metrics.json of an evaluation of classes of videos (`classification`) or of labels of frames."""
    try:
        result = read_json(pathlib.Path(folder, "metrics.json"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} must hold a whole metrics.json. Received: {error}") from error
    names = {"system", "data", "split", "videos"}
    if not isinstance(result, dict) or not names <= result.keys() or _entry(result) is None:
        raise InputError(f"The folder must hold metrics.json, of a classifier's evaluation. Received: {folder}")
    return result


def _entry(result):
    return result.get("classification", result.get("frame_labels"))


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in ("ids", "scores", "classes", "labels") if name in stored}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"An .npz file must be whole and hold arrays. Received: {path}: {error}") from error


def _read_csv(path):
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"A file of scores must be there and be CSV. Received: {path}: {error}") from error
    header = rows[0][1] if rows else []
    if header.count("id") != 1 or len(set(header)) < len(header) or len(set(header) - {"id", "label"}) < 2:
        raise InputError(
            f"A CSV file of scores must begin with `id,<class>,<class>,...`, each once. Received: {path}: {header}"
        )
    columns = [n for n, name in enumerate(header) if name not in ("id", "label")]
    scores = np.empty((len(rows) - 1, len(columns)))
    for n, (line, row) in enumerate(rows[1:]):
        try:
            scores[n] = [float(row[column]) for column in columns]
            if len(row) != len(header):
                raise ValueError(f"{len(row)} of them")
        except (ValueError, IndexError) as error:
            raise InputError(
                f"A row must have {len(header)} fields, scores as numbers. Received: {path}, line {line}: {error}"
            ) from error
    arrays = {"scores": scores, "classes": np.array([header[column] for column in columns])}
    for name, key in (("id", "ids"), ("label", "labels")):
        if name in header:
            arrays[key] = np.array([row[header.index(name)] for _, row in rows[1:]], str)
    return arrays


def _checked(path, arrays, result=None):
    """`Scores` of arrays; raises InputError for what they cannot be."""
    for name in ("ids", "scores"):
        if name not in arrays:
            raise InputError(f"A file of scores must hold `ids` and `scores`. Received: {path}, with {sorted(arrays)}")
    for name in arrays.keys() - {"scores"}:
        if arrays[name].dtype.kind == "S":
            arrays[name] = np.char.decode(arrays[name], "utf-8", "replace")
    ids, scores = arrays["ids"], arrays["scores"]
    classes, labels = arrays.get("classes"), arrays.get("labels")
    if scores.ndim != 2 or scores.dtype.kind not in "fiu" or not scores.size or ids.shape != scores.shape[:1]:
        raise InputError(
            "Scores must be numbers (videos, classes), one video or more, with ids (videos,). "
            f"Received: {path}: scores {scores.dtype} {scores.shape}, ids {ids.shape}"
        )
    if not np.isfinite(scores).all():
        row = np.flatnonzero(~np.isfinite(scores).all(axis=1))[0]
        raise InputError(f"Scores must be finite. Received: {path}: {scores[row].tolist()} of {str(ids[row])!r}")
    ids = ids.astype(str)
    if len(set(ids)) < len(ids):
        twice, count = collections.Counter(ids.tolist()).most_common(1)[0]
        raise InputError(f"Every video must be there once. Received: {path}: {twice!r} {count} times")
    if classes is not None:
        classes = classes.astype(str)
        if classes.shape != scores.shape[1:] or len(set(classes)) < len(classes):
            raise InputError(
                "Classes must be names, one of each column of the scores. "
                f"Received: {path}: {classes.tolist()} for {scores.shape[1]} columns"
            )
    if labels is not None and (labels.shape != ids.shape or labels.dtype.kind not in "iuU"):
        raise InputError(
            "Labels must be one class a video, a name or a column. "
            f"Received: {path}: {labels.dtype} {labels.shape} for {len(ids)} videos"
        )
    return Scores(str(path), ids, scores.astype(np.float64), classes, labels, result)


def aligned(system, ids, classes):
    """The system with rows and columns in the order of `ids` and `classes`, labels as columns."""
    own = classes if system.classes is None else system.classes
    if len(own) != system.scores.shape[1]:
        raise InputError(
            f"What is joined must be of the same classes, {len(classes)}. "
            f"Received: {system.path}, with {system.scores.shape[1]} columns"
        )
    column = _places(system.path, "classes", own, classes)
    row = _places(system.path, "videos", system.ids, ids)
    labels = system.labels
    if labels is not None:
        wrong = labels[~np.isin(labels, own if labels.dtype.kind == "U" else np.arange(len(own)))]
        if len(wrong):
            known = ", ".join(own[:3]) if labels.dtype.kind == "U" else f"0..{len(own) - 1}"
            raise InputError(
                f"Labels must be classes, names or columns (here {known}). Received: {system.path}: {str(wrong[0])!r}"
            )
        place = {name: n for n, name in enumerate(classes)}
        names = labels if labels.dtype.kind == "U" else own[labels]
        labels = np.array([place[name] for name in names])[row]
    scores = system.scores[np.ix_(row, column)]
    return dataclasses.replace(system, ids=np.asarray(ids), classes=classes, scores=scores, labels=labels)


def labels_of(systems):
    """int (N,) of aligned systems, of which one or more have labels; those of all must agree."""
    first, *others = (system for system in systems if system.labels is not None)
    for other in others:
        wrong = np.flatnonzero(other.labels != first.labels)
        if len(wrong):
            names = [str(system.classes[system.labels[wrong[0]]]) for system in (first, other)]
            raise InputError(
                f"Labels must agree. Received: {str(first.ids[wrong[0]])!r} is {names[0]!r} in {first.path}, "
                f"{names[1]!r} in {other.path}"
            )
    return first.labels


def _check_apart(what, held_out, system):
    """Raises InputError where both have a video."""
    shared = set(held_out.ids) & set(system.ids)
    if shared:
        raise InputError(
            f"{what} on other videos than the fused ones. "
            f"Received: {held_out.path}, with {len(shared)} of them, such as {str(min(shared))!r}"
        )


def _places(path, what, own, wanted):
    """Where the names `wanted` stand in `own`; InputError unless both are the same names."""
    lacking, more = sorted(set(wanted) - set(own)), sorted(set(own) - set(wanted))
    if lacking or more:
        parts = [
            f"{word} {len(names)}, such as {str(names[0])!r}"
            for word, names in (("lacks", lacking), ("adds", more))
            if names
        ]
        raise InputError(f"What is joined must be of the same {what}. Received: {path}, which {', '.join(parts)}")
    place = {name: n for n, name in enumerate(own)}
    return [place[name] for name in wanted]


def stored_path(path):
    return str(cli.with_variable(str(path)))


def _list(paths):
    return ", ".join(map(str, paths)) or "none"


# Splits


def mean_of_splits(folders):
    """Means over evaluations of one system on the splits of a data set, each split counting alike.

    Every score in `METRICS` that all evaluations have. Returns what metrics.json holds.
    """
    if len(folders) < 2:
        raise InputError(f"A mean is over the evaluations of two splits or more. Received: {_list(folders)}")
    results, arrays = [read_result(folder) for folder in folders], []
    for folder in folders:
        arrays.append(_read_npz(pathlib.Path(folder, "scores.npz")))
        if not {"ids", "classes"} <= arrays[-1].keys():
            raise InputError(f"{folder} must be the folder of a classifier's evaluation. Received: no ids or classes")
    first = results[0]
    facts = [
        {
            "system": result["system"],
            "data set": result["data"]["name"],
            "classes": stored["classes"].tolist(),
            "split": result["split"],
            "views": result.get("views"),
        }
        for result, stored in zip(results, arrays)
    ]
    for folder, own in zip(folders, facts):
        for what in (what for what in own if own[what] != facts[0][what]):
            raise InputError(
                f"What is averaged must agree in its {what}. Received: {folder}: {own[what]}, not {facts[0][what]}"
            )
    sets = [frozenset(a["ids"].ravel().tolist()) for a in arrays]
    for n, ids in enumerate(sets):
        if ids in sets[:n]:
            raise InputError(
                f"Every split counts once. Received: the same videos in {folders[sets.index(ids)]}, {folders[n]}"
            )
    entries = [_entry(result) for result in results]
    scores = [{name: entry[name] for name in METRICS if all(name in e for e in entries)} for entry in entries]
    if not scores[0]:
        raise InputError(f"Evaluations must share a score, one of {', '.join(METRICS)}. Received: {_list(folders)}")
    return {
        **{name: first[name] for name in ("system", "split", "views") if name in first},
        "data": {"name": first["data"]["name"]},
        "mean": classify.mean_over_splits(scores),
        "splits": [
            {"evaluation": stored_path(folder), "data": result["data"], "videos": result["videos"], **entry}
            for folder, result, entry in zip(folders, results, scores)
        ],
        "environment": cli.environment(),
    }


def write_mean(out, result):
    """metrics.json, metrics.md and report.html in a new folder; returns its path."""
    names = {name: title for name, title in METRICS.items() if name in result["mean"]}
    rows = [(entry["evaluation"], entry["videos"], entry) for entry in result["splits"]]
    rows.append(("mean", "", result["mean"]))
    lines = [
        f"{result['system']}, mean over {len(result['splits'])} splits of {result['data']['name']} "
        f"({result['split']} videos), each split counting alike.",
        "",
        "| split | videos | " + " | ".join(names.values()) + " |",
        "|---|---|" + "---|" * len(names),
        *(f"| {name} | {n} | " + " | ".join(f"{scores[m]:.3f}" for m in names) + " |" for name, n, scores in rows),
    ]
    with written_aside(out) as folder:
        (folder / "metrics.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
        (folder / "metrics.md").write_text("\n".join(lines) + "\n")
        write_report(folder, f"{result['system']}: mean over splits", [], folder / "metrics.md")
    print((out / "metrics.md").read_text())
    return out
