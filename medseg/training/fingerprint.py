"""What a dataset is like: sizes, spacings, intensities and labels, from which a plan for training follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.extent import extent
from medseg.io import digests
from medseg.prediction import silent
from medseg.training.dataset import Case, Dataset, Example, read_case
from medseg.volume import PICTURES, Volume

__all__ = ["CaseFacts", "Fingerprint", "Intensity", "Measuring", "fingerprint", "fingerprint_key"]

Progress = Callable[[str, int, int], None]
Triple = tuple[float, float, float]

VERSION = 1
SAMPLED = 10_000  # voxels of each case; percentiles over all cases then rest on as many of each
LOW, MIDDLE, HIGH = 0.5, 50.0, 99.5  # percentiles; nnU-Net clips CT between the outer two
AIR_HU = -700.0  # below every tissue but lung; an image that reaches it holds air or is no CT
LEAST_HU = -4096.0
BONE_HU = 100.0  # an image in HU has something brighter than soft tissue
MOST_HU = 33_000.0
MOST_CASES_HU = 0.8  # of the cases must look like HU


@dataclass(frozen=True)
class Intensity:
    """Values of a channel within the labels (in all voxels where there are none): percentiles, mean, sd."""

    low: float
    """0.5th percentile."""
    median: float
    high: float
    """99.5th percentile."""
    mean: float
    sd: float


@dataclass(frozen=True)
class CaseFacts:
    """One case. `shape` and `spacing` are along i, j, k of its file, whose directions `axis_codes` names.

    `minimum` and `maximum` are over all voxels and channels; `box_share` is the share of voxels in the
    smallest box around those that are not 0; `voxels` counts the voxels of each label. `picture` says that
    it was a PNG or TIFF, with one page or several, whose axes have no left and right.
    """

    id: str
    shape: tuple[int, int, int]
    spacing: Triple
    axis_codes: str
    unit: str
    voxel_ml: float | None
    channels: tuple[str, ...]
    minimum: float
    maximum: float
    box_share: float
    intensities: tuple[Intensity, ...]
    voxels: Mapping[str, int]
    ignored: int
    picture: bool
    modality: str | None

    @property
    def standing_shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        i, j, k = (self.shape[axis] for axis in _standing(self.axis_codes))
        return i, j, k

    @property
    def standing_spacing(self) -> Triple:
        """Spacing along x, y, z, in `unit`."""
        i, j, k = (self.spacing[axis] for axis in _standing(self.axis_codes))
        return i, j, k

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of each label in mL; none where the unit is px."""
        if self.voxel_ml is None:
            return {}
        return {name: count * self.voxel_ml for name, count in self.voxels.items()}


@dataclass(frozen=True)
class Fingerprint:
    """All cases, and what follows from them.

    `key` tells the files and labels it was taken from; `intensities` are over a sample of all cases' voxels,
    one for each channel. Medians are along x, y, z.
    """

    key: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    modalities: tuple[str | None, ...]
    """Of each input: as stated, else "CT" where values look like Hounsfield units, else None."""
    intensities: tuple[Intensity, ...]
    cases: tuple[CaseFacts, ...]
    version: int = field(default=VERSION)

    @property
    def pictures(self) -> bool:
        """Whether all cases are flat pictures."""
        return self.dims == 2 and not self.sided

    @property
    def sided(self) -> bool:
        """Whether it is known of any case where left is: not of pictures, and not of stacks of them."""
        return not all(case.picture for case in self.cases)

    @property
    def mixed(self) -> bool:
        """Whether some cases are pictures in colours, and others grey."""
        return self.pictures and len({case.channels for case in self.cases}) > 1

    @property
    def dims(self) -> int:
        """2 where every case is a single slice, else 3."""
        return 2 if all(min(case.standing_shape) == 1 for case in self.cases) else 3

    @property
    def median_shape(self) -> Triple:
        """Voxels along x, y, z."""
        return _median([case.standing_shape for case in self.cases])

    @property
    def median_spacing(self) -> Triple:
        """Along x, y, z, in the cases' unit."""
        return _median([case.standing_spacing for case in self.cases])

    @property
    def median_box_share(self) -> float:
        """Share of an image's voxels in the box around those that are not 0."""
        return float(np.median([case.box_share for case in self.cases]))

    @property
    def presence(self) -> dict[str, int]:
        """In how many cases each label has a voxel."""
        return {name: sum(case.voxels.get(name, 0) > 0 for case in self.cases) for name in self.labels}

    @property
    def voxel_shares(self) -> dict[str, float]:
        """Share of each label in all voxels of all cases."""
        total = sum(float(np.prod(case.shape)) for case in self.cases)
        return {name: sum(case.voxels.get(name, 0) for case in self.cases) / total for name in self.labels}

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; no path, ids of cases only."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Fingerprint:
        """What `as_json` gave; raises ValueError for another version's."""
        if told.get("version") != VERSION:
            raise ValueError(f"a fingerprint of version {told.get('version')}, not {VERSION}")
        cases = tuple(
            CaseFacts(**{**_tupled(case), "intensities": _intensities(case["intensities"])})
            for case in told["cases"]
        )
        return cls(**{**_tupled(told), "intensities": _intensities(told["intensities"]), "cases": cases})


def fingerprint_key(dataset: Dataset, cases: Iterable[Case]) -> str:
    """SHA-256 of the labels' meaning and of every file's bytes; no pixel is decoded."""
    told: list[Any] = [VERSION, dataset.meaning]
    for case in sorted(cases, key=lambda case: case.id):
        files = {what: digests(path) for what, path in sorted(case.files.items())}
        told.append([case.id, files])
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def fingerprint(dataset: Dataset, cases: Sequence[Case], progress: Progress = silent) -> Fingerprint:
    """What the cases are like; reads each of them once. Raises what `read_case` raises."""
    measuring = Measuring(dataset)
    for number, case in enumerate(cases, start=1):
        measuring.take(case, read_case(case, dataset))
        progress("fingerprint", number, len(cases))
    return measuring.finish(fingerprint_key(dataset, cases))


