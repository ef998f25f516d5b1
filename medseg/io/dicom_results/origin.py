"""The series that a volume was read from, as results need it: who, which study, which images, where.

The first image's header is read again when a result is written, so that no patient is held in memory, or in
any other output, while a case is worked on. Only named tags are taken over: what else an archive or a scanner
left in a header, private tags above all, never gets into a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from medseg.errors import InputError
from medseg.io.archive import unpacked
from medseg.io.content import PEEK_BYTES, by_content
from medseg.io.dicom_results.identifiers import result_uid
from medseg.io.regular_file import open_seekable, printable
from medseg.volume import Source, Volume

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

    from medseg.prediction import Result

__all__ = ["LONG", "MAKER", "NUMBERS", "REQUIRED", "Origin", "one_line"]

MAKER = "medseg"
FORMAT = "DICOM series"
UTF8 = "ISO_IR 192"  # holds every patient's name and every label's
LONG = 64  # characters of a long string (LO), PS3.5 6.2
NUMBERS = {"SEG": 900, "SR": 901, "RTSTRUCT": 902, "OT": 903, "DOC": 904}
"""Series numbers by modality: high enough to stand behind the series of a scanner."""

# Patient and study, by intent. Type 2 tags must be there, if only empty (PS3.3 C.7.1.1, C.7.2.1)
REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
OPTIONAL = (
    "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription",
    "IssuerOfAccessionNumberSequence", "PatientIdentityRemoved", "DeidentificationMethod",
)  # fmt: skip
IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
IMAGE = (
    "SpecificCharacterSet", "FrameOfReferenceUID", "PositionReferenceIndicator", "Rows", "Columns",
    "BodyPartExamined", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
UNWANTED = (
    "InstitutionName", "InstitutionAddress", "StationName", "OperatorsName", "PatientComments",
    "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "PerformingPhysicianName",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
)  # fmt: skip
TAKEN = (*REQUIRED, *OPTIONAL, *IMAGE, "SOPInstanceUID")
ARCHIVES = ("a zip archive", "a tar archive", "gzip")

_known: WeakKeyDictionary[Volume, Origin] = WeakKeyDictionary()  # several writers of one result ask


@dataclass(frozen=True, eq=False)
class Origin:
    """The images that a volume was read from, by their headers, and which of them each of its slices is.

    origin = Origin.of(result.volume)
    report = origin.new(Comprehensive3DSRStorage, modality="SR", number=901, kind="dicom-sr", result=result)
    """

    datasets: tuple[Dataset, ...] = field(repr=False)
    """Headers without pixels, one an image, in the order of `Source.headers`; only tags that are taken."""
    slices: tuple[tuple[int, int | None], ...] = field(repr=False)
    """For each slice of `Source.headers`: which of the datasets it is, and its frame in there from 1 on."""
    others: tuple[Dataset, ...] = field(default=(), repr=False)
    """Images of further inputs, as a FLAIR beside the T1 whose slices these are: their UIDs alone."""

    @classmethod
    def of(cls, volume: Volume) -> Origin:
        """The series of a volume; raises InputError where there is none, or its files have changed."""
        if volume in _known:
            return _known[volume]
        lacking = cls.refusal(volume, placed=False)
        if lacking is not None or volume.source is None:
            raise InputError(f"a DICOM result needs {lacking}")
        origin = _read(volume.source)
        _known[volume] = origin
        return origin

    @staticmethod
    def refusal(volume: Volume, *, placed: bool = True) -> str | None:
        """What a volume lacks for a DICOM result, in a few words for `Writer.needs`; None where nothing.

        `placed` results lie in the patient, and need a frame of reference.
        """
        source = volume.source
        if source is None or source.format != FORMAT or not source.headers:
            return "a DICOM series as its image"
        if not all(_has_uids(header) for header in source.headers):
            return "an image with UIDs: some of this one's are empty, and no archive could follow them"
        if len({header["StudyInstanceUID"] for header in source.headers}) > 1:
            return "an image of one study"
        single = [header["SOPInstanceUID"] for header in source.headers if "frame" not in header]
        if len(set(single)) < len(single):
            return "images with UIDs of their own: several of this one share a SOPInstanceUID"
        frames = {header.get("FrameOfReferenceUID") for header in source.headers}
        if placed and (len(frames) > 1 or None in frames):
            return "one frame of reference (FrameOfReferenceUID) for all slices"
        return None

    @cached_property
    def uids(self) -> tuple[str, ...]:
        """SOPInstanceUIDs of the images, in order."""
        return tuple(str(dataset.SOPInstanceUID) for dataset in self.datasets)

    @property
    def first(self) -> Dataset:
        """The first image's header: patient, study and series are those of all."""
        return self.datasets[0]

    def reference(self, k: int) -> Dataset:
        """An item that refers to slice k: class and instance, and the frame where a file has several."""
        from pydicom import Dataset

        number, frame = self.slices[k]
        image, item = self.datasets[number], Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        if frame is not None:
            item.ReferencedFrameNumber = frame
        return item

    # -------------------------------------------------------------- objects of one's own
    def new(  # noqa: PLR0913 - all but the class are named
        self, sop_class: str, *, modality: str, kind: str, result: Result, number: int | None = None,
        description: str = "", instance: int = 1,
    ) -> FileDataset:  # fmt: skip
        """A new object beside the images: patient, study, series, frame of reference, equipment, SOP common.

        `kind` names the writer, and with it the UIDs: ("dicom-sr", "series"), ("dicom-sr", "instance", "1").
        `number` is the series', by its modality where none is given; `description` says what it is in a word
        or two, behind the model's name.
        """
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.uid import UID, ExplicitVRLittleEndian

        meta = FileMetaDataset()
        made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        meta.MediaStorageSOPClassUID = made.SOPClassUID = UID(sop_class)
        uid = UID(result_uid(self, result.provenance, kind, "instance", str(instance)))
        meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.StudyInstanceUID = self.first.StudyInstanceUID
        made.SeriesInstanceUID = result_uid(self, result.provenance, kind, "series")
        made.Modality = modality
        made.SeriesNumber = NUMBERS[modality] if number is None else number
        made.InstanceNumber = instance
        for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):
            if "FrameOfReferenceUID" in self.first:
                setattr(made, keyword, self.first.get(keyword, ""))
        self.complete(made, result=result, description=description)
        return made

    def complete(self, made: Dataset, *, result: Result, description: str = "") -> None:
        """Give an object, also one that highdicom built, what each of ours has, and take what none may have.

        Patient and study by name, dates of series and content, body part, equipment, the marks of research.
        """
        self.strip(made)
        for keyword in ("SpecificCharacterSet", *REQUIRED, *OPTIONAL, "BodyPartExamined"):
            if keyword in self.first:
                made[keyword] = self.first[keyword]
        now = datetime.now().astimezone()
        day, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
        made.InstanceCreationDate = made.SeriesDate = made.ContentDate = day
        made.InstanceCreationTime = made.SeriesTime = made.ContentTime = time
        model = result.provenance.get("model") or {}
        name = str(model.get("name") or "pipeline")
        made.SeriesDescription = series_description(name, description)
        made.Manufacturer, made.ManufacturerModelName = MAKER, one_line(name)
        versions = ((MAKER, version("medseg")), (name, model.get("version")))
        made.SoftwareVersions = [one_line(f"{what} {number}") for what, number in versions if number]
        # Type 1 in enhanced objects: the model stands for the device, and its pipeline for the serial number
        made.DeviceSerialNumber = str(model.get("pipeline_sha256") or "none")[:16]
        made.ContentQualification = "RESEARCH"

    @staticmethod
    def strip(made: Dataset) -> None:
        """Take out private tags, and what names a station, a place or a person at the scanner.

        Of the object itself: what lies deeper was made here, and is not looked through.
        """
        for tag in [tag for tag in made.keys() if tag.is_private]:  # noqa: SIM118 - a dataset is no dict
            del made[tag]
        for keyword in UNWANTED:
            if keyword in made:
                delattr(made, keyword)


