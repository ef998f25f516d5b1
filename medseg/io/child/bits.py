"""Bits of a pixel's cell that are not its value: overlays of old scanners, sign bits, rubbish.

PS3.5 8.1.1: a value takes BitsStored bits up to HighBit; nothing can be told of the others, which once held
overlays. They are taken off native cells. A codec has no other bits: a value beyond them is damage there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.child.codecs import Stored
from medseg.io.child.reply import RefusedError

__all__ = ["Cleaned", "cleaned", "within"]


class Cleaned(NamedTuple):
    """Values of native cells, a line for each thing that was taken off them, and whether one was a riddle."""

    values: NDArray[Any]
    notes: list[str]
    unexplained: bool = False
    """Bits above the value that no overlay explains: rubbish, or values that the header cuts off."""


def cleaned(cells: NDArray[Any], stored: Stored, overlays: int) -> Cleaned:
    """Values of native cells, and a line for each thing that was taken off them.

    `overlays` masks the bits that the header gives to overlays. Raises RefusedError where bits below the
    value are used and are no overlay: HighBit is wrong then, or the values are.
    """
    low, high = _range(stored)
    below = stored.high_bit + 1 - stored.stored
    if stored.stored == stored.allocated or (
        below == 0 and int(cells.min()) >= low and int(cells.max()) <= high
    ):
        return Cleaned(cells, [])
    raw = _unsigned(cells)
    if int(np.bitwise_or.reduce(raw, axis=None)) & ((1 << below) - 1) & ~overlays:
        raise RefusedError(
            f"its HighBit of {stored.high_bit} with {stored.stored} bits stored does not fit its values"
        )
    notes = []
    if below:
        notes.append(f"values in the upper {stored.stored} of {stored.high_bit + 1} bits shifted down")
    top = raw >> (stored.high_bit + 1)
    unexplained = False
    if np.any(top) and not _extends_sign(raw, top, stored):
        unexplained = not overlays >> (stored.high_bit + 1)
        what = "bits that no overlay explains" if unexplained else "overlay bits"
        notes.append(f"{what} above the {stored.stored} bits of a value removed")
    return Cleaned(_signed(raw >> below, stored), notes, unexplained)


def within(values: NDArray[Any], stored: Stored) -> NDArray[Any]:
    """Decoded values, sign-extended; raises RefusedError for any beyond the bits that the header claims."""
    low, high = _range(stored)
    if values.dtype.itemsize * 8 <= stored.stored or (int(values.min()) >= low and int(values.max()) <= high):
        return values
    raw = _unsigned(values)
    top = raw >> stored.stored
    # a codec without a sign gives the bits of a negative value as they are
    if not stored.signed or np.any(np.where(top != 0, ~_sign_bits(raw, top, stored, stored.stored), False)):
        raise RefusedError(f"its pixel data holds values beyond the {stored.stored} bits its header claims")
    return _signed(raw, stored)


def _range(stored: Stored) -> tuple[int, int]:
    half = 1 << (stored.stored - 1)
    return (-half, half - 1) if stored.signed else (0, 2 * half - 1)


def _unsigned(cells: NDArray[Any]) -> NDArray[Any]:
    return cells.astype(cells.dtype.newbyteorder("="), copy=False).view(f"u{cells.dtype.itemsize}")


def _sign_bits(raw: NDArray[Any], top: NDArray[Any], stored: Stored, below_top: int) -> NDArray[np.bool_]:
    """Where all bits above a value are set, as its sign bit is."""
    ones = (1 << (8 * raw.dtype.itemsize - below_top)) - 1
    negative: NDArray[np.bool_] = (top == ones) & ((raw >> (below_top - 1)) & 1 == 1)
    return negative


def _extends_sign(raw: NDArray[Any], top: NDArray[Any], stored: Stored) -> bool:
    if not stored.signed:
        return False
    return bool(np.all((top == 0) | _sign_bits(raw, top, stored, stored.high_bit + 1)))


def _signed(raw: NDArray[Any], stored: Stored) -> NDArray[Any]:
    """The lowest bits of each cell as a value of the type that the header says."""
    bits = 8 * raw.dtype.itemsize - stored.stored
    kind = "i" if stored.signed else "u"
    shifted: NDArray[Any] = (raw << bits).view(f"{kind}{raw.dtype.itemsize}")
    return shifted >> bits
