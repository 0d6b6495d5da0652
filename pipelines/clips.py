"""One clip of a user's, from a file to an array."""

import pathlib
import zipfile

import numpy as np

from keras_st.specs import InputError


def read_clip(path):
    """A clip (T, H, W, C) from a .npy file of (T, H, W) or (T, H, W, C).

    Raises InputError, naming the file, where it is missing, truncated, not a .npy file, or not a clip. Pickled
    objects are never loaded.
    """
    path = pathlib.Path(path)
    if path.suffix != ".npy" or not path.is_file():
        found = "another kind of file" if path.exists() else "no such file"
        raise InputError(f"{path} must be an existing .npy file. Received: {found}")
    try:
        clip = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must be a whole .npy array of numbers. Received: {error}") from error
    if not isinstance(clip, np.ndarray):
        raise InputError(f"{path} must hold one array. Received: an archive of several (.npz)")
    if clip.ndim == 3:
        clip = clip[..., None]
    if clip.ndim != 4:
        raise InputError(f"{path} must hold a clip (T, H, W) or (T, H, W, C). Received: shape={clip.shape}")
    return clip
