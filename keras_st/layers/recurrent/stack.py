"""Several cells as one."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments, with_dtype_of


@keras.saving.register_keras_serializable(package="keras_st")
class CellStack(ConfigFromArguments, layers.Layer):
    """Cells on top of each other, run as one cell: the output of each is the input of the next.

    States are the cells' states in order, in one flat list. Run by `SpatialRNN`, only the lowest cell's input
    transform leaves the loop; for a whole known sequence, one `SpatialRNN` a cell is faster.

    Args:
        cells: non-empty list of cells.
    """

    independent_levels = True  # a level needs only the level below, so levels may run one after the other

    def __init__(self, cells, **kwargs):
        if not cells:
            raise ValueError(f"`cells` must hold at least one cell. Received: cells={cells}")
        super().__init__(**with_dtype_of(cells, kwargs))
        self.cells = list(cells)

    def build(self, input_shape):
        for cell in self.cells:
            if not cell.built:
                cell.build(input_shape)
            input_shape, _ = cell.compute_output_shape(input_shape)
        self.built = True

    @property
    def state_names(self):
        return tuple(f"{name}_{n}" for n, cell in enumerate(self.cells) for name in cell.state_names)

    def split_states(self, states):
        """The flat list as one list a cell."""
        states, parts = list(states), []
        for cell in self.cells:
            n = len(cell.state_names)
            parts.append(states[:n])
            states = states[n:]
        return parts

    def hidden_maps(self, states):
        """Every level's hidden state, the first of its own."""
        return [own[0] for own in self.split_states(states)]

    @property
    def map_channels(self):
        """Channels of every level's hidden map."""
        return [cell.filters for cell in self.cells]

    def top_mean(self, states):
        """The top level's hidden state, averaged over all positions: (B, filters)."""
        hidden = self.split_states(states)[-1][0]
        return ops.mean(hidden, axis=tuple(range(1, len(hidden.shape) - 1)))

    def with_cells(self, cells):
        """A stack of this kind with other cells."""
        own = {name: value for name, value in self.get_config().items() if name not in ("cells", "name")}
        return type(self)(cells, **own)

    def project_sequence(self, inputs, noise=None):
        return self.cells[0].project_sequence(inputs, noise and noise[0])

    def run(self, inputs, states, noise=None, from_zero=False):
        """None: the steps of the levels interleave."""

    def step(self, x, states, noise=None):
        new_states = []
        for n, (cell, own) in enumerate(zip(self.cells, self.split_states(states))):
            own_noise = noise and noise[n]
            if n:
                x = cell.project_sequence(x[None], own_noise)[0]
            x, own = cell.step(x, own, own_noise)
            new_states += own
        return x, new_states

    def call(self, inputs, states, training=None):
        noise = self.sample_noise(inputs, states) if training else None
        return self.step(self.project_sequence(inputs[None], noise)[0], states, noise)

    def sample_noise(self, inputs, states):
        noise = []
        for cell, own in zip(self.cells, self.split_states(states)):
            noise.append(cell.sample_noise(inputs, own))
            inputs = own[0]
        return None if all(n is None for n in noise) else noise

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        states = []
        for cell in self.cells:
            own = cell.get_initial_state(batch_size, spatial_shape, num_steps)
            spatial_shape = ops.shape(own[0])[1:-1]
            states += own
        return states

    def get_initial_output(self, batch_size, spatial_shape=None):
        for cell in self.cells:
            output = cell.get_initial_output(batch_size, spatial_shape)
            spatial_shape = ops.shape(output)[1:-1]
        return output

    def compute_output_shape(self, input_shape, states_shape=None):
        states = []
        for cell in self.cells:
            input_shape, own = cell.compute_output_shape(input_shape)
            states += own
        return input_shape, states

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["cells"] = [keras.saving.deserialize_keras_object(cell) for cell in config["cells"]]
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_st")
class ZigZagStack(CellStack):
    """Cells that share one memory: it climbs the stack within a step and enters the bottom again at the next.

        M enters level 1 as it left the top level a step ago; level k hands it, updated, to level k + 1.

    States: every level's own states in order, then `memory` (B, *spatial, filters), once; with `decoupling` then
    `decoupling` (B,), the sum over the steps so far of D, with d the increments of C and M and A the shared 1 x 1
    adapter:
        D = mean over levels and channels of |cos(A dC, A dM)|, the cosine of the two maps over all positions
    Divided by the steps and weighted (0.1), D joins the loss of PredRNN-V2.

    Args:
        cells: cells whose last state is `memory`, all of the same `filters` and of stride 1.
        decoupling: bool. Sum up D; the cells are `STLSTMCell`s.

    Raises:
        ValueError: cells without a memory, or of different width (the memory crosses all levels).

    Reference: Y. Wang et al., "PredRNN", NeurIPS 2017, figure 2; Y. Wang et al., "PredRNN: A Recurrent Neural Network
    for Spatiotemporal Predictive Learning", TPAMI 2022 (decoupling).
    """

    independent_levels = False

    def __init__(self, cells, decoupling=False, **kwargs):
        super().__init__(cells, **kwargs)
        self.decoupling = decoupling
        if decoupling and not all(hasattr(cell, "update") for cell in self.cells):
            kinds = [type(cell).__name__ for cell in self.cells]
            raise ValueError(f"`decoupling` needs `STLSTMCell`s. Received: cells={kinds}")
        if any(cell.state_names[-1] != "memory" for cell in self.cells):
            names = [cell.state_names for cell in self.cells]
            raise ValueError(f"Cells of a `ZigZagStack` need `memory` as their last state. Received: states={names}")
        if len({cell.filters for cell in self.cells}) > 1:
            widths = [cell.filters for cell in self.cells]
            raise ValueError(f"Cells of a `ZigZagStack` share one memory, so one width. Received: filters={widths}")

    def build(self, input_shape):
        super().build(input_shape)
        if self.decoupling:
            filters = self.cells[0].filters
            self.adapter_kernel = self.add_weight(shape=(filters, filters), name="adapter_kernel")

    @property
    def state_names(self):
        own = (f"{name}_{n}" for n, cell in enumerate(self.cells) for name in cell.state_names[:-1])
        return (*own, "memory", *["decoupling"] * self.decoupling)

    def split_states(self, states):
        """Every level's own states; the shared memory, the last of the flat list, belongs to none."""
        states, parts = list(states), []
        for cell in self.cells:
            n = len(cell.state_names) - 1
            parts.append(states[:n])
            states = states[n:]
        return parts

    def step(self, x, states, noise=None):
        total = [states[-1]] if self.decoupling else []
        memory, new_states = states[-1 - len(total)], []
        for n, (cell, own) in enumerate(zip(self.cells, self.split_states(states))):
            own_noise = noise and noise[n]
            if n:
                x = cell.project_sequence(x[None], own_noise)[0]
            if self.decoupling:
                (x, *own, memory), increments = cell.update(x, [*own, memory], own_noise)
                own, total = [x, *own], [total[0] + self._overlap(*increments) / len(self.cells)]
            else:
                x, (*own, memory) = cell.step(x, [*own, memory], own_noise)
            new_states += own
        return x, [*new_states, memory, *total]

    def _overlap(self, dc, dm):
        """Mean over channels of |cos(A dC, A dM)| (B,); a map of zeros overlaps with nothing."""
        axes = tuple(range(1, len(dc.shape) - 1))

        def unit(x):
            x = ops.matmul(x, self.adapter_kernel)
            x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))  # 1e-12 is 0 in half precision
            return x * ops.rsqrt(ops.maximum(ops.sum(x * x, axis=axes, keepdims=True), 1e-12))

        overlap = ops.mean(ops.abs(ops.sum(unit(dc) * unit(dm), axis=axes)), axis=-1)
        return ops.cast(overlap, self.compute_dtype)

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        states = [cell.get_initial_state(batch_size, spatial_shape, num_steps) for cell in self.cells]
        total = [ops.zeros((batch_size,), dtype=self.compute_dtype)] * self.decoupling
        return [state for own in states for state in own[:-1]] + [states[0][-1], *total]

    def compute_output_shape(self, input_shape, states_shape=None):
        states = []
        for cell in self.cells:
            input_shape, own = cell.compute_output_shape(input_shape)
            states += own[:-1]
        return input_shape, [*states, own[-1], *[(input_shape[0],)] * self.decoupling]
