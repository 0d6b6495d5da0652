"""Looks through shards of YouTube-8M's form: counts, and records that are not as they should be, by name.

    python -m pipelines.datasets.youtube8m_inspect ROOT [--level=video] [--classes=4716] [--names=20]

Reads every record, so that every CRC is checked. Exit code 2 where training would stop at a record.
"""

import argparse
import collections
import os

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_st import cli
from keras_st.specs import InputError
from pipelines.datasets.youtube8m import IDS, PREFIXES, paths_of, scan, sizes_of
from pipelines.remote import check_local

# kinds of records; training stops at those in REFUSED
REFUSED = (
    "cut short",
    "damaged",
    "of another form",
    "without frames",
    "of other sizes",
    "labels beyond the classes",
    "segments not within the video, or without class or score",  # where segments are read
)
WHOLE = ("labels", "segment_labels", "segment_start_times")  # lists of whole numbers
NOTED = ("too long", "without labels", "without audio", "without id", "id of another record")


def inspect(root, level="frame", classes=3862, max_frames=300, rgb_size=1024, audio_size=128):
    """`{split: {"shards", "videos", "frames", "longest", "found"}}` of the splits that are there.

    `found`: kind, of `REFUSED` and `NOTED`, -> names of the records: shard, place in it, id. Of what is noted, videos
    that are too long are cut, missing audio is 0, and missing labels are none.
    """
    check_local(root)
    sizes, told = sizes_of(rgb_size, audio_size), {}
    for split in PREFIXES:
        paths, seen = paths_of(root, split), set()
        entry = {"shards": len(paths), "videos": 0, "frames": 0, "longest": 0, "found": collections.defaultdict(list)}
        for path in paths:
            for place, record in _surviving(path):
                kinds, name, length = [record], b"", 0
                if isinstance(record, bytes):
                    kinds, name, length = _looked_at(record, level, classes, max_frames, sizes)
                    kinds += ["id of another record"] if name and name in seen else []
                    seen.add(name)
                    entry["videos"] += 1
                entry["frames"] += length
                entry["longest"] = max(entry["longest"], length)
                where = f"{os.path.basename(path)} record {place}"
                for kind in kinds:
                    entry["found"][kind].append(f"{where} ({name.decode(errors='replace')})" if name else where)
        if paths:
            told[split] = entry
    if not told:
        raise InputError(f"{root} must hold train*.tfrecord, validate*.tfrecord or test*.tfrecord. Received: none")
    return told


def _surviving(path):
    """`(place, record)` of a shard; "damaged" or "cut short" in place of a record that cannot be read."""
    count, whole = scan(path)
    place = 0
    while place < count:
        try:
            for record in tf.data.TFRecordDataset(path).skip(place).take(count - place).as_numpy_iterator():
                yield place, record
                place += 1
        except tf.errors.DataLossError:
            yield place, "damaged"
            place += 1
    if not whole:
        yield count, "cut short"


def _looked_at(record, level, classes, max_frames, sizes):
    """`(kinds, id, frames)` of a record, by its protocol buffer alone."""
    form = tf.train.Example if level == "video" else tf.train.SequenceExample
    try:
        example = form.FromString(record)
    except DecodeError:
        return ["of another form"], b"", 0
    context = (example.features if level == "video" else example.context).feature
    name = b"".join(value for key in IDS for value in context[key].bytes_list.value)
    labels = [*context["labels"].int64_list.value, *context["segment_labels"].int64_list.value]
    if level == "video":
        held = {stream: np.array(context[f"mean_{stream}"].float_list.value) for stream in sizes}
        right = all(
            len(held[stream]) in (0, size) and np.isfinite(held[stream]).all() for stream, size in sizes.items()
        )
        length = 0
    else:
        lists = example.feature_lists.feature_list
        held = {stream: [b"".join(step.bytes_list.value) for step in lists[stream].feature] for stream in sizes}
        right = all(len(step) == size for stream, size in sizes.items() for step in held[stream])
        length = len(next(iter(held.values())))
        right &= len(held.get("audio", ())) in (0, length)
    starts, scores = context["segment_start_times"].int64_list.value, context["segment_scores"].float_list.value
    apart = len({len(starts), len(scores), len(context["segment_labels"].int64_list.value)}) > 1
    kinds = {
        REFUSED[-1]: apart or any(not 0 <= start < length for start in starts),
        "of another form": any(context[key].WhichOneof("kind") not in (None, "int64_list") for key in WHOLE),
        "without frames": not len(next(iter(held.values()))),
        "of other sizes": not right,
        "labels beyond the classes": any(not 0 <= label < classes for label in labels),
        "too long": length > max_frames,
        "without labels": not labels,
        "without audio": "audio" in held and len(held) == 2 and not len(held["audio"]),
        "without id": not name,
    }
    return [kind for kind, found in kinds.items() if found], name, length


def main(argv):
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.datasets.youtube8m_inspect",
        description="Looks through shards of YouTube-8M's form.",
        allow_abbrev=False,
    )
    parser.add_argument("root", help="folder of the shards")
    parser.add_argument("--level", choices=["frame", "video"], default="frame")
    parser.add_argument("--classes", type=int, default=3862)
    parser.add_argument("--max_frames", type=int, default=300)
    parser.add_argument("--rgb_size", type=int, default=1024)
    parser.add_argument("--audio_size", type=int, default=128)
    parser.add_argument("--names", type=int, default=20, help="records of a kind that are named (default: 20)")
    options = vars(cli.parse(parser, argv))
    limit, refused, reasons = options.pop("names"), 0, []
    for split, entry in inspect(**options).items():
        length = f", {entry['frames']} frames, {entry['longest']} at most" if entry["frames"] else ""
        print(f"{split}: {entry['videos']} videos{length} in {entry['shards']} shards")
        for kind in (*REFUSED, *NOTED):
            names = entry["found"][kind]
            more = f", and {len(names) - limit} more" if len(names) > limit else ""
            if names:
                print(f"  {len(names)} {kind}: {', '.join(names[:limit])}{more}")
            refused += len(names) if kind in REFUSED else 0
            reasons += [kind] if names and kind in REFUSED and kind not in reasons else []
    if refused:
        raise InputError(f"Training stops at such records. Received: {refused} of them ({', '.join(reasons)})")


if __name__ == "__main__":
    cli.run(main)
