"""What features of one network are worth for other tasks: a linear SVM, action similarity, leave-one-out.

    python -m keras_st.transfer svm TRAIN.npz TEST.npz [--taps pool5] [--C 1]
    python -m keras_st.transfer leave_one_out FEATURES.npz [--taps pool5] [--C 1]
    python -m keras_st.transfer similarity FEATURES.npz PAIRS.csv [--taps prob pool5] [--normalise l2]

The .npz files are those of `python evaluate.py MODEL --extract TAP ... --split S`: an array (videos, ...) for every
tap, `labels` and `ids`. Prints one JSON line. Needs the extra `svm` (scikit-learn).

Protocols of the P3D paper (section 5): videos by a linear SVM on L2-normalised pool5; scenes by leave-one-video-out;
similarity (ASLAN) by a linear SVM on measures between the two videos of a pair, over ten folds.
"""

import argparse
import csv
import json
import pathlib
import zipfile

import numpy as np

from keras_st import cli
from keras_st.specs import InputError

TINY = 1e-12


# Measures of similarity


def _histogram(x):
    """What histograms measure: r(x), brought to a sum of 1."""
    x = np.maximum(x, 0.0)
    return x / np.maximum(x.sum(axis=-1, keepdims=True), TINY)


def _cosine(a, b):
    return np.sum(a * b, -1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), TINY)


def _ratio(a, b):
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _relative_entropy(p, q):
    return np.sum(p * np.log(np.where(p > 0, p, 1.0) / np.where(p > 0, q, 1.0)), -1)


def _jensen_shannon(a, b):
    p, q = _histogram(a), _histogram(b)
    middle = (p + q) / 2
    return (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2


# name -> function of two arrays (..., D) to (...); the first four of histograms take r(x) / sum r(x)
MEASURES = {
    "chi_square": lambda a, b: np.sum(_ratio((_histogram(a) - _histogram(b)) ** 2, _histogram(a) + _histogram(b)), -1),
    "hellinger": lambda a, b: np.sqrt(np.sum((np.sqrt(_histogram(a)) - np.sqrt(_histogram(b))) ** 2, -1) / 2),
    "histogram_intersection": lambda a, b: np.sum(np.minimum(_histogram(a), _histogram(b)), -1),
    "jensen_shannon": _jensen_shannon,
    "dot": lambda a, b: np.sum(a * b, -1),
    "cosine": _cosine,
    "l1": lambda a, b: np.sum(np.abs(a - b), -1),
    "l2": lambda a, b: np.linalg.norm(a - b, axis=-1),
    "squared_l2": lambda a, b: np.sum((a - b) ** 2, -1),
    "canberra": lambda a, b: np.sum(_ratio(np.abs(a - b), np.abs(a) + np.abs(b)), -1),
    "correlation": lambda a, b: _cosine(a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)),
    "chebyshev": lambda a, b: np.max(np.abs(a - b), -1),
}
SIMILARITIES = ("histogram_intersection", "dot", "cosine", "correlation")  # larger is more alike; the others: smaller


def measures(a, b):
    """Twelve measures between features (N, D) and (N, D): float64 (N, 12), in the order of `MEASURES`.

    Symmetric in a and b. The list the paper used could not be verified; this one is ours.
    """
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (a, b))
    return np.stack([measure(a, b) for measure in MEASURES.values()], axis=-1)


# Tasks


def svm(train, train_labels, test, test_labels, C=1.0):
    """Accuracy of a linear one-versus-rest SVM on L2-normalised features (N, D)."""
    model = _linear_svm(C).fit(_unit(train), train_labels)
    return float(np.mean(model.predict(_unit(test)) == test_labels))


def leave_one_out(features, labels, C=1.0):
    """Accuracy over as many SVMs as videos, each tested on the one it was not trained on."""
    model = _linear_svm(C)
    from sklearn.model_selection import LeaveOneOut, cross_val_score

    return float(cross_val_score(model, _unit(features), labels, cv=LeaveOneOut()).mean())


def similarity(vectors, same, folds=None, normalise="standard", C=1.0):
    """Whether two videos show the same action: `{"accuracy", "accuracy_by_fold", "auc"}`.

    Args:
        vectors: (pairs, measures), e.g. those of several taps side by side.
        same: bool (pairs,).
        folds: int (pairs,), the fold of every pair; None: ten stratified ones.
        normalise: "standard" (every measure to mean 0 and deviation 1 on the training folds; default, the measures have
            unlike scales) or "l2" (every vector to length 1, as a note on the paper has it).
    """
    classifier = _linear_svm(C)
    from sklearn.base import clone
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import PredefinedSplit, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    splits = StratifiedKFold(10).split(vectors, same) if folds is None else PredefinedSplit(folds).split()
    scores, accuracies = np.zeros(len(same)), []
    for train, test in splits:
        scaler = StandardScaler() if normalise == "standard" else Normalizer()
        model = make_pipeline(scaler, clone(classifier)).fit(vectors[train], same[train])
        scores[test] = model.decision_function(vectors[test])
        accuracies.append(float(np.mean((scores[test] > 0) == same[test])))
    return {
        "accuracy": float(np.mean(accuracies)),
        "accuracy_by_fold": accuracies,
        "auc": float(roc_auc_score(same, scores)),
    }


