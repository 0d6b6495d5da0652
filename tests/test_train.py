"""train.py: the run folder, every option, killing and resuming."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

import train
from keras_st import cli, saved
from keras_st.specs import InputError
from pipelines.build import class_names
from tests.conftest import ROOT, TINY

SMALL = [*TINY, "--training.epochs=3"]


def run_train(folder, *words, base=TINY):
    train.main([*base, f"--runs={folder / 'runs'}", f"--saved_models={folder / 'served'}", *words])
    return max((folder / "runs" / "conv_lstm").iterdir(), key=os.path.getmtime)


def weights(run):
    import keras

    return keras.saving.load_model(run / "model.keras").get_weights()


def test_run_folder_holds_what_the_design_says(tiny_run):
    run, served = tiny_run
    assert {p.name for p in run.iterdir()} >= {
        *(
            "recipe.yaml",
            "environment.json",
            "features.json",
            "history.csv",
            "metrics.json",
            "model.keras",
            "done.json",
        ),
        *("checkpoint", "evaluation"),
    }
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["system"] == "conv_lstm" and recipe["data"]["frame_size"] == 16 and recipe["model"]["filters"] == [4]
    environment = json.loads((run / "environment.json").read_text())
    assert {"command", "commit", "hardware", "keras", "backend"} <= environment.keys()
    history = list(csv.DictReader((run / "history.csv").open()))
    assert len(history) == 1 and float(history[0]["loss"]) > 0 and float(history[0]["val_loss"]) > 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["forecasts"]) == {"conv_lstm", "last_frame", "black", "context_mean"}
    assert len(metrics["forecasts"]["conv_lstm"]["mse_per_pixel"]["per_lead_time"]) == 3
    assert metrics["seed"] == 0 and metrics["environment"]["commit"] == environment["commit"]


def test_a_second_run_stands_beside_the_first(tmp_path):
    first = run_train(tmp_path)
    second = run_train(tmp_path)
    assert first != second
    assert sorted(p.name for p in (tmp_path / "served" / "conv_lstm").iterdir() if p.is_dir()) == ["1", "2"]
    for a, b in zip(weights(first), weights(second)):  # same seed, same weights
        np.testing.assert_array_equal(a, b)


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    """The process is killed in its second epoch; what resumes must end with the same weights and history."""
    whole = run_train(
        tmp_path / "whole", "--training.rollout.policy=scheduled", "--model.forecaster=shared", base=SMALL
    )
    words = [*SMALL, "--training.rollout.policy=scheduled", "--model.forecaster=shared"]
    code = (
        "import keras, os, sys, train\n"
        "class Kill(keras.callbacks.Callback):\n"
        "    def on_train_batch_end(self, batch, logs=None):\n"
        "        if self.model.optimizer.iterations == 3: os._exit(9)\n"
        "callbacks = train.progress_callbacks\n"
        "train.progress_callbacks = lambda *a: [*callbacks(*a), Kill()]\n"
        "train.main(sys.argv[1:])\n"
    )
    folders = [f"--runs={tmp_path / 'runs'}", f"--saved_models={tmp_path / 'served'}"]
    killed = subprocess.run([sys.executable, "-c", code, *words, *folders], cwd=ROOT)
    assert killed.returncode == 9
    (run,) = (tmp_path / "runs" / "conv_lstm").iterdir()
    assert not (run / "model.keras").exists() and len(list((run / "checkpoint").glob("*.h5"))) == 1
    with (run / "history.csv").open("a") as file:  # an epoch that was logged, but not saved
        file.write("1,0,0\n")
    train.main([f"--resume={run}"])
    assert [p.name for p in (tmp_path / "served" / "conv_lstm").iterdir() if p.is_dir()] == ["1"]
    for a, b in zip(weights(whole), weights(run)):
        np.testing.assert_array_equal(a, b)
    assert (run / "history.csv").read_text() == (whole / "history.csv").read_text()
    with pytest.raises(InputError, match="complete"):
        train.main([f"--resume={run}"])


def test_killed_in_the_first_epoch_or_while_scoring_is_finished_by_resuming(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "finish", fail)
    with pytest.raises(KeyboardInterrupt):
        run_train(tmp_path)
    (run,) = (tmp_path / "runs" / "conv_lstm").iterdir()
    monkeypatch.undo()
    train.main([f"--resume={run}"])
    assert (run / "done.json").exists() and (run / "metrics.json").exists()
    early = tmp_path / "runs" / "conv_lstm" / "early"
    early.mkdir()
    for name in ("recipe.yaml", "environment.json"):
        (early / name).write_bytes((run / name).read_bytes())
    (early / "history.csv").write_text("")  # what a kill in the first epoch leaves
    train.main([f"--resume={early}"])
    assert (early / "history.csv").read_text() == (run / "history.csv").read_text()
    for a, b in zip(weights(early), weights(run)):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_holds_the_states_of_dropout(tmp_path):
    import keras

    from keras_st.layers import ConvLSTMCell
    from keras_st.models import encoder_forecaster
    from keras_st.training.callbacks import Checkpoint

    def make():
        keras.utils.set_random_seed(0)
        cell = ConvLSTMCell(2, 3, 3, padding="same", recurrent_dropout=0.5, seed=7)
        model = encoder_forecaster([cell], horizon_frames=2)
        model.build({"video": (None, 3, 8, 8, 1)})
        model.compile("sgd", loss={"frames": "mse"})
        return model

    clips, frames = np.random.default_rng(0).random((2, 4, 3, 8, 8, 1)).astype("float32")
    model, checkpoint = make(), Checkpoint(tmp_path / "c")
    checkpoint.set_model(model)
    model.fit({"video": clips}, {"frames": frames[:, :2]}, verbose=0)
    checkpoint.on_epoch_end(0)
    again = make()
    assert Checkpoint(tmp_path / "c").restore(again) == 1
    for m in (model, again):
        m.fit({"video": clips}, {"frames": frames[:, :2]}, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_config_files_and_overrides(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["conv_gru", *TINY, "--training.epochs=7", "--print_config"])
    config = tmp_path / "run.yaml"
    config.write_text(capsys.readouterr().out)
    recipe, _ = train.parse([f"--config={config}", "--training.batch_size=2"])
    assert (
        recipe.system == "conv_gru"
        and recipe.training.epochs == 7
        and recipe.training.batch_size == 2
        and recipe.data["frame_size"] == 16
    )


def test_a_recipe_follows_its_data_set():
    """E3D-LSTM has a protocol for each of its data sets; what is given on the command line wins."""
    flow, _ = train.parse(["e3d_lstm", "--data.name=crowd_flow", "--data.root=somewhere", "--model.patch=2"])
    kth, _ = train.parse(["e3d_lstm", "--data.name=kth"])
    assert (flow.task.context_frames, flow.task.horizon_frames, flow.model["patch"]) == (4, 4, 2)
    assert (kth.task.horizon_frames, kth.model["patch"], kth.training.rollout.policy) == (20, 8, "scheduled")
    assert train.load_recipe(flow.as_dict()) == flow


def test_a_field_is_trained_scored_and_served_in_its_own_unit(tmp_path):
    """City flow grids: float counts, range of the training part; run folder and served folder agree."""
    rng = np.random.default_rng(0)
    time = np.datetime64("2020-01-01T00:00:00") + np.arange(100) * np.timedelta64(3600, "s")
    flow = rng.integers(0, 40, (100, 8, 12, 2)).astype("uint16")
    flow[-1] = 100  # more than training ever saw
    np.savez(tmp_path / "city.npz", flow=flow, time=time)
    words = ["e3d_lstm", "--data.name=crowd_flow", f"--data.root={tmp_path}", "--data.file=city.npz"]
    words += ["--model.filters=[3]", "--model.kernel_size=[2,3,3]", "--training.epochs=1"]
    train.main([*words, f"--runs={tmp_path / 'runs'}", f"--saved_models={tmp_path / 'served'}"])
    (run,) = (tmp_path / "runs" / "e3d_lstm").iterdir()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["value_range"] == [0.0, 39.0] and metrics["unit"] == "counts a slot" and metrics["sequences"] == 13
    clip = flow[-8:-4]
    frames = saved.load(run).predict(clip)
    assert frames.shape == (4, 8, 12, 2) and np.abs(frames).max() > 1.5  # counts, not 0..1
    served = saved.load(tmp_path / "served" / "e3d_lstm" / "1")
    np.testing.assert_allclose(served.predict(clip.astype("float32")), frames, rtol=1e-4, atol=1e-3)
    assert np.isfinite(saved.load(run).predict(flow[-4:])).all()
    np.save(tmp_path / "clip.npy", clip)
    import evaluate

    out = evaluate.predict(saved.load(run), tmp_path / "clip.npy", None, tmp_path / "forecast")
    np.testing.assert_allclose(np.load(out / "frames.npy"), frames, atol=1e-3)
    (run / "features.json").unlink()  # a bare .keras file and its recipe: the range is that of the data set
    again = evaluate.score(saved.load(run), tmp_path / "again")
    scores = [json.loads((p / "metrics.json").read_text()) for p in (run, again)]
    assert scores[0]["forecasts"] == scores[1]["forecasts"] and scores[1]["unit"] == "counts a slot"
    with pytest.raises(InputError, match="finite"):
        served.predict(np.full((4, 8, 12, 2), np.nan))


def test_a_classifier_is_trained_scored_and_served(tmp_path):
    """Early recognition: accuracy and confusion beside the forecast's scores; the weight of the forecast is logged."""
    import tensorflow as tf

    words = ["e3d_lstm_classifier", "--data.frame_size=16", "--data.num_sequences=8", "--data.num_test_sequences=12"]
    words += ["--task.context_frames=4", "--task.horizon_frames=3", "--training.batch_size=4", "--training.epochs=2"]
    words += ["--model.filters=[4]", "--training.forecast_weight=3", "--training.forecast_weight_decay=0.5"]
    train.main([*words, f"--runs={tmp_path / 'runs'}", f"--saved_models={tmp_path / 'served'}"])
    (run,) = (tmp_path / "runs" / "e3d_lstm_classifier").iterdir()
    metrics = json.loads((run / "metrics.json").read_text())["classification"]
    assert np.sum(metrics["confusion"]) == 12 and metrics["accuracy"] == np.trace(metrics["confusion"]) / 12
    assert (run / "evaluation" / "1" / "confusion.png").exists()
    assert "Accuracy" in (run / "evaluation" / "1" / "metrics.md").read_text()
    history = list(csv.DictReader((run / "history.csv").open()))
    assert [float(row["forecast_weight"]) for row in history] == [2.5, 1.5]  # of steps 1 and 3
    clip = np.random.default_rng(0).integers(0, 256, (3, 5, 16, 16, 1), np.uint8)
    outputs = saved.load(run).outputs(clip / np.float32(255))
    served = tf.saved_model.load(tmp_path / "served" / "e3d_lstm_classifier" / "1")
    answers = served.signatures["serving_default"](video=tf.constant(clip))
    assert set(answers) == {"frames", "logits", "probabilities"}
    labels = tmp_path / "served" / "e3d_lstm_classifier" / "1" / "assets" / "labels.txt"
    assert labels.read_text().splitlines() == list(
        class_names(yaml.safe_load((run / "recipe.yaml").read_text())["data"]["name"])
    )
    np.testing.assert_allclose(answers["logits"], outputs["logits"], atol=1e-5)
    np.testing.assert_allclose(answers["probabilities"].numpy().sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "word, message",
    [("--data.name=moving_mnist", "with labels, such as left_right"), ("--model.classes=3", r"0..2.*Received: \d")],
)
def test_a_classifier_needs_labels_of_its_classes(word, message):
    recipe, _ = train.parse(["e3d_lstm_classifier", word, "--data.frame_size=16"])
    with pytest.raises(InputError, match=message):
        train.examine(recipe)


