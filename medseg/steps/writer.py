"""Files from a finished case."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import ClassVar

from medseg.errors import PluginError
from medseg.prediction import Result, Wanted
from medseg.segmentation import Segmentation
from medseg.steps.step import Step
from medseg.volume import Volume

__all__ = ["Writer"]

SLICES_BYTES = 64 << 20


class Writer(Step, ABC):
    """Writes files of one kind into a folder that is published only when every writer has succeeded."""

    after: ClassVar[tuple[str, ...]] = ()
    """Names of writers whose files this one refers to: a pipeline must have them, and before it."""

    mentions: ClassVar[tuple[str, ...]] = ()
    """Names of writers whose files this one refers to where they are there: `--write` puts them before it."""

    @property
    def wants(self) -> Wanted:
        """What this must have kept of the prediction, besides the labels."""
        return Wanted()

    def needs(self, volume: Volume) -> str | None:
        """What this volume lacks to be written in this form, in a few words; None where nothing lacks.

        Asked before the run. A writer named by the pipeline file is then left out with a note; one named by
        the user is refused.
        """
        return None

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """Memory it takes at most beside its input, told by shapes and types alone, so that a limit is kept.

        One more copy of the labels, and 64 MiB for a picture or what is written a few slices at a time.
        Override it where a writer takes more.
        """
        return segmentation.array.nbytes + SLICES_BYTES

    @abstractmethod
    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write plainly into `folder` and yield the paths written."""

    @staticmethod
    def check(returned: object, *, folder: Path, taken: Collection[Path] = ()) -> tuple[Path, ...]:
        """Hold what came back against the contract; raises PluginError with what is wrong.

        `taken` are the files of writers before this one, which it must leave alone.
        """
        if not isinstance(returned, Iterable):
            raise PluginError(f"returned {type(returned).__name__}, not paths")
        paths = tuple(returned)
        for path in paths:
            if not isinstance(path, Path):
                raise PluginError(f"reported {path!r}, which is not a Path")
            if not path.is_file():  # first: resolving a link that leads in a circle raises
                raise PluginError(f"reported {path.name!r}, which it did not write")
            if not path.resolve().is_relative_to(folder.resolve()):
                raise PluginError(f"reported {str(path)!r}, which is not in the folder it was given")
            if path in taken:
                raise PluginError(f"reported {path.name!r}, which another writer wrote before it")
        return paths
