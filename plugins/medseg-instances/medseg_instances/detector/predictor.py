"""An opened detector: its networks on a device, used for one case or a whole cohort."""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.errors import InputError, ResourceError, UsageError
from medseg.inference import gpu, torch_runtime
from medseg.inference.planning import Pass, measured_pass, reserve
from medseg.memory import available_bytes, promised_bytes, release_freed_memory, resident_bytes, too_little
from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Predictor
from medseg.volume import Grid, Volume
from medseg.weights import load_weights
from medseg_instances.detector.search import ID_BYTES, findings_bytes, search, windows_of

if TYPE_CHECKING:
    import torch

    from medseg_instances.detector.network import DetectorNetwork, Found
    from medseg_instances.detector.segmenter import Detector

__all__ = ["DetectorPredictor"]

logger = logging.getLogger(__name__)

BATCH = {"cpu": 1}  # windows at once: a processor is busy with one
GPU_VOXELS, MOST_AT_ONCE = 4 * 128**3, 8  # a GPU gets so many voxels at once, in so many windows


class DetectorPredictor(Predictor):
    """Searches window by window, in PyTorch and single precision.

    A GPU that ran out of memory, also while the networks were opened, is given half as many windows at a
    time, and after a single one it is left for the processor: for good, in later cases too.
    """

    def __init__(self, how: Detector, labels: LabelTable, folder: Path, resources: Resources) -> None:
        import scipy.ndimage  # noqa: F401 - for what is found: before a plan counts what is resident

        if resources.engine not in ("auto", "torch"):
            raise UsageError(f"engine {resources.engine}: a detector runs in torch; leave --engine out")
        self._how, self._labels = how, labels
        self._resources = resources
        self._notes: list[str] = []
        with torch_runtime(resources) as device:
            self._networks: list[DetectorNetwork] = []
            for file in how.weights:
                network = how.untrained(labels)
                load_weights(network, folder, file)
                self._networks.append(network.eval())
        self._device, self._batch = device, _at_once(device, how.window.patch)
        while self._ran_out(self._settle):
            self._notes.append(f"memory ran out while the model was opened: {self._step_down()}")

    def _settle(self) -> None:
        """Go to the device, and see in one pass what windows take there, as full of objects as may be."""
        import torch

        for network in self._networks:
            network.to(self._device)
        shape = (self._batch, self._how.channels, *self._how.window.patch)

        def crowded(images: Any) -> torch.Tensor:
            found = self._networks[0](torch.as_tensor(images, device=self._device), least=0.0)
            return torch.cat([each.masks for each in found])

        if self._device.type == "cpu":
            crowded(np.zeros(shape, np.float32))  # the C library keeps more from then on
            taken = measured_pass(crowded, shape)
        else:
            taken = gpu.measured_pass(crowded, shape, str(self._device))
        self._pass: Pass = taken.of(1 / self._batch)

    def _ran_out(self, work: Callable[[], None]) -> bool:
        """Do some work on the device; whether its memory did not suffice, and there is less to be asked."""
        try:
            with torch_runtime(self._resources):
                work()
        except ResourceError as problem:
            if not problem.device_memory or (self._batch == 1 and self._device.type == "cpu"):
                raise
            return True
        return False

    def _step_down(self) -> str:
        """Ask the device for less, or leave it; says which. The networks are where they were."""
        import torch

        gc.collect()  # frames of what failed refer to each other, and hold what was there
        gpu.release_freed_memory()
        if self._batch > 1:
            self._batch //= 2
            note = f"batch {self._batch}"
        else:
            self._resources = replace(self._resources, device="cpu")
            self._device = torch.device("cpu")
            self._batch = BATCH["cpu"]
            note = "device cpu"
        logger.warning("out of memory; trying again with %s", note)
        return note

    # ---- before it runs

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """What it takes; raises ResourceError where there is less."""
        release_freed_memory()
        held = resident_bytes() + promised_bytes()
        peak = self._peak_bytes(grid, onto)
        given = self._resources.max_memory_bytes
        usable = available_bytes() - promised_bytes() + held if given is None else given
        if held + peak + reserve(peak) > usable:
            needed = held + peak + reserve(peak)
            raise too_little(
                "finding objects needs, with a reserve,",
                needed=needed,
                usable=usable,
                limited=given is not None,
            )
        windows, members = windows_of(grid, self._how), len(self._networks)
        sides = " x ".join(map(str, windows.patch))
        return Plan(
            device=str(self._device),
            peak_bytes=peak,
            resident_bytes=held,
            strategy=f"{len(windows)} windows of {sides} voxels, {self._batch} at once, searched one by one; "
            "objects are masks until all are there",
            engine="torch",
            precision="fp32",
            batch=self._batch,
            windows=len(windows),
            evaluations=len(windows),
            patch=self._how.window.patch,
            passes=members,
            axis="ijk"[windows.axis],
            slab=windows.patch,
            seconds=len(windows) * members * self._pass.seconds,
            gpu_bytes=self._gpu_bytes(),
        )

    def _peak_bytes(self, grid: Grid, onto: Grid) -> int:
        """What takes most: the last batch at work, the ids of all that was found, or these on both grids."""
        found, each = findings_bytes(grid, self._how), ID_BYTES * self._labels.layers
        ids = each * math.prod(grid.shape)
        native = 0 if onto.same_as(grid) else each * math.prod(onto.shape)
        images = self._batch * self._how.channels * math.prod(self._how.window.patch) * 4
        searching = images + self._pass.of(self._batch).work_bytes + found
        return max(searching, found + ids, ids + native)

    def _gpu_bytes(self) -> int:
        if self._device.type == "cpu":
            return 0
        return gpu.held_bytes(str(self._device)) + self._pass.of(self._batch).gpu_bytes

    # ---- at work

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Find objects on the image's grid, and give them back on the native one."""
        if len(volume.channels) != self._how.channels:
            count, names = len(volume.channels), ", ".join(volume.channels[:8])
            raise InputError(
                f"the image has {count} channels ({names}), and the network takes {self._how.channels}"
            )
        begun = time.perf_counter()
        notes = list(self._notes)
        found, fallbacks = self._found(volume)
        native = found.onto(onto)
        native = native if native.grid.same_as(found.grid) else _with_voxels(native)
        if gone := len(found.objects) - len(native.objects):
            notes.append(f"objects too small for the image's own grid, left out: {gone}")
        if cut := sum(bool(thing.attributes.get("cut")) for thing in found.objects):
            notes.append(f"objects that no window holds whole: {cut}; take larger windows, or more overlap")
        windows = windows_of(volume.grid, self._how)
        used = {
            "device": str(self._device),
            "engine": "torch",
            "precision": "fp32",
            "patch": list(self._how.window.patch),
            "windows": len(windows),
            "batch": self._batch,
            "passes": len(self._networks),
            "fallbacks": fallbacks,
            "deterministic": self._resources.deterministic,
            "weights": [file.sha256 for file in self._how.weights],
            "seconds": round(time.perf_counter() - begun, 3),
            "notes": notes,
        }
        return Prediction(segmentation=native, used=used)

    def _found(self, volume: Volume) -> tuple[Segmentation, list[str]]:
        """With less at once where a GPU runs out of memory; and what was given up for it."""
        found: list[Segmentation] = []
        fallbacks: list[str] = []

        def work() -> None:
            found.append(
                search(
                    volume,
                    [partial(self._seen, network) for network in self._networks],
                    how=self._how,
                    labels=self._labels,
                    batch=self._batch,
                    progress=self._resources.progress,
                )
            )

        while self._ran_out(work):
            fallbacks.append(self._step_down())
            self._notes.append(f"memory ran out in an earlier case: {fallbacks[-1]}")
            if fallbacks[-1] == "device cpu":
                with torch_runtime(self._resources):
                    self._settle()
        return found[0], fallbacks

    def _seen(self, network: DetectorNetwork, images: torch.Tensor) -> list[Found]:
        found: list[Found] = network(images.to(self._device))
        return found


def _at_once(device: torch.device, patch: tuple[int, ...]) -> int:
    """How many windows a device is given at once, if there is memory: a power of 2."""
    if device.type in BATCH:
        return BATCH[device.type]
    windows = max(1, min(MOST_AT_ONCE, GPU_VOXELS // math.prod(patch)))
    return 1 << (windows.bit_length() - 1)


def _with_voxels(segmentation: Segmentation) -> Segmentation:
    """Without the objects that have no voxel."""
    there: set[tuple[int, int]] = set()
    for number, layer in enumerate(segmentation.array):
        for plane in layer:
            there.update((number, each) for each in np.unique(plane).tolist())
    objects = tuple(
        thing for thing in segmentation.objects if (segmentation.labels[thing.label].layer, thing.id) in there
    )
    return segmentation.replace(objects=objects)
