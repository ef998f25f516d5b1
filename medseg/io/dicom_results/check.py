"""Is a DICOM segmentation sound? Anyone's: its structure, its voxels, and its place on the series it names.

What breaks the standard, or makes masks land elsewhere than they were drawn, is an error; what some viewers
cannot do without is a warning. The file is read in the decoder process, as every foreign mask is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.decoder import refuse_oversize
from medseg.io.dicom_results.read_back import slices_of
from medseg.io.masks.dicom import mask_header
from medseg.io.masks.dicom_seg import BACKGROUND, decode_frames
from medseg.volume import Volume

__all__ = ["Checked", "Finding", "FoundSegment", "check_segmentation"]

SAME_MM = 1e-2  # positions of one plane, as writers with two decimals have them
TURNED = 1e-3  # of a direction cosine
UNEVEN = 0.05  # of the smallest distance of slices, as the reader of series tells even ones from others

POSITION, DIRECTIONS, SPACING = slice(0, 3), slice(3, 9), slice(9, 11)
THICKNESS, BETWEEN, NUMBER = 11, 12, 13


class Finding(NamedTuple):
    """Something that is wrong, in a line: an error, or a warning."""

    rank: Literal["error", "warning"]
    what: str


class FoundSegment(NamedTuple):
    """A segment as the file has it; `volume_ml` is None where the distance of slices cannot be said."""

    number: int
    name: str
    code: str | None
    voxels: int
    slices: int
    volume_ml: float | None


@dataclass(frozen=True)
class Checked:
    """What a segmentation is, what its segments are, and what is wrong with it."""

    kind: str
    frames: int
    segments: tuple[FoundSegment, ...]
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return not any(finding.rank == "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For programs; `volume_ml` to a thousandth."""
        segments = [
            {**segment._asdict(), "volume_ml": segment.volume_ml and round(segment.volume_ml, 3)}
            for segment in self.segments
        ]
        return {
            "kind": self.kind,
            "frames": self.frames,
            "sound": self.sound,
            "segments": segments,
            "findings": [finding._asdict() for finding in self.findings],
        }


def check_segmentation(path: Path, source: Volume | None = None) -> Checked:
    """Check a DICOM SEG file, with `source` also against the series that it was made for.

    Raises InputError where it is no segmentation, or so damaged that its frames cannot be decoded.
    """
    about, rows = mask_header(path, sources=True)
    if rows is None or about["object"] != "SEG":
        raise InputError(f"{path.name}: a structure set; this looks at segmentations (SEG)")
    if not about["labels"]:
        raise InputError(f"{path.name}: it describes no segment (SegmentSequence is missing)")
    table = np.asarray(rows, np.float64)
    if not len(table) or about["frames"] != len(table) or not (about["rows"] and about["columns"]):
        raise InputError(
            f"{path.name}: its header claims {about['frames'] or 0:g} frames, places {len(table)}"
        )
    findings = [*_of_header(about), *_of_frames(about, table)]
    planes = _planes(table)
    content = _content(path, about, table, planes)
    findings += content.findings
    if source is not None:
        findings += list(_against(about, table, source))
    return Checked(about["kind"], len(table), _segments(about, table, content), tuple(findings))


# ------------------------------------------------------------------ structure
def _of_header(about: Mapping[str, Any]) -> Iterator[Finding]:
    numbers = [item["number"] for item in about["labels"]]
    if about["kind"] not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        yield Finding("error", f"SegmentationType is {about['kind'] or 'missing'!r}")
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        yield Finding("error", f"SegmentNumber {twice[0]} is there twice")
    elif about["kind"] != "LABELMAP" and sorted(numbers) != list(range(1, len(numbers) + 1)):
        yield Finding("error", f"segments are not numbered 1 to {len(numbers)}")
    for key, word in (("category", "category"), ("code", "type")):
        without = [item["name"] or str(item["number"]) for item in about["labels"] if not item[key]]
        if without:
            yield Finding("error", f"no code for the {word} of {_listed(without)}")
    if not any(about["frames_of_reference"]):
        yield Finding("error", "no FrameOfReferenceUID: nothing says where it lies")
    if not about["series"]:
        yield Finding("warning", "no ReferencedSeriesSequence: OHIF does not show it")
    if not all(about["sources"]):
        count = sum(not source for source in about["sources"])
        yield Finding("warning", f"{count} frames name no source image")
    if not about["overlap"]:
        yield Finding("warning", "SegmentsOverlap is missing: readers must expect overlap")
    plain = [item for item in about["labels"] if item["code"] != BACKGROUND]
    if any(not np.isfinite(item["lab"]).all() for item in plain):
        yield Finding("warning", "segments without a recommended colour")
    if not all(item["tracked"] for item in plain):
        yield Finding("warning", "segments without a tracking UID: no report can be tied to them for long")


