# ruff: noqa: T201 - a script: it prints
"""A DICOM segmentation of 104 structures on 512 x 512 x 300 voxels: time, size and memory, beside highdicom.

    python tests/benchmarks/bench_dicom_results.py [--slices 300] [--structures 104] [--rounds 1]
    python tests/benchmarks/bench_dicom_results.py --contours 20000

highdicom is given the label map, and builds and saves the same object. Ours is the writer as a run calls it:
headers are read again, the masks put onto the slices, the file is built, saved, read back and compared.
Processor time of this process and of the decoder process, libraries and their tables loaded before; memory is
the peak of this process above what it had. Each is run in a process of its own, by turns in every round; of
several rounds the quickest counts, as what else the machine does can only slow one down.

With --contours a structure set is written instead, of so many specks of one voxel in ten slices: time and
size of one with very many contours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 512
SPECKLED = 10  # slices of the structure set with very many contours
FORMS: dict[str, dict[str, Any]] = {
    "BINARY": {"type": "binary"},
    "LABELMAP": {"type": "labelmap", "compression": "none"},
    "LABELMAP RLE": {"type": "labelmap", "compression": "rle"},
    "LABELMAP JPEG-LS": {"type": "labelmap", "compression": "jpeg-ls"},
}
SYNTAXES = {"none": "1.2.840.10008.1.2.1", "rle": "1.2.840.10008.1.2.5", "jpeg-ls": "1.2.840.10008.1.2.4.80"}


def structures(slices: int, count: int) -> NDArray[np.uint8]:
    """Ellipsoids of many sizes in a body `[column, row, slice]`, about a tenth of the voxels."""
    random = np.random.default_rng(0)
    array = np.zeros((SIDE, SIDE, slices), np.uint8)
    for value in range(1, count + 1):
        radii = random.uniform(0.03, 0.11, 3) * (SIDE, SIDE, slices * 1.2)
        centre = random.uniform(0.2, 0.8, 3) * array.shape
        low = np.maximum(0, np.floor(centre - radii)).astype(int)
        high = np.minimum(array.shape, np.ceil(centre + radii) + 1).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = [(np.arange(a, b) - c) / r for a, b, c, r in zip(low, high, centre, radii, strict=True)]
        inside = sum(axis**2 for axis in np.ix_(*axes)) <= 1
        array[box][inside] = value
    return array


def series(folder: Path, slices: int) -> None:
    """A CT of zeros."""
    from dicom_series import write_dicom_series

    write_dicom_series(folder, np.zeros((SIDE, SIDE, slices), np.int16))


def child_seconds() -> float:
    """Processor time of the decoder process so far."""
    from medseg.io import decoder

    pid = decoder._decoder.pid
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ours(volume: Any, array: NDArray[np.uint8], count: int, form: dict[str, Any]) -> Any:
    """The writer, on a finished case."""
    from seg_results import finished

    from medseg.builtin.write.dicom_seg import DicomSeg
    from medseg.segmentation import Label

    labels = [Label(value, f"structure {value}") for value in range(1, count + 1)]
    result = finished(volume, array, labels)
    return lambda out: next(iter(DicomSeg(**form)(result, out)))


def theirs(volume: Any, array: NDArray[np.uint8], count: int, form: dict[str, Any]) -> Any:
    """highdicom alone, with what it needs at hand: headers, and frames as it takes them."""
    import highdicom as hd
    from pydicom import dcmread
    from pydicom.sr.codedict import codes

    headers = []
    for path in volume.source.files:
        header = dcmread(path, stop_before_pixels=True)
        for keyword in ("PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
            setattr(header, keyword, None)
        header.PatientName = "Doe^J"
        headers.append(header)
    frames = np.ascontiguousarray(array.transpose(2, 1, 0))
    algorithm = hd.AlgorithmIdentificationSequence("phantom", codes.DCM.ArtificialIntelligence, "1")
    described = [
        hd.seg.SegmentDescription(
            segment_number=value,
            segment_label=f"structure {value}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Organ,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for value in range(1, count + 1)
    ]

    def write(out: Path) -> Path:
        made = hd.seg.Segmentation(
            source_images=headers,
            pixel_array=frames,
            segmentation_type=form["type"].upper(),
            segment_descriptions=described,
            series_instance_uid=hd.UID(),
            series_number=900,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="m",
            manufacturer_model_name="m",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=SYNTAXES[form.get("compression", "none")],
            omit_empty_frames=form["type"] == "binary",
        )
        made.save_as(out / "segmentation.dcm")
        return out / "segmentation.dcm"

    return write


def contours(folder: Path, count: int) -> None:
    """Write a structure set of specks with the writer, read back as ever, and print what it took."""
    from seg_results import finished

    from medseg.builtin.write.rtstruct import RTStruct
    from medseg.io import read
    from medseg.segmentation import Label

    series(folder / "ct", SPECKLED)
    array = np.zeros((SIDE, SIDE, SPECKLED), np.uint8)
    across = SIDE // 2  # every second column and row: no speck touches another
    each = -(-count // SPECKLED)
    if each > across**2:
        raise SystemExit(f"at most {across**2 * SPECKLED} contours fit")
    n = np.arange(count)
    array[2 * (n % each % across), 2 * (n % each // across), n // each] = 1
    result = finished(read(folder / "ct"), array, [Label(1, "specks")])
    begun, child = time.process_time(), child_seconds()
    path = next(iter(RTStruct()(result, folder)))
    seconds = time.process_time() - begun + child_seconds() - child
    size = path.stat().st_size / 1e6
    print(f"{count} contours in {SPECKLED} slices: {size:.1f} MB, {seconds:.1f} s of processor time")


def one(form: str, who: str, folder: Path, count: int) -> dict[str, float]:
    """Write it once, in this process: seconds of processor time and of the clock, megabytes."""
    import highdicom.color
    import highdicom.seg  # noqa: F401 - loaded before time is taken

    from medseg.io import read
    from medseg.memory import peak_bytes, reset_peak, resident_bytes

    volume = read(folder / "ct")
    array = np.load(folder / "structures.npy")
    out = folder / f"{who} {form}"
    out.mkdir(exist_ok=True)
    little = np.zeros_like(array)
    little[0, 0, 0] = 1
    warm = theirs(volume, little, 1, FORMS["BINARY"])
    warm(folder)  # highdicom reads tables of the standard once in a process
    write = (ours if who == "medseg" else theirs)(volume, array, count, FORMS[form])
    reset_peak()
    before, child = resident_bytes(), child_seconds()
    begun, wall = time.process_time(), time.perf_counter()
    path = write(out)
    return {
        "seconds": time.process_time() - begun + child_seconds() - child,
        "wall": time.perf_counter() - wall,
        "size": path.stat().st_size / 1e6,
        "peak": (peak_bytes() - before) / 1e6,
    }


def main() -> None:
    """Every form by both, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--structures", type=int, default=104)
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--contours", type=int, metavar="N", help="a structure set of N contours instead")
    parser.add_argument("--one", nargs=3, metavar=("FORM", "WHO", "FOLDER"), help="used by itself")
    given = parser.parse_args()
    if given.one:
        form, who, folder = given.one
        print(json.dumps(one(form, who, Path(folder), given.structures)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.contours is not None:
            contours(folder, given.contours)
            return
        series(folder / "ct", given.slices)
        array = structures(given.slices, given.structures)
        np.save(folder / "structures.npy", array)
        print(
            f"{given.structures} structures, {array.shape}, {np.count_nonzero(array) / array.size:.1%} full"
        )
        print(f"{'':18}{'':11}   CPU s  wall s      MB  peak MB")
        for form in given.forms.split(","):
            compared(form, name, given)


def compared(form: str, folder: str, given: argparse.Namespace) -> None:
    """One form by both, and the ratio of their times."""
    found: dict[str, dict[str, float]] = {}
    for who in ("highdicom", "medseg") * given.rounds:
        command = [sys.executable, __file__, "--one", form, who, folder]
        command += ["--structures", str(given.structures)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        took = json.loads(done.stdout.splitlines()[-1])
        found[who] = min(found.get(who, took), took, key=lambda each: each["seconds"])
    for who, took in found.items():
        cells = "".join(f"{took[key]:8.1f}" for key in ("seconds", "wall", "size"))
        print(f"{form:18}{who:11}{cells}{took['peak']:9.0f}", flush=True)
    ratio = found["medseg"]["seconds"] / found["highdicom"]["seconds"]
    print(f"{form:18}ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
