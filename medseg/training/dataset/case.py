"""What a dataset is: its cases with their files, its labels, and what is known of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from medseg.config import InputSpec
from medseg.errors import UsageError, did_you_mean
from medseg.segmentation import LabelTable

__all__ = ["Case", "Dataset", "Overlap", "Split", "Statement"]

Split = Literal["train", "validation", "test"]
Overlap = Literal["refuse", "layers"]


@dataclass(frozen=True)
class Case:
    """One examination: a file for each input, by the input's name, and the mask drawn on it.

    Several inputs that name one file are the volumes of that 4-D file, in order. Instead of one mask,
    `label`, there may be one for each structure, `masks`, by the label's name. Cases of one `subject` never
    lie on both sides of a split; those of one `stratum`, as a scanner or a stain, are spread over its sides.
    """

    id: str
    images: Mapping[str, Path]
    label: Path | None
    subject: str
    split: Split | None = None
    masks: Mapping[str, Path] = field(default_factory=dict)
    stratum: str = ""

    @property
    def labelled(self) -> bool:
        """Whether there is a mask, or one for each structure."""
        return self.label is not None or bool(self.masks)

    @property
    def files(self) -> dict[str, Path]:
        """Every file by what it is: an input's name, "label", "label:axon"."""
        label = {} if self.label is None else {"label": self.label}
        return {**self.images, **label, **{f"label:{name}": path for name, path in self.masks.items()}}


@dataclass(frozen=True)
class Statement:
    """What must be said of data by whoever trains on it: it goes onto the model's card."""

    description: str = ""
    licence: str = ""
    attribution: str = ""
    reference: str = ""


@dataclass(frozen=True)
class Dataset:
    """Cases to train on, and what their masks mean.

    `values` has the values in a mask that make up each label, by name; where two labels share one, labels lie
    in layers of their own (`overlapping`). A label without values is any value: masks hold ids of objects.
    Voxels of value `ignore` are not trained on. `threshold` is the value above which a voxel is inside in
    masks of one structure; None decides by what they hold. `overlap` says what becomes of masks of structures
    that overlap. `subjects_stated` is False where each case is taken for a subject of its own, as nothing
    says otherwise. `notes` tell what was decided on opening.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    labels: LabelTable
    cases: tuple[Case, ...]
    values: Mapping[str, tuple[int, ...]]
    ignore: int | None = None
    threshold: float | None = None
    overlap: Overlap = "refuse"
    pixel_size: float | None = None
    statement: Statement = field(default_factory=Statement)
    subjects_stated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def overlapping(self) -> bool:
        """Whether labels lie in several layers: a network for them needs the head `sigmoid`."""
        return self.labels.layers > 1

    @property
    def of_objects(self) -> bool:
        """Whether masks hold ids of objects."""
        return () in self.values.values()

    @property
    def trainable(self) -> tuple[Case, ...]:
        """Cases that may be trained on and validated with: labelled, and not kept for a test."""
        return tuple(case for case in self.cases if case.labelled and case.split != "test")

    @property
    def meaning(self) -> str:
        """SHA-256 of all that decides which images and labels its files are read as."""
        labels = [
            [label.value, label.layer, label.name, list(self.values[label.name])] for label in self.labels
        ]
        inputs = [[spec.name, spec.modality] for spec in self.inputs]
        told = [self.pixel_size, self.threshold, self.ignore, self.overlap, inputs, labels]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def case(self, case_id: str) -> Case:
        """The case of this id; raises UsageError with the closest one."""
        for case in self.cases:
            if case.id == case_id:
                return case
        known = (case.id for case in self.cases)
        raise UsageError(f"there is no case {case_id!r}{did_you_mean(case_id, known)}")

    def replace_cases(self, cases: tuple[Case, ...]) -> Dataset:
        """The same with other cases."""
        return replace(self, cases=cases)
