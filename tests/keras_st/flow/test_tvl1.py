"""TV-L1 flow: one scale against the papers' equations, known motions, real frames, the layer's contract."""

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image
from scipy import ndimage

from keras_st.flow import ACCURATE, TVL1Flow
from keras_st.flow import tvl1 as module
from keras_st.metrics.flow import end_point_error
from pipelines.flow import read_flo
from tests.conformance.test_conformance import gradients
from tests.conftest import DATA
from tests.reference import flow as reference

ATOL = 1e-5 if keras.backend.backend() == "torch" else 1e-8  # Keras on PyTorch takes float64 as float32 in places
QUICK = {"levels": 3, "warps": 2, "iterations": 5}  # where not the flow but something about it is tested
SETTINGS = {"weight": 0.07, "theta": 0.4, "tau": 0.2, "iterations": 7}


def numpy(x):
    return ops.convert_to_numpy(x)


def texture(rng, height, width, sigma=2.0):
    """A smooth random image of values 0..1."""
    image = ndimage.gaussian_filter(rng.standard_normal((height, width)), sigma)
    return (image - image.min()) / (image.max() - image.min())


def moving(rng, displacements, height=64, width=80):
    """uint8 (1, T, H, W, 1): a texture that moves by (u, v) whole pixels from frame to frame."""
    big = texture(rng, height + 80, width + 80)
    places = np.cumsum([(40, 40), *(-np.array(displacements))], axis=0)
    frames = [big[v : v + height, u : u + width] for u, v in places]
    return np.rint(255 * np.stack(frames)[None, ..., None]).astype("uint8")


def test_one_scale_is_the_papers(rng):
    """From u and p that are not zero, with pixels in all three cases of the threshold."""
    u, p = rng.normal(0, 1, (2, 5, 7)), rng.uniform(-0.6, 0.6, (2, 2, 5, 7))
    p[:, 0, :, -1] = p[:, 1, -1] = 0  # as every iterate is
    difference, gradient = rng.normal(0, 6, (5, 7)), rng.normal(0, 9, (2, 5, 7))
    want_u, want_p = reference.scheme(u, p, difference, gradient, **SETTINGS)

    def tensor(x):
        return ops.convert_to_tensor(x[:, None], dtype="float64")

    flow = [tensor(u), tensor(-p[:, 0]), tensor(-p[:, 1])]
    got = module.dual_scheme(flow, tensor(difference[None])[0], tensor(gradient), *SETTINGS.values())
    assert np.abs(want_u - u).max() > 1
    np.testing.assert_allclose(numpy(got[0])[:, 0], want_u, atol=ATOL)
    np.testing.assert_allclose(np.stack([-numpy(x)[:, 0] for x in got[1:]], axis=1), want_p, atol=ATOL)
    rho = difference / (gradient**2).sum(axis=0)
    limit = SETTINGS["weight"] * SETTINGS["theta"]
    assert (rho < -limit).any() and (rho > limit).any() and (np.abs(rho) < limit).any()


def test_parts_of_a_level_against_scipy(rng):
    maps = rng.standard_normal((2, 3, 9, 11)).astype("float32")
    want = [ndimage.median_filter(m, 3, mode="nearest") for m in maps.reshape(6, 9, 11)]
    np.testing.assert_array_equal(numpy(module.median(ops.convert_to_tensor(maps))).reshape(6, 9, 11), want)
    taps = np.array([1, -8, 0, 8, -1]) / 12
    dx, dy = numpy(module.image_gradient(ops.convert_to_tensor(maps[0])))
    np.testing.assert_allclose(dx, ndimage.correlate1d(maps[0], taps, -1, mode="nearest"), atol=1e-6)
    np.testing.assert_allclose(dy, ndimage.correlate1d(maps[0], taps, -2, mode="nearest"), atol=1e-6)
    u, px, py = rng.standard_normal((3, 2, 1, 9, 11))
    px[..., -1], py[..., -1, :] = 0, 0
    ux, uy = (numpy(x) for x in module.forward_differences(ops.convert_to_tensor(u)))
    div = numpy(module.divergence(ops.convert_to_tensor(px), ops.convert_to_tensor(py)))
    assert (ux * px + uy * py).sum() == pytest.approx(-(u * div).sum())


@pytest.mark.parametrize("size", [(6, 11), (18, 33), (25, 5), (12, 23)], ids=str)
def test_levels_are_resized_as_pillow_does(rng, size):
    maps = rng.random((2, 3, 12, 23)).astype("float32")
    want = [
        np.asarray(Image.fromarray(m).resize(size[::-1], Image.Resampling.BILINEAR)) for m in maps.reshape(6, 12, 23)
    ]
    got = numpy(module._resize(ops.convert_to_tensor(maps), size))
    np.testing.assert_allclose(got.reshape(6, *size), want, atol=1e-5)


