"""TV-L1 optical flow as a layer: part of a model's graph, so that it is exported and served with it."""

import keras
from keras import layers, ops

from keras_st.backend import scan
from keras_st.ops.warp import warp

GREY = (0.299, 0.587, 0.114)  # of R, G, B: ITU-R BT.601, the weights of OpenCV's RGB2GRAY
SMALLEST_SIDE = 16  # pixels: no level of a pyramid is smaller, unless the frames are
TINY = 1e-6  # squared grey levels, squared pixels: quotients and roots stay differentiable where nothing changes

# Options chosen on the seven Middlebury training pairs, on which benchmarks/flow.py measures them.
ACCURATE = {"data_weight": 0.4, "warps": 10, "iterations": 20}


@keras.saving.register_keras_serializable(package="keras_st")
class TVL1Flow(layers.Layer):
    """Displacements from every frame to the next one: total variation of the flow, L1 norm of what it does not explain.

    Equations: of two frames I_0, I_1 in grey levels 0..255, for the flow u = (u_1, u_2)
        E(u) = sum_x |grad u_1| + |grad u_2| + lambda |I_1(x + u) - I_0(x)|
    is decoupled by a second field v, and I_1 is made linear at the flow u_0 found so far:
        E(u, v) = sum_x |grad u_1| + |grad u_2| + |u - v|^2 / (2 theta) + lambda |rho(v)|
        rho(v) = I_1(x + u_0) + g . (v - u_0) - I_0(x),   g = grad I_1(x + u_0).
    Solved for v, for u and for the dual variable p_d of every component d of u in turn, `iterations` times:
        v   = u - g clip(rho(u) / |g|^2, -lambda theta, lambda theta)
        u_d = v_d + theta div p_d
        p_d = (p_d + tau / theta grad u_d) / (1 + tau / theta |grad u_d|)
    with forward differences in grad (0 beyond the border) and backward ones in div. Then the flow passes a 3 x 3
    median, becomes u_0, and I_1 is warped anew, `warps` times on every level of a pyramid, from the coarsest to the
    frames themselves.

    Args:
        value_range: two floats. The values of black and white; (0, 255), or (0, 1) for frames that a pipeline scaled.
        data_weight: float. lambda, per grey level: the smaller, the smoother the flow.
        tightness: float. theta: how far u and v may lie apart.
        time_step: float. tau, at most 1/4.
        levels: int. Sizes of the pyramid, at least 1; none has a side under 16 pixels.
        scale: float in (0, 1). Size of a level relative to the finer one.
        warps: int. Linearisations per level.
        iterations: int. Of the scheme above per linearisation; there is no other stopping rule.
        median: bool. The median filter (Wedel et al.), against outliers.
        dtype: float32 unless given, whatever the global policy is: a hundredth of a pixel needs it.

    `TVL1Flow(**ACCURATE)` takes about three times as long for a fifth less error (benchmarks/flow.py).

    Call args: inputs: uint8 or float (B, T, H, W, 1), or (B, T, H, W, 3) RGB, which becomes grey as
        0.299 R + 0.587 G + 0.114 B. Every size may be unknown until the call.

    Returns: float32 (B, T - 1, H, W, 2) in pixels per frame: (u, v) of what a pixel of the earlier frame shows, u to
        the right, v down. Differentiable with respect to the frames.

    Raises: ValueError: arguments outside these ranges, frames of another rank or number of channels.

    Differs: from the paper, the median filter. From OpenCV's DualTVL1OpticalFlow, whose lambda, theta, tau, numbers of
        levels and of warps are the defaults here: it scales by 0.8, so that its coarsest level is 0.41 of the frame and
        not 0.06, too fine for motion of 20 pixels; it iterates 10 x 30 times, a 5 x 5 median before every 30, or until
        the flow hardly changes; it reads both the image and its gradient (central differences) between pixels by cubic
        interpolation, where this takes the gradient (five-point differences) of the image warped bilinearly; it starts
        every level with p = 0, where p is carried over here; and it has an illumination term, off by default.

    Reference: C. Zach, T. Pock, H. Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007;
        A. Wedel, T. Pock, C. Zach, H. Bischof, D. Cremers, "An Improved Algorithm for TV-L1 Optical Flow", 2009
        (median filter, five-point differences); J. Sanchez, E. Meinhardt-Llopis, G. Facciolo, "TV-L1 Optical Flow
        Estimation", IPOL 2013 (the discrete scheme; its sign of p).
    """

    def __init__(
        self,
        value_range=(0, 255),
        data_weight=0.15,
        tightness=0.3,
        time_step=0.25,
        levels=5,
        scale=0.5,
        warps=5,
        iterations=10,
        median=True,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        if len(value_range) != 2 or not value_range[0] < value_range[1]:
            raise ValueError(f"`value_range` must be (black, white), rising. Received: value_range={value_range}")
        for name, value, largest in (
            ("data_weight", data_weight, float("inf")),
            ("tightness", tightness, float("inf")),
            ("time_step", time_step, 0.25),
        ):
            if not 0 < value <= largest:
                raise ValueError(f"`{name}` must be positive, at most {largest}. Received: {name}={value}")
        for name, value in (("levels", levels), ("warps", warps), ("iterations", iterations)):
            if type(value) is not int or value < 1:
                raise ValueError(f"`{name}` must be a positive int. Received: {name}={value!r}")
        if not 0 < scale < 1:
            raise ValueError(f"`scale` must lie between 0 and 1. Received: scale={scale}")
        self.value_range, self.levels, self.scale = tuple(value_range), levels, scale
        self.data_weight, self.tightness, self.time_step = data_weight, tightness, time_step
        self.warps, self.iterations, self.median = warps, iterations, median

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)
        batch, length, height, width, _ = ops.shape(inputs)
        pyramid = [self._grey(inputs)]  # (B, T, h, w), from fine to coarse
        for level in range(1, self.levels):
            size = [_level_size(n, self.scale**level) for n in (height, width)]
            pyramid.append(_resize(pyramid[-1], size))
        flow = None
        for frames in reversed(pyramid):
            size = ops.shape(frames)[2:]
            first, second = (ops.reshape(f, (-1, *size)) for f in (frames[:, :-1], frames[:, 1:]))  # (N, h, w)
            # Components lead: their sums and norms then run along memory. u is (2, N, h, w), so are d/dx and d/dy's p.
            if flow is None:
                flow = [ops.zeros((2, *ops.shape(first)), first.dtype)] * 3
            else:
                coarse = ops.shape(flow[0])[2:]
                u, *p = (_resize(maps, size) for maps in flow)
                grown = [ops.cast(n, u.dtype) / ops.cast(o, u.dtype) for n, o in zip(size[::-1], coarse[::-1])]
                flow = [u * ops.reshape(ops.stack(grown), (2, 1, 1, 1)), *p]
            flow = self._refine(first, second, flow)
        u = ops.moveaxis(flow[0], 0, -1)
        return ops.reshape(u, (batch, length - 1, height, width, 2))

    def _grey(self, inputs):
        """(B, T, H, W) in grey levels 0..255."""
        x = ops.cast(inputs, self.compute_dtype)
        x = x[..., 0] if x.shape[-1] == 1 else sum(weight * x[..., n] for n, weight in enumerate(GREY))
        black, white = self.value_range
        return (x - black) * (255 / (white - black))

    def _refine(self, first, second, flow):
        """`[u, p_x, p_y]` after all linearisations of one level."""

        def linearise(flow, _):
            u, *p = flow
            image = warp(second[..., None], ops.moveaxis(u, 0, -1))[..., 0]
            gradient = image_gradient(image)
            u, *p = dual_scheme(
                [u, *p], image - first, gradient, self.data_weight, self.tightness, self.time_step, self.iterations
            )
            return [median(u) if self.median else u, *p], []

        # Not written out, which XLA, where it is used, would compile for minutes. Here and in the scheme.
        return scan(linearise, flow, [], self.warps, [], unroll=False)[0]

    def compute_output_shape(self, input_shape):
        if len(input_shape) != 5 or input_shape[-1] not in (1, 3):
            raise ValueError(f"Frames must be (B, T, H, W, 1 or 3). Received: shape={tuple(input_shape)}")
        batch, length, height, width, _ = input_shape
        return (batch, None if length is None else length - 1, height, width, 2)

    def get_config(self):
        names = ("data_weight", "tightness", "time_step", "levels", "scale", "warps", "iterations", "median")
        own = {"value_range": list(self.value_range), **{name: getattr(self, name) for name in names}}
        return {**super().get_config(), **own}


