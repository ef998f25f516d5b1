"""`medseg convert`: read an image, write it as NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing
from medseg.errors import UsageError

if TYPE_CHECKING:
    from medseg.io import Policy

__all__ = ["command"]


@click.command("convert")
@click.argument("image", metavar="IMAGE")
@click.option("-o", "--out", required=True, metavar="FILE", help="File to write: .nii.gz or .nii.")
@options.pixel_size
@options.policy
@options.overwrite
@options.quiet
@options.verbose
def command(
    image: str, out: str, pixel_size: float | None, policy: Policy, overwrite: bool, quiet: bool
) -> None:
    """Read IMAGE as `segment` would, and write it as NIfTI: same voxels, same place, nothing else changed.

    What an option decides about a doubtful geometry is printed and stands in short in the file's `descrip`.
    """
    if not out.endswith((".nii", ".nii.gz")):
        raise UsageError(f"{out}: only .nii.gz and .nii are written; choose such a name")
    require_existing(image)

    from medseg.io import read
    from medseg.io.atomic import staged_file
    from medseg.io.nifti import write_volume

    with staged_file(Path(out), overwrite=overwrite) as path:
        volume = read(image, policy=policy, pixel_size=pixel_size)
        if volume.source is not None:
            policy.require_use(volume.source.format, image)
        write_volume(volume, path)
    if not quiet:
        click.echo(f"{out}: {volume.grid!r}, {volume.array.dtype}")
        for note in volume.source.decided if volume.source is not None else ():
            click.echo(f"note: {note}")
