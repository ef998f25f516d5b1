"""Time reading and writing against nibabel and SimpleITK, in one run, on the same images.

    python tests/benchmarks/bench_io.py [nifti] [dicom]

Prints the best wall time of three rounds, interleaved, the ratio to the peer, and sizes or peak memory; no
time is asserted. The figures of a busy machine mean little, their ratios more. A real CT, resampled to the
same size, is used too where MEDSEG_TEST_DATA is set. Each DICOM reader runs in processes of its own; memory
is what such a process and its children held at most, added up. How much longer a first read takes, for
imports and the start of the decoder, is told apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel  # noqa: TID253 - a benchmark
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253 - a benchmark

from medseg import Grid, Volume
from medseg.io import read
from medseg.io.nifti import write_volume

nibabel: Any = untyped_nibabel
Image = NDArray[np.int16]
ROUNDS = 3
SHAPE = (512, 512, 300)
AFFINE = np.diag([-0.7, -0.7, 1.0, 1.0])
NOISE_HU = 12.0
REAL_CT = "ct_totalseg_A/ct.nii.gz"
JPEG_2000 = "1.2.840.10008.1.2.4.90"


def main() -> None:
    """Run what was asked for, by default all."""
    asked = sys.argv[1:] or ["nifti", "dicom"]
    if asked[0] == "one-reader":
        say(json.dumps(one_reader(asked[1], Path(asked[2]), Path(asked[3]))))
        return
    say(f"{SHAPE} int16, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        if "nifti" in asked:
            nifti("CT-like", ct_like(), Path(folder))
            real = real_ct()
            if real is not None:
                nifti("real CT", real, Path(folder))
        if "dicom" in asked:
            dicom(Path(folder))


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201


# ---- images


def ct_like() -> Image:
    """Soft structures in a body of elliptical section, air around it, noise all over; first axis fastest."""
    rng = np.random.default_rng(0)
    coarse = ndimage.gaussian_filter(rng.normal(size=(64, 64, 38)).astype(np.float32), 3)
    smooth = resized(coarse / coarse.std() * 150)
    x, y = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    smooth[x**2 / 0.8 + y**2 / 0.5 > 1] = -1000
    return noisy(smooth, rng)


def real_ct() -> Image | None:
    """A real CT of 3 mm, interpolated, with noise as at this resolution; None where there is none."""
    path = Path(os.environ.get("MEDSEG_TEST_DATA", ".")) / REAL_CT
    if not path.is_file():
        return None
    coarse = np.asarray(nibabel.load(path).dataobj, np.float32)
    return noisy(resized(coarse), np.random.default_rng(1))


def resized(coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image at SHAPE, linear."""
    zoom = [n / m for n, m in zip(SHAPE, coarse.shape, strict=True)]
    return np.asarray(ndimage.zoom(coarse, zoom, order=1))


def noisy(image: NDArray[np.float32], rng: np.random.Generator) -> Image:
    """The image with noise, as the int16 of a scanner."""
    for k in range(image.shape[2]):
        image[:, :, k] += rng.normal(size=image.shape[:2]) * NOISE_HU
    return np.asfortranarray(np.clip(np.rint(image), -1024, 3071).astype(np.int16))


# ---- NIfTI


def nifti(title: str, image: Image, folder: Path) -> None:
    """Write and read `.nii.gz`, each reader the file that nibabel wrote."""
    ours, theirs = folder / "ours.nii.gz", folder / "nibabel.nii.gz"
    volume = Volume(image[None], Grid(SHAPE, AFFINE))
    compare(
        f"{title}: write .nii.gz",
        lambda: write_volume(volume, ours),
        lambda: nibabel.save(nibabel.Nifti1Image(image, AFFINE), theirs),
    )
    mb = [path.stat().st_size / 1e6 for path in (ours, theirs)]
    say(f"{'':<30} {mb[0]:7.1f} MB           {mb[1]:7.1f} MB   ratio {mb[0] / mb[1]:.2f}")
    across = Volume(np.ascontiguousarray(image)[None], volume.grid)
    compare(
        f"{title}: write, last axis fastest",
        lambda: write_volume(across, ours),
        lambda: nibabel.save(nibabel.Nifti1Image(across.array[0], AFFINE), theirs),
    )
    compare(f"{title}: read .nii.gz", lambda: read(theirs), lambda: np.asarray(nibabel.load(theirs).dataobj))
    compare(
        f"{title}: read what we wrote",
        lambda: read(ours),
        lambda: np.asarray(nibabel.load(ours).dataobj),
    )
    for path in (ours, theirs):
        assert np.array_equal(read(path).array[0], image)
        assert np.array_equal(np.asarray(nibabel.load(path).dataobj), image)


