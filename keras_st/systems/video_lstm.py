"""VideoLSTM (Li et al., CVIU 2018) and what it is compared with: LSTM, ALSTM, ConvLSTM, ConvALSTM."""

from typing import Literal

from keras import Sequential, layers

from keras_st.layers import (
    ALSTMCell,
    ConvALSTMCell,
    ConvLSTMCell,
    FrameWise,
    MotionALSTMCell,
    MotionConvALSTMCell,
    PeepholeLSTMCell,
    SpatialRNN,
)
from keras_st.models import clip_classifier
from keras_st.specs import ClassifyTask, InputError, Recipe
from keras_st.systems.clips import MAPS, VECTORS, clips_recipe, frame_parts

InitState = Literal["mean", "zeros"]
FeedTop = Literal["gates", "attention"] | None


def build_fc_lstm_classifier(
    task: ClassifyTask, classes: int = 6, units: int = 512, hidden: int = 1024, dropout: float = 0.5, **kwargs
):
    """A vector a frame, an LSTM, classifier at every step.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        units: of the LSTM.
        hidden: units of the classifier's tanh layer.
        dropout: rate after it.
        **kwargs: see `frame_parts`.
    """
    cell = PeepholeLSTMCell(units, peephole=None)
    return _classifier(classes, cell, hidden, dropout, frame_parts(task, VECTORS, **kwargs))


def build_alstm(
    task: ClassifyTask,
    classes: int = 6,
    units: int = 512,
    num_layers: int = 3,
    score: Literal["bahdanau", "location", "dot", "bilinear"] = "bahdanau",
    attention_units: int | None = None,
    init_state: InitState = "mean",
    attention_penalty: float = 0.0,
    hidden: int = 1024,
    dropout: float = 0.5,
    **kwargs,
):
    """LSTMs on the part of every map that attention picks, classifier at every step.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        units: of every LSTM.
        num_layers: LSTMs.
        score: of the attention: "bahdanau", "location", "dot" or "bilinear".
        attention_units: width of "bahdanau"; None: `units`.
        init_state: first states: from the clip's "mean", or "zeros".
        attention_penalty: weight of the penalty on positions that are not looked at once in all, beside the mean of
            the steps' losses (the paper's lambda, beside their sum, is T times as much).
        hidden: units of the classifier's tanh layer.
        dropout: rate after it.
        **kwargs: see `frame_parts`.
    """
    cell = ALSTMCell(units, num_layers, score, attention_units, init_state)
    parts = frame_parts(task, MAPS, **kwargs)
    return _classifier(classes, cell, hidden, dropout, parts, attends=True, attention_penalty=attention_penalty)


def build_conv_lstm_classifier(
    task: ClassifyTask,
    classes: int = 6,
    filters: int = 512,
    kernel_size: int = 3,
    hidden: int = 1024,
    dropout: float = 0.7,
    **kwargs,
):
    """A ConvLSTM on the maps of a network, classifier at every step.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        filters: channels of its states.
        kernel_size: of all its convolutions.
        hidden: units of the classifier's tanh layer.
        dropout: rate after it.
        **kwargs: see `frame_parts`.
    """
    cell = ConvLSTMCell(2, filters, kernel_size, padding="same")
    return _classifier(classes, cell, hidden, dropout, frame_parts(task, MAPS, **kwargs))


def build_conv_alstm(
    task: ClassifyTask,
    classes: int = 6,
    filters: int = 512,
    kernel_size: int = 3,
    score: Literal["bahdanau", "sigmoid"] = "bahdanau",
    attention_units: int | None = None,
    init_state: InitState = "mean",
    hidden: int = 1024,
    dropout: float = 0.7,
    **kwargs,
):
    """A ConvLSTM on maps weighed by attention, classifier at every step.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        filters: channels of its states.
        kernel_size: of its convolutions.
        score: maps by a softmax ("bahdanau") or a "sigmoid".
        attention_units: width of the score; None: `filters`.
        init_state: first states: from the clip's "mean", or "zeros".
        hidden: units of the classifier's tanh layer.
        dropout: rate after it.
        **kwargs: see `frame_parts`.
    """
    cell = ConvALSTMCell(filters, kernel_size, score, attention_units, init_state)
    return _classifier(classes, cell, hidden, dropout, frame_parts(task, MAPS, **kwargs), attends=True)


def build_motion_alstm(
    task: ClassifyTask,
    classes: int = 6,
    units: int = 512,
    feed_top: FeedTop = "gates",
    attention_units: int | None = None,
    init_state: InitState = "mean",
    hidden: int = 1024,
    dropout: float = 0.5,
    **kwargs,
):
    """An LSTM on the part of every map that an LSTM on flow picks, classifier at every step.

    Args:
        task: clips of a video; streams: appearance, then motion.
        classes: number of classes of the data set.
        units: of both LSTMs.
        feed_top: where the top's last state enters below: the "gates", the "attention", or nowhere.
        attention_units: width of the score; None: `units`.
        init_state: first states: from the clip's "mean", or "zeros".
        hidden: units of the classifier's tanh layer.
        dropout: rate after it.
        **kwargs: see `frame_parts`.
    """
    _check_two(task)
    cell = MotionALSTMCell(units, feed_top, "bahdanau", attention_units, init_state)
    reads = {task.streams[0]: MAPS, task.streams[1]: VECTORS}
    return _classifier(classes, cell, hidden, dropout, frame_parts(task, reads, **kwargs), attends=True)


