"""Images that a DICOMDIR names: only files that lie below its own folder, whatever it says.

A directory is a list of paths that somebody else wrote. Each part of a path is checked by itself, is found
on disk whatever its capitals, and the file that comes of it must still lie in the folder with links followed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.errors import InputError
from medseg.io.decoder import decode
from medseg.io.regular_file import printable, require_regular

__all__ = ["DIRECTORY_CLASS", "files_of_directory"]

DIRECTORY_CLASS = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
MOST_PARTS = 8  # PS3.10 8.2
MOST_LETTERS = 64  # eight by PS3.10; discs burnt from a PACS have longer ones
MOST_FILES = 200_000


def files_of_directory(path: Path) -> list[Path]:
    """The image files that a DICOMDIR names, in its order, each once.

    Raises InputError where one of them lies outside the DICOMDIR's folder, or is not there.
    """
    named: list[Sequence[str]] = []

    def take(fields: dict[str, Any], _: object) -> None:
        named.extend(fields["paths"])
        if len(named) > MOST_FILES:
            raise InputError(f"{path.name}: names more than {MOST_FILES} files; give the folder of one study")

    decode({"do": "dicomdir"}, files=[path], take=take)
    if not named:
        raise InputError(f"{path.name}: names no images; give the folder of an image series")
    disc = _Disc(path)
    return list(dict.fromkeys(disc.file(parts) for parts in named))


class _Disc:
    """The folder that a DICOMDIR speaks of: finds files below it, and none elsewhere."""

    def __init__(self, path: Path) -> None:
        self._directory = path.name
        self._folder = path.parent
        self._real = os.path.realpath(self._folder)
        self._names: dict[Path, dict[str, str]] = {}

    def file(self, parts: Sequence[str]) -> Path:
        """The file of this path; raises InputError where there is none or it lies elsewhere."""
        self._check(parts)
        place = self._folder
        for part in parts:
            names = self._listed(place)
            place = place / (names.get(part) or names.get(part.lower(), part))
            if os.path.commonpath([os.path.realpath(place), self._real]) != self._real:  # before it is listed
                raise self._outside(parts)
        if not place.exists():
            shown = printable(Path(*parts))
            raise InputError(f"{self._directory}: names {shown}, which is not there; copy the whole disc")
        require_regular(place)
        return place

    def _check(self, parts: Sequence[str]) -> None:
        if not 0 < len(parts) <= MOST_PARTS or not all(0 < len(part) <= MOST_LETTERS for part in parts):
            raise InputError(
                f"{self._directory}: names a file by no or too many parts or letters; it is damaged"
            )
        for part in parts:
            if part in (".", "..") or not part.isprintable() or set(part) & set("/\\:"):
                raise self._outside(parts)

    def _outside(self, parts: Sequence[str]) -> InputError:
        shown = printable(Path("\\".join(parts)))
        return InputError(f"{self._directory}: names a file outside its folder ({shown}); it is hostile")

    def _listed(self, folder: Path) -> dict[str, str]:
        """Names in a folder, by themselves and by their small letters."""
        if folder not in self._names:
            try:
                names = sorted(os.listdir(folder), reverse=True)  # noqa: PTH208  # names only
            except OSError:  # not a folder, or not there
                names = []
            self._names[folder] = {name.lower(): name for name in names} | {name: name for name in names}
        return self._names[folder]
