"""Paths: links, loops, pipes, devices, names that a shell would obey, folders that are not series."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_inputs.cases import AFFINE, Build, Built, Case, Geometry, add, geometry, small, write
from bad_inputs.dicom_bytes import save, saved, volume
from bad_inputs.nifti_bytes import HU, gz, nifti

__all__: list[str] = []

MISSING = "no such|not found|does not exist|missing"
NOTHING = "no (dicom|image|files|series)|nothing"


def _plain() -> Geometry:
    return geometry(HU, AFFINE)


def _named(name: str, content: Callable[[], bytes]) -> Build:
    return lambda folder, _: (write(folder / name, content()), _plain())


# ------------------------------------------------------------------ what a path can be
F = "filesystem"


def _symlink_loop(folder: Path, _: str) -> Built:
    (folder / "a.nii.gz").symlink_to("b.nii.gz")
    (folder / "b.nii.gz").symlink_to("a.nii.gz")
    return folder / "a.nii.gz", None


def _symlink(folder: Path, _: str) -> Built:
    write(folder / "real.nii.gz", gz(nifti(HU)))
    (folder / "in.nii.gz").symlink_to("real.nii.gz")
    return folder / "in.nii.gz", _plain()


def _unreadable(folder: Path, _: str) -> Built:
    path = write(folder / "in.nii.gz", gz(nifti(HU)))
    path.chmod(0)
    return path, None


def _empty_folder(folder: Path, _: str) -> Built:
    (folder / "in").mkdir()
    return folder / "in", None


def _texts(folder: Path, _: str) -> Built:
    for index in range(3):
        write(folder / "in" / f"n{index}.txt", b"notes\n")
    return folder / "in", None


add(Case("fs_missing", F, "reject", lambda folder, _: (folder / "nothing_here.nii.gz", None), MISSING))
add(
    Case(
        "fs_symlink_loop", F, "reject", _symlink_loop,
        "loop|symlink|symbolic|no such|not found|levels|does not exist",
        requires=("symlink",),
    )
)  # fmt: skip
add(Case("fs_symlink_ok", F, "accept", _symlink, requires=("symlink",)))
add(Case("fs_unreadable", F, "reject", _unreadable, "permission|denied|readable", requires=("nonroot",)))
add(
    Case(
        "fs_wrong_extension", F, "reject",
        _named("scan.xyz", lambda: nifti(HU)),
        "extension|format|recogni|unsupported|suffix",
        also_ok=("accept", "warn"),
    )
)  # fmt: skip
add(
    Case(
        "fs_space_unicode_name", F, "accept",
        _named("scan 1 \u00e9\u4e2d 'q'.nii.gz", lambda: gz(nifti(HU))),
    )
)  # fmt: skip
add(Case("fs_empty_dir", F, "reject", _empty_folder, "empty|" + NOTHING))
add(
    Case(
        "fs_dir_of_text", F, "reject", _texts, "no (dicom|image|files|series)|not (a )?dicom|nothing"
    )
)  # fmt: skip
add(
    Case(
        "fs_shell_name", F, "accept",
        _named("a;touch medseg_pwned;$(touch medseg_pwned).nii.gz", lambda: gz(nifti(HU))),
        forbid=("medseg_pwned",),
        notes="name must never reach a shell",
    )
)  # fmt: skip


# ------------------------------------------------------------------ what would hang, loop or escape
F = "filesystem-odd"
LINKS: dict[str, Any] = {"requires": ("symlink",)}


def _fifo(folder: Path, _: str) -> Built:
    os.mkfifo(folder / "in.nii.gz")
    return folder / "in.nii.gz", None


def _linked(target: str) -> Build:
    def build(folder: Path, _: str) -> Built:
        (folder / "in.nii").symlink_to(target)
        return folder / "in.nii", None

    return build


def _folder_named_file(folder: Path, _: str) -> Built:
    (folder / "in.nii.gz").mkdir()
    return folder / "in.nii.gz", None


def _loop_in_folder(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag)
    path = saved(folder / "in", slices)
    (path / "loop").symlink_to(".")
    return path, expected


def _subfolders(folder: Path, tag: str) -> Built:
    slices, expected = volume(tag)
    for k, ds in enumerate(slices):
        save(ds, folder / "in" / f"disk{k % 3}" / f"{k}")
    return folder / "in", expected


def _slipping_zip(folder: Path, tag: str) -> Built:
    import shutil

    slices = saved(folder / "tmp", volume(tag)[0])
    with zipfile.ZipFile(folder / "in.zip", "w") as archive:
        for file in sorted(slices.iterdir()):
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())
        archive.writestr(zipfile.ZipInfo("../../medseg_pwned.txt"), b"x")
    shutil.rmtree(slices)
    return folder / "in.zip", None


add(
    Case(
        "fifo", F, "reject", _fifo, "regular|fifo|pipe|not a file",
        limits=small(1024, 20), notes="must not hang", **LINKS,
    )
)  # fmt: skip
add(
    Case(
        "link_to_dev_zero", F, "reject", _linked("/dev/zero"), "regular|device|not a|header|format|magic",
        limits=small(1024, 20), notes="endless file", **LINKS,
    )
)  # fmt: skip
add(
    Case(
        "link_dangling",
        F,
        "reject",
        _linked("gone.nii"),
        "no such|not found|does not exist|dangling|missing",
        **LINKS,
    )
)
add(
    Case(
        "dir_named_niigz", F, "reject", _folder_named_file,
        "directory|empty|no (dicom|image|files|series)|not a file|nothing",
    )
)  # fmt: skip
add(
    Case(
        "dicom_dir_link_loop", F, "accept", _loop_in_folder,
        also_ok=("warn",), notes="in/loop -> . ; 12 slices, no endless walk, no doubles", **LINKS,
    )
)  # fmt: skip
add(
    Case(
        "dicom_in_subfolders", F, "accept", _subfolders,
        also_ok=("warn", "reject"), notes="a series spread over disk0..disk2",
    )
)  # fmt: skip
add(
    Case(
        "zip_with_slip_entry", F, "reject", _slipping_zip,
        "zip|archive|unsupported|extension|format|recogni|path|outside", forbid=("medseg_pwned",),
    )
)  # fmt: skip
