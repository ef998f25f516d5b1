"""The masks as a DICOM segmentation, beside the images they were made from."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.read_back import require_equal
from medseg.io.dicom_results.seg_object import Compression, Frames, seg_object
from medseg.io.dicom_results.segments import Segment, numbers_on_slices, segments_of
from medseg.prediction import Result
from medseg.segmentation import Segmentation
from medseg.steps import Writer
from medseg.volume import Volume

__all__ = ["DicomSeg"]

FEW = 10  # segments: up to here frames of one bit are few and small, and every reader knows them
FRAME_BYTES = 2_000  # of functional groups and their parsing, for each frame


class DicomSeg(Writer):
    """`segmentation.dcm`: the masks as DICOM SEG on the slices of the series, for a PACS and its viewers.

    Every label, and every object of a layer of objects, is a segment with coded terms, a colour and a
    tracking UID. It lies on the original slices, also tilted, oblique and unevenly spaced ones, and refers to
    them. The file is read back and compared with the masks before it is released.
    """

    libraries: ClassVar[Mapping[str, int]] = {"pydicom": 30 << 20, "highdicom": 60 << 20}

    type: Literal["auto", "binary", "labelmap"] = "auto"
    """`binary`: a frame of one bit for each segment and slice with content, which every reader knows.
    `labelmap`: a frame for each slice, much smaller with many segments, for readers since 2024; layers that
    overlap become a file each. `auto`: `binary` for up to 10 segments, else `labelmap`."""

    compression: Compression = "rle"
    """Of label maps, without loss; masks of one bit are never compressed, as few readers could follow."""

    def needs(self, volume: Volume) -> str | None:
        """A DICOM series with UIDs and a frame of reference."""
        return Origin.refusal(volume)

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """Segment numbers, what is written of them, and what is read back; and what frames take."""
        frames = segmentation.grid.shape[2] * max(1, len(segmentation.labels)) // 4
        return 4 * segmentation.array.nbytes + frames * FRAME_BYTES + super().work_bytes(volume, segmentation)

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the file, or one for each layer, and read it back."""
        source = result.volume.source
        origin = Origin.of(result.volume)
        assert source is not None
        segments = segments_of(result.segmentation)
        numbers = numbers_on_slices(source, result.segmentation, segments)
        parts = self._parts(numbers, segments)
        for frames in parts:
            name = f"segmentation-{frames.instance}.dcm" if len(parts) > 1 else "segmentation.dcm"
            with _no_collection():
                seg_object(frames, origin, result).save_as(folder / name, enforce_file_format=True)
            require_equal(folder / name, result, frames.segments)
            yield folder / name

    def _parts(self, numbers: NDArray[Any], segments: tuple[Segment, ...]) -> list[Frames]:
        """What goes into which file."""
        binary = self.type == "binary" or (self.type == "auto" and len(segments) <= FEW)
        overlap = _overlapping(numbers)
        if len(numbers) > 1 and not overlap:
            numbers = numbers.max(axis=0, keepdims=True)
        if binary:
            return [Frames(numbers, segments, "BINARY", overlap=overlap)]
        if not overlap:
            return [Frames(numbers, segments, "LABELMAP", self.compression)]
        layers = sorted({segment.label.layer for segment in segments})
        own = [tuple(each for each in segments if each.label.layer == layer) for layer in layers]
        return [
            Frames(numbers[layer : layer + 1], own[n], "LABELMAP", self.compression, instance=n + 1)
            for n, layer in enumerate(layers)
        ]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no garbage meanwhile: none of a file's thousands of small objects is any."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _overlapping(numbers: NDArray[Any]) -> bool:
    """Whether any voxel is in two layers."""
    if len(numbers) == 1:
        return False
    return any(bool((np.count_nonzero(plane, axis=0) > 1).any()) for plane in numbers.swapaxes(0, 1))
