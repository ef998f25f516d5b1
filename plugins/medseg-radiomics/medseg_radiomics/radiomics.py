"""Radiomics features of each label: what is asked for, of which voxels, and how rows are made of it."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, model_validator

from medseg.errors import GeometryError
from medseg.extent import Box, extent, margin_voxels
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume
from medseg_radiomics.features import Family, features
from medseg_radiomics.units import unit_of

__all__ = ["Radiomics"]

PREFIX = "ibsi_"
MARGIN_MM = 12.0  # local intensities are of a ball of 1 mL, 6.2 mm; splines look a few voxels further
LEAN = 1e-4  # cosine between two axes; more is no right angle
COPIES = 60  # bytes of work for a voxel of the box around a label


class Radiomics(Measurement):
    """Features of each label as the Image Biomarker Standardisation Initiative defines them, by MIRP.

    Rows are named as MIRP names features, with `ibsi_` before: `ibsi_morph_volume`, `ibsi_stat_mean`,
    `ibsi_cm_joint_entr_d1_3d_avg_fbn_n32`, which ends in the distance, in how directions were joined, and in
    the discretisation. Only features with a reference value of the IBSI are given (Zwanenburg et al.,
    Radiology 295, 2020, 328-338; the reference manual, arXiv 1612.07003). `ibsi_features` is how many have a
    value. A feature that is not defined, as the skewness of one value, has none and is flagged; a label that
    is nowhere has no rows but `ibsi_features`.

    Features are of the image's first channel as it was read, and of 3-D neighbourhoods. The image is
    first brought to `spacing_mm`, if that is given, then voxels outside `low` to `high` are left out of all
    but the shape, then intensities are put into bins. Texture depends on all three: compare only
    what was measured alike, and give all three where voxels are not cubes.

    Of a mask of many voxels, features that compare all pairs (`ibsi_morph_moran_i`, `ibsi_morph_geary_c`) are
    estimated from a sample.
    """

    label_fields: ClassVar[tuple[str, ...]] = ("labels",)
    libraries: ClassVar[Mapping[str, int]] = {"mirp": 250 << 20}

    labels: tuple[str, ...] | None = None
    """Names of the labels to measure; null for all."""

    families: tuple[Family, ...] = ("morphology", "statistics", "histogram", "glcm")
    """Kinds of features: `morphology`, `local-intensity`, `statistics`, `histogram`, and the textures `glcm`,
    `glrlm`, `glszm`, `gldzm`, `ngtdm`, `ngldm`."""

    bins: int | None = Field(default=None, ge=2, le=1024)
    """Bins from the lowest to the highest intensity of each label; null where `bin_width` is given."""

    bin_width: float | None = Field(default=None, gt=0)
    """Width of a bin in the unit of the image, the first from `low` on; null where `bins` is given."""

    low: FiniteFloat | None = None
    """Voxels below are left out (re-segmentation); `bin_width` needs it."""

    high: FiniteFloat | None = None
    """Voxels above are left out."""

    spacing_mm: float | None = Field(default=None, gt=0)
    """Cubes of this size to which image and mask are brought by interpolation; null for voxels as read."""

    directions: Literal["average", "merged"] = "average"
    """Whether `glcm` and `glrlm` are means over 13 directions, or of all directions in one matrix."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.families or len(set(self.families)) < len(self.families):
            raise ValueError("families names at least one kind of features, and none twice")
        if (self.bins is None) == (self.bin_width is None):
            raise ValueError("give one of bins and bin_width")
        if self.bin_width is not None and self.low is None:
            raise ValueError("bin_width needs low, from which bins are counted")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError("low is below high")
        return self

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label; raises GeometryError for pictures and axes that lean."""
        segmentation.labels.only(self.labels or ())
        _check(segmentation.grid, picture=volume.is_picture)
        intensity = "HU" if volume.source is not None and volume.source.modality == "CT" else ""
        for label in segmentation.labels:
            if self.labels is None or label.name in self.labels:
                mask = segmentation.mask(label.name)
                box = extent(mask)
                if box is None:
                    yield Measured(label=label.name, quantity=f"{PREFIX}features", value=0, flag="empty")
                    continue
                wide = _wider(box, segmentation.grid)
                yield from self._of(
                    label.name, np.asarray(volume.array[0][wide]), mask[wide], segmentation.grid, intensity
                )

    def _of(
        self, label: str, image: NDArray[np.generic], mask: NDArray[np.bool_], grid: Grid, intensity: str
    ) -> Iterator[Measured]:
        """The rows of a mask in a part of the image."""
        values = image.astype(np.float32)
        finite = np.isfinite(values)
        lost = int(np.count_nonzero(mask & ~finite))
        found: Mapping[str, float] = {}
        if (mask & finite).any():
            values[~finite] = values[finite].min()  # no feature may spread what is no number
            found = features(
                values,
                mask & finite,
                spacing=tuple(np.linalg.norm(grid.affine[:3, :3], axis=0).tolist()),
                families=self.families,
                bins=self.bins,
                bin_width=self.bin_width,
                within=(self.low, self.high),
                spacing_mm=self.spacing_mm,
                merged=self.directions == "merged",
            )
        flag = f"{lost} voxels not finite" if lost else ""
        count = sum(math.isfinite(value) for value in found.values())
        nothing = "" if found else "no voxel is within low and high"
        yield Measured(label=label, quantity=f"{PREFIX}features", value=count, flag=flag or nothing)
        for name, value in found.items():
            there = math.isfinite(value)
            yield Measured(
                label=label,
                quantity=f"{PREFIX}{name}",
                value=value if there else None,
                unit=unit_of(name, intensity),
                flag="" if there else "not defined",
            )

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """What any measurement takes, and copies of the box around a label, which may fill the image."""
        voxels = math.prod(segmentation.grid.shape)
        if self.spacing_mm is not None:
            own = abs(float(np.linalg.det(segmentation.grid.affine[:3, :3])))
            voxels = int(voxels * max(1.0, own / self.spacing_mm**3))
        return super().work_bytes(volume, segmentation) + COPIES * voxels


def _check(grid: Grid, *, picture: bool) -> None:
    """Refuse what has no third dimension in mm, and axes that lean."""
    grid.require_mm("radiomics")
    if picture or 1 in grid.shape:
        raise GeometryError("radiomics is of bodies, and this image is flat; leave radiomics out")
    steps = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    if np.abs(steps.T @ steps - np.eye(3)).max() > LEAN:
        raise GeometryError(
            "radiomics needs axes at right angles, and those of this image lean (a tilted scan); "
            "give --tilt resample"
        )


def _wider(box: Box, grid: Grid) -> Box:
    """The box with a margin, as far as the image goes."""
    i, j, k = (
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, margin_voxels(grid, MARGIN_MM), grid.shape, strict=True)
    )
    return i, j, k
