"""A training step of every recogniser of clips beside the others: time, parameters.

    python -m benchmarks.recognition [--batch 8] [--rounds 7] [--out FILE.json]
    python -m benchmarks.recognition --table FILE.json

Recipes for `ut_interaction` at their own sizes, random clips of 16x56x56, with flow where a system takes it. One
process; after two steps that trace and warm up the systems take turns, a step each, `rounds` times. Told are medians
divided by that of conv_pooling.
"""

import argparse
import json
import os
import pathlib
import statistics

from benchmarks.measure import seconds, store

SIZE, REFERENCE = (16, 56, 56), "conv_pooling"


def step_of(name, batch):
    """`(parameters, function that takes one training step)` of a system."""
    import dataclasses

    import numpy as np

    from keras_st.systems import recipe
    from keras_st.training.compile import compile_classifier

    made = recipe(name, "ut_interaction")
    task = dataclasses.replace(made.task, channels=3, crop=SIZE[1:], clip_frames=SIZE[0])
    model = dataclasses.replace(made, task=task).build()
    rng = np.random.default_rng(0)
    channels = {"video": 3, "flow": 2}
    clips = {stream: rng.random((batch, *SIZE, channels[stream]), dtype="float32") for stream in task.streams}
    model.build({stream: (None, *x.shape[1:]) for stream, x in clips.items()})
    compile_classifier(model, made.training, 1000)
    labels = dict.fromkeys(model.returned, rng.integers(0, made.model["classes"], batch))
    return model.count_params(), lambda: model.train_on_batch(clips, labels)


def measure(options):
    from keras_st.specs import ClassifyTask
    from keras_st.systems import list_systems, recipe

    names = [name for name in list_systems() if isinstance(recipe(name).task, ClassifyTask)]
    names = [name for name in names if recipe(name).task.labels == "video" and not name.startswith("yt8m")]
    systems = {}
    for name in names:
        systems[name] = step_of(name, options.batch)
        for _ in range(2):
            systems[name][1]()
    took = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, (_, step) in systems.items():
            took[name].append(seconds(step))
    medians = {name: statistics.median(values) for name, values in took.items()}
    return [
        {
            "system": name,
            "parameters": systems[name][0],
            "median_seconds": medians[name],
            "times_reference": medians[name] / medians[REFERENCE],
        }
        for name in sorted(names, key=medians.get)
    ]


HEADER = f"| system | parameters | a training step, {REFERENCE} = 1 |\n|---|---|---|"


def row(entry):
    return f"| {entry['system']} | {entry['parameters']:,} | {entry['times_reference']:.2f} |"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recognition", description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results")
    parser.add_argument("--table", type=pathlib.Path, help="print the table of a stored file, measure nothing")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.table:
        print("\n".join([HEADER, *map(row, json.loads(options.table.read_text())["results"])]))
        return
    if options.batch < 1 or options.rounds < 1:
        parser.error(f"--batch and --rounds are at least 1. Received: {options.batch}, {options.rounds}")
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    results = measure(options)
    print("\n".join([HEADER, *map(row, results)]))
    if options.out:
        store(options.out, "benchmarks.recognition", batch=options.batch, rounds=options.rounds, results=results)


if __name__ == "__main__":
    main()
