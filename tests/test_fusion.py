"""evaluate.py --fuse, --tune, --calibration, --mean, --split: evaluations and files of scores, joined."""

import csv
import json

import numpy as np
import pytest

import evaluate
import evaluate_classes
from keras_st import cli
from keras_st.metrics import classify
from keras_st.reports import fusion
from keras_st.specs import InputError

CLASSES = ["box", "clap", "wave"]
VIEWS = {"clips": 1, "crops": 1, "frames": 4, "average": "probabilities"}


def evaluation(folder, scores, labels, ids, system="p3d", split="test", classes=CLASSES, **more):
    """The folder of an evaluation, as far as fusion reads it."""
    folder.mkdir()
    np.savez(folder / "scores.npz", scores=np.float32(scores), labels=labels, ids=ids, classes=classes)
    entry = {"accuracy": classify.top_k_accuracy(labels, scores), "mean_class_accuracy": 0.5}
    result = {"system": system, "data": {"name": "records"}, "split": split, "videos": len(ids), "views": VIEWS}
    (folder / "metrics.json").write_text(json.dumps({**result, "classification": entry, **more}))
    return folder


def table(path, ids, scores, labels=None, classes=CLASSES):
    """A CSV file of scores; columns in another order than the evaluations'."""
    order = [2, 0, 1]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(["label"] if labels is not None else []), *(classes[k] for k in order), "id"])
        for n, row in enumerate(scores):
            writer.writerow([*([classes[labels[n]]] if labels is not None else []), *(row[k] for k in order), ids[n]])
    return path


@pytest.fixture
def made(tmp_path, rng):
    """Evaluations of two networks and margins of an SVM: test, validation, and the margins of training folds.

    The first network is right on five of six videos, the second on one of three, the SVM on nine of ten.
    """
    files = {}
    for split, count in (("test", 60), ("validation", 60), ("train", 600)):
        labels, ids = np.arange(count) % 3, np.array([f"{split}/{n}.avi" for n in range(count)])
        files[split, "labels"], files[split, "ids"] = labels, ids
        for name, wrong, sure in (("a", 6, 0.4), ("b", 3, 0.5), ("idt", 10, 3.0)):
            guess = np.where(np.arange(count) % wrong if name != "b" else np.arange(count) % 3 == 0, labels, labels - 1)
            scores = sure * np.eye(3)[guess % 3] + rng.normal(0, 0.01, (count, 3))
            scores = scores if name == "idt" else classify.softmax(5 * scores)
            files[split, name, "scores"] = scores
            if name == "idt":
                path = table(tmp_path / f"idt_{split}.csv", ids, scores, labels if split != "test" else None)
            else:
                path = evaluation(tmp_path / f"{name}_{split}", scores, labels, ids, f"net_{name}", split)
            files[split, name] = path
    return files


def run(*words):
    """What the command wrote, `(metrics, scores)`; the first word is the folder it writes to."""
    out, *words = map(str, words)
    evaluate.main([*words, "--out", out])
    with np.load(f"{out}/scores.npz") as stored:
        return json.loads(open(f"{out}/metrics.json").read()), stored["scores"]


def test_margins_are_fused_as_probabilities(made, tmp_path):
    """softmax(margins / t), t of the training folds; columns are found by the names of the classes."""
    a, idt, folds = made["test", "a"], made["test", "idt"], made["train", "idt"]
    result, scores = run(tmp_path / "out", "--fuse", a, idt, "--calibration", folds, "--weights", 0.6, 0.4)
    margins = made["train", "idt", "scores"]
    t = classify.fit_temperature(made["train", "labels"], margins)
    want = 0.6 * made["test", "a", "scores"] + 0.4 * classify.softmax(made["test", "idt", "scores"] / t)
    np.testing.assert_allclose(scores, want, atol=1e-6)
    (fit,) = result["calibration"]
    assert fit["temperature"] == pytest.approx(t) and fit["videos"] == 600 and fit["fitted_on"] == str(folds)
    assert result["system"] == "net_a + idt_test" and result["weights"] == [0.6, 0.4] and "tuned" not in result
    told = (tmp_path / "out" / "metrics.md").read_text()
    assert f"softmax(margins / {t:.4g})" in told and "60 test videos" in told and "Weights 0.6, 0.4;" in told


