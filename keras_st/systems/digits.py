"""What the forecasting systems share: one builder, one protocol on moving digits."""

from typing import Literal

from keras_st.models import encoder_forecaster
from keras_st.specs import ForecastTask, ForecastTraining, InputError, Recipe

TINY_DIGITS = {"frame_size": 16, "num_sequences": 8, "num_test_sequences": 8}
TINY_TASK = {"context_frames": 4, "horizon_frames": 3}


def forecaster_of(
    cells,
    task: ForecastTask,
    patch: int = 2,
    forecaster: Literal["shared", "conditioned", "unconditioned"] = "unconditioned",
    readout: Literal["all", "last"] = "all",
    activation: str = "linear",
    predict_context: bool = False,
):
    """Cells in an encoder-forecaster.

    Args:
        cells: cells, lowest first, or a stack.
        task: context and horizon.
        patch: side of the pixel square folded into channels.
        forecaster: "shared" cells run on and read their own predictions; "conditioned": a second stack does;
            "unconditioned": a second stack reads nothing.
        readout: the decoder reads "all" levels or the "last".
        activation: of the decoder.
        predict_context: also predict the context one step ahead ("shared" only).
    """
    return encoder_forecaster(
        cells,
        horizon_frames=task.horizon_frames,
        forecaster=forecaster,
        patch=patch,
        readout=readout,
        activation=activation,
        predict_context=predict_context,
    )


def per_level(name, values, filters):
    """One value a level: as given, or the only one for all."""
    values = tuple(values) * len(filters) if len(values) == 1 else tuple(values)
    if len(values) != len(filters):
        raise InputError(f"`{name}` needs one value, or one for each of {len(filters)} levels. Received: {values}")
    return values


def digits_recipe(system, builder, model, small_model=None, **training) -> Recipe:
    """The common protocol: 7,000 generated sequences of two digits, 10 frames in, 10 out, Adam at 4e-3."""
    training = {"epochs": 10, "batch_size": 8, "learning_rate": 4e-3, **training}
    small = {"filters": (4,) * len(model["filters"])}
    return Recipe(
        system=system,
        builder=builder,
        data={"name": "moving_mnist", "num_sequences": 700},
        model=model,
        training=ForecastTraining(**training),
        small={"task": TINY_TASK, "data": TINY_DIGITS, "model": small if small_model is None else small_model},
    )