def dual_scheme(flow, difference, gradient, data_weight, tightness, time_step, iterations):
    """`[u, p_x, p_y]` after `iterations` of v, u and p of `TVL1Flow`, linear at the u given.

    Args:
        flow: [u, p_x, p_y], float (2, N, H, W) each, the components of u first; p_x and p_y: of both p_d.
        difference: (N, H, W). I_1(x + u) - I_0(x), at the u given.
        gradient: (2, N, H, W). g, d/dx first.
    """
    limit, rate = data_weight * tightness, time_step / tightness
    square = ops.maximum(gradient[0] * gradient[0] + gradient[1] * gradient[1], TINY)
    slope = gradient / square  # so that rho(u) / |g|^2 = slope . u - offset
    offset = (slope[0] * flow[0][0] + slope[1] * flow[0][1]) - difference / square

    # No sum of three: of large maps, inside two loops, TensorFlow's graph optimizer would make it a temporary variable,
    # of which there may be one at a time, and fail ("Resource ... tmp_var ... ALREADY_EXISTS").

    def iterate(flow, _):
        u, px, py = flow
        v = u - gradient * ops.clip(slope[0] * u[0] + slope[1] * u[1] - offset, -limit, limit)
        u = v + tightness * divergence(px, py)
        ux, uy = forward_differences(rate * u)
        norm = 1 + ops.sqrt(ops.maximum(ux * ux + uy * uy, TINY**2))
        return [u, (px + ux) / norm, (py + uy) / norm], []

    return scan(iterate, flow, [], iterations, [], unroll=False)[0]


