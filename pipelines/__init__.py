"""From data on disk, or from a generator, to `tf.data` pipelines of named tensors."""

from keras_st import cli

with cli.quiet_import():  # this comes before any of its commands can ask for quiet
    import tensorflow as tf

    tf.config.list_physical_devices()

from pipelines.build import feature_spec, list_datasets, make_dataset
