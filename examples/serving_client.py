"""A client of a model under TensorFlow Serving: clips in, labels or forecasts out. It stands alone: copy it.

gRPC needs `pip install tensorflow-serving-api`, REST NumPy alone, videos, images and webcams OpenCV.

    python serving_client.py classify p3d --input clip.avi --labels saved_models/p3d/1/assets/labels.txt
    python serving_client.py forecast conv_lstm --input frames/ --size 64x64 --out forecast.npz
    python serving_client.py stream conv_lstm --input 0

gRPC carries arrays as bytes, up to 2 GB. REST writes every number as text, two to four bytes a pixel and up to twenty a
float, and the server gives up after 30 seconds unless its --rest_api_timeout_in_ms says more: good for short clips, for
JPEG frames (`--signature encoded`) and where nothing but HTTP gets through.
"""

import argparse
import base64
import contextlib
import functools
import http.client
import itertools
import json
import os
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import numpy as np

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]  # gRPC's own limit is 4 MB


class ServingError(Exception):
    """What went wrong, in one line."""


@functools.cache
def _grpc(address):
    """The service at an address; the connection is kept, as connecting takes longer than a small request."""
    try:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc
    except ImportError as error:
        raise ServingError(f"gRPC needs tensorflow-serving-api (REST does not: --rest). Received: {error}") from error
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address, options=UNLIMITED))


def predict_grpc(address, model, inputs, signature="serving_default", version=None, timeout=60.0):
    """Outputs of one request over gRPC.

    Args:
        address: "host:port".
        model, signature: names.
        inputs: dict of arrays with a leading batch axis; encoded frames are `bytes`.
        version: int; None: the newest.
        timeout: seconds.

    Returns: dict of arrays.

    Raises: ServingError: an empty input, what the server refuses, no answer.
    """
    stub = _grpc(address)  # first: it tells what is not installed
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    tensors = {name: tf.make_tensor_proto(x) for name, x in _filled(inputs).items()}
    request = predict_pb2.PredictRequest(model_spec=_spec(model, version, signature), inputs=tensors)
    answer = _call(stub.Predict, request, timeout, f"{model} at {address}")
    return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}


def signatures_grpc(address, model, version=None, timeout=60.0):
    """`(version, {signature: {"inputs": {name: (dtype, shape)}, "outputs": ...}})`; sizes that vary are None."""
    stub = _grpc(address)
    from google.protobuf import json_format
    from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap

    request = GetModelMetadataRequest(model_spec=_spec(model, version), metadata_field=["signature_def"])
    answer = _call(stub.GetModelMetadata, request, timeout, f"{model} at {address}")
    signatures = SignatureDefMap.FromString(answer.metadata["signature_def"].value)
    told = json_format.MessageToDict(signatures, preserving_proto_field_name=True)
    return answer.model_spec.version.value, _signatures(told)


def _spec(model, version, signature=""):
    from tensorflow_serving.apis import model_pb2

    number = None if version is None else {"value": version}
    return model_pb2.ModelSpec(name=model, signature_name=signature, version=number)


def _call(method, request, timeout, of):
    import grpc

    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        hint = "; gRPC is at port 8500 by default" if error.code() == grpc.StatusCode.UNAVAILABLE else ""
        raise ServingError(f"{of}: {_line(error.details())} ({error.code().name}){hint}") from error


def predict_rest(address, model, inputs, signature="serving_default", version=None, timeout=60.0):
    """Outputs of one request over REST: as `predict_grpc`, but numbers come as float32, int64 or bool."""
    body = {"signature_name": signature, "inputs": {name: _json(x) for name, x in _filled(inputs).items()}}
    (outputs,) = _http(address, model, version, ":predict", timeout, ["outputs"], body)
    if not isinstance(outputs, dict):  # a single output comes without its name
        outputs = dict.fromkeys(signatures_rest(address, model, version, timeout)[1][signature]["outputs"], outputs)
    arrays = {name: np.asarray(x) for name, x in outputs.items()}
    return {name: x.astype("float32") if x.dtype == float else x for name, x in arrays.items()}


def signatures_rest(address, model, version=None, timeout=60.0):
    """As `signatures_grpc`."""
    spec, metadata = _http(address, model, version, "/metadata", timeout, ["model_spec", "metadata"])
    return int(spec["version"]), _signatures(metadata["signature_def"])


def _json(x):
    if isinstance(x, bytes):
        return {"b64": base64.b64encode(x).decode()}
    return [_json(row) for row in x] if x.dtype.kind == "O" else x.tolist()


