"""Shared by all tests: quiet TensorFlow, real data where it is, one tiny trained run."""

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
