"""What a waiting person sees: a live line on a terminal, one plain line per long step elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Progress"]

VERBS = {
    "read": "Reading",
    "preprocess": "Preparing",
    "segment": "Segmenting",
    "refine": "Refining",
    "postprocess": "Improving",
    "measure": "Measuring",
    "write": "Writing",
}
PAUSE = 10.0  # seconds between two lines on how far a step is
LONG = 1.0  # seconds; shorter steps are not worth a line of a log file


class Progress:
    """Shows the steps of a run on stderr: live on a terminal, plain lines elsewhere, nothing if quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live: RichProgress | None = None
        self._task: TaskID | None = None
        self._told = time.monotonic()

    def __enter__(self) -> Progress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
            )
            self._live = RichProgress(*columns, console=Console(stderr=True), transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def listen(self, place: str, name: str, seconds: float | None) -> None:
        """Hear of a step: `seconds` is None when it starts, its duration when it ends."""
        if self._quiet:
            return
        text = f"{VERBS.get(place.partition('[')[0], place)} ({name})"
        if self._live is not None:
            if seconds is None:
                if self._task is not None:
                    self._live.remove_task(self._task)
                self._task = self._live.add_task(text, total=None)
            else:
                self._live.console.print(
                    f"[green]✓[/green] {text}  [dim]{seconds:.1f} s[/dim]", highlight=False
                )
        elif seconds is None and place == "segment":  # the one step that may take minutes
            click.echo(f"{text} …", err=True)
        elif seconds is not None and seconds >= LONG:
            click.echo(f"{text}: {seconds:.1f} s", err=True)

    def advance(self, step: str, done: int, total: int) -> None:
        """Hear how far the step at work is."""
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=done, total=total)
        elif self._live is None and not self._quiet and time.monotonic() - self._told >= PAUSE:
            self._told = time.monotonic()
            click.echo(f"{step}: {done} of {total}", err=True)
