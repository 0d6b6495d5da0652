"""One vector of a video out of vectors of its frames: streams, samples, attention, bags of frames, NetVLAD's family.

Frames come as (B, T, D), the mask of real frames as bool (B, T); what lies in masked frames changes nothing.
"""

import keras
from keras import initializers, layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.mixture import fan_in
from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.recurrent.conv_gru import ConvGRUCell
from keras_st.layers.recurrent.conv_lstm import PeepholeLSTMCell
from keras_st.layers.recurrent.spatial_rnn import SpatialRNN
from keras_st.layers.streaming import streamed
from keras_st.layers.temporal import TemporalPool
from keras_st.ops.attention import masked_softmax

METHODS = ("frames", "run")
POOLINGS = ("max", "mean")
ACTIVATIONS = ("sigmoid", "relu6")
CELLS = ("lstm", "gru")


def unit(x, axis=-1):
    """x / |x|; zeros stay zeros."""
    dtype = x.dtype
    x = ops.cast(x, keras.backend.result_type(dtype, "float32"))  # 1e-12 is 0 in half precision
    return ops.cast(x * ops.rsqrt(ops.maximum(ops.sum(x * x, axis=axis, keepdims=True), 1e-12)), dtype)


def called(layer, x, mask, training):
    """`layer` on `x`, told what it takes of mask and training."""
    kwargs = {"training": training} if layer._call_has_training_arg else {}
    if mask is not None and layer._call_has_mask_arg:
        kwargs["mask"] = mask
    return layer(x, **kwargs)


def real_frames(mask, batch, length):
    """Indices of all frames (B, T), the real ones first and in order, None where all are; their number (B, 1)."""
    if mask is None:
        return None, length * ops.ones((batch, 1), dtype="int32")
    place = ops.broadcast_to(ops.arange(length, dtype="int32")[None], ops.shape(mask))
    order = ops.argsort(ops.where(mask, place, place + length), axis=1)
    return order, ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)


def gathered(x, index, order=None):
    """Frames of x (B, T, D) at places `index` (B, N) of those in `order` (B, T), None: of all: (B, N, D)."""
    batch, length = ops.shape(x)[:2]
    index = ops.cast(index, "int32")
    if order is not None:
        index = ops.take_along_axis(ops.cast(order, "int32"), index, axis=1)
    rows = index + length * ops.arange(batch, dtype="int32")[:, None]
    return ops.take(ops.reshape(x, (batch * length, x.shape[-1])), rows, axis=0)


