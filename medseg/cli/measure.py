"""`medseg measure`: a mask made elsewhere, measured on its image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing

if TYPE_CHECKING:
    from medseg.io import Policy
    from medseg.prediction import Measured, Result

__all__ = ["command"]

MOST_PRINTED = 40  # lesions of a label; all are in the tables


@click.command("measure")
@click.argument("image", metavar="IMAGE")
@click.argument("mask", metavar="MASK")
@click.option(
    "-o",
    "--out",
    metavar="FOLDER",
    help="Folder for the tables; by default the main numbers are printed only.",
)
@click.option(
    "--measure",
    metavar="NAME,NAME",
    help="What to measure, as in a pipeline file; by default volumes, shape, diameters, lesions, quality, or "
    "of objects alone volumes, objects, quality.",
)
@click.option(
    "--labels",
    metavar="NAME,NAME",
    callback=options.names,
    help="Measure these labels only; by default all that the mask has.",
)
@click.option(
    "--objects",
    metavar="NAME",
    help="The mask's values are ids of objects, not labels; the objects are called NAME.",
)
@options.pixel_size
@options.policy
@click.option("--case", metavar="NAME", help="Name of the case in the results; by default the file's.")
@options.overwrite
@options.quiet
@options.verbose
def command(
    image: str,
    mask: str,
    out: str | None,
    measure: str | None,
    labels: tuple[str, ...] | None,
    objects: str | None,
    pixel_size: float | None,
    policy: Policy,
    case: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Measure MASK, made by any program, on its IMAGE: volumes, diameters, shape, each lesion or object.

    MASK may be NIfTI, NRRD, MetaImage, .seg.nrrd, DICOM SEG or RTSTRUCT, PNG, TIFF or COCO. With -o, tables,
    a picture and run.json are written into FOLDER.
    """
    require_existing(image)
    require_existing(mask)

    from medseg.cli.progress import Progress
    from medseg.run.made_masks import measure_mask

    with Progress(quiet=quiet) as progress:
        result = measure_mask(
            image,
            mask,
            out=out,
            measure=measure,
            labels=labels,
            objects=objects,
            overwrite=overwrite,
            pixel_size=pixel_size,
            policy=policy,
            case=case,
            listener=progress.listen,
        )
    if not quiet:
        _print(result, None if out is None else Path(out))


def _print(result: Result, out: Path | None) -> None:
    """A line for each label, and one for each of its lesions."""
    from medseg.cli.table import print_table

    rows: dict[tuple[str, int | None], dict[str, Measured]] = {}
    for row in result.measurements:
        rows.setdefault((row.label, row.object), {})[row.quantity] = row
    lines = []
    for label in result.segmentation.labels:
        numbers = [number for name, number in rows if name == label.name and number is not None]
        for number in (None, *numbers[:MOST_PRINTED]):
            found = rows.get((label.name, number), {})
            title = label.name if number is None else f"  {number}"
            lines.append((title, _size(found), _diameters(found), _note(found)))
        if len(numbers) > MOST_PRINTED:
            lines.append((f"  and {len(numbers) - MOST_PRINTED} more", "", "", ""))
    print_table(("label", "size", "diameters", "note"), lines, right=(1, 2), wrap=(3,))
    source = result.volume.source
    for note in source.decided if source is not None else ():
        click.echo(f"note: {note}")
    where = "" if out is None else f"The tables are in {out}. "
    click.echo(f"{where}Research use only.")


def _size(found: dict[str, Measured]) -> str:
    row = found.get("volume") or found.get("area")
    return f"{row.value:,.2f} {row.unit}" if row and isinstance(row.value, float | int) else ""


def _diameters(found: dict[str, Measured]) -> str:
    """The longest axial diameter by the one perpendicular to it; else an object's longest and shortest."""
    pair = [found.get(f"{name}_axial_diameter") for name in ("longest", "perpendicular")]
    if not all(pair):
        pair = [found.get(f"{name}_axis") for name in ("longest", "shortest")]
    told = [f"{row.value:.1f}" for row in pair if row and isinstance(row.value, float | int)]
    return f"{' x '.join(told)} {pair[0].unit}" if told and pair[0] else ""


def _note(found: dict[str, Measured]) -> str:
    """Why to look again; for a lesion what it lies in, too."""
    told = [found[name].flag for name in ("qc", "volume", "area") if name in found]
    host = found.get("host")
    if host is not None and isinstance(host.value, str):
        told.append(f"in {host.value}")
    return "; ".join(dict.fromkeys(line for line in told if line))
