"""The encoder-forecaster: published sizes, rollout policies, no leakage (spec 6.3, 6.5, V5.7)."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_st import layers as st
from keras_st.models import encoder_forecaster
from keras_st.specs import ForecastTask
from keras_st.systems.conv_lstm import build_conv_lstm, fc_lstm_2015, shi_2015


def numpy(x):
    return ops.convert_to_numpy(x)


def make(forecaster="shared", filters=(3, 4), seed=0, **kwargs):
    keras.utils.set_random_seed(seed)
    cells = [st.ConvLSTMCell(2, f, 3, padding="same") for f in filters]
    return encoder_forecaster(cells, **{"horizon_frames": 3, "patch": 2, "forecaster": forecaster, **kwargs})


@pytest.fixture
def clip(rng):
    return rng.random((2, 4, 6, 8, 1)).astype("float32")


@pytest.fixture
def future(rng):
    return rng.random((2, 3, 6, 8, 1)).astype("float32")


PUBLISHED = [  # spec 1.4
    (lambda: fc_lstm_2015(), 142_667_776),
    (lambda: shi_2015((256,)), 13_524_496),
    (lambda: shi_2015((128, 128)), 10_042_896),
    (lambda: shi_2015((128, 64, 64)), 7_585_296),
    (lambda: shi_2015((128, 128), 9, 1), 11_550_224),
    (lambda: shi_2015((128, 64, 64), 9, 1), 8_830_480),
]


@pytest.fixture
def count(monkeypatch):
    """Counts the weights a model would make, from their shapes alone."""

    def counted(model, shape):
        sizes = []
        monkeypatch.setattr(layers.Layer, "add_weight", lambda self, shape=(), **_: sizes.append(int(np.prod(shape))))
        model.build({"video": shape})
        return sum(sizes)

    return counted


@pytest.mark.parametrize("build, params", PUBLISHED, ids=lambda p: str(p) if isinstance(p, int) else "")
def test_v6_1_published_parameter_counts(build, params, count):
    assert count(build(), (None, 10, 64, 64, 1)) == params


def test_v6_1_conditioned_count(count):
    model = build_conv_lstm(
        ForecastTask(10, 10), (128, 128), 5, peephole="channel", patch=4, forecaster="conditioned", activation="sigmoid"
    )
    assert count(model, (None, 10, 64, 64, 1)) == 10_247_696


def test_v6_2_unconditioned_forecast_sees_the_states_only(clip):
    model = make("unconditioned")
    model({"video": clip})
    states = model._read(model._fold(clip), False)[1]
    other = np.flip(clip, axis=1).copy()
    same = numpy(model._run_unfed(model._fold(other), states, 3, False))
    np.testing.assert_array_equal(same, numpy(model._run_unfed(model._fold(clip), states, 3, False)))
    assert np.abs(numpy(model({"video": other})["frames"]) - numpy(model({"video": clip})["frames"])).max() > 1e-4


def test_v6_3_teacher_forcing_is_one_stack_over_the_whole_sequence(clip, future):
    model = make("shared")
    model({"video": clip})
    flags = np.ones((2, 2), "float32")
    frames = numpy(model({"video": clip, "future": future, "future_flags": flags})["frames"])
    whole = model._fold(np.concatenate([clip, future[:, :2]], axis=1))
    hidden, sequence = [], whole
    for cell in model.cells:
        sequence = st.SpatialRNN(cell, return_sequences=True)(sequence)
        hidden.append(sequence)
    expected = numpy(model._unfold(model._decode(hidden)))[:, 3:]
    np.testing.assert_allclose(frames, expected, atol=1e-6)


@pytest.mark.parametrize("forecaster", ["shared", "conditioned"])
def test_v6_4_no_leakage(clip, future, forecaster, rng):
    """With all flags 0 the future changes nothing; a flag at step k moves later frames only."""
    model = make(forecaster)
    free = numpy(model({"video": clip})["frames"])
    zeros = np.zeros((2, 2), "float32")
    np.testing.assert_allclose(
        numpy(model({"video": clip, "future": future, "future_flags": zeros})["frames"]), free, atol=1e-6
    )
    for k in range(2):
        flags = zeros.copy()
        flags[:, k] = 1
        frames = numpy(model({"video": clip, "future": future, "future_flags": flags})["frames"])
        np.testing.assert_allclose(frames[:, : k + 1], free[:, : k + 1], atol=1e-6)
        assert np.abs(frames[:, k + 1] - free[:, k + 1]).max() > 1e-5
        other = future.copy()
        other[:, k + 1 :] = rng.random(other[:, k + 1 :].shape)  # frames after the one the flag shows
        np.testing.assert_array_equal(
            numpy(model({"video": clip, "future": other, "future_flags": flags})["frames"]), frames
        )


def test_conditioned_starts_from_the_last_frame(clip):
    """The forecaster's first step is its stack's step on the last observed frame, from the encoder's states."""
    model = make("conditioned")
    frames = numpy(model({"video": clip})["frames"])
    states = model._read(model._fold(clip), False)[1]
    _, new_states = model.forecaster_stack(model._fold(clip)[:, -1], states)
    np.testing.assert_allclose(frames[:, :1], numpy(model._unfold(model._decode(model._hidden(new_states)))), atol=1e-6)