@keras.saving.register_keras_serializable(package="keras_st")
class FrameChain(ConfigFromArguments, layers.Layer):
    """Layers one after the other, told of the mask of frames as long as there are frames.

    `keras.Sequential` told of a mask warns, and hands it on to layers of vectors.

    Args: parts: list of layers of one input and one output. Masking: (B, T).
    """

    def __init__(self, parts=(), **kwargs):
        super().__init__(**kwargs)
        self.parts = list(parts)
        self.supports_masking = True

    def build(self, input_shape):
        self.build_parts(tuple(input_shape))

    def build_parts(self, shape):
        """Builds all parts; returns the shape of what they give."""
        for part in self.parts:
            if not part.built:
                part.build(shape)
            shape = tuple(part.compute_output_shape(shape))
        return shape

    def run(self, x, mask, training):
        """What the parts give, and its mask."""
        mask = mask if len(x.shape) > 2 else None
        for part in self.parts:
            x, mask = called(part, x, mask, training), part.compute_mask(x, mask)
            mask = mask if len(x.shape) > 2 else None
        return x, mask

    def call(self, inputs, mask=None, training=None):
        return self.run(inputs, mask, training)[0]

    def stream(self, inputs, stream):
        """What a call gives after one more frame (B, 1, D); see `keras_st.layers.streaming`."""
        for part in self.parts:
            inputs = streamed(part, inputs, stream) if len(inputs.shape) > 2 else part(inputs)
        return inputs

    def compute_mask(self, inputs, mask=None):
        return None  # frames may be others, or gone

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        for part in self.parts:
            shape = tuple(part.compute_output_shape(shape))
        return shape

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("parts", "apart"):
            if config.get(name) is not None:
                config[name] = [keras.saving.deserialize_keras_object(part) for part in config[name]]
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_st")
class FrameStreams(FrameChain):
    """Vectors of several streams side by side, what reads them together, then what reads each one's part.

    Equations: x_t = [x_t^1; x_t^2; ...], divided by its length with `normalize` (the starter code's models do so, those
    of `offline` do not).

    Args:
        parts: list of layers, one after the other, on all streams joined: (B, T, D1 + D2 + ...).
        apart: None, or a layer for every stream, on its columns of what `parts` gave; what they give is joined.
        normalize: bool.

    Call args: list of float (B, T, D_i), or of one stream the tensor; of whole videos (B, D_i). Mask bool (B, T).

    Raises: ValueError: `apart` of another number of layers than there are streams.
    """

    def __init__(self, parts=(), apart=None, normalize=False, **kwargs):
        super().__init__(parts, **kwargs)
        self.apart, self.normalize = None if apart is None else list(apart), normalize

    def build(self, input_shape):
        shapes = self._checked(input_shape)
        self.sizes = [shape[-1] for shape in shapes]
        shape = self.build_parts((*shapes[0][:-1], sum(self.sizes)))
        for layer, size in zip(self.apart or (), self.sizes):
            if not layer.built:
                layer.build((*shape[:-1], size))

    def _checked(self, shapes):
        shapes = [shapes] if not isinstance(shapes[0], (list, tuple)) else shapes
        if self.apart is not None and len(shapes) != len(self.apart):
            raise ValueError(f"`apart` must be a layer for each of {len(shapes)} streams. Received: {len(self.apart)}")
        return [tuple(shape) for shape in shapes]

    def call(self, inputs, mask=None, training=None):
        mask = next((m for m in mask if m is not None), None) if isinstance(mask, (list, tuple)) else mask
        x, mask = self.run(self._joined(inputs), mask, training)
        return self._apart(x, lambda layer, own: called(layer, own, mask, training))

    def stream(self, inputs, stream):
        """What a call gives after one more frame (B, 1, D_i) of each; see `keras_st.layers.streaming`."""
        x = super().stream(self._joined(inputs), stream)
        return self._apart(x, lambda layer, own: streamed(layer, own, stream))

    def _joined(self, inputs):
        x = ops.concatenate(inputs, axis=-1) if isinstance(inputs, (list, tuple)) else inputs
        return unit(x) if self.normalize else x

    def _apart(self, x, run):
        """What the layers of `apart` give for their columns, joined; `run` is how one reads them."""
        if self.apart is None:
            return x
        outputs, first = [], 0
        for layer, size in zip(self.apart, self.sizes):
            outputs.append(run(layer, x[..., first : first + size]))
            first += size
        return ops.concatenate(outputs, axis=-1)

    def compute_output_shape(self, input_shape):
        shapes = self._checked(input_shape)
        shape = super().compute_output_shape((*shapes[0][:-1], sum(s[-1] for s in shapes)))
        if self.apart is None:
            return shape
        parts = [layer.compute_output_shape((*shape[:-1], s[-1])) for layer, s in zip(self.apart, shapes)]
        return (*parts[0][:-1], sum(part[-1] for part in parts))


@keras.saving.register_keras_serializable(package="keras_st")
class FrameSample(ConfigFromArguments, layers.Layer):
    """So many frames of every video: (B, T, D) -> (B, frames, D), real ones only.

    Training draws: "frames" each at random, with replacement; "run" a run of consecutive frames with a random start,
    its last frame repeated where the video is shorter. Inference draws nothing: frame floor((n + 1/2) L / frames) of
    the L real ones, for n from 0. A video without a real frame gives zeros, which are masked.

    Args:
        frames: int.
        method: "frames" or "run".
        ordered: bool. Frames drawn at random are put in order: for what reads them as a sequence.
        seed: int or None.

    Differs: the released codes draw at inference as well, and never sort.
    """

    def __init__(self, frames=30, method="frames", ordered=False, seed=None, **kwargs):
        super().__init__(**kwargs)
        check_positive("frames", frames)
        if method not in METHODS:
            raise ValueError(f"`method` must be one of {METHODS}. Received: method={method!r}")
        self.frames, self.method, self.ordered, self.seed = frames, method, ordered, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs, mask=None, training=None):
        batch, length = ops.shape(inputs)[:2]
        order, count = real_frames(mask, batch, length)
        steps = ops.arange(self.frames, dtype="int32")[None]
        if not training:
            index = (2 * steps + 1) * count // (2 * self.frames)
        elif self.method == "run":
            starts = ops.maximum(count - self.frames, 0) + 1
            index = self._below(starts, (batch, 1)) + steps
        else:
            index = self._below(count, (batch, self.frames))
            index = ops.sort(index, axis=1) if self.ordered else index
        x = gathered(inputs, ops.maximum(ops.minimum(index, count - 1), 0), order)
        return x if mask is None else ops.where(count[..., None] > 0, x, ops.zeros_like(x))

    def _below(self, limits, shape):
        """Random ints from 0 up to, not including, `limits`."""
        share = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        return ops.minimum(ops.cast(share * ops.cast(limits, "float32"), "int32"), limits - 1)

    def compute_mask(self, inputs, mask=None):
        if mask is None:
            return None
        mask = ops.any(mask, axis=1, keepdims=True)
        return ops.broadcast_to(mask, (ops.shape(mask)[0], self.frames))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.frames, *input_shape[2:])


