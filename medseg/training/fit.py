"""One training on Lightning: from prepared cases to weights, stopped and resumed at any moment."""

from __future__ import annotations

import io
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning  # noqa: TID253 - this module is imported where a training begins
import torch  # noqa: TID253
from lightning.pytorch.plugins.io import TorchCheckpointIO  # noqa: TID253

from medseg.errors import PipelineError
from medseg.inference.processors import processor_count
from medseg.inference.torch_runtime import plain_words
from medseg.pipeline import Stage
from medseg.prediction import Resources
from medseg.steps import Metric
from medseg.training import checkpoints
from medseg.training.batches import Batches
from medseg.training.model_folder import weights_saved
from medseg.training.module import TrainedModule
from medseg.training.prepared import PreparedCase
from medseg.training.recipe import Recipe
from medseg.training.samples import Samples
from medseg.training.schedule import Budget, pace
from medseg.training.standing import Row, Standing, write_log
from medseg.training.validation import Scored, mean, validated

__all__ = ["Course", "Fitted", "Hardware", "fit"]

Listener = Callable[[Row, "Course"], object]
VALIDATIONS = 50  # over a training whose length is a number of epochs
VALIDATION_SHARE = 0.07  # of the time, where time is the budget
MOST_WORKERS = 8
BEST = "best.safetensors"
PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Hardware:
    """What a training may use: devices of one kind, several of them, on several machines.

    `threads` are those of PyTorch, `workers` those that make samples; None for as many as help.
    """

    device: str = "cpu"
    devices: int = 1
    nodes: int = 1
    precision: str = "fp32"
    threads: int | None = None
    workers: int | None = None
    deterministic: bool = False

    @property
    def sampling_threads(self) -> int:
        """Threads that make samples: none on a CPU, which has better to do."""
        if self.workers is not None:
            return self.workers
        return max(1, min(MOST_WORKERS, processor_count() - 1)) if self.device != "cpu" else 0


@dataclass(frozen=True)
class Course:
    """One training: on which cases, for how long, in which folder."""

    recipe: Recipe
    cases: Sequence[PreparedCase]
    validation: Sequence[PreparedCase]
    metric: Stage[Metric]
    budget: Budget
    folder: Path
    seed: int
    hardware: Hardware = field(default_factory=Hardware)
    name: str = ""
    objects: Stage[Metric] | None = None
    """What is said of objects, where they are told apart."""


@dataclass(frozen=True)
class Fitted:
    """What came of a training: the network that is kept, its last scores, its log."""

    network: torch.nn.Module
    scores: Scored
    rows: list[Row]