def test_the_temperature_makes_the_share_of_right_videos_its_probability(made):
    """Nine of ten held-out margins are right, all of one size: so is the probability, 0.9."""
    system = fusion.read(made["test", "idt"])
    (fit,) = fusion.fit_temperatures([system], [made["train", "idt"]])
    p = fusion.probabilities(system, fit)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert p.max(axis=1).mean() == pytest.approx(0.9, abs=0.01)


def test_files_of_every_form_are_the_same(made, tmp_path):
    """CSV or .npz, with class names or in the evaluations' order, rows in any order, ids as bytes."""
    a, ids, labels = made["test", "a"], made["test", "ids"], made["test", "labels"]
    p = classify.softmax(made["test", "idt", "scores"])
    _, want = run(tmp_path / "csv", "--fuse", a, table(tmp_path / "p.csv", ids, p, labels))
    np.testing.assert_allclose(want, (made["test", "a", "scores"] + p) / 2, atol=1e-6)
    turned = {"ids": ids[::-1].astype("S"), "scores": p[::-1]}
    for n, more in enumerate(
        (
            {},
            {"labels": labels[::-1]},
            {"labels": np.array(CLASSES)[labels[::-1]]},
            {"classes": CLASSES[::-1], "scores": p[::-1, ::-1], "labels": 2 - labels[::-1]},
            {"classes": np.array(CLASSES[::-1], "S"), "scores": p[::-1, ::-1].astype("float32")},
        )
    ):
        np.savez(tmp_path / f"{n}.npz", **{**turned, **more})
        result, scores = run(tmp_path / str(n), "--fuse", a, tmp_path / f"{n}.npz")
        np.testing.assert_allclose(scores, want, atol=1e-6)
        assert result["calibration"] == []
    np.savez_compressed(tmp_path / "packed.npz", **turned)
    np.testing.assert_allclose(run(tmp_path / "o", "--fuse", tmp_path / "packed.npz", a)[1], want, atol=1e-6)
    text = "\ufeffid, box, clap, wave\r\n" + "".join(
        f"{name},{','.join(map(str, row))}\r\n\r\n" for name, row in zip(ids, p)
    )
    (tmp_path / "loose.csv").write_text(text.replace(", ", ","), encoding="utf-8")
    np.testing.assert_allclose(run(tmp_path / "l", "--fuse", a, tmp_path / "loose.csv")[1], want, atol=1e-6)


def test_weights_are_tuned_on_the_validation_split(made, tmp_path):
    """The better of two networks gets the weight; it is measured there, applied here."""
    pair = [made["test", name] for name in "ab"]
    result, scores = run(tmp_path / "out", "--fuse", *pair, "--tune", *(made["validation", name] for name in "ab"))
    trials = [made["validation", name, "scores"] for name in "ab"]
    weights = classify.tuned_weights(made["validation", "labels"], trials)
    assert result["weights"] == weights and weights[0] > 0.5
    tuned = result["tuned"]
    assert tuned["split"] == "validation" and tuned["videos"] == 60 and tuned["step"] == 0.1
    accuracies = [classify.top_k_accuracy(made["validation", "labels"], trial) for trial in trials]
    assert tuned["accuracy"] >= max(accuracies) > min(accuracies)
    np.testing.assert_allclose(
        scores, sum(w * made["test", name, "scores"] for w, name in zip(weights, "ab")), atol=1e-6
    )
    assert "tuned on 60 validation videos" in (tmp_path / "out" / "metrics.md").read_text()


def test_margins_are_tuned_with_the_temperature_of_the_training_folds(made, tmp_path):
    names = ("a", "b", "idt")
    words = ["--fuse", *(made["test", name] for name in names), "--tune", *(made["validation", n] for n in names)]
    result, scores = run(tmp_path / "out", *words, "--calibration", made["train", "idt"])
    t = result["calibration"][0]["temperature"]

    def systems(split):
        margins = classify.softmax(made[split, "idt", "scores"] / t)
        return [made[split, "a", "scores"], made[split, "b", "scores"], margins]

    labels = made["validation", "labels"]
    assert result["weights"] == classify.tuned_weights(labels, systems("validation")) and len(result["weights"]) == 3
    fused = classify.fused(systems("validation"), result["weights"])
    assert result["tuned"]["accuracy"] == classify.top_k_accuracy(labels, fused)
    np.testing.assert_allclose(scores, classify.fused(systems("test"), result["weights"]), atol=1e-6)


