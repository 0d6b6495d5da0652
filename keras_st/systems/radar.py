"""Nowcasting of rain seen by radar."""

from collections.abc import Callable
from typing import Any, Literal

from keras_st.models import LagrangianForecaster
from keras_st.specs import ForecastTask, ForecastTraining, Recipe
from keras_st.systems.conv_gru import build_conv_gru
from keras_st.systems.conv_lstm import build_conv_lstm
from keras_st.systems.conv_lstm_variants import build_deformable_conv_lstm, build_self_attention_conv_lstm
from keras_st.systems.pred_rnn import build_pred_rnn
from keras_st.systems.seq2seq import build_seq2seq_attention

# Those that forecast without reading their own forecasts: here these are changes, not fields.
FORECASTERS: dict[str, Callable] = {
    "conv_gru": build_conv_gru,
    "conv_lstm": build_conv_lstm,
    "deformable_conv_lstm": build_deformable_conv_lstm,
    "pred_rnn": build_pred_rnn,
    "self_attention_conv_lstm": build_self_attention_conv_lstm,
    "seq2seq_attention": build_seq2seq_attention,
}


def build_radar_nowcast(
    task: ForecastTask,
    forecaster: Literal[
        "conv_gru",
        "conv_lstm",
        "deformable_conv_lstm",
        "pred_rnn",
        "self_attention_conv_lstm",
        "seq2seq_attention",
    ] = "conv_lstm",
    filters: tuple[int, ...] | None = (32,),
    patch: int = 4,
    spread: float = 0.2,
    floor: float = 0.3,
    pairs: int = 3,
    smoothing: float = 12.0,
    match: bool = True,
):
    """A forecaster of the project in the frame that moves with the rain; see `LagrangianForecaster`.

    Args:
        task: context and horizon.
        forecaster: name of the system; what is not said here is as in its builder.
        filters: state channels of each of its levels; None: its own.
        patch: side of the pixel square folded into channels.
        spread: pixels per step by which the last field is spread, 0 for none.
        floor: rate in mm/h below which log(1 + rate / floor) is nearly linear.
        pairs: of fields whose flow is averaged.
        smoothing: deviation of the Gaussian that smooths the motion, in pixels.
        match: whether forecasts have the distribution of the advected field.
    """
    options: dict[str, Any] = {"patch": patch, "forecaster": "unconditioned", "predict_context": False}
    if filters is not None:
        options["filters"] = filters
    return LagrangianForecaster(
        FORECASTERS[forecaster](task, **options),
        context_frames=task.context_frames,
        horizon_frames=task.horizon_frames,
        spread=spread,
        floor=floor,
        pairs=pairs,
        smoothing=smoothing,
        match=match,
    )


def radar_nowcast() -> Recipe:
    """Rain of the next hour from that of the last. `python train.py radar_nowcast --data.root=DIR`.

    DIR holds radar events and `splits.csv` (`pipelines.datasets.radar`). 12 fields of 5 minutes in, 12 out; trained on
    crops, applied to whole fields.

    Idea: X. Shi et al., "Convolutional LSTM Network", NeurIPS 2015: a ConvLSTM forecasts radar fields. Differs: theirs
    sees grey levels of one radar over three years, and learns motion too; this one has the motion computed, because
    a handful of events does not teach it. Their scores (CSI 0.577 at 0.5 mm/h over 15 lead times, table 2, from reading
    notes on the paper) are of other data. Ours: docs/results.
    """
    return Recipe(
        system="radar_nowcast",
        builder=build_radar_nowcast,
        task=ForecastTask(12, 12),
        data={"name": "radar", "crop": (128, 128), "turn": True, "step_minutes": 5.0, "step_tolerance": 0.2},
        model={"forecaster": "conv_lstm", "filters": (32,)},
        training=ForecastTraining(epochs=20, batch_size=8, learning_rate=2e-3, clip_norm=1.0, loss="relative"),
        small={
            "task": {"context_frames": 4, "horizon_frames": 3},
            "data": {"name": "showers", "frame_size": 32, "num_sequences": 8, "num_test_sequences": 4},
            "model": {"filters": (16,), "patch": 2, "pairs": 1, "smoothing": 4.0},
        },
    )
