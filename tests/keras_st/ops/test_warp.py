"""Backward warping: values by hand, the border, gradients."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from keras_st.flow import warp
from tests.conformance.test_conformance import gradients


def run(images, flow):
    return ops.convert_to_numpy(warp(ops.convert_to_tensor(images), ops.convert_to_tensor(flow)))


def test_a_pixel_reads_where_its_flow_points_u_right_v_down():
    image = np.arange(20, dtype="float32").reshape(1, 4, 5, 1)
    flow = np.broadcast_to(np.float32([2, 1]), (1, 4, 5, 2))
    np.testing.assert_array_equal(run(image, flow)[0, :3, :3, 0], image[0, 1:, 2:, 0])
    flow = np.broadcast_to(np.float32([0.25, -0.5]), (1, 4, 5, 2))
    np.testing.assert_allclose(run(image, flow)[0, 1:, :4, 0], image[0, 1:, :4, 0] + 0.25 - 0.5 * 5, atol=1e-5)


def test_beyond_the_border_its_nearest_pixel_is_read(rng):
    images = rng.random((2, 5, 7, 3)).astype("float32")
    flow = rng.uniform(-9, 9, (2, 5, 7, 2)).astype("float32")
    rows, columns = np.indices((5, 7))
    want = np.empty_like(images)
    for n, c in np.ndindex(2, 3):
        at = rows + flow[n, ..., 1], columns + flow[n, ..., 0]
        want[n, ..., c] = ndimage.map_coordinates(images[n, ..., c], at, order=1, mode="nearest")
    np.testing.assert_allclose(run(images, flow), want, atol=1e-5)


def test_no_flow_changes_nothing_and_a_side_of_one_pixel_works(rng):
    for shape in ((2, 5, 7, 3), (1, 1, 4, 1), (1, 4, 1, 2)):
        images = rng.random(shape).astype("float32")
        np.testing.assert_array_equal(run(images, np.zeros((*shape[:3], 2), "float32")), images)


def test_gradients_with_respect_to_flow_are_the_slope(rng):
    """Of a plane 2 x - 3 y: 2 and -3, where the flow stays inside, on whole positions too; 0 across the border."""
    rows, columns = np.indices((6, 8), "float32")
    image = ops.convert_to_tensor((2 * columns - 3 * rows)[None, ..., None])
    inward = np.stack([np.where(columns < 4, 1.0, -1.0), np.where(rows < 3, 1.0, -1.0)], axis=-1)[None]

    def gradient(flow):
        variable = keras.Variable(flow.astype("float32"))
        return gradients(lambda: ops.sum(warp(image, variable.value)), [variable])[0]

    for flow, want in ((inward, (2, -3)), (0 * inward, (2, -3)), (inward * -20, (0, 0))):
        np.testing.assert_allclose(gradient(flow)[0, 1:-1, 1:-1], np.broadcast_to(want, (4, 6, 2)), atol=1e-5)


def test_flow_of_other_channels_is_refused():
    with pytest.raises(ValueError, match=r"\(B, H, W, 2\). Received: shape=\(1, 4, 4, 3\)"):
        run(np.zeros((1, 4, 4, 1), "float32"), np.zeros((1, 4, 4, 3), "float32"))
