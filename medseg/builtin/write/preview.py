"""The picture to look at first."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from medseg.prediction import Result
from medseg.report.preview import draw_preview
from medseg.steps import Writer

__all__ = ["Preview"]


class Preview(Writer):
    """`preview.png`: the labels over the image in three planes, with a legend of volumes and flags.

    What a policy made of a doubtful image stands below the legend.
    """

    libraries: ClassVar[Mapping[str, int]] = {"matplotlib": 40 << 20}

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Draw the picture, with the case's id as its title."""
        path = folder / "preview.png"
        source = result.volume.source
        draw_preview(
            result.volume,
            result.segmentation,
            path,
            measurements=result.measurements,
            title=result.case_id,
            notes=source.decided if source is not None else (),
        )
        return [path]
