"""What of an export can be told from its files: that they are whole, and that weights are stored once."""

import hashlib
import json
import pathlib
import re
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import yaml
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from keras_st.serving.check.graph import reached
from keras_st.serving.check.results import Failed
from keras_st.serving.companions import sums
from keras_st.serving.warmup import WARMUP
from keras_st.specs import FeatureSpec

PROTOBUF_LIMIT = 2**31
LARGEST_CONSTANT = 2**20  # bytes of a node; weights belong into variables
SLACK = 0.1  # share of the weights' bytes that the files may hold beyond them
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
EXTRA = "assets.extra/"
DISTINCT = 1000  # values that two arrays must share, most of them different, to be called copies


@dataclass
class Export:
    """An export as its files say; `read` fills it while it checks.

    Attributes:
        folder: version folder.
        told: what `assets.extra/features.json` says.
        meta: the MetaGraphDef.
        tensors: bytes of every numeric tensor of the checkpoint, by key.
    """

    folder: pathlib.Path
    told: dict
    meta: meta_graph_pb2.MetaGraphDef
    tensors: dict[str, int]
    copies: list[tuple[str, str]]
    text_bytes: int


def read(folder):
    """Reads every file of a version folder: `(Export, what was found)`; raises `Failed` where one is not whole."""
    folder = pathlib.Path(folder)
    if not folder.name.isdigit():
        raise Failed(f"the version folder must be an integer, it is {folder.name!r}")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise Failed(f"{path.relative_to(folder)} is a link: a server sees this folder alone")
        if path.name.startswith(".writing-"):
            raise Failed(f"{path.relative_to(folder)} is left of an export that was not finished")
    export = Export(folder, read_told(folder), read_graph(folder / "saved_model.pb"), {}, [], 0)
    shards = _read_variables(export)
    _read_companions(folder, export.told)
    _compare_sums(folder, export.told["files"])
    files = len([name for name in export.told["files"] if not name.startswith(EXTRA)])
    found = f"version {folder.name}, {len(export.tensors)} tensors in {shards} shard(s)"
    return export, f"{found}, {files} files of the model as written"


def _compare_sums(folder, files):
    """That all files are there, those of the model as they were written, and no others with them.

    What is in `assets.extra` may be edited, a server's warm-up say, and has checks of its own.
    """
    found = sums(folder)
    for name, digest in files.items():
        if name not in found:
            raise Failed(f"{name}, which features.json lists, is not there")
        if found[name] != digest and not name.startswith(EXTRA):
            raise Failed(f"{name} is not what was written with features.json: its SHA-256 differs")
    if more := sorted(name for name in set(found) - set(files) if not name.startswith(EXTRA)):
        raise Failed(f"{more[0]} is not among the files of features.json")


def _read_companions(folder, told):
    """That what stands beside a model is whole and fits it, where it is there."""
    labels = folder / "assets" / "labels.txt"
    if "classes" in told and labels.is_file() and _lines(labels) != told["classes"]:
        raise Failed("labels.txt does not name the classes of features.json")
    recipe = folder / "assets.extra" / "recipe.yaml"
    if recipe.is_file():
        try:
            is_recipe = isinstance(yaml.safe_load(recipe.read_text()), dict)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
            is_recipe = False
        if not is_recipe:
            raise Failed("recipe.yaml cannot be read")
    warmup = folder / "assets.extra" / WARMUP
    if warmup.is_file():
        try:
            for _ in tf.data.TFRecordDataset([str(warmup)]):
                pass  # its checksums are compared
        except tf.errors.OpError as error:
            raise Failed(f"{WARMUP} cannot be read: {str(error).splitlines()[0]}") from error


def _lines(path):
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return None


def read_told(folder):
    """What `assets.extra/features.json` says: dict, its `features` as `FeatureSpec`s."""
    path = pathlib.Path(folder, "assets.extra", "features.json")
    try:
        told = json.loads(path.read_text())
        features = [FeatureSpec(**{**feature, "shape": tuple(feature["shape"])}) for feature in told["features"]]
        files, _ = told.get("files"), list(told.get("classes", ()))
        example = [n for shape in told.get("example", {}).values() for n in shape]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Failed(f"assets.extra/features.json cannot be read: {type(error).__name__} {error}") from error
    if not isinstance(files, dict):
        raise Failed("assets.extra/features.json must list the files with their SHA-256 (older exports: export again)")
    if not features or not {"horizon_frames", "classes"} & set(told):
        raise Failed("assets.extra/features.json must tell the features, and the horizon or the classes")
    if not all(isinstance(n, int) and n > 0 for n in example):
        raise Failed(f"the example of features.json must be shapes, it is {told['example']}")
    return {**told, "features": features}


