"""Networks of single frames whose layers other systems read: VGG-16, ResNet, CaffeNet, a small one."""

import pathlib

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments

BACKBONES = ("small", "vgg16", "resnet50", "resnet101", "resnet152", "caffenet")
RELU = {"activation": "relu", "kernel_initializer": "he_normal"}


def frame_network(name, input_shape, taps, weights=None, width=16, trainable=True):
    """A network of frames (B, H, W, C) that returns the outputs of some of its layers.

    Networks and the layers to tap:
        "small"      three 3x3 convolutions, each with a maximum: block1_pool .. block3_pool (1/2 .. 1/8 of the size;
                     channels `width`, 2 and 4 times that), fc (dense, 8 `width`); for small frames and for tests
        "vgg16"      `keras.applications.VGG16`: block1_pool .. block5_pool; of 224x224 frames fc1, fc2 (4096)
        "resnet50", "resnet101", "resnet152"   `keras.applications`: conv2_block3_out .. conv5_block3_out, avg_pool
        "caffenet"   LRCN's (a hybrid of CaffeNet and Zeiler-Fergus, 227x227): conv5, pool5, fc6 (4096)

    Args:
        name: one of the above.
        input_shape: (H, W, C), H and W None where they vary (a dense layer fixes them).
        taps: name of a layer, or several.
        weights: None, "imagenet" (`keras.applications`, three channels; downloaded by Keras) or a file: a run's .keras
            with the same taps; of "small" and "caffenet" a .weights.h5 of the network that is tapped; of VGG16 and
            ResNet an .h5 of `keras.applications`, with its top where fc1 or fc2 are tapped.
        width: int. Channels of "small".
        trainable: bool. False: frozen, in inference mode.

    Returns: functional `keras.Model`, one output or, of several taps, a list.

    Raises: ValueError: an unknown network or tap, weights that do not fit or cannot be had.
    """
    if name not in BACKBONES:
        raise ValueError(f"`name` must be one of {BACKBONES}. Received: name={name!r}")
    taps = (taps,) if isinstance(taps, str) else tuple(taps)
    dense = any(tap.startswith(("fc", "prob")) for tap in taps)
    if dense and None in input_shape:
        raise ValueError(f"Taps {taps} need frames of one size. Received: input_shape={tuple(input_shape)}")
    if name == "caffenet" and any(n is not None and n < 65 for n in input_shape[:2]):
        raise ValueError(f"caffenet needs frames of 65 pixels and more. Received: input_shape={tuple(input_shape)}")
    if name == "small":
        network = _small(input_shape, width, dense)
    elif name == "caffenet":
        network = _caffenet(input_shape, dense)
    else:
        ours = weights if str(weights).endswith(".keras") else None  # of a run
        network = _application(name, input_shape, dense, None if ours else weights)
        weights = ours
    known = [layer.name for layer in network.layers]
    for tap in taps:
        if tap not in known:
            raise ValueError(f"{name} has the layers {', '.join(known[1:])}. Received: tap={tap!r}")
    outputs = [network.get_layer(tap).output for tap in taps]
    model = keras.Model(network.inputs, outputs[0] if len(taps) == 1 else outputs, name=name)
    if weights is not None:
        _load(model, weights)
    model.trainable = trainable
    return model


def _small(shape, width, dense):
    x = inputs = keras.Input(shape)
    for block, times in enumerate((1, 2, 4), start=1):
        x = layers.Conv2D(times * width, 3, padding="same", name=f"block{block}_conv", **RELU)(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"block{block}_pool")(x)
    if dense:
        x = layers.Dense(8 * width, name="fc", **RELU)(layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, x)


@keras.saving.register_keras_serializable(package="keras_st")
class LocalResponseNorm(ConfigFromArguments, layers.Layer):
    """Normalisation over neighbouring channels:  x_c / (1 + alpha / size sum_{|k - c| <= size / 2} x_k^2)^beta.

    Args: size, alpha, beta: Caffe's local_size (odd), alpha and beta.
    """

    def __init__(self, size=5, alpha=1e-4, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        if type(size) is not int or size < 1 or size % 2 == 0:
            raise ValueError(f"`size` must be a positive odd int. Received: size={size!r}")
        self.size, self.alpha, self.beta = size, alpha, beta

    def call(self, inputs):
        half, channels = self.size // 2, inputs.shape[-1]
        squares = ops.pad(ops.square(inputs), [[0, 0]] * (len(inputs.shape) - 1) + [[half, half]])
        total = sum(squares[..., n : n + channels] for n in range(self.size))
        return inputs / ops.power(1.0 + self.alpha / self.size * total, self.beta)

    def compute_output_shape(self, input_shape):
        return input_shape


def _caffenet(shape, dense):
    """Convolutions 7x7/2 96, 5x5/2 384 (2 groups), 3x3 512, 512 (2), 384 (2); maxima 3/2, cut windows kept."""

    def conv(x, number, filters, size, stride=1, groups=1, padding="same"):
        return layers.Conv2D(filters, size, stride, padding, groups=groups, activation="relu", name=f"conv{number}")(x)

    def pool(x, number):
        return layers.MaxPooling2D(3, 2, padding="valid", name=f"pool{number}")(
            layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        )

    x = inputs = keras.Input(shape)
    x = LocalResponseNorm(name="norm1")(pool(conv(x, 1, 96, 7, 2, padding="valid"), 1))
    x = LocalResponseNorm(name="norm2")(pool(conv(x, 2, 384, 5, 2, 2, "valid"), 2))
    x = conv(x, 3, 512, 3)
    x = conv(x, 4, 512, 3, groups=2)
    x = conv(x, 5, 384, 3, groups=2)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    if dense:
        x = layers.Dense(4096, activation="relu", name="fc6")(layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, x)


def _application(name, shape, dense, weights):
    make = getattr(keras.applications, {"vgg16": "VGG16"}.get(name, name.replace("resnet", "ResNet")))
    if weights is not None and weights != "imagenet" and not pathlib.Path(weights).is_file():
        raise ValueError(f'`weights` must be None, "imagenet" or a file. Received: weights={weights}')
    vgg = name == "vgg16"
    try:
        return make(
            include_top=dense and vgg,
            pooling=None if vgg else "avg",
            input_shape=tuple(shape),
            weights=weights and str(weights),
        )
    except (ValueError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name} cannot be made: {reason} Received: shape={shape}, weights={weights}") from error
    except Exception as error:  # Keras raises a bare one where it cannot download
        raise ValueError(
            f"The weights could not be downloaded; `weights` may be a file too. Received: {error}"
        ) from error


def _load(model, weights):
    path = pathlib.Path(weights)
    if not path.is_file() or not path.name.endswith((".weights.h5", ".keras")):
        raise ValueError(
            f"`weights` of {model.name} must be a .weights.h5 or .keras file that exists. Received: {weights}"
        )
    try:
        if path.suffix == ".keras":
            source = keras.saving.load_model(path, compile=False, safe_mode=True)
            source = getattr(source, "backbone", source)
            source = getattr(source, "layer", source)  # of a classifier of clips
            if not isinstance(source, keras.Model):
                raise ValueError("it holds no one backbone of frames")
            model.set_weights(source.get_weights())
        else:
            model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not hold the weights of this network. Received: {reason}") from error
