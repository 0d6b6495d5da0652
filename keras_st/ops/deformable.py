"""Deformable convolution: every tap reads the map where an offset sends it. A pure function of tensors."""

import itertools

from keras import ops


def deformable_conv(x, kernel, offsets, modulation=None, groups=1):
    """y(p) = sum_n m_n(p) x(p + p_n + d_n(p)) w_n, x between pixels by bilinear interpolation, 0 outside the map.

    Args:
        x: float (B, H, W, C).
        kernel: float (kh, kw, C, F), taps n in row order, p_n centred (even sizes reach further after than before).
        offsets: float (B, H, W, 2 G K), K = kh kw: for every group and tap (row, column), in pixels.
        modulation: float (B, H, W, G K) or None: m = 1.
        groups: int. G; every group of C / G channels has its own offsets.

    Returns: float (B, H, W, F). Memory: B H W K C floats.

    Reference: J. Dai et al., "Deformable Convolutional Networks", ICCV 2017 (v1); X. Zhu et al., "Deformable ConvNets
    v2", CVPR 2019 (modulation).
    """
    kh, kw, channels, filters = kernel.shape
    batch, height, width, _ = ops.shape(x)
    taps, dtype = kh * kw, x.dtype
    offsets = ops.reshape(offsets, (batch, height, width, groups, taps, 2))
    grid = [(i - (kh - 1) // 2, j - (kw - 1) // 2) for i, j in itertools.product(range(kh), range(kw))]
    grid = ops.cast(ops.convert_to_tensor(grid), dtype)  # p_n
    rows = ops.cast(ops.arange(height), dtype)[None, :, None, None, None]
    columns = ops.cast(ops.arange(width), dtype)[None, None, :, None, None]
    q_rows = rows + grid[:, 0] + offsets[..., 0]  # (B, H, W, G, K)
    q_columns = columns + grid[:, 1] + offsets[..., 1]
    sampled = _bilinear(x, q_rows, q_columns, groups)  # (B, H, W, G, K, C/G)
    if modulation is not None:
        sampled = sampled * ops.reshape(modulation, (batch, height, width, groups, taps, 1))
    sampled = ops.transpose(sampled, (0, 1, 2, 4, 3, 5))
    sampled = ops.reshape(sampled, (batch, height, width, taps * channels))
    y = ops.matmul(sampled, ops.reshape(kernel, (taps * channels, filters)))
    return ops.cast(y, dtype)  # on PyTorch a float64 product comes back as float32


def _bilinear(x, rows, columns, groups):
    """Values of x (B, H, W, C) at real positions (B, H, W, G, K): (B, H, W, G, K, C/G); pixels outside count as 0."""
    batch, height, width, channels = ops.shape(x)
    flat = ops.reshape(x, (batch * height * width * groups, channels // groups))
    group = ops.arange(groups)[:, None]
    clip = ops.arange(batch)[:, None, None, None, None]
    top, left = ops.floor(rows), ops.floor(columns)
    below, beside = rows - top, columns - left
    last_row, last_column = (ops.cast(size - 1, x.dtype) for size in (height, width))
    total = 0.0
    for down, right in itertools.product((0, 1), (0, 1)):
        r, c = top + down, left + right
        # Not 1 - |rows - r|: at whole positions, where offsets start, the gradient of |.| is 0.
        weight = (below if down else 1 - below) * (beside if right else 1 - beside)
        inside = (r >= 0) & (r <= last_row) & (c >= 0) & (c <= last_column)
        r = ops.cast(ops.clip(r, 0, last_row), "int32")
        c = ops.cast(ops.clip(c, 0, last_column), "int32")
        index = ((clip * height + r) * width + c) * groups + group
        values = ops.take(flat, index, axis=0)
        total = total + values * (weight * ops.cast(inside, x.dtype))[..., None]
    return total
