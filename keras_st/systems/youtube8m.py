"""YouTube-8M: classifiers of stored features of frames, from a logistic one to deep recurrence.

Inputs are `rgb` (B, T, 1024), `audio` (B, T, 128) and `length` (B,), or of whole videos `mean_rgb` and `mean_audio`. A
video has several labels: the sigmoid of a logit is the probability of its class. Recipes read `topics`, which is
generated; of the real thing `--data.name=youtube8m --data.root=FOLDER`, at the published sizes.
"""

from typing import Any, Literal

from keras import initializers, layers, regularizers

from keras_st.layers import (
    BidirectionalRNN,
    ContextGating,
    DeepBagOfFrames,
    FastForwardRNN,
    FinalStates,
    FrameAttention,
    FrameChain,
    FrameSample,
    FrameStreams,
    GatedDBoF,
    MixtureOfExperts,
    NetFV,
    NetRVLAD,
    NetVLAD,
    SoftDBoW,
    TemporalPool,
)
from keras_st.models import TemporalResNet, clip_classifier
from keras_st.specs import ClassifyTask, InputError, Recipe, Training

FRAMES, MEANS = ("rgb", "audio"), ("mean_rgb", "mean_audio")

# pooling -> its layers of the first and of every other stream, and how many times fewer clusters the latter have
BAGS = {
    "net_vlad": (NetVLAD, NetVLAD, 2),
    "net_rvlad": (NetRVLAD, NetRVLAD, 2),
    "net_fv": (NetFV, NetFV, 2),
    "soft_dbow": (SoftDBoW, SoftDBoW, 8),
    "gated_dbof": (GatedDBoF, SoftDBoW, 8),
}

# what the released configurations of the fast-forward networks set
FAST_FORWARD: dict[str, dict[str, Any]] = {
    "offline_depth2": {
        "units": 1024,
        "depth": 2,
        "chains": 2,
        "pool": "attention",
        "hidden": (8192, 4096),
        "activation": "tanh",
        "path_rate": 0.04,
    },
    "offline_depth7_release": {
        "units": 512,
        "depth": 7,
        "chains": 1,
        "pool": "max",
        "hidden": (2048,),
        "activation": "relu",
        "path_rate": 0.2,
    },
}
HIDDEN = {"attention": ("relu", "tanh"), "max": ("linear",)}  # pool -> activations of the dense layers that follow


def build_yt8m_logistic(task: ClassifyTask, classes: int = 3862, l2: float = 1e-8):
    """The mean of unit frames, or the unit vector of a whole video, and a logistic classifier.

    Args:
        task: streams of frames ("rgb", "audio") or of whole videos ("mean_rgb", "mean_audio").
        classes: number of classes of the data set.
        l2: weight of half the sum of squares of the kernel in the loss.
    """
    head = layers.Dense(classes, kernel_regularizer=_half_squares(l2), name="logits")
    return _classifier(task, classes, FrameStreams(_mean(task), normalize=True), head)


def build_yt8m_moe(task: ClassifyTask, classes: int = 3862, experts: int = 2, l2: float = 1e-8):
    """The mean of unit frames, or the unit vector of a whole video, and a mixture of experts.

    Args:
        task: streams of frames ("rgb", "audio") or of whole videos ("mean_rgb", "mean_audio").
        classes: number of classes of the data set.
        experts: of every class, beside the one that says no.
        l2: weight of half the sum of squares of the kernels in the loss.
    """
    head = _experts(classes, experts, l2)
    return _classifier(task, classes, FrameStreams(_mean(task), normalize=True), head)


def build_yt8m_dbof(
    task: ClassifyTask,
    classes: int = 3862,
    clusters: int = 8192,
    units: int = 1024,
    sample_frames: int | None = 30,
    sample_method: Literal["frames", "run"] = "frames",
    pooling: Literal["max", "mean"] = "max",
    activation: Literal["sigmoid", "relu6"] = "sigmoid",
    experts: int = 2,
    l2: float = 1e-8,
    momentum: float = 0.99,
):
    """Deep bag of frames: drawn frames in a wide layer, their maximum, a dense layer, a mixture of experts.

    Args:
        task: streams of frames.
        classes: number of classes of the data set.
        clusters: units of the wide layer.
        units: of the dense layer.
        sample_frames: frames that training draws, spread evenly at inference; none: every frame.
        sample_method: draw single "frames", or a "run" of consecutive ones.
        pooling: over frames.
        activation: of both layers.
        experts: of every class, beside the one that says no.
        l2: weight of half the sum of squares of the experts' kernels in the loss.
        momentum: of the normalisations' moving statistics.
    """
    bag = DeepBagOfFrames(clusters, units, pooling, activation, momentum)
    parts = [*_sample(sample_frames, sample_method), bag]
    return _of_frames(task, classes, FrameStreams(parts, normalize=True), _experts(classes, experts, l2))


