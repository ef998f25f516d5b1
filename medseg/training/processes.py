"""The processes of one training: started together by torchrun or SLURM, they share its batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from medseg.errors import MedsegError, UsageError

__all__ = ["Processes", "joined"]

PATIENCE = timedelta(days=2)  # while the first one reads and prepares a large dataset


@dataclass(frozen=True)
class Processes:
    """This process among those that train together: its rank, how many there are, how many on a machine."""

    rank: int = 0
    count: int = 1
    on_machine: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def machines(self) -> int:
        """Machines they are spread over."""
        return self.count // self.on_machine

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            import torch

            torch.distributed.barrier()

    def after_first(self, work: Callable[[], object]) -> None:
        """Go on when the first process has done the work; where that fails, only it says so.

        The others then leave with its exit code.
        """
        if self.count == 1:
            work()
            return
        import torch

        code: list[int | None] = [None]
        if self.first:
            try:
                work()
            except BaseException as problem:
                code[0] = problem.exit_code if isinstance(problem, MedsegError) else MedsegError.exit_code
                raise
            finally:
                torch.distributed.broadcast_object_list(code, src=0)
        else:
            torch.distributed.broadcast_object_list(code, src=0)
            if code[0] is not None:
                raise SystemExit(code[0])


@contextmanager
def joined(*, gpu: bool) -> Iterator[Processes]:
    """The processes that were started together, connected; alone where this one was.

    Raises UsageError where they are not spread evenly over machines.
    """
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        found = Processes(
            int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        )
    elif SLURMEnvironment.detect():
        try:
            slurm = SLURMEnvironment(auto_requeue=False)
        except RuntimeError as problem:  # what Lightning says of --ntasks by itself
            raise UsageError("SLURM: say --ntasks-per-node and --nodes instead of --ntasks") from problem
        os.environ.setdefault("MASTER_ADDR", slurm.main_address)
        os.environ.setdefault("MASTER_PORT", str(slurm.main_port))
        count = slurm.world_size()
        found = Processes(slurm.global_rank(), count, count // int(os.environ.get("SLURM_NNODES", "1")))
    else:
        found = Processes()
    if found.count == 1:
        yield found
        return
    if found.on_machine * found.machines != found.count:
        raise UsageError(
            f"{found.count} processes are not spread evenly over their machines; start as many on each"
        )
    import torch

    # gloo for what is not on a GPU: words between the processes, and the mean loss
    backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
    torch.distributed.init_process_group(backend, rank=found.rank, world_size=found.count, timeout=PATIENCE)
    try:
        yield found
    finally:
        torch.distributed.destroy_process_group()
