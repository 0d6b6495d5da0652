"""Temporal residual network against its witness (recognition G3, G7)."""

import keras
import numpy as np
import pytest

from keras_st.layers.frame_bag import FrameChain
from keras_st.models.temporal_resnet import CentredFrames, TemporalBlock, TemporalResNet
from tests.conformance.test_conformance import gradients
from tests.keras_st.layers.recurrent.test_conv_lstm import numpy, randomise
from tests.keras_st.layers.test_frame_bag import padded, videos
from tests.keras_st.layers.test_mixture import close, counts, norm_of, randomise_norms
from tests.reference import youtube8m as witness

T, D = 9, 5
LENGTHS = (3, T, 1, 6)
TENSORFLOW = keras.backend.backend() == "tensorflow"
ATOL = 1e-9 if TENSORFLOW else 1e-4  # a dozen layers


@pytest.fixture
def double():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def network(rng, frames=32, width=4, blocks=2, size=D, **kwargs):
    net = TemporalResNet(frames, width, blocks=blocks, **kwargs)
    net.build((None, None, size))
    randomise(net, rng, 0.4)
    randomise_norms(net, rng)
    return net


def weights_of(net):
    parts = {part.name: part for part in net.parts}

    def block(part):
        norms, convs = (list(map(f, x)) for f, x in ((norm_of, part.norms), (lambda c: numpy(c.kernel), part.convs)))
        return dict(zip(("bn1", "bn2", "conv1", "conv2"), norms + convs))

    stages = []
    for n in (2, 3, 4):
        blocks = [block(part) for name, part in parts.items() if name.startswith(f"res{n}_") and hasattr(part, "convs")]
        stages.append(
            {"bn": norm_of(parts[f"res{n}_0_bn"]), "conv": numpy(parts[f"res{n}_0"].kernel), "blocks": blocks}
        )
    own = {"conv1": numpy(parts["conv1"].kernel), "bn1": norm_of(parts["conv1_bn"]), "bn": norm_of(parts["last_bn"])}
    return {**own, "stages": stages}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("blocks", [1, 2])
def test_network_equals_the_witness(rng, blocks):
    net, clips = network(rng, blocks=blocks), videos(rng, LENGTHS)
    x, mask = padded(clips, T)
    want = witness.temporal_resnet(clips, weights_of(net), 32)
    assert [len(stage["blocks"]) for stage in weights_of(net)["stages"]] == [blocks] * 3
    close(net(x, mask=mask), want, ATOL * np.abs(want).max())
    close(net(clips[0][None]), want[:1], ATOL * np.abs(want).max())


@pytest.mark.usefixtures("double")
def test_block_equals_the_witness(rng):
    block = TemporalBlock(3)
    block.build((None, None, D))
    randomise(block, rng)
    randomise_norms(block, rng)
    norms, convs = [norm_of(n) for n in block.norms], [numpy(c.kernel) for c in block.convs]
    x = rng.standard_normal((2, 7, D))
    w = dict(zip(("bn1", "bn2", "conv1", "conv2"), norms + convs))
    close(block(x), [witness.residual_block(video, w) for video in x], 1e-9 if TENSORFLOW else 1e-5)
    assert [c.shape for c in convs] == [(3, D, 3), (3, 3, D)]


@pytest.mark.parametrize("frames", [4, 5, 12, 13])
def test_frames_are_centred_in_zeros(rng, frames):
    clips = videos(rng, LENGTHS)
    x, mask = padded(clips, T)
    centred = CentredFrames(frames)
    np.testing.assert_allclose(
        numpy(centred(x, mask=mask)), [witness.centred(video, frames) for video in clips], atol=1e-6
    )
    assert centred.compute_mask(x, mask) is None and centred.compute_output_shape((2, None, D)) == (2, frames, D)
    close(centred(x), [witness.centred(video, frames) for video in x], 1e-6)


def test_centred_frames_by_hand():
    x = np.arange(1, 4, dtype="float32").reshape(1, 3, 1)
    assert numpy(CentredFrames(6)(x))[0, :, 0].tolist() == [0, 1, 2, 3, 0, 0]
    mask = np.array([[True, False, True]])
    assert numpy(CentredFrames(5)(x, mask=mask))[0, :, 0].tolist() == [0, 1, 3, 0, 0]
    assert numpy(CentredFrames(3)(x, mask=~mask & False))[0, :, 0].tolist() == [0, 0, 0]


