"""E3D-LSTM, its two baselines and its classifier (Wang et al., ICLR 2019)."""

import dataclasses
from typing import Literal

from keras_st.layers import E3DLSTMCell, SlidingWindowStack, STLSTMCell
from keras_st.models import forecast_classifier
from keras_st.specs import ForecastTask, Recipe
from keras_st.systems.digits import digits_recipe, forecaster_of

MOTIONS = ("right", "left", "up", "down", "clockwise", "counterclockwise")  # classes of the data set moving_shapes


def e3d_stack(
    task: ForecastTask,
    filters: tuple[int, ...] = (64, 64, 64, 64),
    kernel_size: tuple[int, int, int] = (2, 5, 5),
    window: int = 2,
    window_stride: int = 1,
    recall_steps: int | None = 5,
    variant: Literal["paper", "released"] = "paper",
    update_memory: bool | None = None,
    eidetic_memory: bool = False,
    empty_slots: Literal["mask", "zeros"] = "mask",
    norm: bool = True,
    gate_norm: bool | None = None,
    norm_epsilon: float = 1e-5,
):
    """E3D-LSTM cells over a sliding window of frames.

    Args:
        task: context and horizon.
        filters: state channels of each level, all equal.
        kernel_size: depth, height and width of the kernels.
        window: frames in a window.
        window_stride: frames from one window to the next.
        recall_steps: past states that a level recalls; 0: none, None: all of context + horizon - 1 steps.
        variant: "paper" or "released": see `E3DLSTMCell`, also for the options below.
        update_memory: None: as the variant has it.
        eidetic_memory: recall the spatio-temporal memory as well.
        empty_slots: what states that are not there yet count as, "mask" (nothing) or "zeros".
        norm: layer normalisation of what is recalled.
        gate_norm: layer normalisation of the gates; None: as the variant has it.
        norm_epsilon: of the normalisations; the released code has 1e-12.
    """
    if recall_steps is None:
        recall_steps = task.context_frames + task.horizon_frames - 1
    cells = [
        E3DLSTMCell(
            f,
            kernel_size,
            recall_steps=recall_steps,
            variant=variant,
            update_memory=update_memory,
            eidetic_memory=eidetic_memory,
            empty_slots=empty_slots,
            norm=norm,
            gate_norm=gate_norm,
            norm_epsilon=norm_epsilon,
        )
        for f in filters
    ]
    return SlidingWindowStack(cells, window, window_stride)


def build_e3d_lstm(
    task: ForecastTask, patch: int = 4, activation: str = "linear", predict_context: bool = True, **kwargs
):
    """E3D-LSTM levels over a sliding window of frames, run on over their own predictions.

    Args:
        task: context and horizon.
        patch: side of the pixel square folded into channels.
        activation: of the decoder.
        predict_context: also predict the context one step ahead.
        **kwargs: see `e3d_stack`.
    """
    return _forecaster(e3d_stack(task, **kwargs), task, patch, activation, predict_context)


def build_e3d_lstm_classifier(
    task: ForecastTask,
    classes: int = 6,
    pool: Literal["mean", "concat"] = "mean",
    head_dropout: float = 0.0,
    patch: int = 4,
    activation: str = "linear",
    predict_context: bool = True,
    **kwargs,
):
    """E3D-LSTM levels whose hidden states feed a frame decoder and a classifier.

    Args:
        task: context (the part of a clip that is seen) and horizon (the rest).
        classes: number of classes of the data set.
        pool: what the classifier reads of the steps, their "mean", or all of them ("concat").
        head_dropout: rate before the classifier's dense layer.
        patch: side of the pixel square folded into channels.
        activation: of the decoder of frames.
        predict_context: also predict the context one step ahead.
        **kwargs: see `e3d_stack`.
    """
    return forecast_classifier(
        e3d_stack(task, **kwargs),
        classes,
        pool=pool,
        num_steps=task.context_frames + task.horizon_frames - 1 if pool == "concat" else None,
        head_dropout=head_dropout,
        horizon_frames=task.horizon_frames,
        patch=patch,
        readout="last",
        activation=activation,
        predict_context=predict_context,
    )


def build_e3d_baseline(
    task: ForecastTask,
    conv3d: Literal["bottom", "top"] = "bottom",
    filters: tuple[int, ...] = (64, 64, 64, 64),
    kernel_size: int = 5,
    window: int = 2,
    window_stride: int = 1,
    patch: int = 4,
    activation: str = "linear",
    predict_context: bool = True,
):
    """ST-LSTM levels with a 3-D convolution below or above the recurrence instead of inside.

    Args:
        task: context and horizon.
        conv3d: where the 3-D convolution is, "bottom" or "top".
        filters: state channels of each level, all equal; also those of the 3-D convolution.
        kernel_size: height and width of all kernels; the 3-D convolution's depth is the window.
        window: frames, or hidden maps, in a window.
        window_stride: frames from one window to the next.
        patch: side of the pixel square folded into channels.
        activation: of the decoder.
        predict_context: also predict the context one step ahead.
    """
    cells = [STLSTMCell(2, f, kernel_size) for f in filters]
    stack = SlidingWindowStack(cells, window, window_stride, conv3d, conv_kernel_size=kernel_size)
    return _forecaster(stack, task, patch, activation, predict_context)


