"""From a fingerprint to a plan: a pipeline file to be trained, with the reason for every decision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.config import PipelineFile
from medseg.training.dataset import Dataset
from medseg.training.fingerprint import Fingerprint
from medseg.training.topology import Topology, topology

__all__ = ["Machine", "Planned", "plan"]

HEAD_OF_OBJECTS = "medseg-instances/distance-watershed"
THICK = 3.0  # nnU-Net's ratio beyond which slices are thick
FEW_SLICES = 8
NONZERO_SHARE = 0.75  # an image whose content fills less of it was cut out of air, as a brain is of its skull
CPU_VOXELS = {2: 256 * 256, 3: 64**3}
GPU_VOXELS = {2: 1024 * 1024, 3: 128**3}
GPU_BYTES = 10 << 30  # what training on GPU_VOXELS, two at a time, takes with 32 features in bf16
OUTPUT_BYTES = 8 * 4  # a voxel of one channel: logit, probability, logarithm, target, and as much backwards
FIXED_BYTES = 1 << 30  # weights with their moments and average, and PyTorch itself
MOST_PER_STEP = {"cpu": 4, "gpu": 12}
FEATURES = {("cpu", 2): (24, 192), ("cpu", 3): (16, 256), ("gpu", 2): (32, 512), ("gpu", 3): (32, 320)}


@dataclass(frozen=True)
class Machine:
    """What decides how large a network and its samples may be: the kind of device, and a GPU's memory."""

    gpu: bool = False
    gpu_bytes: int = 0

    @property
    def kind(self) -> str:
        """One of gpu and cpu."""
        return "gpu" if self.gpu else "cpu"


@dataclass(frozen=True)
class Planned:
    """A pipeline file that says everything, and why: reasons by the path of what they decide."""

    file: PipelineFile
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class _Space:
    """The grid of the network: dimensions, the axes' codes, spacing and shape of a typical case.

    `sided`: the codes are those of a patient, and not names for the axes of pictures or stacks of them.
    """

    dims: int
    codes: str
    unit: str
    spacing: tuple[float, ...]
    shape: tuple[float, ...]
    same_spacing: bool
    sided: bool


def plan(
    dataset: Dataset, fingerprint: Fingerprint, machine: Machine, heads: Collection[str] = ()
) -> Planned:
    """What to train for this dataset on this machine, with one of the installed `heads` (qualified names)."""
    reasons: dict[str, str] = {}
    space = _space(fingerprint, reasons)
    found = _topology(space, machine, _voxel_bytes(space, machine, len(dataset.labels)), reasons)
    content: dict[str, Any] = {
        "inputs": [
            {"name": spec.name, **({"modality": modality} if modality else {})}
            for spec, modality in zip(dataset.inputs, fingerprint.modalities, strict=True)
        ],
        "labels": {
            label.value: {
                key: value
                for key, value in (
                    ("name", label.name),
                    ("code", label.code),
                    ("colour", label.colour),
                    ("pair", label.pair),
                )
                if value is not None
            }
            | ({"layer": label.layer} if label.layer else {})
            for label in dataset.labels
        },
        "preprocess": _preprocess(space, fingerprint, reasons),
        "segment": {
            "network": {
                **_network(dataset, fingerprint, space, found, machine, reasons),
                "head": _head(dataset, heads, reasons),
            }
        },
        "training": _training(dataset, space, found, machine, reasons),
    }
    return Planned(PipelineFile.model_validate(content), reasons)


def _space(fingerprint: Fingerprint, reasons: dict[str, str]) -> _Space:
    spacing, shape = np.array(fingerprint.median_spacing), np.array(fingerprint.median_shape)
    unit = fingerprint.cases[0].unit
    each = np.array([case.standing_spacing for case in fingerprint.cases])
    same = bool(np.ptp(each, axis=0).max() <= 0.01 * each.min())
    if fingerprint.dims == 2:
        reasons["segment.network.window.patch"] = "2-D: every case is a single slice"
        flat = np.argsort(shape == 1, kind="stable")
        codes = "".join("RAS"[axis] for axis in flat)
        return _Space(2, codes, unit, tuple(spacing[flat]), tuple(shape[flat]), same, fingerprint.sided)
    thick = int(np.argmax(spacing))
    ratio = spacing[thick] / np.delete(spacing, thick).max()
    if ratio > THICK:
        target = float(np.percentile(each[:, thick], 10))  # nnU-Net: blurred cases must not set the scale
        shape[thick] *= spacing[thick] / target
        spacing[thick] = target
    if ratio > THICK and shape[thick] < FEW_SLICES:
        reasons["segment.network.window.patch"] = (
            f"2-D: {shape[thick]:.0f} slices of {spacing[thick]:.3g} {unit}, {ratio:.1f} times what their "
            "pixels measure, hold little in the third direction"
        )
        order = [axis for axis in range(3) if axis != thick] + [thick]
        codes = "".join("RAS"[axis] for axis in order)
        return _Space(2, codes, unit, tuple(spacing[order]), tuple(shape[order]), same, fingerprint.sided)
    kind = (
        f"slices are {ratio:.1f} times as thick as pixels are wide"
        if ratio > THICK
        else "nearly cubic voxels"
    )
    reasons["segment.network.window.patch"] = f"3-D: {kind}"
    return _Space(3, "RAS", unit, tuple(spacing), tuple(shape), same, fingerprint.sided)


