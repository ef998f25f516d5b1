"""`medseg train`: from labelled images to a model."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medseg.cli import Terminated, ended_by, options, require_existing
from medseg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from medseg.evaluation.summary import Statistics
    from medseg.training.planning import Planned
    from medseg.training.wishes import Trained

__all__ = ["command"]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)([smhd]))+")
PAUSE = 10.0  # seconds between two lines on a training, where there is no terminal


def _duration(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    if not DURATION.fullmatch(value):
        raise UsageError(f"--time-budget {value}: give a time as 90s, 45m, 2h or 1h30m")
    seconds = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smhd])", value))
    if seconds <= 0:
        raise UsageError(f"--time-budget {value}: is no time")
    return seconds


@click.command("train")
@click.argument("dataset", metavar="DATASET")
@click.option(
    "-o",
    "--out",
    metavar="RUN",
    help="Folder of the training; the model is RUN/model. Not needed with --plan-only.",
)
@click.option(
    "--plan-only", is_flag=True, help="Print the plan with its reasons, as a pipeline file; train nothing."
)
@click.option(
    "--pipeline",
    metavar="FILE",
    help="Pipeline file, or a part of one, that says what to do otherwise than planned.",
)
@click.option(
    "--time-budget",
    callback=_duration,
    metavar="TIME",
    help="Time for the whole command, as 45m or 2h; the learning rate falls to 0 by then. By default 1h.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs for each fold, instead of a time.")
@click.option(
    "--folds",
    type=click.IntRange(min=1, max=100),
    default=1,
    show_default=True,
    help="Cross-validate with so many folds, by subject; the model is the ensemble. 1: a single split.",
)
@click.option(
    "--fold", type=click.IntRange(min=0), help="Train this fold only, counted from 0, as on a cluster."
)
@click.option(
    "--validation",
    type=click.FloatRange(min=0, max=0.9),
    default=0.2,
    show_default=True,
    help="Share of cases to validate with in a single split; 0 trains on all.",
)
@click.option("--subjects", metavar="CSV", help="Which cases are of one subject: columns case and subject.")
@click.option("--name", metavar="NAME", help="Name of the model; by default that of dataset and folder.")
@click.option("--resume", is_flag=True, help="Go on with the training in RUN, from its last epoch.")
@options.overwrite
@options.device
@options.threads
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**32 - 1),
    help="All that is random follows from it; by default 0.",
)
@options.deterministic
@options.quiet
@options.verbose
def command(
    dataset: str,
    out: str | None,
    plan_only: bool,
    pipeline: str | None,
    time_budget: float | None,
    epochs: int | None,
    folds: int,
    fold: int | None,
    validation: float,
    subjects: str | None,
    name: str | None,
    resume: bool,
    overwrite: bool,
    device: str,
    threads: int | None,
    seed: int | None,
    deterministic: bool,
    quiet: bool,
) -> None:
    """Train a model on DATASET: a Decathlon or nnU-Net folder, images/ and labels/, or a CSV file.

    The data decide on spacing, patch, network and normalisation; see --plan-only. The model, RUN/model, is
    what `medseg segment --model` takes, RUN/report.html tells how good it is. A training that was stopped
    goes on with --resume. Start it with torchrun or SLURM to use several GPUs or machines.
    """
    if out is None and not plan_only:
        raise click.MissingParameter(param_hint="'-o' / '--out'", param_type="option")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other; give one")
    for path in (dataset, *(each for each in (pipeline, subjects) if each is not None)):
        require_existing(path)

    from medseg.prediction import Resources
    from medseg.training.train import planned, train
    from medseg.training.wishes import Heard, Wishes

    wishes = Wishes(
        pipeline=Path(pipeline) if pipeline else None,
        subjects=Path(subjects) if subjects else None,
        folds=folds,
        fold=fold,
        validation=validation,
        epochs=epochs,
        seconds=time_budget,
        seed=seed,
        name=name,
        resume=resume,
        overwrite=overwrite,
    )
    resources = Resources(device=device, threads=threads, seed=seed or 0, deterministic=deterministic)
    with TrainingProgress(quiet=quiet, seconds=time_budget) as progress:
        resources = replace(resources, progress=progress.advance)
        if plan_only:
            made, _, said = planned(Path(dataset), wishes, resources)
            progress.close()
            _print_plan(made, said)
            return
        try:
            done = train(
                Path(dataset),
                Path(out or ""),
                wishes=wishes,
                resources=resources,
                heard=Heard(tell=progress.tell, epoch=progress.epoch),
            )
        except (KeyboardInterrupt, Terminated) as signal:
            progress.close()
            click.echo(f"medseg: interrupted; go on with --resume -o {out}", err=True)
            raise SystemExit(ended_by(signal)) from None
    if not quiet:
        _print_done(done)


def _print_plan(made: Planned, said: Sequence[str]) -> None:
    """The plan as a pipeline file, with the reasons as comments at its end."""
    from medseg.training.run_folder import plan_text

    click.echo("# Change what you like, and hand it over with --pipeline; research use only.")
    click.echo(plan_text(made.file))
    click.echo("# Why:")
    for place, reason in made.reasons.items():
        overridden = any(path == place or place.startswith(f"{path}.") for path in said)
        click.echo(f"#   {place}: {'given by --pipeline' if overridden else reason}")
    for place in said:
        if place not in made.reasons:
            click.echo(f"#   {place}: given by --pipeline")


def _print_done(done: Trained) -> None:
    if done.missing:
        folds = ", ".join(str(number) for number in done.missing)
        click.echo(f"Folds still to be trained: {folds}; the model is made when all are done.")
        return
    if done.model is None:  # not the first of several processes
        return
    if done.measured:
        _print_measured(done.measured)
    click.echo(f"The model is {done.model}, the report {done.report}. Research use only.")


def _print_measured(measured: Sequence[Statistics]) -> None:
    from medseg.cli.table import print_table

    rows = [
        (
            row.label,
            f"{row.metric} {row.unit}".strip(),
            *("" if value is None else f"{value:.3f}" for value in (row.mean, row.median, row.min, row.max)),
            f"{row.n}",
        )
        for row in measured
    ]
    print_table(("label", "metric", "mean", "median", "lowest", "highest", "n"), rows, right=(2, 3, 4, 5, 6))


class TrainingProgress:
    """Shows a training on stderr: a live line on a terminal, a plain line now and then elsewhere."""

    def __init__(self, *, quiet: bool, seconds: float | None) -> None:
        self._quiet = quiet
        self._live: RichProgress | None = None
        self._task: TaskID | None = None
        self._step = ""
        self._told = 0.0
        self._began = time.monotonic()
        self._seconds = seconds
        self._dice = ""

    def __enter__(self) -> TrainingProgress:
        import sys

        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress

            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20))
            self._live = RichProgress(
                *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the live line off the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tell(self, line: str) -> None:
        """A note."""
        if not self._quiet:
            click.echo(f"note: {line}", err=True)

    def advance(self, step: str, done: int, total: int) -> None:
        """Hear how far the step at work is."""
        words = {"fingerprint": "Looking at", "prepare": "Preparing", "validate": "Validating with"}
        if step in words:
            self._show(f"{words[step]} case {done} of {total}", done, total, last=done == total)

    def epoch(self, row: dict[str, Any], fold: int) -> None:
        """Hear of an epoch."""
        if row.get("dice_mean") is not None:
            labels = ", ".join(
                f"{name.removeprefix('dice ')} {value:.3f}" if value is not None else f"{name} -"
                for name, value in row.items()
                if name.startswith("dice ")
            )
            self._dice = f"  Dice {row['dice_mean']:.3f} ({labels})"
            if row.get("ap_mean") is not None:
                self._dice += f"  AP {row['ap_mean']:.3f}"
        text = f"fold {fold}  epoch {row['epoch']}  loss {row['loss']:.3f}{self._dice}"
        text += f"  {row['samples_per_s']:.1f}/s"
        spent = time.monotonic() - self._began
        if self._seconds is not None:
            text += f"  {max(0.0, self._seconds - spent) / 60:.0f} min left"
            self._show(text, spent, self._seconds, last=row.get("dice_mean") is not None)
        else:
            self._show(text, None, None, last=row.get("dice_mean") is not None)

    def _show(self, text: str, done: float | None, total: float | None, *, last: bool) -> None:
        if self._quiet:
            return
        if self._live is not None:
            if self._task is None:
                self._task = self._live.add_task(text)
            self._live.update(self._task, description=text, completed=done or 0, total=total)
        elif last or time.monotonic() - self._told >= PAUSE:
            self._told = time.monotonic()
            click.echo(text, err=True)
