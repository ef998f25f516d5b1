"""The measurements as a DICOM structured report, tied to the segments of the segmentation."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from medseg.errors import MedsegError
from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.report_groups import groups_of
from medseg.io.dicom_results.report_object import report_object
from medseg.io.dicom_results.report_read_back import require_same
from medseg.io.dicom_results.segments import files_of_segments, segments_of
from medseg.prediction import Result
from medseg.segmentation import Segmentation
from medseg.steps import Writer
from medseg.volume import Volume

__all__ = ["DicomSr"]

GROUP_BYTES = 400_000  # of a group with forty numbers, twice: as it was made, and read back


class DicomSr(Writer):
    """`measurements.dcm`: every measurement as a DICOM structured report (TID 1500) for a PACS.

    Each label, and each lesion or object of it, is a group of measurements that refers to its segment of
    `dicom-seg`. Numbers have coded names and units; quantities that no public scheme defines keep the name
    that they have in `measurements.csv`. The report is marked preliminary, unverified and for research only.
    It is read back and compared with the measurements before it is released.
    """

    after: ClassVar[tuple[str, ...]] = ("medseg/dicom-seg",)
    libraries: ClassVar[Mapping[str, int]] = {"pydicom": 30 << 20, "highdicom": 60 << 20}

    def needs(self, volume: Volume) -> str | None:
        """A DICOM series with UIDs and a frame of reference, as its segmentation does."""
        return Origin.refusal(volume)

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """The content tree; the voxels are not looked at."""
        groups = len(segmentation.labels) + len(segmentation.objects)
        return groups * GROUP_BYTES + super().work_bytes(volume, segmentation)

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the report and read it back."""
        origin = Origin.of(result.volume)
        files = files_of_segments(folder)
        missing = next((s for s in segments_of(result.segmentation) if s.number not in files), None)
        if missing is not None:
            raise MedsegError(f"no DICOM segmentation of {missing.name!r} lies beside the report")
        groups = groups_of(result, origin)
        path = folder / "measurements.dcm"
        report_object(groups, files, origin, result).save_as(path, enforce_file_format=True)
        require_same(path, groups, files, origin)
        yield path
