"""NIfTI in and out, against nibabel as the independent reader and against hand-damaged headers."""

import gzip
import hashlib
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel  # noqa: TID253
import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError, UsageError
from medseg.io import inspect, read
from medseg.io.nifti import read_label_names, write_labels, write_volume
from medseg.segmentation import Label, LabelTable
from medseg.volume import Grid, Source, Volume

nibabel: Any = untyped_nibabel
SHAPE = (5, 4, 3)
AFFINE = np.array([[-0.9, 0, 0, 10.0], [0, -0.7, 0, 20.0], [0, 0, 2.5, -30.0], [0, 0, 0, 1.0]])
NUMBERS = np.arange(60).reshape(SHAPE, order="F")
LIVER = LabelTable((Label(1, "liver", colour="#dd8265"), Label(2, "liver <tumour> & \u00e9")))


def turned(degrees: float, axis: int = 0) -> NDArray[np.float64]:
    t = np.deg2rad(degrees)
    matrix = np.eye(4)
    i, j = [a for a in range(3) if a != axis]
    matrix[i, i], matrix[j, j], matrix[i, j], matrix[j, i] = np.cos(t), np.cos(t), -np.sin(t), np.sin(t)
    return matrix


SHEAR = np.array([[1, 0, 0, 0], [0, 1, 0.26, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def header_for(
    array: NDArray[Any], affine: NDArray[np.float64], order: str = "<", kind: type = nibabel.Nifti1Header
) -> Any:
    header = kind(endianness=order)
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_sform(affine, 1)
    header.set_qform(affine, 1, strip_shears=True)
    header["qform_code"] = 0 if np.abs(header.get_qform() - affine).max() > 1e-4 else 1
    header["xyzt_units"] = 10
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["magic"], header["vox_offset"] = ((b"n+1", 352), (b"n+2", 544))[kind is nibabel.Nifti2Header]
    header["descrip"] = b"PATIENT^NAME"
    return header


def store(
    path: Path,
    array: NDArray[Any],
    edit: Callable[[Any], object] = lambda header: None,
    header: Any = None,
    payload: bytes | None = None,
) -> Path:
    """Write by hand, so that a header may claim anything."""
    header = header_for(array, AFFINE) if header is None else header
    edit(header)
    body = array.astype(array.dtype.newbyteorder(header.endianness)).tobytes(order="F")
    content = header.binaryblock + b"\0\0\0\0" + (body if payload is None else payload)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def field(name: str, value: object, index: int | None = None) -> Callable[[Any], object]:
    def edit(header: Any) -> None:
        if index is None:
            header[name] = value
        else:
            header[name][index] = value

    return edit


def assert_same_header(path: Path, original: Path) -> None:
    """Affine, sform, qform, codes and pixdim bit for bit, as nibabel loads both."""
    ours, theirs = nibabel.load(path), nibabel.load(original)
    assert np.array_equal(ours.affine, theirs.affine)
    assert np.array_equal(ours.header["pixdim"], theirs.header["pixdim"])
    for form in ("get_sform", "get_qform"):
        (a, a_code), (b, b_code) = (getattr(image.header, form)(coded=True) for image in (ours, theirs))
        assert a_code == b_code
        assert (a is None and b is None) or np.array_equal(a, b)
    assert int(ours.header["xyzt_units"]) & 7 == int(theirs.header["xyzt_units"]) & 7


# ---- reading


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_reads_every_real_type_in_both_byte_orders(
    tmp_path: Path, dtype: str, order: str, kind: type
) -> None:
    array = NUMBERS.astype(dtype)
    path = store(tmp_path / "in.nii.gz", array, header=header_for(array, AFFINE, order, kind))
    volume = read(path)
    assert volume.array.dtype == np.dtype(dtype)
    assert volume.array.dtype.isnative
    assert np.array_equal(volume.array[0], NUMBERS)
    assert np.array_equal(volume.grid.affine, nibabel.load(path).affine)


def test_source_tells_the_digest_of_the_file_and_keeps_the_raw_header(tmp_path: Path) -> None:
    path = store(tmp_path / "in.nii.gz", NUMBERS.astype("i2"), field("xyzt_units", 10))
    source = read(path).source
    assert isinstance(source, Source)
    assert source.sha256 == (hashlib.sha256(path.read_bytes()).hexdigest(),)
    assert source.headers[0]["header"] == gzip.decompress(path.read_bytes())[:348]
    assert (source.format, source.headers[0]["endian"], source.modality) == ("NIfTI-1", "<", None)


def test_scaling_is_applied_in_double_precision(tmp_path: Path) -> None:
    def edit(header: Any) -> None:
        header["scl_slope"], header["scl_inter"] = 0.1, -1024

    array = NUMBERS.astype("u2") + 60000
    volume = read(store(tmp_path / "in.nii", array, edit))
    slope = float(np.float32(0.1))
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array[0], (array.astype(float) * slope - 1024).astype(np.float32))


def test_slope_zero_means_not_scaled(tmp_path: Path) -> None:
    volume = read(store(tmp_path / "in.nii", NUMBERS.astype("i2"), field("scl_slope", 0)))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array[0], NUMBERS)


def test_colours_and_vectors_become_channels(tmp_path: Path) -> None:
    rgb = np.arange(180, dtype="u1").reshape((3, *SHAPE), order="F")

    def colour(header: Any) -> None:
        header["datatype"], header["bitpix"] = 128, 24

    volume = read(store(tmp_path / "rgb.nii", NUMBERS.astype("u1"), colour, payload=rgb.tobytes(order="F")))
    assert volume.channels == ("red", "green", "blue")
    assert np.array_equal(volume.array, rgb)

    vector = np.arange(120, dtype="f4").reshape((*SHAPE, 1, 2))
    header = header_for(vector, AFFINE)
    volume = read(store(tmp_path / "vector.nii", vector, field("intent_code", 1007), header))
    assert volume.channels == ("channel 1", "channel 2")
    assert np.array_equal(volume.array[1], vector[:, :, :, 0, 1])


def test_a_flat_image_and_a_single_time_point_are_volumes(tmp_path: Path) -> None:
    flat = read(store(tmp_path / "flat.nii", NUMBERS[:, :, 0].astype("i2")))
    assert flat.array.shape == (1, 5, 4, 1)
    assert read(store(tmp_path / "one.nii", NUMBERS[..., None].astype("i2"))).array.shape == (1, *SHAPE)


def test_micrometres_become_millimetres_and_it_is_told(tmp_path: Path) -> None:
    volume = read(store(tmp_path / "in.nii", NUMBERS.astype("i2"), field("xyzt_units", 3)))
    assert volume.grid.spacing == pytest.approx((0.0009, 0.0007, 0.0025))
    assert isinstance(volume.source, Source)
    assert volume.source.policies == ("affine converted from micrometres to mm",)


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


def conflicting(degrees: float) -> Callable[[Any], object]:
    return lambda header: header.set_qform(turned(degrees, 2) @ AFFINE, 1)


def uncoded(header: Any) -> None:
    header["sform_code"] = header["qform_code"] = 0


DAMAGE: dict[str, tuple[Callable[[Any], object], str]] = {
    "magic": (field("magic", b"zzz"), "its magic is b'zzz"),
    "pair": (field("magic", b"ni1"), ".hdr/.img pair"),
    "sizeof": (field("sizeof_hdr", 999), "sizeof_hdr is 999"),
    "no dimensions": (field("dim", 0, 0), r"dim\[0\] is 0"),
    "nine dimensions": (field("dim", 9, 0), r"dim\[0\] is 9"),
    "zero extent": (field("dim", 0, 3), "at least 1"),
    "negative extent": (field("dim", -5, 2), "at least 1"),
    "too long": (field("dim", 40, 3), "truncated"),
    "too short": (field("dim", 1, 1), "wrong size"),
    "complex": (field("datatype", 32), "complex64"),
    "undefined type": (field("datatype", 999), "999"),
    "bitpix": (field("bitpix", 8), "bitpix is 8"),
    "offset NaN": (field("vox_offset", np.nan), "vox_offset is nan"),
    "offset negative": (field("vox_offset", -16), "vox_offset is -16"),
    "offset past end": (field("vox_offset", 1e7), "truncated"),
    "offset infinite": (field("vox_offset", np.inf), "vox_offset is inf"),
    "slope NaN": (field("scl_slope", np.nan), "scl_slope nan"),
    "intercept infinite": (field("scl_inter", np.inf), "scl_inter inf"),
    "unit": (field("xyzt_units", 7), "undefined unit"),
    "no orientation": (uncoded, "no orientation"),
    "sform NaN": (field("srow_x", np.nan, 0), "sform cannot be used.*finite"),
    "sform flat": (field("srow_z", 0), "sform cannot be used.*singular"),
    "absurd": (field("srow_x", 1e30, 3), "sform cannot be used.*absurd"),
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


@pytest.mark.parametrize(("count", "reason"), [(3, "4-D, holds 3 volumes"), (2, "holds 2 volumes")])
def test_several_volumes_are_refused(tmp_path: Path, count: int, reason: str) -> None:
    path = store(tmp_path / "in.nii", np.stack([NUMBERS.astype("i2")] * count, -1))
    with pytest.raises(InputError, match=reason):
        read(path)
    assert [c.verdict for c in inspect(path)] == ["not readable"]


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    array = NUMBERS.astype("f4")
    array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf
    with pytest.raises(InputError, match="2 of 60 values are not finite"):
        read(store(tmp_path / "in.nii", array))


def test_scaling_that_overflows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite"):
        read(store(tmp_path / "in.nii", NUMBERS.astype("f4") * 1e36, field("scl_slope", 1e30)))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: content[:20], "truncated"),
        (lambda content: content[:-8] + b"\0" * 8, "CRC"),
        (lambda content: content + b"not gzip", "corrupt gzip"),
        (lambda content: content[:60] + bytes([content[60] ^ 16]) + content[61:], "corrupt gzip"),
    ],
    ids=["cut", "cut in header", "crc", "garbage behind", "bit flipped"],
)
def test_a_damaged_gzip_stream_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    array = np.random.default_rng(3).integers(0, 99, (30, 30, 30)).astype("i2")
    path = store(tmp_path / "in.nii.gz", array)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=reason):
        read(path)


