"""`medseg info`: what an image is, before anything is done with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing

if TYPE_CHECKING:
    from medseg.io.verdict import Candidate

__all__ = ["command"]


@click.command("info")
@click.argument("image", metavar="IMAGE")
@options.as_json
@options.verbose
def command(image: str, as_json: bool) -> None:
    """Say what IMAGE holds: every series, its grid, spacing, orientation, and whether it can be trusted."""
    require_existing(image)

    from medseg.io import inspect

    candidates = inspect(image)
    if as_json:
        click.echo(json.dumps([candidate.as_json() for candidate in candidates], indent=2))
        return
    from medseg.cli.table import print_table

    header = ("what", "files", "voxels", "spacing", "orientation", "type", "verdict")
    print_table(header, [_row(candidate) for candidate in candidates], right=(1,), wrap=(0, 6))


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
        str(candidate.files),
        size,
        spacing,
        candidate.axis_codes or "",
        candidate.dtype,
        verdict,
    )
