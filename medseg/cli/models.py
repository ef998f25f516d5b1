"""`medseg models`: what can be named by `--model`."""

from __future__ import annotations

import json
from typing import Any

import click

from medseg.cli import options

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """List and show installed models."""


@command.command("list")
@options.as_json
def list_models(as_json: bool) -> None:
    """List installed models with licence, size and summary."""
    from medseg.model import Model, installed_models
    from medseg.plugin.catalog import discover

    found = installed_models(discover())
    if as_json:
        click.echo(
            json.dumps(
                [
                    _as_json(m) if isinstance(m, Model) else {"name": m[0].qualified, "problem": m[1]}
                    for m in found
                ],
                indent=2,
            )
        )
        return
    from medseg.cli.table import print_table

    rows = []
    for model in found:
        if isinstance(model, Model):
            assert model.card is not None  # a model folder has one
            origin = f"{model.entry.distribution} {model.entry.version}" if model.entry else ""
            rows.append(
                (model.name, model.card.version, model.card.licence, _size(model), origin, model.card.summary)
            )
        else:
            entry, problem = model
            rows.append((entry.component.name, "", "", "", f"{entry.distribution} {entry.version}", problem))
    print_table(("model", "version", "licence", "size", "from", "summary"), rows, right=(3,), wrap=(5,))


@command.command("show")
@click.argument("name")
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Show NAME (an installed model, a model folder or a pipeline file): its card, labels and pipeline."""
    from medseg.run.case import prepare
    from medseg.run.provenance import describe_pipeline

    model, pipeline = prepare(name)
    described = describe_pipeline(pipeline)
    if as_json:
        click.echo(json.dumps({**_as_json(model), "pipeline": described}, indent=2))
        return
    import yaml

    click.echo(f"{model.name}" + (f" {model.card.version}" if model.card else ""))
    if model.card is not None:
        click.echo(model.card.summary)
        click.echo(f"  licence       {model.card.licence}")
        click.echo(f"  intended use  {model.card.intended_use}")
        for title, lines in (
            ("limitations", model.card.limitations),
            ("evaluation", model.card.evaluation),
            ("references", model.card.references),
        ):
            for number, line in enumerate(lines):
                click.echo(f"  {title if number == 0 else '':<13} {line}")
    click.echo(f"  size          {_size(model)}")
    click.echo("  labels        " + ", ".join(f"{label.value} {label.name}" for label in pipeline.labels))
    click.echo("  research use only, not for diagnosis")
    click.echo("\npipeline:")
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, default_flow_style=None)
    click.echo("\n".join(f"  {line}" for line in text.splitlines()))


def _as_json(model: Any) -> dict[str, Any]:
    """A model as plain data."""
    return {
        "name": model.name,
        "distribution": model.entry.distribution if model.entry else None,
        "size_bytes": model.size_bytes,
        "pipeline_sha256": model.sha256,
        "card": model.card.model_dump() if model.card else None,
    }


def _size(model: Any) -> str:
    size = model.size_bytes
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
