"""What the classifiers of clips share: protocols by data set, and networks of frames below recurrence or pooling."""

from typing import Literal

from keras import Sequential

from keras_st.layers import FlowStack, FramePreprocessing, FrameWise
from keras_st.models.backbones import frame_network
from keras_st.specs import PIXELS, ClassifyTask, InputError, Recipe, Training

Source = Literal["centred", "keras_resnet", "p3d_rgb", "p3d_flow"]
Backbone = Literal["small", "vgg16", "resnet50", "resnet101", "resnet152", "caffenet"]

# data set -> what its recipes replace: classes, task and training
PROTOCOLS = {
    "moving_shapes": (6, {}, {}),
    "left_right": (2, {}, {}),
    "moving_objects": (4, {"clip_frames": 12}, {}),
    "acting_objects": (3, {"clip_frames": 12}, {}),
    "overlapping_actions": (5, {"clip_frames": 40, "labels": "frames"}, {}),
    "ut_interaction": (
        6,
        {"frame_stride": 4, "crop": (56, 56), "flip": True, "test_clips": 5},
        {"epochs": 60, "batch_size": 8, "learning_rate": 1e-3},
    ),
    "records": (
        6,
        {"frame_stride": 2, "flip": True, "test_clips": 5},
        {"epochs": 60, "batch_size": 8, "learning_rate": 1e-3},
    ),
    "thermal": (10, {"flip": True, "test_clips": 3}, {"epochs": 60, "batch_size": 8}),
    "thermal_frames": (10, {"clip_frames": 64, "labels": "frames"}, {"epochs": 20, "batch_size": 8}),
    "frame_features": (14, {"clip_frames": 25, "streams": ("features",)}, {"epochs": 10, "batch_size": 32}),
}
# generated data sets -> clips of an epoch of training
GENERATED = {
    "moving_shapes": 600,
    "left_right": 600,
    "moving_objects": 600,
    "acting_objects": 2000,
    "overlapping_actions": 600,
}


def _levels(third, fourth):
    """The last layers of the stages of a ResNet with that many units in stages 3 and 4, and the mean of its maps."""
    return "conv2_block3_out", f"conv3_block{third}_out", f"conv4_block{fourth}_out", "avg_pool"


# network -> layers that systems read where they are not told: a vector a frame, a map a frame, maps of several levels
TAPS = {
    "small": ("fc", "block3_pool", ("block2_pool", "block3_pool", "fc")),
    "vgg16": ("fc2", "block5_pool", ("block2_pool", "block3_pool", "block4_pool", "block5_pool", "fc2")),
    "resnet50": ("avg_pool", "conv5_block3_out", _levels(4, 6)),
    "resnet101": ("avg_pool", "conv5_block3_out", _levels(4, 23)),
    "resnet152": ("avg_pool", "conv5_block3_out", _levels(8, 36)),
    "caffenet": ("fc6", "pool5", ("norm1", "norm2", "conv5", "fc6")),
}
VECTORS, MAPS, LEVELS = range(3)


def frame_parts(
    task: ClassifyTask,
    reads: int | dict[str, int],
    backbone: Backbone = "small",
    taps: tuple[str, ...] | None = None,
    weights: str | None = None,
    flow_weights: str | None = None,
    fine_tune: bool = True,
    preprocessing: Source = "centred",
    width: int = 16,
    feature_dropout: float = 0.0,
    flow_stack: int = 1,
):
    """Arguments of a `ClipClassifier` for what lies below recurrence or pooling. Stored features have nothing below.

    Args:
        task: clips of a video.
        reads: what the system reads of a frame: `VECTORS`, `MAPS` or `LEVELS`; or that by stream.
        backbone: network of frames, see `keras_st.models.frame_network`.
        taps: layers of it that are read; None: as fits the system.
        weights: of the network of `video`: a file or, of "vgg16" and "resnet50" to "resnet152", "imagenet".
        flow_weights: file for the network of `flow`.
        fine_tune: train the networks of frames; false: they stay as they are.
        preprocessing: what the weights of the network of `video` expect; flow is centred.
        width: channels of the network "small".
        feature_dropout: rate on what is read of every frame.
        flow_stack: fields of flow that a network of frames sees at a time (10 in two-stream networks).
    """
    if weights == "imagenet" and preprocessing != "keras_resnet":
        raise InputError(f'Weights of ImageNet need preprocessing="keras_resnet". Received: {preprocessing=}')
    files = {"video": weights, "flow": flow_weights}
    frames = [stream for stream in task.streams if stream in PIXELS]
    if isinstance(reads, int) and reads != LEVELS and len(task.streams) != 1:
        raise InputError(f"This system sees one stream. Received: streams={list(task.streams)}")
    for stream, file in files.items():
        if stream in frames and file is None and not fine_tune:
            raise InputError(f"A network that is not trained needs weights. Received: fine_tune=False, {stream}: None")
        if stream not in frames and file is not None:
            raise InputError(f"Weights need a stream to see. Received: {file}, streams={list(task.streams)}")
    if not frames and (backbone, taps, fine_tune, preprocessing) != ("small", None, True, "centred"):
        raise InputError(
            "Stored features have no network below: leave its options alone. "
            f"Received: {backbone=}, {taps=}, {fine_tune=}, {preprocessing=}"
        )
    if flow_stack < 1:
        raise InputError(f"`flow_stack` must be at least 1. Received: flow_stack={flow_stack}")
    if flow_stack > 1 and "flow" not in task.streams:
        raise InputError(f"`flow_stack` needs flow. Received: flow_stack={flow_stack}, streams={list(task.streams)}")
    networks, pixels = {}, {}
    for stream in frames:
        kind = reads[stream] if isinstance(reads, dict) else reads
        shape = (*task.clip_shape[1:3], 2 * flow_stack if stream == "flow" else task.channels or 3)
        own = taps or TAPS[backbone][kind]
        networks[stream] = FrameWise(
            frame_network(backbone, shape, own, files[stream], width, fine_tune), name=f"{stream}_net"
        )
        pixels[stream] = FramePreprocessing("centred" if stream == "flow" else preprocessing)
        if stream == "flow" and flow_stack > 1:
            pixels[stream] = Sequential([pixels[stream], FlowStack(flow_stack)])
    if len(task.streams) == 1 and networks:
        (networks,), (pixels,) = networks.values(), pixels.values()
    parts = {"backbone": networks or None, "preprocessing": pixels or None}
    labels = {"multi_label": task.multi_label}
    return {**parts, **labels, "streams": task.streams, "feature_dropout": feature_dropout}


def clips_recipe(system, builder, dataset, model, small, task=None):
    """The recipe of a classifier of clips on a data set, by its protocol.

    model: options of the builder; small: those of its test size; task: what the system itself replaces.
    """
    classes, own_task, own_training = PROTOCOLS.get(dataset, PROTOCOLS["records"])
    generated = dataset in GENERATED
    sizes = {"num_sequences": GENERATED.get(dataset), "num_test_sequences": 300}
    options = {"epochs": 8, "batch_size": 16, "learning_rate": 2e-3, **own_training}
    frames = {} if dataset == "frame_features" else {"clip_frames": 16, "resize": None, "crop": None}
    return Recipe(
        system=system,
        builder=builder,
        task=ClassifyTask(**{**(task or {}), **own_task}),
        data={"name": dataset, **(sizes if generated else {})},
        model={"classes": classes, **model},
        training=Training(**options),
        small={
            "task": {**frames, "frame_stride": 1, "test_clips": 1},
            "data": {"num_sequences": 8, "num_test_sequences": 8} if generated else {},
            "model": small,
        },
    )
