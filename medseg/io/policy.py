"""What to do with an image whose geometry is doubtful: refuse it, or what the user asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medseg.errors import UsageError
from medseg.io.regular_file import printable

if TYPE_CHECKING:
    from medseg.config import SeriesRule

__all__ = ["STRICT", "Policy"]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One decision for each doubt; what was done stands in `Source.policies` and in every output.

    Whatever a policy changes, results go back onto the original slices (`Source.native`).
    """

    gaps: Literal["refuse", "resample", "allow"] = "refuse"
    """Missing slices and uneven spacing. `resample`: linear, onto an even grid that keeps the true positions;
    the original slices are `Planes`. `allow`: take the slices as if they were evenly spaced, at their mean
    distance; one slice in, one slice out, and the note says how far a slice is then off in mm."""

    tilt: Literal["refuse", "resample"] = "refuse"
    """Gantry tilt. `resample`: onto upright boxes; the original is a sheared `Grid`."""

    duplicates: Literal["refuse", "first"] = "refuse"
    """Different images at one position. `first`: keep the one with the lowest InstanceNumber; refused where
    two have the same. Exact copies (same pixels, same rescale) are always dropped, with a note."""

    phase: int | None = None
    """Which of several phases, echoes or time points to read, from 1, in the order of what tells them
    apart."""

    series: SeriesRule | None = None
    """Which series of a study to read."""

    suv: bool = False
    """Turn PET activity concentration (Bq/mL) into SUV by body weight."""

    def require_use(self, format_: str, path: str | Path) -> None:
        """Refuse, as a UsageError, what can only be meant for DICOM where the file at `path` is none."""
        asked = "a series" if self.series is not None else "SUV" if self.suv else ""
        if asked and not format_.startswith("DICOM"):
            option = "--suv" if asked == "SUV" else "--series"
            raise UsageError(
                f"{printable(Path(path))}: is {format_}, and {asked} is for DICOM; leave out {option}"
            )


STRICT = Policy()
