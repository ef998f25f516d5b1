"""What an input could be read as, told without reading its voxels: one Candidate per volume found."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from medseg.volume import Grid, Unit

__all__ = ["OK", "Candidate", "Foretold"]

OK = "ok"


@dataclass(frozen=True)
class Candidate:
    """One volume that an input could be read as, and whether reading it would be safe.

    Spacing is along i, j, k in `unit`. Nothing here tells who the patient is; `description` is what the
    operator typed at the scanner, so it is shown on the terminal and left out of `as_json()`.
    """

    format: str
    """"NIfTI-1", "NIfTI-2", "DICOM series", "NRRD", "MetaImage", "PNG" or "TIFF"."""
    modality: str | None = None
    shape: tuple[int, int, int] | None = None
    channels: int = 1
    spacing: tuple[float, float, float] | None = None
    unit: Unit = "mm"
    axis_codes: str | None = None
    dtype: str = ""
    files: int = 1
    """How many files the volume is made of."""
    description: str = ""
    uid_tail: str | None = None
    """Last 8 characters of the series UID, enough to tell two series apart."""
    verdict: str = OK
    """"ok", or the problem's name: "missing slice", "duplicate positions", "not a volume", and so on."""
    detail: str = ""
    """The verdict's reason in one line, with the numbers in millimetres."""
    thickness_mm: float | None = None
    """Usual distance between slices, from their positions."""
    orientation: str | None = None
    """How slices lie: "axial", "coronal", "sagittal", or "oblique"; None where unknown."""
    image_type: tuple[str, ...] = ()
    """DICOM ImageType, as in ORIGINAL, PRIMARY, AXIAL."""
    phases: int = 1
    """Images at each position: time points, echoes, b-values."""
    reading_bytes: int = 0
    """Memory that reading it takes at most, its voxels among it; not in `as_json()`."""

    @property
    def readable(self) -> bool:
        """Whether `read` would return this volume."""
        return self.verdict == OK

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file or log: all but the free-text description."""
        values = asdict(self)
        del values["description"], values["reading_bytes"]
        for name in ("shape", "spacing", "image_type"):
            values[name] = None if values[name] is None else list(values[name])
        return values | {"readable": self.readable}


class Foretold(NamedTuple):
    """What reading an input with a given policy would give."""

    grid: Grid
    files: int
    decided: tuple[str, ...]
    """A line for each doubt that the policy decides, as in `Source.decided`."""
    modality: str | None = None
    """As in `Source.modality`."""