def every_prediction_alike(context_frames, horizon_frames):
    """Weight of the mean loss of the context - 1 predictions inside the context beside that of the horizon.

    The loss is then over all predictions alike. Of sums (`--training.loss=l1_l2_sum`) the weight is 1.
    """
    return (context_frames - 1) / horizon_frames


def _forecaster(stack, task, patch, activation, predict_context):
    return forecaster_of(stack, task, patch, "shared", "last", activation, predict_context)


def e3d_lstm(dataset: str = "moving_mnist") -> Recipe:
    """E3D-LSTM (Wang et al., ICLR 2019). `python train.py e3d_lstm`; ours at a size for two cores: docs/results.

    Protocols by data set (`--data.name`):
        moving_mnist  10 frames in, 10 out.
        kth           10 in, 20 out, 128x128, patches of 8; published: PSNR 29.31, SSIM 0.879 (read in a public
                      leaderboard's dump). `--data.root` names shards of your own: `pipelines.datasets.kth`.
        crowd_flow    4 in, 4 out, the protocol of TaxiBJ; `--data.root=$KERAS_ST_DATA/crowd_flow`.
    The paper's network is `--model.filters=[64,64,64,64] --model.kernel_size=[2,5,5] --model.patch=4` on 64x64 frames
    (12,069,392 parameters), Adam at 1e-3, `--training.rollout.policy=scheduled`, batches of 4;
    `--model.variant=released` is what google/e3d_lstm does (12,898,832). Other published figures are known from memory
    only and are not printed.

    Differs: at the size for two cores squared error alone; `--training.loss=l1_l2` is the paper's L1 + L2. Adam is
    Keras's (the released code has beta 0.95 and 0.9995, epsilon inside the root); no moving average of the weights,
    which the released code keeps and never uses.
    """
    recipe = _recipe("e3d_lstm", build_e3d_lstm, {"kernel_size": (2, 3, 3)})
    if dataset == "kth":
        return dataclasses.replace(
            recipe,
            task=ForecastTask(10, 20),
            data={"name": "kth", "root": ""},
            small={"task": recipe.small["task"], "model": recipe.small["model"]},
            model={**recipe.model, "filters": (64,) * 4, "kernel_size": (2, 5, 5), "patch": 8},
            training=dataclasses.replace(
                recipe.training,
                context_loss_weight=every_prediction_alike(10, 20),
                batch_size=2,
                learning_rate=1e-3,
                loss="l1_l2",
                rollout=dataclasses.replace(
                    recipe.training.rollout, policy="scheduled", changing_rate=1e-5, stop_step=100_000
                ),
            ),
        )
    if dataset == "crowd_flow":
        return dataclasses.replace(
            recipe,
            task=ForecastTask(4, 4),
            data={"name": "crowd_flow", "root": ""},
            small={"task": recipe.small["task"], "model": recipe.small["model"]},
            model={**recipe.model, "patch": 1, "filters": (16, 16)},
            training=dataclasses.replace(recipe.training, context_loss_weight=every_prediction_alike(4, 4)),
        )
    return recipe


def e3d_bottom() -> Recipe:
    """The baseline of the E3D-LSTM paper with its 3-D convolution below the recurrence. `python train.py e3d_bottom`.

    Built from the paper's figure and words; its numbers are not available. Ours: docs/results.
    """
    return _recipe("e3d_bottom", build_e3d_baseline, {"kernel_size": 3, "conv3d": "bottom"}, (16, 16))


def e3d_top() -> Recipe:
    """The baseline of the E3D-LSTM paper with its 3-D convolution above the recurrence. `python train.py e3d_top`.

    Built from the paper's figure and words; its numbers are not available. Ours: docs/results.
    """
    return _recipe("e3d_top", build_e3d_baseline, {"kernel_size": 3, "conv3d": "top"}, (16, 16))


def e3d_lstm_classifier() -> Recipe:
    """E3D-LSTM for early action recognition, the forecast its auxiliary task. `python train.py e3d_lstm_classifier`.

    Data: moving_shapes, whose class is the motion; seen are the first 25 % of 12 frames, predicted the rest
    (`--task.context_frames=6 --task.horizon_frames=6`: 50 %). Loss: cross-entropy + lambda(i) (L2 + L1 of frames),
    lambda(i) = max(`training.forecast_weight` - `forecast_weight_decay` i, `forecast_weight_floor`). The paper's
    values, like its head, are not known; its figures on Something-Something are known from memory only and are not
    printed. Ours: docs/results.
    """
    model = {"classes": len(MOTIONS), "kernel_size": (2, 3, 3), "filters": (16,), "patch": 2}
    recipe = _recipe("e3d_lstm_classifier", build_e3d_lstm_classifier, model)
    return dataclasses.replace(
        recipe,
        task=ForecastTask(3, 9),
        data={"name": "moving_shapes", "num_sequences": 700, "frame_size": 16},
        training=dataclasses.replace(
            recipe.training,
            context_loss_weight=every_prediction_alike(3, 9),
            loss="l1_l2",
            forecast_weight=1.0,
            forecast_weight_decay=0.001,
            forecast_weight_floor=0.1,
        ),
    )


def _recipe(system, builder, model, small_filters=(4, 4)):
    model = {"filters": (32, 32), "patch": 4, **model}
    small = {"filters": small_filters, "patch": 4}
    return digits_recipe(system, builder, model, small, context_loss_weight=every_prediction_alike(10, 10))
