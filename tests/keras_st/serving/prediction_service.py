"""TensorFlow Serving's two interfaces in this process, before the C loader; and a small model that has every signature.

gRPC speaks the published protocol, REST what its documentation says. Neither batches nor watches versions.
"""

import base64
import contextlib
import http.server
import json
import re
import threading
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from keras_st.serving.c_loader import ServedModel
from keras_st.specs import InputError

GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}
HTTP_CODES = {3: 400, 5: 404, 9: 412}  # of TensorFlow's codes
FIELDS = {"float32": "float_val", "uint8": "int_val", "int32": "int_val", "int64": "int64_val", "bool": "bool_val"}


class RunningMean(tf.Module):
    """A recurrent model: frames of one channel are averaged, later ones count more; three classes of the brightness."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable([[-2.0, 0.5, 3.0]])

    def save(self, folder):
        frame = tf.TensorSpec((None, None, None, 1), tf.uint8, "frame")
        signatures = {
            "serving_default": (self.clip, [tf.TensorSpec((None, None, None, None, 1), tf.uint8, "video")]),
            "serving_float": (self.float_clip, [tf.TensorSpec((None, None, None, None, 1), tf.float32, "video")]),
            "encoded": (self.encoded, [tf.TensorSpec((None, None), tf.string, "video")]),
            "forecast": (self.forecast, [tf.TensorSpec((None, None, None, None, 1), tf.uint8, "video")]),
            "init_state": (self.init_state, [frame]),
            "step": (
                self.step,
                [
                    frame,
                    tf.TensorSpec((None, None, None, 1), name="state_0"),
                    tf.TensorSpec((None,), tf.int32, "state_1"),
                ],
            ),
        }
        concrete = {
            name: tf.function(method).get_concrete_function(*specs) for name, (method, specs) in signatures.items()
        }
        tf.saved_model.save(self, str(folder), signatures=concrete)
        return folder

    def clip(self, video):
        return self.float_clip(tf.cast(video, tf.float32) / 255)

    def encoded(self, video):
        def decode(png):
            return tf.io.decode_image(png, channels=1, expand_animations=False)

        frames = tf.map_fn(lambda clip: tf.map_fn(decode, clip, tf.uint8), video, tf.uint8)
        return self.clip(tf.ensure_shape(frames, (None, None, None, None, 1)))

    def forecast(self, video):
        return {"frames": self.clip(video)["frames"]}

    def float_clip(self, video):
        filled = [
            tf.debugging.assert_positive(size, f"`video` must not be empty. Received: no {axis}")
            for axis, size in zip(("clip", "frame", "row", "column"), tf.unstack(tf.shape(video)))
        ]
        with tf.control_dependencies(filled):
            memory, count = tf.zeros_like(video[:, 0]), tf.zeros_like(video[:, 0, 0, 0, 0], tf.int32)
        for t in tf.range(tf.shape(video)[1]):
            memory, count = self.next(video[:, t], memory, count)
        return self.outputs(memory, count)

    def init_state(self, frame):
        return {"state_0": tf.zeros_like(frame, tf.float32), "state_1": tf.zeros_like(frame[:, 0, 0, 0], tf.int32)}

    def step(self, frame, state_0, state_1):
        memory, count = self.next(tf.cast(frame, tf.float32) / 255, state_0, state_1)
        return self.outputs(memory, count) | {"state_0": memory, "state_1": count}

    def next(self, frame, memory, count):
        return 0.5 * memory + 0.5 * frame, count + 1

    def outputs(self, memory, count):
        mean = memory / (1 - 0.5 ** tf.cast(count, tf.float32)[:, None, None, None])
        logits = tf.reduce_mean(mean, (1, 2)) @ self.kernel
        return {"frames": mean[:, None], "logits": logits, "probabilities": tf.nn.softmax(logits)}


@contextlib.contextmanager
def serve(folder, name="toy", version=1):
    """Serves a version folder; gives `(address of gRPC, address of REST, model)`."""
    with ServedModel(folder) as model:
        service = PredictionService(model, name, version)
        executor = futures.ThreadPoolExecutor(2)
        over_grpc = grpc.server(executor, options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, over_grpc)
        port = over_grpc.add_insecure_port("localhost:0")
        over_grpc.start()
        rest = http.server.ThreadingHTTPServer(("localhost", 0), type("Handler", (Rest,), {"service": service}))
        thread = threading.Thread(target=rest.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"localhost:{port}", f"localhost:{rest.server_port}", model
        finally:
            over_grpc.stop(None).wait()
            executor.shutdown()
            rest.shutdown()
            rest.server_close()
            thread.join()


class Refused(InputError):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model, name, version):
        self.model, self.name, self.version = model, name, version

    def find(self, name, version):
        if name != self.name or version not in (None, self.version):
            raise Refused(f"Servable not found for request: {name}, version {version}", 5)

    def Predict(self, request, context):
        with _told(context):
            spec = request.model_spec
            self.find(spec.name, spec.version.value if spec.HasField("version") else None)
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            outputs = self.model.run(spec.signature_name or "serving_default", inputs)
            response = predict_pb2.PredictResponse()
            for name, x in outputs.items():  # as the server does: repeated values, not bytes
                tensor = response.outputs[name]
                tensor.dtype = tf.as_dtype(x.dtype).as_datatype_enum
                tensor.tensor_shape.CopyFrom(tf.TensorShape(x.shape).as_proto())
                getattr(tensor, FIELDS[x.dtype.name]).extend(x.ravel().tolist())
            return response

    def GetModelMetadata(self, request, context):
        with _told(context):
            spec = request.model_spec
            self.find(spec.name, spec.version.value if spec.HasField("version") else None)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name, response.model_spec.version.value = self.name, self.version
            response.metadata["signature_def"].Pack(self.signatures())
            return response

    def signatures(self):
        signatures = get_model_metadata_pb2.SignatureDefMap()
        signatures.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "NoOp"
        for name, signature in self.model.signatures.items():
            for way in ("inputs", "outputs"):
                for key, tensor in getattr(signature, way).items():
                    info = getattr(signatures.signature_def[name], way)[key]
                    info.dtype = tf.as_dtype(tensor.dtype).as_datatype_enum
                    info.tensor_shape.CopyFrom(tf.TensorShape(tensor.shape).as_proto())
        return signatures


@contextlib.contextmanager
def _told(context):
    try:
        yield
    except InputError as error:
        context.abort(GRPC_CODES[error.code], str(error))


class Rest(http.server.BaseHTTPRequestHandler):
    PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict|/metadata)?")

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body=None):
        try:
            code, told = 200, self.told(body)
        except InputError as error:
            code, told = HTTP_CODES.get(error.code, 500), {"error": str(error)}
        text = json.dumps(told).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def told(self, body):
        found = self.PATH.fullmatch(self.path)
        if not found:
            raise Refused(f"Malformed request: {self.command} {self.path}", 3)
        name, version, method = found.groups()
        self.service.find(name, version and int(version))
        if method == ":predict":
            return self.predict(json.loads(body))
        if method == "/metadata":
            told = json_format.MessageToDict(self.service.signatures(), preserving_proto_field_name=True)
            spec = {"name": name, "signature_name": "", "version": str(self.service.version)}
            return {"model_spec": spec, "metadata": {"signature_def": told}}
        return {"model_version_status": [{"version": str(self.service.version), "state": "AVAILABLE"}]}

    def predict(self, request):
        model, signature = self.service.model, request.get("signature_name", "serving_default")
        if signature not in model.signatures:
            raise Refused(f'Serving signature name: "{signature}" not found in signature def', 3)
        specs = model.signatures[signature].inputs
        rows = "instances" in request
        sent = request["instances" if rows else "inputs"]
        if rows:
            if not sent:
                raise Refused("No values in 'instances' array", 3)
            is_named = isinstance(sent[0], dict) and set(sent[0]) != {"b64"}
            sent = {name: [row[name] for row in sent] for name in sent[0]} if is_named else sent
        if not isinstance(sent, dict) or set(sent) == {"b64"}:
            sent = {next(iter(specs)): sent}
        for name in specs:
            if name not in sent:
                raise Refused(f"Missing named input: {name} in 'inputs' object.", 3)
        outputs = model.run(signature, {name: array(name, sent[name], spec.dtype) for name, spec in specs.items()})
        outputs = {name: x.tolist() for name, x in outputs.items()}
        if len(outputs) == 1:  # without its name, as documented
            (outputs,) = outputs.values()
        elif rows:
            outputs = [dict(zip(outputs, row)) for row in zip(*outputs.values())]
        return {"predictions" if rows else "outputs": outputs}

    def log_message(self, *_):
        pass


def array(name, value, dtype):
    """A JSON value as an array, as strict as the server."""
    try:
        x = np.asarray(value) if dtype != "string" else objects(value)
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"JSON value of `{name}` is not a tensor of {dtype}: {error}", 3) from error
    kinds = {"f": "if", "i": "i", "u": "i", "b": "b"}
    if dtype != "string" and x.size and x.dtype.kind not in kinds[np.dtype(dtype).kind]:
        raise Refused(f"JSON Value of `{name}` is not of expected type: {dtype}", 3)
    return x if dtype == "string" else x.astype(dtype)


def objects(value):
    if isinstance(value, list):
        return np.array([objects(row).tolist() for row in value], object)
    return np.array(base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode(), object)
