"""The values of one array in the order of another."""

from keras import ops


def match_distribution(scores, values):
    """`values` rearranged: the largest where `scores` is largest, and so on. float (..., H, W, 1), field by field.

    Probability matching: a forecast of the mean has smooth fields with the rain in the right places but too little of
    it in too many of them; this gives it back a distribution. Equal scores keep the order of the cells.

    Args: scores, values: of one shape. Gradients reach neither places nor `scores`.

    Reference: E. Ebert, "Ability of a poor man's ensemble to predict the probability and distribution of
    precipitation", Monthly Weather Review 129, 2001.
    """
    shape = ops.shape(scores)
    cells = (*shape[:-3], shape[-3] * shape[-2])
    ranks = ops.argsort(ops.argsort(ops.reshape(scores, cells), axis=-1), axis=-1)
    ordered = ops.sort(ops.reshape(values, cells), axis=-1)
    return ops.reshape(ops.take_along_axis(ordered, ranks, axis=-1), shape)
