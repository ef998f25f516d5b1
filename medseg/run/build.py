"""A model made into an installable distribution, as a source tree that holds data and a recipe only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from packaging.version import InvalidVersion, Version
from pydantic import ValidationError

from medseg import __version__
from medseg.config import describe
from medseg.errors import UsageError
from medseg.io.atomic import staged_folder
from medseg.io.regular_file import printable
from medseg.model import CARD, Card, opened
from medseg.model.distribution import Distribution, HowTrained, paths_of
from medseg.model.folder import PIPELINE
from medseg.model.half import Rounded, halve
from medseg.pipeline import Pipeline
from medseg.plugin.catalog import Catalog, discover, normalised
from medseg.run.install import Checked, check_model, weights_of

__all__ = ["ROUNDED", "Built", "Packing", "build_model"]

OWN = "medseg"  # the distribution of medseg itself
ROUNDED = "Weights are rounded to half precision, after the evaluation unless that says otherwise."


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How a model is packed: with another name and version than its card has, its weights in half precision.

    `training` is how it was trained, where that is known.
    """

    name: str | None = None
    version: str | None = None
    half: bool = False
    training: HowTrained | None = None


AS_IT_IS = Packing()


@dataclass(frozen=True)
class Built:
    """A distribution that was written: where, under which name, the model in it, what was rounded for it."""

    folder: Path
    distribution: Distribution
    model: Checked
    rounded: tuple[Rounded, ...] = ()


def build_model(
    source: Path,
    target: Path,
    packing: Packing = AS_IT_IS,
    *,
    overwrite: bool = False,
    catalog: Catalog | None = None,
) -> Built:
    """Write a distribution of the model in a folder or zip archive into the folder `target`.

    The model is checked as `check_model` does, and nothing is written unless all is well. Raises as that, and
    UsageError where `target` holds something that must not be replaced.
    """
    installed = catalog or discover()
    checked = check_model(source, installed)
    if target.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{printable(target)} lies in the model's own folder; choose a folder elsewhere")
    given = checked.model.card
    assert given is not None  # check_model has seen to it
    card = _card(given, packing)
    with opened(source) as parcel:
        distribution = Distribution(
            card,
            dependencies=_dependencies(checked.pipeline, installed),
            inputs=tuple(each.name for each in checked.pipeline.inputs),
            files=tuple(part.name for part in parcel.parts),
            training=packing.training,
        )
        with staged_folder(target, overwrite=overwrite, require_ours=_require_distribution) as new:
            folder = new / distribution.folder
            folder.mkdir(parents=True)
            parcel.copy_all(folder)
            rounded = _halve(folder, weights_of(checked.pipeline)) if packing.half else ()
            if any(each.tensors for each in rounded):
                distribution = _told_rounded(distribution)
            if distribution.card != given:
                _write_card(folder / CARD, distribution.card)
            _write(new, distribution.texts())
            written = check_model(folder, installed)
    return Built(target, distribution, written, rounded)


def _card(card: Card, packing: Packing) -> Card:
    """The card with what is asked for; evidence on a precision goes with the weights it was measured with."""
    asked = {"name": packing.name, "version": packing.version}
    content = card.model_dump() | {key: value for key, value in asked.items() if value is not None}
    if packing.half:
        content["precision"] = ()
    try:
        return Card.model_validate(content)
    except ValidationError as problem:
        raise UsageError(f"--{describe(problem, Card)}") from problem


def _told_rounded(distribution: Distribution) -> Distribution:
    """The distribution whose card and recipe say that its weights are not quite those of the training."""
    card, training = distribution.card, distribution.training
    card = card.model_copy(update={"limitations": tuple(dict.fromkeys((*card.limitations, ROUNDED)))})
    if training is not None:
        said = "Its weights have single precision; in this package they are rounded to half (`--half`)."
        training = replace(training, note=f"{training.note} {said}".strip())
    return replace(distribution, card=card, training=training)


def _dependencies(pipeline: Pipeline, catalog: Catalog) -> tuple[str, ...]:
    """medseg, and the distribution of each component that the pipeline names, at least as here."""
    versions = {OWN: __version__}
    entries = {entry.qualified: entry for entry in catalog.entries}
    for name in _names([stage.written for stage in pipeline.stages]):
        if name in entries and normalised(entries[name].distribution) != OWN:
            versions[entries[name].distribution] = entries[name].version
    return tuple(_requirement(name, version) for name, version in versions.items())


def _names(written: object) -> Iterator[str]:
    """Every text in a step as it is written in full: names of components are among them."""
    if isinstance(written, str):
        yield written
    elif isinstance(written, Mapping):
        for key, value in written.items():
            yield from _names(key)
            yield from _names(value)
    elif isinstance(written, Sequence):
        for each in written:
            yield from _names(each)


def _requirement(name: str, version: str) -> str:
    """At least this version, and below the next that may break things; any where it is no version."""
    try:
        found = Version(version)
    except InvalidVersion:
        return name
    return f"{name}>={found.major}.{found.minor},<{found.major + 1}"


def _halve(folder: Path, weights: Mapping[str, str]) -> tuple[Rounded, ...]:
    """Store the weights in half precision, and write their new checksums into the pipeline file."""
    pipeline = folder / PIPELINE
    rounded = {name: halve(folder / name) for name in weights}
    text = pipeline.read_text(encoding="utf-8")
    for name, sha256 in weights.items():
        text = text.replace(sha256, rounded[name].sha256)
    pipeline.write_text(text, encoding="utf-8")
    return tuple(rounded.values())


def _write_card(path: Path, card: Card) -> None:
    content = card.model_dump(mode="json", exclude_defaults=True) | {"research_use_only": True}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    path.write_text(text, encoding="utf-8")


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def _require_distribution(target: Path) -> None:
    """Let a folder be replaced that holds what is written here and nothing else; edits of that go too."""
    package = next((path.name for path in target.glob("medseg_*") if path.is_dir()), "")
    written = paths_of(package)
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target)
        ours = name.as_posix() in written or name.parts[:2] == (package, "models")
        if path.is_symlink() or not (ours or path.is_dir() or "__pycache__" in name.parts):
            raise UsageError(
                f"{printable(path)} was not written by `medseg models build`, so its folder is not replaced; "
                "move it away"
            )
