"""Levels of different time scales: clocked (some levels tick more slowly) and chunked (a level over summaries)."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments, with_dtype_of
from keras_st.layers.recurrent.spatial_rnn import SpatialRNN
from keras_st.layers.recurrent.stack import CellStack
from keras_st.ops.axes import merge_leading, split_leading


@keras.saving.register_keras_serializable(package="keras_st")
class ClockStack(CellStack):
    """Cells on coarser and coarser maps, each updated every `period` steps only (hierarchical ConvLSTM, clock form).

    Level l reads the hidden state of level l - 1, average-pooled. At step t (from 0) it is updated where
    t mod period_l = 0; otherwise its states are held. The output is every level's hidden state, enlarged to the lowest
    level's size and joined: (B, *spatial, sum of filters).

    States: every cell's states in order, then `clock` (B,) int32, the number of steps done, from 0.

    Args:
        cells: cells of rank 2, stride 1, "same" padding, lowest first.
        periods: one int a level, the first 1.
        pool: int. Pooling between levels.

    Differs: a level that does not tick is computed and discarded; fixed shapes are kept that way.

    Reference: after A. Villar-Corrales et al., "MSPred", BMVC 2022 (periods 1, 4, 8; its encoder maps and stochastic
    parts are not here).
    """

    independent_levels = False

    def __init__(self, cells, periods=(1, 2), pool=2, **kwargs):
        super().__init__(cells, **kwargs)
        periods = tuple(periods)
        if len(periods) != len(self.cells) or periods[0] != 1 or any(p != int(p) or p < 1 for p in periods):
            raise ValueError(
                f"`periods` needs one int a level ({len(self.cells)}), the first 1. Received: periods={periods}"
            )
        if pool < 1:
            raise ValueError(f"`pool` must be at least 1. Received: pool={pool}")
        self.periods = periods
        self.pool = pool

    def build(self, input_shape):
        for cell in self.cells:
            if not cell.built:
                cell.build(input_shape)
            output, _ = cell.compute_output_shape(input_shape)
            if output[1:-1] != tuple(input_shape[1:-1]):
                raise ValueError(f"Cells of a `ClockStack` must keep the size of a map. Received: {cell.name}")
            input_shape = self._pooled_shape(output)
        self.built = True

    def _pooled(self, x):
        return ops.average_pool(x, self.pool, strides=self.pool, padding="same", data_format="channels_last")

    def _pooled_shape(self, shape):
        return (shape[0], *(size and -(-size // self.pool) for size in shape[1:-1]), shape[-1])

    @property
    def state_names(self):
        return (*super().state_names, "clock")

    def hidden_maps(self, states):
        maps = super().hidden_maps(states)
        _, height, width, _ = ops.shape(maps[0])
        factors = [self.pool**level for level in range(len(maps))]
        return [ops.repeat(ops.repeat(m, f, 1), f, 2)[:, :height, :width] for m, f in zip(maps, factors)]

    def step(self, x, states, noise=None):
        clock, new_states = states[-1], []
        for n, (cell, own) in enumerate(zip(self.cells, self.split_states(states))):
            own_noise = noise and noise[n]
            if n:
                x = self._pooled(x)
                x = cell.project_sequence(x[None], own_noise)[0]
            _, new = cell.step(x, own, own_noise)
            tick = ops.reshape(clock % self.periods[n] == 0, (-1, 1, 1, 1))
            own = [ops.where(tick, a, b) for a, b in zip(new, own)]
            x = own[0]
            new_states += own
        new_states.append(clock + 1)
        return ops.concatenate(self.hidden_maps(new_states), axis=-1), new_states

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        states = []
        for cell in self.cells:
            own = cell.get_initial_state(batch_size, spatial_shape, num_steps)
            spatial_shape = tuple((size + self.pool - 1) // self.pool for size in ops.shape(own[0])[1:-1])
            states += own
        return [*states, ops.zeros((batch_size,), dtype="int32")]

    def get_initial_output(self, batch_size, spatial_shape=None):
        return ops.concatenate(self.hidden_maps(self.get_initial_state(batch_size, spatial_shape)), axis=-1)

    def sample_noise(self, inputs, states):
        noise = []
        for cell, own in zip(self.cells, self.split_states(states)):
            noise.append(cell.sample_noise(inputs, own))
            inputs = self._pooled(own[0])
        return None if all(n is None for n in noise) else noise

    def compute_output_shape(self, input_shape, states_shape=None):
        states, lowest = [], None
        for cell in self.cells:
            output, own = cell.compute_output_shape(input_shape)
            lowest = lowest or output
            states += own
            input_shape = self._pooled_shape(output)
        filters = sum(cell.filters for cell in self.cells)
        return (*lowest[:-1], filters), [*states, (input_shape[0],)]


@keras.saving.register_keras_serializable(package="keras_st")
class ChunkedRNN(ConfigFromArguments, layers.Layer):
    """A lower cell reads chunks of frames from zero states, an upper cell reads the chunks' last outputs.

    The chunk form of a hierarchical ConvLSTM: (B, T, H, W, C) -> (B, ceil(T / chunk_frames), H', W', filters of upper).
    A last, shorter chunk is padded and masked, so it counts with the frames it has.

    Args:
        lower, upper: cells.
        chunk_frames: int. Frames a chunk.

    Call args: float (B, T, H, W, C). `mask` bool (B, T): masked frames leave the lower state unchanged, chunks of
    masked frames the upper one.

    Reference: after P. Pan et al., "Hierarchical Recurrent Neural Encoder", CVPR 2016.
    """

    def __init__(self, lower, upper, chunk_frames, **kwargs):
        super().__init__(**with_dtype_of([lower, upper], kwargs))
        if not isinstance(chunk_frames, int) or chunk_frames < 1:
            raise ValueError(f"`chunk_frames` must be a positive int. Received: chunk_frames={chunk_frames}")
        self.lower = lower
        self.upper = upper
        self.chunk_frames = chunk_frames
        self.lower_rnn = SpatialRNN(lower)
        self.upper_rnn = SpatialRNN(upper, return_sequences=True)
        self.supports_masking = True

    def build(self, input_shape):
        self.lower_rnn.build((None, self.chunk_frames, *input_shape[2:]))
        summary = self.lower_rnn.compute_output_shape((None, self.chunk_frames, *input_shape[2:]))
        self.upper_rnn.build((input_shape[0], None, *summary[1:]))
        self.built = True

    def call(self, inputs, mask=None, training=False):
        n = self.chunk_frames
        counts = self.compute_mask(inputs, mask)
        batch, length, *frame = ops.shape(inputs)
        chunks = (length + n - 1) // n
        missing = chunks * n - length
        if mask is not None or not isinstance(missing, int) or missing:
            mask = ops.ones((batch, length), dtype="bool") if mask is None else ops.cast(mask, "bool")
            mask = ops.reshape(ops.pad(mask, [(0, 0), (0, missing)]), (batch * chunks, n))
            inputs = ops.pad(inputs, [(0, 0), (0, missing), *[(0, 0)] * len(frame)])
        inputs = merge_leading(ops.reshape(inputs, (batch, chunks, n, *frame)))
        summaries = self.lower_rnn(inputs, mask=mask, training=training)
        return self.upper_rnn(split_leading(summaries, batch, chunks), mask=counts, training=training)

    def compute_mask(self, inputs, mask=None):
        """Chunks that hold a frame that counts, (B, chunks)."""
        if mask is None:
            return None
        batch, length = ops.shape(mask)
        mask = ops.pad(ops.cast(mask, "bool"), [(0, 0), (0, -length % self.chunk_frames)])
        return ops.any(ops.reshape(mask, (batch, -1, self.chunk_frames)), axis=-1)

    def compute_output_shape(self, input_shape):
        chunks = input_shape[1] and -(-input_shape[1] // self.chunk_frames)
        summary = self.lower_rnn.compute_output_shape((None, self.chunk_frames, *input_shape[2:]))
        return self.upper_rnn.compute_output_shape((input_shape[0], chunks, *summary[1:]))

    @classmethod
    def from_config(cls, config):
        cells = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("lower", "upper")}
        return cls(**{**config, **cells})
