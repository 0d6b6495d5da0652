"""Generated topics: form, lengths, what carries the labels."""

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import make_dataset

OPTIONS = {"classes": 4, "max_frames": 9, "rgb_size": 24, "audio_size": 12, "num_sequences": 96}


def videos(split="train", **options):
    clips = list(make_dataset("topics", split, **{**OPTIONS, **options}).as_numpy_iterator())
    return {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}


def test_form():
    found = videos()
    assert found["rgb"].shape == (96, 9, 24) and found["audio"].shape == (96, 9, 12)
    assert found["rgb"].dtype == found["audio"].dtype == np.float32 and found["length"].dtype == np.int32
    assert set(found["length"]) == {4, 5, 6, 7, 8, 9} and set(np.unique(found["label"])) == {0, 1}
    assert (found["label"].sum(axis=1) >= 1).all() and found["label"].sum() > 1.3 * 96
    padding = np.arange(9) >= found["length"][:, None]
    assert not found["rgb"][padding].any() and not found["audio"][padding].any()
    assert np.abs(found["rgb"][~padding]).min() > 0 and np.abs(found["rgb"]).max() == 2


def test_means_are_of_the_same_videos():
    frames, means = videos(), videos(level="video")
    steps = frames["length"][:, None]
    assert set(means) == {"mean_rgb", "mean_audio", "label", "id"} and (means["label"] == frames["label"]).all()
    np.testing.assert_allclose(means["mean_rgb"], frames["rgb"].sum(axis=1) / steps, atol=1e-6)
    np.testing.assert_allclose(means["mean_audio"], frames["audio"].sum(axis=1) / steps, atol=1e-6)


@pytest.mark.parametrize("carrier", ["both", "rgb", "audio", "order"])
def test_the_carrier_alone_tells_the_classes(carrier):
    """A linear classifier of means, fitted on some videos, tells classes of others; not those of an order."""
    found = videos(num_sequences=2016, carrier=carrier, level="video", rgb_size=48, audio_size=16)
    signs = 2.0 * found["label"] - 1
    for name in ("rgb", "audio"):
        x = np.concatenate([found[f"mean_{name}"], np.ones((2016, 1))], axis=1)
        fitted, *_ = np.linalg.lstsq(x[:1500], signs[:1500], rcond=None)
        right = np.corrcoef((x[1500:] @ fitted).ravel(), signs[1500:].ravel())[0, 1]
        base = np.corrcoef(np.broadcast_to(signs[:1500].mean(axis=0), (516, 4)).ravel(), signs[1500:].ravel())[0, 1]
        base = 0.0 if np.isnan(base) else base
        assert right > 0.7 if carrier in ("both", name) else right < base + 0.12


def test_order_shows_in_single_frames():
    """Of every class two frames stand out; which of its directions comes first is its label."""
    options = {**OPTIONS, "carrier": "order", "rgb_size": 256, "classes": 2}
    found = videos(**options)
    both = np.random.default_rng(0).choice([-1.0, 1.0], (2, 2, 256))  # (direction, class, D), as its docstring fixes
    shown = np.einsum("btd,skd->bskt", found["rgb"], both) / 256
    first, second = shown.argmax(axis=-1).transpose(1, 0, 2)
    assert (shown.max(axis=-1) > 0.8).all() and ((first < second) == found["label"]).all()


def test_epochs_splits_and_seeds():
    one, again, other = videos(), videos(), videos(epoch=1)
    assert (one["rgb"] == again["rgb"]).all() and not set(one["id"]) & set(other["id"])
    assert not np.array_equal(one["rgb"], other["rgb"]) and not np.array_equal(one["rgb"], videos(seed=1)["rgb"])
    tests = [videos("test", seed=seed, num_test_sequences=5) for seed in (0, 3)]
    assert len(tests[0]["id"]) == 5 and (tests[0]["rgb"] == tests[1]["rgb"]).all()


@pytest.mark.parametrize(
    "options",
    [{"level": "clip"}, {"carrier": "taste"}, {"classes": 0}, {"max_frames": 3}, {"rgb_size": 0}, {"num_sequences": 0}],
)
def test_bad_options(options):
    with pytest.raises(InputError, match=f"{next(iter(options))}.*Received"):
        videos(**options)
    with pytest.raises(InputError, match="split"):
        videos("dev")
