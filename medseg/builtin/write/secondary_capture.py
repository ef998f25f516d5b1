"""Pictures of a finished case as DICOM, for viewers that show nothing else of ours."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from medseg.builtin.measure.lesions import is_lesion
from medseg.builtin.write.key_images import KeyImages
from medseg.io.dicom_results.origin import MAKER, Origin
from medseg.io.dicom_results.picture_object import (
    captures,
    pdf_document,
    require_same_document,
    require_same_pixels,
)
from medseg.prediction import Result
from medseg.report.key_images import KeyImage
from medseg.report.result_table import ROWS
from medseg.report.summary_pages import Page, summary_pages
from medseg.segmentation import Segmentation
from medseg.steps import Writer
from medseg.volume import Volume

__all__ = ["SecondaryCapture"]

PAGE_BYTES = 12 << 20  # 1800 by 1100 pixels of three bytes, and once more as a PDF


class SecondaryCapture(Writer):
    """`summary-1.dcm`, `summary-2.dcm` …: pages of pictures as DICOM Secondary Capture, for every viewer.

    The first page is the preview: labels over the image in three planes, with a legend. The largest lesions
    follow, where a label is named like a lesion, and a table of volumes and intensities. Each page has a
    banner across its top that says RESEARCH USE ONLY, and no patient's name: who it is stands in the tags,
    as in every object of the study. Nothing can be measured in them: masks are in the DICOM SEG.

    Every file is read back by GDCM and compared before it counts as written.
    """

    libraries: ClassVar[Mapping[str, int]] = {"matplotlib": 40 << 20, "SimpleITK": 60 << 20}

    pdf: bool = False
    """Whether to write the same pages as one PDF, too, in a DICOM object: `summary-pdf.dcm`."""

    def needs(self, volume: Volume) -> str | None:
        """A DICOM series with UIDs."""
        return Origin.refusal(volume, placed=False)

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """Numbered lesions, and the pages, which are held until all are written."""
        pages = 3 + len(segmentation.labels) // ROWS
        return KeyImages().work_bytes(volume, segmentation) + pages * PAGE_BYTES

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Draw the pages, write them, and read them back."""
        origin = Origin.of(result.volume)
        pages = self.pages(result)
        made = captures([(page.picture, page.words) for page in pages], origin, result=result)
        for number, (page, one) in enumerate(zip(pages, made, strict=True), start=1):
            path = folder / f"summary-{number}.dcm"
            one.save_as(path, enforce_file_format=True)
            require_same_pixels(path, page.picture)
            yield path
        if self.pdf:
            content = _pdf(pages)
            path = folder / "summary-pdf.dcm"
            pdf_document(content, origin, result=result).save_as(path, enforce_file_format=True)
            require_same_document(path, content)
            yield path

    @staticmethod
    def pages(result: Result) -> list[Page]:
        """The pages. They are titled by the model: a case's id may be a name."""
        source = result.volume.source
        model = result.provenance.get("model") or {}
        title = " ".join(str(part) for part in (MAKER, model.get("name"), model.get("version")) if part)
        return summary_pages(
            result.volume,
            result.segmentation,
            measurements=result.measurements,
            lesions=_lesions(result),
            title=title,
            notes=source.decided if source is not None else (),
        )


def _lesions(result: Result) -> Sequence[KeyImage]:
    """The largest lesions, if any label is named like one."""
    named = tuple(label.name for label in result.segmentation.labels if is_lesion(label.name))
    return KeyImages(labels=named).images(result.segmentation) if named else ()


def _pdf(pages: Sequence[Page]) -> bytes:
    """A page each, as large as it is, without loss; no date and no program within, nor anything else."""
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    with PdfPages(buffer, metadata=nothing) as document:
        for page in pages:
            rows, columns = page.picture.shape[:2]
            figure = Figure(figsize=(columns / 72, rows / 72), dpi=72)
            figure.figimage(page.picture)
            document.savefig(figure)
    return buffer.getvalue()
