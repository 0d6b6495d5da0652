"""The ConvLSTM variants named in surveys: deformable, with self-attention, hierarchical."""

from typing import Literal

from keras_st.layers import ClockStack, ConvLSTMCell, DeformableConvLSTMCell, SelfAttentionConvLSTMCell
from keras_st.specs import ForecastTask, Recipe
from keras_st.systems.digits import digits_recipe, forecaster_of


def build_deformable_conv_lstm(
    task: ForecastTask,
    filters: tuple[int, ...] = (32,),
    kernel_size: int = 3,
    deform: Literal["input", "state", "both", "aligned"] = "state",
    deform_groups: int = 1,
    deform_modulation: Literal["sigmoid", "2sigmoid"] | None = "2sigmoid",
    forecaster: Literal["shared", "conditioned", "unconditioned"] = "unconditioned",
    **kwargs,
):
    """Stacked deformable ConvLSTM cells; see `DeformableConvLSTMCell` for the options.

    Args:
        task: context and horizon.
        filters: state channels of each level, lowest first.
        kernel_size: side of the kernels.
        deform: which convolutions are deformed.
        deform_groups: groups of channels with offsets of their own.
        deform_modulation: of the taps.
        forecaster: see `forecaster_of`; deformed inputs need one, so "unconditioned" is for deform="state".
        **kwargs: see `forecaster_of`.
    """
    options = {"deform": deform, "deform_groups": deform_groups, "deform_modulation": deform_modulation}
    cells = [DeformableConvLSTMCell(2, f, kernel_size, **options) for f in filters]
    return forecaster_of(cells, task, forecaster=forecaster, **kwargs)


def deformable_conv_lstm() -> Recipe:
    """ConvLSTM whose state convolution reads where offsets send it. `python train.py deformable_conv_lstm`.

    No one paper: deformable convolutions (Dai et al. 2017, Zhu et al. 2019) in a ConvLSTM. Ours: docs/results.

    Differs: from the layer's default, which deforms inputs too and starts at half a convolution: here the state alone,
    starting at a ConvLSTM.
    """
    return digits_recipe("deformable_conv_lstm", build_deformable_conv_lstm, {"filters": (32,)})


def build_self_attention_conv_lstm(
    task: ForecastTask,
    filters: tuple[int, ...] = (32,),
    kernel_size: int = 3,
    attention_units: int | None = None,
    scale: bool = False,
    separable: bool = False,
    **kwargs,
):
    """Stacked SA-ConvLSTM cells; see `SelfAttentionConvLSTMCell` for the options.

    Args:
        task: context and horizon.
        filters: state channels of each level, lowest first.
        kernel_size: side of the kernels.
        attention_units: width of queries, keys and values; None: `filters`.
        scale: divide scores by the root of that width.
        separable: the memory's gates from separable convolutions.
        **kwargs: see `forecaster_of`.
    """
    options = {"attention_units": attention_units, "scale": scale, "separable": separable, "padding": "same"}
    return forecaster_of([SelfAttentionConvLSTMCell(2, f, kernel_size, **options) for f in filters], task, **kwargs)


def self_attention_conv_lstm() -> Recipe:
    """SA-ConvLSTM (Lin et al., AAAI 2020). `python train.py self_attention_conv_lstm`.

    The paper's scores are on 64x64 Moving MNIST at another protocol. Ours: docs/results.
    """
    model = {"filters": (32,), "attention_units": 16}
    return digits_recipe("self_attention_conv_lstm", build_self_attention_conv_lstm, model)


def build_hierarchical_conv_lstm(
    task: ForecastTask,
    filters: tuple[int, ...] = (48, 32),
    kernel_size: int = 3,
    periods: tuple[int, ...] = (1, 2),
    pool: int = 2,
    forecaster: Literal["shared", "conditioned"] = "shared",
    readout: Literal["all"] = "all",
    **kwargs,
):
    """ConvLSTM levels on coarser maps that tick more slowly; see `ClockStack`.

    Args:
        task: context and horizon.
        filters: state channels of each level, lowest first.
        kernel_size: side of the kernels.
        periods: steps between updates of each level, the first 1.
        pool: pooling between levels.
        forecaster: the clock needs an input, so there is no "unconditioned" form.
        readout: the decoder reads all levels.
        **kwargs: see `forecaster_of`.
    """
    cells = [ConvLSTMCell(2, f, kernel_size, padding="same") for f in filters]
    stack = ClockStack(cells, periods, pool)
    return forecaster_of(stack, task, forecaster=forecaster, readout=readout, **kwargs)


def hierarchical_conv_lstm() -> Recipe:
    """ConvLSTM levels at different time scales. `python train.py hierarchical_conv_lstm`.

    After MSPred (Villar-Corrales et al., BMVC 2022), without its stochastic parts. Ours: docs/results.
    """
    return digits_recipe(
        "hierarchical_conv_lstm", build_hierarchical_conv_lstm, {"filters": (48, 32), "periods": (1, 2)}
    )
