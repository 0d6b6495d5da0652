"""Pseudo-3D residual units (Qiu et al., 2017): a spatial and a temporal convolution in place of a 3-D one."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.convolution import FlatConv3D

KINDS = ("A", "B", "C", None)
MERGES = ("caffe", "paper", "torch_port")
# (a, b) in a S + b T: what the two branches weigh
COEFFICIENTS = {"A": (0.0, 1.0), "B": (1.0, 1.0), "C": (0.5, 0.5)}


@keras.saving.register_keras_serializable(package="keras_st")
class P3DBlock(ConfigFromArguments, layers.Layer):
    """One residual unit of P3D ResNet.

    Equations (r: ReLU; S: 1x3x3, T: 3x1x1, W1 and W3: 1x1x1 convolutions without bias, each with batch normalisation):
        u = r(W1 x)
        s = r(S u)
        A:  z = r(T s)
        B:  z = r(s + T u)
        C:  z = r(0.5 s + 0.5 T s)
        y = r(W3 z + x)          or, where channels or stride change,  r(W3 z + W0 x)
    `kind=None`: z = s, the plain 2-D unit on frames. `merge="paper"`: C is r(s + T s). `merge="torch_port"` (weights
    converted from qijiezhao/pseudo-3d-pytorch): B is s + r(T u), C is s + r(T s).
    Basic form (`bottleneck=False`, ours: no reference exists): two pairs S, T in place of W1, S, T, W3; the first as
    above, the second without its ReLUs:
        z = first pair of x;    y = r(second pair of z + x)
    Where the unit changes channels or stride, x does not fit the first pair's T: B then reads T s there.

    Weights: kernels (1, k, k, C, F) and (3, 1, 1, F, F); gamma, beta, moving mean and variance of every normalisation.

    Args:
        filters: int. P, the channels inside; the output has 4 P, of the basic form P.
        kind: "A", "B", "C" or None.
        merge: "caffe" (the authors' network definition), "paper" (its text) or "torch_port".
        bottleneck: bool.
        strides: int. In height and width: of W1, of the basic form of the first S.
        bn_epsilon: float. 1e-5, `keras.applications` has 1.001e-5.
        bn_momentum: float. Of the moving statistics.
        freeze_bn: bool. Normalisations use their moving statistics in training too, and learn nothing.
        kernel_initializer: of all convolutions.

    Call args:
        inputs: (B, T, H, W, C). `training` decides which statistics are used.

    Returns: (B, T, H', W', 4 P), of the basic form P.

    Raises: ValueError: unknown kind or merge; torch_port in a basic unit.

    Reference: Z. Qiu, T. Yao, T. Mei, "Learning Spatio-Temporal Representation with Pseudo-3D Residual Networks",
    ICCV 2017; the network definition in ZhaofanQiu/pseudo-3d-residual-networks.

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import P3DBlock
        >>> tuple(P3DBlock(4, "B", strides=2)(np.ones((1, 4, 8, 6, 3), "float32")).shape)
        (1, 4, 4, 3, 16)
    """

    def __init__(
        self,
        filters,
        kind="A",
        merge="caffe",
        bottleneck=True,
        strides=1,
        bn_epsilon=1e-5,
        bn_momentum=0.9,
        freeze_bn=False,
        kernel_initializer="he_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
        if merge not in MERGES:
            raise ValueError(f"`merge` must be one of {MERGES}. Received: merge={merge!r}")
        if merge == "torch_port" and not bottleneck:
            raise ValueError('merge="torch_port" is for bottlenecks: the port has no other. Received: bottleneck=False')
        self.filters, self.kind, self.merge, self.bottleneck, self.strides = filters, kind, merge, bottleneck, strides
        self.bn_epsilon, self.bn_momentum, self.freeze_bn = bn_epsilon, bn_momentum, freeze_bn
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if bottleneck:
            self.reduce = self._conv_bn("reduce", filters, (1, 1, 1), strides)
            self.spatial = self._conv_bn("spatial", filters, (1, 3, 3))
            self.temporal = self._temporal("temporal")
            self.expand = self._conv_bn("expand", 4 * filters, (1, 1, 1))
        else:
            self.spatial = self._conv_bn("spatial", filters, (1, 3, 3), strides)
            self.temporal = self._temporal("temporal")
            self.spatial_2 = self._conv_bn("spatial_2", filters, (1, 3, 3))
            self.temporal_2 = self._temporal("temporal_2")
        self.shortcut = None

    def _conv_bn(self, name, filters, kernel_size, strides=1):
        conv = FlatConv3D(
            filters,
            kernel_size,
            (1, strides, strides),
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=f"{name}_conv",
        )
        norm = layers.BatchNormalization(
            epsilon=self.bn_epsilon,
            momentum=self.bn_momentum,
            trainable=not self.freeze_bn,
            dtype=self.dtype_policy,
            name=f"{name}_bn",
        )
        return conv, norm

    def _temporal(self, name):
        return self._conv_bn(name, self.filters, (3, 1, 1)) if self.kind else None

    @property
    def coefficients(self):
        """(a, b) of a S + b T; None without a temporal convolution."""
        if self.kind == "C" and self.merge != "caffe":
            return 1.0, 1.0
        return COEFFICIENTS.get(self.kind)

    def parts(self):
        """`{name: (convolution, normalisation)}` of those there are, in order."""
        names = ("reduce", "spatial", "temporal", "expand", "spatial_2", "temporal_2", "shortcut")
        found = ((name, getattr(self, name, None)) for name in names)
        return {name: part for name, part in found if part is not None}

    def build(self, input_shape):
        outputs = self.filters * (4 if self.bottleneck else 1)
        outer, inner = (None, *[None] * 3, input_shape[-1]), (None, *[None] * 3, self.filters)
        if self.bottleneck:
            inputs = [(self.reduce, outer), (self.spatial, inner), (self.temporal, inner), (self.expand, inner)]
        else:
            inputs = [(self.spatial, outer), (self.temporal, inner), (self.spatial_2, inner), (self.temporal_2, inner)]
        if self.strides > 1 or input_shape[-1] != outputs:
            self.shortcut = self._conv_bn("shortcut", outputs, (1, 1, 1), self.strides)
            inputs.append((self.shortcut, outer))
        for conv_bn, shape in inputs:
            if conv_bn is not None:
                conv, norm = conv_bn
                conv.build(shape)
                norm.build((*shape[:-1], conv.filters))

    def call(self, inputs, training=None):
        def apply(conv_bn, x):
            conv, norm = conv_bn
            return norm(conv(x), training=training)

        def merged(spatial, temporal, u, rectify, fits=True):
            s = rectify(apply(spatial, u))
            if temporal is None:
                return s
            t = apply(temporal, u if self.kind == "B" and fits else s)
            if self.merge == "torch_port" and self.kind != "A":
                return s + rectify(t)
            a, b = self.coefficients
            return rectify(b * t if a == 0 else a * s + b * t)

        if self.bottleneck:
            z = merged(self.spatial, self.temporal, ops.relu(apply(self.reduce, inputs)), ops.relu)
            z = apply(self.expand, z)
        else:
            z = merged(self.spatial, self.temporal, inputs, ops.relu, fits=self.shortcut is None)
            z = merged(self.spatial_2, self.temporal_2, z, lambda x: x)
        return ops.relu(z + (inputs if self.shortcut is None else apply(self.shortcut, inputs)))

    def compute_output_shape(self, input_shape):
        batch, length, *size, _ = input_shape
        size = [None if n is None else -(-n // self.strides) for n in size]
        return (batch, length, *size, self.filters * (4 if self.bottleneck else 1))
