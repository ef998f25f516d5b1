"""Models to pack, good and hostile, for the tests of what is taken in."""

import hashlib
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from safetensors_files import safetensors, tensor

__all__ = ["CARD", "WEIGHTS", "good", "member", "patched", "pipeline", "write_folder", "write_zip"]

CARD = "name: mine\nversion: '1.5'\nsummary: One line.\nlicence: MIT\nintended_use: Tests.\n"
WEIGHTS = safetensors({"x": tensor(0, 16, dtype="F32", shape=[2, 2])}, struct.pack("<4f", 1, 2, 3, 4))
CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def pipeline(files: Mapping[str, bytes]) -> bytes:
    """A pipeline whose segmenter names these files with their true checksums."""
    named = ", ".join(f"'{name}': {hashlib.sha256(data).hexdigest()}" for name, data in files.items())
    return f"segment: {{weighted: {{weights: {{{named}}}}}}}\n".encode()


def good(weights: bytes = WEIGHTS) -> dict[str, bytes]:
    """The files of a model with these weights, which its pipeline names with their true checksum."""
    return {
        "pipeline.yaml": pipeline({"w.safetensors": weights}),
        "card.yaml": CARD.encode(),
        "w.safetensors": weights,
        "LICENSE": b"As is.\n",
    }


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files as a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def member(
    name: str, *, mode: int = stat.S_IFREG | 0o644, method: int = zipfile.ZIP_DEFLATED
) -> zipfile.ZipInfo:
    """A member of an archive with this name, mode and compression."""
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name  # ZipInfo(…) itself would tidy it up
    info.external_attr = mode << 16
    info.create_system = 3
    info.compress_type = method
    return info


def write_zip(path: Path, files: Mapping[str, bytes], *more: tuple[zipfile.ZipInfo, bytes]) -> Path:
    """The files as an archive, and whatever else is to be in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for info, data in more:
            archive.writestr(info, data)
    return path


def patched(path: Path, name: str, *, flags: int | None = None, size: int | None = None) -> Path:
    """The archive with the flag bits, or the size it claims, of one member changed behind zipfile's back."""
    content = bytearray(path.read_bytes())
    for signature, flags_at, size_at, name_at in ((LOCAL, 6, 22, 30), (CENTRAL, 8, 24, 46)):
        place = content.find(signature)
        while content[place + name_at : place + name_at + len(name)] != name.encode():
            place = content.index(signature, place + 1)
        if flags is not None:
            struct.pack_into("<H", content, place + flags_at, flags)
        if size is not None:
            struct.pack_into("<I", content, place + size_at, size)
    path.write_bytes(content)
    return path