class Measuring:
    """Takes cases one by one, and holds a sample of their voxels, not the images."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._facts: list[CaseFacts] = []
        self._samples: list[NDArray[np.float32]] = []
        self._channels: tuple[str, ...] = ()

    def take(self, case: Case, example: Example) -> CaseFacts:
        """The facts of one more case."""
        volume, segmentation = example.volume, example.segmentation
        sample = _sample(case.id, example)
        voxels = (
            {}
            if segmentation is None
            else {
                label.name: int(np.count_nonzero(segmentation.mask(label.name)))
                for label in segmentation.labels
            }
        )
        facts = CaseFacts(
            id=case.id,
            shape=volume.grid.shape,
            spacing=_rounded(volume.grid.spacing),
            axis_codes=volume.grid.axis_codes,
            unit=volume.grid.unit,
            voxel_ml=volume.grid.voxel_ml if volume.grid.unit == "mm" else None,
            channels=volume.channels,
            minimum=float(volume.array.min()),
            maximum=float(volume.array.max()),
            box_share=_box_share(volume),
            intensities=tuple(_intensity(channel) for channel in sample),
            voxels=voxels,
            ignored=0 if example.ignore is None else int(np.count_nonzero(example.ignore)),
            picture=volume.source is not None and volume.source.format in PICTURES,
            modality=volume.source.modality if volume.source is not None else None,
        )
        self._facts.append(facts)
        if not self._channels:
            self._channels = volume.channels
        if len(sample) == len(self._channels):
            self._samples.append(sample)
        return facts

    def finish(self, key: str) -> Fingerprint:
        """All of them together; raises InputError where none could be taken."""
        if not self._samples:
            raise InputError("there are no cases to describe; label some, and keep some from the test")
        pooled = np.concatenate(self._samples, axis=1)
        return Fingerprint(
            key=key,
            channels=self._channels,
            labels=tuple(label.name for label in self._dataset.labels),
            modalities=_modalities(self._dataset, self._facts),
            intensities=tuple(_intensity(channel) for channel in pooled),
            cases=tuple(sorted(self._facts, key=lambda case: case.id)),
        )


def _sample(case_id: str, example: Example) -> NDArray[np.float32]:
    """Values `[C, n]` of voxels drawn from the labels, or from everywhere where there are none."""
    array = example.volume.array
    if example.segmentation is None:
        where = np.arange(array[0].size)
    else:
        where = np.flatnonzero(np.logical_or.reduce(example.segmentation.array != 0, axis=0))
        where = where if len(where) else np.arange(array[0].size)
    if len(where) > SAMPLED:
        seed = int.from_bytes(hashlib.sha256(case_id.encode()).digest()[:8])
        where = np.random.default_rng(seed).choice(where, SAMPLED, replace=False, shuffle=False)
    i, j, k = np.unravel_index(where, array.shape[1:])
    return np.asarray(array[:, i, j, k], np.float32)


def _intensity(values: NDArray[np.float32]) -> Intensity:
    low, middle, high = np.percentile(values, (LOW, MIDDLE, HIGH))
    mean, sd = float(np.mean(values, dtype=np.float64)), float(np.std(values, dtype=np.float64))
    return Intensity(float(low), float(middle), float(high), mean, sd)


def _box_share(volume: Volume) -> float:
    """Share of voxels in the box around those that are not 0 in any channel; 0 for an empty image."""
    there = volume.array[0] != 0
    for channel in volume.array[1:]:
        there |= channel != 0
    box = extent(there)
    return 0.0 if box is None else there[box].size / there.size


def _modalities(dataset: Dataset, facts: Sequence[CaseFacts]) -> tuple[str | None, ...]:
    """Of each input: stated by the dataset or by all files; with one input, told by its values."""
    stated = {case.modality for case in facts}
    found: list[str | None] = []
    for number, spec in enumerate(dataset.inputs):
        known = spec.modality
        if known is None and number == 0 and len(stated) == 1:
            known = next(iter(stated))
        if known is None and len(dataset.inputs) == 1:
            alike = sum(_looks_like_hu(case) for case in facts)
            known = "CT" if facts and alike >= MOST_CASES_HU * len(facts) else None
        found.append(known)
    return tuple(found)


def _looks_like_hu(case: CaseFacts) -> bool:
    """Whether one image's values run from air to above soft tissue, as only Hounsfield units do."""
    return (
        len(case.channels) == 1
        and not case.picture
        and LEAST_HU <= case.minimum <= AIR_HU
        and BONE_HU <= case.maximum <= MOST_HU
    )


def _standing(codes: str) -> tuple[int, int, int]:
    """Which axis of a file runs along x, y and z."""
    i, j, k = (next(n for n, code in enumerate(codes) if code in ends) for ends in ("LR", "PA", "IS"))
    return i, j, k


def _median(triples: Sequence[Triple]) -> Triple:
    i, j, k = (float(value) for value in np.median(np.asarray(triples, np.float64), axis=0))
    return i, j, k


def _rounded(spacing: Triple) -> Triple:
    """To a nanometre: rounding noise of headers is no difference between cases."""
    i, j, k = (round(each, 6) for each in spacing)
    return i, j, k


def _intensities(told: Iterable[Mapping[str, float]]) -> tuple[Intensity, ...]:
    return tuple(Intensity(**each) for each in told)


def _tupled(told: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