def _of_frames(about: Mapping[str, Any], rows: NDArray[np.float64]) -> Iterator[Finding]:
    if not np.isfinite(rows[:, :11]).all():
        yield Finding("error", "a frame has no position, orientation or pixel spacing")
        return
    if np.abs(rows[:, DIRECTIONS] - rows[0, DIRECTIONS]).max() > TURNED:
        yield Finding("error", "its frames differ in orientation")
    if np.abs(rows[:, SPACING] - rows[0, SPACING]).max() > TURNED:
        yield Finding("error", "its frames differ in pixel spacing")
    along, down = rows[0, DIRECTIONS].reshape(2, 3)
    if abs(along @ down) > TURNED or max(abs(np.linalg.norm(v) - 1) for v in (along, down)) > TURNED:
        yield Finding("error", "ImageOrientationPatient is not two directions at right angles")
    if about["kind"] == "LABELMAP":
        return
    stray = set(rows[:, NUMBER].tolist()) - {item["number"] for item in about["labels"]}
    if stray:
        yield Finding("error", f"frames belong to segments that are not described: {_listed(sorted(stray))}")


def _planes(rows: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each frame, which of the distinct places it lies at."""
    places = np.rint(np.nan_to_num(rows[:, POSITION]) / SAME_MM)
    return np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)


# ------------------------------------------------------------------ voxels
class _Content(NamedTuple):
    voxels: Counter[int]
    slices: Counter[int]
    findings: list[Finding]


def _content(
    path: Path, about: dict[str, Any], rows: NDArray[np.float64], planes: NDArray[np.intp]
) -> _Content:
    """Voxels and slices of each segment, from every frame; what overlaps, and what is not described."""
    size = (int(about["rows"]), int(about["columns"]))
    labelmap = about["kind"] == "LABELMAP"
    refuse_oversize(int(planes.max() + 1) * size[0] * size[1], path.name)
    drawn = np.zeros((0 if labelmap else int(planes.max()) + 1, *size), bool)
    voxels, slices = Counter[int](), Counter[int]()
    overlap, empty = 0, 0
    least = 0.5 * (about["most"] or 1) if about["kind"] == "FRACTIONAL" else 1

    def take(frame: int, values: NDArray[Any]) -> None:
        nonlocal overlap, empty
        if labelmap:
            counts = np.bincount(values.reshape(-1))
            there = np.flatnonzero(counts).tolist()
            voxels.update({number: int(counts[number]) for number in there})
            slices.update(there)
            return
        inside = values >= least
        count, number = int(np.count_nonzero(inside)), int(rows[frame, NUMBER])
        empty += not count
        voxels[number] += count
        slices[number] += count > 0
        overlap += int(np.count_nonzero(drawn[planes[frame]] & inside))
        drawn[planes[frame]] |= inside

    decode_frames(path, about, len(rows), take)
    findings = list(_of_content(about, voxels, overlap, empty))
    key = planes if labelmap else planes + (planes.max() + 1) * np.nan_to_num(rows[:, NUMBER]).astype(int)
    if len(np.unique(key)) < len(key):
        what = "two frames" if labelmap else "two frames of one segment"
        findings.append(Finding("error", f"{what} lie at one place: which counts?"))
    return _Content(voxels, slices, findings)


def _of_content(
    about: Mapping[str, Any], voxels: Counter[int], overlap: int, empty: int
) -> Iterator[Finding]:
    described = {item["number"]: item for item in about["labels"]}
    if about["kind"] == "LABELMAP":
        padding = about["padding"] or 0
        stray = [number for number in voxels if number not in described and number not in (0, padding)]
        if stray:
            yield Finding("error", f"voxels of segments that are not described: {_listed(sorted(stray))}")
    if overlap and about["overlap"] == "NO":
        yield Finding("error", f"SegmentsOverlap is NO, and {overlap} voxels are in several segments")
    if about["kind"] == "BINARY" and empty and len(voxels) and any(voxels.values()):
        yield Finding("warning", f"{empty} frames without content")
    without = [
        item["name"]
        for number, item in described.items()
        if not voxels[number] and item["code"] != BACKGROUND
    ]
    if without:
        yield Finding("warning", f"no voxel in {_listed(without)}")


def _segments(
    about: Mapping[str, Any], rows: NDArray[np.float64], content: _Content
) -> tuple[FoundSegment, ...]:
    distance = _distance(rows)
    voxel = None if distance is None else float(np.prod(rows[0, SPACING])) * distance / 1000
    return tuple(
        FoundSegment(
            number=(number := item["number"]),
            name=item["name"],
            code=item["code"],
            voxels=content.voxels[number],
            slices=content.slices[number],
            volume_ml=None if voxel is None else content.voxels[number] * voxel,
        )
        for item in about["labels"]
        if item["code"] != BACKGROUND
    )


def _distance(rows: NDArray[np.float64]) -> float | None:
    """Of slices in mm: as the file says, else the smallest between its frames, else their thickness.

    None where frames lie unevenly: what of the space between them is a slice's, they do not say.
    """
    if not np.isfinite(rows[:, :11]).all():
        return None
    if np.isfinite(rows[0, BETWEEN]) and rows[0, BETWEEN] > 0:
        return float(rows[0, BETWEEN])
    along, down = rows[0, DIRECTIONS].reshape(2, 3)
    heights = np.sort(rows[:, POSITION] @ np.cross(along, down))
    gaps = np.diff(heights)
    gaps = gaps[gaps > SAME_MM]
    if not len(gaps):
        thickness = rows[0, THICKNESS]
        return float(thickness) if np.isfinite(thickness) and thickness > 0 else None
    times = gaps / gaps.min()  # slices without content may have no frame
    return float(gaps.min()) if np.abs(times - np.rint(times)).max() <= UNEVEN else None


# ------------------------------------------------------------------ the series
def _against(about: Mapping[str, Any], rows: NDArray[np.float64], image: Volume) -> Iterator[Finding]:
    """Whether it refers to a series and lies on its slices."""
    source = image.source
    if source is None or not source.format.startswith("DICOM"):
        raise InputError("--source is no DICOM series; give the series that the segmentation was made for")
    headers = source.headers
    for key, keyword, word in (
        ("frames_of_reference", "FrameOfReferenceUID", "frame of reference"),
        ("series", "SeriesInstanceUID", "series"),
        ("study", "StudyInstanceUID", "study"),
    ):
        own = {header.get(keyword) for header in headers}
        told = {about[key]} if isinstance(about[key], str) else set(about[key])
        if told and not told & own:
            yield Finding("error", f"it names another {word} than the image's")
    if (int(about["columns"]), int(about["rows"])) != source.native.shape[:2]:
        yield Finding("error", "its frames have another size than the image's slices")
    slices = slices_of(rows, headers, near_mm=SAME_MM, near_cosine=TURNED)
    beside = int((slices < 0).sum())
    if beside:
        yield Finding("error", f"{beside} of {len(rows)} frames lie on no slice of the image")
    uids = [str(header.get("SOPInstanceUID")) for header in headers]
    foreign = sum(bool(uid) and uid not in uids for uid in about["sources"])
    if foreign:
        yield Finding("error", f"{foreign} frames name a source image that is not in the series")
    wrong = sum(
        k >= 0 and uid in uids and uids[k] != uid for k, uid in zip(slices, about["sources"], strict=True)
    )
    if wrong:
        yield Finding("error", f"{wrong} frames lie on another slice than the image that they name")


def _listed(names: Any, most: int = 5) -> str:
    texts = [f"{name:g}" if isinstance(name, float) else str(name) for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