def read_graph(path):
    """The MetaGraphDef of a saved_model.pb; raises `Failed` where there is none, or another beside it."""
    if others := sorted(other.name for other in path.parent.glob("saved_model.*") if other.name != path.name):
        raise Failed(f"a model is in saved_model.pb alone, there is {others[0]} as well")
    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise Failed(f"saved_model.pb cannot be read: {type(error).__name__}") from error
    graphs = [meta for meta in saved.meta_graphs if "serve" in meta.meta_info_def.tags]
    if len(saved.meta_graphs) != 1 or not graphs:
        raise Failed(f"saved_model.pb must hold one graph, tagged 'serve', it holds {len(saved.meta_graphs)}")
    return graphs[0]


def _read_variables(export):
    """Reads every tensor of the checkpoint, whose checksums TensorFlow compares; returns the number of shards."""
    prefix = export.folder / "variables" / "variables"
    if not prefix.with_name("variables.index").is_file():
        raise Failed("variables/variables.index is not there")
    shards = sorted(path.name for path in prefix.parent.iterdir() if ".data-" in path.name)
    counts = {re.sub(r".*-of-", "", name) for name in shards}
    expected = [f"variables.data-{n:05d}-of-{int(c):05d}" for c in counts if c.isdigit() for n in range(int(c))]
    if len(counts) != 1 or shards != expected:
        raise Failed(f"the shards of the variables must be all there, and no others: {shards}")
    seen: dict[tuple, str] = {}
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        for name in sorted(reader.get_variable_to_shape_map()):
            x = np.asarray(reader.get_tensor(name))
            if name == OBJECT_GRAPH or x.dtype.kind in "OS":
                export.text_bytes += len(x[()]) if x.ndim == 0 else 0
                continue
            export.tensors[name] = x.nbytes
            if x.size >= DISTINCT and len(np.unique(x)) > x.size // 2:
                first = seen.setdefault((x.shape, x.dtype, hashlib.blake2b(x.tobytes()).digest()), name)
                export.copies += [(first, name)] if first != name else []
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise Failed(f"the variables cannot be read: {str(error).splitlines()[0]}") from error
    return len(shards)


def size(export):
    """That weights are stored once, as variables, and that the graph fits protobuf; returns what was found."""
    graph_bytes = (export.folder / "saved_model.pb").stat().st_size
    if graph_bytes >= PROTOBUF_LIMIT:
        raise Failed(f"saved_model.pb must be below {PROTOBUF_LIMIT} bytes, it has {graph_bytes}")
    graph = export.meta.graph_def
    for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
        if node.ByteSize() > LARGEST_CONSTANT:
            raise Failed(f"`{node.name}` ({node.op}) holds {node.ByteSize()} bytes in the graph; weights are variables")
    if export.copies:
        raise Failed("two tensors hold the same weights: {} and {}".format(*export.copies[0]))
    reads = [node for node in reached(export.meta)[0] if node.op == "VarHandleOp"]
    read = sum(_bytes_of(node) for node in reads)
    stored = sum(export.tensors.values())
    on_disk = sum(path.stat().st_size for path in (export.folder / "variables").glob("*.data-*")) - export.text_bytes
    slack = SLACK * read + 1024  # small models: the names' and tables' own bytes
    if stored > read + slack:
        raise Failed(f"{stored} bytes of weights are stored, the signatures read {read}: weights must be stored once")
    if on_disk > stored + slack:
        raise Failed(f"the shards hold {on_disk} bytes for {stored} bytes of weights")
    total = sum(path.stat().st_size for path in export.folder.rglob("*") if path.is_file())
    return f"{total} bytes, of them {graph_bytes} graph and {stored} weights, stored once"


def _bytes_of(handle):
    shape = tf.TensorShape(handle.attr["shape"].shape)
    return shape.num_elements() * tf.dtypes.as_dtype(handle.attr["dtype"].type).size
