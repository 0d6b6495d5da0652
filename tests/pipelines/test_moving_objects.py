"""Moving objects: one moves, its flow and boxes are exact, the rest of the scene is still."""

import numpy as np
import pytest

from keras_st.metrics import localisation
from keras_st.specs import InputError
from pipelines import feature_spec, make_dataset
from pipelines.datasets.moving_objects import CLASSES

WAYS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}  # (u, v)


def clips(split="train", **options):
    return list(make_dataset("moving_objects", split, **options).as_numpy_iterator())


@pytest.fixture(scope="module")
def some():
    return clips(num_sequences=96)


def inside(box, size=48):
    """Pixels of a frame that a half-open box holds."""
    top, left, bottom, right = box
    at = np.arange(size)
    return ((top <= at) & (at < bottom))[:, None] & ((left <= at) & (at < right))


def extent(moving):
    rows, columns = np.nonzero(moving)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_boxes_hold_exactly_what_moves(some):
    for clip in some:
        moving = (clip["flow"] != 0).any(axis=-1)
        for t, box in enumerate(clip["boxes"][:-1]):
            np.testing.assert_array_equal(box, extent(moving[t]))
        np.testing.assert_array_equal(clip["flow"][-1], clip["flow"][-2])  # to no frame: the one before again
        u, v = np.abs(clip["flow"]).max(axis=(0, 1, 2)) * WAYS[CLASSES[clip["label"]]]
        np.testing.assert_allclose(clip["boxes"][-1], clip["boxes"][-2] + [v, u, v, u], atol=1)
        assert (clip["boxes"] >= 0).all() and (clip["boxes"] <= 48).all()


def test_the_label_is_the_direction_of_the_flow(some):
    for clip in some:
        (velocity,) = np.unique(clip["flow"][(clip["flow"] != 0).any(axis=-1)], axis=0)
        speed = velocity @ WAYS[CLASSES[clip["label"]]]
        np.testing.assert_array_equal(velocity, speed * np.array(WAYS[CLASSES[clip["label"]]]))
        assert 1 <= speed <= 2


def core(moving):
    """The pixels of an object that lie two or more from its edge, which is soft."""
    for axis in (0, 1, 0, 1):
        moving = moving & np.roll(moving, 1, axis) & np.roll(moving, -1, axis)
    return moving


def test_flow_leads_from_a_frame_to_the_next(some):
    """Inside the object a pixel of frame t is found in frame t + 1 where flow leads.

    Between two pixels stripes of 6 px or more and 0.12 x 255 grey levels are off by (2 pi / 6)^2 / 8 of those, 4.2;
    rounding adds 1 at most.
    """
    for clip in some:
        video = clip["video"][..., 0].astype(float)
        for t, (now, after) in enumerate(zip(video, video[1:])):
            rows, columns = np.nonzero(core((clip["flow"][t] != 0).any(axis=-1)))
            u, v = clip["flow"][t][rows, columns].T
            row, column = rows + v, columns + u
            top, left = np.floor(row).astype(int), np.floor(column).astype(int)
            bottom, right = np.ceil(row).astype(int), np.ceil(column).astype(int)
            part = (row - top) + (column - left)  # one of them is 0: motion along one axis
            warped = (1 - part) * after[top, left] + part * after[bottom, right]
            assert len(rows) and np.abs(warped - now[rows, columns]).max() < 5.3


def test_all_else_is_still(some):
    """Beyond the boxes, a pixel wider for soft edges, no frame differs from another."""
    seen = 0
    for clip in some:
        far = ~np.any([inside(box + [-1, -1, 1, 1]) for box in clip["boxes"]], axis=0)
        for frame in clip["video"][1:, ..., 0]:
            np.testing.assert_array_equal(frame[far], clip["video"][0, ..., 0][far])
        seen += (clip["video"][0, ..., 0][far] > 0.55 * 255).any()  # brighter than background ever is: others
    assert seen > 0.8 * len(some)


def test_others_look_alike(some):
    """Objects that stand are as bright as those that move: the brightest and darkest of both reach as far."""
    moves, stands = [], []
    for clip in some:
        moving = (clip["flow"][0] != 0).any(axis=-1)
        frame = clip["video"][0, ..., 0]
        far = ~inside(clip["boxes"][0] + [-1, -1, 1, 1])
        moves.append(frame[moving])
        stands.append(frame[far & (frame > 0.55 * 255)])
    moves, stands = np.concatenate(moves), np.concatenate(stands)
    assert abs(moves[moves > 0.55 * 255].mean() - stands.mean()) < 6
    assert len(stands) / len(moves) == pytest.approx(2, abs=0.5)  # one to three; some hide one another


