"""Convolutional GRU encoder-forecaster."""

from typing import Literal

from keras_st.layers import ConvGRUCell
from keras_st.specs import ForecastTask, Recipe
from keras_st.systems.digits import digits_recipe, forecaster_of


def build_conv_gru(
    task: ForecastTask,
    filters: tuple[int, ...] = (64,),
    kernel_size: int = 3,
    update_gate: Literal["new", "old"] = "new",
    reset_after: bool = False,
    **kwargs,
):
    """Stacked ConvGRU cells in an encoder-forecaster.

    Args:
        task: context and horizon.
        filters: state channels of each level, lowest first.
        kernel_size: side of the kernels.
        update_gate: what z weighs.
        reset_after: apply the reset gate after the convolution.
        **kwargs: see `forecaster_of`.
    """
    cells = [
        ConvGRUCell(2, f, kernel_size, padding="same", update_gate=update_gate, reset_after=reset_after)
        for f in filters
    ]
    return forecaster_of(cells, task, **kwargs)


def conv_gru() -> Recipe:
    """ConvGRU (Ballas et al., ICLR 2016) as a forecaster. `python train.py conv_gru`.

    The paper recognises actions; as a forecaster the cell is known from HKO-7. Ours: docs/results.
    """
    return digits_recipe("conv_gru", build_conv_gru, {"filters": (64,)})
