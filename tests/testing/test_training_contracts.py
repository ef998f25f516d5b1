from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from torch import Tensor, nn  # noqa: TID253

from medseg.errors import PipelineError, PluginError
from medseg.prediction import Measured, Scores
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Head, IntensityAugmentation, Loss, Metric, ScoreMetric, SpatialAugmentation
from medseg.testing.training_contracts import run_augmentation, run_loss, run_metric

Call = Callable[[Tensor, Tensor, Tensor, Mapping[str, Tensor]], Tensor]


class Module(nn.Module):
    """Calls a function."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        return self.call(logits, target, valid, maps)


def squares(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error of each sample, in order."""
    return ((logits.sigmoid() - target).square() * valid).flatten(1).sum(1) / valid.flatten(1).sum(1)


class Squared(Loss):
    """A loss in good order; the others change one thing."""

    suits: ClassVar[tuple[str, ...]] = ("softmax", "sigmoid")

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        if head.activation not in self.suits:
            raise PipelineError(f"not made for {head.activation}")
        return Module(self.value)

    @staticmethod
    def value(logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        return squares(logits, target, valid).mean()


class SoftmaxOnly(Squared):
    suits = ("softmax",)


class Neither(Squared):
    suits = ()


class NoModule(Squared):
    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> nn.Module:
        return self.value  # type: ignore[return-value]


class Flat(Squared):
    """Has no gradient."""

    @staticmethod
    def value(logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        return 0 * logits.sum()


class Endless(Squared):
    """Infinite gradient of a square root at 0."""

    @staticmethod
    def value(logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        return squares(logits, target, valid).mean() + logits.abs().sqrt().mean()


class PerSample(Squared):
    @staticmethod
    def value(logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        return squares(logits, target, valid)


class Backwards(Squared):
    @staticmethod
    def value(logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        return -squares(logits, target, valid).mean()


class OfBatch(Squared):
    """The root of the mean over all: not the mean of roots."""

    @staticmethod
    def value(logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        return squares(logits, target, valid).mean().sqrt()


class Heedless(Squared):
    """Counts what is unknown."""

    @staticmethod
    def value(logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        return squares(logits, target, torch.ones_like(valid)).mean()


class WrongMap(Squared):
    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        return {"thin": np.zeros(segmentation.grid.shape, np.float32)}


class WrongName(Squared):
    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        return {"../up": np.zeros((1, *segmentation.grid.shape), np.float32)}


class InfiniteMap(Squared):
    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        return {"far": np.full((1, *segmentation.grid.shape), np.inf, np.float32)}


class HeedlessMap(Squared):
    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        return {"size": np.full((1, *segmentation.grid.shape), segmentation.array.sum(), np.float32)}


class WithMap(Squared):
    """Needs its map, moved as the patch is."""

    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> Mapping[str, NDArray[np.float32]]:
        return {"same": head.target(segmentation)}

    @staticmethod
    def value(logits: Tensor, target: Tensor, valid: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        assert torch.equal(maps["same"], target)
        return squares(logits, target, valid).mean()


def test_losses_in_good_order_pass() -> None:
    assert run_loss(Squared()) == ""
    assert run_loss(WithMap()) == ""
    assert run_loss(SoftmaxOnly()) == "not made for sigmoid"


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (Neither, "suits no head that is installed: not made for softmax; not made for sigmoid"),
        (NoModule, "build\\(\\) gave function, not a torch.nn.Module"),
        (Flat, "gives no finite gradient"),
        (Endless, "gives no finite gradient"),
        (PerSample, "gave no finite scalar"),
        (Backwards, "not smallest at the target"),
        (OfBatch, "not the mean over samples"),
        (Heedless, "counts voxels whose reference is unknown"),
        (WrongMap, r"gave 'thin' as float32 \(40, 36, 20\)"),
        (WrongName, "named a map '../up'; use letters"),
        (HeedlessMap, r"prepare\(\) counts voxels in 'size' whose reference is unknown"),
        (InfiniteMap, "gave 'far' with values that are not finite"),
    ],
)
def test_each_fault_of_a_loss_is_found(loss: type[Loss], said: str) -> None:
    with pytest.raises(PluginError, match=said):
        run_loss(loss())


class Shift(SpatialAugmentation):
    """In good order."""

    def __call__(self, points: Tensor, rng: np.random.Generator) -> Tensor:
        return points + float(rng.normal())


class Louder(IntensityAugmentation):
    """In good order; `fault` makes it something else."""

    fault: Literal["", "global", "in place", "double", "smaller", "infinite"] = ""
    """What is wrong with it."""

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        if self.fault == "in place":
            return image.mul_(2)
        factor = torch.rand(()) if self.fault == "global" else float(rng.uniform(1, 2))
        louder = image * factor
        return {
            "double": louder.double(),
            "smaller": louder[:, 1:],
            "infinite": louder / 0,
        }.get(self.fault, louder)


class Unbound(Louder):
    def bound(self, *, labels: LabelTable, axes: str) -> Any:
        return None


def test_augmentations_in_good_order_pass() -> None:
    assert run_augmentation(Shift()) == ""
    assert run_augmentation(Louder()) == ""


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Louder(fault="global"), "draws from elsewhere"),
        (Louder(fault="in place"), "wrote into the array it was given"),
        (Louder(fault="double"), "no tensor of torch.float32"),
        (Louder(fault="smaller"), r"no finite values of shape \[1, 40, 36\]"),
        (Louder(fault="infinite"), "no finite values"),
        (Unbound(), "binds to NoneType"),
    ],
)
def test_each_fault_of_an_augmentation_is_found(step: Louder, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        run_augmentation(step)


class Agreement(Metric):
    """Share of voxels that agree; `wrong` gives something else."""

    wrong: Literal["", "nan", "label", "changing"] = ""
    """What is wrong with it."""

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        for label in reference.labels:
            same = float((prediction.mask(label.name) == reference.mask(label.name)).mean())
            value = {"nan": float("nan"), "changing": float(np.random.default_rng().random())}.get(
                self.wrong, same
            )
            name = "spleeen" if self.wrong == "label" else label.name
            yield Measured(label=name, quantity="agreement", value=value, unit="1")


def test_a_metric_in_good_order_passes() -> None:
    assert run_metric(Agreement()) == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("nan", "as nan"), ("label", "which is no label"), ("changing", "two different results")],
)
def test_each_fault_of_a_metric_is_found(wrong: Literal["nan", "label", "changing"], said: str) -> None:
    with pytest.raises(PluginError, match=said):
        run_metric(Agreement(wrong=wrong))


class Sureness(ScoreMetric):
    """Mean probability of a label where it is; `wrong` gives something else."""

    wrong: Literal["", "nan", "label", "changing"] = ""
    """What is wrong with it."""

    def of_scores(self, scores: Scores, reference: Segmentation, label: str) -> Iterable[Measured]:
        mask = reference.mask(label)
        value = float(scores.array[0][mask].mean()) if mask.any() else None
        wrong = {"nan": float("nan"), "changing": float(np.random.default_rng().random())}
        name = "spleeen" if self.wrong == "label" else label
        yield Measured(label=name, quantity="sureness", value=wrong.get(self.wrong, value))


def test_a_metric_of_probabilities_in_good_order_passes() -> None:
    assert run_metric(Sureness()) == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("nan", "as nan"), ("label", "which is no label"), ("changing", "two different results")],
)
def test_each_fault_of_a_metric_of_probabilities_is_found(
    wrong: Literal["nan", "label", "changing"], said: str
) -> None:
    with pytest.raises(PluginError, match=said):
        run_metric(Sureness(wrong=wrong))