def _voxel_bytes(space: _Space, machine: Machine, labels: int) -> float:
    """About what training takes for each voxel of a batch: features, in proportion to the first, and outputs.

    On a CPU features are in fp32, twice as large.
    """
    features = GPU_BYTES / (2 * GPU_VOXELS[space.dims]) * FEATURES[machine.kind, space.dims][0] / 32
    return features * (1 if machine.gpu else 2) + OUTPUT_BYTES * (1 + labels)


def _topology(space: _Space, machine: Machine, voxel_bytes: float, reasons: dict[str, str]) -> Topology:
    most = CPU_VOXELS[space.dims]
    if machine.gpu:  # two samples must fit
        share = machine.gpu_bytes / (2 * voxel_bytes * GPU_VOXELS[space.dims])
        most = int(GPU_VOXELS[space.dims] * min(2.0, max(1 / 16, share)))
    found = topology(space.shape[: space.dims], space.spacing[: space.dims], most_voxels=most)
    typical = " x ".join(f"{n:.0f}" for n in space.shape[: space.dims])
    whole = all(side >= n for side, n in zip(found.patch, space.shape, strict=False))
    held = "holds a typical case whole" if whole else f"as much of a typical case as {most} voxels hold"
    reasons["segment.network.window.patch"] += (
        f"; {held} ({typical} voxels), in multiples that the network halves"
    )
    return found


def _preprocess(space: _Space, fingerprint: Fingerprint, reasons: dict[str, str]) -> list[Any]:
    steps: list[Any] = []
    if fingerprint.mixed:
        steps.append("rgb")
        reasons["preprocess.rgb"] = "some cases are grey, others in colours"
    if fingerprint.sided or (space.codes != "RAS" and not fingerprint.pictures):
        steps.append({"reorient": {"to": space.codes}})
        thick = (
            "the axis with the thick slices last"
            if space.codes != "RAS"
            else "so that left is left in all cases"
        )
        reasons["preprocess.reorient"] = thick
    if space.unit == "mm" and not fingerprint.pictures:
        spacing: list[float | None] = [float(f"{step:.4g}") for step in space.spacing]
        if space.dims == 2:
            spacing[2] = None
        steps.append({"resample": {"spacing": spacing, "interpolation": "cubic"}})
        reasons["preprocess.resample"] = (
            "all cases have it"
            if space.same_spacing
            else "the median of all cases; a network needs one scale"
        )
    return steps + _intensity(fingerprint, reasons)


def _intensity(fingerprint: Fingerprint, reasons: dict[str, str]) -> list[Any]:
    if fingerprint.modalities == ("CT",):
        values = fingerprint.intensities[0]
        reasons["preprocess.ct-window"] = (
            "Hounsfield units are absolute: the range of the labels' voxels, 0.5th to 99.5th percentile"
        )
        return [
            {"ct-window": {"low": round(values.low), "high": max(round(values.low) + 1, round(values.high))}}
        ]
    if fingerprint.median_box_share < NONZERO_SHARE and fingerprint.sided:
        reasons["preprocess.crop-foreground"] = (
            f"only {fingerprint.median_box_share:.0%} of an image lie in the box around what is not 0"
        )
        reasons["preprocess.z-score"] = (
            "intensities have no unit: each image by the statistics of what is not 0"
        )
        return [
            {"crop-foreground": {"above": 0, "margin_mm": 2}},
            {"z-score": {"foreground": "nonzero", "outside": "zero"}},
        ]
    reasons["preprocess.z-score"] = "intensities have no unit: each image by its own mean and deviation"
    return [{"z-score": {}}]


