"""A writer that prints."""

from collections.abc import Iterable
from pathlib import Path

from medseg.prediction import Result
from medseg.steps import Writer

print("loading fake-loud")  # noqa: T201


class Shout(Writer):
    """One empty file."""

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        path = folder / "shout.txt"
        path.touch()
        yield path
