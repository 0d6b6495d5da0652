"""Running a served folder by TensorFlow's C API, the same calls that TensorFlow Serving is built on.

`TF_LoadSessionFromSavedModel` and `TF_SessionRun` are called in the shared library of the TensorFlow package. No Python
of TensorFlow takes part, so what runs here runs in any process that has the library alone.
"""

import contextlib
import ctypes
import functools
import pathlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from keras_st.specs import InputError

INITIALISER = "__saved_model_init_op"  # what TensorFlow calls the signature that it runs on loading
INVALID_ARGUMENT, FAILED_PRECONDITION = 3, 9  # codes of TF_Code that this module gives itself
_STRING = tf.string.as_datatype_enum
_STRING_BYTES = 24  # sizeof(TF_TString), tensorflow/core/platform/ctstring_internal.h


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature: `dtype` as NumPy names it, or "string"; `shape` with None where it varies.

    `shape` is None where not even the rank is known.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """What a served function takes and gives, by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class RequestError(InputError):
    """A folder or request that TensorFlow refuses.

    Attributes:
        code: int. TensorFlow's status code (3: invalid argument), the same as of gRPC.
    """

    def __init__(self, message, code=INVALID_ARGUMENT):
        super().__init__(message)
        self.code = code


class ServedModel:
    """A served folder run by TensorFlow's C API, as TensorFlow Serving runs it: no Python of TensorFlow in between.

    Args:
        folder: path of a version folder.

    Attributes:
        signatures: dict of `Signature` by name.

    Raises:
        InputError: the folder cannot be loaded; `code` is TensorFlow's.

    Example:
        with ServedModel("saved_models/conv_lstm/1") as model:
            frames = model.run("serving_default", {"video": np.zeros((1, 4, 16, 16, 1), "uint8")})["frames"]
    """

    def __init__(self, folder):
        self.folder, self._c = pathlib.Path(folder), _library()
        c, self._session = self._c, None
        self._graph = c.TF_NewGraph()
        options, buffer = c.TF_NewSessionOptions(), c.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        try:
            with _status(c, f"{folder} cannot be loaded") as status:
                session = c.TF_LoadSessionFromSavedModel(
                    options, None, bytes(self.folder), tags, 1, self._graph, buffer, status
                )
            self._session = session
            meta = meta_graph_pb2.MetaGraphDef.FromString(
                ctypes.string_at(buffer.contents.data, buffer.contents.length)
            )
            self.signatures = signatures_of(meta)
            self._ends = {name: self._ends_of(meta.signature_def[name]) for name in self.signatures}
        except BaseException:
            self.close()
            raise
        finally:
            c.TF_DeleteBuffer(buffer)
            c.TF_DeleteSessionOptions(options)

    def _ends_of(self, served):
        """Where in the graph the inputs and outputs of a signature are."""
        return [
            {key: self._end(info.name) for key, info in tensors.items()} for tensors in (served.inputs, served.outputs)
        ]

    def _end(self, name):
        operation, _, index = name.partition(":")
        pointer = self._c.TF_GraphOperationByName(self._graph, operation.encode())
        if not pointer:
            raise RequestError(f"{self.folder} must hold the tensors of its signatures. Received: {name!r}, not there")
        return _Output(pointer, int(index or 0))

    def run(self, signature, inputs):
        """Runs a signature once. Threads may call it at the same time.

        Args:
            signature: name.
            inputs: dict of arrays, of the dtype and shape that the signature says; strings are `bytes`, alone, in lists
                or in arrays of objects.

        Returns: dict of arrays; strings are arrays of objects, `bytes`.

        Raises:
            InputError: what TensorFlow Serving refuses too, naming the signature or input; `code` is TensorFlow's.
        """
        if self._session is None:
            raise RequestError(f"{self.folder} must be open. Received: a closed model", FAILED_PRECONDITION)
        if signature not in self.signatures:
            raise RequestError(str(InputError.unknown("signature", signature, self.signatures)))
        arrays = _checked(signature, self.signatures[signature].inputs, inputs)
        c, (sources, sinks) = self._c, self._ends[signature]
        fed = []
        fetched = (ctypes.c_void_p * len(sinks))()
        try:
            for name in sources:
                fed.append(_to_tensor(c, arrays[name], self.signatures[signature].inputs[name].dtype))
            shapes = ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
            with _status(c, f"`{signature}` cannot take {shapes}") as status:
                c.TF_SessionRun(
                    self._session,
                    None,
                    (_Output * len(sources))(*sources.values()),
                    (ctypes.c_void_p * len(fed))(*fed),
                    len(fed),
                    (_Output * len(sinks))(*sinks.values()),
                    fetched,
                    len(sinks),
                    None,
                    0,
                    None,
                    status,
                )
            return {name: _to_array(c, tensor) for name, tensor in zip(sinks, fetched)}
        finally:
            for tensor in fetched:
                if tensor:
                    c.TF_DeleteTensor(tensor)
            for tensor in fed:
                _delete_fed(c, tensor)

    def close(self):
        """Gives the model's memory back. No `run` may be going on."""
        session, self._session = self._session, None
        graph, self._graph = self._graph, None
        if session:
            with _status(self._c, f"{self.folder} cannot be closed") as status:
                self._c.TF_CloseSession(session, status)
                self._c.TF_DeleteSession(session, status)
        if graph:
            self._c.TF_DeleteGraph(graph)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def signatures_of(meta):
    """`{name: Signature}` of a MetaGraphDef; its initialiser is none of them."""
    return {
        name: Signature(
            {key: _tensor(info) for key, info in served.inputs.items()},
            {key: _tensor(info) for key, info in served.outputs.items()},
        )
        for name, served in meta.signature_def.items()
        if name != INITIALISER
    }


