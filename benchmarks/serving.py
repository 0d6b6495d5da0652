"""Served models: TensorFlow's C API beside Keras and ONNX Runtime, a step of a stream beside its share of the clip.

    python -m benchmarks.serving [--systems conv_lstm ...] [--rounds 100] [--out FILE.json]

Systems of middle size with fresh weights and random clips of 10 frames (c3d: 16), from uint8 pixels to NumPy outputs.
One process; after rounds that trace and warm up all take turns, a call each, `rounds` times, on all cores. Memory is
what the peak resident size grows by after loading, over three calls in a fresh process.

A step is compared with its share of the clip, whole(T) / T, and with a call of one frame, whole(1): a step of a
forecaster reads a frame and, which is in no share, forecasts the whole horizon anew. The table is
`python -m benchmarks.results FILE`.
"""

import argparse
import dataclasses
import os
import pathlib
import sys
import tempfile

from benchmarks.measure import in_fresh_process, memory_bytes, seconds, start_memory_peak, store
from benchmarks.results import latency_row

SYSTEMS = {  # height and width of frames, options of the model
    "conv_lstm": (64, {"filters": (32,), "patch": 4}),
    "pred_rnn": (64, {"filters": (16, 16), "patch": 4}),
    "e3d_lstm": (64, {"filters": (16, 16), "patch": 8}),
    "lrcn": (112, {}),
    "conv_alstm": (112, {"init_state": "zeros"}),
    "c3d": (64, {}),
}
FRAMES, BATCHES, WARM_UP = 10, (1, 8), 3
CONTESTANTS = ("c", "predict", "predict_on_batch", "onnx")


def made(system, tiny):
    """`(model, features)` at the size that is measured; `tiny`: at that of tests."""
    import train
    from keras_st.specs import VIDEO
    from keras_st.systems import recipe

    chosen, (size, options) = recipe(system), SYSTEMS[system]
    if tiny:
        chosen, size = chosen.tiny(), 32
        options = {name: value for name, value in options.items() if name == "init_state"}
    chosen = dataclasses.replace(chosen, model={**chosen.model, **options})
    features = [dataclasses.replace(VIDEO, shape=(None, size, size, 1))]
    return train.build_model(chosen, features), features


def clip_of(model, features, batch):
    """Random pixels of a batch of clips, of the length that a model has fixed or `FRAMES`."""
    import numpy as np

    length = getattr(model, "input_shapes", {"video": (None,)})["video"][0] or FRAMES
    return np.random.default_rng(0).integers(0, 256, (batch, length, *features[0].shape[1:]), np.uint8)


def pixels(clip):
    """What a model of Keras sees of a clip."""
    return {"video": clip.astype("float32") / 255}


def onnx_runner(path):
    """A function of a clip: the outputs of an ONNX file by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would slow the others down
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda clip: dict(zip(names, session.run(names, {"video": clip})))


def contestant(name, system, tiny, folder):
    """A function of a clip, from what `prepare` wrote or, of Keras, a model built anew."""
    if name == "c":
        from keras_st.serving.c_loader import ServedModel

        served = ServedModel(pathlib.Path(folder, "1"))
        return lambda clip: served.run("serving_default", {"video": clip})
    if name == "onnx":
        return onnx_runner(pathlib.Path(folder, "model.onnx"))
    model, _ = made(system, tiny)
    if name == "predict":
        return lambda clip: model.predict(pixels(clip), verbose=0)
    return lambda clip: model.predict_on_batch(pixels(clip))


def prepare(system, tiny, folder):
    """Exports a system to `folder`; returns `(model, features, names of the contestants)`."""
    from keras_st.serving import export
    from keras_st.serving.other_formats import export_onnx
    from keras_st.specs import InputError

    model, features = made(system, tiny)
    export(model, folder, features=features)
    try:
        export_onnx(model, pathlib.Path(folder, "model.onnx"), features=features)
    except InputError as error:
        print(f"{system}: {error}", file=sys.stderr)
        return model, features, CONTESTANTS[:3]
    return model, features, CONTESTANTS


def stream_of(run, clip):
    """A function that takes a step of streams, a frame each; `run(signature, inputs)` answers a signature."""
    frame = clip[:, 0]
    states = dict(run("init_state", {"frame": frame}))

    def step():
        outputs = run("step", {"frame": frame, **states})
        states.update((name, outputs[name]) for name in states)

    return step


def in_python(folder):
    """`run` of `stream_of` by TensorFlow's Python."""
    import tensorflow as tf

    model = tf.saved_model.load(folder)

    def run(signature, inputs):
        outputs = model.signatures[signature](**{name: tf.constant(x) for name, x in inputs.items()})
        return {name: x.numpy() for name, x in outputs.items()}

    return run


