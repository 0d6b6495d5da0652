"""HDF5 through tensorflow-io: the same videos as h5py gives, from disk and from a bucket; what is refused, and how."""

import h5py
import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import InputError
from pipelines import feature_spec, make_dataset

LENGTHS = (4, 6, 3, 7)


@pytest.fixture
def frames(rng):
    """Colour videos of `LENGTHS` frames, one after another, so that every number of a chunk's edge is met."""
    return rng.integers(0, 256, (sum(LENGTHS), 8, 6, 3), np.uint8)


@pytest.fixture
def folder(frames, tmp_path):
    """`test.h5` of colour videos of several lengths, `train.hdf5` of grey ones of one length, compressed."""
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "test.h5", video=frames, length=np.array(LENGTHS, "int32"), label=np.arange(4, dtype=">i2"))
    with h5py.File(folder / "train.hdf5", "w") as file:
        file.create_dataset("video", data=frames[..., 0].reshape(4, 5, 8, 6), compression="gzip", chunks=(2, 3, 8, 6))
        file["label"] = np.eye(4, 5, dtype="uint8")
    return folder


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def read(root, split="test", **options):
    return list(make_dataset("hdf5", split, root=str(root), **options).as_numpy_iterator())


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_videos_equal_those_of_h5py(folder, upload, place):
    root = upload(folder) if place == "bucket" else folder
    with h5py.File(folder / "test.h5") as file:
        videos, labels = np.split(file["video"][()], np.cumsum(file["length"])[:-1]), file["label"][()]
    clips = read(root)
    assert [clip["id"] for clip in clips] == [f"test.h5/{n}".encode() for n in range(4)]
    for clip, video, label in zip(clips, videos, labels):
        np.testing.assert_array_equal(clip["video"], video)
        assert clip["video"].dtype == np.uint8 and clip["label"] == label and clip["label"].dtype == np.int64
    with h5py.File(folder / "train.hdf5") as file:
        for n, clip in enumerate(read(root, "train", shuffle=False)):
            np.testing.assert_array_equal(clip["video"], file["video"][n][..., None])
            np.testing.assert_array_equal(clip["label"], file["label"][n])
    assert n == 3


def test_shapes_are_known_before_reading(folder):
    grey, colour = (make_dataset("hdf5", split, root=str(folder)) for split in ("train", "test"))
    assert grey.element_spec["video"].shape == (5, 8, 6, 1) and grey.cardinality() == 4
    assert colour.element_spec["video"].shape.as_list() == [None, 8, 6, 3]
    assert feature_spec(colour, "hdf5", root=str(folder)).shape == (None, 8, 6, 3)


def test_training_order_is_a_function_of_seed_and_epoch(folder):
    def order(**options):
        return [clip["id"] for clip in read(folder, "train", **options)]

    assert order(seed=1, epoch=2) == order(seed=1, epoch=2)
    assert len({tuple(order(seed=1, epoch=epoch)) for epoch in range(6)}) > 1
    assert sorted(order(epoch=3)) == order(shuffle=False) == order(shuffle=False, epoch=1)
    parts = [order(seed=1, epoch=2, process=n, processes=3) for n in range(3)]
    assert sorted(sum(parts, [])) == order(shuffle=False) and [len(part) for part in parts] == [2, 1, 1]
    with pytest.raises(InputError, match="process=3"):
        order(process=3, processes=3)


def test_epochs_are_made_inside_the_graph(folder):
    epochs = tf.data.Dataset.range(2).flat_map(lambda e: make_dataset("hdf5", "train", root=str(folder), epoch=e))
    names = [clip["id"] for clip in epochs.as_numpy_iterator()]
    assert names[:4] == [clip["id"] for clip in read(folder, "train", epoch=0)]
    assert names[4:] == [clip["id"] for clip in read(folder, "train", epoch=1)]


