"""Masks on a DICOM series, finished like a case, and what they are on its images by their own headers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom  # noqa: TID253 - a test module
from numpy.typing import NDArray

from medseg.prediction import Prediction, Result
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Volume

PROVENANCE: dict[str, Any] = {
    "medseg": {"version": "0.1.0"},
    "model": {"name": "phantom", "version": "1.0", "pipeline_sha256": "ab" * 32},
    "pipeline": {"segment": {"medseg/network": {"weights": [{"path": "a", "sha256": "0" * 64}]}}},
    "seed": 0,
}
LIVER = Label(1, "liver", code="SCT:10200004", colour="#c88c50")
ORGANS = (LIVER, Label(2, "left kidney"), Label(5, "tumour"))


def finished(
    volume: Volume,
    array: NDArray[Any],
    labels: Sequence[Label] = ORGANS,
    *,
    kinds: Sequence[str] = (),
    objects: Sequence[Object] = (),
    provenance: Mapping[str, Any] = PROVENANCE,
) -> Result:
    """A case whose segmentation is `array[L, i, j, k]` (or of one layer) on the volume's grid."""
    layers = array if array.ndim == 4 else array[None]
    found = Segmentation(layers, volume.grid, LabelTable(tuple(labels)), tuple(kinds), tuple(objects))  # type: ignore[arg-type]  # words
    return Result(
        case_id="case",
        volume=volume,
        prediction=Prediction(segmentation=found),
        segmentation=found,
        measurements=(),
        provenance=provenance,
    )


def blobs(shape: Sequence[int], seed: int = 0, values: Sequence[int] = (1, 2, 5)) -> NDArray[np.uint8]:
    """Labels in random boxes; one touches the border, and no symmetry hides a flip."""
    random = np.random.default_rng(seed)
    array = np.zeros(tuple(shape), np.uint8)
    for value in values:
        low = [int(random.integers(0, max(1, n // 2))) for n in shape]
        size = [int(random.integers(1, max(2, n // 2))) for n in shape]
        array[tuple(slice(a, a + b) for a, b in zip(low, size, strict=True))] = value
    array[0, 0, : shape[2] // 2] = values[0]
    return array


def on_images(result: Result, headers: Sequence[pydicom.Dataset], layer: int = 0) -> NDArray[Any]:
    """Values `[image, row, column]` of a layer at the pixels of images, by their own positions: nearest."""
    grid = result.segmentation.grid
    planes = []
    for header in headers:
        place, (along, down) = (
            np.array(header.ImagePositionPatient, float),
            np.array(header.ImageOrientationPatient, float).reshape(2, 3),
        )
        rows, columns = np.mgrid[: header.Rows, : header.Columns]
        lps = (
            place
            + columns[..., None] * along * float(header.PixelSpacing[1])
            + rows[..., None] * down * float(header.PixelSpacing[0])
        )
        index = np.linalg.solve(
            grid.affine[:3, :3], ((lps * (-1, -1, 1)) - grid.affine[:3, 3]).reshape(-1, 3).T
        ).T
        near = np.rint(index).astype(int)
        inside = ((near >= 0) & (near < grid.shape)).all(axis=1)
        near = near.clip(0, np.array(grid.shape) - 1)
        values = np.where(inside, result.segmentation.array[layer][tuple(near.T)], 0)
        planes.append(values.reshape(header.Rows, header.Columns))
    return np.stack(planes)


def headers_of(folder: Path) -> list[pydicom.Dataset]:
    """The images of a folder in the order of their names."""
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("IM*.dcm"))]
