"""Weights from files, and exact transfer from 2-D networks."""

import pathlib

import keras
import numpy as np

from keras_st.layers.p3d import P3DBlock

KERAS_RESNETS = {63: "ResNet50", 131: "ResNet101", 199: "ResNet152"}  # by the layers of the P3D form
TEMPORAL_INITS = ("identity", "zeros", "average", "gaussian")
TEMPORAL = {"temporal", "temporal_2"}  # parts of a unit that a 2-D one lacks
GAUSSIAN_STD = 0.001  # the filler of the authors' network definition


def load_weights(model, weights, depth=None):
    """`model`, with weights as `P3DResNet` says. `depth`: in layers of the P3D form, where 2-D nets can be inflated."""
    if weights is None:
        return model
    weights = str(weights)
    two_d = getattr(keras.applications, KERAS_RESNETS[depth]) if depth in KERAS_RESNETS else None
    if weights == "imagenet":
        if two_d is None:
            raise ValueError(f'Only depths of 50 layers and more have weights="imagenet". Received: {model.name}')
        try:
            source = two_d(include_top=False, weights="imagenet")
        except Exception as error:  # Keras raises no narrower one where it cannot download
            raise ValueError(
                f"The weights could not be downloaded; `weights` may be a file too. Received: {error}"
            ) from error
        return inflate_resnet(model, source)
    path = pathlib.Path(weights)
    if not path.is_file() or path.suffix not in (".h5", ".keras"):
        raise ValueError(f'`weights` must be None, "imagenet" or an existing .h5 or .keras file. Received: {weights}')
    if path.suffix == ".keras":
        source = keras.saving.load_model(path, compile=False, safe_mode=True)
        source = getattr(source, "backbone", source)  # of a whole classifier
        if "conv1_conv" in _by_name(source) or (_is_2d(source) and not _is_2d(model)):
            return inflate_resnet(model, source)
        _copy(source, model, path)
    elif path.name.endswith(".weights.h5"):
        try:
            model.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} does not hold the weights of this network. Received: {reason}") from error
    elif two_d is None:
        raise ValueError(f"Weights of {model.name} are .weights.h5 or .keras files. Received: {weights}")
    else:
        inflate_resnet(model, two_d(include_top="notop" not in path.name, weights=str(path)))
    return model


def _is_2d(model):
    """A ResNet of `keras.applications`, or one of ours whose units have no temporal convolution."""
    return "conv1_conv" in _by_name(model) or (
        "stem_conv" in _by_name(model) and not any(u.kind for u in _units(model))
    )


def _by_name(model):
    return {layer.name: layer for layer in getattr(model, "layers", ())}


def _units(model):
    return [layer for layer in getattr(model, "layers", ()) if isinstance(layer, P3DBlock)]


def _copy(source, target, path):
    """Weights of `source` into `target`, layer by layer; a classifier of other classes on top stays as it is."""
    theirs, form = _by_name(source), _form(target)
    for name, value in _form(source).items():
        if form.get(name, value) != value:
            raise ValueError(f"{path} holds a network of {name}={value!r}. Received: {name}={form[name]!r}")
    for layer in target.layers:
        found = theirs.get(layer.name)
        alike = found is not None and [w.shape for w in found.weights] == [w.shape for w in layer.weights]
        if layer.weights and not alike and layer.name != "logits":
            raise ValueError(f"{path} does not hold the weights of this network. Received: no {layer.name} like ours")
        if layer.weights and alike:
            layer.set_weights(found.get_weights())


def _form(model):
    """What weights mean beside their shapes."""
    units, layers = _units(model), _by_name(model)
    if not units:
        return {}
    return {
        "kinds": "".join(unit.kind or "-" for unit in units),
        "merge": units[0].merge,
        "bn_epsilon": units[0].bn_epsilon,
        "stem_pool": layers["pool1"].pad if "pool1" in layers else None,
    }


