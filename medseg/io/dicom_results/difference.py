"""The error of a result that, read again, is not what was to be written."""

from pathlib import Path

from medseg.errors import MedsegError

__all__ = ["different"]


def different(path: Path, how: str) -> MedsegError:
    """What to raise, before the file is released, where it differs in such a way."""
    return MedsegError(f"{path.name}: read back, {how}; nothing is released. Please report this")
