"""Lagrangian extrapolation: trajectories, borders, missing cells, motion."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.flow import Extrapolation, backward_displacements


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def blob(row, column, height=48, width=64, size=5.0):
    y, x = np.mgrid[:height, :width]
    return 8 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * size**2))


def moving(steps, first=(16, 16), motion=(1.0, 2.0), **kwargs):
    """A blob that moves by (rows, columns) a step, (1, steps, H, W, 1)."""
    fields = [blob(first[0] + motion[0] * t, first[1] + motion[1] * t, **kwargs) for t in range(steps)]
    return np.stack(fields)[None, ..., None].astype("float32")


def test_a_steady_flow_is_followed_along_its_own_path():
    """Rigid rotation: where a cell comes from lies on its circle, not on the tangent."""
    y, x = np.mgrid[:41, :41] - 20.0
    angle = 0.02
    flow = np.stack([-angle * y, angle * x], -1)[None].astype("float32")  # u, v
    found = numpy(backward_displacements(ops.convert_to_tensor(flow), 20)[-1])[0]
    came = np.stack([x + found[..., 0], y + found[..., 1]], -1)
    inner = np.hypot(x, y) < 12
    turned = 20 * angle
    wanted = np.stack([np.cos(turned) * x + np.sin(turned) * y, np.cos(turned) * y - np.sin(turned) * x], -1)
    np.testing.assert_allclose(came[inner], wanted[inner], atol=0.1)
    straight = np.stack([x + 20 * angle * y, y - 20 * angle * x], -1)
    assert np.abs(straight - wanted)[inner].max() > 0.5


def test_a_field_that_moves_is_carried_on():
    fields = moving(4 + 6)
    outputs = Extrapolation(6, smoothing=4.0)(fields[:, :4])
    frames, truth = numpy(outputs["frames"]), fields[:, 4:]
    assert frames.shape == truth.shape and numpy(outputs["known"]).shape == truth.shape
    centre = numpy(outputs["flow"])[0, 19, 22]
    np.testing.assert_allclose(centre, [2.0, 1.0], atol=0.15)  # u to the right, v down
    still = np.abs(truth - fields[:, 3:4]).mean(axis=(0, 2, 3, 4))
    carried = np.abs(truth - frames).mean(axis=(0, 2, 3, 4))
    assert (carried < 0.35 * still).all()


def steady(u, v, height=8, width=12):
    return ops.convert_to_tensor(np.broadcast_to(np.float32([u, v]), (1, height, width, 2)))


def test_what_comes_from_outside_follows_its_rule():
    """Motion of two cells to the right: after three steps six columns on the left come from outside."""
    last = np.random.default_rng(0).random((1, 8, 12, 1)).astype("float32") + 1
    frames = {}
    for rule in ("last", "nearest", "zero"):
        carried, known = Extrapolation(3, outside=rule).carried(ops.convert_to_tensor(last), steady(2.0, 0.0))
        frames[rule] = numpy(carried)[0, -1]
        assert not numpy(known)[0, -1][:, :6].any() and numpy(known)[0, -1][:, 6:].all()
        np.testing.assert_allclose(frames[rule][:, 6:], last[0, :, :6], atol=1e-6)
    np.testing.assert_array_equal(frames["last"][:, :6], last[0, :, :6])
    np.testing.assert_allclose(frames["nearest"][:, :6], np.broadcast_to(last[0, :, :1], (8, 6, 1)), atol=1e-6)
    assert not frames["zero"][:, :6].any()


def test_missing_cells_are_not_carried():
    last, mask = np.ones((1, 8, 12, 1), "float32"), np.ones((1, 8, 12, 1), bool)
    mask[:, 2:5, 3:6] = False
    layer = Extrapolation(2, outside="zero")
    frames, known = layer.carried(ops.convert_to_tensor(last * mask), steady(0.0, 1.0), ops.convert_to_tensor(mask))
    wanted = np.ones((8, 12), bool)
    wanted[4:7, 3:6] = wanted[:2] = False
    np.testing.assert_array_equal(numpy(known)[0, 1, ..., 0], wanted)
    np.testing.assert_array_equal(numpy(frames)[0, 1, ..., 0], wanted.astype(float))


def test_a_cell_between_a_missing_one_and_its_neighbour_has_the_neighbours_rate():
    mask = np.ones((1, 8, 12, 1), bool)
    mask[:, :, 6:] = False
    field = ops.convert_to_tensor(4 * mask.astype("float32"))
    frames, known = Extrapolation(1, outside="zero").carried(field, steady(-0.4, 0.0), ops.convert_to_tensor(mask))
    np.testing.assert_allclose(numpy(frames)[0, 0, 3, :, 0], [4.0] * 6 + [0.0] * 6, atol=1e-5)
    assert numpy(known)[0, 0, 3, :, 0].tolist() == [True] * 6 + [False] * 6  # 0.6 of the sixth is seen


def test_missing_fields_give_numbers():
    fields = moving(4)
    outputs = Extrapolation(1)(fields * 0, mask=np.zeros(fields.shape, bool))
    assert not numpy(outputs["frames"]).any() and not numpy(outputs["known"]).any()


def test_a_dry_field_stays_dry():
    outputs = Extrapolation(2, pairs=1)(np.zeros((2, 3, 20, 24, 1), "float32"))
    assert not numpy(outputs["frames"]).any() and not numpy(outputs["flow"]).any() and numpy(outputs["known"]).all()


def test_every_video_for_itself_saved_and_of_any_size(tmp_path):
    one, other = moving(4), moving(4, (30, 40), (-1.0, -1.5))
    layer = Extrapolation(3, smoothing=4.0, outside="zero")
    both = numpy(layer(np.concatenate([one, other]))["frames"])
    np.testing.assert_allclose(both[1:], numpy(layer(other)["frames"]), atol=1e-4)
    inputs = keras.Input((None, None, None, 1))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(numpy(again(other)["frames"]), both[1:], atol=1e-4)
    assert again.layers[-1].get_config()["outside"] == "zero"


@pytest.mark.parametrize(
    "options",
    [{"horizon_frames": 0}, {"pairs": 0}, {"smoothing": 0.0}, {"floor": -1.0}, {"outside": "mirror"}],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}.*Received"):
        Extrapolation(**options)


def test_too_few_fields():
    with pytest.raises(ValueError, match="4 fields. Received"):
        Extrapolation(2)(moving(3))
