"""Data sets by name."""

import dataclasses
import inspect
import os
from collections.abc import Callable

import tensorflow as tf

from keras_st.specs import VIDEO, FeatureSpec, InputError
from pipelines import records
from pipelines.datasets import crowd_flow as crowd_flow_module
from pipelines.datasets import moving_shapes as moving_shapes_module
from pipelines.datasets import thermal as thermal_module
from pipelines.datasets import ut_interaction as ut_interaction_module
from pipelines.datasets.copy_task import copy_task
from pipelines.datasets.crowd_flow import crowd_flow
from pipelines.datasets.folder import folder_listing
from pipelines.datasets.kth import kth
from pipelines.datasets.moving_mnist import moving_mnist
from pipelines.datasets.moving_shapes import left_right, moving_shapes
from pipelines.datasets.thermal import thermal
from pipelines.datasets.ut_interaction import ut_interaction
from pipelines.listing import Listing, one_video

# name -> function(split, *, epoch, **options) -> tf.data.Dataset of dicts (design: element contract)
DATASETS: dict[str, Callable[..., tf.data.Dataset]] = {
    "copy_task": copy_task,
    "crowd_flow": crowd_flow,
    "kth": kth,
    "left_right": left_right,
    "moving_mnist": moving_mnist,
    "moving_shapes": moving_shapes,
    "records": records.read_dataset,
    "thermal": thermal,
    "ut_interaction": ut_interaction,
}

# name -> function(root, **options) -> Listing: the videos `pipelines.prepare` makes shards of
LISTINGS: dict[str, Callable[..., Listing]] = {
    "folder": folder_listing,
    "one_video": one_video,
}

# name -> function(**options) -> FeatureSpec of `video`, where its dtype does not tell the range
FEATURES: dict[str, Callable[..., FeatureSpec]] = {
    "crowd_flow": crowd_flow_module.feature,
    "kth": records.feature,
    "records": records.feature,
    "thermal": thermal_module.feature,
}

CLASSES: dict[str, tuple[str, ...]] = {
    "left_right": moving_shapes_module.CLASSES[:2],
    "moving_shapes": moving_shapes_module.CLASSES,
    "thermal": thermal_module.CLASSES,
    "ut_interaction": ut_interaction_module.CLASSES,
}


def class_names(name: str) -> tuple[str, ...] | None:
    """Names of the classes of a data set in the order of its labels, None where it has none of its own."""
    return CLASSES.get(name)


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
    return DATASETS[name](split, **_with_root(options))


def _with_root(options):
    """Options with the variables in `root` resolved."""
    if not options.get("root"):
        return options
    root = os.path.expanduser(os.path.expandvars(options["root"]))
    if "$" in root:
        raise InputError(f"`root` names a variable that is not set. Received: root={root}")
    return {**options, "root": root}


def feature_spec(dataset: tf.data.Dataset, name: str | None = None, **options) -> FeatureSpec:
    """The spec of `video` in the elements of a data set; uint8 video spans 0..255, float video 0..1.

    With the `name` and `options` it was made with, what that data set knows better (its unit and largest value).
    """
    if name in FEATURES:
        return FEATURES[name](**_with_root(options))
    video = dataset.element_spec["video"]
    value_range = (0.0, 255.0) if video.dtype == tf.uint8 else (0.0, 1.0)
    shape = tuple(video.shape.as_list())
    return dataclasses.replace(VIDEO, dtype=video.dtype.name, shape=shape, value_range=value_range)
