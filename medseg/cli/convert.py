"""`medseg convert`: read an image or a mask, write it as NIfTI."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing
from medseg.errors import UsageError

if TYPE_CHECKING:
    from medseg.io import Policy
    from medseg.volume import Volume

__all__ = ["command"]


@click.command("convert")
@click.argument("image", metavar="IMAGE")
@click.option("-o", "--out", required=True, metavar="FILE", help="File to write: .nii.gz or .nii.")
@click.option("--onto", metavar="IMAGE", help="Read IMAGE as a segmentation, onto the voxels of this image.")
@click.option(
    "--objects",
    metavar="NAME",
    help="With --onto: values are ids of objects, not labels; the objects are called NAME.",
)
@options.pixel_size
@options.policy
@options.overwrite
@options.quiet
@options.verbose
def command(
    image: str,
    out: str,
    onto: str | None,
    objects: str | None,
    pixel_size: float | None,
    policy: Policy,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Read IMAGE as `segment` would, and write it as NIfTI: same voxels, same place, nothing else changed.

    What an option decides about a doubtful geometry is printed and stands in short in the file's `descrip`.
    With --onto, IMAGE is a segmentation (DICOM SEG, RTSTRUCT, .seg.nrrd, NIfTI, PNG, COCO JSON); its labels
    are written on the other image's voxels, with a further file for each label that overlaps others;
    objects are written with their ids, and whose they are.
    """
    if not out.endswith((".nii", ".nii.gz")):
        raise UsageError(f"{out}: only .nii.gz and .nii are written; choose such a name")
    require_existing(image)
    if onto is not None:
        require_existing(onto)
        image_onto = _read(onto, policy, pixel_size)
        _convert_labels(image, Path(out), onto=image_onto, objects=objects, overwrite=overwrite, quiet=quiet)
        return
    if objects is not None:
        raise UsageError("--objects is for segmentations: say --onto IMAGE, too")

    from medseg.io.atomic import staged_file
    from medseg.io.nifti import write_volume

    with staged_file(Path(out), overwrite=overwrite) as path:
        volume = _read(image, policy, pixel_size)
        write_volume(volume, path)
    if not quiet:
        click.echo(f"{out}: {volume.grid!r}, {volume.array.dtype}")
        for done in volume.source.policies if volume.source is not None else ():
            click.echo(f"read: {done}", err=True)
        for note in volume.source.decided if volume.source is not None else ():
            click.echo(f"note: {note}")


def _read(image: str, policy: Policy, pixel_size: float | None) -> Volume:
    from medseg.io import read

    volume = read(image, policy=policy, pixel_size=pixel_size)
    if volume.source is not None:
        policy.require_use(volume.source.format, image)
    return volume


def _convert_labels(
    mask: str, out: Path, *, onto: Volume, objects: str | None, overwrite: bool, quiet: bool
) -> None:
    """Write the labels of a segmentation on the voxels of an image; print what was decided, and each file."""
    from medseg.io.atomic import staged_file
    from medseg.io.masks import read_segmentation
    from medseg.io.masks.objects import ids_of
    from medseg.io.nifti import write_labels
    from medseg.report.label_files import label_files

    notes = list(onto.source.decided if onto.source is not None else ())
    segmentation = read_segmentation(mask, onto=onto, tell=notes.append, ids=objects is not None)
    if objects is not None:
        segmentation = ids_of(objects, segmentation)
    suffix = ".nii.gz" if out.name.endswith(".gz") else ".nii"
    stem = out.name.removesuffix(suffix)
    with ExitStack() as files:
        written = []
        for ending, array, labels, ids in label_files(segmentation):
            file = out.with_name(f"{stem}{ending}{suffix}")
            path = files.enter_context(staged_file(file, overwrite=overwrite))
            write_labels(array, segmentation.grid, path, labels=labels, source=onto.source, objects=ids)
            told = [f"{name} ({len(own)} objects)" for name, own in ids.items()]
            written.append(f"{file}: {', '.join(told or [label.name for label in labels]) or 'no label'}")
    if not quiet:
        for line in (*written, *(f"note: {note}" for note in notes)):
            click.echo(line)
