"""What a result refers to, by study and series: the images of every input, and results beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pydicom import Dataset

    from medseg.io.dicom_results.origin import Origin

__all__ = ["Reference", "refer_to", "studies"]

INSTANCES: Literal["ReferencedInstanceSequence"] = "ReferencedInstanceSequence"


class Reference(NamedTuple):
    """A file of the same study, as others refer to it."""

    sop_class: str
    sop_instance: str
    series: str


def studies(
    origin: Origin,
    files: Iterable[Reference] = (),
    *,
    items: Literal["ReferencedInstanceSequence", "ReferencedSOPSequence"] = INSTANCES,
) -> list[Dataset]:
    """Each study with its series and, as `items` names them there, their images and the `files`.

    The first study is the one that results belong to, its first series the one whose slices they lie on: some
    viewers look at no other.
    """
    from pydicom import Dataset

    found: dict[str, dict[str, dict[str, str]]] = {}
    for study, series, sop_class, sop_instance in _named(origin, files):
        found.setdefault(study, {}).setdefault(series, {})[sop_instance] = sop_class
    made = []
    for study, of_study in found.items():
        whole = Dataset()
        whole.StudyInstanceUID, whole.ReferencedSeriesSequence = study, []
        for series, instances in of_study.items():
            part = Dataset()
            part.SeriesInstanceUID = series
            setattr(part, items, [_item(*pair) for pair in instances.items()])
            whole.ReferencedSeriesSequence.append(part)
        made.append(whole)
    return made


def refer_to(made: Dataset, origin: Origin, files: Iterable[Reference] = ()) -> list[Dataset]:
    """Let an object refer to all images and `files` by study and series (PS3.3 C.12.2); gives their items."""
    own, *others = studies(origin, files)
    made.ReferencedSeriesSequence = own.ReferencedSeriesSequence
    if others:
        made.StudiesContainingOtherReferencedInstancesSequence = others
    return [
        item
        for study in (own, *others)
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    ]


def _named(origin: Origin, files: Iterable[Reference]) -> Iterator[tuple[str, str, str, str]]:
    """Study, series, class and instance of whatever is referred to, in order."""
    for image in (*origin.datasets, *origin.others):
        yield (
            str(image.StudyInstanceUID),
            str(image.SeriesInstanceUID),
            str(image.SOPClassUID),
            str(image.SOPInstanceUID),
        )
    for file in files:
        yield str(origin.first.StudyInstanceUID), file.series, file.sop_class, file.sop_instance


def _item(sop_instance: str, sop_class: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item
