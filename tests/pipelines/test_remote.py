"""The guard before tensorflow-io where that is absent or cannot load; tests/io has what it reads."""

import atexit
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import InputError
from pipelines import make_dataset, records, remote
from tests.conftest import ROOT


@pytest.fixture
def install(monkeypatch):
    """Function that puts in a stand-in for tensorflow-io: None, or a module whose operations are `core_ops`."""

    def installed(core_ops, schemes=()):
        package = {"tensorflow_io": None}
        if core_ops is not None:
            names = ("tensorflow_io", "tensorflow_io.python", "tensorflow_io.python.ops")
            package = {name: types.ModuleType(name) for name in names}
            package[names[-1]].core_ops = core_ops
        for name, module in package.items():
            monkeypatch.setitem(sys.modules, name, module)
        known = [*tf.io.gfile.get_registered_schemes(), *schemes]
        monkeypatch.setattr(tf.io.gfile, "get_registered_schemes", lambda: known)
        monkeypatch.setattr(atexit, "register", lambda *_: None)
        for name, value in remote.S3_DEFAULTS.items():
            monkeypatch.setenv(name, value)  # restored afterwards
            monkeypatch.delenv(name)

    remote.require_tensorflow_io.cache_clear()
    yield installed
    remote.require_tensorflow_io.cache_clear()


class DoNotLoad:
    """The operations of tensorflow-io in another TensorFlow: the libraries are opened at the first use."""

    def __dir__(self):
        raise NotImplementedError("unable to open file: libtensorflow_io.so, from paths: [...]\ncaused by: [...]")


@pytest.mark.parametrize("name, root", [("records", "s3://bucket/shards"), ("hdf5", "s3://bucket/x"), ("hdf5", "x")])
def test_its_absence_names_the_extra(install, name, root):
    install(None)
    message = rf'^{root}: .*TensorFlow 2.16: pip install "keras_st\[io\]"\. Received: no module tensorflow_io$'
    with pytest.raises(InputError, match=message):
        make_dataset(name, "train", root=root)


@pytest.mark.parametrize("core_ops, schemes", [(DoNotLoad(), remote.SCHEMES), (types.ModuleType("core_ops"), ())])
def test_another_tensorflow_is_named(install, monkeypatch, core_ops, schemes):
    install(core_ops, schemes)
    monkeypatch.setattr(tf, "__version__", "2.99.0")
    with pytest.raises(InputError, match="on TensorFlow 2.16: .* Received: TensorFlow 2.99.0, into which it does not"):
        make_dataset("hdf5", "train", root="folder")


def test_where_it_loads_the_users_settings_stay(install, monkeypatch):
    install(types.ModuleType("core_ops"), remote.SCHEMES)
    assert remote.require_tensorflow_io() is sys.modules["tensorflow_io"]
    monkeypatch.setenv("S3_REQUEST_TIMEOUT_MSEC", "5")
    remote.prepare_path("s3://bucket/shards")
    assert {name: os.environ[name] for name in remote.S3_DEFAULTS} == {
        **remote.S3_DEFAULTS,
        "S3_REQUEST_TIMEOUT_MSEC": "5",
    }


def test_what_tensorflow_reads_needs_nothing(install, tmp_path, rng):
    install(None)
    clip = {"video": rng.integers(0, 256, (3, 4, 4, 1), np.uint8), "id": b"clip"}
    records.write_shards([clip], tmp_path, "test")
    for root in (str(tmp_path), f"file://{tmp_path}"):
        assert len(list(make_dataset("records", "test", root=root))) == 1
    remote.prepare_path("gs://bucket/shards")
    with pytest.raises(InputError, match="did you mean 's3'"):
        remote.prepare_path("s3a://bucket/shards")


@pytest.mark.skipif(sys.platform != "linux", reason="on_exit is glibc's")
@pytest.mark.parametrize("guarded, code", [(True, 7), (False, -6)])
def test_a_crash_among_the_exit_handlers_of_c_does_not_change_the_exit_status(guarded, code):
    program = f"""
import atexit, ctypes, sys
from pipelines import remote
libc = ctypes.CDLL(None)
libc.on_exit(libc.abort, None)  # what the destructors of the AWS library do
if {guarded}:
    atexit.register(remote._exit_without_destructors)
sys.stdout.write("all of it")
sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (code, "all of it")


def test_shards_are_written_here(tmp_path):
    from pipelines import preparation, prepare
    from pipelines.listing import Listing, Video
    from pipelines.records import write_shards

    with pytest.raises(InputError, match="local folder.*s3://bucket/x"):
        write_shards([], "s3://bucket/x", "train")
    with pytest.raises(InputError, match="local folder.*s3://bucket/x"):
        prepare.prepare(Listing({"train": [Video("v.mp4", "v")]}), "s3://bucket/x", preparation.Preparation())
