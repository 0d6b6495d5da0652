"""MultiTHUMOS: 65 actions in every frame of the THUMOS'14 videos (S. Yeung et al., IJCV 2018, arXiv 1507.05738).

At https://ai.stanford.edu/~syyeung/everymoment.html (annotations); the videos are the 200 validation and 213 test
videos of THUMOS'14, https://www.crcv.ucf.edu/THUMOS14/download.html. Expected: `class_list.txt` (lines
`<1..65> <Class>`), `annotations/<Class>.txt` (lines `<video> <start> <end>` in seconds) and
`video_validation_<number>.mp4`, `video_test_<number>.mp4` anywhere below the folder.

As in publications the validation videos are for training and the test videos for the test; a part of the former is held
out for validation here. Several classes may hold at once; frames without any are labelled with none. Research use.
"""

import math
import pathlib
import re

from pipelines.listing import Listing, Video, hold_out, locate, read_lines, read_numbered_classes, wrong_line


def multithumos_listing(root: str, *, validation: float = 0.1) -> Listing:
    """The annotated videos of THUMOS'14, with labels of their frames.

    Args:
        root: folder of the annotations and the videos.
        validation: part of the training videos that is for validation, chosen by a hash of their names. 0: none.

    Raises:
        InputError: an annotation file that is missing or, naming the line, of another form. Intervals without length
            are listed as ignored.
    """
    folder = pathlib.Path(root)
    classes = read_numbered_classes(folder / "class_list.txt")
    intervals: dict[str, list[tuple[float, float, int]]] = {}
    ignored = []
    for label, name in enumerate(classes):
        path = folder / "annotations" / f"{name}.txt"
        for number, line in read_lines(path):
            found = re.fullmatch(r"(video_(?:validation|test)_\d+)\s+([\d.]+)\s+([\d.]+)", line)
            start, end = (_seconds(found[n]) for n in (2, 3)) if found else (math.nan, math.nan)
            if found is None or math.isnan(start + end):
                raise wrong_line(path, number, "`video_<validation or test>_<number> <start> <end>`", line)
            if start < end:
                intervals.setdefault(found[1], []).append((start, end, label))
            else:
                ignored.append(f"annotations/{path.name}, line {number}: {line}")
    path_of = locate(folder)
    videos = [Video(path_of(name), name, intervals=tuple(sorted(found))) for name, found in sorted(intervals.items())]
    train = [video for video in videos if video.id.startswith("video_validation")]
    test = [video for video in videos if video.id.startswith("video_test")]
    return Listing({**hold_out(train, lambda video: video.id, validation), "test": test}, classes, tuple(ignored))


def _seconds(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
