"""Preprocessors that break their contract."""

import sys
from typing import Any

import numpy as np

from medseg.errors import InputError
from medseg.steps import Preprocessor
from medseg.volume import Volume


class GivesNone(Preprocessor):
    """Return nothing."""

    def __call__(self, volume: Volume) -> Any:
        return None


class GivesArray(Preprocessor):
    """Return an array without its geometry."""

    def __call__(self, volume: Volume) -> Any:
        return volume.array * 2


class GivesNan(Preprocessor):
    """Divide by zero."""

    def __call__(self, volume: Volume) -> Volume:
        return volume.replace(array=np.full_like(volume.array, np.nan))


class GivesBool(Preprocessor):
    """Return truth values."""

    def __call__(self, volume: Volume) -> Volume:
        return volume.replace(array=volume.array > 0)


class WritesImage(Preprocessor):
    """Write into the input."""

    def __call__(self, volume: Volume) -> Volume:
        volume.array[:] = 0
        return volume


class ForcesImage(Preprocessor):
    """Write into the input by force."""

    def __call__(self, volume: Volume) -> Volume:
        array = volume.array.base if volume.array.base is not None else volume.array
        array.setflags(write=True)
        array += 1
        return volume


class Random(Preprocessor):
    """Return another image each time."""

    def __call__(self, volume: Volume) -> Volume:
        return volume.replace(array=volume.array + np.random.default_rng().normal(size=volume.array.shape))


class RaisesValue(Preprocessor):
    """Fail with a message of several lines."""

    def __call__(self, volume: Volume) -> Volume:
        raise ValueError("first line\nsecond line")


class RaisesKey(Preprocessor):
    """Fail as a dictionary does."""

    def __call__(self, volume: Volume) -> Volume:
        raise KeyError("x")


class RaisesNothing(Preprocessor):
    """Fail without a word."""

    def __call__(self, volume: Volume) -> Volume:
        raise RuntimeError


class Refuses(Preprocessor):
    """Refuse the image, as a step may."""

    def __call__(self, volume: Volume) -> Volume:
        raise InputError("too small")


class Exits(Preprocessor):
    """End the program."""

    def __call__(self, volume: Volume) -> Volume:
        sys.exit(0)