def _http(address, model, version, method, timeout, keys, body=None):
    """What an answer holds under `keys`."""
    path = "/v1/models/" + urllib.parse.quote(model) + ("" if version is None else f"/versions/{version}") + method
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}{path}", data), timeout=timeout) as answer:
            told = json.load(answer)
            return [told[key] for key in keys]
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        with contextlib.suppress(ValueError, KeyError, TypeError):  # of a proxy's page
            said = json.loads(said)["error"]
        raise ServingError(f"{model} at {address}: {_line(said)} ({error.code})") from error
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise ServingError(
            f"{model} at {address}: {_line(getattr(error, 'reason', repr(error)))}; REST is at port 8501 by default"
        ) from error


def stream(address, model, frames, rest=False, version=None, timeout=60.0):
    """Yields the outputs of every frame of a stream that need not end: each frame is sent once, with the states.

    The states are held here: the server keeps nothing, any of several servers of the model can answer. Versions do
    not understand each other's states, so the one that begins is asked to the end.

    Args:
        frames: iterable of arrays (B, H, W, C), B streams in step; of other inputs than `frame`, of dicts.
        rest: whether over REST. Others: as `predict_grpc`.
    """
    predict, signatures = (predict_rest, signatures_rest) if rest else (predict_grpc, signatures_grpc)
    version, known = signatures(address, model, version, timeout)
    if "step" not in known:
        raise ServingError(f"{model} at {address} cannot stream: no signature `step`. Received: {', '.join(known)}")
    states = None
    for frame in frames:
        inputs = frame if isinstance(frame, dict) else {"frame": frame}
        if states is None:
            states = predict(address, model, inputs, "init_state", version, timeout)
        outputs = predict(address, model, {**inputs, **states}, "step", version, timeout)
        states = {name: outputs.pop(name) for name in states}
        yield outputs


def _signatures(told):
    """The server's `SignatureDefMap`, as a dict in proto3's JSON, in short."""

    def tensor(info):
        sizes = [int(dim.get("size", 0)) for dim in info.get("tensor_shape", {}).get("dim", [])]
        dtype = info["dtype"].removeprefix("DT_").lower()
        return "float32" if dtype == "float" else dtype, tuple(None if n < 0 else n for n in sizes)

    return {
        name: {
            way: {key: tensor(info) for key, info in sorted(one.get(way, {}).items())} for way in ("inputs", "outputs")
        }
        for name, one in sorted(told["signature_def"].items())
        if one.get("inputs")  # the saver's own function has none
    }


def _filled(inputs):
    for name, x in inputs.items():
        if not np.size(x):
            raise ServingError(f"`{name}` must not be empty. Received: shape={np.shape(x)}")
    arrays = {name: np.asarray(x) for name, x in inputs.items()}
    return {name: x.astype(object) if x.dtype.kind == "S" else x for name, x in arrays.items()}


def _line(said):
    return " ".join(str(said).split())[:400]


# Clips


def read_frames(source):
    """Yields frames (H, W, C): of an .npy, or RGB of a video, a folder of images or a webcam (its number)."""
    frames = iter(read_arrays(source) if source.endswith(".npy") else _images(source))
    if not (first := list(itertools.islice(frames, 1))):
        raise ServingError(f"--input must hold a frame at least. Received: {source}, none that could be read")
    yield from itertools.chain(first, frames)


def _images(source):
    cv2, path = _opencv(), pathlib.Path(source)
    if path.is_dir():
        images = (cv2.imread(str(file)) for file in sorted(path.iterdir()))
        frames = (image for image in images if image is not None)
    else:
        video = cv2.VideoCapture(int(source) if source.isdigit() else source)
        frames = itertools.takewhile(lambda frame: frame is not None, (video.read()[1] for _ in itertools.count()))
    return (cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in frames)


def read_arrays(path):
    """The array of an .npy, or a dict of those of an .npz."""
    try:
        file = np.load(path)
        return {name: file[name] for name in file.files} if path.endswith(".npz") else np.atleast_1d(file)
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ServingError(f"--input cannot be read as arrays of numbers. Received: {path}") from error


def typed(frame, dtype, signature="step"):
    """A frame in what a signature takes, pixels that are whole numbers uint8; refused where its values do not fit."""
    whole = frame.dtype.kind in "ui"
    if dtype not in ("uint8", "string") and not (whole and signature == "serving_float"):
        return frame.astype(dtype)
    if not whole or (frame.size and not 0 <= frame.min() <= frame.max() <= 255):
        told = f"{frame.dtype}, {frame.min():g} to {frame.max():g}" if frame.size else frame.dtype
        raise ServingError(f"`{signature}` takes whole numbers, 0..255; serving_float 0..1. Received: {told}")
    return frame.astype("uint8")