def test_gzip_of_several_members_is_legal(tmp_path: Path) -> None:
    plain = store(tmp_path / "in.nii", NUMBERS.astype("i2")).read_bytes()
    path = tmp_path / "in.nii.gz"
    path.write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
    assert np.array_equal(read(path).array[0], NUMBERS)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_huge_claim_allocates_nothing(tmp_path: Path, suffix: str) -> None:
    def edit(header: Any) -> None:
        header["dim"][1:4] = 32767

    path = store(tmp_path / f"in{suffix}", NUMBERS.astype("i2"), edit)
    tracemalloc.start()
    with pytest.raises(InputError, match="truncated"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize(("suffix", "size"), [(".nii", 20 << 30), (".nii.gz", 40 << 20)])
def test_more_than_memory_holds_is_refused_before_it_is_read(tmp_path: Path, suffix: str, size: int) -> None:
    """20 GiB of zeros, or a gzip file large enough to unfold to them: the claim is honest and too much."""

    def edit(header: Any) -> None:
        header["dim"][1:4] = 2048, 2560, 2048

    path = store(tmp_path / f"in{suffix}", NUMBERS.astype("i2"), edit)
    os.truncate(path, size + 352 if suffix == ".nii" else size)  # sparse: takes no room on the disk
    with pytest.raises(InputError, match=r"20\.0 GiB of voxels"):
        read(path)


# ---- real images


@pytest.mark.parametrize(
    "name",
    [
        "ct_totalseg_A/ct.nii.gz",
        "ct_spine_tptbox/sub-ct_label-22_ct.nii.gz",
        "mr_hippocampus_msd/unlabelled/hippocampus_118.nii.gz",
        "mr_spinalcord_sct/t1.nii.gz",
        "mr_spinalcord_sct/t2.nii.gz",
        "mr_spinalcord_sct/t2s_gm.nii.gz",
        "mr_spinalcord_sct/t2_seg_levels.nii.gz",
    ],
)
def test_real_images_are_read_and_rewritten_as_nibabel_sees_them(
    tmp_path: Path, real_data: Path, name: str
) -> None:
    expected = nibabel.load(real_data / name)
    volume = read(real_data / name)
    assert np.array_equal(volume.array[0], np.asarray(expected.dataobj))
    assert np.array_equal(volume.grid.affine, expected.affine)
    write_volume(volume, tmp_path / "out.nii.gz")
    assert_same_header(tmp_path / "out.nii.gz", real_data / name)
    assert np.array_equal(
        np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj), np.asarray(expected.dataobj)
    )


