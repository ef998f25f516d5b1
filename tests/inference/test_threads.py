"""Work shared out among threads: all of it, once, and none left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from medseg.inference.threads import available_threads, background, spread


def test_jobs_are_done_once_each_on_several_threads() -> None:
    done: list[int] = []
    names: set[str] = set()
    together = threading.Barrier(3)

    def job(item: int) -> None:
        if item < 3:
            together.wait(10)  # ends only where three threads are at work
        names.add(threading.current_thread().name)
        done.append(item)

    with background(3) as worker:
        worker.submit(spread, job, range(100)).result()
        assert sorted(done) == list(range(100))
        assert len(names) == 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("medseg-")]


def test_elsewhere_and_on_one_thread_jobs_are_done_in_order() -> None:
    done: list[int] = []
    spread(done.append, range(9))
    with background(1) as worker:
        worker.submit(spread, done.append, range(9)).result()
    assert done == [*range(9), *range(9)]


def test_items_are_made_when_they_are_due() -> None:
    waiting, most, lock = 0, 0, threading.Lock()

    def items() -> Iterator[int]:
        nonlocal waiting, most
        for n in range(50):
            with lock:
                waiting += 1
                most = max(most, waiting)
            yield n

    def job(_: int) -> None:
        nonlocal waiting
        with lock:
            waiting -= 1

    with background(4) as worker:
        worker.submit(spread, job, items()).result()
    assert most <= 4


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_problem_is_raised_after_all_have_ended(threads: int) -> None:
    started: list[int] = []

    def job(item: int) -> None:
        started.append(item)
        if item == 5:
            raise LookupError(item)

    with background(threads) as worker:
        with pytest.raises(LookupError):
            worker.submit(spread, job, range(1000)).result()
        count = len(started)
        assert count < 1000
        worker.submit(int).result()  # it goes on
        assert len(started) == count

    def broken() -> Iterator[int]:
        yield 1
        raise LookupError

    with background(threads) as worker, pytest.raises(LookupError):
        worker.submit(spread, started.append, broken()).result()


def test_threads_are_as_many_as_allowed_and_no_crowd() -> None:
    assert available_threads(2) == 2
    assert 1 <= available_threads() <= available_threads(1000) == 8