@pytest.mark.parametrize("forecaster", ["shared", "conditioned"])
def test_one_frame_ahead_and_one_frame_of_context(clip, future, forecaster):
    model = make(forecaster)
    flags = {"future": future[:, :1], "future_flags": np.zeros((2, 0), "float32")}
    got = numpy(model({"video": clip, **flags}, horizon_frames=1)["frames"])
    np.testing.assert_allclose(got, numpy(model({"video": clip})["frames"])[:, :1], atol=1e-6)
    if forecaster == "shared":
        one = {"video": clip[:, :1]}
        flagged = numpy(model({**one, "context_flags": np.zeros((2, 0), "float32")})["frames"])
        np.testing.assert_allclose(flagged, numpy(model(one)["frames"]), atol=1e-6)


def test_v6_5_lengths_are_the_calls(clip):
    for forecaster in ("shared", "conditioned", "unconditioned"):
        model = make(forecaster)
        short = numpy(model({"video": clip})["frames"])
        long = numpy(model({"video": clip}, horizon_frames=40)["frames"])
        assert short.shape == (2, 3, 6, 8, 1) and long.shape == (2, 40, 6, 8, 1)
        np.testing.assert_allclose(long[:, :3], short, atol=1e-6)
        other_size = model({"video": np.zeros((1, 7, 10, 4, 1), "float32")}, horizon_frames=1)["frames"]
        assert tuple(other_size.shape) == (1, 1, 10, 4, 1)


def test_context_flags_of_one_equal_reading_the_context(clip):
    model = make("shared", predict_context=True)
    read = model({"video": clip})
    flagged = model({"video": clip, "context_flags": np.ones((2, 3), "float32")})
    for name in ("frames", "context_frames"):
        np.testing.assert_allclose(numpy(flagged[name]), numpy(read[name]), atol=1e-6)
    assert tuple(read["context_frames"].shape) == (2, 3, 6, 8, 1)
    blind = model({"video": clip, "context_flags": np.zeros((2, 3), "float32")})
    changed = clip.copy()
    changed[:, 1:] = 0  # with all flags 0 only the first frame is read
    again = model({"video": changed, "context_flags": np.zeros((2, 3), "float32")})
    np.testing.assert_array_equal(numpy(blind["frames"]), numpy(again["frames"]))
    assert np.abs(numpy(blind["frames"]) - numpy(read["frames"])).max() > 1e-5


def test_v6_6_a_static_scene_is_learnt(rng):
    """Constant sequences: after training the forecast equals the input to 1e-2."""
    model = make("shared", filters=(8,), patch=1, activation="linear", predict_context=True)
    scene = rng.random((1, 1, 6, 8, 1)).astype("float32")
    x, y = scene.repeat(4, axis=1), {"frames": scene.repeat(3, axis=1), "context_frames": scene.repeat(3, axis=1)}
    rate = keras.optimizers.schedules.CosineDecay(0.02, 800)
    model.compile(keras.optimizers.Adam(rate), loss={"frames": "mse", "context_frames": "mse"})
    for _ in range(800):
        model.train_on_batch({"video": x}, y)
    error = np.abs(model.predict({"video": x}, verbose=0)["frames"] - y["frames"])
    assert error.max() < 1e-2


