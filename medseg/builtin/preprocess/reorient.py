"""The preprocessor `reorient`."""

from typing import Annotated

from pydantic import AfterValidator

from medseg.steps import Preprocessor
from medseg.volume import Grid, Volume

__all__ = ["Reorient"]

WORLD_AXES = ({"L", "R"}, {"P", "A"}, {"I", "S"})


def _checked(codes: str) -> str:
    """Upper-case codes that name each world axis once; raises ValueError otherwise."""
    wanted = codes.upper()
    if len(wanted) != 3 or not all(len(axis & set(wanted)) == 1 for axis in WORLD_AXES):
        raise ValueError(f"{codes!r} is not an orientation; name each of L/R, P/A, I/S once, as in RAS")
    return wanted


class Reorient(Preprocessor):
    """Turn the axes to an orientation such as RAS; no value changes.

    A trained network expects the axes it was trained with; scanners store slices in any order and
    direction. Voxels are copied, never interpolated: an oblique image stays oblique, with its axes as close
    to the wanted ones as they can be. Letters say where an axis runs to, as in nibabel.
    """

    to: Annotated[str, AfterValidator(_checked)] = "RAS"
    """Where the axes i, j, k run to: one of L/R, P/A and I/S each, in any order, as in RAS or LPS."""

    def __call__(self, volume: Volume) -> Volume:
        """Return the same voxels with axes in the wanted order and direction."""
        if volume.grid.axis_codes == self.to:
            return volume
        return volume.reorient(self.to)

    def foretold(self, grid: Grid) -> Grid:
        """The same voxels in that order."""
        return grid.reoriented(self.to)
