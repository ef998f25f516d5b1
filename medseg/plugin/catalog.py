"""What is installed: every component of every plugin, found without importing what it points at.

A plugin that cannot be loaded, misspells a hook or yields something else than components harms only pipelines
that need it: what is wrong is kept as a Fault, named by distribution and version.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from medseg.errors import PipelineError, PluginError, did_you_mean
from medseg.plugin import hookspecs
from medseg.plugin.component import Component

__all__ = ["KEYS", "KINDS", "Catalog", "Entry", "Fault", "discover", "normalised", "user_model_folder"]

GROUP = "medseg"
DISABLE = "MEDSEG_DISABLE_PLUGINS"
MODELS = "MEDSEG_MODELS"
KINDS: dict[str, str] = {  # hook -> kind, in the order of the walk
    "medseg_preprocessors": "preprocessor",
    "medseg_segmenters": "segmenter",
    "medseg_networks": "network",
    "medseg_heads": "head",
    "medseg_refiners": "refiner",
    "medseg_postprocessors": "postprocessor",
    "medseg_measurements": "measurement",
    "medseg_writers": "writer",
    "medseg_losses": "loss",
    "medseg_augmentations": "augmentation",
    "medseg_metrics": "metric",
    "medseg_models": "model",
}
KEYS = {  # kind -> key of the pipeline file
    "preprocessor": "preprocess",
    "segmenter": "segment",
    "refiner": "refine",
    "postprocessor": "postprocess",
    "measurement": "measure",
    "writer": "write",
}


@dataclass(frozen=True)
class Entry:
    """A component with its kind and the distribution that ships it."""

    kind: str
    component: Component
    distribution: str
    version: str
    place: Path | None = None
    """The folder of a model that no package holds: one in the user's model folder."""

    @property
    def qualified(self) -> str:
        """`distribution/name`, which always resolves."""
        return f"{self.distribution}/{self.component.name}"

    @property
    def origin(self) -> str:
        """Who to blame: `name (distribution version)`."""
        return f"{self.component.name} ({self.distribution} {self.version})"

    def answers_to(self, name: str) -> bool:
        """Whether this is what `name` or `distribution/name` means, however the distribution is spelt."""
        distribution, slash, own = name.rpartition("/")
        return own == self.component.name and (
            not slash or normalised(distribution) == normalised(self.distribution)
        )

    def load(self) -> Any:
        """Import the class the record points at; raises PluginError, blaming the distribution."""
        module_name, _, class_name = self.component.target.partition(":")
        try:
            with _quiet():
                return getattr(importlib.import_module(module_name), class_name)
        except (Exception, SystemExit) as problem:
            raise PluginError(
                f"{self.kind} {self.origin} cannot be loaded from {self.component.target}: {_told(problem)}"
            ) from problem

    def folder(self) -> Path:
        """The folder a model's record points at; raises PluginError where there is none."""
        if self.place is not None:
            return self.place
        package, _, inside = self.component.target.partition(":")
        try:
            with _quiet():
                module = importlib.import_module(package)
        except (Exception, SystemExit) as problem:
            raise PluginError(
                f"model {self.origin}: package {package} cannot be imported: {_told(problem)}"
            ) from problem
        for root in getattr(module, "__path__", ()):
            if (Path(root) / inside).is_dir():
                return Path(root) / inside
        raise PluginError(f"model {self.origin}: there is no folder {inside} in package {package}")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a plugin: found while listing, told when it matters."""

    distribution: str
    version: str
    entry_point: str
    problem: str
    exception: BaseException | None = None

    def __str__(self) -> str:
        return f"plugin {self.entry_point!r} of {self.distribution} {self.version}: {self.problem}"


@dataclass(frozen=True)
class Catalog:
    """All components of all plugins, what is wrong with some, and which were disabled.

    `user_models` is the folder of the user's own models; nothing in it has been looked at.
    """

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...] = ()
    disabled: tuple[str, ...] = ()
    user_models: Path | None = None

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        """The components of one kind, built-in ones first, then by name."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def find(self, kind: str, name: str) -> Entry:
        """The component of this name or `distribution/name`; raises PipelineError with what there is."""
        entries = self.of_kind(kind)
        found = [entry for entry in entries if entry.answers_to(name)]
        if len(found) == 1:
            return found[0]
        if found:
            places = " and ".join(f"{e.distribution} {e.version}" for e in found)
            raise PipelineError(
                f"{kind} {name!r} is provided by {places}; "
                f"write {' or '.join(repr(e.qualified) for e in found)}"
            )
        raise PipelineError(self._unknown(kind, name, entries))

    def named(self, name: str) -> tuple[Entry, ...]:
        """Every component, of whatever kind, of this name or `distribution/name`."""
        return tuple(entry for entry in self.entries if entry.answers_to(name))

    def _unknown(self, kind: str, name: str, entries: Iterable[Entry]) -> str:
        names = sorted({entry.component.name for entry in entries})
        message = f"no {kind} is called {name!r}"
        elsewhere = [entry for entry in self.named(name) if entry.kind != kind]
        if elsewhere:
            other = elsewhere[0].kind
            message += f"; it is a {other}" + (
                f" and belongs under `{KEYS[other]}:`" if other in KEYS else ""
            )
        else:
            message += did_you_mean(name, names + [entry.qualified for entry in entries])
        if self.faults:
            blamed = "; ".join(dict.fromkeys(f"{f.distribution} {f.version}" for f in self.faults))
            message += f" (not fully loaded: {blamed}; see `medseg plugins check`)"
        if self.disabled:
            message += f" (disabled by {DISABLE}: {', '.join(self.disabled)})"
        return message


