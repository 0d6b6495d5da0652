"""Pooling over time by hand and against the witnesses (recognition C2)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.layers import AsMaps, LastPadded, TemporalPool, WindowMax
from tests.reference import recognition as witness


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 2)])
def test_pool_over_time(rng, shape):
    x = rng.standard_normal((2, 5, *shape)).astype("float32") - 3.0  # 0, which padding may hold, is above all
    np.testing.assert_array_equal(numpy(TemporalPool()(x)), x.max(1))
    np.testing.assert_allclose(numpy(TemporalPool("mean")(x)), x.mean(1), atol=1e-6)


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_pool_over_steps_that_count(rng, kind):
    x = rng.standard_normal((3, 5, 2, 3)).astype("float32") - 3.0
    mask = np.array([[1, 1, 0, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
    got = numpy(TemporalPool(kind)(x, mask=mask))
    for n in (0, 1):
        real = x[n, mask[n]]
        np.testing.assert_allclose(got[n], real.max(0) if kind == "max" else real.mean(0), atol=1e-6)
    np.testing.assert_array_equal(got[2], 0)  # of no step
    x[~mask] = 1e6
    np.testing.assert_array_equal(numpy(TemporalPool(kind)(x, mask=mask)), got)


@pytest.mark.parametrize("length, count", [(30, 5), (120, 23), (10, 1), (14, 1), (15, 2), (7, 1), (1, 1)])
def test_c2_windows(rng, length, count):
    """W = max(1, floor((T - 10) / 5) + 1)."""
    x = rng.standard_normal((2, length, 2, 3, 2)).astype("float32") - 3.0
    want = np.stack([witness.windows_max(clip) for clip in x]).reshape(2, count, 2, 3, 2)
    np.testing.assert_array_equal(numpy(WindowMax()(x)), want)
    assert WindowMax().compute_output_shape(x.shape) == want.shape
    clips = keras.Input((None, 2, 3, 2))
    np.testing.assert_array_equal(keras.Model(clips, WindowMax()(clips)).predict(x, verbose=0), want)


@pytest.mark.parametrize("length", [2, 3, 4, 5, 8, 9])
def test_c2_windows_of_a_padded_clip_are_those_of_the_clip(rng, length):
    """Windows of 3 every 2 steps of 9: those that reach beyond the clip do not count, the first always does."""
    x = rng.standard_normal((1, 9, 2)).astype("float32") - 3.0
    layer, mask = WindowMax(3, 2), np.arange(9)[None] < length
    got, counts = numpy(layer(x, mask=mask)), numpy(layer.compute_mask(x, ops.convert_to_tensor(mask)))
    want = numpy(layer(x[:, :length]))
    np.testing.assert_array_equal(counts, np.arange(4)[None] < want.shape[1])
    np.testing.assert_array_equal(got[:, : want.shape[1]], want)
    x[:, length:] = 1e6
    np.testing.assert_array_equal(numpy(layer(x, mask=mask)), got)
    assert layer.compute_mask(x) is None


@pytest.mark.parametrize("length", [1, 3, 4, 6])
def test_short_clips_repeat_their_last_step(rng, length):
    x = rng.standard_normal((2, length, 3)).astype("float32")
    want = np.concatenate([x, np.repeat(x[:, -1:], max(0, 4 - length), axis=1)], axis=1)
    layer = LastPadded(4)
    np.testing.assert_array_equal(numpy(layer(x)), want)
    assert layer.compute_output_shape(x.shape) == want.shape
    clips = keras.Input((None, 3))
    np.testing.assert_array_equal(keras.Model(clips, LastPadded(4)(clips)).predict(x, verbose=0), want)


def test_vectors_as_maps(rng):
    x = rng.standard_normal((2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(numpy(AsMaps()(x)), x[:, :, None, None])
    maps = rng.standard_normal((2, 3, 4, 5, 2)).astype("float32")
    np.testing.assert_array_equal(numpy(AsMaps()(maps)), maps)
    assert AsMaps().compute_output_shape((None, 3, 4)) == (None, 3, 1, 1, 4)
    assert AsMaps().compute_output_shape((None, 3, 4, 5, 2)) == (None, 3, 4, 5, 2)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: TemporalPool("sum"), "kind='sum'"),
        (lambda: WindowMax(0), "window=0"),
        (lambda: WindowMax(3, 0), "stride=0"),
        (lambda: LastPadded(0), "steps=0"),
        (lambda: LastPadded(2)(np.zeros((1, 3, 4)), mask=np.ones((1, 3), bool)), "a mask"),
    ],
)
def test_bad_arguments_are_named(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value)
