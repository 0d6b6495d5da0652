"""Videos to shards: what is kept of a video, what is skipped, going on after a kill."""

import csv
import dataclasses
import fractions
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from keras_st import cli
from keras_st.specs import InputError
from pipelines import make_dataset, preparation, prepare, records
from pipelines.build import LISTINGS
from pipelines.listing import Listing, Video
from pipelines.preparation import Preparation
from pipelines.videos import frames_of
from tests.conftest import ROOT, ramp, write_video

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Six videos in two class folders, one of them no video."""
    folder = tmp_path_factory.mktemp("videos")
    for n, length in enumerate((5, 9, 4, 7, 6)):
        write_video(folder / ("rise" if n % 2 else "hold") / f"v{n}.avi", ramp(length, 24, 32))
    (folder / "hold" / "broken.mp4").write_text("not a video")
    return folder


def run(source, out, *words):
    prepare.main([str(source), "--out", str(out), "--workers=1", "--fractions=[1,0,0]", *words])
    return {clip["id"].decode(): clip for clip in read(out)}


def read(out, split="train", **options):
    return list(make_dataset("records", split, root=str(out), shuffle=False, **options).as_numpy_iterator())


def decoded(path):
    """Frames and times by PyAV alone."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([f.to_ndarray(format="rgb24") for f in frames]), sorted(float(f.pts * f.time_base) for f in frames)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*.tfrecord"))}


def listed(paths, split="train"):
    return Listing({split: [Video(str(path), path.name) for path in paths]})


def kept(path, **how):
    """`(times, frames, flow)` of one video."""
    how = Preparation(**how)
    spec = how.spec(listed([path]))
    steps = list(preparation.steps_of(Video(str(path), "x"), how, spec))
    return [s["time"] for s in steps], [s["video"] for s in steps], [s.get("flow") for s in steps]


# What is kept


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
def test_a_folder_becomes_shards(tree, tmp_path, encoding):
    clips = run(tree, tmp_path / "out", f"--encoding={encoding}", "--shards=2")
    assert sorted(clips) == ["hold/v0.avi", "hold/v2.avi", "hold/v4.avi", "rise/v1.avi", "rise/v3.avi"]
    for name, clip in clips.items():
        frames, times = decoded(tree / name)
        assert clip["video"].shape == frames.shape and clip["label"] == name.startswith("rise")
        assert np.abs(clip["video"].astype(int) - frames).max() <= (0 if encoding != "jpeg" else 12)
        np.testing.assert_allclose(clip["time"], times, atol=1e-6)
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert (
        sum(s["clips"] for s in info["shards"].values()) == 5
        and sum(s["frames"] for s in info["shards"].values()) == 31
    )
    assert [e["id"] for e in info["skipped"]] == ["hold/broken.mp4"] and "not a whole video" in info["skipped"][0][
        "reason"
    ]
    assert {name: s["sha256"] for name, s in info["shards"].items()} == digests(tmp_path / "out")
    assert records.read_spec(tmp_path / "out").classes == ("hold", "rise")
    assert not list((tmp_path / "out").glob(".*"))


def test_sizes_and_grey(tree, tmp_path):
    _, frames, _ = kept(tree / "hold" / "v0.avi", size=(10, 14), channels=1)
    assert {f.shape for f in frames} == {(10, 14, 1)}
    _, frames, _ = kept(tree / "hold" / "v0.avi", short_side=12)
    assert {f.shape for f in frames} == {(12, 16, 3)}
    assert records.read_spec(_two_sizes(tmp_path)).video.shape == (None, None, None, 3)


def _two_sizes(folder):
    for n, width in enumerate((32, 40)):
        write_video(folder / "in" / f"{n}.avi", ramp(3, 24, width))
    prepare.prepare(listed(sorted((folder / "in").iterdir())), folder / "out", Preparation(), workers=1)
    assert sorted(c["video"].shape for c in read(folder / "out")) == [(3, 24, 32, 3), (3, 24, 40, 3)]
    return folder / "out"


