"""A folder of images and one of masks that have the same names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from medseg.config import InputSpec
from medseg.errors import InputError
from medseg.io.regular_file import is_folder, printable
from medseg.training.dataset.case import Case, Split
from medseg.training.dataset.found import Found, by_stem, input_specs, own_id

__all__ = ["PAIRS", "find_in_folders"]

PAIRS: tuple[tuple[str, str, Split | None], ...] = (
    ("images", "labels", None),
    ("imagesTr", "labelsTr", None),
    ("imagesTs", "labelsTs", "test"),
)
"""Folders of images and of masks that are known, and what their cases are kept for."""
CHANNEL = re.compile(r"(.+)_(\d{4})")


def find_in_folders(folder: Path, inputs: Sequence[InputSpec] | None) -> Found:
    """Cases by the names of their files, up to the suffix.

    Where all names end with a channel's number, as nnU-Net has it (`CASE_0000.nii.gz`), each is an input.
    """
    cases: list[Case] = []
    notes: list[str] = []
    names = _channels(folder)
    specs = tuple(inputs) if inputs else input_specs([f"channel-{n}" for n in names]) or (InputSpec(),)
    if names and len(specs) != len(names):
        raise InputError(
            f"{printable(folder)}: files have {len(names)} channels (_{', _'.join(names)}), "
            f"dataset.yaml names {len(specs)} inputs"
        )
    if not names and len(specs) != 1:
        raise InputError(
            f"{printable(folder)}: holds one image for each case, dataset.yaml names {len(specs)} inputs; "
            "end names of files with _0000, _0001, …, or write a CSV file"
        )
    for images, labels, split in PAIRS:
        found, masks = by_stem(folder / images), by_stem(folder / labels)
        stems = list(dict.fromkeys(CHANNEL.sub(r"\1", stem) for stem in found)) if names else list(found)
        if stems and masks and not set(stems) & set(masks) and split is None:
            raise InputError(
                f"{printable(folder)}: no file in {labels}/ has the name of one in {images}/; "
                "names must be equal up to the suffix"
            )
        cases += [_case(stem, folder / images, found, masks, names, specs, split) for stem in stems]
        left = len(set(masks) - set(stems))
        if left:
            notes.append(f"{left} file{'s' * (left > 1)} in {labels}/ without an image left aside")
    others = _left_aside(folder)
    notes += [f"{others} left aside"] if others else []
    return Found(folder.resolve().name[:100], specs, tuple(cases), notes=tuple(notes))


def _channels(folder: Path) -> list[str]:
    """Numbers of channels that all names end with; none where names do not."""
    stems = [stem for images, _, _ in PAIRS for stem in by_stem(folder / images)]
    found = [CHANNEL.fullmatch(stem) for stem in stems]
    numbers = sorted({match[2] for match in found if match})
    return numbers if numbers and all(found) and numbers[0] == "0000" else []


def _case(  # noqa: PLR0913, PLR0917 - all that is known of one case
    stem: str,
    folder: Path,
    images: dict[str, Path],
    masks: dict[str, Path],
    channels: Sequence[str],
    specs: Sequence[InputSpec],
    split: Split | None,
) -> Case:
    if not channels:
        case = own_id(images[stem])
        return Case(case, {specs[0].name: images[stem]}, masks.get(stem), case, split)
    first = next(path for name, path in images.items() if CHANNEL.sub(r"\1", name) == stem)
    ending = first.name[len(stem) + 5 :]
    named = {
        spec.name: images.get(f"{stem}_{number}", folder / f"{stem}_{number}{ending}")
        for spec, number in zip(specs, channels, strict=True)
    }
    case = own_id(Path(stem + ending))
    return Case(case, named, masks.get(stem), case, split)


def _left_aside(folder: Path) -> str:
    """Images in other folders, counted: a folder may have a patient's name, and notes go into files."""
    known = {name for pair in PAIRS for name in pair[:2]}
    counts = [
        len(by_stem(path))
        for path in folder.iterdir()
        if is_folder(path) and path.name not in known and not path.name.startswith(".")
    ]
    images, folders = sum(counts), sum(count > 0 for count in counts)
    return (
        f"{images} image{'s' * (images > 1)} in {folders} other folder{'s' * (folders > 1)}" if images else ""
    )
