"""Recurrent cells that look at a part of a map: ALSTM, ConvALSTM, and both with attention steered by motion."""

import keras
from keras import initializers, layers, ops

from keras_st.layers.attention import SequenceAttention
from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.recurrent.conv_lstm import ConvLSTMCell, PeepholeLSTMCell
from keras_st.ops.attention import spatial_softmax

INIT_STATES = ("mean", "zeros")
FEEDS = (None, "gates", "attention")


class MapAttentionCell(ConfigFromArguments, layers.Layer):
    """What the cells of this file share: a map is weighed by attention, LSTM cells read what is left of it.

        Z = score(query, X_t)        A_t = softmax of Z over all positions
        X~_t = A_t . X_t             then LSTM cells on X~_t, or on its sum over positions

    A subclass makes `cells` and, where motion steers the attention, `bottom`. Input of a step: the map
    (B, H, W, C), and beside it what the bottom cell reads. Output of a step: the top hidden state and A_t (B, H, W, 1).

    First states ("mean"): with x the mean over time (and, for vectors, over positions) of what a cell reads,
        H_0, C_0 = tanh(W_0 * x + b_0)
    The mean runs over the whole clip, so outputs depend on later frames; "zeros" are causal.
    """

    scores: tuple[str, ...] = ("bahdanau", "sigmoid")
    num_outputs = 2

    def assemble(self, cells, score, attention_units, init_state, kernel_initializer):
        """Every constructor's common part: the cells above, and how they look."""
        if score not in self.scores:
            raise ValueError(f"`score` must be one of {self.scores}. Received: score={score!r}")
        if init_state not in INIT_STATES:
            raise ValueError(f"`init_state` must be one of {INIT_STATES}. Received: init_state={init_state!r}")
        if attention_units is not None:
            check_positive("attention_units", attention_units)
        self.cells, self.score, self.attention_units, self.init_state = cells, score, attention_units, init_state
        self.bottom = None  # no class attribute: on PyTorch that would hide the layer of the name
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.attention, kind = None, "bahdanau" if score == "sigmoid" else score
        if attention_units is not None and kind != "bahdanau":
            raise ValueError(f"`attention_units` is not for this score. Received: {attention_units=}, score={score!r}")
        if kind != "location":
            units = (attention_units or cells[-1].filters) if kind == "bahdanau" else None
            options = {"kernel_initializer": self.kernel_initializer, "dtype": self.dtype_policy, "name": "attention"}
            self.attention = SequenceAttention(kind, units, **options)

    # Weights

    def build(self, input_shape):
        map_shape, *motion_shape = input_shape if self.bottom is not None else [input_shape]
        if len(map_shape) != 4 or map_shape[-1] is None:
            raise ValueError(
                f"`{type(self).__name__}` reads maps (B, H, W, C), C known. Received: input_shape={tuple(map_shape)}"
            )
        self.map_size = tuple(map_shape[1:3])
        shape, channels = self._read(map_shape), self.query_filters
        for cell in self.cells:
            cell.build(shape)
            shape = (*shape[:-1], cell.filters)
        if self.attention is not None:
            self.attention.build((None, channels), (None, map_shape[-1]))
        elif None in self.map_size:
            raise ValueError(f'score="location" needs maps of one known size. Received: input_shape={map_shape}')
        else:
            self.location_kernel = self._weight("location_kernel", (channels, self.map_size[0] * self.map_size[1]))
        if self.bottom is not None:
            self.bottom.build(tuple(motion_shape[0]))
            self._build_feed(map_shape)
        if self.init_state == "mean":
            self.initial_kernels, self.initial_biases = [], []
            read = [self._read(map_shape)] * len(self.cells) + [tuple(shape) for shape in motion_shape]
            for n, (cell, shape) in enumerate(zip(self._all_cells, read)):
                kernel = (*self._initial_size(cell), shape[-1], 2 * cell.filters)
                self.initial_kernels.append(self._weight(f"initial_kernel_{n}", kernel))
                self.initial_biases.append(
                    self.add_weight(shape=kernel[-1:], initializer="zeros", name=f"initial_bias_{n}")
                )
        self.built = True

    def _weight(self, name, shape):
        return self.add_weight(shape=shape, initializer=self.kernel_initializer, name=name)

    @property
    def _all_cells(self):
        return [*self.cells, *([] if self.bottom is None else [self.bottom])]

    @property
    def query_filters(self):
        """Channels of the query."""
        return (self.bottom or self.cells[-1]).filters

    @property
    def filters(self):
        return self.cells[-1].filters

    @property
    def _sums(self):
        """Whether positions are summed: the cells above read vectors."""
        return self.cells[0].rank == 0

    def _read(self, map_shape):
        """Shape of what the cells above read of a map."""
        return (map_shape[0], map_shape[-1]) if self._sums else tuple(map_shape)

    @staticmethod
    def _initial_size(cell):
        return cell.kernel_size

    # One step

    def project_sequence(self, inputs, noise=None):
        """What does not depend on the states: the maps, their part of the scores, the bottom cell's input."""
        maps, *motion = inputs if self.bottom is not None else [inputs]
        keys = [] if self.attention is None else [self.attention.key_part(maps)]
        return [maps, *keys, *(self.bottom.project_sequence(m) for m in motion)]

    def look(self, maps, keys, query, also=None):
        """`(A_t (B, H, W, 1), X~_t)`; `also` joins what is inside the tanh."""
        if len(query.shape) == 2:
            query = query[:, None, None]
        if self.attention is None:
            scores = ops.matmul(query[:, 0, 0], ops.cast(self.location_kernel, query.dtype))
            scores = ops.reshape(scores, (-1, *self.map_size, 1))
        else:
            part = self.attention.query_part(query)
            scores = self.attention.joined(part if also is None else part + also, keys[0])[..., None]
        weights = ops.sigmoid(scores) if self.score == "sigmoid" else spatial_softmax(scores)
        attended = weights * maps
        return weights, ops.sum(attended, axis=(1, 2)) if self._sums else attended

    def step(self, x, states, noise=None):
        *levels, top = levels_of(self.cells, states)
        weights, x = self.look(x[0], x[1:], top[0])
        return self.climb(x, [*levels, top], weights)

    def climb(self, x, levels, weights, more=()):
        """The cells above on what is attended to; `more`: the states below."""
        new_states = []
        for cell, own in zip(self.cells, levels):
            x, own = cell.step(cell.project_sequence(x[None])[0], own)
            new_states += own
        return [x, weights], [*new_states, *more]

    def call(self, inputs, states, training=None):
        batched = [x[None] for x in inputs] if self.bottom is not None else inputs[None]
        return self.step([x[0] for x in self.project_sequence(batched)], states)

    def run(self, inputs, states, noise=None, from_zero=False):
        """None: the steps of the parts interleave."""

    def sample_noise(self, inputs, states):
        """None: these cells have no dropout of their own."""

    # First values and shapes

    def mean_state(self, inputs, mask=None):
        """States from the mean over time of whole sequences, batch-major; `mask` (B, T): of the steps that count."""
        means = []
        for x in inputs if self.bottom is not None else [inputs]:
            weights = ops.ones(ops.shape(x)[:2], x.dtype) if mask is None else ops.cast(mask, x.dtype)
            weights = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1)
            means.append(ops.sum(ops.reshape(weights, (*ops.shape(x)[:2], *(1,) * (len(x.shape) - 2))) * x, axis=1))
        if self._sums:
            means[0] = ops.mean(means[0], axis=(1, 2))
        read = [means[0]] * len(self.cells) + means[1:]
        states = []
        for cell, x, kernel, bias in zip(self._all_cells, read, self.initial_kernels, self.initial_biases):
            first = ops.tanh(cell.state_conv(x, ops.cast(kernel, x.dtype)) + ops.cast(bias, x.dtype))
            states += ops.split(first, 2, axis=-1)
        return states

    @property
    def state_names(self):
        names = [f"{name}_{n}" for n, cell in enumerate(self.cells) for name in cell.state_names]
        if len(self.cells) == 1:
            names = ["hidden", "cell"]
        return (*names, *([] if self.bottom is None else ["bottom_hidden", "bottom_cell"]))

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        """Zeros, whatever `init_state`: `mean_state` needs the sequence."""
        states = []
        for cell in self._all_cells:
            states += cell.get_initial_state(batch_size, None if cell.rank == 0 else self._size(spatial_shape))
        return states

    def get_initial_output(self, batch_size, spatial_shape=None):
        size = self._size(spatial_shape)
        hidden = self.cells[-1].get_initial_output(batch_size, None if self._sums else size)
        return [hidden, ops.zeros((batch_size, *size, 1), dtype=self.compute_dtype)]

    def _size(self, spatial_shape):
        size = spatial_shape or self.map_size
        if None in size:
            raise ValueError(
                f"`{type(self).__name__}` was built with an unknown size of maps: `spatial_shape` is needed. "
                f"Received: spatial_shape={spatial_shape}"
            )
        return tuple(size)

    def compute_output_shape(self, input_shape, states_shape=None):
        map_shape, *motion_shape = input_shape if self.bottom is not None else [input_shape]
        shape, states = self._read(map_shape), []
        for cell in self.cells:
            shape, own = cell.compute_output_shape(shape)
            states += own
        if self.bottom is not None:
            states += self.bottom.compute_output_shape(tuple(motion_shape[0]))[1]
        return [shape, (*map_shape[:3], 1)], states


