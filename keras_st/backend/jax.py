"""JAX forms of the primitives in `keras_st.backend`."""

import jax


def scan(step, carry, xs, length, y_like):
    def typed_step(carry, xs_t):
        carry, ys = step(carry, xs_t)
        return carry, [y.astype(like.dtype) for y, like in zip(ys, y_like)]

    return jax.lax.scan(typed_step, list(carry), list(xs), length=length)


def is_compiled():
    return True
