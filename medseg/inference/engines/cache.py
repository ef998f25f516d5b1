"""Graphs of networks that were made before, in a folder of the user's own.

A file's name has the key that it answers to and the SHA-256 of its content, so a damaged or half-written one
is known by its name alone. A folder that others can write into is not used. Whatever is wrong with the cache,
the graph is made again; it is never in the way.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

__all__ = ["GraphCache", "user_cache"]

MOST_BYTES = 4 << 30
STALE_SECONDS = 24 * 3600
SUFFIX = ".onnx"
TEMPORARY = ".partial-"
NAME = re.compile(r"(?P<key>[0-9a-f]{64})-(?P<sha256>[0-9a-f]{64})\.onnx")

logger = logging.getLogger(__name__)


def user_cache() -> GraphCache | None:
    """The user's cache, `medseg/engines` in $XDG_CACHE_HOME or ~/.cache; None without a home folder."""
    said = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(said) if Path(said).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # no home
        return None
    return GraphCache(home / "medseg" / "engines")


@dataclass(frozen=True)
class GraphCache:
    """A folder of graphs that grows to `most_bytes`; then those go that were not used for longest."""

    folder: Path
    most_bytes: int = MOST_BYTES

    def get(self, key: str) -> bytes | None:
        """The graph of this key; None where there is none that is sound."""
        if not self._ours():
            return None
        for path, sha256 in self._answers(key):
            with suppress(OSError):  # another process has removed it
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest() == sha256:
                    os.utime(path)
                    return content
                logger.info("a damaged graph is removed from the cache")
                path.unlink()
        return None

    def put(self, key: str, graph: bytes) -> None:
        """Keep a graph, whole or not at all; one that is too large or cannot be written is not kept."""
        if len(graph) > self.most_bytes:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._ours():
                logger.info("the cache of graphs can be written by others and is not used")
                return
            self._write(f"{key}-{hashlib.sha256(graph).hexdigest()}{SUFFIX}", graph)
            self._shrink()
        except OSError as problem:
            logger.info("the graph is not kept: %s", problem.strerror)

    def _ours(self) -> bool:
        """Whether the folder is one that nobody else can write into."""
        try:
            status = self.folder.lstat()
        except OSError:
            return False
        return (
            stat.S_ISDIR(status.st_mode)
            and status.st_uid == os.geteuid()
            and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        )

    def _answers(self, key: str) -> Iterator[tuple[Path, str]]:
        """Files under this key, with the checksum that their names say; links are not followed."""
        with suppress(OSError):
            for path in sorted(self.folder.glob(f"{key}-*{SUFFIX}")):
                match = NAME.fullmatch(path.name)
                if match is not None and stat.S_ISREG(path.lstat().st_mode):
                    yield path, match["sha256"]

    def _write(self, name: str, content: bytes) -> None:
        with NamedTemporaryFile(dir=self.folder, prefix=TEMPORARY, delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self.folder / name)
            except BaseException:
                with suppress(OSError):
                    Path(file.name).unlink()
                raise

    def _shrink(self) -> None:
        """Remove what was used longest ago until the rest fits, and what killed runs left."""
        found = []
        for path in self.folder.iterdir():
            with suppress(OSError):
                status = path.lstat()
                if path.name.startswith(TEMPORARY) and time.time() - status.st_mtime > STALE_SECONDS:
                    path.unlink()
                elif NAME.fullmatch(path.name):
                    found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.most_bytes:
                return
            with suppress(OSError):
                path.unlink()
            total -= size