def test_label_names_of_another_program_are_read(real_data: Path) -> None:
    names = read_label_names(real_data / "ct_totalseg_A/seg_total_fast3mm.nii.gz")
    assert (names[1], names[5], names[52]) == ("spleen", "liver", "aorta")


# ---- writing


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
@pytest.mark.parametrize("dtype", ["i2", "u1", "f4"])
@pytest.mark.parametrize("affine", [AFFINE, turned(30) @ turned(20, 2) @ AFFINE, AFFINE @ SHEAR])
def test_reading_and_writing_changes_no_bit(
    tmp_path: Path, affine: NDArray[np.float64], dtype: str, kind: type, order: str
) -> None:
    array = NUMBERS.astype(dtype)
    path = store(tmp_path / "in.nii.gz", array, header=header_for(array, affine, order, kind))
    volume = read(path)
    write_volume(volume, tmp_path / "out.nii.gz")
    assert_same_header(tmp_path / "out.nii.gz", path)
    again = read(tmp_path / "out.nii.gz")
    assert again.array.dtype == np.dtype(dtype)
    assert np.array_equal(again.array, volume.array)
    assert again.grid == volume.grid
    write_labels(
        NUMBERS.astype("u1"), volume.grid, tmp_path / "labels.nii.gz", labels=LIVER, source=volume.source
    )
    assert_same_header(tmp_path / "labels.nii.gz", path)


