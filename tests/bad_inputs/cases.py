"""The register of bad and odd inputs: what each case is called, how it is built, and what must happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AFFINE",
    "CASES",
    "NUMBERS",
    "PHI",
    "SHAPE",
    "Build",
    "Built",
    "Case",
    "Geometry",
    "add",
    "geometry",
    "small",
    "write",
]

Geometry: TypeAlias = dict[str, Any]
Built: TypeAlias = tuple[Path, Geometry | None]
Build: TypeAlias = Callable[[Path, str], Built]
"""Writes a case into a new folder, given the case's name; returns the input's path and its geometry."""

PHI = ("CANARYSURNAME", "PHIID98765", "19450607")
"""Name, id and birth date that every DICOM header holds and nothing that medseg makes may repeat."""
SHAPE = (20, 16, 12)
"""i, j, k: columns, rows, slices."""
NUMBERS: NDArray[np.int64] = np.arange(np.prod(SHAPE)).reshape(SHAPE, order="F")
"""Every voxel has its own value, 0 to 3839."""
AFFINE = np.array(
    [[-0.9, 0, 0, 10.0], [0, -0.7, 0, 20.0], [0, 0, 2.5, -30.0], [0, 0, 0, 1.0]]  # RAS+ mm
)
USUAL = {"max_s": 60, "max_rss_mb": 2048}


@dataclass(frozen=True)
class Case:
    """One input. `expect` is what must happen; `also_ok` what a documented policy may choose instead.

    `reason` is a regular expression that the line of a refusal or warning must match, in any case of letters;
    `limits` are seconds and megabytes of the whole process tree; `forbid` are texts and file names that must
    not come out; `requires` says what the machine must offer ("symlink", "nonroot").
    """

    name: str
    family: str
    expect: Literal["reject", "accept", "warn"]
    build: Build
    reason: str = ""
    also_ok: Sequence[str] = ()
    notes: str = ""
    limits: Mapping[str, int] = field(default_factory=lambda: dict(USUAL))
    requires: Sequence[str] = ()
    forbid: Sequence[str] = ()

    def row(self) -> dict[str, Any]:
        """The case as it stands in index.json."""
        return {
            "id": self.name,
            "family": self.family,
            "expect": self.expect,
            "reason": self.reason,
            "also_ok": list(self.also_ok),
            "notes": self.notes,
            "limits": dict(self.limits),
            "requires": list(self.requires),
            "forbid": list(self.forbid),
        }


CASES: dict[str, Case] = {}


def add(case: Case) -> None:
    """Register a case; names are unique."""
    assert case.name not in CASES, case.name
    CASES[case.name] = case


def small(megabytes: int = 2048, seconds: int = 30) -> dict[str, int]:
    """Tight limits, for inputs that try to fill the memory or to hang."""
    return {"max_s": seconds, "max_rss_mb": megabytes}


def write(path: Path, content: bytes) -> Path:
    """Write a file, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def geometry(values: ArrayLike, affine: ArrayLike) -> Geometry:
    """Shape, spacing in mm, axis codes, RAS+ affine, and probes `[x, y, z, value]` at corners and centre."""
    import nibabel

    numbers, matrix = np.asarray(values, float), np.asarray(affine, float)
    if numbers.ndim != 3:
        numbers = numbers.reshape(numbers.shape + (1,) * (3 - numbers.ndim))
    i, j, k = (n - 1 for n in numbers.shape)
    middle = tuple(n // 2 for n in numbers.shape)
    probes = []
    for index in dict.fromkeys([(0, 0, 0), (i, j, k), (i, 0, 0), (0, j, 0), (0, 0, k), middle]):
        world, value = matrix @ np.array([*index, 1.0]), numbers[index]
        probes.append(
            [*(round(float(x), 5) for x in world[:3]), float(value) if np.isfinite(value) else None]
        )
    return {
        "shape": [int(n) for n in numbers.shape],
        "spacing": [round(float(x), 6) for x in np.sqrt((matrix[:3, :3] ** 2).sum(0))],
        "axcodes": "".join(nibabel.aff2axcodes(matrix)),
        "affine_ras": [[round(float(x), 6) for x in row] for row in matrix],
        "probes": probes,
    }
