"""Pixels of a stack as one array of modality values: decoded slice by slice, rescaled, padding filled."""

from __future__ import annotations

import math
import os
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.decoder import Part, decode, decode_parts, refuse_oversize
from medseg.io.dicom.header import SliceHeader, code
from medseg.io.dicom.suv import suv_factor

__all__ = ["Assembly"]

CT_AIR_HU = -1024.0  # what pixel padding outside the field of view becomes in CT: the usual lowest CT number
INT16 = np.iinfo(np.int16)
INT32 = np.iinfo(np.int32)
LOSSY = (
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81",
)  # fmt: skip  # always; JPEG 2000 and HTJ2K only where LossyImageCompression says so
QUICK = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5")
MOST_DECODERS = 4
LEAST_SLICES = 24  # for each decoder process: one takes a quarter of a second to start, a slice about 0.03 s


class Assembly:
    """Decoded slices on their way into one array: the type grows only when values need it.

    Memory is the array (2 bytes a voxel where values are whole and fit), a mask of 1 byte a voxel where there
    is padding, twice the array for a moment where the type grows, and one slice for each decoder process.
    Each process holds the files it works on, which for a multi-frame file is the whole of it.
    """

    def __init__(self, headers: Sequence[SliceHeader], *, suv: bool = False) -> None:
        rows, columns = headers[0].size
        self.headers = headers
        self.shape = (len(headers), rows, columns)
        self.factor = suv_factor(headers) if suv else 1.0
        self.decided = ("SUV: by body weight (g/mL), from PET in Bq/mL",) if suv else ()
        whole = not suv and all(
            slope == 1 and intercept.is_integer() and abs(intercept) <= INT32.max
            for slope, intercept in map(_linear, headers)
        )
        # [slice, row, column]: as files come, so that each slice is one block of memory
        refuse_oversize(math.prod(self.shape) * (2 if whole else 4), headers[0].name)
        self.array: NDArray[Any] = np.zeros(self.shape, np.int16 if whole else np.float32)
        self.padding: NDArray[np.bool_] | None = None
        self.digests = [""] * len(headers)
        self.tables: dict[Path, tuple[int, NDArray[Any]]] = {}
        self.notes: Counter[str] = Counter()
        self.unexplained: list[int] = []
        self._one_writes = threading.Lock()

    def decoded(self) -> tuple[NDArray[Any], tuple[str, ...], tuple[str, ...]]:
        """The array `[1, column, row, slice]`, each slice's file as sha256, and what was done."""
        with_table = {h.path: h for h in self.headers if h.values.get("ModalityLUTSequence")}
        if with_table:
            self._read_tables(tuple(with_table))
        decode_parts(self._parts(), most_bytes=math.prod(self.shape[1:]) * 4)
        self._refuse_some_unexplained()
        padded = self._fill_padding()
        return self.array.transpose(2, 1, 0)[None], tuple(self.digests), (*self._told(), *padded)

    # -------------------------------------------------------------- decoding
    def _parts(self) -> list[Part]:
        """Requests for all slices, each file asked once; more than one where compression takes its time."""
        slices: dict[Path, list[int]] = {}
        for index, header in enumerate(self.headers):
            slices.setdefault(header.path, []).append(index)
        slow = any(header.text("TransferSyntaxUID") not in QUICK for header in self.headers)
        most = len(self.headers) // LEAST_SLICES if slow else 1
        count = max(1, min(most, MOST_DECODERS, len(os.sched_getaffinity(0)), len(slices)))
        paths = list(slices)
        step = math.ceil(len(paths) / count)
        return [
            self._part({path: slices[path] for path in paths[n : n + step]})
            for n in range(0, len(paths), step)
        ]

    def _part(self, slices: dict[Path, list[int]]) -> Part:
        frames = [self._frames(indices) for indices in slices.values()]
        order = iter([index for indices in slices.values() for index in indices])

        def take(fields: dict[str, Any], stored: NDArray[Any] | None) -> None:
            with self._one_writes:  # the array may be replaced by a wider one
                self._take(next(order), fields, stored)

        return Part({"do": "dicom-pixels", "frames": frames}, list(slices), take)

    def _frames(self, indices: Sequence[int]) -> list[int] | None:
        numbers = [self.headers[index].frame for index in indices]
        return None if numbers[0] is None else [number for number in numbers if number is not None]

    def _read_tables(self, paths: Sequence[Path]) -> None:
        waiting = iter(paths)

        def take(fields: dict[str, Any], table: NDArray[Any] | None) -> None:
            assert table is not None
            self.tables[next(waiting)] = (int(fields["first"]), table)
            self.notes[f"Modality LUT applied ({code(str(fields['kind'])) or 'no type given'})"] += 1

        decode({"do": "modality-tables"}, files=paths, take=take, most_bytes=8 << 16)

    def _refuse_some_unexplained(self) -> None:
        """Bits beyond the stored ones mean nothing (PS3.5 8.1.1), but where some slices only have them."""
        if 0 < len(self.unexplained) < len(self.headers):
            count, first = len(self.unexplained), self.headers[min(self.unexplained)]
            raise InputError(
                f"{first.name}: mixed values: {count} of {len(self.headers)} slices have values beyond the "
                f"{first.whole('BitsStored', 0)} bits that their headers claim, which no overlay explains; "
                "export the series again"
            )

    # -------------------------------------------------------------- one slice
    def _take(self, index: int, fields: dict[str, Any], stored: NDArray[Any] | None) -> None:
        header = self.headers[index]
        if stored is None or stored.shape != self.shape[1:]:
            shape = None if stored is None else stored.shape
            raise InputError(
                f"{header.name}: its pixels have the shape {shape}, its header says {self.shape[1:]}"
            )
        self.digests[index] = str(fields["sha256"])
        self.notes.update(fields["notes"])
        if fields["unexplained"]:
            self.unexplained.append(index)
        padding = _padding(header, stored, linear=header.path not in self.tables)
        slope, intercept = _linear(header)
        if header.path in self.tables:
            first, table = self.tables[header.path]
            stored = table[stored.astype(np.intp) - first]
        if self.array.dtype == np.float32:
            with np.errstate(over="ignore", invalid="ignore"):
                self.array[index] = (stored * np.float64(slope) + intercept) * self.factor
            if not np.isfinite(self.array[index]).all():
                raise InputError(
                    f"{header.name}: RescaleSlope {slope:g} and RescaleIntercept {intercept:g} make values "
                    "that are no finite numbers; it is damaged, export it again"
                )
        else:
            self._take_whole(index, stored, int(intercept), padding)
        if padding is not None:
            if self.padding is None:
                self.padding = np.zeros(self.shape, bool)
            self.padding[index] = padding

    def _take_whole(
        self, index: int, stored: NDArray[Any], intercept: int, padding: NDArray[np.bool_] | None
    ) -> None:
        """Add the intercept in the array's own type: where the result fits, what overflows comes back."""
        # padding must not decide the type: it is often -32768 or 65535
        real = stored if padding is None else stored[~padding]
        if real.size:
            self._widen(int(real.min()) + intercept, int(real.max()) + intercept)
        target = self.array[index]
        if self.array.dtype.kind == "f":
            np.add(stored, intercept, out=target, dtype=np.float64)
        else:
            target[:] = stored
            target += np.int64(intercept).astype(self.array.dtype)

    def _widen(self, low: int, high: int) -> None:
        if self.array.dtype.kind == "f":
            return
        if low < INT32.min or high > INT32.max:
            self.array = self.array.astype(np.float64)
        elif self.array.dtype == np.int16 and (low < INT16.min or high > INT16.max):
            self.array = self.array.astype(np.int32)

    # -------------------------------------------------------------- padding, and what was done
    def _fill_padding(self) -> tuple[str, ...]:
        if self.padding is None:
            return ()
        if self.headers[0].text("Modality") == "CT":
            fill = CT_AIR_HU
        else:
            pairs = zip(self.array, self.padding, strict=True)
            lowest = [one[~outside].min() for one, outside in pairs if not outside.all()]
            fill = float(min(lowest)) if lowest else 0.0
        self.array[self.padding] = fill
        return (f"pixel padding: {int(self.padding.sum())} voxels set to {fill:g}",)

    def _told(self) -> tuple[str, ...]:
        """What was done to the values of how many slices, and what they lost before."""
        for header in self.headers:
            if header.text("TransferSyntaxUID") in LOSSY or header.text("LossyImageCompression") == "01":
                self.notes["compressed with loss"] += 1
        first = self.headers[0]
        kind = first.text("RescaleType")
        if first.text("Modality") == "CT" and not self.tables:
            if kind not in ("", "HU"):
                self.notes[f"RescaleType {code(kind) or 'unknown'}: not declared as HU"] = len(self.headers)
            if first.number("RescaleSlope") is None and first.number("RescaleIntercept") is None:
                note = "no RescaleSlope or RescaleIntercept: stored values taken as HU"
                self.notes[note] = len(self.headers)
        every = len(self.headers)
        return tuple(
            note if count >= every else f"{note} ({count} of {every} slices)"
            for note, count in self.notes.items()
        )