@pytest.mark.parametrize("edit", [uncoded, field("xyzt_units", 3), field("pixdim", 0, 0)])
def test_odd_orientation_fields_survive(tmp_path: Path, edit: Callable[[Any], object]) -> None:
    def qform_only(header: Any) -> None:
        edit(header)
        header["sform_code"], header["qform_code"] = 0, 3

    path = store(tmp_path / "in.nii", NUMBERS.astype("i2"), qform_only)
    write_volume(read(path), tmp_path / "out.nii")
    assert_same_header(tmp_path / "out.nii", path)


def test_nothing_of_the_inputs_text_is_carried_over(tmp_path: Path) -> None:
    volume = read(store(tmp_path / "in.nii", NUMBERS.astype("i2"), field("aux_file", b"PATIENT^NAME")))
    write_volume(volume, tmp_path / "out.nii")
    assert b"PATIENT" not in (tmp_path / "out.nii").read_bytes()
    assert nibabel.load(tmp_path / "out.nii").header["descrip"].item() == b"medseg: research use only"


def test_another_grid_is_written_as_its_own(tmp_path: Path) -> None:
    volume = read(store(tmp_path / "in.nii", NUMBERS.astype("i2"))).reorient("RAS")
    write_volume(volume, tmp_path / "out.nii")
    image = nibabel.load(tmp_path / "out.nii")
    assert np.allclose(image.affine, volume.grid.affine, atol=1e-6)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert np.allclose(image.header.get_qform(), volume.grid.affine, atol=1e-5)
    sheared = Volume(volume.array, Grid(SHAPE, AFFINE @ SHEAR))
    write_volume(sheared, tmp_path / "sheared.nii")
    image = nibabel.load(tmp_path / "sheared.nii")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    assert np.allclose(image.affine, AFFINE @ SHEAR, atol=1e-6)


def test_channels_are_written_last_and_read_back(tmp_path: Path) -> None:
    array = np.stack([NUMBERS, NUMBERS + 100, NUMBERS + 200]).astype("i2")
    write_volume(Volume(array, Grid(SHAPE, AFFINE), ("a", "b", "c")), tmp_path / "out.nii.gz")
    image = nibabel.load(tmp_path / "out.nii.gz")
    assert image.shape == (*SHAPE, 3)
    assert np.array_equal(np.moveaxis(np.asarray(image.dataobj), -1, 0), array)
    assert np.array_equal(read(tmp_path / "out.nii.gz").array, array)


def test_an_axis_beyond_16_bits_becomes_nifti_2(tmp_path: Path) -> None:
    grid = Grid((40000, 1, 1), np.eye(4))
    write_volume(Volume(np.ones((1, 40000, 1, 1), bool), grid), tmp_path / "out.nii.gz")
    again = read(tmp_path / "out.nii.gz")
    assert isinstance(again.source, Source)
    assert (again.source.format, again.array.sum(), again.array.dtype.name) == ("NIfTI-2", 40000, "uint8")


def test_equal_images_give_equal_files(tmp_path: Path) -> None:
    volume = Volume(NUMBERS.astype("f4")[None], Grid(SHAPE, AFFINE))
    for name in ("one.nii.gz", "other.nii.gz"):
        write_volume(volume, tmp_path / name)
    first = (tmp_path / "one.nii.gz").read_bytes()
    assert first == (tmp_path / "other.nii.gz").read_bytes()
    assert first[3] == 0, "flags: no file name"
    assert first[4:8] == bytes(4), "no time"


def test_label_names_are_read_back_and_others_can_read_them(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii.gz"
    write_labels(NUMBERS.astype("u2") % 3, Grid(SHAPE, AFFINE), path, labels=LIVER, source=None)
    assert read_label_names(path) == {1: "liver", 2: "liver <tumour> & \u00e9"}
    image = nibabel.load(path)
    assert [told.get_code() for told in image.header.extensions] == [0, 30]
    for told in image.header.extensions:
        assert 'Key="1" Red="0.8667" Green="0.5098" Blue="0.3961" Alpha="1">liver<' in told.text
    assert b"CaretExtension" in image.header.extensions[0].get_content()
    assert int(image.header["intent_code"]) == 1002
    assert np.array_equal(np.asarray(image.dataobj), NUMBERS % 3)


def test_an_image_without_names_has_none(tmp_path: Path) -> None:
    assert read_label_names(store(tmp_path / "in.nii", NUMBERS.astype("i2"))) == {}


@pytest.mark.parametrize("array", [NUMBERS.astype("i2"), NUMBERS.astype("u1")[:2]])
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, array: NDArray[Any]) -> None:
    with pytest.raises(UsageError, match="labels are unsigned"):
        write_labels(array, Grid(SHAPE, AFFINE), tmp_path / "x.nii", labels=LIVER, source=None)
