"""What an export must do when it runs: one function a check, on requests that a `Requests` draws.

Each returns what was found and raises `Failed`.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_st.serving.c_loader import RequestError
from keras_st.serving.check.graph import FRAME
from keras_st.serving.check.requests import ENCODERS, EXAMPLE, FEW, GRID, Point, decoded, encoded, states_of
from keras_st.serving.check.results import Differences, Failed
from keras_st.specs import LENGTH, MissingExtra

MOST_WARMUP = 1000  # records that TensorFlow Serving accepts
PADDED_BATCH = 4


def grid(requests, full, answers):
    """Every signature over a grid of sizes; appends `(signature, inputs, outputs)` to `answers`."""
    refused = []
    for signature, specs in requests.signatures.items():
        seen = set()
        for point in GRID if full else FEW:
            if (sizes := requests.sizes(signature, point)) in seen:
                continue
            seen.add(sizes)
            try:
                inputs = requests.draw(signature, point)
                outputs = requests.run(signature, inputs)
            except RequestError as error:
                if point == EXAMPLE:
                    raise Failed(f"`{signature}` refuses the example: {error}") from error
                if not any(f"`{name}`" in str(error) for name in specs.inputs):
                    raise Failed(f"`{signature}` fails at {dict(sizes)} and names no input: {error}") from error
                refused.append(str(error))
                continue
            _check_outputs(signature, specs, outputs, point.batch)
            answers.append((signature, inputs, outputs))
    told = f", {len(refused)} sizes refused by the graph ({refused[0]})" if refused else ""
    return f"{len(answers)} requests of {len(requests.signatures)} signatures{told}"


def _check_outputs(signature, specs, outputs, batch):
    for name, x in outputs.items():
        spec = specs.outputs[name]
        fits = spec.shape is None or (
            x.ndim == len(spec.shape) and all(size in (None, n) for n, size in zip(x.shape, spec.shape))
        )
        if not fits or x.shape[:1] != (batch,):
            raise Failed(f"`{name}` of `{signature}` is {x.shape} for {batch} clips, its signature says {spec.shape}")
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise Failed(f"`{name}` of `{signature}` is not finite")


def streaming(requests, full):
    """Frames one by one give what the clip up to each gives; streams of a batch do not see each other."""
    same, frames = Differences(), max(requests.frames, 3)
    clip, other = (_frames(requests, frames, seed) for seed in (1, 2))
    states, kept, steps = requests.run("init_state", _first(requests, clip)), [], []
    for t in range(frames):
        kept.append(states)
        steps.append(requests.run("step", {**_frame(requests, "step", clip, t), **states}))
        states = states_of(steps[-1])
    compared = range(1, frames + 1) if full else sorted({1, 2, frames})
    wholes, refused = {}, ""
    for t in compared:
        try:
            wholes[t] = requests.run("serving_default", requests.cut(clip, t))
        except RequestError as error:
            refused = str(error)
    if requests.frames and frames not in wholes:
        raise Failed(f"the whole clip is refused: {refused}")
    shared = sorted((set(steps[0]) & set(requests.signatures["serving_default"].outputs)) - set(states))
    if not shared:
        raise Failed(f"`step` gives {sorted(steps[0])}, nothing of `serving_default`")
    for t in wholes:
        expected = {name: _newest(name, wholes, t, steps[t - 1][name].shape) for name in shared}
        same.add(f"`step` after {t} frames", {name: steps[t - 1][name] for name in shared}, expected)
    begun = requests.run("init_state", _first(requests, other))
    both = {name: np.concatenate([kept[2][name], x]) for name, x in begun.items()}
    frame = [_frame(requests, "step", clip, 2), _frame(requests, "step", other, 0)]
    together = requests.run("step", {**_joined(frame), **both})
    alone = requests.run("step", {**frame[1], **begun})
    same.add("streams in a batch", together, _joined([steps[2], alone]))
    return f"{frames} frames, {len(wholes)} clips compared ({', '.join(shared)}), streams independent; {same}"


def _frames(requests, frames, seed):
    """A clip of at least so many frames: that of the example, or one that goes on."""
    more = frames - requests.frames
    return requests.cut(requests.draw("serving_default", Point(1, more if more > 0 else None), seed), frames)


def _frame(requests, signature, clip, t):
    """What a signature takes of the frame at `t` of a clip; a frame is one step long."""
    names = [name for name in requests.signatures[signature].inputs if name == FRAME or name in requests.features]
    frame = {name: clip[requests.first if name == FRAME else name] for name in names}
    return {name: np.ones_like(x) if name == LENGTH.name else x[:, t] for name, x in frame.items()}


def _first(requests, clip):
    return _frame(requests, "init_state", clip, 0)


def _newest(name, wholes, t, shape):
    """What an output of the whole clip says of its last frame: that frame's row where it has one for every frame."""
    whole = wholes[t][name]
    has_rows = whole.ndim > 1 and all(outputs[name].shape[1] == n for n, outputs in wholes.items()) and len(wholes) > 1
    if not has_rows:
        return whole
    return whole[:, -1:] if len(shape) == whole.ndim else whole[:, -1]