def inflate_resnet(p3d, resnet, temporal_init="identity", seed=0):
    """Writes the weights of a 2-D ResNet into a P3D or frame ResNet, in place.

    Kernels get a leading axis of 1. Biases, which P3D's convolutions lack, are folded into the statistics after them:
        moving_mean' = moving_mean - bias
    Temporal convolutions are new. Their normalisation becomes the identity (mean 0, variance 1, gamma
    sqrt(1 + epsilon), beta 0), their kernel t I in the centre, 0 elsewhere, with t such that a s + b t s = s, so that
    every unit gives exactly what the 2-D one gives on each frame:
        A, C "caffe": t = 1            B, C "paper", "torch_port": t = 0
    Equal in inference, or with `freeze_bn`: in training, statistics of the batch replace the identity.

    Args:
        p3d: `P3DResNet` or `FrameResNet` of the same units; for weights of `keras.applications` with
            `stem_pool="keras"` and `bn_epsilon=1.001e-5`. Inputs of other than 3 channels (flow) get the mean of the
            kernels over the colours.
        resnet: `keras.applications` ResNet50, ResNet101 or ResNet152 (not V2), with or without top; or a `FrameResNet`,
            whose stem pool and epsilon `p3d` then shares.
        temporal_init: "identity" (the exact rule above), "zeros" (T gives nothing), "average" (t / 3 in each of the
            three taps: exact only inside a static clip) or "gaussian" (standard deviation 0.001, the authors' filler;
            A then begins as a shortcut, B as 2-D, C as half of it).
        seed: int. Of "gaussian".

    Returns: `p3d`. Its classifier, if any, keeps its weights.

    Raises: ValueError: nets that do not correspond, another stem pool or epsilon, an unknown `temporal_init`.
    """
    if temporal_init not in TEMPORAL_INITS:
        raise ValueError(f"`temporal_init` must be one of {TEMPORAL_INITS}. Received: temporal_init={temporal_init!r}")
    ours, theirs = _by_name(p3d), _by_name(resnet)
    if "stem_conv" not in ours:
        raise ValueError(f"Inflation needs a P3DResNet or a FrameResNet. Received: {p3d.name}")
    if not _is_2d(resnet):
        raise ValueError(
            f"Weights come from a ResNet of keras.applications (not V2) or a FrameResNet. Received: {resnet.name}"
        )
    is_keras = "conv1_conv" in theirs
    stem = tuple(theirs[name] for name in (("conv1_conv", "conv1_bn") if is_keras else ("stem_conv", "stem_bn")))
    pad, epsilon = "keras" if is_keras else theirs["pool1"].pad, stem[1].epsilon
    if ours["pool1"].pad != pad or ours["stem_bn"].epsilon != epsilon:
        raise ValueError(
            f'Nets inflated from {resnet.name} need stem_pool="{pad}" and bn_epsilon={epsilon}. '
            f"Received: stem_pool={ours['pool1'].pad!r}, bn_epsilon={ours['stem_bn'].epsilon}"
        )
    units = _units(p3d)
    sources = _keras_units(theirs) if is_keras else [unit.parts() for unit in _units(resnet)]
    if [unit.parts().keys() - TEMPORAL for unit in units] != [source.keys() - TEMPORAL for source in sources]:
        raise ValueError(
            f"The nets must have the same units. Received: {len(units)} in {p3d.name}, "
            f"{len(sources)} in {resnet.name}, or of another form"
        )
    _inflate((ours["stem_conv"], ours["stem_bn"]), stem)
    rng = np.random.default_rng(seed)
    for unit, source in zip(units, sources):
        for name, conv_bn in unit.parts().items():
            if name in source:
                _inflate(conv_bn, source[name])
            else:
                _start_temporal(unit, conv_bn, temporal_init, rng)
    return p3d


def _keras_units(layers):
    """`{part of P3DBlock: (convolution, normalisation)}` of every unit of a `keras.applications` ResNet."""
    parts = {"1": "reduce", "2": "spatial", "3": "expand", "0": "shortcut"}
    return [
        {
            part: (layers[f"{unit}_{n}_conv"], layers[f"{unit}_{n}_bn"])
            for n, part in parts.items()
            if f"{unit}_{n}_conv" in layers
        }
        for unit in (name.removesuffix("_1_conv") for name in layers if name.endswith("_1_conv"))
    ]


def _inflate(ours, theirs):
    (conv, norm), (conv_2d, norm_2d) = ours, theirs
    kernel, *bias = conv_2d.get_weights()
    kernel = kernel[0] if kernel.ndim == 5 else kernel
    channels = conv.kernel.shape[-2]
    if kernel.shape[2] != channels and kernel.shape[2] == 3:  # flow and the like: what all colours share
        kernel = np.repeat(kernel.mean(axis=2, keepdims=True), channels, axis=2)
    if kernel.shape != tuple(conv.kernel.shape[1:]):
        raise ValueError(
            f"The nets must have the same channels. Received: {conv.name} {tuple(conv.kernel.shape)}, "
            f"{conv_2d.name} {kernel.shape}"
        )
    conv.set_weights([kernel[None]])
    gamma, beta, mean, variance = norm_2d.get_weights()
    norm.set_weights([gamma, beta, mean - bias[0] if bias else mean, variance])


def _start_temporal(unit, conv_bn, temporal_init, rng):
    (a, b), (conv, norm) = unit.coefficients, conv_bn
    kernel = np.zeros(conv.kernel.shape)
    identity = (1 - a) / b * np.eye(unit.filters)  # a + b t = 1
    if temporal_init == "identity":
        kernel[1, 0, 0] = identity
    elif temporal_init == "average":
        kernel[:, 0, 0] = identity / 3
    elif temporal_init == "gaussian":
        kernel = rng.normal(0.0, GAUSSIAN_STD, kernel.shape)
    conv.set_weights([kernel])
    ones = np.ones(unit.filters)
    norm.set_weights([np.sqrt(1 + norm.epsilon) * ones, 0 * ones, 0 * ones, ones])
