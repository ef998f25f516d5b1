"""Batches of samples, made ahead of their turn by threads where that helps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from medseg.training.samples import Sample, Samples, collated

__all__ = ["Batches"]

AHEAD = 3  # batches in the making


class Batches:
    """The batches of one epoch after the other: each iteration gives the `steps` that follow `first_step()`.

    Of the `batch` samples of a step, this process (`share`: its rank, of how many) makes its own. With
    `workers` of 0 samples are made where they are asked for: on a CPU that also trains, threads would only
    take it from the network. They are threads, not processes: what takes long lets go of the interpreter.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        batch: int,
        steps: int,
        first_step: Callable[[], int],
        share: tuple[int, int] = (0, 1),
        workers: int = 0,
    ) -> None:
        self._samples = samples
        self._batch = batch
        self._steps = steps
        self._first_step = first_step
        self._rank, self._world = share
        self._workers = workers

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Sample]:
        first = self._first_step()
        steps = range(first, first + self._steps)
        return self._made_ahead(steps) if self._workers else (self._made(step) for step in steps)

    def _numbers(self, step: int) -> range:
        """The samples of a step that are this process's."""
        return range(step * self._batch + self._rank, (step + 1) * self._batch, self._world)

    def _made(self, step: int) -> Sample:
        return collated([self._samples[number] for number in self._numbers(step)])

    def _made_ahead(self, steps: range) -> Iterator[Sample]:
        coming: deque[list[Future[Sample]]] = deque()
        with ThreadPoolExecutor(self._workers, "medseg-sample", initializer=_one_thread) as pool:
            try:
                for step in steps:
                    coming.append([pool.submit(self._samples.__getitem__, n) for n in self._numbers(step)])
                    if len(coming) > AHEAD:
                        yield collated([each.result() for each in coming.popleft()])
                while coming:
                    yield collated([each.result() for each in coming.popleft()])
            finally:
                pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    """Keep PyTorch's arithmetic in a sampling thread to that thread."""
    import torch

    torch.set_num_threads(1)
