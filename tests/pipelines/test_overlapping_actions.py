"""Overlapping actions: labels say what happens in a frame, and frames alone do not."""

import numpy as np
import pytest

from keras_st.specs import ClassifyTask, InputError
from pipelines import feature_spec, make_dataset
from pipelines.build import class_names
from pipelines.classify import training_clips, view_batches
from pipelines.datasets.overlapping_actions import CLASSES

RIGHT, LEFT, GROW, SHRINK, BLINK = range(5)


def clips(split="train", **options):
    elements = list(make_dataset("overlapping_actions", split, **options).as_numpy_iterator())
    return np.stack([e["video"] for e in elements]), np.stack([e["label"] for e in elements])


@pytest.fixture(scope="module")
def many():
    return clips(num_sequences=400, frame_size=24)


def runs(label):
    """`(first, last + 1)` of the stretches of ones."""
    edges = np.flatnonzero(np.diff(np.pad(label, 1)))
    return list(zip(edges[::2], edges[1::2]))


def alone(label, kind):
    """`(clip, first, last + 1)` of whole events of a class while no other is under way."""
    for n, clip in enumerate(label):
        for first, last in runs(clip[:, kind]):
            if first > 0 and last < len(clip) and clip[first:last].sum() == last - first:
                yield n, first, last


def test_contract_and_seeds():
    options = {"num_frames": 9, "frame_size": 16}
    video, label = clips(num_sequences=40, **options)
    assert video.shape == (40, 9, 16, 16, 1) and video.dtype == np.uint8
    assert label.shape == (40, 9, 5) and label.dtype == np.int64 and set(np.unique(label)) == {0, 1}
    for same in (clips(num_sequences=40, **options), clips(num_sequences=45, **options)):
        np.testing.assert_array_equal(video, same[0][:40])
        np.testing.assert_array_equal(label, same[1][:40])
    for other in ({"epoch": 1}, {"seed": 1}, {"noise": 0.1}):
        assert (clips(num_sequences=40, **options, **other)[0] != video).any()
    test = clips("test", num_test_sequences=5, **options)[0]
    np.testing.assert_array_equal(test, clips("test", num_test_sequences=5, seed=3, epoch=2, **options)[0])
    assert class_names("overlapping_actions") == CLASSES


def test_splits_are_disjoint():
    seen = {}
    for split in ("train", "validation", "test"):
        for video in clips(split, num_sequences=60, num_test_sequences=60)[0]:
            assert seen.setdefault(video.tobytes(), split) == split
    assert len(seen) == 180


def test_events_overlap_and_last_6_to_14_frames(many):
    label = many[1]
    rates = label.mean((0, 1))
    assert (rates > 0.25).all() and (rates < 0.42).all()
    assert abs(label[:, :10].mean() - label[:, -10:].mean()) < 0.04  # as many at the beginning as at the end
    at_once = np.bincount(label.sum(-1).ravel(), minlength=6) / label[..., 0].size
    assert at_once[0] > 0.05 and at_once[2:].sum() > 0.4 and at_once[4:].sum() > 0.01
    for kind in range(5):
        lengths = [last - first for clip in label for first, last in runs(clip[:, kind]) if first > 0 and last < 40]
        assert min(lengths) == 6 and max(lengths) == 14
    short = clips(num_sequences=200, num_frames=8)[1]
    assert (short.mean((0, 1)) > 0.2).all() and (short.mean((0, 1)) < 0.45).all()


def test_frames_show_what_labels_say(many):
    video, label = many[0][..., 0] / 255.0, many[1]
    idle = label.sum(-1) == 0
    assert video[idle].max() == 0
    phase = np.exp(2j * np.pi * np.arange(24) / 24)
    for kind, way in ((RIGHT, 1), (LEFT, -1)):
        found = list(alone(label, kind))
        assert len(found) > 5
        for n, first, last in found:
            angle = [np.angle(video[n, first:last].sum(axis) @ phase) for axis in (2, 1)]
            down, right = (np.angle(np.exp(1j * np.diff(a))) * 24 / (2 * np.pi) for a in angle)
            assert (way * right > 1.2).all() and (way * right < 3.3).all() and np.abs(down).max() < 0.2
    for kind, way in ((GROW, 1), (SHRINK, -1)):
        for n, first, last in alone(label, kind):
            mass = video[n, first:last].sum((1, 2)) / video[n, first:last].max()
            assert (way * np.diff(mass) > 0).mean() > 0.7 and way * (mass[-1] - mass[0]) > 20
    found = list(alone(label, BLINK))
    assert len(found) > 5
    for n, first, last in found:
        mass = video[n, first:last].sum((1, 2))
        np.testing.assert_array_equal(mass > 0, np.arange(last - first) % 4 < 2)
        assert np.ptp(mass[mass > 0]) < 1e-9


def test_no_single_frame_tells_directions(many):
    """Frames with one class alone have the same mass, spread and brightness whichever way it goes."""
    video, label = many[0][..., 0] / 255.0, many[1]
    only = [video[(label.sum(-1) == 1) & (label[..., kind] == 1)] for kind in range(5)]
    for one, other in ((RIGHT, LEFT), (GROW, SHRINK)):
        for measure in (lambda x: x.sum((1, 2)), lambda x: (x.max(2) > 0).sum(1), lambda x: x.max((1, 2))):
            a, b = measure(only[one]), measure(only[other])
            assert abs(a.mean() - b.mean()) < 0.35 * (a.std() + b.std()) / 2


def test_clips_and_whole_videos():
    dataset = make_dataset("overlapping_actions", "test", num_test_sequences=3)
    spec, task = feature_spec(dataset, "overlapping_actions"), ClassifyTask(clip_frames=12, labels="frames")
    ((inputs, targets),) = training_clips(dataset, (spec,), task, 8, 0).as_numpy_iterator()
    assert inputs["video"].shape == (3, 12, 16, 16, 1) and targets["logits"].shape == (3, 12, 5)
    for (inputs, targets), element in zip(view_batches(dataset, (spec,), task, 8).as_numpy_iterator(), dataset):
        np.testing.assert_array_equal(np.round(inputs["video"][0, 0] * 255), element["video"])
        np.testing.assert_array_equal(targets["logits"][0], element["label"])


@pytest.mark.parametrize("bad", [{"frame_size": 11}, {"num_frames": 0}, {"noise": -0.1}, {"num_sequences": 0}])
def test_bad_options_are_named(bad):
    ((name, value),) = bad.items()
    with pytest.raises(InputError, match=f"overlapping_actions.*{name}={value}"):
        make_dataset("overlapping_actions", "train", **bad)
    with pytest.raises(InputError, match="split='dev'"):
        make_dataset("overlapping_actions", "dev")
