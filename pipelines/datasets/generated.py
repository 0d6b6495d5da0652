"""What generated data sets share: sequence `index` of seed `seed` is the same on every machine and in every order."""

import tensorflow as tf

from keras_st.specs import InputError

BLOCK = 32  # sequences drawn from one random seed; part of the definition of sequence `index`
SPLITS = ("train", "validation", "test")
TEST_SEED = -1  # the test set does not depend on `seed`, and no `seed` leads to it


def check_options(name, split, least):
    """Raises InputError unless `split` is known and every `least[option] = (value, minimum)` holds."""
    if split not in SPLITS:
        raise InputError(f"`split` of {name} must be one of {SPLITS}. Received: split={split!r}")
    for option, (value, minimum) in least.items():
        if value < minimum:
            raise InputError(f"`{option}` of {name} must be at least {minimum}. Received: {option}={value}")


def generated(name, split, draw, num_sequences, num_test_sequences, epoch, seed):
    """Clips drawn in the tf.data graph, nothing stored.

    Args:
        draw: function of a seed pair (int64 (2,)) to a dict of tensors with a leading axis of `BLOCK`.
        num_sequences: in an epoch of training; num_test_sequences: of the validation and of the test split.
        epoch: of training (int or scalar tensor); every epoch has new sequences.
        seed: of the training and validation sequences.

    Returns: `tf.data.Dataset` of those dicts, a sequence each, with `id` string.
    """
    count = num_sequences if split == "train" else num_test_sequences
    first = tf.cast(epoch, tf.int64) * count if split == "train" else tf.constant(0, tf.int64)
    seed = TEST_SEED if split == "test" else 2 * seed + SPLITS.index(split)

    def block(index):
        names = tf.strings.as_string(index * BLOCK + tf.range(BLOCK, dtype=tf.int64))
        clips = draw(tf.stack([tf.cast(seed, tf.int64), index]))
        return {**clips, "id": tf.strings.join([f"{name}/{split}/", names])}

    blocks = tf.data.Dataset.range(first // BLOCK, (first + count - 1) // BLOCK + 1)
    blocks = blocks.map(block, num_parallel_calls=tf.data.AUTOTUNE)
    sequences = blocks.unbatch().skip(first % BLOCK).take(count)
    return sequences.apply(tf.data.experimental.assert_cardinality(count))