def series_description(model: str, what: str = "") -> str:
    """`medseg MODEL - RESEARCH ONLY`, of at most 64 characters: a long name is cut, never the mark."""
    end = f" {one_line(what)} - RESEARCH ONLY" if what else " - RESEARCH ONLY"
    return one_line(f"{MAKER} {one_line(model)}", LONG - len(end)) + end


def one_line(text: object, most: int = LONG) -> str:
    """A text as a long string (LO) can hold it: one line of at most `most` characters, no backslash."""
    plain = "".join(c if c.isprintable() and c != "\\" else " " for c in str(text))
    return " ".join(plain.split())[:most].rstrip()


# ------------------------------------------------------------------ reading a header again
def _read(source: Source) -> Origin:
    """Patient and study from the first image's file, the rest from what its reader kept of each image."""
    from pydicom import Dataset

    wanted: dict[str, Mapping[str, Any]] = {}
    for header in source.headers:
        wanted.setdefault(str(header["SOPInstanceUID"]), header)
    first = next(iter(wanted))
    image = _in_archive(source, first) if _is_archive(source.files) else _header(source.files[0])
    if image is None or str(image.get("SOPInstanceUID")) != first:
        raise InputError(f"image ...{first[-8:]} is no longer where it was read; run again")
    common = _common(image)
    datasets = []
    for header in wanted.values():
        dataset = Dataset()
        dataset.update(common)
        for keyword in IDENTITY:
            setattr(dataset, keyword, header[keyword])
        datasets.append(dataset)
    place = {uid: number for number, uid in enumerate(wanted)}
    slices = tuple(
        (place[str(header["SOPInstanceUID"])], None if (frame := header.get("frame")) is None else frame + 1)
        for header in source.headers
    )
    return Origin(tuple(datasets), slices, _others(source, set(wanted)))


