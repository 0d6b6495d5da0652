"""Errors and time of optical flow on the seven Middlebury pairs: TVL1Flow beside OpenCV's methods.

    python -m benchmarks.flow --data $KERAS_ST_DATA/optical_flow [--rounds 3] [--out FILE.json]
    python -m benchmarks.flow --table FILE.json

Every method sees every pair in every round, one method after the other; seconds are the median of the rounds, after a
call that traces and warms up, then the mean over the pairs, frames in, flow out, on the cores that there are. "times
faster" divides the seconds of OpenCV's TV-L1 by a method's. TVL1Flow runs as a TensorFlow graph of unknown sizes, and
compiled by XLA for each size. The last lines: pairs of one size in one batch.
"""

import argparse
import json
import os
import pathlib
import statistics

from benchmarks.measure import seconds, store

OURS = {"TVL1Flow": {}, "TVL1Flow, ACCURATE": None}  # None: keras_st.flow.ACCURATE
XLA = ", XLA"
THEIRS = {"Farneback": "farneback", "DIS fast": "dis_fast", "DIS medium": "dis", "OpenCV TV-L1": "tvl1"}
BASE = "OpenCV TV-L1"


def read_pairs(folder):
    """`{name: (frames uint8 (2, H, W, 3), flow (H, W, 2))}` of the folders with `frame10.png`, `flow10.flo`."""
    import numpy as np
    from PIL import Image

    from pipelines.flow import read_flo

    pairs = {}
    for path in sorted(folder.glob("*/flow10.flo")):
        images = [Image.open(path.parent / f"frame1{n}.png").convert("RGB") for n in (0, 1)]
        pairs[path.parent.name] = np.stack([np.asarray(image) for image in images]), read_flo(path)
    return pairs


def make_methods():
    """`{name: function}` of uint8 clips (B, 2, H, W, 3), returning (B, H, W, 2)."""
    import numpy as np
    import tensorflow as tf

    from keras_st.flow import ACCURATE, TVL1Flow
    from pipelines.flow import flow_between

    def opencv(name):
        return lambda clips: np.stack([flow_between(*clip, name) for clip in clips])

    def ours(options, **how):
        run = tf.function(TVL1Flow(**(ACCURATE if options is None else options)), **how)
        return lambda clips: run(tf.constant(clips)).numpy()[:, 0]

    unknown = [tf.TensorSpec((None, None, None, None, 3), tf.uint8)]
    methods = {"zero flow": lambda clips: np.zeros((*clips.shape[:1], *clips.shape[2:4], 2), np.float32)}
    methods |= {name: opencv(method) for name, method in THEIRS.items()}
    methods |= {name: ours(options, input_signature=unknown) for name, options in OURS.items()}
    return methods | {name + XLA: ours(options, jit_compile=True) for name, options in OURS.items()}


def timed(method, clips):
    """`(flow, seconds)` of one call."""
    out = []
    took = seconds(lambda: out.append(method(clips)))
    return out[0], took


def interleaved(methods, inputs, rounds):
    """`{method: {input: {"flow", "seconds" median, "first_seconds"}}}`; methods take turns on every input."""
    told = {name: {key: {"all": []} for key in inputs} for name in methods}
    for n in range(rounds + 1):
        for key, clips in inputs.items():
            for name, method in methods.items():
                told[name][key]["flow"], took = timed(method, clips)
                told[name][key]["all"].append(took)
        print(f"round {n} of {rounds}", flush=True)
    for entries in told.values():
        for entry in entries.values():
            first, *others = entry.pop("all")
            entry |= {"first_seconds": first, "seconds": statistics.median(others)}
    return told


def measure(options):
    from keras_st.metrics.flow import angular_error, end_point_error

    pairs = read_pairs(options.data)
    methods = make_methods()
    told = interleaved(methods, {name: frames[None] for name, (frames, _) in pairs.items()}, options.rounds)
    results = []
    for method, entries in told.items():
        by_pair = {}
        for name, entry in entries.items():
            truth, flow = pairs[name][1], entry.pop("flow")[0]
            scores = {"end_point_error": end_point_error(truth, flow), "angular_error": angular_error(truth, flow)}
            by_pair[name] = scores | entry
        means = {key: statistics.mean(e[key] for e in by_pair.values()) for key in next(iter(by_pair.values()))}
        results.append({"method": method, **means, "pairs": by_pair})
    return {"results": _with_ratio(results), "batches": _with_ratio(measure_batches(methods, pairs, options.rounds))}


def measure_batches(methods, pairs, rounds):
    """All pairs of the commonest size at once; OpenCV takes them one after the other."""
    import numpy as np

    sizes = [frames.shape for frames, _ in pairs.values()]
    size = max(set(sizes), key=sizes.count)
    batch = np.stack([frames for frames, _ in pairs.values() if frames.shape == size])
    told = interleaved({m: f for m, f in methods.items() if m == BASE or m in OURS}, {"batch": batch}, rounds)
    return [
        {"method": method, "count": len(batch), "size": size[1:3], "seconds": entry["batch"]["seconds"] / len(batch)}
        for method, entry in told.items()
    ]


def _with_ratio(results):
    base = next(e["seconds"] for e in results if e["method"] == BASE)
    return [{**e, "times_faster": base / e["seconds"]} for e in results]


COLUMNS = ("method", "end-point error (px)", "angular error (degrees)", f"times faster than {BASE}")
HEADER = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|"


def row(entry):
    cells = [entry["method"], f"{entry['end_point_error']:.3f}", f"{entry['angular_error']:.2f}"]
    timed = entry["method"] != "zero flow"
    cells.append(f"{entry['times_faster']:.1f}" if timed else "")
    return "| " + " | ".join(cells) + " |"


def table(stored):
    names = list(stored["results"][0]["pairs"])
    lines = [HEADER, *map(row, stored["results"]), "", "| end-point error (px) | " + " | ".join(names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for entry in stored["results"]:
        errors = [f"{entry['pairs'][name]['end_point_error']:.3f}" for name in names]
        lines.append("| " + " | ".join([entry["method"], *errors]) + " |")
    lines.append("")
    for e in stored["batches"]:
        height, width = e["size"]
        lines.append(
            f"{e['method']}, {e['count']} pairs of {height}x{width} at once: {e['times_faster']:.1f} times as "
            f"many a second as {BASE}."
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flow", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, help="folder of the pairs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results")
    parser.add_argument("--table", type=pathlib.Path, help="print the tables of a stored file, measure nothing")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return
    if options.rounds < 1:
        parser.error(f"--rounds is at least 1. Received: {options.rounds}")
    if options.data is None or not list(options.data.glob("*/flow10.flo")):
        parser.error(f"--data is a folder of folders with flow10.flo. Received: {options.data}")
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    results = measure(options)
    print(table(results))
    if options.out:
        # Nothing is drawn at random: no seed.
        store(options.out, "benchmarks.flow", rounds=options.rounds, **results)


if __name__ == "__main__":
    main()
