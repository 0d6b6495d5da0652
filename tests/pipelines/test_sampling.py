"""Which frames make a clip; frames are their own numbers, so indices can be read."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.sampling import random_clip, spread_clips


def both_ways(function, *args):
    """The result eagerly and inside tf.data, which must agree."""
    eager = function(*args).numpy()
    (mapped,) = tf.data.Dataset.from_tensors(0).map(lambda _: function(*args)).as_numpy_iterator()
    np.testing.assert_array_equal(eager, mapped)
    return eager


def test_clips_start_in_the_middle_of_equal_segments():
    """(n + 1/2) 94 / 5 - 1/2 for the 94 places where a clip of 7 frames can start: 8.9, 27.7, 46.5, 65.3, 84.1."""
    clips = both_ways(spread_clips, 100, 4, 2, 5, "centre")
    np.testing.assert_array_equal(clips, np.array([9, 28, 46, 65, 84])[:, None] + [0, 2, 4, 6])
    starts = both_ways(spread_clips, 100, 30, 1, 25, "centre")[:, 0]  # 25 segments of 71 places, all different
    assert starts[:3].tolist() == [1, 4, 7] and starts[-1] == 69 and len(set(starts.tolist())) == 25
    np.testing.assert_array_equal(both_ways(spread_clips, 11, 3, 1, 1, "centre"), [[4, 5, 6]])


def test_clips_that_touch_the_ends():
    clips = both_ways(spread_clips, 20, 3, 2, 4, "ends")  # room 15: starts 0, 5, 10, 15
    np.testing.assert_array_equal(clips[:, 0], [0, 5, 10, 15])
    assert clips[-1, -1] == 19
    rounded = both_ways(spread_clips, 21, 3, 2, 4, "ends")  # room 16: 0, 5.33, 10.67, 16
    np.testing.assert_array_equal(rounded[:, 0], [0, 5, 11, 16])
    np.testing.assert_array_equal(both_ways(spread_clips, 11, 3, 1, 1, "ends"), [[4, 5, 6]])


@pytest.mark.parametrize("placement", ["centre", "ends"])
@pytest.mark.parametrize("length", [1, 3, 7])
def test_short_videos_start_over(placement, length):
    clips = both_ways(spread_clips, length, 8, 1, 2, placement)
    np.testing.assert_array_equal(clips, [np.arange(8) % length] * 2)
    np.testing.assert_array_equal(random_clip(length, 8, 1, [1, 2]), np.arange(8) % length)


@pytest.mark.parametrize("placement", ["centre", "ends"])
@pytest.mark.parametrize("length, stride", [(1, 1), (3, 1), (7, 1), (10, 3)])
def test_short_videos_repeat_their_last_frame(placement, length, stride):
    want = np.minimum(stride * np.arange(8), length - 1)
    np.testing.assert_array_equal(both_ways(spread_clips, length, 8, stride, 2, placement, "last"), [want] * 2)
    np.testing.assert_array_equal(both_ways(random_clip, length, 8, stride, [1, 2], "last"), want)


def test_videos_that_are_long_enough_neither_start_over_nor_stand_still():
    for length in (22, 100):  # clips of 8 frames, every third: they reach over 22
        for n in range(20):
            loop, last = (random_clip(length, 8, 3, [1, n], short).numpy() for short in ("loop", "last"))
            np.testing.assert_array_equal(loop, last)
            assert (np.diff(loop) == 3).all() and loop[0] >= 0 and loop[-1] < length
        pair = [spread_clips(length, 8, 3, 4, "ends", short).numpy() for short in ("loop", "last")]
        np.testing.assert_array_equal(*pair)


def test_random_clips_reach_both_ends_and_follow_their_seed():
    starts = [int(both_ways(random_clip, 12, 4, 3, tf.constant([5, n], tf.int64))[0]) for n in range(40)]
    assert set(starts) == {0, 1, 2}  # reach 10
    np.testing.assert_array_equal(random_clip(12, 4, 3, [5, 7]), random_clip(12, 4, 3, [5, 7]))
    assert np.diff(random_clip(12, 4, 3, [5, 7])).tolist() == [3, 3, 3]
