"""Features of every frame, extracted into shards by the networks of a system, and trained from."""

import json

import numpy as np
import pytest
import tensorflow as tf

import train
from keras_st import saved
from keras_st.models import frame_network
from keras_st.specs import InputError
from pipelines import make_dataset

CLIPS = ["--data.num_sequences=6", "--data.num_test_sequences=4", "--task.clip_frames=5", "--model.width=4"]
SHORT = ["--training.epochs=1", "--training.batch_size=3"]


def words_of(system, folder, *more):
    return [system, *more, f"--runs={folder / 'runs'}", f"--saved_models={folder / 'served'}"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """`tap or taps, channels -> file` of untrained networks of frames of 32x32."""
    folder = tmp_path_factory.mktemp("weights")

    def of(taps, channels=1):
        file = folder / f"{'_'.join(taps)}_{channels}.weights.h5"
        if not file.exists():
            frame_network("small", (32, 32, channels), taps, width=4).save_weights(file)
        return str(file)

    return of


def extract(system, folder, weights, *more):
    data = [] if any(word.startswith("--data.name") for word in more) else ["--data.name=left_right"]
    train.main([system, *data, *CLIPS, f"--model.weights={weights}", f"--extract={folder}", *more])
    return folder


@pytest.mark.parametrize(
    "system, taps, streams",
    [
        ("lrcn", ("fc",), ["features"]),
        ("conv_alstm", ("block3_pool",), ["features"]),
        ("gru_rcn", ("block2_pool", "block3_pool", "fc"), ["block2_pool", "block3_pool", "fc"]),
    ],
)
def test_a_system_trains_from_its_features_as_from_pixels(system, taps, streams, weights, tmp_path):
    """Frozen, a system has the same scores on its features (float16) as on pixels."""
    folder = extract(system, tmp_path / "features", weights(taps))
    words = ["--data.name=records", f"--data.root={folder}", f"--task.streams=[{','.join(streams)}]"]
    words += ["--task.clip_frames=5", "--task.frame_stride=1", "--task.flip=false", "--task.test_clips=1", *SHORT]
    small = {"lrcn": "--model.units=4", "conv_alstm": "--model.filters=3", "gru_rcn": "--model.filters=[2,2,3]"}
    train.main(words_of(system, tmp_path, *words, small[system]))
    (run,) = (tmp_path / "runs" / system).iterdir()
    model = saved.load(run)
    assert [feature.name for feature in model.features] == streams and model.classes == ["right", "left"]
    served = tmp_path / "served" / system / "1"
    stored = next(iter(make_dataset("records", "test", root=str(folder))))
    clip = {name: stored[name].numpy() for name in streams}
    np.testing.assert_allclose(saved.load(served).predict(clip), model.predict(clip), atol=1e-5)
    assert json.loads((run / "metrics.json").read_text())["videos"] == 4
    # on pixels, by the same weights: network of frames, then what was trained above it
    recipe, _ = train.parse(
        [system, "--data.name=left_right", *CLIPS, small[system], f"--model.weights={weights(taps)}"]
    )
    whole = train.build_model(recipe, train.examine(recipe)[0])
    whole.aggregator.set_weights(model.model.aggregator.get_weights())
    (whole.head or whole.dense).set_weights((model.model.head or model.model.dense).get_weights())
    pixels = next(iter(make_dataset("left_right", "test", num_frames=5, num_test_sequences=4)))
    assert pixels["id"] == stored["id"]
    logits = np.asarray(whole({"video": pixels["video"].numpy()[None] / np.float32(255)})["logits"])[0]
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), model.predict(clip), atol=2e-3)


def test_two_streams_are_extracted_side_by_side(weights, tmp_path):
    flow = f"--model.flow_weights={weights(('block3_pool',), 2)}"
    more = ["--data.name=moving_shapes", "--data.flow=true", "--task.streams=[video,flow]", flow]
    folder = extract("video_lstm", tmp_path / "features", weights(("block3_pool",)), *more)
    clip = next(iter(make_dataset("records", "train", root=str(folder))))
    assert clip["features"].shape == clip["flow_features"].shape == (5, 4, 4, 16) and clip["label"].dtype == tf.int64
    assert clip["features"].dtype == tf.float16
    words = [
        "--data.name=records",
        f"--data.root={folder}",
        "--task.streams=[features,flow_features]",
        "--task.flip=false",
    ]
    words += ["--task.clip_frames=4", "--task.frame_stride=1", "--task.test_clips=1", "--model.filters=3", *SHORT]
    train.main(words_of("video_lstm", tmp_path, *words))
    (run,) = (tmp_path / "runs" / "video_lstm").iterdir()
    assert json.loads((run / "metrics.json").read_text())["system"] == "video_lstm (features, flow_features)"


def test_frozen_networks_stay_as_they_are(weights):
    """fine_tune=false leaves the networks of frames as the files have them, fine_tune=true does not."""
    for frozen in (True, False):
        words = ["lrcn", "--data.name=left_right", *CLIPS, *SHORT, f"--model.weights={weights(('fc',))}"]
        recipe, _ = train.parse([*words, f"--model.fine_tune={str(not frozen).lower()}"])
        features, steps = train.examine(recipe)
        model = train.build_model(recipe, features)
        train.compile_model(model, recipe.training, steps)
        before = [model.backbone.get_weights(), model.dense.get_weights()]
        for batch in train.with_all_targets(train.training_batches(recipe, features, 0, steps), model):
            model.train_on_batch(*batch)
        after = [model.backbone.get_weights(), model.dense.get_weights()]
        changed = [any(np.abs(a - b).max() > 0 for a, b in zip(*pair)) for pair in zip(before, after)]
        assert changed == [not frozen, True]


@pytest.mark.parametrize(
    "words, message",
    [
        (["lrcn", "--data.name=left_right"], "weights=None"),
        (["p3d", "--data.name=left_right", "--model.weights=no.h5"], "no.h5"),
        (["conv_lstm", "--data.num_sequences=4"], "conv_lstm"),
    ],
)
def test_what_cannot_be_extracted_is_named(words, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train.main([*words, f"--extract={tmp_path / 'f'}"])
    assert not (tmp_path / "f").exists()


def test_nothing_is_overwritten(weights, tmp_path):
    with pytest.raises(InputError, match="Nothing is overwritten"):
        extract("lrcn", tmp_path, weights(("fc",)))
    with pytest.raises(InputError, match="needs weights"):
        train.parse(["lrcn", "--model.fine_tune=false"])[0].build()
