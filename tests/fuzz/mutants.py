"""Mutants of small good files, each told by its family, a seed and a number: the same bytes in every run.

What is done to a file: bits and bytes flipped, numbers that programs trip over put at header fields, ends cut
off, stretches removed, doubled or taken from another file, gzip packed anew around a damaged content, DICOM
elements removed, doubled, swapped, given another VR, length or value.
"""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["FAMILIES", "Seed", "elements", "mutant"]

Mutator = Callable[[random.Random, bytes, "Seed"], bytes]

WHOLE = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
REAL = (0.0, -1.0, 1e-45, 1e38, float("nan"), float("inf"), -float("inf"), 1e300)
TEXTS = (
    b"", b" ", b"0", b"-1", b"1", b"nan", b"inf", b"1e999", b"1\\2", b"1\\2\\3", b"1,5", b"\0\0",
    b"99999999999999999999", b"\\\\\\", b"\xff\xfe", b"1.2.840.10008.1.2.4.90", b"ISO 2022 IR 87",
    b"MONOCHROME9", b"A" * 300,
)  # fmt: skip
VRS = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OW", b"PN",
    b"SH", b"SL", b"SQ", b"SS", b"ST", b"TM", b"UI", b"UL", b"UN", b"US", b"UT", b"ZZ", b"\0\0",
)  # fmt: skip
LONG_VRS = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}


@dataclass(frozen=True)
class Seed:
    """A good file: `place` is its name in a folder of its own, `fields` the offsets of its header's numbers.

    `given` is what is read (the file itself, or "" for its folder); `beside` are files that stay as they are.
    """

    family: str
    name: str
    place: str
    content: bytes
    fields: Sequence[int] = ()
    given: str = ""
    beside: Mapping[str, bytes] | None = None
    kin: Sequence[bytes] = ()
    """Other good files, to take stretches from."""

    @property
    def packed(self) -> bool:
        """Whether the content is one gzip stream."""
        return self.content[:2] == b"\x1f\x8b"

    @property
    def dicom(self) -> bool:
        """Whether the content is a DICOM file with explicit VR, little endian."""
        return self.content[128:132] == b"DICM"


