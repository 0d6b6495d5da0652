"""From a folder of videos to trained classifiers of frames and of flow, their scores fused, and back to a video."""

import json

import numpy as np
import pytest
import tensorflow as tf

import evaluate
import evaluate_classes
import train
from keras_st import saved
from keras_st.specs import InputError
from pipelines import inspect, prepare
from tests.conftest import write_video


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Shards of twelve videos of three classes, which move differently: still, right, down."""
    folder, rng = tmp_path_factory.mktemp("prepared"), np.random.default_rng(0)
    for name, step in (("down", (2, 0)), ("right", (0, 2)), ("still", (0, 0))):
        for n in range(4):
            texture = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            frames = np.stack([np.roll(texture, (t * step[0], t * step[1]), (0, 1)) for t in range(6)])
            write_video(folder / "videos" / name / f"{n}.mp4", frames)
    (folder / "videos" / "still" / "notes.txt").write_text("no video")
    words = ["--size=[24,32]", "--flow=dis", "--flow_bound=8", "--fractions=[0.5,0.25,0.25]", "--workers=1"]
    prepare.main([str(folder / "videos"), "--out", str(folder / "shards"), *words])
    return folder / "shards"


@pytest.fixture(scope="module")
def runs(shards, tmp_path_factory):
    """`stream -> (run folder, served folder)`."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for stream in ("video", "flow"):
        words = ["lrcn", "--data.name=records", f"--data.root={shards}", "--model.width=4", "--task.clip_frames=4"]
        words += [
            "--task.frame_stride=1",
            "--training.epochs=1",
            f"--task.streams=[{stream}]",
            "--task.crop=[16,16]",
            "--task.test_clips=2",
        ]
        train.main([*words, f"--runs={folder / stream}", f"--saved_models={folder / 'served' / stream}"])
        (run,) = (folder / stream / "lrcn").iterdir()
        made[stream] = run, folder / "served" / stream / "lrcn" / "1"
    return made


def test_a_class_without_videos_is_told(tmp_path, capsys):
    for n in range(3):
        write_video(tmp_path / "videos" / "seen" / f"{n}.avi", np.zeros((3, 24, 32, 3), np.uint8))
    (tmp_path / "videos" / "broken").mkdir()
    for n in range(3):
        (tmp_path / "videos" / "broken" / f"{n}.avi").write_text("no video")
    prepare.main([str(tmp_path / "videos"), "--out", str(tmp_path / "shards"), "--workers=1"])
    told = capsys.readouterr().out
    assert all(f"no video in {split} of: broken" in told for split in ("train", "validation", "test"))


def test_classes_come_from_the_folders(shards, runs):
    for run, served in runs.values():
        for path in (run / "features.json", served / "assets.extra" / "features.json"):
            assert json.loads(path.read_text())["classes"] == ["down", "right", "still"]
    recipe, _ = train.parse(["lrcn", "--data.name=records", f"--data.root={shards}"])
    assert recipe.model["classes"] == 3
    with pytest.raises(InputError, match="classes=2"):
        train.examine(train.parse(["lrcn", "--data.name=records", f"--data.root={shards}", "--model.classes=2"])[0])


def test_a_network_of_flow_sees_flow(shards, runs):
    run, served = runs["flow"]
    model = saved.load(run)
    assert model.feature.name == "flow" and model.feature.value_range == (-8, 8) and model.input_shapes["flow"][-1] == 2
    signatures = tf.saved_model.load(str(served)).signatures
    assert [*signatures["serving_default"].structured_input_signature[1]] == ["video"]  # flow is computed of it
    flow = np.random.default_rng(0).uniform(-8, 8, (2, 4, 16, 16, 2)).astype(np.float32)
    answer = signatures["serving_float"](flow=tf.constant((flow + 8) / 16))["probabilities"].numpy()
    np.testing.assert_allclose(answer, model.predict(flow), atol=1e-5)
    np.testing.assert_allclose(saved.load(served).predict(flow), model.predict(flow), atol=1e-5)
    motion = {}
    for inputs, _ in evaluate_classes.views_of(train.load_recipe(model.recipe), model.features, "test"):
        for name, views in zip(inputs["id"].numpy(), 16 * inputs["flow"].numpy() - 8):
            motion[name.decode().split("/")[0]] = np.median(views, axis=(0, 1, 2, 3))
    assert motion["right"][0] > 0.5 and abs(motion["right"][1]) < 0.2  # 2 px of 64 columns, of which 32 are left
    assert motion["down"][1] > 0.5 and abs(motion["down"][0]) < 0.2 and np.abs(motion["still"]).max() < 0.1


def test_two_streams_are_fused(runs, tmp_path):
    folders = [str(run / "evaluation" / "1") for run, _ in runs.values()]
    evaluate.main(["--fuse", *folders, "--weights", "0.4", "0.6", "--out", str(tmp_path / "fused")])
    scores = [np.load(f"{folder}/scores.npz")["scores"] for folder in folders]
    with np.load(tmp_path / "fused" / "scores.npz") as stored:
        np.testing.assert_allclose(stored["scores"], 0.4 * scores[0] + 0.6 * scores[1], atol=1e-6)


