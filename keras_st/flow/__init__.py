"""Optical flow in the graph: displacements (u, v) in pixels per frame, u to the right, v down."""

from keras_st.flow.extrapolation import Extrapolation, backward_displacements
from keras_st.flow.tvl1 import ACCURATE, TVL1Flow
from keras_st.ops.warp import warp
