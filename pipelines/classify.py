"""Labelled videos to the batches a clip classifier trains on and is tested on."""

import tensorflow as tf

from keras_st.specs import LENGTH, PIXELS, ClassifyTask, FeatureSpec, InputError
from pipelines import transforms
from pipelines.sampling import random_clip, spread_clips
from pipelines.schema import decode_frames


def training_clips(dataset, specs: tuple[FeatureSpec, ...], task: ClassifyTask, batch_size: int, seed):
    """Batches `(inputs, targets)` with one clip of every video, drawn at random.

    specs: of what a model sees: `video`, `flow`, stored features. All share place in time, frames also crop and
    mirroring. What is stored encoded is decoded after it is chosen.

    inputs: by the names in `specs`, float32 (B, T, H, W, C), values 0..1 (flow that was enlarged may leave them);
    features as they are stored, float32 (B, T, D) or (B, T, h, w, C).
    targets: `logits`, the labels: int64 (B,); several float32 (B, K), 0 or 1, -1 where not known; of frames float32
    (B, T, K), rows of -1 where not labelled.

    Where the data set itself makes videos alike (`length`, steps before the padding, is then among the `specs`), or
    streams have no time axis, an element is taken whole.

    With a `frame_stride` flow is that of every so manyth frame to the one after it.
    Place in time, crop and mirroring are functions of `seed` (int64 scalar, also a tensor) and the video's place in
    the data set.
    """
    check_elements(dataset, specs, task)

    def draw(index, element):
        if _are_whole(specs):
            return {spec.name: element[spec.name] for spec in specs}, {"logits": _labels(element, None, task)}
        pair = tf.stack([tf.cast(seed, tf.int64), 8 * index])
        length = tf.shape(element[specs[0].name])[0]
        places = random_clip(length, task.clip_frames, task.frame_stride, pair, task.short)
        inputs = {}
        for spec in specs:
            steps, is_flow = _steps(element, spec, places, task), spec.name == "flow"
            if task.crop and spec.name in PIXELS:
                steps = transforms.random_crop(steps, task.crop, pair + [0, 1])
            if task.flip and spec.name in PIXELS:
                steps = transforms.random_flip(steps, pair + [0, 4], is_flow)
            inputs[spec.name] = _scaled(steps, spec)
        return inputs, {"logits": _labels(element, places, task)}

    return dataset.enumerate().map(draw, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)


def view_batches(dataset, specs: tuple[FeatureSpec, ...], task: ClassifyTask, batch_size: int):
    """Batches `(inputs, targets)` of all test views of every video, nothing random.

    inputs: by the names in `specs` float32 (B, views, T, ...) as in `training_clips`, `id` string (B,).
    targets: `logits`, the labels as in `training_clips`.

    With labels of frames a video is one view, all of it (every `frame_stride`-th frame), in a batch of its own, for
    videos differ in length: inputs (1, 1, T, ...), targets float32 (1, T, K).
    """
    check_elements(dataset, specs, task)

    def views(element):
        if _are_whole(specs):
            inputs = {spec.name: element[spec.name][None] for spec in specs}
            return {**inputs, "id": element["id"]}, {"logits": _labels(element, None, task)}
        inputs = {spec.name: views_of_element(element, spec, task) for spec in specs}
        places = view_places(tf.shape(element[specs[0].name])[0], task)[0]
        return {**inputs, "id": element["id"]}, {"logits": _labels(element, places, task)}

    batch_size = 1 if task.labels == "frames" else batch_size
    return dataset.map(views, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)


def views_of_clip(video, task: ClassifyTask, spec: FeatureSpec):
    """The test views float32 (views, T, H, W, C) of a video (T, H, W, C) of any length and size, values 0..1."""
    return views_of_element({spec.name: video}, spec, task)


def views_of_element(element, spec: FeatureSpec, task: ClassifyTask):
    """The test views of a stream of an element."""
    is_flow, is_cut = spec.name == "flow", task.crop and spec.name in PIXELS
    views = []
    for places in view_places(tf.shape(element[spec.name])[0], task):
        steps = _steps(element, spec, places, task)
        views.append(transforms.view_crops(steps, task.crop, task.test_crops, is_flow) if is_cut else steps[None])
    return _scaled(tf.concat(views, 0), spec)


def first_view(inputs, targets):
    """A batch of `view_batches` with the first view of every video alone, as a model takes it."""
    return {name: views[:, 0] for name, views in inputs.items() if name != "id"}, targets


def whole_videos(dataset, specs, task: ClassifyTask):
    """Elements with every stream in `specs` whole, as a model sees it: float32 (T, ...), frames cut at the centre.

    What else the elements hold, `id` and `label`, stays.
    """

    def whole(element):
        streams = {}
        for spec in specs:
            steps = _steps(element, spec, tf.range(tf.shape(element[spec.name])[0]), task)
            if task.crop and spec.name in PIXELS:
                steps = transforms.view_crops(steps, task.crop, 1)[0]
            streams[spec.name] = _scaled(steps, spec)
        return {**{name: element[name] for name in ("id", "label") if name in element}, **streams}

    return dataset.map(whole, num_parallel_calls=tf.data.AUTOTUNE)


