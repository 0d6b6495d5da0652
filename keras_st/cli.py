"""What the command lines share: how a user's mistake is told, and how options are typed."""

import contextlib
import difflib
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

from keras_st.specs import InputError


def run(main, argv=None):
    """Runs `main(argv)`; an `InputError` becomes one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        main(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if (told := assertion(error)) is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def assertion(error):
    """What a data set's assertion says of a record that it cannot use, in a line; None of any other error.

    TensorFlow raises it while training, wrapped in the graph's own words: `assertion failed: [told] [Received:] [...]`.
    """
    found = re.search(r"assertion failed: ((?:\[[^\]]*\] ?)+)", str(error))
    if found is None or "[Received:]" not in found.group(1):
        return None
    return " ".join(" ".join(re.findall(r"\[([^\]]*)\]", found.group(1))).split())


@contextlib.contextmanager
def quiet_import():
    """Hides what TensorFlow's C++ side prints while it is first imported (its errors arrive as exceptions)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def parse(parser, argv):
    """`parser.parse_args(argv)` whose errors are `InputError`s that name the nearest known option."""
    known = [option for action in parser._actions for option in action.option_strings]
    for word in argv:
        option = word.split("=", 1)[0]
        if option.startswith("--") and option not in known and not any(k.startswith(option + ".") for k in known):
            near = difflib.get_close_matches(option, known, 1)
            hint = f", did you mean {near[0]}?" if near else f"; `{parser.prog} --help` lists them."
            raise InputError(f"Unknown option{hint} Received: {word}")
    parser.exit_on_error = False
    try:
        return parser.parse_args(argv)
    except Exception as error:  # jsonargparse raises ArgumentError of argparse, with several lines
        if type(error).__name__ != "ArgumentError":
            raise
        raise InputError(str(error)) from error


def with_variable(value):
    """A path under `$KERAS_ST_DATA` written with the variable: recipes and results then fit every machine."""
    data = os.path.abspath(os.environ.get("KERAS_ST_DATA") or os.sep)
    if data == os.sep or not isinstance(value, str) or not os.path.isabs(value):
        return value
    path = os.path.normpath(value)
    inside = path == data or path.startswith(data + os.sep)
    return "$KERAS_ST_DATA" + path[len(data) :] if inside else value


def environment():
    """What a result needs to be repeated: command, commit, versions, hardware."""
    import keras
    import numpy

    def git(*words):
        here = os.path.dirname(os.path.abspath(__file__))
        try:
            done = subprocess.run(["git", "-C", here, *words], capture_output=True, text=True)
        except OSError:  # no git on this machine
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    module = getattr(sys.modules["__main__"], "__spec__", None)
    ours = module is not None and module.name.split(".")[0] in ("benchmarks", "keras_st", "pipelines")
    words = [f"-m {module.name}" if ours else os.path.basename(sys.argv[0])]
    for word in sys.argv[1:]:
        name, equals, value = word.partition("=")
        words.append(name + equals + str(with_variable(value)) if equals else str(with_variable(word)))
    return {
        "command": "python " + " ".join(words),
        "commit": commit and commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else ""),
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "backend_version": __import__(keras.backend.backend()).__version__,
        "numpy": numpy.__version__,
        "hardware": f"{os.cpu_count()} x {_processor()}",
    }


def provenance(path):
    """Where a result comes from: the model's file, its training environment, and this process's."""
    trained = pathlib.Path(path).parent / "environment.json"
    return {
        "model": str(with_variable(str(path))),
        "environment": environment(),
        "training_environment": json.loads(trained.read_text()) if trained.is_file() else None,
    }


def _processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
