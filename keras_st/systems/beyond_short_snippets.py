"""Beyond Short Snippets: five ways to pool frames over time, and a deep LSTM (Ng et al., CVPR 2015)."""

from typing import Literal

from keras import Sequential, layers

from keras_st.layers import AsMaps, FrameWise, LastPadded, PeepholeLSTMCell, SpatialRNN, TemporalPool, WindowMax
from keras_st.models import clip_classifier
from keras_st.specs import ClassifyTask, Recipe
from keras_st.systems.clips import MAPS, VECTORS, clips_recipe, frame_parts

WINDOW, STRIDE = 10, 5  # frames of a window and from one to the next


def build_conv_pooling(task: ClassifyTask, classes: int = 6, units: int = 4096, dropout: float = 0.0, **kwargs):
    """Maximum over time of the maps, two dense layers, classifier.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        units: of each dense layer.
        dropout: rate before every dense layer.
        **kwargs: see `frame_parts`.
    """
    pool = [TemporalPool("max"), layers.Flatten(), *_fc(units, dropout), *_fc(units, dropout)]
    return _classifier(classes, pool, dropout, frame_parts(task, MAPS, **kwargs))


def build_late_pooling(task: ClassifyTask, classes: int = 6, units: int = 4096, dropout: float = 0.0, **kwargs):
    """Two dense layers on every frame, maximum over time, classifier.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        units: of each dense layer.
        dropout: rate before every dense layer.
        **kwargs: see `frame_parts`.
    """
    pool = [FrameWise(layers.Flatten()), *_fc(units, dropout), *_fc(units, dropout), TemporalPool("max")]
    return _classifier(classes, pool, dropout, frame_parts(task, MAPS, **kwargs))


def build_slow_pooling(task: ClassifyTask, classes: int = 6, units: int = 4096, dropout: float = 0.0, **kwargs):
    """Maxima over windows of 10 frames, a dense layer, maximum over windows, a dense layer, classifier.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        units: of each dense layer.
        dropout: rate before every dense layer.
        **kwargs: see `frame_parts`.
    """
    pool = [FrameWise(layers.Flatten()), WindowMax(WINDOW, STRIDE), *_fc(units, dropout)]
    pool += [TemporalPool("max"), *_fc(units, dropout)]
    return _classifier(classes, pool, dropout, frame_parts(task, MAPS, **kwargs))


def build_local_pooling(task: ClassifyTask, classes: int = 6, units: int = 4096, dropout: float = 0.0, **kwargs):
    """Maxima over windows of 10 frames, two dense layers on each, all windows side by side, classifier.

    Args:
        task: clips of a video; their number of frames is the network's.
        classes: number of classes of the data set.
        units: of each dense layer.
        dropout: rate before every dense layer.
        **kwargs: see `frame_parts`.
    """
    pool = [FrameWise(layers.Flatten()), WindowMax(WINDOW, STRIDE), *_fc(units, dropout), *_fc(units, dropout)]
    pool += [layers.Flatten()]
    parts = frame_parts(task, MAPS, **kwargs)
    return _classifier(classes, pool, dropout, parts, clip_frames=task.clip_frames)


