"""ActivityNet 200, release 1.3 (F. Caba Heilbron, V. Escorcia, B. Ghanem, J. C. Niebles, CVPR 2015).

At http://activity-net.org: 10,024 training, 4,926 validation and 5,044 test videos of YouTube; the labels of the test
videos are withheld, and they are left out here. Expected: `activity_net.v1-3.min.json` and `v_<id>.<suffix>` anywhere
below the folder (as the authors' archives, v1-2 and v1-3, unpack). The file holds `database`: id -> `subset`
("training", "validation", "testing") and `annotations`, each with `segment` (start and end in seconds) and `label`.

Classes are in the order of their names. Publications report on the validation videos.
"""

import json
import pathlib

from keras_st.specs import InputError
from pipelines.listing import Listing, Video, hold_out, locate

FILE = "activity_net.v1-3.min.json"


def activitynet_listing(root: str, *, trimmed: bool = True, validation: float = 0.0) -> Listing:
    """The official subsets of ActivityNet.

    Args:
        root: folder of the annotation file and the videos.
        trimmed: a video is an annotated part of one, with its label, named `v_<id>/<number from 0>`; parts that end
            before they begin are listed as ignored. False: whole videos, with all their labels.
        validation: 0: training and validation as published, no test. Else the published validation subset is the test
            split, and this part of the training videos, parts of one together, is for validation.

    Raises:
        InputError: an annotation file that is missing, no JSON, or, naming the video, of another form.
    """
    path = pathlib.Path(root, FILE)
    try:
        database = json.loads(path.read_text(encoding="utf-8"))["database"]
        entries = {name: (entry["subset"], entry["annotations"]) for name, entry in database.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} must be {FILE} as released. Received: {type(error).__name__}: {error}") from error
    parts = {name: _parts(path, name, notes) for name, (_, notes) in entries.items()}
    classes = tuple(sorted({label for found in parts.values() for label, _, _ in found}))
    index, path_of = {name: n for n, name in enumerate(classes)}, locate(root)
    splits: dict[str, list[Video]] = {"training": [], "validation": []}
    ignored = []
    for name, (subset, _) in entries.items():
        found, file = parts[name], path_of(f"v_{name}")
        if subset == "testing":
            continue
        if subset not in splits:
            raise InputError(f"Subsets in {path} are training, validation and testing. Received: {name} in {subset!r}")
        if not found:
            ignored.append(f"v_{name}: no annotation")
        elif trimmed:
            for number, (label, start, end) in enumerate(found):
                if 0 <= start < end:
                    splits[subset].append(Video(file, f"v_{name}/{number}", index[label], span=(start, end)))
                else:
                    ignored.append(f"v_{name}/{number}: {start} to {end} s")
        else:
            splits[subset].append(Video(file, f"v_{name}", tuple(sorted({index[label] for label, _, _ in found}))))
    if not validation:
        return Listing({"train": splits["training"], "validation": splits["validation"]}, classes, tuple(ignored))
    train = hold_out(splits["training"], lambda video: video.id.split("/")[0], validation)
    return Listing({**train, "test": splits["validation"]}, classes, tuple(ignored))


def _parts(path, name, notes):
    """`(label, start, end)` of the annotations of a video."""
    try:
        parts = [(str(note["label"]), *note["segment"]) for note in notes]
        return [(label, float(start), float(end)) for label, start, end in parts]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"Annotations in {path} have a label and a segment. Received: {name}: {notes}") from error
