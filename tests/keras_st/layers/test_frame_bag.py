"""Streams, samples, attention, bags of frames and NetVLAD's family against their witnesses (recognition G2, G3, G7)."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_st.layers import frame_bag as fb
from tests.conformance.test_conformance import gradients
from tests.keras_st.layers.recurrent.test_conv_lstm import numpy, randomise
from tests.keras_st.layers.test_mixture import close, counts, norm_of, randomise_norms
from tests.reference import youtube8m as witness

T, D, K = 6, 5, 4
LENGTHS = (3, T, 1)
TENSORFLOW = keras.backend.backend() == "tensorflow"


def videos(rng, lengths=LENGTHS, size=D):
    return [rng.standard_normal((n, size)) for n in lengths]


def padded(videos, length=T, filler=7.0):
    """Videos as one tensor whose padding is anything but zero, and the mask."""
    x = np.full((len(videos), length, videos[0].shape[1]), filler)
    for n, video in enumerate(videos):
        x[n, : len(video)] = video
    return x, np.arange(length) < np.array([[len(video)] for video in videos])


def made(layer, rng, shape=(None, None, D), scale=0.7):
    layer.build(shape)
    randomise(layer, rng, scale)
    randomise_norms(layer, rng)
    return layer


def double(make, rng, *args, **kwargs):
    return made(make(*args, dtype="float64", **kwargs), rng)


def weights_of(layer):
    w = {"clusters": numpy(layer.kernel), "clusters_bn": norm_of(layer.norm)}
    for name in ("centres", "scales", "down", "up"):
        if hasattr(layer, name):
            w[name] = numpy(getattr(layer, name))
    if hasattr(layer, "gate_norm"):
        w["gates_bn"] = norm_of(layer.gate_norm)
    return w


BAGS = {
    fb.NetVLAD: witness.vlad,
    fb.NetRVLAD: witness.vlad,
    fb.NetFV: witness.fisher,
    fb.SoftDBoW: witness.soft_bag,
    fb.GatedDBoF: witness.gated_bag,
}
bags = pytest.mark.parametrize("bag", BAGS, ids=lambda bag: bag.__name__)


# NetVLAD and its kin


@bags
def test_bag_equals_the_witness(bag, rng):
    layer, clips = double(bag, rng, K), videos(rng)
    x, mask = padded(clips)
    close(layer(x, mask=mask), BAGS[bag](clips, weights_of(layer)))
    close(layer(clips[1][None]), BAGS[bag](clips[1:2], weights_of(layer)))
    assert layer.compute_output_shape((None, None, D)) == (None, layer(x).shape[1])


@bags
def test_g7_4_permuted_frames_change_nothing(bag, rng):
    layer, x = double(bag, rng, K), rng.standard_normal((2, T, D))
    close(layer(x[:, rng.permutation(T)]), numpy(layer(x)))


@bags
def test_bag_trains_on_the_statistics_of_real_frames(bag, rng):
    """What padding holds reaches neither the output nor the moving statistics."""
    layer, clips = double(bag, rng, K, momentum=0.0), videos(rng)
    x, mask = padded(clips)
    layer(x, mask=mask, training=True)
    mean, variance = witness.statistics([video @ numpy(layer.kernel) for video in clips])
    close(layer.norm.moving_mean, mean, 1e-6), close(layer.norm.moving_variance, variance, 1e-6)


@bags
def test_bag_of_no_frames_is_finite(bag, rng):
    layer = double(bag, rng, K)
    x, mask = rng.standard_normal((2, T, D)), np.zeros((2, T), bool)
    close(layer(x, mask=mask), np.zeros(layer(x).shape))


def test_g7_4_one_cluster_is_the_sum_of_differences(rng):
    layer, x = double(fb.NetVLAD, rng, 1), rng.standard_normal((2, T, D))
    close(layer(x), witness.unit(x.sum(1) - T * numpy(layer.centres)))


def test_g7_4_centres_of_zero_are_the_light_form(rng):
    layer, light, x = double(fb.NetVLAD, rng, K), double(fb.NetRVLAD, rng, K), rng.standard_normal((2, T, D))
    kernel, gamma, beta, mean, variance = light.get_weights()
    layer.set_weights([kernel, np.zeros((K, D)), gamma, beta, mean, variance])
    close(layer(x), numpy(light(x)))


def test_bag_vectors_are_unit_vectors(rng):
    x = rng.standard_normal((2, T, D))
    for bag in BAGS:
        length = np.linalg.norm(numpy(double(bag, rng, K)(x)), axis=-1)
        np.testing.assert_allclose(length, 2**0.5 if bag is fb.NetFV else 1.0, atol=1e-6)


def test_fisher_by_hand():
    """One cluster, x = 1, 3, c = 1, w = 1: first order 2 / s, second order 4 / s^2 - 2."""
    layer = fb.NetFV(1, dtype="float64")
    layer.build((None, None, 1))
    layer.centres.assign([[1.0]]), layer.scales.assign([[1.0]])
    shares, s = np.ones((1, 2, 1)), 1 + 1e-6
    first, second = 2 / s, 4 / s**2 - 2
    close(layer.encode(shares, np.array([[[1.0], [3.0]]]), False), [[np.sign(first), np.sign(second)]], 1e-6)


# DBoF


def deep_bag(rng, **kwargs):
    return double(fb.DeepBagOfFrames, rng, 7, 3, **kwargs)


def deep_weights(layer):
    w = {"clusters": numpy(layer.kernel), "hidden": numpy(layer.hidden_kernel)}
    norms = {"input_bn": layer.input_norm, "clusters_bn": layer.cluster_norm, "hidden_bn": layer.hidden_norm}
    return {**w, **{name: norm_of(norm) for name, norm in norms.items()}}


@pytest.mark.parametrize("pooling, pool", [("max", np.max), ("mean", np.mean)])
@pytest.mark.parametrize("activation", ["sigmoid", "relu6"])
def test_deep_bag_equals_the_witness(rng, pooling, pool, activation):
    layer, clips = deep_bag(rng, pooling=pooling, activation=activation), videos(rng)
    x, mask = padded([4 * video for video in clips])
    own = witness.sigmoid if activation == "sigmoid" else lambda a: np.clip(a, 0, 6)
    close(layer(x, mask=mask), witness.deep_bag([4 * video for video in clips], deep_weights(layer), pool, own))


def test_g7_7_deep_bag_of_doubled_frames_is_the_same(rng):
    layer, x = deep_bag(rng), rng.standard_normal((2, T, D))
    close(layer(np.concatenate([x, x], axis=1)), numpy(layer(x)))
    sampled = fb.FrameChain([fb.FrameSample(4, dtype="float64"), layer], dtype="float64")
    close(sampled(np.repeat(x, 2, axis=1)), numpy(sampled(x)))  # of evenly spaced frames: each one twice


def test_g7_7_deep_bag_of_permuted_frames_is_the_same(rng):
    layer, x = deep_bag(rng), rng.standard_normal((2, T, D))
    close(layer(x[:, rng.permutation(T)]), numpy(layer(x)))


def test_deep_bag_trains_on_the_statistics_of_real_frames(rng):
    layer, clips = deep_bag(rng, momentum=0.0), videos(rng)
    x, mask = padded(clips)
    layer(x, mask=mask, training=True)
    mean, variance = witness.statistics(clips)
    close(layer.input_norm.moving_mean, mean, 1e-6), close(layer.input_norm.moving_variance, variance, 1e-6)
    norm = {**norm_of(layer.input_norm), "mean": mean, "variance": variance}
    inner = [witness.normalised(video, norm) @ numpy(layer.kernel) for video in clips]
    mean, variance = witness.statistics(inner)
    close(layer.cluster_norm.moving_mean, mean, 1e-6), close(layer.cluster_norm.moving_variance, variance, 1e-6)


def test_a_training_step_is_the_same_however_long_the_padding(rng):
    """Outputs and moving statistics, of all bags, the first three frames real."""
    x = rng.standard_normal((2, 3, D))
    more, mask = padded(list(x), 9)
    for bag in (*BAGS, fb.DeepBagOfFrames):
        results = []
        for inputs, known in ((x, None), (more, mask)):
            layer = double(bag, np.random.default_rng(1), K)
            output = numpy(layer(inputs, mask=known, training=True))
            results.append((output, *layer.get_weights()))
        for a, b in zip(*results):
            np.testing.assert_allclose(a, b, atol=1e-6 if TENSORFLOW else 3e-4)  # a normalisation over two videos


# Samples


def numbered(lengths, length=T):
    """Frame t of video n holds 100 n + t; padding is negative."""
    clips = [100 * n + np.arange(count, dtype="float32")[:, None] for n, count in enumerate(lengths)]
    return padded(clips, length, -1.0)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 8])
def test_inference_takes_evenly_spaced_frames(frames):
    x, mask = numbered((3, T, 1))
    got = numpy(fb.FrameSample(frames)(x, mask=mask))[..., 0]
    for n, count in enumerate((3, T, 1)):
        np.testing.assert_array_equal(got[n], 100 * n + np.array(witness.evenly_spaced(count, frames)))
    np.testing.assert_array_equal(numpy(fb.FrameSample(T)(x)), x)


@pytest.mark.parametrize("frames", [2, 40])
@pytest.mark.parametrize("ordered", [False, True])
def test_training_draws_real_frames_with_replacement(frames, ordered):
    x, mask = numbered((3, T, 1))
    sample, seen = fb.FrameSample(frames, ordered=ordered, seed=3), [set(), set(), set()]
    for _ in range(20):
        got = numpy(sample(x, mask=mask, training=True))[..., 0]
        for n in range(3):
            seen[n] |= set(got[n])
        assert not ordered or (np.diff(got, axis=1) >= 0).all()
    if frames == 40 and not ordered:
        assert (np.diff(got, axis=1) < 0).any()
    assert seen == [{100 * n + t for t in range(count)} for n, count in enumerate((3, T, 1))]


def test_training_draws_runs(rng):
    x, mask = numbered((2, T, 4))
    sample, starts = fb.FrameSample(3, "run", seed=1), [set(), set(), set()]
    for _ in range(40):
        got = numpy(sample(x, mask=mask, training=True))[..., 0] - [[0], [100], [200]]
        for n, count in enumerate((2, T, 4)):
            starts[n].add(int(got[n, 0]))
            np.testing.assert_array_equal(got[n], np.minimum(got[n, 0] + np.arange(3), count - 1))
    assert starts == [{0}, {0, 1, 2, 3}, {0, 1}]


def test_a_seed_repeats_the_draws():
    x, mask = numbered((3, T, 1))
    first, second = (numpy(fb.FrameSample(9, seed=5)(x, mask=mask, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_sample_of_scattered_frames_takes_the_real_ones():
    x = np.arange(6, dtype="float32").reshape(1, 6, 1)
    mask = np.array([[False, True, False, True, True, False]])
    np.testing.assert_array_equal(numpy(fb.FrameSample(3)(x, mask=mask))[0, :, 0], [1, 3, 4])


def test_a_video_without_frames_is_zeros_and_masked():
    x, mask = numbered((0, T))
    sample = fb.FrameSample(4)
    for training in (False, True):
        got = numpy(sample(x, mask=mask, training=training))
        assert (got[0] == 0).all() and (got[1] >= 100).all()
    np.testing.assert_array_equal(numpy(sample.compute_mask(x, mask)), [[False] * 4, [True] * 4])
    assert sample.compute_mask(x) is None


# Attention


def test_attention_equals_the_witness(rng):
    layer, clips = double(fb.FrameAttention, rng), videos(rng)
    x, mask = padded(clips)
    output, weights = layer(x, mask=mask, return_attention=True)
    for n, video in enumerate(clips):
        want, share = witness.attended(video, numpy(layer.vector)[:, 0])
        close(output[n], want), close(weights[n][: len(video)], share)


def test_g7_3_attention_is_0_on_padding_and_sums_to_1(rng):
    layer = double(fb.FrameAttention, rng)
    x, mask = padded(videos(rng))
    weights = numpy(layer(x, mask=mask, return_attention=True)[1])
    assert (weights[~mask] == 0).all() and (weights[mask] > 0).all()
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)


def test_attention_without_a_score_is_the_mean(rng):
    layer = double(fb.FrameAttention, rng)
    layer.vector.assign(np.zeros((D, 1)))
    clips = videos(rng)
    x, mask = padded(clips)
    close(layer(x, mask=mask), [video.mean(0) for video in clips])
    close(layer(x, mask=np.zeros_like(mask)), np.zeros((3, D)))


# States


def lstm_weights(rnn):
    kernel, recurrent, bias, *peephole = rnn.cell.get_weights()
    if rnn.cell.state_names == ("hidden", "cell") and not peephole:
        peephole = [np.zeros(3 * rnn.cell.filters)]
    return {"kernel": kernel, "recurrent": recurrent, "bias": bias, "peephole": peephole[0] if peephole else None}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_g7_3_final_state_is_that_of_the_last_real_frame(rng, cell):
    layer, clips = double(fb.FinalStates, rng, 3, cell=cell), videos(rng)
    x, mask = padded(clips)
    want = []
    for h in clips:
        for rnn in layer.rnns:
            w = lstm_weights(rnn)
            h = witness.recurrent(h @ w["kernel"], w, cell)
        want.append(h[-1])
    close(layer(x, mask=mask), want)
    close(layer(clips[0][None]), want[:1])


def test_every_final_state_is_hidden_and_cell_from_the_lowest(rng):
    layer, x = double(fb.FinalStates, rng, 3, 2, every=True), rng.standard_normal((2, T, D))
    got = numpy(layer(x))
    assert got.shape == (2, 12) == (2, layer.compute_output_shape((2, T, D))[1])
    top = double(fb.FinalStates, rng, 3, 2)
    top.set_weights(layer.get_weights())
    close(top(x), got[:, 6:9])
    lowest = double(fb.FinalStates, rng, 3, 1, every=True)
    lowest.set_weights(layer.get_weights()[:3])
    close(lowest(x), got[:, :6])
    assert double(fb.FinalStates, rng, 3, 2, "gru", every=True)(x).shape == (2, 6)


# Streams


def test_streams_are_joined_and_of_unit_length(rng):
    rgb, audio = rng.standard_normal((2, T, 3)), rng.standard_normal((2, T, 2))
    joined = np.concatenate([rgb, audio], axis=-1)
    close(fb.FrameStreams(normalize=True, dtype="float64")([rgb, audio]), witness.unit(joined))
    close(fb.FrameStreams(dtype="float64")([rgb, audio]), joined)
    close(fb.FrameStreams(normalize=True, dtype="float64")([rgb[:, 0], audio[:, 0]]), witness.unit(joined[:, 0]))
    close(fb.FrameStreams(normalize=True, dtype="float64")(rgb), witness.unit(rgb))
    np.testing.assert_array_equal(numpy(fb.FrameStreams(normalize=True)([0 * rgb, 0 * audio])), 0 * joined)


def test_streams_apart_read_their_own_columns(rng):
    rgb, audio = videos(rng, size=3), videos(rng, size=2)
    bags = [fb.NetVLAD(2, dtype="float64"), fb.SoftDBoW(4, dtype="float64")]
    norm = layers.BatchNormalization(dtype="float64")
    streams = fb.FrameStreams([norm], bags, normalize=True, dtype="float64")
    made(streams, rng, [(None, None, 3), (None, None, 2)])
    (x, mask), (y, _) = padded(rgb), padded(audio)
    joined = [witness.normalised(witness.unit(np.concatenate(pair, -1)), norm_of(norm)) for pair in zip(rgb, audio)]
    want = [
        witness.vlad([frames[:, :3] for frames in joined], weights_of(bags[0])),
        witness.soft_bag([frames[:, 3:] for frames in joined], weights_of(bags[1])),
    ]
    close(streams([x, y], mask=mask), np.concatenate(want, -1))
    assert streams.compute_output_shape([(None, None, 3), (None, None, 2)]) == (None, 2 * 3 + 4)


def test_streams_share_the_frames_that_are_drawn(rng):
    x, mask = numbered((3, T, 1))
    both = fb.FrameStreams([fb.FrameSample(5, seed=2)])
    got = numpy(both([x, -x], mask=mask, training=True))
    np.testing.assert_array_equal(got[..., 0], -got[..., 1])


def test_a_chain_hands_the_mask_on_until_time_is_gone(rng):
    """What keras.Sequential does not: a normalisation of vectors would refuse the mask of frames."""
    clips = videos(rng)
    x, mask = padded(clips)
    attention, norm = fb.FrameAttention(dtype="float64"), layers.BatchNormalization(dtype="float64")
    chain = made(fb.FrameChain([fb.FrameSample(3, dtype="float64"), attention, norm], dtype="float64"), rng)
    want = []
    for video in clips:
        frames = video[witness.evenly_spaced(len(video), 3)]
        want.append(witness.attended(frames, numpy(attention.vector)[:, 0])[0])
    close(chain(x, mask=mask), witness.normalised(np.stack(want), norm_of(norm)))
    flat = made(
        fb.FrameChain([layers.Flatten(dtype="float64"), layers.BatchNormalization(dtype="float64")]), rng, x.shape
    )
    assert flat(x, mask=mask).shape == (3, T * D)  # a layer that knows nothing of masks


def test_streams_refuse_another_number_of_them(rng):
    with pytest.raises(ValueError, match="each of 2 streams. Received: 1"):
        fb.FrameStreams(apart=[fb.NetVLAD(2)]).build([(None, None, 3), (None, None, 2)])


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: fb.FrameSample(0), "frames=0"),
        (lambda: fb.FrameSample(2, "single"), "method='single'"),
        (lambda: fb.NetVLAD(0), "clusters=0"),
        (lambda: fb.DeepBagOfFrames(0), "clusters=0"),
        (lambda: fb.DeepBagOfFrames(2, 0), "units=0"),
        (lambda: fb.DeepBagOfFrames(2, 2, "sum"), "pooling='sum'"),
        (lambda: fb.DeepBagOfFrames(2, 2, activation="tanh"), "activation='tanh'"),
        (lambda: fb.FinalStates(2, cell="rnn"), "cell='rnn'"),
        (lambda: fb.FinalStates(2, 0), "num_layers=0"),
    ],
)
def test_unknown_options_are_refused(make, word):
    with pytest.raises(ValueError, match=f"Received: {word}"):
        make()


# What every layer does

CASES = {
    "NetVLAD": lambda: fb.NetVLAD(K, momentum=0.5),
    "NetRVLAD": lambda: fb.NetRVLAD(K),
    "NetFV": lambda: fb.NetFV(K),
    "SoftDBoW": lambda: fb.SoftDBoW(K),
    "GatedDBoF": lambda: fb.GatedDBoF(K),
    "DeepBagOfFrames": lambda: fb.DeepBagOfFrames(7, 3, "mean", "relu6", 0.5),
    "FrameAttention": lambda: fb.FrameAttention(),
    "FinalStates": lambda: fb.FinalStates(3, 2, "gru", every=True),
    "FrameSample": lambda: fb.FrameSample(3, "run", ordered=True, seed=1),
    "FrameChain": lambda: fb.FrameChain([layers.Dense(3), fb.FrameSample(2), fb.FrameAttention()]),
    "FrameStreams": lambda: fb.FrameStreams([layers.Dense(D)], [fb.NetVLAD(2)], normalize=True),
}
COUNTS = {  # trained
    "NetVLAD": 2 * K * D + 2 * K,
    "NetRVLAD": K * D + 2 * K,
    "NetFV": 3 * K * D + 2 * K,
    "SoftDBoW": K * D + 2 * K,
    "GatedDBoF": 3 * K * D + 4 * K,
    "DeepBagOfFrames": 7 * D + 7 * 3 + 2 * (D + 7 + 3),
    "FrameAttention": D,
    "FinalStates": 3 * 3 * (D + 3 + 1) + 3 * 3 * (3 + 3 + 1),
    "FrameSample": 0,
    "FrameChain": 3 * D + 3 + 3,
    "FrameStreams": D * D + D + 4 * D + 4,
}
cases = pytest.mark.parametrize("name", CASES)


@cases
def test_trained_weights_are_as_many_as_the_closed_form(name):
    layer = CASES[name]()
    layer.build((None, None, D))
    assert sum(int(np.prod(w.shape)) for w in layer.trainable_weights) == COUNTS[name]


def test_g2_counts_of_a_deep_bag(monkeypatch):
    assert counts(monkeypatch, fb.DeepBagOfFrames(), (None, None, 1152))[0] == 37_627_692 - 19_781_164


def test_g2_counts_of_two_lstms(monkeypatch):
    assert counts(monkeypatch, fb.FinalStates(), (None, None, 1152)) == (17_309_696, 17_309_696)
    assert fb.FinalStates(every=True).compute_output_shape((None, None, 1152)) == (None, 4096)
    assert fb.FinalStates(1200, cell="gru", every=True).compute_output_shape((None, None, 1152)) == (None, 2400)


def test_g2_size_of_the_vector_of_netvlad():
    rgb, audio = fb.NetVLAD(256), fb.NetVLAD(128)
    sizes = [bag.compute_output_shape((None, None, n))[1] for bag, n in ((rgb, 1024), (audio, 128))]
    assert sum(sizes) == 278_528


@cases
def test_every_weight_gets_a_gradient(name, rng):
    layer = CASES[name]()
    x = rng.standard_normal((3, T, D)).astype("float32")
    mask = np.arange(T) < np.array([[3], [T], [4]])
    layer(x, mask=mask)
    layer.set_weights([w + 0.2 * rng.standard_normal(w.shape).astype(w.dtype) for w in layer.get_weights()])
    randomise_norms(layer, rng)
    direction = rng.standard_normal(layer.compute_output_shape((3, T, D)))
    direction = keras.ops.convert_to_tensor(direction, "float32")

    def loss():
        return keras.ops.sum(layer(x, mask=mask) * direction)  # of unit vectors the square would be constant

    if layer.trainable_variables:
        for weight, gradient in zip(layer.trainable_variables, gradients(loss, layer.trainable_variables)):
            assert gradient is not None and np.abs(gradient).max() > 1e-6, weight.path


@cases
def test_saved_and_loaded_it_gives_the_same(name, rng, tmp_path):
    layer = CASES[name]()
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    inputs, mask = keras.Input((None, D)), keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask))
    randomise_norms(layer, rng)
    x, real = padded(videos(rng))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(again([x, real])), numpy(model([x, real])))
    np.testing.assert_allclose(model.predict([x, real], verbose=0), numpy(model([x, real])), atol=1e-6)


@cases
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_finite_and_close(name, policy, rng):
    plain = CASES[name]()
    x, mask = padded(videos(rng))
    want = numpy(plain(x, mask=mask))
    keras.config.set_dtype_policy(policy)
    try:
        half = CASES[name]()
        half.build((None, None, D))
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(plain.get_weights())
    got = half(keras.ops.cast(x, "float32"), mask=keras.ops.convert_to_tensor(mask))
    np.testing.assert_allclose(numpy(keras.ops.cast(got, "float32")), want, atol=0.1)


@cases
def test_one_video_alone_equals_itself_in_a_batch(name, rng):
    layer = CASES[name]()
    x, mask = padded(videos(rng))
    np.testing.assert_allclose(numpy(layer(x[:1], mask=mask[:1]))[0], numpy(layer(x, mask=mask))[0], atol=1e-5)


@cases
@pytest.mark.skipif(not TENSORFLOW, reason="export is TensorFlow's")
def test_exports_with_unknown_batch_and_time(name, rng, tmp_path):
    import tensorflow as tf

    layer = CASES[name]()
    layer.build((None, None, D))
    archive = keras.export.ExportArchive()
    archive.track(layer)
    signature = [tf.TensorSpec((None, None, D), tf.float32), tf.TensorSpec((None, None), tf.bool)]
    archive.add_endpoint("serve", lambda x, mask: layer(x, mask=mask), signature)
    archive.write_out(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    for lengths in ((3, 6, 1), (2,), (9, 8)):
        x, mask = padded(videos(rng, lengths), max(lengths))
        x = x.astype("float32")
        np.testing.assert_allclose(numpy(served.serve(x, mask)), numpy(layer(x, mask=mask)), atol=1e-5)
