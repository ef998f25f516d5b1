"""Load the next few files in threads while one is being worked on."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["read_ahead"]

Wanted = TypeVar("Wanted")
Loaded = TypeVar("Loaded")


def read_ahead(load: Callable[[Wanted], Loaded], all_of: Sequence[Wanted], ahead: int) -> Iterator[Loaded]:
    """`load(one)` for one after the other, in order, with at most `ahead` of them loaded and not yet taken.

    What `load` raises is raised when its turn has come.
    """
    waiting: deque[Future[Loaded]] = deque()
    with ThreadPoolExecutor(ahead) as pool:
        try:
            for one in all_of:
                waiting.append(pool.submit(load, one))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
