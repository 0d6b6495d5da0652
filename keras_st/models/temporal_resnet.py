"""Temporal residual network of frame features: convolutions over time alone (team `offline`, YouTube-8M, 2017)."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.frame_bag import FrameChain, gathered, real_frames
from keras_st.layers.recurrent.base import check_positive


@keras.saving.register_keras_serializable(package="keras_st")
class CentredFrames(ConfigFromArguments, layers.Layer):
    """The real frames in the middle of so many zeros: (B, T, D) -> (B, frames, D).

    L real frames start at floor((frames - L) / 2); of more than `frames` the middle ones stay.

    Args: frames: int. Masking: (B, T); nothing of a masked frame stays.

    Differs: of a longer video the released code keeps the last frames (the data have no video of more than 300).
    """

    def __init__(self, frames=320, **kwargs):
        super().__init__(**kwargs)
        check_positive("frames", frames)
        self.frames = frames
        self.supports_masking = True

    def call(self, inputs, mask=None):
        batch, length = ops.shape(inputs)[:2]
        order, count = real_frames(mask, batch, length)
        index = ops.arange(self.frames, dtype="int32")[None] - (self.frames - count) // 2  # (B, frames)
        real = ops.logical_and(index >= 0, index < count)
        x = gathered(inputs, ops.where(real, index, ops.zeros_like(index)), order)
        return ops.where(real[..., None], x, ops.zeros_like(x))

    def compute_mask(self, inputs, mask=None):
        return None  # zeros are part of what the network sees

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.frames, *input_shape[2:])


@keras.saving.register_keras_serializable(package="keras_st")
class TemporalBlock(ConfigFromArguments, layers.Layer):
    """Residual block of two convolutions over time: (B, T, C) -> (B, T, C).

    Equations: y = x + W_2 * r(BN(W_1 * r(BN(x)))), `*` of width 3, r(.) ReLU; W_1 has `filters` outputs, W_2 C. No
    biases.

    Args: filters: int. momentum: float, of the normalisations' moving statistics.
    """

    def __init__(self, filters, momentum=0.9, **kwargs):
        super().__init__(**kwargs)
        check_positive("filters", filters)
        self.filters, self.momentum = filters, momentum

    def build(self, input_shape):
        channels = input_shape[-1]
        options = {"padding": "same", "use_bias": False, "dtype": self.dtype_policy}
        self.norms, self.convs = [], []
        for n, (reads, gives) in enumerate(((channels, self.filters), (self.filters, channels)), start=1):
            norm = layers.BatchNormalization(momentum=self.momentum, dtype=self.dtype_policy, name=f"norm_{n}")
            conv = layers.Conv1D(gives, 3, kernel_initializer="he_normal", name=f"conv_{n}", **options)
            for layer in (norm, conv):
                layer.build((*input_shape[:-1], reads))
            self.norms.append(norm)
            self.convs.append(conv)

    def call(self, inputs, training=None):
        x = inputs
        for norm, conv in zip(self.norms, self.convs):
            x = conv(ops.relu(norm(x, training=training)))
        return inputs + x

    def compute_output_shape(self, input_shape):
        return input_shape


def TemporalResNet(frames=320, width=1024, stages=3, blocks=3, momentum=0.9, name="temporal_resnet"):
    """Residual network over time alone: frames (B, T, D) and their mask (B, T) to one vector (B, width 2^(stages - 1)).

    Network (320 frames, width 1024; r(.) ReLU; convolutions without bias; "pre" a BN-ReLU before):
        centred            320 x D
        conv1              7, stride 2, 3 zeros on both sides, BN-ReLU          160 x 1024
        pool1, res2_0      max 3, stride 2; pre, conv 1, stride 2                80, 40 x 1024
        res2_1 to res2_3   `TemporalBlock(256)`                                      40 x 1024
        pool2, res3_0      max 3, stride 2; pre, conv 1                              20 x 2048
        res3_1 to res3_3   `TemporalBlock(512)`                                      20 x 2048
        pool3, res4_0      max 3, stride 2; pre, conv 1                              10 x 4096
        res4_1 to res4_3   `TemporalBlock(1024)`                                     10 x 4096
        avgpool            BN-ReLU, mean                                                  4096
    A window of a pool that would be cut stays ("ceil"). With dense layers 4096 and 4716 on top: 155,129,452 parameters,
    155,057,260 of them trained.

    Args:
        frames: int. A multiple of 4 * 2^stages, so that all lengths come out even.
        width: int. Channels of the first stage, doubled from stage to stage; a multiple of 4.
        stages, blocks: int. Stages, and blocks of each.
        momentum: float. Of the normalisations' moving statistics.

    Returns: `keras_st.layers.FrameChain` of these `parts`, not built.

    Raises: ValueError: another number of frames, or channels.

    Reference: F. Li et al., "Temporal Modeling Approaches for Large-scale Youtube-8M Video Understanding", 2017, and
    its code, https://github.com/baidu/Youtube-8M
    """
    for option, value in (("frames", frames), ("width", width), ("stages", stages), ("blocks", blocks)):
        check_positive(option, value)
    if frames % (4 * 2**stages):
        raise ValueError(f"`frames` must be a multiple of {4 * 2**stages}. Received: frames={frames}")
    if width % 4:
        raise ValueError(f"`width` must be a multiple of 4. Received: width={width}")

    def norm(name):
        return [layers.BatchNormalization(momentum=momentum, name=f"{name}_bn"), layers.ReLU(name=f"{name}_relu")]

    def conv(channels, size, strides, name):
        options = {"use_bias": False, "kernel_initializer": "he_normal", "name": name}
        return layers.Conv1D(channels, size, strides, **options)

    parts = [CentredFrames(frames, name="centred"), layers.ZeroPadding1D(3, name="conv1_pad")]
    parts += [conv(width, 7, 2, "conv1"), *norm("conv1")]
    for stage in range(stages):
        channels, first = width * 2**stage, f"res{stage + 2}"
        # even lengths: "same" windows start at frame 0, and the last may be cut
        parts.append(layers.MaxPooling1D(3, 2, "same", name=f"pool{stage + 1}"))
        parts += [*norm(f"{first}_0"), conv(channels, 1, 1 if stage else 2, f"{first}_0")]
        parts += [TemporalBlock(channels // 4, momentum, name=f"{first}_{n}") for n in range(1, blocks + 1)]
    return FrameChain([*parts, *norm("last"), layers.GlobalAveragePooling1D(name="avgpool")], name=name)
