"""Pages of HTML that need nothing else: filled in from the templates of this folder.

Names of cases and labels come from files: everything but the pictures is escaped, and a page forbids itself
to load or run anything.
"""

from __future__ import annotations

from pathlib import Path

from medseg.report import NOTICE

__all__ = ["filled_in"]


def filled_in(template: str, **content: object) -> str:
    """A template with its content; a name that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(notice=NOTICE, **content)


def _printable(value: object) -> object:
    """Without characters that steer a terminal or a text's direction, or that no file can hold."""
    if not isinstance(value, str) or value.isprintable() or hasattr(value, "__html__"):
        return value  # what a macro or block made is escaped already, and has lines
    return "".join(c if c.isprintable() else " " for c in value)
