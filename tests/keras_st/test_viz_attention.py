"""Pictures of attention: where heat and boxes are drawn, what is left as it is, refusals."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from keras_st import viz

BOXES = np.tile([2.0, 4, 6, 14], (20, 1))


def clip(channels=1, count=20):
    """Grey 0.5 of 8 x 16 pixels; attention in the upper left of 2 x 4 cells."""
    attention = np.zeros((count, 2, 4))
    attention[:, 0, 0] = 0.3
    return np.full((count, 8, 16, channels), 0.5), attention


def test_frames_heat_and_boxes_share_one_place(tmp_path):
    frames, attention = clip()
    boxes = BOXES.copy()
    boxes[0] = np.nan
    figure = viz.attention_overlay(
        [("a", frames, attention, boxes, BOXES - 2), ("b", *clip(3, 5), None, None), ("c", *clip(), BOXES, None)]
    )
    assert len(figure.axes) == 8 + 5 + 8
    for n, axes in enumerate(figure.axes):
        frame, heat = axes.get_images()
        assert frame.get_extent() == heat.get_extent() == [0, 16, 8, 0]
        assert frame.get_array().shape[:2] == (8, 16) and heat.get_array().shape == (2, 4)
        assert heat.get_array()[0, 0] == heat.get_array().max() == 1  # of its own maximum
        drawn = [
            (*patch.get_xy(), patch.get_width(), patch.get_height(), patch.get_edgecolor()) for patch in axes.patches
        ]
        true, found = (2, 0, 10, 4, to_rgba(viz.TRUE)), (4, 2, 10, 4, to_rgba(viz.FOUND))
        assert drawn == ([true] if n == 0 else [true, found] if n < 8 else [] if n < 13 else [found])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["attention", "found", "true"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [t for t in titles if t] == ["a", "b", "c"]
    numbers = [axes.texts[0].get_text() for axes in figure.axes]
    assert [numbers[n] for n in (0, 7, 8, 12, 13)] == ["0", "19", "0", "4", "0"]
    figure.savefig(tmp_path / "overlay.png")
    assert (tmp_path / "overlay.png").stat().st_size > 1000


def test_frames_are_evenly_spaced_first_and_last_among_them():
    frames, attention = clip()
    frames = frames * np.linspace(0, 1, 20)[:, None, None, None]
    figure = viz.attention_overlay([("a", frames, attention[..., None], None, None)])
    shown = [axes.get_images()[0].get_array()[0, 0] for axes in figure.axes]
    assert shown[0] == 0 and shown[-1] == 128 and np.ptp(np.diff(shown)) <= 8


def test_heat_is_red_where_attention_is_and_clear_elsewhere():
    colours = viz._heat()(np.array([0.0, 1.0]))
    assert colours[0, 3] == 0 and colours[1, 3] > 0.5 and tuple(colours[1, :3]) == (1, 0, 0)
    _, attention, _, _ = viz._overlaid(*clip(), None, None)
    assert attention.max() == 1 and (viz._overlaid(clip()[0], np.zeros((20, 2, 4)), None, None)[1] == 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_animation_has_the_video_beside_its_overlay(channels, tmp_path):
    frames, attention = clip(channels)
    frames[:, 7, 12] = np.linspace(0, 1, 20)[:, None]  # no two frames alike: those are stored once
    attention[-1] = 0  # nothing to lay over the last frame
    boxes, truth = BOXES.copy(), BOXES + [0, 0, 1, 1]
    boxes[1] = np.nan
    viz.save_attention_gif(tmp_path / "a.gif", frames, attention, boxes, truth, least_height=80)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 20 and image.size == (2 * 160 + 10, 80) and image.info["duration"] == 200
        pictures = []
        for t in (0, 1, 19):
            image.seek(t)
            pictures.append(np.asarray(image.convert("RGB")).astype(int))
    left, right = pictures[0][:, :160], pictures[0][:, 170:]
    assert np.abs(left[:70] - 128).max() < 8
    assert right[5, 5, 0] > 160 and right[5, 5, 2] < 90  # warm in the attended corner
    assert np.abs(right[75, 155] - 128).max() < 12  # as it is in the other
    found, true, line = (0, 255, 255), (0, 255, 0), slice(60, 120)
    assert np.abs(right[20:22, line] - found).max() < 40 and np.abs(right[58:60, line] - found).max() < 40
    assert np.abs(right[68:70, line] - true).max() < 40
    without = pictures[1][:, 170:]
    assert np.abs(without[20:22, line] - true).max() < 40 and np.abs(without[58:60, line] - 128).max() < 12
    assert np.abs(pictures[2][5, 175] - 128).max() < 12


def test_an_animation_of_attention_alone(tmp_path):
    viz.save_attention_gif(tmp_path / "a.gif", *clip(1, 3))
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (2 * 320 + 20, 160)


@pytest.mark.parametrize(
    "attention, boxes, truth, told",
    [
        (np.ones((19, 2, 4)), None, None, r"20 frames. Received: shape=\(19, 2, 4\)"),
        (np.ones((20, 8)), None, None, r"shape=\(20, 8\)"),
        (np.ones((20, 2, 4, 3)), None, None, r"shape=\(20, 2, 4, 3\)"),
        (np.ones((20, 2, 4)), BOXES[:5], None, r"20 frames. Received: shape=\(5, 4\)"),
        (np.ones((20, 2, 4)), BOXES, BOXES[0], r"shape=\(4,\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(attention, boxes, truth, told, tmp_path):
    frames, _ = clip()
    with pytest.raises(ValueError, match=told):
        viz.attention_overlay([("a", frames, attention, boxes, truth)])
    with pytest.raises(ValueError, match=told):
        viz.save_attention_gif(tmp_path / "a.gif", frames, attention, boxes, truth)
    assert not list(tmp_path.iterdir())
