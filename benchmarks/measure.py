"""What the benchmarks share: time, memory, the machine's own rate, fresh processes."""

import json
import pathlib
import subprocess
import sys
import time


def seconds(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def matrix_product():
    """A function that multiplies two 2048 x 2048 matrices on this backend and waits for it: 2 x 2048^3 operations."""
    import keras
    import numpy as np

    a = keras.ops.convert_to_tensor(np.random.default_rng(0).random((2048, 2048), dtype="float32"))
    return lambda: keras.ops.convert_to_numpy(keras.ops.matmul(a, a)[0, 0])


def memory_bytes(field):
    """`VmRSS` (resident now) or `VmHWM` (its peak) of this process."""
    status = pathlib.Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(field + ":"))
    return 1024 * int(line.split()[1])


def start_memory_peak():
    """The peak starts anew from what is resident now, which is returned."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return memory_bytes("VmRSS")


def in_fresh_process(module, *words):
    """The last line that `python -m module *words` prints. Raises RuntimeError with its errors where it fails."""
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr or f"exit code {done.returncode}")
    return done.stdout.splitlines()[-1]


def store(out, module, **content):
    """Writes a new JSON file of what `python -m module` measured, with the command, commit, versions and hardware."""
    from keras_st.cli import environment, quiet_import

    with quiet_import():
        import keras  # noqa: F401
    sys.argv[0] = f"-m {module}"  # as the command is stored
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"environment": environment(), **content}, indent=1) + "\n")
