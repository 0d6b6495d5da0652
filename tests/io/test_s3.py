"""Shards in an S3 bucket: the same elements as local ones, training from them, what is missing or damaged, the exit."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import InputError
from pipelines import make_dataset, records, remote
from tests.conftest import ROOT


@pytest.fixture
def shards(rng, tmp_path):
    """A folder of two shards a split; videos of 7 frames and more, with flow and labels."""
    for split, count in (("train", 7), ("validation", 3), ("test", 3)):
        clips = [
            {
                "video": rng.integers(0, 256, (7 + n % 3, 16, 16, 1), np.uint8),
                "flow": rng.uniform(-3, 3, (7 + n % 3, 16, 16, 2)).astype("float32"),
                "id": f"{split}{n}".encode(),
                "label": n % 2,
            }
            for n in range(count)
        ]
        records.write_shards(clips, tmp_path / "shards", split, 2)
    return tmp_path / "shards"


def read(root, split="test", **options):
    return list(make_dataset("records", split, root=str(root), **options).as_numpy_iterator())


@pytest.mark.parametrize(
    "split, options",
    [
        ("test", {}),
        ("test", {"encoded": True}),
        ("test", {"verify": False, "process": 1, "processes": 2}),
        ("train", {"seed": 3, "epoch": 2}),
        ("train", {"seed": 3, "epoch": 2, "encoded": True, "verify": False}),
    ],
)
def test_a_bucket_reads_as_the_local_folder(shards, upload, split, options):
    local, distant = (read(root, split, **options) for root in (shards, upload(shards)))
    assert len(local) == len(distant) > 0
    for ours, theirs in zip(local, distant):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_what_is_missing_is_named(shards, upload, bucket):
    root = upload(shards)
    for wrong in (f"{root}-not", "s3://no-such-bucket/shards"):
        with pytest.raises(InputError, match=f"{wrong} must hold features.json .* NotFoundError"):
            read(wrong)
    lost = "test-00001-of-00002.tfrecord"
    bucket.Object(f"{root.removeprefix('s3://bucket/')}/{lost}").delete()
    with pytest.raises(InputError, match=rf"Missing: \['{lost}'\]"):
        read(root)
    with pytest.raises(InputError, match="Unknown file system, did you mean 's3'"):
        read("s3n://bucket/shards")


def test_a_flipped_byte_is_damage(shards, upload):
    path = shards / "test-00000-of-00002.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    root = upload(shards)
    with pytest.raises(InputError, match=f"{root}/{path.name} is damaged"):
        read(root)
    with pytest.raises(tf.errors.DataLossError):
        read(root, verify=False)


def test_every_scheme_of_tensorflow_io_is_known():
    remote.require_tensorflow_io()
    needs_no_path = {"gsmemcached"}  # a cache before gs://, configured by itself
    assert {*tf.io.gfile.get_registered_schemes()} == {"", "file", "gs", "ram", *needs_no_path, *remote.SCHEMES}


# Whole processes: the AWS library must not spoil their exit


def run(*words, code=None, **environment):
    """`(exit code, stdout, stderr)` of train.py, or of `code`, on an S3 server."""
    command = [sys.executable, *(["-c", code] if code else [str(ROOT / "train.py")]), *words]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=150
    )
    return done.returncode, done.stdout, done.stderr


def tiny(root, folder):
    words = ["conv_lstm", "--data.name=records", f"--data.root={root}", "--task.context_frames=4"]
    words += ["--task.horizon_frames=3", "--training.batch_size=4", "--training.epochs=1", "--model.filters=[4]"]
    return [*words, f"--runs={folder / 'runs'}", f"--saved_models={folder / 'served'}"]


def test_a_model_is_trained_from_a_bucket_and_the_run_ends_well(shards, upload, tmp_path):
    code, out, err = run(*tiny(upload(shards), tmp_path))
    assert code == 0, err
    (done,) = (tmp_path / "runs" / "conv_lstm").glob("*/done.json")
    assert json.loads(done.read_text())["served_model"] == str(tmp_path / "served" / "conv_lstm" / "1")
    assert out.startswith("run: ") and out.rstrip().splitlines()[-1].startswith("report: ")  # nothing is lost
    assert "pure virtual" not in err and "terminate" not in err


def test_a_failed_command_ends_with_its_code_and_one_line(shards, upload, tmp_path):
    root = upload(shards)
    code, out, err = run(*tiny(f"{root}/none", tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {root}/none must hold features.json") and len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_server_that_is_not_there_is_an_error_soon(tmp_path):
    begin = time.monotonic()
    code, _, err = run(*tiny("s3://bucket/shards", tmp_path), S3_ENDPOINT="http://127.0.0.1:1")
    assert code == 2 and len(err.splitlines()) == 1 and "NotFoundError" in err
    assert time.monotonic() - begin < 45


@pytest.mark.parametrize("end, code", [("", 0), ("import sys; sys.exit(7)", 7), ("1 / 0", 1)])
def test_any_program_that_read_a_bucket_keeps_its_exit_status(shards, upload, end, code):
    program = f"""
from pipelines import make_dataset
for clip in make_dataset("records", "test", root="{upload(shards)}"):
    print(clip["id"].numpy().decode())
{end}
"""
    assert run(code=program)[:2] == (code, "test0\ntest2\ntest1\n")
