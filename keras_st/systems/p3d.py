"""P3D ResNet, C3D and the frame-wise ResNet as classifiers of clips (Qiu et al., ICCV 2017; Tran et al., ICCV 2015)."""

from typing import Literal

from keras_st.layers import FramePreprocessing
from keras_st.models import C3D, FrameResNet, P3DResNet, clip_classifier
from keras_st.specs import ClassifyTask, InputError, Recipe
from keras_st.systems.clips import Source, clips_recipe


def build_p3d(
    task: ClassifyTask,
    classes: int = 6,
    depth: Literal[18, 34, 63, 131, 199] = 63,
    cycle: str = "ABC",
    merge: Literal["caffe", "paper", "torch_port"] = "caffe",
    temporal_pool: bool = True,
    stem_pool: Literal["caffe", "keras"] = "caffe",
    bn_epsilon: float = 1e-5,
    freeze_bn: Literal["all", "all_but_first"] | None = None,
    pooling: Literal["avg", "max", "attention"] = "avg",
    dropout: float = 0.0,
    weights: str | None = None,
    preprocessing: Source = "centred",
    width: int = 64,
):
    """A P3D ResNet, what is left of its maps averaged, and a dense layer.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        depth: 18, 34, 63, 131 or 199 layers.
        cycle: kinds of the residual units, one after the other: "A", "B", "C", "ABC".
        merge: how the branches of B and C meet: "caffe", "paper" or "torch_port".
        temporal_pool: halve time before every stage.
        stem_pool: grid of the first maxima, "caffe" or "keras" (weights of keras.applications).
        bn_epsilon: of the normalisations; 1.001e-5 for weights of keras.applications.
        freeze_bn: which normalisations stay as they are: none, "all" or "all_but_first".
        pooling: of the last maps: "avg", "max" or "attention".
        dropout: rate before the dense layer.
        weights: file to start from, or "imagenet"; a 2-D net is inflated.
        preprocessing: what the weights expect of pixels.
        width: channels of the stem (64).
    """
    pixels = _preprocessing(preprocessing, weights)
    backbone = P3DResNet(
        depth,
        _open_sizes(task),
        cycle=cycle,
        merge=merge,
        temporal_pool=temporal_pool,
        stem_pool=stem_pool,
        bn_epsilon=bn_epsilon,
        freeze_bn=freeze_bn,
        include_top=False,
        pooling=pooling,
        weights=weights,
        width=width,
    )
    return clip_classifier(backbone, classes, preprocessing=pixels, dropout=dropout, streams=task.streams)


def build_frame_resnet(
    task: ClassifyTask,
    classes: int = 6,
    depth: Literal[18, 34, 50, 101, 152] = 50,
    stem_pool: Literal["caffe", "keras"] = "keras",
    bn_epsilon: float = 1.001e-5,
    freeze_bn: Literal["all", "all_but_first"] | None = None,
    dropout: float = 0.0,
    weights: str | None = None,
    preprocessing: Source = "centred",
    width: int = 64,
):
    """A 2-D ResNet that scores every frame; the probabilities are averaged.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        depth: 18, 34, 50, 101 or 152 layers.
        stem_pool: grid of the first maxima, "caffe" or "keras".
        bn_epsilon: of the normalisations.
        freeze_bn: which normalisations stay as they are: none, "all" or "all_but_first".
        dropout: rate before the dense layer.
        weights: file to start from, or "imagenet".
        preprocessing: what the weights expect of pixels.
        width: channels of the stem (64).
    """
    pixels = _preprocessing(preprocessing, weights)
    backbone = FrameResNet(
        depth,
        _open_sizes(task),
        stem_pool=stem_pool,
        bn_epsilon=bn_epsilon,
        freeze_bn=freeze_bn,
        include_top=False,
        pooling="frames",
        weights=weights,
        width=width,
    )
    return clip_classifier(backbone, classes, preprocessing=pixels, dropout=dropout, streams=task.streams)