def levels_of(cells, states):
    """The first states of a flat list as pairs, one a cell."""
    return [list(states[2 * n : 2 * n + 2]) for n in range(len(cells))]


class MotionSteered(MapAttentionCell):
    """The attention's query is the current hidden state of a cell below, which reads motion.

        gates_m = W_m * M_t + U_m * Hm_{t-1} + E * H_{t-1} + b          feed_top="gates"
        Z = u . tanh(X_t Wc + Hm_t Wd + b) + c                          the bottom's hidden state of this step
    E has the size of the bottom's state kernel, no bias, and enters every gate and the candidate. feed_top="attention":
    no E, H_{t-1} joins the score instead, Z = u . tanh(X_t Wc + Hm_t Wd + H_{t-1} Wt + b) + c; None: neither.
    """

    scores = ("bahdanau", "sigmoid")

    def _check_feed(self, feed_top):
        if feed_top not in FEEDS:
            raise ValueError(f"`feed_top` must be one of {FEEDS}. Received: feed_top={feed_top!r}")
        self.feed_top = feed_top

    def _build_feed(self, map_shape):
        top = self.cells[-1].filters
        if self.feed_top == "gates":
            size = self.bottom.kernel_size if self.cells[-1].rank else ()
            self.feed_kernel = self._weight("feed_kernel", (*size, top, 4 * self.bottom.filters))
        if self.feed_top == "attention":
            self.feed_kernel = self._weight("feed_kernel", (top, self.attention.units))

    def step(self, x, states, noise=None):
        maps, keys, motion = x
        (top,), bottom, also = levels_of(self.cells, states), list(states[2:]), None
        feed = None if self.feed_top is None else ops.cast(self.feed_kernel, motion.dtype)
        if self.feed_top == "gates":
            motion = motion + self.bottom.state_conv(top[0], feed)
        if self.feed_top == "attention":
            also = ops.matmul(top[0], feed)
            also = also[:, None, None] if len(also.shape) == 2 else also
        query, bottom = self.bottom.step(motion, bottom)
        weights, x = self.look(maps, [keys], query, also)
        return self.climb(x, [top], weights, bottom)


