"""The files around a model that make it an installable distribution: name, record, page, test.

They are rendered from the templates in `template/`, whose paths are those of the files, with `package` for
the name of the package. Nothing in them is code that runs for the model: the record says where the data are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.version import InvalidVersion, Version

from medseg.errors import ModelError
from medseg.model.card import Card

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["PLAN", "Distribution", "HowTrained", "paths_of"]

TEMPLATE = Path(__file__).parent / "template"
PLAN = "recipe/plan.yaml"
MOST_DESCRIPTION = 400  # characters; package indices take 512
MOST_SUMMARY = 88
LICENCE_FILE = re.compile(r"(LICEN[CS]E|NOTICE)[^/]*")


@dataclass(frozen=True)
class HowTrained:
    """The pipeline file that was trained, as YAML, the command that did it, and what else is to be said."""

    plan: str
    command: str
    note: str = ""


@dataclass(frozen=True)
class Distribution:
    """A distribution of one model and nothing else.

    `dependencies` are requirements as pip writes them, `inputs` the names of the pipeline's inputs, `files`
    those in the model's folder. Raises ModelError where the card cannot be that of a distribution.
    """

    card: Card
    dependencies: tuple[str, ...]
    inputs: tuple[str, ...]
    files: tuple[str, ...]
    training: HowTrained | None = None

    def __post_init__(self) -> None:
        _ = self.version, self.licence

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.card.name

    @property
    def name(self) -> str:
        """Name of the distribution."""
        return f"medseg-{self.model}"

    @property
    def package(self) -> str:
        """Name of the package in it."""
        return self.name.replace("-", "_")

    @property
    def folder(self) -> str:
        """Where the model's folder lies in the distribution."""
        return f"{self.package}/models/{self.model}"

    @property
    def version(self) -> str:
        """That of the card, as pip writes it; raises ModelError where pip would not take it."""
        try:
            return str(Version(self.card.version))
        except InvalidVersion as problem:
            raise ModelError(
                f"version {self.card.version[:80]!r} is none that pip takes; "
                "give --version with one as 1.0 or 1.0rc1"
            ) from problem

    @property
    def licence(self) -> str:
        """That of the card as an SPDX expression; raises ModelError where it is none."""
        try:
            return canonicalize_license_expression(self.card.licence)
        except InvalidLicenseExpression as problem:
            raise ModelError(
                f"licence {self.card.licence[:80]!r} is no SPDX identifier; write one on the card, "
                "as CC-BY-4.0, or LicenseRef-NAME and the text in a file LICENSE"
            ) from problem

    @property
    def licence_files(self) -> tuple[str, ...]:
        """Where the texts of the licence are."""
        return tuple(f"{self.folder}/{name}" for name in self.files if LICENCE_FILE.fullmatch(name))

    @property
    def description(self) -> str:
        """One line for lists of packages."""
        return shorten(f"{self.card.summary} Research use only.", MOST_DESCRIPTION, placeholder=" …")

    @property
    def summary(self) -> str:
        """One line for lists of models, as short as a line of code."""
        return shorten(self.card.summary, MOST_SUMMARY, placeholder=" …")

    @property
    def images(self) -> tuple[str, ...]:
        """What stands for the inputs on a command line."""
        return tuple(name.upper() for name in self.inputs) or ("IMAGE",)

    def texts(self) -> Mapping[str, str]:
        """Every file of the distribution besides the model's folder: content by path."""
        environment = _environment()
        texts = {
            path: environment.get_template(name).render(it=self)
            for path, name in _templates(self.package).items()
            if self.training or not path.startswith("recipe/")
        }
        return {**texts, PLAN: self.training.plan} if self.training else texts


def paths_of(package: str) -> frozenset[str]:
    """Paths of all files that a distribution with a package of this name may have besides the model's."""
    return frozenset({*_templates(package), PLAN})


def _templates(package: str) -> Mapping[str, str]:
    """The name of each template by the path of the file that it becomes."""
    names = (path.relative_to(TEMPLATE).as_posix() for path in sorted(TEMPLATE.rglob("*.j2")))
    return {name.removesuffix(".j2").replace("package/", f"{package}/"): name for name in names}


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(  # noqa: S701 - TOML, Python and Markdown, of which `quoted` writes the strings
        loader=FileSystemLoader(TEMPLATE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["quoted"] = _quoted
    made.filters["code"] = "`{}`".format
    return made


def _quoted(text: str) -> str:
    """A string as TOML, Python and JSON all write it; a card's texts hold no control characters."""
    return json.dumps(text, ensure_ascii=False)
