"""The copy task: A, B, A."""

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import make_dataset


def videos(split="train", **options):
    return np.stack([clip["video"] for clip in make_dataset("copy_task", split, **options).as_numpy_iterator()])


def test_the_first_clip_comes_again_after_another():
    dataset = make_dataset("copy_task", "train", num_sequences=35, num_frames=12)
    assert int(dataset.cardinality()) == 35 and dataset.element_spec["video"].shape == (12, 16, 16, 1)
    clips = videos(num_sequences=35, num_frames=12)
    np.testing.assert_array_equal(clips[:, :4], clips[:, 8:])
    assert all((clip[:4] != clip[4:8]).any() for clip in clips)
    firsts = {clip[:8].tobytes() for clip in clips}
    assert len(firsts) == 35
    assert not firsts & {clip[:8].tobytes() for clip in videos(num_sequences=35, num_frames=12, epoch=1)}


def test_the_context_is_the_first_two_clips():
    make_dataset("copy_task", "train", num_frames=6, context_frames=4)
    with pytest.raises(InputError, match="context_frames=3"):
        make_dataset("copy_task", "train", num_frames=6, context_frames=3)


@pytest.mark.parametrize("frames", [0, 2, 10])
def test_frames_are_thirds(frames):
    with pytest.raises(InputError, match=f"num_frames={frames}"):
        make_dataset("copy_task", "train", num_frames=frames)
