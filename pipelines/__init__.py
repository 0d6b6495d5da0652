"""From data on disk, or from a generator, to `tf.data` pipelines of named tensors."""

from pipelines.build import feature_spec, list_datasets, make_dataset
