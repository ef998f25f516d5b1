"""Folders with a `dataset.json`: the Medical Segmentation Decathlon's, and raw folders of nnU-Net v2.

Decathlon: `modality`, `labels` and lists of files; several modalities are the volumes of one 4-D file.
nnU-Net: `channel_names`, `labels`, `file_ending`; images are `imagesTr/CASE_0000.nii.gz` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medseg.config import InputSpec
from medseg.errors import InputError
from medseg.io.regular_file import is_folder, printable
from medseg.run.inputs import PLAIN
from medseg.training.dataset.case import Case, Split, Statement
from medseg.training.dataset.description import load_json
from medseg.training.dataset.found import Found, input_specs, is_picture, is_there, own_id

__all__ = ["find_in_json"]

MOST_CHANNELS = 64
CHANNEL = r"_\d{4}"


def find_in_json(file: Path) -> Found:
    """Cases, labels and statement of a `dataset.json`; raises InputError saying what it lacks."""
    told = load_json(file)
    channels = told.get("channel_names") or told.get("modality")
    if not isinstance(channels, Mapping) or not 1 <= len(channels) <= MOST_CHANNELS:
        raise InputError(
            f'{printable(file)}: has neither "modality" nor "channel_names", as in {{"0": "CT"}}; add one'
        )
    inputs = input_specs(str(name) for name in channels.values())
    listed = told.get("training")
    if isinstance(told.get("dataset"), Mapping):
        cases = list(_of_mapping(file, told["dataset"], inputs))
    elif isinstance(listed, Sequence) and listed and "channel_names" not in told:
        cases = list(_of_lists(file, told, inputs))
    else:
        cases = list(_in_folders(file, told, list(map(str, channels)), inputs))
    inputs, cases, notes = _colours(inputs, cases)
    said, there = told.get("numTraining"), sum(case.split is None for case in cases)
    if isinstance(said, int) and said != there:
        notes = (*notes, f'"numTraining" is {said}, and there are {there} cases to train on')
    return Found(
        name=str(told.get("name") or file.parent.name)[:100],
        inputs=inputs,
        cases=tuple(cases),
        labels=told.get("labels"),
        statement=_statement(told),
        notes=notes,
    )


def _statement(told: Mapping[str, Any]) -> Statement:
    licence = told.get("licence") or told.get("license") or ""
    reference = told.get("reference") or ""
    return Statement(
        description=str(told.get("description") or ""),
        licence=str(licence),
        attribution=str(told.get("attribution") or ""),
        reference=str(reference),
    )


# ---- lists of files


def _of_lists(file: Path, told: Mapping[str, Any], inputs: Sequence[InputSpec]) -> Iterator[Case]:
    """The Decathlon's "training", pairs of image and label, and "test", images alone."""
    for number, entry in enumerate(told["training"]):
        where = f"{printable(file)}: training[{number}]"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("image"), str):
            raise InputError(
                f'{where}: must have "image" and "label", as in {{"image": "./imagesTr/a.nii.gz"}}'
            )
        label = entry.get("label")
        if label is not None and not isinstance(label, str):
            raise InputError(f"{where}: the label is {str(label)[:60]!r}, not a path")
        yield _listed(file, entry["image"], label, inputs, None)
    test = told.get("test")
    for number, entry in enumerate(test if isinstance(test, Sequence) and not isinstance(test, str) else ()):
        image = entry.get("image") if isinstance(entry, Mapping) else entry
        label = entry.get("label") if isinstance(entry, Mapping) else None
        if not isinstance(image, str):
            raise InputError(f"{printable(file)}: test[{number}] is not a path")
        yield _listed(file, image, label if isinstance(label, str) else None, inputs, "test")


def _listed(
    file: Path, image: str, label: str | None, inputs: Sequence[InputSpec], split: Split | None
) -> Case:
    path = file.parent / image
    images = {spec.name: path for spec in inputs}
    case = own_id(path)
    stem, ending = _cut(path)
    if not is_there(path) and is_there(path.with_name(f"{stem}_0000{ending}")):  # nnU-Net's first version
        images = {
            spec.name: path.with_name(f"{stem}_{channel:04d}{ending}") for channel, spec in enumerate(inputs)
        }
    return Case(case, images, None if label is None else file.parent / label, case, split)


