"""What a step does: the loss over scales, the rate, the moving average, what a checkpoint holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning  # noqa: TID253 - a test module
import pytest
import torch  # noqa: TID253
import trainings

from medseg.builtin.head.softmax import Softmax
from medseg.errors import PluginError
from medseg.training.batches import Batches
from medseg.training.fit import Course
from medseg.training.module import TrainedModule
from medseg.training.samples import Samples


@pytest.fixture
def course(tmp_path: Path) -> Course:
    found: Course = trainings.made(tmp_path)
    return found


def module(course: Course) -> TrainedModule:
    torch.manual_seed(0)
    return TrainedModule(course.recipe, spacing=course.cases[0].grid.spacing)


def batch(course: Course) -> Any:
    samples = Samples(course.cases, patch=course.recipe.patch)
    return next(iter(Batches(samples, batch=2, steps=1, first_step=lambda: 0)))


def test_half_the_weight_at_half_the_size(course: Course) -> None:
    """Against each scale's loss by itself; the middle voxel nearest to a coarse one is its last."""
    trained, given = module(course), batch(course)
    assert trained.loss is not None
    full, half = trained.network(given["image"])
    target = torch.nn.functional.one_hot(given["labels"][:, 0].long(), 3).movedim(-1, 1).float()
    coarse = target[..., 1::2, 1::2, 1::2]
    assert half.shape == coarse.shape
    expected = (
        trained.loss(full, target, torch.ones_like(target[:, :1]), {})
        + trained.loss(half, coarse, torch.ones_like(coarse[:, :1]), {}) / 2
    ) / 1.5
    assert trained.training_step(given, 0).item() == pytest.approx(expected.item(), rel=1e-6)
    assert trained.mean_loss == pytest.approx(expected.item())
    trained.on_train_epoch_start()
    assert trained.mean_loss == 0


