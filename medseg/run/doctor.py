"""A look at the installation: what is there, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from medseg.errors import MedsegError, in_one_line
from medseg.inference.processors import processor_count
from medseg.model import Model, installed_models
from medseg.plugin.catalog import Catalog

__all__ = ["Check", "examine"]

State = Literal["ok", "missing", "problem"]
TRANSFER_SYNTAXES = {
    "1.2.840.10008.1.2.5": "RLE lossless",
    "1.2.840.10008.1.2.4.50": "JPEG baseline",
    "1.2.840.10008.1.2.4.51": "JPEG extended",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless, first-order",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K lossless, by resolution",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}


@dataclass(frozen=True)
class Check:
    """One thing looked at: "problem" stops some work, "missing" narrows what can be done."""

    area: str
    name: str
    state: State
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """The check as plain data."""
        return asdict(self)


def examine(catalog: Catalog) -> tuple[Check, ...]:
    """Look at everything; takes a few seconds, as it loads torch."""
    looks = (
        _machine(),
        _libraries(),
        _devices(),
        _engines(),
        _decoders(),
        _plugins(catalog),
        _models(catalog),
    )
    return tuple(check for look in looks for check in look)


def _machine() -> Iterator[Check]:
    yield Check("machine", "system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Check("machine", "python", "ok", platform.python_version())
    cores = processor_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    yield Check("machine", "processors, memory", "ok", f"{cores}, {memory:.1f} GB")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    enough = free >= 1
    remedy = "" if enough else "free some space, or write elsewhere"
    yield Check("machine", "disk here", "ok" if enough else "problem", f"{free:.1f} GB free", remedy)


def _libraries() -> Iterator[Check]:
    """Every distribution that medseg itself requires, held against what it asks for."""
    from packaging.requirements import Requirement

    for line in requires("medseg") or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            remedy = f"pip install --constraint constraints.txt '{wanted.name}{wanted.specifier}'"
            yield Check("library", wanted.name, "problem", "is not installed", remedy)
            continue
        fits = wanted.specifier.contains(found, prereleases=True)
        remedy = "" if fits else f"pip install --constraint constraints.txt '{wanted.name}{wanted.specifier}'"
        detail = found if fits else f"{found}, and medseg needs {wanted.specifier}"
        yield Check("library", wanted.name, "ok" if fits else "problem", detail, remedy)


def _devices() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as problem:  # OSError: a library it links to is not there
        yield Check("device", "torch", "problem", in_one_line(problem), "install torch again")
        return
    yield Check("device", "cpu", "ok", f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"built for CUDA {built}, and no device answers" if built else "torch is built without CUDA"
        yield Check("device", "cuda", "missing", why, "for speed only: a CUDA build of torch, and its driver")
        return
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        memory = properties.total_memory / 1e9
        yield Check("device", f"cuda:{number}", "ok", f"{properties.name}, {memory:.1f} GB")


def _engines() -> Iterator[Check]:
    """What can compute networks on this processor, without importing it."""
    from medseg.inference.engines import ENGINES
    from medseg.inference.engines.installed import REMEDY, missing, versions
    from medseg.inference.processors import processors_compute

    half = "fp32 and bf16" if processors_compute("bf16") else "fp32; no instructions for bf16"
    yield Check("engine", "processor", "ok", half)
    for name, libraries in ENGINES.items():
        lacking = missing(*libraries)
        if lacking:
            yield Check("engine", name, "missing", f"{lacking} is not installed", f"for speed only: {REMEDY}")
        elif libraries:
            found = versions(libraries[0])[libraries[0]]
            yield Check("engine", name, "ok", f"{libraries[0]} {found}")


def _decoders() -> Iterator[Check]:
    """Which compressed DICOM the decoder process can read, and with what."""
    from pydicom.pixels.decoders.base import get_decoder

    from medseg.io.child.codecs import DECODERS

    for uid, name in TRANSFER_SYNTAXES.items():
        decoder = get_decoder(uid)
        there = [each for each in DECODERS[uid] if each in decoder.available_plugins]
        if there:
            yield Check("decoder", name, "ok", ", ".join(there))
        else:
            wanted = " or ".join(line.partition(" - requires ")[2] for line in decoder.missing_dependencies)
            remedy = f"install {wanted}" if wanted else ""
            yield Check("decoder", name, "missing", "DICOM in this form is refused", remedy)


def _plugins(catalog: Catalog) -> Iterator[Check]:
    counts: dict[str, int] = {}
    for entry in catalog.entries:
        origin = f"{entry.distribution} {entry.version}"
        counts[origin] = counts.get(origin, 0) + 1
    for origin, count in counts.items():
        yield Check("plugin", origin, "ok", f"{count} component{'s' * (count != 1)}")
    for fault in catalog.faults:
        remedy = f"medseg plugins check {fault.distribution}"
        yield Check("plugin", f"{fault.distribution} {fault.version}", "problem", fault.problem, remedy)
    for name in catalog.disabled:
        yield Check("plugin", name, "missing", "disabled", "unset MEDSEG_DISABLE_PLUGINS")


def _models(catalog: Catalog) -> Iterator[Check]:
    try:
        models = installed_models(catalog)
    except MedsegError as problem:
        yield Check("model", "models", "problem", str(problem))
        return
    for found in models:
        if isinstance(found, Model):
            licence = found.card.licence if found.card else ""
            yield Check("model", found.name, "ok", licence)
        else:
            entry, problem_text = found
            yield Check("model", entry.component.name, "problem", problem_text, "install it again")
    if not models:
        yield Check("model", "models", "missing", "none is installed", "pip install ./plugins/medseg-ct")
