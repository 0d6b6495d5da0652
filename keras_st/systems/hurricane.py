"""Hurricanes as densities on a map: found in the fields of a climate model, and forecast (Kim et al., WACV 2019)."""

from keras_st.layers import ConvLSTMCell
from keras_st.models import FrameMapper, TrackForecaster, encoder_forecaster
from keras_st.specs import ForecastTask, ForecastTraining, Recipe


def _cells(filters, kernel_size):
    return [ConvLSTMCell(2, f, kernel_size, padding="same") for f in filters]


def build_hurricane_tracking(
    task: ForecastTask,
    conv_filters: tuple[int, ...] = (16,),
    filters: tuple[int, ...] = (16, 16),
    kernel_size: int = 3,
    patch: int = 2,
):
    """Convolutions, ConvLSTM levels, a 1x1 convolution with a sigmoid.

    Args:
        task: a horizon of 0.
        conv_filters: channels of the convolutions.
        filters: state channels of each ConvLSTM level, lowest first.
        kernel_size: side of all kernels.
        patch: side of the pixel square folded into channels.
    """
    if task.horizon_frames:
        raise ValueError(f"Tracking maps the frames it sees. Received: horizon_frames={task.horizon_frames}")
    return FrameMapper(_cells(filters, kernel_size), conv_filters, kernel_size, patch, first_bias=-5.0)


def hurricane_tracking() -> Recipe:
    """Kim et al., WACV 2019: density of hurricanes from climate fields. `python train.py hurricane_tracking`.

    Paper: a ConvLSTM on clips of ten 3-hourly frames of a CAM5 simulation, channels PSL, U850, V850, PRECT, TS, QREFHT,
    128x257 pixels; layers, loss and scores are not known to us. Its data are not published: ours are generated (see
    `pipelines.datasets.hurricane`). Ours: docs/results.

    Here a rule on the turning of the wind has as high an F1 (`evaluate.py` tells both); densities are better.

    Loss: binary cross-entropy in which pixels of a storm weigh ten times as much; `--training.loss=mse` is the other.
    """
    return Recipe(
        system="hurricane_tracking",
        builder=build_hurricane_tracking,
        task=ForecastTask(context_frames=10, horizon_frames=0),
        data={"name": "hurricane"},
        model={"conv_filters": (16,), "filters": (16, 16)},
        training=ForecastTraining(
            epochs=20, batch_size=4, learning_rate=4e-3, clip_norm=1.0, loss="weighted_binary_crossentropy"
        ),
        small={
            "task": {"context_frames": 3},
            "data": {
                "region": (8.0, 23.0, 280.0, 303.0),
                "grid": (16, 24),
                "num_sequences": 8,
                "num_test_sequences": 4,
            },
            "model": {"conv_filters": (8,), "filters": (8,)},
        },
    )


def build_hurricane_forecasting(
    task: ForecastTask, filters: tuple[int, ...] = (32,), kernel_size: int = 3, patch: int = 4
):
    """Constant velocity on the sphere, corrected by an unconditioned ConvLSTM encoder-forecaster.

    Args:
        task: context and horizon.
        filters: state channels of each level, lowest first.
        kernel_size: side of the kernels.
        patch: side of the pixel square folded into channels.
    """
    cells = _cells(filters, kernel_size)
    core = encoder_forecaster(
        cells, horizon_frames=task.horizon_frames, forecaster="unconditioned", patch=patch, activation="linear"
    )
    return TrackForecaster(core)


def hurricane_forecasting() -> Recipe:
    """Kim et al., WACV 2019: densities of a storm in, densities out. `python train.py hurricane_forecasting`.

    `--data.root=FOLDER` reads HURDAT2 text files: five fixes in, 48 hours out every 6 hours; train to 2011, validation
    2012 to 2014, test 2015 to 2018. Without it the tracks are generated.

    Paper: sequence-to-sequence ConvLSTM from past to future densities of CAM5; layers and scores are not known to us.
    Ours: docs/results, in km against persistence and constant velocity on the same pieces.

    Differs: one storm at a time on a grid around it, in a moving frame: the ConvLSTM corrects constant velocity instead
    of drawing the density anew (`keras_st.models.TrackForecaster`). `keras_st.tracking.forecast_storms` takes a map
    with several storms.
    """
    return Recipe(
        system="hurricane_forecasting",
        builder=build_hurricane_forecasting,
        task=ForecastTask(context_frames=5, horizon_frames=8),
        data={"name": "hurricane_tracks"},
        model={"filters": (32,)},
        training=ForecastTraining(epochs=6, batch_size=32, learning_rate=2e-3, weight_decay=1e-3, clip_norm=1.0),
        small={
            "task": {"context_frames": 3, "horizon_frames": 3},
            "data": {"grid": (16, 24), "num_sequences": 16, "num_test_sequences": 8},
            "model": {"filters": (4,)},
        },
    )
