"""KTH from shards: which persons are in which split."""

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import make_dataset
from pipelines.records import write_shards


def write(folder, split, *names):
    clips = [{"video": np.full((6, 8, 8, 1), n, np.uint8), "id": name.encode()} for n, name in enumerate(names)]
    write_shards(clips, folder, split)


def test_persons_belong_to_their_split(tmp_path):
    write(tmp_path, "train", "person01_boxing_d1_0", "person16_walking_d2_3")
    write(tmp_path, "test", "person17_boxing_d1_0", "person25_running_d4_3")
    for split in ("train", "test"):
        dataset = make_dataset("kth", split, root=str(tmp_path), min_frames=6)
        assert int(dataset.cardinality()) == 2 and dataset.element_spec["video"].dtype == "uint8"


@pytest.mark.parametrize("split, name", [("train", "person17_boxing"), ("test", "person16_boxing"), ("test", "clip3")])
def test_other_persons_are_refused(tmp_path, split, name):
    write(tmp_path, split, name)
    with pytest.raises(InputError, match=name):
        make_dataset("kth", split, root=str(tmp_path))
    assert int(make_dataset("kth", split, root=str(tmp_path), verify=False).cardinality()) == 1


def test_missing_folder_and_unknown_split():
    with pytest.raises(InputError, match="root=''"):
        make_dataset("kth", "train")
    with pytest.raises(InputError, match="split='dev'"):
        make_dataset("kth", "dev", root="x")
