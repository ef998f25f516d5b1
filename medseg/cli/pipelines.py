"""`medseg pipelines`: check pipeline files without reading an image."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]


@click.group("pipelines")
def command() -> None:
    """Check pipeline files; print their JSON Schema."""


@command.command("check")
@click.argument("file", metavar="FILE")
def check(file: str) -> None:
    """Check every name and parameter in FILE (or in a model folder); reads no image and loads no weights."""
    from medseg.plugin.catalog import discover
    from medseg.run.chosen import prepare
    from medseg.training.recipe import require_trainable

    catalog = discover()
    model, pipeline = prepare(Path(file), catalog)
    require_trainable(model, catalog)
    steps = ", ".join(f"{stage.name} ({stage.distribution} {stage.version})" for stage in pipeline.stages)
    count = len(pipeline.labels)
    click.echo(f"{file}: ok: {count} label{'s' * (count != 1)}; {steps}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of pipeline files with the components installed here, for editors."""
    from medseg.assemble import pipeline_schema
    from medseg.plugin.catalog import discover

    click.echo(json.dumps(pipeline_schema(discover()), indent=2))
