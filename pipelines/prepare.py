"""Turns videos into shards, with optical flow if asked: decoded once, then read by training as often as it likes.

    python -m pipelines.prepare INPUT --out DIR         a folder of class folders, a list file, one video, arrays
    python -m pipelines.prepare UCF101 --dataset=ucf101 --fold=1 --size=[128,171] --flow=tvl1 --out DIR
    python -m pipelines.prepare INPUT --fps=1 --flow=tvl1 --flow_fps=15 --max_frames=300 --out DIR
    python -m pipelines.prepare INPUT --dataset=ucf101 --help       every option, its type and its default

Videos that cannot be read are skipped, counted, named in DIR/dataset_info.json with the reason. Every shard is written
aside and renamed when whole; a run that was killed goes on where it stopped when its command is given again, and ends
with the same bytes.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import inspect
import json
import math
import os
import pathlib
import re
import shutil
import sys
import uuid

from jsonargparse import ArgumentParser

from keras_st import cli

with cli.quiet_import():
    import keras

from keras_st.specs import InputError, MissingExtra
from pipelines import engines, records
from pipelines.build import LISTINGS
from pipelines.datasets.array import SUFFIXES as ARRAY_SUFFIXES
from pipelines.listing import Listing, Video
from pipelines.preparation import Preparation, many_hot, steps_of
from pipelines.remote import check_local
from pipelines.schema import RecordSpec

VIDEOS_A_SHARD = 32
DONE = ".prepare-done"  # what the plan is called while it is taken away
LIST_SUFFIXES = (".txt", ".csv", ".tsv", ".list")


# One shard


@dataclasses.dataclass(frozen=True)
class Shard:
    """What one shard is made of: all that a worker needs, on this machine or another one."""

    folder: str
    name: str
    videos: tuple[Video, ...]
    how: Preparation
    spec: RecordSpec
    stop: bool

    @property
    def told(self):
        """Where what became of it is written."""
        return pathlib.Path(self.folder, records.PLAN, self.name + ".json")

    @property
    def is_done(self):
        """Whether it was told, and is there if it holds a video."""
        if not self.told.is_file():
            return False
        return not json.loads(self.told.read_text())["shard"] or pathlib.Path(self.folder, self.name).is_file()


def write_shard(shard: Shard):
    """Writes a shard: its videos one after the other, each whole or not at all. Returns what became of it."""
    aside = pathlib.Path(shard.folder, records.PLAN, f"{shard.name}.{uuid.uuid4().hex}")
    writer = records.ShardWriter(aside, shard.spec)
    skipped = []
    for video in shard.videos:
        try:
            label = video.label
            encoded = many_hot(label, shard.spec) if isinstance(label, tuple) else label
            writer.write(steps_of(video, shard.how, shard.spec), os.fsencode(video.id), encoded)
        except (records.WriteError, MissingExtra):
            raise
        except InputError as error:
            reason = str(error) if video.path in str(error) else f"{video.path}: {error}"
            if shard.stop:
                raise InputError(reason) from error
            skipped.append({"id": video.id, "split": records.split_of(shard.name), "reason": reason})
    info = writer.close()
    result = {"name": shard.name, "shard": info if info["clips"] else None, "skipped": skipped}
    result["frame_sizes"] = sorted(writer.sizes)
    records.write_json(shard.told, result)
    if info["clips"]:
        with records.told_of(shard.folder):
            os.replace(aside, pathlib.Path(shard.folder, shard.name))
    else:
        aside.unlink()
    return result


# The whole


def prepare(
    listing: Listing, out, how: Preparation, *, shards=None, workers=None, stop=False, engine="local", address=None
):
    """Writes the shards of a listing to the folder `out`; returns its `dataset_info.json`.

    Args:
        listing: the videos of every split.
        out: folder; other splits of the same form may be in it.
        how: what is kept of a video.
        shards: files a split; None: one for every 32 videos.
        workers: processes at once; None: as many as there are cores (on Ray: as the cluster has).
        stop: stop at the first video that cannot be read, instead of skipping it.
        engine: "local" (processes on this machine) or "ray" (a Ray cluster whose nodes share `out` and the videos).
        address: of the Ray cluster.
    """
    check_local(out)
    engines.check(engine, workers, address)
    if shards is not None and shards < 1:
        raise InputError(f"`shards` must be at least 1. Received: shards={shards}")
    out = pathlib.Path(out).absolute()  # workers on other machines have folders of their own
    plan = plan_shards(listing, out, how, shards, stop)
    with only_run(out):
        open_plan(plan, out, how)
        return carry_out(plan, out, how, listing.ignored, engine, workers, address)


def carry_out(plan, out, how, ignored, engine, workers, address):
    """Writes what is left of a plan; returns `dataset_info.json`."""
    progress, left = Progress(sum(len(shard.videos) for shard in plan)), []
    for shard in plan:
        if shard.is_done:
            progress.add(shard, json.loads(shard.told.read_text()))
        else:
            left.append(shard)
    for shard, result in engines.run(write_shard, left, engine, workers, address):
        progress.add(shard, result)
    return finish(plan, out, how, ignored)


def plan_shards(listing, out, how, shards, stop):
    """Every split's videos over its shards: in an order without meaning, of nearly equal sizes of files."""
    plan, spec = [], how.spec(listing)
    for split, videos in listing.splits.items():
        if not videos:
            continue
        number = min(len(videos), shards or math.ceil(len(videos) / VIDEOS_A_SHARD))
        videos = [dataclasses.replace(video, path=os.path.abspath(video.path)) for video in videos]
        parts, sizes = [[] for _ in range(number)], [0] * number
        for video in sorted(videos, key=lambda video: hashlib.sha256(os.fsencode(video.id)).digest()):
            n = min(range(number), key=lambda n: (sizes[n], n))
            parts[n].append(video)
            sizes[n] += _size(video)
        names = records.shard_names(split, number)
        plan += [Shard(str(out), name, tuple(part), how, spec, stop) for name, part in zip(names, parts)]
    return plan


