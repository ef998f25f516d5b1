"""What is installed: every component of every plugin, found without importing what it points at.

A plugin that cannot be loaded, misspells a hook or yields something else than components harms only pipelines
that need it: what is wrong is kept as a Fault, named by distribution and version.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from medseg.errors import PipelineError, PluginError, did_you_mean
from medseg.plugin import hookspecs
from medseg.plugin.component import Component

__all__ = ["KEYS", "KINDS", "Catalog", "Entry", "Fault", "discover"]

GROUP = "medseg"
DISABLE = "MEDSEG_DISABLE_PLUGINS"
KINDS: dict[str, str] = {  # hook -> kind, in the order of the walk
    "medseg_preprocessors": "preprocessor",
    "medseg_segmenters": "segmenter",
    "medseg_postprocessors": "postprocessor",
    "medseg_measurements": "measurement",
    "medseg_writers": "writer",
    "medseg_models": "model",
}
KEYS = {  # kind -> key of the pipeline file
    "preprocessor": "preprocess",
    "segmenter": "segment",
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

    @property
    def qualified(self) -> str:
        """`distribution/name`, which always resolves."""
        return f"{self.distribution}/{self.component.name}"

    @property
    def origin(self) -> str:
        """Who to blame: `name (distribution version)`."""
        return f"{self.component.name} ({self.distribution} {self.version})"

    def load(self) -> Any:
        """Import the class the record points at; raises PluginError, blaming the distribution."""
        module_name, _, class_name = self.component.target.partition(":")
        try:
            return getattr(importlib.import_module(module_name), class_name)
        except Exception as problem:
            reason = " ".join(str(problem).split()) or type(problem).__name__
            raise PluginError(
                f"{self.kind} {self.origin} cannot be loaded from {self.component.target}: "
                f"{type(problem).__name__}: {reason}"
            ) from problem

    def folder(self) -> Path:
        """The folder a model's record points at; raises PluginError where there is none."""
        package, _, inside = self.component.target.partition(":")
        try:
            module = importlib.import_module(package)
        except Exception as problem:
            raise PluginError(
                f"model {self.origin}: package {package} cannot be imported: {problem}"
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
    exception: Exception | None = None

    def __str__(self) -> str:
        return f"plugin {self.entry_point!r} of {self.distribution} {self.version}: {self.problem}"


@dataclass(frozen=True)
class Catalog:
    """All components of all plugins, what is wrong with some, and which were disabled."""

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...] = ()
    disabled: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        """The components of one kind, built-in ones first, then by name."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def find(self, kind: str, name: str) -> Entry:
        """The component of this name or `distribution/name`; raises PipelineError with what there is."""
        entries = self.of_kind(kind)
        found = [entry for entry in entries if name in (entry.component.name, entry.qualified)]
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
        return tuple(entry for entry in self.entries if name in (entry.component.name, entry.qualified))

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
    unwanted = {part.strip().lower() for part in environment.get(DISABLE, "").split(",") if part.strip()}
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
        if unwanted & {distribution.lower(), point.name.lower(), "*"} and distribution != "medseg":
            disabled.append(distribution)
            continue
        found, wrong = _collect(point, distribution, version)
        entries.extend(found)
        faults.extend(wrong)
    order = list(KINDS.values())
    entries.sort(
        key=lambda e: (order.index(e.kind), e.distribution != "medseg", e.component.name, e.distribution)
    )
    return Catalog(tuple(entries), tuple(faults), tuple(dict.fromkeys(disabled)))


def _built_in_first(point: EntryPoint) -> tuple[bool, str, str]:
    distribution, _ = _origin(point)
    return distribution != "medseg", distribution, point.name


def _origin(point: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution an entry point belongs to."""
    if point.dist is None:
        return "unknown", "0"
    return point.dist.name, point.dist.version


def _collect(point: EntryPoint, distribution: str, version: str) -> tuple[list[Entry], list[Fault]]:
    """Load one plugin module and read its records, hook by hook."""

    def fault(problem: str, exception: Exception | None = None) -> Fault:
        return Fault(distribution, version, point.name, problem, exception)

    try:
        module = point.load()
    except Exception as problem:  # noqa: BLE001 - foreign code runs here; the fault keeps the exception
        reason = " ".join(str(problem).split())
        return [], [fault(f"cannot be imported: {type(problem).__name__}: {reason}", problem)]
    manager = pluggy.PluginManager("medseg")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=point.name)
    except Exception as problem:  # noqa: BLE001 - pluggy's own errors and whatever a foreign module's attributes raise
        return [], [fault(f"is not a valid plugin: {' '.join(str(problem).split())}", problem)]
    entries: list[Entry] = []
    faults = [fault(problem) for problem in _misspelt(module)]
    for hook, kind in KINDS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            try:
                records = list(implementation.function())
            except Exception as problem:  # noqa: BLE001 - foreign code runs here
                faults.append(
                    fault(
                        f"{hook} raised {type(problem).__name__}: {' '.join(str(problem).split())}", problem
                    )
                )
                continue
            for record in records:
                wrong = (
                    record.fault(kind) if isinstance(record, Component) else f"{record!r} is not a Component"
                )
                if wrong is None and any(e.kind == kind and e.component.name == record.name for e in entries):
                    wrong = f"{record.name!r} is offered twice"
                if wrong is None:
                    entries.append(Entry(kind, record, distribution, version))
                else:
                    faults.append(fault(f"{hook}: {wrong}"))
    return entries, faults


def _misspelt(module: object) -> list[str]:
    """Functions marked or named as hooks that medseg does not have."""
    names = [
        name
        for name, value in vars(module).items()
        if callable(value)
        and name not in KINDS
        and (name.startswith("medseg_") or hasattr(value, "medseg_impl"))
    ]
    return [f"medseg has no hook {name!r}{did_you_mean(name, KINDS)}" for name in names]