def uneven(path, times):
    """A video whose frame n, of brightness 40 n, begins at times[n] (in hundredths of a second)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv420p"
        stream.codec_context.time_base = fractions.Fraction(1, 100)
        for n, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 40 * n, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, fractions.Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_a_frame_rate_takes_what_is_on_screen(tmp_path):
    uneven(tmp_path / "v.mkv", [0, 10, 15, 50, 60])
    times, frames, _ = kept(tmp_path / "v.mkv")
    np.testing.assert_allclose(times, [0, 0.1, 0.15, 0.5, 0.6], atol=1e-3)
    times, frames, _ = kept(tmp_path / "v.mkv", fps=10)
    np.testing.assert_allclose(times[:7], np.arange(7) / 10, atol=1e-9)
    assert [round(f.mean() / 40) for f in frames[:7]] == [0, 1, 2, 2, 2, 3, 4]
    times, frames, _ = kept(tmp_path / "v.mkv", fps=10, max_frames=3)
    assert len(frames) == 3


def moving(length, step, height=48, width=64):
    """Texture that moves `step` px to the right from frame to frame."""
    noise = np.random.default_rng(0).normal(size=(height, width + length * step))
    for axis in (0, 1):
        for _ in range(3):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
    noise = np.interp(noise, (noise.min(), noise.max()), (0, 255)).astype(np.uint8)
    start = length * step
    frames = [noise[:, start - n * step : start - n * step + width] for n in range(length)]
    return np.repeat(np.stack(frames)[..., None], 3, -1)


@pytest.mark.parametrize("method", ["tvl1", "dis", "farneback"])
def test_flow_leads_to_the_next_kept_frame(tmp_path, method):
    write_video(tmp_path / "v.avi", moving(9, 1), fps=8)
    inner = np.s_[12:-12, 12:-12]

    def middle(**how):
        flow = np.stack(kept(tmp_path / "v.avi", flow=method, **how)[2])
        return np.median(flow[(slice(None), *inner)], axis=(1, 2))

    np.testing.assert_allclose(middle(), [[1, 0]] * 9, atol=0.15)
    np.testing.assert_allclose(middle(fps=4), [[2, 0]] * 5, atol=0.3)  # the last repeats the one before it
    np.testing.assert_allclose(middle(fps=2, flow_fps=8), [[1, 0]] * 3, atol=0.15)  # 1/8 s, not 1/2 s
    np.testing.assert_allclose(middle(fps=2, flow_fps=5), [[1.6, 0]] * 3, atol=0.2)  # 1/5 s, of frames 1/8 s apart
    assert not middle(fps=2, flow_fps=20).any()  # 1/20 s later it is the same frame
    np.testing.assert_allclose(middle(size=(48, 128)), [[2, 0]] * 9, atol=0.3)  # in pixels of what is stored


def test_flow_is_stored_within_half_a_code(tmp_path):
    write_video(tmp_path / "in" / "v.avi", moving(4, 2))
    for encoding in ("png", "raw", "jpeg"):
        words = [f"--encoding={encoding}", "--flow=dis", "--flow_bound=4"]
        (clip,) = run(tmp_path / "in", tmp_path / encoding, *words).values()
        flow = np.stack(kept(tmp_path / "in" / "v.avi", flow="dis", flow_bound=4)[2])
        assert clip["flow"].shape == (4, 48, 64, 2) and clip["flow"].dtype == np.float32
        error = np.abs(clip["flow"] - np.clip(flow, -4, 4))
        assert error.max() <= 4 / 255 + 1e-6
        spec = records.read_spec(tmp_path / encoding).flow
        assert spec.value_range == (-4, 4) and spec.unit == "px/frame"
        assert clip["flow"][-1].tobytes() == clip["flow"][-2].tobytes()


def test_one_frame_has_no_flow_but_zeros(tmp_path):
    write_video(tmp_path / "v.avi", ramp(1, 48, 64))
    _, frames, flow = kept(tmp_path / "v.avi", flow="dis")
    assert len(frames) == 1 and not flow[0].any()


def test_parts_and_labels_of_frames(tmp_path):
    write_video(tmp_path / "v.avi", ramp(20), fps=10)
    path = str(tmp_path / "v.avi")
    part = Video(path, "part", 1, span=(0.5, 1.0))
    listing = Listing({"train": [part, Video(path, "all", 0)]}, ("a", "b"))
    prepare.prepare(listing, tmp_path / "parts", Preparation(), workers=1)
    clips = {c["id"]: c for c in read(tmp_path / "parts")}
    np.testing.assert_allclose(clips[b"part"]["time"], np.arange(5, 10) / 10, atol=1e-6)
    assert len(clips[b"all"]["video"]) == 20
    frames = Listing({"train": [Video(path, "x", intervals=((0.2, 0.5, 0), (0.4, 9.0, 2)))]}, ("a", "b", "c"))
    prepare.prepare(frames, tmp_path / "frames", Preparation(), workers=1)
    (clip,) = read(tmp_path / "frames")
    expected = np.zeros((20, 3), np.int64)
    expected[2:5, 0], expected[4:, 2] = 1, 1
    np.testing.assert_array_equal(clip["label"], expected)
    many = Listing({"train": [Video(path, "x", (2, 0)), Video(path, "y", ())]}, ("a", "b", "c"))
    prepare.prepare(many, tmp_path / "many", Preparation(), workers=1)
    assert {c["id"]: c["label"].tolist() for c in read(tmp_path / "many")} == {b"x": [1, 0, 1], b"y": [0, 0, 0]}


# Videos of every kind


def encode(path, codec, pix_fmt, shape=(6, 32, 48), source=None, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = *shape[1:], pix_fmt
        for frame in ramp(*shape) if source is None else source:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    "name, codec, pix_fmt, shape",
    [
        ("ten_bit.mkv", "ffv1", "yuv420p10le", (6, 32, 48)),
        ("grey.mkv", "ffv1", "gray", (6, 32, 48)),
        ("odd.mkv", "ffv1", "yuv444p", (6, 33, 47)),
        ("palette.webm", "libvpx-vp9", "yuv420p", (6, 32, 48)),
        ("h264.mp4", "libx264", "yuv420p", (6, 32, 48)),
    ],
)
def test_unusual_videos_are_read(tmp_path, name, codec, pix_fmt, shape):
    times, frames, _ = kept(encode(tmp_path / name, codec, pix_fmt, shape))
    assert len(frames) == 6 and frames[0].shape == (*shape[1:], 3) and np.allclose(np.diff(times), 0.1, atol=2e-3)
    wanted = ramp(*shape).astype(int)
    wanted = wanted if pix_fmt != "gray" else np.repeat(wanted @ [[0.299], [0.587], [0.114]], 3, -1)
    assert np.abs(np.stack(frames) - wanted).mean() < 8


def test_a_turned_video_is_upright(tmp_path):
    upright = ramp(3, 32, 48)
    upright[:, :16, :24] = 255  # a bright corner, top left
    turned = np.rot90(upright, 1, axes=(1, 2))  # as a phone stores it, to be turned clockwise
    path = encode(tmp_path / "v.mp4", "libx264", "yuv420p", turned.shape[:3], [np.ascontiguousarray(f) for f in turned])
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 4 + 4 * 4 + 4 + 8 + 8  # version and flags, times, duration, layer and volume
    clockwise = np.array([0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30], ">i4").tobytes()
    content[matrix : matrix + 36] = clockwise
    path.write_bytes(content)
    _, frames, _ = kept(path)
    assert frames[0].shape == (32, 48, 3)
    assert frames[0][:12, :20].mean() > 240 and frames[0][20:, :20].mean() < 200 and frames[0][:12, 28:].mean() < 200
    _, frames, _ = kept(path, size=(16, 24))
    assert frames[0].shape == (16, 24, 3) and frames[0][:6, :10].mean() > 240


def flipped(content):
    """Some bytes of several frames turned over: the encoder's bytes differ from run to run, one frame may pass."""
    content, middle = bytearray(content), len(content) // 2
    for place in range(middle, middle + 8000, 10):
        content[place] ^= 0xFF
    return bytes(content)


