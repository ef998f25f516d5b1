"""What turns stored values into modality values and is no plain number: look-up tables, doses of PET."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from medseg.io.child.dicom import plain, refuse_deflate_bomb
from medseg.io.child.reply import MOST_TEXT, RefusedError, Reply, one_line

__all__ = ["modality_tables", "pet_doses"]

STORED = ("BitsStored", "BitsAllocated", "PixelRepresentation")
MOST_BITS = 16
IMAGE = (
    "Units", "CorrectedImage", "DecayCorrection", "SeriesDate", "SeriesTime", "AcquisitionDate",
    "AcquisitionTime", "TimezoneOffsetFromUTC", "PatientWeight",
)  # fmt: skip
DOSE = (
    "RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)  # fmt: skip


def modality_tables(request: dict[str, Any]) -> Iterator[Reply]:
    """For each file, the modality value of every stored value from "first" on, by its Modality LUT."""
    from pydicom.pixels.processing import apply_modality_lut

    for path in request["files"]:
        dataset = _dataset(path, [*STORED, "ModalityLUTSequence"])
        try:
            if not dataset.get("ModalityLUTSequence"):
                raise RefusedError("its Modality LUT Sequence is empty: nothing says what its values mean")
            bits, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
            if not 0 < bits <= MOST_BITS:
                raise RefusedError("its Modality LUT cannot be used for so many bits")
            first = -(1 << (bits - 1)) if signed else 0
            stored = np.arange(first, first + (1 << bits), dtype=np.int32)
            kind = str(dataset.ModalityLUTSequence[0].get("ModalityLUTType") or "")[:MOST_TEXT]
            table = apply_modality_lut(stored, dataset)
        except (AttributeError, IndexError, TypeError, ValueError, NotImplementedError) as problem:
            raise RefusedError(f"its Modality LUT is damaged: {one_line(problem)}") from problem
        yield {"first": first, "kind": kind}, table


def pet_doses(request: dict[str, Any]) -> Iterator[Reply]:
    """For each file, what turns its activity concentration into SUV; asked for when SUV are, and not kept."""
    for path in request["files"]:
        dataset = _dataset(path, [*IMAGE, "RadiopharmaceuticalInformationSequence"])
        fields = {keyword: _value(dataset, keyword) for keyword in IMAGE}
        doses = dataset.get("RadiopharmaceuticalInformationSequence") or ()
        fields["doses"] = [{keyword: _value(dose, keyword) for keyword in DOSE} for dose in list(doses)[:4]]
        yield fields, None


def _value(dataset: Any, keyword: str) -> Any:
    """A tag's plain value; None where it is missing or does not parse."""
    try:
        return plain(dataset.get(keyword))
    except (TypeError, ValueError):
        return None


def _dataset(path: str, tags: list[str]) -> Any:
    from pydicom import dcmread

    with Path(path).open("rb") as file:
        refuse_deflate_bomb(file)
        file.seek(0)
        return dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