def calls_of(system, tiny, folder, batch, names):
    """`(calls, frames of a clip)`: functions without arguments by name, which must agree."""
    import numpy as np

    from keras_st.serving.c_loader import ServedModel

    model, features = made(system, tiny)
    clip = clip_of(model, features, batch)
    runs = {name: contestant(name, system, tiny, folder) for name in names}
    wanted = runs["c"](clip)
    for name, run in runs.items():
        outputs = run(clip)
        key = "logits" if "logits" in outputs else "frames"
        outputs = np.clip(outputs[key], 0, 1) if key == "frames" else outputs[key]
        np.testing.assert_allclose(outputs, wanted[key], atol=1e-3, err_msg=f"{name} computes something else")
    calls = {name: lambda run=run: run(clip) for name, run in runs.items()}
    served = ServedModel(pathlib.Path(folder, "1"))
    if "step" in served.signatures:
        calls["one_frame"] = lambda: runs["c"](clip[:, :1])
        calls["step"] = stream_of(served.run, clip)
        calls["step_in_python"] = stream_of(in_python(os.path.join(folder, "1")), clip)
    return calls, clip.shape[1]


def statistics_of(times, batch):
    import numpy as np

    p50, p99 = np.percentile(times, [50, 99])
    return {"p50_seconds": float(p50), "p99_seconds": float(p99), "per_second": batch * len(times) / sum(times)}


def stream_told(told, frames):
    """The step beside its share of the clip; see above."""
    step, one, whole = (told[name]["p50_seconds"] for name in ("step", "one_frame", "c"))
    return {"times_whole_by_frames": step / (whole / frames), "times_one_frame": step / one}


def grown_memory(name, system, tiny, folder, batch):
    """Growth of the peak resident memory over three calls, measured in this (fresh) process."""
    import numpy as np

    run = contestant(name, system, tiny, folder)
    clip = np.load(pathlib.Path(folder, f"clip{batch}.npy"))
    before = start_memory_peak()
    for _ in range(3):
        run(clip)
    return memory_bytes("VmHWM") - before


def measure(system, options):
    """What is stored of a system, an entry for every batch size."""
    import keras
    import numpy as np

    entries = []
    with tempfile.TemporaryDirectory() as folder:
        model, features, names = prepare(system, options.tiny, folder)
        for batch in BATCHES:
            calls, frames = calls_of(system, options.tiny, folder, batch, names)
            times = {name: [] for name in calls}
            for turn in range(WARM_UP + options.rounds):
                for name, call in calls.items():
                    took = seconds(call)
                    times[name] += [took] if turn >= WARM_UP else []
            told = {name: statistics_of(values, batch) for name, values in times.items()}
            entry = {"system": system, "batch": batch, "frames": frames, "parameters": model.count_params()}
            if "step" in told:
                entry["stream"] = stream_told(told, frames)
            np.save(pathlib.Path(folder, f"clip{batch}.npy"), clip_of(model, features, batch))
            words = ["--tiny"] * options.tiny
            for name in names:
                what = f"--memory_of={name},{system},{batch},{folder}"
                told[name]["memory_bytes"] = int(in_fresh_process("benchmarks.serving", *words, what))
            entries.append({**entry, "calls": told})
            print(latency_row(None, {"latency": entries[-1:]}), flush=True)
            keras.backend.clear_session()
    return entries


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.split("\n")[0])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=[*SYSTEMS])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--tiny", action="store_true", help="models at the size of tests, to try the command")
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results")
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)  # "contestant,system,batch,folder", of a fresh process
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.rounds < 1:
        parser.error(f"--rounds is at least 1. Received: {options.rounds}")
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    if options.memory_of:
        name, system, batch, folder = options.memory_of.split(",", 3)
        print(grown_memory(name, system, options.tiny, folder, int(batch)))
        return
    from keras_st.cli import quiet_import

    with quiet_import():
        import keras_st.systems  # noqa: F401
    load = os.getloadavg()[0]
    results = [entry for system in options.systems for entry in measure(system, options)]
    if options.out:
        store(options.out, "benchmarks.serving", rounds=options.rounds, load_before=load, latency=results)


if __name__ == "__main__":
    main()
