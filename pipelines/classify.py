"""Labelled videos to the batches a clip classifier trains on and is tested on."""

import tensorflow as tf

from keras_st.specs import ClassifyTask, FeatureSpec, InputError
from pipelines import transforms
from pipelines.sampling import random_clip, spread_clips


def training_clips(dataset, spec: FeatureSpec, task: ClassifyTask, batch_size: int, seed):
    """Batches `(inputs, targets)` with one clip of every video, drawn at random.

    inputs: `video` float32 (B, T, H, W, C), values 0..1. targets: `logits`, the labels int64 (B,). Place in time, crop
    and mirroring are functions of `seed` (int64 scalar, also a tensor) and the video's place in the data set.
    """
    check_elements(dataset, task)

    def draw(index, element):
        video = element["video"]
        pair = tf.stack([tf.cast(seed, tf.int64), 8 * index])
        frames = tf.gather(video, random_clip(tf.shape(video)[0], task.clip_frames, task.frame_stride, pair))
        frames = _scaled(frames, spec.value_range or (0.0, 1.0), task)
        if task.crop:
            frames = transforms.random_crop(frames, task.crop, pair + [0, 1])
        if task.flip:
            frames = transforms.random_flip(frames, pair + [0, 4])
        return {"video": frames}, {"logits": element["label"]}

    return dataset.enumerate().map(draw, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)


def view_batches(dataset, spec: FeatureSpec, task: ClassifyTask, batch_size: int):
    """Batches `(inputs, targets)` of all test views of every video, nothing random.

    inputs: `video` float32 (B, views, T, H, W, C), `id` string (B,). targets: `logits`, the labels int64 (B,).
    """
    check_elements(dataset, task)

    def views(element):
        video = views_of_clip(element["video"], task, spec.value_range or (0.0, 1.0))
        return {"video": video, "id": element["id"]}, {"logits": element["label"]}

    return dataset.map(views, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)


def views_of_clip(video, task: ClassifyTask, value_range=(0.0, 1.0)):
    """The test views float32 (views, T, H, W, C) of a video (T, H, W, C) of any length and size, values 0..1."""
    places = spread_clips(tf.shape(video)[0], task.clip_frames, task.frame_stride, task.test_clips, task.placement)
    clips = []
    for n in range(task.test_clips):
        frames = _scaled(tf.gather(video, places[n]), value_range, task)
        clips.append(transforms.view_crops(frames, task.crop, task.test_crops) if task.crop else frames[None])
    return tf.concat(clips, 0)


def first_view(inputs, targets):
    """A batch of `view_batches` with the first view of every video alone, as a model takes it."""
    return {"video": inputs["video"][:, 0]}, targets


def _scaled(frames, value_range, task):
    low, high = value_range
    frames = (tf.cast(frames, tf.float32) - low) / (high - low)
    return transforms.resize(frames, task.resize) if task.resize else frames


def check_elements(dataset, task: ClassifyTask):
    """Raises InputError unless the elements are labelled videos that make clips of one size."""
    if "label" not in dataset.element_spec:
        raise InputError(f"A classifier needs clips with a label. Received: {sorted(dataset.element_spec)}")
    _, height, width, channels = dataset.element_spec["video"].shape
    if None in (height, width) and not (task.resize or task.crop):
        raise InputError("Frames of several sizes need --task.resize or --task.crop. Received: neither")
    if channels != (task.channels or channels):
        raise InputError(f"The videos have {channels} channels. Received: task.channels={task.channels}")
    size = task.resize or (height, width)
    if task.crop and None not in size and (task.crop[0] > size[0] or task.crop[1] > size[1]):
        raise InputError(f"A crop must fit into the frames of {size[0]}x{size[1]}. Received: crop={task.crop}")