def _cut(path: Path) -> tuple[str, str]:
    """A name's stem and its suffix, `.nii.gz` being one."""
    found = re.fullmatch(r"(.*?)((?:\.nii|\.hdr)?\.[A-Za-z]+)", path.name)
    return (found[1], found[2]) if found else (path.name, "")


def _of_mapping(file: Path, told: Mapping[str, Any], inputs: Sequence[InputSpec]) -> Iterator[Case]:
    """nnU-Net's optional "dataset": images and label of each case by its id."""
    for case, entry in told.items():
        images = entry.get("images") if isinstance(entry, Mapping) else None
        label = entry.get("label") if isinstance(entry, Mapping) else None
        if not isinstance(images, Sequence) or isinstance(images, str) or not isinstance(label, str):
            raise InputError(f'{printable(file)}: dataset.{case[:60]}: must have "images" and "label"')
        if PLAIN.fullmatch(case) is None:
            raise InputError(f"{printable(file)}: {case[:60]!r} cannot be a case id; use A-Z a-z 0-9 . _ -")
        if len(images) not in (1, len(inputs)):
            raise InputError(
                f"{printable(file)}: dataset.{case}: {len(images)} images for {len(inputs)} channels"
            )
        paths = [file.parent / str(each) for each in images] * (len(inputs) if len(images) == 1 else 1)
        named = {spec.name: path for spec, path in zip(inputs, paths, strict=True)}
        yield Case(case, named, file.parent / label, case)


# ---- nnU-Net's folders


def _in_folders(
    file: Path, told: Mapping[str, Any], channels: Sequence[str], inputs: Sequence[InputSpec]
) -> Iterator[Case]:
    """Cases by the names of their files in imagesTr, and in imagesTs for a test."""
    folder, ending = file.parent, told.get("file_ending", ".nii.gz")
    if not isinstance(ending, str) or not ending.startswith(".") or "/" in ending:
        raise InputError(f'{printable(file)}: "file_ending" is {str(ending)[:40]!r}; give one as ".nii.gz"')
    numbers = [f"{int(channel):04d}" if channel.isdigit() else channel for channel in channels]
    parts: tuple[tuple[str, str, Split | None], ...] = (
        ("imagesTr", "labelsTr", None),
        ("imagesTs", "labelsTs", "test"),
    )
    if not is_folder(folder / "imagesTr"):
        raise InputError(f"{printable(file)}: lists no cases, and there is no folder imagesTr beside it")
    for images, labels, split in parts:
        for stem in _stems(folder / images, ending):
            case = stem if PLAIN.fullmatch(stem) else own_id(Path(stem + ending))
            named = {
                spec.name: folder / images / f"{stem}_{number}{ending}"
                for spec, number in zip(inputs, numbers, strict=True)
            }
            label = folder / labels / f"{stem}{ending}"
            there = split is None or is_there(label)
            yield Case(case, named, label if there else None, case, split)


def _stems(folder: Path, ending: str) -> list[str]:
    pattern = re.compile(rf"(.+){CHANNEL}{re.escape(ending)}")
    names = [path.name for path in folder.iterdir()] if is_folder(folder) else []
    found = {match[1] for name in names if not name.startswith(".") and (match := pattern.fullmatch(name))}
    return sorted(found)


def _colours(
    inputs: tuple[InputSpec, ...], cases: list[Case]
) -> tuple[tuple[InputSpec, ...], list[Case], tuple[str, ...]]:
    """Colour pictures: their channels lie in one file, which is one input with several channels."""
    if len(inputs) < 2 or not cases:
        return inputs, cases, ()
    first, *others = (spec.name for spec in inputs)
    for case in cases:
        apart = any(
            is_there(case.images[name]) and case.images[name] != case.images[first] for name in others
        )
        if not is_picture(case.images[first]) or apart:
            return inputs, cases, ()
    one = (InputSpec(name="image"),)
    single = [replace(case, images={"image": case.images[first]}) for case in cases]
    return one, single, (f"the {len(inputs)} channels of each picture lie in one file",)
