"""The postprocessor `dilate`."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from medseg.builtin.postprocess.ball import Ball
from medseg.builtin.postprocess.repaint import repaint
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Volume

__all__ = ["Dilation"]


class Dilation(Postprocessor):
    """Put a rim of a radius in mm around a label.

    The distance is exact between voxel centres, whatever the spacing. Only background is taken, and the
    labels named by `over`; all others stay as they are, and so do labels of other layers, which may overlap.
    Where two growing labels meet, the one that comes first has the gap: labels grow in the order given, or in
    that of the label table. The rim ends at the border of the image.
    """

    takes_objects: ClassVar[bool] = False

    label_fields: ClassVar[tuple[str, ...]] = ("labels", "over")

    radius_mm: float = Field(gt=0, le=100)
    """How much is added, in mm; less than the finest spacing changes nothing."""

    labels: tuple[str, ...] | None = None
    """Names of the labels to change; null for all but those of `over`."""

    over: tuple[str, ...] = ()
    """Names of labels that may be overwritten, beside background."""

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        both = sorted(set(self.labels or ()) & set(self.over))
        if both:
            raise ValueError(f"{', '.join(both)} can either grow or be overwritten; name it once")
        return self

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation with larger labels; an image of one slice is dilated within it."""
        ball = Ball(self.radius_mm, segmentation.grid, step="dilate")
        growing = self.labels
        if growing is None and self.over:
            growing = tuple(label.name for label in segmentation.labels if label.name not in self.over)
        # one more voxel, so that the outside is in view where the radius is smaller than a voxel
        around = [n + 1 for n in ball.reach]
        return repaint(segmentation, growing, ball.dilated, around=around, over=self.over)
