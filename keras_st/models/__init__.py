"""Model skeletons: how parts become a network. No paper's name stands here."""

from keras_st.models.backbones import frame_network
from keras_st.models.c3d import C3D
from keras_st.models.clip_classifier import ClipClassifier, clip_classifier
from keras_st.models.encoder_forecaster import EncoderForecaster, encoder_forecaster
from keras_st.models.forecast_classifier import ForecastClassifier, forecast_classifier
from keras_st.models.frame_mapper import FrameMapper
from keras_st.models.lagrangian_forecaster import LagrangianForecaster
from keras_st.models.p3d_resnet import FrameResNet, P3DResNet
from keras_st.models.temporal_resnet import TemporalResNet
from keras_st.models.track_forecaster import TrackForecaster
from keras_st.models.weights import inflate_resnet
