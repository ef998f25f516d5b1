"""Memory and time of this process, as Linux counts them. Standard library only."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

__all__ = ["Meter", "resident_mib"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): writing it sets VmHWM to what is resident now


def resident_mib(field: str = "VmRSS") -> float:
    """Memory that is resident now, or with "VmHWM" the most that ever was, in MiB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) / 1024


class Meter:
    """Measures one run: make it after the imports, call `start` before the run, `stop` after it.

    What was freed before the start is given back to the system first, for every method alike: else what a
    warm-up freed would count for the baseline, and what the run takes of it for nothing.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._imports = resident_mib()
        self._opened = time.perf_counter()

    def start(self) -> None:
        """Take the baseline: all that stays however often the run is repeated."""
        self._setup = time.perf_counter() - self._opened
        ctypes.CDLL(None).malloc_trim(0)
        self._baseline = resident_mib()
        CLEAR.write_text(RESET_PEAK)
        self._load = os.getloadavg()[0]
        self._gpu = self._highest_of_gpu(forget=True)
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, Any]:
        """Wall and CPU seconds, peak memory in MiB: absolute, above the baseline, above the imports."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        peak = resident_mib("VmHWM")
        return {
            "wall_s": round(wall, 3),
            "cpu_s": round(cpu, 3),
            "setup_s": round(self._setup, 3),
            "peak_mib": round(peak, 1),
            "above_mib": round(peak - self._baseline, 1),
            "above_imports_mib": round(peak - self._imports, 1),
            "load": round(self._load, 2),
            **({} if self._device == "cpu" else {"gpu_mib": round(self._highest_of_gpu() - self._gpu, 1)}),
        }

    def _highest_of_gpu(self, *, forget: bool = False) -> float:
        """MiB of the GPU that were in use at most since it was told to forget; 0 without one."""
        if self._device == "cpu":
            return 0.0
        import torch

        torch.cuda.synchronize(self._device)
        if forget:
            torch.cuda.reset_peak_memory_stats(self._device)
        return float(torch.cuda.max_memory_allocated(self._device)) / 2**20