def build_c3d(
    task: ClassifyTask,
    classes: int = 6,
    dropout: float = 0.5,
    pool5_pad: Literal["same", "torch"] = "same",
    weights: str | None = None,
    preprocessing: Source = "centred",
    width: int = 64,
):
    """C3D: 3x3x3 convolutions, two dense layers, a dense classifier.

    Args:
        task: clips of a video; their size is the network's.
        classes: number of classes of the data set.
        dropout: rate after each of the two dense layers.
        pool5_pad: the last maxima start at pixel 0 ("same") or -1 ("torch").
        weights: file to start from.
        preprocessing: what the weights expect of pixels.
        width: channels of the first group (64); dense layers have 64 times as many.
    """
    shape = tuple(n or default for n, default in zip(task.clip_shape, (16, 112, 112, 3)))
    network = C3D(
        shape,
        classes=classes,
        dropout=dropout,
        classifier_activation="linear",
        pool5_pad=pool5_pad,
        weights=weights,
        width=width,
    )
    return clip_classifier(network, preprocessing=FramePreprocessing(preprocessing), streams=task.streams)


def _preprocessing(source, weights):
    if weights == "imagenet" and source != "keras_resnet":
        raise InputError(f'Weights of ImageNet need preprocessing="keras_resnet". Received: preprocessing={source!r}')
    return FramePreprocessing(source)


def _open_sizes(task):
    return (None, None, None, task.clip_shape[-1])


def p3d(dataset: str = "moving_shapes") -> Recipe:
    """P3D ResNet with units A, B, C in turn (Qiu et al., ICCV 2017). `python train.py p3d`; results: docs/results.

    Ours is depth 18 of 16 channels, for two cores. The paper's, on UCF101 (its ablation, as read in a transcription):
        --model.depth=63 --model.width=64 --model.weights=imagenet --model.stem_pool=keras --model.bn_epsilon=1.001e-5
        --model.preprocessing=keras_resnet --model.freeze_bn=all_but_first --model.dropout=0.9 --task.flip=true
        --task.resize=[182,242] --task.crop=[160,160] --training.optimizer=sgd --training.batch_size=128
        --training.learning_rate=0.001
    and 84.2 % there for 2-D ImageNet weights (Table 1, transcription; which split is not said). Not reproduced.

    Differs: the rate falls by a half cosine, the paper's by 10 every 3,000 steps; momentum 0.9 (not stated there).
    """
    return _recipe("p3d", build_p3d, dataset, {"depth": 18, "width": 16})


def p3d_a(dataset: str = "moving_shapes") -> Recipe:
    """P3D ResNet of units A only, T after S. `python train.py p3d_a`; see p3d. Paper: 83.7 %."""
    return _recipe("p3d_a", build_p3d, dataset, {"depth": 18, "width": 16, "cycle": "A"})


def p3d_b(dataset: str = "moving_shapes") -> Recipe:
    """P3D ResNet of units B only, S and T side by side. `python train.py p3d_b`; see p3d. Paper: 82.8 %."""
    return _recipe("p3d_b", build_p3d, dataset, {"depth": 18, "width": 16, "cycle": "B"})


def p3d_c(dataset: str = "moving_shapes") -> Recipe:
    """P3D ResNet of units C only, S and S T averaged. `python train.py p3d_c`; see p3d. Paper: 83.0 %."""
    return _recipe("p3d_c", build_p3d, dataset, {"depth": 18, "width": 16, "cycle": "C"})


def frame_resnet(dataset: str = "moving_shapes") -> Recipe:
    """A 2-D ResNet on every frame, scores averaged: the baseline. `python train.py frame_resnet`; ours: docs/results.

    Blind to the order of frames: on left_right it stays at chance. The paper's, on UCF101: depth 50, ImageNet
    weights, `--task.resize=[240,320] --task.crop=[224,224]`, training as p3d; 80.8 % (Table 1, transcription). Not
    reproduced.
    """
    return _recipe("frame_resnet", build_frame_resnet, dataset, {"depth": 18, "width": 16})


def c3d(dataset: str = "moving_shapes") -> Recipe:
    """C3D (Tran et al., ICCV 2015). `python train.py c3d`; results: docs/results.

    The published network is `--model.width=64 --task.resize=[128,171] --task.crop=[112,112]`, 78,409,573 parameters
    with 101 classes; mmaction2 reports 83.08 % on UCF101 split 1 from Sports-1M weights (10 clips). Not reproduced.
    """
    return _recipe("c3d", build_c3d, dataset, {"width": 16})


def _recipe(system, builder, dataset, model):
    return clips_recipe(system, builder, dataset, model, {"width": 4})
