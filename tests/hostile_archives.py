"""Archives that nobody should unpack: zips and tars that lead out, explode, lie or break off."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

__all__ = ["GZIPPED", "TARS", "ZIPS", "tar", "tar_header"]

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
BLOCK = 512


# ------------------------------------------------------------------ zip
def _zip(*members: tuple[str, bytes, int], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Members of a name, contents and a Unix mode, 0 for a plain file; names as they are given."""
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w") as archive:
        warnings.simplefilter("ignore")  # that a name is there twice
        for name, data, mode in members:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name  # ZipInfo(…) itself would tidy it up
            info.external_attr, info.create_system, info.compress_type = mode << 16, 3, method
            archive.writestr(info, data)
    return packed.getvalue()


def _names(*names: str) -> Callable[[bytes], bytes]:
    return lambda image: _zip(("a.dcm", image, 0), *((name, image, 0) for name in names))


def _mode(mode: int, then: str = "") -> Callable[[bytes], bytes]:
    after = [(then, b"through", 0)] if then else []
    return lambda image: _zip(("a.dcm", image, 0), ("odd", b"/etc", mode), *after)


def _field(place_central: int, place_local: int, form: str, value: int) -> Callable[[bytes], bytes]:
    """One field of the only member changed, in the directory and before its data."""

    def make(image: bytes) -> bytes:
        content = bytearray(_zip(("a.dcm", image, 0)))
        struct.pack_into(form, content, content.index(CENTRAL) + place_central, value)
        if place_local:
            struct.pack_into(form, content, place_local, value)
        return bytes(content)

    return make


def _bomb(_image: bytes) -> bytes:
    return _zip(("a.dcm", bytes(64 << 20), 0))


def _overlapping(image: bytes) -> bytes:
    """Twenty names for the same bytes."""
    content = _zip(("00.dcm", image, 0))
    start, end = content.index(CENTRAL), content.index(END)
    entry = content[start:end]
    entries = b"".join(entry.replace(b"00.dcm", b"%02d.dcm" % number) for number in range(20))
    return content[:start] + entries + struct.pack("<4s4H2LH", END, 0, 0, 20, 20, len(entries), start, 0)


def _quoted(image: bytes) -> bytes:
    """A member whose stored bytes are the whole next member, header and all."""
    inner = _zip(("b.dcm", image, 0))
    whole = inner[: inner.index(CENTRAL)]
    outer = _zip(("a.dcm", whole, 0), method=zipfile.ZIP_STORED)
    start = outer.index(CENTRAL, 30 + 5 + len(whole))
    first = outer[start : outer.rindex(END)]
    second = bytearray(inner[inner.index(CENTRAL) : inner.index(END)])
    struct.pack_into("<I", second, 42, 30 + 5)
    entries = first + bytes(second)
    return outer[:start] + entries + struct.pack("<4s4H2LH", END, 0, 0, 2, 2, len(entries), start, 0)


def _zip64(image: bytes) -> bytes:
    """A size of 2^62 bytes in the extra field of the directory."""
    content = _zip(("a.dcm", image, 0))
    start, end = content.index(CENTRAL), content.index(END)
    entry = bytearray(content[start:end])
    struct.pack_into("<I", entry, 24, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, 12)
    entry[46 + 5 : 46 + 5] = struct.pack("<HHQ", 1, 8, 1 << 62)
    return content[:start] + bytes(entry) + struct.pack("<4s4H2LH", END, 0, 0, 1, 1, len(entry), start, 0)


def _broken_sum(image: bytes) -> bytes:
    content = bytearray(_zip(("a.dcm", image, 0), method=zipfile.ZIP_STORED))
    content[30 + 5 + len(image) - 1] ^= 1
    return bytes(content)


def _huge_directory(_image: bytes) -> bytes:
    return LOCAL + bytes(26) + struct.pack("<4s4H2LH", END, 0, 0, 1, 1, 0xF0000000, 30, 0)


def _cut_zip(image: bytes) -> bytes:
    return _zip(("a.dcm", image, 0), ("b.dcm", image, 0))[: len(image)]