def build_time_domain_conv(
    task: ClassifyTask,
    classes: int = 6,
    units: int = 4096,
    filters: int = 256,
    time_kernel: tuple[int, int, int] = (10, 3, 3),
    time_stride: int = 5,
    dropout: float = 0.0,
    **kwargs,
):
    """A convolution over time, maximum over time, two dense layers, classifier.

    Args:
        task: clips of a video; of fewer frames than the kernel spans, the last is repeated.
        classes: number of classes of the data set.
        units: of each dense layer.
        filters: of the convolution.
        time_kernel: its frames, height and width ([1,1,1] with a stride of 1: the lecture's reduction).
        time_stride: its stride in frames.
        dropout: rate before every dense layer.
        **kwargs: see `frame_parts`.
    """
    sides = [((size - 1) // 2, size // 2) for size in time_kernel[1:]]  # "same" in space, "valid" in time
    conv = layers.Conv3D(filters, time_kernel, (time_stride, 1, 1), activation="relu", kernel_initializer="he_normal")
    pool = [AsMaps(), LastPadded(time_kernel[0]), layers.ZeroPadding3D(((0, 0), *sides)), conv]
    pool += [TemporalPool("max"), layers.Flatten(), *_fc(units, dropout), *_fc(units, dropout)]
    return _classifier(classes, pool, dropout, frame_parts(task, MAPS, **kwargs))


def build_snippet_lstm(
    task: ClassifyTask,
    classes: int = 6,
    units: int = 512,
    num_layers: int = 5,
    aggregation: Literal["last", "max", "probabilities", "linear"] = "linear",
    gain: Literal["mean", "linear"] = "linear",
    dropout: float = 0.0,
    **kwargs,
):
    """LSTMs with peepholes on top of each other, a classifier at every step.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        units: of every LSTM.
        num_layers: LSTMs.
        aggregation: how the steps' probabilities become the clip's: "last", "max", the mean of "probabilities", or
            "linear", weighted by t / (T - 1).
        gain: of the steps' losses: "mean", all alike, or "linear".
        dropout: rate before the classifier.
        **kwargs: see `frame_parts`.
    """
    lstms = [SpatialRNN(PeepholeLSTMCell(units), return_sequences=True) for _ in range(num_layers)]
    options = {"average": aggregation, "step_loss": gain, "dropout": dropout}
    return clip_classifier(
        classes=classes, aggregator=Sequential(lstms), **options, **frame_parts(task, VECTORS, **kwargs)
    )


def _classifier(classes, pool, dropout, parts, **options):
    return clip_classifier(classes=classes, aggregator=Sequential(pool), dropout=dropout, **parts, **options)


def _fc(units, dropout):
    return layers.Dropout(dropout), layers.Dense(units, "relu", kernel_initializer="he_normal")


SMALL = {"units": 8, "width": 4}


def conv_pooling(dataset: str = "moving_shapes") -> Recipe:
    """Conv pooling (Ng et al., CVPR 2015). `python train.py conv_pooling`; ours: docs/results. Blind to order.

    The paper's, of 120 AlexNet frames on Sports-1M (its Table 1, clip hit@1 / hit@1 / hit@5, from lecture notes):
    conv 68.7 / 71.1 / 89.3, late 65.1 / 67.5 / 87.2, slow 67.1 / 69.7 / 88.4, local 68.1 / 70.4 / 88.9, time-domain
    64.2 / 67.2 / 87.2. Its dense layers have 4,096 units (`--model.units=4096`). Not reproduced.
    """
    return _recipe("conv_pooling", build_conv_pooling, dataset)


def late_pooling(dataset: str = "moving_shapes") -> Recipe:
    """Late pooling, see conv_pooling. `python train.py late_pooling`. Blind to order."""
    return _recipe("late_pooling", build_late_pooling, dataset)


def slow_pooling(dataset: str = "moving_shapes") -> Recipe:
    """Slow pooling, see conv_pooling. `python train.py slow_pooling`.

    Blind to a clip played backwards where T - 10 is a multiple of 5.
    """
    return _recipe("slow_pooling", build_slow_pooling, dataset)


def local_pooling(dataset: str = "moving_shapes") -> Recipe:
    """Local pooling, see conv_pooling. `python train.py local_pooling`."""
    return _recipe("local_pooling", build_local_pooling, dataset)


def time_domain_conv(dataset: str = "moving_shapes") -> Recipe:
    """Time-domain convolution, see conv_pooling. `python train.py time_domain_conv`.

    The paper's has 256 filters (`--model.filters=256`).

    Differs: whether the paper rectifies the convolution is not known; here it is.
    """
    return _recipe("time_domain_conv", build_time_domain_conv, dataset, {"filters": 64}, {"filters": 8, "units": 16})


def snippet_lstm(dataset: str = "moving_shapes") -> Recipe:
    """The deep LSTM of Beyond Short Snippets (Ng et al., CVPR 2015). `python train.py snippet_lstm`.

    The paper's are five levels of 512 units (`--model.num_layers=5 --model.units=512`) on GoogLeNet frames, one a
    second; its abstract gives 73.1 % hit@1 on Sports-1M and 88.6 % on UCF101, both with flow (82.6 % without), as read
    in notes. Not reproduced. The form of the gain, t / (T - 1), is from memory of the paper.
    """
    model, small = {"units": 64, "num_layers": 2}, {"units": 8, "num_layers": 2, "width": 4}
    return clips_recipe("snippet_lstm", build_snippet_lstm, dataset, model, small)


def _recipe(system, builder, dataset, model=None, small=None):
    return clips_recipe(system, builder, dataset, {"units": 128, **(model or {})}, {**SMALL, **(small or {})})
