"""How large a recipe's model is."""

import dataclasses

import numpy as np

from keras_st.backend import multiply_adds
from keras_st.specs import ClassifyTask, FeatureSpec, InputError, Recipe


def description(recipe: Recipe, features=None):
    """Parameters and multiply-adds of the recipe's model for one clip, as a table.

    features: `FeatureSpec`s of the clips; None: frames of 64x64 with 3 channels, flow 2, of a forecaster 1; stored
    features 256, those of YouTube-8M as published. `--task.crop` and `--task.channels` of a classifier win.
    """
    task = recipe.task
    if isinstance(task, ClassifyTask):
        features = features or [_usual(stream, task.channels) for stream in task.streams]
        channels = task.channels
        task = task.fitted(features)
        if channels and task.channels != channels:
            features = [_usual(spec.name, channels) if spec.name == "video" else spec for spec in features]
            task = dataclasses.replace(task, channels=channels)
        shapes = task.clip_shapes(features)
    else:
        size = features[0].shape[1:] if features else (64, 64, 1)
        shapes = {"video": (task.context_frames, *size)}
    try:
        model = dataclasses.replace(recipe, task=task).build()
        model.build({name: (None, *shape) for name, shape in shapes.items()})
    except ValueError as error:
        raise InputError(str(error)) from error
    count = multiply_adds(lambda *clips: model(dict(zip(shapes, clips))), *((1, *shape) for shape in shapes.values()))
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    known = f"{count / 1e9:.2f} G" if count is not None else "not counted (a loop over time, or another backend)"
    rows = {
        **{name: " x ".join(map(str, shape)) for name, shape in shapes.items() if shape},
        "parameters": f"{model.count_params():,}",
        "of them trainable": f"{trainable:,}",
        "multiply-adds a clip": known,
    }
    return "\n".join(
        [f"| {recipe.system} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    )


def _usual(stream, channels):
    """What a stream looks like where no data set says it."""
    shapes = {"video": (None, 64, 64, channels or 3), "flow": (None, 64, 64, 2)}
    sizes = {"rgb": 1024, "audio": 128}
    shapes |= {name: (None, size) for name, size in sizes.items()}
    shapes |= {f"mean_{name}": (size,) for name, size in sizes.items()}
    return FeatureSpec(stream, "float32", shapes.get(stream, (None, 256)))
