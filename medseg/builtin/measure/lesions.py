"""Every lesion by itself: how large it is, where it lies, in what, and how far from what."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.label_boxes import label_boxes
from medseg.builtin.measure.diameters import diameters_of
from medseg.builtin.measure.farthest import slicing_axis
from medseg.builtin.measure.frame import Frame
from medseg.builtin.measure.line_counts import mean_index
from medseg.builtin.measure.neighbours import distance_between, host_of, surface_points
from medseg.builtin.measure.numbered_lesions import numbered_lesions
from medseg.components import Connectivity
from medseg.extent import Box
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

__all__ = ["Lesions", "is_lesion"]

LESION = re.compile(
    r"(lesion|tumou?r|nodule|metasta|cyst|carcinoma|cancer|neoplasm|mass\b|lymph ?node|infarct)"
)
"""Words that say that a label comes in pieces that are told apart, as in "liver tumour", "Lung nodules"."""


class Lesions(Measurement):
    """A block of rows for each lesion: each connected part of a label, or each of its objects.

    The column `object` numbers the lesions of a label from 1, the largest first; where the segmentation has
    objects of its own, it is their id. For each lesion:

    - `volume` in mL (`area` in a picture) and `voxels`;
    - `longest_axial_diameter`, `perpendicular_axial_diameter`, `axial_slice`, `feret_diameter` as the
      measurement `diameters` has them;
    - `slice_first` and `slice_last`: the axial slices that it begins and ends in, counted from 0;
    - `centroid_x`, `_y`, `_z` in mm: the mean of its voxel centres, RAS+;
    - `intensity_mean`, `intensity_sd` of the image's first channel; in HU for CT;
    - `host`: the label that it lies in: of the voxels in it or sharing a face with it, most are that label's.
      Flagged with their share of those that are of any label where that is less than 80 %; without a value
      where no other label is near;
    - `distance_to_NAME` in mm, for each label of `distance_to`: between the nearest two voxel centres; 0
      where they overlap, one voxel where they touch;
    - `truncated`: "true" where it touches a face of the image; the flag, here and on the volume, names them.

    For the label as a whole, `lesions` is their number. Rows are of the largest `most`; a flag on `lesions`
    tells of others. A label that is nowhere has 0 lesions.
    """

    label_fields: ClassVar[tuple[str, ...]] = ("labels", "hosts", "distance_to")

    labels: tuple[str, ...] | None = None
    """Labels whose parts are lesions; null for those with such a name (lesion, tumour, nodule, metastasis,
    cyst, cancer, mass, lymph node, infarct), or the only label that there is."""

    connectivity: Connectivity = 26
    """Voxels of one lesion share a face (6), a face or an edge (18), or also a corner only (26)."""

    min_ml: float = Field(default=0.0, ge=0)
    """Smaller parts are no lesions, and are not counted; needs an image in mm."""

    most: int = Field(default=200, ge=1)
    """How many lesions of a label have rows."""

    hosts: tuple[str, ...] | None = None
    """Labels that a lesion may lie in; null for all that are not lesions themselves."""

    distance_to: tuple[str, ...] = ()
    """Labels to which the distance is measured."""

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label; raises UsageError for a label that there is not."""
        wanted = _chosen(segmentation.labels, self.labels)
        others = [label.name for label in segmentation.labels if label.name not in wanted]
        scene = _Scene(
            volume=volume,
            segmentation=segmentation,
            frame=Frame(segmentation.grid, volume.is_picture),
            hosts=tuple(others if self.hosts is None else _known(segmentation.labels, self.hosts)),
            surfaces={
                name: surface_points(segmentation, name)
                for name in _known(segmentation.labels, self.distance_to)
            },
        )
        boxes = label_boxes(segmentation)
        for name in wanted:
            yield from self._of(segmentation.labels[name], boxes[name], scene)

    def _of(self, label: Label, box: Box | None, scene: "_Scene") -> Iterator[Measured]:
        """The rows of one label: how many lesions, then each."""
        lesions, sizes = None, list[int]()
        if box is not None:
            lesions = numbered_lesions(label, box, scene.segmentation, self.connectivity)
            sizes = list(lesions.sizes)
        if self.min_ml > 0:
            voxel = scene.segmentation.grid.voxel_ml
            sizes = [size for size in sizes if size * voxel >= self.min_ml]  # the largest are first
        left = len(sizes) - self.most
        flag = f"the {left} smallest have no rows" if left > 0 else ""
        if not sizes:
            flag = "empty"
        yield Measured(label=label.name, quantity="lesions", value=len(sizes), flag=flag)
        for rank in range(min(len(sizes), self.most)):
            assert lesions is not None, "there is a size"
            yield from scene.rows(label.name, _Lesion(lesions.names[rank], *lesions.placed(rank)))

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """What any measurement takes, and the numbered parts of a label; twice where layers are copied."""
        return super().work_bytes(volume, segmentation) + 16 * int(np.prod(segmentation.grid.shape))