@keras.saving.register_keras_serializable(package="keras_st")
class FrameAttention(ConfigFromArguments, layers.Layer):
    """A weighted mean of frames, the weights a softmax of a score that has no query: (B, T, C) -> (B, C).

    Equations: a = softmax_t(w . h_t), y = sum_t a_t h_t. With w = 0 it is the mean.

    Call args: float (B, T, C); mask bool (B, T): other frames get weight 0, without any y is 0; `return_attention` also
    returns the weights (B, T).

    Reference: the `offline` team's models for YouTube-8M, https://github.com/baidu/Youtube-8M
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        self.vector = self.add_weight(shape=(input_shape[-1], 1), initializer="glorot_uniform", name="vector")

    def call(self, inputs, mask=None, return_attention=False):
        weights = masked_softmax(ops.matmul(inputs, self.vector)[..., 0], mask)
        output = ops.matmul(weights[:, None], inputs)[:, 0]
        return (output, weights) if return_attention else output

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None, return_attention=False):
        output = keras.KerasTensor((inputs.shape[0], inputs.shape[-1]), self.compute_dtype)
        return (output, keras.KerasTensor(inputs.shape[:2], self.compute_dtype)) if return_attention else output

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])


@keras.saving.register_keras_serializable(package="keras_st")
class FinalStates(ConfigFromArguments, layers.Layer):
    """LSTMs or GRUs on top of each other, and how they end: (B, T, D) -> (B, units).

    The hidden state of the top one at the last real frame; with `every` all states of all layers, from the lowest
    (hidden and cell of an LSTM): (B, 2 layers units) of LSTMs, (B, layers units) of GRUs.

    Args:
        units: int.
        num_layers: int.
        cell: "lstm" (the forget bias starts at 1) or "gru".
        every: bool.
    """

    def __init__(self, units=1024, num_layers=2, cell="lstm", every=False, **kwargs):
        super().__init__(**kwargs)
        check_positive("num_layers", num_layers)
        self.units, self.num_layers, self.cell, self.every = units, num_layers, cell, every
        self.rnns = []
        for n in range(num_layers):
            steps = n < num_layers - 1
            step = recurrent_cell(cell, units, dtype=self.dtype_policy)
            self.rnns.append(SpatialRNN(step, return_sequences=steps, return_state=True, name=f"{cell}_{n}"))
        self.supports_masking = True

    def build(self, input_shape):
        for rnn in self.rnns:
            rnn.build(tuple(input_shape))
            input_shape = (*input_shape[:-1], self.units)

    def call(self, inputs, mask=None, training=None):
        states = []
        for rnn in self.rnns:
            inputs, *own = rnn(inputs, mask=mask, training=training)
            states += own
        return ops.concatenate(states, axis=-1) if self.every else inputs

    def stream(self, inputs, stream):
        """What a call gives after one more frame (B, 1, D); see `keras_st.layers.streaming`."""
        before = len(stream.last)
        for rnn in self.rnns:
            inputs = rnn.stream(inputs, stream)
        return ops.concatenate(stream.last[before:], axis=-1) if self.every else inputs

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        states = self.num_layers * (2 if self.cell == "lstm" else 1) if self.every else 1
        return (input_shape[0], states * self.units)


def recurrent_cell(cell, units, peephole=None, **kwargs):
    """A cell of vectors: "lstm", with or without `peephole`, or "gru" (`ConvGRUCell`, as its docstring has it)."""
    if cell not in CELLS:
        raise ValueError(f"`cell` must be one of {CELLS}. Received: cell={cell!r}")
    if cell == "gru":
        return ConvGRUCell(0, units, 1, **kwargs)
    return PeepholeLSTMCell(units, peephole=peephole, **kwargs)


@keras.saving.register_keras_serializable(package="keras_st")
class DeepBagOfFrames(ConfigFromArguments, layers.Layer):
    """Deep bag of frames: (B, T, D) -> (B, units).

    Equations, BN a batch normalisation over real frames, s the activation:
        a_t = s(BN(BN(x_t) W))        y = s(BN((max_t a_t) V))

    Weights: kernel (D, clusters), hidden_kernel (clusters, units), those of three normalisations. Trained parameters
    D clusters + clusters units + 2 (D + clusters + units).

    Args:
        clusters: int. Columns of W.
        units: int. Columns of V.
        pooling: "max" or "mean", over real frames.
        activation: "sigmoid" or "relu6".
        momentum: float. Of the normalisations' moving statistics (the released code's is 0.999).

    Masking: (B, T); frames are usually drawn before (`FrameSample`).

    Reference: S. Abu-El-Haija et al., "YouTube-8M: A Large-Scale Video Classification Benchmark", 2016
    """

    def __init__(self, clusters=8192, units=1024, pooling="max", activation="sigmoid", momentum=0.99, **kwargs):
        super().__init__(**kwargs)
        check_positive("clusters", clusters)
        check_positive("units", units)
        for name, value, known in (("pooling", pooling, POOLINGS), ("activation", activation, ACTIVATIONS)):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")
        self.clusters, self.units, self.pooling, self.activation = clusters, units, pooling, activation
        self.momentum = momentum
        options = {"momentum": momentum, "dtype": self.dtype_policy}
        self.input_norm = layers.BatchNormalization(name="input_norm", **options)
        self.cluster_norm = layers.BatchNormalization(name="cluster_norm", **options)
        self.hidden_norm = layers.BatchNormalization(name="hidden_norm", **options)
        self.pool = TemporalPool(pooling, dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, input_shape):
        batch, length, size = input_shape
        self.kernel = self.add_weight(shape=(size, self.clusters), initializer=fan_in(), name="kernel")
        self.hidden_kernel = self.add_weight(
            shape=(self.clusters, self.units), initializer=fan_in(), name="hidden_kernel"
        )
        self.input_norm.build((batch, length, size))
        self.cluster_norm.build((batch, length, self.clusters))
        self.hidden_norm.build((batch, self.units))

    def call(self, inputs, mask=None, training=None):
        activation = getattr(ops, self.activation)
        x = self.input_norm(inputs, training=training, mask=mask)
        x = activation(self.cluster_norm(ops.matmul(x, self.kernel), training=training, mask=mask))
        x = ops.matmul(self.pool(x, mask=mask), self.hidden_kernel)
        return activation(self.hidden_norm(x, training=training))

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.units)


class SoftClusters(ConfigFromArguments, layers.Layer):
    """What NetVLAD and its kin share: frames are shares of clusters, `a_t = softmax(BN(x_t W))`.

    A subclass adds its weights in `build` and makes one vector of a video in `encode`, from a (B, T, K), 0 for masked
    frames, and x (B, T, D). Weights: kernel W (D, K), the subclass's, those of the normalisations.

    Args:
        clusters: int. K.
        momentum: float. Of the normalisations' moving statistics (the released code's is 0.999).

    Masking: (B, T).

    Reference: A. Miech et al., "Learnable pooling with Context Gating for video classification", 2017, and its code
    """

    def __init__(self, clusters=256, momentum=0.99, **kwargs):
        super().__init__(**kwargs)
        check_positive("clusters", clusters)
        self.clusters, self.momentum = clusters, momentum
        self.norm = layers.BatchNormalization(momentum=momentum, dtype=self.dtype_policy, name="norm")
        self.supports_masking = True

    def build(self, input_shape):
        batch, length, size = input_shape
        self.kernel = self.add_weight(shape=(size, self.clusters), initializer=fan_in(), name="kernel")
        self.norm.build((batch, length, self.clusters))

    def add_matrix(self, name, rows, columns, inputs, mean=0.0, **options):
        """A weight of normal values of deviation 1 / root of `inputs`."""
        initializer = initializers.RandomNormal(mean, inputs**-0.5)
        return self.add_weight(shape=(rows, columns), initializer=initializer, name=name, **options)

    def call(self, inputs, mask=None, training=None):
        shares = ops.softmax(self.norm(ops.matmul(inputs, self.kernel), training=training, mask=mask), axis=-1)
        if mask is not None:
            shares = shares * ops.cast(mask, shares.dtype)[..., None]
        return self.encode(shares, inputs, training)

    def encode(self, shares, inputs, training):
        raise NotImplementedError(f"`{type(self).__name__}` does not define `encode`.")

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.clusters)


def sums(shares, x):
    """sum_t a_tk x_t: (B, K, D)."""
    return ops.matmul(ops.swapaxes(shares, 1, 2), x)


def flat(x):
    """(B, K, D) -> (B, K D)."""
    return ops.reshape(x, (ops.shape(x)[0], x.shape[1] * x.shape[2]))


@keras.saving.register_keras_serializable(package="keras_st")
class NetRVLAD(SoftClusters):
    """NetVLAD without centres ("light VLAD"): (B, T, D) -> (B, K D).

    Equations: V_k = sum_t a_tk x_t, each a unit vector; all of them as one, a unit vector again. See `SoftClusters`.
    """

    def encode(self, shares, inputs, training):
        return unit(flat(unit(self.residuals(shares, inputs))))

    def residuals(self, shares, inputs):
        """V_k before they are unit vectors: (B, K, D)."""
        return sums(shares, inputs)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.clusters * input_shape[-1])


@keras.saving.register_keras_serializable(package="keras_st")
class NetVLAD(NetRVLAD):
    """NetVLAD: sums of differences from centres, (B, T, D) -> (B, K D).

    Equations: V_k = sum_t a_tk (x_t - c_k), each a unit vector; all of them as one, a unit vector again. c is a matrix
    of its own, (K, D). See `SoftClusters`. Trained parameters 2 K D + 2 K.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.centres = self.add_matrix("centres", self.clusters, input_shape[-1], input_shape[-1])

    def residuals(self, shares, inputs):
        return sums(shares, inputs) - ops.sum(shares, axis=1)[..., None] * self.centres