def test_tuning_sees_probabilities_not_margins(tmp_path):
    """Margins right half of the time weigh little however long they are: equal weights do as well as any."""
    labels, one = np.arange(12) % 3, np.eye(3)
    guesses = (labels + np.arange(12) // 6) % 3
    files = {"train": table(tmp_path / "t.csv", list("abcdefghijkl"), 30 * one[guesses], labels)}
    for split in ("test", "validation"):
        ids = [f"{split}/{n}" for n in range(12)]
        files[split, "a"] = evaluation(tmp_path / split, 0.1 + 0.7 * one[labels], labels, ids, split=split)
        files[split, "svm"] = table(tmp_path / f"{split}.csv", ids, 30 * one[(labels + 1) % 3])
    pairs = [[files[split, "a"], files[split, "svm"]] for split in ("test", "validation")]
    metrics, *_ = fusion.fuse(pairs[0], tune=pairs[1], calibration=[files["train"]])
    assert metrics["weights"] == [0.5, 0.5] and metrics["tuned"]["accuracy"] == 1


def test_tuning_by_files_alone_needs_their_labels_and_other_videos(made, tmp_path):
    fused = [made["test", "a"], made["test", "idt"]]
    more = {"calibration": [made["train", "idt"]]}
    held_out = table(tmp_path / "a.csv", made["validation", "ids"], made["validation", "a", "scores"])
    metrics, *_ = fusion.fuse(fused, tune=[held_out, made["validation", "idt"]], **more)
    assert metrics["tuned"]["accuracy"] > 0.8
    leak = table(tmp_path / "leak.csv", made["test", "ids"], made["test", "idt", "scores"], made["test", "labels"])
    tested = table(tmp_path / "b.csv", made["test", "ids"], made["test", "a", "scores"])
    with pytest.raises(InputError, match="tuned on other videos"):
        fusion.fuse(fused, tune=[tested, leak], **more)
    bare = table(tmp_path / "c.csv", made["validation", "ids"], made["validation", "idt", "scores"])
    with pytest.raises(InputError, match="needs labels"):
        fusion.fuse(fused, tune=[held_out, bare], **more)


def damaged(made, tmp_path):
    """`name -> (file, what its error says)`."""
    ids, p = made["test", "ids"], classify.softmax(made["test", "idt", "scores"])
    labels = made["test", "labels"]
    arrays = {
        "no_scores.npz": ({"ids": ids}, "`ids` and `scores`"),
        "nan.npz": ({"ids": ids, "scores": p * np.nan}, "nan, nan, nan] of 'test/0.avi'"),
        "flat.npz": ({"ids": ids, "scores": p[:, 0]}, "(60,)"),
        "short.npz": ({"ids": ids[1:], "scores": p}, "ids (59,)"),
        "none.npz": ({"ids": ids[:0], "scores": p[:0]}, "(0, 3)"),
        "text.npz": ({"ids": ids, "scores": p.astype(str)}, "<U"),
        "twice.npz": ({"ids": np.append(ids[:-1], ids[0]), "scores": p}, "'test/0.avi' 2 times"),
        "fewer.npz": ({"ids": ids[2:], "scores": p[2:]}, "which lacks 2, such as 'test/0.avi'"),
        "others.npz": ({"ids": np.char.add("x", ids), "scores": p}, "adds 60, such as 'xtest/0.avi'"),
        "narrow.npz": ({"ids": ids, "scores": p[:, :2]}, "with 2 columns"),
        "names.npz": ({"ids": ids, "scores": p, "classes": ["box", "clap", "run"]}, "lacks 1, such as 'wave'"),
        "same.npz": ({"ids": ids, "scores": p, "classes": ["box", "box", "wave"]}, "one of each column"),
        "two.npz": ({"ids": ids, "scores": p, "classes": CLASSES[:2]}, "for 3 columns"),
        "label.npz": ({"ids": ids, "scores": p, "labels": labels + 1}, "names or columns"),
        "labels.npz": ({"ids": ids, "scores": p, "labels": np.eye(3, dtype=int)[labels]}, "one class a video"),
        "word.npz": ({"ids": ids, "scores": p, "labels": ["run"] * 60}, "'run'"),
        "other.npz": ({"ids": ids, "scores": p, "labels": (labels + 1) % 3}, "is 'box' in"),
        "object.npz": ({"ids": ids.astype(object), "scores": p}, "whole"),
    }
    for name, (content, word) in arrays.items():
        np.savez(tmp_path / name, **content)
        yield tmp_path / name, word
    np.savez(tmp_path / "whole.npz", ids=ids, scores=p)
    for name, size in (("cut.npz", 400), ("empty.npz", 0)):
        (tmp_path / name).write_bytes((tmp_path / "whole.npz").read_bytes()[:size])
        yield tmp_path / name, "whole"
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, p)
    yield tmp_path / "single.npz", "whole"
    whole = table(tmp_path / "whole.csv", ids, p).read_text()
    lines = whole.splitlines(keepends=True)
    for name, text, word in (
        ("empty.csv", "", "must begin with"),
        ("header.csv", lines[0], "(0, 3)"),
        ("no_id.csv", whole.replace("id", "name"), "must begin with"),
        ("column.csv", "".join(line.split(",", 1)[1] for line in lines), "lacks 1, such as 'wave'"),
        ("repeated.csv", whole.replace("wave", "box", 1), "each once"),
        ("row.csv", lines[0] + lines[1].split(",", 1)[1], "row.csv, line 2"),
        ("long.csv", lines[0] + lines[1].strip() + ",7\n", "long.csv, line 2"),
        ("number.csv", lines[0] + "a,b,c,d\n", "'a'"),
        ("infinite.csv", lines[0] + lines[1].replace(lines[1].split(",")[0], "inf"), "inf"),
        ("twice.csv", whole + lines[1], "'test/0.avi' 2 times"),
        ("quote.csv", whole + '"', "be CSV"),
    ):
        (tmp_path / name).write_text(text)
        yield tmp_path / name, word
    (tmp_path / "bytes.csv").write_bytes(b"id,a,b\n\xff,1,2\n")
    yield tmp_path / "bytes.csv", "be CSV"
    yield tmp_path / "nowhere.csv", "nowhere.csv"
    yield tmp_path / "nowhere.npz", "nowhere.npz"
    yield tmp_path / "scores.txt", "or a .csv or .npz file"