@pytest.mark.parametrize("readout, channels", [("all", 7), ("last", 4)])
def test_readout_decides_what_the_decoder_reads(readout, channels, clip):
    model = make(readout=readout)
    model({"video": clip})
    assert model.decoder.kernel.shape[-2] == channels


def test_activation_bounds_the_output(clip):
    assert numpy(make(activation="sigmoid")({"video": clip})["frames"]).min() >= 0
    assert numpy(make(activation="linear")({"video": clip})["frames"]).min() < 0


def test_dropout_of_the_cells_reaches_the_rollout(clip):
    for forecaster in ("shared", "conditioned", "unconditioned"):
        keras.utils.set_random_seed(0)
        cell = st.ConvLSTMCell(2, 3, 3, padding="same", recurrent_dropout=0.5)
        model = encoder_forecaster([cell], horizon_frames=3, forecaster=forecaster)
        still, shaken = (numpy(model({"video": clip}, training=t)["frames"]) for t in (False, True))
        assert np.abs(still - shaken).max() > 1e-4


@pytest.mark.parametrize(
    "kwargs, word",
    [
        ({"forecaster": "tied"}, "forecaster='tied'"),
        ({"readout": "first"}, "readout='first'"),
        ({"horizon_frames": 0}, "horizon_frames=0"),
        ({"patch": 1.5}, "patch=1.5"),
        ({"forecaster": "conditioned", "predict_context": True}, "forecaster='conditioned'"),
        ({"dtype": "float64"}, "['float32', 'float64']"),
    ],
)
def test_bad_arguments_are_named(kwargs, word):
    with pytest.raises(ValueError, match="Received") as error:
        make(**kwargs)
    assert word in str(error.value)


def test_bad_cells_are_named():
    with pytest.raises(ValueError, match="Received: ConvLSTMCell"):
        encoder_forecaster(st.ConvLSTMCell(2, 3, 3, padding="same"))
    with pytest.raises(ValueError, match="padding='valid'"):
        encoder_forecaster([st.ConvLSTMCell(2, 3, 3)])
    with pytest.raises(ValueError, match="at least one cell"):
        encoder_forecaster([])


def test_the_model_computes_as_its_cells_do(clip):
    model = encoder_forecaster([st.ConvLSTMCell(2, 3, 3, padding="same", dtype="mixed_float16")], horizon_frames=2)
    assert model.compute_dtype == "float16"
    frames = model({"video": clip})["frames"]
    assert keras.backend.standardize_dtype(frames.dtype) == "float32" and np.isfinite(numpy(frames)).all()


def test_bad_inputs_are_named(clip, future):
    model = make()
    for inputs, word in (
        ({"vidoe": clip}, "vidoe"),
        ({"video": clip[0]}, r"\(4, 6, 8, 1\)"),
        ({"video": clip[:, :0]}, "at least one frame"),
        ({"video": clip[:, :, :5]}, "height=5"),
        ({"video": clip[:, :, :, :7]}, "width=7"),
        ({"video": clip, "future_flags": np.zeros((2, 2), "float32")}, "go together"),
        ({"video": clip, "future": future}, "go together"),
        ({"video": clip, "future": future, "future_flags": np.zeros((2, 3), "float32")}, "must have 2 steps"),
        ({"video": clip, "future": future[:, :2], "future_flags": np.zeros((2, 2), "float32")}, "must have 3 steps"),
        (clip, "must be a dict"),
    ):
        with pytest.raises(ValueError, match=word):
            model(inputs)
    with pytest.raises(ValueError, match="context_flags"):
        make("conditioned")({"video": clip, "context_flags": np.zeros((2, 3), "float32")})
    with pytest.raises(ValueError, match="horizon_frames=0"):
        model({"video": clip}, horizon_frames=0)