@keras.saving.register_keras_serializable(package="keras_st")
class NetFV(SoftClusters):
    """Fisher vectors, first and second order: (B, T, D) -> (B, 2 K D).

    Equations, c and w matrices (K, D), s = w^2 + 1e-6:
        U_k = sum_t a_tk (x_t - c_k) / s_k          V_k = sum_t a_tk ((x_t - c_k)^2 / s_k^2 - 1)
    U_k each a unit vector, then all of U; all of V (not each V_k, as in the released code). See `SoftClusters`. Trained
    parameters 3 K D + 2 K.

    Differs: c is free, as in NetVLAD; the released code can also tie it to W.
    """

    def build(self, input_shape):
        super().build(input_shape)
        size = input_shape[-1]
        self.centres = self.add_matrix("centres", self.clusters, size, size, autocast=False)
        self.scales = self.add_matrix("scales", self.clusters, size, size, mean=1.0, autocast=False)

    def encode(self, shares, inputs, training):
        dtype = keras.backend.result_type(inputs.dtype, "float32")  # 1 / s^2 is large
        shares, inputs = ops.cast(shares, dtype), ops.cast(inputs, dtype)
        c, s = ops.cast(self.centres, dtype), ops.cast(self.scales, dtype) ** 2 + 1e-6
        total, first = ops.sum(shares, axis=1)[..., None], sums(shares, inputs)
        second = (sums(shares, inputs * inputs) - 2 * c * first + c * c * total) / (s * s) - total
        first = (first - c * total) / s
        output = ops.concatenate([unit(flat(unit(first))), unit(flat(second))], axis=-1)
        return ops.cast(output, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2 * self.clusters * input_shape[-1])


