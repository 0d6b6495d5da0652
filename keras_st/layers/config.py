"""`get_config` written once: what the constructor names is what is saved."""

import inspect

import keras


def constructor_arguments(cls):
    """Names a class's constructors declare, from the class up to (not including) `keras.layers.Layer`."""
    names = {}
    for base in cls.__mro__:
        if base is keras.layers.Layer:
            break
        init = vars(base).get("__init__")
        for name, parameter in inspect.signature(init).parameters.items() if init else ():
            if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                names.setdefault(name, parameter)
    return names


def with_dtype_of(cells, kwargs):
    """`kwargs` of a layer that runs `cells`, with their dtype policy: what runs a cell computes as the cell does.

    Raises ValueError where the cells differ, or where `kwargs` names another policy.
    """
    names = {cell.dtype_policy.name for cell in cells}
    if kwargs.get("dtype") is not None:
        names.add(keras.dtype_policies.get(kwargs["dtype"]).name)
    if len(names) > 1:
        raise ValueError(f"Cells and what runs them need one dtype policy. Received: {sorted(names)}")
    return {**kwargs, "dtype": cells[0].dtype_policy}


class ConfigFromArguments:
    """Mixin: `get_config` saves every declared constructor argument from the attribute of the same name.

    A class that stores an argument under another name fails at once with AttributeError, and the
    conformance tests compare a rebuilt layer with the original, so no argument can be forgotten.
    """

    def get_config(self):
        own = {name: _serialize(getattr(self, name)) for name in constructor_arguments(type(self))}
        return {**super().get_config(), **own}


def _serialize(value):
    if isinstance(value, (list, tuple)):
        return [_serialize(v) for v in value]
    if isinstance(value, dict):
        return {name: _serialize(v) for name, v in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return keras.saving.serialize_keras_object(value)
