"""Surfaces of labels as meshes, for printing, planning and viewing in 3-D."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from medseg.builtin.write.surface import Surface, surface_of
from medseg.prediction import Result
from medseg.report.label_files import slug
from medseg.segmentation import Segmentation
from medseg.steps import Writer
from medseg.volume import LPS_TO_RAS, Volume

__all__ = ["Mesh"]

FIELD_BYTES = 48  # a voxel, measured where holes all over make many triangles: distances, two surfaces
ROUND = 0.7  # of the coarsest spacing: the least blur at which slices no longer show as steps
HEADER_BYTES = 80
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


class Mesh(Writer):
    """`mesh-LABEL.stl` or `mesh-LABEL.obj`: the smoothed, closed surface of each label, in mm.

    Marching cubes on the label's signed distance after a Gaussian, at the level at which the surface encloses
    the volume of the label's voxels. Triangles look outwards. A label that the image cuts off ends there in a
    flat face; one with no voxel has no file. The objects of a layer of objects are drawn together, under
    their label. Surfaces are for looking and printing: measure on voxels.

    Coordinates are LPS unless `space` says RAS: 3D Slicer and ITK-SNAP take mesh files for LPS, as DICOM has
    it, FreeSurfer and FSL work in RAS. The space stands in the file's header too, where Slicer looks for it.
    """

    libraries: ClassVar[Mapping[str, int]] = {"scipy.ndimage": 28 << 20, "skimage.measure": 60 << 20}

    format: Literal["stl", "obj"] = "stl"
    """Binary STL, which every program reads, or OBJ, text in which triangles share their corners."""

    space: Literal["LPS", "RAS"] = "LPS"
    """Whether x and y grow to the left and the back, or to the right and the front."""

    smooth_mm: float | None = Field(default=None, ge=0, le=20)
    """Standard deviation of the Gaussian, in mm; null for 0.7 times the coarsest spacing, 0 for none."""

    labels: tuple[str, ...] | None = None
    """Names of the labels to write; null for all."""

    def needs(self, volume: Volume) -> str | None:
        """A scale: a mesh is in mm."""
        return None if volume.grid.unit == "mm" else "a scale (--pixel-size), as meshes are in mm"

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """A mask, and the distance field where a label fills the image."""
        return super().work_bytes(volume, segmentation) + FIELD_BYTES * math.prod(segmentation.grid.shape)

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write a file for each label that has voxels."""
        segmentation = result.segmentation
        sigma = ROUND * max(segmentation.grid.spacing) if self.smooth_mm is None else self.smooth_mm
        taken: set[str] = set()
        for label in segmentation.labels:
            name = slug(label, taken)
            if self.labels is not None and label.name not in self.labels:
                continue
            surface = surface_of(segmentation.mask(label.name), segmentation.grid, sigma_mm=sigma)
            if surface is None:
                continue
            if self.space == "LPS":
                # two axes change sign, so triangles still look outwards
                surface = Surface(surface.vertices @ LPS_TO_RAS[:3, :3], surface.faces)
            path = folder / f"mesh-{name}.{self.format}"
            write = _write_stl if self.format == "stl" else _write_obj
            write(surface, path, f"medseg, research use only. SPACE={self.space}")
            yield path


def _write_stl(surface: Surface, path: Path, title: str) -> None:
    """Binary STL: 80 bytes of text, which must not begin with "solid", a count, 50 bytes a triangle."""
    triangles = np.zeros(len(surface.faces), TRIANGLE)
    corners = surface.vertices[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    triangles["corners"] = corners
    with path.open("wb") as file:
        file.write(title.encode().ljust(HEADER_BYTES))
        file.write(np.uint32(len(triangles)).astype("<u4").tobytes())
        file.write(triangles.tobytes())


def _write_obj(surface: Surface, path: Path, title: str) -> None:
    """Wavefront OBJ: corners to a micrometre, then triangles of their numbers from 1."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"# {title}\n")
        np.savetxt(file, surface.vertices, "v %.3f %.3f %.3f")
        np.savetxt(file, surface.faces + 1, "f %d %d %d")
