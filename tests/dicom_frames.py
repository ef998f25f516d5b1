"""A writer of small enhanced CT files: many frames in one file, every voxel known."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dicom_series import AXIAL, CANARIES, EXPLICIT_LITTLE, PLACE
from numpy.typing import NDArray

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
TYPE = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]


def item(**values: Any) -> Any:
    """One item of a sequence; a list of items is a sequence within it."""
    from pydicom.dataset import Dataset

    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def write_enhanced(
    path: Path,
    stored: NDArray[np.integer[Any]],
    *,
    order: Sequence[int] | None = None,
    syntax: str = EXPLICIT_LITTLE,
    edit: Callable[[Any], None] | None = None,
) -> Path:
    """Write stored values `[column, row, slice]` as one file, its frames in `order` of slice.

    Columns are 0.7 mm, rows 0.9 mm, slices 2.5 mm apart from PLACE on; slope 1 and, for slice k, intercept
    -1024 - k. `edit(dataset)` may change the file before it is saved, or compressed.
    """
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    order = range(stored.shape[2]) if order is None else order
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.UID(ENHANCED_CT)
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3.4")
    meta.TransferSyntaxUID = pydicom.uid.UID(EXPLICIT_LITTLE)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = ENHANCED_CT, "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    dataset.FrameOfReferenceUID, dataset.Modality, dataset.ImageType = "1.2.3.9", "CT", TYPE
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = CANARIES
    dataset.NumberOfFrames = len(order)
    dataset.Columns, dataset.Rows = stored.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(stored.dtype.kind == "i")
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[0.9, 0.7], SliceThickness=5)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=list(AXIAL))],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [_frame(k) for k in order]
    dataset.PixelData = np.ascontiguousarray(stored[:, :, list(order)].transpose(2, 1, 0)).tobytes()
    if edit is not None:
        edit(dataset)
    if syntax != EXPLICIT_LITTLE:
        dataset.compress(syntax, generate_instance_uid=False)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def _frame(k: int) -> Any:
    return item(
        PlanePositionSequence=[item(ImagePositionPatient=[PLACE[0], PLACE[1], PLACE[2] + 2.5 * k])],
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024 - k, RescaleType="HU")],
        FrameContentSequence=[
            item(StackID="1", InStackPositionNumber=k + 1, FrameAcquisitionNumber=3, TemporalPositionIndex=1)
        ],
        CTImageFrameTypeSequence=[item(FrameType=TYPE)],
    )
