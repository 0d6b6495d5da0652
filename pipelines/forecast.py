"""Clips to the batches a forecaster trains on."""

import numpy as np
import tensorflow as tf

from keras_st.specs import FeatureSpec, ForecastTask, InputError
from pipelines.schema import decode_frames


def forecast_batches(
    dataset,
    spec: FeatureSpec,
    task: ForecastTask,
    batch_size: int,
    window_seed=None,
    reverse_input=False,
    labelled=False,
):
    """Batches `(inputs, targets)` of a data set of clips, values scaled to 0..1.

    inputs: `video` float32 (B, context, H, W, C). targets: `frames` float32 (B, horizon, H, W, C), of a horizon of 0
    those of the context; of elements that hold a `density` (T, H, W, K) in 0..1 they are cut from it.

    Clips longer than context + horizon are cut: the first frames, or with `window_seed` (int or scalar tensor) a
    window at a random start, the same for the same seed. Shorter clips raise. Where the data set has a `mask`, cells
    that are missing become NaN. With `reverse_input` every batch is
    followed by itself reversed in time. With `labelled` the targets also hold `logits`, the clips' labels (B,).
    """
    total = task.context_frames + task.horizon_frames
    if labelled and "label" not in dataset.element_spec:
        raise InputError(f"A classifier needs clips with a label. Received: {sorted(dataset.element_spec)}")
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
            video = decode_frames(video[start : start + total], spec, element.get("size"))
            if "mask" in element:
                video = tf.where(element["mask"][start : start + total], video, np.nan)
            video = tf.ensure_shape(video, (total, *video.shape[1:]))
        parts = {"video": video, **({"label": element["label"]} if labelled else {})}
        if "density" in element:
            maps = element["density"]
            parts["density"] = tf.ensure_shape(maps[start : start + total], (total, *maps.shape[1:]))
        return parts

    def scale(parts):
        low, high = spec.value_range or (0.0, 1.0)
        video = (tf.cast(parts["video"], tf.float32) - low) / (high - low)
        frames = parts.get("density", video)
        targets = {"frames": frames[:, task.context_frames :] if task.horizon_frames else frames}
        if labelled:
            targets["logits"] = parts["label"]
        return {"video": video[:, : task.context_frames]}, targets

    clips = dataset.enumerate().map(cut, num_parallel_calls=tf.data.AUTOTUNE)
    batches = clips.batch(batch_size)
    if reverse_input:
        one = tf.data.Dataset.from_tensors
        batches = batches.flat_map(lambda parts: one(parts).concatenate(one(_reversed(parts))))
    return batches.map(scale, num_parallel_calls=tf.data.AUTOTUNE)


def _reversed(parts):
    return {name: x if name == "label" else tf.reverse(x, [1]) for name, x in parts.items()}


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


def add_forecast_weight(batches, weight, first_step: int, num_steps: int):
    """Adds sample weights: `weight(step)` for the frames at each optimizer step, 1 for other targets.

    `weight` takes an array of steps; like the flags, it is a function of the step alone, on every backend.
    """
    weights = np.asarray(weight(np.arange(first_step, first_step + num_steps)), "float32")

    def add(batch, weight):
        inputs, targets = batch
        ones = {k: tf.ones([tf.shape(y)[0], *[1] * max(y.shape.rank - 2, 0)]) for k, y in targets.items()}
        return inputs, targets, {name: w * weight if name.endswith("frames") else w for name, w in ones.items()}

    return tf.data.Dataset.zip((batches, tf.data.Dataset.from_tensor_slices(weights))).map(add)


def add_context_targets(batches):
    """Adds the target `context_frames`: frames 1 to T-1 of the context, predicted one step ahead."""
    return batches.map(lambda inputs, targets: (inputs, {**targets, "context_frames": inputs["video"][:, 1:]}))


def add_decoupling_targets(batches):
    """Adds the target `decoupling`: 0 for every clip."""

    def add(inputs, targets):
        return inputs, {**targets, "decoupling": tf.zeros(tf.shape(targets["frames"])[:1])}

    return batches.map(add)
