"""A model checked whole, and one taken into the user's model folder once it has passed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from medseg.assemble import assemble
from medseg.errors import ModelError, PipelineError, PluginError, ResourceError, UsageError
from medseg.io.atomic import staged_folder
from medseg.io.regular_file import printable
from medseg.io.weights import check_weights, weights_file
from medseg.model import CARD, Model, Parcel, check_forms, find_model, inventory, model_in, opened, read_card
from medseg.pipeline import Pipeline, blamed
from medseg.plugin.catalog import Catalog, discover
from medseg.plugin.component import NAME

__all__ = ["Checked", "check_model", "install_model", "weights_of"]

MAX_SHOWN = 500  # characters of a path in a message


@dataclass(frozen=True)
class Checked:
    """A model that passed: what it is, and how many files and bytes it has, of weights among them.

    `pipeline` is to be looked at, not run: an archive is checked in a folder that is gone by now.
    """

    model: Model
    pipeline: Pipeline
    files: int
    size_bytes: int
    weights: int


def check_model(name: str | Path, catalog: Catalog | None = None) -> Checked:
    """Hold a model, by name, folder or zip archive, against its card, its pipeline and its checksums.

    Reads every byte of it and loads none: no weights, no torch. Raises ModelError or PipelineError with the
    first thing that is wrong, ResourceError where an archive cannot be unpacked to look into it.
    """
    installed = catalog or discover()
    path = Path(name)
    if not _is_archive(name):
        model = find_model(name, installed)
        if model.card is None:
            raise ModelError(f"{model.path}: is a lone pipeline file; see `medseg pipelines check`")
        with _told_of(model.folder):
            return _check_folder(model, installed)
    with _told_of(path), _unpacking(path), opened(path) as parcel, TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        with _named_as(folder, path):
            parcel.copy_all(folder)
            return _check_folder(model_in(folder, path.stem), installed)


def install_model(source: Path, *, overwrite: bool = False, catalog: Catalog | None = None) -> Checked:
    """Copy a model out of a folder or zip archive into the user's model folder, under its card's name.

    It is checked before it appears there, whole or not at all. Raises as `check_model` does, and UsageError
    where a model of that name is there already and `overwrite` is not set.
    """
    installed = catalog or discover()
    if installed.user_models is None:
        raise ResourceError("there is no home folder to keep models in; set MEDSEG_MODELS to a folder")
    with _told_of(source), _unpacking(source), opened(source) as parcel:
        name = _name_in(parcel, source)
        target = installed.user_models / name
        _require_new(target, overwrite=overwrite)
        staged = staged_folder(target, overwrite=overwrite, require_ours=_require_model)
        with staged as new, _named_as(new, source):
            parcel.copy_all(new)
            checked = _check_folder(model_in(new, name), installed)
    return replace(checked, model=find_model(f"user/{name}", installed))


def _is_archive(name: str | Path) -> bool:
    """Whether a name means a file that is to be unpacked, not an installed model or a pipeline file."""
    path = Path(name)
    with suppress(OSError):  # a name that no file system takes
        return (
            path.is_file()
            and path.suffix not in (".yaml", ".yml")
            and not (isinstance(name, str) and NAME.fullmatch(name))
        )
    return False


def _check_folder(model: Model, catalog: Catalog) -> Checked:
    """Check the model of a folder; messages may leave the folder out, for `_told_of` to add."""
    parts = inventory(model.folder)
    check_forms(model.folder, parts)
    try:
        pipeline = assemble(model.file, catalog, folder=model.folder)
    except PipelineError as problem:
        raise type(problem)(f"{model.path}: {problem}") from problem
    named = weights_of(pipeline)
    there = {part.name for part in parts}
    for name, sha256 in named.items():
        path = weights_file(model.folder, name)
        if name not in there:
            raise ModelError(f"{name!r} is named in its pipeline.yaml and is not there")
        check_weights(path, sha256)
    for name in sorted(there - set(named)):
        if name.endswith(".safetensors"):
            raise ModelError(f"{name!r} is named nowhere in its pipeline.yaml; leave it out")
    return Checked(model, pipeline, len(parts), sum(part.size for part in parts), len(named))


def weights_of(pipeline: Pipeline) -> Mapping[str, str]:
    """The files that the segmenter says it loads; a failure to say so names its plugin."""
    with blamed(pipeline.segment):
        files: object = pipeline.segment.step.files()
        if isinstance(files, Mapping) and all(isinstance(x, str) for pair in files.items() for x in pair):
            return files
        raise PluginError(f"files() returned {type(files).__name__}, not texts by text")


def _name_in(parcel: Parcel, source: Path) -> str:
    """The name on the card, before anything else is unpacked."""
    with TemporaryDirectory() as scratch, _named_as(Path(scratch), source):
        parcel.copy(CARD, Path(scratch))
        return read_card(Path(scratch) / CARD).name


def _require_new(target: Path, *, overwrite: bool) -> None:
    """Raise UsageError where a model is in the place already that must not be replaced."""
    if target.is_symlink():
        raise UsageError(f"{printable(target)} is a link to a folder elsewhere; remove the link first")
    if not target.exists() or overwrite:
        return
    try:
        version = f" {read_card(target / CARD).version}"
    except PipelineError:
        version = ""
    raise UsageError(
        f"model {target.name!r}{version} is installed already, in {printable(target)}; "
        "give --overwrite to replace it"
    )


def _require_model(target: Path) -> None:
    """Let a folder be replaced that holds a model's files and nothing else."""
    try:
        names = {part.name for part in inventory(target)}
        if CARD not in names:
            raise ModelError(f"it has no {CARD}")  # noqa: TRY301 - one sentence for both
    except ModelError as problem:
        raise UsageError(
            f"{printable(target)} holds what is no model's: {problem}; move it away first"
        ) from problem


@contextmanager
def _told_of(source: Path) -> Iterator[None]:
    """Put the source's name before a message about what is in it, unless it is there."""
    try:
        yield
    except ModelError as problem:
        told = str(problem)
        if told.startswith((str(source), printable(source)[:MAX_SHOWN])):
            raise
        raise type(problem)(f"{printable(source)[:MAX_SHOWN]}: {told}") from problem


@contextmanager
def _named_as(folder: Path, source: Path) -> Iterator[None]:
    """Name the source in messages about the copy of it that is being looked at."""
    try:
        yield
    except PipelineError as problem:
        raise type(problem)(str(problem).replace(str(folder), str(source))) from problem


@contextmanager
def _unpacking(target: Path) -> Iterator[None]:
    """Say in one line that the disk was in the way."""
    try:
        yield
    except OSError as problem:
        raise ResourceError(f"{printable(target)}: cannot be unpacked: {problem.strerror}") from problem
