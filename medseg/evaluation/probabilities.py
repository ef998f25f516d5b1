"""The probabilities of a case, as the writer `probabilities` leaves them beside its masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medseg.errors import GeometryError, InputError
from medseg.evaluation.masks import require_one_volume
from medseg.evaluation.pairs import Pair
from medseg.io import read
from medseg.prediction import Scores
from medseg.report.label_files import slug
from medseg.sampling import whole_voxel_map
from medseg.segmentation import LabelTable
from medseg.volume import Grid

__all__ = ["Probabilities", "probabilities_of", "require_probabilities"]

FILES = "probability-*.nii.gz"  # as the writer `probabilities` names them
ROUNDING = 1e-3  # beyond 0 and 1; what a float or a slope is off by, and no more
MOST_SHOWN = 6
HALF = 0.5  # of a voxel: an edge further out than that is of a voxel that is not there


@dataclass(frozen=True)
class Probabilities:
    """Files by name of the label, each read where it is asked for, onto the voxels of `grid`."""

    files: Mapping[str, Path] = field(default_factory=dict)
    grid: Grid | None = None

    def __call__(self, label: str) -> Scores | None:
        """The probability of a label as one channel; None where there is no file of it."""
        path = self.files.get(label)
        return None if path is None or self.grid is None else _read(path, self.grid)


def require_probabilities(pairs: Iterable[Pair], metrics: Sequence[str]) -> None:
    """Refuse, before anything is read, the first case that has none, on behalf of what needs them."""
    for pair in pairs if metrics else ():
        masks = pair.prediction[0]
        if next(masks.parent.glob(FILES), None) is None or not pair.of_results:
            need = f"{' and '.join(metrics)} need{'s' if len(metrics) == 1 else ''}"
            problem = InputError(
                f"{masks.name}: no probabilities beside it, which {need}; give a folder that `medseg "
                "segment` wrote, with `write: [nifti, probabilities]` in its pipeline"
            )
            problem.add_note(f"case {pair.case}")
            raise problem


def probabilities_of(
    pair: Pair, prediction: LabelTable, found: LabelTable, wanted: LabelTable
) -> dict[str, Path]:
    """The files of a case by the names under which it is compared.

    `prediction` are the labels as its masks name them, by which the files are called; `found` are the same
    labels under the names of the reference, whose own labels are `wanted`. Raises InputError where there is
    a label to compare and a file of none.
    """
    folder = pair.prediction[0].parent
    taken: set[str] = set()
    named = {label.value: slug(label, taken) for label in prediction}
    paths = {}
    for label in wanted:
        value = found[label.name].value if label.name in found else None
        ending = named.get(value) if value is not None else None
        path = folder / f"probability-{ending or slug(label, set())}.nii.gz"
        if path.exists():
            paths[label.name] = path
    if len(wanted) and not paths:
        lacking = [label.name for label in wanted]
        more = f" and {len(lacking) - MOST_SHOWN} more" if len(lacking) > MOST_SHOWN else ""
        raise InputError(
            f"{pair.prediction[0].name}: the probabilities beside it are of other labels than "
            f"{', '.join(map(repr, lacking[:MOST_SHOWN]))}{more}; write those of the labels that are compared"
        )
    return paths


def _read(path: Path, onto: Grid) -> Scores:
    """A probability at each voxel of the reference; refused where that would have to be made up."""
    require_one_volume(path)
    volume = read(path)
    if len(volume.channels) != 1:
        raise InputError(f"{path.name}: {len(volume.channels)} channels; a label has one probability")
    if volume.grid.unit != onto.unit or not _holds(volume.grid, onto):
        raise GeometryError(
            f"{path.name}: its voxels, {volume.grid!r}, are not those of the reference, {onto!r}; "
            "probabilities are compared on the voxels that were segmented"
        )
    array = volume.onto(onto).array
    low, high = float(array.min()), float(array.max())
    if not -ROUNDING <= low <= high <= 1 + ROUNDING:  # not so for NaN either
        raise InputError(f"{path.name}: values from {low:g} to {high:g}, not probabilities from 0 to 1")
    return Scores(array.astype(np.float32, copy=False).clip(0, 1), onto, "probabilities")


def _holds(grid: Grid, part: Grid) -> bool:
    """Whether each voxel of `part` is one of the grid's, in whatever order its axes run."""
    if whole_voxel_map(grid.index_map(part), part.shape) is None:
        return False
    beyond = np.maximum(
        -0.5 - grid.to_index(part.corners()), grid.to_index(part.corners()) - grid.shape + 0.5
    )
    return bool(beyond.max() < HALF)
