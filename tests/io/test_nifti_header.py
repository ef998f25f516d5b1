"""What NIfTI headers claim: the orientation they tell, and every damage named in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nifti_files import (
    AFFINE,
    NUMBERS,
    SHAPE,
    Edit,
    both,
    field,
    header_for,
    nibabel,
    store,
    turned,
)

from medseg.errors import GeometryError, InputError
from medseg.io import inspect, read
from medseg.io.nifti_header import header_bytes, layout, parse
from medseg.volume import Grid, Source

# ---- orientation


@pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("alone", ["sform", "qform", "both"])
def test_either_form_is_enough(tmp_path: Path, alone: str, order: str, kind: type) -> None:
    """The one that is not coded may say anything."""
    affine = turned(25, 1) @ AFFINE
    header = header_for(NUMBERS.astype("i2"), affine, order, kind)
    if alone == "sform":
        header.set_qform(turned(90) @ AFFINE, 0)
    elif alone == "qform":
        header["sform_code"], header["srow_x"] = 0, np.nan
    path = store(tmp_path / "in.nii", NUMBERS.astype("i2"), header=header)
    assert np.array_equal(read(path).grid.affine, nibabel.load(path).affine)
    assert np.allclose(read(path).grid.affine, affine, atol=1e-5)


@pytest.mark.parametrize("pixdim", [[5, 5, 5], [0, 0, 0], [np.nan, 0.7, 2.5], [-0.9, 0.7, 2.5]])
def test_a_sform_wins_over_pixdim_and_it_is_told(tmp_path: Path, pixdim: list[float]) -> None:
    def edit(header: Any) -> None:
        header["qform_code"], header["pixdim"][1:4] = 0, pixdim

    volume = read(store(tmp_path / "in.nii", NUMBERS.astype("i2"), edit))
    assert volume.grid.spacing == pytest.approx((0.9, 0.7, 2.5))
    assert isinstance(volume.source, Source)
    told = " x ".join(f"{p:g}" for p in pixdim)
    assert volume.source.policies == (
        f"pixdim {told} contradicts the sform, whose spacing 0.9 x 0.7 x 2.5 is used",
    )


@pytest.mark.parametrize(
    ("code", "factor", "told"),
    [
        (0, 1.0, ()),  # unknown: taken as mm, as everybody does
        (1, 1000.0, ("affine converted from metres to mm",)),
        (2, 1.0, ()),
        (3, 0.001, ("affine converted from micrometres to mm",)),
        (3 | 8, 0.001, ("affine converted from micrometres to mm",)),  # and seconds
    ],
)
def test_units_of_length_become_millimetres(
    tmp_path: Path, code: int, factor: float, told: tuple[str, ...]
) -> None:
    volume = read(store(tmp_path / "in.nii", NUMBERS.astype("i2"), field("xyzt_units", code)))
    assert np.allclose(volume.grid.affine[:3], AFFINE[:3] * factor)
    assert volume.grid.unit == "mm"
    assert isinstance(volume.source, Source)
    assert volume.source.policies == told


def test_the_quaternions_own_rounding_is_no_conflict(tmp_path: Path) -> None:
    """Near half a turn, float32 loses the quaternion's real part: corners move by a tenth of a voxel."""
    affine = turned(179.99, 2) @ turned(30, 1) @ np.diag([0.7, 0.7, 1, 1.0])
    array = np.zeros((512, 4, 300), "u1")
    header = nibabel.Nifti1Header()
    header.set_data_shape(array.shape)
    header.set_qform(affine, 1)
    apart = Grid((512, 4, 300), header.get_qform()).same_as(Grid((512, 4, 300), affine))
    assert not apart, "this case no longer shows the rounding"
    header = header_for(array, affine)
    header.set_qform(affine, 1)
    assert np.allclose(
        read(store(tmp_path / "in.nii.gz", array, header=header)).grid.affine, affine, atol=1e-5
    )


def test_a_real_conflict_near_half_a_turn_is_still_one(tmp_path: Path) -> None:
    """A turn of 0.2 degrees moves this grid's far end by 1.8 voxels: more than rounding can."""
    affine = turned(179.99, 2) @ np.diag([0.7, 0.7, 1, 1.0])
    array = np.zeros((512, 4, 300), "u1")
    header = header_for(array, affine)
    header.set_qform(turned(0.2, 2) @ affine, 1)
    with pytest.raises(GeometryError, match=r"differ by up to 1\.2\d mm"):
        read(store(tmp_path / "in.nii.gz", array, header=header))


def test_rounding_does_not_excuse_half_a_voxel_of_shift(tmp_path: Path) -> None:
    header = header_for(np.zeros((512, 4, 300), "u1"), np.diag([-0.7, -0.7, 1, 1.0]))
    header["qoffset_x"] += 0.35
    with pytest.raises(GeometryError, match=r"differ by up to 0\.35 mm"):
        read(store(tmp_path / "in.nii.gz", np.zeros((512, 4, 300), "u1"), header=header))


# ---- refusing


def conflicting(degrees: float) -> Edit:
    return lambda header: header.set_qform(turned(degrees, 2) @ AFFINE, 1)


def uncoded(header: Any) -> None:
    header["sform_code"] = header["qform_code"] = 0


