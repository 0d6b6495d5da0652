"""A classifier from training to serving: run folder, evaluation, videos of the user's, fusion, extraction, mistakes."""

import csv
import json

import numpy as np
import pytest
import yaml
from PIL import Image

import evaluate
import evaluate_classes
import train
from keras_st import cli, saved
from keras_st.metrics import classify
from keras_st.serving import export
from keras_st.serving.c_loader import ServedModel
from keras_st.specs import InputError
from keras_st.systems import build
from pipelines.datasets.ut_interaction import CLASSES


def evaluated(path, out, *words):
    evaluate.main([str(path), f"--out={out}", *map(str, words)])
    return json.loads((out / "metrics.json").read_text())


def test_run_folder(clips_run):
    run, served = clips_run
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["task"]["clip_frames"] == 4 and recipe["model"]["width"] == 4
    assert "rollout" not in recipe["training"]
    for folder in (run, served / "assets.extra"):
        assert json.loads((folder / "features.json").read_text())["classes"] == list(CLASSES)
    history = list(csv.DictReader((run / "history.csv").open()))
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= history[0].keys()


def test_the_table_is_the_metric_functions_on_all_views(clips_run):
    run, _ = clips_run
    result = json.loads((run / "metrics.json").read_text())
    model = saved.load(run)
    recipe = train.load_recipe(model.recipe)
    assert recipe.task.test_clips == 2
    labels, scores, right = [], [], []
    for inputs, targets in evaluate_classes.views_of(recipe, model.features, "test"):
        for video, label in zip(inputs["video"].numpy(), targets["logits"].numpy()):
            views = np.stack([model.predict(view) for view in video])
            labels.append(label)
            scores.append(views.mean(axis=0))
            right.append((views.argmax(-1) == label).mean())
    entry = result["classification"]
    assert result["videos"] == 3 and labels == [3, 2, 4]
    assert entry["accuracy"] == classify.top_k_accuracy(np.array(labels), np.array(scores))
    assert result["view_accuracy"] == np.mean(right)
    assert entry["chance"] == 1 / 6 and sum(row["videos"] for row in entry["classes"]) == 3
    with np.load(run / "evaluation" / "1" / "scores.npz") as stored:
        np.testing.assert_allclose(stored["scores"], scores, atol=1e-5)
        assert stored["labels"].tolist() == labels and stored["classes"].tolist() == list(CLASSES)
        assert stored["ids"][0] == "set1/56_10_3.avi"


def test_files_of_an_evaluation(clips_run):
    folder = clips_run[0] / "evaluation" / "1"
    report = (folder / "report.html").read_text()
    names = ["confusion.png", "training.png", "confused_1.png"]
    for name in names:
        assert name in report
        Image.open(folder / name).verify()
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["class"] for row in rows] == list(CLASSES)
    table = (folder / "metrics.md").read_text()
    assert "| p3d |" in table and "| true | taken for | videos |" in table


def test_run_and_served_folder_agree(clips_run, tmp_path):
    results = [evaluated(path, tmp_path / str(n)) for n, path in enumerate(clips_run)]
    assert results[0]["classification"] == results[1]["classification"]
    clip = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), np.uint8)
    run, served = map(saved.load, clips_run)
    p = run.predict(clip)
    assert p.shape == (2, 6) and p.dtype == np.float32
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(served.predict(clip), p, atol=1e-5)
    np.testing.assert_allclose(run.predict(clip[1] / 255.0), p[1], atol=1e-5)
    assert run.classes == served.classes == list(CLASSES)


