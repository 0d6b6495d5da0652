"""Decoding of video files."""

import sys

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines.videos import decode
from tests.conftest import ramp, write_video

pytest.importorskip("av")


def test_frames_in_order_and_in_rgb(tmp_path):
    write_video(tmp_path / "clip.avi", ramp())
    frames = decode(tmp_path / "clip.avi")
    assert frames.shape == (7, 32, 48, 3) and frames.dtype == np.uint8
    assert np.abs(frames.astype(int) - ramp()).max() < 16
    small = decode(tmp_path / "clip.avi", (8, 10))
    assert small.shape == (7, 8, 10, 3) and np.abs(small.astype(int) - ramp(7, 8, 10)).max() < 16


def test_missing_truncated_and_other_files_are_named(tmp_path):
    write_video(tmp_path / "clip.avi", ramp(30))
    whole = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[:600])
    (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.avi").write_text("not a video")
    (tmp_path / "empty.avi").write_bytes(b"")
    for name in ("cut.avi", "half.avi", "text.avi", "empty.avi", "missing.avi"):
        with pytest.raises(InputError, match=f"{name}.*Received"):
            decode(tmp_path / name)


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="keras_st\\[video\\]"):
        decode(tmp_path / "clip.avi")