def test_a_model_is_trained(rng, tmp_path):
    import train

    for split in ("train", "validation", "test"):
        write(tmp_path / f"{split}.h5", video=rng.integers(0, 256, (4, 7, 16, 16), np.uint8))
    words = ["conv_lstm", "--data.name=hdf5", f"--data.root={tmp_path}", "--task.context_frames=4"]
    words += ["--task.horizon_frames=3", "--training.batch_size=4", "--training.epochs=1", "--model.filters=[4]"]
    train.main([*words, f"--runs={tmp_path / 'runs'}", f"--saved_models={tmp_path / 'served'}"])
    assert len(list(tmp_path.glob("runs/conv_lstm/*/done.json"))) == 1


# tensorflow-io aborts the process on files it cannot open and on five axes: none of these may reach it


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"video": np.zeros((4, 5, 8, 6, 3), "u1")}, r"`array` holds five axes.*Received: uint8 \(4, 5, 8, 6, 3\)"),
        ({"video": np.zeros((4, 8, 6), "u1")}, "Received: uint8"),
        ({"video": np.zeros((4, 5, 8, 6), "f4")}, "Received: float32"),
        ({"video": np.zeros((0, 5, 8, 6), "u1")}, r"Received: uint8 \(0, 5, 8, 6\)"),
        ({"frames": np.zeros((4, 5, 8, 6), "u1")}, "holds `video`"),
        ({"video": h5py.SoftLink("/elsewhere")}, "video leads nowhere"),
        ({"video/inner": np.zeros(4)}, "holds `video`"),
        ({"video": np.zeros((4, 5, 8, 6), "u1"), "length": np.array([2, 3])}, r"in all 4. Received: \[2 3\]"),
        ({"video": np.zeros((4, 5, 8, 6), "u1"), "length": np.array([4, 0])}, r"Received: \[4 0\]"),
        ({"video": np.zeros((4, 5, 8, 6), "u1"), "length": np.array([2.0, 2.0])}, r"Received: \[2. 2.\]"),
        ({"video": np.zeros((4, 5, 8, 6), "u1"), "label": np.zeros(5, int)}, r"each of 4 .* int64 \(5,\)"),
        ({"video": np.zeros((4, 5, 8, 6), "u1"), "label": np.zeros(4)}, r"float64 \(4,\)"),
        ({"video": np.zeros((4, 5, 8, 6), "u1"), "other": np.zeros(4, "f2")}, "cannot be read.*/other: 2"),
    ],
)
def test_other_content_is_refused(tmp_path, arrays, message):
    write(tmp_path / "test.h5", **arrays)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_damaged_and_missing_files_are_named(folder, upload):
    whole = (folder / "test.h5").read_bytes()
    for content in (b"", b"no HDF5" * 100, whole[: len(whole) // 2], whole[:-8], whole[:8] + bytes(400) + whole[408:]):
        (folder / "test.h5").write_bytes(content)
        for root in (folder, upload(folder)):
            with pytest.raises(InputError, match=f"{root}/test.h5 must be a whole HDF5 file"):
                read(root)
    for root in (folder, upload(folder), "s3://no-such-bucket/files"):
        with pytest.raises(InputError, match="must hold validation"):
            read(root, "validation")
    with pytest.raises(InputError, match="root=''"):
        read("")


def test_short_videos_are_named_before_training(folder):
    assert len(read(folder, min_frames=3)) == 4
    with pytest.raises(InputError, match="at least 4 frames. Received: 3"):
        read(folder, min_frames=4)
    with pytest.raises(InputError, match="at least 6 frames. Received: 5"):
        read(folder, "train", min_frames=6)


def test_a_chunk_that_cannot_be_read_is_an_error(folder):
    with h5py.File(folder / "train.hdf5") as file:
        chunk = file["video"].id.get_chunk_info(3)
    content = bytearray((folder / "train.hdf5").read_bytes())
    content[chunk.byte_offset + 2 : chunk.byte_offset + 10] = b"\xff" * 8
    (folder / "train.hdf5").write_bytes(bytes(content))
    with pytest.raises(tf.errors.InvalidArgumentError, match="H5Dread failed"):
        read(folder, "train")
