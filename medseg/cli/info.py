"""`medseg info`: what an image is, before anything is done with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from medseg.cli import options, require_existing
from medseg.errors import InputError

if TYPE_CHECKING:
    from medseg.io import Policy
    from medseg.io.verdict import Candidate, Foretold

__all__ = ["command"]


@click.command("info")
@click.argument("image", metavar="IMAGE")
@options.policy
@options.as_json
@options.verbose
def command(image: str, policy: Policy, as_json: bool) -> None:
    """Say what IMAGE holds: every series, its grid, spacing, orientation, and whether it can be trusted.

    With options that decide on doubts, it also says what would be read with them. With --json, the output is
    a list of candidates; with such options, an object with `candidates`, and `read` or `refused`.
    """
    require_existing(image)

    from medseg.io import STRICT, foretell, inspect

    candidates = inspect(image)
    read: Foretold | None = None
    refused = ""
    if policy != STRICT:
        try:
            read = foretell(image, policy=policy)
        except InputError as problem:
            refused = str(problem)
    if as_json:
        found: Any = [candidate.as_json() for candidate in candidates]
        click.echo(json.dumps(found if policy == STRICT else _decided_json(found, read, refused), indent=2))
        return
    _print(candidates)
    if read is not None:
        click.echo(f"With these options: {_place(read)}")
        for note in read.decided:
            click.echo(f"note: {note}")
    elif refused:
        click.echo(f"With these options: refused: {refused}")


def _place(read: Foretold) -> str:
    """The grid in words."""
    size = " x ".join(str(n) for n in read.grid.shape)
    spacing = " x ".join(f"{s:.4g}" for s in read.grid.spacing)
    files = f"{read.files} file{'s' * (read.files != 1)}"
    return f"{size} voxels, {spacing} {read.grid.unit}, {read.grid.axis_codes}, from {files}"


def _decided_json(found: list[dict[str, Any]], read: Foretold | None, refused: str) -> dict[str, Any]:
    """The candidates, and what would be read of them or why nothing would."""
    from medseg.run.reasons import undescribed

    said: dict[str, Any] = {"candidates": found, "read": None, "refused": undescribed(refused) or None}
    if read is not None:
        said["read"] = {
            "shape": list(read.grid.shape),
            "spacing": list(read.grid.spacing),
            "unit": read.grid.unit,
            "axis_codes": read.grid.axis_codes,
            "files": read.files,
            "notes": list(read.decided),
        }
    return said


def _print(candidates: tuple[Candidate, ...]) -> None:
    """A row for each candidate; a column for the ends of series UIDs where there are any."""
    from medseg.cli.table import print_table

    header: tuple[str, ...] = (
        "what",
        "series",
        "files",
        "voxels",
        "spacing",
        "orientation",
        "type",
        "verdict",
    )
    rows = [_row(candidate) for candidate in candidates]
    if not any(candidate.uid_tail for candidate in candidates):
        header, rows = _without_series(header), [_without_series(row) for row in rows]
    print_table(header, rows, right=(header.index("files"),), wrap=(0, len(header) - 1))


def _without_series(row: tuple[str, ...]) -> tuple[str, ...]:
    return (row[0], *row[2:])


def _row(candidate: Candidate) -> tuple[str, ...]:
    what = [candidate.format, candidate.modality, candidate.description]
    size = " x ".join(str(n) for n in candidate.shape) if candidate.shape else ""
    if candidate.channels > 1:
        size += f", {candidate.channels} channels"
    spacing = ""
    if candidate.spacing:
        spacing = " x ".join(f"{s:.4g}" for s in candidate.spacing) + f" {candidate.unit}"
    verdict = candidate.verdict + (f": {candidate.detail}" if candidate.detail else "")
    return (
        ", ".join(part for part in what if part),
        f"...{candidate.uid_tail}" if candidate.uid_tail else "",
        str(candidate.files),
        size,
        spacing,
        candidate.axis_codes or "",
        candidate.dtype,
        verdict,
    )
