"""The copy task: reproduce a first clip after an unrelated second one. What recall is for."""

import tensorflow as tf

from keras_st.specs import InputError
from pipelines.datasets.moving_mnist import moving_mnist


def copy_task(
    split: str,
    *,
    root: str | None = None,
    frame_size: int = 16,
    num_digits: int = 1,
    num_frames: int = 12,
    context_frames: int | None = None,
    num_sequences: int = 1000,
    num_test_sequences: int = 500,
    epoch: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Clips A, B, A of moving digits, a third of the frames each: two thirds are context, the last is forecast.

    Args:
        split: "train", "validation" or "test".
        root, frame_size, num_digits: see `moving_mnist`.
        num_frames: of A, B and A together, a multiple of 3.
        context_frames: frames that a model sees; must be those of A and B. None: not checked.
        num_sequences: training sequences in an epoch.
        num_test_sequences: sequences of the validation and of the test split.
        epoch, seed: see `moving_mnist`.

    Returns:
        `tf.data.Dataset` of dicts: `video` uint8 (num_frames, frame_size, frame_size, 1), `id` string.

    Raises:
        InputError: `num_frames` that is no multiple of 3, a context other than two thirds of it; what `moving_mnist`
            refuses.

    Differs: the paper's data and table could not be recovered; the task is built from its description.
    """
    if num_frames < 3 or num_frames % 3 or context_frames not in (None, 2 * num_frames // 3):
        raise InputError(
            "Clips of copy_task are thirds of `num_frames`, so a context is twice its horizon. "
            f"Received: num_frames={num_frames}, context_frames={context_frames}"
        )
    clips = moving_mnist(
        split,
        root=root,
        frame_size=frame_size,
        num_digits=num_digits,
        num_frames=num_frames // 3,
        num_sequences=2 * num_sequences,
        num_test_sequences=2 * num_test_sequences,
        epoch=epoch,
        seed=seed,
    )

    def a_b_a(pair):
        first, second = pair["video"][0], pair["video"][1]
        return {"video": tf.concat([first, second, first], axis=0), "id": pair["id"][0]}

    return clips.batch(2, drop_remainder=True).map(a_b_a, num_parallel_calls=tf.data.AUTOTUNE)
