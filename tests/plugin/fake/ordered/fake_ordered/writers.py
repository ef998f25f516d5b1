"""Writers that refer to each other's files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from medseg import Result, Volume, Writer


class Letter(Writer):
    """One line of text."""

    text: str = "dear"
    """What it says."""

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        path = folder / f"{type(self).__name__.lower()}.txt"
        path.write_text(f"{self.text}\n", encoding="utf-8")
        yield path


class Answer(Letter):
    """Says what the letter says."""

    after: ClassVar[tuple[str, ...]] = ("letter",)

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        path = folder / "answer.txt"
        path.write_text((folder / "letter.txt").read_text(encoding="utf-8"), encoding="utf-8")
        yield path


class Picky(Letter):
    """Takes MR only."""

    def needs(self, volume: Volume) -> str | None:
        modality = volume.source.modality if volume.source else None
        return None if modality == "MR" else "an MR image"


class Echo(Letter):
    """Refers to the picky one."""

    after: ClassVar[tuple[str, ...]] = ("fake-ordered/picky",)


class Vague(Letter):
    """Says wrongly what it refers to."""

    after: ClassVar[Any] = "letter"
