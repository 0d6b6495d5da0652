"""Videos that TFDS prepared: a tiny data set written by TFDS itself, read back."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import InputError
from pipelines.datasets.tfds import tfds

datasets = pytest.importorskip("tensorflow_datasets", reason="the extra tfds is not installed")


class TinyClips(datasets.core.GeneratorBasedBuilder):
    """Twelve clips to train on, three to test, frame 0 of each filled with its number."""

    VERSION = datasets.core.Version("1.0.0")

    def _info(self):
        features = {
            "video": datasets.features.Video(shape=(None, 8, 6, 3)),
            "label": datasets.features.ClassLabel(num_classes=2),
            "field": datasets.features.Tensor(shape=(2, 3, 4, 1), dtype=np.float32),
        }
        return datasets.core.DatasetInfo(builder=self, features=datasets.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 12), "test": self._generate_examples(12, 15)}

    def _generate_examples(self, first, last):
        for n in range(first, last):
            video = np.full((2 + n % 3, 8, 6, 3), n, np.uint8)
            yield n, {"video": video, "label": n % 2, "field": np.full((2, 3, 4, 1), n, np.float32)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tfds"))
    TinyClips(data_dir=folder).download_and_prepare()
    return folder


def read(root, split="train", **options):
    return list(tfds(split, builder="tiny_clips", root=root, **options).as_numpy_iterator())


def test_elements(prepared):
    clips = read(prepared, "test")
    assert sorted(int(clip["video"][0, 0, 0, 0]) for clip in clips) == [12, 13, 14]
    for clip in clips:
        n = int(clip["video"][0, 0, 0, 0])
        assert clip["video"].shape == (2 + n % 3, 8, 6, 3) and (clip["video"] == n).all()
        assert clip["video"].dtype == "uint8" and clip["label"] == n % 2 and clip["label"].dtype == "int64"
    names = [clip["id"].decode() for clip in clips]
    assert names == [f"tiny_clips-test.tfrecord-00000-of-00001/{n}" for n in range(3)]
    dataset = tfds("test", builder="tiny_clips", root=prepared)
    assert dataset.element_spec["video"].shape.as_list() == [None, 8, 6, 3] and dataset.cardinality() == 3


def test_parts_and_features(prepared):
    part = {"train": "train[:75%]", "validation": "train[75%:]"}
    names = [{clip["id"] for clip in read(prepared, split, **part)} for split in ("train", "validation")]
    assert [len(found) for found in names] == [9, 3] and not names[0] & names[1]
    clip = read(prepared, video="field", label="none")[0]
    assert clip["video"].dtype == "float32" and clip["video"].shape == (2, 3, 4, 1) and "label" not in clip


def test_order(prepared):
    def order(**options):
        return [clip["id"] for clip in read(prepared, **options)]

    assert order() == order() != order(epoch=1) and order() != order(seed=1)
    assert sorted(order()) == sorted(order(shuffle=False)) and order(shuffle=False) == order(shuffle=False, epoch=1)
    epochs = tf.data.Dataset.range(2).flat_map(
        lambda epoch: tfds("train", builder="tiny_clips", root=prepared, epoch=epoch)
    )
    assert [clip["id"] for clip in epochs.as_numpy_iterator()] == order() + order(epoch=1)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"split": "dev"}, "split='dev'"),
        ({"builder": ""}, "builder=''"),
        ({"root": ""}, "root=''"),
        ({"split": "validation"}, "must hold validation of tiny_clips"),
        ({"builder": "no_clips"}, "must hold train of no_clips"),
        ({"builder": "tiny_clips:2.0.0"}, "must hold train of tiny_clips:2.0.0"),
        ({"root": "nowhere"}, "nowhere must hold"),
        ({"video": "frames"}, "named 'frames'"),
        ({"video": "label"}, "named 'label'"),
        ({"label": "field"}, "'field'"),
    ],
)
def test_what_is_not_there_is_named(prepared, options, word):
    options = {"split": "train", "builder": "tiny_clips", "root": prepared, **options}
    with pytest.raises(InputError, match=f"{word}[^\n]*$") as caught:
        tfds(options.pop("split"), **options)
    assert "Received: " in str(caught.value) and "\n" not in str(caught.value)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"keras_st\[tfds\]"):
        tfds("train", builder="tiny_clips", root="x")
