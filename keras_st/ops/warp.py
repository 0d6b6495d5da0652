"""Backward warping of images by flow. A pure function of tensors."""

from keras import ops


def warp(images, flow):
    """J(x) = I(x + u(x)): every pixel takes the value its flow points at, bilinear between pixels.

    With the flow from a frame to the next one, the next frame warped looks like the frame itself.

    Args:
        images: float (B, H, W, C).
        flow: float (B, H, W, 2), (u, v) in pixels: u to the right, v down.

    Returns: (B, H, W, C) of the dtype of `images`. Beyond the border the nearest pixel of it is read, so that what
    flow points outside has no slope across the border there. Differentiable in both.

    Raises: ValueError: a flow of other channels.

    >>> warp(ops.convert_to_tensor([[[[1.0], [2.0], [4.0]]]]), ops.full((1, 1, 3, 2), 0.5))[0, 0, :, 0].numpy().tolist()
    [1.5, 3.0, 4.0]
    """
    if flow.shape[-1] != 2:
        raise ValueError(f"`flow` must be (B, H, W, 2). Received: shape={tuple(flow.shape)}")
    batch, height, width, channels = ops.shape(images)
    rows, columns, last_row, last_column = _pointed_at(flow, images.dtype)
    rows, columns = ops.clip(rows, 0, last_row), ops.clip(columns, 0, last_column)
    left, top = ops.floor(columns), ops.floor(rows)
    beside, below = (columns - left)[..., None], (rows - top)[..., None]
    left, top = ops.cast(left, "int32"), ops.cast(top, "int32")
    right, bottom = ops.minimum(left + 1, width - 1), ops.minimum(top + 1, height - 1)
    flat = ops.reshape(images, (batch * height * width, channels))
    first_row = height * ops.arange(batch)[:, None, None]

    def along(row):
        first, second = (ops.take(flat, (first_row + row) * width + column, axis=0) for column in (left, right))
        return (1 - beside) * first + beside * second

    return (1 - below) * along(top) + below * along(bottom)


def inside(flow):
    """bool (B, H, W, 1): whether what a flow (B, H, W, 2) points at lies in the image."""
    rows, columns, last_row, last_column = _pointed_at(flow, flow.dtype)
    return ((rows >= 0) & (rows <= last_row) & (columns >= 0) & (columns <= last_column))[..., None]


def _pointed_at(flow, dtype):
    """Rows and columns x + u(x), each (B, H, W), and the last ones of the image."""
    height, width = ops.shape(flow)[1:3]
    rows = ops.cast(ops.arange(height), dtype)[:, None] + flow[..., 1]
    columns = ops.cast(ops.arange(width), dtype) + flow[..., 0]
    return rows, columns, *(ops.cast(size - 1, dtype) for size in (height, width))
