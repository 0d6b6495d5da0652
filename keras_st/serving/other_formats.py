"""The whole-clip function of a model in other formats than TensorFlow's: ONNX and LiteRT.

Keras's own `model.export(format="onnx")` and `format="litert"` write a model's call: floats in, its outputs as they
are. Here the same converters get the function `serving_default`: pixels in, flow computed of them, named outputs.
"""

import os
import pathlib
import re
import tempfile

import tensorflow as tf

from keras_st.cli import quiet_import
from keras_st.serving.export import what_is_served
from keras_st.serving.signatures import Signatures
from keras_st.specs import InputError, MissingExtra

OPSET = 18  # the newest that tf2onnx writes


def export_onnx(model, path, horizon=None, features=None):
    """Writes `serving_default` as an ONNX file (opset 18), which ONNX Runtime answers with the same numbers.

    Inputs and outputs have the names, dtypes and free sizes of `serving_default` (see `export`). What that refuses by
    name is an error of the runtime here, or no error: neither format holds assertions.

    Args:
        model: built `EncoderForecaster` or `ClipClassifier` (TensorFlow backend).
        path: of a new file.
        horizon: int or None. Frames to forecast; None: the model's own. A classifier has none.
        features: `FeatureSpec` of every input; None: `video`, uint8 0..255 with the model's channels.

    Returns: the path.

    Raises:
        InputError: what `export` refuses; a file that is there; a model that ONNX cannot express, with the first
            operation that it lacks.
        MissingExtra: tf2onnx is not installed.
    """
    path = _new(path)
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise MissingExtra("ONNX needs tf2onnx: pip install 'keras_st[onnx]'. Received: not installed") from error
    function = Signatures(model, *what_is_served(model, features, horizon)).default()
    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    try:
        onnx.checker.check_model(proto)  # operations that tf2onnx does not know it leaves as they are
    except onnx.checker.ValidationError as error:
        raise _refused("ONNX", model, re.search(r"No Op registered for (\w+)", str(error)), error) from error
    return _write(path, proto.SerializeToString())


def export_litert(model, path, horizon=None, features=None, sizes=None):
    """Writes `serving_default` as a LiteRT file (.tflite), of LiteRT's own operations alone.

    LiteRT collects the steps of a loop only where sizes are known: `sizes` fixes them, most recurrent models need it.

    Args:
        model, path, horizon, features: as of `export_onnx`.
        sizes: `{input: shape}` of the clips to be served, with batch, such as `{"video": (1, 10, 64, 64, 1)}`; None:
            every size that `serving_default` takes.

    Returns: the path.

    Raises:
        InputError: what `export` refuses; sizes that do not fit the inputs; a file that is there; a model that LiteRT
            cannot express, with the first operation that it lacks.
    """
    path = _new(path)
    features, task = what_is_served(model, features, horizon)
    signatures = Signatures(model, features, task, sizes)
    function, module = signatures.default().get_concrete_function(), tf.Module()
    module.weights = [v.value for v in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    try:
        with quiet_import():  # what the converter prints beside its exception
            content = converter.convert()
    except Exception as error:  # ConverterError is not public
        if type(error).__name__ != "ConverterError":
            raise
        raise _refused("LiteRT", model, re.search(r"'?tf\.(\w+)'? op", str(error)), error) from error
    return _write(path, content)


def _new(path):
    path = pathlib.Path(path)
    if path.exists():
        raise InputError(f"Nothing is overwritten; the file must not exist. Received: {path}")
    return path


def _refused(format, model, found, error):
    told = f"operation {found.group(1)}" if found else str(error).strip().splitlines()[0]
    return InputError(f"{format} cannot express {model.name}. Received: {told}")


def _write(path, content):
    """Writes a new file aside and gives it its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as aside:
        whole = pathlib.Path(aside, path.name)
        whole.write_bytes(content)
        try:
            os.link(whole, path)  # fails if another writer made the file meanwhile
        except FileExistsError as error:
            raise InputError(f"Nothing is overwritten; the file must not exist. Received: {path}") from error
    return path
