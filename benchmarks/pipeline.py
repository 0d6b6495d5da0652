"""Frames a second of `pipelines.prepare`, and clips a second that training reads from its shards.

    python -m benchmarks.pipeline VIDEOS.csv [--rounds 5] [--flow_videos 4] [--out FILE.json]
    python -m benchmarks.pipeline --table FILE.json

VIDEOS is what `pipelines.prepare` takes. Preparing: one process, every video to 128x171, frames a second, median over
the rounds, with decoding alone (PyAV, OpenCV) beside it; flow on the first few videos. Reading: clips of 16 frames at
random places, cropped to 112x112 at random, in batches of 8 float32, from JPEG shards, from raw shards, and by OpenCV
(decoding from the start to the last frame that is needed, resizing those that are) in a PyTorch DataLoader with two
workers that stay alive; ten passes over the videos a round, in turn in one process, after a round to warm up.
"""

import argparse
import contextlib
import itertools
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time

from benchmarks.measure import store

SIZE, CROP, FRAMES, BATCH = (128, 171), (112, 112), 16, 8
PASSES = 10  # over the videos in a round
FLOWS = ("farneback", "dis", "tvl1")


def decode_with_pyav(path):
    from pipelines.videos import frames_of

    return sum(1 for _ in frames_of(path, SIZE))


def decode_with_opencv(path):
    import cv2

    capture, frames = cv2.VideoCapture(path), 0
    while True:
        there, frame = capture.read()
        if not there:
            return frames
        cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA)
        frames += 1


def prepare(listing, folder, **how):
    """Frames written to a new folder by one process."""
    from pipelines.preparation import Preparation
    from pipelines.prepare import prepare as write

    info = write(listing, folder, Preparation(size=SIZE, **how), workers=1, shards=4)
    return sum(shard["frames"] for shard in info["shards"].values())


def shard_reader(root, passes):
    """`read()`: goes through the next batches, as many as `passes` over the videos have, and counts the clips."""
    import tensorflow as tf

    from keras_st.specs import ClassifyTask
    from pipelines import feature_spec, make_dataset
    from pipelines.classify import training_clips

    task = ClassifyTask(clip_frames=FRAMES, crop=CROP)
    options = {"root": str(root), "verify": False, "encoded": True}
    once = make_dataset("records", "train", **options)
    spec = feature_spec(once, "records", **options)

    def one_pass(epoch):
        return training_clips(make_dataset("records", "train", epoch=epoch, **options), (spec,), task, BATCH, epoch)

    one_pass = tf.autograph.experimental.do_not_convert(one_pass)  # it reads files
    batches = iter(tf.data.Dataset.range(2**31).flat_map(one_pass).prefetch(2))
    steps = passes * math.ceil(int(once.cardinality()) / BATCH)
    return lambda: sum(len(targets["logits"]) for _, targets in itertools.islice(batches, steps))


def opencv_reader(videos, counts, passes):
    """The same by OpenCV in a PyTorch DataLoader."""
    import cv2
    import numpy as np
    import torch

    cv2.setNumThreads(0)

    class Clips(torch.utils.data.Dataset):
        def __len__(self):
            return len(videos)

        def __getitem__(self, n):
            rng = np.random.default_rng()
            start = rng.integers(counts[n] - FRAMES + 1)
            capture, frames = cv2.VideoCapture(videos[n].path), []
            for place in range(start + FRAMES):
                if place < start:
                    capture.grab()
                    continue
                there, frame = capture.read()
                if not there:
                    break
                frames.append(cv2.cvtColor(cv2.resize(frame, SIZE[::-1]), cv2.COLOR_BGR2RGB))
            frames += frames[-1:] * (FRAMES - len(frames))
            top, left = (rng.integers(SIZE[axis] - CROP[axis] + 1) for axis in (0, 1))
            clip = np.stack(frames)[:, top : top + CROP[0], left : left + CROP[1]]
            return clip.astype(np.float32) / 255, videos[n].label or 0

    loader = torch.utils.data.DataLoader(Clips(), BATCH, shuffle=True, num_workers=2, persistent_workers=True)
    return lambda: sum(len(labels) for _ in range(passes) for _, labels in loader)


