"""Other file systems, and HDF5 in the graph, through tensorflow-io: an optional extra (`io`) behind one guard.

TensorFlow itself reads local paths and `gs://`. tensorflow-io 0.37.1, its last release, adds `SCHEMES`; its native
libraries load into TensorFlow 2.16 only, so the extra pins that version and nothing here is imported without need.
Tested against an S3 server; the other schemes are tensorflow-io's, untested here.

`s3://` is configured by the environment, read at the first use: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
S3_ENDPOINT (another server than Amazon's, `http://host:port`), S3_VERIFY_SSL, AWS_EC2_METADATA_DISABLED, and those of
`S3_DEFAULTS`.
"""

import atexit
import ctypes
import functools
import os
import sys
import warnings

import tensorflow as tf

from keras_st.specs import InputError

BUILT_FOR = "2.16"  # TensorFlow's version
SCHEMES = ("s3", "az", "hdfs", "viewfs", "har", "oss", "http", "https")
S3_DEFAULTS = {  # a server that does not answer is an error soon: three attempts, not ten of up to ten minutes
    "AWS_RETRY_MODE": "standard",
    "S3_CONNECT_TIMEOUT_MSEC": "10000",
    "S3_REQUEST_TIMEOUT_MSEC": "60000",
}


def is_remote(path):
    """Whether a path names its file system, as `s3://bucket/folder` does."""
    return "://" in str(path)


def check_local(path):
    """Raises InputError for a path of another file system: shards are made and inspected before they are uploaded."""
    if is_remote(path):
        raise InputError(f"This needs a local folder; shards are uploaded as they are. Received: {path}")


def prepare_path(path):
    """Makes a path readable by `tf.io.gfile` and `tf.data`: loads tensorflow-io where its scheme is one of `SCHEMES`.

    Raises: InputError: an unknown scheme; tensorflow-io is needed, and absent or unable to load.
    """
    scheme = str(path).split("://", 1)[0] if is_remote(path) else ""
    if scheme in SCHEMES:
        for name, value in S3_DEFAULTS.items():
            os.environ.setdefault(name, value)
        require_tensorflow_io()
    elif scheme not in (known := tf.io.gfile.get_registered_schemes()):
        raise InputError.unknown("file system", scheme, {*filter(None, known), *SCHEMES})


@functools.cache
def require_tensorflow_io():
    """The module `tensorflow_io`, its native libraries loaded.

    Raises: InputError: it is not installed, or its libraries do not load into this TensorFlow.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it only warns where a library does not load: looked at below
            import tensorflow_io
            from tensorflow_io.python.ops import core_ops
        dir(core_ops)  # loads the operations, else at the first one that runs
        if not {*SCHEMES} <= {*tf.io.gfile.get_registered_schemes()}:
            raise NotImplementedError("file systems are not loaded")
    except (ImportError, AttributeError, NotImplementedError) as error:
        needs = f'This needs tensorflow-io on TensorFlow {BUILT_FOR}: pip install "keras_st[io]".'
        if getattr(error, "name", None) == "tensorflow_io":
            raise InputError(f"{needs} Received: no module tensorflow_io") from error
        raise InputError(f"{needs} Received: TensorFlow {tf.__version__}, into which it does not load") from error
    if sys.platform == "linux":
        atexit.register(_exit_without_destructors)
    return tensorflow_io


def _exit_without_destructors():
    """After S3 was used, static destructors of the AWS library inside tensorflow-io abort the process (SIGABRT, "pure
    virtual method called", https://github.com/tensorflow/io/issues/2039): a finished run would end as a failed one.

    C runs exit handlers last in, first out, and Python has run its own and flushed its files before C's turn. So a
    handler that Python registers while it shuts down comes before those destructors; `on_exit` hands it the exit
    status, whatever that is, and `_exit` ends the process with it.
    """
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    libc.on_exit(libc._exit, None)