LINK, CHAR, PIPE = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o666, stat.S_IFIFO | 0o666
ZIPS: dict[str, Callable[[bytes], bytes]] = {
    "parent": _names("../out.dcm"),
    "parent within": _names("a/../../out.dcm"),
    "absolute": _names("/elsewhere/out.dcm"),
    "backslashes": _names("..\\out.dcm"),
    "drive": _names("C:out.dcm"),
    "null": _names("b.dcm\0.txt"),
    "line break": _names("b\n.dcm"),
    "escape": _names("b\x1b[31m.dcm"),
    "same name": _names("a.dcm"),
    "capitals only": _names("A.DCM"),
    "file as folder": _names("a.dcm/b.dcm"),
    "long name": _names("x" * 300),
    "deep": _names("/".join("abcdefghijklmno")),
    "here": _names("b/./c.dcm"),
    "nameless": _names("b//c.dcm"),
    "nested by name": _names("inner.zip"),
    "nested": lambda image: _zip(("a.dcm", image, 0), ("b", _zip(("c.dcm", image, 0)), 0)),
    "link": _mode(LINK),
    "file through a link": _mode(LINK, then="odd/passwd"),
    "device": _mode(CHAR),
    "pipe": _mode(PIPE),
    "folder with contents": lambda image: _zip(("a.dcm", image, 0), ("b/", b"data", 0)),
    "bomb": _bomb,
    "overlapping": _overlapping,
    "quoted": _quoted,
    "zip64": _zip64,
    "size too small": _field(24, 22, "<I", 10),
    "size too large": _field(24, 22, "<I", 90_000),
    "size of gigabytes": _field(24, 22, "<I", 0xFFFFFFF0),
    "packed too large": _field(20, 18, "<I", 0x7FFFFFFF),
    "elsewhere": _field(42, 0, "<I", 0x7FFFFFF0),
    "encrypted": _field(8, 6, "<H", 1),
    "strongly encrypted": _field(8, 6, "<H", 0x41),
    "rare compression": _field(10, 8, "<H", 99),
    "broken sum": _broken_sum,
    "huge directory": _huge_directory,
    "cut": _cut_zip,
    "nothing": lambda _image: struct.pack("<4s4H2LH", END, 0, 0, 0, 0, 0, 0, 0),
}


