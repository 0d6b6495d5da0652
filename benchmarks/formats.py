"""Which systems ONNX and LiteRT can express, and whether they answer as `serving_default` does.

    python -m benchmarks.formats [--systems conv_lstm ...] [--out FILE.json]

Every system at toy size with fresh weights: exported by `export_onnx`, and by `export_litert` for clips of every size
and for those of one size; then ONNX Runtime and LiteRT's interpreter answer a random clip, and clips of another batch,
length and size. Told is the largest absolute difference from `serving_default`; the table is `python -m
benchmarks.results FILE`.
"""

import argparse
import contextlib
import json
import os
import pathlib
import tempfile

from benchmarks.measure import store

SEED = 0
CLIPS = {"same": (1, 5, 16), "batch": (3, 5, 16), "length": (1, 8, 16), "size": (1, 5, 32)}  # B, T, H = W
FORMATS = ("onnx", "litert", "litert, one size")


def clip_of(specs, sizes):
    """Random inputs of a signature, of `sizes` where they are free: clouds that move, whose flow is well-defined."""
    import numpy as np

    from keras_st.serving.check.requests import moving

    rng, (batch, length, size), clip = np.random.default_rng(SEED), sizes, {}
    for name, spec in specs.items():
        dtype, shape = spec.dtype.as_numpy_dtype, [batch, *spec.shape[1:]]
        if name == "length":
            clip[name] = np.full(shape, next(iter(clip.values())).shape[1], dtype)
            continue
        shape = [n or (length if axis == 1 else size) for axis, n in enumerate(shape)]
        x = moving(rng, shape) if len(shape) == 5 else rng.random(shape)
        clip[name] = (255 * x if dtype == np.uint8 else x).astype(dtype)
    return clip


def runner(format, path):
    """A function from a clip to named outputs: the file in its runtime."""
    if format == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda clip: dict(zip(names, session.run(names, clip)))
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    return lambda clip: interpreter.get_signature_runner()(**clip)


def difference(outputs, wanted):
    import numpy as np

    return max(float(np.abs(outputs[name] - wanted[name]).max()) for name in wanted)


def told_of(format, model, features, folder, clips, answers):
    """What is stored of a system in a format: `bytes`, and the `differences` or `failures` by clip, or `refused`."""
    from keras_st.cli import quiet_import
    from keras_st.serving.other_formats import export_litert, export_onnx
    from keras_st.specs import InputError

    path = pathlib.Path(folder, format)
    sizes = {name: x.shape for name, x in clips["same"].items()} if format == FORMATS[2] else None
    try:
        if format == "onnx":
            export_onnx(model, path, features=features)
        else:
            export_litert(model, path, features=features, sizes=sizes)
    except InputError as error:
        return {"refused": str(error).partition("Received: ")[2]}
    told = {"bytes": path.stat().st_size, "differences": {}, "failures": {}}
    for name in answers if sizes is None else ("same",):
        with quiet_import():
            try:
                told["differences"][name] = difference(runner(format, path)(clips[name]), answers[name])
            except Exception as error:  # each runtime has its own
                told["failures"][name] = " ".join(str(error).split())[-400:]
    return told


def measure(system):
    """Of one system: `axes` that are free in `serving_default`, and by format what `told_of` says."""
    import keras
    import numpy as np
    import tensorflow as tf

    import train
    from keras_st.serving.export import what_is_served
    from keras_st.serving.signatures import Signatures
    from keras_st.systems import recipe

    keras.backend.clear_session()
    made = recipe(system).tiny()
    features, _ = train.examine(made)
    model = train.build_model(made, features)
    function = Signatures(model, *what_is_served(model, features)).default()
    (specs,) = function.input_signature
    clips = {name: clip_of(specs, sizes) for name, sizes in CLIPS.items()}
    shapes = {name: [x.shape for x in clip.values()] for name, clip in clips.items()}
    answers = {}
    for name in CLIPS:
        if name == "same" or shapes[name] != shapes["same"]:
            with contextlib.suppress(tf.errors.InvalidArgumentError):  # not a size of this system
                answers[name] = {key: np.asarray(x) for key, x in function(clips[name]).items()}
    with tempfile.TemporaryDirectory() as folder:
        formats = {format: told_of(format, model, features, folder, clips, answers) for format in FORMATS}
    return {"system": system, "axes": [*answers][1:], "formats": formats}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__.split("\n")[0])
    parser.add_argument("--systems", nargs="+", help="default: all")
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    from keras_st.cli import quiet_import

    with quiet_import():
        from keras_st.systems import list_systems
    if unknown := sorted(set(options.systems or ()) - set(list_systems())):
        parser.error(f"--systems are some of {', '.join(list_systems())}. Received: {unknown[0]}")
    results = []
    for system in options.systems or list_systems():
        results.append(measure(system))
        print(json.dumps(results[-1]), flush=True)
    if options.out:
        import importlib.metadata

        versions = {name: importlib.metadata.version(name) for name in ("onnxruntime", "tf2onnx", "ai-edge-litert")}
        store(options.out, "benchmarks.formats", seed=SEED, versions=versions, formats=results)


if __name__ == "__main__":
    main()
