"""What of an export can be told from its graph: its signatures and its operations."""

import re

import tensorflow as tf

from keras_st.serving.c_loader import INITIALISER, signatures_of
from keras_st.serving.check.operations import WRITING, reason_against
from keras_st.serving.check.results import Failed
from keras_st.serving.signatures import client_features
from keras_st.specs import LENGTH

STATE = "state_"
FRAME = "frame"  # of a stream, in `init_state` and `step`
PREDICT = "tensorflow/serving/predict"  # how TensorFlow Serving wants a signature to be called
OBJECTS = ("user_object", "variable", "bare_concrete_function", "function", "constant")  # none of them runs on loading


def reached(meta, roots=None):
    """What the signatures or `roots` reach: `(nodes of the graph, names of operations, names of functions)`.

    The operations are also those of the functions.
    """
    nodes = {node.name: node for node in meta.graph_def.node}
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    names, called, operations = set(), set(), set()
    to_call, to_visit = [], [] if roots is None else list(roots)
    for signature, served in meta.signature_def.items() if roots is None else ():
        if signature != INITIALISER:
            to_visit += [info.name for info in served.outputs.values()]
    while to_visit:
        name = to_visit.pop().lstrip("^").split(":")[0]
        if name in names:
            continue
        if name not in nodes:
            raise Failed(f"the graph refers to `{name}`, which is not there")
        names.add(name)
        operations.add(nodes[name].op)
        to_visit += nodes[name].input
        to_call += _calls(nodes[name])
    while to_call:
        name = to_call.pop()
        if name in called or name not in functions:
            continue
        called.add(name)
        for node in functions[name].node_def:
            operations.add(node.op)
            to_call += _calls(node)
    return [nodes[name] for name in names], operations - set(functions), called


def initialisers(meta):
    """Names of what TensorFlow runs when it has loaded a graph and restored its variables."""
    served = [one for name, one in meta.signature_def.items() if name == INITIALISER]
    names = [info.name for one in served for info in one.outputs.values()]
    for key in ("saved_model_main_op", "legacy_init_op"):
        names += meta.collection_def[key].node_list.value if key in meta.collection_def else []
    return [name for name in names if name]


def _calls(node):
    """Names of functions that a node may call; an operation may be a function itself."""
    yield node.op
    yield from _named(node.attr)


def _named(attributes):
    """Names of the functions in attributes, and in the attributes of those."""
    for attribute in attributes.values():
        for function in (attribute.func, *attribute.list.func):
            if function.name:
                yield function.name
                yield from _named(function.attr)


def _check_loading(meta):
    """That nothing runs when the export is loaded but the restoring of its variables."""
    if runs := sorted(reached(meta, initialisers(meta))[1] - {"NoOp"}):
        raise Failed(f"`{runs[0]}` is run when the export is loaded")
    restores = reached(meta, [name for name in [meta.saver_def.restore_op_name] if name])[1]
    if writes := sorted(WRITING & restores):
        raise Failed(f"`{writes[0]}` writes files, and is run when the export is loaded")
    for node in meta.object_graph_def.nodes:
        if (kind := node.WhichOneof("kind")) not in OBJECTS:
            raise Failed(f"an object that is a {kind} may run functions when the export is loaded")
        if node.saveable_objects:
            raise Failed("an object that restores itself runs functions when the export is loaded")


def operations(meta):
    """That every operation is one of those allowed; returns what was found."""
    _check_loading(meta)
    _, served, _ = reached(meta)
    saving = reached(meta, [name for name in [meta.saver_def.save_tensor_name] if name])[2]
    library = meta.graph_def.library.function
    functions = {function.signature.name for function in library}
    if taken := sorted(name for name in functions if hasattr(tf.raw_ops, name)):
        raise Failed(f"a function has the name of an operation, `{taken[0]}`")
    for function in library:
        writes = sorted(WRITING & {node.op for node in function.node_def})
        if writes and function.signature.name not in saving:
            raise Failed(f"`{writes[0]}` writes files, in function {function.signature.name}, which is not for saving")
    places = [("the graph", meta.graph_def.node)]
    places += [(f"function {function.signature.name}", function.node_def) for function in library]
    kinds = set()
    for place, nodes in places:
        for node in nodes:
            if node.op in functions:
                continue
            kinds.add(node.op)
            if reason := reason_against(node.op, node.op in served):
                raise Failed(f"`{node.op}` {reason} (node `{node.name}` of {place})")
    return f"{len(kinds)} kinds, all allowed, {len(served)} of them serve"