def test_the_loss_is_cross_entropy_and_the_weighted_forecast(tmp_path):
    """L = L_ce + lambda(i) (L_frames + w L_context), by hand at step 0."""
    import keras
    from keras import ops

    words = ["e3d_lstm_classifier", "--data.frame_size=16", "--data.num_sequences=4", "--data.num_test_sequences=4"]
    words += ["--model.filters=[3]", "--task.context_frames=4", "--task.horizon_frames=3", "--training.batch_size=4"]
    words += ["--training.forecast_weight=3", "--training.context_loss_weight=0.7"]
    recipe, _ = train.parse(words)
    feature, steps = train.examine(recipe)
    model = train.build_model(recipe, feature)
    train.compile_model(model, recipe.training, steps)
    batch = next(iter(train.training_batches(recipe, feature, 0, steps)))
    inputs, targets, _ = batch
    outputs = {name: ops.convert_to_numpy(x) for name, x in model(inputs).items()}

    def l1_l2(name):
        d = outputs[name] - targets[name].numpy()
        return np.mean(d**2) + np.mean(np.abs(d))

    labels = targets["logits"].numpy()
    cross_entropy = keras.losses.sparse_categorical_crossentropy(labels, outputs["logits"], from_logits=True)
    want = float(ops.mean(cross_entropy)) + 3 * (l1_l2("frames") + 0.7 * l1_l2("context_frames"))
    assert float(model.train_on_batch(*batch)[0]) == pytest.approx(want, rel=1e-4)


