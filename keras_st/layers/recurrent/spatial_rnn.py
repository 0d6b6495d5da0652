"""Running a cell over a sequence: `SpatialRNN`, and the layers that make their own cell."""

import functools
import inspect

import keras
from keras import layers, ops, tree

from keras_st.backend import scan
from keras_st.layers.config import ConfigFromArguments, constructor_arguments, with_dtype_of
from keras_st.layers.streaming import NotCausal


@keras.saving.register_keras_serializable(package="keras_st")
class SpatialRNN(ConfigFromArguments, layers.Layer):
    """Runs a cell whose states are maps over the time axis of a sequence.

    `keras.layers.RNN` cannot: built symbolically it assumes states that are vectors. Batch, time and the
    spatial axes may all be unknown until the call.

    Args:
        cell: `RecurrentConvCell`, `CellStack` or any layer with their protocol: `state_names`, `project_sequence`,
            `step`, `run`, `sample_noise`, `get_initial_state`, `get_initial_output`, `compute_output_shape`.
        return_sequences: bool. Every step's output, else the last one.
        return_state: bool. Also return the last states.
        go_backwards: bool. Last step first; outputs come in the order they are computed (as Keras).
        stateful: bool. Start from the states in which the previous call ended; needs a static batch and
            spatial size. `reset_state()` starts anew. They are non-trainable weights, ahead of the cell's.
        unroll: bool or None. Write the steps out instead of looping: needs a static time axis. None: see
            `keras_st.backend.scan`.
        zero_output_for_mask: bool. Masked steps output zeros, else they repeat the step before.

    Call args:
        sequences: float (B, T, *spatial, C); of a cell with several inputs a list of them.
        initial_state: list of tensors, as `cell.get_initial_state` makes them (of one: the tensor), or None for those.
        mask: bool (B, T), or for every position, as `keras.layers.Masking` makes it: then a step counts if any of its
            positions does. Steps where it is False leave every state unchanged.
        training: bool. Dropout on.

    Returns: `output` (B, T, ...) or (B, ...), and with `return_state` a list `[output, *states]`. Of a cell with
    several outputs (a state and an attention map, say) all of them, in a list.

    Dtype: the cell's policy.
    Masking: passed on to the output with `return_sequences`, dropped otherwise.

    Raises:
        ValueError: wrong rank, wrong number or shape of states, `unroll=True` with unknown time,
            `stateful=True` with unknown sizes.
    """

    def __init__(
        self,
        cell,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=None,
        zero_output_for_mask=False,
        **kwargs,
    ):
        super().__init__(**with_dtype_of([cell], kwargs))
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self.states = None

    def build(self, sequences_shape, initial_state_shape=None):
        if not self.cell.built:
            self.cell.build(_of_step(sequences_shape))
        cell_shape, sequences_shape = _of_step(sequences_shape), _first(sequences_shape)
        step_shape = _first(cell_shape)
        if initial_state_shape is not None and not isinstance(initial_state_shape[0], (list, tuple)):
            initial_state_shape = [initial_state_shape]
        _check_states(self, initial_state_shape, cell_shape)
        if self.unroll and sequences_shape[1] is None:
            raise ValueError(f"`unroll=True` needs a static time axis. Received: sequences_shape={sequences_shape}")
        if self.stateful and getattr(self.cell, "init_state", "zeros") == "mean":
            raise ValueError('`stateful=True` carries states on: the cell needs init_state="zeros". Received: "mean"')
        if self.stateful:
            if None in (sequences_shape[0], *step_shape[1:-1]):
                raise ValueError(
                    "`stateful=True` needs a static batch and spatial size. "
                    f"Received: sequences_shape={tuple(sequences_shape)}"
                )
            self._first_states = functools.partial(
                self.cell.get_initial_state, step_shape[0], step_shape[1:-1], sequences_shape[1]
            )
            self.states = [
                self.add_weight(
                    shape=tuple(s.shape),
                    initializer=lambda shape, dtype, n=n: self._first_states()[n],
                    dtype=keras.backend.standardize_dtype(s.dtype),
                    trainable=False,
                    name=f"state_{n}",
                )
                for n, s in enumerate(self._first_states())
            ]
        self.built = True

    def call(self, sequences, initial_state=None, mask=None, training=False):
        first = sequences[0] if isinstance(sequences, (list, tuple)) else sequences
        batch, length, *spatial = ops.shape(first)[:-1]
        if self.stateful and first.shape[0] not in (None, self.states[0].shape[0]):
            raise ValueError(
                f"Stateful `{self.name}` carries the states of {self.states[0].shape[0]} clips and takes batches of "
                f"that size. Received: sequences.shape={tuple(first.shape)}"
            )
        from_zero = initial_state is None and not self.stateful
        if initial_state is not None:
            if not isinstance(initial_state, (list, tuple)):
                initial_state = [initial_state]
            shapes = tree.map_structure(lambda x: _of_step(tuple(x.shape)), sequences)
            _check_states(self, [tuple(s.shape) for s in initial_state], shapes)
            states = list(initial_state)
        elif self.stateful:
            states = [ops.convert_to_tensor(s) for s in self.states]
        else:
            states = None
        mask = _checked_mask(mask, first)
        if states is None and getattr(self.cell, "init_state", "zeros") == "mean":
            states, from_zero = self.cell.mean_state(sequences, mask), False
        if states is None:
            states = self.cell.get_initial_state(batch, tuple(spatial), first.shape[1])
        if self.go_backwards:
            sequences = tree.map_structure(lambda x: ops.flip(x, 1), sequences)
            mask = None if mask is None else ops.flip(mask, 1)
        noise = None
        if training:
            noise = self.cell.sample_noise(tree.map_structure(lambda x: x[:, 0], sequences), states)
        done = None
        if mask is None and self.unroll is None:
            done = self.cell.run(sequences, states, noise, from_zero)
        if done is not None:
            outputs, last, states = done
        else:
            first_output = self.cell.get_initial_output(batch, tuple(spatial))
            outputs, last, states = self._loop(sequences, length, states, first_output, mask, noise)
        if self.stateful:
            for variable, state in zip(self.states, states):
                variable.assign(state)
        if mask is not None and self.zero_output_for_mask and not self.return_sequences:
            last = tree.map_structure(lambda x: _where(mask[:, -1], x, ops.zeros_like(x)), last)
        output = outputs if self.return_sequences else last
        return [*_listed(output), *states] if self.return_state else output

    def _loop(self, sequences, length, states, first_output, mask, noise):
        """Step by step: all outputs (None unless wanted), the last one, the last states."""
        x = self.cell.project_sequence(tree.map_structure(lambda x: ops.swapaxes(x, 0, 1), sequences), noise)
        masks = [] if mask is None else [ops.swapaxes(mask, 0, 1)]
        first, wanted = _listed(first_output), self.return_sequences

        def step(carry, xs):
            previous, states = carry[: len(first)], carry[len(first) :]
            step_input = tree.pack_sequence_as(x, xs[: len(xs) - len(masks)])
            output, new_states = self.cell.step(step_input, states, noise)
            output = _listed(output)
            if not masks:
                return [*output, *new_states], output * wanted
            keep = xs[-1]
            held = [_where(keep, new, old) for new, old in zip(output, previous)]
            shown = held
            if self.zero_output_for_mask:
                shown = [_where(keep, new, ops.zeros_like(new)) for new in output]
            new_states = [_where(keep, new, old) for new, old in zip(new_states, states)]
            return [*held, *new_states], shown * wanted

        carry, xs = [*first, *states], [*tree.flatten(x), *masks]
        carry, outputs = scan(step, carry, xs, length, first * wanted, self.unroll)
        last, states = tree.pack_sequence_as(first_output, carry[: len(first)]), carry[len(first) :]
        outputs = [ops.swapaxes(output, 0, 1) for output in outputs]
        return tree.pack_sequence_as(first_output, outputs) if outputs else None, last, states

    def stream(self, sequences, stream):
        """One more step (B, 1, ...) of a stream; see `keras_st.layers.streaming`. Returns what a call would."""
        if self.go_backwards or getattr(self.cell, "init_state", "zeros") == "mean":
            reason = "reads a clip backwards" if self.go_backwards else "starts from the mean of a clip"
            raise NotCausal(f"`{self.name}` {reason}. Received: a stream of frames")
        frame = tree.map_structure(lambda x: x[:, 0], sequences)
        batch, *spatial = ops.shape(tree.flatten(frame)[0])[:-1]
        states = stream.take(list(self.get_initial_state(batch, tuple(spatial))))
        output, states = self.cell(frame, states)  # as a layer, in its own precision
        stream.keep(list(states))
        return tree.map_structure(lambda x: x[:, None], output) if self.return_sequences else output

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        """The cell's first states; see there."""
        return self.cell.get_initial_state(batch_size, spatial_shape, num_steps)

    def reset_state(self):
        """The carried states of a stateful layer become the cell's first states (zeros, but for counters)."""
        if self.states:
            for variable, first in zip(self.states, self._first_states()):
                variable.assign(first)

    reset_states = reset_state

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        length = _first(sequences_shape)[1]
        output, states = self.cell.compute_output_shape(_of_step(sequences_shape))
        several = not isinstance(output, tuple)
        outputs = output if several else [output]
        if self.return_sequences:
            outputs = [(shape[0], length, *shape[1:]) for shape in outputs]
        if self.return_state:
            return (*outputs, *states)
        return outputs if several else outputs[0]

    def compute_mask(self, sequences, mask=None):
        mask = _one_mask(mask) if self.return_sequences else None
        masks = [mask] * getattr(self.cell, "num_outputs", 1)
        if self.return_state:
            return [*masks, *(None for _ in range(self._num_states))]
        return masks if len(masks) > 1 else mask

    @property
    def _num_states(self):
        return len(self.cell.state_names)

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["cell"] = keras.saving.deserialize_keras_object(config["cell"])
        return cls(**config)


