"""Every layer and model is one graph for any batch, time, height and width, but for what it must know (TensorFlow).

That is what a served folder holds; folders are tested with `keras_st.serving`.
"""

import keras
import numpy as np
import pytest

from tests.conformance.cases import CASES, over
from tests.conformance.test_conformance import assert_close

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export is TensorFlow's")


def sized(case, shape, batch, steps, more=0):
    """`shape` with these sizes, positions `more` than it has; None: unknown, where the case need not know them."""
    if len(shape) == 2:
        return (batch, shape[1])
    time = shape[1] if "time" in case.known else steps
    space = [n if "space" in case.known else more if more is None else n + more for n in shape[2:-1]]
    return (batch, time, *space, shape[-1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_graph_for_every_size(case):
    import tensorflow as tf

    layer, unknown = case.make(), over(case.shape, lambda shape: sized(case, shape, None, None, None))
    layer.build(unknown)

    def call(*parts):
        return layer(keras.tree.pack_sequence_as(over(case.shape, lambda _: 0), parts))

    shapes = [unknown[name] for name in sorted(unknown)] if isinstance(unknown, dict) else unknown
    shapes = shapes if isinstance(shapes, list) else [shapes]
    served = tf.function(call, input_signature=[tf.TensorSpec(shape) for shape in shapes], autograph=False)
    for sizes in ((2, 4, 0), (1, 3, 2), (3, 1, 4)):
        rng = np.random.default_rng(sizes[1])
        x = over(case.shape, lambda shape, sizes=sizes, rng=rng: rng.random(sized(case, shape, *sizes), "float32"))
        x = case.fit(x)
        parts = keras.tree.flatten(x)
        assert_close(served(*parts), call(*parts))