def one_line(words, capfd):
    """The one line that a mistake is told in."""
    with pytest.raises(SystemExit) as stop:
        cli.run(evaluate.main, [str(word) for word in words])
    lines = capfd.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and "Received: " in lines[0], lines
    return lines[0]


def test_files_that_cannot_be_fused_are_one_line(made, tmp_path, capfd):
    for path, word in damaged(made, tmp_path):
        line = one_line(["--fuse", made["test", "a"], path, f"--out={tmp_path / 'out'}"], capfd)
        assert word in line and path.name in line, line
    assert not (tmp_path / "out").exists()


def test_options_that_cannot_be_fused_are_one_line(made, tmp_path, capfd):
    a, b, idt = (made["test", name] for name in ("a", "b", "idt"))
    va, vb, vidt = (made["validation", name] for name in ("a", "b", "idt"))
    folds, ids, labels = made["train", "idt"], made["test", "ids"], made["test", "labels"]
    leak = table(tmp_path / "leak.csv", ids, made["test", "idt", "scores"], labels)
    bare = table(tmp_path / "bare.csv", made["train", "ids"], made["train", "idt", "scores"])
    sure = table(tmp_path / "sure.csv", made["train", "ids"], made["train", "a", "scores"], made["train", "labels"])
    wrong = table(
        tmp_path / "wrong.csv", made["train", "ids"], -made["train", "idt", "scores"], made["train", "labels"]
    )
    names = [*CLASSES[:2], "run"]
    run_folds = table(tmp_path / "run.csv", ["x", "y"], [[3, 0, 0], [0, 3, 0]], [0, 1], names)
    words = ["no.npz", "--calibration", folds]
    cases = (
        ([a, idt], "need --calibration"),
        ([a, idt, "--calibration", folds, folds], "for "),
        ([a, b, "--calibration", folds], "for none"),
        ([a, idt, "--calibration", leak], "fitted on other videos"),
        ([a, idt, "--calibration", bare], "with no labels"),
        ([a, idt, "--calibration", sure], "with probabilities"),
        ([a, idt, "--calibration", wrong], "wrong.csv: Margins must be higher"),
        ([a, idt, "--calibration", run_folds], "lacks 1, such as 'wave'"),
        ([a, idt, "--calibration", tmp_path / "none.csv"], "none.csv"),
        ([idt, "--calibration", folds], "with an evaluation or more"),
        ([a, b, "--weights", "1"], "one of each model"),
        ([a, b, "--weights", "1", "-1"], "none negative"),
        ([a, b, "--weights", "0", "0"], "not all 0"),
        ([a, b, "--weights", "1", "nan"], "one of each model"),
        ([a, b, "--weights", "1", "1", "--tune", va, vb], "not both"),
        ([a, b, "--tune", va], "the 2 systems"),
        ([a, b, "--tune", a, b], "validation split only"),
        ([a, b, "--tune", made["train", "a"], made["train", "b"]], "split='train'"),
        ([va, vb, "--tune", va, vb], "for split='validation'"),
        ([a, b, "--tune", vb, va], "in their order"),
        ([a, b, "--tune", va, vidt], "both probabilities"),
        ([a, idt, "--calibration", folds, "--tune", va, vb], "both probabilities"),
        ([a, *words], "no.npz"),
        ([a, tmp_path], "folder of a classifier's evaluation"),
        ([a, "--clips=2"], "--clips"),
        ([a, "--split=test"], "--split"),
        ([a, "--mean", a], "fuse and mean"),
    )
    for case, word in cases:
        line = one_line(["--fuse", *case, f"--out={tmp_path / 'out'}"], capfd)
        assert word in line, line
    for case, word in (
        ([a, "--tune", va], "--tune goes with --fuse"),
        (["--mean", a, b, "--calibration", folds], "--calibration goes with --fuse"),
        (["--mean", a, b, "--crops=5"], "--crops"),
        (["--mean", a, "--out", tmp_path], "overwritten"),
    ):
        assert word in one_line(case, capfd)
    assert not (tmp_path / "out").exists()


