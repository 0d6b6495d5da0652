"""Systems of YouTube-8M learn what they can see: 32 videos by heart; labels in a stream, or in the order of frames."""

import keras
import numpy as np
import pytest

import train
from keras_st.metrics.youtube8m import mean_ap
from keras_st.specs import ClassifyTask
from keras_st.systems import youtube8m as systems

SIZES = {"rgb": 32, "audio": 16}
SMALL = {
    "logistic": {},
    "moe": {},
    "dbof": {"clusters": 32, "units": 16, "sample_frames": 8, "momentum": 0.9},
    "lstm": {"units": 16},
    "netvlad": {"clusters": 16, "units": 64, "sample_frames": None, "momentum": 0.9},
    "two_stream": {"units": 8, "embedding": 8, "hidden": (32, 16), "dropout": 0.0},
    "two_stream_gru": {"cell": "gru", "units": 8, "embedding": 8, "hidden": (32, 16), "dropout": 0.0},
    "fast_forward": {"units": 8, "hidden": (32, 16)},
    "fast_forward_gru": {"cell": "gru", "units": 8, "hidden": (32, 16)},
    "fast_forward_7": {"preset": "offline_depth7_release", "units": 8, "hidden": (32,)},
    "temporal_resnet": {"frames": 32, "width": 16, "blocks": 1, "units": 16, "dropout": 0.0},
}
RATES = {"logistic": 0.1, "moe": 0.1, "netvlad": 0.02, "temporal_resnet": 0.003}


@pytest.mark.parametrize("name", SMALL)
def test_32_videos_are_learnt_by_heart(name):
    """Noise and labels that nothing tells: every class of every video is right in the end."""
    keras.utils.set_random_seed(1)
    builder = getattr(systems, "build_yt8m_" + name.removesuffix("_gru").removesuffix("_7"))
    model = builder(ClassifyTask(streams=tuple(SIZES), labels="several"), classes=4, **SMALL[name])
    model.build({stream: (None, None, size) for stream, size in SIZES.items()})
    loss = {"logits": keras.losses.BinaryCrossentropy(from_logits=True)}
    model.compile(keras.optimizers.Adam(RATES.get(name, 0.01)), loss)
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 9, 32).astype("int32")
    inputs = {stream: rng.standard_normal((32, 8, size)).astype("float32") for stream, size in SIZES.items()}
    for x in inputs.values():
        x[np.arange(8) >= lengths[:, None]] = 0
    inputs["length"] = lengths
    labels = rng.integers(0, 2, (32, 4)).astype("float32")
    for _ in range(400):
        loss = model.train_on_batch(inputs, {"logits": labels}, return_dict=True)["loss"]
        if loss < 0.003:
            break
    logits = model.predict_on_batch(inputs)["logits"]
    assert ((logits > 0) == labels).all(), loss


WORDS = ["--model.classes=4", "--data.rgb_size=32", "--data.audio_size=16", "--task.clip_frames=12"]
WORDS += ["--data.num_test_sequences=400"]
AWARE = ["lstm", "two_stream_lstm", "two_stream_gru", "fast_forward_lstm", "temporal_resnet"]
BLIND = ["logistic", "moe", "dbof", "netvlad"]  # to the order of frames
CHANCE = 0.06  # above the share of labels, what a score may have that knows nothing


def precision(name, carrier, *words):
    """`(mean average precision, share of labels)` on videos of which `carrier` tells the classes."""
    videos = 1536 if name == "temporal_resnet" else 512
    recipe, _ = train.parse(
        [f"yt8m_{name}", *WORDS, f"--data.carrier={carrier}", f"--data.num_sequences={videos}", *words]
    )
    features, steps = train.examine(recipe)
    model = train.build_model(recipe, features)
    train.compile_model(model, recipe.training, steps)
    batches = train.training_batches(recipe, features, 0, steps)
    model.fit(batches, steps_per_epoch=steps, epochs=recipe.training.epochs, verbose=0, shuffle=False)
    test = train.batches_of(recipe, features, "test")
    labels, logits = zip(*((y["logits"], model.predict_on_batch(x)["logits"]) for x, y in test))
    labels = np.concatenate(labels)
    return mean_ap(labels, np.concatenate(logits), k=None), labels.mean()


@pytest.mark.parametrize("carrier", ["rgb", "audio"])
@pytest.mark.parametrize("name", AWARE + BLIND)
def test_labels_in_one_stream(name, carrier):
    found, chance = precision(name, carrier)
    assert found > 0.75 > chance + 0.3
    other = "audio" if carrier == "rgb" else "rgb"
    other = f"mean_{other}" if name in ("logistic", "moe") else other
    found, _ = precision(name, carrier, f"--task.streams=[{other}]", "--training.epochs=2")
    assert found < chance + CHANCE


@pytest.mark.parametrize("name", AWARE)
def test_labels_in_the_order_of_frames(name):
    found, chance = precision(name, "order")
    assert found > 0.75 > chance + 0.3


@pytest.mark.parametrize("name", BLIND)
def test_order_says_nothing_to_a_bag_of_frames(name):
    found, chance = precision(name, "order")
    assert found < chance + CHANCE
