"""Which file is the prediction of which reference."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import InputError
from medseg.io.regular_file import is_folder, open_regular, printable, require_regular
from medseg.report.label_files import SLICES
from medseg.run.inputs import PLAIN
from medseg.run.output_folder import record_in

__all__ = ["DICOM_ENDINGS", "Pair", "match_files", "match_images"]

MASK = "segmentation.nii.gz"  # as the writer `nifti` names it, and further layers with an ending
ALL_IN_ONE = "segmentation.seg.nrrd"  # as the writer `seg-nrrd` does, where there is no other
DICOM_ENDINGS = (".dcm", ".dicom")
ENDINGS = (
    *(".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".tif", ".tiff"),
    *DICOM_ENDINGS,
)
MOST_SHOWN = 8

Files = tuple[Path, ...]


@dataclass(frozen=True)
class Pair:
    """A case: the files of its prediction and of its reference; several where labels overlap."""

    case: str
    prediction: Files
    reference: Files

    @property
    def of_results(self) -> bool:
        """Whether the prediction is what `medseg segment` or `medseg cohort` wrote."""
        return self.prediction[0].name in (MASK, ALL_IN_ONE)


def match_files(prediction: str | Path, reference: str | Path) -> tuple[Pair, ...]:
    """Pair what lies in two places, each a mask file, a folder of masks or a folder of results.

    Two files are a pair whatever they are called. In folders, files are matched by their names without
    suffix, and folders of results (of `medseg segment` or `medseg cohort`) by their names.

    Raises InputError naming what has no counterpart, and where there is no mask.
    """
    ours, theirs = _single(Path(prediction)), _single(Path(reference))
    if ours is not None and theirs is not None:
        return (Pair(_case_of(ours, theirs), ours, theirs),)
    found, wanted = _in(Path(prediction)), _in(Path(reference))
    _require_matched(found.keys() - wanted.keys(), wanted.keys() - found.keys())
    pairs = [Pair(_case(stem, found[stem], wanted[stem]), found[stem], wanted[stem]) for stem in found]
    return tuple(pairs)


def match_images(place: str | Path, pairs: Sequence[Pair]) -> dict[str, Path]:
    """The images of cases, by case: a file or a folder of DICOM for a single case, else those in a folder.

    In a folder, an image has the name of its case, but for the suffix. Raises InputError where there is none
    of any case.
    """
    place = Path(place)
    if not is_folder(place):
        require_regular(place)
        if len(pairs) > 1:
            raise InputError(f"{printable(place)}: one image for {len(pairs)} cases; give a folder of images")
        return {pairs[0].case: place}
    named = {_name((path,)): path for path in sorted(place.iterdir()) if not path.name.startswith(".")}
    found = {pair.case: named[pair.case] for pair in pairs if pair.case in named}
    if not found and len(pairs) == 1:
        return {pairs[0].case: place}
    if not found:
        raise InputError(
            f"{printable(place)}: holds no image that is called as a case, such as {pairs[0].case}.nii.gz"
        )
    return found


def _require_matched(lone: Iterable[str], missing: Iterable[str]) -> None:
    """Refuse, by name, what only one of the two folders has."""
    lacks = [
        f"{len(names)} without a {what}: {_listed(names)}"
        for what, names in (("reference", sorted(lone)), ("prediction", sorted(missing)))
        if names
    ]
    if lacks:
        raise InputError(
            f"{'; '.join(lacks)}. A prediction and its reference have the same name, but for the suffix; "
            "move away what is not to be evaluated"
        )


def _single(path: Path) -> Files | None:
    """The files of one case where the path is a mask or a folder of results; None for any other folder."""
    if is_folder(path):
        return _results(path)
    require_regular(path)
    return (path,)


def _results(folder: Path) -> Files | None:
    """The masks in a folder of results, the first layer first; None where it is none."""
    if not (folder / MASK).exists():
        ours = (folder / ALL_IN_ONE).exists() and record_in(folder / "run.json")
        return (folder / ALL_IN_ONE,) if ours else None
    further = sorted(folder.glob(MASK.replace(".nii.gz", "-*.nii.gz")))
    return (folder / MASK, *(path for path in further if not path.name.endswith(f"{SLICES}.nii.gz")))


def _in(place: Path) -> dict[str, Files]:
    """The masks in a place by name; raises InputError where there is none, or two of one name."""
    single = _single(place)
    if single is not None:
        return {_name(single): single}
    found: dict[str, Files] = {}
    for path in sorted(place.iterdir()):
        if path.name.startswith("."):
            continue
        if is_folder(path):
            files = _results(path)
        else:
            files = (path,) if path.name.lower().endswith(ENDINGS) else None
        if files is None:
            continue
        name = _name(files)
        if name in found:
            raise InputError(f"{printable(place)}: two masks are called {name!r}; move one away")
        found[name] = files
    if not found:
        raise InputError(
            f"{printable(place)}: holds no masks and no results; give a folder of mask files, "
            "or what `medseg segment` or `medseg cohort` wrote"
        )
    return found


def _name(files: Files) -> str:
    """A file's name without its suffix; the folder's name for results."""
    first = files[0]
    if first.name in (MASK, ALL_IN_ONE):
        return first.absolute().parent.name
    ending = next((each for each in ENDINGS if first.name.lower().endswith(each)), "")
    return first.name[: len(first.name) - len(ending)]


def _case_of(prediction: Files, reference: Files) -> str:
    """The id of a single case: as the results' record says, else after the reference's name."""
    if prediction[0].name in (MASK, ALL_IN_ONE):
        said = record_in(prediction[0].parent / "run.json").get("case")
        if isinstance(said, str) and PLAIN.fullmatch(said):
            return said
    return _case(_name(reference), prediction, reference)


def _case(name: str, prediction: Files, reference: Files) -> str:
    """An id that may stand in tables: the name, else a hash; of DICOM files, whose names may be patients'."""
    private = reference[0].name.lower().endswith(DICOM_ENDINGS) and prediction[0].name not in (
        MASK,
        ALL_IN_ONE,
    )
    if PLAIN.fullmatch(name) and not private:
        return name
    digest = hashlib.sha256()
    for path in reference:
        with open_regular(path) as file:
            digest.update(file.sha256().encode())
    return f"{'dicom' if private else 'case'}-{digest.hexdigest()[:12]}"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_SHOWN
    shown = ", ".join(printable(Path(name)) for name in names[:MOST_SHOWN])
    return f"{shown} and {rest} more" if rest > 0 else shown
