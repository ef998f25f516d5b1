"""A model with other parameters than it had: its pipeline file or whole folder, and how they were found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from medseg.config import load_yaml
from medseg.errors import UsageError
from medseg.io.atomic import staged_file, staged_folder
from medseg.model import CARD, Model, inventory
from medseg.model.folder import PIPELINE
from medseg.training.variations import Choice, Variations

__all__ = ["require_place", "staged_model", "write_tuned"]

MOST_LINES = 100  # that a card takes
WIDTH = 110


def require_place(varied: Variations, out: Path) -> None:
    """Raise UsageError where the model cannot be written to this path: it would not find its weights."""
    model = varied.model
    if model.card is not None:
        if out.suffix in (".yaml", ".yml"):
            raise UsageError(f"-o {out}: {model.name} is a folder, and so is what comes of it; name a folder")
    elif varied.own.segment.step.files() and out.resolve().parent != model.folder.resolve():
        raise UsageError(f"-o {out}: the weights lie in {model.folder}; name a file in that folder")


@contextmanager
def staged_model(model: Model, out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Where to write the model: a file for a lone pipeline file, else an empty folder; `out` at the end."""
    if model.card is None:
        with staged_file(out, overwrite=overwrite) as path:
            yield path
    else:
        with staged_folder(out, overwrite=overwrite, require_ours=_require_model) as path:
            yield path


def _require_model(folder: Path) -> None:
    if not (folder / CARD).is_file():
        raise UsageError(f"{folder} holds something else than a model; move it away")


def write_tuned(varied: Variations, choice: Choice, lines: Sequence[str], path: Path) -> None:
    """Write the model with these values to `path`; `lines` say how they were found."""
    model = varied.model
    content = load_yaml(model.path)
    for each, number in zip(varied.varied, choice, strict=True):
        if number:
            content[each.key][each.index] = _with(
                content[each.key][each.index], each.parameter, each.values[number]
            )
    text = "".join(f"# {line}\n" for line in lines) + _dumped(content)
    if model.card is None:
        path.write_text(text, encoding="utf-8")
        return
    for part in inventory(model.folder):
        if part.name not in (PIPELINE, CARD):
            (path / part.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(model.folder / part.name, path / part.name)
    (path / PIPELINE).write_text(text, encoding="utf-8")
    card = load_yaml(model.folder / CARD)
    card["evaluation"] = [*(card.get("evaluation") or [])[: MOST_LINES - 1], " ".join(lines)]
    (path / CARD).write_text(_dumped(card), encoding="utf-8")


def _with(call: Any, parameter: str, value: Any) -> dict[str, Any]:
    """A step, as it is written, with another value of a parameter."""
    ((name, parameters),) = [(call, None)] if isinstance(call, str) else call.items()
    return {name: {**(parameters or {}), parameter: value}}


def _dumped(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=WIDTH)
