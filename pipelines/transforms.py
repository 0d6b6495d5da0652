"""What happens to frames before a model sees them: functions of float tensors (T, H, W, C), in the graph."""

import tensorflow as tf


def resize(frames, size):
    """Frames brought to (height, width), bilinear, smoothed where they shrink."""
    return tf.image.resize(frames, size, antialias=True)


def random_crop(frames, size, seed):
    """The same (height, width) window of every frame, anywhere; `seed` int64 (2,) decides."""
    space = _space(frames, size)
    top_left = [tf.random.stateless_uniform([], seed + [0, n], 0, space[n] + 1, tf.int32) for n in range(2)]
    return _window(frames, *top_left, size)


def view_crops(frames, size, crops):
    """(crops, T, height, width, C): 1, the centre; 5, also the corners; 10, also the mirror images of those."""
    rows, columns = _space(frames, size)
    places = [(rows // 2, columns // 2)]
    if crops > 1:
        places += [(0, 0), (0, columns), (rows, 0), (rows, columns)]
    windows = [_window(frames, top, left, size) for top, left in places]
    if crops == 10:
        windows += [tf.reverse(window, [2]) for window in windows]
    return tf.stack(windows)


def random_flip(frames, seed):
    """Half of the clips mirrored left to right; `seed` int64 (2,) decides."""
    return tf.cond(tf.random.stateless_uniform([], seed) < 0.5, lambda: tf.reverse(frames, [2]), lambda: frames)


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
