"""A trained network at work: its weights on a device, and the sliding window that uses it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError, ModelError, PipelineError, PluginError, UsageError
from medseg.inference.activations import activation_bytes
from medseg.inference.streaming import stream
from medseg.inference.torch_runtime import torch_runtime
from medseg.inference.windows import Windows
from medseg.io.regular_file import printable
from medseg.io.weights import weights_file
from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Predictor
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    import torch

    from medseg.builtin.segment.network import NetworkSegmenter

__all__ = ["NetworkPredictor", "load_weights"]

Floats = NDArray[np.float32]
AXIS_ENDS = {"left-right": "LR", "anterior-posterior": "AP", "superior-inferior": "SI"}
BATCH = {"cpu": 1, "cuda": 4}  # windows at once: a processor is busy with one, a GPU is not
LIBRARY_BYTES = 150 << 20  # code and buffers that PyTorch takes at its first pass; measured 140 MiB
UNKNOWN_ACTIVATIONS = 50  # times 32 features of a patch: about what a U-Net takes


class NetworkPredictor(Predictor):
    """The members of an ensemble, often one, loaded once and used for every case."""

    def __init__(
        self, segmenter: NetworkSegmenter, labels: LabelTable, folder: Path, resources: Resources
    ) -> None:
        if resources.precision != "fp32" or resources.engine not in ("auto", "torch"):
            raise UsageError(
                f"network runs in fp32 by torch, not in {resources.precision} by {resources.engine}"
            )
        self._segmenter = segmenter
        self._labels = labels
        self._resources = resources
        self._outputs = segmenter.head.channels(labels)
        with torch_runtime(resources) as device:
            self._device = device
            self._members = [self._member(folder, file.path, file.sha256) for file in segmenter.weights]
        self._batch = BATCH[device.type]
        self._activations = self._try_patch()

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """The slab, its slices on their way to the native grid, the network at work, and the labels."""
        windows = self._windows(grid)
        slab = list(windows.slab(windows.axis))
        slab[windows.axis] = min(slab[windows.axis] + 1, grid.shape[windows.axis])
        patch = self._batch * math.prod(windows.patch)
        activations = self._activations or UNKNOWN_ACTIVATIONS * 32 * 4 * patch
        highest = max((label.value for label in self._labels), default=0)
        layers = self._labels.layers * np.min_scalar_type(highest).itemsize
        peak = (
            (self._outputs + 2)
            * math.prod(slab)
            * 4  # each channel's mean, the weights, a channel on the move
            + (self._segmenter.channels + 4 * self._outputs) * patch * 4  # windows in, logits out and at work
            + sum(p.numel() * p.element_size() for member in self._members for p in member.parameters())
            + activations
            + LIBRARY_BYTES
            + layers * math.prod(onto.shape)
        )
        strategy = (
            f"{len(windows)} windows of {_by(windows.patch)} voxels, {self._batch} at once, in fp32; "
            f"a slab of {_by(slab)} with {self._outputs} channels along {'ijk'[windows.axis]}"
        )
        if self._activations is None:
            strategy += "; the memory of the network itself is a guess"
        return Plan(device=str(self._device), peak_bytes=peak, strategy=strategy)

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Segment a volume; labels are decided on the native grid."""
        segmenter, head = self._segmenter, self._segmenter.head
        if len(volume.channels) != segmenter.channels:
            count, names = len(volume.channels), ", ".join(volume.channels[:8])
            raise InputError(
                f"the image has {count} {'channel' if count == 1 else 'channels'} ({names}), "
                f"and the network takes {segmenter.channels}"
            )
        windows = self._windows(volume.grid)
        decoded_on = onto if head.decodes_on == "native" else volume.grid
        sink = head.sink(self._labels, grid=volume.grid, axis=windows.axis, onto=decoded_on)
        mirrors = self._mirrors(volume.grid)
        with torch_runtime(self._resources):
            (found,) = stream(
                volume,
                windows,
                lambda images: self._forward(images, mirrors),
                [sink],
                batch=self._batch,
                progress=self._resources.progress,
            )
        if not isinstance(found, Segmentation):
            raise PluginError(f"head {type(head).__name__}: its sink gave {type(found).__name__}")
        return Prediction(segmentation=found.onto(onto), used=self._used(windows, mirrors))

    def _used(self, windows: Windows, mirrors: list[tuple[int, ...]]) -> dict[str, Any]:
        return {
            "device": str(self._device),
            "precision": "fp32",
            "patch": list(self._segmenter.window.patch),
            "windows": len(windows),
            "passes": len(mirrors) * len(self._members),
            "slab": list(windows.slab(windows.axis)),
            "axis": "ijk"[windows.axis],
            "weights": [file.sha256 for file in self._segmenter.weights],
        }

    def _windows(self, grid: Grid) -> Windows:
        window = self._segmenter.window
        return Windows(grid.shape, self._segmenter.patch, window.overlap, window.blend)

    def _mirrors(self, grid: Grid) -> list[tuple[int, ...]]:
        """Every set of grid axes to mirror along, the empty one first; one voxel mirrored is itself."""
        axes = sorted(
            axis
            for axis, code in enumerate(grid.axis_codes)
            if self._segmenter.patch[axis] > 1
            and any(code in AXIS_ENDS[name] for name in self._segmenter.mirror)
        )
        return [chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count)]

    def _forward(self, images: Floats, mirrors: list[tuple[int, ...]]) -> Floats:
        """Mean logits of all members and mirrored copies for windows `[N, C, i, j, k]`."""
        passes = [logits for axes in mirrors for logits in self._passes(images, axes)]
        if len(passes) == 1:
            return passes[0]
        total = passes[0].copy()
        for logits in passes[1:]:
            total += logits
        total /= len(passes)
        return total

    def _passes(self, images: Floats, axes: tuple[int, ...]) -> Iterator[Floats]:
        """Each member's logits of windows mirrored along some axes, turned back."""
        import torch

        flat = self._segmenter.dims == 2
        batch = torch.from_numpy(images).to(self._device)
        if axes:
            batch = torch.flip(batch, [2 + axis for axis in axes])
        if flat:
            batch = batch[..., 0]
        for member in self._members:
            given: object = member(batch)
            expected = (len(images), self._outputs, *batch.shape[2:])
            if not isinstance(given, torch.Tensor) or given.shape != expected:
                got = list(getattr(given, "shape", ())) or type(given).__name__
                raise PluginError(f"the network gave {got}, not logits of {list(expected)}")
            logits: Floats = given.float().cpu().numpy()
            if flat:
                logits = logits[..., None]
            if axes:
                logits = np.stack([self._segmenter.head.unmirror(one, axes) for one in logits])
            yield logits

    def _build(self) -> torch.nn.Module:
        segmenter = self._segmenter
        return segmenter.architecture.build(
            dims=segmenter.dims, inputs=segmenter.channels, outputs=self._outputs
        )

    def _try_patch(self) -> int | None:
        """Memory of the network at work, without running it; refuses a patch that it cannot take."""
        patch = self._segmenter.window.patch
        try:
            return activation_bytes(self._build, (self._batch, self._segmenter.channels, *patch))
        except ValueError as problem:  # as where a patch shrinks to one voxel, which cannot be normalised
            raise PipelineError(
                f"window.patch: the network cannot take {list(patch)}: {problem}; give a larger patch"
            ) from problem

    def _member(self, folder: Path, path: str, sha256: str) -> torch.nn.Module:
        member = self._build()
        load_weights(member, weights_file(folder, path), sha256)
        return member.to(self._device).eval()


