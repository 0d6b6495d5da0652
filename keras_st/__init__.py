"""keras_st: Keras 3 layers, models and systems for data that moves."""

__version__ = "0.1.0"