def fit(frame, shape, size=None):
    """A frame resized to `size` (H, W) or to the `shape` (H, W, C) that the model takes, grey where it has one C."""
    frame = frame[..., None] if frame.ndim == 2 else frame
    if frame.ndim != 3:
        raise ServingError(f"Frames must be (H, W, C). Received: shape={frame.shape}")
    height, width, channels = (known or own for known, own in zip(shape, (*(size or frame.shape[:2]), None)))
    if size and (height, width) != size:
        raise ServingError(f"The model takes frames of {height}x{width}. Received: --size {size[0]}x{size[1]}")
    if frame.shape[:2] != (height, width):
        frame = _opencv().resize(frame, (width, height), interpolation=_opencv().INTER_AREA).reshape(height, width, -1)
    if channels == 1 and frame.shape[-1] == 3:
        frame = _opencv().cvtColor(frame, _opencv().COLOR_RGB2GRAY)[..., None]
    if channels not in (None, frame.shape[-1]):
        raise ServingError(f"The model takes frames of {channels} channels. Received: shape={frame.shape}")
    return frame


def choose(frames, wanted, spread):
    """`wanted` frames of a clip (None: all): evenly spread over it, some twice where it is short, or its last ones."""
    wanted = wanted or len(frames)
    if spread:
        return [frames[n] for n in np.linspace(0, len(frames) - 1, wanted).round().astype(int)]
    if len(frames) < wanted:
        raise ServingError(f"It takes {wanted} frames to go on from. Received: {len(frames)}")
    return frames[-wanted:]


def _opencv():
    try:
        import cv2
    except ImportError as error:
        raise ServingError("Videos need OpenCV: pip install opencv-python-headless. Received: no module cv2") from error
    return cv2


# Command line


def clip_inputs(args, signatures):
    """The inputs of a request, with a batch axis of one, from `--input`."""
    if args.signature not in signatures:
        raise ServingError(f"{args.model} has {', '.join(signatures)}. Received: --signature {args.signature}")
    specs, outputs = (signatures[args.signature][way] for way in ("inputs", "outputs"))
    if {"classify": "probabilities", "forecast": "frames"}[args.command] not in outputs:
        raise ServingError(f"`{args.signature}` of {args.model} gives {', '.join(outputs)}. Received: {args.command}")
    if args.input.endswith(".npz"):
        if args.size or args.frames:
            raise ServingError("Arrays of a .npz are sent as they are. Received: --size or --frames")
        return {name: x[None] for name, x in read_arrays(args.input).items()}
    name = "video" if "video" in specs else min(set(specs) - {"length"})
    if others := set(specs) - {name, "length"}:
        raise ServingError(
            f"`{args.signature}` also takes {', '.join(sorted(others))}: all in a .npz. Received: {args.input}"
        )
    dtype, shape = specs[name]
    wanted = shape[1] or args.frames
    if args.frames not in (None, wanted):
        raise ServingError(f"The model takes clips of {wanted} frames. Received: --frames {args.frames}")
    if args.input.isdigit() and wanted is None:
        raise ServingError(f"A webcam does not end: --frames says when. Received: --input {args.input}")
    frames = list(itertools.islice(read_frames(args.input), wanted if args.input.isdigit() else None))
    frames = [typed(frame, dtype, args.signature) for frame in choose(frames, wanted, args.command == "classify")]
    shape = signatures["serving_default"]["inputs"][name][1] if dtype == "string" else shape
    if len(shape) == 5:
        frames = [fit(frame, shape[2:], args.size) for frame in frames]
    elif args.size:
        raise ServingError(f"`{name}` has no height and width. Received: --size")
    if len({frame.shape for frame in frames}) > 1:
        raise ServingError("Images must be of one size: --size brings them to one. Received: several")
    if dtype == "string":
        clip = np.array([_opencv().imencode(".jpg", frame[..., ::-1])[1].tobytes() for frame in frames], object)
    else:
        clip = np.stack(frames)
        clip = (clip / 255).astype(dtype) if clip.dtype == np.uint8 and dtype != "uint8" else clip
    return {name: clip[None]} | ({"length": np.array([len(clip)], specs["length"][0])} if "length" in specs else {})