def test_sound_may_be_longer_than_the_pictures(tmp_path):
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        video, sound = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=8000)
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        for frame in ramp(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        for n in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, 1024 * n
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    assert len(kept(tmp_path / "v.mkv")[1]) == 10


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_what_cannot_be_read_is_skipped_with_its_reason(tmp_path):
    good = encode(tmp_path / "good.mp4", "libx264", "yuv420p", (60, 32, 48))
    whole = good.read_bytes()
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    noise = np.random.default_rng(0).integers(0, 256, (60, 32, 48, 3), np.uint8)
    long = encode(tmp_path / "cut.mkv", "libx264", "yuv420p", (60, 32, 48), noise).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(long[: len(long) // 2])
    (tmp_path / "nearly.mkv").write_bytes(long[: len(long) * 93 // 100])
    (tmp_path / "flipped.mkv").write_bytes(flipped(long))
    audio_only(tmp_path / "audio.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with av.open(str(tmp_path / "zero.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        container.start_encoding()
    write_video(tmp_path / "tiny.avi", ramp(4, 2, 2))  # too small for flow
    reasons = {
        "missing.mp4": "no such file",
        "empty.mp4": "not a whole video",
        "cut.mp4": "not a whole video",
        "cut.mkv": "breaks off",
        "nearly.mkv": "breaks off",
        "flipped.mkv": "is damaged|not a whole video",
        "audio.mp4": "no video",
        "folder.mp4": "no such file",
        "zero.avi": "no frame|not a whole video",
        "tiny.avi": "2x2 pixels",
    }
    listing = listed([good, *(tmp_path / name for name in reasons)])
    info = prepare.prepare(listing, tmp_path / "out", Preparation(flow="dis"), workers=1)
    told = {entry["id"]: entry["reason"] for entry in info["skipped"]}
    assert told.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert re.search(reason, told[name]) and name in told[name] and "\n" not in told[name], told[name]
    (clip,) = read(tmp_path / "out")
    assert clip["id"] == b"good.mp4" and len(clip["video"]) == 60
    with pytest.raises(InputError, match="missing.mp4|empty.mp4|cut|audio|folder|zero|tiny"):
        prepare.prepare(listing, tmp_path / "stopped", Preparation(flow="dis"), workers=1, stop=True)
    with pytest.raises(InputError, match=r"No video of train .*\(1 skipped\)"):
        prepare.prepare(listed([tmp_path / "missing.mp4"]), tmp_path / "none", Preparation(), workers=1)
    assert not list((tmp_path / "none").iterdir())


# Killed, and going on


def test_a_kill_at_any_moment_loses_and_doubles_nothing(tree, tmp_path, monkeypatch):
    how = ["--shards=3", "--size=[8,8]"]
    run(tree, tmp_path / "whole", *how)
    wanted = {path.name: path.read_bytes() for path in sorted((tmp_path / "whole").iterdir())}
    real = {"replace": os.replace, "write": records.ShardWriter.write, "rmtree": prepare.shutil.rmtree}
    real, moments = {**real, "rename": os.rename}, 0

    def dying(name, at):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at:
                raise KeyboardInterrupt
            return real[name](*args, **kwargs)

        return call

    for at in range(1, 100):
        count, out = 0, tmp_path / f"killed{at}"
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying("replace", at))
            patch.setattr(os, "rename", dying("rename", at))
            patch.setattr(records.ShardWriter, "write", dying("write", at))
            patch.setattr(prepare.shutil, "rmtree", dying("rmtree", at))
            try:
                run(tree, out, *how)
            except KeyboardInterrupt:
                moments += 1
            else:
                break
        if not (out / "dataset_info.json").exists():
            with pytest.raises(InputError, match="must hold features.json|is not finished|must be the folder"):
                read(out)
        if (out / records.PLAN / "plan.json").exists() or not (out / "dataset_info.json").exists():
            run(tree, out, *how)
        left = {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.name != prepare.DONE}
        for name in wanted:
            if name == "dataset_info.json":
                a, b = json.loads(left[name]), json.loads(wanted[name])
                assert a["shards"] == b["shards"] and a["skipped"] == b["skipped"] and len(a["made"]) == 1
            else:
                assert left[name] == wanted[name], (at, name)
        assert left.keys() == wanted.keys()
    assert moments > 10  # files renamed, videos written, the plan removed


def test_other_options_do_not_go_on(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    for word in ("--size=[8,8]", "--size=[8,8]"):
        with pytest.raises(KeyboardInterrupt):
            run(tree, tmp_path / "out", word)
    with pytest.raises(InputError, match=r"other options.*size=\[9, 9\] \(was \[8, 8\]\)"):
        run(tree, tmp_path / "out", "--size=[9,9]")
    with pytest.raises(InputError, match="other videos"):
        run(tree, tmp_path / "out", "--size=[8,8]", "--shards=2")
    listing = LISTINGS["folder"](str(tree), fractions=(1, 0, 0))
    turned = [dataclasses.replace(video, label=1 - video.label) for video in listing.videos]
    how = Preparation(size=(8, 8))
    with pytest.raises(InputError, match="other videos, labels"):  # half of the shards have the labels of before
        prepare.prepare(Listing({"train": turned}, listing.classes), tmp_path / "out", how, workers=1)
    with pytest.raises(InputError, match="was begun with other"):
        prepare.prepare(Listing(listing.splits, ("rise", "hold")), tmp_path / "out", how, workers=1)


def test_a_plan_of_which_nothing_is_done_gives_way(tree, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(records.ShardWriter, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tree, tmp_path / "out", "--size=[8,8]")
    clips = run(tree, tmp_path / "out", "--size=[9,9]")
    assert {clip["video"].shape[1:] for clip in clips.values()} == {(9, 9, 3)}
    assert sorted(p.name for p in (tmp_path / "out").iterdir())[:2] == ["dataset_info.json", "features.json"]


def test_one_run_at_a_time(tree, tmp_path, monkeypatch):
    def second(*_):
        run(tree, tmp_path / "out")

    monkeypatch.setattr(prepare, "finish", second)
    with pytest.raises(InputError, match="Another run is writing"):
        run(tree, tmp_path / "out")


def test_killed_with_its_workers_it_goes_on(tree, tmp_path):
    """A real SIGKILL of the main process: its workers end too, and the next run ends with the same bytes."""
    (tmp_path / "many").mkdir()
    for n in range(30):
        shutil.copy(tree / "hold" / "v0.avi", tmp_path / "many" / f"{n}.avi")
    words = [str(tmp_path / "many"), "--fractions=[1,0,0]", "--shards=15", "--flow=tvl1", "--size=[48,64]"]
    main = [sys.executable, "-m", "pipelines.prepare", *words, "--out", str(tmp_path / "out"), "--workers=2"]
    with subprocess.Popen(main, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert "/30 videos" in process.stdout.readline()
        process.kill()
    for _ in range(100):
        alive = [p for p in pathlib.Path("/proc").glob("[0-9]*/stat") if _session(p) == process.pid]
        if not alive:
            break
        time.sleep(0.1)
    assert not alive
    assert 0 < len(list((tmp_path / "out").glob("*.tfrecord"))) < 15
    prepare.main([*words, "--out", str(tmp_path / "out"), "--workers=1"])
    names = [clip["id"] for clip in read(tmp_path / "out", encoded=True)]
    assert len(names) == len(set(names)) == 30


def _session(stat):
    """The session of a process that is no zombie."""
    try:
        state, _, _, session = stat.read_text().rsplit(")", 1)[1].split()[:4]
    except OSError:
        return None
    return None if state == "Z" else int(session)


def test_processes_give_the_same_bytes(tree, tmp_path):
    run(tree, tmp_path / "one", "--shards=2")
    run(tree, tmp_path / "two", "--shards=2", "--workers=2")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_nothing_is_overwritten_and_splits_share_a_folder(tree, tmp_path):
    run(tree, tmp_path / "out")
    with pytest.raises(InputError, match="nothing is overwritten"):
        run(tree, tmp_path / "out")
    more = Listing({"test": [Video(str(tree / "rise" / "v1.avi"), "other", 1)]}, ("hold", "rise"))
    prepare.prepare(more, tmp_path / "out", Preparation(), workers=1)
    assert len(read(tmp_path / "out")) == 5 and len(read(tmp_path / "out", "test")) == 1
    other = Listing({"validation": more.splits["test"]}, ("hold", "fall"))
    for listing, how in ((other, {}), (more, {"channels": 1}), (more, {"encoding": "png"}), (more, {"flow": "dis"})):
        listing = Listing({"validation": listing.splits.get("test", listing.videos)}, listing.classes)
        with pytest.raises(InputError, match="describes other clips"):  # before anything is decoded
            prepare.prepare(listing, tmp_path / "out", Preparation(**how), workers=1)
        assert not (tmp_path / "out" / records.PLAN).exists()
    sized = Listing({"validation": more.splits["test"]}, more.classes)
    prepare.prepare(sized, tmp_path / "out", Preparation(size=(10, 12)), workers=1)
    assert records.read_spec(tmp_path / "out").video.shape == (None, None, None, 3)
    assert read(tmp_path / "out", "validation")[0]["video"].shape[1:] == (10, 12, 3)
    assert read(tmp_path / "out")[0]["video"].shape[1:] == (24, 32, 3)


def test_a_full_disk_is_one_line(tree, tmp_path):
    words = [sys.executable, "-m", "pipelines.prepare", str(tree), "--out", str(tmp_path / "out"), "--workers=1"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # noqa: E731
    words += ["--encoding=raw", "--fractions=[1,0,0]"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, preexec_fn=limit)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "cannot be written" in done.stderr and ".tfrecord" in done.stderr
    assert len(run(tree, tmp_path / "out", "--encoding=raw")) == 5  # there is room again


# Command line


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere"], "no nowhere|Received: nowhere"),
        (["{tree}", "--dataset=ucf11"], "Unknown data set"),
        (["{tree}", "--sizes=[8,8]"], "did you mean --size"),
        (["{tree}", "--size=[8,0]"], "size=\\(8, 0\\)"),
        (["{tree}", "--size=[8,8]", "--short_side=4"], "Give `size` or `short_side`"),
        (["{tree}", "--fps=-1"], "fps=-1"),
        (["{tree}", "--flow=tvl1", "--flow_fps=5"], "`flow_fps` needs"),
        (["{tree}", "--fps=5", "--flow=tvl1", "--flow_fps=2"], "`flow_fps` needs"),
        (["{tree}", "--max_frames=0"], "max_frames=0"),
        (["{tree}", "--shards=0"], "shards=0"),
        (["{tree}", "--shards=-1"], "shards=-1"),
        ([], "INPUT must be"),
        (["{tree}", "--quality=0"], "quality=0"),
        (["{tree}", "--workers=0"], "workers=0"),
        (["{tree}", "--engine=ray"], "address=None"),
        (["{tree}", "--address=auto"], "address=auto"),
        (["{tree}", "--encoding=gif"], "gif"),
    ],
)
def test_mistakes_are_one_line(tree, tmp_path, words, message):
    words = [word.format(tree=tree) for word in words]
    with pytest.raises(InputError, match=message):
        prepare.main(["--out", str(tmp_path / "out"), *words])
    assert not (tmp_path / "out").exists()


def test_hyphens_and_one_video(tree, tmp_path, capsys):
    words = ["--out", str(tmp_path / "out"), "--max-frames=3", "--on-error=stop", "--split=validation"]
    prepare.main([str(tree / "hold" / "v0.avi"), *words])
    (clip,) = read(tmp_path / "out", "validation")
    assert clip["id"] == b"v0.avi" and len(clip["video"]) == 3 and "label" not in clip
    assert "validation: 1 videos, 3 frames" in capsys.readouterr().out


def test_help_needs_no_input(capsys):
    with pytest.raises(SystemExit):
        prepare.main(["--help"])
    assert "--flow_fps" in capsys.readouterr().out


def test_names_need_not_be_utf8(tmp_path, capsys):
    write_video(tmp_path / "in" / "caf\udce9.avi", ramp(3))
    (tmp_path / "in" / "bad\udce9.avi").write_text("no video")
    words = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--fractions=[1,0,0]", "--workers=1"]
    cli.run(prepare.main, words)
    assert [clip["id"] for clip in read(tmp_path / "out")] == [b"caf\xe9.avi"]


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5"])
def test_arrays_become_records(tmp_path, rng, suffix):
    videos, labels = rng.integers(0, 256, (6, 4, 16, 20), np.uint8), np.array([0, 1, 0, 1, 0, 1])
    path = tmp_path / f"clips{suffix}"
    if suffix == ".npy":
        np.save(path, videos)
    elif suffix == ".npz":
        np.savez(path, video=videos, label=labels)
    else:
        with h5py.File(path, "w") as file:
            file["video"], file["label"] = videos, labels
    words = ["--out", str(tmp_path / "out"), "--encoding=raw", "--flow=farneback", "--workers=1"]
    prepare.main([str(path), *words, "--fractions=[0.5,0.5,0]"])
    clips = read(tmp_path / "out") + read(tmp_path / "out", "validation")
    assert len(clips) == 6
    for clip in clips:
        n = int(clip["id"].decode().split("/")[1])
        np.testing.assert_array_equal(clip["video"][..., 0], videos[n])
        assert clip["flow"].shape == (4, 16, 20, 2) and "time" not in clip
        assert "label" not in clip if suffix == ".npy" else clip["label"] == labels[n]
    with pytest.raises(InputError, match="Arrays are stored as they are"):
        prepare.main([str(path), "--out", str(tmp_path / "other"), "--size=[8,8]"])
    np.save(tmp_path / "float.npy", np.zeros((2, 3, 8, 8)))
    with pytest.raises(InputError, match="uint8"):
        prepare.main([str(tmp_path / "float.npy"), "--out", str(tmp_path / "other"), "--fractions=[1,0,0]"])


def test_a_missing_package_is_no_fault_of_the_videos(tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"^Decoding needs PyAV"):
        run(tree, tmp_path / "out")


def test_real_videos_are_whole(tmp_path):
    """Clips of UT-Interaction: as many frames as its list says, at times that rise, none damaged."""
    data = pathlib.Path(os.environ["KERAS_ST_DATA"]) / "ut_interaction"
    if not data.is_dir():
        pytest.skip(f"no UT-Interaction under KERAS_ST_DATA ({data.parent})")
    with open(data / "clips.csv") as file:
        stated = {row["path"]: int(row["frames"]) for row in csv.DictReader(file)}
    for path, frames in [*stated.items()][::4]:
        times = [frame.time for frame in frames_of(data / path, (8, 8))]
        assert len(times) == frames and (np.diff(times) > 0.99 / 30).all(), path


def test_every_real_clip(tmp_path):
    data = pathlib.Path(os.environ["KERAS_ST_DATA"]) / "sample_clips"
    if not data.is_dir():
        pytest.skip(f"no sample clips under KERAS_ST_DATA ({data.parent})")
    paths = sorted(path for path in data.iterdir() if path.suffix in (".avi", ".mp4"))
    prepare.prepare(listed(paths), tmp_path, Preparation(short_side=32), workers=1)
    clips = {clip["id"].decode(): clip for clip in read(tmp_path)}
    stated = {"v_ApplyEyeMakeup_g01_c01.avi": 164, "v_BaseballPitch_g01_c01.avi": 107}
    stated |= {"mmaction2_demo_arm_wrestling.mp4": 280, "tfio_small.mp4": 166}
    assert {name: len(clip["video"]) for name, clip in clips.items()} == stated
    for path in paths:
        frames, times = decoded(path)
        height, width = frames.shape[1:3]
        assert clips[path.name]["video"].shape[1:] == (32, round(width * 32 / height), 3)
        np.testing.assert_allclose(clips[path.name]["time"], times, atol=1e-6)
