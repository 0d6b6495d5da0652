"""End-point and angular error: numbers by hand, masks, refusals."""

import numpy as np
import pytest

from keras_st.metrics.flow import angular_error, end_point_error


def field(*vectors):
    return np.array(vectors, "float32").reshape(1, -1, 2)


def test_by_hand():
    truth, zero = field((3, 4), (0, 0)), field((0, 0), (0, 0))
    assert end_point_error(truth, zero) == pytest.approx((5 + 0) / 2)
    assert angular_error(truth, zero) == pytest.approx(np.degrees(np.arccos(1 / np.sqrt(26))) / 2)
    assert angular_error(field((3, 4)), field((0, 0))) == pytest.approx(78.69, abs=0.01)
    assert angular_error(field((1, 0)), field((0, 1))) == pytest.approx(60)
    assert angular_error(field((1e6, 0)), field((-1e6, 0))) == pytest.approx(180, abs=1e-3)
    assert angular_error([[[1, 0]]], [[[1 + 1e-9, 0]]]) == pytest.approx(np.degrees(5e-10), rel=1e-3)


@pytest.mark.parametrize("unknown", [(np.nan, 0), (0, np.nan), (1e10, 1e10), (0, -2e9)])
@pytest.mark.parametrize("score", [end_point_error, angular_error])
def test_pixels_of_unknown_truth_do_not_count(score, unknown):
    truth, flow = field((1, 2), unknown, (3, 0)), field((1, 1), (np.nan, np.nan), (5, 1))
    assert score(truth, flow) == pytest.approx(score(truth[:, [0, 2]], flow[:, [0, 2]]))


@pytest.mark.parametrize("score", [end_point_error, angular_error])
def test_a_mask_takes_pixels_out(score, rng):
    truth, flow = rng.normal(0, 3, (2, 4, 5, 6, 2))
    known = rng.random((4, 5, 6)) < 0.5
    assert score(truth, flow, known) == pytest.approx(score(truth[known][None], flow[known][None]))
    assert score(truth, flow, known) != pytest.approx(score(truth, flow))
    holed = np.where(known[..., None], truth, np.nan)
    assert score(holed, flow, np.ones_like(known)) == pytest.approx(score(truth, flow, known))
    assert score(truth, truth) == pytest.approx(0)


@pytest.mark.parametrize(
    "truth, flow, known, told",
    [
        (np.zeros((2, 3, 2)), np.zeros((2, 4, 2)), None, r"shapes \(2, 3, 2\) and \(2, 4, 2\)"),
        (np.zeros((2, 3, 3)), np.zeros((2, 3, 3)), None, r"shapes \(2, 3, 3\)"),
        (np.zeros((3, 2)), np.zeros((3, 2)), None, r"shapes \(3, 2\)"),
        (np.zeros((2, 3, 2)), np.zeros((2, 3, 2)), np.ones((3, 2)), r"`known` .* Received: shape=\(3, 2\)"),
        (np.zeros((2, 3, 2)), np.zeros((2, 3, 2)), np.zeros((2, 3)), "No pixel"),
        (np.full((2, 3, 2), np.nan), np.zeros((2, 3, 2)), None, "No pixel"),
        (np.zeros((2, 3, 2)), np.full((2, 3, 2), np.inf), None, "finite where it counts. Received: 12"),
    ],
)
def test_what_cannot_be_scored_is_refused(truth, flow, known, told):
    for score in (end_point_error, angular_error):
        with pytest.raises(ValueError, match=told):
            score(truth, flow, known)