def _others(source: Source, known: set[str]) -> tuple[Dataset, ...]:
    """Images of joined inputs that are DICOM and have UIDs, each once and none that is known already."""
    from pydicom import Dataset

    found: dict[str, Dataset] = {}
    headers = (header for part in source.joined if part.format == FORMAT for header in part.headers)
    for header in headers:
        uid = str(header.get("SOPInstanceUID"))
        if uid in known or uid in found or not _has_uids(header):
            continue
        found[uid] = Dataset()
        for keyword in IDENTITY:
            setattr(found[uid], keyword, header[keyword])
    return tuple(found.values())


def _has_uids(header: Mapping[str, Any]) -> bool:
    """Whether an image can be referred to: it has its own UIDs, none of which a reader made up."""
    return not header.get("repaired") and all(header.get(uid) for uid in IDENTITY)


def _is_archive(files: Sequence[Path]) -> bool:
    if len(files) != 1:
        return False
    with open_seekable(files[0]) as file:
        return by_content(file.read(PEEK_BYTES)) in ARCHIVES


def _in_archive(source: Source, uid: str) -> Dataset | None:
    """An image's header from an archive, which is unpacked once more: what was unpacked is gone."""
    path = source.files[0]
    with unpacked(path) as contents:
        if contents.sha256 != source.sha256[0]:
            raise InputError(f"{printable(path)}: has changed since it was read; run again")
        for file in sorted(contents.folder.rglob("*")):
            if not file.is_file():
                continue
            with file.open("rb") as opened:
                if by_content(opened.read(PEEK_BYTES)) != "DICOM":
                    continue
            dataset = _header(file)
            if str(dataset.get("SOPInstanceUID")) == uid:
                return dataset
    return None


def _header(path: Path) -> Dataset:
    from pydicom import dcmread

    from medseg.io.child.dicom import refuse_deflate_bomb
    from medseg.io.child.reply import RefusedError

    with open_seekable(path) as file:
        try:
            refuse_deflate_bomb(file)
        except RefusedError as refusal:
            raise InputError(f"{printable(path)}: {refusal}") from refusal
        file.seek(0)
        # force: a file without a preamble was read, too
        return dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(TAKEN))


def _common(dataset: Dataset) -> Dataset:
    """What all images of a series share, decoded, in UTF-8; what a result must have is empty where it lacks.

    The first image counts for all: the reader lets no images of two patients pass as one.
    """
    import warnings

    from pydicom import Dataset

    told = Dataset()
    with warnings.catch_warnings(action="ignore"):  # values that break a rule are the image's own
        for keyword in (*REQUIRED, *OPTIONAL, *IMAGE):
            if keyword in dataset:
                told[keyword] = dataset[keyword]
            elif keyword in REQUIRED:
                setattr(told, keyword, "")
        for keyword in ("PatientName", "ReferringPhysicianName"):
            setattr(told, keyword, str(told[keyword].value or ""))  # decoded, to be encoded anew
    told.SpecificCharacterSet = UTF8
    for item in told.get("IssuerOfAccessionNumberSequence") or ():
        item.remove_private_tags()
    return told
