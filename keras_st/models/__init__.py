"""Model skeletons: how parts become a network. No paper's name stands here."""

from keras_st.models.encoder_forecaster import EncoderForecaster, encoder_forecaster
from keras_st.models.forecast_classifier import ForecastClassifier, forecast_classifier