class _ClassSignature:
    """A `__signature__` of the class alone: an instance is called with other arguments than its class."""

    def __init__(self, signature):
        self.signature = signature

    def __get__(self, instance, owner):
        if instance is not None:
            raise AttributeError("__signature__")
        return self.signature


class ConvRNN(SpatialRNN):
    """A `SpatialRNN` that makes its own cell from the arguments that are the cell's.

    A subclass names `cell_class` and `rank`. The arguments are spelt out once, in the cell; `help()` and
    `inspect.signature` show them together.
    """

    cell_class: type
    rank: int

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "rank"):
            arguments = {**constructor_arguments(cls.cell_class), **constructor_arguments(cls)}
            first = [arguments.pop(name) for name in ("filters", "kernel_size")]
            rest = [p.replace(kind=p.KEYWORD_ONLY) for name, p in arguments.items() if name not in ("cell", "rank")]
            cls.__signature__ = _ClassSignature(inspect.Signature(first + rest))

    def __init__(self, filters, kernel_size, *cell_args, **kwargs):
        own = {name: kwargs.pop(name) for name in [*kwargs] if name in _LAYER_ARGUMENTS}
        cell = self.cell_class(self.rank, filters, kernel_size, *cell_args, **kwargs, dtype=own.get("dtype"))
        super().__init__(cell, **own)

    @property
    def filters(self):
        return self.cell.filters

    @property
    def kernel_size(self):
        return self.cell.kernel_size

    def get_config(self):
        config = {**self.cell.get_config(), **super().get_config()}
        del config["cell"], config["rank"]
        return config

    @classmethod
    def from_config(cls, config):
        return cls(**config)


