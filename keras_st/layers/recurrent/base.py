"""What every convolutional recurrent cell shares: transforms, first states, dropout and configuration."""

from keras import activations, constraints, initializers, layers, ops, random, regularizers
from keras.random import SeedGenerator

from keras_st.layers.config import ConfigFromArguments
from keras_st.ops.axes import merge_leading, split_leading


class RecurrentConvCell(ConfigFromArguments, layers.Layer):
    """One step of a recurrent layer whose state is a map; rank 1, 2 or 3.

    A subclass declares its states and gate counts and writes `step`:

        class ConvLSTMCell(RecurrentConvCell):
            state_names, input_gates, hidden_gates = ("hidden", "cell"), 4, 4
            def step(self, x, states, noise=None): ...

    The input transform is separate from the step (`project`), because it does not depend on the state:
    `SpatialRNN` runs it once for all steps, and the loop holds the recurrent convolution only.

    Equations: with `*` a convolution, W_x `kernel`, W_h `recurrent_kernel`, b `bias`,
        project(x) = W_x * x + b                 hidden_conv(h) = W_h * h

    State: every state has shape (B, *spatial, filters), the compute dtype, and starts at zero.
    The spatial size is that of the input convolution's output.

    Args:
        rank: int. Number of spatial axes; 0: vectors, and a convolution is a matrix product.
        filters: int. Channels of every state and of the output.
        kernel_size: int or tuple. Kernel of the input convolution.
        strides, padding, dilation_rate: as in `keras.layers.Conv2D`; they act on the input convolution only.
        data_format: None or "channels_last".
        activation, recurrent_activation: of the candidate and of the gates.
        use_bias: bool. One bias per gate, added in the input transform.
        kernel_initializer, recurrent_initializer, bias_initializer; kernel_regularizer,
            recurrent_regularizer, bias_regularizer; kernel_constraint, recurrent_constraint,
            bias_constraint: as in `keras.layers.ConvLSTM2D`.
        dropout, recurrent_dropout: float in [0, 1). Rates on the inputs and on the hidden state that enters
            the recurrent convolution.
        seed: int. Seed of both dropouts.
        recurrent_kernel_size: int, tuple or None. Kernel of the recurrent convolution, None: `kernel_size`.
            Odd sizes only: an even one has no centre, and the state would drift by half a pixel a step.
            (Keras accepts even sizes; ours accepts one when it is inherited from `kernel_size`.)
        recurrent_dilation_rate: int or tuple. Dilation of the recurrent convolution.
        use_input: bool. False: the cell has no input kernel; of its input only the sizes are used (the first
            forecaster layer of Shi 2015).

    Raises:
        ValueError: on a rank, size or format outside the above, with `Received: name=value`.

    Differs: Keras draws four dropout masks, one per gate; ours draws one for all gates (the tied form of
    Gal and Ghahramani 2016), so that dropout costs no extra convolution. Both keep it along the sequence.
    """

    state_names: tuple[str, ...] = ("hidden",)
    input_gates = 1
    hidden_gates = 1

    def __init__(
        self,
        rank,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        data_format=None,
        dilation_rate=1,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        seed=None,
        recurrent_kernel_size=None,
        recurrent_dilation_rate=1,
        use_input=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if rank not in (0, 1, 2, 3):
            raise ValueError(f"`rank` must be 0, 1, 2 or 3. Received: rank={rank}")
        check_positive("filters", filters)
        if padding not in ("valid", "same"):
            raise ValueError(f'`padding` must be "valid" or "same". Received: padding={padding}')
        if data_format not in (None, "channels_last"):
            raise ValueError(f'`data_format` must be None or "channels_last". Received: data_format={data_format}')
        for name, rate in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
            if not 0.0 <= rate < 1.0:
                raise ValueError(f"`{name}` must lie in [0, 1). Received: {name}={rate}")
        self.rank = rank
        self.filters = filters
        self.kernel_size = _per_axis(kernel_size, rank, "kernel_size")
        self.strides = _per_axis(strides, rank, "strides")
        self.padding = padding
        self.data_format = data_format
        self.dilation_rate = _per_axis(dilation_rate, rank, "dilation_rate")
        if max(self.strides, default=1) > 1 and max(self.dilation_rate, default=1) > 1:
            raise ValueError(
                "`strides` and `dilation_rate` cannot both exceed 1. "
                f"Received: strides={strides}, dilation_rate={dilation_rate}"
            )
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        if recurrent_kernel_size is not None:
            recurrent_kernel_size = _per_axis(recurrent_kernel_size, rank, "recurrent_kernel_size")
            if any(size % 2 == 0 for size in recurrent_kernel_size):
                raise ValueError(
                    f"`recurrent_kernel_size` must be odd. Received: recurrent_kernel_size={recurrent_kernel_size}"
                )
        self.recurrent_kernel_size = recurrent_kernel_size
        self.recurrent_dilation_rate = _per_axis(recurrent_dilation_rate, rank, "recurrent_dilation_rate")
        self.use_input = use_input
        self._static_spatial = None
        self.norms = {}

    # Weights

    def build(self, input_shape):
        if len(input_shape) != self.rank + 2:
            raise ValueError(
                f"`{type(self).__name__}` of rank {self.rank} takes {self.rank + 2} axes (batch, *spatial, channels) "
                f"a step. Received: input_shape={tuple(input_shape)}"
            )
        if self.use_input and input_shape[-1] is None:
            raise ValueError(
                f"The channel axis of the inputs must be known. Received: input_shape={tuple(input_shape)}"
            )
        spatial = tuple(input_shape[1:-1])
        self._static_spatial = None if None in spatial else spatial
        if self.use_input:
            shape = (*self.kernel_size, input_shape[-1], self.convolved_gates[0] * self.filters)
            self.kernel = self.add_kernel("kernel", shape)
        shape = (*self._hidden_kernel_size, self.filters, self.convolved_gates[1] * self.filters)
        self.recurrent_kernel = self.add_kernel("recurrent_kernel", shape, "recurrent")
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.input_gates * self.filters,),
                initializer=self.first_bias,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )
        self.built = True

    def add_kernel(self, name, shape, kind="kernel"):
        """A weight with the initializer, regularizer and constraint of the "kernel" or the "recurrent" ones."""
        options = {option: getattr(self, f"{kind}_{option}") for option in ("initializer", "regularizer", "constraint")}
        return self.add_weight(shape=shape, name=name, **options)

    def first_bias(self, shape, dtype=None):
        """First value of `bias`; a cell with a forget gate adds its 1 here."""
        return self.bias_initializer(shape, dtype=dtype)

    @property
    def convolved_gates(self):
        """How many gates `kernel` and `recurrent_kernel` compute."""
        return self.input_gates, self.hidden_gates

    @property
    def _hidden_kernel_size(self):
        return self.recurrent_kernel_size or self.kernel_size

    def add_norm(self, name, gates, epsilon=1e-5):
        """Layer normalisation of a joined transform: statistics over all axes but the batch, affine per channel."""
        norm = layers.GroupNormalization(1, epsilon=epsilon, dtype=self.dtype_policy, name=f"{name}_norm")
        norm.build((None, *(None,) * self.rank, gates * self.filters))
        self.norms[name] = norm

    def normalised(self, name, x):
        """`x` through the norm of that name, unchanged where there is none."""
        return self.norms[name](x) if name in self.norms else x

    # One step, in parts

    def project(self, inputs):
        """The input transform W_x * x + b: (N, *spatial, C) -> (N, *spatial', input_gates * filters)."""
        if self.use_input:
            x = self.input_conv(inputs, self.kernel)
        else:
            x = ops.zeros((ops.shape(inputs)[0], *(1,) * self.rank, self.input_gates * self.filters), inputs.dtype)
        return x if self.bias is None else x + ops.cast(self.bias, x.dtype)

    def project_sequence(self, inputs, noise=None):
        """`project` for all steps at once: time-major (T, B, *spatial, C) -> (T, B, *spatial', gates)."""
        length, batch = ops.shape(inputs)[:2]
        if noise is not None and noise[0] is not None:
            inputs = inputs * noise[0]
        return split_leading(self.project(merge_leading(inputs)), length, batch)

    def dropped(self, hidden, noise):
        """The hidden state under its dropout mask, where there is one."""
        return hidden if noise is None or noise[1] is None else hidden * noise[1]

    def hidden_conv(self, hidden, noise=None, gates=None):
        """The recurrent transform W_h * h, always stride 1 and "same"; `gates` is a slice of the gates, None: all."""
        hidden, kernel = self.dropped(hidden, noise), self.recurrent_kernel
        if gates is not None:
            kernel = kernel[..., (gates.start or 0) * self.filters : gates.stop and gates.stop * self.filters]
        return self.state_conv(hidden, kernel)

    def input_conv(self, x, kernel):
        """A convolution in the geometry of the input transform."""
        if self.rank == 0:
            return ops.matmul(x, kernel)
        kernel = ops.cast(kernel, x.dtype)  # for calls from outside `call`, where nothing is cast
        return ops.conv(x, kernel, self.strides, self.padding, "channels_last", self.dilation_rate)

    def state_conv(self, x, kernel):
        """A convolution in the geometry of the recurrent transform: the map keeps its size."""
        if self.rank == 0:
            return ops.matmul(x, kernel)
        kernel = ops.cast(kernel, x.dtype)
        return ops.conv(x, kernel, 1, "same", "channels_last", self.recurrent_dilation_rate)

    def step(self, x, states, noise=None):
        """The paper's equations: projected input and states to `(output, new_states)`."""
        raise NotImplementedError(f"`{type(self).__name__}` does not define `step`.")

    def run(self, inputs, states, noise=None, from_zero=False):
        """The whole sequence at once, `(outputs, last output, states)`, where a cell has a better way than its steps.

        Else None. Batch-major: inputs (B, T, *spatial, C), as the outputs. `from_zero`: the states are known to be 0.
        """

    def call(self, inputs, states, training=None):
        noise = self.sample_noise(inputs, states) if training else None
        x = self.project_sequence(inputs[None], noise)[0]
        return self.step(x, states, noise)

    def sample_noise(self, inputs, states):
        """Dropout masks `(of inputs, of hidden)` for a whole sequence, or None where nothing is dropped."""
        if not (self.dropout or self.recurrent_dropout):
            return None
        return [self._mask(inputs, self.dropout), self._mask(states[0], self.recurrent_dropout)]

    def _mask(self, like, rate):
        return random.dropout(ops.ones_like(like), rate, seed=self.seed_generator) if rate else None

    # Shapes and first values

    def _state_spatial(self, spatial):
        sizes = zip(spatial, self.kernel_size, self.strides, self.dilation_rate)
        return tuple(_conv_length(size, k, s, d, self.padding) for size, k, s, d in sizes)

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        """Zero states. `spatial_shape` is that of the *input*; it may be left out where `build` saw it.

        `num_steps`: of the sequence to come, None where unknown; for cells whose states hold all of it.
        """
        return [self.get_initial_output(batch_size, spatial_shape) for _ in self.state_names]

    def get_initial_output(self, batch_size, spatial_shape=None):
        """The output before the first step (what a masked first step returns): zeros."""
        spatial_shape = spatial_shape or self._static_spatial
        if spatial_shape is None:
            raise ValueError(
                f"`{type(self).__name__}` was built with an unknown spatial size, so `get_initial_state` needs "
                "`spatial_shape`. Received: spatial_shape=None"
            )
        return ops.zeros((batch_size, *self._state_spatial(spatial_shape), self.filters), dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape, states_shape=None):
        spatial = [None if size is None else size for size in input_shape[1:-1]]
        shape = (input_shape[0], *self._state_spatial(spatial), self.filters)
        return shape, [shape for _ in self.state_names]


def check_positive(name, value):
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a positive int. Received: {name}={value!r}")


def _per_axis(value, rank, name):
    sizes = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(sizes) != rank or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"`{name}` must be a positive int or {rank} of them. Received: {name}={value}")
    return sizes


def _conv_length(size, kernel, stride, dilation, padding):
    if size is None:
        return None
    if padding == "valid":
        size = size - dilation * (kernel - 1)
    return (size + stride - 1) // stride
