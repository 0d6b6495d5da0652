"""GRU-RCN (Ballas et al., 2016): convolutional GRUs over the maps of several levels of a network."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.pooling import ScoreAverage
from keras_st.layers.recurrent.conv_gru import ConvGRUCell
from keras_st.layers.recurrent.spatial_rnn import SpatialRNN
from keras_st.layers.streaming import NotCausal


@keras.saving.register_keras_serializable(package="keras_st")
class GRURCN(ConfigFromArguments, layers.Layer):
    """A convolutional GRU over every level of percepts; the mean of each one's last map.

    Equations: `ConvGRUCell`, level by level, without biases; with `stacked` a level also reads the level below, its
    hidden map brought to size by maxima:
        h_t^l = GRU(x_t^l, P(h_t^{l-1}), h_{t-1}^l)          in z and r only
    With `bidirectional` a second set of cells reads the clip backwards, and the two means are joined.

    Args:
        filters: channels of the hidden maps, a level each.
        kernel_size: int. Of maps of one position (a dense layer's output) it is 1.
        stacked: bool. Levels read the level below.
        bidirectional: bool. Also backwards.
        use_bias: bool. The printed equations have none.

    Call args: list of float (B, T, H_l, W_l, C_l), or (B, T, C_l), lowest level first; mask bool (B, T).
    Returns: list of float (B, filters_l), twice that where bidirectional.

    Raises: ValueError: another number of levels; with `stacked` a size that no pooling brings to the next one's.

    Reference: N. Ballas et al., "Delving Deeper into Convolutional Networks for Learning Video Representations",
    ICLR 2016
    """

    def __init__(
        self,
        filters=(64, 128, 256, 256, 512),
        kernel_size=3,
        stacked=False,
        bidirectional=False,
        use_bias=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size = tuple(filters), kernel_size
        self.stacked, self.bidirectional, self.use_bias = stacked, bidirectional, use_bias
        self.supports_masking = True

    def build(self, input_shape):
        shapes = [_as_maps(shape) for shape in self._checked(input_shape)]
        self.rnns = []
        for direction in ("forward", "backward")[: 1 + self.bidirectional]:
            for level, (filters, shape) in enumerate(zip(self.filters, shapes)):
                lower = self.filters[level - 1] if self.stacked and level else 0
                if lower:
                    _ratio(shapes[level - 1], shape)
                cell = ConvGRUCell(
                    2,
                    filters,
                    1 if shape[2:4] == (1, 1) else self.kernel_size,
                    padding="same",
                    use_bias=self.use_bias,
                    lower_filters=lower,
                    dtype=self.dtype_policy,
                )
                rnn = SpatialRNN(
                    cell, return_sequences=True, go_backwards=direction == "backward", name=f"{direction}_{level}"
                )
                rnn.build((*shape[:-1], shape[-1] + lower))
                self.rnns.append(rnn)
        self.built = True

    def _checked(self, shapes):
        shapes = [shapes] if not isinstance(shapes[0], (list, tuple)) else shapes
        if len(shapes) != len(self.filters):
            raise ValueError(f"GRU-RCN of {len(self.filters)} levels takes as many maps. Received: {len(shapes)}")
        return [tuple(shape) for shape in shapes]

    def call(self, inputs, mask=None):
        maps = [inputs] if not isinstance(inputs, (list, tuple)) else inputs
        maps = [x[:, :, None, None] if len(x.shape) == 3 else x for x in maps]
        mask = next((m for m in mask if m is not None), None) if isinstance(mask, (list, tuple)) else mask
        levels = len(maps)
        forward = self._climb(self.rnns[:levels], maps, lambda rnn, x: rnn(x, mask=mask), backwards=False)
        if not self.bidirectional:
            return forward
        backward = self._climb(self.rnns[levels:], maps, lambda rnn, x: rnn(x, mask=mask), backwards=True)
        return [ops.concatenate(pair, axis=-1) for pair in zip(forward, backward)]

    def stream(self, inputs, stream):
        """What a call gives after one more step (B, 1, ...); see `keras_st.layers.streaming`."""
        if self.bidirectional:
            raise NotCausal(f"`{self.name}` also reads a clip backwards. Received: a stream of frames")
        maps = [inputs] if not isinstance(inputs, (list, tuple)) else inputs
        maps = [x[:, :, None, None] if len(x.shape) == 3 else x for x in maps]
        return self._climb(self.rnns, maps, lambda rnn, x: rnn.stream(x, stream), backwards=False)

    def _climb(self, rnns, maps, run, backwards):
        """The mean of the last hidden map of every level; `run` is how an RNN reads its maps."""
        means, hidden = [], None
        for rnn, x in zip(rnns, maps):
            if self.stacked and hidden is not None:
                # outputs of a backward level come in the order they are computed: last frame first
                below = ops.flip(hidden, 1) if backwards else hidden
                x = ops.concatenate([x, _pooled(below, _ratio(hidden.shape, x.shape))], axis=-1)
            hidden = run(rnn, x)
            means.append(ops.mean(hidden[:, -1], axis=(1, 2)))
        return means

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        batch = self._checked(input_shape)[0][0]
        return [(batch, f * (1 + self.bidirectional)) for f in self.filters]


@keras.saving.register_keras_serializable(package="keras_st")
class LevelScores(ConfigFromArguments, layers.Layer):
    """A dense classifier for every one of several vectors, averaged: list of (B, C_l) -> logits (B, classes).

    Args: classes: int; dropout: float in [0, 1), before the classifiers; average: see `ScoreAverage`.
    """

    def __init__(self, classes, dropout=0.0, average="probabilities", **kwargs):
        super().__init__(**kwargs)
        self.classes, self.dropout, self.average = classes, dropout, average
        self.dropout_layer = layers.Dropout(dropout, dtype=self.dtype_policy)
        self.score_average = ScoreAverage(average, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.classifiers = []
        for level, shape in enumerate(input_shape):
            self.classifiers.append(layers.Dense(self.classes, dtype=self.dtype_policy, name=f"logits_{level}"))
            self.classifiers[-1].build(tuple(shape))
        self.built = True

    def call(self, inputs, training=None):
        scores = [dense(self.dropout_layer(x, training=training)) for dense, x in zip(self.classifiers, inputs)]
        return self.score_average(ops.stack(scores, axis=1))

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.classes)


def _as_maps(shape):
    return (*shape[:2], 1, 1, shape[-1]) if len(shape) == 3 else shape


def _ratio(lower, shape):
    """How many rows and columns of a lower level make one of the next."""
    sizes = list(zip(lower[2:4], shape[2:4]))
    if any(None in pair or pair[0] < pair[1] or pair[0] // (pair[0] // pair[1]) != pair[1] for pair in sizes):
        raise ValueError(
            "Stacked levels need maps of known sizes that pooling by a whole factor brings to the next one's. "
            f"Received: {tuple(lower[2:4])} below {tuple(shape[2:4])}"
        )
    return tuple(a // b for a, b in sizes)


def _pooled(x, ratio):
    if ratio == (1, 1):
        return x
    batch, length, *size = ops.shape(x)
    pooled = ops.max_pool(ops.reshape(x, (batch * length, *size)), ratio, ratio, "valid", "channels_last")
    return ops.reshape(pooled, (batch, length, *ops.shape(pooled)[1:]))