def _network(
    dataset: Dataset,
    fingerprint: Fingerprint,
    space: _Space,
    found: Topology,
    machine: Machine,
    reasons: dict[str, str],
) -> dict[str, Any]:
    first, most = FEATURES[machine.kind, space.dims]
    here = "segment.network"
    reasons[f"{here}.architecture"] = (
        f"{found.levels} levels: an axis is halved while 4 voxels are left and voxels stay nearly cubic; "
        f"{first} features at first, which {'a GPU' if machine.gpu else 'a CPU'} trains in reasonable time"
    )
    network: dict[str, Any] = {
        "architecture": {
            "dynunet": {
                "channels": list(found.channels(first, most)),
                "strides": [list(stride) for stride in found.strides],
                "kernels": [list(kernel) for kernel in found.kernels],
                "deep_supervision": max(0, min(2, found.levels - 2)),
            }
        },
        "window": {"patch": list(found.patch), "overlap": 0.5, "blend": "gaussian"},
        "channels": 3 if fingerprint.mixed else len(fingerprint.channels),
    }
    sides, sided = dataset.labels.sides(), dataset.labels.one_sided()
    if sides is not None:
        reasons[f"{here}.mirror"] = f"none: {sides[0]!r} would become {sides[1]!r}"
    elif sided is not None:
        reasons[f"{here}.mirror"] = f"none: {sided!r} would look like that of the other side"
    elif _left_is_seen(space) and all(side >= n for side, n in zip(found.patch, space.shape, strict=False)):
        network["mirror"] = ["left-right"]
        reasons[f"{here}.mirror"] = (
            "no label has a side, and one window holds a case: the second pass is cheap"
        )
    return network


def _head(dataset: Dataset, heads: Collection[str], reasons: dict[str, str]) -> str:
    """What tells labels apart, or the objects of labels."""
    here = "segment.network.head"
    if dataset.overlapping:
        reasons[here] = "labels overlap"
        return "sigmoid"
    reasons[here] = "labels exclude each other"
    if dataset.of_objects and HEAD_OF_OBJECTS in heads:
        reasons[here] = "masks hold ids of objects, which are told apart"
        return HEAD_OF_OBJECTS
    if dataset.of_objects:
        reasons[here] = (
            "masks hold ids of objects, but nothing that tells them apart is installed (medseg-instances): "
            "the network learns where there are any"
        )
    return "softmax"


def _left_is_seen(space: _Space) -> bool:
    """Whether one of the network's axes is known to run from left to right."""
    return space.sided and "R" in space.codes[: space.dims]


def _training(
    dataset: Dataset, space: _Space, found: Topology, machine: Machine, reasons: dict[str, str]
) -> dict[str, Any]:
    voxels = int(np.prod(found.patch))
    voxel_bytes = _voxel_bytes(space, machine, len(dataset.labels))
    room = machine.gpu_bytes / voxel_bytes if machine.gpu else CPU_VOXELS[space.dims]
    batch = int(np.clip(room // voxels, 2, MOST_PER_STEP[machine.kind]))
    taken = (batch * voxels * voxel_bytes + FIXED_BYTES) / 1e9
    device = f"the GPU's {machine.gpu_bytes / 1e9:.0f} GB" if machine.gpu else "memory"
    reasons["training.batch"] = (
        f"samples of {voxels} voxels, as many as one step has room for, at least 2; training takes about "
        f"{taken:.1f} GB of {device}"
    )
    reasons["training.augment"] = (
        "what a scanner and a patient may vary: pose, size, shape, contrast, sharpness"
    )
    reasons["training.loss"] = (
        "what the head says of itself; dice-ce: small labels count, gradients are smooth"
    )
    turn: dict[str, Any] = {"degrees": 20, "probability": 0.3}
    if space.dims == 3 and max(space.spacing) > THICK * min(space.spacing):
        turn["about"] = ["ijk"[int(np.argmax(space.spacing))]]
    places: list[Any] = []
    if not space.sided:
        places = ["flip"]
        reasons["training.augment"] += "; pictures are turned over along every axis that labels allow"
    elif dataset.labels.one_sided() is None and _left_is_seen(space):
        places = [{"flip": {"axes": ["left-right"]}}]
        reasons["training.augment"] += "; mirrored left to right only, as the network always sees the head up"
    edge = min(n * step for n, step in zip(found.patch, space.spacing, strict=False))
    waves = {
        "wavelength_mm": [_three_digits(edge / 2), _three_digits(2 * edge)],
        "displacement_mm": _three_digits(edge / 20),
    }
    places += [
        {"rotate": turn},
        {"scale": {"factor": [0.8, 1.25], "probability": 0.3}},
        {"elastic": {"probability": 0.2, **waves}},
    ]
    return {
        "augment": [*places, "noise", "blur", "brightness", "contrast", "low-resolution", "gamma"],
        "batch": batch,
        "steps_per_epoch": 250 if machine.gpu else 50,
    }


def _three_digits(length: float) -> float:
    return float(f"{length:.3g}")
