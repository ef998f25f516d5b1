"""The network in training, as Lightning takes it: steps, optimiser, rate, moving average."""

from __future__ import annotations

import copy
from typing import Any

import lightning  # noqa: TID253 - this module is imported where a training begins
import torch  # noqa: TID253

from medseg.errors import PluginError
from medseg.pipeline import blamed
from medseg.training.recipe import Recipe
from medseg.training.samples import Sample
from medseg.training.schedule import pace, rate
from medseg.training.standing import Standing

__all__ = ["TrainedModule"]

MOMENTUM = 0.99


class TrainedModule(lightning.LightningModule):
    """A network, its moving average, its loss, and where its training stands.

    `loss` is what `training.loss` names; None where the segmenter has losses of its own. `spacing` is that of
    the samples' voxels, one number per axis of the patch. `steps` are those of the epoch so far.
    """

    def __init__(self, recipe: Recipe, *, spacing: tuple[float, ...]) -> None:
        super().__init__()
        self._recipe = recipe
        self.spec = recipe.spec
        self._spacing = spacing
        with blamed(recipe.segment):
            self.network = recipe.segment.step.untrained(recipe.labels)
        self.average = copy.deepcopy(self.network) if self.spec.averaging else None
        if self.average is not None:
            self.average.requires_grad_(False).eval()
        self.loss = recipe.built_loss(spacing)
        self.standing = Standing()
        self._layout = torch.contiguous_format
        self._sum: torch.Tensor | float = 0.0
        self.steps = 0

    def configure_model(self) -> None:
        """Lay weights out in memory as a processor likes them, before anything is made of them."""
        segmenter = self._recipe.segment.step
        if self.trainer.strategy.root_device.type == "cpu" and segmenter.channels_last:
            layouts = {2: torch.channels_last, 3: torch.channels_last_3d}
            self._layout = layouts[len(self._recipe.patch)]
            for network in (self.network, self.average):
                if network is not None:
                    network.to(memory_format=self._layout)  # type: ignore[call-overload]  # not in its stubs

    @property
    def kept(self) -> torch.nn.Module:
        """The network that is validated and kept: the moving average, if there is one."""
        return self.network if self.average is None else self.average

    def training_step(self, batch: Sample, index: int) -> torch.Tensor:
        """The loss of a batch, as the segmenter makes it."""
        image = batch["image"].contiguous(memory_format=self._layout)
        with blamed(self._recipe.segment):
            total: object = self._recipe.segment.step.training_loss(
                self.network,
                {**batch, "image": image},
                labels=self._recipe.labels,
                spacing=self._spacing,
                loss=None if self.loss is None else self._blamed_loss,
            )
            if not isinstance(total, torch.Tensor) or total.shape != ():
                raise PluginError("gave no scalar to make small")
        self._sum = self._sum + total.detach()
        self.steps += 1
        return total

    def _blamed_loss(self, *parts: Any) -> torch.Tensor:
        """What `training.loss` says of an output, under its own name where it fails."""
        assert self._recipe.loss is not None
        assert self.loss is not None
        with blamed(self._recipe.loss):
            found: object = self.loss(*parts)
            if not isinstance(found, torch.Tensor) or found.shape != ():
                raise PluginError(f"{self._recipe.loss}: gave no scalar")
        return found

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's mean loss."""
        self._sum, self.steps = 0.0, 0

    def on_train_batch_start(self, batch: Sample, index: int) -> None:
        """Set the rate of this step."""
        start, stop = self.standing.span
        progress = start + (stop - start) * index / self.spec.steps_per_epoch
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate(self.spec, step=self.standing.step, progress=progress)

    def on_train_batch_end(self, outputs: Any, batch: Sample, index: int) -> None:
        """Move the average along, slower the longer it has been averaging."""
        self.standing.step += 1
        if self.average is None:
            return
        step = self.standing.step
        share = 1.0 - min(self.spec.averaging, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), share)
            for mine, its in zip(self.average.buffers(), self.network.buffers(), strict=True):
                mine.copy_(its)

    @property
    def mean_loss(self) -> float:
        """The mean loss of the epoch's steps, on this process."""
        return float(self._sum) / max(1, self.steps)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the `training:` block."""
        found, weights = pace(self.spec), [p for p in self.network.parameters() if p.requires_grad]
        if self.loss is not None:
            weights += [p for p in self.loss.parameters() if p.requires_grad]
        if self.spec.optimiser == "sgd":
            return torch.optim.SGD(
                weights, lr=found.rate, momentum=MOMENTUM, nesterov=True, weight_decay=found.weight_decay
            )
        return torch.optim.AdamW(weights, lr=found.rate, weight_decay=found.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the training stands, and the generators' states."""
        checkpoint["standing"] = self.standing.as_plain()
        checkpoint["rng"] = torch.get_rng_state()
        if torch.cuda.is_available():
            checkpoint["cuda_rng"] = torch.cuda.get_rng_state_all()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from where it stood."""
        self.standing = Standing.from_plain(checkpoint["standing"])
        torch.set_rng_state(checkpoint["rng"].cpu())
        states = checkpoint.get("cuda_rng", [])
        if torch.cuda.is_available() and len(states) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in states])
