"""Colours of flow: the wheel by hand, its order, what is unknown, the legend."""

import numpy as np
import pytest

from keras_st import viz


@pytest.mark.parametrize(
    "flow, colour",
    [
        ((2, 0), (1, 0, 0)),  # hue 0 of 55
        ((0, 2), (1, 13.75 / 15, 0)),  # hue 13.75: so far from red to yellow
        ((-2, 0), (0, 1 - 2.5 / 11, 1)),  # hue 27.5: 2.5 from cyan to blue
        ((0, -2), (5.25 / 13, 0, 1)),  # hue 41.25: 5.25 from blue to magenta
        ((0, 0), (1, 1, 1)),
        ((1, 0), (1, 0.5, 0.5)),  # half as far
        ((3, 0), (0.75, 0, 0)),  # further than the largest
        ((np.nan, 0), (0, 0, 0)),
        ((1e10, 1e10), (0, 0, 0)),
    ],
)
def test_colours_by_hand(flow, colour):
    shown = viz.flow_to_color(np.full((2, 3, 2), flow, "float32"), largest=2)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown, np.broadcast_to(colour, (2, 3, 3)), atol=1e-6)


def test_the_wheel_closes_and_every_direction_has_its_own_colour():
    angles = np.radians(np.arange(0, 360, 3))
    shown = viz.flow_to_color(np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None], 1)[0]
    steps = np.abs(np.diff(shown, axis=0, append=shown[:1])).sum(axis=1)
    assert steps.min() > 0 and steps.max() < 0.13
    assert len(np.unique(shown, axis=0)) == 120


def test_the_largest_known_length_is_full_colour():
    flow = np.zeros((4, 5, 2), "float32")
    flow[0, 0], flow[0, 1], flow[1, 0], flow[1, 1] = (3, 0), (1.5, 0), (np.nan, np.nan), (1e10, 1e10)
    shown = viz.flow_to_color(flow)
    np.testing.assert_allclose(shown[0, :2], [(1, 0, 0), (1, 0.5, 0.5)], atol=1e-6)
    np.testing.assert_array_equal(shown, viz.flow_to_color(flow, largest=3))
    assert (viz.flow_to_color(np.zeros((2, 2, 2))) == 1).all()
    assert viz.flow_to_color(np.stack([flow, flow])).shape == (2, 4, 5, 3)


def test_the_legend_is_a_disc_with_its_unit(tmp_path):
    figure = viz.flow_wheel(largest=8)
    (axes,) = figure.axes
    (image,) = axes.get_images()
    shown = np.asarray(image.get_array())
    middle = len(shown) // 2
    np.testing.assert_allclose(shown[0, 0], 1)
    np.testing.assert_allclose(shown[middle, middle], 1)
    np.testing.assert_allclose(shown[middle, -1], (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(shown[-1, middle], (1, 13.75 / 15, 0), atol=1e-6)
    assert axes.get_xlim() == (-8, 8) and axes.get_ylim() == (8, -8)
    assert "px" in axes.get_xlabel()
    figure.savefig(tmp_path / "wheel.png")
    assert (tmp_path / "wheel.png").stat().st_size > 1000
