"""Threads for what NumPy does while it lets go of the interpreter.

Measured: to interpolate 105 channels of 64 x 128 x 128 voxels to 80 x 224 x 224 and compare them takes
NumPy 0.6 s on one thread; a kernel that Numba compiles 0.8 s, after 1.1 to 1.8 s to load and compile it,
with 130 MiB more memory; PyTorch's own operations longer still. So planes by NumPy, on several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TypeVar

from medseg.inference.processors import processor_count

__all__ = ["available_threads", "background", "spread"]

Item = TypeVar("Item")
MOST = 8  # more would wait for each other: between two planes the interpreter is needed

_team: ContextVar[tuple[ThreadPoolExecutor, int] | None] = ContextVar("_team", default=None)


def available_threads(threads: int | None = None) -> int:
    """How many threads `spread` shares work among where so many are allowed; None: one per processor."""
    return min(MOST, threads or processor_count())


@contextmanager
def background(threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """One thread that does what is submitted in order, and shares out what it does by `spread`.

    `threads` of None means as many as there are processors. However the block ends, what waits is dropped,
    what runs is waited for, and no thread is left.
    """
    count = available_threads(threads)
    team = ThreadPoolExecutor(count, "medseg-share")
    ordered = ThreadPoolExecutor(
        1, "medseg-slab", initializer=_team.set, initargs=((team, count) if count > 1 else None,)
    )
    try:
        yield ordered
    finally:
        ordered.shutdown(cancel_futures=True)
        team.shutdown(cancel_futures=True)


def spread(job: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do a job for each item, in any order, on the threads of `background`; elsewhere one after the other.

    Items are made one at a time, when a thread is free. The first exception is raised once all have ended.
    """
    source = iter(items)
    team = _team.get()
    if team is None:
        for item in source:
            job(item)
        return
    pool, count = team
    turn, failed = Lock(), False

    def work() -> None:
        nonlocal failed
        while not failed:
            with turn:
                try:
                    item = next(source)
                except StopIteration:
                    return
            try:
                job(item)
            except BaseException:
                failed = True
                raise

    futures = [pool.submit(work) for _ in range(count)]
    wait(futures)
    for future in futures:
        future.result()
