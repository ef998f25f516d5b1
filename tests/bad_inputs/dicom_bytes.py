"""DICOM slices of a phantom whose every voxel is known, and datasets to be spoiled before they are saved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from bad_inputs.cases import NUMBERS, SHAPE, Build, Built, Case, Geometry, add, geometry
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AXIAL",
    "BIG_ENDIAN",
    "CORNER",
    "CT",
    "DEFLATED",
    "EXPLICIT",
    "IMPLICIT",
    "MR",
    "RLE",
    "SC",
    "SPACING",
    "Dataset",
    "Slices",
    "accept",
    "affine_of",
    "altered",
    "dataset",
    "decimal",
    "doubt",
    "having",
    "image",
    "numbered",
    "patch",
    "renamed",
    "save",
    "saved",
    "series",
    "spoiled",
    "stored_values",
    "uid",
    "volume",
    "without",
]

Dataset: TypeAlias = Any  # pydicom.Dataset: its attributes are the standard's, without types
Slices: TypeAlias = tuple[list[Dataset], Geometry | None]

CT, MR, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SPACING = (0.7, 0.9)
"""PixelSpacing in mm: between rows, between columns."""
CORNER = (-10.0, -20.0, -30.0)
"""LPS mm of the first voxel."""
STEP = 2.5  # mm between slices
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
MODALITIES = {CT: "CT", MR: "MR"}


def uid(*parts: object) -> str:
    """A UID that is the same in every run."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()
    return "1.2.826.0.1.3680043.8.498." + str(int(digest[:28], 16))


def decimal(value: float) -> str:
    """A decimal string (DS): at most 16 characters."""
    return f"{float(value):.10g}"[:16]


def dataset(tag: str, sop_class: str, instance: str, series: str = "s1", syntax: str = EXPLICIT) -> Dataset:
    """What every object of a study has, patient included; `tag` and `series` make its UIDs."""
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta: Any = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance
    meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, "1.2.826.0.1.3680043.8.498.1"
    ds: Dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, instance
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "20200102", "030405", ""
    ds.Modality = MODALITIES.get(sop_class, "OT")
    ds.Manufacturer, ds.StudyDescription, ds.SeriesDescription = "SYNTH", "BATTERY", "AX"
    ds.PatientName, ds.PatientID = "CANARYSURNAME^GIVEN", "PHIID98765"
    ds.PatientBirthDate, ds.PatientSex = "19450607", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(tag, "study"), uid(tag, series)
    ds.FrameOfReferenceUID, ds.StudyID, ds.SeriesNumber = uid(tag, "for"), "1", 1
    return ds


def image(
    tag: str,
    k: int,
    stored: NDArray[Any],
    position: ArrayLike,
    *,
    orientation: ArrayLike = AXIAL,
    spacing: Sequence[float] = SPACING,
    sop_class: str = CT,
    series: str = "s1",
    syntax: str = EXPLICIT,
    thickness: float = STEP,
    slope: str | None = "1",
    intercept: str = "-1024",
) -> Dataset:
    """One slice with stored values `[row, column]` at `position`, LPS mm."""
    ds = dataset(tag, sop_class, uid(tag, series, "i", k), series, syntax)
    ds.InstanceNumber, ds.AcquisitionNumber = k + 1, 1
    ds.ImagePositionPatient = [decimal(x) for x in np.asarray(position)]
    ds.ImageOrientationPatient = [decimal(x) for x in np.asarray(orientation)]
    ds.PixelSpacing, ds.SliceThickness = [decimal(x) for x in spacing], decimal(thickness)
    stored = np.ascontiguousarray(stored)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated = ds.BitsStored = stored.dtype.itemsize * 8
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(stored.dtype.kind == "i")
    if slope is not None:
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = intercept, slope, "HU"
    order: Literal["<", ">"] = ">" if syntax == BIG_ENDIAN else "<"
    content = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    ds.add_new(0x7FE00010, "OW" if stored.dtype.itemsize > 1 else "OB", content)
    return ds


def affine_of(
    position: ArrayLike, orientation: ArrayLike, spacing: Sequence[float], step: ArrayLike
) -> NDArray[np.float64]:
    """RAS+ affine with axes column index, row index, slice, from LPS geometry."""
    along = np.asarray(orientation, float)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along[:3] * spacing[1], along[3:] * spacing[0]
    affine[:3, 2], affine[:3, 3] = step, position
    return TO_RAS @ affine


