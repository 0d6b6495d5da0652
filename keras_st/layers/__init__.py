"""Keras layers and cells for data that moves."""

from keras_st.layers.attention import SequenceAttention, TemporalAttention
from keras_st.layers.convolution import FlatConv3D
from keras_st.layers.deformable import DeformableConv2D, OffsetPredictor
from keras_st.layers.frame_bag import (
    DeepBagOfFrames,
    FinalStates,
    FrameAttention,
    FrameChain,
    FrameSample,
    FrameStreams,
    GatedDBoF,
    NetFV,
    NetRVLAD,
    NetVLAD,
    SoftDBoW,
)
from keras_st.layers.frame_wise import FrameWise
from keras_st.layers.mixture import ContextGating, MixtureOfExperts
from keras_st.layers.p3d import P3DBlock
from keras_st.layers.pooling import AttentionPooling, FrameMaxPool, PairMaxPool, ScoreAverage
from keras_st.layers.preprocessing import FlowStack, FramePreprocessing
from keras_st.layers.recurrent.attention_cells import (
    ALSTMCell,
    ConvALSTMCell,
    MotionALSTMCell,
    MotionConvALSTMCell,
)
from keras_st.layers.recurrent.attention_conv_lstm import (
    AttentionConvLSTM2D,
    AttentionConvLSTMCell,
    SelfAttentionConvLSTMCell,
)
from keras_st.layers.recurrent.attention_stack import AttentionStack
from keras_st.layers.recurrent.base import RecurrentConvCell
from keras_st.layers.recurrent.conv_gru import ConvGRU1D, ConvGRU2D, ConvGRU3D, ConvGRUCell
from keras_st.layers.recurrent.conv_lstm import (
    ConvLSTM1D,
    ConvLSTM2D,
    ConvLSTM3D,
    ConvLSTMCell,
    DeformableConvLSTMCell,
    PeepholeLSTMCell,
)
from keras_st.layers.recurrent.e3d_lstm import E3DLSTMCell
from keras_st.layers.recurrent.fast_forward import BidirectionalRNN, FastForwardRNN
from keras_st.layers.recurrent.gru_rcn import GRURCN, LevelScores
from keras_st.layers.recurrent.hierarchical import ChunkedRNN, ClockStack
from keras_st.layers.recurrent.multi_lstm import MultiLSTMCell, OverlapAverage
from keras_st.layers.recurrent.sliding_window import SlidingWindowStack
from keras_st.layers.recurrent.spatial_rnn import SpatialRNN
from keras_st.layers.recurrent.st_lstm import STLSTMCell
from keras_st.layers.recurrent.stack import CellStack, ZigZagStack
from keras_st.layers.temporal import AsMaps, LastPadded, TemporalPool, WindowMax