@keras.saving.register_keras_serializable(package="keras_st")
class SoftDBoW(SoftClusters):
    """Soft bag of words: sum_t a_t, a unit vector, (B, T, D) -> (B, K). See `SoftClusters`."""

    def encode(self, shares, inputs, training):
        return unit(ops.sum(shares, axis=1))


@keras.saving.register_keras_serializable(package="keras_st")
class GatedDBoF(SoftClusters):
    """Gated bag of frames: (B, T, D) -> (B, K).

    Equations: g = s(BN(unit(max_t a_t) Wa Wb)), y = unit(g . sum_t a_t); Wa (K, D), Wb (D, K). See `SoftClusters`.
    """

    def __init__(self, clusters=256, momentum=0.99, **kwargs):
        super().__init__(clusters, momentum, **kwargs)
        self.gate_norm = layers.BatchNormalization(momentum=momentum, dtype=self.dtype_policy, name="gate_norm")

    def build(self, input_shape):
        super().build(input_shape)
        size = input_shape[-1]
        self.down = self.add_matrix("down", self.clusters, size, size)
        self.up = self.add_matrix("up", size, self.clusters, size)
        self.gate_norm.build((input_shape[0], self.clusters))

    def encode(self, shares, inputs, training):
        gates = ops.matmul(ops.matmul(unit(ops.max(shares, axis=1)), self.down), self.up)
        gates = ops.sigmoid(self.gate_norm(gates, training=training))
        return unit(gates * ops.sum(shares, axis=1))