def view_places(length, task):
    """Places in time of the test clips of a video, a list."""
    if task.labels == "frames":
        return [tf.range(0, length, task.frame_stride)]
    places = spread_clips(length, task.clip_frames, task.frame_stride, task.test_clips, task.placement, task.short)
    return tf.unstack(places)


def _steps(element, spec, places, task):
    """A stream at `places`, decoded if it is stored encoded; frames resized as the task asks."""
    steps = decode_frames(tf.gather(element[spec.name], places), spec, element.get("size"))
    if task.resize and spec.name in PIXELS:
        return transforms.resize(steps, task.resize, spec.name == "flow")
    return steps


def _scaled(steps, spec):
    low, high = spec.value_range if spec.name in PIXELS and spec.value_range else (0.0, 1.0)
    return (tf.cast(steps, tf.float32) - low) / (high - low)  # last: bytes are cut and mirrored sooner than floats


def _labels(element, places, task):
    """The target of a clip: the video's label, or those of the frames at `places`."""
    if task.labels == "video":
        return element["label"]
    if task.labels == "several":
        return tf.cast(element["label"], tf.float32)
    return tf.cast(tf.gather(element["label"], places), tf.float32)


def check_elements(dataset, specs, task: ClassifyTask):
    """Raises InputError unless the elements are labelled as the task says, and make clips of one size."""
    known = dataset.element_spec
    if "label" not in known:
        raise InputError(f"A classifier needs clips with a label. Received: {sorted(known)}")
    rank, kind = {
        "video": (0, "(): one class"),
        "several": (1, "(K,): 0 or 1 for every class"),
        "frames": (2, "(T, K): 0 or 1 for every frame and class"),
    }[task.labels]
    if known["label"].shape.rank not in (None, rank):
        raise InputError(
            f"With task.labels={task.labels} the `label` of a video is {kind}. "
            f"Received: label {tuple(known['label'].shape)}"
        )
    if task.labels == "frames" and (task.test_clips, task.test_crops) != (1, 1):
        raise InputError(
            "Labels of frames are scored on whole videos, in one view. "
            f"Received: task.test_clips={task.test_clips}, task.test_crops={task.test_crops}"
        )
    _check_features(specs, task)
    if _are_whole(specs):
        return _check_whole(specs, task)
    lengths = {spec.name: known[spec.name].shape[0] for spec in specs}
    if len(set(lengths.values()) - {None}) > 1:
        raise InputError(f"Streams of a video have the same number of steps. Received: {lengths}")
    for spec in specs:
        if spec.name in PIXELS:
            _check_frames(known[spec.name].shape, spec, task)


def _are_whole(specs):
    """Whether elements are clips as they come: padded, or without a time axis."""
    return LENGTH in specs or all(len(spec.shape) == 1 for spec in specs)


def _check_whole(specs, task):
    """Nobody may believe that steps of padded videos, or of videos that have none, are chosen."""
    plain = {"frame_stride": 1, "test_clips": 1, "placement": "centre", "average": "probabilities", "short": "loop"}
    for option, value in plain.items():
        if getattr(task, option) != value:
            raise InputError(
                f"These videos are taken whole, in one view. Received: task.{option}={getattr(task, option)}"
            )
    if task.labels == "frames":
        raise InputError("These videos are labelled as a whole. Received: task.labels=frames")
    for spec in specs:
        if len(spec.shape) > 1 and spec.shape[0] != task.clip_frames:
            raise InputError(
                f"`{spec.name}` has {spec.shape[0]} steps a video. Received: task.clip_frames={task.clip_frames}"
            )


def _check_features(specs, task):
    """Stored features are not resized, cut or mirrored: nobody may believe that they were."""
    features = [spec.name for spec in specs if spec.name not in PIXELS and spec != LENGTH]
    if features and task.test_crops > 1:
        raise InputError(
            f"Stored features have no crops. Received: task.test_crops={task.test_crops} with {', '.join(features)}"
        )
    for option in () if any(spec.name in PIXELS for spec in specs) else ("resize", "crop", "flip"):
        if getattr(task, option):
            raise InputError(
                f"Stored features are taken as they are; `{option}` is for video and flow. "
                f"Received: task.{option}={getattr(task, option)} with {', '.join(features)}"
            )


def _check_frames(shape, spec, task):
    _, height, width, channels = shape if shape.rank == 4 else spec.shape  # of encoded frames only the spec tells
    if None in (height, width) and not (task.resize or task.crop):
        raise InputError("Frames of several sizes need --task.resize or --task.crop. Received: neither")
    if spec.name == "video" and channels != (task.channels or channels):
        raise InputError(f"`video` has {channels} channels. Received: task.channels={task.channels}")
    size = task.resize or (height, width)
    if task.crop and None not in size and (task.crop[0] > size[0] or task.crop[1] > size[1]):
        raise InputError(f"A crop must fit into the frames of {size[0]}x{size[1]}. Received: crop={task.crop}")