def forward_differences(u):
    """d/dx and d/dy of (2, N, H, W); 0 in the last column and row."""
    right, down = u[..., 1:] - u[..., :-1], u[..., 1:, :] - u[..., :-1, :]
    return ops.pad(right, [[0, 0]] * 3 + [[0, 1]]), ops.pad(down, [[0, 0]] * 2 + [[0, 1], [0, 0]])


def divergence(px, py):
    """The negative adjoint of `forward_differences`, of fields that are 0 where those are."""
    left = ops.pad(px[..., :-1], [[0, 0]] * 3 + [[1, 0]])
    above = ops.pad(py[..., :-1, :], [[0, 0]] * 2 + [[1, 0], [0, 0]])
    return px - left + py - above


def image_gradient(images):
    """d/dx and d/dy of (N, H, W) as (2, N, H, W): (I(-2) - 8 I(-1) + 8 I(1) - I(2)) / 12, the border repeated."""

    def slope(x):  # along rows
        x = ops.concatenate([x[..., :1], x[..., :1], x, x[..., -1:], x[..., -1:]], axis=-1)
        return (8 * (x[..., 3:-1] - x[..., 1:-3]) - (x[..., 4:] - x[..., :-4])) / 12

    return ops.stack([slope(images), ops.swapaxes(slope(ops.swapaxes(images, -1, -2)), -1, -2)])


def median(maps):
    """The median of every 3 x 3 pixels, the border repeated: that of the columns' largest least, middle median and
    least largest values."""
    least, most = ops.minimum, ops.maximum

    def middle(a, b, c):
        return most(least(a, b), least(most(a, b), c))

    maps = ops.concatenate([maps[..., :1, :], maps, maps[..., -1:, :]], axis=-2)
    maps = ops.concatenate([maps[..., :1], maps, maps[..., -1:]], axis=-1)
    column = maps[..., :-2, :], maps[..., 1:-1, :], maps[..., 2:, :]

    def beside(x):
        return x[..., :-2], x[..., 1:-1], x[..., 2:]

    low = beside(least(least(*column[:2]), column[2]))
    high = beside(most(most(*column[:2]), column[2]))
    low, high = most(most(*low[:2]), low[2]), least(least(*high[:2]), high[2])
    return middle(low, middle(*beside(middle(*column))), high)


def _level_size(size, factor):
    if isinstance(size, int):
        return min(size, max(SMALLEST_SIDE, round(size * factor)))
    scaled = ops.cast(ops.round(ops.cast(size, "float64") * factor), "int32")
    return ops.minimum(size, ops.maximum(SMALLEST_SIDE, scaled))


def _resize(maps, size):
    """(..., H, W) brought to a size, bilinear, smoothed where it shrinks: two matrix products.

    Unlike `ops.image.resize` it is one formula on every backend, and XLA has it.
    """
    for new in reversed(size):  # columns, then, transposed, rows
        old = ops.shape(maps)[-1]
        step = ops.cast(old, maps.dtype) / ops.cast(new, maps.dtype)
        centres = (ops.cast(ops.arange(new), maps.dtype) + 0.5) * step - 0.5
        distance = ops.abs(ops.cast(ops.arange(old), maps.dtype)[:, None] - centres)
        weights = ops.relu(1 - distance / ops.maximum(step, 1))
        weights = weights / ops.sum(weights, axis=0)
        # Not `matmul`: of a stack and one matrix, TensorFlow's writes beyond its memory (2.21 with oneDNN, CPU).
        maps = ops.swapaxes(ops.tensordot(maps, weights, axes=1), -1, -2)
    return maps
