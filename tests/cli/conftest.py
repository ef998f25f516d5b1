"""A command line run in this process, and files to give it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest

from medseg.cli import run


class Outcome(NamedTuple):
    """What a command line gave back."""

    code: int
    out: str
    err: str


Medseg = Callable[..., Outcome]


@pytest.fixture
def medseg(capfd: pytest.CaptureFixture[str]) -> Medseg:
    """`medseg("info", path)` gives exit code, stdout and stderr."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    """A NIfTI image: a ball of 20 mm radius and 100 in 0, on an oblique anisotropic grid, both codes set."""
    turn = np.deg2rad(10)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:2, :2] = 2.0 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine[:3, 3] = (-31.0, 12.5, 7.25)
    shape = (32, 30, 24)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
    image = np.where(np.linalg.norm(world - centre, axis=-1) <= 20, 100, 0).astype(np.int16)
    nifti = nib.Nifti1Image(image, affine)
    nifti.header.set_xyzt_units("mm")
    nifti.set_sform(affine, 1)
    nifti.set_qform(affine, 1)
    path = tmp_path / "ball.nii.gz"
    nib.save(nifti, path)
    return path


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline file that finds the ball."""
    path = tmp_path / "ball.yaml"
    path.write_text(
        "labels: {1: {name: ball, colour: '#4fa3d1'}}\n"
        "preprocess: [{reorient: {to: RAS}}]\n"
        "segment: {threshold: {above: 50}}\n"
        "postprocess: [keep-largest]\n"
    )
    return path
