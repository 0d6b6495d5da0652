"""Folding of patches and of time into other axes. Pure functions of tensors, channels last."""

from keras import ops


def space_to_depth(x, patch):
    """Folds every `patch` x `patch` block of pixels into channels.

    Channel order is (row in block, column in block, channel), as `tf.nn.space_to_depth` and the
    `reshape_patch` of the PredRNN family.

    Args:
        x: tensor (..., H, W, C).
        patch: int. Both H and W must be multiples of it.

    Returns:
        tensor (..., H/patch, W/patch, patch * patch * C).
    """
    if patch == 1:
        return x
    *lead, h, w, c = ops.shape(x)
    check_divisible(h, w, patch)
    n = len(lead)
    x = ops.reshape(x, (*lead, h // patch, patch, w // patch, patch, c))
    x = ops.transpose(x, (*range(n), n, n + 2, n + 1, n + 3, n + 4))
    return ops.reshape(x, (*lead, h // patch, w // patch, patch * patch * c))


def check_divisible(height, width, patch):
    """Raises ValueError where a known height or width is not a multiple of `patch`."""
    for name, size in (("height", height), ("width", width)):
        if isinstance(size, int) and size % patch:
            raise ValueError(f"The {name} of the frames must be a multiple of patch={patch}. Received: {name}={size}")


def depth_to_space(x, patch):
    """Inverse of `space_to_depth`: tensor (..., H, W, patch * patch * C) -> (..., H*patch, W*patch, C)."""
    if patch == 1:
        return x
    *lead, h, w, c = ops.shape(x)
    n = len(lead)
    x = ops.reshape(x, (*lead, h, w, patch, patch, c // (patch * patch)))
    x = ops.transpose(x, (*range(n), n, n + 2, n + 1, n + 3, n + 4))
    return ops.reshape(x, (*lead, h * patch, w * patch, c // (patch * patch)))


def fold_depth(x):
    """(B, T, H, W, C) -> (B, H, W, T * C), slot by slot."""
    batch, depth, height, width, channels = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 2, 3, 1, 4)), (batch, height, width, depth * channels))


def moved_up(x, newest):
    """A buffer (B, N, ...) one step on: the oldest entry is gone, `newest` (B, ...) is the last."""
    return ops.concatenate([x[:, 1:], newest[:, None]], axis=1)


def merge_leading(x):
    """(A, B, ...) -> (A*B, ...)."""
    a, b, *rest = ops.shape(x)
    if rest and isinstance(rest[-1], int) and rest[-1] == 0:  # a clip of no channels, which ONNX cannot reshape
        return ops.zeros((a * b, *rest), dtype=x.dtype)
    return ops.reshape(x, (a * b, *rest))


def split_leading(x, a, b):
    """(A*B, ...) -> (A, B, ...)."""
    return ops.reshape(x, (a, b, *ops.shape(x)[1:]))