def _size(video):
    """Bytes of a video's file (of a part of it: its seconds), 1 where it is missing or holds several."""
    if video.array is not None:
        return 1
    if video.span is not None:
        return max(1, round(1e6 * (video.span[1] - video.span[0])))
    try:
        return max(1, os.path.getsize(video.path))
    except OSError:
        return 1


def open_plan(plan, out, how):
    """Makes the folder of what is under way; refuses one that was begun with other videos or options."""
    path = out / records.PLAN / "plan.json"
    spec = plan[0].spec
    videos = {shard.name: [[v.id, v.label, v.span, v.intervals] for v in shard.videos] for shard in plan}
    wanted = json.loads(json.dumps({"how": dataclasses.asdict(how), "spec": spec.as_dict(), "shards": videos}))
    if path.is_file():
        known = json.loads(path.read_text())
        other = [name for name in wanted if known.get(name) != wanted[name]]
        begun = any((path.parent / f"{name}.json").is_file() for name in known["shards"])
        if other and begun:
            raise InputError(
                f"{out} was begun with other {'options' if 'how' in other else 'videos'}; give the same, or another "
                f"--out (or delete {path.parent} and its shards to begin anew). "
                f"Received: {changed(known['how'], wanted['how']) or 'other videos, labels or numbers of shards'}"
            )
    for left in path.parent.glob("*.tfrecord.*"):
        if left.suffix != ".json":  # what a worker was writing when it was killed
            left.unlink()
    if not path.is_file() or other:  # or nothing of the other plan was finished
        shutil.rmtree(out / DONE, ignore_errors=True)
        records.check_alike(out, spec)
        records.check_free(out, sorted({records.split_of(shard.name) for shard in plan}))
        records.write_json(path, wanted)


@contextlib.contextmanager
def only_run(out):
    """Holds a lock in the plan's folder; refuses a second run of it on this machine. No plan, no folder afterwards."""
    folder = out / records.PLAN
    with records.told_of(out):
        folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"Another run is writing these shards. Received: --out={out}") from error
        try:
            yield
        finally:
            if not (folder / "plan.json").exists():
                shutil.rmtree(folder, ignore_errors=True)


def changed(known, wanted):
    """Options that are not the same, in words."""
    return ", ".join(
        f"{name}={wanted[name]} (was {known.get(name)})" for name in wanted if wanted[name] != known.get(name)
    )


def finish(plan, out, how, ignored=()):
    """`features.json` and `dataset_info.json` of what was written; takes away the plan."""
    results = [json.loads(shard.told.read_text()) for shard in plan]
    skipped = sorted(
        (entry for r in results for entry in r["skipped"]), key=lambda entry: (entry["split"], entry["id"])
    )
    written = {r["name"]: r["shard"] for r in results if r["shard"]}
    if written and not is_told(out, written):
        spec, sizes = plan[0].spec, {tuple(size) for r in results for size in r["frame_sizes"]}
        spec = records.resized(spec, sizes.pop()[:2]) if len(sizes) == 1 else spec
        made = {**dataclasses.asdict(how), "ignored": list(ignored), "environment": cli.environment()}
        records.write_info(out, spec, written, skipped, made)
    os.rename(out / records.PLAN, out / DONE)  # at once: half a plan would be no plan
    shutil.rmtree(out / DONE)
    empty = {records.split_of(shard.name) for shard in plan} - {records.split_of(name) for name in written}
    if empty:
        reason = skipped[0]["reason"]
        raise InputError(f"No video of {', '.join(sorted(empty))} could be read: {reason} ({len(skipped)} skipped)")
    return records.read_info(out)