def test_views_of_the_evaluation_can_be_chosen(clips_run, tmp_path):
    """More clips and crops, another placement and average: each changes the scores."""
    run, _ = clips_run
    evaluated(run, tmp_path / "more", "--clips=3", "--crops=10")
    evaluated(run, tmp_path / "crops", "--clips=2", "--crops=5")
    result = json.loads((tmp_path / "more" / "metrics.json").read_text())
    assert result["views"] == {"clips": 3, "crops": 10, "frames": 4, "average": "probabilities"}
    model, scores = saved.load(run), []
    for changed in ({}, {"placement": "ends"}, {"average": "logits"}, {"test_clips": 1}, {"test_crops": 5}):
        out = evaluate_classes.score_classes(
            model, tmp_path / "-".join(changed or ["base"]), {"test_clips": 2, **changed}
        )
        scores.append(np.load(out / "scores.npz")["scores"])
    for n in range(1, 5):
        assert np.abs(scores[n] - scores[0]).max() > 1e-7, n


def test_a_video_of_the_users(clips_run, ut_tree, tmp_path):
    run, served = clips_run
    for n, path in enumerate((run, served)):
        evaluate.main([str(path), f"--input={ut_tree / 'set1' / '0_1_4.avi'}", f"--out={tmp_path / str(n)}"])
    with np.load(run / "evaluation" / "1" / "scores.npz") as stored:  # a test video, scored as one of the user's
        name, scores = stored["ids"][1], stored["scores"][1]
    evaluate.main([str(run), f"--input={ut_tree / str(name)}", f"--out={tmp_path / 'test'}"])
    again = json.loads((tmp_path / "test" / "probabilities.json").read_text())
    np.testing.assert_allclose([again[c] for c in CLASSES], scores, atol=1e-6)
    tables = [json.loads((tmp_path / str(n) / "probabilities.json").read_text()) for n in range(2)]
    assert set(tables[0]) == set(CLASSES) and sum(tables[0].values()) == pytest.approx(1, abs=1e-5)
    assert list(tables[0].values()) == sorted(tables[0].values(), reverse=True)
    assert tables[0] == pytest.approx(tables[1], abs=1e-5)
    assert "frames.png" in (tmp_path / "0" / "report.html").read_text()


def test_fusion(clips_run, tmp_path):
    run, _ = clips_run
    evaluated(run, tmp_path / "a")
    evaluated(run, tmp_path / "b", "--clips=1")
    a, b = (np.load(tmp_path / n / "scores.npz")["scores"] for n in "ab")
    words = ["--fuse", str(tmp_path / "a"), str(tmp_path / "b"), "--weights", "3", "1", f"--out={tmp_path / 'fused'}"]
    evaluate.main(words)
    with np.load(tmp_path / "fused" / "scores.npz") as stored:
        np.testing.assert_allclose(stored["scores"], 0.75 * a + 0.25 * b, atol=1e-6)
    result = json.loads((tmp_path / "fused" / "metrics.json").read_text())
    assert result["system"] == "p3d + p3d" and result["weights"] == [3, 1] and result["views"]["clips"] == "2 / 1"
    with np.load(tmp_path / "b" / "scores.npz") as stored:  # rows belong together by id, whatever their order
        turned = {name: stored[name][::-1] if name != "classes" else stored[name] for name in stored}
    np.savez(tmp_path / "b" / "scores.npz", **turned)
    evaluate.main([*words[:-1], f"--out={tmp_path / 'again'}"])
    with np.load(tmp_path / "again" / "scores.npz") as stored:
        np.testing.assert_allclose(stored["scores"], 0.75 * a + 0.25 * b, atol=1e-6)
    whole = (tmp_path / "b" / "scores.npz").read_bytes()
    (tmp_path / "b" / "scores.npz").write_bytes(whole[:200])
    with pytest.raises(InputError, match="folder of a classifier's evaluation"):
        evaluate.main([*words[:-1], f"--out={tmp_path / 'broken'}"])