def _tensor(info):
    shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return Tensor(tf.dtypes.as_dtype(info.dtype).name, None if info.tensor_shape.unknown_rank else shape)


def _checked(signature, specs, inputs):
    """`inputs` as arrays, by name; raises `RequestError` unless they are what a signature takes."""
    if unknown := sorted(set(inputs) - set(specs)):
        raise RequestError(str(InputError.unknown(f"input of `{signature}`", unknown[0], specs)))
    if missing := sorted(set(specs) - set(inputs)):
        raise RequestError(f"`{signature}` takes {sorted(specs)}. Received: {sorted(inputs)}, without {missing[0]!r}")
    arrays = {}
    for name, spec in specs.items():
        x = _as_array(inputs[name], spec.dtype)
        is_string = x.dtype.kind == "O" and all(isinstance(value, bytes) for value in x.flat)
        received = "string" if is_string else "objects" if x.dtype.kind == "O" else x.dtype.name
        if received != spec.dtype:
            raise RequestError(f"`{name}` of `{signature}` must be {spec.dtype}. Received: dtype={received}")
        if spec.shape is not None and (
            x.ndim != len(spec.shape) or any(size not in (None, n) for n, size in zip(x.shape, spec.shape))
        ):
            raise RequestError(f"`{name}` of `{signature}` must be {spec.shape}. Received: shape={x.shape}")
        arrays[name] = x
    return arrays


def _as_array(x, dtype):
    if dtype == "string" and not isinstance(x, np.ndarray):
        return np.array(x, dtype=object)  # NumPy's own strings of bytes lose zeros at their end
    x = np.asarray(x, order="C")
    return x.astype(object) if x.dtype.kind == "S" else x.astype(x.dtype.newbyteorder("="), copy=False)


# The C API.