def test_records_can_be_trained_on(tmp_path):
    from pipelines import records

    for split, count in (
        ("train", "num_sequences"),
        ("validation", "num_test_sequences"),
        ("test", "num_test_sequences"),
    ):
        options = ["frame_size=16", "num_frames=9", f"{count}=5"]
        records.main(["moving_mnist", "--out", str(tmp_path / "shards"), f"--split={split}", "--options", *options])
    words = [word for word in TINY if "data." not in word]
    run = run_train(tmp_path, "--data.name=records", f"--data.root={tmp_path / 'shards'}", base=words)
    assert saved.load(run).predict(np.zeros((4, 16, 16, 1), "uint8")).shape == (3, 16, 16, 1)


BAD = {
    "conv_lst": "did you mean 'conv_lstm'",
    "--training.epoch=3": "did you mean --training.epochs",
    "--model.filter=3": "did you mean --model.filters",
    "--training.epochs=x": "training.epochs",
    "--training.epochs=0": "epochs=0",
    "--training.batch_size=0": "batch_size=0",
    "--training.learning_rate=-1": "learning_rate=-1",
    "--training.loss=mes": "Expected",
    "--model.filters=3": "model.filters",
    "--model.filters=[0]": "filters=0",
    "--model.peephole=dense": "Expected",
    "--model.patch=5": "patch=5",
    "--model.dilation_rate=[1,2]": "one for each of 1 levels",
    "--data.name=moving_mnst": "did you mean 'moving_mnist'",
    "--data.frame_size=2": "frame_size=2",
    "--data.root=/nowhere": "train-images-idx3-ubyte",
    "--task.horizon_frames=0": "horizon_frames=0",
    "--resume=/nowhere": "--resume=/nowhere",
    "--system=conv_lst": "did you mean 'conv_lstm'",
    "--training.warmup_fraction=5": "warmup_fraction=5",
    "--training.loss=binary_crossentropy": "activation=linear",
    "--data.root=$NO_SUCH_VARIABLE/mnist": "not set",
    "--config=/nowhere.yaml": "/nowhere.yaml",
    "--training.context_loss_weight=1": "context_loss_weight=1",
    "--training.rollout.policy=teacher": "policy=teacher",
    "--training.rollout.start_rate=-1": "start_rate=-1",
    "--training.decoupling_weight=0.1": "model.decoupling=true",
    "--training.forecast_weight=-1": "forecast_weight=-1",
    "--training.forecast_weight_floor=2": "forecast_weight=1.0",
    "--data.name=crowd_flow": "nyc_bike_2014.npz",
    "--data.name=kth": "root",
    "--data.name=copy_task": "twice its horizon",
}