_LAYER_ARGUMENTS = {"name", "dtype", "trainable", "activity_regularizer", *constructor_arguments(SpatialRNN)} - {"cell"}


def _where(keep, new, old):
    """`new` where the step counts, `old` where it is masked: `keep` (B,) against states of any rank."""
    return ops.where(ops.reshape(keep, (-1, *(1,) * (len(new.shape) - 1))), new, old)


def _listed(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _first(shapes):
    """The shape, or the first of several."""
    return tuple(shapes[0] if isinstance(shapes[0], (list, tuple)) else shapes)


def _of_step(shapes):
    """Shape, or shapes, of a step of sequences (B, T, ...)."""
    if isinstance(shapes[0], (list, tuple)):
        return [_of_step(shape) for shape in shapes]
    return (shapes[0], *shapes[2:])


def _one_mask(mask):
    """The mask; of several sequences, the first there is."""
    if isinstance(mask, (list, tuple)):
        return next((m for m in mask if m is not None), None)
    return mask


def _checked_mask(mask, sequences):
    """The mask as bool (B, T). `keras.layers.Masking` makes one for every position: a step counts if any of it does."""
    mask = _one_mask(mask)
    if mask is None:
        return None
    mask = ops.cast(mask, "bool")
    if len(mask.shape) > 2:
        mask = ops.any(mask, axis=tuple(range(2, len(mask.shape))))
    fits = len(mask.shape) == 2 and all(m in (None, s) or s is None for m, s in zip(mask.shape, sequences.shape))
    if not fits:
        raise ValueError(
            f"`mask` must be (batch, time) of the sequences {tuple(sequences.shape)}. Received: {tuple(mask.shape)}"
        )
    return mask


def _check_states(layer, shapes, step_shape):
    """Compares the shapes of given first states with those the cell would make itself."""
    if shapes is None:
        return
    expected = layer.cell.compute_output_shape(step_shape)[1]
    fits = len(shapes) == len(expected) and all(
        len(got) == len(want) and all(g is None or w is None or g == w for g, w in zip(got, want))
        for got, want in zip(shapes, expected)
    )
    if not fits:
        raise ValueError(
            f"`initial_state` of `{layer.name}` must have shapes {expected}. "
            f"Received: shapes={[tuple(shape) for shape in shapes]}"
        )