def build_yt8m_lstm(
    task: ClassifyTask,
    classes: int = 3862,
    units: int = 1024,
    num_layers: int = 2,
    cell: Literal["lstm", "gru"] = "lstm",
    states: Literal["top", "every"] = "top",
    sample_frames: int | None = None,
    experts: int = 2,
    l2: float = 1e-8,
):
    """LSTMs or GRUs over unit frames, their states at the last real one, a mixture of experts.

    Args:
        task: streams of frames.
        classes: number of classes of the data set.
        units: of every layer.
        num_layers: recurrent layers.
        cell: "lstm" or "gru".
        states: the hidden state of the "top" layer (starter code), or "every" state of all (team WILLOW, with
            sample_frames=150; GRUs of 1,200 units).
        sample_frames: frames that training draws, put in order, and spread evenly at inference; none: every frame.
        experts: of every class, beside the one that says no.
        l2: weight of half the sum of squares of the experts' kernels in the loss.
    """
    parts = [*_sample(sample_frames, ordered=True), FinalStates(units, num_layers, cell, states == "every")]
    return _of_frames(task, classes, FrameStreams(parts, normalize=True), _experts(classes, experts, l2))


def build_yt8m_netvlad(
    task: ClassifyTask,
    classes: int = 3862,
    pooling: Literal["net_vlad", "net_rvlad", "net_fv", "soft_dbow", "gated_dbof"] = "net_vlad",
    clusters: int = 256,
    units: int = 1024,
    relu: bool = False,
    gating: bool = True,
    probability_gating: bool = True,
    sample_frames: int | None = 300,
    experts: int = 2,
    l2: float = 1e-6,
    momentum: float = 0.99,
):
    """NetVLAD or its kin on each stream, a dense layer, context gating, a mixture of experts whose scores are gated.

    Args:
        task: streams of frames.
        classes: number of classes of the data set.
        pooling: of frames; "gated_dbof" has "soft_dbow" on all streams but the first.
        clusters: of the first stream; others have half as many, of the bags ("soft_dbow", "gated_dbof") an eighth.
        units: of the dense layer.
        relu: normalisation and ReLU (of at most 6) after it.
        gating: context gating of its output.
        probability_gating: and of the probabilities.
        sample_frames: frames that training draws, spread evenly at inference; none: every frame.
        experts: of every class, beside the one that says no.
        l2: weight of half the sum of squares of the experts' kernels in the loss.
        momentum: of the normalisations' moving statistics.
    """
    if pooling not in BAGS:
        raise InputError.unknown("pooling", pooling, BAGS)
    first, other, fewer = BAGS[pooling]
    bags = [first(clusters, momentum)]
    bags += [other(max(1, clusters // fewer), momentum) for _ in task.streams[1:]]
    parts = [*_sample(sample_frames), layers.BatchNormalization(momentum=momentum, name="input_norm")]
    # a bag is a unit vector, however long
    dense = layers.Dense(units, use_bias=not relu, kernel_initializer=initializers.RandomNormal(stddev=clusters**-0.5))
    head = [dense]
    if relu:
        head += [layers.BatchNormalization(momentum=momentum, name="hidden_norm"), layers.Activation("relu6")]
    head += [ContextGating(momentum=momentum, name="gating")] * gating
    head += [_experts(classes, experts, l2)]
    head += [ContextGating(log_odds=True, momentum=momentum, name="probability_gating")] * probability_gating
    return _of_frames(task, classes, FrameStreams(parts, bags, normalize=True), FrameChain(head))


def build_yt8m_two_stream(
    task: ClassifyTask,
    classes: int = 4716,
    cell: Literal["lstm", "gru"] = "lstm",
    units: int = 1024,
    embedding: int | None = 512,
    peephole: bool = True,
    dropout: float = 0.5,
    hidden: tuple[int, int] = (8192, 4096),
):
    """A recurrent layer of both directions and attention over frames on every stream; all of them in dense layers.

    Args:
        task: streams of frames; of one (features of a network of their own, say) one such branch.
        classes: number of classes of the data set.
        cell: "lstm" or "gru".
        units: of each direction.
        embedding: units of the dense layer (tanh) on every frame before; none: no such layer.
        peephole: LSTMs with peepholes.
        dropout: rate on what the recurrent layers give.
        hidden: units of the two dense layers (ReLU, tanh).
    """
    branches = []
    for _ in task.streams:
        embed = [layers.Dense(embedding, "tanh", name="embedding")] if embedding else []
        recurrent = BidirectionalRNN(units, cell, peephole and cell == "lstm")
        branches.append(FrameChain([*embed, recurrent, layers.Dropout(dropout), FrameAttention()]))
    return _of_frames(task, classes, FrameStreams(apart=branches), _dense(hidden, HIDDEN["attention"], classes))


def build_yt8m_fast_forward(
    task: ClassifyTask,
    classes: int = 4716,
    preset: Literal["offline_depth2", "offline_depth7_release"] = "offline_depth2",
    cell: Literal["lstm", "gru"] = "lstm",
    units: int | None = None,
    depth: int | None = None,
    chains: Literal[1, 2] | None = None,
    pool: Literal["attention", "max"] | None = None,
    hidden: tuple[int, ...] | None = None,
    path_rate: float | None = None,
    peephole: bool = True,
):
    """Deep recurrence with a linear path past it, over the joined streams; see `FastForwardRNN`.

    Args:
        task: streams of frames.
        classes: number of classes of the data set.
        preset: "offline_depth2", two chains of two levels of 1024 units, attention, dense layers 8192 (ReLU) and 4096
            (tanh); or "offline_depth7_release", one chain of seven levels of 512 units, maxima over time of the top
            level's output and of its path, a linear layer of 2048. It gives whatever below is none.
        cell: "lstm" or "gru".
        units: of a level.
        depth: levels.
        chains: a second one runs in opposite directions.
        pool: "attention" over the top outputs, or "max", of them and of the top paths.
        hidden: units of the dense layers that follow: two of "attention", one of "max".
        path_rate: of the linear path, see `FastForwardRNN`.
        peephole: LSTMs with peepholes.
    """
    if preset not in FAST_FORWARD:
        raise InputError.unknown("preset", preset, FAST_FORWARD)
    given = {"units": units, "depth": depth, "chains": chains, "pool": pool, "hidden": hidden, "path_rate": path_rate}
    options = {**FAST_FORWARD[preset], **{name: value for name, value in given.items() if value is not None}}
    pooling, sizes = options.pop("pool"), options.pop("hidden")
    if len(sizes) != len(HIDDEN[pooling]):
        raise InputError(f'pool="{pooling}" has {len(HIDDEN[pooling])} dense layers. Received: hidden={list(sizes)}')
    recurrent = FastForwardRNN(cell=cell, peephole=peephole, return_path=pooling == "max", **options)
    pooled = FrameAttention() if pooling == "attention" else TemporalPool("max")
    return _of_frames(task, classes, FrameStreams([recurrent, pooled]), _dense(sizes, HIDDEN[pooling], classes))


def build_yt8m_temporal_resnet(
    task: ClassifyTask,
    classes: int = 4716,
    frames: int = 320,
    width: int = 1024,
    blocks: int = 3,
    units: int = 4096,
    dropout: float = 0.5,
    momentum: float = 0.9,
):
    """Residual convolutions over time on the joined streams, their mean, a linear layer; see `TemporalResNet`.

    Args:
        task: streams of frames.
        classes: number of classes of the data set.
        frames: that a video is centred in, zeros around it.
        width: channels of the first of three stages.
        blocks: of every stage.
        units: of the linear layer.
        dropout: rate on it.
        momentum: of the normalisations' moving statistics.
    """
    network = TemporalResNet(frames, width, blocks=blocks, momentum=momentum)
    head = FrameChain([layers.Dense(units, name="fc"), layers.Dropout(dropout), layers.Dense(classes, name="logits")])
    return _of_frames(task, classes, FrameStreams([network]), head)


def _classifier(task, classes, aggregator, head):
    options = {"streams": task.streams, "multi_label": task.multi_label}
    return clip_classifier(classes=classes, aggregator=aggregator, head=head, **options)


def _of_frames(task, *args):
    if set(task.streams) & set(MEANS):
        raise InputError(f"This system reads frames: --task.streams=[rgb,audio]. Received: {list(task.streams)}")
    return _classifier(task, *args)


def _mean(task):
    """The mean over frames; nothing where the streams are of whole videos."""
    whole = set(task.streams) & set(MEANS)
    if whole and whole != set(task.streams):
        raise InputError(f"Streams must all be of frames or all of videos. Received: streams={list(task.streams)}")
    return [] if whole else [TemporalPool("mean")]


def _sample(frames, method="frames", ordered=False):
    return [] if frames is None else [FrameSample(frames, method, ordered)]


def _half_squares(l2):
    return regularizers.L2(l2 / 2) if l2 else None


def _experts(classes, experts, l2):
    return MixtureOfExperts(classes, experts, kernel_regularizer=_half_squares(l2), name="experts")


def _dense(hidden, activations, classes):
    parts = [layers.Dense(units, activation) for units, activation in zip(hidden, activations)]
    return FrameChain([*parts, layers.Dense(classes, name="logits")])


def yt8m_logistic(dataset: str = "topics") -> Recipe:
    """Logistic classifier of YouTube-8M's starter code. `python train.py yt8m_logistic`. Ours: docs/results.

    On vectors of whole videos; on the mean of frames: `--data.level=frame --task.streams=[rgb,audio]`. The starter code
    trains with Adam at 0.01, times 0.95 every 4 million videos, every tensor's gradient cut at norm 1, batches of
    1,024, 5 epochs.

    Differs: the rate falls by a half cosine, gradients are not cut.
    """
    return _recipe("yt8m_logistic", build_yt8m_logistic, dataset, {}, {}, STARTER, MEANS)


def yt8m_moe(dataset: str = "topics") -> Recipe:
    """Mixture of experts of YouTube-8M's starter code. `python train.py yt8m_moe`. Ours: docs/results.

    On vectors of whole videos, two experts a class. Trained as `yt8m_logistic`.
    """
    return _recipe("yt8m_moe", build_yt8m_moe, dataset, {}, {}, STARTER, MEANS)


def yt8m_dbof(dataset: str = "topics") -> Recipe:
    """Deep bag of frames of YouTube-8M's starter code. `python train.py yt8m_dbof`. Ours: docs/results.

    30 frames drawn at random, 8,192 clusters, their maximum, 1,024 units, a mixture of experts: 37,627,692 trained
    parameters with 3,862 classes. Trained as `yt8m_logistic`. Blind to the order of frames.

    Differs: inference takes 30 frames spread evenly, where the starter code draws.
    """
    small = {"clusters": 16, "units": 8, "sample_frames": 6}
    return _recipe("yt8m_dbof", build_yt8m_dbof, dataset, {}, small, STARTER)


def yt8m_lstm(dataset: str = "topics") -> Recipe:
    """Two LSTMs of YouTube-8M's starter code. `python train.py yt8m_lstm`. Ours: docs/results.

    1,024 units each, the last hidden state, a mixture of experts: 37,090,860 parameters with 3,862 classes. Team
    WILLOW's: `--model.states=every --model.sample_frames=150`, and `--model.cell=gru --model.units=1200` beside it.
    """
    training = {**STARTER, "learning_rate": 1e-3, "batch_size": 128}
    return _recipe("yt8m_lstm", build_yt8m_lstm, dataset, {}, {"units": 8}, training)


def yt8m_netvlad(dataset: str = "topics") -> Recipe:
    """NetVLAD with context gating (Miech et al., 2017). `python train.py yt8m_netvlad`. Ours: docs/results.

    Winner of the first challenge (team WILLOW; one of many networks): 256 clusters, batches of 80, Adam at 0.0002. The
    others: `--model.pooling=net_rvlad|net_fv|soft_dbow|gated_dbof`, with 128 clusters (net_fv) and 4,096 or 8,000
    (bags). Blind to the order of frames.

    Differs: the rate falls by a half cosine (0.8 at steps of its own); inference takes 300 frames spread evenly, where
    the released code draws.
    """
    small = {"clusters": 8, "units": 8, "sample_frames": 6}
    training = {"epochs": 5, "batch_size": 80, "learning_rate": 2e-4}
    return _recipe("yt8m_netvlad", build_yt8m_netvlad, dataset, {}, small, training)


def yt8m_two_stream_lstm(dataset: str = "topics") -> Recipe:
    """Two-stream LSTMs, attention (Li et al., 2017). `python train.py yt8m_two_stream_lstm`. Ours: docs/results.

    Team `offline`, GAP@20 0.82172 on the 4,716 classes of 2017 (README of the released code; not reproduced); there
    RMSProp at 0.001, batches of 240, L2 8e-4, gradients cut at 25; 112,232,044 parameters. Features are not normalised.

    Differs: Adam, no L2, gradients are not cut; the forget bias starts at 1.
    """
    return _recipe("yt8m_two_stream_lstm", build_yt8m_two_stream, dataset, {}, TWO_STREAM, RMSPROP)


def yt8m_two_stream_gru(dataset: str = "topics") -> Recipe:
    """Two-stream GRUs, attention (Li et al., 2017). `python train.py yt8m_two_stream_gru`. Ours: docs/results.

    Team `offline`, GAP@20 0.82366 on the 4,716 classes of 2017 (README of the released code; not reproduced); trained
    as `yt8m_two_stream_lstm`; 105,924,204 parameters.
    """
    return _recipe("yt8m_two_stream_gru", build_yt8m_two_stream, dataset, {"cell": "gru"}, TWO_STREAM, RMSPROP)


def yt8m_fast_forward_lstm(dataset: str = "topics") -> Recipe:
    """Fast-forward LSTM (Li et al., 2017). `python train.py yt8m_fast_forward_lstm`. Ours: docs/results.

    Team `offline`, GAP@20 on the 4,716 classes of 2017 (README of the released code; not reproduced): two levels
    0.81885, as GRU (`--model.cell=gru`) 0.81970, seven levels (`--model.preset=offline_depth7_release`) 0.82750. The
    paper's seven levels run in both directions, as a review of it has it: `--model.depth=7`. With 4,716 classes
    137,869,932 parameters, of the seven levels 56,104,044.

    Differs: Adam for Adadelta; no L2, no averaging of weights, and of the seven levels' training no thinning of frames
    (one in three, a random phase); biases train at the full rate, and of the seven levels the first dense layer, of
    which the part that reads the paths has there a rate of 0.2 and the other starts at 0; first weights of the seven
    levels have the deviations of the two.
    """
    small = {"units": 8, "hidden": (16, 8)}
    training = {"epochs": 5, "batch_size": 256, "learning_rate": 5e-4}
    return _recipe("yt8m_fast_forward_lstm", build_yt8m_fast_forward, dataset, {}, small, training)


def yt8m_temporal_resnet(dataset: str = "topics") -> Recipe:
    """Temporal residual network (Li et al., 2017). `python train.py yt8m_temporal_resnet`. Ours: docs/results.

    Team `offline`, GAP@20 0.80889 on the 4,716 classes of 2017 (README of the released code; not reproduced): SGD at
    0.01, momentum 0.9; 155,129,452 parameters.

    Differs: no L2.
    """
    small = {"frames": 32, "width": 8, "blocks": 1, "units": 8}
    training = {"epochs": 5, "batch_size": 160, "optimizer": "sgd", "learning_rate": 1e-2}
    return _recipe("yt8m_temporal_resnet", build_yt8m_temporal_resnet, dataset, {}, small, training)


STARTER = {"epochs": 5, "batch_size": 1024, "learning_rate": 1e-2}
RMSPROP = {"epochs": 5, "batch_size": 240, "learning_rate": 1e-3}
TWO_STREAM = {"units": 8, "embedding": 8, "hidden": (16, 8)}

# on generated topics: options of the builders, and how all are trained
GENERATED: dict[str, dict[str, Any]] = {
    "yt8m_logistic": {},
    "yt8m_moe": {},
    "yt8m_dbof": {"clusters": 256, "units": 64},
    "yt8m_lstm": {"units": 64},
    "yt8m_netvlad": {"clusters": 16, "units": 64},
    "yt8m_two_stream_lstm": {"units": 32, "embedding": 32, "hidden": (128, 64)},
    "yt8m_two_stream_gru": {"units": 32, "embedding": 32, "hidden": (128, 64)},
    "yt8m_fast_forward_lstm": {"units": 32, "hidden": (128, 64)},
    "yt8m_temporal_resnet": {"frames": 32, "width": 32, "blocks": 1, "units": 64},
}
TRAINING = {"epochs": 8, "batch_size": 32, "learning_rate": 5e-3}
OWN_TRAINING: dict[str, dict[str, Any]] = {
    "yt8m_temporal_resnet": {"epochs": 20, "optimizer": "sgd", "learning_rate": 3e-2},
}


def _recipe(system, builder, dataset, model, small, training, streams=FRAMES):
    """The recipe of a system: on YouTube-8M as published, on generated topics at sizes for them."""
    real = dataset == "youtube8m"
    return Recipe(
        system=system,
        builder=builder,
        task=ClassifyTask(clip_frames=300 if real else 30, streams=streams, labels="several"),
        data={"name": dataset, **({"level": "video"} if streams == MEANS else {})},
        model={"classes": 3862, **model} if real else {"classes": 10, **model, **GENERATED[system]},
        training=Training(**(training if real else {**TRAINING, **OWN_TRAINING.get(system, {})})),
        small={
            "task": {"clip_frames": 16},
            "data": {} if real else {"num_sequences": 8, "num_test_sequences": 8},
            "model": {"classes": 8, **small},
        },
    )
