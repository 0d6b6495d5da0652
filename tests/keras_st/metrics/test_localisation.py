"""Boxes and tubes from attention, their overlap and average precision: numbers by hand, properties, refusals."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_st.metrics import localisation
from keras_st.metrics.localisation import Detection, Tube, box_iou, st_iou, tube_average_precision
from keras_st.specs import MissingExtra

BOX = np.array([0.0, 0, 2, 2])


def tube(start, count, box=BOX):
    return Tube(start, np.tile(box, (count, 1)))


def wide(width):
    """A tube of 4 frames whose ST-IoU with `wide(10)` is width / 10."""
    return tube(0, 4, [0, 0, 1, width])


# Attention to boxes


def test_a_map_of_the_size_of_the_frame_is_thresholded_as_it_is():
    attention = np.zeros((1, 6, 8))
    attention[0, 1:3, 2:5] = 4.0
    attention[0, 2, 6] = 8.0  # the maximum; the rest is at 0.5, just counts, and has more mass
    np.testing.assert_array_equal(localisation.attention_boxes(attention, (6, 8)), [[1, 2, 3, 5]])
    np.testing.assert_array_equal(localisation.attention_boxes(attention[..., None], (6, 8)), [[1, 2, 3, 5]])
    np.testing.assert_array_equal(localisation.attention_boxes(attention, (6, 8), threshold=0.51), [[2, 6, 3, 7]])
    np.testing.assert_array_equal(localisation.attention_boxes(1e-9 * attention, (6, 8)), [[1, 2, 3, 5]])


def test_mass_decides_between_parts_not_area():
    attention = np.zeros((1, 6, 8))
    attention[0, 0, :3] = 0.5  # mass 1.5
    attention[0, 4, 5:7] = 1.0  # mass 2, fewer pixels
    np.testing.assert_array_equal(localisation.attention_boxes(attention, (6, 8)), [[4, 5, 5, 7]])


def test_pixels_that_touch_at_a_corner_are_connected():
    attention = np.zeros((1, 6, 8))
    attention[0, [1, 2, 3], [1, 2, 3]] = 1
    np.testing.assert_array_equal(localisation.attention_boxes(attention, (6, 8)), [[1, 1, 4, 4]])


def test_maps_are_enlarged_between_the_centres_of_their_cells():
    """Two cells 0 and 1 over 8 columns: 1/8, 3/8, 5/8, 7/8 between the cells' centres, flat beyond."""
    attention = np.array([[[0.0, 1.0]]])
    row = [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1]
    np.testing.assert_allclose(localisation.smoothed_attention(attention, (3, 8)), [[row] * 3])
    np.testing.assert_array_equal(localisation.attention_boxes(attention, (3, 8)), [[0, 4, 3, 8]])
    np.testing.assert_array_equal(localisation.attention_boxes(attention, (3, 8), threshold=0.3), [[0, 3, 3, 8]])


def test_the_maximum_is_that_of_the_enlarged_map():
    """Shrunk, a lone peak is no longer whole."""
    attention = np.zeros((1, 4, 4))
    attention[0, 1, 1] = 1.0
    assert localisation.smoothed_attention(attention, (2, 2))[0].max() == 1


def test_smoothing_by_hand():
    """Every frame is divided by its own maximum first; ends are means of fewer frames."""
    attention = np.zeros((4, 1, 2))
    attention[:, 0] = [[2, 1], [1, 4], [5, 5], [1, 10]]  # normalised: 1 .5, .25 1, 1 1, .1 1
    want = [[0.625, 0.75], [0.75, 2.5 / 3], [0.45, 1], [0.55, 1]]
    np.testing.assert_allclose(localisation.smoothed_attention(attention, (1, 2), 3)[:, 0], want)
    np.testing.assert_allclose(localisation.smoothed_attention(attention, (1, 2), 1)[1, 0], [0.25, 1])
    np.testing.assert_allclose(localisation.smoothed_attention(attention, (1, 2), 99)[:, 0], [[0.5875, 0.875]] * 4)


def test_frames_without_attention_have_no_box_and_do_not_count():
    attention = np.zeros((3, 4, 4))
    attention[[0, 2], 1, 1] = 1
    boxes = localisation.attention_boxes(attention, (4, 4), 3)
    np.testing.assert_array_equal(boxes, [[1, 1, 2, 2], [np.nan] * 4, [1, 1, 2, 2]])
    assert np.isnan(localisation.attention_boxes(np.zeros((2, 4, 4)), (4, 4))).all()


def test_attention_that_is_never_twice_in_a_place_has_no_box():
    attention = np.eye(9).reshape(9, 3, 3)
    assert np.isnan(localisation.attention_boxes(attention, (3, 3), 5)).all()
    assert np.isfinite(localisation.attention_boxes(attention, (3, 3), 1)).all()


