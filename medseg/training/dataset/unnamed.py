"""Labels of masks that nobody named: what values there are, and names where a file carries them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medseg.errors import InputError
from medseg.io.masks.layers import listed
from medseg.io.masks.names import names_beside
from medseg.segmentation import Label, LabelTable
from medseg.training.dataset.case import Case
from medseg.training.dataset.found import is_picture
from medseg.training.dataset.labels import ANY, Named, named_labels
from medseg.training.dataset.masks import WHITE, is_label_map, present, values_of

__all__ = ["labels_in_masks"]

MOST_LABELS = 256  # without names: more are ids of objects, or an image


def labels_in_masks(cases: Sequence[Case], *, ignore: int | None) -> tuple[Named, tuple[str, ...]]:
    """A label for every value in any mask, called as NIfTI headers or files beside them say, else "label 1".

    Every mask is read. Black and white alone, in pictures, are one label. Raises InputError where white
    stands among other values, and for masks that name their structures (DICOM SEG): which are meant is to be
    said. A mask that cannot be read says nothing; checking the dataset tells of it.
    """
    names: dict[int, str] = {}
    things: set[str] = set()
    plain: list[str] = []  # masks that do not say that their values are objects
    values: set[int] = set()
    pictures = True
    masks = [case.label for case in cases if case.label is not None]
    for path in masks:
        try:
            if not is_label_map(path):
                raise_named(path)
            found = present(values_of(path)[0])
        except NamedMaskError:
            raise
        except InputError:
            continue
        objects = _objects_in_header(path)
        things |= set(objects)
        plain += [path.name] if found and not objects else []
        values |= set(found)
        pictures = pictures and is_picture(path)
        for value, name in {**names_beside(path), **_in_header(path)}.items():
            names.setdefault(value, name)
    if things:
        return _of_objects(things, plain)
    values -= {ignore} if ignore is not None else set()
    if not values:
        raise InputError("labels: no mask that can be read holds anything but background")
    white = values & set(WHITE)
    if pictures and white and len(values) > 1 and not names:
        raise InputError(
            f"labels: masks hold white ({max(white)}) and {len(values) - 1} other values: smoothed edges or "
            "labels? Name the labels in dataset.yaml"
        )
    if len(values) > MOST_LABELS:
        raise InputError(
            f"labels: masks hold {len(values)} values without names; name the labels in dataset.yaml, as "
            "`labels: {nucleus: any}` where they are ids of objects"
        )
    read = "1 mask was read for its" if len(masks) == 1 else f"{len(masks)} masks were read for their"
    note = f"{read} labels; name them as `labels:` in dataset.yaml"
    if pictures and white and len(values) == 1:
        name = names.get(max(white), "") or "label 1"
        return Named(LabelTable((Label(1, name),)), {name: (max(white),)}), (note,)
    told: dict[str, int] = {}
    for value in sorted(values):
        name = names.get(value, "").strip() or f"label {value}"
        told[name if name not in told else f"{name} {value}"] = value
    return named_labels(told), (note,)


def _of_objects(things: set[str], plain: Sequence[str]) -> tuple[Named, tuple[str, ...]]:
    """The one label that all masks have objects of; `plain` are masks whose values may be others."""
    held = f"labels: masks say that they hold objects of {listed(sorted(things))}"
    if plain:
        raise InputError(
            f"{held}, and some do not: {listed(plain)}; name the labels in dataset.yaml, as "
            "`labels: {nucleus: any}`"
        )
    if len(things) > 1:
        raise InputError(
            f"{held}; give a mask for each of them, in a table with columns `label:NAME`, and name them as "
            "`labels: {NAME: any}`"
        )
    (only,) = things
    note = f"masks say that their values are objects of {only!r}: taken for `labels: {{{only}: any}}`"
    return named_labels({only: ANY}), (note,)


class NamedMaskError(InputError):
    """A mask that names its structures, where the dataset names none."""


def raise_named(path: Path) -> None:
    """Ask for the labels' names."""
    raise NamedMaskError(
        f"labels: {path.name} names its structures itself; list those to be learnt in dataset.yaml, "
        "as `labels: [liver, spleen]`"
    )


def _objects_in_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Whose objects the values are, by a NIfTI header's extension."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return {}
    from medseg.io.nifti import read_label_objects

    return read_label_objects(path)


def _in_header(path: Path) -> dict[int, str]:
    """Names in a NIfTI header's extension."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return {}
    from medseg.io.nifti import read_label_names

    return {value: name for value, name in read_label_names(path).items() if value > 0}
