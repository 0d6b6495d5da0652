"""What a check says, and when two arrays of numbers are the same."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError

RELATIVE, OF_LARGEST = 1e-4, 1e-5  # tolerance: of the value itself, and of the largest of its array (1 at least)


class Result(NamedTuple):
    """One line of a report: name of the check, whether it holds, what was found."""

    name: str
    ok: bool
    detail: str

    def __str__(self):
        return f"{'ok  ' if self.ok else 'FAIL'} {self.name}: {' '.join(self.detail.split())}"


class Failed(Exception):
    """A check does not hold; the message says why."""


def told(name, check, *args):
    """The `Result` of `check(*args)`, which returns what it found or raises `Failed`.

    Whatever else it raises is a failure of the export too: of one that is damaged, other errors cannot all be foreseen.
    """
    try:
        return Result(name, True, check(*args))
    except (Failed, InputError, tf.errors.OpError) as error:
        return Result(name, False, str(error) or type(error).__name__)
    except Exception as error:
        return Result(name, False, f"{type(error).__name__}: {error}")


class Differences:
    """Collects the differences of numbers that must be equal but for rounding."""

    def __init__(self):
        self.largest, self.count = 0.0, 0

    def add(self, where, got, expected):
        """Compares dicts of arrays of the same names; raises `Failed`, naming `where`."""
        if set(got) != set(expected):
            raise Failed(f"{where} gives {sorted(got)}, expected {sorted(expected)}")
        for name, x in expected.items():
            self._add(f"`{name}` of {where}", np.asarray(got[name]), np.asarray(x))

    def _add(self, where, got, expected):
        if got.dtype != expected.dtype or got.shape != expected.shape:
            raise Failed(f"{where} is {got.dtype} {got.shape}, expected {expected.dtype} {expected.shape}")
        self.count += 1
        if expected.dtype.kind not in "fc" or not expected.size:
            if not np.array_equal(got, expected):
                raise Failed(f"{where} differs")
            return
        scale = max(1.0, float(np.abs(expected, where=np.isfinite(expected), out=np.zeros_like(expected)).max()))
        if not np.allclose(got, expected, RELATIVE, OF_LARGEST * scale, equal_nan=True):
            raise Failed(f"{where} differs by {np.nanmax(np.abs(got - expected)):.2g}, with values up to {scale:.3g}")
        self.largest = max(self.largest, float(np.nanmax(np.abs(got - expected), initial=0.0)) / scale)

    def __str__(self):
        return f"largest difference {self.largest:.1e} (tolerance {RELATIVE:g} relative, {OF_LARGEST:g} of the largest)"