def discover(environment: Mapping[str, str] = os.environ) -> Catalog:
    """Collect the records of all installed plugins, each guarded from the others.

    `MEDSEG_DISABLE_PLUGINS` (distributions or entry points, separated by commas, or `*` for all but the
    built-in ones) is honoured before anything of a plugin is imported.
    """
    unwanted = {normalised(part.strip()) for part in environment.get(DISABLE, "").split(",") if part.strip()}
    entries: list[Entry] = []
    faults: list[Fault] = []
    disabled: list[str] = []
    seen: set[tuple[str, str, str]] = set()
    for point in sorted(entry_points(group=GROUP), key=_built_in_first):
        distribution, version = _origin(point)
        identity = (distribution, point.name, point.value)
        if identity in seen:  # one distribution found twice on sys.path, as with an editable install
            continue
        seen.add(identity)
        if unwanted & {normalised(distribution), normalised(point.name), "*"} and distribution != "medseg":
            disabled.append(distribution)
            continue
        found, wrong = _collect(point, distribution, version)
        taken = {(entry.kind, entry.qualified) for entry in entries}  # by another entry point of the same one
        twice = [entry for entry in found if (entry.kind, entry.qualified) in taken]
        entries.extend(entry for entry in found if entry not in twice)
        faults.extend(wrong)
        faults.extend(
            Fault(
                distribution, version, point.name, f"{entry.kind} {entry.component.name!r} is offered twice"
            )
            for entry in twice
        )
    order = list(KINDS.values())
    entries.sort(
        key=lambda e: (order.index(e.kind), e.distribution != "medseg", e.component.name, e.distribution)
    )
    return Catalog(
        tuple(entries), tuple(faults), tuple(dict.fromkeys(disabled)), user_model_folder(environment)
    )