class Faint(Softmax):
    """A head whose ideal outputs are smaller at coarser scales."""

    def at_scale(self, target: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        return super().at_scale(target, size) / 2


def test_the_head_says_what_a_coarser_output_should_be(course: Course) -> None:
    recipe = course.recipe
    step = recipe.segment.step.model_copy(update={"head": Faint()})
    recipe = replace(recipe, segment=replace(recipe.segment, step=step))
    trained, given = module(replace(course, recipe=recipe)), batch(course)
    assert trained.loss is not None
    full, half = trained.network(given["image"])
    target = torch.nn.functional.one_hot(given["labels"][:, 0].long(), 3).movedim(-1, 1).float()
    coarse = target[..., 1::2, 1::2, 1::2] / 2
    known = torch.ones_like(target[:, :1])
    expected = (
        trained.loss(full, target, known, {})
        + trained.loss(half, coarse, known[..., 1::2, 1::2, 1::2], {}) / 2
    ) / 1.5
    assert trained.training_step(given, 0).item() == pytest.approx(expected.item(), rel=1e-6)


def test_labels_that_are_not_known_change_no_gradient(course: Course) -> None:
    """Whatever is written where `valid` is 0."""
    trained, given = module(course), batch(course)
    unknown = torch.zeros_like(given["valid"], dtype=torch.bool)
    unknown[..., :8] = True
    given["valid"] = (~unknown).float()
    found = []
    for garbage in (0, 1, 2):
        labels = torch.where(unknown, torch.tensor(garbage, dtype=torch.int32), given["labels"])
        trained.zero_grad()
        loss = trained.training_step({**given, "labels": labels}, 0)
        loss.backward()  # type: ignore[no-untyped-call]  # of PyTorch
        gradients = [p.grad.clone() for p in trained.network.parameters() if p.grad is not None]
        found.append((loss.detach(), *gradients))
    assert len(found[0]) > 10
    for other in found[1:]:
        assert all(torch.equal(mine, its) for mine, its in zip(found[0], other, strict=True))


def test_the_average_moves_slower_the_longer_it_averages(course: Course) -> None:
    """Weights that are n after step n, averaged by hand."""
    trained = module(course)
    assert trained.average is not None
    mine = next(trained.average.parameters())
    with torch.no_grad():
        mine.zero_()
    expected = 0.0
    for step in range(1, 30):
        with torch.no_grad():
            next(trained.network.parameters()).fill_(step)
        trained.on_train_batch_end(None, {}, step)
        kept = min(course.recipe.spec.averaging, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
        assert torch.allclose(mine, torch.tensor(expected), rtol=1e-5)
    assert trained.standing.step == 29
    assert trained.kept is trained.average
    assert not any(p.requires_grad for p in trained.average.parameters())


def test_statistics_of_a_batch_norm_are_those_of_the_network(course: Course) -> None:
    trained = module(course)
    trained.network, trained.average = torch.nn.BatchNorm3d(2), torch.nn.BatchNorm3d(2)
    trained.network(torch.randn(4, 2, 3, 3, 3) + 5)
    trained.on_train_batch_end(None, {}, 0)
    assert trained.average.running_mean is not None
    assert trained.network.running_mean is not None
    assert torch.equal(trained.average.running_mean, trained.network.running_mean)
    assert trained.average.num_batches_tracked == 1


def test_without_averaging_the_network_itself_is_kept(tmp_path: Path) -> None:
    trained = module(trainings.made(tmp_path, "training: {averaging: 0}"))
    assert trained.average is None
    assert trained.kept is trained.network
    trained.on_train_batch_end(None, {}, 0)
    assert trained.standing.step == 1


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("{optimiser: adamw, rate: 0.01}", torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.01}),
        ("{optimiser: adamw}", torch.optim.AdamW, {"lr": 0.002, "weight_decay": 0.01}),
        ("{optimiser: sgd}", torch.optim.SGD, {"lr": 0.01, "weight_decay": 3e-5, "momentum": 0.99}),
        (
            "{optimiser: sgd, rate: 0.1, weight_decay: 3.0e-5}",
            torch.optim.SGD,
            {"lr": 0.1, "weight_decay": 3e-5, "momentum": 0.99, "nesterov": True},
        ),
    ],
)
def test_the_optimiser(tmp_path: Path, text: str, kind: type, expected: dict[str, Any]) -> None:
    trained = module(trainings.made(tmp_path, f"training: {text}"))
    optimiser = trained.configure_optimizers()
    assert type(optimiser) is kind
    (group,) = optimiser.param_groups
    assert {name: group[name] for name in expected} == expected
    assert {id(p) for p in group["params"]} == {id(p) for p in trained.network.parameters()}


def test_a_checkpoint_brings_back_the_generator_and_the_standing(course: Course) -> None:
    first, second = module(course), module(course)
    first.standing.step, first.standing.epoch = 12, 3
    first.standing.rows.append({"epoch": 3, "loss": 0.5})
    kept: dict[str, Any] = {}
    first.on_save_checkpoint(kept)
    drawn = torch.rand(5)
    torch.manual_seed(99)
    second.on_load_checkpoint(kept)
    assert torch.equal(torch.rand(5), drawn)
    assert second.standing == first.standing


class Wrong(torch.nn.Module):
    """Gives what it is told to."""

    def __init__(self, given: object) -> None:
        super().__init__()
        self.given = given

    def forward(self, *_: object) -> object:
        return self.given


def test_a_network_that_gives_no_logits_is_blamed(course: Course) -> None:
    trained = module(course)
    trained.network = Wrong({"out": torch.zeros(1)})
    with pytest.raises(PluginError, match="gave dict, not logits or a list of them") as told:
        trained.training_step(batch(course), 0)
    assert any("network" in note for note in told.value.__notes__)


def test_a_loss_that_gives_no_scalar_is_blamed(course: Course) -> None:
    trained = module(course)
    trained.loss = Wrong(torch.zeros(2, requires_grad=True))
    with pytest.raises(PluginError, match="gave no scalar"):
        trained.training_step(batch(course), 0)


def test_it_is_what_lightning_takes(course: Course) -> None:
    assert isinstance(module(course), lightning.LightningModule)
