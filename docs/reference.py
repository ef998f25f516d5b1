"""Reference pages made from the code itself, when the documentation is built: they cannot drift from it."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import medseg
from medseg import errors
from medseg.assemble import component_class, component_schema
from medseg.cli import medseg as command_line
from medseg.config import PipelineFile, StepCall
from medseg.io import STRICT
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
        context = click.Context(
            command, info_name=path, terminal_width=100, help_option_names=["-h", "--help"]
        )
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
        _table(schema, defaults=_pipeline_defaults()),
    ]
    for name, title in (
        ("InputSpec", "An entry of `inputs`"),
        ("SeriesRule", "The `select` of an input"),
        ("LabelSpec", "An entry of `labels`"),
    ):
        parts += [f"## {title}", _table(definitions[name])]
    return "\n\n".join(parts)


def _pipeline_defaults() -> dict[str, Any]:
    """Defaults of the pipeline file's keys as one would write them; nothing for an empty list."""
    plain = PipelineFile(segment=StepCall(name="a")).model_dump(mode="json", exclude_none=True)
    return {
        key: [step.rpartition("/")[2] if isinstance(step, str) else step for step in value]
        for key, value in plain.items()
        if key != "segment"
    }


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
        if name in getattr(kind, "__dataclass_fields__", ()):  # a default that is a function
            continue
        signature = "" if isinstance(member, property) else _plain_signature(plain)
        text = " ".join((inspect.getdoc(plain) or "").split())
        yield f"- `{name}{signature}`: {text}"


def failures() -> str:
    """The exception tree and the exit codes."""
    text = inspect.getdoc(errors) or ""
    return "# Errors\n\n" + _with_code(text)


class _Bare(str):
    """An annotation that shows without quotes and without the modules its names come from."""

    __slots__ = ()

    def __repr__(self) -> str:
        return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", self)


def _plain_signature(thing: Callable[..., Any]) -> str:
    """Parameters as one would read them: no `self`, bare annotations, functions by name."""
    signature = inspect.signature(thing)
    parameters = [
        parameter.replace(annotation=_bare(parameter.annotation))
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls")
    ]
    shown = signature.replace(parameters=parameters, return_annotation=_bare(signature.return_annotation))
    text = str(shown).replace(repr(STRICT), "STRICT").replace("<factory>", "{}")
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text)


def _bare(annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty or annotation is None:
        return annotation
    return _Bare(annotation if isinstance(annotation, str) else inspect.formatannotation(annotation))


def _signature(name: str, thing: Any) -> str:
    try:
        signature = _plain_signature(thing)
    except (TypeError, ValueError):
        return ""
    if inspect.isclass(thing):
        signature = signature.removesuffix(" -> None")
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
        elif block.startswith(("Args:\n", "Raises:\n")):
            title, _, rest = block.partition(":\n")
            lines = re.sub(r"\n {6,}", " ", textwrap.dedent(rest)).splitlines()
            blocks.append(
                f"{title}:\n\n" + "\n".join(re.sub(r"^([\w, ]+):", r"- `\1`:", line) for line in lines)
            )
        else:
            blocks.append(block)
    return "\n\n".join(blocks)


def _table(schema: dict[str, Any], *, defaults: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Properties of a JSON Schema as a Markdown table."""
    properties = schema.get("properties", {})
    if not properties:
        return "No parameters."
    required = set(schema.get("required", ()))
    rows = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for name, field in properties.items():
        value = defaults.get(name, field.get("default"))
        shown = "none" if name in defaults and not value else f"`{json.dumps(value, ensure_ascii=False)}`"
        default = "required" if name in required else shown
        meaning = " ".join(str(field.get("description", "")).split())
        rows.append(f"| `{name}` | {_type(field)} | {_cell(default)} | {_cell(meaning)} |")
    return "\n".join(rows)


STEP_WORDS = {"any": "step", "list of any": "list of steps", "list of InputSpec": "list of entries"}


def _type(field: dict[str, Any]) -> str:
    from medseg.cli.plugins import parameter_type

    words = parameter_type(field)
    return _cell(STEP_WORDS.get(words, words))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