def signatures(meta, told):
    """That signatures are as the library serves them, and as features.json says; returns what was found."""
    found = signatures_of(meta)
    if "serving_default" not in found:
        raise Failed(f"`serving_default` is not there, only {sorted(found)}")
    for name in found:
        if (method := meta.signature_def[name].method_name) != PREDICT:
            raise Failed(f"`{name}` must be called by {PREDICT}, it is by {method!r}")
    known = {FRAME, LENGTH.name, *(feature.name for feature in (*told["features"], *client_features(told["features"])))}
    for name, signature in found.items():
        for key, tensor in signature.inputs.items():
            _check_name(name, key, known)
            if not tensor.shape or tensor.shape[0] is not None:
                raise Failed(f"`{key}` of `{name}` must have a leading batch axis of any size, it is {tensor.shape}")
        for key, tensor in signature.outputs.items():
            if not key.isidentifier():
                raise Failed(f"outputs must have plain names, `{name}` has {key!r}")
            if tensor.dtype != "float32" and not key.startswith(STATE):
                raise Failed(f"`{key}` of `{name}` must be float32, it is {tensor.dtype}")
            if tensor.shape == () or (tensor.shape and tensor.shape[0] is not None):
                raise Failed(f"`{key}` of `{name}` must have a leading batch axis of any size, it is {tensor.shape}")
    _check_default(found["serving_default"], told)
    if ("init_state" in found) != ("step" in found):
        raise Failed("`init_state` and `step` come together, one is missing")
    if "step" in found:
        _check_stream(found["init_state"], found["step"])
    return ", ".join(f"{name}({', '.join(sorted(found[name].inputs))})" for name in sorted(found))


def _check_name(signature, name, known):
    if not name.isidentifier() or (name not in known and not re.fullmatch(STATE + r"\w+", name)):
        raise Failed(f"`{signature}` takes {name!r}, which features.json does not know")


def _check_default(signature, told):
    features = {feature.name: feature for feature in client_features(told["features"])}
    if set(signature.inputs) != set(features):
        raise Failed(f"`serving_default` takes {sorted(signature.inputs)}, by features.json it is {sorted(features)}")
    for name, feature in features.items():
        tensor = signature.inputs[name]
        dtype = feature.dtype if feature.dtype in ("uint8", "int32") else "float32"
        if tensor.dtype != dtype or not _fits(tensor.shape[1:], feature.shape):
            says = f"{feature.dtype} {feature.shape}"
            raise Failed(f"`{name}` is {tensor.dtype} {tensor.shape[1:]} in the graph, features.json says {says}")
    for key, axis, expected in (
        ("frames", 1, told.get("horizon_frames") or None),
        ("logits", -1, len(told["classes"]) if "classes" in told else None),
    ):
        shape = signature.outputs[key].shape if key in signature.outputs else None
        if shape and expected and (len(shape) < 2 or shape[axis] not in (None, expected)):
            raise Failed(f"`{key}` is {shape} in the graph, features.json says {expected} on axis {axis}")
    for key, output in (("classes", "logits"), ("horizon_frames", "frames")):
        if key in told and output not in signature.outputs:
            raise Failed(f"by the {key} of features.json there is `{output}`, there is {sorted(signature.outputs)}")


def _check_stream(first, step):
    def states(tensors):
        return {name: tensor for name, tensor in tensors.items() if name.startswith(STATE)}

    given, taken, kept = states(first.outputs), states(step.inputs), states(step.outputs)
    if set(first.outputs) != set(given) or not set(given) == set(taken) == set(kept):
        names = [sorted(first.outputs), sorted(taken), sorted(kept)]
        raise Failed(f"`init_state` must give, `step` take and give the same states: {names}")
    for name, tensor in given.items():
        for other in (taken[name], kept[name]):
            if other.dtype != tensor.dtype or not _fits(other.shape, tensor.shape):
                raise Failed(f"`{name}` is {tensor} of `init_state`, {other} of `step`")


def _fits(shape, other):
    """Whether sizes that are known on both sides are the same."""
    if shape is None or other is None:
        return True
    return len(shape) == len(other) and all(None in (a, b) or a == b for a, b in zip(shape, other))
