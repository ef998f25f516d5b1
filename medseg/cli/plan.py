"""What `medseg segment --plan` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from medseg.run.foresight import Foreseen
    from medseg.volume import Grid

__all__ = ["print_plan"]


def print_plan(foreseen: Foreseen, *, as_json: bool) -> None:
    """The plan as a table of two columns, or as one JSON object."""
    if as_json:
        click.echo(json.dumps(_as_json(foreseen), indent=2))
        return
    from medseg.cli.table import print_table

    print_table(("what", "planned"), _rows(foreseen), wrap=(1,))
    click.echo("No image was segmented, and no result written.")


def _as_json(foreseen: Foreseen) -> dict[str, Any]:
    return {
        "image": _grid_json(foreseen.image),
        "prepared": _grid_json(foreseen.prepared),
        "limit_mb": foreseen.limit_bytes >> 20,
        **foreseen.plan.as_json(),
    }


def _grid_json(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "spacing": [round(s, 6) for s in grid.spacing], "unit": grid.unit}


def _rows(foreseen: Foreseen) -> list[tuple[str, str]]:
    plan = foreseen.plan
    rows = [("image", _in_words(foreseen.image)), ("segmented as", _in_words(foreseen.prepared))]
    if plan.windows:
        again = plan.evaluations - plan.windows
        rows += [
            (
                "windows",
                f"{plan.windows} of {_by(plan.patch)}" + (f", {again} of them twice" if again else ""),
            ),
            ("passes per window", str(plan.passes)),
            ("windows at once", str(plan.batch)),
            (
                "slab",
                f"{_by(plan.slab)} along {plan.axis}" + ("" if plan.slab_on == "cpu" else ", on the GPU"),
            ),
            ("blocks", str(plan.blocks) if plan.blocks > 1 else "1 (the whole plane)"),
            ("engine", f"{plan.engine}, {plan.precision}"),
        ]
    rows += [
        ("device", plan.device),
        ("peak memory", f"{plan.total_bytes / 1e9:.2f} GB of {foreseen.limit_bytes / 1e9:.2f} GB"),
    ]
    if plan.gpu_bytes:
        rows.append(("memory of the GPU", f"{plan.gpu_bytes / 1e9:.2f} GB"))
    if plan.seconds is not None:
        rows.append(("time", f"about {_duration(plan.seconds)} for the network and what reads it"))
    return rows


def _in_words(grid: Grid) -> str:
    spacing = " x ".join(f"{s:.4g}" for s in grid.spacing)
    return f"{_by(grid.shape)} voxels, {spacing} {grid.unit}"


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.2g} s"
        if seconds < 10
        else f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
    )