@given(st.integers(0, 5), st.integers(0, 5), st.integers(1, 4), st.floats(1e-6, 1e6))
def test_a_patch_is_found_where_it_is(top, left, side, scale):
    attention = np.zeros((5, 9, 9))
    attention[:, top : top + side, left : left + side] = scale
    boxes = localisation.attention_boxes(attention, (9, 9))
    np.testing.assert_array_equal(boxes, [[top, left, top + side, left + side]] * 5)
    flipped = localisation.attention_boxes(attention[:, :, ::-1], (9, 9))
    np.testing.assert_array_equal(flipped, [[top, 9 - left - side, top + side, 9 - left]] * 5)


@pytest.mark.parametrize(
    "attention, options, told",
    [
        (np.ones((4, 4)), {}, r"shape=\(4, 4\)"),
        (np.ones((2, 4, 4, 3)), {}, r"shape=\(2, 4, 4, 3\)"),
        (np.ones((0, 4, 4)), {}, r"shape=\(0, 4, 4\)"),
        (-np.ones((2, 4, 4)), {}, "lowest -1"),
        (np.full((2, 4, 4), np.nan), {}, "nan"),
        (np.ones((2, 4, 4)), {"smooth_frames": 4}, "smooth_frames=4"),
        (np.ones((2, 4, 4)), {"smooth_frames": -1}, "smooth_frames=-1"),
        (np.ones((2, 4, 4)), {"threshold": 0}, "threshold=0"),
        (np.ones((2, 4, 4)), {"threshold": 1.1}, "threshold=1.1"),
        (np.ones((2, 4, 4)), {"frame_size": (8, 0)}, r"frame_size=\(8, 0\)"),
        (np.ones((2, 4, 4)), {"frame_size": (8, 8, 3)}, r"frame_size=\(8, 8, 3\)"),
    ],
)
def test_what_has_no_boxes_is_refused(attention, options, told):
    with pytest.raises(ValueError, match=f"Received: .*{told}"):
        localisation.attention_boxes(attention, **{"frame_size": (8, 8), **options})


def test_opencv_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"keras_st\[video\]"):
        localisation.attention_boxes(np.ones((1, 2, 2)), (4, 4))


# Tubes


def test_mean_inside_by_hand():
    maps = np.arange(12.0).reshape(1, 3, 4).repeat(3, axis=0)
    boxes = [[0, 0, 2, 2], [np.nan] * 4, [1.2, 2.9, 2.1, 4]]  # the last touches rows 1, 2 and columns 2, 3
    np.testing.assert_array_equal(localisation.mean_inside(maps, boxes), [2.5, np.nan, 8.5])
    with pytest.raises(ValueError, match=r"in the frame. Received: \[3.0, 0.0, 4.0, 1.0\]"):
        localisation.mean_inside(maps, [[3, 0, 4, 1]] * 3)
    with pytest.raises(ValueError, match=r"shapes \(3, 3, 4\) and \(2, 4\)"):
        localisation.mean_inside(maps, boxes[:2])


def test_boxes_that_overlap_make_a_tube():
    """Jumps, frames without a box and the end of the clip end tubes; those of fewer than 5 frames are dropped."""
    still, far = [0, 0, 4, 4], [20, 20, 24, 24]
    boxes = np.array([still] * 6 + [far] * 4 + [[np.nan] * 4] + [still] * 5 + [far] * 5, float)
    inside = np.arange(len(boxes)) / 100
    tubes = localisation.link_tubes(boxes, inside)
    assert [(t.start, len(t)) for t in tubes] == [(0, 6), (11, 5), (16, 5)]
    np.testing.assert_allclose([t.attention for t in tubes], [0.025, 0.13, 0.18])
    np.testing.assert_array_equal(tubes[2].boxes, [far] * 5)
    assert [t.start for t in localisation.link_tubes(boxes, inside, least_frames=4)] == [0, 6, 11, 16]
    assert localisation.link_tubes(np.full((9, 4), np.nan), np.full(9, np.nan)) == []


def test_the_overlap_that_links():
    """Boxes of 10 px that move by 9 px a frame have 1/19, by 8 px 2/18 in common."""
    for step, linked in ((9, 0), (8, 1)):
        boxes = np.array([0.0, 0, 1, 10]) + np.arange(6)[:, None] * [0, step, 0, step]
        assert len(localisation.link_tubes(boxes, np.ones(6))) == linked
        assert len(localisation.link_tubes(boxes, np.ones(6), least_iou=1 / 19 - 1e-9)) == 1


