"""Networks of frames: what they tap, their weights, what is refused (recognition C1, D)."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.layers import FramePreprocessing, FrameWise
from keras_st.models import clip_classifier, frame_network
from keras_st.models.backbones import LocalResponseNorm
from tests.counting import parameters, without_memory


def numpy(x):
    return ops.convert_to_numpy(x)


def frames(rng, *shape):
    return rng.random(shape).astype("float32")


def small(taps="block2_pool", **options):
    return frame_network("small", (16, 24, 3), taps, width=4, **options)


@pytest.mark.parametrize("size, alpha, beta", [(5, 1e-4, 0.75), (3, 2.0, 0.5), (9, 1.0, 1.0)])
def test_local_response_norm_equals_a_plain_loop(rng, size, alpha, beta):
    x = rng.standard_normal((2, 3, 4, 6))
    want = np.zeros_like(x)
    for c in range(6):
        seen = [x[..., k] ** 2 for k in range(6) if abs(k - c) <= size // 2]
        want[..., c] = x[..., c] / (1 + alpha / size * sum(seen)) ** beta
    np.testing.assert_allclose(numpy(LocalResponseNorm(size, alpha, beta, dtype="float64")(x)), want, atol=1e-6)


def test_several_taps_come_in_the_order_asked_for(rng):
    x = frames(rng, 2, 16, 24, 3)
    net = small(("fc", "block1_pool", "block2_pool"))
    fc, first, second = (numpy(y) for y in net(x))
    assert fc.shape == (2, 32) and first.shape == (2, 8, 12, 4) and second.shape == (2, 4, 6, 8)
    kernel, bias = net.get_layer("block1_conv").get_weights()
    one = frame_network("small", (None, None, 3), "block1_pool", width=4)
    one.set_weights([kernel, bias])
    np.testing.assert_allclose(numpy(one(x)), first, atol=1e-6)
    assert one.count_params() == 27 * 4 + 4 and numpy(one(x[:, :10, :10])).shape == (2, 5, 5, 4)


def test_c1_caffenet_counts_and_sizes():
    """LRCN's network of 227x227 frames: 111, 55, 26, 13, 6, fc6; 60,937,856 parameters."""
    taps = ("conv1", "norm1", "conv2", "norm2", "conv5", "pool5", "fc6")
    with without_memory():
        net = frame_network("caffenet", (227, 227, 3), taps)
        sizes = [x.shape[1:] for x in net.outputs]
        assert parameters(net) == 60_937_856
    assert sizes[:3] == [(111, 111, 96), (55, 55, 96), (26, 26, 384)]
    assert sizes[3:] == [(13, 13, 384), (13, 13, 384), (6, 6, 384), (4096,)]


def test_c1_caffenet_maxima_keep_cut_windows(rng):
    """Of 3 every 2 positions, on maps of 30 x 33: 15 and 16 windows, those of the last row cut."""
    net = frame_network("caffenet", (66, 71, 3), ("conv1", "pool1", "norm1"))
    conv, pool, norm = (numpy(y) for y in net(frames(rng, 1, 66, 71, 3)))
    assert conv.shape == (1, 30, 33, 96) and pool.shape == (1, 15, 16, 96)
    want = [[conv[0, r : r + 3, c : c + 3].max((0, 1)) for c in range(0, 31, 2)] for r in range(0, 30, 2)]
    np.testing.assert_array_equal(pool[0], want)
    np.testing.assert_allclose(norm, numpy(LocalResponseNorm()(pool)), atol=1e-6)


def test_d_vgg16_levels():
    taps = ("block2_pool", "block3_pool", "block4_pool", "block5_pool", "fc2")
    with without_memory():
        sizes = [x.shape[1:] for x in frame_network("vgg16", (224, 224, 3), taps).outputs]
    assert sizes == [(56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 512), (4096,)]


@pytest.mark.parametrize("name, last", [("resnet50", "conv4_block6_out"), ("resnet152", "conv4_block36_out")])
def test_resnet_levels(name, last):
    """Frozen, all of it is: normalisation too."""
    with without_memory():
        net = frame_network(name, (64, 96, 3), ("conv2_block3_out", last, "avg_pool"), trainable=False)
        sizes = [x.shape[1:] for x in net.outputs]
        assert not any(layer.trainable for layer in net.layers)
    assert sizes == [(16, 24, 256), (4, 6, 1024), (2048,)]


# Weights


