"""`medseg segment`: one case, from its files to masks, volumes and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing
from medseg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medseg.io import Policy
    from medseg.prediction import Measured, Result
    from medseg.segmentation import Label

__all__ = ["command"]


@click.command("segment")
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option(
    "-o",
    "--out",
    metavar="FOLDER",
    help="Folder for the results; appears complete or not at all. Not needed with --plan.",
)
@click.option(
    "-m", "--model", required=True, metavar="MODEL", help="Installed model, model folder or pipeline file."
)
@click.option(
    "--input",
    "named",
    multiple=True,
    metavar="NAME=PATH",
    help="An input by its name in the pipeline; repeatable.",
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
@click.option("--case", metavar="NAME", help="Name of the case in the results; by default the file's.")
@options.overwrite
@click.option("--plan", is_flag=True, help="Say what it would take, from headers; run and write nothing.")
@options.as_json
@options.quiet
@options.verbose
def command(
    images: tuple[str, ...],
    out: str | None,
    model: str,
    named: tuple[str, ...],
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
    case: str | None,
    overwrite: bool,
    plan: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Segment IMAGE (a DICOM folder, NIfTI, NRRD, MetaImage, PNG or TIFF) and measure what was found.

    Writes masks, measurements, a preview and run.json into FOLDER, and prints the volumes and the numbers
    of objects.
    """
    if out is None and not plan:
        raise click.MissingParameter(param_hint="'-o' / '--out'", param_type="option")
    if as_json and not plan:
        raise UsageError("--json is for --plan; results lie in the output folder as JSON and CSV")
    by_name = _by_name(named)
    for path in (*images, *by_name.values()):
        require_existing(path)

    from medseg.cli.progress import Progress
    from medseg.prediction import Resources
    from medseg.run import segment

    resources = Resources(
        device=device,
        engine=engine,
        precision=precision,
        max_memory_bytes=max_memory,
        threads=threads,
        seed=seed,
        deterministic=deterministic,
    )
    if out is None or plan:
        from medseg.cli.plan import print_plan
        from medseg.run.foresight import foresee

        foreseen = foresee(
            *images,
            inputs=by_name,
            model=model,
            labels=labels,
            write=write,
            force_modality=force_modality,
            pixel_size=pixel_size,
            policy=policy,
            resources=resources,
        )
        print_plan(foreseen, as_json=as_json)
        return
    with Progress(quiet=quiet) as progress:
        result = segment(
            *images,
            inputs=by_name,
            model=model,
            out=out,
            overwrite=overwrite,
            force_modality=force_modality,
            pixel_size=pixel_size,
            policy=policy,
            case=case,
            labels=labels,
            write=write,
            resources=replace(resources, progress=progress.advance),
            listener=progress.listen,
        )
    if not quiet:
        _print(result, Path(out))


def _by_name(named: tuple[str, ...]) -> dict[str, str]:
    """`NAME=PATH` pairs as a mapping."""
    paths: dict[str, str] = {}
    for pair in named:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--input {pair}: write NAME=PATH")
        if name in paths:
            raise UsageError(f"--input {name}: given twice")
        paths[name] = path
    return paths


def _print(result: Result, out: Path) -> None:
    """The volumes as a table, with the numbers of objects where there are any; then where the files are."""
    from medseg.cli.table import print_table

    header = ("label", "objects", "size", "mean intensity", "note")
    rows = [_told(label, result) for label in result.segmentation.labels]
    if "objects" in result.segmentation.kinds:
        print_table(header, rows, right=(1, 2, 3), wrap=(4,))
    else:
        print_table((header[0], *header[2:]), [(row[0], *row[2:]) for row in rows], right=(1, 2), wrap=(3,))
    for done in result.provenance.get("policies", ()):
        click.echo(f"read: {done}", err=True)
    for note in result.provenance.get("notes", ()):
        click.echo(f"note: {note}")
    for name, lack in result.provenance.get("left_out", {}).items():
        click.echo(f"left out: {name} ({lack})", err=True)
    preview = out / "preview.png"
    click.echo(
        f"Results are in {out}{f'; the picture is {preview}' if preview.exists() else ''}. Research use only."
    )


def _told(label: Label, result: Result) -> tuple[str, str, str, str, str]:
    """What the table says of a label: its name, how many objects, size, mean intensity, why to look again."""
    rows = [row for row in result.measurements if row.label == label.name]
    found = {row.quantity: row for row in rows if row.object is None}
    things, mean = found.get("objects"), found.get("intensity_mean")
    count = None
    if result.segmentation.kinds[label.layer] == "objects":
        own = sum(thing.label == label.name for thing in result.segmentation.objects)
        count = int(things.value) if things and isinstance(things.value, float | int) else own
    size = found.get("volume") or found.get("area") or _total(rows, count)
    flags = [row.flag for row in (size, things) if row and row.flag]
    return (
        label.name,
        "" if count is None else f"{count:,}",
        f"{size.value:,.1f} {size.unit}" if size and isinstance(size.value, float | int) else "",
        f"{mean.value:.0f} {mean.unit}".strip() if mean and isinstance(mean.value, float | int) else "",
        "; ".join(dict.fromkeys(flags)),
    )


def _total(rows: Sequence[Measured], count: int | None) -> Measured | None:
    """The size of a label as the sum of its objects', where each of so many was measured."""
    sizes = [row for row in rows if row.object is not None and row.quantity in ("volume", "area")]
    if not sizes or len(sizes) != count:
        return None
    total = sum(row.value for row in sizes if isinstance(row.value, float | int))
    return replace(sizes[0], object=None, value=total, flag="")