def test_extraction(clips_run, tmp_path, rng):
    run, _ = clips_run
    out = tmp_path / "train.npz"
    evaluate.main([str(run), "--extract", "pool5", "res5c", "prob", "--split=train", "--clips=3", f"--out={out}"])
    with np.load(out) as stored:
        assert stored["pool5"].shape == (3, 32) and stored["res5c"].shape == (3, 1, 1, 1, 32)
        np.testing.assert_allclose(stored["prob"].sum(-1), 1, atol=1e-5)
        assert sorted(stored["labels"]) == [1, 2, 4] and len(set(stored["ids"])) == 3
        model = saved.load(run)
        one = evaluate_classes.views_of(
            train.load_recipe({**model.recipe, "task": {**model.recipe["task"], "test_clips": 3}}),
            model.features,
            "train",
        )
        for inputs, _ in one:
            for name, video in zip(inputs["id"].numpy(), inputs["video"].numpy()):
                row = stored["ids"].tolist().index(name.decode())
                np.testing.assert_allclose(model.predict(video).mean(0), stored["prob"][row], atol=1e-5)
                pool5 = np.asarray(model.model.features({"video": video})).mean(0)
                np.testing.assert_allclose(pool5, stored["pool5"][row], atol=1e-5)


def test_a_served_network_takes_clips_of_any_size(tmp_path, rng):
    model = build("p3d", tiny=True)
    model.build({"video": (None, None, None, None, 3)})
    with ServedModel(export(model, tmp_path / "served", classes=list("abcdef"))) as served:
        for size in ((1, 16, 32, 32), (2, 9, 40, 33)):
            clip = rng.integers(0, 256, (*size, 3), np.uint8)
            logits = np.asarray(model({"video": (clip / 255).astype("float32")})["logits"])
            found = served.run("serving_default", {"video": clip})["probabilities"]
            np.testing.assert_allclose(found, classify.softmax(logits), atol=1e-5)
    with pytest.raises(InputError, match="6 classes. Received: 2 names"):
        export(model, tmp_path / "other", classes=["a", "b"])
    with pytest.raises(InputError, match="no horizon"):
        export(model, tmp_path / "other", horizon=3)


def test_weights_and_preprocessing_of_a_recipe(clips_run, tmp_path):
    """A net starts from the weights of a run, a P3D from those of a frame-wise net; pixels become what they expect."""
    run, _ = clips_run
    words = [
        "--data.name=ut_interaction",
        "--data.root=nowhere",
        "--model.width=4",
        f"--model.weights={run / 'model.keras'}",
    ]
    recipe, _ = train.parse(["p3d", *words])
    first, again = saved.load(run).model, recipe.build()
    for a, b in zip(first.backbone.get_weights(), again.backbone.get_weights()):
        np.testing.assert_array_equal(a, b)
    flat = train.parse(["frame_resnet", "--model.width=4"])[0].build()
    flat.build({"video": (None, None, None, None, 3)})
    flat.save(tmp_path / "flat.keras")
    like = ["--model.width=4", "--model.stem_pool=keras", "--model.bn_epsilon=1.001e-5"]
    deep = train.parse(["p3d", *like, f"--model.weights={tmp_path / 'flat.keras'}"])[0].build()
    kernels = [net.backbone.get_layer("res3_1").spatial[0].get_weights()[0] for net in (flat, deep)]
    np.testing.assert_array_equal(*kernels)
    pixels = np.full((1, 1, 1, 1, 3), 0.5, "float32")
    for source, want in (("centred", 0.0), ("p3d_rgb", 127.5 - 104)):
        model = train.parse(["p3d", *words, f"--model.preprocessing={source}"])[0].build()
        assert float(model.preprocessing(pixels)[0, 0, 0, 0, 0]) == pytest.approx(want, abs=1e-4)


