"""Shared by all tests: quiet TensorFlow, real data where it is, one tiny trained run."""

import gc
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # train.py and evaluate.py

import numpy as np
import pytest

DATA = pathlib.Path(os.environ.setdefault("KERAS_ST_DATA", str(ROOT.parent / "shared" / "data")))

TINY = [
    "--data.frame_size=16",
    "--data.num_sequences=8",
    "--data.num_test_sequences=8",
    "--task.context_frames=4",
    "--task.horizon_frames=3",
    "--training.batch_size=4",
    "--training.epochs=1",
    "--model.filters=[4]",
]


def pytest_addoption(parser):
    parser.addoption("--full-grid", action="store_true", help="exports are checked over the whole grid of sizes")


@pytest.fixture(scope="module", autouse=True)
def collected():
    """What a module leaves behind is collected once and then left out of every later collection.

    Graphs are millions of small objects, of which backends keep many: going through them again and again doubles the
    time of a long run.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def mnist_folder():
    """Folder with the MNIST idx files; the test is skipped where they are not."""
    if not (DATA / "mnist" / "t10k-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"no MNIST under KERAS_ST_DATA ({DATA})")
    return DATA / "mnist"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """`(run folder, served folder)` of a tiny conv_lstm trained once by train.py."""
    import train

    folder = tmp_path_factory.mktemp("tiny")
    train.main([*TINY, f"--runs={folder / 'runs'}", f"--saved_models={folder / 'served'}"])
    (run,) = (folder / "runs" / "conv_lstm").iterdir()
    return run, folder / "served" / "conv_lstm" / "1"


def write_video(path, frames, fps=10):
    """Frames uint8 (T, H, W, 3) as an AVI of MPEG-4."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = *frames.shape[1:3], "yuv420p", 2_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def ramp(length=7, height=32, width=48):
    """Frames brighter from one to the next and from left to right; red is brightest."""
    grey = np.linspace(60, 200, length)[:, None, None, None] * np.linspace(0.7, 1.0, width)[:, None]
    return np.broadcast_to(grey * [1.0, 0.8, 0.6], (length, height, width, 3)).astype(np.uint8)


@pytest.fixture(scope="session")
def ut_tree(tmp_path_factory):
    """A folder of the shape of UT-Interaction: three videos to train on, one to validate, three to test."""
    folder = tmp_path_factory.mktemp("ut")
    for part, name, length in (
        ("set1", "0_1_4", 7),
        ("set1", "10_2_1", 9),
        ("set1", "49_9_5", 5),
        ("set1", "56_10_3", 13),
        ("set2", "1_11_2", 8),
        ("set2", "42_18_2", 4),
        ("set2", "43_18_4", 5),
    ):
        write_video(folder / part / f"{name}.avi", ramp(length))
    return folder


@pytest.fixture(scope="session")
def clips_run(ut_tree, tmp_path_factory):
    """`(run folder, served folder)` of a tiny p3d trained once on those videos."""
    import train

    folder = tmp_path_factory.mktemp("clips")
    words = ["p3d", "--data.name=ut_interaction", f"--data.root={ut_tree}", "--data.frame_size=[20,24]"]
    words += ["--task.crop=[16,16]", "--task.clip_frames=4", "--task.frame_stride=1", "--model.width=4"]
    words += ["--training.epochs=1", "--training.batch_size=4", "--task.test_clips=2"]
    train.main([*words, f"--runs={folder / 'runs'}", f"--saved_models={folder / 'served'}"])
    (run,) = (folder / "runs" / "p3d").iterdir()
    return run, folder / "served" / "p3d" / "1"
