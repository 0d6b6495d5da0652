"""How large a recipe's model is."""

import dataclasses

import numpy as np

from keras_st.backend import multiply_adds
from keras_st.specs import ClassifyTask, InputError, Recipe


def description(recipe: Recipe, feature=None):
    """Parameters and multiply-adds of the recipe's model for one clip, as a table.

    feature: `FeatureSpec` of the clips; None: frames of 64x64 with 3 channels, of a forecaster 1. `--task.crop` and
    `--task.channels` of a classifier win.
    """
    task = recipe.task
    default = (None, 64, 64, 3 if isinstance(task, ClassifyTask) else 1)
    _, height, width, channels = feature.shape if feature else default
    if isinstance(task, ClassifyTask):
        crop = task.crop or task.resize or (height, width)
        task = dataclasses.replace(task, crop=crop, resize=None, channels=task.channels or channels)
        shape = task.clip_shape
    else:
        shape = (task.context_frames, height, width, channels)
    try:
        model = dataclasses.replace(recipe, task=task).build()
        stream = getattr(task, "stream", "video")
        model.build({stream: (None, *shape)})
    except ValueError as error:
        raise InputError(str(error)) from error
    count = multiply_adds(lambda clips: model({stream: clips}), (1, *shape))
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    known = f"{count / 1e9:.2f} G" if count is not None else "not counted (a loop over time, or another backend)"
    rows = {
        "input (T, H, W, C)": " x ".join(map(str, shape)),
        "parameters": f"{model.count_params():,}",
        "of them trainable": f"{trainable:,}",
        "multiply-adds a clip": known,
    }
    return "\n".join(
        [f"| {recipe.system} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    )
