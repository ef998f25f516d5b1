"""The model that a training ends in: pipeline, weights, card, ready for `--model`."""

from __future__ import annotations

import copy
import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medseg.config import StepCall
from medseg.errors import UsageError
from medseg.evaluation.summary import ALL_LABELS, Statistics
from medseg.io.atomic import staged_folder
from medseg.model import CARD, Card
from medseg.training.dataset import Dataset
from medseg.training.recipe import Recipe
from medseg.training.run_folder import plan_text, write_plan

if TYPE_CHECKING:
    import torch

__all__ = ["card_of", "sha256_of", "weights_saved", "write_model"]

MOST_NAMED = 12  # labels that a summary lists
MOST_LINES, MOST_CHARACTERS = 100, 2000  # of what a card takes


def weights_saved(network: torch.nn.Module, path: Path) -> None:
    """The network's tensors as safetensors, whole or not at all; the same tensors are the same bytes."""
    import torch
    from safetensors.torch import load_file, save_file, save_model

    partial = path.with_name(f".{path.name}.part")
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    save_model(plain, str(partial))  # which takes no tensors with their channels last
    save_file(load_file(partial), partial)  # without a list of shared tensors, which comes in any order
    partial.replace(path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_model(
    folder: Path,
    recipe: Recipe,
    weights: Mapping[str, Path],
    card: Card,
    postprocess: tuple[StepCall, ...],
    temperature: float | None = None,
) -> None:
    """The model's folder with these weights, by the name they get there; replaces one that was there.

    One of the same weights and pipeline is left as it is: its card may have been written further by hand.
    """
    sums = {name: sha256_of(path) for name, path in weights.items()}
    file = recipe.file_with(sums, postprocess, temperature)
    if _is_there(folder, sums, plan_text(file)):
        return
    with staged_folder(folder, overwrite=True, require_ours=_require_model) as staged:
        for name, path in weights.items():
            shutil.copyfile(path, staged / name)
        write_plan(staged / "pipeline.yaml", file)
        content = card.model_dump(mode="json", exclude_defaults=True) | {"research_use_only": True}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
        (staged / CARD).write_text(text, encoding="utf-8")


def _is_there(folder: Path, sums: Mapping[str, str], pipeline: str) -> bool:
    """Whether the folder holds a model of this pipeline and these weights, with a card."""
    file = folder / "pipeline.yaml"
    return (
        (folder / CARD).is_file()
        and file.is_file()
        and file.read_bytes() == pipeline.encode()
        and all((folder / name).is_file() and sha256_of(folder / name) == sums[name] for name in sums)
    )


def _require_model(folder: Path) -> None:
    if not (folder / CARD).is_file():
        raise UsageError(f"{folder} holds something else than a model; move it away")


def card_of(
    name: str,
    *,
    dataset: Dataset,
    recipe: Recipe,
    trained_on: Sequence[str],
    measured: Iterable[Statistics],
    how: str,
) -> Card:
    """What the model is, as far as its training knows; whoever shares it should say more."""
    names = [label.name for label in recipe.labels]
    labels = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} structures"
    modalities = " and ".join(spec.modality or spec.name for spec in dataset.inputs)
    subjects = {case.subject for case in dataset.cases if case.id in set(trained_on)}
    whose = f"of {len(subjects)} subjects" if dataset.subjects_stated else "(subjects are not stated)"
    said = dataset.statement
    data = [f"{dataset.name}: {len(trained_on)} cases {whose}."]
    data += [said.description, said.attribution]
    if said.licence:
        data.append(f"Licence of the data: {said.licence}.")
    return Card.model_validate(
        {
            "name": model_name(name),
            "version": "0.1.0",
            "summary": _plain(f"Segments {labels} in {modalities}; trained on {dataset.name}."),
            "licence": _plain(said.licence) or "not stated; ask whoever trained it",
            "intended_use": _plain(
                f"Research on {modalities} images like its training data; not for diagnosis."
            ),
            "limitations": ["Not measured on images from elsewhere than its training data."],
            "training_data": [line for line in map(_plain, data) if line],
            "evaluation": _evaluation(list(measured), how),
            "references": [line for line in [_plain(said.reference)] if line],
        }
    )


def model_name(text: str) -> str:
    """The text as a model's name: lower-case words joined by dashes."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:60].strip("-") or "model"


def _plain(text: str) -> str:
    """What a dataset says of itself as a card takes it: one line without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"


def _evaluation(measured: Sequence[Statistics], how: str) -> list[str]:
    """A line for each metric and label; of very many, the means over labels and the first ones."""
    if len(measured) <= MOST_LINES:
        return [_line(row, how) for row in measured]
    means = [row for row in measured if row.label == ALL_LABELS]
    rest = [row for row in measured if row.label != ALL_LABELS]
    shown = [*means, *rest][: MOST_LINES - 1]
    return [*(_line(row, how) for row in shown), f"{len(measured) - len(shown)} more are in the report."]


def _line(row: Statistics, how: str) -> str:
    if row.mean is None:
        return f"{row.metric} {row.label}: in no case ({how})."
    unit = f" {row.unit}" if row.unit else ""
    worst: Any = ("lowest", row.min) if row.metric == "dice" else ("highest", row.max)
    mean = f"mean {row.mean:.3f}{unit}, {worst[0]} {worst[1]:.3f}"
    return f"{row.metric} {row.label}: {mean}, {row.n} cases ({how})."
