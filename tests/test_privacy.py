"""No patient in any output, at any level of logging: canaries are planted everywhere, and must not come out.

Who the patient is (name, id, birth date) may appear nowhere at all, save in DICOM results, which are filed by
it: there in the tags that were meant, and in no picture and no private tag. What an operator typed
(descriptions) and what the user typed (paths) may appear on the terminal, and nowhere else.
"""

import gzip
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_series import CANARIES, write_dicom_series
from PIL import Image, PngImagePlugin  # noqa: TID253 - a test module

from medseg.cli import run

PATIENT = (*CANARIES, "PRIVATECANARY", "PHYSICIANCANARY")
DESCRIPTION = "DESCRIBEDCANARY"
PLACE = "PLACECANARY"
NIFTI = ("NIFTIDESCRIP", "NIFTIDBNAME", "NIFTIAUXFILE", "NIFTIINTENT")
TYPED = (DESCRIPTION, PLACE)


def found(content: bytes, canaries: Sequence[str]) -> list[str]:
    """The canaries in bytes, whatever their case; looked for in UTF-16 too."""
    forms = [content.lower()]
    forms += [content[start:].decode("utf-16-le", "ignore").lower().encode() for start in (0, 1)]
    return [canary for canary in canaries if any(canary.lower().encode() in form for form in forms)]


def found_in(folder: Path, canaries: Sequence[str]) -> dict[str, list[str]]:
    """The canaries in names and contents of files below a folder, compressed ones unpacked."""
    leaks: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        parts = [name.encode()]
        if path.is_file():
            content = path.read_bytes()
            parts += [content, *([gzip.decompress(content)] if path.suffix == ".gz" else [])]
            if path.suffix == ".png":
                with Image.open(path) as picture:
                    picture.load()
                    parts.append(repr(picture.info).encode())
        leak = [canary for part in parts for canary in found(part, canaries)]
        if leak:
            leaks[name] = leak
    return leaks