def mutant(seed: Seed, number: int, run: int) -> bytes:
    """The bytes of one mutant: one to three changes, mostly one."""
    chance = random.Random(f"{run}/{seed.family}/{seed.name}/{number}")  # noqa: S311  # not for secrets
    content = seed.content
    if seed.packed and chance.random() < 0.8:
        return _repacked(chance, seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = _changed(chance, content, seed)
    return content


def _changed(chance: random.Random, content: bytes, seed: Seed) -> bytes:
    ways: tuple[Mutator, ...] = ANY if not seed.dicom else ANY + SURGERY * 2
    return chance.choice(ways)(chance, content, seed) if content else content


def _repacked(chance: random.Random, seed: Seed) -> bytes:
    """Damage inside a gzip stream whose CRC fits it again."""
    content = gzip.decompress(seed.content)
    for _ in range(chance.choice((1, 1, 2))):
        content = _changed(chance, content, seed)
    return gzip.compress(content, 1, mtime=0)


# ------------------------------------------------------------------ any file
def _flip_bits(chance: random.Random, content: bytes, seed: Seed) -> bytes:
    spoiled = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        spoiled[_somewhere(chance, content, seed)] ^= 1 << chance.randrange(8)
    return bytes(spoiled)


def _set_bytes(chance: random.Random, content: bytes, seed: Seed) -> bytes:
    spoiled = bytearray(content)
    at = _somewhere(chance, content, seed)
    stretch = chance.randbytes(chance.choice((1, 2, 4, 16)))
    spoiled[at : at + len(stretch)] = stretch[: len(spoiled) - at]
    return bytes(spoiled)


def _set_number(chance: random.Random, content: bytes, seed: Seed) -> bytes:
    """A number that programs trip over, in either byte order."""
    order, kind = chance.choice("<>"), chance.choice("BHIQfd")
    if kind in "fd":
        number = struct.pack(order + kind, chance.choice(REAL[:7] if kind == "f" else REAL))
    else:
        value = chance.choice(WHOLE) + chance.choice((0, 0, 1))
        number = struct.pack(order + kind, value % 2 ** (8 * struct.calcsize(kind)))
    at = min(_somewhere(chance, content, seed), max(0, len(content) - len(number)))
    return content[:at] + number + content[at + len(number) :]


def _cut(chance: random.Random, content: bytes, seed: Seed) -> bytes:
    return content[: _somewhere(chance, content, seed)]


def _remove(chance: random.Random, content: bytes, seed: Seed) -> bytes:
    at = _somewhere(chance, content, seed)
    return content[:at] + content[at + chance.choice((1, 2, 4, 13, 64)) :]


def _double(chance: random.Random, content: bytes, seed: Seed) -> bytes:
    at, length = _somewhere(chance, content, seed), chance.choice((1, 4, 64, 512))
    return content[: at + length] + content[at:]


def _splice(chance: random.Random, content: bytes, seed: Seed) -> bytes:
    """The start of this file and the end of another."""
    other = chance.choice(seed.kin or (content,))
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def _append(chance: random.Random, content: bytes, _seed: Seed) -> bytes:
    return content + chance.choice((b"\0", bytes(5000), chance.randbytes(100), content))


def _somewhere(chance: random.Random, content: bytes, seed: Seed) -> int:
    """An offset: a field of the header, somewhere near the start, or anywhere."""
    way = chance.random()
    if seed.fields and way < 0.6:
        return min(chance.choice(seed.fields), len(content) - 1)
    return chance.randrange(min(len(content), 512) if way < 0.8 else len(content))


ANY: tuple[Mutator, ...] = (
    _flip_bits, _set_bytes, _set_number, _set_number, _cut, _remove, _double, _splice, _append,
)  # fmt: skip


# ------------------------------------------------------------------ DICOM elements
def elements(content: bytes) -> list[tuple[int, int, int]]:
    """Start, start of value and end of each element of a DICOM file, explicit VR little endian, top level.

    Where the file cannot be followed any further, the list ends.
    """
    found, at = [], 132
    while at + 8 <= len(content):
        vr = content[at + 4 : at + 6]
        if vr in LONG_VRS:
            if at + 12 > len(content):
                break
            start, length = at + 12, struct.unpack_from("<I", content, at + 8)[0]
        else:
            start, length = at + 8, struct.unpack_from("<H", content, at + 6)[0]
        end = len(content) if length == 0xFFFFFFFF else start + length
        if end > len(content) or not vr.isalpha():
            break
        found.append((at, start, end))
        at = end
    return found


def _an_element(chance: random.Random, content: bytes) -> tuple[int, int, int] | None:
    found = elements(content)
    return chance.choice(found) if found else None


def _drop_element(chance: random.Random, content: bytes, _seed: Seed) -> bytes:
    found = _an_element(chance, content)
    return content if found is None else content[: found[0]] + content[found[2] :]


def _double_element(chance: random.Random, content: bytes, _seed: Seed) -> bytes:
    found = _an_element(chance, content)
    return content if found is None else content[: found[2]] + content[found[0] :]


def _swap_elements(chance: random.Random, content: bytes, _seed: Seed) -> bytes:
    first, second = sorted(
        (_an_element(chance, content) or (0, 0, 0), _an_element(chance, content) or (0, 0, 0))
    )
    if first == second:
        return content
    a, b = content[first[0] : first[2]], content[second[0] : second[2]]
    return content[: first[0]] + b + content[first[2] : second[0]] + a + content[second[2] :]


def _other_vr(chance: random.Random, content: bytes, _seed: Seed) -> bytes:
    found = _an_element(chance, content)
    if found is None:
        return content
    return content[: found[0] + 4] + chance.choice(VRS) + content[found[0] + 6 :]


def _lie_about_length(chance: random.Random, content: bytes, _seed: Seed) -> bytes:
    found = _an_element(chance, content)
    if found is None:
        return content
    start, value, end = found
    true = end - value
    lie: int = chance.choice((*WHOLE, true + 1, true + 2, max(0, true - 1), max(0, true - 2), true * 2))
    width = 4 if value - start == 12 else 2
    return content[: value - width] + (lie % (1 << 8 * width)).to_bytes(width, "little") + content[value:]


def _other_value(chance: random.Random, content: bytes, _seed: Seed) -> bytes:
    """Another value with a length that fits it: text, a number, or nothing."""
    found = _an_element(chance, content)
    if found is None:
        return content
    start, at, end = found
    number = chance.choice(WHOLE)
    value = chance.choice(
        (chance.choice(TEXTS), struct.pack("<H", number % 65536), struct.pack("<I", number))
    )
    value += b" " * (len(value) % 2)
    width = 4 if at - start == 12 else 2
    length = len(value).to_bytes(width, "little")
    return content[: at - width] + length + value + content[end:]


SURGERY: tuple[Mutator, ...] = (
    _drop_element, _double_element, _swap_elements, _other_vr, _lie_about_length, _other_value, _other_value,
)  # fmt: skip
FAMILIES = ("nifti", "dicom", "other")
