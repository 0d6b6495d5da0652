"""Several labels a video, from data to scores: trained, evaluated, fused, served."""

import json
import re

import numpy as np
import pytest

import evaluate
import train
from keras_st import cli, saved
from keras_st.metrics import youtube8m as metrics
from keras_st.reports import several_labels
from keras_st.specs import ClassifyTask, InputError
from pipelines import make_dataset
from pipelines.classify import training_clips, view_batches
from pipelines.datasets.youtube8m_writer import write_youtube8m

SMALL = ["--data.num_sequences=64", "--data.num_test_sequences=40", "--training.epochs=2", "--model.classes=5"]
SMALL += ["--data.rgb_size=12", "--data.audio_size=6", "--task.clip_frames=8", "--training.batch_size=16"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of two systems, `{name: (run folder, served folder)}`."""
    root, found = tmp_path_factory.mktemp("runs"), {}
    for name, words in {"yt8m_lstm": ["--model.units=6"], "yt8m_moe": []}.items():
        train.main([name, *SMALL, *words, f"--runs={root / 'runs'}", f"--saved_models={root / 'served'}"])
        (run,) = (root / "runs" / name).iterdir()
        found[name] = run, root / "served" / name / "1"
    return found


def features_of(name, split="test"):
    level = "video" if name == "yt8m_moe" else "frame"
    options = {"num_test_sequences": 40, "classes": 5, "rgb_size": 12, "audio_size": 6, "max_frames": 8}
    clips = list(make_dataset("topics", split, level=level, **options).as_numpy_iterator())
    return {key: np.stack([clip[key] for clip in clips]) for key in clips[0]}


@pytest.mark.parametrize("name", ["yt8m_lstm", "yt8m_moe"])
def test_an_evaluation_is_that_of_the_model(runs, name):
    run, _ = runs[name]
    model, videos = saved.load(run), features_of(name)
    inputs = {feature.name: videos[feature.name] for feature in model.features}
    probabilities = model.predict(inputs)
    logits = model.predict(inputs, everything=True)["logits"]
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), atol=1e-6)
    told = json.loads((run / "metrics.json").read_text())
    entry = told["several_labels"]
    wanted = {
        "gap": metrics.gap(videos["label"], probabilities),
        "hit1": metrics.hit1(videos["label"], probabilities),
        "perr": metrics.perr(videos["label"], probabilities),
        "map": metrics.mean_ap(videos["label"], probabilities),
        "map_all": metrics.mean_ap(videos["label"], probabilities, k=None),
    }
    assert told["videos"] == 40 and entry["labels_a_video"] == videos["label"].sum() / 40
    assert {key: entry[key] for key in wanted} == pytest.approx(wanted, abs=1e-6)
    assert [row["videos"] for row in entry["classes"]] == videos["label"].sum(axis=0).tolist()
    names = {"report.html", "metrics.md", "metrics.csv", "predictions.csv", "precision_by_frequency.png", "scores.npz"}
    assert names <= {path.name for path in (run / "evaluation" / "1").iterdir()}


def test_predictions_are_in_the_challenge_s_form(runs):
    run, _ = runs["yt8m_lstm"]
    lines = (run / "evaluation" / "1" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "VideoId,LabelConfidencePairs" and len(lines) == 41
    videos = features_of("yt8m_lstm")
    model = saved.load(run)
    probabilities = model.predict({feature.name: videos[feature.name] for feature in model.features})
    for line, name, row in zip(lines[1:], videos["id"], probabilities):
        found, pairs = line.split(",")
        classes, values = np.array(pairs.split()).reshape(-1, 2).T
        assert found == name.decode() and sorted(classes.astype(int)) == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(values.astype(float), row[classes.astype(int)], rtol=1e-4)
        assert (np.diff(values.astype(float)) <= 0).all()


def test_systems_are_fused(runs, tmp_path):
    folders = [str(runs[name][0] / "evaluation" / "1") for name in ("yt8m_lstm", "yt8m_moe")]
    parts, label = [], features_of("yt8m_lstm")["label"]
    for name in ("yt8m_lstm", "yt8m_moe"):
        model, videos = saved.load(runs[name][0]), features_of(name)
        parts.append(model.predict({feature.name: videos[feature.name] for feature in model.features}))
    for weights in ([], ["3", "1"]):
        words = ["--fuse", *folders, f"--out={tmp_path / '-'.join(['out', *weights])}"]
        evaluate.main([*words, *(["--weights", *weights] if weights else [])])
        share = 0.75 if weights else 0.5
        out = tmp_path / "-".join(["out", *weights])
        entry = json.loads((out / "metrics.json").read_text())
        wanted = metrics.gap(label, share * parts[0] + (1 - share) * parts[1])
        assert entry["several_labels"]["gap"] == pytest.approx(wanted, abs=1e-6)
        assert entry["weights"] == [share, 1 - share] and (out / "predictions.csv").exists()
        assert [part["gap"] for part in entry["parts"]] == pytest.approx([metrics.gap(label, p) for p in parts])
        assert "yt8m_moe (mean_rgb, mean_audio) alone: GAP@20" in (out / "metrics.md").read_text()


def test_what_cannot_be_fused_is_told(runs, tmp_path):
    folder = str(runs["yt8m_lstm"][0] / "evaluation" / "1")
    evaluate.main([str(runs["yt8m_moe"][0]), "--split=validation", f"--out={tmp_path / 'validation'}"])
    for words, told in (
        (["--fuse", folder, str(tmp_path / "validation")], "same videos"),
        (["--fuse", folder, str(tmp_path)], "folders of evaluations"),
        (["--fuse", folder, folder, "--weights", "1"], "--weights are 2 numbers"),
        (["--fuse", folder, folder, "--weights", "1", "-1"], "--weights"),
        (["--fuse", folder, folder, "--tune", folder, folder], "--tune is for one class"),
        ([str(runs["yt8m_lstm"][0]), "--input=x.npy"], "several"),
    ):
        with pytest.raises(InputError, match=told):
            evaluate.main([*words, f"--out={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["yt8m_lstm", "yt8m_moe"])
def test_a_served_folder_takes_any_number_of_frames(runs, name):
    run, folder = runs[name]
    model, served, videos = saved.load(run), saved.load(folder), features_of(name)
    inputs = {feature.name: videos[feature.name][:7] for feature in model.features}
    np.testing.assert_allclose(served.predict(inputs), model.predict(inputs), atol=1e-5)
    assert served.multi_label and [feature.name for feature in served.features] == list(inputs)
    if name == "yt8m_moe":
        return
    longer = {key: np.pad(x, ((0, 0), (0, 5), (0, 0)), constant_values=9) for key, x in inputs.items() if x.ndim == 3}
    np.testing.assert_allclose(served.predict({**inputs, **longer}), model.predict(inputs), atol=1e-5)
    lost = {
        key: np.pad(x, ((0, 0), (0, 5), (0, 0)), constant_values=np.nan) for key, x in inputs.items() if x.ndim == 3
    }
    for loaded in (served, model):
        np.testing.assert_allclose(loaded.predict({**inputs, **lost}), model.predict(inputs), atol=1e-5)
    whole = {key: x[0, : inputs["length"][0]] for key, x in inputs.items() if x.ndim == 3}
    np.testing.assert_allclose(served.predict(whole), model.predict(inputs)[0], atol=1e-5)  # without a length
    for wrong, told in (
        ({"length": inputs["length"] / 2}, "integers"),
        ({"length": inputs["length"][:3]}, "same clips"),
        ({"length": 0 * inputs["length"]}, "1..8"),
        ({"length": inputs["length"] + 9}, "1..8"),
        ({"audio": np.pad(inputs["audio"], ((0, 0), (0, 1), (0, 0)))}, "same clips and steps"),
        ({"rgb": inputs["rgb"][0]}, "same clips"),
        ({"rgb": np.zeros(inputs["rgb"].shape, np.uint8)}, "numbers, not codes"),
    ):
        for loaded in (served, model):
            with pytest.raises(InputError, match=f"{told}.*Received"):
                loaded.predict({**inputs, **wrong})
    with pytest.raises(InputError, match="padded or whole"):
        evaluate.main([str(run), "--extract", "prob"])


def test_videos_in_another_order_are_not_fused(tmp_path):
    for name, order in (("a", [0, 1, 2]), ("b", [2, 0, 1])):
        kept, scores = several_labels.Scores(4), np.eye(3, 4)[order]
        kept.add([str(n) for n in order], np.zeros((3, 4)), scores)
        (tmp_path / name).mkdir()
        told = {"system": name, "data": {}, "split": "test", "videos": 3, "several_labels": kept.summary("wxyz")}
        (tmp_path / name / "metrics.json").write_text(json.dumps(told))
        kept.save(tmp_path / name / "scores.npz", list("wxyz"))
    with pytest.raises(InputError, match="in one order"):
        several_labels.fuse([tmp_path / "a", tmp_path / "b"])
    _, fused, _ = several_labels.fuse([tmp_path / "a", tmp_path / "a"], [1, 3])
    assert fused.ids == ["0", "1", "2"] and fused.best[0][:, 0].tolist() == [0, 1, 2]


def test_scores_of_many_classes_and_of_segments():
    """Metrics of batches are those of all; of many classes the average precision of all pairs is counted in bins."""
    rng = np.random.default_rng(0)
    scores, labels = rng.random((400, 150)), (rng.random((400, 150)) < 0.3).astype("float32")
    kept = several_labels.Scores(150)
    for n in range(0, 400, 64):
        kept.add([str(i) for i in range(n, min(n + 64, 400))], labels[n : n + 64], scores[n : n + 64])
    entry = kept.summary([str(n) for n in range(150)])
    assert entry["gap"] == pytest.approx(metrics.gap(labels, scores), abs=1e-9)
    assert entry["map_all"] == pytest.approx(metrics.mean_ap(labels, scores, k=None), abs=3e-3)
    columns, values = kept.best
    assert columns.shape == values.shape == (400, 100) and (np.diff(values, axis=1) <= 0).all()
    rated = np.where(rng.random((60, 4)) < 0.4, rng.integers(0, 2, (60, 4)), -1)
    segments = several_labels.Scores(4, segments=True)
    segments.add([f"{n}:0" for n in range(60)], rated, scores[:60, :4])
    entry = segments.summary(list("abcd"))
    assert entry["map"] == pytest.approx(metrics.segment_mean_ap(rated, scores[:60, :4]), abs=1e-9)
    assert "gap" not in entry
    partly = several_labels.Scores(4)  # of whole videos what is not known is not the video's
    partly.add([str(n) for n in range(60)], rated, scores[:60, :4])
    assert partly.summary(list("abcd"))["gap"] == metrics.gap(rated == 1, scores[:60, :4])
    unknown = several_labels.Scores(4)
    unknown.add(["a"], np.zeros((1, 4)), scores[:1, :4])
    assert unknown.summary(list("abcd")) == {"labels_a_video": 0.0}


# Batches


def test_padded_videos_are_taken_whole():
    clips = make_dataset("topics", "test", num_test_sequences=5, max_frames=6, classes=3, rgb_size=4, audio_size=2)
    task = ClassifyTask(clip_frames=6, streams=("rgb", "audio"), labels="several")
    recipe, _ = train.parse(["yt8m_lstm", *SMALL, "--task.clip_frames=6"])
    features = train.features_of(recipe, "test")
    assert [feature.name for feature in features] == ["rgb", "audio", "length"]
    wanted = {name: np.stack([clip[name] for clip in clips.as_numpy_iterator()]) for name in clips.element_spec}
    for batches, view in (
        (training_clips(clips, features, task, 5, 3), False),
        (view_batches(clips, features, task, 5), True),
    ):
        ((inputs, targets),) = batches.as_numpy_iterator()
        for name in ("rgb", "audio", "length"):
            np.testing.assert_array_equal(inputs[name][:, 0] if view else inputs[name], wanted[name])
        np.testing.assert_array_equal(targets["logits"], wanted["label"])
        assert targets["logits"].dtype == np.float32


@pytest.mark.parametrize(
    "words, told",
    [
        (["--task.labels=video"], "one class"),
        (["--task.labels=frames"], "labels=frames"),
        (["--task.frame_stride=2"], "taken whole"),
        (["--task.average=logits"], "taken whole"),
        (["--task.short=last"], "taken whole"),
        (["--task.test_clips=2"], "taken whole"),
        (["--task.streams=[rgb,mean_rgb]"], "mean_rgb"),
        (["--task.streams=[mean_rgb,mean_audio]", "--data.level=video"], "reads frames"),
        (["--data.name=moving_shapes", "--task.streams=[video]"], "label"),
    ],
)
def test_what_does_not_go_together_is_told(words, told, tmp_path):
    small = [] if "--data.name=moving_shapes" in words else SMALL
    with pytest.raises(InputError, match=f"(?s){told}.*Received|Received.*{told}"):
        train.main(["yt8m_lstm", *small, *words, f"--runs={tmp_path}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "system, words, told",
    [
        ("p3d", ["--data.name=topics", "--task.streams=[rgb]", "--task.labels=several"], ""),
        ("time_domain_conv", ["--data.name=topics", "--task.streams=[rgb]", "--task.labels=several"], "not padded"),
        ("snippet_lstm", ["--data.name=topics", "--task.streams=[rgb]", "--task.labels=several"], "exclude each other"),
    ],
)
def test_other_systems_say_so(system, words, told, tmp_path):
    words = [
        *words,
        "--task.clip_frames=8",
        "--model.classes=5",
        "--data.num_sequences=8",
        "--data.num_test_sequences=8",
        "--task.flip=false",
    ]
    with pytest.raises(InputError, match=f"{told}.*Received"):
        train.main([system, *words, "--task.frame_stride=1", "--task.test_clips=1", f"--runs={tmp_path}"])


# Records as published


def test_trained_and_scored_on_records(tmp_path):
    """A test split without labels gets predictions, no scores."""
    rng = np.random.default_rng(0)
    for split, labelled in (("train", True), ("validation", True), ("test", False)):
        videos = [
            {
                "id": f"{split}{n}",
                "labels": [n % 3] if labelled else [],
                "rgb": rng.standard_normal((5 + n % 4, 1024)).astype("float32"),
                "audio": rng.standard_normal((5 + n % 4, 128)).astype("float32"),
            }
            for n in range(9)
        ]
        write_youtube8m(videos, tmp_path / "yt8m", split)
    words = ["--data.name=youtube8m", f"--data.root={tmp_path / 'yt8m'}", "--model.classes=3", "--task.clip_frames=8"]
    words += ["--model.units=4", "--training.epochs=1", "--training.batch_size=4"]
    train.main(["yt8m_lstm", *words, f"--runs={tmp_path / 'runs'}", f"--saved_models={tmp_path / 'served'}"])
    (run,) = (tmp_path / "runs" / "yt8m_lstm").iterdir()
    assert json.loads((run / "metrics.json").read_text())["several_labels"] == {"labels_a_video": 0.0}
    assert "no labels" in (run / "evaluation" / "1" / "metrics.md").read_text()
    assert len((run / "evaluation" / "1" / "predictions.csv").read_text().splitlines()) == 10
    evaluate.main([str(run), "--split=validation", f"--out={tmp_path / 'scored'}"])
    assert json.loads((tmp_path / "scored" / "metrics.json").read_text())["several_labels"]["labels_a_video"] == 1


def test_table_of_stored_results(runs, monkeypatch, capsys):
    from benchmarks import results

    monkeypatch.setattr("sys.argv", ["x", str(runs["yt8m_lstm"][0] / "metrics.json")])
    results.main()
    table = capsys.readouterr().out
    entry = json.loads((runs["yt8m_lstm"][0] / "metrics.json").read_text())["several_labels"]
    assert "| topics | 40 |" in table and f"| {entry['gap']:.3f} | {entry['hit1']:.3f} |" in table


def test_records_that_cannot_be_used_are_one_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        clips = [{"id": f"{split}{n}", "labels": [4], "rgb": rng.standard_normal((9, 16))} for n in range(3)]
        write_youtube8m(clips, tmp_path / "own", split)
    words = ["yt8m_lstm", "--data.name=youtube8m", f"--data.root={tmp_path / 'own'}", "--task.clip_frames=9"]
    words += ["--task.streams=[rgb]", "--data.audio_size=0", "--model.units=4", f"--runs={tmp_path / 'runs'}"]
    for more, told in (
        (["--data.rgb_size=32", "--model.classes=5"], "sizes asked for.* numbers a step 16 "),
        (["--data.rgb_size=16", "--model.classes=3"], "labels below 3.* labels 4"),
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.run(train.main, [*words, *more])
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert stopped.value.code == 2 and error.startswith("error: A record must")
        assert re.search(told, error) and "train0000.tfrecord" in error


def test_trained_and_scored_on_segments(tmp_path):
    """Only rated classes count, in training and in scores."""
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        videos = [
            {
                "id": f"{split}{n}",
                "labels": [n % 3],
                "rgb": rng.standard_normal((20, 1024)).astype("float32"),
                "segments": [(0, n % 3, 1), (10, 1, 0)],
            }
            for n in range(6)
        ]
        write_youtube8m(videos, tmp_path / "yt8m", split)
    words = ["--data.name=youtube8m", f"--data.root={tmp_path / 'yt8m'}", "--data.level=segment", "--data.audio_size=0"]
    words += ["--task.clip_frames=5", "--task.streams=[rgb]", "--model.classes=3", "--model.units=4"]
    train.main(
        ["yt8m_lstm", *words, "--training.epochs=1", f"--runs={tmp_path}", f"--saved_models={tmp_path / 'served'}"]
    )
    (run,) = (tmp_path / "yt8m_lstm").iterdir()
    told = json.loads((run / "metrics.json").read_text())
    assert told["videos"] == 12 and 0 < told["several_labels"]["map"] <= 1 and "gap" not in told["several_labels"]
    with np.load(run / "evaluation" / "1" / "scores.npz") as scores:
        assert scores["ids"][:2].tolist() == ["test0:0", "test0:10"]
        assert scores["rated"].tolist()[:2] == [[0, 0, 1], [1, 1, 0]]
    evaluate.main(["--fuse", str(run / "evaluation" / "1"), f"--out={tmp_path / 'fused'}"])
    again = json.loads((tmp_path / "fused" / "metrics.json").read_text())
    assert again["several_labels"]["map"] == pytest.approx(told["several_labels"]["map"], abs=1e-6)
