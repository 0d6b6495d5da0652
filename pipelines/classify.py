"""Labelled videos to the batches a clip classifier trains on and is tested on."""

import tensorflow as tf

from keras_st.specs import ClassifyTask, FeatureSpec, InputError
from pipelines import transforms
from pipelines.sampling import random_clip, spread_clips
from pipelines.schema import decode_frames


def training_clips(dataset, specs: tuple[FeatureSpec, ...], task: ClassifyTask, batch_size: int, seed):
    """Batches `(inputs, targets)` with one clip of every video, drawn at random.

    specs: of what a model sees, `video` or `flow` or both; those share place in time, crop and mirroring. Frames that
    are stored encoded are decoded after they are chosen.

    inputs: by the names in `specs`, float32 (B, T, H, W, C), values 0..1 (flow that was enlarged may leave them).
    targets: `logits`, the labels int64 (B,).
    With a `frame_stride` flow is that of every so manyth frame to the one after it.
    Place in time, crop and mirroring are functions of `seed` (int64 scalar, also a tensor) and the video's place in
    the data set.
    """
    check_elements(dataset, specs, task)

    def draw(index, element):
        pair = tf.stack([tf.cast(seed, tf.int64), 8 * index])
        length = tf.shape(element[specs[0].name])[0]
        places = random_clip(length, task.clip_frames, task.frame_stride, pair)
        inputs = {}
        for spec in specs:
            frames, is_flow = _frames(element, spec, places, task), spec.name == "flow"
            if task.crop:
                frames = transforms.random_crop(frames, task.crop, pair + [0, 1])
            if task.flip:
                frames = transforms.random_flip(frames, pair + [0, 4], is_flow)
            inputs[spec.name] = _scaled(frames, spec)
        return inputs, {"logits": element["label"]}

    return dataset.enumerate().map(draw, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)


def view_batches(dataset, specs: tuple[FeatureSpec, ...], task: ClassifyTask, batch_size: int):
    """Batches `(inputs, targets)` of all test views of every video, nothing random.

    inputs: by the names in `specs` float32 (B, views, T, H, W, C), `id` string (B,).
    targets: `logits`, the labels int64 (B,).
    """
    check_elements(dataset, specs, task)

    def views(element):
        inputs = {spec.name: views_of_element(element, spec, task) for spec in specs}
        return {**inputs, "id": element["id"]}, {"logits": element["label"]}

    return dataset.map(views, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)


def views_of_clip(video, task: ClassifyTask, spec: FeatureSpec):
    """The test views float32 (views, T, H, W, C) of a video (T, H, W, C) of any length and size, values 0..1."""
    return views_of_element({spec.name: video}, spec, task)


def views_of_element(element, spec: FeatureSpec, task: ClassifyTask):
    """The test views of the `video` or `flow` of an element."""
    length, is_flow = tf.shape(element[spec.name])[0], spec.name == "flow"
    places = spread_clips(length, task.clip_frames, task.frame_stride, task.test_clips, task.placement)
    clips = []
    for n in range(task.test_clips):
        frames = _frames(element, spec, places[n], task)
        clips.append(transforms.view_crops(frames, task.crop, task.test_crops, is_flow) if task.crop else frames[None])
    return _scaled(tf.concat(clips, 0), spec)


def first_view(inputs, targets):
    """A batch of `view_batches` with the first view of every video alone, as a model takes it."""
    return {name: views[:, 0] for name, views in inputs.items() if name != "id"}, targets


def _frames(element, spec, places, task):
    """The frames at `places`, decoded if they are stored encoded, resized as the task asks."""
    frames = decode_frames(tf.gather(element[spec.name], places), spec, element.get("size"))
    return transforms.resize(frames, task.resize, spec.name == "flow") if task.resize else frames


def _scaled(frames, spec):
    low, high = spec.value_range or (0.0, 1.0)
    return (tf.cast(frames, tf.float32) - low) / (high - low)  # last: bytes are cut and mirrored sooner than floats


def check_elements(dataset, specs, task: ClassifyTask):
    """Raises InputError unless the elements are labelled videos that make clips of one size."""
    if "label" not in dataset.element_spec:
        raise InputError(f"A classifier needs clips with a label. Received: {sorted(dataset.element_spec)}")
    for spec in specs:
        known = dataset.element_spec[spec.name].shape
        _, height, width, channels = known if known.rank == 4 else spec.shape  # of encoded frames only the spec tells
        if None in (height, width) and not (task.resize or task.crop):
            raise InputError("Frames of several sizes need --task.resize or --task.crop. Received: neither")
        if channels != (task.channels or channels):
            raise InputError(f"`{spec.name}` has {channels} channels. Received: task.channels={task.channels}")
        size = task.resize or (height, width)
        if task.crop and None not in size and (task.crop[0] > size[0] or task.crop[1] > size[1]):
            raise InputError(f"A crop must fit into the frames of {size[0]}x{size[1]}. Received: crop={task.crop}")
