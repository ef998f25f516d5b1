"""From what the user named to one Volume: matched to the pipeline's inputs, checked, aligned."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.errors import InputError, UsageError
from medseg.io import PAIR, STRICT, Policy, read
from medseg.io.content import SUFFIXES
from medseg.pipeline import Input
from medseg.volume import Source, Volume

__all__ = [
    "PLAIN",
    "Image",
    "case_id",
    "join",
    "match",
    "plain_stem",
    "policy_for",
    "read_inputs",
    "require_modality",
]

Image = Volume | str | Path
PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")  # names of cases: no path, nothing to quote
LEAST_COVERAGE = 0.5  # of the first input's voxels; less is hardly one examination


def match(wanted: Sequence[Input], given: Sequence[Image], named: Mapping[str, Image]) -> dict[str, Image]:
    """Give each of the pipeline's inputs its image: by name first, the rest by position.

    Raises UsageError where there are too few, too many or unknown ones.
    """
    names = [spec.name for spec in wanted]
    for name in named:
        if name not in names:
            raise UsageError(f"the pipeline has no input {name!r}; it takes {', '.join(names)}")
    open_places = [name for name in names if name not in named]
    if len(given) != len(open_places):
        raise UsageError(
            f"the pipeline takes {len(names)} input{'s' * (len(names) > 1)} ({', '.join(names)}), "
            f"{len(given) + len(named)} given"
        )
    images = {**named, **dict(zip(open_places, given, strict=True))}
    return {name: images[name] for name in names}


def policy_for(spec: Input, policy: Policy) -> Policy:
    """What holds for one input: the series that the pipeline asks for, unless the user asks for another.

    SUV is for PET: an input that must have another modality is read without it.
    """
    series = policy.series or spec.select
    return replace(policy, series=series, suv=policy.suv and spec.modality in (None, "PT"))


def read_inputs(
    wanted: Sequence[Input],
    images: Mapping[str, Image],
    *,
    force_modality: bool,
    pixel_size: float | None,
    policy: Policy = STRICT,
) -> dict[str, Volume]:
    """Read every input; raises InputError for a wrong modality unless `force_modality`.

    A Volume is taken as it is, whatever the policy. UsageError where the policy names a series (or asks for
    SUV) and a file is no DICOM; the pipeline's own `select` is for DICOM only and ignored elsewhere.

    A file that does not say what it is (NIfTI, NRRD) is taken for what the pipeline asks for, and its source
    says so.
    """
    volumes: dict[str, Volume] = {}
    for spec in wanted:
        image = images[spec.name]
        if isinstance(image, Volume):
            volume = image
        else:
            own = policy_for(spec, policy)
            volume = read(image, policy=own, pixel_size=pixel_size)
            if volume.source is not None:
                replace(own, series=policy.series).require_use(volume.source.format, image)
        found = volume.source.modality if volume.source else None
        if not force_modality:
            require_modality(spec, found, image)
        volumes[spec.name] = _taken_for(spec.modality, volume) if spec.modality and not found else volume
    return volumes


def require_modality(spec: Input, found: str | None, image: Image) -> None:
    """Refuse, as an InputError, an image whose modality is known and not the one that the input must have."""
    if spec.modality and found and found != spec.modality:
        where = "the volume" if isinstance(image, Volume) else str(image)
        raise InputError(
            f"{where}: is {found}, and input {spec.name!r} must be {spec.modality}; "
            "choose another model or give --force-modality"
        )


def _taken_for(modality: str, volume: Volume) -> Volume:
    """The volume with the modality the pipeline asks for, where its source names none."""
    if volume.source is None:
        return volume
    note = f"modality not stated by {volume.source.format}: taken for {modality}"
    policies = (*volume.source.policies, note)
    return volume.replace(source=replace(volume.source, modality=modality, policies=policies))


def join(volumes: Mapping[str, Volume]) -> Volume:
    """One volume with a channel per input, on the grid of the first, aligned in physical space (linear).

    A single input stays as it is, its one channel named after the input. What a policy decided for any input
    stays known, behind the input's name, and so do their sources. Raises InputError where inputs are of
    different patients, where two cover too little of each other, or where an input that must share a grid has
    more than one channel.
    """
    (first_name, first), *others = volumes.items()
    if not others:
        return first.replace(channels=(first_name,)) if len(first.channels) == 1 else first
    _require_one_patient(volumes)
    arrays, policies = [], []
    for name, volume in volumes.items():
        if len(volume.channels) != 1:
            raise InputError(
                f"input {name!r} has {len(volume.channels)} channels; joined inputs must have one each"
            )
        if volume.grid.unit != first.grid.unit:
            raise InputError(
                f"input {name!r} is in {volume.grid.unit}, input {first_name!r} in {first.grid.unit}"
            )
        if volume.grid.same_as(first.grid):
            arrays.append(volume.array)
            continue
        covered = _coverage(first, volume)
        if covered < LEAST_COVERAGE:
            raise InputError(
                f"input {name!r} covers {covered:.0%} of input {first_name!r}, and must cover "
                f"{LEAST_COVERAGE:.0%}; are they of one examination?"
            )
        arrays.append(volume.onto(first.grid).array)
        note = f"input {name!r} resampled onto {first_name!r} (linear), of which it covers {covered:.0%}"
        policies.append(note)
    kind = np.result_type(*arrays)
    joined = np.concatenate([a.astype(kind, copy=False) for a in arrays])
    decided = tuple(
        f"[{name}] {line}" for name, part in volumes.items() if part.source for line in part.source.decided
    )
    source = first.source or (Source(first.grid, "array") if decided else None)
    if source is not None:
        more = tuple(volume.source for _, volume in others if volume.source is not None)
        source = replace(source, policies=(*source.policies, *policies), decided=decided, joined=more)
    return first.replace(array=joined, channels=tuple(volumes), source=source)


def _require_one_patient(volumes: Mapping[str, Volume]) -> None:
    """Refuse inputs whose images name different patients; those that name none are not judged."""
    first: dict[str, str] = {}
    for name, volume in volumes.items():
        if volume.source is not None and volume.source.patient:
            first.setdefault(volume.source.patient, name)
    if len(first) > 1:
        one, other, *_ = first.values()
        raise InputError(
            f"inputs {one!r} and {other!r} are of different patients (PatientID, PatientBirthDate or "
            "PatientName); give images of one, or convert them to NIfTI where this is meant"
        )


def _coverage(one: Volume, other: Volume) -> float:
    """Share of the voxels of `one` whose centres lie inside `other`, judged on a coarse lattice of them."""
    steps = [np.linspace(0, n - 1, min(n, 24)) for n in one.grid.shape]
    index = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    there = other.grid.to_index(one.grid.to_world(index))
    inside = np.all((there >= -0.5) & (there <= np.asarray(other.grid.shape) - 0.5), axis=-1)
    return float(inside.mean())


def case_id(images: Mapping[str, Image], volumes: Mapping[str, Volume]) -> str:
    """A name for the case: the stem of the first file's name; a hash of the content where that will not do.

    For DICOM it always is a hash: names of files and folders often hold a patient's there.
    """
    name, image = next(iter(images.items()))
    source = volumes[name].source
    if source is None:
        return "volume"
    digest = hashlib.sha256("".join(source.sha256).encode()).hexdigest()[:12]
    if source.format.startswith("DICOM"):
        return f"dicom-{digest}"
    file = source.files[0] if isinstance(image, Volume) and source.files else image
    return (None if isinstance(file, Volume) else plain_stem(Path(file))) or f"case-{digest}"


def plain_stem(file: Path) -> str | None:
    """A file's name without its suffix; None where it could not name a folder and a row of a table."""
    known = sorted((*SUFFIXES, *PAIR), key=len, reverse=True)
    suffix = next((each for each in known if file.name.lower().endswith(each)), "")
    stem = file.name[: -len(suffix)] if suffix else ""
    return stem if PLAIN.fullmatch(stem) else None
