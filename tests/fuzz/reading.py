"""Read mutants in this process, one after the other, and hold each against what reading may lead to."""

from __future__ import annotations

import base64
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from fuzz.mutants import Seed, mutant
from fuzz.seeds import seeds

from medseg.errors import GeometryError, InputError, ResourceError
from medseg.io import decoder, inspect, read

__all__ = ["HANG_S", "Fuzzer", "Tally"]

HANG_S = 5.0
LABELS = ("segments", "structures")
INSPECTED = 4  # every fourth mutant is described as well


class HungError(BaseException):
    """No answer in time; not an Exception, so that no reader can take it for a fault of the file."""


@dataclass
class Tally:
    """Counts by outcome, restarts of the decoder process, the slowest mutant, and what went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    slowest: tuple[float, str] = (0.0, "")
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take another tally's counts into this one."""
        self.outcomes.update(other.outcomes)
        self.restarts += other.restarts
        self.slowest = max(self.slowest, other.slowest)
        self.failures += other.failures


class Fuzzer:
    """Mutants of one family's seeds in turn; `run` is the seed of chance."""

    def __init__(self, folder: Path, family: str, run: int) -> None:
        self.family, self.run = family, run
        self.seeds = seeds(family)
        self.places = [folder / family / str(index) for index in range(len(self.seeds))]
        for place, seed in zip(self.places, self.seeds, strict=True):
            place.mkdir(parents=True, exist_ok=True)
            for name, content in (seed.beside or {}).items():
                (place / name).write_bytes(content)
        self.image: Any = self._image(folder) if family == "dicom" else None

    def _image(self, folder: Path) -> Any:
        """The series that SEG and RTSTRUCT belong to."""
        place = folder / "image"
        place.mkdir(exist_ok=True)
        explicit = next(seed for seed in self.seeds if seed.name == "explicit")
        for name, content in {**(explicit.beside or {}), explicit.place: explicit.content}.items():
            (place / name).write_bytes(content)
        return read(place)

    def batch(self, numbers: range) -> Tally:
        """Read these mutants; what is not allowed stands in `failures`, bytes included."""
        tally = Tally()
        for number in numbers:
            self._one(number, tally)
        return tally

    def make(self, number: int) -> tuple[Seed, bytes]:
        """Mutant `number` of this run: its seed and its bytes."""
        seed = self.seeds[number % len(self.seeds)]
        return seed, mutant(seed, number, self.run)

    def _one(self, number: int, tally: Tally) -> None:
        seed, content = self.make(number)
        place = self.places[number % len(self.seeds)]
        (place / seed.place).write_bytes(content)
        before, start = decoder._decoder.pid, time.monotonic()  # which process decodes now
        try:
            with _in_time():
                outcome = self.outcome(seed, place / seed.given)
                if number % INSPECTED == 0 and seed.name not in LABELS:
                    _inspected(place / seed.given)
        except HungError:
            outcome = "hang"
        except Exception as problem:  # noqa: BLE001  # any other exception is what is looked for
            outcome = f"escaped {type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        seconds = time.monotonic() - start
        name = f"{self.family} {self.run}/{number} ({seed.name})"
        tally.slowest = max(tally.slowest, (seconds, name))
        tally.restarts += before is not None and decoder._decoder.pid != before
        tally.outcomes[outcome if outcome in ALLOWED else outcome.split(":")[0]] += 1
        if outcome not in ALLOWED:
            shown = base64.b64encode(content).decode() if len(content) < 4096 else f"{len(content)} bytes"
            tally.failures.append(f"{name}: {outcome}\n{shown}")

    def outcome(self, seed: Seed, path: Path) -> str:
        """What reading a file leads to, in a word; several where it is not allowed."""
        try:
            if seed.name in LABELS:
                from medseg.io.masks import read_segmentation

                read_segmentation(path, onto=self.image, tell=lambda _: None)
                return "labels"
            volume = read(path)
        except InputError as problem:
            return _told("GeometryError" if isinstance(problem, GeometryError) else "InputError", problem)
        except ResourceError as problem:
            claimed = "GiB" in str(problem) or "memory" in str(problem)
            return "ResourceError" if claimed else f"resource without a claimed size: {problem}"
        if volume.array.shape[1:] != volume.grid.shape or len(volume.array) != len(volume.channels):
            return f"shape: {volume.array.shape} on {volume.grid.shape}, {len(volume.channels)} channels"
        if not np.isfinite(volume.array).all() or not np.isfinite(volume.grid.affine).all():
            return "not finite: voxels or affine"
        return "read"


ALLOWED = {"read", "labels", "InputError", "GeometryError", "ResourceError"}


def _told(outcome: str, problem: Exception) -> str:
    line = str(problem)
    return outcome if line and "\n" not in line else f"several lines: {line!r}"


def _inspected(path: Path) -> None:
    with suppress(InputError, ResourceError):
        inspect(path)


@contextmanager
def _in_time() -> Iterator[None]:
    """Raise HungError in the middle of whatever has not answered in time."""

    def hung(_number: int, _frame: FrameType | None) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
