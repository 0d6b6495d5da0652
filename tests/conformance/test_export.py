"""Every layer and model exports with unknown batch, time, height and width (TensorFlow)."""

import keras
import numpy as np
import pytest

from tests.conformance.cases import CASES
from tests.conformance.test_conformance import assert_close

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export is TensorFlow's")
STATIC = {"ConvLSTM2D-full"}  # a weight for every position


@pytest.mark.parametrize("case", [c for c in CASES if c.name not in STATIC], ids=lambda case: case.name)
def test_exports_with_every_size_unknown(case, tmp_path):
    import tensorflow as tf

    layer, is_model = case.make(), isinstance(case.shape, dict)
    *sizes, channels = case.shape["video"] if is_model else case.shape
    unknown = (*(None for _ in sizes), channels)
    layer.build({"video": unknown} if is_model else unknown)

    def call(x):
        return layer({"video": x} if is_model else x)

    archive = keras.export.ExportArchive()
    archive.track(layer)
    archive.add_endpoint("serve", call, [keras.layers.InputSpec(shape=unknown, dtype="float32")])
    archive.write_out(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    for batch, steps, more in ((2, 4, 0), (1, 3, 2), (3, 1, 4)):
        x = np.random.default_rng(steps).random((batch, steps, *(n + more for n in sizes[2:]), channels))
        assert_close(served.serve(x.astype("float32")), call(x.astype("float32")))