def test_tubes_of_attention_and_their_score():
    attention = np.zeros((8, 6, 6))
    attention[:, 1:4, 2:5] = 3.0
    attention[:, 2, 3] = 6.0
    (found,) = localisation.attention_tubes(attention, (6, 6))
    assert (found.start, len(found)) == (0, 8) and found.attention == pytest.approx((8 * 0.5 + 1) / 9)
    np.testing.assert_array_equal(found.boxes, [[1, 2, 4, 5]] * 8)
    assert localisation.tube_score(0.3, found) == pytest.approx(0.3 * 5 / 9)
    assert localisation.attention_tubes(attention[:4], (6, 6)) == []


@pytest.mark.parametrize(
    "boxes, told",
    [
        (np.zeros((0, 4)), r"shape=\(0, 4\)"),
        (np.zeros(4), r"shape=\(4,\)"),
        (np.zeros((3, 5)), r"shape=\(3, 5\)"),
        ([[0, 0, 1, 1], [2, 0, 1, 1]], r"\[2.0, 0.0, 1.0, 1.0\]"),
        ([[0, 0, np.nan, 1]], "nan"),
    ],
)
def test_bad_tubes_are_refused(boxes, told):
    with pytest.raises(ValueError, match=f"Received: .*{told}"):
        Tube(0, boxes)


# Overlap


def test_overlap_of_boxes_by_hand():
    assert box_iou([0, 0, 4, 4], [2, 2, 6, 6]) == pytest.approx(4 / 28)
    assert box_iou([0, 0, 4, 4], [0, 0, 2, 4]) == 0.5
    assert box_iou([0, 0, 4, 4], [0, 4, 4, 8]) == 0  # half-open: they touch, no more
    assert box_iou([1, 1, 1, 1], [1, 1, 1, 1]) == 0
    np.testing.assert_allclose(box_iou([BOX, BOX], [BOX, BOX + 1]), [1, 1 / 7])
    with pytest.raises(ValueError, match="ending before"):
        box_iou(BOX, [2, 0, 1, 1])


def test_overlap_of_tubes_by_hand():
    assert st_iou(tube(1, 4), tube(3, 4)) == pytest.approx(2 / 6)
    assert st_iou(tube(1, 4), tube(3, 4, BOX + 1)) == pytest.approx(2 / 7 / 6)
    assert st_iou(tube(0, 3), tube(3, 3)) == 0
    assert st_iou(tube(0, 10), tube(4, 2)) == pytest.approx(2 / 10)
    moving = Tube(0, BOX + np.arange(3)[:, None] * [0, 1, 0, 1])
    assert st_iou(moving, tube(0, 3)) == pytest.approx((1 + 1 / 3 + 0) / 3)


boxes = st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(1, 8)] * 2).map(lambda b: (*b[:2], b[0] + b[2], b[1] + b[3]))
tubes = st.builds(Tube, st.integers(0, 6), st.lists(boxes, min_size=1, max_size=6))


@given(tubes, tubes)
def test_overlap_is_symmetric_within_bounds_and_one_for_the_same(p, g):
    assert 0 <= st_iou(p, g) <= 1
    assert st_iou(p, g) == pytest.approx(st_iou(g, p))
    assert st_iou(p, p) == pytest.approx(1)
    longer = Tube(g.start, np.concatenate([g.boxes, g.boxes[-1:] + 100]))
    assert st_iou(p, longer) <= st_iou(p, g) + 1e-12  # a frame more that p misses


