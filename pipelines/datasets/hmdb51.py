"""HMDB51: 51 human actions in clips of films and YouTube videos (H. Kuehne et al., ICCV 2011).

At https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/: hmdb51_org.rar, a rar of each class in
it, and test_train_splits.rar. Expected: `<class>/<clip>.avi` and, in `testTrainMulti_7030_splits`,
`<class>_test_split<fold>.txt` of lines `<clip>.avi <1 training, 2 test, 0 in neither>`.

Three official folds of 70 training and 30 test clips a class (3,570 and 1,530), of different films; the clips marked 0
are left out. There is no validation split: it is cut off the training clips here. For research, to be
cited; the rights in the footage are the films'.
"""

import pathlib
import re

from keras_st.specs import InputError
from pipelines.listing import Listing, Video, check_range, hold_out, read_lines, wrong_line

SPLITS = {"0": "", "1": "train", "2": "test"}


def hmdb51_listing(root: str, *, fold: int = 1, validation: float = 0.1) -> Listing:
    """An official split of HMDB51.

    Args:
        root: folder of the class folders and of testTrainMulti_7030_splits.
        fold: 1, 2 or 3.
        validation: part of each class's training films that is for validation (`pipelines.listing.split_by_group`; a
            film is what stands in a clip's name before its class). 0: all are for training, as in publications.

    Raises:
        InputError: no list of the fold; naming the line, one of another form.
    """
    check_range("fold", fold, 1, 3)
    end = f"_test_split{fold}.txt"
    lists = sorted(pathlib.Path(root, "testTrainMulti_7030_splits").glob(f"*{end}"))
    if not lists:
        raise InputError(f"{root} must hold testTrainMulti_7030_splits/<class>{end}. Received: none")
    classes = tuple(path.name.removesuffix(end) for path in lists)
    listed: dict[str, list[Video]] = {"train": [], "test": []}
    for label, (name, path) in enumerate(zip(classes, lists)):
        for number, line in read_lines(path):
            clip, _, mark = line.rpartition(" ")
            if not clip.strip().endswith(".avi") or mark not in SPLITS:
                raise wrong_line(path, number, "`<clip>.avi <0, 1 or 2>`", line)
            if SPLITS[mark]:
                clip = f"{name}/{clip.strip()}"
                listed[SPLITS[mark]].append(Video(str(pathlib.Path(root, clip)), clip, label))
    return Listing({**hold_out(listed["train"], _film, validation), "test": listed["test"]}, classes)


def _film(video):
    """A clip is `<film>_<class>_<body>_<camera>_<people>_<view>_<quality>_<number>.avi`."""
    name, clip = video.id.split("/")
    return re.sub(r"(_[^_]+){6}$", "", clip.removesuffix(".avi")).removesuffix(f"_{name}")
