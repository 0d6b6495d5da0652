"""C3D (Tran et al., 2015): 3x3x3 convolutions all the way, the baseline of 3-D networks."""

import keras
from keras import layers

from keras_st.models.heads import check_clip_shape, class_scores
from keras_st.models.weights import load_weights

FILTERS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
RELU = {"activation": "relu", "kernel_initializer": "he_normal"}
POOL5_PADS = ("same", "torch")


def C3D(
    input_shape=(16, 112, 112, 3),
    *,
    include_top=True,
    classes=487,
    dropout=0.5,
    classifier_activation="softmax",
    pool5_pad="same",
    weights=None,
    width=64,
    name="c3d",
):
    """C3D: eight 3x3x3 convolutions in five groups, each followed by a maximum, and two dense layers.

    Network (16x112x112x3), all convolutions with bias and ReLU, pools of stride = size, cut windows kept ("ceil"):
        64, pool 1x2x2 | 128, pool 2x2x2 | 256, 256, pool | 512, 512, pool | 512, 512, pool5: 1x4x4x512
        fc6 4096, dropout | fc7 4096, dropout | dense, softmax
    Layers to tap: pool1 to pool5, fc6, fc7, prob. Parameters: 78,409,573 with 101 classes, 79,991,015 with 487.

    Args:
        input_shape: (T, H, W, C); T, H and W are fixed where there is a top.
        include_top: bool. False: maps (B, T/16, H/32, W/32, 512) of pool5.
        classes, dropout, classifier_activation: of the classifier; dropout also after fc6.
        pool5_pad: "same" (Caffe: windows from pixel 0), or "torch" (from pixel -1, as in mmaction2) for its weights.
        weights: None, or a file of this network's weights (.weights.h5, .keras).
        width: int. Channels of the first group, 64 in the paper; dense layers have 64 times as many.

    Call args: inputs: float (B, T, H, W, C), preprocessed.

    Returns: functional `keras.Model`.

    Raises: ValueError: an unknown option; sizes that vary under a top.

    Reference: D. Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015
    """
    check_clip_shape(input_shape)
    if include_top and None in input_shape:
        raise ValueError(
            f"C3D's dense layers need clips of one size. Received: input_shape={tuple(input_shape)}, include_top=True"
        )
    if pool5_pad not in POOL5_PADS:
        raise ValueError(f"`pool5_pad` must be one of {POOL5_PADS}. Received: pool5_pad={pool5_pad!r}")
    if type(width) is not int or width < 1:
        raise ValueError(f"`width` must be a positive int. Received: width={width!r}")
    x = inputs = keras.Input(input_shape, name="video")
    for group, filters in enumerate(FILTERS, start=1):
        for n, f in enumerate(filters):
            letter = "ab"[n] if len(filters) > 1 else ""
            x = layers.Conv3D(f * width // 64, 3, padding="same", name=f"conv{group}{letter}", **RELU)(x)
        size = (1, 2, 2) if group == 1 else 2
        if group == 5 and pool5_pad == "torch":  # zeros: after a ReLU they are never the larger value
            x = layers.ZeroPadding3D(((0, 0), (1, 1), (1, 1)), name="pad5")(x)
            x = layers.MaxPooling3D(size, padding="valid", name="pool5")(x)
        else:
            x = layers.MaxPooling3D(size, padding="same", name=f"pool{group}")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(64 * width, name="fc6", **RELU)(x)
        x = layers.Dropout(dropout, name="dropout6")(x)
        x = layers.Dense(64 * width, name="fc7", **RELU)(x)
        x = class_scores(x, classes, dropout, classifier_activation)
    return load_weights(keras.Model(inputs, x, name=name), weights)
