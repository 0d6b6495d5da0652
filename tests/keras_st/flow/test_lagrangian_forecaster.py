"""Forecasts in the frame that moves with the rain: advection, spreading, matching, missing cells, sizes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_st.flow import Extrapolation
from keras_st.layers import ConvLSTMCell
from keras_st.models import EncoderForecaster, LagrangianForecaster
from keras_st.ops.distribution import match_distribution
from keras_st.specs import ForecastTask
from keras_st.systems.radar import FORECASTERS, build_radar_nowcast

CONTEXT, HORIZON = 5, 3


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def core_of(forecaster, patch=2):
    return EncoderForecaster([ConvLSTMCell(2, 3, 3, padding="same")], HORIZON, forecaster, patch, activation="linear")


def network(context=CONTEXT, horizon=HORIZON, patch=2, size=(24, 32), **options):
    core = core_of("unconditioned", patch)
    model = LagrangianForecaster(core, context, horizon, **{"smoothing": 3.0, **options})
    model.build({"video": (None, context, *size, 1)})
    return model


def rain(rng, steps=CONTEXT, batch=2, height=24, width=32, motion=(0, 1)):
    """Smooth showers that move by (rows, columns) a step, dry in places, (batch, steps, height, width, 1) in mm/h."""
    wide = rng.random((batch, height + 80, width + 80))
    for axis in (1, 2):
        wide = sum(np.roll(wide, n, axis) for n in range(-4, 5)) / 9
    wide = np.maximum(wide - wide.mean(), 0) * 60
    fields = [
        wide[:, 40 - motion[0] * t : 40 - motion[0] * t + height, 40 - motion[1] * t : 40 - motion[1] * t + width]
        for t in range(steps)
    ]
    return np.stack(fields, 1)[..., None].astype("float32")


def extrapolated(fields, horizon=HORIZON, **options):
    known = np.isfinite(fields)
    layer = Extrapolation(horizon, smoothing=3.0, floor=0.1, **options)
    return numpy(layer(np.where(known, fields, 0), mask=ops.convert_to_tensor(known))["frames"])


@pytest.fixture
def known_motion(monkeypatch):
    """Everything moves a row down a step: for what does not depend on how motion is found, which is slow."""

    def motion(self, inputs):
        batch, _, height, width, _ = inputs.shape
        return ops.tile(ops.convert_to_tensor([0.0, 1.0]), (batch, height, width, 1))

    monkeypatch.setattr(Extrapolation, "motion", motion)


def test_an_untrained_model_extrapolates(rng):
    fields = rain(rng)
    found, moved = numpy(network(spread=0.0)({"video": fields})["frames"]), extrapolated(fields)
    np.testing.assert_allclose(np.sort(found.reshape(6, -1)), np.sort(moved.reshape(6, -1)), atol=1e-5)
    assert np.abs(found - moved).mean() < 0.01 * np.abs(moved - fields[:, -1:]).mean()  # advected logarithms rank alike
    plain = numpy(network(spread=0.0, match=False)({"video": fields})["frames"])
    assert plain.shape == (2, HORIZON, 24, 32, 1) and plain.dtype == np.float32
    assert np.abs(plain - moved).mean() < 0.05 * np.abs(moved - fields[:, -1:]).mean()
    assert np.abs(found - fields[:, -1:]).max() > 0.5  # it does not stand still


def test_the_network_sees_rain_that_stands_still(rng, monkeypatch):
    """Fields that only move are equal once they are brought to the present; unregistered ones are not."""
    model, seen = network(), []
    change = model._change
    monkeypatch.setattr(model, "_change", lambda x, *args: seen.append(x) or change(x, *args))
    fields = rain(rng, motion=(1, -1))
    model({"video": fields})
    (registered,) = (numpy(x) for x in seen)
    inner = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(registered[:, -1], np.log1p(fields[:, -1] / 0.1), atol=1e-5)
    left = np.abs(registered - registered[:, -1:])[inner].mean()
    before = np.abs(np.log1p(fields / 0.1) - np.log1p(fields[:, -1:] / 0.1))[inner].mean()
    assert left < 0.25 * before


def test_spreading_is_a_gaussian_of_the_cells_that_were_seen(rng):
    model = network(spread=0.5)
    x, seen = rng.normal(size=(2, 9, 12, 1)), rng.random((2, 9, 12, 1)) < 0.7
    found = numpy(model._spread(ops.convert_to_tensor(x.astype("float32")), seen.astype("float32"), 3))
    i, j = np.meshgrid(np.arange(9), np.arange(12), indexing="ij")
    for lead in (1, 3):
        distance = (i[..., None, None] - i) ** 2 + (j[..., None, None] - j) ** 2
        weight = np.exp(-0.5 * distance / (0.5 * lead) ** 2)
        weight[np.maximum(np.abs(i[..., None, None] - i), np.abs(j[..., None, None] - j)) > 5] = 0  # 3 x 0.5 x 3
        weight = weight[None] * seen[:, None, None, ..., 0]
        wanted = (weight * x[:, None, None, ..., 0]).sum((3, 4)) / weight.sum((3, 4))
        np.testing.assert_allclose(found[..., lead - 1], wanted, atol=1e-4)
    np.testing.assert_array_equal(network(spread=0.0)._spread(x, seen, 2), np.tile(x, (1, 1, 1, 2)))


def test_matching_gives_values_in_the_order_of_scores(rng):
    scores, values = rng.normal(size=(2, 3, 4, 5, 1)), rng.gamma(0.5, 2, (2, 3, 4, 5, 1))
    found = numpy(match_distribution(scores, values))
    for at in np.ndindex(2, 3):
        np.testing.assert_allclose(np.sort(found[at].ravel()), np.sort(values[at].ravel()))
        np.testing.assert_array_equal(found[at].ravel().argsort(), scores[at].ravel().argsort())


@pytest.mark.usefixtures("known_motion")
def test_a_trained_model_keeps_the_distribution_but_not_the_places(rng):
    model, fields = network(spread=0.3), rain(rng)
    kernel = model.forecaster.decoder.kernel
    assert not numpy(kernel).any()
    kernel.assign(rng.normal(size=kernel.shape))
    found, moved = numpy(model({"video": fields})["frames"]), extrapolated(fields)
    np.testing.assert_allclose(np.sort(found.reshape(6, -1)), np.sort(moved.reshape(6, -1)), atol=1e-5)
    assert np.abs(found - moved).mean() > 0.1
    plain = network(spread=0.3, match=False)
    plain.set_weights(model.get_weights())
    unmatched = numpy(plain({"video": fields})["frames"])
    assert np.abs(np.sort(unmatched.reshape(6, -1)) - np.sort(found.reshape(6, -1))).mean() > 0.02


@pytest.mark.usefixtures("known_motion")
def test_training_sees_rates_without_matching_and_gradients_reach_dry_cells(rng):
    model, fields = network(), rain(rng, HORIZON + CONTEXT)
    model.forecaster.decoder.kernel.assign(rng.normal(size=model.forecaster.decoder.kernel.shape))
    frames = numpy(model({"video": fields[:, :CONTEXT]}, training=True)["frames"])
    assert -0.1 < frames.min() < 0 and np.isfinite(frames).all()
    model = network()
    model.compile(keras.optimizers.Adam(0.2), loss={"frames": "mse"})
    dry = np.zeros_like(fields[:, :CONTEXT])
    losses = [model.train_on_batch({"video": dry}, {"frames": np.ones((2, HORIZON, 24, 32, 1))}) for _ in range(8)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.usefixtures("known_motion")
def test_missing_negative_and_infinite_cells(rng):
    model, fields = network(), rain(rng)
    fields[0, 2:, 3:8, 5:11] = np.nan
    wanted = numpy(model({"video": fields})["frames"])
    assert np.isfinite(wanted).all()
    for damage in (-1.0, np.inf, -np.inf):
        damaged = np.where(np.isnan(fields), np.float32(damage), fields)
        np.testing.assert_array_equal(numpy(model({"video": damaged})["frames"]), wanted)
    dry = np.where(np.isnan(fields), np.float32(0), fields)
    assert np.abs(numpy(model({"video": dry})["frames"]) - wanted).max() > 0.01  # a missing cell is not a dry one
    nothing = np.full_like(fields, np.nan)
    assert np.isfinite(numpy(model({"video": fields}, training=True)["frames"])).all()
    assert not numpy(model({"video": nothing})["frames"]).any()


@pytest.mark.usefixtures("known_motion")
def test_no_rain_is_put_where_nothing_is_known(rng):
    """Half of the fields is missing: the other half keeps its rain, whatever spreading and the network say there."""
    fields = rain(rng, motion=(0, 0))
    fields[..., 16:, :] = np.nan
    for match in (True, False):
        model = network(spread=0.5, match=match)
        model.forecaster.decoder.bias.assign(np.ones(4))
        found = numpy(model({"video": fields})["frames"])
        assert not found[..., 18:, :].any() and found[..., :16, :].any()
        if match:
            np.testing.assert_allclose(
                np.sort(found.reshape(6, -1)), np.sort(extrapolated(fields).reshape(6, -1)), atol=1e-5
            )


@pytest.mark.usefixtures("known_motion")
def test_a_dry_sequence_stays_dry(rng):
    model = network()
    model.forecaster.decoder.kernel.assign(rng.normal(size=model.forecaster.decoder.kernel.shape))
    assert not numpy(model({"video": np.zeros((1, CONTEXT, 24, 32, 1), "float32")})["frames"]).any()


@pytest.mark.usefixtures("known_motion")
def test_sizes_and_horizons_of_a_call(rng):
    model = network(patch=4)
    fields = rain(rng, steps=7, batch=1, height=27, width=33)  # no multiple of 4
    found = numpy(model({"video": fields}, horizon_frames=5)["frames"])
    assert found.shape == (1, 5, 27, 33, 1)
    np.testing.assert_array_equal(found, numpy(model({"video": fields[:, -CONTEXT:]}, horizon_frames=5)["frames"]))
    np.testing.assert_allclose(found[:, :2], numpy(model({"video": fields}, horizon_frames=2)["frames"]), atol=1e-5)
    assert model.compute_output_shape({"video": (None, 7, 27, 33, 1)})["frames"] == (None, HORIZON, 27, 33, 1)
    with pytest.raises(ValueError, match="reads 5 fields. Received: shape=\\(1, 4, 27, 33, 1\\)"):
        model({"video": fields[:, :4]})


@pytest.mark.usefixtures("known_motion")
@pytest.mark.parametrize("name", sorted(FORECASTERS))
def test_any_forecaster_of_the_project(name, rng):
    filters = (2, 2) if name == "pred_rnn" else (2,)
    task = ForecastTask(CONTEXT, HORIZON)
    model = build_radar_nowcast(task, name, filters, smoothing=3.0, spread=0.0, floor=0.1)
    fields = rain(rng, batch=1)
    model.build({"video": (None, *fields.shape[1:])})
    wanted = network(spread=0.0)({"video": fields})["frames"]  # the untrained network changes nothing
    np.testing.assert_allclose(numpy(model({"video": fields})["frames"]), numpy(wanted), atol=1e-5)
    for weight in model.forecaster.decoder.weights:
        weight.assign(rng.normal(size=weight.shape))
    assert np.abs(numpy(model({"video": fields})["frames"]) - numpy(wanted)).max() > 0.01


@pytest.mark.usefixtures("known_motion")
def test_a_saved_model_is_the_same(rng, tmp_path):
    model = network(spread=0.3, floor=0.2, pairs=2)
    model.forecaster.decoder.kernel.assign(rng.normal(size=model.forecaster.decoder.kernel.shape))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    configs = [{k: v for k, v in m.get_config().items() if k != "forecaster"} for m in (again, model)]
    assert configs[0] == configs[1]
    fields = rain(rng)
    np.testing.assert_array_equal(numpy(again({"video": fields})["frames"]), numpy(model({"video": fields})["frames"]))
    other = network(spread=0.6, floor=0.2, pairs=2)
    other.set_weights(model.get_weights())
    assert np.abs(numpy(other({"video": fields})["frames"]) - numpy(model({"video": fields})["frames"])).max() > 1e-3


@pytest.mark.parametrize(
    "options, told",
    [
        ({"context": 3}, "pairs needs more fields. Received: context_frames=3"),
        ({"horizon": 0}, "Received: horizon_frames=0"),
        ({"spread": -1.0}, "Received: spread=-1.0"),
        ({"spread": float("nan")}, "Received: spread=nan"),
        ({"floor": 0.0}, "Received: floor=0.0"),
        ({"pairs": 0}, "Received: pairs=0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments_outside_their_ranges(options, told):
    with pytest.raises(ValueError, match=told):
        network(**options)


def test_only_an_encoder_forecaster_that_does_not_feed_itself():
    with pytest.raises(ValueError, match="must be \"unconditioned\". Received: forecaster='shared'"):
        LagrangianForecaster(core_of("shared"), CONTEXT)
    with pytest.raises(ValueError, match="must be an EncoderForecaster. Received: Dense"):
        LagrangianForecaster(keras.layers.Dense(1))
