"""TensorFlow forms of the primitives in `keras_st.backend`."""

import math

import tensorflow as tf
from tensorflow.python.ops import control_flow_util


def scan(step, carry, xs, length, y_like):
    carry = [tf.convert_to_tensor(c) for c in carry]
    xs = [tf.convert_to_tensor(x) for x in xs]
    reads = [tf.TensorArray(x.dtype, size=length, element_shape=x.shape[1:]).unstack(x) for x in xs]
    writes = [tf.TensorArray(y.dtype, size=length, element_shape=y.shape) for y in y_like]
    shapes = [c.shape for c in carry]

    def body(t, carry, writes):
        carry, ys = step(list(carry), [x.read(t) for x in reads])
        carry = [tf.ensure_shape(c, shape) for c, shape in zip(carry, shapes)]
        return t + 1, carry, [w.write(t, y) for w, y in zip(writes, ys)]

    # One iteration at a time: where they do not depend on each other, ten would hold their intermediate values at once.
    _, carry, writes = tf.while_loop(
        lambda t, *_: t < length,
        body,
        (tf.constant(0), carry, writes),
        parallel_iterations=1,
        maximum_iterations=length,
    )
    return list(carry), [w.stack() for w in writes]


def is_compiled():
    """Whether the graph being traced is for XLA (`jit_compile=True`)."""
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


STEPS_PER_KERNEL_GRADIENT = 5  # one convolution over several steps is faster than one each; all at once holds them all


def conv_recurrence(conv, gates, gates_gradient, inputs, hidden, cell, kernel, recurrent_kernel, bias, from_zero):
    """Keeps of a step what `gates` returns as kept and c; takes the kernels' gradient for several steps at once.

    The control dependencies keep what only waits for memory (slices, recomputed values) from being done early.
    """
    if tf.executing_eagerly():
        return None
    length, channels = inputs.shape[1], kernel.shape[-2]

    @tf.custom_gradient
    def run(inputs, h, c, kernel, recurrent_kernel, bias):
        joined_kernel = tf.concat([kernel, recurrent_kernel], axis=-2)
        first_h, outputs, cells, kept = h, [], [c], []
        for t in range(length):
            with tf.control_dependencies([h]):
                x = inputs[:, t]
            if t == 0 and from_zero and channels:
                a = conv(x, kernel)
            else:
                a = conv(tf.concat([x, h], axis=-1), joined_kernel)
            h, c, kept_t = gates(tf.nn.bias_add(a, bias), c)
            outputs.append(h)
            cells.append(c)
            kept.append(kept_t)

        def gradient(d_outputs, dh, dc):
            d_inputs, sums, done = [], [], []
            pending = []  # of the last few steps: [da, x, the hidden state before it]

            def take_kernel_gradient():
                da, x, h = (tf.concat(parts, axis=0) for parts in zip(*pending))
                d_joined = _gradient(lambda w: conv(tf.concat([x, h], axis=-1), w), joined_kernel, da)
                new = [d_joined, tf.reduce_sum(da, axis=list(range(da.shape.rank - 1)))]
                sums[:] = [a + b for a, b in zip(sums, new)] if sums else new
                dx = _gradient(lambda x: conv(x, kernel), x, da) if channels else x
                d_inputs[:0] = tf.split(dx, len(pending))
                pending.clear()

            for t in reversed(range(length)):
                with tf.control_dependencies([dh, *done]):
                    dh = dh + d_outputs[:, t]
                with tf.control_dependencies([dh]):
                    da, dc, h = gates_gradient(kept[t], cells[t], cells[t + 1], dh, dc)
                    if pending:
                        pending[0].append(h)
                    if len(pending) == STEPS_PER_KERNEL_GRADIENT:
                        take_kernel_gradient()
                        done = list(sums)
                    pending.insert(0, [da, inputs[:, t]])
                    dh = _gradient(lambda h: conv(h, recurrent_kernel), h, da)
            pending[0].append(first_h)
            with tf.control_dependencies([da]):
                take_kernel_gradient()
            d_joined, d_bias = sums
            d_kernel, d_recurrent_kernel = d_joined[..., :channels, :], d_joined[..., channels:, :]
            return tf.stack(d_inputs, axis=1), dh, dc, d_kernel, d_recurrent_kernel, d_bias

        return (tf.stack(outputs, axis=1), h, c), gradient

    return run(inputs, hidden, cell, kernel, recurrent_kernel, bias)


def _gradient(function, x, upstream):
    """Of a function at x. In a graph, what of the function itself its gradient does not need is never run."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x, upstream)


def sigmoid_gradient(s, upstream):
    return tf.raw_ops.SigmoidGrad(y=s, dy=upstream)


def tanh_gradient(t, upstream):
    return tf.raw_ops.TanhGrad(y=t, dy=upstream)


def multiply_adds(function, *shapes):
    """Counts operations in the graph; taps on padding count too, as is usual."""
    specs = [tf.TensorSpec(shape, "float32") for shape in shapes]
    graph = tf.function(function).get_concrete_function(*specs).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("While", "StatelessWhile"):
            return None
        if operation.type in ("Conv2D", "Conv3D"):
            *taps, _ = operation.inputs[1].shape
            total += operation.outputs[0].shape.num_elements() * math.prod(taps)
        elif operation.type in ("MatMul", "BatchMatMulV2"):
            transposed = any(operation.node_def.attr[name].b for name in ("transpose_a", "adj_x"))
            total += operation.outputs[0].shape.num_elements() * operation.inputs[0].shape[-2 if transposed else -1]
    return total
