"""What losses, augmentations and metrics must keep to; `medseg.testing.contracts` runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.assemble import component_class
from medseg.errors import PipelineError, PluginError
from medseg.plugin.catalog import discover
from medseg.prediction import Scores
from medseg.segmentation import Segmentation
from medseg.steps import (
    Augmentation,
    Head,
    IntensityAugmentation,
    Loss,
    Metric,
    ScoreMetric,
    SpatialAugmentation,
    Step,
)
from medseg.testing.known_image import known_image, known_objects, twice

if TYPE_CHECKING:
    import torch

__all__ = ["run_augmentation", "run_loss", "run_metric"]


def run_loss(step: Step) -> str:
    """With each built-in head that it suits, else with the others that are installed, in 3-D and in 2-D."""
    assert isinstance(step, Loss)
    refused: list[str] = []
    for heads in _heads():
        suited = [head for head in heads if _suits(step, head, refused)]
        if suited:
            return "; ".join(refused)
    raise PluginError(f"suits no head that is installed: {'; '.join(refused)}")


def _suits(loss: Loss, head: Head, refused: list[str]) -> bool:
    """Try a loss with a head; where it refuses, its reason goes into `refused`."""
    try:
        for dims in (3, 2):
            _LossTrial.of(loss, head, dims).run()
    except PipelineError as refusal:
        refused.append(str(refusal))
        return False
    return True


@cache
def _heads() -> tuple[tuple[Head, ...], tuple[Head, ...]]:
    """The built-in heads, and all others that can be had without parameters."""
    found: tuple[list[Head], list[Head]] = ([], [])
    for entry in discover().entries:
        if entry.kind != "head":
            continue
        try:
            head = component_class(entry)()
        except Exception:  # noqa: BLE001, S112 - foreign code runs here, and is checked where it is meant
            continue
        if isinstance(head, Head):
            found[entry.distribution != "medseg"].append(head)
    builtin, others = found
    return tuple(sorted(builtin, key=lambda head: head.activation != "softmax")), tuple(others)


@dataclass(frozen=True)
class _LossTrial:
    """A loss's module with a batch of two samples, of which the second is moved; nothing is unknown.

    `logits` are those of a network that is right.
    """

    module: torch.nn.Module
    target: torch.Tensor
    logits: torch.Tensor
    maps: Mapping[str, torch.Tensor]

    @classmethod
    def of(cls, loss: Loss, head: Head, dims: int) -> _LossTrial:
        """In 2-D the batch is the middle slice, across the third axis."""
        import torch

        segmentation = known_objects() if head.of_objects else known_image()[1]
        spacing = segmentation.grid.spacing[:dims]
        module: object = loss.build(head, spacing=spacing, channels=head.channels(segmentation.labels))
        if not isinstance(module, torch.nn.Module):
            raise PluginError(f"build() gave {type(module).__name__}, not a torch.nn.Module")

        def batch(whole: NDArray[np.float32]) -> torch.Tensor:
            one = torch.from_numpy(whole if dims == 3 else whole[..., whole.shape[-1] // 2].copy())
            return torch.stack([one, one.roll(3, 1)])

        maps: Any = loss.prepare(segmentation, head, None)
        for name, values in maps.items():
            if not name.replace("-", "").replace("_", "").isalnum():  # it becomes a file's
                raise PluginError(f"prepare() named a map {name!r}; use letters, digits, - and _")
            if values.ndim != 4 or values.shape[1:] != segmentation.grid.shape or values.dtype != np.float32:
                raise PluginError(f"prepare() gave {name!r} as {values.dtype} {values.shape}")
            if not np.isfinite(values).all():
                raise PluginError(f"prepare() gave {name!r} with values that are not finite")
        _require_heedless_of_unknown(loss, head)
        target = head.target(segmentation)
        return cls(
            module,
            batch(target),
            batch(head.logits(target)),
            {name: batch(values) for name, values in maps.items()},
        )

    def run(self) -> None:
        """A finite scalar with finite gradients, smallest at the target, the mean over samples."""
        import torch

        right, both = self.logits, slice(0, 2)
        guess = torch.zeros_like(right, requires_grad=True)
        unsure = self._value(guess, both)
        unsure.backward()  # type: ignore[no-untyped-call]
        if guess.grad is None or not torch.isfinite(guess.grad).all() or not guess.grad.any():
            raise PluginError("its module gives no finite gradient")
        if not self._value(right, both) < unsure.detach() < self._value(-right, both):
            raise PluginError("its module is not smallest at the target and largest at its opposite")
        mixed = right * torch.tensor([1.0, -0.1]).reshape(2, *(1,) * (right.ndim - 1))
        alone = (self._value(mixed, slice(0, 1)) + self._value(mixed, slice(1, 2))) / 2
        if not torch.isclose(alone, self._value(mixed, both), rtol=1e-3, atol=1e-5):
            raise PluginError("its module is not the mean over samples")
        self._forget_the_unknown(guess.detach())

    def _forget_the_unknown(self, guess: torch.Tensor) -> None:
        """What is said where the reference is unknown must not count."""
        import torch

        valid = torch.ones_like(self.target[:, :1])
        valid[:, :, : valid.shape[2] // 2] = 0
        other = torch.where(valid > 0, guess, 5.0 * torch.ones_like(guess).cumsum(1))
        before, after = (self._value(logits, slice(0, 2), valid) for logits in (guess, other))
        if not torch.isclose(before, after, rtol=1e-4, atol=1e-6):
            raise PluginError("its module counts voxels whose reference is unknown (valid is 0)")

    def _value(self, logits: torch.Tensor, part: slice, valid: torch.Tensor | None = None) -> torch.Tensor:
        import torch

        valid = torch.ones_like(self.target[:, :1]) if valid is None else valid
        maps = {name: each[part] for name, each in self.maps.items()}
        found: object = self.module(logits[part], self.target[part], valid[part], maps)
        if not isinstance(found, torch.Tensor) or found.shape != () or not torch.isfinite(found):
            raise PluginError("its module gave no finite scalar")
        return found


def _require_heedless_of_unknown(loss: Loss, head: Head) -> None:
    """What the reference says where it is not known must not count in the maps."""
    _, segmentation = known_image()
    valid = np.ones(segmentation.grid.shape, np.bool_)
    valid[: valid.shape[0] // 2] = False
    emptied = segmentation.replace(array=segmentation.array * valid)
    first, second = (loss.prepare(each, head, valid) for each in (segmentation, emptied))
    for name, values in first.items():
        if not np.array_equal(values[:, valid], second[name][:, valid]):
            raise PluginError(f"prepare() counts voxels in {name!r} whose reference is unknown")


def run_augmentation(step: Step) -> str:
    """Run it in 2-D and 3-D: what it gives follows from the generator and has the right shape."""
    assert isinstance(step, Augmentation)
    volume, segmentation = known_image()
    bound: object = step.bound(labels=segmentation.labels, axes=volume.grid.axis_codes)
    if not isinstance(bound, SpatialAugmentation | IntensityAugmentation):
        raise PluginError(f"is or binds to {type(bound).__name__}, neither spatial nor of intensities")
    for dims in (2, 3):
        given = _points(dims) if isinstance(bound, SpatialAugmentation) else _patch(dims)
        for seed in range(3):
            _augment(bound, given, seed)
    return ""


def _points(dims: int) -> torch.Tensor:
    """Where the voxels of the known image lie, `[D, *patch]` in mm from its middle."""
    import torch

    grid = known_image()[0].grid
    lines = [
        (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * step
        for n, step in zip(grid.shape[:dims], grid.spacing[:dims], strict=True)
    ]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


def _patch(dims: int) -> torch.Tensor:
    """The known image `[C, *patch]`, or a slice of it."""
    import torch

    image = torch.from_numpy(known_image()[0].array.copy())
    return image if dims == 3 else image[..., image.shape[-1] // 2].clone()


def _augment(step: SpatialAugmentation | IntensityAugmentation, given: torch.Tensor, seed: int) -> None:
    import torch

    first, second = twice(lambda: step(given, np.random.default_rng(seed)), given.numpy())
    if not isinstance(first, torch.Tensor) or first.dtype != torch.float32:
        raise PluginError("gave no tensor of torch.float32")
    if first.shape != given.shape or not first.isfinite().all():
        raise PluginError(f"gave no finite values of shape {list(given.shape)}")
    if not torch.equal(first, second):
        raise PluginError("draws from elsewhere than the generator it is given")


def run_metric(step: Step) -> str:
    """Compare a mask with itself, with one that is moved, and with none."""
    assert isinstance(step, Metric)
    _, reference = known_image()
    if isinstance(step, ScoreMetric):
        return _run_score_metric(step, reference)
    array = np.roll(reference.array, 3, axis=1)
    for prediction in (reference, reference.replace(array=array), reference.replace(array=0 * array)):
        first, second = twice(
            lambda: Metric.check(step(prediction, reference), reference=reference),  # noqa: B023
            prediction.array,
            reference.array,
        )
        if first != second:
            raise PluginError("gave two different results for one pair")
    return ""


def _run_score_metric(step: ScoreMetric, reference: Segmentation) -> str:
    """Probabilities that are right, moved, or zero; of a label that is there and of one that is not."""
    sure = np.where(reference.mask("ball"), 0.9, 0.1).astype(np.float32)[None]
    for array in (sure, np.roll(sure, 3, axis=2), 0 * sure):
        scores = Scores(array, reference.grid, "probabilities")
        for label in reference.labels:
            first, second = twice(
                lambda: Metric.check(step.of_scores(scores, reference, label.name), reference=reference),  # noqa: B023
                scores.array,
                reference.array,
            )
            if first != second:
                raise PluginError("gave two different results for one pair")
    return ""