def test_describe_needs_no_data(capsys):
    train.main(
        [
            "p3d",
            "--data.name=ut_interaction",
            "--model.depth=63",
            "--model.width=64",
            "--task.crop=[160,160]",
            "--model.classes=101",
            "--describe",
        ]
    )
    told = capsys.readouterr().out
    assert "25,190,181" in told and "8.44 G" in told and "16 x 160 x 160 x 3" in told
    train.main(["c3d", "--model.width=64", "--task.crop=[112,112]", "--task.channels=3", "--describe"])
    assert "38.5" in capsys.readouterr().out
    train.main(["e3d_lstm", "--describe"])
    assert "not counted" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, told",
    [
        (["--horizon=3"], "not for a classifier"),
        (["--extract", "fc6"], "Received: fc6"),
        (["--weights", "1"], "goes with --fuse"),
        (["--split=train", "--input=a.avi"], "not of --input"),
        (["--split=nowhere"], "split='nowhere'"),
        (["--clips=0"], "test_clips=0"),
        (["--extract", "pool5", "--out=nowhere/x.npz"], "folder that exists"),
        (["--input=nowhere.avi"], "no such file"),
        (["--extract", "pool5", "--split=nowhere"], "split='nowhere'"),
    ],
)
def test_mistakes_are_one_line(clips_run, tmp_path, capfd, words, told):
    with pytest.raises(SystemExit) as stop:
        cli.run(evaluate.main, [str(clips_run[0]), f"--out={tmp_path / 'out'}", *words])
    lines = capfd.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and told in lines[0]
    assert not list(tmp_path.iterdir())


def test_mistakes_about_clips_and_folders(clips_run, tiny_run, tmp_path):
    run, _ = clips_run
    model = saved.load(run)
    for clip, word in (
        (np.zeros((4, 16, 16, 1), "uint8"), "16, 1"),
        (np.zeros((0, 16, 16, 3), "uint8"), "0, 16"),
        (np.full((4, 16, 16, 3), np.nan), "finite"),
    ):
        with pytest.raises(InputError, match=word):
            model.predict(clip)
    np.save(tmp_path / "small.npy", np.zeros((4, 8, 16, 3), "uint8"))
    np.save(tmp_path / "grey.npy", np.zeros((4, 16, 16), "uint8"))
    for words, told in (
        ([str(run), f"--input={tmp_path / 'grey.npy'}"], "grey.npy cannot be classified"),
        ([str(tiny_run[0]), "--extract", "pool5"], "not for a forecaster"),
        ([str(tiny_run[0]), "--clips=2"], "not for a forecaster"),
        ([str(tiny_run[0]), "--crops=5"], "not for a forecaster"),
        ([str(run), f"--input={tmp_path / 'small.npy'}"], "small.npy cannot be classified"),
        (["--fuse", str(tiny_run[0])], "folder of a classifier's evaluation"),
        (["--fuse", str(run / "evaluation" / "1"), "--weights", "1", "2"], "one of each model"),
        (["--fuse", str(run / "evaluation" / "1"), "--clips=2"], "--clips"),
        ([str(tiny_run[0]), "--split=validation"], "not for a forecaster"),
        ([], "one of them"),
        ([str(run), "--extract", "pool5", "--input=a.avi"], "not --input"),
    ):
        with pytest.raises(InputError, match=told):
            evaluate.main([*words, f"--out={tmp_path / 'out'}"])


BAD = {
    "--data.name=ut_interaction": "root=''",
    "--model.depth=50": "Expected",
    "--model.cycle=AD": "cycle='AD'",
    "--model.weights=nowhere.h5": "nowhere.h5",
    "--model.weights=imagenet": "keras_resnet",
    "--model.preprocessing=keras_resnet": "Received: 1",
    "--task.channels=3": "task.channels=3",
    "--task.crop=[40,40]": "crop=(40, 40)",
    "--task.test_crops=5": "test_crops=5",
    "--model.classes=5": "classes=5",
    "--training.loss=mse": "Unknown option",
    "--training.optimizer=rmsprop": "Expected",
    "--data.name=moving_mnist": "label",
}


@pytest.mark.parametrize("word", BAD)
def test_bad_recipes_are_one_line_and_leave_nothing(word, tmp_path, capfd):
    words = [
        "p3d",
        "--data.frame_size=16",
        word,
        f"--runs={tmp_path / 'runs'}",
        f"--saved_models={tmp_path / 'served'}",
    ]
    words = [w for w in words if not ("frame_size" in w and "ut_" in word)]
    with pytest.raises(SystemExit) as stop:
        cli.run(train.main, words)
    lines = capfd.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and BAD[word] in lines[0], lines
    assert not list(tmp_path.iterdir())
