"""ASLAN: do two videos show the same action? (O. Kliper-Gross, T. Hassner, L. Wolf, TPAMI 34(3), 2012)

At https://www.openu.ac.il/home/hassner/data/ASLAN/: 3,697 samples of YouTube videos, `0001.avi` to `3697.avi` (or
.mp4) anywhere below the folder, and `View2.mat`, the benchmark: `action_splits_pairs` (600, 5, 10), for each of ten
folds 300 pairs of the same action and 300 of different ones, columns: id of the first sample, of the second, 1 or 0,
label of the first, of the second. No action is in two folds. Research use, to be cited.

    python -m pipelines.datasets.aslan ROOT > pairs.csv
    python -m keras_st.transfer similarity FEATURES.npz pairs.csv
"""

import pathlib
import re
import sys

from keras_st import cli
from keras_st.specs import InputError
from pipelines.listing import Listing, Video, find_files


def aslan_listing(root: str) -> Listing:
    """All samples of ASLAN, without labels, as one split "test": features are taken of all of them.

    Args:
        root: folder of the samples.

    Raises:
        InputError: a folder that cannot be read; a video that is not named by four digits.
    """
    videos = []
    for path in find_files(root)[0]:
        if not re.fullmatch(r"\d{4}", path.stem):
            raise InputError(f"Samples of ASLAN are named by four digits. Received: {path}")
        videos.append(Video(str(path), path.stem))
    return Listing({"test": videos})


def aslan_pairs(root: str) -> list[tuple[str, str, int, int]]:
    """The pairs of the benchmark, `(id, id, 1 for the same action or 0, fold 1..10)`, from `View2.mat`.

    Raises InputError where the file is missing or of another form, or SciPy (in the extra `svm`) is not installed.
    """
    try:
        import scipy.io
    except ImportError as error:
        raise InputError('View2.mat needs SciPy: pip install "keras_st[svm]". Received: no module scipy') from error
    path = pathlib.Path(root, "View2.mat")
    try:
        pairs = scipy.io.loadmat(str(path))["action_splits_pairs"]
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise InputError(f"{path} must be the file of the benchmark. Received: {error}") from error
    if pairs.ndim != 3 or pairs.shape[1] < 3 or not set(pairs[:, 2].flat) <= {0, 1}:
        raise InputError(f"{path} must hold pairs (600, 5, 10), the third column 1 or 0. Received: {pairs.shape}")
    folds = range(pairs.shape[2])
    return [(f"{int(a):04}", f"{int(b):04}", int(c), n + 1) for n in folds for a, b, c in pairs[:, :3, n]]


def main(argv):
    if len(argv) != 1 or argv[0].startswith("-"):
        raise InputError(f"Usage: python -m pipelines.datasets.aslan ROOT > pairs.csv. Received: {' '.join(argv)}")
    for pair in aslan_pairs(argv[0]):
        print(*pair, sep=",", file=sys.stdout)


if __name__ == "__main__":
    cli.run(main)
