"""What `--model` means: a name that is installed, by a plugin or by the user, a folder or a pipeline file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medseg.errors import ModelError, PipelineError
from medseg.model.folder import Model, lone_pipeline, model_in
from medseg.plugin.catalog import Catalog, Entry, normalised
from medseg.plugin.component import NAME, Component

__all__ = ["USER", "find_model", "installed_models"]

USER = "user"  # stands where a distribution's name does: user/NAME


def find_model(name: str | Path, catalog: Catalog) -> Model:
    """The model that `--model` means: an installed name, a folder, or a pipeline file.

    Text is an installed name before it is a path: write ./NAME for a file of that name, or give a Path, which
    is always one. A name that both a plugin and the user's model folder have is refused: `distribution/NAME`
    or `user/NAME` says which. Raises ModelError where there is no such model, PipelineError where its
    pipeline is wrong.
    """
    text = str(name)
    catalog = _with_user_models(catalog)
    if isinstance(name, str) and any(entry.answers_to(text) for entry in catalog.of_kind("model")):
        return _installed(catalog.find("model", text))
    path = Path(name)
    try:
        if path.is_dir():
            return model_in(path, path.resolve().name)
        if path.is_file():
            if path.suffix == ".zip":
                raise ModelError(f"{text}: is an archive; install it first: medseg models install {text}")
            return lone_pipeline(path)
    except OSError as problem:  # no permission, or a name that no file system takes
        raise ModelError(f"{text[:200]}: cannot be read: {problem.strerror}") from problem
    named_as_path = len(path.parts) > 1 and not _looks_qualified(text, catalog)
    if isinstance(name, Path) or path.suffix in (".yaml", ".yml", ".zip") or named_as_path:
        raise ModelError(f"{text}: no such file or folder")
    try:
        catalog.find("model", text)
    except PipelineError as problem:
        raise ModelError(f"{problem} (--model takes an installed name, a folder or a file)") from problem
    raise ModelError(f"model {text!r} cannot be found")


def installed_models(catalog: Catalog) -> tuple[Model | tuple[Entry, str], ...]:
    """Every installed model, the user's last, or its entry with what is wrong with it."""
    found: list[Model | tuple[Entry, str]] = []
    for entry in _with_user_models(catalog).of_kind("model"):
        try:
            found.append(_installed(entry))
        except PipelineError as problem:
            found.append((entry, str(problem)))
    return tuple(found)


def _with_user_models(catalog: Catalog) -> Catalog:
    """The catalog with an entry for each folder in the user's model folder, as if a plugin offered it."""
    try:
        inside = sorted(catalog.user_models.iterdir()) if catalog.user_models else []
    except OSError:  # there is none yet, or it may not be looked into
        return catalog
    entries = tuple(
        Entry("model", Component(path.name, f"{USER}:{path.name}", "A user's model."), USER, str(path), path)
        for path in inside
        if NAME.fullmatch(path.name) and path.is_dir()
    )
    return replace(catalog, entries=catalog.entries + entries)


def _looks_qualified(text: str, catalog: Catalog) -> bool:
    """Whether the text before a slash is a distribution that is installed here, or the user's folder."""
    owners = {normalised(entry.distribution) for entry in catalog.entries} | {USER}
    return normalised(text.partition("/")[0]) in owners


def _installed(entry: Entry) -> Model:
    return model_in(entry.folder(), entry.component.name, entry=entry)
