"""Residual networks on clips: P3D ResNet (Qiu et al., 2017) and its frame-wise 2-D form."""

import keras
from keras import layers

from keras_st.layers.convolution import FlatConv3D
from keras_st.layers.frame_wise import FrameWise
from keras_st.layers.p3d import P3DBlock
from keras_st.layers.pooling import FrameMaxPool, PairMaxPool
from keras_st.models.heads import check_clip_shape, class_scores, pooled
from keras_st.models.weights import load_weights

# layers of the P3D form -> units in stages 2 to 5; those of the 2-D form of the same units
UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 63: (3, 4, 6, 3), 131: (3, 4, 23, 3), 199: (3, 8, 36, 3)}
DEPTH_IN_2D = {18: 18, 34: 34, 50: 63, 101: 131, 152: 199}
LAST = {2: "res2_last", 3: "res3_last", 4: "res4_last", 5: "res5c"}  # names of the last units of the stages
FREEZE_BN = (None, "all", "all_but_first")


def P3DResNet(
    depth=63,
    input_shape=(None, None, None, 3),
    *,
    cycle="ABC",
    merge="caffe",
    temporal_pool=True,
    stem_pool="caffe",
    bn_epsilon=1e-5,
    freeze_bn=None,
    include_top=True,
    pooling=None,
    classes=400,
    dropout=0.0,
    classifier_activation="softmax",
    weights=None,
    width=64,
    name="p3d_resnet",
):
    """P3D ResNet: residual units whose 3-D convolution is a spatial and a temporal one (`keras_st.layers.P3DBlock`).

    Network (16x160x160x3 at depth 63; T is halved by maxima over frame pairs, never by strides):
        stem   1x7x7, stride 2, BN, ReLU    16x80x80x64        pool1  2x3x3, stride 2       8x40x40x64
        stage 2: 3 units, P = 64            8x40x40x256        frame pairs                  4x40x40x256
        stage 3: 4 units, P = 128           4x20x20x512        frame pairs                  2x20x20x512
        stage 4: 6 units, P = 256           2x10x10x1024       frame pairs                  1x10x10x1024
        stage 5: 3 units, P = 512, plain 2-D, frame by frame   1x5x5x2048
        pool5: mean over frames and positions; dropout, dense, softmax
    Kinds of the units in stages 2 to 4 run through `cycle`, on from stage to stage. Any T, H, W: what is left of T
    after the pools is averaged. Layers to tap: stem, res2_last, res3_last, res4_last, res5c, pool5, prob.
    Parameters without head: 24,983,232 (63), 47,387,328 (131), 65,844,928 (199); depths 18 and 34 are built of basic
    units and ours.

    Pair blindness: with `temporal_pool` the first maximum comes before the first temporal convolution, so swapping
    frames 2k and 2k+1 never changes the output, as in the authors' network. `temporal_pool=False` keeps all frames.

    Args:
        depth: 18, 34, 63, 131 or 199.
        input_shape: (T, H, W, C), None where it varies; channels are free (flow 2, RGB and flow 5).
        cycle: str of "A", "B", "C". Kinds of the units, one after the other.
        merge: "caffe", "paper" or "torch_port": see `P3DBlock`.
        temporal_pool: bool. False: the four pools leave time alone.
        stem_pool: "caffe" (windows from pixel 0) or "keras" (from pixel -1, as inflated weights need).
        bn_epsilon: float. 1e-5; weights from `keras.applications` need 1.001e-5.
        freeze_bn: None, "all" or "all_but_first" (only the stem's normalisation trains; the authors' setting).
        include_top: bool. The pooling ("avg" where None) and the classifier on top.
        pooling: None (maps (B, T', H', W', C)), "avg", "max" or "attention".
        classes, dropout, classifier_activation: of the classifier.
        weights: None; a file of this network's weights (.weights.h5, .keras); or a 2-D ResNet to inflate: "imagenet"
            (downloaded by `keras.applications`), a .keras file, or the .h5 of `keras.applications`.
        width: int. Channels of the stem; P is width, 2 width, 4 width, 8 width. 64 in the paper.

    Call args: inputs: float (B, T, H, W, C), preprocessed as the weights ask (`keras_st.layers.FramePreprocessing`).

    Returns: functional `keras.Model`.

    Raises: ValueError: an unknown option; weights that do not fit.

    Reference: Z. Qiu, T. Yao, T. Mei, "Learning Spatio-Temporal Representation with Pseudo-3D Residual Networks",
    ICCV 2017; layout as in the authors' network definition.
    """
    if depth not in UNITS:
        raise ValueError(f"`depth` must be one of {tuple(UNITS)}. Received: depth={depth}")
    if not cycle or not set(cycle) <= set("ABC"):
        raise ValueError(f'`cycle` must be letters of "ABC". Received: cycle={cycle!r}')
    n2, n3, n4, n5 = UNITS[depth]
    kinds = [cycle[n % len(cycle)] for n in range(n2 + n3 + n4)]
    options = {"merge": merge, "bottleneck": depth > 34, "bn_epsilon": bn_epsilon}
    inputs, maps = _stages(
        input_shape, UNITS[depth], [*kinds, *[None] * n5], options, temporal_pool, stem_pool, freeze_bn, width
    )
    x = pooled(maps, pooling or ("avg" if include_top else None))
    if include_top:
        x = class_scores(x, classes, dropout, classifier_activation)
    return load_weights(keras.Model(inputs, x, name=name), weights, depth)