@pytest.mark.parametrize("word", BAD)
def test_mistakes_are_one_line_and_exit_2_and_leave_nothing(word, tmp_path, capfd):
    with pytest.raises(SystemExit) as stop:
        cli.run(train.main, [word, f"--runs={tmp_path / 'runs'}", f"--saved_models={tmp_path / 'served'}"])
    lines = capfd.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ") and BAD[word] in lines[0]
    assert not list(tmp_path.iterdir())


def test_bad_config_files(tmp_path):
    for text, word in (("[1, 2]", "mapping"), ("a: [", "YAML"), ("training:\n  epohcs: 3\n", "epohcs")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InputError, match=word):
            train.parse([f"--config={tmp_path / 'bad.yaml'}"])
    with pytest.raises(InputError, match="own recipe"):
        train.parse(["--resume=/nowhere", "--training.epochs=3"])


def test_paths_under_the_data_folder_are_stored_with_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_ST_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    recipe, _ = train.parse([f"--data.root={tmp_path / 'mnist'}"])
    assert recipe.data["root"] == "$KERAS_ST_DATA/mnist"
    for other in (str(tmp_path.parent), str(tmp_path) + "2/x", "moving_mnist", 3, None):
        assert cli.with_variable(other) == other


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert cli.environment()["commit"] is None
