"""Convolutional LSTM encoder-forecaster (Shi et al., NeurIPS 2015)."""

from typing import Literal

from keras_st.layers import ConvLSTMCell
from keras_st.models import encoder_forecaster
from keras_st.specs import ForecastTask, Recipe, Training

TINY_DIGITS = {"frame_size": 16, "num_sequences": 8, "num_test_sequences": 8}


def build_conv_lstm(
    task: ForecastTask,
    filters: tuple[int, ...] = (64,),
    kernel_size: int = 3,
    recurrent_kernel_size: int | None = None,
    peephole: Literal["channel", "full"] | None = None,
    patch: int = 2,
    forecaster: Literal["shared", "conditioned", "unconditioned"] = "unconditioned",
    readout: Literal["all", "last"] = "all",
    activation: str = "linear",
    predict_context: bool = False,
):
    """Stacked ConvLSTM cells in an encoder-forecaster.

    Args:
        task: context and horizon.
        filters: state channels of each level, lowest first.
        kernel_size: side of the input kernels.
        recurrent_kernel_size: side of the state kernels; None: `kernel_size`.
        peephole: None, "channel" or "full".
        patch: side of the pixel square folded into channels.
        forecaster, readout, activation, predict_context: see `EncoderForecaster`.
    """
    cells = [
        ConvLSTMCell(2, f, kernel_size, padding="same", recurrent_kernel_size=recurrent_kernel_size, peephole=peephole)
        for f in filters
    ]
    return encoder_forecaster(
        cells,
        horizon_frames=task.horizon_frames,
        forecaster=forecaster,
        patch=patch,
        readout=readout,
        activation=activation,
        predict_context=predict_context,
    )


def conv_lstm() -> Recipe:
    """Shi et al., NeurIPS 2015, at a size that trains in minutes on two cores. `python train.py conv_lstm`.

    Paper: 3-layer unconditioned net on 64x64 Moving MNIST, cross-entropy 3670.85 nats a sequence (table 1, from
    reading notes on the paper); that protocol is not this one. `shi_2015` builds the paper's networks.
    Ours, on generated digits: docs/results/conv_lstm.md.

    Differs: one level of 64 channels, 3x3 kernels, 2x2 patches; linear output and squared error where the paper
    has a sigmoid and cross-entropy; Adam where it has RMSProp.
    """
    return Recipe(
        system="conv_lstm",
        builder=build_conv_lstm,
        data={"name": "moving_mnist", "num_sequences": 700},
        model={"filters": (64,), "kernel_size": 3},
        training=Training(epochs=10, batch_size=8, learning_rate=4e-3),
        small={"data": TINY_DIGITS, "model": {"filters": (4,)}},
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
