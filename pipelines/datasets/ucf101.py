"""UCF101: 101 human actions (K. Soomro, A. R. Zamir, M. Shah, CRCV-TR-12-01, 2012), 13,320 clips of YouTube videos.

At https://www.crcv.ucf.edu/data/UCF101.php: UCF101.rar and the train/test splits for action recognition. Expected:
`UCF-101/<Class>/v_<Class>_g<NN>_c<NN>.avi`, `ucfTrainTestlist/classInd.txt` (lines `<1..101> <Class>`),
`trainlist0<fold>.txt` (`<Class>/<file> <number>`) and `testlist0<fold>.txt` (`<Class>/<file>`).

Three official folds, 9,537 clips for training and 3,783 for the test in the first. They keep the clips of a group (g01
to g25, one person or background) together, and have no validation split: it is cut off the training groups here.
Research use, to be cited; the footage is YouTube's users'.
"""

import pathlib
import re

from keras_st.specs import InputError
from pipelines.listing import Listing, Video, check_range, read_lines, read_numbered_classes, wrong_line


def ucf101_listing(root: str, *, fold: int = 1, validation_groups: int = 2) -> Listing:
    """An official split of UCF101.

    Args:
        root: folder of UCF-101 and ucfTrainTestlist.
        fold: 1, 2 or 3.
        validation_groups: the last so many groups of the training list (fold 1: g24 and g25) are for validation. 0:
            all are for training, as in publications.

    Raises:
        InputError: a list that is missing or, naming the line, of another form; so many groups that none is left.
    """
    check_range("fold", fold, 1, 3)
    lists, videos = pathlib.Path(root, "ucfTrainTestlist"), pathlib.Path(root, "UCF-101")
    classes = read_numbered_classes(lists / "classInd.txt")
    train = _read(lists / f"trainlist0{fold}.txt", videos, classes)
    test = _read(lists / f"testlist0{fold}.txt", videos, classes)
    groups = sorted({group for group, _ in train})
    if not 0 <= validation_groups < max(len(groups), 1):
        raise InputError(
            f"Of {len(groups)} training groups some are to remain. Received: validation_groups={validation_groups}"
        )
    held_out = groups[len(groups) - validation_groups :]
    splits = {"train": [video for group, video in train if group not in held_out]}
    if held_out:
        splits["validation"] = [video for group, video in train if group in held_out]
    return Listing({**splits, "test": [video for _, video in test]}, classes)


def _read(path, folder, classes):
    """`(group, video)` of every line of a list."""
    listed = []
    for number, line in read_lines(path):
        found = re.fullmatch(r"(\w+)/(v_\w+_g(\d\d)_c\d\d\.avi)(?: +(\d+))?", line)
        if not found or found[1] not in classes or found[4] not in (None, str(classes.index(found[1]) + 1)):
            raise wrong_line(path, number, "`<Class>/v_<Class>_g<NN>_c<NN>.avi`, and in training its number", line)
        name = f"{found[1]}/{found[2]}"
        listed.append((int(found[3]), Video(str(folder / name), name, classes.index(found[1]))))
    return listed
