"""A zigzag stack that reads, at every step, a window of the last frames (E3D-LSTM and its baselines)."""

import keras
from keras import layers, ops

from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.recurrent.stack import ZigZagStack
from keras_st.ops.axes import fold_depth, moved_up

CONV3D = ("inside", "bottom", "top")


@keras.saving.register_keras_serializable(package="keras_st")
class SlidingWindowStack(ZigZagStack):
    """Cells whose memory zigzags, with 3-D convolutions over the T = `window` most recent maps, in one of three places.

        "inside":  E3D-LSTM. Cells of rank 3 read the window of frames (B, T, H, W, C); T - 1 frames of zeros come
                   before the first.
        "bottom":  3D-CNN at the bottom. A convolution (T, k, k) over the window of frames collapses T; cells of rank 2
                   read its rectified output.
        "top":     3D-CNN on top. Cells of rank 2 read frame by frame; a rectified convolution (T, k, k) over the last
                   T hidden maps of the top level is the output.
    A convolution (T, k, k) without padding in time is one of k x k on maps whose depth is folded into channels, and is
    computed so.

    Every `window_stride` frames the cells make a step (at steps t with t mod stride = 0); in between their states and
    the output stand.

    Output: (B, H, W, T F) "inside", the depth of the top level's hidden state folded into channels, slot by slot, so
    that a 1 x 1 convolution of it is one of (T, 1, 1) of the hidden state; (B, H, W, F) otherwise.

    States: those of `ZigZagStack`, then `recent`, the T maps of the window, newest last: (B, T, H, W, C) of frames, or
    (B, T, H, W, F) of hidden maps with "top"; with a stride above 1 then `clock` (B,) int32, the steps done.

    Args:
        cells: see `ZigZagStack`.
        window: int. T.
        window_stride: int. Frames from one window to the next.
        conv3d: "inside", "bottom" or "top".
        conv_filters, conv_kernel_size: of the convolution at the bottom or on top; None filters: those of the cells.

    Weights: the cells', then the convolution's kernel and bias.

    Raises:
        ValueError: values outside the above; cells of the wrong rank; cells that recall all steps (of a window that
            feeds on its own predictions their number is not known).

    Differs: the released code steps where t mod (window - stride) = 0, which is another thing for any window but 2;
    its baselines are not published: the paper's figure and words are followed. A step that is not due is computed and
    discarded; fixed shapes are kept that way.

    Reference: Y. Wang et al., "Eidetic 3D LSTM: A Model for Video Prediction and Beyond", ICLR 2019, figure 2.
    """

    def __init__(
        self, cells, window=2, window_stride=1, conv3d="inside", conv_filters=None, conv_kernel_size=5, **kwargs
    ):
        super().__init__(cells, **kwargs)
        check_positive("window", window)
        check_positive("window_stride", window_stride)
        if conv3d not in CONV3D:
            raise ValueError(f"`conv3d` must be one of {CONV3D}. Received: conv3d={conv3d!r}")
        ranks = [cell.rank for cell in self.cells]
        if set(ranks) != {3 if conv3d == "inside" else 2}:
            raise ValueError(
                'Cells of a `SlidingWindowStack` have rank 3 where conv3d="inside" and 2 elsewhere. '
                f"Received: conv3d={conv3d!r}, ranks={ranks}"
            )
        for cell in self.cells:
            shape = (1, *(64,) * cell.rank, 1)
            if cell.compute_output_shape(shape)[0][1:-1] != shape[1:-1]:
                raise ValueError(f"Cells of a `SlidingWindowStack` must keep the size of a map. Received: {cell.name}")
        if any(getattr(cell, "recall_steps", 0) is None for cell in self.cells):
            raise ValueError(
                "A `SlidingWindowStack` does not know how many steps will come, so cells need a number (context + "
                "horizon recalls all). Received: recall_steps=None"
            )
        self.window = window
        self.window_stride = window_stride
        self.conv3d = conv3d
        self.conv_filters = conv_filters
        self.conv_kernel_size = conv_kernel_size
        self.conv = None
        if conv3d != "inside":
            self.conv = layers.Conv2D(
                self.cells[0].filters if conv_filters is None else conv_filters,
                conv_kernel_size,
                padding="same",
                activation="relu",
                data_format="channels_last",
                dtype=self.dtype_policy,
                name=f"conv3d_{conv3d}",
            )

    def build(self, input_shape):
        batch, height, width, channels = input_shape
        self.recent_channels = self.cells[0].filters if self.conv3d == "top" else channels
        if self.conv is not None:
            self.conv.build((batch, height, width, self.window * self.recent_channels))
        super().build(self._cell_input_shape(input_shape))

    def _cell_input_shape(self, input_shape):
        batch, height, width, channels = input_shape
        if self.conv3d == "inside":
            return batch, self.window, height, width, channels
        return batch, height, width, self.conv.filters if self.conv3d == "bottom" else channels

    @property
    def state_names(self):
        return (*super().state_names, "recent", *["clock"] * (self.window_stride > 1))

    def _own(self, states):
        """The states as those of the zigzag, the window, and the clock in a list (empty without a stride)."""
        states = list(states)
        clock = [states.pop()] if self.window_stride > 1 else []
        return states[:-1], states[-1], clock

    @property
    def map_channels(self):
        if self.conv3d == "inside":
            return [self.window * channels for channels in super().map_channels]
        *lower, top = super().map_channels
        return [*lower, self.conv.filters if self.conv3d == "top" else top]

    def top_mean(self, states):
        return super().top_mean(self._own(states)[0])

    def hidden_maps(self, states):
        own, recent, _ = self._own(states)
        maps = super().hidden_maps(own)
        if self.conv3d == "inside":
            return [fold_depth(hidden) for hidden in maps]
        return [*maps[:-1], self.conv(fold_depth(recent))] if self.conv3d == "top" else maps

    def _read(self, frame, recent):
        """The window with a new frame, and what the lowest cell makes of it."""
        if self.conv3d == "top":
            return recent, frame
        recent = moved_up(recent, frame)
        return recent, recent if self.conv3d == "inside" else self.conv(fold_depth(recent))

    def project_sequence(self, inputs, noise=None):
        """Nothing yet: what a step reads depends on the frames before it."""
        return inputs

    def step(self, x, states, noise=None):
        own, recent, clock = self._own(states)
        recent, x = self._read(x, recent)
        hidden, new = super().step(super().project_sequence(x[None], noise)[0], own, noise)
        new_recent = moved_up(recent, hidden) if self.conv3d == "top" else recent
        if clock:
            due = clock[0] % self.window_stride == 0
            *new, new_recent = (
                ops.where(ops.reshape(due, (-1, *(1,) * (len(a.shape) - 1))), a, b)
                for a, b in zip([*new, new_recent], [*own, recent])
            )
            clock = [clock[0] + 1]
        states = [*new, new_recent, *clock]
        return self.hidden_maps(states)[-1], states

    def sample_noise(self, inputs, states):
        own, recent, _ = self._own(states)
        return super().sample_noise(self._read(inputs, recent)[1], own)

    def get_initial_state(self, batch_size, spatial_shape=None, num_steps=None):
        inside = self.conv3d == "inside"
        if spatial_shape is not None and inside:
            spatial_shape = (self.window, *spatial_shape)
        own = super().get_initial_state(batch_size, spatial_shape, num_steps)
        height, width = ops.shape(own[0])[-3:-1]
        recent = ops.zeros((batch_size, self.window, height, width, self.recent_channels), dtype=self.compute_dtype)
        return [*own, recent, *[ops.zeros((batch_size,), dtype="int32")] * (self.window_stride > 1)]

    def get_initial_output(self, batch_size, spatial_shape=None):
        return self.hidden_maps(self.get_initial_state(batch_size, spatial_shape))[-1]

    def compute_output_shape(self, input_shape, states_shape=None):
        batch, height, width, channels = input_shape
        _, own = super().compute_output_shape(self._cell_input_shape(input_shape))
        recent = (batch, self.window, height, width, self.cells[0].filters if self.conv3d == "top" else channels)
        return (batch, height, width, self.map_channels[-1]), [*own, recent, *[(batch,)] * (self.window_stride > 1)]