def _unit(x):
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), TINY)


def _linear_svm(C):
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise InputError('This needs scikit-learn: pip install "keras_st[svm]". Received: no module sklearn') from error
    return LinearSVC(C=C, max_iter=10_000, random_state=0)


# Command line


def read_features(path, taps):
    """`(arrays of the taps, labels, ids)` of a file that --extract wrote."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in (*taps, "labels", "ids") if name not in stored]
            if missing:
                raise InputError(f"{path} holds {sorted(stored)}. Received: no {missing[0]}")
            return [stored[name] for name in taps], stored["labels"], [str(name) for name in stored["ids"]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a whole .npz of features. Received: {error}") from error


def read_pairs(path, ids):
    """`(first, second, same, folds or None)` of a CSV of lines `id,id,1 or 0[,fold]`, as rows of the features."""
    row = {name: n for n, name in enumerate(ids)}
    try:
        lines = [line for line in csv.reader(pathlib.Path(path).read_text().splitlines()) if line]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The pairs must be a readable CSV file. Received: {error}") from error
    if not lines or len({len(line) for line in lines}) > 1 or len(lines[0]) not in (3, 4):
        raise InputError(f"Pairs are lines `id,id,1 or 0` or `id,id,1 or 0,fold`, alike. Received: {path}")
    for n, line in enumerate(lines, start=1):
        for name in line[:2]:
            if name not in row:
                raise InputError(
                    f"Line {n} of {path} names no video of the features (such as {ids[0]}). Received: {name}"
                )
        if line[2] not in ("0", "1") or not line[-1].isdigit():
            raise InputError(f"Line {n} of {path} must end in 1 or 0, or that and a fold. Received: {','.join(line)}")
    first, second = (np.array([row[line[n]] for line in lines]) for n in (0, 1))
    same = np.array([line[2] == "1" for line in lines])
    if same.all() or not same.any():
        raise InputError(f"Pairs must be of both kinds. Received: {same.sum()} of {len(same)} the same in {path}")
    return first, second, same, np.array([int(line[3]) for line in lines]) if len(lines[0]) == 4 else None


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m keras_st.transfer", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("task", choices=("svm", "leave_one_out", "similarity"))
    parser.add_argument("features", help=".npz that evaluate.py --extract wrote (svm: of the training videos)")
    parser.add_argument("other", nargs="?", help="svm: .npz of the test videos; similarity: CSV of the pairs")
    parser.add_argument("--taps", nargs="+", default=["pool5"], help="arrays that are used")
    parser.add_argument("--C", type=float, default=1.0, help="of the SVM")
    parser.add_argument("--normalise", choices=("standard", "l2"), default="standard", help="of the measures")
    options = cli.parse(parser, argv)
    if (options.other is None) != (options.task == "leave_one_out"):
        raise InputError(f"svm and similarity take two files, leave_one_out one. Received: {options.task}")
    try:
        result = run_task(options)
    except InputError:
        raise
    except ValueError as error:  # scikit-learn's word on one class, too few pairs for the folds and the like
        raise InputError(f"{options.task} cannot be run: {error}") from error
    print(json.dumps({"task": options.task, "taps": options.taps, **result}))


def most_frequent(labels):
    """Accuracy of always answering the most frequent label."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def run_task(options):
    """What the command line asks for, as plain values."""
    taps, labels, ids = read_features(options.features, options.taps)
    joined = np.concatenate([_unit(tap) for tap in taps], axis=1)
    if options.task == "svm":
        test, test_labels, _ = read_features(options.other, options.taps)
        test = np.concatenate([_unit(tap) for tap in test], axis=1)
        accuracy = svm(joined, labels, test, test_labels, options.C)
        return {"accuracy": accuracy, "most_frequent_class": most_frequent(test_labels), "videos": len(test_labels)}
    if options.task == "leave_one_out":
        accuracy = leave_one_out(joined, labels, options.C)
        return {"accuracy": accuracy, "most_frequent_class": most_frequent(labels), "videos": len(labels)}
    first, second, same, folds = read_pairs(options.other, ids)
    vectors = np.concatenate([measures(tap[first], tap[second]) for tap in taps], axis=1)
    result = similarity(vectors, same, folds, options.normalise, options.C)
    return {**result, "most_frequent_answer": most_frequent(same), "pairs": len(same)}


if __name__ == "__main__":
    cli.run(main)
