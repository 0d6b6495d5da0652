"""Proof that an export is whole, safe and gives the same numbers wherever it runs.

`check_export` checks one, `check_exports` several at the price of one; `python -m keras_st.serving.check DIR` prints
the results. Nothing of an export runs before its files, signatures and operations are found to be good, and then only
in two child processes: one without Keras, one that runs TensorFlow's C API, as TensorFlow Serving does.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from keras_st.serving.check import files, graph
from keras_st.serving.check.results import Differences, Failed, Result, told
from keras_st.specs import InputError

ROOT = pathlib.Path(__file__).parents[3]  # of the package, for the child that imports it
LONGEST = 3600.0  # seconds that a child process may take for an export: a graph may loop for ever


def check_export(version_dir, full=False):
    """Checks one export.

    Args:
        version_dir: path of a version folder, or of a base folder, of which the newest version is checked.
        full: the whole grid of batch, time and size instead of two points of it.

    Returns: list of `Result(name, ok, detail)`. Checks that depend on one that failed are left out, as are those of
        signatures and files that the export does not have.

    Raises: InputError: no such folder, or no version in it.
    """
    return check_exports([version_dir], full)[version_dir]


def check_exports(dirs, full=False, work=None):
    """`{dir: results}` of several exports, with one child process of each kind; see `check_export`.

    Args: work: folder that keeps, for the n-th of `dirs`, `n/requests.npz`: what the C API was asked and answered, by
        "number/signature/in or out/name"; None: nothing is kept.
    """
    folders = {given: version_folder(given) for given in dirs}
    results, jobs = {}, {}
    with contextlib.nullcontext(work) if work else tempfile.TemporaryDirectory() as aside:
        for number, (given, folder) in enumerate(folders.items()):
            results[given], may_run = _check_files(folder)
            if may_run:
                jobs[given] = pathlib.Path(aside, str(number))
                jobs[given].mkdir()
        told_by_c = _run_child(
            ["-m", "keras_st.serving.check.c_process"],
            {given: {"folder": str(folders[given]), "work": str(work), "full": full} for given, work in jobs.items()},
            "results.json",
        )
        asked = {given: work for given, work in jobs.items() if (work / "requests.npz").is_file()}
        clean = _run_child(
            [str(pathlib.Path(__file__).with_name("clean_process.py"))],
            {given: {"folder": str(folders[given]), "work": str(work)} for given, work in asked.items()},
            "answers.npz",
        )
        for given, work in jobs.items():
            results[given] += _joined(work, told_by_c.get(given), given in asked, clean.get(given))
    return results


def version_folder(given):
    """The version folder that a path means: itself, or the newest in it; raises InputError where there is none."""
    folder = pathlib.Path(given).absolute()
    if not folder.is_dir():
        raise InputError(f"Expected a version folder, or a folder of them. Received: {given}, no such folder")
    versions = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
    if versions and not (folder / "saved_model.pb").exists():
        return max(versions, key=lambda path: int(path.name))
    if not versions and not folder.name.isdigit() and not (folder / "saved_model.pb").exists():
        raise InputError(f"Expected a version folder, or a folder of them. Received: {given}, which holds no version")
    return folder


def _check_files(folder):
    """Results of what needs no process, and whether the export may run."""
    export = None

    def layout():
        nonlocal export
        export, found = files.read(folder)
        return found

    results = [told("layout", layout)]
    if export is None:
        return results, False
    results.append(told("signatures", graph.signatures, export.meta, export.told))
    results.append(told("operations", graph.operations, export.meta))
    may_run = all(result.ok for result in results)
    results.append(told("size", files.size, export))
    return results, may_run


def _run_child(words, jobs, made):
    """Runs jobs in one child process; `{key: None}` of those that left `made`, else how the process ended.

    A process that dies takes only the job it was at with it: another goes on behind that one.
    """
    ended, left = {}, dict(jobs)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    while left:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(list(left.values()), file)
            file.flush()
            try:
                child = subprocess.run(
                    [sys.executable, "-P", *words, file.name],
                    env=environment,
                    stderr=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    timeout=LONGEST * len(left),
                )
                how = _how(child)
            except subprocess.TimeoutExpired as error:
                how = f"the process did not end within {error.timeout:g} seconds"
        for key, job in list(left.items()):
            is_made = pathlib.Path(job["work"], made).is_file()
            ended[key] = None if is_made else how
            del left[key]
            if not is_made:
                break
    return ended


def _how(child):
    if child.returncode < 0:
        return f"the process crashed with signal {-child.returncode}"
    said = child.stderr.decode(errors="replace").strip().splitlines() or [f"ended with code {child.returncode}"]
    return f"the process failed: {said[-1]}"


def _joined(work, died, has_asked, clean_died):
    """What the children found of one export: the clean process, the C loader beside it, the rest."""
    if died is not None:
        return [Result("C loader", False, died)]
    by_c, *rest = (Result(*words) for words in json.loads((work / "results.json").read_text()))
    if not has_asked:
        return [by_c, *rest]
    if clean_died is not None:
        return [Result("clean process", False, clean_died), by_c, *rest]
    return [
        Result("clean process", True, f"loads without Keras, every signature runs: {by_c.detail}"),
        told("C loader", _compared, work, by_c.detail),
        *rest,
    ]


def _compared(work, detail):
    same = Differences()
    with np.load(work / "requests.npz") as asked, np.load(work / "answers.npz") as answers:
        outputs = [key for key in asked.files if key.split("/")[2] == "out"]
        if set(outputs) != set(answers.files):
            raise Failed("the process without Keras gives other outputs")
        for key in outputs:
            _, signature, _, name = key.split("/")
            same.add(f"`{signature}`", {name: asked[key]}, {name: answers[key]})
    return f"{detail}, equal to the clean process; {same}"
