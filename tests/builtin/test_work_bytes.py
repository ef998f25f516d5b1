"""What steps after the segmenter say that they take, against what they take where that is most."""

from pathlib import Path

import numpy as np
import pytest
from dicom_series import write_dicom_series
from results import result_of

from medseg.builtin.write.rtstruct import RTStruct
from medseg.memory import peak_bytes, release_freed_memory, reset_peak, resident_bytes
from medseg.plugin.catalog import discover
from medseg.prediction import Prediction
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Measurement, Postprocessor, Writer
from medseg.volume import Grid, Source, Volume

SIDE = 180
GRID = Grid((SIDE,) * 3, np.diag([1.5, 1.5, 1.5, 1.0]))
LABELS = LabelTable((Label(value=1, name="one"), Label(value=2, name="two")))
STEPS = [
    ("postprocessor", "keep-largest", {}),
    ("postprocessor", "remove-small", {"below_ml": 0.1}),
    ("postprocessor", "fill-holes", {}),
    ("postprocessor", "fill-holes", {"max_ml": 1.0}),
    ("postprocessor", "fill-holes", {"mode": "slice"}),
    ("postprocessor", "open", {"radius_mm": 3.0}),
    ("postprocessor", "close", {"radius_mm": 12.0}),
    ("postprocessor", "dilate", {"radius_mm": 3.0}),
    ("postprocessor", "within", {"label": "one", "of": "two", "cut": True}),
    ("measurement", "volumes", {}),
    ("measurement", "shape", {}),
    ("measurement", "diameters", {}),
    ("measurement", "lesions", {"labels": ["one"]}),
    ("measurement", "histogram", {"low": -1000, "high": 1000, "bins": 20}),
    ("measurement", "quality", {}),
    ("writer", "nifti", {}),
    ("writer", "csv", {}),
    ("writer", "wide-table", {}),
    ("writer", "json", {}),
    ("writer", "preview", {}),
    ("writer", "seg-nrrd", {}),
]


def image(kind: type[np.generic]) -> Volume:
    return Volume(np.random.default_rng(0).integers(-1000, 1000, (1, *GRID.shape)).astype(kind), GRID)


def full() -> Segmentation:
    """A label that fills the image, with holes."""
    array = np.ones((1, *GRID.shape), np.uint8)
    array[0, ::7, ::5, ::3] = 0
    return Segmentation(array, GRID, LABELS)


@pytest.mark.parametrize(("kind", "name", "parameters"), STEPS)
@pytest.mark.parametrize("voxels", [np.int16, np.float32])
def test_a_step_takes_no_more_than_it_says(
    kind: str, name: str, parameters: dict[str, object], voxels: type[np.generic], tmp_path: Path
) -> None:
    step = discover().find(kind, name).load()(**parameters)
    volume, segmentation = image(voxels), full()
    libraries = step.library_bytes()
    release_freed_memory()
    reset_peak()
    before = resident_bytes()
    if isinstance(step, Postprocessor):
        said = step.work_bytes(segmentation, volume)
        step(segmentation, volume)
    elif isinstance(step, Measurement):
        said = step.work_bytes(volume, segmentation)
        list(step(volume, segmentation, Prediction(segmentation=segmentation)))
    else:
        assert isinstance(step, Writer)
        said = step.work_bytes(volume, segmentation)
        list(step(result_of(segmentation, volume=volume), tmp_path))
    taken = peak_bytes() - before
    assert taken <= said + libraries
    assert said <= 20 * SIDE**3 + (64 << 20), "an estimate, not a way to refuse everything"


def test_contours_take_no_more_than_the_writer_says(tmp_path: Path) -> None:
    side = 120
    grid = Grid((side,) * 3, np.diag([1.5, 1.5, 1.5, 1.0]))
    volume = Volume(image(np.int16).array[:, :side, :side, :side], grid, source=slices(grid, tmp_path))
    segmentation = Segmentation(full().array[:, :side, :side, :side], grid, LABELS)
    step = RTStruct()
    said = step.work_bytes(volume, segmentation) + step.library_bytes()
    release_freed_memory()
    reset_peak()
    before = resident_bytes()
    list(step(result_of(segmentation, volume=volume), tmp_path))
    assert peak_bytes() - before <= said


def slices(grid: Grid, folder: Path) -> Source:
    """A DICOM series of which only the first image is there, which is all that a result reads again."""
    file = write_dicom_series(folder / "ct", np.zeros((2, 2, 1), np.int16)) / "IM0000.dcm"
    headers = tuple(
        {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": f"1.2.3.1.{k + 1}",
            "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "FrameOfReferenceUID": "1.2.3.9",
            "PixelSpacing": [1.5, 1.5], "ImageOrientationPatient": [-1, 0, 0, 0, -1, 0],
            "ImagePositionPatient": [0, 0, 1.5 * k],
        }
        for k in range(grid.shape[2])
    )  # fmt: skip
    return Source(grid, "DICOM series", files=(file,), headers=headers)
