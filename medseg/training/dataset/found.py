"""What a format's reader finds in a folder or file, before the user's own description is put on top."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.config import InputSpec
from medseg.errors import InputError
from medseg.io import PICTURES
from medseg.io.content import SUFFIXES, by_name
from medseg.io.regular_file import is_folder, printable
from medseg.run.inputs import plain_stem
from medseg.training.dataset.case import Case, Statement

__all__ = ["Found", "by_stem", "input_specs", "is_picture", "is_there", "own_id", "require_own_ids"]

IMAGES = (*SUFFIXES, ".hdr", ".hdr.gz")  # of a .hdr/.img pair the header stands for both
MODALITIES = {
    "CT": r"ct|cect|ncct|ldct",
    "MR": r"mri?|mp-?mri|t1.*|t2.*|flair|adc|dwi|pd|swi|dce|.*-mri?",
    "PT": r"pet|pt|suv",
    "US": r"us|ultrasound",
}


@dataclass(frozen=True)
class Found:
    """Cases, and what the data say of themselves; `labels` as they are written there, None where nowhere."""

    name: str
    inputs: tuple[InputSpec, ...]
    cases: tuple[Case, ...]
    labels: Any = None
    structures: tuple[str, ...] = ()
    """Names of the structures that have masks of their own."""
    statement: Statement = field(default_factory=Statement)
    subjects_stated: bool = False
    notes: tuple[str, ...] = ()


def input_specs(names: Iterable[str]) -> tuple[InputSpec, ...]:
    """Inputs called as a dataset calls its modalities, with the DICOM modality where that is clear."""
    specs: list[InputSpec] = []
    for name in names:
        plain = re.sub(r"[^a-z0-9_]+", "-", name.strip().lower()).strip("-")
        plain = plain if re.match(r"[a-z]", plain) else f"channel-{plain}".rstrip("-")
        taken = {spec.name for spec in specs}
        unique = next(
            each for each in (plain, *(f"{plain}-{n}" for n in range(2, 1000))) if each not in taken
        )
        modality = next((code for code, words in MODALITIES.items() if re.fullmatch(words, plain)), None)
        specs.append(InputSpec(name=unique, modality=modality))
    return tuple(specs)


def by_stem(folder: Path) -> dict[str, Path]:
    """Images in a folder by their names without suffix, and sub-folders by theirs, in the order of names.

    Raises InputError where two differ in their suffix only: which is meant would be a guess.
    """
    found: dict[str, Path] = {}
    if not is_folder(folder):
        return found
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        stem = path.name if is_folder(path) else _stem(path)
        if stem is None:
            continue
        if stem in found:
            raise InputError(
                f"{printable(folder)}: {stem!r} is there twice, as {found[stem].name} and {path.name}"
            )
        found[stem] = path
    return found


def _stem(path: Path) -> str | None:
    """The name without the suffix of an image; None for what has none."""
    suffix = next(
        (each for each in sorted(IMAGES, key=len, reverse=True) if path.name.lower().endswith(each)), ""
    )
    return path.name[: -len(suffix)] if suffix and len(path.name) > len(suffix) else None


def is_there(path: Path) -> bool:
    """Whether there is a file or folder of this name; no where the name is an impossible one."""
    try:
        return path.exists()
    except OSError:
        return False


def is_picture(path: Path) -> bool:
    """Whether the name is that of a PNG or TIFF."""
    named = by_name(path)
    return named is not None and named[1] in PICTURES


def own_id(path: Path) -> str:
    """A case's id from its image: the stem of the file's name, a hash where that would not do.

    Names of folders and of DICOM files often hold a patient's; what stands for them is a hash of the name.
    """
    named = by_name(path)
    dicom = is_folder(path) or named is None or named[1] == "DICOM" or "archive" in named[1]
    stem = None if dicom and not path.name.lower().endswith((".hdr", ".hdr.gz")) else plain_stem(path)
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
    return stem or f"{'dicom' if dicom else 'case'}-{digest}"


def require_own_ids(cases: Sequence[Case], where: Path) -> None:
    """Refuse two cases with one id; ids must differ in more than capitals, as names of files must."""
    seen: set[str] = set()
    for case in cases:
        if case.id.casefold() in seen:
            raise InputError(
                f"{printable(where)}: two cases are called {case.id!r}; give each an id of its own"
            )
        seen.add(case.id.casefold())
