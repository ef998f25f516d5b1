"""The folder of a training: what lies where in it, and what was decided when it began.

RUN/
  plan.yaml        the pipeline file that is trained, complete
  training.json    dataset, folds, budget: what --resume goes by
  fingerprint.json what the dataset is like
  cases/           prepared cases, mapped into memory, and a mark that medseg wrote them
  fold0/           log.csv, tensorboard/, checkpoints/, weights.safetensors, validation.json
  model/           what `--model RUN/model` runs
  report.html
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from medseg.config import PipelineFile, read_pipeline
from medseg.errors import InputError, ResourceError, UsageError
from medseg.io.atomic import held_folder

__all__ = ["Begun", "RunFolder", "begin", "plan_text", "write_json", "write_plan"]

DECIDED = ("labels", "preprocess", "training")  # by a plan, always
MARK = ".medseg-train"  # in cases/
OURS = r"(plan\.yaml|training\.json|fingerprint\.json|cases|model|report\.html|evaluation)"
FOLD = re.compile(r"fold\d+")
# what a killed process was writing, too
NAME = re.compile(rf"{OURS}|{FOLD.pattern}|\.{OURS}\.(\d+\.part|partial-[0-9a-f]{{8}})")


@dataclass(frozen=True)
class Begun:
    """What was decided when a training began.

    `key` tells the dataset's files and labels; `folds` has the ids of the cases that each fold is validated
    with; `epochs` or `seconds`, those of one fold, are its budget. `strata` are those of cases that have one,
    by the case's id: with `training.balance` they decide which samples are drawn. None where they were not
    recorded.
    """

    dataset: str
    key: str
    folds: tuple[tuple[str, ...], ...]
    epochs: int | None
    seconds: float | None
    seed: int
    strata: Mapping[str, str] | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Begun:
        """Back from `training.json`."""
        return cls(**{**content, "folds": tuple(tuple(fold) for fold in content["folds"])})


@dataclass(frozen=True)
class RunFolder:
    """Paths in the folder of a training."""

    path: Path

    @property
    def plan(self) -> Path:
        """The pipeline file."""
        return self.path / "plan.yaml"

    @property
    def cases(self) -> Path:
        """Prepared cases."""
        return self.path / "cases"

    @property
    def model(self) -> Path:
        """The model."""
        return self.path / "model"

    @property
    def report(self) -> Path:
        """The page on how it went."""
        return self.path / "report.html"

    def fold(self, number: int) -> Path:
        """The folder of one fold."""
        return self.path / f"fold{number}"

    def weights(self, number: int) -> Path:
        """The weights a fold ended with; there once it is done."""
        return self.fold(number) / "weights.safetensors"

    def begun(self) -> Begun | None:
        """What was decided; None where no training has begun here."""
        content = self.json("training.json")
        return None if content is None else Begun.from_json(content)

    def file(self) -> PipelineFile:
        """The pipeline file that is trained."""
        return read_pipeline(self.plan)

    def json(self, name: str) -> Any:
        """The content of a JSON file; None where it is not there. Raises InputError where it is none."""
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            raise InputError(f"{path}: cannot be read; begin anew with --overwrite") from problem

    def mark(self) -> None:
        """Say that this is a training's folder, before anything else is written into it."""
        with _written(self.cases):
            self.cases.mkdir(parents=True, exist_ok=True)
            (self.cases / MARK).touch()

    def record(self, begun: Begun, file: PipelineFile, fingerprint: Mapping[str, Any]) -> None:
        """Keep what was decided; `training.json` last, as it says that a training has begun."""
        write_plan(self.plan, file)
        write_json(self.path / "fingerprint.json", fingerprint)
        write_json(self.path / "training.json", asdict(begun))


def begin(path: Path, *, resume: bool, overwrite: bool) -> RunFolder:
    """The folder, made or emptied where that is asked for.

    Raises UsageError for a folder with something in it, ResourceError where it cannot be written.
    """
    with _written(path):
        there = sorted(each.name for each in path.iterdir()) if path.is_dir() else []
        if resume or all(_is_empty(path / name) for name in there):
            path.mkdir(parents=True, exist_ok=True)
        elif overwrite:
            _clear(path, there)
        else:
            raise UsageError(
                f"{path} is not empty; give --resume to go on with a training, --overwrite to begin anew, "
                "or another folder"
            )
    return RunFolder(path)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Tell in one line where a folder cannot be written."""
    try:
        yield
    except OSError as problem:
        raise ResourceError(
            f"{path}: cannot be written: {problem.strerror}; choose another folder"
        ) from problem


def _is_empty(path: Path) -> bool:
    """Whether this is an empty folder of a training, as one leaves that was killed at once."""
    ours = NAME.fullmatch(path.name) is not None
    return ours and _is_folder(path) and next(path.iterdir(), None) is None


def _clear(path: Path, there: Sequence[str]) -> None:
    """Remove a training; refuse where something in the folder is of none, or another command trains in it."""
    if "training.json" not in there and not (path / "cases" / MARK).is_file():
        raise UsageError(f"{path} holds no training; choose another folder")
    foreign = [name for name in there if not NAME.fullmatch(name)]
    if foreign:
        raise UsageError(f"{path / foreign[0]} is not of a training; move it away, or choose another folder")
    with ExitStack() as held:
        for name in there:
            if FOLD.fullmatch(name) and _is_folder(path / name):
                held.enter_context(held_folder(path / name))
        for name in there:
            if _is_folder(path / name):
                shutil.rmtree(path / name)
            else:
                (path / name).unlink()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def write_plan(path: Path, file: PipelineFile) -> None:
    """Write a pipeline file that is whole or absent."""
    _write(path, plan_text(file))


def plan_text(file: PipelineFile) -> str:
    """A pipeline file as YAML: what differs from the defaults, and all that a plan decides.

    So it is the whole plan when it is laid over another one.
    """
    said = file.model_dump(mode="json", exclude_defaults=True)
    whole = file.model_dump(mode="json", exclude_none=True)
    content = {name: said.get(name, value) for name, value in whole.items() if name in {*said, *DECIDED}}
    content["labels"] = {int(value): label for value, label in content.get("labels", {}).items()}
    if file.training is not None:
        content["training"] = whole["training"]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def write_json(path: Path, content: Any) -> None:
    """JSON that is whole or absent."""
    _write(path, json.dumps(content, indent=1))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
