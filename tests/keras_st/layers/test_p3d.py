"""P3DBlock against a NumPy witness and the spec's hand example (recognition A2, A3, A8, A9)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.layers import FlatConv3D, P3DBlock
from tests.reference import p3d as witness

NAMES = {"reduce": "W1", "spatial": "S", "temporal": "T", "expand": "W3", "shortcut": "W0"}
BASIC_NAMES = {"spatial": "S1", "temporal": "T1", "spatial_2": "S2", "temporal_2": "T2", "shortcut": "W0"}


def randomised(block, shape, rng):
    block.build(shape)
    for weight in block.weights:
        low = 0.5 if weight.path.endswith("variance") else -0.6
        weight.assign(rng.uniform(low, low + 1.2, weight.shape))
    return block


def weights_of(block):
    names = NAMES if block.bottleneck else BASIC_NAMES
    parts = {theirs: getattr(block, ours, None) for ours, theirs in names.items()}
    convert = ops.convert_to_numpy
    return {
        name: (
            convert(conv.kernel),
            [convert(w) for w in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)],
        )
        for name, (conv, norm) in ((n, p) for n, p in parts.items() if p is not None)
    }


UNITS = [(k, m, True) for k in "ABC" for m in ("caffe", "paper", "torch_port")] + [(None, "caffe", True)]
UNITS += [(k, m, False) for k in "ABC" for m in ("caffe", "paper")] + [(None, "caffe", False)]


@pytest.mark.parametrize("batch, changes, stride", [(1, True, 2), (3, True, 1), (2, False, 1)])
@pytest.mark.parametrize("kind, merge, bottleneck", UNITS)
def test_a2_a9_block_is_the_witness(rng, kind, merge, bottleneck, batch, changes, stride):
    """`changes`: the output has other channels than the input, so that the shortcut is a convolution."""
    channels = 2 if changes else 12 if bottleneck else 3
    block = P3DBlock(3, kind, merge, bottleneck, stride, bn_epsilon=0.1, dtype="float64")
    randomised(block, (None, None, None, None, channels), rng)
    x = rng.normal(size=(batch, 5, 6, 7, channels))
    run = witness.bottleneck if bottleneck else witness.basic
    want = run(x, weights_of(block), kind, merge, stride, 0.1)
    got = ops.convert_to_numpy(block(ops.convert_to_tensor(x, "float64")))
    exact = keras.backend.backend() == "tensorflow"
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 if exact else 1e-4)
    assert got.shape == block.compute_output_shape(x.shape)
    assert np.abs(got).max() > 0.1


@pytest.mark.parametrize(
    "kind, merge, want",
    [
        ("A", "caffe", [0, 0, 4]),
        ("B", "caffe", [0, 2, 8]),
        ("C", "caffe", [0, 0, 5]),
        ("C", "paper", [0, 0, 10]),
        ("B", "torch_port", [2, 4, 8]),
        ("C", "torch_port", [2, 4, 10]),
    ],
)
def test_a3_hand_example(kind, merge, want):
    """One channel, S doubles, taps (1, 0, -1), normalisations the identity, u = (1, 2, 3)."""
    block = P3DBlock(1, kind, merge, bn_epsilon=1e-30)
    block.build((None, 3, 1, 1, 4))
    for (conv, _), value in (
        (block.reduce, np.eye(4, 1)),
        (block.spatial, 2.0 * np.eye(9, 1, k=-4)),
        (block.temporal, [1.0, 0.0, -1.0]),
        (block.expand, np.eye(1, 4)),
    ):
        conv.set_weights([np.reshape(value, conv.kernel.shape)])
    x = np.zeros((1, 3, 1, 1, 4), "float32")
    x[0, :, 0, 0, 0] = [1, 2, 3]
    y = ops.convert_to_numpy(block(x))[0, :, 0, 0]
    np.testing.assert_allclose(y[:, 0] - x[0, :, 0, 0, 0], want, atol=1e-5)
    np.testing.assert_array_equal(y[:, 1:], 0)


def test_a8_identity_rule_by_kind():
    """z = s: a + b t = 1 with T = t I."""
    t = {}
    for kind, merge in (("A", "caffe"), ("B", "caffe"), ("C", "caffe"), ("C", "paper"), ("B", "torch_port")):
        a, b = P3DBlock(1, kind, merge).coefficients
        t[kind, merge] = (1 - a) / b
    assert list(t.values()) == [1, 0, 1, 0, 0]


def test_frozen_normalisation_uses_moving_statistics_in_training(rng):
    x = rng.normal(3.0, 2.0, size=(2, 4, 6, 5, 3)).astype("float32")
    for freeze in (True, False):
        block = randomised(P3DBlock(3, "B", freeze_bn=freeze), (None, None, None, None, 3), rng)
        before = [ops.convert_to_numpy(w) for w in block.weights]
        training, inference = (ops.convert_to_numpy(block(x, training=t)) for t in (True, False))
        kernels = 5  # W1, S, T, W3, W0
        if freeze:
            np.testing.assert_array_equal(training, inference)
            assert len(block.trainable_weights) == kernels
            assert all((ops.convert_to_numpy(w) == b).all() for w, b in zip(block.weights, before))
        else:
            assert np.abs(training - inference).max() > 0.1
            assert len(block.trainable_weights) == 3 * kernels


@pytest.mark.parametrize(
    "kernel_size, strides",
    [((1, 3, 3), 1), ((1, 7, 7), (1, 2, 2)), ((3, 1, 1), 1), ((1, 1, 1), (1, 2, 2)), ((5, 1, 1), (2, 1, 1))],
)
@pytest.mark.parametrize("height, width", [(8, 5), (7, 6)])
def test_flat_convolution_is_the_3d_one(rng, kernel_size, strides, height, width):
    """Equal to keras.layers.Conv3D on explicitly padded input, with bias and activation."""
    options = {"activation": "relu", "use_bias": True, "bias_initializer": "random_normal"}
    flat = FlatConv3D(4, kernel_size, strides, **options)
    x = rng.normal(size=(2, 5, height, width, 3)).astype("float32")
    got = ops.convert_to_numpy(flat(x))
    plain = keras.layers.Conv3D(4, kernel_size, strides, padding="valid", **options)
    padded = np.pad(x, [(0, 0), *[(k // 2, k // 2) for k in kernel_size], (0, 0)])
    plain.build(padded.shape)
    plain.set_weights(flat.get_weights())
    want = ops.convert_to_numpy(plain(padded))
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert flat.compute_output_shape(x.shape) == got.shape == tuple(flat(keras.KerasTensor(x.shape)).shape)
    valid = FlatConv3D(4, kernel_size, strides, padding="valid", **options)
    valid.build(x.shape)
    valid.set_weights(flat.get_weights())
    np.testing.assert_allclose(ops.convert_to_numpy(valid(padded)), want, atol=1e-5)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"kind": "D"}, "kind"),
        ({"merge": "sum"}, "merge"),
        ({"merge": "torch_port", "bottleneck": False}, "bottleneck"),
    ],
)
def test_unknown_options_are_refused(options, word):
    with pytest.raises(ValueError, match=f"Received: {word}="):
        P3DBlock(4, **options)


@pytest.mark.parametrize(
    "kernel_size, options",
    [((3, 3, 3), {}), ((1, 2, 2), {}), ((1, 3, 3), {"dilation_rate": 2}), ((3, 1, 1), {"strides": 2})],
)
def test_kernels_that_are_not_flat_are_refused(kernel_size, options):
    with pytest.raises(ValueError, match="Received: .*kernel_size"):
        FlatConv3D(4, kernel_size, **options)