class _Output(ctypes.Structure):
    """TF_Output: an output of an operation of the graph."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class _Buffer(ctypes.Structure):
    """TF_Buffer: bytes that TensorFlow owns."""

    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


@functools.cache
def _library():
    """The C API of the installed TensorFlow, with the types of the functions that are used."""
    found = sorted(pathlib.Path(tf.sysconfig.get_lib()).glob("libtensorflow_cc*"))
    if not found:
        raise InputError(
            f"The TensorFlow package must hold libtensorflow_cc. Received: {tf.__version__} without it on this system"
        )
    c = ctypes.CDLL(str(found[0]))
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    buffer, outputs, pointers = ctypes.POINTER(_Buffer), ctypes.POINTER(_Output), ctypes.POINTER(ctypes.c_void_p)
    for name, returned, taken in (
        ("TF_NewStatus", pointer, []),
        ("TF_DeleteStatus", None, [pointer]),
        ("TF_GetCode", number, [pointer]),
        ("TF_Message", text, [pointer]),
        ("TF_NewGraph", pointer, []),
        ("TF_DeleteGraph", None, [pointer]),
        ("TF_GraphOperationByName", pointer, [pointer, text]),
        ("TF_NewSessionOptions", pointer, []),
        ("TF_DeleteSessionOptions", None, [pointer]),
        ("TF_NewBuffer", buffer, []),
        ("TF_DeleteBuffer", None, [buffer]),
        (
            "TF_LoadSessionFromSavedModel",
            pointer,
            [pointer, pointer, text, ctypes.POINTER(text), number, pointer, buffer, pointer],
        ),
        (
            "TF_SessionRun",
            None,
            [pointer, pointer, outputs, pointers, number, outputs, pointers, number, pointers, number]
            + [pointer, pointer],
        ),
        ("TF_CloseSession", None, [pointer, pointer]),
        ("TF_DeleteSession", None, [pointer, pointer]),
        ("TF_AllocateTensor", pointer, [number, ctypes.POINTER(ctypes.c_int64), number, size]),
        ("TF_DeleteTensor", None, [pointer]),
        ("TF_TensorType", number, [pointer]),
        ("TF_NumDims", number, [pointer]),
        ("TF_Dim", ctypes.c_int64, [pointer, number]),
        ("TF_TensorByteSize", size, [pointer]),
        ("TF_TensorData", pointer, [pointer]),
        ("TF_StringInit", None, [pointer]),
        ("TF_StringCopy", None, [pointer, text, size]),
        ("TF_StringDealloc", None, [pointer]),
        ("TF_StringGetDataPointer", pointer, [pointer]),
        ("TF_StringGetSize", size, [pointer]),
    ):
        function = getattr(c, name)
        function.restype, function.argtypes = returned, taken
    return c


@contextlib.contextmanager
def _status(c, expected):
    """A TF_Status; what it says after the block is raised as `RequestError`, its first line behind `expected`."""
    status = c.TF_NewStatus()
    try:
        yield status
        if code := c.TF_GetCode(status):
            said = c.TF_Message(status).decode(errors="replace").strip().splitlines()
            raise RequestError(f"{expected}. Received: {said[0] if said else f'code {code}'}", code)
    finally:
        c.TF_DeleteStatus(status)


def _to_tensor(c, x, dtype):
    """A new TF_Tensor with a copy of an array."""
    if dtype != "string":
        tensor = _allocate(c, tf.dtypes.as_dtype(dtype).as_datatype_enum, x.shape, x.nbytes)
        ctypes.memmove(c.TF_TensorData(tensor), x.ctypes.data, x.nbytes)
        return tensor
    tensor = _allocate(c, _STRING, x.shape, x.size * _STRING_BYTES)
    for place, value in zip(_places(c, tensor), x.flat):
        c.TF_StringInit(place)
        c.TF_StringCopy(place, value, len(value))
    return tensor


def _allocate(c, dtype, shape, size):
    return c.TF_AllocateTensor(dtype, (ctypes.c_int64 * len(shape))(*shape), len(shape), size)


def _places(c, tensor):
    """Addresses of the strings of a tensor."""
    start = c.TF_TensorData(tensor) or 0
    return range(start, start + c.TF_TensorByteSize(tensor), _STRING_BYTES)


def _delete_fed(c, tensor):
    if c.TF_TensorType(tensor) == _STRING:  # the strings of a tensor from TF_AllocateTensor are its maker's to free
        for place in _places(c, tensor):
            c.TF_StringDealloc(place)
    c.TF_DeleteTensor(tensor)


def _to_array(c, tensor):
    shape = tuple(c.TF_Dim(tensor, n) for n in range(c.TF_NumDims(tensor)))
    if c.TF_TensorType(tensor) == _STRING:
        x = np.empty(shape, object)
        for n, place in enumerate(_places(c, tensor)):
            x.flat[n] = ctypes.string_at(c.TF_StringGetDataPointer(place), c.TF_StringGetSize(place))
        return x
    x = np.empty(shape, tf.dtypes.as_dtype(c.TF_TensorType(tensor)).as_numpy_dtype)
    ctypes.memmove(x.ctypes.data, c.TF_TensorData(tensor), x.nbytes)
    return x
