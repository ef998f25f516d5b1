"""Running a pipeline: one case from its files to its published results."""

from medseg.run.case import segment

__all__ = ["segment"]