def test_an_evaluation_whose_metrics_are_damaged_is_named(made, capfd):
    a, b = (made["test", name] for name in "ab")
    for text in ("", "{", "[]", '{"system": "x"}', None):
        (b / "metrics.json").unlink()
        if text is not None:
            (b / "metrics.json").write_text(text)
        for words in (["--fuse", a, b], ["--mean", a, b]):
            assert "metrics.json" in one_line(words, capfd)
        (b / "metrics.json").touch()


@pytest.fixture
def splits(tmp_path):
    """Evaluations of three splits, accuracy 1, 1/2, 1/3, of classes that six names let have a top 5."""
    folders, classes = [], list("abcdef")
    for n, (right, top_5) in enumerate(((6, 1.0), (3, 0.5), (2, 0.75)), start=1):
        labels = np.arange(6)
        scores = np.eye(6)[np.where(labels < right, labels, (labels + 1) % 6)]
        entry = {"accuracy": right / 6, "top_5_accuracy": top_5, "mean_class_accuracy": right / 6}
        ids, data = [f"{n}/{k}" for k in range(6)], {"name": "records", "root": f"split_{n}"}
        folders.append(
            evaluation(tmp_path / f"s{n}", scores, labels, ids, classes=classes, classification=entry, data=data)
        )
    return folders


def test_mean_over_splits(splits, tmp_path, monkeypatch):
    evaluate.main(["--mean", *map(str, splits), "--out", str(tmp_path / "out")])
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert result["mean"] == pytest.approx(
        {"accuracy": 11 / 18, "top_5_accuracy": 0.75, "mean_class_accuracy": 11 / 18}
    )
    assert [entry["accuracy"] for entry in result["splits"]] == pytest.approx([1, 1 / 2, 1 / 3])
    assert result["splits"][1]["data"]["root"] == "split_2" and result["splits"][1]["videos"] == 6
    assert result["system"] == "p3d" and result["split"] == "test"
    told = (tmp_path / "out" / "metrics.md").read_text()
    assert "| mean |  | 0.611 | 0.750 | 0.611 |" in told and "| split | videos | top 1 | top 5 |" in told
    assert "0.611" in (tmp_path / "out" / "report.html").read_text()
    monkeypatch.chdir(tmp_path)
    evaluate.main(["--mean", *map(str, splits[:2])])
    assert (tmp_path / "runs" / "mean" / "1" / "metrics.json").is_file()


