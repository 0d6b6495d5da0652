"""Videos a second and core that are read, as batches of numbers, from frame-level records of YouTube-8M's form.

    python -m benchmarks.youtube8m [--rounds 5] [--videos 1000] [--shards 3] [--out FILE.json]
    python -m benchmarks.youtube8m --table FILE.json

Records of random bytes, 300 frames of 1024 + 128, in shards of so many videos (published shards hold about as many).
What is compared gives the same batches of float32 `rgb` and `audio`, int64 labels, lengths and ids: the data set of
`pipelines`, in order and shuffled, and loops in Python that parse a record with `tf.train.SequenceExample.FromString`
and turn bytes into numbers with NumPy, frame by frame (the plain loop) or a video at a time. All take turns in one
process that runs on one core, after a turn each to warm up; medians over the rounds. Rates are by processor time, which
other work on the machine changes little, and by the clock.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

from benchmarks.measure import store

FRAMES, SIZES, CLASSES, BATCH = 300, {"rgb": 1024, "audio": 128}, 3862, 64
PLAIN = "FromString, frame by frame"
SHORT = 10  # a loop reads so many times fewer videos in a turn


def write(folder, videos, shards):
    """Shards of random bytes; returns their paths."""
    import tensorflow as tf

    def feature(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    rng = np.random.default_rng(0)
    paths = [f"{folder}/train{n:04d}.tfrecord" for n in range(shards)]
    for path in paths:
        with tf.io.TFRecordWriter(path) as file:
            for n in range(videos):
                labels = tf.train.Int64List(value=sorted(rng.choice(CLASSES, 3, replace=False)))
                lists = {
                    name: tf.train.FeatureList(feature=[feature(rng.bytes(size)) for _ in range(FRAMES)])
                    for name, size in SIZES.items()
                }
                context = {"id": feature(b"%04d" % n), "labels": tf.train.Feature(int64_list=labels)}
                record = tf.train.SequenceExample(
                    context=tf.train.Features(feature=context), feature_lists=tf.train.FeatureLists(feature_list=lists)
                )
                file.write(record.SerializeToString())
    return paths


def numbers(codes):
    return codes.astype(np.float32) * np.float32(4 / 255) + np.float32(4 / 512 - 2)


def frame_by_frame(steps, size):
    values = np.zeros((FRAMES, size), np.float32)
    for t, step in enumerate(steps[:FRAMES]):
        values[t] = numbers(np.frombuffer(step.bytes_list.value[0], np.uint8))
    return values


def at_once(steps, size):
    codes = np.frombuffer(b"".join(step.bytes_list.value[0] for step in steps[:FRAMES]), np.uint8).reshape(-1, size)
    values = np.zeros((FRAMES, size), np.float32)
    values[: len(codes)] = numbers(codes)
    return values


def loop(paths, decode):
    """Batches as the data set gives them, by Python and NumPy."""
    import tensorflow as tf

    videos = []
    for record in tf.data.TFRecordDataset(paths).as_numpy_iterator():
        example = tf.train.SequenceExample.FromString(record)
        lists = example.feature_lists.feature_list
        video = {name: decode(lists[name].feature, size) for name, size in SIZES.items()}
        video["length"] = np.int32(min(len(lists["rgb"].feature), FRAMES))
        video["label"] = np.zeros(CLASSES, np.int64)
        video["label"][example.context.feature["labels"].int64_list.value] = 1
        video["id"] = example.context.feature["id"].bytes_list.value[0]
        videos.append(video)
        if len(videos) == BATCH:
            yield {name: np.stack([video[name] for video in videos]) for name in video}
            videos = []


def contestants(folder, paths, videos):
    """`{name: function that reads a turn's videos and returns their number}`."""
    from pipelines import make_dataset

    def reader(batches, count=None):
        return lambda: sum(len(batch["id"]) for batch in itertools.islice(batches(), count))

    in_order, mixed = (
        make_dataset("youtube8m", "train", root=str(folder), shuffle=shuffle).batch(BATCH) for shuffle in (False, True)
    )
    few = max(1, videos // SHORT // BATCH)
    return {
        "data set": reader(lambda: iter(in_order)),
        "data set, shuffled": reader(lambda: iter(mixed)),
        PLAIN: reader(lambda: loop(paths, frame_by_frame), few),
        "FromString, a video at a time": reader(lambda: loop(paths, at_once), few),
    }


def measure(options):
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        paths = write(folder, options.videos, options.shards)
        readers = contestants(folder, paths, options.videos * options.shards)
        rates = {name: [] for name in readers}
        for turn in range(options.rounds + 1):
            for name, read in readers.items():
                clock, processor = time.perf_counter(), time.process_time()
                count = read()
                rate = count / (time.process_time() - processor), count / (time.perf_counter() - clock)
                print(f"{name}: {rate[0]:.0f}/s, by the clock {rate[1]:.0f}/s", file=sys.stderr, flush=True)
                rates[name] += [rate] if turn else []
        size = sum(os.path.getsize(path) for path in paths)
    medians = [{name: statistics.median(r[n] for r in values) for name, values in rates.items()} for n in (0, 1)]
    return {
        "videos": options.videos * options.shards,
        "bytes": size,
        "videos_per_second_and_core": dict(zip(("processor", "clock"), medians)),
        "turns": rates,
    }


def table(stored):
    """Markdown of a stored measurement."""
    processor, clock = (stored["videos_per_second_and_core"][by] for by in ("processor", "clock"))
    lines = ["| batches of numbers from records | videos a second and core | times the plain loop | by the clock |"]
    lines.append("|---|---|---|---|")
    for name, rate in processor.items():
        lines.append(f"| {name} | {rate:.0f} | {rate / processor[PLAIN]:.1f} | {clock[name] / clock[PLAIN]:.1f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.youtube8m", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", type=int, default=1000, help="in a shard")
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--folder", help="where the shards are made, and removed (default: the system's)")
    parser.add_argument("--out", type=pathlib.Path, help="new JSON file for the results")
    parser.add_argument("--table", type=pathlib.Path, help="print the table of a stored file, measure nothing")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return
    if min(options.rounds, options.shards) < 1 or options.videos < BATCH:
        parser.error(
            f"--rounds and --shards are at least 1, --videos {BATCH}. "
            f"Received: --rounds={options.rounds} --shards={options.shards} --videos={options.videos}"
        )
    if options.out and options.out.exists():
        parser.error(f"--out is there already, nothing is overwritten. Received: {options.out}")
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # before TensorFlow counts its threads
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = measure(options)
    finally:
        os.sched_setaffinity(0, allowed)
    print(table(result))
    if options.out:
        store(options.out, "benchmarks.youtube8m", rounds=options.rounds, **result)


if __name__ == "__main__":
    main()
