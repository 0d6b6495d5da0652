"""Clips to the batches a forecaster trains on."""

import numpy as np
import tensorflow as tf

from keras_st.specs import FeatureSpec, ForecastTask, InputError


def forecast_batches(
    dataset, spec: FeatureSpec, task: ForecastTask, batch_size: int, window_seed=None, reverse_input=False
):
    """Batches `(inputs, targets)` of a data set of clips, values scaled to 0..1.

    inputs: `video` float32 (B, context, H, W, C). targets: `frames` float32 (B, horizon, H, W, C).

    Clips longer than context + horizon are cut: the first frames, or with `window_seed` (int or scalar tensor) a
    window at a random start, the same for the same seed. Shorter clips raise. With `reverse_input` every batch is
    followed by itself reversed in time.
    """
    total = task.context_frames + task.horizon_frames
    known = dataset.element_spec["video"].shape[0]
    if known is not None and known < total:
        raise InputError(f"Clips must hold at least {total} frames (context + horizon). Received: {known} frames")

    def cut(index, element):
        video = element["video"]
        length = tf.shape(video)[0]
        enough = tf.debugging.assert_greater_equal(
            length, total, f"A clip is shorter than {total} frames (context + horizon)."
        )
        with tf.control_dependencies([enough]):
            start = tf.constant(0)
            if window_seed is not None and known != total:
                seed = tf.stack([tf.cast(window_seed, tf.int64), index])
                start = tf.random.stateless_uniform([], seed, 0, length - total + 1, tf.int32)
            return tf.ensure_shape(video[start : start + total], (total, *video.shape[1:]))

    def scale(video):
        low, high = spec.value_range or (0.0, 1.0)
        video = (tf.cast(video, tf.float32) - low) / (high - low)
        return {"video": video[:, : task.context_frames]}, {"frames": video[:, task.context_frames :]}

    clips = dataset.enumerate().map(cut, num_parallel_calls=tf.data.AUTOTUNE)
    batches = clips.batch(batch_size)
    if reverse_input:
        one = tf.data.Dataset.from_tensors
        batches = batches.flat_map(lambda video: one(video).concatenate(one(tf.reverse(video, [1]))))
    return batches.map(scale, num_parallel_calls=tf.data.AUTOTUNE)


def add_rollout(batches, policy, task: ForecastTask, first_step: int, num_steps: int, seed: int):
    """Adds `future`, `future_flags` (and `context_flags`) as `policy` asks at each optimizer step.

    A flag is 1 with the policy's probability at that step, drawn from (seed, step) alone, so that a resumed run
    draws what the uninterrupted one would have drawn.
    """
    if not policy.input_names:
        return batches
    rates = np.stack(policy.rates(np.arange(first_step, first_step + num_steps)), axis=1).astype("float32")

    def draw(rate, step, part, batch, flags):
        seed_pair = tf.stack([tf.constant(2 * seed + part, tf.int64), step])
        return tf.cast(tf.random.stateless_uniform([batch, flags], seed_pair) < rate, tf.float32)

    def add(step, batch, rate):
        inputs, targets = batch
        size, step = tf.shape(inputs["video"])[0], step + first_step
        inputs = {
            **inputs,
            "future": targets["frames"],
            "future_flags": draw(rate[1], step, 0, size, task.horizon_frames - 1),
        }
        if "context_flags" in policy.input_names:
            inputs["context_flags"] = draw(rate[0], step, 1, size, task.context_frames - 1)
        return inputs, targets

    steps = tf.data.Dataset.zip((batches, tf.data.Dataset.from_tensor_slices(rates)))
    return steps.enumerate().map(lambda step, both: add(step, *both), num_parallel_calls=tf.data.AUTOTUNE)


def add_context_targets(batches):
    """Adds the target `context_frames`: frames 1 to T-1 of the context, predicted one step ahead."""
    return batches.map(lambda inputs, targets: (inputs, {**targets, "context_frames": inputs["video"][:, 1:]}))


def add_decoupling_targets(batches):
    """Adds the target `decoupling`: 0 for every clip."""

    def add(inputs, targets):
        return inputs, {**targets, "decoupling": tf.zeros(tf.shape(targets["frames"])[:1])}

    return batches.map(add)
