"""A segmentation as files: which array and which labels go into each."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.colours import colour_of_object, colours_of
from medseg.segmentation import Label, LabelTable, Segmentation

__all__ = ["SLICES", "LabelFile", "label_files", "label_tables", "layer_table", "slug"]

SLICES = "-slices"
"""Ending of a file on the original slices: no label's file may be called so."""


class LabelFile(NamedTuple):
    """Ending of a file's name, its array `[i, j, k]`, what its values are called, and whose objects they are.

    `objects` has ids by label, of labels without objects none; it is empty where the values are labels.
    """

    ending: str
    array: NDArray[np.unsignedinteger]
    labels: LabelTable
    objects: dict[str, tuple[int, ...]]


def label_files(segmentation: Segmentation) -> Iterator[LabelFile]:
    """What goes into each file, one file at a time.

    The first layer has the empty ending; each label of the others has a file of its own and an ending such
    as "-liver-tumour". A layer of objects holds their ids.
    """
    for ending, label, labels in _files(segmentation):
        if label is None:
            here = [each.name for each in segmentation.labels if each.layer == 0]
            yield LabelFile(ending, segmentation.array[0], labels, _objects(segmentation, 0, here))
        else:
            layer = segmentation.array[label.layer]
            own = np.where(segmentation.mask(label.name), layer, layer.dtype.type(0))
            yield LabelFile(ending, own, labels, _objects(segmentation, label.layer, [label.name]))


def label_tables(segmentation: Segmentation) -> Iterator[tuple[str, LabelTable]]:
    """Ending and labels of the same files, without their voxels."""
    for ending, _, labels in _files(segmentation):
        yield ending, labels


def layer_table(segmentation: Segmentation, layer: int) -> LabelTable:
    """What the values of a layer mean: its labels, or its objects, each with a colour."""
    here = [label for label in segmentation.labels if label.layer == layer]
    return _table(segmentation, layer, here)


def _files(segmentation: Segmentation) -> Iterator[tuple[str, Label | None, LabelTable]]:
    """Ending, the label whose own file it is (None: the first layer's), and the labels in it."""
    yield "", None, layer_table(segmentation, 0)
    taken = {SLICES.lstrip("-")}
    for label in segmentation.labels:
        if label.layer > 0:
            yield f"-{slug(label, taken)}", label, _table(segmentation, label.layer, [label])


def _table(segmentation: Segmentation, layer: int, labels: list[Label]) -> LabelTable:
    """What one file's values mean: its labels, or the objects of its labels, in the preview's colours."""
    names = {label.name for label in labels}
    if segmentation.kinds[layer] == "objects":
        things = [thing for thing in segmentation.objects if thing.label in names]
        codes = {label.name: label.code for label in labels}
        return LabelTable(
            tuple(
                Label(
                    thing.id,
                    f"{thing.label} {thing.id}",
                    code=codes[thing.label],
                    colour=colour_of_object(thing.id),
                )
                for thing in things
            )
        )
    colours = colours_of(segmentation.labels)
    # A pair whose other half lies in another file would point nowhere.
    return LabelTable(
        tuple(
            replace(
                label,
                layer=0,
                colour=colours[label.name],
                pair=label.pair if label.pair in names else None,
            )
            for label in labels
        )
    )


def _objects(segmentation: Segmentation, layer: int, names: list[str]) -> dict[str, tuple[int, ...]]:
    """Ids by label, where a layer has objects."""
    if segmentation.kinds[layer] == "labels":
        return {}
    ids: dict[str, list[int]] = {name: [] for name in names}
    for thing in segmentation.objects:
        if thing.label in ids:
            ids[thing.label].append(thing.id)
    return {name: tuple(sorted(own)) for name, own in ids.items()}


def slug(label: Label, taken: set[str]) -> str:
    """A file name's part for a label: lower case, words joined by dashes, numbered where two are equal."""
    plain = unicodedata.normalize("NFKD", label.name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9-]", "", re.sub(r"[\s_]+", "-", plain)).strip("-")[:80] or f"label-{label.value}"
    name, number = slug, 1
    while not taken.isdisjoint({name, f"{name}{SLICES}"}):
        number += 1
        name = f"{slug}-{number}"
    taken |= {name, f"{name}{SLICES}"}
    return name
