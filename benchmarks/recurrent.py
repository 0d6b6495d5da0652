"""ConvLSTM2D here against Keras's and a plain PyTorch cell, same weights, side by side: `make bench`.

    python -m benchmarks.recurrent [--backend tensorflow|jax|torch] [--jit_compile] [--shapes N ...] [--out FILE]

Each round runs one training step (mean squared error, SGD) and one inference of every contestant in turn, in one
process; ratios are of medians over rounds. The rate is the share of the speed of a 2048 x 2048 x 2048 float32 matrix
product in the same rounds. Memory is what the peak resident size grows by after build, over a few steps in a fresh
process.
"""

import argparse
import json
import os
import pathlib
import statistics

from benchmarks.measure import in_fresh_process, matrix_product, memory_bytes, seconds, start_memory_peak, store

SHAPES = [  # B, T, H, W, C, filters, kernel
    (4, 10, 32, 32, 1, 32, 5),
    (4, 10, 16, 16, 16, 64, 5),
    (8, 10, 16, 16, 64, 64, 3),
    (2, 19, 64, 64, 1, 64, 5),
]
CONTESTANTS = ("ours", "keras", "torch")
MODES = ("train", "infer")


def flops(shape, mode):
    """Of the convolutions: the input and state transforms, in training also both kernel gradients and the state's."""
    batch, length, height, width, channels, filters, kernel = shape
    row = 2 * batch * length * height * width * kernel**2 * 4 * filters
    return row * (channels + filters if mode == "infer" else 2 * channels + 3 * filters)


def weights_and_data(shape):
    import numpy as np

    *clip, channels, filters, kernel = shape
    rng = np.random.default_rng(0)
    weights = [
        0.1 * rng.standard_normal((kernel, kernel, channels, 4 * filters)),
        0.02 * rng.standard_normal((kernel, kernel, filters, 4 * filters)),
        np.zeros(4 * filters),
    ]
    x, y = rng.random((*clip, channels)), rng.random((*clip, filters))
    return [w.astype("float32") for w in weights], x.astype("float32"), y.astype("float32")


