"""What stands on top of a backbone: pooling over frames and positions, dropout, class scores."""

from keras import layers

from keras_st.layers.pooling import AttentionPooling, ScoreAverage

POOLINGS = ("avg", "max", "attention")


def pooled(x, pooling):
    """`pooling` of maps (B, T, H, W, C) over frames and positions: (B, C), named pool5; None leaves them."""
    if pooling is None:
        return x
    return pooling_layer(pooling)(x)


def pooling_layer(pooling):
    """The layer that "avg", "max" or "attention" names. Raises ValueError for another name."""
    if pooling not in POOLINGS:
        raise ValueError(f"`pooling` must be None or one of {POOLINGS}. Received: pooling={pooling!r}")
    kinds = {"avg": layers.GlobalAveragePooling3D, "max": layers.GlobalMaxPooling3D, "attention": AttentionPooling}
    return kinds[pooling](name="pool5")


def class_scores(x, classes, dropout, activation, average=None):
    """Dropout, a dense layer and `activation`, named prob; with `average` the mean over axis 1 of scores (B, N, K)."""
    if type(classes) is not int or classes < 1:
        raise ValueError(f"`classes` must be a positive int. Received: classes={classes!r}")
    x = layers.Dense(classes, name="logits")(layers.Dropout(dropout, name="dropout")(x))
    if average is not None:
        x = ScoreAverage(average, name="average")(x)
    return layers.Activation(activation, name="prob")(x)


def check_clip_shape(input_shape):
    """Raises ValueError unless `input_shape` is (T, H, W, C) with C known."""
    if len(input_shape) != 4 or input_shape[-1] is None or any(n is not None and n < 1 for n in input_shape):
        raise ValueError(
            "`input_shape` must be (T, H, W, C), C known, the others None where they vary. "
            f"Received: input_shape={tuple(input_shape)}"
        )
