"""`medseg dataset`: check and describe a dataset before training on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medseg.cli import options, require_existing
from medseg.errors import InputError

if TYPE_CHECKING:
    from medseg.training.check import Finding
    from medseg.training.dataset import Dataset
    from medseg.training.fingerprint import Fingerprint

__all__ = ["command"]

MOST_SHOWN = 10  # lines of one kind; --json has all


@click.group("dataset")
def command() -> None:
    """Check and describe a dataset for training."""


def _subjects(function: Any) -> Any:
    return click.option(
        "--subjects",
        metavar="FILE.csv",
        help="Which cases are of one person: columns `case` and `subject`.",
    )(function)


@command.command("check")
@click.argument("path", metavar="PATH")
@_subjects
@options.as_json
@options.quiet
@options.verbose
def check(path: str, subjects: str | None, as_json: bool, quiet: bool) -> None:
    """Read every case of the dataset at PATH and say what is wrong; exit code 2 if anything must be mended.

    PATH is a folder with dataset.json (Medical Segmentation Decathlon, nnU-Net), a folder with images/ and
    labels/, a CSV file, or a dataset.yaml.
    """
    dataset = _opened(path, subjects)
    from medseg.cli.progress import Progress
    from medseg.training.check import check_dataset

    with Progress(quiet=quiet) as shown:
        findings = check_dataset(dataset, shown.advance)
    counts = {rank: sum(each.severity == rank for each in findings) for rank in ("error", "warning", "info")}
    if as_json:
        said = {"dataset": _named(dataset), "counts": counts}
        click.echo(json.dumps({**said, "findings": [each.as_json() for each in findings]}, indent=2))
    else:
        _print(dataset, findings, counts)
    if counts["error"]:
        sys.exit(InputError.exit_code)


@command.command("show")
@click.argument("path", metavar="PATH")
@_subjects
@options.as_json
@options.quiet
@options.verbose
def show(path: str, subjects: str | None, as_json: bool, quiet: bool) -> None:
    """Describe the dataset at PATH: sizes, spacings, intensities, how often and how large its labels are."""
    dataset = _opened(path, subjects)
    from medseg.cli.progress import Progress
    from medseg.training.fingerprint import fingerprint

    cases = dataset.trainable
    if not cases:
        raise InputError(f"{path}: no case has a mask")
    with Progress(quiet=quiet) as shown:
        found = fingerprint(dataset, cases, shown.advance)
    if as_json:
        click.echo(json.dumps({"dataset": _named(dataset), "fingerprint": found.as_json()}, indent=2))
        return
    _describe(dataset, found)


def _opened(path: str, subjects: str | None) -> Dataset:
    require_existing(path)
    if subjects is not None:
        require_existing(subjects)
    from medseg.training.dataset import open_dataset

    return open_dataset(Path(path), subjects=subjects)


def _named(dataset: Dataset) -> dict[str, Any]:
    """What the dataset is, for programs."""
    return {
        "name": dataset.name,
        "cases": len(dataset.cases),
        "trainable": len(dataset.trainable),
        "subjects": len({case.subject for case in dataset.cases}),
        "inputs": [spec.name for spec in dataset.inputs],
        "labels": {label.name: list(dataset.values[label.name]) for label in dataset.labels},
        "ignore": dataset.ignore,
        "licence": dataset.statement.licence,
    }


def _print(dataset: Dataset, findings: Sequence[Finding], counts: dict[str, int]) -> None:
    """A line for each finding, the first few of a kind; then how many there are."""
    shown: dict[str, int] = {}
    for finding in findings:
        key = f"{finding.severity} {finding.kind}"
        shown[key] = shown.get(key, 0) + 1
        if shown[key] <= MOST_SHOWN:
            click.echo(f"{finding.severity}: {finding}")
        elif shown[key] == MOST_SHOWN + 1:
            total = sum(f"{each.severity} {each.kind}" == key for each in findings)
            click.echo(
                f"{finding.severity}: {total - MOST_SHOWN} more of the kind {finding.kind!r} (see --json)"
            )
    words = [f"{counts[rank]} {rank}{'s' * (counts[rank] != 1)}" for rank in ("error", "warning")]
    cases = f"{len(dataset.cases)} case{'s' * (len(dataset.cases) != 1)}"
    click.echo(f"{dataset.name}: {cases}, {', '.join(words)}")


def _describe(dataset: Dataset, found: Fingerprint) -> None:
    """The fingerprint as tables."""
    from medseg.cli.table import print_table

    spacings = [case.standing_spacing for case in found.cases]
    shapes = [case.standing_shape for case in found.cases]
    unit = found.cases[0].unit
    kinds = [
        f"{spec.name} ({kind or 'modality unknown'})"
        for spec, kind in zip(dataset.inputs, found.modalities, strict=True)
    ]
    rows = [
        ("cases", _counted(dataset)),
        ("inputs", ", ".join(kinds)),
        ("voxels along x, y, z", _median_of(found.median_shape, shapes)),
        (f"spacing in {unit}", _median_of(found.median_spacing, spacings)),
        ("box that is not 0", f"{found.median_box_share:.0%} of the image (median)"),
    ]
    print_table(("what", dataset.name), rows, wrap=(1,))
    click.echo()
    _print_intensities(found)
    click.echo()
    _print_labels(found)


def _print_intensities(found: Fingerprint) -> None:
    from medseg.cli.table import print_table

    header = ("values within labels", "0.5 %", "median", "99.5 %", "mean", "sd")
    rows = [
        (name, *(f"{value:.4g}" for value in (each.low, each.median, each.high, each.mean, each.sd)))
        for name, each in zip(found.channels, found.intensities, strict=True)
    ]
    print_table(header, rows, right=range(1, 6))


def _print_labels(found: Fingerprint) -> None:
    from statistics import median

    from medseg.cli.table import print_table

    scaled = all(case.unit == "mm" for case in found.cases)
    header = ("label", "in cases", "share of voxels", f"median {'mL' if scaled else 'voxels'} where present")
    rows = []
    for name, count in found.presence.items():
        sizes = [case.volumes_ml if scaled else case.voxels for case in found.cases]
        there = [size[name] for size in sizes if size.get(name)]
        rows.append(
            (name, str(count), f"{found.voxel_shares[name]:.2%}", f"{median(there):.4g}" if there else "")
        )
    print_table(header, rows, right=range(1, 4))


def _by(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)


def _median_of(middle: Sequence[float], sizes: Sequence[Sequence[float]]) -> str:
    """The median along each axis, and from where to where it goes if it is not the same in all cases."""
    columns = list(zip(*sizes, strict=True))
    low, high = _by([min(column) for column in columns]), _by([max(column) for column in columns])
    return _by(middle) if low == high else f"{_by(middle)} (median; {low} to {high})"


def _counted(dataset: Dataset) -> str:
    cases, subjects = len(dataset.trainable), len({case.subject for case in dataset.trainable})
    said = f"{cases}, of {subjects} subject{'s' * (subjects != 1)}"
    return said if dataset.subjects_stated else f"{cases}; subjects are not stated"
