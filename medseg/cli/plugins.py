"""`medseg plugins`: what is installed, what it takes, what is wrong with it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from medseg.cli import options
from medseg.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from medseg.plugin.catalog import Catalog, Entry

__all__ = ["command", "parameter_type"]


@click.group("plugins")
def command() -> None:
    """List, show and check installed plugins."""


@command.command("list")
@options.as_json
def list_plugins(as_json: bool) -> None:
    """List every component of every installed plugin, without importing it."""
    from medseg.plugin.catalog import discover

    catalog = discover()
    if as_json:
        click.echo(json.dumps(_catalog_json(catalog), indent=2))
        return
    from medseg.cli.table import print_table

    rows = [
        (e.kind, e.component.name, f"{e.distribution} {e.version}", e.component.summary)
        for e in catalog.entries
    ]
    print_table(("kind", "name", "from", "summary"), rows, wrap=(3,))
    for fault in catalog.faults:
        click.echo(f"not loaded: {fault}", err=True)
    for name in catalog.disabled:
        click.echo(f"disabled by MEDSEG_DISABLE_PLUGINS: {name}", err=True)


@command.command("show")
@click.argument("name")
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Show what component NAME (or distribution/NAME) does and which parameters it takes."""
    from medseg.plugin.catalog import discover

    catalog = discover()
    entries = catalog.named(name)
    if not entries:
        known = [e.component.name for e in catalog.entries] + [e.qualified for e in catalog.entries]
        raise PipelineError(f"no component is called {name!r}{did_you_mean(name, known)}")
    if as_json:
        click.echo(json.dumps([{**_entry_json(e), "schema": _schema(e)} for e in entries], indent=2))
        return
    for entry in entries:
        _print_entry(entry)


@command.command("check")
@click.argument("distribution", required=False)
@options.as_json
def check(distribution: str | None, as_json: bool) -> None:
    """Load every component of DISTRIBUTION (or of all) and hold it against its contract.

    Exit code 4 where anything is wrong; the traceback of a plugin that could not be imported is shown.
    """
    from medseg.plugin.catalog import discover
    from medseg.testing.contracts import check_plugins

    findings = check_plugins(discover(), distribution)
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(str(finding))
            if finding.traceback:
                click.echo(finding.traceback, err=True)
    if any(finding.problem for finding in findings):
        sys.exit(PipelineError.exit_code)


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.component.name,
        "qualified": entry.qualified,
        "distribution": entry.distribution,
        "version": entry.version,
        "summary": entry.component.summary,
        "target": entry.component.target,
    }


def _catalog_json(catalog: Catalog) -> dict[str, Any]:
    return {
        "components": [_entry_json(entry) for entry in catalog.entries],
        "faults": [
            {
                "distribution": f.distribution,
                "version": f.version,
                "entry_point": f.entry_point,
                "problem": f.problem,
            }
            for f in catalog.faults
        ],
        "disabled": list(catalog.disabled),
    }


def _schema(entry: Entry) -> dict[str, Any] | None:
    """JSON Schema of a component's parameters; None for a model, which has none."""
    if entry.kind == "model":
        return None
    from medseg.assemble import component_class, component_schema

    return component_schema(component_class(entry))


def _print_entry(entry: Entry) -> None:
    click.echo(f"{entry.component.name}  {entry.kind}  {entry.distribution} {entry.version}")
    schema = _schema(entry)
    if schema is None:
        click.echo(f"{entry.component.summary}\n  see: medseg models show {entry.component.name}")
        return
    click.echo(schema.get("description", entry.component.summary))
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    if properties:
        from medseg.cli.table import print_table

        rows = [
            (
                f"  {name}",
                parameter_type(field),
                "required" if name in required else json.dumps(field.get("default"), ensure_ascii=False),
                " ".join(field.get("description", "").split()),
            )
            for name, field in properties.items()
        ]
        print_table(("  parameter", "type", "default", "meaning"), rows, wrap=(1, 2, 3))
    defaults = {name: field["default"] for name, field in properties.items() if "default" in field}
    inner = ", ".join(
        [f"{name}: …" for name in properties if name in required]
        + [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in defaults.items()]
    )
    click.echo(f"\n- {entry.component.name}{f': {{{inner}}}' if inner else ''}\n")


def parameter_type(field: dict[str, Any]) -> str:
    """A parameter's type in a few words, from its JSON Schema."""
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " | ".join(parameter_type(option) for option in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    kind = str(field.get("type", "any"))
    if kind == "array":
        items = field.get("items") or (field.get("prefixItems") or [{}])[0]
        return f"list of {parameter_type(items)}"
    return {
        "integer": "whole number",
        "null": "null",
        "object": "mapping",
        "string": "text",
        "boolean": "true | false",
    }.get(kind, kind)