def test_classes_are_balanced_and_off_the_centre():
    found = clips("test", num_test_sequences=600)
    counts = np.bincount([clip["label"] for clip in found], minlength=len(CLASSES))
    assert counts.min() > 120 and counts.max() < 180
    truths = [(clip["id"], clip["label"], localisation.Tube(0, clip["boxes"])) for clip in found]
    share = localisation.mean_share([localisation.Tube(0, clip["boxes"]) for clip in clips(num_sequences=64)], (48, 48))
    centre = localisation.centre_box((48, 48), 12, share)
    guesses = [(video, label, centre) for video, label, _ in truths]
    assert localisation.localisation_map(guesses, truths)[0.2] < 0.1
    middles = np.stack([clip["boxes"] for clip in found])
    middles = (middles[..., :2] + middles[..., 2:]).reshape(-1, 2) / 2
    assert np.abs(middles.mean(axis=0) - 24).max() < 1 and middles.std(axis=0).min() > 7  # all over the frame


def test_contract_and_seeds():
    options = {"num_frames": 3, "frame_size": 16}
    dataset = make_dataset("moving_objects", "train", num_sequences=40, **options)
    found = list(dataset.as_numpy_iterator())
    shapes = {"video": (3, 16, 16, 1), "flow": (3, 16, 16, 2), "boxes": (3, 4), "label": ()}
    dtypes = {"video": "uint8", "flow": "float32", "boxes": "float32", "label": "int64"}
    for name, shape in shapes.items():
        assert dataset.element_spec[name].shape == shape and found[0][name].dtype == dtypes[name]
    assert found[0]["id"] == b"moving_objects/train/0" and len(found) == 40

    def videos(split="train", **more):
        more = {"num_sequences": 40, "num_test_sequences": 5, **options, **more}
        return np.stack([clip["video"] for clip in clips(split, **more)])

    train = videos()
    np.testing.assert_array_equal(train, videos())
    assert (videos(epoch=1) != train).any() and (videos(seed=1) != train).any()
    test = videos("test")
    np.testing.assert_array_equal(test, videos("test", seed=3, epoch=2))
    validation = videos("validation")
    assert (test != train[:5]).any() and (validation != train[:5]).any() and (validation != test).any()
    assert (videos(noise=0.2) != train).mean() > 0.3


@pytest.mark.parametrize("options", [{"num_frames": 40}, {"num_frames": 2, "frame_size": 400}, {"frame_size": 16}])
def test_objects_stay_inside_at_any_length_and_size(options):
    size = options.get("frame_size", 48)
    for clip in clips(num_sequences=8, **options):
        sides = clip["boxes"][:, 2:] - clip["boxes"][:, :2]
        assert (sides >= 2).all() and (np.ptp(sides, axis=0) <= 2).all()  # whole in every frame
        assert clip["boxes"].min() >= 0 and clip["boxes"].max() <= size
        assert 0 < np.abs(clip["flow"]).max() <= 8


def test_specs_of_the_streams():
    dataset = make_dataset("moving_objects", "test", num_frames=5)
    flow = feature_spec(dataset, "moving_objects", stream="flow", num_frames=5)
    assert flow.shape == (5, 48, 48, 2) and flow.value_range == (-8, 8) and flow.unit == "px/frame"
    video = feature_spec(dataset, "moving_objects", num_frames=5)
    assert video.shape == (5, 48, 48, 1) and video.value_range == (0, 255)
    with pytest.raises(InputError, match="stream='boxes'"):
        feature_spec(dataset, "moving_objects", stream="boxes")


@pytest.mark.parametrize("bad", [{"frame_size": 15}, {"num_frames": 1}, {"noise": -0.1}, {"num_sequences": 0}])
def test_bad_options_are_named(bad):
    ((name, value),) = bad.items()
    with pytest.raises(InputError, match=f"{name}={value}"):
        make_dataset("moving_objects", "train", **bad)
    with pytest.raises(InputError, match="split='dev'"):
        make_dataset("moving_objects", "dev")
