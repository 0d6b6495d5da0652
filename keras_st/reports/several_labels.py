"""Scores of several labels a video (YouTube-8M): summary, tables, pictures, the challenge's file, ensembles.

An evaluation keeps the `KEPT` best classes of a video and what it is labelled with, not a row of thousands. Its
scores.npz: `ids` (N,), `classes` (K,); `columns` and `scores` (N, k), the best classes, best first, and their
probabilities; `rated` (R, 3): video, class, 1 or, of classes known not to be the video's (segments), 0.
"""

import csv
import pathlib
import zipfile

import numpy as np

from keras_st import viz
from keras_st.metrics import youtube8m as metrics
from keras_st.reports.files import read_json
from keras_st.specs import InputError

KEPT = 100  # classes of a video in scores.npz; a fused score takes those beyond as 0
SUBMITTED = 20  # classes of a video in predictions.csv


class Scores:
    """What is kept of the scores of videos, and their metrics; `add` takes them batch by batch.

    Args:
        classes: number of classes.
        segments: whether rows are rated segments of videos (labels of 1, 0 or, where not rated, -1). Of whole videos
            -1 counts as 0.
    """

    def __init__(self, classes, segments=False):
        self.ids: list[str] = []
        self.segments = segments
        few = classes <= KEPT  # then every pair of video and class is kept; otherwise counted, see `MeanAP`
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._count = np.zeros(0, int)
        self._metrics: dict = (
            {"map": metrics.SegmentMeanAP()}
            if segments
            else {
                "gap": metrics.GAP(),
                "map": metrics.MeanAP(),
                "map_all": metrics.MeanAP(k=None)
                if few
                else metrics.MeanAP(k=None, bins=metrics.BINS, classes=classes),
                "hit1": metrics.Hit1(),
                "perr": metrics.PERR(),
            }
        )

    def add(self, ids, labels, scores):
        """Videos, as ids (B,), labels (B, K) and probabilities (B, K)."""
        labels, scores = np.asarray(labels), np.asarray(scores)
        if not self.segments:
            labels = (labels == 1).astype(int)  # not known: not the video's
        best = np.argsort(-scores, axis=1, kind="stable")[:, :KEPT]
        rows, columns = np.nonzero(labels >= 0) if self.segments else np.nonzero(labels)
        rated = np.stack([rows + len(self.ids), columns, labels[rows, columns].astype(int)], axis=1)
        self._parts.append((best.astype("int32"), np.take_along_axis(scores, best, axis=1).astype("float32"), rated))
        self._count = (labels == 1).sum(axis=0) + (self._count if self.ids else 0)
        self.ids += list(ids)
        for metric in self._metrics.values():
            metric.update_state(labels, scores)

    @property
    def best(self):
        """`(columns, scores)`, each (N, k): the best classes of every video, best first."""
        return tuple(np.concatenate([part[n] for part in self._parts]) for n in range(2))

    def summary(self, names):
        """For metrics.json. Where no video has a label (the challenge's test split) nothing is scored."""
        if not self.ids:
            raise InputError("A split that is scored must hold videos. Received: none")
        told = {"labels_a_video": float(self._count.sum() / len(self.ids))}
        if not self._count.any():
            return told
        told |= {name: float(metric.result()) for name, metric in self._metrics.items()}
        if self.segments:
            return told
        precisions, _ = self._metrics["map_all"].per_class()
        told["classes"] = [
            {
                "class": name,
                "videos": int(count),
                "average_precision": None if np.isnan(precision) else float(precision),
            }
            for name, count, precision in zip(names, self._count, precisions)
        ]
        return told

    def save(self, path, classes):
        """Writes scores.npz."""
        columns, scores = self.best
        rated = np.concatenate([part[2] for part in self._parts]).astype("int32")
        np.savez(path, ids=self.ids, classes=classes, columns=columns, scores=scores, rated=rated)


NAMES = {
    "gap": "GAP@20",
    "hit1": "hit@1",
    "perr": "PERR",
    "map": "mAP of each video's 20 best",
    "map_all": "mAP",
}


def write_tables(folder, result):
    """metrics.md: what a person reads first; metrics.csv: a row per class."""
    entry = result["several_labels"]
    segments = result["data"].get("level") == "segment"
    what = "segment" if segments else "video"
    lines = [
        f"{result['videos']} {result['split']} {what}s of {result['data']['name']}, "
        f"{entry['labels_a_video']:.2f} labels a {what}.",
        "",
    ]
    if "classes" in entry:
        occur = sum(row["videos"] > 0 for row in entry["classes"])
        lines += [f"{occur} of {len(entry['classes'])} classes occur; means over classes are over these.", ""]
    cells = {NAMES[name]: entry[name] for name in NAMES if name in entry}
    if segments:
        cells = {"mAP of segments": entry["map"]} if "map" in entry else {}
    if "weights" in result:
        lines += ["Weights " + ", ".join(f"{weight:.3g}" for weight in result["weights"]) + ".", ""]
        alone = [(part["system"], part["gap"]) for part in result["parts"] if part["gap"] is not None]
        lines += [line for system, gap in alone for line in (f"{system} alone: GAP@20 {gap:.4f}.", "")]
    if cells:
        lines += ["| system | " + " | ".join(cells) + " |", "|---|" + "---|" * len(cells)]
        lines += [f"| {result['system']} | " + " | ".join(f"{value:.4f}" for value in cells.values()) + " |"]
    else:
        lines += ["These videos have no labels: only predictions.csv is written."]
    (folder / "metrics.md").write_text("\n".join(lines) + "\n")
    with open(folder / "metrics.csv", "w", newline="") as file:
        rows = csv.DictWriter(file, ["class", "videos", "average_precision"], lineterminator="\n")
        rows.writeheader()
        rows.writerows(entry.get("classes", ()))


