"""Heads for many classes that are not exclusive: mixtures of experts, context gating (YouTube-8M)."""

import keras
from keras import initializers, layers, ops, regularizers

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.recurrent.base import check_positive


def fan_in():
    """A normal distribution of deviation 1 / root of the number of inputs."""
    return initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")


def fresh(initializer):
    """The same initializer, drawing anew: without a seed of its own it draws the same values every time."""
    return initializers.deserialize(initializers.serialize(initializer))


@keras.saving.register_keras_serializable(package="keras_st")
class MixtureOfExperts(ConfigFromArguments, layers.Layer):
    """Several logistic experts for every class, and one that always says no: (..., D) -> log-odds (..., classes).

    Equations, of every class, M experts, s the sigmoid:
        g = x G  (M + 1 values)      e = x E + b  (M values)
        p = sum_{m=1..M} softmax(g)_m s(e_m)                       the last gate is the one of the expert that says no
        output = log(p / (1 - p)) = log sum_m exp(g_m) s(e_m) - log(exp(g_{M+1}) + sum_m exp(g_m) s(-e_m))
    The sigmoid of the output is p, exactly and without a probability that rounds to 0 or 1. All weights zero:
    p = M / (2 (M + 1)). M = 1 and a last gate of minus infinity: a logistic classifier.

    Weights in order: gate_kernel (D, classes (M + 1)), expert_kernel (D, classes M), expert_bias. Class by class:
    column k (M + 1) + m is gate m of class k. Parameters D classes (2 M + 1) + classes M.

    Args:
        classes: int.
        experts: int. M.
        kernel_initializer, kernel_regularizer: of both kernels.

    Differs: the starter code returns p.

    Reference: S. Abu-El-Haija et al., "YouTube-8M: A Large-Scale Video Classification Benchmark", 2016, and its
    starter code, https://github.com/google/youtube-8m

    Example:
        >>> import numpy as np
        >>> from keras_st.layers import MixtureOfExperts
        >>> logits = MixtureOfExperts(classes=3, kernel_initializer="zeros")(np.ones((2, 5), "float32"))
        >>> round(float(1 / (1 + np.exp(-np.array(logits)[0, 0]))), 6)
        0.333333
    """

    def __init__(self, classes, experts=2, kernel_initializer="glorot_uniform", kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        check_positive("classes", classes)
        check_positive("experts", experts)
        self.classes, self.experts = classes, experts
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, input_shape):
        size, columns = input_shape[-1], self.classes * self.experts
        self.gate_kernel = self._add_kernel("gate_kernel", (size, columns + self.classes))
        self.expert_kernel = self._add_kernel("expert_kernel", (size, columns))
        self.expert_bias = self.add_weight(shape=(columns,), initializer="zeros", name="expert_bias")

    def _add_kernel(self, name, shape):
        initializer = fresh(self.kernel_initializer)
        return self.add_weight(shape=shape, initializer=initializer, regularizer=self.kernel_regularizer, name=name)

    def call(self, inputs):
        gates = self._of_classes(ops.matmul(inputs, self.gate_kernel), self.experts + 1)
        answers = self._of_classes(ops.matmul(inputs, self.expert_kernel) + self.expert_bias, self.experts)
        gates, never = gates[..., :-1], gates[..., -1:]
        yes = ops.logsumexp(gates + ops.log_sigmoid(answers), axis=-1)
        no = ops.logsumexp(ops.concatenate([never, gates + ops.log_sigmoid(-answers)], axis=-1), axis=-1)
        return yes - no

    def _of_classes(self, x, columns):
        return ops.reshape(x, (*ops.shape(x)[:-1], self.classes, columns))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.classes)


@keras.saving.register_keras_serializable(package="keras_st")
class ContextGating(ConfigFromArguments, layers.Layer):
    """Every feature, or the probability of every class, weighed by all others: (..., D) -> (..., D).

    Equation: y = x . s(BN(x W)), s the sigmoid. With W = 0 and a fresh normalisation y = x / 2.

    Weights in order: kernel (D, D), those of the normalisation. Parameters D^2 + 2 D that are trained.

    Args:
        log_odds: bool. The input is log(p / (1 - p)); p is gated, and the output is the gated p's log-odds.
        momentum: float. Of the normalisation's moving statistics (the released code's is 0.999).

    Call args: inputs; mask: bool, of all axes but the last, what the normalisation's statistics are of.

    Reference: A. Miech et al., "Learnable pooling with Context Gating for video classification", 2017
    """

    def __init__(self, log_odds=False, momentum=0.99, **kwargs):
        super().__init__(**kwargs)
        self.log_odds, self.momentum = log_odds, momentum
        self.norm = layers.BatchNormalization(momentum=momentum, dtype=self.dtype_policy, name="norm")
        self.supports_masking = True

    def build(self, input_shape):
        size = input_shape[-1]
        self.kernel = self.add_weight(shape=(size, size), initializer=fan_in(), name="kernel")
        self.norm.build(tuple(input_shape))

    def call(self, inputs, mask=None, training=None):
        values = ops.sigmoid(inputs) if self.log_odds else inputs
        gates = self.norm(ops.matmul(values, self.kernel), training=training, mask=mask)
        if not self.log_odds:
            return inputs * ops.sigmoid(gates)
        yes = ops.log_sigmoid(inputs)
        no = ops.logaddexp(ops.log_sigmoid(-inputs), yes + ops.log_sigmoid(-gates))
        return yes + ops.log_sigmoid(gates) - no

    def compute_output_shape(self, input_shape):
        return input_shape
