"""Data sets by name."""

import dataclasses
import inspect
import os
from collections.abc import Callable

import tensorflow as tf

from keras_st.specs import VIDEO, FeatureSpec, InputError
from pipelines import records
from pipelines.datasets import array as array_module
from pipelines.datasets import crowd_flow as crowd_flow_module
from pipelines.datasets import frame_features as frame_features_module
from pipelines.datasets import hurricane as hurricane_module
from pipelines.datasets import hurricane_tracks as hurricane_tracks_module
from pipelines.datasets import moving_objects as moving_objects_module
from pipelines.datasets import moving_shapes as moving_shapes_module
from pipelines.datasets import overlapping_actions as overlapping_actions_module
from pipelines.datasets import radar as radar_module
from pipelines.datasets import showers as showers_module
from pipelines.datasets import thermal as thermal_module
from pipelines.datasets import ut_interaction as ut_interaction_module
from pipelines.datasets import youtube8m as youtube8m_module
from pipelines.datasets.activitynet import activitynet_listing
from pipelines.datasets.array import array, array_listing
from pipelines.datasets.aslan import aslan_listing
from pipelines.datasets.copy_task import copy_task
from pipelines.datasets.crowd_flow import crowd_flow
from pipelines.datasets.folder import folder_listing
from pipelines.datasets.frame_features import frame_features
from pipelines.datasets.hdf5 import hdf5
from pipelines.datasets.hmdb51 import hmdb51_listing
from pipelines.datasets.hurricane import hurricane
from pipelines.datasets.hurricane_tracks import hurricane_tracks
from pipelines.datasets.kth import kth, kth_listing
from pipelines.datasets.list_file import list_file_listing
from pipelines.datasets.moving_mnist import moving_mnist
from pipelines.datasets.moving_objects import acting_objects, moving_objects
from pipelines.datasets.moving_shapes import left_right, moving_shapes
from pipelines.datasets.multithumos import multithumos_listing
from pipelines.datasets.overlapping_actions import overlapping_actions
from pipelines.datasets.radar import radar
from pipelines.datasets.scenes import scenes_listing
from pipelines.datasets.showers import showers
from pipelines.datasets.sports1m import sports1m_listing
from pipelines.datasets.tfds import tfds
from pipelines.datasets.thermal import thermal, thermal_frames
from pipelines.datasets.topics import topics
from pipelines.datasets.ucf101 import ucf101_listing
from pipelines.datasets.ut_interaction import ut_interaction, ut_interaction_listing
from pipelines.datasets.weizmann import weizmann_listing
from pipelines.datasets.youtube8m import youtube8m
from pipelines.listing import Listing, one_video

# name -> function(split, *, epoch, **options) -> tf.data.Dataset of dicts (design: element contract)
DATASETS: dict[str, Callable[..., tf.data.Dataset]] = {
    "acting_objects": acting_objects,
    "array": array,
    "copy_task": copy_task,
    "crowd_flow": crowd_flow,
    "frame_features": frame_features,
    "hdf5": hdf5,
    "hurricane": hurricane,
    "hurricane_tracks": hurricane_tracks,
    "kth": kth,
    "left_right": left_right,
    "moving_mnist": moving_mnist,
    "moving_objects": moving_objects,
    "moving_shapes": moving_shapes,
    "overlapping_actions": overlapping_actions,
    "radar": radar,
    "records": records.read_dataset,
    "showers": showers,
    "tfds": tfds,
    "thermal": thermal,
    "thermal_frames": thermal_frames,
    "topics": topics,
    "ut_interaction": ut_interaction,
    "youtube8m": youtube8m,
}

# name -> function(root, **options) -> Listing: the videos `pipelines.prepare` makes shards of
LISTINGS: dict[str, Callable[..., Listing]] = {
    "activitynet": activitynet_listing,
    "array": array_listing,
    "aslan": aslan_listing,
    "folder": folder_listing,
    "hmdb51": hmdb51_listing,
    "kth": kth_listing,
    "list_file": list_file_listing,
    "multithumos": multithumos_listing,
    "one_video": one_video,
    "scenes": scenes_listing,
    "sports1m": sports1m_listing,
    "ucf101": ucf101_listing,
    "ut_interaction": ut_interaction_listing,
    "weizmann": weizmann_listing,
}

# said of a video, not seen by a model
NO_STREAMS = {"boxes", "density", "id", "label", "length", "mask", "size", "time", "track"}

