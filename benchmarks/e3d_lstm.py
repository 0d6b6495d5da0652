"""Time and memory of training steps of E3D-LSTM over sequence lengths, and of RECALL against its plain form.

    python -m benchmarks.e3d_lstm [--lengths 10 20 40 80] [--rounds 3] [--out FILE.json]
    python -m benchmarks.e3d_lstm --table FILE.json

First part: 4 levels of 64 channels on 16x16 maps, window 2, kernels 2x5x5, batch 2 (the sizes of the public
implementations), whose histories hold 1, 5 or all states. Second part: one layer of 32 channels over 10 steps, history
of 5, batch 2, the chunked RECALL against the same cell with the score matrix in memory ("plain").

Every point is a fresh process: median of the rounds after one that traces; memory is the growth of peak resident size
after build; the rate is the share of the speed of a 2048 x 2048 x 2048 float32 matrix product in the same process,
counting the multiply-adds of convolutions (taps on padding too, which libraries skip: rates above 100 % are possible)
and RECALL, three times for a training step. A point that needs more than `--memory_limit` does not fit. With `--out`
there is a plot beside the file.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics

from benchmarks.measure import in_fresh_process, matrix_product, memory_bytes, seconds, start_memory_peak, store

KERNEL, WINDOW, BATCH = (2, 5, 5), 2, 2
NETWORK = {"levels": 4, "filters": 64, "channels": 16, "size": 16}
LAYER = {"levels": 1, "filters": 32, "channels": 32, "length": 10, "recall_steps": 5}


def multiply_adds(levels, filters, channels, size, length, recall_steps):
    """Of the forward pass: convolutions, and the two products of RECALL over the slots there are."""
    positions = BATCH * WINDOW * size**2
    volume = KERNEL[0] * KERNEL[1] * KERNEL[2]
    inputs = [channels] + [filters] * (levels - 1)
    convolutions = sum(volume * filters * (7 * c + 9 * filters) + 2 * filters**2 for c in inputs) * positions
    recall = 2 * positions * recall_steps * WINDOW * size**2 * filters * levels
    return length * (convolutions + recall)


def measure_point(levels, filters, channels, size, length, recall_steps, rounds, form, memory_limit_gib):
    """One training step (mean squared error, SGD) of a zigzag stack, in this process."""
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_limit_gib * 2**30),) * 2)
    import keras
    import numpy as np

    import keras_st.ops.recall as recall
    from keras_st.layers import E3DLSTMCell, SpatialRNN, ZigZagStack

    if form == "plain":
        recall.attend_in_chunks = recall.plain_attention
        recall.backend.fused_attention = lambda *args: None
    stack = ZigZagStack([E3DLSTMCell(filters, KERNEL, recall_steps=recall_steps) for _ in range(levels)])
    shape = (BATCH, length, WINDOW, size, size)
    model = keras.Sequential([keras.Input(batch_shape=(*shape, channels)), SpatialRNN(stack, return_sequences=True)])
    model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    x, y = (keras.ops.convert_to_tensor(rng.random((*shape, c), dtype="float32")) for c in (channels, filters))
    product = matrix_product()
    product()
    rate = 2 * 2048**3 / statistics.median(seconds(product) for _ in range(5))
    before = start_memory_peak()
    took = [seconds(lambda: model.train_on_batch(x, y)) for _ in range(rounds + 1)][1:]
    work = 6 * multiply_adds(levels, filters, channels, size, length, recall_steps)
    return {
        "median_seconds": statistics.median(took),
        "rate_share": work / statistics.median(took) / rate,
        "matrix_product_flops": rate,
        "memory_bytes": memory_bytes("VmHWM") - before,
    }


def point(options, form="chunks", **sizes):
    """A point from a fresh process, or `{"fits": False}`."""
    sizes = {**sizes, "rounds": options.rounds, "form": form, "memory_limit_gib": options.memory_limit}
    entry = {k: v for k, v in sizes.items() if k not in ("rounds", "memory_limit_gib")}
    try:
        line = in_fresh_process("benchmarks.e3d_lstm", f"--backend={options.backend}", f"--point={json.dumps(sizes)}")
        entry |= {"fits": True, **json.loads(line)}
    except RuntimeError as error:
        words = ("bad_alloc", "ResourceExhausted", "OOM", "memory", "exit code -")
        if not any(word in str(error) for word in words):
            raise
        entry["fits"] = False
    print(row(entry), flush=True)
    return entry


def measure(options):
    results = []
    print(HEADER)
    for length in options.lengths:
        for recall_steps in (1, 5, length):
            results.append(point(options, **NETWORK, length=length, recall_steps=recall_steps))
    for size in options.sizes:
        for form in ("chunks", "plain"):
            results.append(point(options, form, **LAYER, size=size))
    return results


COLUMNS = ("levels x filters", "maps", "length", "recall", "form", "step (s)", "rate", "memory (GiB)")
HEADER = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|"


def row(entry):
    cells = [f"{entry['levels']} x {entry['filters']}", f"{entry['size']}x{entry['size']}", entry["length"]]
    cells += ["all" if entry["recall_steps"] == entry["length"] else entry["recall_steps"], entry["form"]]
    if entry["fits"]:
        numbers = entry["median_seconds"], 100 * entry["rate_share"], entry["memory_bytes"] / 2**30
        cells += [f"{numbers[0]:.2f}", f"{numbers[1]:.0f} %", f"{numbers[2]:.2f}"]
    else:
        cells += ["does not fit", "", ""]
    return "| " + " | ".join(map(str, cells)) + " |"


def plot(results, path):
    """Time and memory of the network over lengths, a line for every history."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), dpi=150)
    network = [e for e in results if e["levels"] == NETWORK["levels"] and e["fits"]]
    parts = (("median_seconds", 1, "training step (s)"), ("memory_bytes", 2**30, "peak memory (GiB)"))
    for n, (name, unit, label) in enumerate(parts):
        axes = figure.add_subplot(1, 2, n + 1)
        for steps, marker in ((1, "s"), (5, "o"), (None, "^")):
            line = [e for e in network if e["recall_steps"] == (e["length"] if steps is None else steps)]
            lengths, values = [e["length"] for e in line], [e[name] / unit for e in line]
            axes.plot(lengths, values, marker=marker, markersize=4, label=f"recall {steps or 'all'}")
        axes.set_xlabel("length (steps)")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.e3d_lstm", description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), default="tensorflow")
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 20, 40, 80])
    parser.add_argument("--sizes", type=int, nargs="*", default=[16, 32, 64], help="maps of the RECALL part")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory_limit", type=float, default=24.0, help="GiB of address space of a point")
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results, with a plot beside it")
    parser.add_argument("--table", type=pathlib.Path, help="print the table of a stored file, measure nothing")
    parser.add_argument("--point", help=argparse.SUPPRESS)  # JSON of what a fresh process measures
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.point:
        print(json.dumps(measure_point(**json.loads(options.point))))
        return
    if options.table:
        print("\n".join([HEADER, *map(row, json.loads(options.table.read_text())["results"])]))
        return
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    results = measure(options)
    if options.out:
        store(options.out, "benchmarks.e3d_lstm", rounds=options.rounds, results=results)
        plot(results, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