def test_g7_7_shape_table():
    net, shape, shapes = TemporalResNet(), (None, None, 1152), {}
    for part in net.parts:
        shape = tuple(part.compute_output_shape(shape))
        shapes[part.name] = shape[1:]
    table = {"centred": (320, 1152), "conv1": (160, 1024), "pool1": (80, 1024), "res2_0": (40, 1024)}
    table |= {"pool2": (20, 1024), "res3_0": (20, 2048), "pool3": (10, 2048), "res4_0": (10, 4096), "avgpool": (4096,)}
    table |= {f"res2_{n}": (40, 1024) for n in (1, 2, 3)} | {f"res3_{n}": (20, 2048) for n in (1, 2, 3)}
    table |= {f"res4_{n}": (10, 4096) for n in (1, 2, 3)}
    assert {name: shapes[name] for name in table} == table
    assert net.compute_output_shape((None, None, 1152)) == (None, 4096)


def test_g7_7_counts(monkeypatch):
    top = 4096 * 4096 + 4096 + 4096 * 4716 + 4716
    trained, all_of_them = counts(monkeypatch, TemporalResNet(), (None, None, 1152))
    assert (trained + top, all_of_them + top) == (155_057_260, 155_129_452)


def test_pools_keep_the_window_that_is_cut(rng):
    """Of even lengths Keras's "same" is the ceiling form, on every backend: windows start at 0, 2, ..."""
    x = -5 + rng.standard_normal((2, 8, D))  # never above the zeros that padding could be
    pool = next(part for part in TemporalResNet().parts if part.name == "pool1")
    close(pool(x.astype("float32")), [witness.ceil_max(video) for video in x], 1e-6)


def test_frames_in_training_are_the_same_however_long_the_padding(rng):
    x = rng.standard_normal((3, 4, D)).astype("float32")
    more, mask = padded(list(x), 11)
    results = []
    for inputs, known in ((x, None), (more.astype("float32"), mask)):
        net = network(np.random.default_rng(1))
        results.append((numpy(net(inputs, mask=known, training=True)), *net.get_weights()))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_every_weight_gets_a_gradient(rng):
    net, clips = network(rng), videos(rng, LENGTHS)
    x, mask = padded(clips, T)

    def loss():
        return keras.ops.mean(keras.ops.square(net(x.astype("float32"), mask=mask)))

    for weight, gradient in zip(net.trainable_variables, gradients(loss, net.trainable_variables)):
        assert gradient is not None and np.abs(gradient).max() > 0, weight.path


def test_saved_and_loaded_it_gives_the_same(rng, tmp_path):
    net = network(rng)
    assert type(net) is FrameChain and FrameChain.from_config(net.get_config()).get_config() == net.get_config()
    inputs, mask = keras.Input((None, D)), keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mask], net(inputs, mask=mask))
    x, real = padded(videos(rng, LENGTHS), T)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(again([x, real])), numpy(model([x, real])))


@pytest.mark.skipif(not TENSORFLOW, reason="export is TensorFlow's")
def test_exports_with_unknown_batch_and_time(rng, tmp_path):
    import tensorflow as tf

    net = network(rng)
    archive = keras.export.ExportArchive()
    archive.track(net)
    signature = [tf.TensorSpec((None, None, D), tf.float32), tf.TensorSpec((None, None), tf.bool)]
    archive.add_endpoint("serve", lambda x, mask: net(x, mask=mask), signature)
    archive.write_out(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    for lengths in ((3, 6, 1), (2,), (9, 40)):
        x, mask = padded(videos(rng, lengths), max(lengths))
        x = x.astype("float32")
        want = numpy(net(x, mask=mask))
        np.testing.assert_allclose(numpy(served.serve(x, mask)), want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    "options, word",
    [
        ({"frames": 48}, "frames=48"),
        ({"frames": 0}, "frames=0"),
        ({"width": 6}, "width=6"),
        ({"blocks": 0}, "blocks=0"),
    ],
)
def test_unknown_options_are_refused(options, word):
    with pytest.raises(ValueError, match=f"Received: {word}"):
        TemporalResNet(**options)