def draw(folder, result):
    """Average precision of every class by how many videos have it; `[(caption, file)]`."""
    rows = [row for row in result["several_labels"].get("classes", ()) if row["average_precision"] is not None]
    if not rows:
        return []
    counts, precisions = zip(*((row["videos"], row["average_precision"]) for row in rows))
    viz.precision_by_frequency(counts, precisions).savefig(folder / "precision_by_frequency.png")
    return [("Average precision of every class, by its number of videos", "precision_by_frequency.png")]


def write_predictions(path, scores):
    """The challenge's file: a row a video, its 20 best classes and their confidences.

    Of the form of YouTube-8M's starter code: `VideoId,LabelConfidencePairs`, then `<id>,<class> <confidence> ...`.
    """
    columns, values = scores.best
    with open(path, "w") as file:
        file.write("VideoId,LabelConfidencePairs\n")
        for name, row, confidences in zip(scores.ids, columns[:, :SUBMITTED], values[:, :SUBMITTED]):
            file.write(f"{name}," + " ".join(f"{c} {p:g}" for c, p in zip(row, confidences)) + "\n")


# Ensembles


def is_of_several_labels(folder):
    """Whether a folder is that of an evaluation of several labels a video."""
    try:
        return "several_labels" in (read_json(pathlib.Path(folder, "metrics.json")) or {})
    except (OSError, ValueError):
        return False


def fuse(folders, weights=None):
    """The probabilities of several systems, averaged: `(metrics, Scores, classes)`.

    Of every system the `KEPT` best classes of a video count, others are 0: exact where there are no more.

    Args:
        folders: of evaluations of the same videos and classes.
        weights: of the systems; None: equal. They are divided by their sum.

    Raises: InputError: other videos, classes or labels; weights that are negative or all 0.
    """
    weights = [1.0] * len(folders) if weights is None else list(weights)
    if len(weights) != len(folders) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise InputError(f"--weights are {len(folders)} numbers, 0 or more, not all 0. Received: {weights}")
    weights = [weight / sum(weights) for weight in weights]
    (result, first), *others = systems = [_read(folder) for folder in folders]
    for folder, (_, arrays) in zip(folders[1:], others):
        for name in ("ids", "classes", "rated"):
            if not np.array_equal(first[name], arrays[name]):
                raise InputError(
                    "Systems that are fused have scored the same videos, in one order, and the same classes. "
                    f"Received: other {name if name != 'rated' else 'labels'} in {folders[0]} than in {folder}"
                )
    classes, count = first["classes"].tolist(), len(first["ids"])
    segments = "gap" not in result["several_labels"] and "map" in result["several_labels"]
    scores = Scores(len(classes), segments)
    for start in range(0, count, 1024):
        rows = slice(start, start + 1024)
        ids = first["ids"][rows]
        fused = np.zeros((len(ids), len(classes)))
        for weight, (_, arrays) in zip(weights, systems):
            np.add.at(fused, (np.arange(len(ids))[:, None], arrays["columns"][rows]), weight * arrays["scores"][rows])
        labels = np.full(fused.shape, -1 if segments else 0)
        row, column, value = first["rated"][(first["rated"][:, 0] // 1024) == start // 1024].T
        labels[row - start, column] = value
        scores.add(ids.tolist(), labels, fused)
    told = {name: result[name] for name in ("data", "split", "videos")}
    names = " + ".join(system["system"] for system, _ in systems)
    told |= {"evaluations": [str(folder) for folder in folders], "weights": weights}
    told["parts"] = [{"system": system["system"], "gap": system["several_labels"].get("gap")} for system, _ in systems]
    return {"system": names, **told, "several_labels": scores.summary(classes)}, scores, classes


def _read(folder):
    try:
        result = read_json(pathlib.Path(folder, "metrics.json"))
        with np.load(pathlib.Path(folder, "scores.npz"), allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"What is fused with several labels must be folders of evaluations. Received: {folder}: {error}"
        ) from error
    if "several_labels" not in result or not {"ids", "classes", "columns", "scores", "rated"} <= arrays.keys():
        raise InputError(f"Evaluations that are fused are all of several labels a video. Received: {folder}")
    return result, arrays
