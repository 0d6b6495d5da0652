"""A stack that looks back: sequence-to-sequence attention over remembered maps."""

import keras
from keras import initializers, ops

from keras_st.layers.attention import SequenceAttention
from keras_st.layers.recurrent.stack import CellStack

POSITIONS = ("output", "input")


@keras.saving.register_keras_serializable(package="keras_st")
class AttentionStack(CellStack):
    """Cells on top of each other that see, at every step, a weighted sum of the maps of a memory.

    Equations (H_1 .. H_S the memory, s the top level's hidden state, p the mean over rows and columns):
        a_k = softmax over k of score(p(s), p(H_k))          c = sum_k a_k H_k
        position "output" (Luong):    s_t = stack(x_t);  output tanh(W_c * [c_t; s_t]), c_t seen from s_t
        position "input" (Bahdanau):  s_t = stack([x_t; c_t]), c_t seen from s_{t-1};  output s_t
    W_c is a 1 x 1 convolution. Keys are the memory's means, values its maps.

    States: the cells' states in order, then `remembered` (B, S, *spatial, filters of the last cell), any S, which
    a step leaves as it is. Without a first state it remembers one map of zeros.

    Args:
        cells: see `CellStack`; rank 2.
        position: "output" or "input".
        score, units, scale: see `SequenceAttention`.
        kernel_initializer: of W_c and of the score.

    Weights: the cells', then the score's, then output_kernel (2 filters, filters) at position "output".

    Reference: M.-T. Luong et al., EMNLP 2015 ("output"); D. Bahdanau et al., ICLR 2015 ("input"); both for vectors:
    the maps, pooled for the score, are ours.
    """

    independent_levels = False

    def __init__(
        self,
        cells,
        position="output",
        score="dot",
        units=None,
        scale=False,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(cells, **kwargs)
        if position not in POSITIONS:
            raise ValueError(f"`position` must be one of {POSITIONS}. Received: position={position!r}")
        ranks = [cell.rank for cell in self.cells]
        if set(ranks) != {2}:
            raise ValueError(f"Cells of an `AttentionStack` must be of rank 2. Received: ranks={ranks}")
        self.position, self.score, self.units, self.scale = position, score, units, scale
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.attention = SequenceAttention(score, units, scale, kernel_initializer, dtype=self.dtype_policy)

    def build(self, input_shape):
        filters = self.cells[-1].filters
        super().build((*input_shape[:-1], input_shape[-1] + filters) if self.position == "input" else input_shape)
        self.attention.build((input_shape[0], 1, filters), (input_shape[0], None, filters))
        if self.position == "output":
            self.output_kernel = self.add_weight(
                shape=(2 * filters, filters), initializer=self.kernel_initializer, name="output_kernel"
            )

    @property
    def state_names(self):
        return (*super().state_names, "remembered")

    def hidden_maps(self, states):
        *own, memory = states
        *lower, top = super().hidden_maps(own)
        return [*lower, self._output(top, memory)]

    def attention_weights(self, states):
        """The weights a (B, S) that the top level's hidden state among `states` gives the memory."""
        *own, memory = states
        return self._look_back(super().hidden_maps(own)[-1], memory)[1]

    def _look_back(self, hidden, memory):
        batch, length, *frame = ops.shape(memory)
        query, keys = ops.mean(hidden, axis=(1, 2))[:, None], ops.mean(memory, axis=(2, 3))
        seen, weights = self.attention(query, keys, ops.reshape(memory, (batch, length, -1)), return_attention=True)
        return ops.reshape(seen, (batch, *frame)), weights[:, 0]

    def _output(self, hidden, memory):
        if self.position == "input":
            return hidden
        seen, _ = self._look_back(hidden, memory)
        return ops.tanh(ops.matmul(ops.concatenate([seen, hidden], axis=-1), self.output_kernel))

    def project_sequence(self, inputs, noise=None):
        return inputs if self.position == "input" else super().project_sequence(inputs, noise)

    def step(self, x, states, noise=None):
        *own, memory = states
        if self.position == "input":
            seen, _ = self._look_back(super().hidden_maps(own)[-1], memory)
            x = super().project_sequence(ops.concatenate([x, seen], axis=-1)[None], noise)[0]
        hidden, own = super().step(x, own, noise)
        return self._output(hidden, memory), [*own, memory]

    def sample_noise(self, inputs, states):
        *own, memory = states
        if self.position == "input":
            inputs = ops.concatenate([inputs, memory[:, 0]], axis=-1)
        return super().sample_noise(inputs, own)

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        own = super().get_initial_state(batch_size, spatial_shape, num_steps)
        return [*own, ops.zeros_like(self.split_states(own)[-1][0])[:, None]]

    def compute_output_shape(self, input_shape, states_shape=None):
        output, own = super().compute_output_shape(input_shape)
        return output, [*own, (output[0], None, *output[1:])]