def FrameResNet(
    depth=50,
    input_shape=(None, None, None, 3),
    *,
    stem_pool="keras",
    bn_epsilon=1.001e-5,
    freeze_bn=None,
    include_top=True,
    pooling=None,
    classes=400,
    dropout=0.0,
    classifier_activation="softmax",
    weights=None,
    width=64,
    name="frame_resnet",
):
    """A 2-D ResNet on every frame of a clip: each is scored, the score of the clip is the mean probability.

    The same units as `P3DResNet`, without temporal convolutions and without temporal pools; blind to the order of
    frames. With the weights of `keras.applications` it equals that network on every frame.

    Args:
        depth: 18, 34, 50, 101 or 152.
        input_shape, freeze_bn, include_top, classes, dropout, classifier_activation, width: see `P3DResNet`.
        stem_pool, bn_epsilon: see `P3DResNet`; here as `keras.applications` has them.
        pooling: without the top: None (maps (B, T', H', W', C)); "frames" (means (B, T, C) of every frame); "avg",
            "max" or "attention" over all frames. The top stands on "frames".
        weights: None; a file of this network's weights; or a 2-D ResNet: see `P3DResNet`.

    Returns: functional `keras.Model`.

    Raises: ValueError: an unknown option; weights that do not fit.
    """
    if depth not in DEPTH_IN_2D:
        raise ValueError(f"`depth` must be one of {tuple(DEPTH_IN_2D)}. Received: depth={depth}")
    units = UNITS[DEPTH_IN_2D[depth]]
    options = {"bottleneck": depth > 34, "bn_epsilon": bn_epsilon}
    inputs, maps = _stages(input_shape, units, [None] * sum(units), options, False, stem_pool, freeze_bn, width)
    if include_top and pooling not in (None, "frames"):
        raise ValueError(f'The top scores every frame: `pooling` is None or "frames". Received: pooling={pooling!r}')
    if include_top or pooling == "frames":
        x = FrameWise(layers.GlobalAveragePooling2D(), name="pool5")(maps)
    else:
        x = pooled(maps, pooling)
    if include_top:
        x = class_scores(x, classes, dropout, classifier_activation, average="probabilities")
    return load_weights(keras.Model(inputs, x, name=name), weights, DEPTH_IN_2D[depth])


def _stages(input_shape, units, kinds, options, temporal_pool, stem_pool, freeze_bn, width):
    """`(inputs, maps)`: the stem and stages 2 to 5, `units` in each, of `kinds`."""
    check_clip_shape(input_shape)
    if freeze_bn not in FREEZE_BN:
        raise ValueError(f"`freeze_bn` must be one of {FREEZE_BN}. Received: freeze_bn={freeze_bn!r}")
    if type(width) is not int or width < 1:
        raise ValueError(f"`width` must be a positive int. Received: width={width!r}")

    def halve_time(x, name):
        return PairMaxPool(name=name)(x) if temporal_pool else x

    inputs = keras.Input(input_shape, name="video")
    x = FlatConv3D(width, (1, 7, 7), (1, 2, 2), kernel_initializer="he_normal", name="stem_conv")(inputs)
    epsilon, trainable = options["bn_epsilon"], freeze_bn != "all"
    x = layers.BatchNormalization(epsilon=epsilon, momentum=0.9, trainable=trainable, name="stem_bn")(x)
    x = layers.ReLU(name="stem")(x)
    x = halve_time(FrameMaxPool(3, stem_pool, name="pool1")(x), "pool1_pairs")
    kinds = iter(kinds)
    for stage, count in enumerate(units, start=2):
        x = x if stage == 2 else halve_time(x, f"pool{stage - 1}_pairs")
        for n in range(count):
            x = P3DBlock(
                width * 2 ** (stage - 2),
                next(kinds),
                strides=2 if stage > 2 and n == 0 else 1,
                freeze_bn=freeze_bn is not None,
                name=LAST[stage] if n == count - 1 else f"res{stage}_{n + 1}",
                **options,
            )(x)
    return inputs, x
