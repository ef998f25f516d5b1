"""`medseg dicom`: look at DICOM results, whoever made them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing
from medseg.errors import InputError

if TYPE_CHECKING:
    from medseg.io import Policy
    from medseg.io.dicom_results.check import Checked
    from medseg.volume import Volume

__all__ = ["command"]


@click.group("dicom")
def command() -> None:
    """Check DICOM segmentations, whoever made them."""


@command.command("check")
@click.argument("file", metavar="FILE")
@click.option("--source", metavar="IMAGE", help="The DICOM series that it was made for: a folder or archive.")
@options.policy
@options.as_json
@options.verbose
def check(file: str, source: str | None, policy: Policy, as_json: bool) -> None:
    """Decode every frame of the DICOM SEG in FILE, print its segments and what is wrong with it.

    With --source, its frames must also lie on the slices of the series and name its images. Exit code 2 where
    there is an error; warnings are what some viewers cannot do without.
    """
    require_existing(file)
    if source is not None:
        require_existing(source)

    from medseg.io import one_refusal
    from medseg.io.dicom_results.check import check_segmentation

    path = Path(file)
    image = None if source is None else _read(source, policy)
    with one_refusal(path):
        checked = check_segmentation(path, image)
    if as_json:
        click.echo(json.dumps(checked.as_json(), indent=2))
    else:
        _print(checked)
    if not checked.sound:
        sys.exit(InputError.exit_code)


def _read(source: str, policy: Policy) -> Volume:
    from medseg.io import read

    volume = read(source, policy=policy)
    if volume.source is not None:
        policy.require_use(volume.source.format, source)
    return volume


def _print(checked: Checked) -> None:
    """A row for each segment, then a line for each finding."""
    from medseg.cli.table import print_table

    print_table(
        ("number", "segment", "code", "slices", "voxels", "mL"),
        [
            (
                str(segment.number),
                segment.name,
                segment.code or "",
                str(segment.slices),
                str(segment.voxels),
                "" if segment.volume_ml is None else f"{segment.volume_ml:.2f}",
            )
            for segment in checked.segments
        ],
        right=(0, 3, 4, 5),
    )
    click.echo(f"{checked.kind}, {checked.frames} frames")
    for finding in checked.findings:
        click.echo(f"{finding.rank}: {finding.what}")
    if not checked.findings:
        click.echo("nothing wrong found")