@given(tubes, tubes)
def test_overlap_of_tubes_is_that_of_their_pixels_where_each_frame_counts_alike(p, g):
    total = 0
    frames = range(min(p.start, g.start), max(p.start + len(p), g.start + len(g)))
    union = [t for t in frames if any(x.start <= t < x.start + len(x) for x in (p, g))]
    for t in union:
        masks = []
        for x in (p, g):
            mask = np.zeros((20, 20), bool)
            if x.start <= t < x.start + len(x):
                top, left, bottom, right = x.boxes[t - x.start].astype(int)
                mask[top:bottom, left:right] = True
            masks.append(mask)
        if all(mask.any() for mask in masks):
            total += (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    assert st_iou(p, g) == pytest.approx(total / len(union))


# Average precision


def test_average_precision_by_hand():
    """Right, wrong, right of 3 truths: (1/1 + 2/3) / 3."""
    truths = [Detection(video, 0, wide(10)) for video in "abc"]
    found = [
        Detection("a", 0, wide(10), 0.9),
        Detection("b", 0, wide(1), 0.8),  # overlaps by 0.1
        Detection("c", 0, wide(5), 0.7),
    ]
    assert tube_average_precision(found, truths, 0.2) == pytest.approx((1 + 2 / 3) / 3)
    assert tube_average_precision(found[::-1], truths, 0.2) == pytest.approx((1 + 2 / 3) / 3)
    assert tube_average_precision(found, truths, 0.1) == 1
    assert tube_average_precision(found, truths, 0.5) == pytest.approx((1 + 2 / 3) / 3)  # 0.5 is enough
    assert tube_average_precision(found, truths, 0.51) == pytest.approx(1 / 3)
    assert tube_average_precision([tuple(d) for d in found], [tuple(t)[:3] for t in truths], 0.1) == 1


def test_a_truth_is_taken_once():
    truths = [("a", 0, wide(10)), ("b", 0, wide(10))]
    found = [("a", 0, wide(9), 0.9), ("a", 0, wide(10), 0.8), ("b", 0, wide(10), 0.7)]
    assert tube_average_precision(found, truths) == pytest.approx((1 + 2 / 3) / 2)


def test_a_detection_takes_the_truth_it_overlaps_most():
    near, off = tube(0, 4, [0, 0, 1, 10]), tube(0, 4, [0, 4, 1, 14])
    truths = [("a", 0, off), ("a", 0, near)]
    found = [("a", 0, near, 0.9), ("a", 0, off, 0.8)]
    assert st_iou(near, off) == pytest.approx(6 / 14)
    assert tube_average_precision(found, truths, 0.4) == 1
    twice = [("a", 0, near, 0.9), ("a", 0, near, 0.8)]
    assert tube_average_precision(twice, truths, 0.4) == 1  # the second takes what is left
    assert tube_average_precision(twice, truths, 0.5) == 0.5


def test_video_and_class_must_match():
    truths = [("a", 0, wide(10)), ("b", 1, wide(10))]
    assert tube_average_precision([("b", 0, wide(10), 1), ("a", 1, wide(10), 1)], truths) == 0
    assert tube_average_precision([("a", 0, wide(10), 1), ("b", 1, wide(10), 1)], truths) == 1


def test_equal_scores_share_one_threshold():
    """Two of three right: precision 2/3 at the only recall, 2/2, in any order."""
    truths = [("a", 0, wide(10)), ("b", 0, wide(10))]
    found = [("a", 0, wide(10), 1), ("b", 0, wide(10), 1), ("a", 0, wide(10), 1)]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        assert tube_average_precision([found[n] for n in order], truths) == pytest.approx(2 / 3)


def test_the_mean_is_over_classes_with_truths():
    truths = [("a", 0, wide(10)), ("b", 0, wide(10)), ("c", 3, wide(10))]
    found = [("a", 0, wide(4), 0.9), ("c", 3, wide(10), 0.1), ("c", 5, wide(10), 0.9)]  # of class 5 there is none
    scores = localisation.localisation_map(found, truths)
    assert list(scores) == [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
    np.testing.assert_allclose(list(scores.values()), [0.75] * 5 + [0.5])
    assert localisation.localisation_map(truths, truths, (0.9,)) == {0.9: 1.0}
    assert set(localisation.localisation_map([], truths).values()) == {0.0}


def test_no_truth_is_refused():
    for score in (tube_average_precision, localisation.localisation_map):
        with pytest.raises(ValueError, match="Received: 0 and 1 detections"):
            score([("a", 0, wide(10), 1)], [])
        with pytest.raises(ValueError, match="Received: nan"):
            score([("a", 0, wide(10), np.nan)], [("a", 0, wide(10))])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), tubes, st.floats(0, 1)), max_size=6), st.data())
def test_average_precision_is_within_bounds_and_knows_scores_by_their_order(found, data):
    truths = data.draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), tubes), min_size=1, max_size=4))
    scores = list(localisation.localisation_map(found, truths, (0.1, 0.5, 0.9)).values())
    assert min(scores) >= 0 and max(scores) <= 1
    again = localisation.localisation_map([(v, k, t, s / 2) for v, k, t, s in found], truths, (0.1, 0.5, 0.9))
    if len({s / 2 for *_, s in found}) == len({s for *_, s in found}):  # none vanished
        np.testing.assert_allclose(list(again.values()), scores)


# Baseline


def test_the_centre_box():
    truths = [tube(0, 3, [0, 0, 10, 20]), tube(2, 1, [10, 10, 40, 20])]
    share = localisation.mean_share(truths, (50, 100))
    np.testing.assert_allclose(share, [15 / 50, 17.5 / 100])
    centre = localisation.centre_box((50, 100), 7, share)
    assert (centre.start, len(centre)) == (0, 7) and localisation.tube_score(0.4, centre) == 0.4
    np.testing.assert_allclose(centre.boxes, [[17.5, 41.25, 32.5, 58.75]] * 7)
    np.testing.assert_allclose(localisation.centre_box((20, 30), 1, (1, 1)).boxes, [[0, 0, 20, 30]])
    for bad in ((0, 0.5), (1.1, 0.5), (0.5,)):
        with pytest.raises(ValueError, match="share="):
            localisation.centre_box((50, 100), 7, bad)
    with pytest.raises(ValueError, match="Received: 0"):
        localisation.mean_share([], (50, 100))
