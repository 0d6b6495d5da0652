"""Weizmann actions: nine persons, ten actions (M. Blank, L. Gorelick, E. Shechtman, M. Irani, R. Basri, ICCV 2005).

At https://www.wisdom.weizmann.ac.il/~vision/SpaceTimeActions.html: a zip of each action. Expected:
`<person>_<action>.avi` anywhere below the folder, 93 videos: lena runs, skips and walks twice (`lena_run1.avi`,
`lena_run2.avi`).

Protocol: leave one person out, nine folds. Publications train on the other eight; the next person in the alphabet is
for validation here. Research use, to be cited; no licence is known.
"""

import re

from keras_st.specs import InputError
from pipelines.listing import Listing, Video, check_range, find_files

PERSONS = ("daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar")
CLASSES = ("bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2")


def weizmann_listing(root: str, *, fold: int = 1, validation_persons: int = 1) -> Listing:
    """Weizmann with one person left out.

    Args:
        root: folder of the videos.
        fold: 1 to 9, the person of `PERSONS` whose videos are the test.
        validation_persons: so many persons after that one (the first follows the last) are for validation. 0: all are
            for training, as in publications.

    Raises:
        InputError: a folder that cannot be read; a video of another name.
    """
    check_range("fold", fold, 1, len(PERSONS))
    check_range("validation_persons", validation_persons, 0, len(PERSONS) - 2)
    names = ["test"] + ["validation"] * validation_persons + ["train"] * (len(PERSONS) - 1 - validation_persons)
    split = {PERSONS[(fold - 1 + n) % len(PERSONS)]: name for n, name in enumerate(names)}
    splits: dict[str, list[Video]] = {name: [] for name in reversed(dict.fromkeys(names))}
    for path in find_files(root)[0]:
        found = re.fullmatch(f"({'|'.join(PERSONS)})_({'|'.join(CLASSES)})[12]?", path.stem)
        if found is None:
            raise InputError(f"Videos of Weizmann are <person>_<action>.avi. Received: {path}")
        splits[split[found[1]]].append(Video(str(path), path.stem, CLASSES.index(found[2])))
    return Listing(splits, CLASSES)
