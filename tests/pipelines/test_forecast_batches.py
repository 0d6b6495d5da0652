"""From clips to the batches a forecaster trains on."""

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import VIDEO, FeatureSpec, ForecastTask, InputError
from keras_st.training.schedules import ReverseScheduledSampling, ScheduledSampling, TeacherForcing
from pipelines.clips import read_clip
from pipelines.forecast import add_context_targets, add_decoupling_targets, add_rollout, forecast_batches

TASK = ForecastTask(3, 2)


def counting(frames, clips=5):
    """Clips whose pixel value is the frame number, plus ten times the clip number."""
    video = np.arange(frames)[None, :, None, None, None] + 10 * np.arange(clips)[:, None, None, None, None]
    return tf.data.Dataset.from_tensor_slices(
        {"video": np.broadcast_to(video, (clips, frames, 2, 2, 1)).astype("uint8")}
    )


def test_context_and_horizon_are_cut_and_scaled():
    (inputs, targets), last = forecast_batches(counting(5), VIDEO, TASK, 3).as_numpy_iterator()
    np.testing.assert_allclose(255 * inputs["video"][1, :, 0, 0, 0], [10, 11, 12], rtol=1e-6)
    np.testing.assert_allclose(255 * targets["frames"][1, :, 0, 0, 0], [13, 14], rtol=1e-6)
    assert inputs["video"].dtype == np.float32 and inputs["video"].shape == (3, 3, 2, 2, 1)
    assert last[0]["video"].shape[0] == 2  # the last, smaller batch is kept


def test_missing_cells_are_nan_in_inputs_and_targets():
    """Of rain: no range, so values stay as they are."""
    video = np.arange(40, dtype="float32").reshape(1, 5, 2, 4, 1)
    mask = video % 3 > 0
    clips = tf.data.Dataset.from_tensor_slices({"video": video, "mask": mask})
    spec = FeatureSpec("video", "float32", (5, 2, 4, 1), None, "mm/h", missing=True)
    ((inputs, targets),) = forecast_batches(clips, spec, TASK, 1).as_numpy_iterator()
    found = np.concatenate([inputs["video"], targets["frames"]], axis=1)
    np.testing.assert_array_equal(found, np.where(mask, video, np.nan))


def test_every_batch_may_be_followed_by_its_reverse():
    batches = list(forecast_batches(counting(5), VIDEO, TASK, 3, reverse_input=True).as_numpy_iterator())
    assert [len(inputs["video"]) for inputs, _ in batches] == [3, 3, 2, 2]
    for (inputs, targets), (back_inputs, back_targets) in (batches[:2], batches[2:]):
        forward = np.concatenate([inputs["video"], targets["frames"]], axis=1)
        backward = np.concatenate([back_inputs["video"], back_targets["frames"]], axis=1)
        np.testing.assert_array_equal(backward, forward[:, ::-1])


def test_the_decoupling_target_is_zero():
    *_, (_, targets) = add_decoupling_targets(forecast_batches(counting(5), VIDEO, TASK, 3)).as_numpy_iterator()
    np.testing.assert_array_equal(targets["decoupling"], [0.0, 0.0])


def test_windows_of_longer_clips():
    def starts(**kwargs):
        batches = forecast_batches(counting(9), VIDEO, TASK, 5, **kwargs)
        return np.round(255 * next(batches.as_numpy_iterator())[0]["video"][:, 0, 0, 0, 0]) - 10 * np.arange(5)

    np.testing.assert_array_equal(starts(), 0)
    a = starts(window_seed=1)
    np.testing.assert_array_equal(a, starts(window_seed=1))
    assert a.min() >= 0 and a.max() <= 4 and len(set(a)) > 1
    assert any((starts(window_seed=s) != a).any() for s in range(2, 5))


