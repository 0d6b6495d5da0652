"""PredRNN (Wang et al., NeurIPS 2017)."""

from typing import Literal

from keras_st.layers import STLSTMCell, ZigZagStack
from keras_st.specs import ForecastTask, Recipe
from keras_st.systems.digits import digits_recipe, forecaster_of


def build_pred_rnn(
    task: ForecastTask,
    filters: tuple[int, ...] = (128, 128, 128, 128),
    kernel_size: int = 5,
    norm: bool = False,
    decoupling: bool = False,
    patch: int = 4,
    forecaster: Literal["shared", "conditioned", "unconditioned"] = "shared",
    readout: Literal["all", "last"] = "last",
    predict_context: bool = True,
    **kwargs,
):
    """ST-LSTM levels whose memory zigzags, run on over their own predictions.

    Args:
        task: context and horizon.
        filters: state channels of each level, all equal.
        kernel_size: side of the kernels.
        norm: layer normalisation after every convolution.
        decoupling: also return PredRNN-V2's decoupling term, for `training.decoupling_weight`.
        patch: side of the pixel square folded into channels.
        forecaster: see `forecaster_of`.
        readout: see `forecaster_of`.
        predict_context: see `forecaster_of`.
        **kwargs: see `forecaster_of`.
    """
    stack = ZigZagStack([STLSTMCell(2, f, kernel_size, norm=norm) for f in filters], decoupling)
    return forecaster_of(
        stack, task, patch=patch, forecaster=forecaster, readout=readout, predict_context=predict_context, **kwargs
    )


def pred_rnn() -> Recipe:
    """PredRNN (Wang et al., NeurIPS 2017) at a size for two cores. `python train.py pred_rnn`.

    The released network is `--model.filters=[128,128,128,128] --model.kernel_size=5 --model.patch=4` on 64x64 frames
    with `--training.rollout.policy=scheduled --training.reverse_input=true` (23,838,720 parameters with a head without
    bias); PredRNN-V2 (TPAMI 2022) adds `--model.decoupling=true --training.decoupling_weight=0.1` and takes
    `--training.rollout.policy=reverse`. Ours, without these: docs/results.
    """
    model = {"filters": (32, 32), "kernel_size": 3, "patch": 2}
    return digits_recipe("pred_rnn", build_pred_rnn, model, context_loss_weight=0.5)
