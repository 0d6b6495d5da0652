"""Flow offline: the contract of OpenCV's methods on known motion, flow as bytes, .flo files."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from keras_st.specs import InputError
from pipelines.flow import (
    METHODS,
    decode_flow,
    encode_flow,
    encode_scale16,
    flow_between,
    flow_of,
    read_flo,
    write_flo,
)


def video(rng, displacements, channels=1):
    """uint8 (T, 64, 80, channels) of a texture that moves by (u, v) whole pixels from frame to frame."""
    big = ndimage.gaussian_filter(rng.standard_normal((128, 144)), 2)
    big = 255 * (big - big.min()) / (big.max() - big.min())
    places = np.cumsum([(32, 32), *(-np.array(displacements))], axis=0)
    frames = np.stack([big[v : v + 64, u : u + 80] for u, v in places])
    return np.repeat(np.rint(frames).astype("uint8")[..., None], channels, axis=-1)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(rng, method):
    """(u, v) in px/frame, u right, v down, from a frame to the next; the last field twice."""
    pytest.importorskip("cv2")
    frames = video(rng, [(3, 0), (0, -2)])
    flow = flow_of(frames, method)
    assert flow.shape == (3, 64, 80, 2) and flow.dtype == np.float32
    middle = np.median(flow[:, 12:-12, 12:-12], axis=(1, 2))
    np.testing.assert_allclose(middle, [(3, 0), (0, -2), (0, -2)], atol=0.2)
    np.testing.assert_array_equal(flow[2], flow[1])
    # Whatever was seen before, which DIS does not forget.
    np.testing.assert_array_equal(flow_between(frames[1], frames[2], method), flow[1])
    mirrored = flow_of(frames[:, :, ::-1], method)[:, :, ::-1] * [-1, 1]
    np.testing.assert_allclose(np.median(mirrored[:, 12:-12, 12:-12], axis=(1, 2)), middle, atol=0.2)


def test_the_methods_differ_and_tvl1_is_the_default(rng):
    pytest.importorskip("cv2")
    frames = video(rng, [(1, 1)])
    fields = [flow_of(frames, method) for method in METHODS]
    assert all(np.abs(a - b).max() > 1e-3 for n, a in enumerate(fields) for b in fields[:n])
    np.testing.assert_array_equal(flow_of(frames), flow_of(frames, "tvl1"))


def test_colours_are_grey_by_their_weights_red_first(rng):
    pytest.importorskip("cv2")
    moving, still = video(rng, [(2, 0)]), video(rng, [(0, 0)])
    seen = [np.concatenate([moving if c == n else 0 * still for c in range(3)], axis=-1) for n in range(3)]
    strength = [np.abs(flow_of(frames // 4, "farneback")[0, 12:-12, 12:-12, 0]).mean() for frames in seen]
    assert strength[1] > strength[0] > strength[2]  # green, red, blue
    grey = flow_of(moving, "farneback")
    np.testing.assert_array_equal(flow_of(np.repeat(moving, 3, axis=-1), "farneback"), grey)


def test_one_frame_stands_still():
    pytest.importorskip("cv2")
    flow = flow_of(np.full((1, 20, 24, 3), 9, "uint8"))
    assert flow.dtype == np.float32
    np.testing.assert_array_equal(flow, np.zeros((1, 20, 24, 2)))


@pytest.mark.parametrize(
    "frames, method, told",
    [
        (np.zeros((2, 20, 24, 3)), "tvl1", "float64"),
        (np.zeros((2, 20, 24, 2), "uint8"), "tvl1", r"\(2, 20, 24, 2\)"),
        (np.zeros((20, 24, 3), "uint8"), "tvl1", r"\(20, 24, 3\)"),
        (np.zeros((0, 20, 24, 3), "uint8"), "tvl1", r"\(0, 20, 24, 3\)"),
        (np.zeros((2, 20, 24, 3), "uint8"), "farnback", "did you mean 'farneback'"),
        (np.zeros((2, 8, 9, 3), "uint8"), "dis", "8x9"),
    ],
)
def test_what_has_no_flow_is_refused_in_one_line(frames, method, told):
    pytest.importorskip("cv2")
    with pytest.raises(InputError, match=told) as error:
        flow_of(frames, method)
    assert "\n" not in str(error.value)


def test_frames_of_a_pair_are_alike():
    with pytest.raises(InputError, match=r"\(4, 5, 1\) and \(5, 4, 1\)"):
        flow_between(np.zeros((4, 5, 1), "uint8"), np.zeros((5, 4, 1), "uint8"))


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r'pip install "keras_st\[video\]"'):
        flow_of(np.zeros((2, 20, 24, 3), "uint8"))


def test_bytes_by_hand():
    flow = np.array([(0, -0.0), (20, -20), (25, -25), (10, 0.04)])
    np.testing.assert_array_equal(encode_flow(flow), [(128, 128), (255, 0), (255, 0), (191, 128)])
    np.testing.assert_array_equal(encode_flow(flow, rounding="trunc"), [(127, 127), (255, 0), (255, 0), (191, 127)])
    np.testing.assert_array_equal(encode_flow(flow, bound=40)[:2], [(128, 128), (191, 64)])
    # Half to even: q = 126.5 and 127.5 become 126 and 128.
    np.testing.assert_array_equal(encode_flow([(-40 / 255, 0)]), [(126, 128)])
    np.testing.assert_array_equal(
        encode_scale16([(0, 0), (3, -4), (9, -9)]), [(128, 128, 128), (176, 64, 208), (255, 0, 255)]
    )
    assert encode_flow(flow).dtype == encode_scale16(flow).dtype == np.uint8


@pytest.mark.parametrize("bound", [1, 7.5, 20])
@pytest.mark.parametrize("rounding, steps", [("nearest", 1), ("trunc", 2)])
def test_decoding_is_half_a_step_off_at_most(rng, bound, rounding, steps):
    flow = rng.uniform(-bound, bound, (3, 40, 50, 2)).astype("float32")
    decoded = decode_flow(encode_flow(flow, bound, rounding), bound)
    assert decoded.dtype == np.float32
    assert np.abs(decoded - flow).max() <= steps * bound / 255 * 1.001
    assert np.abs(decode_flow(encode_flow(flow, bound, rounding), bound) - flow).max() > 0.9 * steps * bound / 255


def test_decoding_in_the_data_path_is_the_same(rng):
    codes = rng.integers(0, 256, (4, 5, 6, 2)).astype("uint8")
    dataset = tf.data.Dataset.from_tensor_slices(codes).map(lambda q: decode_flow(q, 15))
    assert dataset.element_spec.dtype == tf.float32
    np.testing.assert_allclose(np.stack(list(dataset.as_numpy_iterator())), decode_flow(codes, 15), atol=1e-6)
    assert decode_flow(np.uint8([128]))[0] == pytest.approx(20 / 255)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (([(0, 0)], 0), "bound=0"),
        (([(0, 0)], np.nan), "bound=nan"),
        (([(0, 0)], np.inf), "bound=inf"),
        (([(0, 0)], 20, "nearst"), "did you mean 'nearest'"),
        (([(0, np.nan), (np.inf, 0)],), "2 components"),
        (([(0, 0, 0)],), r"\(1, 3\)"),
    ],
)
def test_what_has_no_code_is_refused(arguments, told):
    with pytest.raises(InputError, match=told):
        encode_flow(*arguments)
    if len(arguments) == 1:
        with pytest.raises(InputError, match=told):
            encode_scale16(*arguments)
    elif len(arguments) == 2:
        with pytest.raises(InputError, match=told):
            decode_flow(np.uint8([1]), arguments[1])


def test_flo_files_as_opencv_and_middlebury_write_them(tmp_path, rng):
    cv2 = pytest.importorskip("cv2")
    flow = rng.normal(0, 5, (5, 7, 2)).astype("float32")
    write_flo(tmp_path / "ours.flo", flow)
    cv2.writeOpticalFlow(str(tmp_path / "theirs.flo"), flow)
    assert (tmp_path / "ours.flo").read_bytes() == (tmp_path / "theirs.flo").read_bytes()
    np.testing.assert_array_equal(read_flo(tmp_path / "theirs.flo"), flow)
    flow[1, 2], flow[3, 4, 1] = np.nan, np.nan
    write_flo(tmp_path / "unknown.flo", flow)
    written = cv2.readOpticalFlow(str(tmp_path / "unknown.flo"))
    np.testing.assert_array_equal(written[1, 2], np.float32([1e10, 1e10]))
    again = read_flo(tmp_path / "unknown.flo")
    assert np.isnan(again[[1, 3], [2, 4]]).all() and np.isnan(again).sum() == 4
    np.testing.assert_array_equal(again[0], flow[0])


def test_damaged_flo_files_are_named_in_one_line(tmp_path):
    whole = np.float32(202021.25).tobytes() + np.int32([3, 2]).tobytes() + bytes(3 * 2 * 8)
    huge = whole[:4] + np.int32([2**31 - 1, 2**31 - 1]).tobytes() + bytes(8)
    none = whole[:4] + np.int32([0, -2]).tobytes()
    contents = {
        "short": (whole[:-1], "59"),
        "long": (whole + b"x", "61"),
        "header": (whole[:9], "9 bytes"),
        "empty": (b"", "b''"),
        "magic": (b"\x89PNG" + whole[4:], "PNG"),
        "huge": (huge, "2147483647 wide"),
        "wide": (whole[:4] + np.int32([100_000, 1]).tobytes() + bytes(800_000), "100000 wide"),
        "none": (none, "0 wide, -2 high"),
    }
    for name, (content, told) in contents.items():
        path = tmp_path / f"{name}.flo"
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            read_flo(path)
        assert told in str(error.value) and path.name in str(error.value) and "\n" not in str(error.value)
    for path in (tmp_path / "nowhere.flo", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_flo(path)
    (tmp_path / "whole.flo").write_bytes(whole)
    np.testing.assert_array_equal(read_flo(tmp_path / "whole.flo"), np.zeros((2, 3, 2)))


def test_flo_files_are_not_overwritten_and_hold_one_field(tmp_path):
    path = tmp_path / "a.flo"
    write_flo(path, np.zeros((2, 3, 2)))
    before = path.read_bytes()
    with pytest.raises(InputError, match="nothing is overwritten"):
        write_flo(path, np.ones((2, 3, 2)))
    assert path.read_bytes() == before
    for shape in ((2, 3), (1, 2, 3, 2), (0, 3, 2)):
        with pytest.raises(InputError, match="shape="):
            write_flo(tmp_path / "b.flo", np.zeros(shape))
    assert not (tmp_path / "b.flo").exists()
