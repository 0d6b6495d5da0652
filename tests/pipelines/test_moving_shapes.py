"""Moving shapes: the class is the motion and nothing else."""

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import make_dataset
from pipelines.datasets.moving_shapes import CLASSES


def clips(split="train", name="moving_shapes", **options):
    elements = list(make_dataset(name, split, **options).as_numpy_iterator())
    return np.stack([e["video"] for e in elements]), np.array([e["label"] for e in elements])


def steps(video):
    """Motion of the centre of mass from frame to frame, (row, column), on the torus (angle of the mean phase)."""
    grey = video[..., 0].astype(float)
    size = grey.shape[1]
    phase = np.exp(2j * np.pi * np.arange(size) / size)
    angles = np.stack([np.angle(grey.sum(2) @ phase), np.angle(grey.sum(1) @ phase)], axis=-1)
    moved = np.angle(np.exp(1j * np.diff(angles, axis=0)))
    return moved * size / (2 * np.pi)


def test_the_label_is_the_motion():
    videos, labels = clips(num_sequences=120, num_frames=12, frame_size=32)
    for video, label in zip(videos, labels):
        moved = steps(video)
        speed = np.hypot(*moved.T)
        assert (speed > 1.8).all() and (speed < 4.1).all()
        heading = np.unwrap(np.arctan2(-moved[:, 0], moved[:, 1]))  # 0 right, pi/2 up, as seen on the screen
        turned = heading[-1] - heading[0]
        if CLASSES[label] in ("clockwise", "counterclockwise"):
            assert np.sign(turned) == (-1 if CLASSES[label] == "clockwise" else 1) and abs(turned) > 0.8
        else:
            assert abs(turned) < 0.2
            want = {"right": 0, "up": np.pi / 2, "left": np.pi, "down": -np.pi / 2}[CLASSES[label]]
            assert np.cos(heading.mean() - want) > 0.99


def test_no_single_frame_tells_the_class():
    """Start, shape and size are drawn alike for all classes: first frames have the same mean picture and mass."""
    videos, labels = clips(num_sequences=1800, num_frames=1, frame_size=16)
    mass = videos.mean(axis=(1, 2, 3, 4))
    for label in range(len(CLASSES)):
        assert abs(mass[labels == label].mean() / mass.mean() - 1) < 0.1
    counts = np.bincount(labels, minlength=len(CLASSES))
    assert counts.min() > 0.8 * 300


def test_contract_and_seeds():
    options = {"num_frames": 3, "frame_size": 8}
    videos, labels = clips(num_sequences=40, **options)
    again, same = clips(num_sequences=40, **options)
    assert videos.dtype == np.uint8 and videos.shape == (40, 3, 8, 8, 1) and labels.dtype == np.int64
    np.testing.assert_array_equal(videos, again)
    np.testing.assert_array_equal(labels, same)
    assert (clips(num_sequences=40, epoch=1, **options)[0] != videos).any()
    assert (clips(num_sequences=40, seed=1, **options)[0] != videos).any()
    test = clips("test", num_test_sequences=5, **options)[0]
    np.testing.assert_array_equal(test, clips("test", num_test_sequences=5, seed=3, epoch=2, **options)[0])
    assert (clips(num_sequences=40, noise=0.2, **options)[0] != videos).mean() > 0.3


@pytest.mark.parametrize("name", ["moving_shapes", "left_right"])
def test_speed_is_an_option(name):
    options = {"name": name, "num_sequences": 40, "num_frames": 8, "frame_size": 64}  # 1/32 of the frame: two pixels
    for speed, low, high in (((0.5, 1.0), 0.8, 2.2), ((3.0, 3.0), 5.6, 6.1), ((5.0, 6.0), 9.3, 12.1)):
        videos, labels = clips(speed=speed, **options)
        moved = np.stack([np.hypot(*steps(video).T) for video in videos])
        assert low < moved.min() and moved.max() < high, (speed, moved.min(), moved.max())
    np.testing.assert_array_equal(clips(speed=(2.0, 4.0), **options)[0], clips(**options)[0])
    np.testing.assert_array_equal(clips(**options)[1], labels)  # the rest stays


@pytest.mark.parametrize("name", ["moving_shapes", "left_right"])
@pytest.mark.parametrize("speed", [(0.0, 1.0), (3.0, 2.0), (-1.0, 1.0), (2.0, 16.0), (float("nan"), 1.0)])
def test_bad_speeds_are_named(name, speed):
    with pytest.raises(InputError, match=f"{name} must rise.*Received: speed="):
        make_dataset(name, "train", speed=speed)


@pytest.mark.parametrize("bad", [{"frame_size": 7}, {"num_frames": 0}, {"noise": -0.1}, {"num_test_sequences": 0}])
def test_bad_options_are_named(bad):
    ((name, value),) = bad.items()
    with pytest.raises(InputError, match=f"{name}={value}"):
        make_dataset("moving_shapes", "train", **bad)
    with pytest.raises(InputError, match="split='dev'"):
        make_dataset("moving_shapes", "dev")
