"""Moving digits: deterministic, whole, bouncing, disjoint (spec 6.4)."""

import gzip
import struct

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import InputError
from pipelines import make_dataset
from pipelines.datasets import moving_mnist as m
from pipelines.datasets.generated import SPLITS


def videos(split="train", **options):
    return np.stack([clip["video"] for clip in make_dataset("moving_mnist", split, **options).as_numpy_iterator()])


def test_element_contract():
    dataset = make_dataset("moving_mnist", "test", num_test_sequences=3)
    assert dataset.element_spec["video"] == tf.TensorSpec((20, 32, 32, 1), tf.uint8)
    assert int(dataset.cardinality()) == 3
    clips = list(dataset.as_numpy_iterator())
    assert clips[1]["id"] == b"moving_mnist/test/1"
    assert clips[0]["video"].min() == 0 and clips[0]["video"].max() > 200


def test_same_seed_and_index_same_sequence():
    a = videos(num_sequences=70, epoch=1)
    np.testing.assert_array_equal(a, videos(num_sequences=70, epoch=1))
    np.testing.assert_array_equal(a[:20], videos(num_sequences=90, epoch=0)[70:])  # index 70 on, however it is cut
    assert (a != videos(num_sequences=70, epoch=0)).any()
    assert (a != videos(num_sequences=70, epoch=1, seed=1)).any()


def test_the_test_set_is_fixed_and_apart_from_training():
    a = videos("test", num_test_sequences=5, seed=0)
    np.testing.assert_array_equal(a, videos("test", num_test_sequences=5, seed=7, epoch=3))
    assert (a != videos("train", num_sequences=5)).any()
    assert (videos("validation", num_test_sequences=5) != videos("train", num_sequences=5)).any()


def test_digit_sources_are_disjoint():
    train, validation, test = (m.digit_images(split).reshape(-1, 784) for split in SPLITS)
    seen = {digit.tobytes() for digit in np.concatenate([train, validation])}
    assert not any(digit.tobytes() in seen for digit in test)
    assert len(train) > len(validation) > 0 and train.dtype == np.uint8


def centres(video):
    """Path of the centre of mass in (row, column) pixels."""
    video = video[..., 0].astype(float)
    rows, columns = np.mgrid[: video.shape[1], : video.shape[2]]
    mass = video.sum((1, 2))
    return np.stack([(video * rows).sum((1, 2)), (video * columns).sum((1, 2))], axis=1) / mass[:, None]


@pytest.mark.parametrize("frame_size", [32, 64])
def test_one_digit_moves_whole_at_the_stated_speed_and_turns_at_the_walls(frame_size):
    clips = videos(num_sequences=40, num_digits=1, frame_size=frame_size, num_frames=30)
    assert clips.shape == (40, 30, frame_size, frame_size, 1)
    scale = frame_size / 32
    turned = 0
    for clip in clips:
        assert len({int(frame.sum()) for frame in clip}) == 1  # never cut, never blended: energy is constant
        steps = np.diff(centres(clip), axis=0)
        assert np.abs(steps).max() <= 2 * scale + 1  # rounding of positions adds less than a pixel
        turned += int((np.sign(steps[:-1]) * np.sign(steps[1:]) < 0).any())
        speed = np.abs(steps).mean(axis=0)
        assert (speed > 0.5 * scale).all() and (speed < 2.1 * scale).all()
    assert turned > 20


def test_the_law_of_motion():
    """Drawn block against its law, digit by digit: a lone bright pixel per digit shows its rounded position."""
    digits = tf.constant(np.pad(np.full((1, 1, 1), 200, "uint8"), [(0, 0), (0, 13), (0, 13)]))
    video = m.draw_block(digits, tf.constant([5, 6], tf.int64), 32, 1, 40).numpy()[..., 0]
    rows = np.stack([np.argmax(v.max(2), axis=1) for v in video])  # (BLOCK, 40): row of the digit's corner
    columns = np.stack([np.argmax(v.max(1), axis=1) for v in video])
    assert rows.min() == 0 and rows.max() == 18 and columns.min() == 0 and columns.max() == 18  # the whole free range
    speeds = []
    for path in np.concatenate([rows, columns]):
        fits = []  # (start, speed) whose reflected, rounded line is this path
        for speed in np.arange(1.0, 2.0001, 0.005):
            for sign in (-1, 1):
                starts = path[0] + np.linspace(-0.5, 0.5, 41)
                line = starts[:, None] + sign * speed * np.arange(40)
                line = 18 - np.abs(np.mod(line, 36) - 18)
                fits += [speed] * int((np.abs(line - path) <= 0.5 + 0.02 * np.arange(40)[None]).all(1).any())
        assert fits, path
        speeds.append(np.mean(fits))
    assert min(speeds) < 1.15 and max(speeds) > 1.85 and 1.35 < np.mean(speeds) < 1.65