# name -> function(**options) -> FeatureSpec of `video`, where its dtype does not tell the range
FEATURES: dict[str, Callable[..., FeatureSpec]] = {
    "array": array_module.feature,
    "crowd_flow": crowd_flow_module.feature,
    "hurricane": hurricane_module.feature,
    "hurricane_tracks": hurricane_tracks_module.feature,
    "kth": records.feature,
    "left_right": moving_shapes_module.feature,
    "moving_shapes": moving_shapes_module.feature,
    "acting_objects": moving_objects_module.feature,
    "moving_objects": moving_objects_module.feature,
    "radar": radar_module.feature,
    "records": records.feature,
    "showers": showers_module.feature,
    "thermal": thermal_module.feature,
    "thermal_frames": thermal_module.feature,
}

# name -> names of the classes, or function(root) of those that the files hold
CLASSES: dict[str, tuple[str, ...] | Callable[[str], tuple[str, ...] | None]] = {
    "frame_features": frame_features_module.classes,
    "kth": lambda root: records.read_spec(root).classes,
    "left_right": moving_shapes_module.CLASSES[:2],
    "acting_objects": moving_objects_module.STRIPES,
    "moving_objects": moving_objects_module.CLASSES,
    "moving_shapes": moving_shapes_module.CLASSES,
    "overlapping_actions": overlapping_actions_module.CLASSES,
    "records": lambda root: records.read_spec(root).classes,
    "thermal": thermal_module.CLASSES,
    "thermal_frames": thermal_module.CLASSES,
    "ut_interaction": ut_interaction_module.CLASSES,
    "youtube8m": youtube8m_module.classes,
}


def class_names(name: str, root: str = "", **_) -> tuple[str, ...] | None:
    """Names of the classes of a data set in the order of its labels, None where it has none of its own.

    Shards and feature files hold the names of theirs, so those take the folder `root`.
    """
    known = CLASSES.get(name)
    return known(with_root({"root": root})["root"]) if callable(known) else known


def list_datasets() -> list[str]:
    """Names of all data sets."""
    return sorted(DATASETS)


def make_dataset(name: str, split: str, **options) -> tf.data.Dataset:
    """The `split` of data set `name` as a `tf.data.Dataset` of dicts of tensors.

    Options are those of the data set's function (`help(pipelines.build.DATASETS[name])`). Same arguments, same
    elements in the same order.

    Raises:
        InputError: unknown name or option, with the nearest known one; whatever the data set itself refuses.
    """
    if name not in DATASETS:
        raise InputError.unknown("data set", name, DATASETS)
    known = inspect.signature(DATASETS[name]).parameters
    for option in options:
        if option not in known:
            raise InputError.unknown(f"option of {name}", option, list(known)[1:])
    return DATASETS[name](split, **with_root(options))


def with_root(options):
    """Options with the variables in `root` resolved."""
    if not options.get("root"):
        return options
    root = os.path.expanduser(os.path.expandvars(options["root"]))
    if "$" in root:
        raise InputError(f"`root` names a variable that is not set. Received: root={root}")
    return {**options, "root": root}


def feature_spec(dataset: tf.data.Dataset, name: str | None = None, stream="video", **options) -> FeatureSpec:
    """The spec of `video`, or of another `stream`, in the elements of a data set.

    With the `name` and `options` it was made with, what that data set knows better (its unit and largest value). Else
    video spans 0..255 where it is uint8, 0..1 where it is float, and flow and features have no range.
    """
    known = {key: found for key, found in dataset.element_spec.items() if key not in NO_STREAMS}
    if stream not in known:
        raise InputError(f"This data set holds {', '.join(sorted(known))}. Received: stream={stream!r}")
    if name in FEATURES:
        return FEATURES[name](**with_root(options), stream=stream)
    dtype, shape = known[stream].dtype, tuple(known[stream].shape)
    if stream == "video":
        value_range = (0.0, 255.0) if dtype == tf.uint8 else (0.0, 1.0)
        return dataclasses.replace(VIDEO, dtype=dtype.name, shape=shape, value_range=value_range)
    if not shape or shape[-1] is None or not dtype.is_floating:
        raise InputError(f"A stream is a float array of known size. Received: {stream=}, {dtype.name} {shape}")
    return FeatureSpec(stream, dtype.name, shape, unit="px/frame" if stream == "flow" else "")
