"""Convolutional LSTM encoder-forecaster (Shi et al., NeurIPS 2015)."""

from typing import Literal

from keras_st.layers import ConvLSTMCell
from keras_st.specs import ForecastTask, Recipe
from keras_st.systems.digits import digits_recipe, forecaster_of, per_level


def build_conv_lstm(
    task: ForecastTask,
    filters: tuple[int, ...] = (64,),
    kernel_size: int = 3,
    recurrent_kernel_size: int | None = None,
    dilation_rate: tuple[int, ...] = (1,),
    recurrent_dilation_rate: tuple[int, ...] = (1,),
    peephole: Literal["channel", "full"] | None = None,
    **kwargs,
):
    """Stacked ConvLSTM cells in an encoder-forecaster.

    Args:
        task: context and horizon.
        filters: state channels of each level, lowest first.
        kernel_size: side of the input kernels.
        recurrent_kernel_size: side of the state kernels; None: `kernel_size`.
        dilation_rate: of the input kernels, one for all levels or one each.
        recurrent_dilation_rate: of the state kernels, one for all levels or one each.
        peephole: None, "channel" or "full".
        **kwargs: see `forecaster_of`.
    """
    cells = [
        ConvLSTMCell(
            2,
            f,
            kernel_size,
            padding="same",
            dilation_rate=d,
            recurrent_kernel_size=recurrent_kernel_size,
            recurrent_dilation_rate=r,
            peephole=peephole,
        )
        for f, d, r in zip(
            filters,
            per_level("dilation_rate", dilation_rate, filters),
            per_level("recurrent_dilation_rate", recurrent_dilation_rate, filters),
        )
    ]
    return forecaster_of(cells, task, **kwargs)


def conv_lstm() -> Recipe:
    """Shi et al., NeurIPS 2015, at a size that trains in minutes on two cores. `python train.py conv_lstm`.

    Paper: 3-layer unconditioned net on 64x64 Moving MNIST, cross-entropy 3670.85 nats a sequence (table 1, from
    reading notes on the paper); that protocol is not this one. `shi_2015` builds the paper's networks.
    Ours, on generated and on MNIST digits: docs/results.

    Differs: one level of 64 channels, 3x3 kernels, 2x2 patches; linear output and squared error where the paper
    has a sigmoid and cross-entropy; Adam where it has RMSProp.
    """
    return digits_recipe("conv_lstm", build_conv_lstm, {"filters": (64,)})


def dilated_conv_lstm() -> Recipe:
    """ConvLSTM with atrous kernels, input and state rates separately. `python train.py dilated_conv_lstm`.

    No canonical paper: the idea is a larger context at no more weights. Ours: docs/results.

    Differs: Keras's `dilation_rate` dilates the input kernel only; here the state kernel is dilated too.
    """
    model = {"filters": (32, 32), "dilation_rate": (1, 2), "recurrent_dilation_rate": (1, 2)}
    return digits_recipe("dilated_conv_lstm", build_conv_lstm, model)


def build_fc_lstm(task: ForecastTask, filters: tuple[int, ...] = (1024,), frame_size: int = 32, **kwargs):
    """Fully connected LSTM levels with peepholes: on a map of one pixel a 1x1 ConvLSTM is one.

    Args:
        task: context and horizon.
        filters: units of each level, lowest first.
        frame_size: height and width of the frames, which are one patch.
        **kwargs: see `forecaster_of`.
    """
    return build_conv_lstm(task, filters, 1, peephole="channel", patch=frame_size, readout="last", **kwargs)


def fc_lstm() -> Recipe:
    """FC-LSTM, the baseline of Shi et al. 2015. `python train.py fc_lstm`.

    Paper: cross-entropy 4832.49 nats a sequence on 64x64 Moving MNIST (table 1, from reading notes on the paper).
    Ours: docs/results.
    """
    return digits_recipe(
        "fc_lstm",
        build_fc_lstm,
        {"filters": (1024,), "frame_size": 32},
        small_model={"filters": (64,), "frame_size": 16},
        learning_rate=1e-3,
    )


def shi_2015(
    filters: tuple[int, ...] = (128, 64, 64),
    kernel_size: int = 5,
    recurrent_kernel_size: int = 5,
    horizon_frames: int = 10,
):
    """The networks of Shi 2015, table 1: unconditioned, channel peepholes, 4x4 patches, sigmoid output.

    Frames are 64x64x1 (16x16x16 in patches). Trainable parameters, equal to the paper's: 13,524,496 for (256,);
    10,042,896 for (128, 128); 7,585,296 for (128, 64, 64); with kernel_size=9 and recurrent_kernel_size=1
    11,550,224 for (128, 128) and 8,830,480 for (128, 64, 64). `fc_lstm_2015` has the sixth.
    """
    return build_conv_lstm(
        ForecastTask(10, horizon_frames),
        filters,
        kernel_size,
        recurrent_kernel_size,
        peephole="channel",
        patch=4,
        forecaster="unconditioned",
        activation="sigmoid",
    )


def fc_lstm_2015(filters: tuple[int, ...] = (2048, 2048), frame_size: int = 64, horizon_frames: int = 10):
    """The FC-LSTM of Shi 2015, table 1: on a 1x1 map a convolutional LSTM is a fully connected one.

    The whole frame is one patch, kernels are 1x1, and the decoder reads the last level. 142,667,776 parameters.
    """
    return build_conv_lstm(
        ForecastTask(10, horizon_frames),
        filters,
        kernel_size=1,
        peephole="channel",
        patch=frame_size,
        forecaster="unconditioned",
        readout="last",
        activation="sigmoid",
    )