def test_weights_from_files(rng, tmp_path):
    """Of the network itself, in both forms; of a classifier of clips that holds it."""
    source, x = small(("block2_pool", "fc")), frames(rng, 2, 16, 24, 3)
    want = [numpy(y) for y in source(x)]
    source.save_weights(tmp_path / "net.weights.h5")
    source.save(tmp_path / "net.keras")
    model = clip_classifier(FrameWise(frame_network("small", (16, 24, 3), "fc", width=4)), 3)
    model.build({"video": (None, None, 16, 24, 3)})
    model.backbone.layer.set_weights(source.get_weights())
    model.save(tmp_path / "clips.keras")
    for file, taps in (
        ("net.weights.h5", ("block2_pool", "fc")),
        ("net.keras", ("block2_pool", "fc")),
        ("clips.keras", "fc"),
    ):
        again = small(taps, weights=tmp_path / file)
        got = again(x) if isinstance(taps, tuple) else [None, again(x)]
        for a, b in zip(got, want):
            assert a is None or np.abs(numpy(a) - b).max() < 1e-6, file


def test_weights_of_keras_applications_from_a_file(rng, tmp_path):
    theirs, x = keras.applications.VGG16(False, None, input_shape=(32, 48, 3)), frames(rng, 1, 32, 48, 3)
    theirs.save_weights(tmp_path / "vgg.weights.h5")
    ours = frame_network("vgg16", (32, 48, 3), "block5_pool", tmp_path / "vgg.weights.h5", trainable=False)
    np.testing.assert_allclose(numpy(ours(x)), numpy(theirs(x)), rtol=1e-5)
    assert not ours.trainable_weights
    small().save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(ValueError, match="vgg16 cannot be made: .*Received: .*small.weights.h5") as error:
        frame_network("vgg16", (32, 48, 3), "block5_pool", tmp_path / "small.weights.h5")
    assert "\n" not in str(error.value)


def test_weights_that_do_not_fit_are_named(tmp_path):
    frame_network("small", (16, 24, 3), "block2_pool", width=3).save_weights(tmp_path / "width.weights.h5")
    small("block1_pool").save(tmp_path / "shallow.keras")
    (tmp_path / "junk.keras").write_bytes(b"junk")
    (tmp_path / "net.h5").write_bytes(b"")
    two = {name: FrameWise(small()) for name in ("video", "flow")}
    model = clip_classifier(two, 3, aggregator=Joined(), streams=("video", "flow"))
    model.build(dict.fromkeys(two, (None, None, 16, 24, 3)))
    model.save(tmp_path / "two.keras")
    for file, word in (
        ("width.weights.h5", "does not hold"),
        ("shallow.keras", "does not hold"),
        ("junk.keras", "does not hold"),
        ("two.keras", "it holds no one backbone of frames"),
        ("net.h5", "must be a .weights.h5 or .keras file"),
        ("nowhere.weights.h5", "must be a .weights.h5 or .keras file"),
    ):
        with pytest.raises(ValueError, match=f"Received.*{word}|{word}.*Received") as error:
            small(weights=tmp_path / file)
        assert "\n" not in str(error.value) and file in str(error.value)


@keras.saving.register_keras_serializable(package="tests")
class Joined(keras.layers.Layer):
    """Means over positions and time of several streams, side by side."""

    def call(self, inputs):
        return ops.concatenate([ops.mean(x, axis=(1, 2, 3)) for x in inputs], axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], sum(shape[-1] for shape in input_shape))


def test_frozen_weights_do_not_move_and_others_do(rng, tmp_path):
    """One step of training; still frozen after saving."""
    model = clip_classifier(FrameWise(small("fc", trainable=False)), 3, preprocessing=FramePreprocessing())
    x = {"video": frames(rng, 4, 2, 16, 24, 3)}
    model(x)
    before = [w.copy() for w in model.get_weights()]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss={"logits": loss})
    model.train_on_batch(x, {"logits": np.array([0, 1, 2, 0])})
    frozen = len(model.backbone.weights)
    assert frozen and len(model.trainable_weights) == 2
    moved = [np.abs(a - b).max() > 0 for a, b in zip(before, model.get_weights())]
    assert moved == [False] * frozen + [True] * 2
    model.save(tmp_path / "model.keras")
    assert len(keras.saving.load_model(tmp_path / "model.keras").trainable_weights) == 2


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: frame_network("alexnet", (16, 24, 3), "conv1"), "name='alexnet'"),
        (lambda: small("block9_pool"), "tap='block9_pool'"),
        (lambda: small(("block1_pool", "fc9")), "tap='fc9'"),
        (lambda: frame_network("small", (None, None, 3), "fc"), "input_shape=(None, None, 3)"),
        (lambda: frame_network("vgg16", (32, 48, 3), "block5_pool", "nowhere.h5"), "weights=nowhere.h5"),
        (lambda: frame_network("vgg16", (16, 16, 3), "block5_pool"), "shape=(16, 16, 3)"),
        (lambda: frame_network("caffenet", (64, 90, 3), "conv5"), "input_shape=(64, 90, 3)"),
        (lambda: LocalResponseNorm(4), "size=4"),
    ],
)
def test_unknown_options_are_refused(make, word):
    with pytest.raises(ValueError, match="Received") as error:
        make()
    assert word in str(error.value) and "\n" not in str(error.value)
