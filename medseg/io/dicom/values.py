"""Pixels of a stack as one array of modality values: decoded slice by slice, rescaled, padding filled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.decoder import decode, refuse_oversize
from medseg.io.dicom.header import SliceHeader

__all__ = ["Assembly"]

CT_AIR_HU = -1024.0  # what pixel padding outside the field of view becomes in CT: the usual lowest CT number
INT16 = np.iinfo(np.int16)
INT32 = np.iinfo(np.int32)


class Assembly:
    """Decoded slices on their way into one array: the type grows only when values need it."""

    def __init__(self, headers: Sequence[SliceHeader]) -> None:
        rows, columns = headers[0].size
        self.headers = headers
        self.shape = (len(headers), rows, columns)
        whole = all(
            slope == 1 and intercept.is_integer() for slope, intercept in (h.rescale for h in headers)
        )
        # [slice, row, column]: as files come, so that each slice is one block of memory
        refuse_oversize(math.prod(self.shape) * (2 if whole else 4), headers[0].name)
        self.array: NDArray[Any] = np.zeros(self.shape, np.int16 if whole else np.float32)
        self.padding: NDArray[np.bool_] | None = None
        self.digests: list[str] = []

    def decoded(self) -> tuple[NDArray[Any], tuple[str, ...], tuple[str, ...]]:
        """The array `[1, column, row, slice]`, the files' sha256, and what was done about padding."""
        files = [header.path for header in self.headers]
        decode({"do": "dicom-pixels"}, files=files, take=self._take, most_bytes=math.prod(self.shape[1:]) * 4)
        note = self._fill_padding()
        return self.array.transpose(2, 1, 0)[None], tuple(self.digests), note

    def _take(self, fields: dict[str, Any], stored: NDArray[Any] | None) -> None:
        index = len(self.digests)
        header = self.headers[index]
        if stored is None or stored.shape != self.shape[1:]:
            shape = None if stored is None else stored.shape
            raise InputError(
                f"{header.name}: its pixels have the shape {shape}, its header says {self.shape[1:]}"
            )
        self.digests.append(str(fields["sha256"]))
        padding = _padding(header, stored)
        slope, intercept = header.rescale
        if self.array.dtype.kind == "f":
            self.array[index] = stored * np.float64(slope) + intercept
        else:
            values = stored.astype(np.int64) + int(intercept)
            if padding is not None:
                values[padding] = 0  # must not decide the type: padding is often -32768 or 65535
            self._widen(int(values.min()), int(values.max()))
            self.array[index] = values
        if padding is not None:
            if self.padding is None:
                self.padding = np.zeros(self.shape, bool)
            self.padding[index] = padding

    def _widen(self, low: int, high: int) -> None:
        if low < INT32.min or high > INT32.max:
            self.array = self.array.astype(np.float64)
        elif self.array.dtype == np.int16 and (low < INT16.min or high > INT16.max):
            self.array = self.array.astype(np.int32)

    def _fill_padding(self) -> tuple[str, ...]:
        if self.padding is None:
            return ()
        if self.headers[0].text("Modality") == "CT":
            fill = CT_AIR_HU
        else:
            real = self.array[~self.padding]
            fill = float(real.min()) if real.size else 0.0
        self.array[self.padding] = fill
        return (f"pixel padding: {int(self.padding.sum())} voxels set to {fill:g}",)


def _padding(header: SliceHeader, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Pixels that PixelPaddingValue, or its range, marks as outside the image; None where there is none.

    Outside CT, padding that means zero signal already is left alone: it is the floor of the scale.
    """
    first = _stored_number(header, "PixelPaddingValue")
    if first is None:
        return None
    other = _stored_number(header, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if other is None else other))
    slope, intercept = header.rescale
    if header.text("Modality") != "CT" and low == high and low * slope + intercept == 0:
        return None
    inside: NDArray[np.bool_] = (stored >= low) & (stored <= high)
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
