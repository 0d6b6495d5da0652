"""Labelled videos, stored features and labelled frames to training clips and test views."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import VIDEO, ClassifyTask, InputError
from pipelines import feature_spec, make_dataset
from pipelines.classify import check_elements, first_view, training_clips, view_batches, views_of_clip
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


def test_a_short_video_scores_as_the_same_padded_by_hand():
    """Spec B7.9: padding by the repeated last frame."""
    task, model = ClassifyTask(clip_frames=30, short="last"), np.random.default_rng(0).normal(size=(30, 6, 8, 1))
    video = np.random.default_rng(1).integers(0, 256, (10, 6, 8, 1), np.uint8)
    padded, scores = np.concatenate([video, np.repeat(video[-1:], 20, 0)]), {}
    for name, clip in (("short", video), ("padded", padded), ("looped", np.concatenate([video] * 3))):
        clips = in_memory([clip], [0], ["v"], shuffle=False, epoch=0, seed=0)
        ((drawn, _),) = training_clips(clips, (SPEC,), task, 1, 0).as_numpy_iterator()
        ((seen, _),) = view_batches(clips, (SPEC,), task, 1).as_numpy_iterator()
        np.testing.assert_array_equal(drawn["video"], seen["video"][:, 0])
        scores[name] = (drawn["video"] * model).sum()
    assert scores["short"] == scores["padded"] != scores["looped"]


# Stored features


def stored(lengths=(20, 3, 11)):
    """`pooled` float16 (T, 2), a step's number and 1000, `maps` (T, 2, 3, 4) of the number, frames of it, a label."""

    def element(n, length):
        number = tf.cast(tf.range(length), tf.float16)
        maps = tf.broadcast_to(number[:, None, None, None], [length, 2, 3, 4])
        frames = tf.broadcast_to(tf.cast(number, tf.uint8)[:, None, None, None], [length, 6, 8, 1])
        return {
            "pooled": tf.stack([number, tf.fill([length], tf.constant(1000.0, tf.float16))], 1),
            "maps": tf.ensure_shape(maps, (None, 2, 3, 4)),
            "video": tf.ensure_shape(frames, (None, 6, 8, 1)),
            "label": n,
            "id": tf.strings.as_string(n),
        }

    return tf.data.Dataset.from_tensor_slices((np.arange(len(lengths)), np.array(lengths, np.int32))).map(element)


def specs_of(dataset, *names):
    return tuple(feature_spec(dataset, stream=name) for name in names)


def test_features_are_chosen_as_frames_and_otherwise_left_alone():
    dataset = stored()
    specs = specs_of(dataset, "pooled", "maps", "video")
    assert [(s.name, s.dtype, s.value_range) for s in specs[:2]] == [
        ("pooled", "float16", None),
        ("maps", "float16", None),
    ]
    task, starts = ClassifyTask(clip_frames=4, frame_stride=2, crop=(4, 5), flip=True, resize=(12, 16)), set()
    for seed in range(10):
        ((inputs, targets),) = training_clips(dataset, specs, task, 8, seed).as_numpy_iterator()
        assert inputs["pooled"].shape == (3, 4, 2) and inputs["maps"].shape == (3, 4, 2, 3, 4)
        assert inputs["video"].shape == (3, 4, 4, 5, 1) and {x.dtype.name for x in inputs.values()} == {"float32"}
        number = inputs["pooled"][..., 0]
        np.testing.assert_array_equal(number, inputs["maps"][..., 1, 2, 3])
        np.testing.assert_allclose(number, inputs["video"][..., 2, 2, 0] * 255, atol=1e-4)
        assert (inputs["pooled"][..., 1] == 1000).all() and (np.diff(number[[0, 2]]) == 2).all()
        np.testing.assert_array_equal(targets["logits"], [0, 1, 2])
        starts.add(number[0, 0])
    assert len(starts) > 4


def test_views_of_features():
    dataset, task = stored(), ClassifyTask(clip_frames=3, test_clips=2, placement="ends")
    ((inputs, targets),) = view_batches(dataset, specs_of(dataset, "pooled", "maps"), task, 8).as_numpy_iterator()
    assert inputs["pooled"].shape == (3, 2, 3, 2) and inputs["maps"].shape == (3, 2, 3, 2, 3, 4)
    np.testing.assert_array_equal(inputs["pooled"][0, :, :, 0], [[0, 1, 2], [17, 18, 19]])
    np.testing.assert_array_equal(inputs["pooled"][..., 0], inputs["maps"][..., 0, 0, 0])
    first, labels = first_view(inputs, targets)
    assert first.keys() == {"pooled", "maps"} and labels is targets


def test_options_that_features_do_not_take_are_named():
    dataset = stored()
    for option, value in (("resize", (4, 4)), ("crop", (1, 1)), ("flip", True)):
        with pytest.raises(InputError, match=f"taken as they are.*Received: task.{option}=.*with pooled"):
            check_elements(dataset, specs_of(dataset, "pooled"), ClassifyTask(**{option: value}))
        check_elements(dataset, specs_of(dataset, "pooled", "video"), ClassifyTask(**{option: value}))
    with pytest.raises(InputError, match="no crops. Received: task.test_crops=5 with maps"):
        check_elements(dataset, specs_of(dataset, "video", "maps"), ClassifyTask(crop=(4, 4), test_crops=5))
    check_elements(dataset, specs_of(dataset, "pooled"), ClassifyTask(channels=3))  # of video alone