def is_told(out, written):
    """Whether `dataset_info.json` has these shards already: killed just before the plan was taken away."""
    if not (out / "dataset_info.json").is_file():
        return False
    return written.keys() <= records.read_info(out)["shards"].keys()


class Progress:
    """Videos done and skipped: a bar on a terminal, lines elsewhere."""

    def __init__(self, total):
        self.total, self.done, self.skipped = total, 0, 0
        self.bar = (
            keras.utils.Progbar(total, unit_name="video", stateful_metrics=["skipped"]) if sys.stdout.isatty() else None
        )

    def add(self, shard, result):
        self.done, self.skipped = self.done + len(shard.videos), self.skipped + len(result["skipped"])
        if self.bar:
            self.bar.update(self.done, [("skipped", self.skipped)])
        else:
            print(f"{self.done}/{self.total} videos, {self.skipped} skipped ({shard.name})", flush=True)


# Command line


def main(argv):
    options, how, listing = parse(argv)
    info = prepare(
        listing,
        options.out,
        how,
        shards=options.shards,
        workers=options.workers,
        stop=options.on_error == "stop",
        engine=options.engine,
        address=options.address,
    )
    print(summary(info, options.out))
    for line in empty_classes(listing, info):
        print(line)


def parse(argv):
    """`(options, Preparation, Listing)` of a command line; the listing's function types its own options."""
    argv = [re.sub("^--[a-z-]+", lambda word: "--" + word[0][2:].replace("-", "_"), word) for word in argv]
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--dataset")
    given, rest = first.parse_known_args(argv)
    before = ["", *rest]  # a word after an option without "=" is its value
    words = [w for b, w in zip(before, rest) if not w.startswith("-") and (not b.startswith("--") or "=" in b)]
    asks = "--help" in rest or "-h" in rest
    name = given.dataset or ("folder" if asks and not words else kind_of(words[0] if words else None))
    if name not in LISTINGS:
        raise InputError.unknown("data set", name, LISTINGS)
    parser = ArgumentParser(prog="python -m pipelines.prepare", description=described(name), exit_on_error=False)
    parser.add_argument("input", help="Folder, list file, video or arrays; of a data set, its folder.")
    parser.add_argument("--out", required=True, help="Folder of the shards.")
    parser.add_argument("--dataset", default=name, help="What reads the input; its own options are below.")
    parser.add_argument("--shards", type=int | None, help=f"Files a split; null: one for {VIDEOS_A_SHARD} videos.")
    parser.add_argument("--workers", type=int | None, help="Processes at once; null: one for every core.")
    parser.add_argument("--on_error", default="skip", choices=("skip", "stop"), help="At a video that is not readable.")
    parser.add_argument("--engine", default="local", choices=engines.ENGINES, help="Processes here, or a Ray cluster.")
    parser.add_argument("--address", type=str | None, help="Of the Ray cluster (auto: the one of this machine).")
    parser.add_class_arguments(Preparation)
    taken = list(inspect.signature(LISTINGS[name]).parameters)
    parser.add_function_arguments(LISTINGS[name], skip={taken[0]}, fail_untyped=True)
    parsed = cli.parse(parser, argv)
    how = Preparation(**{field.name: parsed[field.name] for field in dataclasses.fields(Preparation)})
    return parsed, how, LISTINGS[name](parsed.input, **{option: parsed[option] for option in taken[1:]})


def described(name):
    return f"Turns videos into shards ({name}). Inputs: {', '.join(sorted(LISTINGS))}."


def kind_of(path):
    """The listing that reads an input, by what it looks like."""
    if path is None or not os.path.exists(path):
        raise InputError(f"INPUT must be a folder, a list file, a video or a file of arrays. Received: {path}")
    if os.path.isdir(path):
        return "folder"
    suffix = pathlib.Path(path).suffix.lower()
    return "list_file" if suffix in LIST_SUFFIXES else "array" if suffix in ARRAY_SUFFIXES else "one_video"


def summary(info, out):
    """What a folder of shards holds, in a few lines."""
    lines = [records.counted(split, records.shards_of(info, split)) for split in records.splits_of(info)]
    lines += [f"skipped: {entry['reason']}" for entry in info["skipped"]]
    lines += [f"ignored: {what}" for what in info["made"][-1]["ignored"]]
    return "\n".join([*lines, f"shards: {out}"])


def empty_classes(listing, info):
    """A line for every split in which classes have no video, which no score would show."""
    skipped = {(entry["split"], entry["id"]) for entry in info["skipped"]}
    lines = []
    for split, videos in listing.splits.items():
        there = {video.label for video in videos if (split, video.id) not in skipped}
        missing = [name for n, name in enumerate(listing.classes or ()) if n not in there]
        if listing.label_kind == "one" and videos and missing:
            lines.append(f"no video in {split} of: {', '.join(missing)}")
    return lines


if __name__ == "__main__":
    cli.run(main)