def load_weights(module: torch.nn.Module, path: Path, sha256: str) -> None:
    """Fill a module with the tensors of a safetensors file, stored in single or half precision.

    The bytes that are loaded are those whose checksum is right, even if the file changes meanwhile. Raises
    ModelError with the first tensor that is missing, unexpected or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(
                f"{printable(path)}: the file was altered since the pipeline was read; run again"
            )
        stored = load(content)
    except OSError as problem:
        raise ModelError(f"{printable(path)}: cannot be read: {problem.strerror}") from problem
    except SafetensorError as problem:
        raise ModelError(f"{printable(path)}: is not a sound safetensors file: {problem}") from problem
    fault = _misfit(stored, module.state_dict())
    if fault is not None:
        raise ModelError(f"{printable(path)}: {fault}; is it of another architecture?")
    module.load_state_dict(stored, strict=False)  # _misfit is the stricter one, and knows shared tensors


def _misfit(stored: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str | None:
    """The first tensor by which a file and a network differ, in words; None where they fit.

    A tensor that a network has under several names, as MONAI's DynUNet does, need be stored under one only.
    """
    filled = {tensor.data_ptr() for name, tensor in wanted.items() if name in stored}
    for name, tensor in wanted.items():
        found = stored.get(name)
        if found is None:
            if tensor.numel() and tensor.data_ptr() in filled:
                continue
            return f"has no tensor {name!r}, which the network needs"
        if found.shape != tensor.shape:
            return f"tensor {name!r} is {list(found.shape)}, and the network's is {list(tensor.shape)}"
        if found.is_floating_point() != tensor.is_floating_point():
            return f"tensor {name!r} is {found.dtype}, and the network's is {tensor.dtype}"
    extra = next((name for name in stored if name not in wanted), None)
    return None if extra is None else f"has a tensor {extra!r} that the network has no place for"


def _by(sizes: Any) -> str:
    return " x ".join(str(size) for size in sizes)