class Watched:
    """Runs command lines at debug level and holds what came out against the rules."""

    def __init__(self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self._capfd, self._caplog = capfd, caplog
        self.said = ""

    def __call__(self, *arguments: object, code: int = 0) -> str:
        """Run, check streams and logs, and give back what was printed."""
        self._caplog.clear()
        self._capfd.readouterr()
        with self._caplog.at_level(logging.DEBUG):
            assert run([str(argument) for argument in arguments] + ["-v"]) == code, arguments
        out, err = self._capfd.readouterr()
        assert found((out + err).encode(), (*PATIENT, *NIFTI)) == [], arguments
        logged = "\n".join([self._caplog.text, *(repr(record.args) for record in self._caplog.records)])
        assert found(logged.encode(), (*PATIENT, *NIFTI, *TYPED)) == [], arguments
        self.said += out + err
        return out


@pytest.fixture
def watched(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(capfd, caplog)


def everywhere(k: int, dataset: Any) -> None:
    """Plant the patient where a scanner, a PACS or an anonymiser may have left one."""
    name, number, birth = CANARIES
    dataset.SeriesDescription = f"{DESCRIPTION} thorax"
    dataset.StudyDescription = f"{name} {birth}"
    dataset.ReferringPhysicianName = dataset.OperatorsName = "PHYSICIANCANARY"
    dataset.AccessionNumber, dataset.StudyID, dataset.PatientComments = number, number, f"{name} {number}"
    dataset.ImageComments = dataset.ProtocolName = name
    dataset.InstitutionName, dataset.StationName, dataset.DeviceSerialNumber = name, number, number
    block = dataset.private_block(0x0009, "PRIVATECANARY", create=True)
    block.add_new(1, "LO", f"PRIVATECANARY {name}")
    block.add_new(2, "UN", f"{number} {birth}".encode() + b" " * (len(number) % 2))


def series(folder: Path, value: int = 1124, *, number: int = 1, slices: int = 6, later: int = 0) -> Path:
    def edit(k: int, dataset: Any) -> None:
        everywhere(k, dataset)
        dataset.InstanceNumber = k + 1 + later

    stored = np.full((12, 10, slices), 1024, np.uint16)
    stored[3:9, 3:7, 1:5] = value
    write_dicom_series(folder, stored, series=f"1.2.3.{number}", edit=edit)
    for path in folder.glob("IM*.dcm"):
        path.rename(path.with_name(f"{PLACE}_{path.name}"))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text("labels: {1: {name: box}}\nsegment: {threshold: {above: 50}}\n")
    return path


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    return tmp_path / f"in_{PLACE}"


def outputs(tmp_path: Path) -> Path:
    return tmp_path / "results"


def require_nothing(folder: Path) -> None:
    """Nothing of a patient, an operator or a path in what was written, and something was."""
    assert any(folder.rglob("*"))
    assert found_in(folder, (*PATIENT, *NIFTI, *TYPED)) == {}


# ---- the checker itself


def test_the_checker_finds_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, watched: Watched
) -> None:
    canary = CANARIES[0]
    (tmp_path / "a.json").write_text(f'{{"note": "{canary.lower()}"}}')
    (tmp_path / "b.gz").write_bytes(gzip.compress(f"x{canary}x".encode()))
    (tmp_path / "c.txt").write_bytes(b"x" + canary.encode("utf-16-le"))
    (tmp_path / canary).mkdir()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", canary, zip=True)
    Image.new("L", (4, 4)).save(tmp_path / "d.png", pnginfo=text)
    (tmp_path / "clean.txt").write_text("nobody")
    assert set(found_in(tmp_path, PATIENT)) == {"a.json", "b.gz", "c.txt", "d.png", canary}
    with pytest.raises(AssertionError):
        require_nothing(tmp_path)
    with pytest.raises(AssertionError):
        watched("info", tmp_path / canary, code=2)  # a patient's name in what was typed comes back


def test_the_canaries_are_in_the_files_that_are_read(incoming: Path) -> None:
    series(incoming)
    leaks = found_in(incoming, (*PATIENT, DESCRIPTION, PLACE))
    assert len(leaks) == 6
    assert all(set(leak) == {*PATIENT, DESCRIPTION, PLACE} for leak in leaks.values())


# ---- DICOM


def test_a_clean_series(watched: Watched, incoming: Path, model: Path, tmp_path: Path) -> None:
    folder = series(incoming / PLACE)
    out = outputs(tmp_path)
    assert DESCRIPTION in watched("info", folder)  # the operator's words, for the terminal
    assert found(watched("info", folder, "--json").encode(), TYPED) == []
    watched("convert", folder, "-o", out / "image.nii.gz")
    watched("segment", folder, "-m", model, "-o", out / "one")
    watched("cohort", incoming, "-m", model, "-o", out / "all")
    watched("cohort", incoming, "-m", model, "-o", out / "all", "--resume")
    require_nothing(out)


POLICIES: dict[str, tuple[str, ...]] = {
    "strict": (),
    "gaps": ("--gaps", "resample"),
    "allow": ("--gaps", "allow"),
}


@pytest.mark.parametrize("options", POLICIES.values(), ids=POLICIES)
def test_a_series_with_a_gap(
    watched: Watched, incoming: Path, model: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    folder = series(incoming / PLACE)
    (folder / f"{PLACE}_IM0002.dcm").unlink()
    out = outputs(tmp_path)
    watched("info", folder, *options)
    watched("segment", folder, "-m", model, "-o", out / "one", *options, code=0 if options else 2)
    watched("cohort", incoming, "-m", model, "-o", out / "all", *options, code=0 if options else 3)
    require_nothing(out)
    assert ("missing slice" in watched.said) or PLACE in watched.said


def test_two_images_at_one_place(watched: Watched, incoming: Path, model: Path, tmp_path: Path) -> None:
    folder = series(incoming / PLACE)
    series(tmp_path / "again", 1200, later=6)
    (tmp_path / "again" / f"{PLACE}_IM0002.dcm").rename(folder / f"{PLACE}_copy.dcm")
    out = outputs(tmp_path)
    watched("cohort", incoming, "-m", model, "-o", out / "refused", code=3)
    first = ("--duplicates", "first")
    watched("segment", folder, "-m", model, "-o", out / "one", *first)
    watched("cohort", incoming, "-m", model, "-o", out / "all", *first)
    require_nothing(out)


CHOICES: dict[str, tuple[tuple[str, ...], int]] = {
    "none": ((), 2),
    "by description": (("--series", f"description={DESCRIPTION.lower()},min_slices=6"), 0),
    "by a description that no series has": (("--series", f"description=not-{PLACE}"), 2),
    "by its uid": (("--series", "1.2.3.1"), 0),
}


@pytest.mark.parametrize(("options", "code"), CHOICES.values(), ids=CHOICES)
def test_two_series(
    watched: Watched, incoming: Path, model: Path, tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    folder = incoming / "study"
    series(folder / f"{PLACE}1")
    series(folder / f"{PLACE}2", number=2, slices=5)
    out = outputs(tmp_path)
    watched("info", folder, *options)
    assert found(watched("info", folder, "--json", *options).encode(), TYPED) == []
    watched("segment", folder, "-m", model, "-o", out / "one", *options, code=code)
    watched("cohort", incoming, "-m", model, "-o", out / "all", *options, code=code and 3)
    require_nothing(out)


@pytest.mark.parametrize("keep", [0, 140, 900, -40])
def test_a_damaged_series(watched: Watched, incoming: Path, model: Path, tmp_path: Path, keep: int) -> None:
    folder = series(incoming / PLACE)
    broken = folder / f"{PLACE}_IM0003.dcm"
    broken.write_bytes(broken.read_bytes()[:keep])
    out = outputs(tmp_path)
    for command in (("info", folder), ("convert", folder, "-o", out / "image.nii.gz")):
        run([str(argument) for argument in command])  # refused or not: only what it says counts
    watched("cohort", incoming, "-m", model, "-o", out / "all", code=3)
    require_nothing(out)


@pytest.mark.parametrize("broken", [False, True])
def test_an_archive(watched: Watched, incoming: Path, model: Path, tmp_path: Path, broken: bool) -> None:
    folder = series(tmp_path / PLACE)
    if broken:
        (folder / f"{PLACE}_IM0002.dcm").unlink()
    incoming.mkdir()
    archive = incoming / f"{PLACE}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in folder.iterdir():
            packed.write(path, f"{PLACE}/{path.name}")
    out = outputs(tmp_path)
    watched("info", archive)
    watched("segment", archive, "-m", model, "-o", out / "one", code=2 if broken else 0)
    watched("cohort", incoming, "-m", model, "-o", out / "all", code=3 if broken else 0)
    require_nothing(out)


def test_dicom_results(watched: Watched, incoming: Path, model: Path, tmp_path: Path) -> None:
    """They name the patient, by what was meant to be taken and nothing else; all beside them names nobody."""
    out = outputs(tmp_path)
    writers = "dicom-seg,dicom-sr,rtstruct,secondary-capture: {pdf: true}"
    watched("segment", series(incoming / PLACE), "-m", model, "-o", out, "--write", writers)
    results = sorted(out.glob("*.dcm"))
    assert len(results) >= 6
    named = {"PatientName", "PatientID", "PatientBirthDate", "StudyDescription", "ReferringPhysicianName"}
    for path in results:
        assert found(path.read_bytes(), ("PRIVATECANARY", *TYPED)) == []
        leaks = set()
        for each in pydicom.dcmread(path).iterall():
            value = each.value if isinstance(each.value, bytes) else str(each.value).encode()
            if each.VR != "SQ" and found(value, PATIENT):
                leaks.add(each.keyword)
        assert leaks == named | {"AccessionNumber", "StudyID"}
        path.unlink()
    require_nothing(out)


# ---- NIfTI


@pytest.fixture
def image(incoming: Path) -> Path:
    incoming.mkdir()
    array = np.zeros((12, 10, 6), np.int16)
    array[3:9, 3:7, 1:5] = 100
    nifti = nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1]))
    header = nifti.header
    header["descrip"], header["db_name"], header["aux_file"], header["intent_name"] = NIFTI
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", CANARIES[0].encode()))
    path = incoming / f"{PLACE}.nii.gz"
    nib.save(nifti, path)
    assert set(found(gzip.decompress(path.read_bytes()), NIFTI)) == set(NIFTI)
    return path


def test_texts_of_a_nifti_header(watched: Watched, image: Path, model: Path, tmp_path: Path) -> None:
    out = outputs(tmp_path)
    table = image.parent / "cases.csv"
    table.write_text(f"case,image\na,{image.name}\n")
    watched("info", image)
    assert found(watched("info", image, "--json").encode(), TYPED) == []
    watched("convert", image, "-o", out / "image.nii.gz")
    watched("segment", image, "-m", model, "-o", out / "one", "--case", "a")
    watched("cohort", table, "-m", model, "-o", out / "all")
    require_nothing(out)


def test_a_damaged_nifti(watched: Watched, image: Path, model: Path, tmp_path: Path) -> None:
    out = outputs(tmp_path)
    image.write_bytes(image.read_bytes()[:-20])
    table = image.parent / "cases.csv"
    table.write_text(f"case,image\na,{image.name}\n")
    watched("info", image, code=2)
    watched("segment", image, "-m", model, "-o", out / "one", code=2)
    watched("cohort", table, "-m", model, "-o", out / "all", code=3)
    require_nothing(out)
