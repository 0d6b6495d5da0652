"""UT-Interaction: names, split, labels; on a tiny tree of the same shape and on the real one where it is."""

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import make_dataset
from pipelines.datasets.ut_interaction import CLASSES, SEQUENCES, list_videos
from tests.conftest import DATA, ramp, write_video


def test_split_by_sequence_labels_by_name(ut_tree):
    found = {}
    for split in SEQUENCES:
        dataset = make_dataset("ut_interaction", split, root=str(ut_tree), frame_size=(8, 12), shuffle=False)
        found[split] = [(e["id"].decode(), int(e["label"]), e["video"].shape) for e in dataset.as_numpy_iterator()]
    assert found["train"] == [
        ("set1/0_1_4.avi", 4, (7, 8, 12, 3)),
        ("set1/10_2_1.avi", 1, (9, 8, 12, 3)),
        ("set2/1_11_2.avi", 2, (8, 8, 12, 3)),
    ]
    assert [f[:2] for f in found["validation"]] == [("set1/49_9_5.avi", 5)]
    assert [f[:2] for f in found["test"]] == [("set1/56_10_3.avi", 3), ("set2/42_18_2.avi", 2), ("set2/43_18_4.avi", 4)]


def test_options(ut_tree):
    def read(**options):
        dataset = make_dataset("ut_interaction", "train", root=str(ut_tree), **{"frame_size": (8, 12), **options})
        return [e["video"] for e in dataset.as_numpy_iterator()]

    every, third = read(shuffle=False), read(shuffle=False, frame_step=3)
    np.testing.assert_array_equal(third[0], every[0][::3])
    orders = [[len(v) for v in read(epoch=n)] for n in range(6)]
    assert len({tuple(order) for order in orders}) > 1


@pytest.mark.parametrize(
    "options, word",
    [({"root": "nowhere"}, "nowhere"), ({"frame_size": (0, 4)}, "frame_size"), ({"frame_step": 0}, "frame_step")],
)
def test_bad_options_are_named(ut_tree, options, word):
    with pytest.raises(InputError, match=f"Received: .*{word}"):
        make_dataset("ut_interaction", "train", **{"root": str(ut_tree), **options})
    with pytest.raises(InputError, match="split='val'"):
        make_dataset("ut_interaction", "val", root=str(ut_tree))


def test_names_and_files_that_do_not_fit_are_named(tmp_path):
    write_video(tmp_path / "set1" / "3_1_2.avi", ramp(3))
    with pytest.raises(InputError, match="sequences.*test"):
        make_dataset("ut_interaction", "test", root=str(tmp_path))
    (tmp_path / "set1" / "4_1_1.avi").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="4_1_1.avi"):
        make_dataset("ut_interaction", "train", root=str(tmp_path))
    (tmp_path / "set1" / "handshake.avi").write_bytes(b"")
    with pytest.raises(InputError, match="Received: handshake.avi"):
        list_videos(tmp_path)


@pytest.mark.data
def test_the_real_split():
    folder = DATA / "ut_interaction"
    if not folder.is_dir():
        pytest.skip(f"no UT-Interaction under KERAS_ST_DATA ({DATA})")
    files = list_videos(folder)
    counts = {split: sum(sequence in SEQUENCES[split] for _, sequence, _ in files) for split in SEQUENCES}
    assert counts == {"train": 53, "validation": 12, "test": 24} and len(files) == 89
    assert {label for _, _, label in files} == set(range(len(CLASSES)))
    (video, *_) = make_dataset("ut_interaction", "validation", root=str(folder)).as_numpy_iterator()
    assert video["video"].shape[1:] == (64, 64, 3) and 52 <= len(video["video"]) <= 183