def test_digits_start_anywhere():
    starts = np.array([centres(clip[:1])[0] for clip in videos(num_sequences=100, num_digits=1)])
    assert (starts.min(0) < 9).all() and (starts.max(0) > 22).all()


def test_digits_are_joined_by_maximum():
    digits = tf.constant(np.full((1, 14, 14), 90, "uint8"))
    video = m.draw_block(digits, tf.constant([1, 2], tf.int64), 32, 2, 20).numpy()
    assert set(np.unique(video)) == {0, 90}  # nothing is added up where digits overlap
    two = videos(num_sequences=8, num_digits=2)
    assert two.max() <= 255 and two.dtype == np.uint8
    one = videos(num_sequences=8, num_digits=1)
    assert two.astype(int).sum() > 1.4 * one.astype(int).sum()


def test_digits_of_mnist(mnist_folder):
    train, test = m.digit_images("train", str(mnist_folder)), m.digit_images("test", str(mnist_folder))
    assert train.shape == (54_000, 28, 28) and test.shape == (10_000, 28, 28)
    assert len(m.digit_images("validation", str(mnist_folder))) == 6_000
    assert videos("test", root=str(mnist_folder), num_test_sequences=2).max() > 200


def test_root_may_name_a_variable(mnist_folder):
    a = videos("test", root="$KERAS_ST_DATA/mnist", num_test_sequences=2)
    np.testing.assert_array_equal(a, videos("test", root=str(mnist_folder), num_test_sequences=2))


def write_idx(folder, data, name="t10k-images-idx3-ubyte", header=None):
    header = header or struct.pack(">4i", 2051, 2, 28, 28)
    (folder / name).write_bytes(header + data)


def test_bad_idx_files_are_named(tmp_path):
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte.gz"):
        m.digit_images("test", str(tmp_path))
    write_idx(tmp_path, bytes(2 * 784))
    assert m.digit_images("test", str(tmp_path)).shape == (2, 28, 28)
    for data, header in (
        (bytes(784), None),
        (b"", None),
        (bytes(1568), struct.pack(">4i", 2049, 2, 28, 28)),
        (b"", b"x"),
    ):
        write_idx(tmp_path, data, header=header)
        with pytest.raises(InputError, match="t10k-images-idx3-ubyte must be an idx file"):
            m.digit_images("test", str(tmp_path))
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    whole = gzip.compress(struct.pack(">4i", 2051, 2, 28, 28) + bytes(1568))
    for broken in (whole[:20], b"not gzip"):
        (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(broken)
        with pytest.raises(InputError, match="must be an idx file"):
            m.digit_images("test", str(tmp_path))


@pytest.mark.parametrize(
    "options, word",
    [
        ({"split": "dev"}, "split='dev'"),
        ({"frame_size": 7}, "frame_size=7"),
        ({"num_digits": 0}, "num_digits=0"),
        ({"num_frames": 0}, "num_frames=0"),
        ({"num_sequences": 0}, "num_sequences=0"),
        ({"num_test_sequences": 0}, "num_test_sequences=0"),
    ],
)
def test_bad_options_are_named(options, word):
    with pytest.raises(InputError, match="Received") as error:
        make_dataset("moving_mnist", **{"split": "train", **options})
    assert word in str(error.value)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(InputError, match="did you mean 'moving_mnist'"):
        make_dataset("moving_mnst", "train")
    with pytest.raises(InputError, match="did you mean 'num_digits'"):
        make_dataset("moving_mnist", "train", num_digit=3)