def test_mean_of_what_only_some_have_is_left_out(splits):
    content = json.loads((splits[0] / "metrics.json").read_text())
    content["classification"] = {"accuracy": 1.0, "map": 0.5}
    (splits[0] / "metrics.json").write_text(json.dumps(content))
    assert fusion.mean_of_splits(splits)["mean"] == pytest.approx({"accuracy": 11 / 18})
    for folder in splits[1:]:
        content["classification"] = {"map": 0.25}
        (folder / "metrics.json").write_text(json.dumps(content))
    assert fusion.mean_of_splits(splits)["mean"] == pytest.approx({"map": 1 / 3})
    content["classification"] = {}
    (splits[0] / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="share a score"):
        fusion.mean_of_splits(splits)


def test_labels_of_frames_are_averaged_not_fused(tmp_path, rng):
    """Evaluations of labels of frames have a mean average precision, scores of frames and no views."""
    result = {"system": "multi_lstm", "data": {"name": "records"}, "split": "test", "videos": 2}
    folders = []
    for n, value in enumerate((0.2, 0.5)):
        folders.append(tmp_path / str(n))
        folders[-1].mkdir()
        arrays = {"scores": rng.random((9, 3)), "labels": rng.integers(0, 2, (9, 3)), "lengths": [4, 5]}
        np.savez(folders[-1] / "scores.npz", **arrays, ids=[f"{n}/a", f"{n}/b"], classes=CLASSES)
        (folders[-1] / "metrics.json").write_text(json.dumps({**result, "frame_labels": {"map": value}}))
    evaluate.main(["--mean", *map(str, folders), "--out", str(tmp_path / "out")])
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["mean"] == pytest.approx({"map": 0.35})
    assert "| mean |  | 0.350 |" in (tmp_path / "out" / "metrics.md").read_text()
    with pytest.raises(InputError, match="labels of frames"):
        fusion.fuse(folders)


def test_splits_that_cannot_be_averaged_are_one_line(splits, tmp_path, capfd):
    assert "two splits or more" in one_line(["--mean", splits[0]], capfd)
    assert "the same videos" in one_line(["--mean", *splits, splits[1]], capfd)
    whole = json.loads((splits[2] / "metrics.json").read_text())
    for change, word in (
        ({"system": "c3d"}, "agree in its system"),
        ({"data": {"name": "kth"}}, "agree in its data set"),
        ({"split": "validation"}, "agree in its split"),
        ({"views": {**VIEWS, "clips": 10}}, "agree in its views"),
    ):
        (splits[2] / "metrics.json").write_text(json.dumps({**whole, **change}))
        line = one_line(["--mean", *splits], capfd)
        assert word in line and str(splits[2]) in line
    (splits[2] / "metrics.json").write_text(json.dumps(whole))
    with np.load(splits[2] / "scores.npz") as stored:
        arrays = dict(stored)
    np.savez(splits[2] / "scores.npz", **{**arrays, "classes": arrays["classes"][::-1]})
    assert "agree in its classes" in one_line(["--mean", *splits], capfd)
    np.savez(splits[2] / "scores.npz", scores=arrays["scores"])
    assert "no ids or classes" in one_line(["--mean", *splits], capfd)
    (splits[2] / "scores.npz").unlink()
    assert "scores.npz" in one_line(["--mean", *splits], capfd)


def test_a_split_is_scored_and_tunes_the_weights(clips_run, tmp_path):
    """From two evaluations of a trained network on validation to weights on test."""
    run_folder, _ = clips_run
    for name, words in (
        ("v1", ["--split=validation"]),
        ("v2", ["--split=validation", "--clips=1"]),
        ("t1", []),
        ("t2", ["--clips=1"]),
    ):
        evaluate.main([str(run_folder), *words, f"--out={tmp_path / name}"])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InputError, match="split='validation', with none"):
        patch.setattr(evaluate_classes, "views_of", lambda *_: [])
        evaluate.main([str(run_folder), "--split=validation", f"--out={tmp_path / 'none'}"])
    result = json.loads((tmp_path / "v1" / "metrics.json").read_text())
    assert result["split"] == "validation" and result["videos"] == 1
    assert "1 validation videos" in (tmp_path / "v1" / "metrics.md").read_text()
    tune = ["--tune", tmp_path / "v1", tmp_path / "v2"]
    result, _ = run(tmp_path / "out", "--fuse", tmp_path / "t1", tmp_path / "t2", *tune)
    assert result["tuned"]["split"] == "validation" and sum(result["weights"]) == pytest.approx(1)
