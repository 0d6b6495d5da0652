"""Data sets by name."""

import dataclasses
import inspect
import os
from collections.abc import Callable

import tensorflow as tf

from keras_st.specs import VIDEO, FeatureSpec, InputError
from pipelines import records
from pipelines.datasets.moving_mnist import moving_mnist

# name -> function(split, *, epoch, **options) -> tf.data.Dataset of dicts (design: element contract)
DATASETS: dict[str, Callable[..., tf.data.Dataset]] = {
    "moving_mnist": moving_mnist,
    "records": records.read_dataset,
}


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
    if options.get("root"):
        options["root"] = os.path.expanduser(os.path.expandvars(options["root"]))
        if "$" in options["root"]:
            raise InputError(f"`root` names a variable that is not set. Received: root={options['root']}")
    return DATASETS[name](split, **options)


def feature_spec(dataset: tf.data.Dataset) -> FeatureSpec:
    """The spec of `video` in the elements of a data set; uint8 video spans 0..255, float video 0..1."""
    video = dataset.element_spec["video"]
    value_range = (0.0, 255.0) if video.dtype == tf.uint8 else (0.0, 1.0)
    shape = tuple(video.shape.as_list())
    return dataclasses.replace(VIDEO, dtype=video.dtype.name, shape=shape, value_range=value_range)