def test_a_video_of_the_users_is_brought_to_the_size_of_the_shards(shards, runs, tmp_path):
    write_video(tmp_path / "v.avi", np.full((9, 60, 80, 3), 90, np.uint8))
    evaluate.main([str(runs["video"][0]), "--input", str(tmp_path / "v.avi"), "--out", str(tmp_path / "out")])
    assert sum(json.loads((tmp_path / "out" / "probabilities.json").read_text()).values()) == pytest.approx(1, abs=1e-5)
    frames = evaluate_classes.read_input(tmp_path / "v.avi", {}, saved.load(runs["video"][0]).feature)
    assert frames.shape == (9, 24, 32, 3)
    with pytest.raises(InputError, match="sees optical flow"):
        evaluate.main([str(runs["flow"][0]), "--input", str(tmp_path / "v.avi"), "--out", str(tmp_path / "flow")])
    np.save(tmp_path / "flow.npy", np.zeros((6, 24, 32, 2), np.float32))
    evaluate.main([str(runs["flow"][0]), "--input", str(tmp_path / "flow.npy"), "--out", str(tmp_path / "flow")])


def test_views_of_a_clip_of_flow_follow_its_geometry(runs, tmp_path, monkeypatch):
    seen = []
    score = evaluate_classes.score_views
    monkeypatch.setattr(evaluate_classes, "score_views", lambda *given: seen.append(given[1]) or score(*given))
    np.save(tmp_path / "flow.npy", np.broadcast_to(np.float32([4, -2]), (6, 24, 32, 2)))
    evaluate.main(
        [str(runs["flow"][0]), "--input", str(tmp_path / "flow.npy"), "--out", str(tmp_path / "o"), "--crops=10"]
    )
    views = 16 * seen[0]["flow"][0] - 8
    np.testing.assert_allclose(views[:5], np.broadcast_to([4, -2], views[:5].shape), atol=1e-5)
    np.testing.assert_allclose(views[5:10], np.broadcast_to([-4, -2], views[:5].shape), atol=1e-5)


def test_flow_is_drawn_in_its_colours(runs):
    feature = saved.load(runs["flow"][0]).feature
    right = np.full((2, 4, 5, 2), (3.0, 0.0))
    np.testing.assert_allclose(
        evaluate_classes.viewable((right + 8) / 16, feature), np.broadcast_to((1, 0, 0), (2, 4, 5, 3))
    )
    slow = evaluate_classes.viewable((right / 30 + 8) / 16, feature)
    np.testing.assert_allclose(slow, np.broadcast_to((1, 0.9, 0.9), (2, 4, 5, 3)), atol=1e-6)  # 0.1 px is no motion


def test_a_forecaster_needs_frames_of_one_size(tmp_path):
    for n, width in enumerate((32, 40, 32, 40, 32, 40)):
        write_video(tmp_path / "videos" / f"{n}.avi", np.zeros((9, 24, width, 3), np.uint8))
    prepare.main([str(tmp_path / "videos"), "--out", str(tmp_path / "shards"), "--workers=1"])
    with pytest.raises(InputError, match="frames of one size"):
        words = ["conv_lstm", "--data.name=records", f"--data.root={tmp_path / 'shards'}"]
        train.examine(train.parse([*words, "--task.context_frames=4", "--task.horizon_frames=4"])[0])


def test_data_without_flow_is_refused():
    words = [
        "lrcn",
        "--task.streams=[flow]",
        "--data.frame_size=16",
        "--data.num_sequences=4",
        "--data.num_test_sequences=4",
    ]
    with pytest.raises(InputError, match="stream='flow'"):
        train.examine(train.parse(words)[0])


def test_inspection(shards, tmp_path, capsys):
    inspect.main([str(shards), "--out", str(tmp_path / "pictures"), "--videos=2"])
    told = capsys.readouterr().out
    assert "train: 6 videos, 36 frames" in told and "down 2, right 2, still 2" in told and "notes.txt" in told
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {
        f"{split}{kind}.png" for split in ("train", "validation", "test") for kind in ("", "_flow", "_flow_colors")
    }
    inspect.main([str(shards)])
    inspect.main([str(shards)])
    assert sorted(path.name for path in (shards / "pictures").iterdir()) == ["1", "2"]
    with pytest.raises(InputError, match="Pictures go to a new folder"):
        inspect.main([str(shards), "--out", str(tmp_path / "pictures")])
    with pytest.raises(InputError, match="features.json"):
        inspect.main([str(tmp_path)])


def test_inspection_names_every_damaged_shard(shards, tmp_path):
    for path in shards.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    names = sorted(path.name for path in tmp_path.glob("*.tfrecord"))
    flipped, cut, gone = (tmp_path / name for name in names)
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-7])
    gone.unlink()
    with pytest.raises(InputError) as caught:
        inspect.main([str(tmp_path)])
    assert "3 of the shards" in str(caught.value) and all(name in str(caught.value) for name in names)
    with pytest.raises(InputError, match="--videos=0"):
        inspect.main([str(shards), "--videos=0"])


def test_a_shard_that_is_whole_but_another_is_named(shards, tmp_path):
    for path in shards.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    path = next(tmp_path.glob("train-*.tfrecord"))
    found = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in reversed(found):
            writer.write(record)
    with pytest.raises(InputError, match="was changed"):
        inspect.main([str(tmp_path)])
