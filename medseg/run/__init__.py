"""Running a pipeline: one case, or many, from their files to their published results."""

from medseg.run.case import segment
from medseg.run.cohort import segment_cohort

__all__ = ["segment", "segment_cohort"]
