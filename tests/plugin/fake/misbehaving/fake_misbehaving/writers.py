"""Writers that break their contract."""

from pathlib import Path
from typing import Any

from medseg.prediction import Result
from medseg.steps import Writer
from medseg.volume import Volume


class Absent(Writer):
    """Report a file that is not there."""

    def __call__(self, result: Result, folder: Path) -> Any:
        return [folder / "never.txt"]


class Outside(Writer):
    """Write beside the folder."""

    def __call__(self, result: Result, folder: Path) -> Any:
        path = folder / ".." / "outside.txt"
        path.touch()
        return [path]


class Link(Writer):
    """Report a link to somewhere else."""

    def __call__(self, result: Result, folder: Path) -> Any:
        path = folder / "link.txt"
        path.symlink_to(__file__)
        return [path]


class NoPaths(Writer):
    """Report names, not paths."""

    def __call__(self, result: Result, folder: Path) -> Any:
        (folder / "name.txt").touch()
        return ["name.txt"]


class NeedsFails(Writer):
    """Fail when asked what it needs."""

    def needs(self, volume: Volume) -> str | None:
        raise LookupError("not configured")

    def __call__(self, result: Result, folder: Path) -> Any:
        return ()


class Borrows(Writer):
    """Report whatever lies in the folder as its own."""

    def __call__(self, result: Result, folder: Path) -> Any:
        return sorted(folder.iterdir())


class WritesNothing(Writer):
    """Write nothing and say so."""

    def __call__(self, result: Result, folder: Path) -> Any:
        return ()
