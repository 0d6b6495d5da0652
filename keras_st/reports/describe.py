"""How large a recipe's model is."""

import dataclasses

import numpy as np

from keras_st.backend import multiply_adds
from keras_st.specs import ClassifyTask, InputError, Recipe


def description(recipe: Recipe):
    """Parameters and multiply-adds of the recipe's model for one clip, as a table.

    Frames are of the recipe's size, where it leaves that open 64x64 (`--task.crop` of a classifier).
    """
    task, frame_size = recipe.task, recipe.data.get("frame_size", 64)
    size = (frame_size, frame_size) if isinstance(frame_size, int) else tuple(frame_size)
    if isinstance(task, ClassifyTask):
        task = dataclasses.replace(task, crop=task.crop or task.resize or size, channels=task.channels or 3)
        shape = task.clip_shape
    else:
        shape = (task.context_frames, *size, 1)
    try:
        model = dataclasses.replace(recipe, task=task).build()
        model.build({"video": (None, *shape)})
    except ValueError as error:
        raise InputError(str(error)) from error
    count = multiply_adds(lambda video: model({"video": video}), (1, *shape))
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
