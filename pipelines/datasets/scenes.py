"""Dynamic scenes, of two data sets of one shape: a folder of class folders of videos.

YUPENN: 14 classes of 30 videos (K. G. Derpanis, M. Lecce, K. Daniilidis, R. P. Wildes, CVPR 2012), static camera.
Maryland "in the wild": 13 classes of 10 videos (N. Shroff, P. Turaga, R. Chellappa, CVPR 2010), moving camera.
At https://vision.eecs.yorku.ca/research/dynamic-scenes/ (YUPENN; its successor YUP++ unpacks to two such folders,
`camera_stationary` and `camera_moving`). The class folders of the first two are assumed to hold video files; no licence
is known, research use.

Protocol: leave one video out, as many folds as videos. `keras_st.transfer leave_one_out` does all folds at once on
features of all videos: that is fold 0.
"""

from pipelines.datasets.folder import folder_listing
from pipelines.listing import Listing, check_range


def scenes_listing(root: str, *, fold: int = 0) -> Listing:
    """Dynamic scenes with one video left out.

    Args:
        root: folder of the class folders.
        fold: number from 1 of the video, in order of the ids, that is the test; all others are for training. 0: all
            videos are the test split.

    Raises:
        InputError: what `folder_listing` refuses.
    """
    listing = folder_listing(root, fractions=(0.0, 0.0, 1.0))
    videos = sorted(listing.videos, key=lambda video: video.id)
    check_range("fold", fold, 0, len(videos))
    splits = (
        {"train": videos[: fold - 1] + videos[fold:], "test": videos[fold - 1 : fold]} if fold else {"test": videos}
    )
    return Listing(splits, listing.classes, listing.ignored)
