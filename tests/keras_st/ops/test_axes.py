import numpy as np
import pytest
from keras import ops

from keras_st.ops.axes import depth_to_space, merge_leading, space_to_depth, split_leading


def test_space_to_depth_moves_blocks_into_channels_row_by_row():
    x = np.arange(24).reshape(1, 4, 6, 1)
    y = ops.convert_to_numpy(space_to_depth(ops.convert_to_tensor(x), 2))
    assert y.shape == (1, 2, 3, 4)
    np.testing.assert_array_equal(y[0, 0, 0], [0, 1, 6, 7])
    np.testing.assert_array_equal(y[0, 1, 2], [16, 17, 22, 23])


def test_channels_stay_together_inside_a_block_position():
    x = np.arange(2 * 2 * 3).reshape(1, 2, 2, 3)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(space_to_depth(ops.convert_to_tensor(x), 2)).ravel(), np.arange(12)
    )


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_depth_to_space_is_the_inverse(rng, patch):
    x = rng.standard_normal((2, 3, 6, 12, 5)).astype("float32")
    folded = space_to_depth(ops.convert_to_tensor(x), patch)
    assert tuple(folded.shape) == (2, 3, 6 // patch, 12 // patch, 5 * patch**2)
    np.testing.assert_array_equal(ops.convert_to_numpy(depth_to_space(folded, patch)), x)


def test_sizes_that_do_not_divide_are_named():
    with pytest.raises(ValueError, match=r"width .* patch=2. Received: width=5"):
        space_to_depth(ops.zeros((1, 4, 5, 1)), 2)


def test_leading_axes_merge_and_split():
    x = ops.reshape(ops.arange(24), (2, 3, 4))
    merged = merge_leading(x)
    assert tuple(merged.shape) == (6, 4)
    np.testing.assert_array_equal(ops.convert_to_numpy(split_leading(merged, 2, 3)), ops.convert_to_numpy(x))