def _linear(header: SliceHeader) -> tuple[float, float]:
    """Slope and intercept; 1 and 0 where a table takes their place."""
    return (1.0, 0.0) if header.values.get("ModalityLUTSequence") else header.rescale


def _padding(header: SliceHeader, stored: NDArray[Any], *, linear: bool) -> NDArray[np.bool_] | None:
    """Pixels that PixelPaddingValue, or its range, marks as outside the image; None where there is none.

    Outside CT, padding that means zero signal already is left alone: it is the floor of the scale.
    """
    first = _stored_number(header, "PixelPaddingValue")
    if first is None:
        return None
    other = _stored_number(header, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if other is None else other))
    slope, intercept = header.rescale
    if linear and header.text("Modality") != "CT" and low == high and low * slope + intercept == 0:
        return None
    inside: NDArray[np.bool_] = stored == low if low == high else (stored >= low) & (stored <= high)
    return inside if inside.any() else None


def _stored_number(header: SliceHeader, keyword: str) -> int | None:
    """A tag that is written like a pixel; some files write a negative one as if it were unsigned."""
    value = header.number(keyword)
    if value is None:
        return None
    bits = header.whole("BitsAllocated", 16)
    number = int(value) % (1 << bits)
    signed = header.whole("PixelRepresentation", 0) == 1
    return number - (1 << bits) if signed and number >= 1 << (bits - 1) else number
