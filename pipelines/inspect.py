"""Looks into a folder of shards: what it holds, whether it is whole, what it looks like.

    python -m pipelines.inspect DIR [--out PICTURES] [--videos 8]

Prints counts by split and class and what was skipped; reads every record, so that every CRC is checked, and compares
every shard with its SHA-256 in dataset_info.json. Draws `<split>.png`, a contact sheet of evenly spaced frames, and
`<split>_flow.png` and its legend where there is flow, to a new folder (`DIR/pictures/<n>` unless told). Records without
video are counted and checked, not drawn.
"""

import argparse
import collections
import hashlib
import pathlib

import numpy as np

from keras_st import cli, viz
from keras_st.specs import InputError
from pipelines import records
from pipelines.remote import check_local
from pipelines.schema import PICTURES, decode_frames

FRAMES = 8  # of a video on a contact sheet


def inspect(root):
    """`(lines of text, damage)`: what a folder of shards holds, and what is wrong with it, a line each."""
    check_local(root)
    spec, info = records.read_spec(root), records.read_info(root)
    lines, damage = [records.described(spec)], []
    for split in records.splits_of(info):
        shards = records.shards_of(info, split)
        for name, stated in shards.items():
            try:
                records.check_shard(root, name, stated)
                with open(pathlib.Path(root, name), "rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != stated["sha256"]:
                        raise InputError(f"{pathlib.Path(root, name)} was changed: its SHA-256 is another than stated.")
            except InputError as error:
                damage.append(str(error))
        lines.append(records.counted(split, shards))
        if not damage and spec.label_shape is not None:
            lines.append("  " + ", ".join(f"{name} {n}" for name, n in classes_of(root, split, spec).items()))
    lines += [f"skipped: {entry['split']}: {entry['reason']}" for entry in info["skipped"]]
    lines += [f"ignored: {what}" for made in info["made"] for what in made["ignored"]]
    return lines, damage


def classes_of(root, split, spec):
    """Videos (of frame labels: frames) of every class in a split."""
    counts = collections.Counter()
    for clip in records.read_dataset(split, root=str(root), verify=False, encoded=True, shuffle=False):
        label = clip["label"].numpy()
        if label.ndim == 0:
            counts[int(label)] += 1
        else:
            held = (label.reshape(-1, label.shape[-1]) == 1).sum(0)
            counts.update({n: int(count) for n, count in enumerate(held)})
    names = spec.classes or [str(n) for n in range(max(counts) + 1)]
    return {name: counts[n] for n, name in enumerate(names)}


def draw(root, split, folder, videos):
    """Writes the contact sheet of a split, and of its flow; returns the paths."""
    spec, shown, fields = records.read_spec(root), [], []
    pictures = [spec.features[name] for name in PICTURES if name in spec.features]
    clips = records.read_dataset(split, root=str(root), verify=False, encoded=True, shuffle=False)
    step = max(1, int(clips.cardinality()) // videos)
    for clip in clips.shard(step, 0).take(videos):
        name, length = clip["id"].numpy().decode(errors="replace"), int(clip["video"].shape[0])
        places = np.unique(np.linspace(0, length - 1, FRAMES).round().astype(int))
        for rows, feature in zip((shown, fields), pictures):
            rows.append((name, decode_frames(clip[feature.name].numpy()[places], feature, clip["size"]).numpy()))
    paths = [folder / f"{split}.png"]
    viz.examples([(name, frames / 255) for name, frames in shown]).savefig(paths[0])
    if fields:
        paths += [folder / f"{split}_flow.png", folder / f"{split}_flow_colors.png"]
        largest = max(float(np.quantile(np.linalg.norm(flow, axis=-1), 0.99)) for _, flow in fields) or 1.0
        viz.examples([(name, viz.flow_to_color(flow, largest)) for name, flow in fields]).savefig(paths[1])
        viz.flow_wheel(largest).savefig(paths[2])
    return paths


def main(argv):
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.inspect", description="Looks into a folder of shards.", allow_abbrev=False
    )
    parser.add_argument("root", help="folder of shards")
    parser.add_argument("--out", help="folder of pictures to make (default: DIR/pictures/<n>)")
    parser.add_argument("--videos", type=int, default=8, help="videos of a split that are drawn (default: 8)")
    options = cli.parse(parser, argv)
    if options.videos < 1:
        raise InputError(f"--videos must be at least 1. Received: --videos={options.videos}")
    lines, damage = inspect(options.root)
    print("\n".join(lines))
    if damage:
        raise InputError(f"{len(damage)} of the shards cannot be trusted: " + "; ".join(damage))
    if records.read_spec(options.root).video is None:
        print("no pictures: these records hold no video")
        return
    folder = new_folder(options)
    for split in records.splits_of(records.read_info(options.root)):
        for path in draw(options.root, split, folder, options.videos):
            print(path)


def new_folder(options):
    """`--out`, or `DIR/pictures/<n>`, the first that is free; made."""
    parent = pathlib.Path(options.root, "pictures")
    n = 1
    while (parent / str(n)).exists():
        n += 1
    folder = pathlib.Path(options.out) if options.out else parent / str(n)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"Pictures go to a new folder. Received: {folder}: {error.strerror}") from error
    return folder


if __name__ == "__main__":
    cli.run(main)
