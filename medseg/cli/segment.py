"""`medseg segment`: one case, from its files to masks, volumes and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing
from medseg.errors import UsageError

if TYPE_CHECKING:
    from medseg.io import Policy
    from medseg.prediction import Result

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

    Writes masks, measurements, a preview and run.json into FOLDER, and prints the volumes.
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
    """The volumes as a table, then where the files are."""
    from medseg.cli.table import print_table

    rows = []
    for label in result.segmentation.labels:
        found = {
            row.quantity: row for row in result.measurements if row.label == label.name and row.object is None
        }
        size = found.get("volume") or found.get("area")
        mean = found.get("intensity_mean")
        rows.append(
            (
                label.name,
                f"{size.value:,.1f} {size.unit}" if size and isinstance(size.value, float | int) else "",
                f"{mean.value:.0f} {mean.unit}".strip()
                if mean and isinstance(mean.value, float | int)
                else "",
                size.flag if size else "",
            )
        )
    print_table(("label", "size", "mean intensity", "note"), rows, right=(1, 2), wrap=(3,))
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