def volume(
    tag: str,
    count: int = SHAPE[2],
    *,
    orientation: ArrayLike = AXIAL,
    step: ArrayLike | None = None,
    **more: Any,
) -> tuple[list[Dataset], Geometry]:
    """`count` slices and their geometry: stored value is the voxel's number, rescale makes it HU."""
    along = np.asarray(orientation, float)
    by = np.cross(along[:3], along[3:]) * STEP if step is None else np.asarray(step, float)
    spacing = more.get("spacing", SPACING)
    slices = [
        image(tag, k, numbered(k), np.asarray(CORNER) + by * k, orientation=along, **more)
        for k in range(count)
    ]
    return slices, geometry(NUMBERS[:, :, :count] - 1024.0, affine_of(CORNER, along, spacing, by))


def numbered(k: int) -> NDArray[Any]:
    """Stored values `[row, column]` of slice k."""
    return NUMBERS[:, :, k].T.astype("<i2")


def save(ds: Dataset, path: Path) -> Path:
    """Write one file as it stands, broken rules included."""
    from pydicom import dcmwrite

    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, ds, enforce_file_format=False)
    return path


def saved(folder: Path, slices: Iterable[Dataset]) -> Path:
    """Write slices as IM0000.dcm and so on; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, ds in enumerate(slices):
        save(ds, folder / f"IM{k:04d}.dcm")
    return folder


def series(build: Callable[[str], tuple[Iterable[Dataset], Geometry | None]]) -> Build:
    """A case that is one folder of the slices that `build(tag)` makes."""

    def written(folder: Path, tag: str) -> Built:
        slices, expected = build(tag)
        return saved(folder / "in", slices), expected

    return written


def accept(
    name: str, family: str, build: Callable[[str], Slices], also_ok: tuple[str, ...] = (), notes: str = ""
) -> None:
    """Register a series that must be read."""
    add(Case(name, family, "accept", series(build), also_ok=also_ok, notes=notes))


def doubt(
    name: str,
    family: str,
    build: Callable[[str], Slices],
    reason: str,
    expect: Literal["reject", "warn"] = "reject",
    also_ok: tuple[str, ...] = (),
    **more: Any,
) -> None:
    """Register a series that must be refused, or read with a warning."""
    add(Case(name, family, expect, series(build), reason, also_ok=also_ok, **more))


def spoiled(edit: Callable[[list[Dataset]], object]) -> Callable[[str], Slices]:
    """A good series, spoiled: no geometry is expected of it."""

    def build(tag: str) -> Slices:
        slices, _ = volume(tag)
        edit(slices)
        return slices, None

    return build


def altered(edit: Callable[[int, Dataset], object]) -> Callable[[str], Slices]:
    """A good series whose slices are altered one by one so that its geometry and values stay."""

    def build(tag: str) -> Slices:
        slices, expected = volume(tag)
        for k, ds in enumerate(slices):
            edit(k, ds)
        return slices, expected

    return build


def renamed(ds: Dataset, new: str) -> None:
    """Give an image another SOPInstanceUID, in its file meta information too."""
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = new


def stored_values(ds: Dataset) -> NDArray[np.int16]:
    """Stored values, flat, of a 16-bit slice that is not compressed."""
    return np.frombuffer(ds.PixelData, "<i2")


def without(keyword: str) -> Callable[[str], Slices]:
    """A series none of whose slices has an element."""

    def edit(slices: list[Dataset]) -> None:
        for ds in slices:
            delattr(ds, keyword)

    return spoiled(edit)


def having(keyword: str, value: Any) -> Callable[[str], Slices]:
    """A series all of whose slices have a value that forbids reading it."""

    def edit(slices: list[Dataset]) -> None:
        for ds in slices:
            setattr(ds, keyword, value)

    return spoiled(edit)


def patch(path: Path, old: bytes, new: bytes) -> None:
    """Replace the first occurrence of some bytes of a file by as many others."""
    content = path.read_bytes()
    assert old in content, (path, old)
    assert len(old) == len(new), (old, new)
    path.write_bytes(content.replace(old, new, 1))