@keras.saving.register_keras_serializable(package="keras_st")
class ALSTMCell(MapAttentionCell):
    """One step of the attention LSTM (ALSTM): LSTMs on a weighted sum of a map's positions.

    Equations (positions i, query q = the top level's h_{t-1}):
        Z_i = u . tanh(X_i Wc + q Wd + b) + c      "bahdanau"        q . X_i   "dot"        q W X_i   "bilinear"
              q . W_i                              "location": the image is not used (the paper, from memory of it)
        A = softmax_i(Z)        x~ = sum_i A_i X_i        h, c = LSTM levels on x~ (gates i, f, c, o; no peepholes)

    State: hidden, cell of every level (B, units). Output: `[h (B, units) of the top level, A (B, H, W, 1)]`.

    Args:
        units: int. Of every level.
        num_layers: int. Levels: 3 in the paper (from memory of it), 1 in VideoLSTM's comparison.
        score: "bahdanau" (the released code), "location", "dot" or "bilinear".
        attention_units: int or None. Width of "bahdanau"; None: `units`.
        init_state: "mean" or "zeros", see `MapAttentionCell`.
        unit_forget_bias: bool. Forget biases start at 1.
        kernel_initializer: of all kernels but the recurrent ones.

    Differs: the released code has one LSTM level; the paper, from memory of it, three.

    Reference: S. Sharma et al., "Action Recognition using Visual Attention", 2015
    """

    scores = ("bahdanau", "location", "dot", "bilinear")

    def __init__(
        self,
        units,
        num_layers=3,
        score="bahdanau",
        attention_units=None,
        init_state="mean",
        unit_forget_bias=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        check_positive("num_layers", num_layers)
        options = {"unit_forget_bias": unit_forget_bias, "kernel_initializer": kernel_initializer}
        cells = [
            PeepholeLSTMCell(units, peephole=None, dtype=kwargs.get("dtype"), name=f"level_{n}", **options)
            for n in range(num_layers)
        ]
        super().__init__(**kwargs)
        self.assemble(cells, score, attention_units, init_state, kernel_initializer)
        self.units, self.num_layers, self.unit_forget_bias = units, num_layers, unit_forget_bias


@keras.saving.register_keras_serializable(package="keras_st")
class ConvALSTMCell(MapAttentionCell):
    """One step of the convolutional attention LSTM (ConvALSTM): a ConvLSTM on a map weighed by attention.

    Equations (VideoLSTM; `*` convolution, `.` elementwise, 1x1 kernels without a `*`):
        Z_t = u . tanh(X_t Wc + H_{t-1} Wd + b) + c
        A_t = softmax of Z_t over all positions         s(Z_t) with score="sigmoid" (in the released code only)
        X~_t = A_t . X_t                                neither summed nor rescaled
        H_t, C_t = ConvLSTM(X~_t, H_{t-1}, C_{t-1})     gates i, f, c, o; no peepholes

    State: hidden, cell (B, H, W, filters). Output: `[H_t, A_t (B, H, W, 1)]`.

    Args:
        filters, kernel_size: of the ConvLSTM.
        score: "bahdanau" or "sigmoid".
        attention_units: int or None. Width of the score; None: `filters`.
        init_state: "mean" (kernels of `kernel_size`) or "zeros", see `MapAttentionCell`.
        unit_forget_bias: bool. Forget biases start at 1.
        kernel_initializer: of all kernels but the recurrent ones.

    Reference: Z. Li et al., "VideoLSTM Convolves, Attends and Flows for Action Recognition", CVIU 2018
    """

    def __init__(
        self,
        filters,
        kernel_size,
        score="bahdanau",
        attention_units=None,
        init_state="mean",
        unit_forget_bias=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        cell = _map_cell(filters, kernel_size, unit_forget_bias, kernel_initializer, kwargs, "top")
        super().__init__(**kwargs)
        self.assemble([cell], score, attention_units, init_state, kernel_initializer)
        self.kernel_size, self.unit_forget_bias = cell.kernel_size, unit_forget_bias


@keras.saving.register_keras_serializable(package="keras_st")
class MotionConvALSTMCell(MotionSteered):
    """One step of VideoLSTM's motion-based attention: a ConvLSTM on flow says where a ConvLSTM on frames looks.

    Equations: `MotionSteered`, then `ConvALSTMCell`.

    Input: a pair, appearance map X_t (B, H, W, C) and motion map M_t (B, H, W, Cm).
    State: hidden, cell, bottom_hidden, bottom_cell: (B, H, W, filters). Output: `[H_t, A_t (B, H, W, 1)]`; only the top
    feeds a classifier.

    Args:
        filters, kernel_size: of both ConvLSTMs.
        bottom_kernel_size: of W_m, U_m and E; None: `kernel_size`. (1 in the released training script.)
        feed_top: "gates", "attention" (released code only) or None.
        score, attention_units, init_state, unit_forget_bias, kernel_initializer: see `ConvALSTMCell`; the bottom's
            first states come from M by 1x1 kernels.

    Reference: Z. Li et al., "VideoLSTM Convolves, Attends and Flows for Action Recognition", CVIU 2018
    """

    def __init__(
        self,
        filters,
        kernel_size,
        bottom_kernel_size=None,
        feed_top="gates",
        score="bahdanau",
        attention_units=None,
        init_state="mean",
        unit_forget_bias=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        cell = _map_cell(filters, kernel_size, unit_forget_bias, kernel_initializer, kwargs, "top")
        super().__init__(**kwargs)
        self.assemble([cell], score, attention_units, init_state, kernel_initializer)
        self._check_feed(feed_top)
        self.kernel_size, self.unit_forget_bias = cell.kernel_size, unit_forget_bias
        self.bottom_kernel_size = bottom_kernel_size
        size = cell.kernel_size if bottom_kernel_size is None else bottom_kernel_size
        self.bottom = _map_cell(filters, size, unit_forget_bias, kernel_initializer, kwargs, "bottom")

    def _initial_size(self, cell):
        return (1, 1) if cell is self.bottom else cell.kernel_size


@keras.saving.register_keras_serializable(package="keras_st")
class MotionALSTMCell(MotionSteered):
    """One step of the ALSTM with motion-based attention: an LSTM on vectors of motion says where an LSTM looks.

    Equations: `MotionSteered` with matrix products for convolutions, then `ALSTMCell` of one level.

    Input: a pair, appearance map X_t (B, H, W, C) and motion vector M_t (B, D).
    State: hidden, cell, bottom_hidden, bottom_cell: (B, units). Output: `[h_t, A_t (B, H, W, 1)]`.

    Args: units: of both LSTMs; others: see `MotionConvALSTMCell`.

    Reference: Z. Li et al., "VideoLSTM Convolves, Attends and Flows for Action Recognition", CVIU 2018
    """

    def __init__(
        self,
        units,
        feed_top="gates",
        score="bahdanau",
        attention_units=None,
        init_state="mean",
        unit_forget_bias=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        options = {"unit_forget_bias": unit_forget_bias, "kernel_initializer": kernel_initializer}
        options |= {"peephole": None, "dtype": kwargs.get("dtype")}
        super().__init__(**kwargs)
        cell = PeepholeLSTMCell(units, name="top", **options)
        self.assemble([cell], score, attention_units, init_state, kernel_initializer)
        self._check_feed(feed_top)
        self.units, self.unit_forget_bias = units, unit_forget_bias
        self.bottom = PeepholeLSTMCell(units, name="bottom", **options)


def _map_cell(filters, kernel_size, unit_forget_bias, kernel_initializer, kwargs, name):
    return ConvLSTMCell(
        2,
        filters,
        kernel_size,
        padding="same",
        unit_forget_bias=unit_forget_bias,
        kernel_initializer=kernel_initializer,
        dtype=kwargs.get("dtype"),
        name=name,
    )
