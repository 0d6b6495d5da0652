"""Videos of array files: what is read, how it is split, what is refused."""

import h5py
import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines.build import feature_spec, make_dataset
from pipelines.datasets import array as module
from pipelines.datasets.array import array, feature

SHAPE = (10, 4, 6, 5, 3)


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays["video"])
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    return str(path)


def read(split="train", **options):
    return list(array(split, **options).as_numpy_iterator())


@pytest.fixture
def videos(rng):
    return rng.integers(0, 256, SHAPE, np.uint8)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".hdf5"])
def test_formats(tmp_path, videos, suffix):
    labels = np.arange(10) % 3
    save(tmp_path / f"test{suffix}", video=videos, label=labels)
    clips = read("test", root=str(tmp_path))
    np.testing.assert_array_equal([clip["video"] for clip in clips], videos)
    assert [clip["id"] for clip in clips] == [f"test{suffix}/{n}".encode() for n in range(10)]
    if suffix == ".npy":
        assert "label" not in clips[0]
    else:
        assert [clip["label"] for clip in clips] == list(labels) and clips[0]["label"].dtype == "int64"


def test_one_file_is_split_by_class(tmp_path, videos):
    labels = np.repeat([0, 1], 5)
    path = save(tmp_path / "all.npz", video=videos, label=labels)
    parts = {split: read(split, root=path, fractions=(0.6, 0.2, 0.2)) for split in module.SPLITS}
    names = [clip["id"] for clips in parts.values() for clip in clips]
    assert len(names) == len(set(names)) == 10
    for clips, count in zip(parts.values(), (3, 1, 1)):
        assert sorted(clip["label"] for clip in clips) == [0] * count + [1] * count
        for clip in clips:
            row = int(clip["id"].split(b"/")[1])
            np.testing.assert_array_equal(clip["video"], videos[row])
            assert clip["label"] == labels[row]


def test_time_first_and_grey(tmp_path, videos):
    """The layout of mnist_test_seq.npy: (T, N, H, W)."""
    path = save(tmp_path / "mnist_test_seq.npy", video=videos[..., 0].swapaxes(0, 1))
    options = {"root": path, "time_first": True, "fractions": (0.0, 0.0, 1.0)}
    clips = read("test", **options)
    np.testing.assert_array_equal([clip["video"] for clip in clips], videos[..., :1])
    assert feature(**options).shape == (4, 6, 5, 1) and feature(**options).value_range == (0.0, 255.0)
    assert array("test", **options).element_spec["video"].shape == (4, 6, 5, 1)
    assert array("test", **options).cardinality() == 10


def test_floats_and_several_labels(tmp_path, rng):
    values = rng.uniform(-2, 2, SHAPE)
    path = save(tmp_path / "train.h5", frames=values, classes=np.eye(10, 4, dtype="uint8"))
    options = {"root": str(tmp_path), "videos": "frames", "labels": "classes", "value_range": (-2.0, 2.0)}
    clips = read(**options, shuffle=False)
    assert clips[0]["video"].dtype == "float32" and clips[3]["label"].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose([clip["video"] for clip in clips], values, rtol=1e-6)
    assert feature(**options).value_range == (-2.0, 2.0) and feature(**options).dtype == "float32"
    assert "label" not in read(**{**options, "labels": ""})[0]
    with pytest.raises(InputError, match=r"value_range=\(0.0, 1.0\). Received: -1.9"):
        array("train", root=path, videos="frames", labels="classes")
    values[0, 0, 0, 0, 0] = np.nan
    save(tmp_path / "train.h5", frames=values)
    with pytest.raises(InputError, match="Received: nan"):
        array("train", **options)


def test_order(tmp_path, videos):
    save(tmp_path / "train.npy", video=videos)
    save(tmp_path / "test.npy", video=videos)

    def order(split="train", **options):
        return [clip["id"] for clip in read(split, root=str(tmp_path), **options)]

    assert order() == order() != order(epoch=1) and order() != order(seed=1)
    assert sorted(order()) == order(shuffle=False) == [b"train.npy/%d" % n for n in range(10)]
    assert order("test") == [b"test.npy/%d" % n for n in range(10)]


@pytest.mark.parametrize(
    "name, arrays, options, word",
    [
        ("train.npz", {"x": np.zeros(3)}, {}, "videos='video'"),
        ("train.npz", {"video": np.zeros((2, 3))}, {}, r"float64 \(2, 3\)"),
        ("train.npz", {"video": np.zeros((0, 3, 4, 4))}, {}, r"\(0, 3, 4, 4\)"),
        ("train.npz", {"video": np.zeros((2, 3, 4, 4), "int32")}, {}, "int32"),
        ("train.npz", {"video": np.zeros((2, 3, 4, 4)), "label": np.zeros(3, int)}, {}, r"int64 \(3,\)"),
        ("train.npz", {"video": np.zeros((2, 3, 4, 4)), "label": np.zeros(2)}, {}, r"float64 \(2,\)"),
        ("train.npz", {"video": np.array([{}])}, {}, "allow_pickle"),
        ("train.h5", {"video/inner": np.zeros(3)}, {}, "a group"),
        ("train.npz", {"video": np.zeros((2, 3, 4, 4))}, {"fractions": (1.0, 1.0, 0.0)}, "1.0, 1.0, 0.0"),
    ],
)
def test_wrong_content(tmp_path, name, arrays, options, word):
    save(tmp_path / name, **arrays)
    with pytest.raises(InputError, match=f"Received: .*{word}"):
        array("train", root=str(tmp_path), **options)


def test_wrong_files(tmp_path, videos):
    for name in ("train.npy", "train.npz", "train.h5"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 cut short")
        with pytest.raises(InputError, match=f"{name} must be a whole file of arrays"):
            array("train", root=str(tmp_path))
        (tmp_path / name).unlink()
    path = save(tmp_path / "few.npy", video=videos[:1])
    with pytest.raises(InputError, match="few.npy must hold videos for test"):
        array("test", root=path)
    for root in ("", str(tmp_path), "nowhere.npz"):
        for function in (array, lambda split, root: feature(root=root)):
            with pytest.raises(InputError, match=f"`root` must be a file, or hold train.*root='{root}'"):
                function("train", root=root)
    with pytest.raises(InputError, match="split='dev'"):
        array("dev", root=path)


def test_only_the_rows_of_a_split_are_read(tmp_path, videos, monkeypatch):
    path = save(tmp_path / "all.npy", video=videos)
    opened = []

    def load(*args, load=np.load, **options):
        opened.append(load(*args, **options))
        return opened[-1]

    monkeypatch.setattr(np, "load", load)
    assert len(read("test", root=path)) == 1 and isinstance(opened[0], np.memmap)


def test_by_name(tmp_path, rng):
    path = save(tmp_path / "all.npy", video=rng.uniform(0, 9, SHAPE))
    options = {"root": path, "value_range": (0.0, 9.0)}
    dataset = make_dataset("array", "train", **options)
    assert dataset.cardinality() == 8 and feature_spec(dataset, "array", **options).value_range == (0.0, 9.0)
