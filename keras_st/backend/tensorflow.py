"""TensorFlow forms of the primitives in `keras_st.backend`."""

import tensorflow as tf


def scan(step, carry, xs, length, y_dtypes):
    carry = [tf.convert_to_tensor(c) for c in carry]
    xs = [tf.convert_to_tensor(x) for x in xs]
    reads = [tf.TensorArray(x.dtype, size=length, element_shape=x.shape[1:]).unstack(x) for x in xs]
    writes = [tf.TensorArray(dtype, size=length) for dtype in y_dtypes]
    shapes = [c.shape for c in carry]

    def body(t, carry, writes):
        carry, ys = step(list(carry), [x.read(t) for x in reads])
        carry = [tf.ensure_shape(c, shape) for c, shape in zip(carry, shapes)]
        return t + 1, carry, [w.write(t, y) for w, y in zip(writes, ys)]

    _, carry, writes = tf.while_loop(
        lambda t, *_: t < length, body, (tf.constant(0), carry, writes), maximum_iterations=length
    )
    return list(carry), [w.stack() for w in writes]
