"""Scores of a classifier: summary, tables, pictures."""

import numpy as np

from keras_st import viz
from keras_st.metrics import classify
from keras_st.metrics.bootstrap import bootstrap_interval
from keras_st.reports.attention import localisation_lines

PAIRS, EXAMPLES = 3, 3  # confused pairs that are drawn, and videos of each


def summarise_classes(labels, scores, names=None):
    """Accuracy with its 95 % bootstrap interval over videos, beside chance; per class; the most confused pairs."""
    hits = classify.top_k_hits(labels, scores)
    confusion = classify.confusion_matrix(labels, scores)
    names = [str(n) for n in range(len(confusion))] if names is None else list(names)
    recalls, predicted = classify.class_recalls(labels, scores), confusion.sum(axis=0)
    result = {
        "accuracy": float(hits.mean()),
        "interval_95": list(bootstrap_interval(hits.astype(float))),
        "mean_class_accuracy": classify.mean_class_accuracy(labels, scores),
        "chance": 1 / len(names),
        "most_frequent_class": float(np.bincount(labels).max() / len(labels)),
        "confusion": confusion.tolist(),
        "classes": [
            {
                "class": name,
                "videos": int(confusion[n].sum()),
                "recall": None if np.isnan(recalls[n]) else float(recalls[n]),
                "precision": float(confusion[n, n] / predicted[n]) if predicted[n] else None,
            }
            for n, name in enumerate(names)
        ],
        "most_confused": [
            {"true": names[row], "predicted": names[column], "videos": count}
            for row, column, count in classify.most_confused(labels, scores, PAIRS)
        ],
    }
    if len(names) > 5:
        result["top_5_accuracy"] = classify.top_k_accuracy(labels, scores, 5)
    return result


def accuracy_line(entry, of):
    low, high = entry["interval_95"]
    return (
        f"Accuracy {entry['accuracy']:.3f} [{low:.3f}, {high:.3f}] {of}; chance is {entry['chance']:.3f}, "
        f"the most frequent class has a share of {entry['most_frequent_class']:.3f}."
    )


def write_tables(folder, result):
    """metrics.md: what a person reads first; metrics.csv: a row per class."""
    entry = result["classification"]
    views = f"{result['views']['clips']} x {result['views']['crops']} views"
    lines = [
        f"{result['videos']} {result['split']} videos of {result['data']['name']}, "
        f"{views} of {result['views']['frames']} frames, {result['views']['average']} averaged. "
        "95 % bootstrap interval over videos.",
        "",
        accuracy_line(entry, "(top 1, whole videos)"),
        "",
    ]
    if "weights" in result:
        lines += [_fusion(result), ""]
        lines += [f"{part['system']} alone: {part['accuracy']:.3f}." for part in result["parts"]] + [""]
    cells = {
        "top 1": entry["accuracy"],
        "top 5": entry.get("top_5_accuracy"),
        "mean class accuracy": entry["mean_class_accuracy"],
        "top 1 of single views": result.get("view_accuracy"),
    }
    cells = {name: value for name, value in cells.items() if value is not None}
    lines += ["| system | " + " | ".join(cells) + " |", "|---|" + "---|" * len(cells)]
    lines += [f"| {result['system']} | " + " | ".join(f"{value:.3f}" for value in cells.values()) + " |"]
    lines += ["", "| class | videos | recall | precision |", "|---|---|---|---|"]
    for row in entry["classes"]:
        lines.append(f"| {row['class']} | {row['videos']} | {_share(row['recall'])} | {_share(row['precision'])} |")
    if entry["most_confused"]:
        lines += ["", "| true | taken for | videos |", "|---|---|---|"]
        lines += [f"| {pair['true']} | {pair['predicted']} | {pair['videos']} |" for pair in entry["most_confused"]]
    if "localisation" in result:
        lines += ["", "Where attention lies, against the true boxes:", "", *localisation_lines(result["localisation"])]
    (folder / "metrics.md").write_text("\n".join(lines) + "\n")
    rows = [f"{r['class']},{r['videos']},{_plain(r['recall'])},{_plain(r['precision'])}" for r in entry["classes"]]
    (folder / "metrics.csv").write_text("\n".join(["class,videos,recall,precision", *rows]) + "\n")


def draw(folder, result, examples):
    """Confusion matrix, and frames of the most confused pairs; `[(caption, file)]`.

    examples: `{(true, predicted): [(id, frames float 0..1 (T, H, W, C))]}` of videos taken for another class.
    """
    names = [row["class"] for row in result["classification"]["classes"]]
    viz.confusion_matrix(result["classification"]["confusion"], names).savefig(folder / "confusion.png")
    pictures = [("Confusion: row true class, column predicted", "confusion.png")]
    for n, pair in enumerate(result["classification"]["most_confused"], start=1):
        videos = examples.get((pair["true"], pair["predicted"]))
        if videos:
            viz.examples(videos).savefig(folder / f"confused_{n}.png")
            pictures.append((f"{pair['true']}, taken for {pair['predicted']}", f"confused_{n}.png"))
    return pictures


def _fusion(result):
    """How the scores of several systems were joined, said in a line."""
    weights, tuned = ", ".join(f"{weight:.3g}" for weight in result["weights"]), result.get("tuned")
    parts = [f"Weights {weights}"]
    if tuned:
        parts.append(f"tuned on {tuned['videos']} {tuned['split']} videos (accuracy there {tuned['accuracy']:.3f})")
    for fit in result.get("calibration", ()):
        parts.append(f"{fit['file']} by softmax(margins / {fit['temperature']:.4g}), of {fit['videos']} other videos")
    return "; ".join(parts) + "."


def _share(value):
    return "–" if value is None else f"{value:.3f}"


def _plain(value):
    return "" if value is None else f"{value:.6g}"
