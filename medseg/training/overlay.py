"""What a user's pipeline file says laid over what was planned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medseg.config import PipelineFile, describe, load_yaml
from medseg.errors import PipelineError

__all__ = ["laid_over", "overridden"]


def overridden(planned: PipelineFile, path: Path) -> tuple[PipelineFile, tuple[str, ...]]:
    """The plan with what a YAML file says instead, and the paths of what it says.

    The file need not be complete: keys within `training:`, or within the network's parameters, take the place
    of the planned ones one by one; lists, and components of another name, take it as a whole. Raises
    PipelineError with the place where the two together are no pipeline file.
    """
    said = load_yaml(path)
    if not isinstance(said, dict):
        raise PipelineError(f"{path}: is not a pipeline file; write for example `training: {{batch: 4}}`")
    paths: list[str] = []
    content = planned.model_dump(mode="json", exclude_defaults=True)
    content["labels"] = {int(value): label for value, label in content.get("labels", {}).items()}
    content = laid_over(content, said, paths)
    try:
        return PipelineFile.model_validate(content), tuple(paths)
    except ValidationError as problem:
        raise PipelineError(f"{path}: {describe(problem, PipelineFile)}") from problem


def laid_over(
    planned: Mapping[Any, Any], said: Mapping[Any, Any], paths: list[str], place: str = ""
) -> dict[Any, Any]:
    """`said` over `planned`, key by key; `paths` gets the place of everything that is exchanged or added."""
    result = dict(planned)
    for key, value in said.items():
        here = f"{place}.{key}" if place else str(key)
        below = planned.get(key)
        if value is None and isinstance(below, dict):
            continue  # a key with nothing under it says nothing
        if isinstance(below, str) and isinstance(value, dict) and list(value) == [below]:
            below = {below: {}}  # a component that was planned without parameters
        if isinstance(below, dict) and isinstance(value, dict) and not _other_component(below, value):
            result[key] = laid_over(below, value, paths, here)
        else:
            result[key] = value
            paths.append(here)
    return result


def _other_component(planned: Mapping[Any, Any], said: Mapping[Any, Any]) -> bool:
    """Whether both are one component with parameters, and not the same one."""
    names = [next(iter(each), None) for each in (planned, said)]
    calls = all(
        len(each) == 1 and isinstance(name, str) and isinstance(each[name], dict | None.__class__)
        for each, name in zip((planned, said), names, strict=True)
    )
    return calls and names[0] != names[1]
