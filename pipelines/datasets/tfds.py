"""Videos that TensorFlow Datasets has prepared, by its name: ucf101, moving_mnist, robonet ...

Nothing is downloaded: `python -m tensorflow_datasets build ucf101 --data_dir=ROOT` prepares a data set (TFDS names its
source, splits and licence at https://www.tensorflow.org/datasets). Needs the extra `tfds`.
"""

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError
from pipelines.sampling import epoch_key, shuffled

SPLITS = ("train", "validation", "test")
SHUFFLED_AT_ONCE = 256  # neighbours that are shuffled among themselves, as they are stored


def tfds(
    split: str,
    *,
    builder: str = "",
    root: str = "",
    train: str = "train",
    validation: str = "validation",
    test: str = "test",
    video: str = "video",
    label: str = "label",
    epoch: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Videos of a TFDS data set, read from the files in `root`; its code is not needed.

    Args:
        split: "train", "validation" or "test".
        builder: name in TFDS, with configuration and version where there are several (`ucf101/ucf101_1:2.0.0`).
        root: the `data_dir` it was prepared in.
        train: split of TFDS that is trained on, also a part (`train[:90%]`).
        validation: split of TFDS that is the validation split (`train[90%:]` where there is none).
        test: split of TFDS that is the test.
        video: name of the videos among its features (T, H, W, C).
        label: name of their labels, one integer or (K,) each; a data set without this feature has no labels.
        epoch: of training; every epoch has another order.
        seed: of the order.
        shuffle: shuffle the training split: files, then videos within neighbours.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 or float32 (T, H, W, C), `id` string (TFDS' file and number in it),
        and `label` int64 where there is one.

    Raises:
        InputError: an unknown split; without the extra; data that is missing or of another kind. A damaged file raises
            `tf.errors.DataLossError` while reading.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise InputError(
            'TFDS is needed: pip install "keras_st[tfds]". Received: no module tensorflow_datasets'
        ) from error
    if split not in SPLITS:
        raise InputError(f"`split` of tfds must be one of {SPLITS}. Received: split={split!r}")
    if not builder or not root:
        raise InputError(f"`builder` and `root` say what to read. Received: builder={builder!r}, root={root!r}")
    part = {"train": train, "validation": validation, "test": test}[split]
    try:
        source = tensorflow_datasets.core.read_only_builder.builder_from_files(builder, data_dir=root)
        pieces = source.info.splits[part].file_instructions
    except (tensorflow_datasets.core.DatasetNotFoundError, ValueError, KeyError, OSError) as error:
        raise InputError(f"{root} must hold {part} of {builder}. Received: {str(error).splitlines()[0]}") from error
    features = source.info.features
    found = features.get_tensor_info()
    if not _is(found.get(video), {4}, np.uint8, np.floating):
        raise InputError(
            f"{builder} must have videos uint8 or floating (T, H, W, C) named {video!r}. Received: {sorted(found)}"
        )
    if label in found and not _is(found[label], {0, 1}, np.integer):
        raise InputError(f"Labels of {builder} are an integer, or (K,). Received: {label!r}, {found[label]}")
    if source.info.file_format.value != "tfrecord":
        raise InputError(f"{builder} must be stored as tfrecord. Received: {source.info.file_format.value}")
    files = tf.constant([str(piece.filename) for piece in pieces])
    rows = tf.constant([(piece.skip, piece.take) for piece in pieces], tf.int64)
    key = epoch_key(seed, epoch)
    order = tf.range(len(pieces))
    if split == "train" and shuffle:
        order = shuffled(order, key)

    def records(n):
        stem = tf.strings.split(files[n], "/")[-1]
        numbered = tf.data.TFRecordDataset(files[n]).enumerate().skip(rows[n, 0]).take(rows[n, 1])
        return numbered.map(lambda number, record: (tf.strings.join([stem, tf.strings.as_string(number)], "/"), record))

    def shuffled_chunk(n, chunk):
        places = shuffled(tf.range(tf.shape(chunk[0])[0]), key + n * 1_000_003)
        return tf.gather(chunk[0], places), tf.gather(chunk[1], places)

    def element(name, record):
        example = features.deserialize_example(record)
        frames = example[video] if example[video].dtype == tf.uint8 else tf.cast(example[video], tf.float32)
        return {"video": frames, "id": name, **({"label": tf.cast(example[label], tf.int64)} if label in found else {})}

    clips = tf.data.Dataset.from_tensor_slices(order).flat_map(records)
    if split == "train" and shuffle:
        clips = clips.batch(SHUFFLED_AT_ONCE).enumerate(1).map(shuffled_chunk).unbatch()
    count = sum(piece.examples_in_shard if piece.take == -1 else piece.take for piece in pieces)
    return clips.map(element, num_parallel_calls=tf.data.AUTOTUNE).apply(tf.data.experimental.assert_cardinality(count))


def _is(info, ranks, *kinds):
    """Whether a feature is one tensor of one of these ranks and kinds of numbers."""
    if len(getattr(info, "shape", None) or ()) not in ranks or not hasattr(info, "np_dtype"):
        return False
    return any(np.issubdtype(info.np_dtype, kind) for kind in kinds)
