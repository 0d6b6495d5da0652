"""Systems of YouTube-8M learn what they can see: 32 videos by heart; labels in a stream, or in the order of frames."""

import keras
import numpy as np
import pytest

from keras_st.specs import ClassifyTask
from keras_st.systems import youtube8m as systems

SIZES = {"rgb": 32, "audio": 16}
SMALL = {
    "logistic": {},
    "moe": {},
    "dbof": {"clusters": 32, "units": 16, "sample_frames": 8, "momentum": 0.9},
    "lstm": {"units": 16},
    "netvlad": {"clusters": 8, "units": 16, "sample_frames": 8, "momentum": 0.9},
    "two_stream": {"units": 8, "embedding": 8, "hidden": (32, 16), "dropout": 0.0},
    "two_stream_gru": {"cell": "gru", "units": 8, "embedding": 8, "hidden": (32, 16), "dropout": 0.0},
    "fast_forward": {"units": 8, "hidden": (32, 16)},
    "fast_forward_gru": {"cell": "gru", "units": 8, "hidden": (32, 16)},
    "fast_forward_7": {"preset": "offline_depth7_release", "units": 8, "hidden": (32,)},
    "temporal_resnet": {"frames": 32, "width": 16, "blocks": 1, "units": 16, "dropout": 0.0},
}
BLIND = ("logistic", "moe", "dbof", "netvlad")  # to the order of frames
RATES = {"logistic": 0.1, "moe": 0.1, "netvlad": 0.02}
all_systems = pytest.mark.parametrize("name", SMALL)


def model_of(name, classes):
    keras.utils.set_random_seed(1)
    builder = getattr(systems, "build_yt8m_" + name.removesuffix("_gru").removesuffix("_7"))
    model = builder(ClassifyTask(streams=tuple(SIZES)), classes=classes, **SMALL[name])
    model.build({stream: (None, None, size) for stream, size in SIZES.items()})
    loss = {"logits": keras.losses.BinaryCrossentropy(from_logits=True)}
    model.compile(keras.optimizers.Adam(RATES.get(name, 0.01)), loss)
    return model


def videos(number, seed, classes, carrier=None, longest=8):
    """Noise, padded with zeros, and labels: of no feature, of some of a stream, or of which of two frames is first."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, longest + 1, number).astype("int32")
    inputs = {name: rng.standard_normal((number, longest, size)).astype("float32") for name, size in SIZES.items()}
    labels = rng.integers(0, 2, (number, classes)).astype("float32")
    for n, k in np.ndindex(number, classes):
        sign = 2 * labels[n, k] - 1
        if carrier in SIZES:
            inputs[carrier][n, :, k] += 1.5 * sign
        elif carrier == "order":
            early, late = np.sort(rng.choice(lengths[n], 2, replace=False))
            first, second = (2 * k, 2 * k + 1) if sign > 0 else (2 * k + 1, 2 * k)
            inputs["rgb"][n, early, first] += 6
            inputs["rgb"][n, late, second] += 6
    for x in inputs.values():
        x[np.arange(longest) >= lengths[:, None]] = 0
    return {**inputs, "length": lengths}, labels


def share_right(model, inputs, labels):
    return np.mean((model.predict(inputs, verbose=0, batch_size=512)["logits"] > 0) == labels)


@all_systems
def test_32_videos_are_learnt_by_heart(name):
    model = model_of(name, 4)
    inputs, labels = videos(32, 0, 4)
    for _ in range(300):
        loss = model.train_on_batch(inputs, {"logits": labels}, return_dict=True)["loss"]
        if loss < 0.01:
            break
    assert share_right(model, inputs, labels) == 1.0, loss


@all_systems
@pytest.mark.parametrize("carrier", ["rgb", "audio", "order"])
def test_what_carries_the_label_is_learnt_by_who_can_see_it(name, carrier):
    model = model_of(name, 2)
    inputs, labels = videos(768, 0, 2, carrier)
    epochs = 30 if carrier == "order" else 10
    model.fit(inputs, {"logits": labels}, batch_size=64, epochs=epochs, verbose=0)
    right = share_right(model, *videos(512, 1, 2, carrier))
    if carrier == "order" and name in BLIND:
        assert abs(right - 0.5) < 0.07  # of 1,024 labels: more than 4 standard deviations
    else:
        assert right > 0.85
