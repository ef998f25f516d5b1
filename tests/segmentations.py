"""DICOM segmentations for tests, written by highdicom from the files of an image series."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
RGB = ((221, 130, 101), (128, 174, 128), (241, 214, 145), (177, 122, 101))


def source_images(folder: Path) -> list[Any]:
    """The series' data sets by height, with what highdicom asks of a patient and a study."""
    import pydicom

    found = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    for dataset in found:
        for keyword in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientSex"):
            if keyword not in dataset:
                setattr(dataset, keyword, "")
        for keyword in ("ReferringPhysicianName", "PositionReferenceIndicator"):
            if keyword not in dataset:
                setattr(dataset, keyword, "")
    return sorted(found, key=lambda dataset: float(dataset.ImagePositionPatient[2]))


def write_seg(
    path: Path,
    images: Sequence[Any],
    array: NDArray[Any],
    *,
    kind: str = "BINARY",
    syntax: str = EXPLICIT_LITTLE,
    names: Sequence[str] = ("Liver", "Spleen", "Kidney"),
    **more: Any,
) -> Path:
    """Write `array`, `[slice, row, column]` of label values or `[…, segment]`, as a SEG of `images`."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    count = array.shape[3] if array.ndim == 4 else int(array.max())
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=names[(number - 1) % len(names)],
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type="MANUAL",
            display_color=hd.color.CIELabColor.from_rgb(*RGB[(number - 1) % len(RGB)]),
        )
        for number in range(1, count + 1)
    ]
    with warnings.catch_warnings(action="ignore"):  # the series' patient has a name without a caret
        segmentation = hd.seg.Segmentation(
            source_images=images,
            pixel_array=array,
            segmentation_type=kind,
            segment_descriptions=descriptions,
            series_instance_uid=hd.UID(),
            series_number=9,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="medseg",
            manufacturer_model_name="tests",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=syntax,
            **more,
        )
    segmentation.save_as(path)
    return path