def contestant(name, shape, jit_compile):
    """The built contestant: `{"train": step, "infer": step}`, each a function without arguments."""
    weights, x, y = weights_and_data(shape)
    if name == "torch":
        import torch

        from benchmarks.torch_cell import TorchConvLSTM2D

        device = "cuda" if torch.cuda.is_available() else "cpu"
        cell = TorchConvLSTM2D(*weights).to(device)
        x, y = torch.as_tensor(x, device=device), torch.as_tensor(y, device=device)
        optimizer = torch.optim.SGD(cell.parameters(), 1e-2)

        def train():
            optimizer.zero_grad()
            loss = ((cell(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.item()

        def infer():
            with torch.no_grad():
                return cell(x).cpu().numpy()

        return {"train": train, "infer": infer}

    import keras

    from keras_st.layers import ConvLSTM2D

    *_, filters, kernel = shape
    layer = {"ours": ConvLSTM2D, "keras": keras.layers.ConvLSTM2D}[name]
    layer = layer(filters, kernel, padding="same", return_sequences=True)
    model = keras.Sequential([keras.Input(batch_shape=x.shape), layer])
    model.set_weights(weights)
    model.compile(keras.optimizers.SGD(1e-2), "mse", jit_compile=jit_compile)
    x, y = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)
    return {"train": lambda: model.train_on_batch(x, y), "infer": lambda: model.predict_on_batch(x)}


def time_shape(shape, rounds, jit_compile):
    """Seconds per contestant and mode, and of the matrix product, interleaved: `{(name, mode): [seconds]}`."""
    import numpy as np

    built = {name: contestant(name, shape, jit_compile) for name in CONTESTANTS}
    outputs = {name: steps["infer"]() for name, steps in built.items()}
    for name, output in outputs.items():
        np.testing.assert_allclose(output, outputs["ours"], atol=1e-3, err_msg=f"{name} computes something else")
    product = matrix_product()
    times = {("product", "product"): []} | {(name, mode): [] for name in CONTESTANTS for mode in MODES}
    for n in range(rounds + 1):  # the first round, which traces and compiles, does not count
        for (name, mode), collected in times.items():
            took = seconds(product if name == "product" else built[name][mode])
            if n:
                collected.append(took)
    return times


def grown_memory(name, index, mode, jit_compile):
    """Growth of peak resident memory over a few steps, measured in this (fresh) process."""
    step = contestant(name, SHAPES[index], jit_compile)[mode]
    before = start_memory_peak()
    for _ in range(3):
        step()
    return memory_bytes("VmHWM") - before


def fresh_memory(name, index, mode, argv):
    return int(in_fresh_process("benchmarks.recurrent", *argv, f"--memory_of={name},{index},{mode}"))


def measure(shapes, rounds, jit_compile, memory_argv):
    results = []
    for index in shapes:
        shape = SHAPES[index]
        times = time_shape(shape, rounds, jit_compile)
        medians = {key: statistics.median(values) for key, values in times.items()}
        rate = 2 * 2048**3 / medians["product", "product"]
        for mode in MODES:
            entry = {"shape": shape, "mode": mode, "matrix_product_flops": rate}
            for name in CONTESTANTS:
                entry[name] = {
                    "median_seconds": medians[name, mode],
                    "rate_share": flops(shape, mode) / medians[name, mode] / rate,
                    "memory_bytes": fresh_memory(name, index, mode, memory_argv),
                }
            results.append(entry)
            print(row(entry), flush=True)
    return results


HEADER = (
    "| shape (B, T, H, W, C, F, k) | step | time: Keras / ours | time: PyTorch / ours | rate: ours | Keras | PyTorch "
    "| memory: ours / Keras | ours / PyTorch |\n|---|---|---|---|---|---|---|---|---|"
)


def row(entry):
    ours, keras, torch = (entry[name] for name in CONTESTANTS)
    cells = [
        str(tuple(entry["shape"])),
        entry["mode"],
        *(f"{other['median_seconds'] / ours['median_seconds']:.2f}" for other in (keras, torch)),
        *(f"{100 * each['rate_share']:.0f} %" for each in (ours, keras, torch)),
        *(f"{ours['memory_bytes'] / other['memory_bytes']:.2f}" for other in (keras, torch)),
    ]
    return "| " + " | ".join(cells) + " |"


def summary(results):
    """Geometric means of the time ratios, per mode."""
    lines = []
    for mode in MODES:
        for other in ("keras", "torch"):
            ratios = [e[other]["median_seconds"] / e["ours"]["median_seconds"] for e in results if e["mode"] == mode]
            lines.append(f"{mode}, {other} / ours: geometric mean {statistics.geometric_mean(ratios):.2f}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recurrent", description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), default="tensorflow")
    parser.add_argument("--jit_compile", action="store_true", help="compile Keras models with XLA")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shapes", type=int, nargs="+", choices=range(len(SHAPES)), default=range(len(SHAPES)))
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results")
    parser.add_argument("--table", type=pathlib.Path, help="print the table of a stored JSON file, measure nothing")
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)  # "name,shape index,mode", what the fresh process runs
    options = parser.parse_args()
    if options.table:
        results = json.loads(options.table.read_text())["results"]
        print("\n".join([HEADER, *map(row, results)]), summary(results), sep="\n\n")
        return
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    jit_compile = options.jit_compile or ("auto" if options.backend == "jax" else False)
    if options.memory_of:
        name, index, mode = options.memory_of.split(",")
        print(grown_memory(name, int(index), mode, jit_compile))
        return
    from keras_st.cli import quiet_import

    with quiet_import():
        import keras  # noqa: F401
    print(HEADER)
    memory_argv = [f"--backend={options.backend}", *["--jit_compile"] * options.jit_compile]
    results = measure(options.shapes, options.rounds, jit_compile, memory_argv)
    print(summary(results))
    if options.out:
        store(options.out, "benchmarks.recurrent", rounds=options.rounds, results=results)


if __name__ == "__main__":
    main()
