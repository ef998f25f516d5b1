"""Reading images: `read` gives a Volume, `inspect` says what a file or folder could be read as.

The format is decided by content and name together; where they contradict each other the file is refused. What
is wrong with an input is an InputError of one line that names the file, says what is wrong and what to do.

    volume = read("ct.nii.gz")
    for candidate in inspect("study/"):
        print(candidate.description, candidate.shape, candidate.verdict)
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING

from medseg.errors import InputError, MedsegError, ResourceError, UsageError
from medseg.io.content import PEEK_BYTES, by_content, by_name, suffixes
from medseg.io.policy import STRICT, Policy
from medseg.io.regular_file import open_regular, printable, require_regular
from medseg.io.verdict import Candidate, Foretold

if TYPE_CHECKING:
    from medseg.volume import Volume

__all__ = ["STRICT", "Policy", "digests", "foretell", "inspect", "read"]

PICTURES = ("PNG", "TIFF")
PAIR = (".hdr", ".img", ".hdr.gz", ".img.gz")
ARCHIVES = ("a zip archive", "a tar archive", "a tar.gz archive")
READ = {"NIfTI", "gzip", "DICOM", "NRRD", "MetaImage", *PICTURES, *ARCHIVES}
CONVERT = "convert it to NIfTI, DICOM, NRRD, MetaImage, PNG or TIFF"


def read(path: str | Path, *, policy: Policy = STRICT, pixel_size: float | None = None) -> "Volume":
    """The image in a file, a DICOM folder, or a zip or tar archive of one.

    `policy` decides what a doubtful geometry is made of; by default it is refused.
    `pixel_size` gives a picture (PNG, TIFF) its scale in mm; other formats carry their own, and giving one is
    a UsageError. All that is wrong with the input is an InputError (GeometryError where its geometry is
    doubtful); ResourceError where it does not fit in memory.
    """
    path = Path(path)
    with one_refusal(path):
        kind = _kind(path)
        _require_use(pixel_size, kind, path)
        if kind == "DICOM":
            from medseg.io.dicom import read_dicom

            return read_dicom(path, policy)
        if kind in ARCHIVES:
            return _read_archive(path, policy)
        if kind in PICTURES:
            from medseg.io.picture import read_picture

            return read_picture(path, pixel_size=pixel_size)
        if kind in {"NRRD", "MetaImage"}:
            from medseg.io.itk import read_itk

            return read_itk(path)
        from medseg.io.nifti import read_nifti

        return read_nifti(path, policy)


def _require_use(pixel_size: float | None, kind: str, path: Path) -> None:
    """Refuse, as a UsageError, a pixel size where the file has a scale of its own."""
    if pixel_size is not None and kind not in PICTURES:
        raise UsageError(f"{printable(path)}: a pixel size is for PNG and TIFF; {kind} has its own scale")


def inspect(path: str | Path, *, pixel_size: float | None = None) -> tuple[Candidate, ...]:
    """Every volume that a file or folder could be read as, with its verdict, from headers only.

    `pixel_size` in mm is that of `read`. Raises InputError where there is no image at all.
    """
    path = Path(path)
    with one_refusal(path):
        kind = _kind(path)
        _require_use(pixel_size, kind, path)
        if kind == "DICOM":
            from medseg.io.dicom import describe_dicom

            return describe_dicom(path)
        if kind in ARCHIVES:
            from medseg.io.archive import unpacked
            from medseg.io.dicom import describe_dicom

            with unpacked(path) as contents:
                return describe_dicom(contents.folder)
        if kind in PICTURES:
            from medseg.io.picture import describe_picture

            return describe_picture(path, pixel_size=pixel_size)
        if kind in {"NRRD", "MetaImage"}:
            from medseg.io.itk import describe_itk

            return describe_itk(path)
        from medseg.io.nifti import describe_nifti

        return describe_nifti(path)


def foretell(path: str | Path, *, policy: Policy) -> Foretold:
    """What `read` would give with this policy, from headers only for DICOM; raises what it would raise."""
    path = Path(path)
    with one_refusal(path):
        kind = _kind(path)
        if kind == "DICOM":
            from medseg.io.dicom import foretell_dicom

            return foretell_dicom(path, policy)
        if kind in ARCHIVES:
            from medseg.io.archive import unpacked
            from medseg.io.dicom import foretell_dicom

            with unpacked(path) as contents:
                return foretell_dicom(contents.folder, policy)._replace(files=1)
    volume = read(path, policy=policy)
    source = volume.source
    if source is not None:
        policy.require_use(source.format, path)
    if source is None:
        return Foretold(volume.grid, 1, ())
    return Foretold(volume.grid, len(source.files), source.decided, source.modality)


def digests(path: str | Path, *, policy: Policy = STRICT) -> tuple[str, ...]:
    """SHA-256 of each file that `read` would read, in its order: the `Source.sha256` of its volume.

    No pixel is decoded: this tells in a fraction of the time whether an input is still the same. Raises
    InputError where there is nothing to read.
    """
    path = Path(path)
    with one_refusal(path):
        files: tuple[Path, ...] = (path,)
        kind = _kind(path)
        if kind == "DICOM":
            from medseg.io.dicom import dicom_files

            files = dicom_files(path, policy)
        elif kind == "NIfTI":
            from medseg.io.nifti_stream import nifti_files

            files = nifti_files(path)
        found = []
        for part in files:
            with open_regular(part) as file:
                found.append(file.sha256())
        return tuple(found)


def _read_archive(path: Path, policy: Policy) -> "Volume":
    """The DICOM series in an archive; its source is the archive, not what was taken out of it for a while."""
    from medseg.io.archive import unpacked
    from medseg.io.dicom import read_dicom

    with unpacked(path) as contents:
        volume = read_dicom(contents.folder, policy)
    assert volume.source is not None
    source = replace(volume.source, files=(path,), sha256=(contents.sha256,))
    return volume.replace(source=source)


@contextmanager
def one_refusal(path: Path) -> Iterator[None]:
    """Turn what libraries raise over damaged data into one InputError line."""
    try:
        yield
    except MedsegError as problem:
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(problem))
        if line == str(problem):
            raise
        raise type(problem)(line) from problem  # the name of a file below the folder may hold line breaks
    except MemoryError as problem:
        raise ResourceError(
            f"{printable(path)}: does not fit in memory; free some or crop the image"
        ) from problem
    except (
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        EOFError,
        OSError,
        struct.error,
        zlib.error,
    ) as problem:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise InputError(
            f"{printable(path)}: cannot be read ({reason}); check or export it again"
        ) from problem


def _kind(path: Path) -> str:
    """The format by content, where the name does not contradict it; a folder is DICOM."""
    status = require_regular(path, or_folder=True)
    if S_ISDIR(status.st_mode):
        if next(path.iterdir(), None) is None:
            raise InputError(f"{printable(path)}: the folder is empty; give a folder of DICOM files")
        return "DICOM"
    if status.st_size == 0:
        raise InputError(f"{printable(path)}: the file is empty (0 bytes); copy or export it again")
    with open_regular(path) as file:
        content = by_content(file.read(PEEK_BYTES))
    if path.name.lower().endswith(PAIR) and content != "DICOM":  # an .img may begin with any voxel
        return "NIfTI"
    named = by_name(path)
    if content == "gzip" and named and named[1] == "a tar.gz archive":
        return named[1]
    if content not in READ:
        held = f"named {named[0]} but holds {content}" if named else f"holds {content}"
        raise InputError(f"{printable(path)}: {held}, not a recognised image format; {CONVERT}")
    if named and named[1] != content:
        what = f"its extension {named[0]} contradicts its content, whose format is {content}"
        raise InputError(f"{printable(path)}: {what}; rename it")
    if not named and content != "DICOM":  # DICOM files may have any name
        raise InputError(
            f"{printable(path)}: holds {content}, but its extension is not {suffixes(content)}; rename it"
        )
    return "NIfTI" if content == "gzip" else content