def compare(title: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    """Print both times and their ratio."""
    best = [float("inf")] * 2
    for _ in range(ROUNDS):
        for n, call in enumerate((ours, theirs)):
            start = time.perf_counter()
            call()
            best[n] = min(best[n], time.perf_counter() - start)
    say(f"{title:<30} {best[0]:7.3f} s   nibabel {best[1]:7.3f} s    ratio {best[0] / best[1]:.2f}")


# ---- DICOM


def dicom(folder: Path) -> None:
    """Read a series as stored by a scanner and as stored by an archive."""
    image = ct_like()
    plain, packed, small = folder / "plain", folder / "packed", folder / "small"
    write_series(plain, image)
    write_series(small, image[:, :, :3])
    packed.mkdir()
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(compress, path, packed / path.name) for path in sorted(plain.iterdir())]
        for job in jobs:
            job.result()
    for title, series in (("uncompressed", plain), ("JPEG 2000 lossless", packed)):
        found: dict[str, list[dict[str, Any]]] = {"medseg": [], "SimpleITK": []}
        for _ in range(ROUNDS):
            for reader, runs in found.items():
                command = [sys.executable, __file__, "one-reader", reader, str(series), str(small)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs.append(json.loads(done.stdout))
        best = {
            reader: {key: min(run[key] for run in runs) for key in runs[0]} for reader, runs in found.items()
        }
        ours, theirs = best["medseg"], best["SimpleITK"]
        assert ours["sum"] == theirs["sum"], "not the same values"
        times = f"{ours['s']:7.3f} s   SimpleITK {theirs['s']:7.3f} s   ratio {ours['s'] / theirs['s']:.2f}"
        say(f"{'DICOM, ' + title:<30} {times}")
        say(f"{'':<30} {ours['mb']:7.0f} MB            {theirs['mb']:7.0f} MB at most, of them voxels 157 MB")
        say(f"{'':<30} {ours['start_s']:7.3f} s             {theirs['start_s']:7.3f} s for a first read")


def write_series(folder: Path, image: Image) -> None:
    """One CT file a slice."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir()
    for k in range(image.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.1.{k + 1}")
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_: Dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, f"1.2.3.1.{k + 1}"
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID = (
            "1.2.3",
            "1.2.3.1",
            "1.2.4",
        )
        slice_.Modality, slice_.InstanceNumber, slice_.ImageType = (
            "CT",
            k + 1,
            ["ORIGINAL", "PRIMARY", "AXIAL"],
        )
        slice_.Columns, slice_.Rows = image.shape[:2]
        slice_.PixelSpacing, slice_.SliceThickness = [0.7, 0.7], 1
        slice_.ImageOrientationPatient, slice_.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, k]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
        slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
        slice_.PixelData = (image[:, :, k] + 1024).astype("<i2").tobytes(order="F")
        slice_.save_as(folder / f"{k + 1:04d}.dcm", enforce_file_format=True)


def compress(plain: Path, packed: Path) -> None:
    """The same slice, its pixels as lossless JPEG 2000."""
    import pydicom

    slice_ = pydicom.dcmread(plain)
    slice_.compress(JPEG_2000, generate_instance_uid=False)
    slice_.save_as(packed)


def one_reader(reader: str, series: Path, small: Path) -> dict[str, float]:
    """Time of a read, and how much longer a first read takes; memory; the sum of all values."""
    call = {"medseg": by_medseg, "SimpleITK": by_simpleitk}[reader]
    small_s = [seconds(lambda: call(small)) for _ in range(2)]
    first_s = seconds(lambda: call(series))
    mb = peak_mb()  # of one read: a second one may find memory that was kept
    found: list[tuple[object, NDArray[Any]]] = []
    again_s = seconds(lambda: found.append(call(series)))
    total = float(found[0][1].sum(dtype=np.int64))
    return {"s": min(first_s, again_s), "start_s": small_s[0] - small_s[1], "mb": mb, "sum": total}


def seconds(call: Callable[[], object]) -> float:
    """Wall time."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def by_medseg(folder: Path) -> tuple[object, NDArray[Any]]:
    """The volume, all checks on, and its values."""
    volume = read(folder)
    return volume, volume.array


def by_simpleitk(folder: Path) -> tuple[object, NDArray[Any]]:
    """The image, its files sorted by position and not checked, and a view of its values."""
    import SimpleITK as untyped_sitk

    sitk: Any = untyped_sitk
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    return image, sitk.GetArrayViewFromImage(image)


def peak_mb() -> float:
    """What this process and its children have held at most, added up."""
    threads = Path("/proc/self/task").glob("*/children")
    children = " ".join(thread.read_text(encoding="ascii") for thread in threads).split()
    return sum(
        int(line.split()[1]) / 1e3
        for process in ("self", *children)
        for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        if line.startswith("VmHWM:")
    )


if __name__ == "__main__":
    main()
