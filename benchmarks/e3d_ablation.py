"""Ablations of E3D-LSTM at a budget of your own: one table, one plot.

    python -m benchmarks.e3d_ablation --steps=200 --seeds 0 1 2 --out FILE.json
    python -m benchmarks.e3d_ablation --table FILE.json

Four studies, each a list of variants that share data, budget and seeds:
    recall     moving digits, 10 frames in, 10 out: histories of 0 (no recall), 1, 2, 5 and all states; temporal kernel
               1 and 2; eidetic memory. Mean squared error per pixel.
    placement  the same: 3-D convolutions inside the recurrence, below it, above it. Mean squared error per pixel.
    copy       reproduce a first clip after an unrelated second one: recall of all states against none. Mean squared
               error per pixel.
    weight     classify motion from the first quarter of a clip: the weight of the forecast fixed, decayed, 0. Accuracy.
Values are of the held-out test split; a row has the mean over seeds and every seed.
"""

import argparse
import dataclasses
import json
import os
import pathlib

from benchmarks.measure import store

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

DIGITS = ["e3d_lstm", "--model.filters=[16,16]", "--data.num_test_sequences=200"]
COPY = ["e3d_lstm", "--data.name=copy_task", "--data.frame_size=16", "--data.num_test_sequences=200"]
COPY += ["--task.context_frames=4", "--task.horizon_frames=2", "--model.filters=[16]", "--training.loss=mse"]
WEIGHT = ["e3d_lstm_classifier", "--data.num_test_sequences=300"]
DECAY = "--training.forecast_weight_decay={decay}"  # to the floor near the end
FLOOR, NO_FLOOR = "--training.forecast_weight_floor=0.1", "--training.forecast_weight_floor=0"
STUDIES = {  # study -> (command line of all its variants, {variant: what it adds})
    "recall": (
        DIGITS,
        {
            "tau = 5, kt = 2": [],
            "no recall": ["--model.recall_steps=0"],
            "tau = 1": ["--model.recall_steps=1"],
            "tau = 2": ["--model.recall_steps=2"],
            "tau = all": ["--model.recall_steps=null"],
            "kt = 1": ["--model.kernel_size=[1,3,3]"],
            "eidetic memory": ["--model.eidetic_memory=true"],
        },
    ),
    "placement": (
        ["--model.filters=[16,16]", "--data.num_test_sequences=200"],
        {"inside": ["e3d_lstm"], "below": ["e3d_bottom"], "above": ["e3d_top"]},
    ),
    "copy": (COPY, {"recall of all": ["--model.recall_steps=null"], "no recall": ["--model.recall_steps=0"]}),
    "weight": (
        WEIGHT,
        {
            "fixed": ["--training.forecast_weight=1", "--training.forecast_weight_decay=0", FLOOR],
            "decayed": ["--training.forecast_weight=1", DECAY, FLOOR],
            "none": ["--training.forecast_weight=0", "--training.forecast_weight_decay=0", NO_FLOOR],
        },
    ),
}


def recipe_of(words, steps, seed):
    """The recipe of a variant: one epoch of `steps` batches of sequences that are never seen twice."""
    import train

    words = sorted(words, key=lambda word: word.startswith("--"))  # the system comes first
    words = [word.format(decay=1 / steps) for word in words]
    recipe, _ = train.parse([*words, f"--training.seed={seed}", "--training.epochs=1"])
    data = {**recipe.data, "num_sequences": steps * recipe.training.batch_size}
    return dataclasses.replace(recipe, data=data)


def run(words, steps, seed):
    """Trains `steps` optimizer steps; the test split's score."""
    import numpy as np

    import train
    from keras_st.metrics import classify

    recipe = recipe_of(words, steps, seed)
    feature, steps = train.examine(recipe)
    model = train.build_model(recipe, feature)
    train.compile_model(model, recipe.training, steps)
    model.fit(train.training_batches(recipe, feature, 0, steps), steps_per_epoch=steps, verbose=0, shuffle=False)
    errors, labels, logits = [], [], []
    for inputs, targets in train.batches_of(recipe, feature, "test"):
        outputs = model.predict_on_batch(inputs)
        frames = np.clip(outputs["frames"], 0, 1)
        errors.append(np.square(frames - targets["frames"].numpy()).mean(axis=(1, 2, 3, 4)))
        if "logits" in outputs:
            labels.append(targets["logits"].numpy())
            logits.append(outputs["logits"])
    if labels:
        return classify.top_k_accuracy(np.concatenate(labels), np.concatenate(logits))
    return float(np.concatenate(errors).mean())


def measure(options):
    results = []
    print(HEADER)
    for study in options.studies:
        common, variants = STUDIES[study]
        for variant, changed in variants.items():
            values = [run([*common, *changed], options.steps, seed) for seed in options.seeds]
            metric = "accuracy" if study == "weight" else "mse_per_pixel"
            results.append({"study": study, "variant": variant, "metric": metric, "seeds": values})
            print(row(results[-1]), flush=True)
    return results


HEADER = "| study | variant | metric | mean | seeds |\n|---|---|---|---|---|"


def row(entry):
    values = entry["seeds"]
    cells = [entry["study"], entry["variant"], entry["metric"], f"{sum(values) / len(values):.5f}"]
    return "| " + " | ".join([*cells, ", ".join(f"{v:.5f}" for v in values)]) + " |"


def plot(results, path):
    """A panel a study: every seed a dot, the mean a line."""
    from matplotlib.figure import Figure

    studies = list(dict.fromkeys(e["study"] for e in results))
    widths = [sum(e["study"] == study for e in results) + 1 for study in studies]
    figure = Figure(figsize=(0.75 * sum(widths) + 1, 3.5), dpi=150)
    for axes, study in zip(figure.subplots(1, len(studies), width_ratios=widths, squeeze=False)[0], studies):
        entries = [e for e in results if e["study"] == study]
        for n, entry in enumerate(entries):
            mean = sum(entry["seeds"]) / len(entry["seeds"])
            axes.plot([n - 0.3, n + 0.3], [mean, mean], color="black")
            axes.plot([n] * len(entry["seeds"]), entry["seeds"], "o", markersize=4, alpha=0.6)
        axes.set_xticks(range(len(entries)), [e["variant"] for e in entries], rotation=60, ha="right", fontsize=7)
        axes.tick_params(axis="y", labelsize=7)
        axes.set_title(f"{study} ({entries[0]['metric']})", fontsize=8)
        axes.grid(alpha=0.3, axis="y")
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.e3d_ablation", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps of every run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results, with a plot beside it")
    parser.add_argument("--table", type=pathlib.Path, help="print the table of a stored file, run nothing")
    options = parser.parse_args()
    if options.steps < 1:
        parser.error(f"--steps must be at least 1. Received: {options.steps}")
    if options.table:
        print("\n".join([HEADER, *map(row, json.loads(options.table.read_text())["results"])]))
        return
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    from keras_st.cli import quiet_import

    with quiet_import():
        import tensorflow as tf

        tf.config.list_physical_devices()
    results = measure(options)
    if options.out:
        store(options.out, "benchmarks.e3d_ablation", steps=options.steps, seeds=options.seeds, results=results)
        plot(results, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