@pytest.mark.parametrize("displacement", [(1, 0), (0, -3), (-8, 0), (5, 6)], ids=str)
def test_translations_are_found(rng, displacement):
    flow = numpy(TVL1Flow()(moving(rng, [displacement])))
    assert flow.shape == (1, 1, 64, 80, 2) and flow.dtype == np.float32
    inside = flow[0, 0, 14:-14, 14:-14]
    assert np.linalg.norm(inside - displacement, axis=-1).max() < 0.1


def test_every_pair_of_every_clip_has_its_own_flow(rng):
    clips = np.concatenate([moving(rng, [(1, 0), (0, 2)], 40, 48), moving(rng, [(-2, 1), (0, 0)], 40, 48)])
    layer = TVL1Flow(levels=2)
    flow = numpy(layer(clips))
    centre = flow[:, :, 10:-10, 10:-10].mean(axis=(2, 3))
    np.testing.assert_allclose(centre, [[(1, 0), (0, 2)], [(-2, 1), (0, 0)]], atol=0.05)
    for n in range(2):
        np.testing.assert_allclose(numpy(layer(clips[n : n + 1]))[0], flow[n], atol=1e-5)


def test_a_mirrored_video_has_the_mirrored_flow(rng):
    video = moving(rng, [(2, 1)], 40, 56)
    flow = numpy(TVL1Flow(**QUICK)(video))
    mirrored = numpy(TVL1Flow(**QUICK)(video[:, :, :, ::-1].copy()))[:, :, :, ::-1] * [-1, 1]
    turned = numpy(TVL1Flow(**QUICK)(np.swapaxes(video, 2, 3).copy()))[..., ::-1].swapaxes(2, 3)
    # Forward differences are not their own mirror image: the two differ before they have converged, most at the border.
    assert np.abs(mirrored - flow)[:, :, 8:-8, 8:-8].max() < 0.1
    np.testing.assert_allclose(turned, flow, atol=1e-3)


def test_integers_floats_and_ranges_are_read_alike(rng):
    video = moving(rng, [(2, -1)], 32, 40)
    flow = numpy(TVL1Flow(**QUICK)(video))
    np.testing.assert_array_equal(numpy(TVL1Flow(**QUICK)(video.astype("float32"))), flow)
    np.testing.assert_allclose(numpy(TVL1Flow((0, 1), **QUICK)(video.astype("float32") / 255)), flow, atol=1e-3)
    np.testing.assert_allclose(numpy(TVL1Flow((-1, 1), **QUICK)(video.astype("float32") / 127.5 - 1)), flow, atol=1e-3)
    assert np.abs(numpy(TVL1Flow((0, 510), **QUICK)(video)) - flow).max() > 0.01


def test_colours_become_grey_by_their_weights(rng):
    video = np.concatenate([moving(rng, [(1, 1)], 32, 40) for _ in range(3)], axis=-1)
    grey = (video @ np.array([0.299, 0.587, 0.114])).astype("float32")[..., None]
    np.testing.assert_allclose(numpy(TVL1Flow(**QUICK)(video)), numpy(TVL1Flow(**QUICK)(grey)), atol=1e-3)


@pytest.mark.parametrize(
    "option", ["data_weight", "tightness", "time_step", "levels", "scale", "warps", "iterations", "median"]
)
def test_every_option_changes_the_flow(rng, option):
    video = moving(rng, [(3, 1)], 40, 48)
    other = {"scale": 0.6, "levels": 2, "warps": 3, "iterations": 3, "median": False}.get(option, 0.05)
    changed = TVL1Flow(**{**QUICK, option: other})(video)
    assert np.abs(numpy(changed) - numpy(TVL1Flow(**QUICK)(video))).max() > 1e-3


def test_large_motion_needs_levels(rng):
    video = moving(rng, [(12, 0)], 32, 128)  # coarser levels are 16 x 64, 16 x 32, 16 x 16

    def error(levels):
        flow = numpy(TVL1Flow(levels=levels, warps=4, iterations=5)(video))[0, 0, 8:-8, 20:-20]
        return np.linalg.norm(flow - (12, 0), axis=-1).mean()

    assert error(4) < 0.1 and error(1) > 5


def test_no_level_is_smaller_than_sixteen_pixels_and_small_frames_stay():
    assert [module._level_size(388, 0.5**n) for n in range(7)] == [388, 194, 97, 48, 24, 16, 16]
    assert module._level_size(9, 0.5) == 9
    flat = np.full((1, 3, 1, 9, 1), 7, "uint8")
    np.testing.assert_array_equal(numpy(TVL1Flow()(flat)), np.zeros((1, 2, 1, 9, 2)))


