"""Recurrent layers of both directions, and deep ones with a linear path past the recurrence (fast-forward)."""

import keras
from keras import activations, initializers, layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.frame_bag import CELLS, recurrent_cell
from keras_st.layers.mixture import fresh
from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.recurrent.conv_gru import ConvGRUCell
from keras_st.layers.recurrent.conv_lstm import PeepholeLSTMCell
from keras_st.layers.recurrent.spatial_rnn import SpatialRNN

WAYS = ("forward", "backward")


@keras.saving.register_keras_serializable(package="keras_st")
class BidirectionalRNN(ConfigFromArguments, layers.Layer):
    """LSTMs or GRUs of both directions, side by side: (B, T, D) -> (B, T, 2 units).

    The backward one starts at the last real frame; outputs at masked frames mean nothing.

    Args:
        units: int. Of each direction.
        cell: "lstm" or "gru".
        peephole: bool. LSTMs with diagonal peepholes (`PeepholeLSTMCell`).

    Masking: (B, T), passed on.
    """

    def __init__(self, units, cell="lstm", peephole=False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.cell, self.peephole = units, cell, peephole
        self.rnns = []
        for way in WAYS:
            step = recurrent_cell(cell, units, "channel" if peephole else None, dtype=self.dtype_policy)
            rnn = SpatialRNN(step, return_sequences=True, go_backwards=way == "backward", name=way)
            self.rnns.append(rnn)
        self.supports_masking = True

    def build(self, input_shape):
        for rnn in self.rnns:
            rnn.build(tuple(input_shape))

    def call(self, inputs, mask=None, training=None):
        return ops.concatenate([in_order(rnn, inputs, mask, training) for rnn in self.rnns], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * self.units)


def in_order(rnn, x, mask, training):
    """The outputs of `rnn`, first frame first whichever way it runs."""
    outputs = rnn(x, mask=mask, training=training)
    return ops.flip(outputs, axis=1) if rnn.go_backwards else outputs


class FromGates:
    """Mixin of a cell without an input kernel: its input is the pre-gates."""

    def __init__(self, *args, use_input=False, **kwargs):
        if use_input:
            raise ValueError(f"`{type(self).__name__}` has no input kernel. Received: use_input={use_input}")
        super().__init__(*args, use_input=False, **kwargs)

    def project(self, inputs):
        return inputs if self.bias is None else inputs + ops.cast(self.bias, inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_st")
class GateLSTMCell(FromGates, PeepholeLSTMCell):
    """`PeepholeLSTMCell` whose input (B, 4 units) is added to the gates as it is.

    Args: units, ...: see there; output_activation: of the cell, where `activation` is of the candidate.
    """

    def __init__(self, units, output_activation="tanh", **kwargs):
        super().__init__(units, **kwargs)
        self.output_activation = activations.get(output_activation)

    def gates(self, a, c):
        i, f, g, o = ops.split(a, 4, axis=-1)
        w_ci, w_cf, w_co = self._peepholes(c)
        i, f, g = self._gate(i, w_ci, c), self._gate(f, w_cf, c), self.activation(g)
        c = f * c + i * g
        o = self._gate(o, w_co, c)
        return o * self.output_activation(c), c, [i, f, g, o]


@keras.saving.register_keras_serializable(package="keras_st")
class GateGRUCell(FromGates, ConvGRUCell):
    """`ConvGRUCell` of vectors (rank 0) whose input (B, 3 filters) is added to the gates as it is."""


@keras.saving.register_keras_serializable(package="keras_st")
class FastForwardRNN(ConfigFromArguments, layers.Layer):
    """Deep LSTM or GRU with a linear path from the input to every level: (B, T, D) -> (B, T, chains units).

    Equations, level l = 1..L, h^l of `units` values, a^l of 4 units (GRU: 3 units):
        a^1 = x W^1 + b^1            a^l = a^{l-1} F^l + h^{l-1} W^l + b^l
        h^l = LSTM(gates = a^l + h_prev U^l + c^l)
    Directions alternate with l. A first chain runs forward, backward, ..., a second one backward, forward, ...; their
    top h stand side by side. W^l, l > 1, starts at 0: at first every a^l is a linear map of x_t.

    Weights: of every level of the first chain, then of the second, path_kernel (W^1, or F^l), hidden_kernel (W^l,
    l > 1), path_bias b; then likewise the cells' recurrent_kernel U (at first normal, of
    deviation 0.01), bias c, peephole_kernel.

    Args:
        units: int.
        depth: int. L.
        chains: 1 or 2.
        cell: "lstm" or "gru" (resets first, its update gate weighs the new value).
        peephole: bool. LSTMs with diagonal peepholes.
        activation: of the candidates; the cell's output is always tanh.
        path_rate: float. F^l = path_rate V^l, and V^l is the weight: optimizers that divide by the gradient's size
            (Adam, Adadelta) then train F^l at `path_rate` times their learning rate.
        return_path: bool. a^L of every chain beside the h^L: (B, T, chains (units + 4 units)), of GRUs 3 units.
        kernel_initializer: of W^1 and F; None: normal of deviation 1 / (3 root of units).

    Masking: (B, T), passed on; a backward level starts at the last real frame.

    Differs: the released configuration starts the biases of the forget gate at 0, this one at 1. Its "depth 7" one sets
    the activation of the layer to ReLU, which in its framework is the candidate's.

    Reference: J. Zhou et al., "Deep Recurrent Models with Fast-Forward Connections for Neural Machine Translation",
    TACL 2016; F. Li et al., "Temporal Modeling Approaches for Large-scale Youtube-8M Video Understanding", 2017, and
    its code, https://github.com/baidu/Youtube-8M
    """

    def __init__(
        self,
        units,
        depth=2,
        chains=2,
        cell="lstm",
        peephole=True,
        activation="tanh",
        path_rate=1.0,
        return_path=False,
        kernel_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("units", units)
        check_positive("depth", depth)
        if chains not in (1, 2):
            raise ValueError(f"`chains` must be 1 or 2. Received: chains={chains}")
        if cell not in CELLS:
            raise ValueError(f"`cell` must be one of {CELLS}. Received: cell={cell!r}")
        if not path_rate > 0:
            raise ValueError(f"`path_rate` must be positive. Received: path_rate={path_rate}")
        self.units, self.depth, self.chains, self.cell, self.peephole = units, depth, chains, cell, peephole
        self.activation, self.path_rate, self.return_path = activations.get(activation), path_rate, return_path
        self.kernel_initializer = None if kernel_initializer is None else initializers.get(kernel_initializer)
        self.gates = (4 if cell == "lstm" else 3) * units
        self.rnns = []  # chain by chain, level by level
        for n in range(chains * depth):
            chain, level = divmod(n, depth)
            rnn = SpatialRNN(
                self._cell(),
                return_sequences=True,
                go_backwards=(level + chain) % 2 == 1,
                name=f"{cell}_{chain}_{level}",
            )
            self.rnns.append(rnn)
        self.supports_masking = True

    def _cell(self):
        options = {
            "activation": self.activation,
            "recurrent_initializer": initializers.RandomNormal(stddev=0.01),
            "dtype": self.dtype_policy,
        }
        if self.cell == "gru":
            return GateGRUCell(0, self.units, 1, **options)
        return GateLSTMCell(self.units, peephole="channel" if self.peephole else None, **options)

    def build(self, input_shape):
        *lead, size = input_shape
        self.path_kernels, self.hidden_kernels, self.path_biases = [], [], []
        for n, rnn in enumerate(self.rnns):
            deep = n % self.depth > 0
            shape = (self.gates if deep else size, self.gates)
            weight = self.add_weight(shape=shape, initializer=self._first_path(n), name=f"path_kernel_{n}")
            self.path_kernels.append(weight)
            weight = None
            if deep:
                shape = (self.units, self.gates)
                weight = self.add_weight(shape=shape, initializer="zeros", name=f"hidden_kernel_{n}")
            self.hidden_kernels.append(weight)
            weight = self.add_weight(shape=(self.gates,), initializer="zeros", name=f"path_bias_{n}")
            self.path_biases.append(weight)
            rnn.build((*lead, self.gates))

    def _first_path(self, n):
        """Initializer of V^l, such that F^l starts as `kernel_initializer` says."""
        default = initializers.RandomNormal(stddev=1.0 / (3.0 * self.units**0.5))
        initializer = fresh(self.kernel_initializer or default)
        return lambda shape, dtype=None: initializer(shape, dtype=dtype) / self._rate(n)

    def _rate(self, n):
        return self.path_rate if n % self.depth else 1.0

    def call(self, inputs, mask=None, training=None):
        tops, paths = [], []
        for chain in range(self.chains):
            path, hidden = inputs, None
            for n in range(chain * self.depth, (chain + 1) * self.depth):
                path = ops.matmul(path, self.path_kernel(n)) + self.path_biases[n]
                if hidden is not None:
                    path = path + ops.matmul(hidden, self.hidden_kernels[n])
                hidden = in_order(self.rnns[n], path, mask, training)
            tops.append(hidden)
            paths.append(path)
        return ops.concatenate(tops + (paths if self.return_path else []), axis=-1)

    def path_kernel(self, n):
        """W^1 or F^l of level `n` (those of the second chain come after those of the first)."""
        return self._rate(n) * self.path_kernels[n]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.chains * (self.units + self.gates * self.return_path))