def user_model_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where a user's own models are kept; None where there is no home folder to keep them in.

    `MEDSEG_MODELS`, else `medseg/models` in the folder for a user's data, as the XDG base directory
    specification has it.
    """
    try:
        if environment.get(MODELS):
            return Path(environment[MODELS]).expanduser().absolute()
        data = Path(environment.get("XDG_DATA_HOME", ""))
        return (data if data.is_absolute() else Path.home() / ".local" / "share") / "medseg" / "models"
    except RuntimeError:  # no home folder is known
        return None


def normalised(distribution: str) -> str:
    """A distribution's name in the one spelling that stands for all (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _built_in_first(point: EntryPoint) -> tuple[bool, str, str]:
    distribution, _ = _origin(point)
    return distribution != "medseg", distribution, point.name


def _origin(point: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution an entry point belongs to; an interrupted install has neither."""
    name: str | None = point.dist.name if point.dist else None
    version: str | None = point.dist.version if point.dist else None
    return name or "unknown", version or "0"


@contextmanager
def _quiet() -> Iterator[None]:
    """Send what a plugin prints to stderr: stdout belongs to results."""
    with redirect_stdout(sys.stderr):
        yield


def _told(problem: BaseException) -> str:
    """An exception in one line; SystemExit and KeyError say nothing useful without their type."""
    reason = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {reason}" if reason else type(problem).__name__


def _collect(point: EntryPoint, distribution: str, version: str) -> tuple[list[Entry], list[Fault]]:
    """Load one plugin module and read its records, hook by hook."""

    def fault(problem: str, exception: BaseException | None = None) -> Fault:
        return Fault(distribution, version, point.name, problem, exception)

    # Here and in _records foreign code runs: it may raise anything or end the program; the fault keeps what.
    try:
        with _quiet():
            module = point.load()
    except (Exception, SystemExit) as problem:  # noqa: BLE001
        return [], [fault(f"cannot be imported: {_told(problem)}", problem)]
    if not isinstance(module, ModuleType):
        return [], [fault(f"{point.value} is {type(module).__name__}, not a module")]
    manager = pluggy.PluginManager("medseg")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=point.name)
        faults = [fault(problem) for problem in _misspelt(module)]
    except (Exception, SystemExit) as problem:  # noqa: BLE001
        return [], [fault(f"is not a valid plugin: {_told(problem)}", problem)]
    entries: list[Entry] = []
    for hook, kind in KINDS.items():
        try:
            records = _records(manager, hook)
        except (Exception, SystemExit) as problem:  # noqa: BLE001
            faults.append(fault(f"{hook} raised {_told(problem)}", problem))
            continue
        for record in records:
            wrong = _wrong(record, kind, entries)
            if wrong:
                faults.append(fault(f"{hook}: {wrong}"))
            elif isinstance(record, Component):
                entries.append(Entry(kind, record, distribution, version))
    return entries, faults


def _records(manager: pluggy.PluginManager, hook: str) -> list[object]:
    """What the one plugin registered here offers under a hook."""
    with _quiet():
        return [
            record for found in getattr(manager.hook, hook).get_hookimpls() for record in found.function()
        ]


def _wrong(record: object, kind: str, entries: Iterable[Entry]) -> str | None:
    """What is wrong with a record, given those before it; None where nothing is."""
    if not isinstance(record, Component):
        return f"{type(record).__name__} is not a Component"
    wrong = record.fault(kind)
    if wrong is None and any(e.kind == kind and e.component.name == record.name for e in entries):
        return f"{record.name!r} is offered twice"
    return wrong


def _misspelt(module: ModuleType) -> list[str]:
    """Functions marked as hooks that medseg does not have, or named as a hook and not marked."""
    wrong = []
    for name, value in vars(module).items():
        mark = getattr(value, "medseg_impl", None) if callable(value) else None
        hook = (isinstance(mark, dict) and mark.get("specname")) or name
        if hook in KINDS and mark is None and callable(value):
            wrong.append(f"{name!r} is not marked with @hookimpl")
        elif hook not in KINDS and (mark is not None or (callable(value) and name.startswith("medseg_"))):
            wrong.append(f"medseg has no hook {hook!r}{did_you_mean(hook, KINDS)}")
    return wrong