DAMAGE: dict[str, tuple[Edit, str]] = {
    "magic": (field("magic", b"zzz"), "its magic is b'zzz"),
    "pair": (field("magic", b"ni1"), "header is that of a .hdr/.img pair.*rename it to .hdr"),
    "sizeof": (field("sizeof_hdr", 999), "sizeof_hdr is 999"),
    "no dimensions": (field("dim", 0, 0), r"dim\[0\] is 0"),
    "nine dimensions": (field("dim", 9, 0), r"dim\[0\] is 9"),
    "zero extent": (field("dim", 0, 3), "at least 1"),
    "negative extent": (field("dim", -5, 2), "at least 1"),
    "product of dimensions": (field("dim", [7, *[32767] * 7]), "truncated: the header claims"),
    "too long": (field("dim", 40, 3), "truncated"),
    "too short": (field("dim", 1, 1), "wrong size"),
    "complex": (field("datatype", 32), "complex64"),
    "float128": (both(field("datatype", 1536), field("bitpix", 128)), "float128"),
    "undefined type": (field("datatype", 999), "999"),
    "bitpix": (field("bitpix", 8), "bitpix is 8"),
    "offset NaN": (field("vox_offset", np.nan), "vox_offset is nan"),
    "offset negative": (field("vox_offset", -16), "vox_offset is -16"),
    "offset past end": (field("vox_offset", 1e7), "truncated"),
    "offset inside the header": (field("vox_offset", 348), "vox_offset is 348"),
    "offset not whole": (field("vox_offset", 352.5), "vox_offset is 352.5"),
    "offset beyond all numbers": (field("vox_offset", 3e38), "truncated"),
    "offset infinite": (field("vox_offset", np.inf), "vox_offset is inf"),
    "slope infinite": (field("scl_slope", np.inf), "scl_slope inf"),
    "slope NaN beside an intercept": (
        both(field("scl_slope", np.nan), field("scl_inter", -1024)),
        "scl_slope nan and scl_inter -1024",
    ),
    "intercept NaN": (field("scl_inter", np.nan), "scl_inter nan"),
    "intercept infinite": (field("scl_inter", np.inf), "scl_inter inf"),
    "unit": (field("xyzt_units", 7), "undefined unit"),
    "no orientation": (uncoded, "no orientation"),
    "sform NaN": (field("srow_x", np.nan, 0), "sform cannot be used.*finite"),
    "sform flat": (field("srow_z", 0), "sform cannot be used.*singular"),
    "absurd": (field("srow_x", 1e30, 3), "sform cannot be used.*absurd"),
    "sform zero": (
        both(*(field(f"srow_{axis}", 0) for axis in "xyz"), field("qform_code", 0)),
        "sform cannot be used.*singular",
    ),
    "qform zero": (both(field("sform_code", 0), field("pixdim", 0, 1)), "qform cannot be used.*singular"),
    "qform NaN": (both(field("sform_code", 0), field("pixdim", np.nan, 3)), "qform cannot be used.*finite"),
    "qform negative": (
        both(field("sform_code", 0), field("pixdim", -1, 2)),
        "qform cannot be used.*positive",
    ),
    "quaternion": (field("quatern_b", 3), "qform cannot be used"),
    "qfac": (field("pixdim", 5, 0), "qform cannot be used.*qfac"),
    "conflict": (conflicting(90), "differ by up to"),
}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_header_is_refused_in_one_line(tmp_path: Path, damage: str, suffix: str) -> None:
    edit, reason = DAMAGE[damage]
    array = np.tile(NUMBERS.astype("i2"), (40, 1, 1))
    path = store(tmp_path / f"in{suffix}", array, edit)
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_conflict_is_given_in_millimetres(tmp_path: Path) -> None:
    """A shift of 2 mm between the two forms is named as 2 mm."""
    path = store(tmp_path / "in.nii", NUMBERS.astype("i2"), field("qoffset_x", 12.0))
    with pytest.raises(GeometryError, match=r"differ by up to 2\.00 mm"):
        read(path)


@pytest.mark.parametrize(
    ("count", "reason"), [(3, "4-D, holds 3 volumes.*--phase N"), (2, "holds 2 volumes")]
)
def test_several_volumes_are_refused(tmp_path: Path, count: int, reason: str) -> None:
    path = store(tmp_path / "in.nii", np.stack([NUMBERS.astype("i2")] * count, -1))
    with pytest.raises(InputError, match=reason):
        read(path)
    assert [(c.verdict, c.phases, c.shape) for c in inspect(path)] == [("several volumes", count, SHAPE)]


# ---- the bytes of a header


@pytest.mark.parametrize("length", [0, 1, 347])
def test_fewer_bytes_than_a_header_are_counted(tmp_path: Path, length: int) -> None:
    path = tmp_path / "in.nii.gz"
    store(path, NUMBERS.astype("i2"))
    block = header_for(NUMBERS.astype("i2")).binaryblock[:length]
    with pytest.raises(InputError, match=f"truncated: {length} bytes, and a NIfTI header has 348"):
        header_bytes(lambda count: block[:count], "in.nii")


def test_a_nifti_2_header_is_longer(tmp_path: Path) -> None:
    header = header_for(NUMBERS.astype("i2"), kind=nibabel.Nifti2Header)
    path = store(tmp_path / "in.nii", NUMBERS.astype("i2"), header=header)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="truncated in its NIfTI-2 header of 540 bytes"):
        read(path)


def test_blocks_of_a_vector_over_time() -> None:
    """Two parts at three times: part 1 at times 1 to 3, then part 2; phase 2 is blocks 1 and 4."""
    array = np.zeros((2, 2, 2, 3, 2), "i2")
    header = header_for(array)
    header["intent_code"] = 1007
    wanted = layout(parse(header.binaryblock, "in.nii"), "in.nii")
    assert (wanted.volumes, wanted.stride, wanted.channels) == (3, 3, ("channel 1", "channel 2"))
    assert [wanted.block(2, channel) for channel in (0, 1)] == [1, 4]
    assert (wanted.block_bytes, wanted.voxel_bytes, wanted.stored_bytes) == (16, 32, 96)
