"""Archives of a DICOM series: what unpacks, and what would escape, grow without end, or is damaged."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from bad_inputs.cases import Build, Built, Case, Geometry, add, small, write
from bad_inputs.dicom_bytes import saved, volume
from bad_inputs.nifti_bytes import gz

__all__ = ["Member", "tarred", "zipped"]

F = "archives"
Member = tuple[str, bytes]
REFUSED = "archive|zip|tar|path|outside|member"


def _series(folder: Path, tag: str) -> tuple[list[Member], Geometry | None]:
    """The files of a good series, which leave nothing behind in `folder`."""
    slices, expected = volume(tag)
    path = saved(folder / "tmp", slices)
    members = [(file.name, file.read_bytes()) for file in sorted(path.iterdir())]
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    return members, expected


def zipped(members: Iterable[Member], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content, compresslevel=1)
    return buffer.getvalue()


def tarred(members: Iterable[Member | tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def _linked(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _archive(name: str, packed: Callable[[list[Member]], bytes], *, good: bool = False) -> Build:
    def build(folder: Path, tag: str) -> Built:
        members, expected = _series(folder, tag)
        return write(folder / name, packed(members)), expected if good else None

    return build


def _in_folders(members: list[Member]) -> list[Member]:
    return [(f"study/series/{name}", content) for name, content in members]


def _spoiled(content: bytes) -> bytes:
    spoiled = bytearray(content)
    spoiled[len(content) // 3] ^= 0x55
    return bytes(spoiled)


def _encrypted(content: bytes) -> bytes:
    """The flag that says so in every header, local and central (bit 0 of the general purpose flags)."""
    spoiled = bytearray(content)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            spoiled[at + offset] |= 1
    return bytes(spoiled)


def _two_gigabytes(members: list[Member]) -> bytes:
    """A tar whose first member is zeros; gzip allows the same stretch to be repeated (RFC 1952, 2.2)."""
    info = tarfile.TarInfo("z.dcm")
    info.size = 2 << 30
    return gz(info.tobuf()) + gz(bytes(1 << 24)) * 128 + gz(tarred(members))


def _reject(name: str, build: Build, reason: str = REFUSED, megabytes: int = 1024, notes: str = "") -> None:
    limits = small(megabytes)
    add(Case(name, F, "reject", build, reason, limits=limits, forbid=("medseg_pwned",), notes=notes))


add(Case("zip_of_series", F, "accept", _archive("in.zip", lambda m: zipped(_in_folders(m)), good=True)))
add(Case("zip_stored", F, "accept", _archive("in.zip", lambda m: zipped(m, zipfile.ZIP_STORED), good=True)))
add(Case("tar_of_series", F, "accept", _archive("in.tar", lambda m: tarred(_in_folders(m)), good=True)))
add(Case("targz_of_series", F, "accept", _archive("in.tar.gz", lambda m: gz(tarred(m)), good=True)))
_reject("zip_empty", _archive("in.zip", lambda _: zipped([])), REFUSED + "|no (dicom )?image|empty")
_reject(
    "zip_of_texts", _archive("in.zip", lambda _: zipped([("a.txt", b"notes")])), "no (dicom|image)|archive"
)
_reject("zip_absolute", _archive("in.zip", lambda m: zipped([*m, ("/tmp/medseg_pwned", b"x")])))  # noqa: S108
_reject("zip_backslash_escape", _archive("in.zip", lambda m: zipped([*m, ("..\\..\\medseg_pwned", b"x")])))
_reject("zip_cut", _archive("in.zip", lambda m: zipped(m)[:-300]), REFUSED + "|truncat|damaged|cut")
_reject(
    "zip_bad_crc",
    _archive("in.zip", lambda m: _spoiled(zipped(m, zipfile.ZIP_STORED))),
    "crc|damaged|corrupt|archive",
)
_reject("zip_encrypted", _archive("in.zip", lambda m: _encrypted(zipped(m))), "encrypt|password|archive")
_reject(
    "zip_bomb", _archive("in.zip", lambda m: zipped([*m, ("zeros.dcm", bytes(300 << 20))])),
    REFUSED + "|grow|ratio|size|large", notes="300 MB of zeros in 300 kB",
)  # fmt: skip
_reject(
    "zip_member_of_0_bytes",
    _archive("in.zip", lambda m: zipped([*m[:6], (m[6][0], b""), *m[7:]])),
    "empty|0 bytes|IM0006",
)
_reject(
    "tar_link_outside",
    _archive("in.tar", lambda m: tarred([*m, _linked("x", "../../../../etc/passwd", tarfile.SYMTYPE)])),
    REFUSED + "|link",
)
_reject(
    "tar_hard_link_outside",
    _archive("in.tar", lambda m: tarred([*m, _linked("x", "/etc/passwd", tarfile.LNKTYPE)])),
    REFUSED + "|link",
)
_reject(
    "tar_device",
    _archive("in.tar", lambda m: tarred([*m, _linked("x", "", tarfile.CHRTYPE)])),
    REFUSED + "|device",
)
_reject("tar_parent", _archive("in.tar", lambda m: tarred([*m, ("../medseg_pwned", b"x")])))
_reject("tar_cut", _archive("in.tar", lambda m: tarred(m)[:-4000][:9000]), REFUSED + "|truncat|damaged|cut")
_reject(
    "targz_bomb",
    _archive("in.tar.gz", _two_gigabytes),
    REFUSED + "|grow|claims|size|large",
    notes="a member of 2 GB of zeros, in 2 MB",
)
