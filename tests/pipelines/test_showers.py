"""Generated rain: what it holds, that it is the same again, that it moves."""

import itertools

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import feature_spec, make_dataset

OPTIONS = {"frame_size": 24, "num_frames": 6, "num_sequences": 4, "num_test_sequences": 3}


def fields(split, **options):
    clips = make_dataset("showers", split, **{**OPTIONS, **options})
    return np.stack([clip["video"] for clip in clips.as_numpy_iterator()])


def test_fields_are_rates():
    rain = fields("test")
    assert rain.shape == (3, 6, 24, 24, 1) and rain.dtype == np.float32
    assert np.isfinite(rain).all() and ((rain == 0) | (rain >= 0.1)).all()
    assert 1 < rain.max() < 200 and 0.02 < (rain == 0).mean() < 0.98
    clips = make_dataset("showers", "test", **OPTIONS)
    spec = feature_spec(clips, "showers", **OPTIONS)
    assert spec.shape == rain.shape[1:] and (spec.unit, spec.value_range) == ("mm/h", None)


def test_sequences_are_the_same_again_and_new_in_every_epoch():
    first = fields("train")
    np.testing.assert_array_equal(first, fields("train"))
    assert not np.array_equal(first, fields("train", epoch=1)) and not np.array_equal(first, fields("train", seed=1))
    np.testing.assert_array_equal(fields("test"), fields("test", seed=1))


def test_showers_drift():
    """The whole-pixel shift that brought a field to the next brings that one nearer to the one after it."""

    def apart(first, second, way):
        return np.abs(np.roll(first, way, (0, 1)) - second)[8:-8, 8:-8].mean()

    ways = list(itertools.product(range(-3, 4), repeat=2))
    moved, stood = [], []
    for clip in fields("test", frame_size=48, num_test_sequences=8)[..., 0]:
        clip = clip / clip.mean((1, 2), keepdims=True)  # all swell together
        way = min(ways, key=lambda way: apart(clip[1], clip[3], way))
        moved.append(apart(clip[3], clip[5], way))
        stood.append(apart(clip[3], clip[5], (0, 0)))
    assert np.mean(moved) < 0.6 * np.mean(stood)


def test_wrong_options_are_named():
    with pytest.raises(InputError, match="`frame_size` of showers must be at least 16. Received: frame_size=8"):
        fields("train", frame_size=8)
    with pytest.raises(InputError, match="`split` of showers"):
        fields("all")
