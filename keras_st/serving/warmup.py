"""Requests that TensorFlow Serving runs when it loads a model, before the first client comes."""

import contextlib
import pathlib

import numpy as np
import tensorflow as tf

from keras_st.serving.c_loader import ServedModel
from keras_st.specs import InputError, MissingExtra

WARMUP = "tf_serving_warmup_requests"  # the name that TensorFlow Serving looks for


def write_warmup(version_dir, name=None, version=None, example=None, model=None):
    """Writes `assets.extra/tf_serving_warmup_requests`: a TFRecord of `PredictionLog`s, one for every signature.

    The requests are black frames and zeros. `step` gets the states that `init_state` gives. TensorFlow Serving does not
    load a model that refuses one of them; `keras_st.serving.check` runs them all.

    Args:
        version_dir: path of a whole SavedModel.
        name: of the model; None: the name of the folder that holds `version_dir`.
        version: int, named in the requests; None: any.
        example: dict of the shapes, with batch, that inputs of `serving_default` can have: {"video": [B, T, H, W, C]}.
            Axes that vary are 1 where it has none.
        model: the open `ServedModel` of the folder; None: it is opened here.

    Returns: path of the file.

    Raises:
        InputError: the example does not fit the model; the file is there already.
        MissingExtra: without tensorflow-serving-api.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise MissingExtra(
            'Warm-up requests need TensorFlow Serving\'s protocol: pip install "keras_st[serving]". '
            "Received: no module tensorflow_serving"
        ) from error
    version_dir = pathlib.Path(version_dir)
    path = version_dir / "assets.extra" / WARMUP
    if path.exists():
        raise InputError(f"Warm-up requests are never overwritten. Received: {path}, which is there")
    path.parent.mkdir(exist_ok=True)
    logs = []
    with contextlib.nullcontext(model) if model else ServedModel(version_dir) as served:
        for signature, inputs in example_requests(served, example):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name or version_dir.resolve().parent.name
            request.model_spec.signature_name = signature
            if version is not None:
                request.model_spec.version.value = version
            for key, x in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(x))
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            logs.append(log)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return path


def example_requests(model, example=None):
    """Yields `(signature, inputs)` for every signature of a `ServedModel`. See `write_warmup`."""
    states = {}
    if "init_state" in model.signatures:
        states = model.run("init_state", example_inputs(model.signatures, "init_state", example))
    for signature, served in sorted(model.signatures.items()):
        known = {name: x for name, x in states.items() if name in served.inputs}
        yield signature, example_inputs(model.signatures, signature, example) | known


def example_inputs(signatures, signature, example=None):
    """Inputs of a signature, but for states: arrays of one value each, frames black, all steps of a clip real.

    Raises: InputError: sizes in `example` that `serving_default` does not take.
    """
    given = {name: _sizes(name, spec, example or {}) for name, spec in signatures["serving_default"].inputs.items()}
    clip = max(given.values(), key=len)
    steps = 1 if signature in ("init_state", "step") else clip[1]
    inputs = {}
    for name, spec in signatures[signature].inputs.items():
        like = given.get(name, clip)  # `frame` and computed `flow` are as the video is
        if name.startswith("state_"):
            continue
        if spec.dtype == "string":
            png = tf.io.encode_png(np.zeros(like[2:], "uint8")).numpy()
            inputs[name] = np.full(like[:2], png, object)
            continue
        if len(spec.shape) < len(like):
            like = [like[0], *like[2:]]  # a single step
        shape = [size or known for size, known in zip(spec.shape, like)]
        inputs[name] = np.full(shape, steps if name == "length" else 0, spec.dtype)
    return inputs


def _sizes(name, spec, example):
    given = example.get(name, [size or 1 for size in spec.shape])
    if len(given) != len(spec.shape) or any(size not in (None, n) for n, size in zip(given, spec.shape)):
        raise InputError(f"The example of `{name}` must fit {spec.shape}. Received: {tuple(given)}")
    return list(given)