@pytest.mark.parametrize("stream", ["label", "id", "sound"])
def test_what_is_no_stream_is_named(stream):
    with pytest.raises(InputError, match=f"holds maps, pooled, video. Received: stream='{stream}'"):
        feature_spec(stored(), stream=stream)
    times = stored().map(lambda e: {**e, "sound": tf.boolean_mask(e["pooled"][:, 0], e["pooled"][:, 0] > 0)})
    times = times.map(lambda e: {**e, "count": tf.cast(e["maps"], tf.int32), "share": tf.constant(0.5)})
    for name in ("sound", "count", "share"):
        with pytest.raises(InputError, match=f"float array of known size. Received: stream='{name}'"):
            feature_spec(times, stream=name)


def test_streams_of_other_lengths_are_refused():
    dataset = stored().map(
        lambda e: {**e, "pooled": e["pooled"][:3], "maps": tf.ensure_shape(e["maps"][:2], (2, 2, 3, 4))}
    )
    dataset = dataset.map(lambda e: {**e, "pooled": tf.ensure_shape(e["pooled"], (3, 2))})
    with pytest.raises(InputError, match="same number of steps. Received: {'pooled': 3, 'maps': 2}"):
        check_elements(dataset, specs_of(dataset, "pooled", "maps"), ClassifyTask())


# Labelled frames


def labelled(lengths=(20, 3, 11)):
    """Numbered frames; class 0 in even ones, class 1 from frame 5 on, both; frame 2 is not labelled."""

    def add(element):
        number = tf.range(tf.shape(element["video"])[0])
        label = tf.stack([1 - number % 2, tf.cast(number >= 5, tf.int32)], 1)
        return {**element, "label": tf.where(number[:, None] == 2, -1, label)}

    return numbered(lengths).map(add)


def want_of(numbers):
    label = np.stack([1 - numbers % 2, numbers >= 5], -1).astype("float32")
    label[numbers == 2] = -1
    return label


FRAME_LABELS = {"labels": "frames", "clip_frames": 6, "frame_stride": 2}


@pytest.mark.parametrize("short", ["loop", "last"])
def test_labels_are_those_of_the_frames(short):
    task = ClassifyTask(**FRAME_LABELS, short=short)
    for seed in range(8):
        ((inputs, targets),) = training_clips(labelled(), (SPEC,), task, 8, seed).as_numpy_iterator()
        assert targets["logits"].shape == (3, 6, 2) and targets["logits"].dtype == np.float32
        np.testing.assert_array_equal(targets["logits"], want_of(frame_numbers(inputs["video"])))
    assert (targets["logits"][1] == -1).any()  # three frames, the last not labelled


def test_frames_are_scored_on_whole_videos():
    task = ClassifyTask(**FRAME_LABELS, resize=(12, 16), crop=(10, 14))
    batches = list(view_batches(labelled(), (SPEC,), task, 8).as_numpy_iterator())
    for (inputs, targets), length in zip(batches, (20, 3, 11), strict=True):
        numbers = np.arange(0, length, 2)
        assert inputs["video"].shape == (1, 1, len(numbers), 10, 14, 1) and inputs["id"].shape == (1,)
        np.testing.assert_array_equal(frame_numbers(inputs["video"][0, 0]), numbers)
        assert targets["logits"].dtype == np.float32
        np.testing.assert_array_equal(targets["logits"], want_of(numbers)[None])
        first, same = first_view(inputs, targets)
        assert first["video"].shape == (1, len(numbers), 10, 14, 1) and same is targets
    seen = views_of_clip(
        np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 8, 1), np.uint8), task, SPEC
    )
    np.testing.assert_array_equal(frame_numbers(seen.numpy()[0]), [0, 2, 4, 6, 8])


@pytest.mark.parametrize(
    "dataset, labels, word",
    [
        (numbered, "frames", r"\(T, K\).*Received: label \(\)"),
        (labelled, "video", r"\(\): one class. Received: label \(None, 2\)"),
        (lambda: numbered().map(lambda e: {**e, "label": tf.zeros(3, tf.int64)}), "video", r"Received: label \(3,\)"),
        (lambda: numbered().map(lambda e: {**e, "label": tf.zeros(3, tf.int64)}), "frames", r"Received: label \(3,\)"),
    ],
)
def test_labels_of_another_kind_are_named(dataset, labels, word):
    with pytest.raises(InputError, match=f"task.labels={labels}.*{word}"):
        check_elements(dataset(), (SPEC,), ClassifyTask(labels=labels))


def test_frames_have_one_view():
    for options in ({"test_clips": 3}, {"test_crops": 5, "crop": (2, 2)}):
        with pytest.raises(InputError, match="Received: task.test_clips=.*task.test_crops="):
            check_elements(labelled(), (SPEC,), ClassifyTask(labels="frames", **options))


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
