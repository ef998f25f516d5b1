"""Two label tables made one: which label of a prediction is which of the reference."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from medseg.errors import GeometryError, InputError
from medseg.io.masks.layers import is_nameless
from medseg.segmentation import Label, LabelTable, Segmentation

__all__ = ["comparable", "paired"]

MOST_SHOWN = 6


def comparable(
    prediction: Segmentation,
    reference: Segmentation,
    labels: Collection[str] | None,
    tell: Callable[[str], None],
) -> tuple[Segmentation, Segmentation]:
    """Both under the same names, limited to `labels`, names of the reference first; `tell` hears of those.

    Raises GeometryError where they lie on different grids, and what `paired` raises.
    """
    if not prediction.grid.same_as(reference.grid):
        raise GeometryError(
            f"the prediction lies on {prediction.grid!r}, the reference on {reference.grid!r}; "
            "put one onto the other's grid"
        )
    found, wanted = paired(prediction, reference, tell, about=labels)
    if labels is not None:
        kept = [label.name for label in wanted.labels if label.name in labels]
        found, wanted = found.only(kept), wanted.only(kept)
    return found, wanted


def paired(
    prediction: Segmentation,
    reference: Segmentation,
    tell: Callable[[str], None],
    *,
    about: Collection[str] | None = None,
) -> tuple[Segmentation, Segmentation]:
    """Both with the same names: the reference's labels, then those that only the prediction has.

    A label that one of them does not have is added to its table, without voxels; `tell` hears of it, if it is
    one of `about` (None: of any). Raises InputError where both name their labels and have none in common.
    """
    same = _same(prediction.labels, reference.labels)
    nameless = is_nameless(reference.labels) and not is_nameless(prediction.labels)
    ours = {} if nameless else same
    theirs = {to: name for name, to in same.items()} if nameless else {}
    extra = [label.name for label in prediction.labels if label.name not in same]
    matched = set(same.values())
    lacking = [theirs.get(label.name, label.name) for label in reference.labels if label.name not in matched]
    for whose, names in (("reference", extra), ("prediction", lacking)):
        told = [name for name in names if about is None or name in about]
        if told:
            tell(f"the {whose} has no label {_listed(told)}: counted as absent from it")
    return _with(prediction, ours, lacking), _with(reference, theirs, extra)


def _same(prediction: LabelTable, reference: LabelTable) -> dict[str, str]:
    """The reference's name for each label of the prediction that it has too."""
    if is_nameless(prediction) or is_nameless(reference):
        by_value = {label.value: label.name for label in reference}
        return {label.name: by_value[label.value] for label in prediction if label.value in by_value}
    same = {label.name: label.name for label in prediction if label.name in reference}
    theirs = _by_spelling([label.name for label in reference if label.name not in same])
    ours = _by_spelling([label.name for label in prediction if label.name not in same])
    same |= {name: theirs[key] for key, name in ours.items() if key in theirs}
    if not same:
        here, there = (_listed([label.name for label in table]) for table in (prediction, reference))
        raise InputError(
            f"the prediction has labels {here}, the reference {there}: none in common; name them alike"
        )
    return same


def _by_spelling(names: Sequence[str]) -> dict[str, str]:
    """Names by what is left of capitals, dashes and underscores; none that is then there twice."""
    keys = {name: " ".join(re.sub(r"[-_]", " ", name.casefold()).split()) for name in names}
    times = Counter(keys.values())
    return {key: name for name, key in keys.items() if times[key] == 1}


def _with(segmentation: Segmentation, names: Mapping[str, str], more: Sequence[str]) -> Segmentation:
    """The segmentation under other names, with labels in its table that have no voxels."""
    highest = max((label.value for label in segmentation.labels), default=0)
    free = 1 + max(highest, int(segmentation.array.max(initial=0)))
    own = [replace(label, name=names.get(label.name, label.name), pair=None) for label in segmentation.labels]
    added = [Label(free + number, name) for number, name in enumerate(more)]
    return segmentation.renamed(LabelTable((*own, *added)))


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_SHOWN
    shown = ", ".join(repr(name) for name in names[:MOST_SHOWN])
    return f"{shown} and {rest} more" if rest > 0 else shown