def test_short_clips_are_an_error():
    with pytest.raises(InputError, match="at least 5 frames"):
        forecast_batches(counting(4), VIDEO, TASK, 2)
    unknown = counting(4).map(
        lambda e: {"video": tf.ensure_shape(e["video"][: tf.random.uniform([], 4, 5, tf.int32)], (None, 2, 2, 1))}
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="shorter than 5 frames"):
        list(forecast_batches(unknown, VIDEO, TASK, 2))


def test_rollout_flags_are_a_function_of_seed_and_step():
    batches = forecast_batches(counting(5, 64), VIDEO, ForecastTask(3, 2), 8)
    policy = ScheduledSampling(start_rate=0.5, changing_rate=0.0)

    def flags(first, seed=0, policy=policy):
        steps = add_rollout(batches.skip(first), policy, TASK, first, 8 - first, seed)
        return [inputs["future_flags"] for inputs, _ in steps.as_numpy_iterator()]

    whole = flags(0)
    for a, b in zip(whole[5:], flags(5)):  # a resumed run draws what the whole one drew
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(whole, flags(0, seed=1)))
    assert abs(np.mean(whole) - 0.5) < 4 * 0.5 / np.sqrt(np.size(whole))
    np.testing.assert_array_equal(flags(0, policy=TeacherForcing()), 1)


def test_reverse_sampling_also_flags_the_context():
    batches = forecast_batches(counting(5, 64), VIDEO, TASK, 64)
    ((inputs, targets),) = add_rollout(batches, ReverseScheduledSampling(), TASK, 0, 1, 0).as_numpy_iterator()
    assert inputs["context_flags"].shape == (64, 2) and inputs["future_flags"].shape == (64, 1)
    assert 0.2 < inputs["context_flags"].mean() < 0.8
    late = ReverseScheduledSampling(start_step=0, stop_step=10, alpha=0.1)  # at step 5: context 1, future 0.25
    ((inputs, targets),) = add_rollout(batches, late, TASK, 5, 1, 0).as_numpy_iterator()
    assert inputs["context_flags"].mean() == 1 and 0 < inputs["future_flags"].mean() < 0.5
    np.testing.assert_array_equal(inputs["future"], targets["frames"])


def test_context_targets_are_the_next_frames():
    batches = add_context_targets(forecast_batches(counting(5), VIDEO, TASK, 5))
    inputs, targets = next(batches.as_numpy_iterator())
    np.testing.assert_array_equal(targets["context_frames"], inputs["video"][:, 1:])


def test_read_clip(tmp_path):
    np.save(tmp_path / "grey.npy", np.zeros((4, 5, 6), "uint8"))
    assert read_clip(tmp_path / "grey.npy").shape == (4, 5, 6, 1)
    np.save(tmp_path / "flat.npy", np.zeros((4, 5)))
    np.save(tmp_path / "objects.npy", np.array([{}, 1], object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "grey.npy").read_bytes()[:150])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "clip.txt").write_text("no")
    for name in ("flat.npy", "objects.npy", "cut.npy", "empty.npy", "clip.txt", "none.npy"):
        with pytest.raises(InputError, match=name):
            read_clip(tmp_path / name)


def test_the_weight_of_the_forecast_is_that_of_its_step():
    """Frames are weighted by lambda(step), other targets by 1; a resumed run goes on at its own step."""
    from pipelines.forecast import add_forecast_weight

    inputs = {"video": tf.zeros((3, 2, 4, 4, 1))}
    targets = {
        "frames": tf.zeros((3, 2, 4, 4, 1)),
        "context_frames": tf.zeros((3, 1, 4, 4, 1)),
        "logits": tf.zeros((3,)),
    }
    batches = tf.data.Dataset.from_tensors((inputs, targets)).repeat(3)
    weighted = list(add_forecast_weight(batches, lambda step: 1.0 - 0.1 * step, 5, 3))
    for n, (_, _, weights) in enumerate(weighted):
        for name in ("frames", "context_frames"):
            np.testing.assert_allclose(weights[name], np.full((3, 1, 1, 1), 0.5 - 0.1 * n), atol=1e-6)
        np.testing.assert_array_equal(weights["logits"], np.ones(3))
