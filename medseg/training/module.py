"""The network in training, as Lightning takes it: loss over scales, optimiser, rate, moving average."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import lightning  # noqa: TID253 - this module is imported where a training begins
import torch  # noqa: TID253
from torch.nn.functional import interpolate  # noqa: TID253

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

    `spacing` is that of the samples' voxels, one number per axis of the patch. `steps` are those of the epoch
    so far.
    """

    def __init__(self, recipe: Recipe, *, spacing: tuple[float, ...]) -> None:
        super().__init__()
        self._recipe = recipe
        self.spec = recipe.spec
        segmenter = recipe.segment.step
        self._head, self._spacing = segmenter.head, spacing
        dims: Literal[2, 3] = 2 if len(recipe.patch) == 2 else 3
        with blamed(recipe.segment):
            outputs = self._head.channels(recipe.labels)
            self.network = segmenter.architecture.build(dims=dims, inputs=segmenter.channels, outputs=outputs)
        self.average = copy.deepcopy(self.network) if self.spec.averaging else None
        if self.average is not None:
            self.average.requires_grad_(False).eval()
        with blamed(recipe.loss):
            self.loss = recipe.loss.step.build(self._head, spacing=spacing, channels=outputs)
        self.standing = Standing()
        self._layout = torch.contiguous_format
        self._sum: torch.Tensor | float = 0.0
        self.steps = 0

    def configure_model(self) -> None:
        """Lay weights out in memory as a processor likes them, before anything is made of them."""
        architecture = self._recipe.segment.step.architecture
        if self.trainer.strategy.root_device.type == "cpu" and architecture.channels_last:
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
        """The loss of a batch, over all scales that the network gives: half the weight at half the size."""
        with blamed(self._recipe.segment):
            with torch.no_grad():
                objects = {"objects": batch["objects"]} if self._head.of_objects else {}
                target = self._head.targets(
                    batch["labels"], self._recipe.labels, spacing=self._spacing, **objects
                )
            outputs = _scales(self.network(batch["image"].contiguous(memory_format=self._layout)))
        weights = [0.5**level for level in range(len(outputs))]
        total: torch.Tensor | float = 0.0
        for weight, logits in zip(weights, outputs, strict=True):
            parts = self._at_scale(tuple(logits.shape[2:]), target, batch)
            with blamed(self._recipe.loss):
                total = total + weight / sum(weights) * self.loss(logits, *parts)
        if not isinstance(total, torch.Tensor) or total.shape != ():
            raise PluginError(f"{self._recipe.loss}: gave no scalar")
        self._sum = self._sum + total.detach()
        self.steps += 1
        return total

    def _at_scale(
        self, size: tuple[int, ...], target: torch.Tensor, batch: Sample
    ) -> tuple[torch.Tensor, torch.Tensor, Mapping[str, torch.Tensor]]:
        """What the loss takes beside an output of this size: target, where it is known, maps."""
        valid, maps = batch["valid"], batch["maps"]
        if target.shape[2:] == size:
            return target, valid, maps
        with blamed(self._recipe.segment):
            coarse = self._head.at_scale(target, size)
        return (
            coarse,
            interpolate(valid, list(size), mode="nearest-exact"),
            {name: interpolate(values, list(size), mode="area") for name, values in maps.items()},
        )

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


def _scales(outputs: object) -> Sequence[torch.Tensor]:
    """What a network gave in training as a list, the full resolution first."""
    found = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    if not isinstance(found, list | tuple) or not all(isinstance(each, torch.Tensor) for each in found):
        raise PluginError(f"gave {type(outputs).__name__}, not logits or a list of them")
    return found
