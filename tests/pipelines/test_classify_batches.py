"""Labelled videos to training clips and test views."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import VIDEO, ClassifyTask, InputError
from pipelines import make_dataset
from pipelines.classify import check_elements, first_view, training_clips, view_batches
from pipelines.videos import in_memory

SPEC = dataclasses.replace(VIDEO, shape=(None, 6, 8, 1))


def numbered(lengths=(20, 3, 11), height=6, width=8, **options):
    """Videos whose frames hold their own number."""
    videos = [np.full((n, height, width, 1), np.arange(n)[:, None, None, None], np.uint8) for n in lengths]
    ids = [f"v{n}" for n in range(len(videos))]
    return in_memory(videos, range(len(videos)), ids, **{"shuffle": False, "epoch": 0, "seed": 0, **options})


def frame_numbers(video):
    return np.round(video[..., 0, 0, 0] * 255).astype(int)


def test_one_random_clip_of_every_video():
    task = ClassifyTask(clip_frames=4, frame_stride=2)
    starts = set()
    for seed in range(30):
        ((inputs, targets),) = training_clips(numbered(), (SPEC,), task, 8, seed).as_numpy_iterator()
        assert inputs["video"].shape == (3, 4, 6, 8, 1) and inputs["video"].dtype == np.float32
        np.testing.assert_array_equal(targets["logits"], [0, 1, 2])
        numbers = frame_numbers(inputs["video"])
        np.testing.assert_array_equal(np.diff(numbers[0]), 2)
        np.testing.assert_array_equal(numbers[1], [0, 2, 1, 0])  # three frames: it starts over
        starts.add(numbers[0, 0])
    assert starts <= set(range(14)) and len(starts) > 8
    again = [next(training_clips(numbered(), (SPEC,), task, 8, s).as_numpy_iterator())[0]["video"] for s in (4, 4, 9)]
    np.testing.assert_array_equal(again[0], again[1])
    assert np.abs(again[0] - again[2]).max() > 0


def test_views_are_clips_times_crops_and_nothing_is_random():
    task = ClassifyTask(clip_frames=3, crop=(4, 5), test_clips=2, test_crops=5, placement="ends")
    batches = [list(view_batches(numbered(), (SPEC,), task, 2).as_numpy_iterator()) for _ in range(2)]
    (inputs, targets), (last, _) = batches[0]
    assert inputs["video"].shape == (2, 10, 3, 4, 5, 1) and last["video"].shape[0] == 1
    np.testing.assert_array_equal(inputs["video"], batches[1][0][0]["video"])
    assert inputs["id"].tolist() == [b"v0", b"v1"] and targets["logits"].tolist() == [0, 1]
    np.testing.assert_array_equal(frame_numbers(inputs["video"])[0], [[0, 1, 2]] * 5 + [[17, 18, 19]] * 5)
    first, _ = first_view(inputs, targets)
    np.testing.assert_array_equal(first["video"], inputs["video"][:, 0])


def test_augmentation_is_the_same_for_all_frames_of_a_clip():
    video = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 1), np.uint8).repeat(9, 0)
    clips = in_memory([video], [0], ["v"], shuffle=False, epoch=0, seed=0)
    task, seen = ClassifyTask(clip_frames=4, crop=(4, 5), flip=True), set()
    for seed in range(12):
        ((inputs, _),) = training_clips(clips, (SPEC,), task, 1, seed).as_numpy_iterator()
        assert np.ptp(inputs["video"][0], axis=0).max() == 0
        seen.add(inputs["video"][0, 0].tobytes())
    assert len(seen) > 5
    seen = set()
    for seed in range(12):
        task = ClassifyTask(clip_frames=4, flip=True)
        ((inputs, _),) = training_clips(clips, (SPEC,), task, 1, seed).as_numpy_iterator()
        seen.add(inputs["video"].tobytes())
    assert len(seen) == 2


def test_every_epoch_has_an_order_of_its_own():
    orders = [[e["id"] for e in numbered([2] * 9, shuffle=True, epoch=n).as_numpy_iterator()] for n in (0, 1, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1] == orders[2]


def test_frames_are_resized_before_they_are_cut():
    task = ClassifyTask(clip_frames=2, resize=(12, 16), crop=(10, 16))
    ((inputs, _),) = training_clips(numbered([5]), (SPEC,), task, 1, 0).as_numpy_iterator()
    assert inputs["video"].shape == (1, 2, 10, 16, 1)


@pytest.mark.parametrize(
    "dataset, task, word",
    [
        (lambda: make_dataset("moving_mnist", "test", num_frames=4), {}, "label"),
        (lambda: numbered(), {"crop": (7, 8)}, "crop"),
        (lambda: numbered(), {"channels": 3}, "task.channels=3"),
    ],
)
def test_data_that_does_not_fit_is_named(dataset, task, word):
    with pytest.raises(InputError, match=f"Received: .*{word}|Received: .*video"):
        check_elements(dataset(), (SPEC,), ClassifyTask(**task))


def test_frames_of_several_sizes_need_one():
    spec = {"video": tf.TensorSpec((None, None, None, 3), tf.uint8), "label": tf.TensorSpec((), tf.int64)}
    several = tf.data.Dataset.from_tensors(
        {"video": tf.zeros((3, 4, 5, 3), tf.uint8), "label": tf.constant(0, tf.int64)}
    )
    several = several.map(lambda e: {k: tf.ensure_shape(tf.identity(v), spec[k].shape) for k, v in e.items()})

    class Unknown:
        element_spec = spec

    with pytest.raises(InputError, match="several sizes"):
        check_elements(Unknown, (SPEC,), ClassifyTask())
    check_elements(Unknown, (SPEC,), ClassifyTask(resize=(4, 4)))


@pytest.mark.parametrize(
    "options, word",
    [
        ({"clip_frames": 0}, "clip_frames"),
        ({"frame_stride": 0}, "frame_stride"),
        ({"test_clips": 0}, "test_clips"),
        ({"resize": (0, 4)}, "resize"),
        ({"crop": (9, 4), "resize": (8, 8)}, "crop"),
        ({"test_crops": 5}, "test_crops"),
        ({"channels": 0}, "channels"),
        ({"placement": "middle"}, "placement"),
        ({"average": "sum"}, "average"),
        ({"test_crops": 7, "crop": (2, 2)}, "test_crops"),
    ],
)
def test_bad_tasks_are_refused(options, word):
    with pytest.raises(InputError, match=f"Received: .*{word}"):
        ClassifyTask(**options)
