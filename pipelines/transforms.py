"""What happens to frames before a model sees them: functions of tensors (T, H, W, C), in the graph.

Flow (T, H, W, 2) in px, u right and v down, follows the geometry: say `is_flow` (it is changed after it is decoded, so
that mirrored rest, stored as 128, becomes what 127 stands for). Frames and flow given the same seed
and size are cut and mirrored alike.
"""

import tensorflow as tf


def resize(frames, size, is_flow=False):
    """Frames brought to (height, width), bilinear, smoothed where they shrink; displacements grow with their axis."""
    resized = tf.image.resize(frames, size, antialias=True)
    if not is_flow:
        return resized
    height, width = tf.unstack(tf.cast(size, tf.float32) / tf.cast(tf.shape(frames)[1:3], tf.float32))
    return resized * tf.stack([width, height])


def mirror(frames, is_flow=False):
    """Frames mirrored left to right; u changes its sign."""
    mirrored = tf.reverse(frames, [2])
    return mirrored * tf.constant([-1.0, 1.0]) if is_flow else mirrored


def random_crop(frames, size, seed):
    """The same (height, width) window of every frame, anywhere; `seed` int64 (2,) decides."""
    space = _space(frames, size)
    top_left = [tf.random.stateless_uniform([], seed + [0, n], 0, space[n] + 1, tf.int32) for n in range(2)]
    return _window(frames, *top_left, size)


def view_crops(frames, size, crops, is_flow=False):
    """(crops, T, height, width, C): 1, the centre; 5, also the corners; 10, also the mirror images of those."""
    rows, columns = _space(frames, size)
    places = [(rows // 2, columns // 2)]
    if crops > 1:
        places += [(0, 0), (0, columns), (rows, 0), (rows, columns)]
    windows = [_window(frames, top, left, size) for top, left in places]
    if crops == 10:
        windows += [mirror(window, is_flow) for window in windows]
    return tf.stack(windows)


def random_flip(frames, seed, is_flow=False):
    """Half of the clips mirrored left to right; `seed` int64 (2,) decides."""
    return tf.cond(tf.random.stateless_uniform([], seed) < 0.5, lambda: mirror(frames, is_flow), lambda: frames)


def _space(frames, size):
    """How far a window of (height, width) can move in frames."""
    space = tf.shape(frames)[1:3] - tf.constant(size)
    fits = tf.debugging.assert_non_negative(space, "A crop must fit into the frames.")
    with tf.control_dependencies([fits]):
        return tf.unstack(tf.identity(space))


def _window(frames, top, left, size):
    height, width = size
    window = frames[:, top : top + height, left : left + width]
    return tf.ensure_shape(window, (frames.shape[0], height, width, frames.shape[-1]))
