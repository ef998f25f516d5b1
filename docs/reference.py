"""Reference pages made from the code itself, when the documentation is built: they cannot drift from it."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import medseg
from medseg import errors
from medseg.assemble import component_class, component_schema
from medseg.cli import medseg as command_line
from medseg.config import PipelineFile
from medseg.plugin import hookspecs
from medseg.plugin.catalog import KINDS, Entry, discover


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those in the folder (an mkdocs event)."""
    pages = {
        "reference/cli.md": cli(),
        "reference/pipeline-file.md": pipeline_file(),
        "reference/components.md": components(),
        "reference/hooks.md": hooks(),
        "reference/python.md": python(),
        "reference/errors.md": failures(),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def cli() -> str:
    """Every command with its help text."""
    parts = [
        "# Command line",
        "Results go to stdout, progress and errors to stderr. What can go wrong: [Errors](errors.md).",
    ]
    for path, command in _commands(command_line, "medseg"):
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        parts += [f"## `{path}`", f"```text\n{command.get_help(context).strip()}\n```"]
    return "\n\n".join(parts)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _commands(inner, f"{path} {name}")


def pipeline_file() -> str:
    """Every key of a pipeline file."""
    schema = PipelineFile.model_json_schema()
    definitions = schema.get("$defs", {})
    parts = [
        "# Pipeline file",
        "YAML, data only: no expressions, no Python names, no aliases. "
        "A step is `name` or `name: {parameters}`. "
        "`medseg pipelines check FILE` finds every wrong name and parameter without reading an image; "
        "`medseg pipelines schema` prints a JSON Schema for editors.",
        _table(schema),
    ]
    for name, title in (("InputSpec", "An entry of `inputs`"), ("LabelSpec", "An entry of `labels`")):
        parts += [f"## {title}", _table(definitions[name])]
    return "\n\n".join(parts)


def components() -> str:
    """Every installed component with its parameters."""
    parts = [
        "# Components",
        "What the built-in plugins and those in `plugins/` offer. "
        "`medseg plugins show NAME` prints the same.",
    ]
    catalog = discover()
    for kind in KINDS.values():
        parts.append(f"## {kind.capitalize()}s")
        for entry in catalog.of_kind(kind):
            parts.append(f"### {entry.component.name}")
            parts.append(f"*{entry.distribution}*")
            parts.append(_component(entry))
    return "\n\n".join(parts)


def _component(entry: Entry) -> str:
    if entry.kind == "model":
        return f"{entry.component.summary} See `medseg models show {entry.component.name}`."
    schema = component_schema(component_class(entry))
    return f"{schema.get('description', '')}\n\n{_table(schema)}"


def hooks() -> str:
    """Every hook a plugin can implement, with its example."""
    parts = [
        "# Hooks",
        "A plugin is a distribution with an entry point in the group `medseg` that names a module of hooks; "
        "see [Write a plugin](../how-to/write-a-plugin.md). "
        "A hook takes no arguments and yields `Component` records.",
    ]
    for name in KINDS:
        text = inspect.getdoc(getattr(hookspecs, name)) or ""
        parts += [f"## {name}()", _with_code(text)]
    return "\n\n".join(parts)


def python() -> str:
    """Every public name of the package `medseg` with its docstring."""
    parts = ["# Python", "What `import medseg` offers. Names are loaded on first use."]
    for name in medseg.__all__:
        thing = getattr(medseg, name)
        if inspect.isclass(thing) and issubclass(thing, errors.MedsegError):
            continue
        parts += [f"## {name}", _signature(name, thing), _with_code(inspect.getdoc(thing) or "")]
        if inspect.isclass(thing):
            parts += list(_members(thing))
    return "\n\n".join(part for part in parts if part)


def _members(kind: type[Any]) -> Iterator[str]:
    """Public methods and properties defined by the class itself."""
    for name, member in vars(kind).items():
        plain = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if (name.startswith("_") and name != "__call__") or not inspect.isfunction(plain):
            continue
        if plain.__module__ != kind.__module__ or not plain.__doc__:
            continue
        signature = (
            ""
            if isinstance(member, property)
            else str(inspect.signature(plain)).replace("(self, ", "(").replace("(self)", "()")
        )
        text = " ".join((inspect.getdoc(plain) or "").split())
        yield f"- `{name}{signature}`: {text}"


def failures() -> str:
    """The exception tree and the exit codes."""
    text = inspect.getdoc(errors) or ""
    return "# Errors\n\n" + _with_code(text)


def _signature(name: str, thing: Any) -> str:
    try:
        signature = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    signature = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", signature)
    return f"```python\n{name}{signature}\n```"


def _with_code(text: str) -> str:
    """A docstring as Markdown: indented blocks become fenced code, so that no renderer guesses."""
    blocks: list[str] = []
    for block in text.split("\n\n"):
        if block.startswith("    "):
            code = textwrap.dedent(block)
            if blocks and blocks[-1].startswith("```"):
                blocks[-1] = blocks[-1].removesuffix("\n```") + f"\n\n{code}\n```"
            else:
                blocks.append(f"```text\n{code}\n```" if "──" in code else f"```python\n{code}\n```")
        else:
            blocks.append(block)
    return "\n\n".join(blocks)


def _table(schema: dict[str, Any]) -> str:
    """Properties of a JSON Schema as a Markdown table."""
    properties = schema.get("properties", {})
    if not properties:
        return "No parameters."
    required = set(schema.get("required", ()))
    rows = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for name, field in properties.items():
        default = (
            "required" if name in required else f"`{json.dumps(field.get('default'), ensure_ascii=False)}`"
        )
        meaning = " ".join(str(field.get("description", "")).split())
        rows.append(f"| `{name}` | {_type(field)} | {_cell(default)} | {_cell(meaning)} |")
    return "\n".join(rows)


def _type(field: dict[str, Any]) -> str:
    from medseg.cli.plugins import parameter_type

    return _cell(parameter_type(field))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
