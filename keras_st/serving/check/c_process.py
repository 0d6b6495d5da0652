"""The process that runs exports by TensorFlow's C API: `python -m keras_st.serving.check.c_process JOBS`.

JOBS is a JSON list of `{"folder", "work", "full"}`. Into `work` go `results.json` and, for the process without Keras,
`requests.npz` with what was asked and answered.
"""

import json
import os
import pathlib
import sys

import numpy as np

from keras_st.serving.c_loader import ServedModel
from keras_st.serving.check import files, runs
from keras_st.serving.check.requests import Requests
from keras_st.serving.check.results import Failed, Result, told
from keras_st.specs import InputError


def check(folder, work, full):
    """The results of one export; saves what it asked and was answered."""
    try:
        model = ServedModel(folder)
    except InputError as error:
        return [Result("C loader", False, str(error))]
    with model:
        try:
            requests = Requests(model, files.read_told(folder))
        except Failed as error:
            return [Result("C loader", False, str(error))]
        answers = []
        results = [told("C loader", runs.grid, requests, full, answers)]
        if not results[0].ok:
            return results
        _save(answers, work)
        signatures = model.signatures
        if "step" in signatures:
            results.append(told("streaming", runs.streaming, requests, full))
        results.append(told("batching", runs.batching, requests))
        results.append(told("repeats", runs.repeats, requests))
        if "serving_float" in signatures and not requests.computes_flow:
            results.append(told("float input", runs.float_input, requests))
        if "encoded" in signatures:
            results.append(told("encoded", runs.encoded_input, requests))
        if (path := pathlib.Path(folder, "assets.extra", files.WARMUP)).is_file():
            results.append(told("warm-up", runs.warmup, requests, path))
    return results


def _save(answers, work):
    arrays = {}
    for number, (signature, inputs, outputs) in enumerate(answers):
        for part, values in (("in", inputs), ("out", outputs)):
            for name, x in values.items():  # images end in other bytes than zero, which NumPy's own strings would lose
                arrays[f"{number}/{signature}/{part}/{name}"] = x.astype("S") if x.dtype == object else x
    np.savez(pathlib.Path(work, "requests.npz"), **arrays)


def main():
    for job in json.loads(pathlib.Path(sys.argv[1]).read_text()):
        results = check(**job)
        written = pathlib.Path(job["work"], "results.writing")
        written.write_text(json.dumps(results))
        os.replace(written, written.with_suffix(".json"))


if __name__ == "__main__":
    main()
