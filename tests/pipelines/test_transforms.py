"""Crops, flips and sizes of frames whose pixels are their own coordinates."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines import transforms


def coordinates(height, width, frames=2):
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return tf.constant(np.stack([np.stack([rows, columns], -1)] * frames), tf.float32)


def test_five_and_ten_crops_are_where_they_should_be():
    crops = transforms.view_crops(coordinates(7, 9), (3, 4), 10).numpy()
    assert crops.shape == (10, 2, 3, 4, 2)
    corners = crops[:, 0, 0, 0].tolist()
    assert corners[:5] == [[2, 2], [0, 0], [0, 5], [4, 0], [4, 5]]
    assert corners[5:] == [[2, 5], [0, 3], [0, 8], [4, 3], [4, 8]]  # mirrored: the right edge comes first
    np.testing.assert_array_equal(crops[5:], crops[:5, :, :, ::-1])
    assert transforms.view_crops(coordinates(7, 9), (3, 4), 5).shape[0] == 5
    (centre,) = transforms.view_crops(coordinates(7, 9), (3, 4), 1)
    np.testing.assert_array_equal(centre, crops[0])


def test_ten_crops_of_a_constant_image_are_equal():
    crops = transforms.view_crops(tf.fill((2, 6, 5, 3), 0.3), (4, 4), 10).numpy()
    assert np.ptp(crops) == 0


def test_random_crops_cover_the_frame_and_are_one_window_for_all_frames():
    video = coordinates(6, 8)
    seen = set()
    for n in range(60):
        crop = transforms.random_crop(video, (5, 6), tf.constant([n, 3], tf.int64)).numpy()
        np.testing.assert_array_equal(crop[0], crop[1])
        np.testing.assert_array_equal(np.diff(crop[0, :, 0, 0]), 1)
        seen.add(tuple(crop[0, 0, 0].astype(int)))
    assert seen == {(r, c) for r in range(2) for c in range(3)}


def test_half_of_the_clips_are_mirrored():
    video = coordinates(2, 5)
    flipped = [
        transforms.random_flip(video, tf.constant([n, 0], tf.int64)).numpy()[0, 0, 0, 1] == 4 for n in range(200)
    ]
    assert 70 < sum(flipped) < 130
    np.testing.assert_array_equal(tf.reverse(video, [2])[0, 0, :, 1], [4, 3, 2, 1, 0])


def test_resizing_keeps_a_ramp_and_smooths_when_it_shrinks():
    big = transforms.resize(coordinates(8, 12), (4, 3)).numpy()
    assert big.shape == (2, 4, 3, 2)
    np.testing.assert_allclose(big[0, 1:3, 1, 0], [2.5, 4.5], atol=1e-4)
    checkers = tf.cast((tf.range(16)[:, None] + tf.range(16)) % 2, tf.float32)[None, :, :, None]
    np.testing.assert_allclose(transforms.resize(checkers, (4, 4))[0, 1:3, 1:3], 0.5, atol=0.05)


def test_a_crop_larger_than_the_frames_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="must fit"):
        transforms.random_crop(coordinates(4, 4), (5, 3), tf.constant([0, 0], tf.int64))