def _chosen(labels: LabelTable, given: tuple[str, ...] | None) -> tuple[str, ...]:
    """The labels whose parts are lesions, as given or as their names say; the only one, whatever its name."""
    if given is not None:
        return _known(labels, given)
    if len(labels) == 1:
        return tuple(label.name for label in labels)
    return tuple(label.name for label in labels if is_lesion(label.name))


def is_lesion(name: str) -> bool:
    """Whether a label's name says that its pieces are told apart."""
    return LESION.search(name.lower().replace("_", " ")) is not None


def _known(labels: LabelTable, names: tuple[str, ...]) -> tuple[str, ...]:
    labels.only(names)
    return names


@dataclass(frozen=True)
class _Lesion:
    """One lesion: its number, its mask, and the box of the image that this fills."""

    number: int
    mask: NDArray[np.bool_]
    box: Box


@dataclass(frozen=True)
class _Scene:
    """What a lesion is measured in: the image, the labels around it, and surfaces to be distant from."""

    volume: Volume
    segmentation: Segmentation
    frame: Frame
    hosts: tuple[str, ...]
    surfaces: Mapping[str, NDArray[np.float64] | None]

    def rows(self, label: str, lesion: _Lesion) -> Iterator[Measured]:
        """All rows of one lesion."""
        number = lesion.number

        def row(quantity: str, value: float | str | None, unit: str = "", flag: str = "") -> Measured:
            return Measured(label=label, object=number, quantity=quantity, value=value, unit=unit, flag=flag)

        grid = self.segmentation.grid
        quantity, unit, voxel = self.frame.quantity
        count = int(np.count_nonzero(lesion.mask))
        faces = self.frame.faces_touched(lesion.box)
        cut = f"truncated: {', '.join(faces)}" if faces else ""
        yield row(quantity, count * voxel, unit, cut)
        yield row("voxels", count)
        yield from diameters_of(
            lesion.mask, lesion.box, grid, label=label, picture=self.frame.picture, number=number
        )
        slices = lesion.box[slicing_axis(grid)]
        yield row("slice_first", slices.start)
        yield row("slice_last", slices.stop - 1)
        for axis, position in zip("xyz", _centroid(lesion, grid), strict=True):
            yield row(f"centroid_{axis}", position, grid.unit)
        yield from (row(*cells) for cells in self._intensity(lesion))
        if self.hosts:
            yield row("host", *host_of(lesion.mask, lesion.box, self.segmentation, self.hosts))
        for name, points in self.surfaces.items():
            apart = distance_between(lesion.mask, lesion.box, self.segmentation, name, points)
            flag = "" if apart is not None else f"{name} is empty"
            yield row(f"distance_to_{name}", apart, grid.unit, flag)
        yield row("truncated", "true" if faces else "false", "", cut)

    def _intensity(self, lesion: _Lesion) -> Iterator[tuple[str, float | None, str, str]]:
        """Mean and population standard deviation of what is finite."""
        source = self.volume.source
        unit = "HU" if source is not None and source.modality == "CT" else ""
        values: NDArray[Any] = self.volume.array[0][lesion.box][lesion.mask]
        lost = 0
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            lost = int(np.count_nonzero(~finite))
            values = values[finite] if lost else values
        flag = f"{lost} voxels not finite" if lost else ""
        for name, number in (("mean", np.mean), ("sd", np.std)):
            value = float(number(values, dtype=np.float64)) if len(values) else None
            yield f"intensity_{name}", value, unit, flag


def _centroid(lesion: _Lesion, grid: Grid) -> list[float]:
    """The mean of the voxel centres, RAS+."""
    inside = [at + extent.start for at, extent in zip(mean_index(lesion.mask), lesion.box, strict=True)]
    return [float(position) for position in grid.to_world(inside)]
