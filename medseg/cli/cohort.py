"""`medseg cohort`: many cases, each into its own folder, and tables over all."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

from medseg.cli import Terminated, ended_by, options, require_existing
from medseg.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from medseg.io import Policy
    from medseg.run.cohort import Cohort
    from medseg.run.summary import Outcome

__all__ = ["command"]

SOME_FAILED = 3
MOST_NOTED = 20  # cases whose notes are printed; all are in summary.csv


@click.command("cohort")
@click.argument("cases", metavar="CASES")
@click.option(
    "-o", "--out", required=True, metavar="FOLDER", help="Folder for the cases' folders and the tables."
)
@click.option(
    "-m", "--model", required=True, metavar="MODEL", help="Installed model, model folder or pipeline file."
)
@click.option("--resume", is_flag=True, help="Go on with an earlier run: do only what is missing or changed.")
@options.overwrite
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Cases at a time; the model segments one at a time, the rest runs side by side.",
)
@options.force_modality
@options.pixel_size
@options.policy
@options.labels
@options.write
@options.device
@options.engine
@options.precision
@options.max_memory
@options.threads
@options.seed
@options.deterministic
@options.quiet
@options.verbose
def command(
    cases: str,
    out: str,
    model: str,
    resume: bool,
    overwrite: bool,
    jobs: int,
    force_modality: bool,
    pixel_size: float | None,
    policy: Policy,
    labels: tuple[str, ...] | None,
    write: str | None,
    device: str,
    engine: str,
    precision: str,
    max_memory: int | None,
    threads: int | None,
    seed: int,
    deterministic: bool,
    quiet: bool,
) -> None:
    """Segment every case in CASES: a CSV file, or a folder of images or of DICOM folders.

    A CSV file has a column for each of the pipeline's inputs, with paths relative to it, and may have a
    column `case` with an id for each. A case that fails does not stop the others; the exit code is then 3.

    Ids without that column are the stems of the files' names (hashes for DICOM), so that a name in a file's
    name ends up in the tables and names of folders: give ids in a CSV file where that must not be.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other; give one")
    require_existing(cases)

    from medseg.prediction import Resources
    from medseg.run.cohort import segment_cohort

    with CohortProgress(quiet=quiet) as progress:
        try:
            done = segment_cohort(
                cases,
                model=model,
                out=out,
                resume=resume,
                overwrite=overwrite,
                jobs=jobs,
                force_modality=force_modality,
                pixel_size=pixel_size,
                policy=policy,
                labels=labels,
                write=write,
                resources=Resources(
                    device=device,
                    engine=engine,
                    precision=precision,
                    max_memory_bytes=max_memory,
                    threads=threads,
                    seed=seed,
                    deterministic=deterministic,
                ),
                watcher=progress.watch,
            )
        except (KeyboardInterrupt, Terminated) as signal:
            progress.close()
            click.echo(f"medseg: interrupted; {progress.said()}; --resume goes on from here", err=True)
            raise SystemExit(ended_by(signal)) from signal
    if not quiet:
        _print(done, out)
    if done.counts["failed"]:
        raise SystemExit(SOME_FAILED)


def _print(done: Cohort, out: str) -> None:
    """What failed, and where the tables are."""
    for note in done.notes:
        click.echo(note, err=True)
    counts = done.counts
    failed = [outcome for outcome in done.outcomes if outcome.status == "failed"]
    if failed:
        from medseg.cli.table import print_table

        print_table(("failed", "reason"), [(each.case, _one_line(each.told)) for each in failed], wrap=(1,))
    noted = [outcome for outcome in done.outcomes if outcome.notes]
    for outcome in noted[:MOST_NOTED]:
        for note in outcome.notes:
            click.echo(f"{outcome.case}: note: {note}")
    if len(noted) > MOST_NOTED:
        click.echo(f"notes on {len(noted) - MOST_NOTED} more cases are in {out}/summary.csv")
    kept = f" ({counts['kept']} kept from an earlier run)" if counts["kept"] else ""
    click.echo(
        f"{counts['ok']} of {counts['cases']} cases are done{kept}, {counts['failed']} failed. "
        f"The tables are {out}/summary.csv and {out}/cohort.csv. Research use only."
    )


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class CohortProgress:
    """Shows a cohort on stderr: a bar on a terminal, a line for each case elsewhere, nothing if quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live: RichProgress | None = None
        self._task: TaskID | None = None
        self._running: list[str] = []
        self._ok = self._failed = self._total = 0

    def __enter__(self) -> CohortProgress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress

            columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._live = RichProgress(
                *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
            )
            self._task = self._live.add_task("", total=None)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._live is not None:
            self._live.stop()

    def said(self) -> str:
        """How far it has come, in words."""
        return f"{self._ok} of {self._total} cases are done, {self._failed} failed"

    def watch(self, case: str, outcome: Outcome | None, done: int, total: int) -> None:
        """Hear of a case that starts (`outcome` is None) or ends."""
        self._total = total
        if outcome is None:
            self._running.append(case)
        else:
            self._running = [name for name in self._running if name != case]
            self._ok += outcome.status == "ok"
            self._failed += outcome.status == "failed"
        if self._quiet:
            return
        if self._live is not None and self._task is not None:
            self._draw(outcome, done, total)
        elif outcome is not None:
            click.echo(f"{done}/{total} {case} {_ending(outcome)}", err=True)

    def _draw(self, outcome: Outcome | None, done: int, total: int) -> None:
        assert self._live is not None
        assert self._task is not None
        from rich.text import Text

        if outcome is not None and outcome.status == "failed":
            line = Text.assemble(("✗ ", "red"), f"{outcome.case} {_ending(outcome)}")
            self._live.console.print(line, highlight=False)
        failures = f", {self._failed} failed" if self._failed else ""
        text = f"{', '.join(self._running)}{failures}"
        self._live.update(self._task, completed=done, total=total, description=text)


def _ending(outcome: Outcome) -> str:
    """How a case ended, in a few words."""
    if outcome.status == "failed":
        return f"failed: {_one_line(outcome.told)}"
    return "kept" if outcome.kept else f"ok {outcome.seconds or 0:.1f} s"