# ------------------------------------------------------------------ tar
def tar_header(name: str, size: int, *, kind: bytes = b"0", link: str = "", raw_size: bytes = b"") -> bytes:
    """One block that describes a member, with whatever size is said."""
    said = raw_size or b"%011o\0" % size
    head = name.encode()[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + said + b"%011o\0" % 0
    rest = kind + link.encode().ljust(100, b"\0") + b"ustar\x0000" + bytes(247)
    total = sum(head) + sum(rest) + 8 * 32
    return (head + b"%06o\0 " % total + rest).ljust(BLOCK, b"\0")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def tar(*members: tuple[str, bytes]) -> bytes:
    """A sound tar of these files."""
    return b"".join(tar_header(name, len(data)) + _padded(data) for name, data in members) + bytes(2 * BLOCK)


def _with(*blocks: bytes) -> Callable[[bytes], bytes]:
    """A sound member, and then these blocks."""
    return lambda image: tar(("a.dcm", image))[: -2 * BLOCK] + b"".join(blocks) + bytes(2 * BLOCK)


def _pax(kind: bytes = b"x", **records: str) -> bytes:
    text = b""
    for keyword, value in records.items():
        body = f" {keyword.replace('__', '.')}={value}\n".encode()
        length = next(n for n in range(len(body), 9999) if n == len(body) + len(str(n)))
        text += b"%d" % length + body
    return tar_header("pax", len(text), kind=kind) + _padded(text)


def _bad_sum(image: bytes) -> bytes:
    content = bytearray(tar(("a.dcm", image), ("b.dcm", image)))
    content[BLOCK + len(_padded(image)) + 3] ^= 1  # the second name: all after it would be left out unseen
    return bytes(content)


def _broken_gzip(image: bytes) -> bytes:
    content = bytearray(gzip.compress(tar(("a.dcm", image))))
    content[-6] ^= 1
    return bytes(content)


def _gzip_bomb(image: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = tar(("a.dcm", image))[: -2 * BLOCK] + tar_header("b.dcm", 100 << 20)
    return b"".join(
        [squeeze.compress(start), *(squeeze.compress(bytes(1 << 20)) for _ in range(101)), squeeze.flush()]
    )


BASE_256 = b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7
NEGATIVE = b"\xff" * 8 + struct.pack(">i", -BLOCK)
TARS: dict[str, Callable[[bytes], bytes]] = {
    "parent": _with(tar_header("../out.dcm", 0)),
    "absolute": _with(tar_header("/elsewhere/out.dcm", 0)),
    "same name": _with(tar_header("a.dcm", 0)),
    "same name, dotted": _with(tar_header("./a.dcm", 0)),
    "nothing of a name": _with(tar_header("./", 0)),
    "link": _with(tar_header("odd", 0, kind=b"2", link="/etc")),
    "file through a link": _with(tar_header("odd", 0, kind=b"2", link="/etc"), tar_header("odd/passwd", 0)),
    "hard link": _with(tar_header("odd", 0, kind=b"1", link="/etc/passwd")),
    "hard link inside": _with(tar_header("odd", 0, kind=b"1", link="a.dcm")),
    "device": _with(tar_header("odd", 0, kind=b"3")),
    "disk": _with(tar_header("odd", 0, kind=b"4")),
    "pipe": _with(tar_header("odd", 0, kind=b"6")),
    "contiguous": _with(tar_header("odd", 0, kind=b"7")),
    "sparse": _with(tar_header("odd", 0, kind=b"S")),
    "sparse in pax": _with(_pax(GNU__sparse__realsize="999999999"), tar_header("odd", 0)),
    "unknown kind": _with(tar_header("odd", 0, kind=b"Q")),
    "folder with contents": _with(tar_header("odd/", 4, kind=b"5"), bytes(BLOCK)),
    "negative size": _with(tar_header("odd", 0, raw_size=NEGATIVE)),
    "size of exabytes": _with(tar_header("odd", 0, raw_size=BASE_256)),
    "negative in pax": _with(_pax(size="-512"), tar_header("odd", 0)),
    "exabytes in pax": _with(_pax(size="9999999999999999"), tar_header("odd", 0)),
    "no number in pax": _with(_pax(size="many"), tar_header("odd", 0)),
    "parent in pax": _with(_pax(path="../out.dcm"), tar_header("odd", 0)),
    "path for all": _with(_pax(b"g", path="x.dcm"), tar_header("odd", 0)),
    "pax that claims more": _with(tar_header("pax", 8, kind=b"x"), _padded(b"99 a=b\n\0")),
    "pax of megabytes": _with(tar_header("pax", 1 << 20, kind=b"x"), bytes(1 << 20)),
    "pax after pax": _with(*[_pax(mtime="1")] * 20, tar_header("odd", 0)),
    "long name of megabytes": _with(tar_header("long", 1 << 20, kind=b"L"), bytes(1 << 20)),
    "parent in long name": _with(
        tar_header("long", 11, kind=b"L"), _padded(b"../out.dcm\0"), tar_header("o", 0)
    ),
    "cut in a file": lambda image: tar(("a.dcm", image))[: BLOCK + len(image) // 2],
    "cut at a header": lambda image: tar(("a.dcm", image), ("b.dcm", image))[: BLOCK + len(_padded(image))],
    "broken header": _bad_sum,
    "more after its end": lambda image: tar(("a.dcm", image)) + tar(("b.dcm", image)),
    "nested": lambda image: tar(("a.dcm", image), ("b", tar(("c.dcm", image)))),
    "nothing": lambda _image: tar(),
}
GZIPPED: dict[str, Callable[[bytes], bytes]] = {
    "gzip cut": lambda image: gzip.compress(tar(("a.dcm", image)))[:-20],
    "gzip with a broken sum": _broken_gzip,
    "gzip of something else": gzip.compress,
    "gzip bomb": _gzip_bomb,
}