def build_video_lstm(
    task: ClassifyTask,
    classes: int = 6,
    filters: int = 512,
    kernel_size: int = 3,
    bottom_kernel_size: int | None = None,
    feed_top: FeedTop = "gates",
    score: Literal["bahdanau", "sigmoid"] = "bahdanau",
    attention_units: int | None = None,
    init_state: InitState = "mean",
    hidden: int = 1024,
    dropout: float = 0.7,
    **kwargs,
):
    """A ConvLSTM on maps weighed by attention that a ConvLSTM on flow steers, classifier at every step.

    Args:
        task: clips of a video; streams: appearance, then motion.
        classes: number of classes of the data set.
        filters: channels of all states.
        kernel_size: of the upper ConvLSTM.
        bottom_kernel_size: of the lower one; None: the same.
        feed_top: where the top's last state enters below: the "gates", the "attention", or nowhere.
        score: maps by a softmax ("bahdanau") or a "sigmoid".
        attention_units: width of the score; None: `filters`.
        init_state: first states: from the clip's "mean", or "zeros".
        hidden: units of the classifier's tanh layer.
        dropout: rate after it.
        **kwargs: see `frame_parts`.
    """
    _check_two(task)
    cell = MotionConvALSTMCell(filters, kernel_size, bottom_kernel_size, feed_top, score, attention_units, init_state)
    reads = {task.streams[0]: MAPS, task.streams[1]: MAPS}
    return _classifier(classes, cell, hidden, dropout, frame_parts(task, reads, **kwargs), attends=True)


def _classifier(classes, cell, hidden, dropout, parts, **options):
    """Flattened, tanh, dropout, dense, at every step; the mean of their losses and of their probabilities."""
    head = [layers.Flatten(), layers.Dense(hidden, "tanh"), layers.Dropout(dropout), layers.Dense(classes)]
    return clip_classifier(
        classes=classes,
        aggregator=SpatialRNN(cell, return_sequences=True),
        head=FrameWise(Sequential(head)),
        step_loss="mean",
        **parts,
        **options,
    )


def _check_two(task):
    if len(task.streams) != 2:
        raise InputError(
            "Attention steered by motion needs two streams, appearance and motion: --task.streams=[video,flow]. "
            f"Received: streams={list(task.streams)}"
        )


def fc_lstm_classifier(dataset: str = "moving_shapes") -> Recipe:
    """The LSTM that VideoLSTM is compared with. `python train.py fc_lstm_classifier`; see video_lstm."""
    return _recipe("fc_lstm_classifier", build_fc_lstm_classifier, dataset, {"units": 64})


def alstm(dataset: str = "moving_shapes") -> Recipe:
    """ALSTM (Sharma et al., 2015). `python train.py alstm`; ours: docs/results.

    Three levels of LSTM, attention by the features (the released code's; the paper's, from memory of it, is
    `--model.score=location`). `--model.num_layers=1` is VideoLSTM's comparison: 3,778,662 parameters with 512 units
    on 512 channels and 101 classes.
    """
    small = {"units": 8, "num_layers": 1, "hidden": 16, "width": 8}
    return _recipe("alstm", build_alstm, dataset, {"units": 64, "num_layers": 3}, small=small)


def conv_lstm_classifier(dataset: str = "moving_shapes") -> Recipe:
    """The ConvLSTM that VideoLSTM is compared with. `python train.py conv_lstm_classifier`; see video_lstm."""
    return _recipe("conv_lstm_classifier", build_conv_lstm_classifier, dataset, {"filters": 16})


def conv_alstm(dataset: str = "moving_shapes") -> Recipe:
    """ConvLSTM with attention from its own state (Li et al., CVIU 2018). `python train.py conv_alstm`."""
    return _recipe("conv_alstm", build_conv_alstm, dataset, {"filters": 16})


def motion_alstm(dataset: str = "acting_objects") -> Recipe:
    """ALSTM with motion-based attention (Li et al., CVIU 2018). `python train.py motion_alstm`; see video_lstm."""
    return _recipe("motion_alstm", build_motion_alstm, dataset, {"units": 64}, ("video", "flow"))


def video_lstm(dataset: str = "acting_objects") -> Recipe:
    """VideoLSTM (Li et al., CVIU 2018): ConvLSTM, motion-based attention. `python train.py video_lstm`; docs/results.

    The paper's: `--model.backbone=vgg16 --model.filters=512 --model.hidden=1024 --model.dropout=0.7
    --task.clip_frames=30 --task.resize=[224,224] --task.short=last --task.test_clips=25` with flow from TV-L1 beside
    the frames, RMSProp at 0.001, batches of 128; 78,754,918 parameters above VGG-16 with 101 classes, 53,589,094 with
    `--model.bottom_kernel_size=1` (the released training script's). With iDT and objects it has 92.2 % on UCF101 and
    64.9 % on HMDB51 (a survey's table). Not reproduced. Its two streams are two runs (`--task.streams=[flow,flow]` is
    not one: train the motion stream with conv_alstm on `--task.streams=[flow]`), fused by `evaluate.py --fuse`.

    Differs: losses are averaged over steps, the code sums them; Adam; all parts are trained at once (the code starts
    the motion model from parts trained alone), from Keras's initial values; one dropout. The attention reads the
    current bottom state beside the map, as the code has it (the text alone names the bottom state).
    """
    return _recipe("video_lstm", build_video_lstm, dataset, {"filters": 16}, ("video", "flow"))


def _recipe(system, builder, dataset, model, streams=None, small=None):
    model = {"hidden": 64, "dropout": 0.0, **model}
    sizes = {name: 4 for name in ("units", "filters") if name in model}
    small = {"hidden": 8, "width": 4, **sizes, **(small or {})}
    return clips_recipe(system, builder, dataset, model, small, task={"streams": streams} if streams else None)