def tell(outputs, labels, top):
    """Lines that say what came back: the best labels, frame by frame where there are such, else shapes and ranges."""
    if "probabilities" not in outputs:
        if labels is not None or top is not None:
            raise ServingError(f"Only a classifier has labels. Received: outputs {', '.join(outputs)}")
        return [f"{name} {x.shape} {x.min():.4g}..{x.max():.4g}" for name, x in outputs.items()]
    rows = np.atleast_2d(outputs["probabilities"][0])
    if labels is None:
        labels = [f"class {k}" for k in range(rows.shape[-1])]
    if len(labels) != rows.shape[-1]:
        raise ServingError(f"The model has {rows.shape[-1]} classes. Received: {len(labels)} labels")
    return ["  ".join(f"{row[k]:.3f} {labels[k]}" for k in np.argsort(-row)[: top or 3]) for row in rows]


def _count(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more. Received: {text!r}")
    return int(text)


def _size(text):
    if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH. Received: {text!r}")
    return tuple(map(int, text.split("x")))


def _address(text):
    if not re.fullmatch(r"[^/\s]+:[0-9]+", text):
        raise argparse.ArgumentTypeError(f"must be HOST:PORT. Received: {text!r}")
    return text


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command, says in (
        ("classify", "the best labels of a clip"),
        ("forecast", "what follows a clip"),
        ("stream", "outputs frame by frame, through `init_state` and `step`"),
    ):
        sub = commands.add_parser(command, help=says)
        sub.add_argument("model", help="name under which it is served")
        sub.add_argument("--input", required=True, help="video, folder of images, .npy (T, H, W, C), webcam (0)")
        sub.add_argument("--address", type=_address, help="default localhost:8500, of REST localhost:8501")
        sub.add_argument("--rest", action="store_true", help="REST instead of gRPC")
        sub.add_argument("--size", type=_size, help="HEIGHTxWIDTH of the frames, where the model leaves it free")
        sub.add_argument("--frames", type=_count, help="how many are sent, where the model leaves it free")
        sub.add_argument("--version", type=int, help="default: the newest")
        sub.add_argument("--timeout", type=float, default=60.0, help="seconds that an answer may take")
        sub.add_argument("--out", help=".npz for all outputs")
        if command != "stream":
            sub.add_argument("--signature", default="serving_default", help="or serving_float, encoded")
        sub.set_defaults(labels=None, top=3 if command == "classify" else None)
        if command != "forecast":
            sub.add_argument("--labels", type=pathlib.Path, help="labels.txt of the model")
            sub.add_argument("--top", type=_count, help="labels to tell: 3")
    args = parser.parse_args(argv)
    args.address = args.address or ("localhost:8501" if args.rest else "localhost:8500")
    return args


def run(args):
    if not (args.input.isdigit() or pathlib.Path(args.input).exists()):
        raise ServingError(f"--input must be a file, a folder or the number of a webcam. Received: {args.input}")
    if args.out and (pathlib.Path(args.out).exists() or not pathlib.Path(args.out).parent.is_dir()):
        raise ServingError(
            f"Nothing is overwritten: --out is a new file in a folder that is there. Received: {args.out}"
        )
    try:
        labels = args.labels and args.labels.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ServingError(f"--labels cannot be read. Received: {args.labels}, {_line(error)}") from error
    if args.input.endswith(".npz"):  # what is wrong here is told before a server is asked
        read_arrays(args.input)
    elif not args.input.isdigit():
        next(read_frames(args.input))
    server = {"address": args.address, "model": args.model, "timeout": args.timeout}
    predict, signatures = (predict_rest, signatures_rest) if args.rest else (predict_grpc, signatures_grpc)
    server["version"], known = signatures(version=args.version, **server)
    if args.command == "stream":
        specs = known.get("step", {"inputs": {"frame": ("float32", (None,) * 4)}})["inputs"]
        if others := [name for name in specs if name != "frame" and not name.startswith("state_")]:
            raise ServingError(f"`step` takes more than frames: stream from Python. Received: {', '.join(others)}")
        dtype, shape = specs["frame"]
        frames = itertools.islice(read_frames(args.input), args.frames)
        frames = (fit(typed(frame, dtype), shape[1:], args.size)[None] for frame in frames)
        answers = stream(frames=frames, rest=args.rest, **server)
    else:
        answers = [predict(inputs=clip_inputs(args, known), signature=args.signature, **server)]
    kept = []
    try:
        for outputs in answers:
            print(*tell(outputs, labels, args.top), sep="\n", flush=True)
            kept += [outputs] if args.out else []
    finally:  # also where a stream was interrupted
        if kept:
            with open(args.out, "xb") as file:
                np.savez(file, **{name: np.concatenate([outputs[name] for outputs in kept]) for name in kept[0]})


def main(argv=None):
    try:
        run(parse(argv))
    except ServingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # how a webcam's stream ends
        sys.exit(130)


if __name__ == "__main__":
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)  # ours alone: TensorFlow, gRPC and OpenCV write to the other
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    main()