def fit(course: Course, *, resume: bool = False, listener: Listener = lambda row, course: None) -> Fitted:
    """Train; with `resume`, from the newest checkpoint that is whole, else from the beginning.

    Raises PipelineError where the loss is no number any more, ResourceError where memory or disk run out.
    """
    recipe = course.recipe
    lightning.seed_everything(course.seed, verbose=False)
    module = TrainedModule(recipe, spacing=course.cases[0].grid.spacing[: len(recipe.patch)])
    start = checkpoints.newest(course.folder / "checkpoints") if resume else None
    if start is None:
        module.standing.span = course.budget.span(epoch=0, elapsed=0.0) or (0.0, 1.0)
    else:
        content = torch.load(start, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
        module.standing = Standing.from_plain(content["standing"])
        write_log(course.folder / "log.csv", module.standing.rows)  # it may have been stopped just before
    if not module.standing.over:
        with _settings(course.hardware.threads):
            _run(course, module, start, listener)
    if recipe.spec.patience is not None:
        _load_best(course.folder, module)
    return Fitted(module.kept, module.standing.scores, module.standing.rows)


def _run(course: Course, module: TrainedModule, start: Path | None, listener: Listener) -> None:
    """Let Lightning train the module."""
    hardware = course.hardware
    with _quietly():
        trainer = _trainer(course, _Watch(course, listener))
    samples = Samples(
        course.cases,
        patch=course.recipe.patch,
        augment=course.recipe.bound_to(course.cases[0].grid.axis_codes),
        foreground=course.recipe.spec.foreground,
        balance=course.recipe.spec.balance,
        seed=course.seed,
    )
    batches = Batches(
        samples,
        batch=course.recipe.spec.batch,
        steps=course.recipe.spec.steps_per_epoch,
        first_step=lambda: module.standing.step,
        share=(trainer.global_rank, trainer.world_size),
        workers=hardware.sampling_threads,
    )
    resources = Resources(device=hardware.device, deterministic=hardware.deterministic)
    with plain_words(resources), _quietly():
        try:
            trainer.fit(module, batches, ckpt_path=start, weights_only=True)
        except SystemExit:  # what Lightning makes of an interrupt
            raise KeyboardInterrupt from None


@contextmanager
def _settings(threads: int | None) -> Iterator[None]:
    """PyTorch on so many threads, None for as many as it likes; its settings are put back afterwards."""
    count, cudnn = torch.get_num_threads(), torch.backends.cudnn
    strict, benchmark = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark
    torch.set_num_threads(threads or count)
    try:
        yield
    finally:
        torch.set_num_threads(count)
        cudnn.benchmark = benchmark
        if torch.are_deterministic_algorithms_enabled() != strict:
            torch.use_deterministic_algorithms(strict)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what Lightning says of the machine and of its own products."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode.*")  # the average is
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _trainer(course: Course, watch: _Watch) -> lightning.Trainer:
    """The trainer; rows, checkpoints and validation are the watch's."""
    hardware = course.hardware
    kind, _, index = hardware.device.partition(":")
    several = hardware.devices * hardware.nodes > 1
    devices: int | list[int] = [int(index)] if index else hardware.devices
    return lightning.Trainer(
        accelerator="gpu" if kind == "cuda" else "cpu",
        devices=devices,
        num_nodes=hardware.nodes,
        strategy="ddp" if several else "auto",
        precision=PRECISIONS[hardware.precision],
        max_epochs=-1,
        gradient_clip_val=course.recipe.spec.clip,
        deterministic=hardware.deterministic,
        benchmark=kind == "cuda" and not hardware.deterministic,
        callbacks=[watch],
        plugins=[_Keep()],
        default_root_dir=course.folder,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _Watch(lightning.Callback):
    """After each epoch: validate where it is due, log, keep a checkpoint, and say whether to go on."""

    def __init__(self, course: Course, listener: Listener) -> None:
        self._course = course
        self._listener = listener
        self._began = self._epoch_began = 0.0
        self._before = 0.0
        self._board: Any = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock, where an earlier process left it."""
        assert isinstance(module, TrainedModule)
        self._began = time.monotonic()
        self._before = module.standing.elapsed
        if trainer.is_global_zero:
            self._board = _board(self._course.folder, module.standing)

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """Close the log, however it ended."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._epoch_began = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, *batch: object
    ) -> None:
        """End the epoch where the time is over: on a slow machine one may take longer than all there is."""
        seconds = self._course.budget.seconds
        if seconds is not None and self._elapsed(trainer) >= seconds:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Take stock."""
        assert isinstance(module, TrainedModule)
        standing, spec = module.standing, module.spec
        seconds = time.monotonic() - self._epoch_began
        loss = float(trainer.strategy.reduce(torch.tensor(module.mean_loss), reduce_op="mean"))
        if not math.isfinite(loss):
            raise PipelineError(
                f"the loss is no number any more in epoch {standing.epoch + 1}; lower training.rate "
                f"({pace(spec).rate:g}) or look at the images (`medseg dataset check`)"
            )
        standing.epoch += 1
        row: Row = {
            "epoch": standing.epoch,
            "step": standing.step,
            "rate": trainer.optimizers[0].param_groups[0]["lr"],
            "loss": round(loss, 6),
            "seconds": round(seconds, 3),
            "samples_per_s": round(module.steps * spec.batch / seconds, 2),
        }
        self._go_on(trainer, standing)
        if self._course.validation and (standing.over or standing.epoch >= standing.validate_at):
            self._validate(trainer, module, row, epoch_seconds=seconds)
        standing.elapsed = self._elapsed(trainer)
        standing.rows.append(row)
        self._publish(trainer, standing, row)
        if standing.over:
            trainer.should_stop = True

    def _elapsed(self, trainer: lightning.Trainer) -> float:
        """Seconds of training so far, the same on all processes."""
        here = self._before + time.monotonic() - self._began
        return float(trainer.strategy.broadcast(here))

    def _go_on(self, trainer: lightning.Trainer, standing: Standing) -> None:
        """Decide on the next epoch."""
        span = self._course.budget.span(epoch=standing.epoch, elapsed=self._elapsed(trainer))
        standing.over = span is None
        standing.span = span or (1.0, 1.0)

    def _validate(
        self, trainer: lightning.Trainer, module: TrainedModule, row: Row, *, epoch_seconds: float
    ) -> None:
        """Score the network that would be kept, and say when to do so again."""
        course, standing = self._course, module.standing
        began = time.monotonic()
        found = validated(
            module.kept,
            course.validation[trainer.global_rank :: trainer.world_size],
            recipe=course.recipe,
            metric=course.metric,
            objects=course.objects,
            device=module.device,
            autocast=trainer.precision_plugin.forward_context,
        )
        standing.scores = _gathered(found.dice, trainer.world_size)
        row["dice_mean"] = mean(standing.scores)
        row |= {f"dice {label.name}": mean(standing.scores, label.name) for label in course.recipe.labels}
        if course.objects is not None:
            right = _gathered(found.objects, trainer.world_size)
            row["ap_mean"] = mean(right)
            row |= {f"ap {label.name}": mean(right, label.name) for label in course.recipe.labels}
        taken = float(trainer.strategy.broadcast((time.monotonic() - began) / max(epoch_seconds, 1e-9)))
        standing.validate_at = standing.epoch + self._spacing(taken)
        self._compare(trainer, module, _score(row))

    def _spacing(self, taken: float) -> int:
        """Epochs to the next validation, which takes as long as `taken` epochs."""
        spec, budget = self._course.recipe.spec, self._course.budget
        if spec.validate_every is not None:
            return spec.validate_every
        if budget.seconds is None and budget.epochs is not None:  # so that it does not depend on the clock
            return math.ceil(budget.epochs / VALIDATIONS)
        return max(1, math.ceil(taken / VALIDATION_SHARE))

    def _compare(self, trainer: lightning.Trainer, module: TrainedModule, score: float | int | None) -> None:
        """Remember the best network; stop where none was better for long."""
        standing, patience = module.standing, module.spec.patience
        if patience is None or score is None:
            return
        standing.since_best += 1
        if standing.best is None or score > standing.best:
            standing.best, standing.best_epoch, standing.since_best = float(score), standing.epoch, 0
            if trainer.is_global_zero:
                weights_saved(module.kept, self._course.folder / BEST)
        standing.over = standing.over or standing.since_best >= patience

    def _publish(self, trainer: lightning.Trainer, standing: Standing, row: Row) -> None:
        """Keep a checkpoint, then log: what is logged can be gone on from."""
        folder = self._course.folder
        trainer.save_checkpoint(folder / "checkpoints")  # by all processes; the first one writes
        if trainer.is_global_zero:
            write_log(folder / "log.csv", standing.rows)
            for name, value in row.items():
                if name not in ("epoch", "step") and value is not None:
                    self._board.add_scalar(name.replace(" ", "/"), value, standing.step)
            self._board.flush()
            self._listener(row, self._course)
        trainer.strategy.barrier()


class _Keep(TorchCheckpointIO):
    """What Lightning writes its checkpoints with: into a folder, whole, the newest two."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Keep the checkpoint of this process, which all others equal, in the folder `path`."""
        content = io.BytesIO()  # PyTorch itself tells of a full disk by an error that could mean anything
        torch.save(checkpoint, content)
        epoch: int = checkpoint["standing"]["epoch"]
        checkpoints.keep(Path(path), epoch, lambda partial: partial.write_bytes(content.getbuffer()))


def _gathered(scored: Scored, processes: int) -> Scored:
    """The scores of all processes, by case."""
    parts: list[Scored | None] = [scored]
    if processes > 1:
        parts = [None] * processes
        torch.distributed.all_gather_object(parts, scored)
    merged = {case: values for part in parts if part for case, values in part.items()}
    return dict(sorted(merged.items()))


def _board(folder: Path, standing: Standing) -> Any:
    """TensorBoard's log; what a killed process wrote after the checkpoint counts no more."""
    from torch.utils.tensorboard import SummaryWriter

    purge = standing.step + 1 if standing.step else None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=purge)


def _score(row: Row) -> float | None:
    """What the best network is chosen by: Dice, or its mean with AP, which is long 0, where there is one."""
    told = [float(value) for name in ("dice_mean", "ap_mean") if (value := row.get(name)) is not None]
    return sum(told) / len(told) if told else None


def _load_best(folder: Path, module: TrainedModule) -> None:
    from safetensors.torch import load_model

    if (folder / BEST).is_file():
        module.kept.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # not in its stubs
        load_model(module.kept, str(folder / BEST))
