"""Scores of labels of frames: summary, tables, pictures."""

import numpy as np

from keras_st import viz
from keras_st.metrics import classify

RESAMPLES = 500


def summarise_frame_labels(labels, scores, names, seed=0):
    """Mean average precision over classes, all frames of all videos ranked together, with a 95 % bootstrap interval.

    labels: list of (T, K) a video, 0, 1 or, of frames without labels, -1; scores: list of (T, K). The interval
    resamples videos. Chance: what a constant score has, the share of frames that show a class, mean over classes.
    """
    all_labels, all_scores = np.concatenate(labels), np.concatenate(scores)
    precisions = classify.class_average_precisions(all_labels, all_scores)
    known = (all_labels >= 0).all(axis=1)
    shares = all_labels[known].mean(axis=0)
    rng, means = np.random.default_rng(seed), []
    for _ in range(RESAMPLES if len(labels) > 1 else 0):
        rows = rng.integers(0, len(labels), len(labels))
        drawn = np.concatenate([labels[n] for n in rows])
        if (drawn == 1).any():
            means.append(classify.mean_average_precision(drawn, np.concatenate([scores[n] for n in rows])))
    counted = [n for n in range(len(names)) if not np.isnan(precisions[n])]
    return {
        "map": classify.mean_average_precision(all_labels, all_scores),
        "interval_95": [float(x) for x in np.quantile(means, [0.025, 0.975])] if means else None,
        "chance": float(shares[counted].mean()),
        "frames": int(known.sum()),
        "labels_a_frame": float(all_labels[known].sum(axis=1).mean()),
        "classes": [
            {
                "class": name,
                "frames": int((all_labels[known][:, n] == 1).sum()),
                "average_precision": _known(precisions[n]),
            }
            for n, name in enumerate(names)
        ],
    }


def _known(x):
    return None if np.isnan(x) else float(x)


def write_tables(folder, result):
    """metrics.md: what a person reads first; metrics.csv: a row per class."""
    entry = result["frame_labels"]
    interval = "" if entry["interval_95"] is None else " [{:.3f}, {:.3f}]".format(*entry["interval_95"])
    lines = [
        f"{entry['frames']} labelled frames, {result['videos']} {result['split']} videos of {result['data']['name']}, "
        f"{entry['labels_a_frame']:.2f} labels a frame. 95 % bootstrap interval over videos.",
        "",
        f"Mean average precision {entry['map']:.3f}{interval}; of a constant score it is {entry['chance']:.3f}.",
        "",
        "| class | frames | average precision |",
        "|---|---|---|",
    ]
    for row in entry["classes"]:
        value = "–" if row["average_precision"] is None else f"{row['average_precision']:.3f}"
        lines.append(f"| {row['class']} | {row['frames']} | {value} |")
    (folder / "metrics.md").write_text("\n".join(lines) + "\n")
    rows = [
        f"{r['class']},{r['frames']},{'' if r['average_precision'] is None else r['average_precision']}"
        for r in entry["classes"]
    ]
    (folder / "metrics.csv").write_text("\n".join(["class,frames,average_precision", *rows]) + "\n")


def draw(folder, shown, names):
    """Labels and probabilities over time of some videos; `[(caption, file)]`. shown: `[(id, labels, scores)]`."""
    pictures = []
    for n, (name, labels, scores) in enumerate(shown, start=1):
        viz.label_timeline(labels, scores, names).savefig(folder / f"labels_{n}.png")
        pictures.append((f"{name}: shade, probability; lines, labels", f"labels_{n}.png"))
    return pictures
