"""The process without Keras: answers the same requests by TensorFlow's Python loader.

Run as a file, `python -P clean_process.py JOBS`, as nothing of this library may be imported beside it. JOBS is a JSON
list of `{"folder", "work"}`; of every `work/requests.npz` it makes `work/answers.npz`.
"""

import json
import os
import pathlib
import sys


def answer(folder, work):
    """Loads an export and runs every request that was stored for it."""
    import numpy as np
    import tensorflow as tf

    asked = {}
    with np.load(work / "requests.npz") as stored:
        for key in stored.files:
            number, signature, part, name = key.split("/")
            if part == "in":
                asked.setdefault((number, signature), {})[name] = tf.constant(stored[key])
    model, answers = tf.saved_model.load(folder), {}
    for (number, signature), inputs in asked.items():
        for name, x in model.signatures[signature](**inputs).items():
            answers[f"{number}/{signature}/out/{name}"] = x.numpy()
    np.savez(work / "answers.writing.npz", **answers)
    os.replace(work / "answers.writing.npz", work / "answers.npz")


def main():
    sys.modules["keras"] = sys.modules["tf_keras"] = None  # type: ignore[assignment]  # any import of Keras now fails
    for job in json.loads(pathlib.Path(sys.argv[1]).read_text()):
        answer(job["folder"], pathlib.Path(job["work"]))


if __name__ == "__main__":
    main()