def _joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def batching(requests):
    """As TensorFlow Serving's batcher does: requests of several clips joined, padded by their first row, cut again."""
    same = Differences()
    for signature in requests.signatures:
        parts = [requests.draw(signature, Point(batch), seed) for seed, batch in ((3, 1), (4, 2))]
        if all(x.ndim < 2 for x in parts[0].values()):
            continue
        joined = _joined(parts)
        rows = len(next(iter(joined.values())))
        padded = {name: np.concatenate([x, *[x[:1]] * (PADDED_BATCH - rows)]) for name, x in joined.items()}
        outputs, start = requests.run(signature, padded), 0
        for part in parts:
            stop = start + len(next(iter(part.values())))
            same.add(
                f"`{signature}` in a batch",
                {name: x[start:stop] for name, x in outputs.items()},
                requests.run(signature, part),
            )
            start = stop
    return f"requests of 1 and 2 clips, padded to {PADDED_BATCH}; {same}"


def repeats(requests):
    """The same request gives the same bits whatever came before it, and two threads do not disturb each other."""
    same, equal_bits = Differences(), True
    for signature in requests.signatures:
        asked = [requests.draw(signature, EXAMPLE, seed) for seed in (5, 6)]
        first, other = (requests.run(signature, inputs) for inputs in asked)
        again = requests.run(signature, asked[0])
        if different := sorted(name for name, x in first.items() if x.tobytes() != again[name].tobytes()):
            raise Failed(f"`{different[0]}` of `{signature}` differs from call to call: something is random or kept")
        with ThreadPoolExecutor(2) as pool:
            answers = pool.map(lambda n, s=signature, a=asked: (n, requests.run(s, a[n])), [0, 1])
        for n, outputs in answers:
            expected = (first, other)[n]
            same.add(f"`{signature}` beside another thread", outputs, expected)
            equal_bits &= all(x.tobytes() == outputs[name].tobytes() for name, x in expected.items())
    bits = "the same bits too" if equal_bits else str(same)
    return f"calls give the same bits again; of two threads {bits}"


def float_input(requests):
    """`serving_float` on x / 255, and on all else in 0..1, gives what `serving_default` gives."""
    same, inputs = Differences(), requests.draw("serving_default", EXAMPLE, 7)
    scaled = {}
    for name, x in inputs.items():
        low, high = requests.features[name].value_range or (0.0, 1.0)
        is_scaled = name != LENGTH.name
        scaled[name] = ((x.astype("float32") - np.float32(low)) / np.float32(high - low)) if is_scaled else x
    same.add("`serving_float`", requests.run("serving_float", scaled), requests.run("serving_default", inputs))
    return str(same)


def encoded_input(requests):
    """`encoded` gives what `serving_default` gives on the decoded pixels, of PNG and of JPEG."""
    same, kinds = Differences(), []
    names = [name for name, tensor in requests.signatures["encoded"].inputs.items() if tensor.dtype == "string"]
    inputs = requests.draw("serving_default", Point(2), 8)
    for kind in ENCODERS:
        channels = {inputs[name].shape[-1] for name in names}
        if not channels <= ({1, 3} if kind == "jpeg" else {1, 2, 3, 4}):
            continue
        images = {name: encoded(inputs[name], kind) for name in names}
        pixels = {name: decoded(x, inputs[name].shape[-1]) for name, x in images.items()}
        expected = requests.run("serving_default", {**inputs, **pixels})
        same.add(f"`encoded` of {kind}", requests.run("encoded", {**inputs, **images}), expected)
        kinds.append(kind)
    if not kinds:
        raise Failed(f"images of {channels} channels cannot be encoded")
    return f"{', '.join(kinds)}; {same}"


def warmup(requests, path):
    """Every warm-up request is answered."""
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise MissingExtra(
            'Replaying warm-up requests needs: pip install "keras_st[serving]". Received: no module tensorflow_serving'
        ) from error
    records, answered = [record.numpy() for record in tf.data.TFRecordDataset([str(path)])], set()
    if not 0 < len(records) <= MOST_WARMUP:
        raise Failed(f"there must be 1 to {MOST_WARMUP} requests, there are {len(records)}")
    for number, record in enumerate(records):
        try:
            log = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError:
            log = prediction_log_pb2.PredictionLog()
        if not log.HasField("predict_log"):
            raise Failed(f"record {number} holds no PredictLog")
        request = log.predict_log.request
        signature = request.model_spec.signature_name or "serving_default"
        outputs = requests.run(signature, {name: tf.make_ndarray(x) for name, x in request.inputs.items()})
        if unknown := sorted(set(request.output_filter) - set(outputs)):
            raise Failed(f"record {number} asks `{signature}` for {unknown[0]!r}, which it does not give")
        answered.add(signature)
    return f"{len(records)} requests answered, of {', '.join(sorted(answered))}"