@pytest.mark.parametrize("flat", [False, True])
def test_frames_have_a_gradient(rng, flat):
    """Finite everywhere, also where nothing moves and nothing is seen."""
    video = moving(rng, [(1, 0)], 24, 20).astype("float32")
    frames = keras.Variable(0 * video + 9 if flat else video)
    layer = TVL1Flow(levels=2, warps=2, iterations=4)
    (gradient,) = gradients(lambda: ops.sum(ops.square(layer(frames.value) - 1)), [frames])
    assert np.isfinite(gradient).all()
    if not flat:
        assert (np.abs(gradient).max(axis=(2, 3, 4)) > 1e-6).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere Keras computes float64 as float32")
def test_the_gradient_is_that_of_finite_differences(rng):
    video = moving(rng, [(1, 0)], 20, 24).astype("float64")
    layer = TVL1Flow(levels=1, warps=1, iterations=3, median=False, dtype="float64")
    direction = rng.standard_normal(video.shape)

    def loss(x):
        return ops.mean(ops.square(layer(x)))

    frames = keras.Variable(video, dtype="float64")
    (gradient,) = gradients(lambda: loss(frames.value), [frames])
    rise = [float(loss(ops.convert_to_tensor(video + h * direction, dtype="float64"))) for h in (1e-5, -1e-5)]
    assert (gradient * direction).sum() == pytest.approx((rise[0] - rise[1]) / 2e-5, rel=1e-3)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export is TensorFlow's")
def test_it_is_exported_with_every_size_unknown(rng, tmp_path):
    import tensorflow as tf

    layer = TVL1Flow(levels=3, scale=0.7, warps=2, iterations=4)
    layer.build((None,) * 4 + (3,))
    archive = keras.export.ExportArchive()
    archive.track(layer)
    for name, dtype in (("bytes", "uint8"), ("floats", "float32")):
        archive.add_endpoint(name, layer.call, [keras.layers.InputSpec(shape=(None,) * 4 + (3,), dtype=dtype)])
    archive.write_out(tmp_path / "flow", verbose=False)
    served = tf.saved_model.load(tmp_path / "flow")
    for shape in ((2, 3, 33, 45, 3), (1, 2, 9, 24, 3), (1, 1, 20, 20, 3)):
        video = np.repeat(moving(rng, [(2, 1)] * (shape[1] - 1), *shape[2:4]), 3, axis=-1)
        video = np.concatenate([video] * shape[0])
        want = layer(video).numpy()
        assert want.shape == (shape[0], shape[1] - 1, *shape[2:4], 2)
        np.testing.assert_allclose(served.bytes(video).numpy(), want, atol=1e-4)
        np.testing.assert_allclose(served.floats(video.astype("float32")).numpy(), want, atol=1e-4)


def test_what_a_global_policy_says_does_not_matter(rng):
    video = moving(rng, [(1, 0)], 24, 20)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = TVL1Flow(**QUICK)
    finally:
        keras.config.set_dtype_policy("float32")
    assert layer(keras.KerasTensor((None, None, None, None, 1), "uint8")).dtype == "float32"
    np.testing.assert_array_equal(numpy(layer(video)), numpy(TVL1Flow(**QUICK)(video)))


@pytest.mark.parametrize(
    "options",
    [
        {"value_range": (1, 0)},
        {"value_range": (0, 1, 2)},
        {"data_weight": 0},
        {"tightness": -1.0},
        {"time_step": 0.5},
        {"levels": 0},
        {"warps": 2.0},
        {"iterations": True},
        {"scale": 1.0},
    ],
)
def test_bad_options_are_named(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError) as error:
        TVL1Flow(**options)
    assert f"Received: {name}={value}" in str(error.value) and "\n" not in str(error.value)


def test_bad_frames_are_named():
    for shape in ((2, 3, 8, 8, 2), (3, 8, 8, 1)):
        with pytest.raises(ValueError, match=r"1 or 3\). Received: shape=\("):
            TVL1Flow()(np.zeros(shape, "float32"))


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "optical_flow" / "Venus").is_dir(), reason="no optical_flow under KERAS_ST_DATA")
@pytest.mark.parametrize("options, largest", [({}, 0.5), (ACCURATE, 0.38)])
def test_real_frames(options, largest):
    """In the middle of Middlebury's Venus, 120 x 140 pixels."""
    folder = DATA / "optical_flow" / "Venus"
    frames = np.stack([np.asarray(Image.open(folder / f"frame1{n}.png").convert("RGB")) for n in (0, 1)])
    window = np.s_[130:250, 140:280]
    flow = numpy(TVL1Flow(**options)(frames[None, :, *window]))[0, 0]
    assert end_point_error(read_flo(folder / "flow10.flo")[window], flow) < largest
