"""Where work that falls into independent pieces runs: processes of this machine, or a Ray cluster."""

import concurrent.futures
import multiprocessing.connection
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

from keras_st.specs import InputError

ENGINES = ("local", "ray")
IN_FLIGHT = 2  # pieces handed to Ray for every core of the cluster


def run(function: Callable, items: Sequence, engine="local", workers=None, address=None) -> Iterator[tuple]:
    """`(item, function(item))` in the order of finishing.

    Args:
        function: of a module that every worker can import.
        items: arguments that can be pickled.
        engine: "local" or "ray".
        workers: processes at once; None: as many as this process may use cores (Ray: as the cluster has).
        address: of the Ray cluster, host:port ("auto": the one of this machine; Ray's client protocol is not used).

    Raises: InputError: what `function` raised, a worker that died, no Ray or no cluster; other options.
    """
    check(engine, workers, address)
    return on_ray(function, items, workers, address) if engine == "ray" else on_this_machine(function, items, workers)


def check(engine, workers, address):
    """Raises InputError for options that do not go together."""
    if engine not in ENGINES:
        raise InputError.unknown("engine", engine, ENGINES)
    if (address is None) == (engine == "ray"):
        raise InputError(
            f"`address` goes with engine=ray, which needs it. Received: engine={engine}, address={address}"
        )
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1. Received: workers={workers}")


def on_this_machine(function, items, workers):
    """Processes of this machine; the work of one is done here."""
    workers = min(workers or len(os.sched_getaffinity(0)), len(items))
    if workers <= 1:
        for item in items:
            yield item, function(item)
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        waiting = {pool.submit(function, item): item for item in items}
        try:
            for done in concurrent.futures.as_completed(waiting):
                yield waiting[done], done.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                "A worker died (no memory left, or a file that breaks the decoder); what is finished is kept, run the "
                f"same command again. Received: {error}"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent():
    """A worker ends when its parent does, however that is killed, and not by an interrupt of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait():
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def on_ray(function, items, workers, address):
    """Tasks of a Ray cluster, a core each; a task whose node dies runs again elsewhere."""
    try:
        import ray
    except ImportError as error:
        raise InputError('engine=ray needs Ray: pip install "keras_st[cluster]". Received: no module ray') from error
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"There must be a Ray cluster at {address}. Received: {str(error).splitlines()[0]}") from error
    try:
        task = ray.remote(num_cpus=1)(function)
        at_once = workers or IN_FLIGHT * max(1, int(ray.cluster_resources().get("CPU", 1)))
        left, waiting = list(reversed(items)), {}
        while left or waiting:
            while left and len(waiting) < at_once:
                item = left.pop()
                waiting[task.remote(item)] = item
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(done), _result(ray, done)
    finally:
        ray.shutdown()


def _result(ray, done):
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise InputError(f"A Ray task was lost. Received: {str(error).splitlines()[0]}") from error
