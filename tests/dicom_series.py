"""A writer of small DICOM series with every voxel known."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CANARIES = ("CANARYSURNAME", "PHIID98765", "19450607")
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
PLACE = (-30.0, -20.0, 40.0)  # LPS mm
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_dicom_series(
    folder: Path,
    stored: NDArray[np.integer[Any]],
    *,
    orientation: Sequence[float] = AXIAL,
    step: Sequence[float] | None = None,
    series: str = "1.2.3.1",
    syntax: str = EXPLICIT_LITTLE,
    edit: Callable[[int, Any], None] | None = None,
) -> Path:
    """Write stored values `[column, row, slice]`, one CT file a slice; columns 0.7 mm apart, rows 0.9 mm.

    Slices lie `step` LPS mm apart (2.5 mm along the normal by default) from PLACE on; slope 1, intercept
    -1024. `edit(k, dataset)` may change slice k before it is saved. Returns the folder.
    """
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.asarray(normal * 2.5 if step is None else step)
    for k in range(stored.shape[2]):
        values = np.ascontiguousarray(stored[:, :, k].T)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.UID(CT_IMAGE)
        meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(f"{series}.{k + 1}")
        meta.TransferSyntaxUID = pydicom.uid.UID(EXPLICIT_LITTLE)
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, f"{series}.{k + 1}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", series
        dataset.FrameOfReferenceUID, dataset.Modality = "1.2.3.9", "CT"
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = CANARIES
        dataset.SeriesDescription, dataset.InstanceNumber = "Abdomen", k + 1
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.Rows, dataset.Columns = values.shape
        dataset.PixelSpacing, dataset.SliceThickness = [0.9, 0.7], 5
        dataset.ImageOrientationPatient = [f"{number:.10g}" for number in orientation]
        dataset.ImagePositionPatient = [f"{number:.10g}" for number in np.add(PLACE, k * along)]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(values.dtype.kind == "i")
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.PixelData = values.tobytes()
        if edit is not None:
            edit(k, dataset)
        _save(dataset, folder / f"IM{k:04d}.dcm", syntax)
    return folder


def _save(dataset: Any, path: Path, syntax: str) -> None:
    from pydicom import dcmwrite
    from pydicom.uid import UID

    if UID(syntax).is_compressed and not UID(syntax).is_deflated:
        uid = dataset.SOPInstanceUID
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.SOPInstanceUID = uid
    else:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    if syntax == EXPLICIT_BIG and "PixelData" in dataset:
        dataset.PixelData = (
            np.frombuffer(dataset.PixelData, f"u{dataset.BitsAllocated // 8}").byteswap().tobytes()
        )
        dataset["PixelData"].VR = "OW"
    dcmwrite(path, dataset, enforce_file_format=True)
