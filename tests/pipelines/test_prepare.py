"""Videos to shards: what is kept of a video, what is skipped, going on after a kill."""

import fractions
import hashlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines import make_dataset, preparation, prepare, records
from pipelines.listing import Listing, Video
from pipelines.preparation import Preparation
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
    np.testing.assert_allclose(middle(size=(48, 128)), [[2, 0]] * 9, atol=0.3)  # in pixels of what is stored


def test_flow_is_stored_within_half_a_code(tmp_path):
    write_video(tmp_path / "in" / "v.avi", moving(4, 2))
    for encoding in ("png", "raw", "jpeg"):
        words = [f"--encoding={encoding}", "--flow=dis", "--flow_bound=4"]
        (clip,) = run(tmp_path / "in", tmp_path / encoding, *words).values()
        flow = np.stack(kept(tmp_path / "in" / "v.avi", flow="dis", flow_bound=4)[2])
        assert clip["flow"].shape == (4, 48, 64, 2) and clip["flow"].dtype == np.float32
        error = np.abs(clip["flow"] - np.clip(flow, -4, 4))
        assert error.max() <= 4 / 255 + 1e-6 if encoding != "jpeg" else error.mean() < 0.1
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
    real, moments = {"replace": os.replace, "write": records.ShardWriter.write, "rmtree": prepare.shutil.rmtree}, 0

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
            patch.setattr(records.ShardWriter, "write", dying("write", at))
            patch.setattr(prepare.shutil, "rmtree", dying("rmtree", at))
            try:
                run(tree, out, *how)
            except KeyboardInterrupt:
                moments += 1
            else:
                break
        if not (out / "dataset_info.json").exists():
            with pytest.raises(InputError, match="must hold features.json|is not finished"):
                read(out)
        if (out / records.PLAN / "plan.json").exists() or not (out / "dataset_info.json").exists():
            run(tree, out, *how)
        left = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
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
    with pytest.raises(InputError, match="describes other clips"):
        prepare.prepare(other, tmp_path / "out", Preparation(), workers=1)


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
        prepare.main([*words, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out" / "dataset_info.json").exists()


def test_hyphens_and_one_video(tree, tmp_path, capsys):
    words = ["--out", str(tmp_path / "out"), "--max-frames=3", "--on-error=stop", "--split=validation"]
    prepare.main([str(tree / "hold" / "v0.avi"), *words])
    (clip,) = read(tmp_path / "out", "validation")
    assert clip["id"] == b"v0.avi" and len(clip["video"]) == 3 and "label" not in clip
    assert "validation: 1 videos, 3 frames" in capsys.readouterr().out


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