def measure(listing, options):
    from pipelines.listing import Listing

    videos = listing.splits["train"]
    few = Listing({"train": videos[: options.flow_videos]}, listing.classes)
    with tempfile.TemporaryDirectory() as folder:
        folders = iter(pathlib.Path(folder, str(n)) for n in itertools.count())
        writers = {
            "decoding alone, PyAV": lambda: sum(decode_with_pyav(video.path) for video in videos),
            "decoding alone, OpenCV": lambda: sum(decode_with_opencv(video.path) for video in videos),
            "JPEG": lambda: prepare(listing, next(folders)),
            "raw": lambda: prepare(listing, next(folders), encoding="raw"),
        }
        for flow in FLOWS:
            writers[f"JPEG, flow {flow}"] = lambda flow=flow: prepare(few, next(folders), flow=flow)
        prepared = turns(writers, options.rounds)
        kept = {name: next(folders) for name in ("JPEG shards", "raw shards")}
        for name, path in kept.items():
            prepare(listing, path, encoding=name.split()[0].lower())
        readers = {name: shard_reader(path, PASSES) for name, path in kept.items()}
        counts = [decode_with_opencv(video.path) for video in videos]
        readers["OpenCV, DataLoader"] = opencv_reader(videos, counts, PASSES)
        for read in readers.values():
            read()
        read = turns(readers, options.rounds)
        size = {name: sum(path.stat().st_size for path in path.glob("*.tfrecord")) for name, path in kept.items()}
    return {"videos": len(videos), "frames": sum(counts), "bytes": size, "prepared": prepared, "read": read}


def turns(contestants, rounds):
    """`{name: median count a second}` of contestants that take turns."""
    rates = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            start = time.perf_counter()
            rates[name].append(work() / (time.perf_counter() - start))
            print(f"{name}: {rates[name][-1]:.1f}/s", file=sys.stderr, flush=True)
    return {name: statistics.median(values) for name, values in rates.items()}


def table(stored):
    """Markdown of a stored measurement, in ratios."""
    prepared, read, size = stored["prepared"], stored["read"], stored["bytes"]
    slowest, base = prepared["decoding alone, PyAV"], read["OpenCV, DataLoader"]
    lines = ["| preparing, one process | frames a second, decoding alone by PyAV = 1 |", "|---|---|"]
    lines += [f"| {name} | {rate / slowest:.3g} |" for name, rate in prepared.items()]
    lines += ["", "| reading clips | clips a second, OpenCV in a DataLoader = 1 | MiB on disk |", "|---|---|---|"]
    for name, rate in read.items():
        lines.append(
            f"| {name} | {rate / base:.2f} | {size[name] / 2**20:.0f} |" if name in size else f"| {name} | 1 | |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__.split("\n")[0])
    parser.add_argument("videos", nargs="?", help="what pipelines.prepare takes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flow_videos", type=int, default=4, help="how many videos flow is computed of")
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results")
    parser.add_argument("--table", type=pathlib.Path, help="print the table of a stored file, measure nothing")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return
    if options.videos is None or min(options.rounds, options.flow_videos) < 1:
        parser.error("VIDEOS is needed; --rounds and --flow_videos are at least 1.")
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    from pipelines.build import LISTINGS
    from pipelines.listing import Listing
    from pipelines.prepare import kind_of

    listing = LISTINGS[kind_of(options.videos)](options.videos)
    listing = Listing({"train": listing.videos}, listing.classes)
    with contextlib.redirect_stdout(sys.stderr):
        result = measure(listing, options)
    print(table(result))
    if options.out:
        store(options.out, "benchmarks.pipeline", rounds=options.rounds, **result)


if __name__ == "__main__":
    main()
