"""Clips per second and memory of P3D-63 beside C3D and beside the same net with full 3x3x3 kernels.

    python -m benchmarks.p3d [--backend tensorflow] [--batch 4] [--rounds 7] [--out FILE.json]
    python -m benchmarks.p3d --table FILE.json

Clips of 8x112x112x3; inference, and one training step (cross-entropy, SGD). Every point is a fresh process: median of
the rounds after two that trace and warm up; memory is the growth of peak resident size after build; the rate is the
share of the speed of a 2048 x 2048 x 2048 float32 matrix product in the same process, counting the multiply-adds of
convolutions and dense layers (counted in the TensorFlow graph; three times for a training step). The last lines:
building P3D-199, and loading its weights from a file.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile

from benchmarks.measure import in_fresh_process, matrix_product, memory_bytes, seconds, start_memory_peak, store

CLIP, CLASSES = (8, 112, 112, 3), 101
NETS = ("p3d_63", "full_63", "c3d")


def make(net):
    import keras

    import keras_st.models.p3d_resnet as networks
    from keras_st.layers import P3DBlock
    from keras_st.models import C3D

    class FullBlock(P3DBlock):
        """3x3x3 in place of S and T; stage 5 stays as it is."""

        def __init__(self, filters, kind, **kwargs):
            super().__init__(filters, None, **kwargs)
            if kind is not None:
                conv = keras.layers.Conv3D(filters, 3, padding="same", use_bias=False, name="full_conv")
                self.spatial = (conv, self.spatial[1])

    if net == "c3d":
        return C3D(CLIP, classes=CLASSES)
    if net == "full_63":
        networks.P3DBlock = FullBlock
    return networks.P3DResNet(63, CLIP, classes=CLASSES)


def measure_point(net, batch, rounds, train):
    """One net in this process: seconds a call, memory, the matrix product's speed."""
    import keras
    import numpy as np

    model = make(net)
    rng = np.random.default_rng(0)
    x, y = rng.random((batch, *CLIP), dtype="float32"), rng.integers(0, CLASSES, batch)
    product = matrix_product()
    product()
    rate = 2 * 2048**3 / statistics.median(seconds(product) for _ in range(5))
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", jit_compile=False)
    before = start_memory_peak()
    run = (lambda: model.train_on_batch(x, y)) if train else (lambda: model.predict_on_batch(x))
    took = [seconds(run) for _ in range(rounds + 2)][2:]
    return {
        "median_seconds": statistics.median(took),
        "clips_per_second": batch / statistics.median(took),
        "matrix_product_flops": rate,
        "memory_bytes": memory_bytes("VmHWM") - before,
        "parameters": model.count_params(),
    }


def count_point(net):
    """Multiply-adds of one clip; needs the TensorFlow backend."""
    from keras_st.backend import multiply_adds

    return {"multiply_adds": multiply_adds(make(net), (1, *CLIP))}


def load_point():
    """Seconds to build P3D-199 and to load its weights."""
    from keras_st.models import P3DResNet

    model = P3DResNet(199)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "p3d.weights.h5")
        model.save_weights(path)
        return {
            "build_seconds": seconds(lambda: P3DResNet(199)),
            "load_seconds": seconds(lambda: model.load_weights(path)),
        }


def point(backend, **options):
    line = in_fresh_process("benchmarks.p3d", f"--backend={backend}", f"--point={json.dumps(options)}")
    return json.loads(line)


def measure(options):
    counts = {net: point("tensorflow", what="count", net=net)["multiply_adds"] for net in NETS}
    results = []
    print(HEADER)
    for train in (False, True):
        entries = []
        for net in NETS:
            entry = {"net": net, "train": train, "batch": options.batch, "multiply_adds": counts[net]}
            entry |= point(
                options.backend, what="time", net=net, batch=options.batch, rounds=options.rounds, train=train
            )
            work = 2 * counts[net] * (3 if train else 1) * entry["clips_per_second"]
            entry["rate_share"] = work / entry["matrix_product_flops"]
            entries.append(entry)
        slowest = next(e for e in entries if e["net"] == "c3d")["clips_per_second"]
        for entry in entries:
            entry["times_c3d"] = entry["clips_per_second"] / slowest
            print(row(entry), flush=True)
        results += entries
    loading = point(options.backend, what="load")
    print(loading_line(loading))
    return {"results": results, "p3d_199": loading}


COLUMNS = ("net", "what", "multiply-adds a clip", "clips/s", "times C3D", "rate", "memory (GiB)")
HEADER = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|"


def row(entry):
    cells = [entry["net"], "training step" if entry["train"] else "inference", f"{entry['multiply_adds'] / 1e9:.2f} G"]
    cells += [f"{entry['clips_per_second']:.2f}", f"{entry['times_c3d']:.2f}", f"{100 * entry['rate_share']:.0f} %"]
    return "| " + " | ".join([*cells, f"{entry['memory_bytes'] / 2**30:.2f}"]) + " |"


def loading_line(loading):
    return f"\nP3D-199: built in {loading['build_seconds']:.1f} s, weights loaded in {loading['load_seconds']:.1f} s."


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.p3d", description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), default="tensorflow")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results")
    parser.add_argument("--table", type=pathlib.Path, help="print the table of a stored file, measure nothing")
    parser.add_argument("--point", help=argparse.SUPPRESS)  # JSON of what a fresh process measures
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.point:
        what = json.loads(options.point)
        print(json.dumps({"time": measure_point, "count": count_point, "load": load_point}[what.pop("what")](**what)))
        return
    if options.table:
        stored = json.loads(options.table.read_text())
        print("\n".join([HEADER, *map(row, stored["results"])]) + "\n" + loading_line(stored["p3d_199"]))
        return
    if options.batch < 1 or options.rounds < 1:
        parser.error(f"--batch and --rounds are at least 1. Received: {options.batch}, {options.rounds}")
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    results = measure(options)
    if options.out:
        store(options.out, "benchmarks.p3d", rounds=options.rounds, **results)


if __name__ == "__main__":
    main()
