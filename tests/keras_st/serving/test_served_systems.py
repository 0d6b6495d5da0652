"""Every system, exported at toy size: all of `check` holds, and the C loader gives the numbers of the Keras model."""

import dataclasses
import json

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

import train
from keras_st.metrics import classify
from keras_st.serving import export
from keras_st.serving.c_loader import signatures_of
from keras_st.serving.check import check_exports
from keras_st.specs import LENGTH
from keras_st.systems import list_systems, recipe

STREAMED = {  # the others look at a clip as a whole
    *("conv_gru", "conv_lstm", "conv_lstm_classifier", "deformable_conv_lstm", "dilated_conv_lstm", "e3d_bottom"),
    *("e3d_lstm", "e3d_lstm_classifier", "e3d_top", "fc_lstm", "fc_lstm_classifier", "gru_rcn", "hurricane_tracking"),
    *("hierarchical_conv_lstm", "lrcn", "pred_rnn", "self_attention_conv_lstm", "snippet_lstm", "stacked_gru_rcn"),
    "yt8m_lstm",
}
STREAMED_WITH = {  # options with which others are streamed
    "alstm": {"init_state": "zeros"},
    "conv_alstm": {"init_state": "zeros"},
    "multi_lstm": {"online": True},
}
NO_BACKBONE = "yt8m"  # features are the input


def made(name, **options):
    """`(model, features, recipe)` of a system at toy size; all weights random."""
    tiny = recipe(name).tiny()
    tiny = dataclasses.replace(tiny, model={**tiny.model, **options})
    if "flow" in getattr(tiny.task, "streams", ()):  # which is computed at every request
        tiny = dataclasses.replace(
            tiny, task=dataclasses.replace(tiny.task, clip_frames=4), data={**tiny.data, "frame_size": 16}
        )
    features = train.features_of(tiny, "train")
    model, rng = train.build_model(tiny, features), np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape).astype("float32"))
    return model, features, tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`{name: (model, features, version folder)}`; those of `STREAMED_WITH` stand there twice."""
    folder, exports = tmp_path_factory.mktemp("systems"), {}
    for name, options in [*((name, {}) for name in list_systems()), *STREAMED_WITH.items()]:
        model, features, tiny = made(name, **options)
        key = f"{name}_streamed" if options else name
        exports[key] = model, features, export(model, folder / key, tiny, features=features)
    return exports


@pytest.fixture(scope="module")
def checked(exported, request, tmp_path_factory):
    """`{name: (results, what TensorFlow's C API was asked and answered)}`."""
    full, work = request.config.getoption("--full-grid"), tmp_path_factory.mktemp("work")
    results = check_exports([folder for _, _, folder in exported.values()], full, work)
    return {
        name: (results[folder], work / str(n) / "requests.npz")
        for n, (name, (_, _, folder)) in enumerate(exported.items())
    }


@pytest.mark.parametrize("name", [*list_systems(), *(f"{name}_streamed" for name in STREAMED_WITH)])
def test_an_export_passes_every_check(name, checked, exported):
    results, _ = checked[name]
    assert not [result for result in results if not result.ok]
    found = {result.name for result in results}
    assert {"layout", "signatures", "operations", "size", "clean process", "C loader"} <= found
    assert {"batching", "repeats", "warm-up"} <= found
    streams = name in STREAMED or name.endswith("_streamed")
    assert ("streaming" in found) == streams
    _, features, folder = exported[name]
    meta = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
    names = set(signatures_of(meta))
    pixels = {feature.name for feature in features} & {"video", "flow"}
    assert ("encoded" in names) == (bool(pixels) and features[0].dtype == "uint8")
    told = json.loads((folder / "assets.extra" / "features.json").read_text())
    if horizon := told.get("horizon_frames"):  # so that `check` sees another one
        assert signatures_of(meta)["serving_default"].outputs["frames"].shape[1] == horizon
    assert ("features" in names) == ("horizon_frames" not in told and not name.startswith(NO_BACKBONE))


@pytest.mark.parametrize("name", list_systems())
def test_the_c_api_gives_the_numbers_of_the_model(name, exported, checked):
    model, features, folder = exported[name]
    told = json.loads((folder / "assets.extra" / "features.json").read_text())
    with np.load(checked[name][1]) as stored:
        keys = [key.split("/") for key in stored.files]
        signature = "serving_float" if any(key[1] == "serving_float" for key in keys) else "serving_default"
        last = max((key[0] for key in keys if key[1] == signature), key=int)  # of several clips, longer ones
        given, found = (
            {key[3]: stored["/".join(key)] for key in keys if (key[0], key[2]) == (last, way)} for way in ("in", "out")
        )
    scaled = {}
    for feature in features:
        low, high = feature.value_range or (0.0, 1.0)
        as_given = signature == "serving_float" or feature == LENGTH
        scaled[feature.name] = given[feature.name] if as_given else (given[feature.name] - low) / np.float32(high - low)
    # motion takes hundreds of small steps, which are slow one by one
    outputs = (model.predict_on_batch if name == "radar_nowcast" else model)(scaled)
    outputs = {key: np.asarray(x) for key, x in outputs.items()}
    if "frames" in found:
        low, high = features[0].value_range or (0.0, 1.0)
        frames = outputs["frames"]
        frames = np.clip(frames, 0, 1) if features[0].dtype == "uint8" else low + (high - low) * frames
        np.testing.assert_allclose(found["frames"], frames, atol=2e-5 * max(np.abs(frames).max(), 1))
    for key in {"logits", "attention"} & set(found):
        np.testing.assert_allclose(found[key], outputs[key], atol=2e-5 * max(np.abs(outputs[key]).max(), 1))
    assert set(found) <= {"frames", "logits", "probabilities", "attention"} and {"logits", "frames"} & set(found)
    if "probabilities" in found:
        wanted = (classify.sigmoid if told.get("multi_label") else classify.softmax)(found["logits"])
        np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-6)
