import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io import read
from medseg.io.itk import describe_itk, read_itk

SHAPE = (7, 6, 5)
VALUES = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 100
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ROTATION = np.array([[0.0, 0.0, 1.0], [0.6, 0.8, 0.0], [-0.8, 0.6, 0.0]])


def write(
    path: Path,
    values: NDArray[Any] = VALUES,
    *,
    compressed: bool = False,
    direction: NDArray[np.float64] = ROTATION,
) -> Path:
    """Write `[i, j, k]` or `[i, j, k, channel]` by SimpleITK."""
    import SimpleITK as sitk

    vector = values.ndim == 4
    image = sitk.GetImageFromArray(np.swapaxes(values, 0, 2), isVector=vector)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((11.0, -12.0, 13.0))
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_itk(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nrrd(path: Path, voxels: bytes | None = None, **changes: str | None) -> Path:
    """A little-endian raw NRRD file by hand; a field set to None is left out."""
    fields: dict[str, str | None] = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "7 6 5",
        "space directions": "(0.7,0,0) (0,0.9,0) (0,0,2.5)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(11,-12,13)",
    }
    fields.update({key.replace("_", " "): value for key, value in changes.items()})
    lines = ["NRRD0004", *(f"{key}: {value}" for key, value in fields.items() if value is not None), "", ""]
    path.write_bytes("\n".join(lines).encode() + (VALUES.tobytes("F") if voxels is None else voxels))
    return path


def meta(path: Path, voxels: bytes | None = None, **changes: str | None) -> Path:
    """A MetaImage file by hand; a field set to None is left out."""
    fields: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "11 -12 13",
        "ElementSpacing": "0.7 0.9 2.5",
        "DimSize": "7 6 5",
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    }
    fields.update(changes)
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # must come last
    lines = [f"{key} = {value}" for key, value in fields.items() if value is not None]
    path.write_bytes("\n".join([*lines, ""]).encode() + (VALUES.tobytes("F") if voxels is None else voxels))
    return path


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_and_places_are_those_that_were_written(
    tmp_path: Path, name: str, *, compressed: bool
) -> None:
    path = write(tmp_path / name, compressed=compressed)
    volume = read_itk(path)
    affine = np.eye(4)
    affine[:3, :3] = ROTATION * (0.7, 0.9, 2.5)
    affine[:3, 3] = 11, -12, 13
    np.testing.assert_array_equal(volume.array[0], VALUES)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.grid.affine, LPS_TO_RAS @ affine, atol=1e-9)
    assert volume.source is not None
    assert volume.source.sha256 == (hashlib.sha256(path.read_bytes()).hexdigest(),)
    assert volume.source.native == volume.grid


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i4", "u4", "f4", "f8"])
def test_every_number_type_keeps_its_values(tmp_path: Path, name: str, kind: str) -> None:
    values = (VALUES + 100).astype(kind) if kind != "i1" else (VALUES // 2).astype(kind)
    volume = read_itk(write(tmp_path / name, values))
    assert volume.array.dtype == np.dtype(kind)
    np.testing.assert_array_equal(volume.array[0], values)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_vector_images_become_channels(tmp_path: Path, name: str) -> None:
    values = np.stack([VALUES, VALUES + 1000, VALUES * 2], axis=-1)
    volume = read_itk(write(tmp_path / name, values))
    assert volume.channels == ("channel-1", "channel-2", "channel-3")
    np.testing.assert_array_equal(volume.array, np.moveaxis(values, -1, 0))


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("LAS", (-1, 1, 1)),
    ],
)
def test_each_nrrd_space_with_a_side_lands_in_ras(
    tmp_path: Path, space: str, signs: tuple[int, int, int]
) -> None:
    volume = read_itk(nrrd(tmp_path / "a.nrrd", space=space))
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 0]), np.multiply((11, -12, 13), signs))
    np.testing.assert_allclose(volume.grid.affine[:3, :3], np.diag(np.multiply((0.7, 0.9, 2.5), signs)))
    np.testing.assert_array_equal(volume.array[0], VALUES)


@pytest.mark.parametrize("big", [False, True])
def test_byte_order_is_honoured(tmp_path: Path, *, big: bool) -> None:
    voxels = VALUES.astype(">i2" if big else "<i2").tobytes("F")
    for path in (
        nrrd(tmp_path / "a.nrrd", voxels, endian="big" if big else "little"),
        meta(tmp_path / "a.mha", voxels, BinaryDataByteOrderMSB=str(big)),
    ):
        volume = read_itk(path)
        np.testing.assert_array_equal(volume.array[0], VALUES)
        assert volume.array.dtype.isnative


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("compressed", [False, True])
def test_it_is_recognised_by_its_content(tmp_path: Path, name: str, *, compressed: bool) -> None:
    path = write(tmp_path / name, compressed=compressed)
    np.testing.assert_array_equal(read(path).array[0], VALUES)


REFUSED_NRRD: dict[str, tuple[dict[str, str | None], str]] = {
    "detached": ({"data_file": "/etc/passwd"}, "in another file (NHDR), which is not followed"),
    "no space": ({"space": None}, "no space and space directions"),
    "no directions": ({"space_directions": None}, "no space and space directions"),
    "no origin": ({"space_origin": None}, "no space origin"),
    "no side": ({"space": "scanner-xyz"}, "'scanner-xyz' does not say where left and right are"),
    "text": ({"encoding": "ascii"}, "encoding 'ascii' is not read"),
    "bzip2": ({"encoding": "bzip2"}, "encoding 'bzip2' is not read"),
    "skip": ({"byte_skip": "-1"}, "skip bytes"),
    "type": ({"type": "block"}, "type 'block' is not read"),
    "sizes": ({"sizes": "7 6"}, "do not fit dimension 3"),
    "zero": ({"sizes": "7 0 5"}, "do not fit dimension 3"),
    "not a number": ({"sizes": "7 six 5"}, "a number in it cannot be read"),
    "flat": (
        {"dimension": "2", "sizes": "42 5", "space_directions": "(1,0,0) (0,1,0)"},
        "2 of them in space",
    ),
    "metres": ({"space_units": '"m" "m" "m"'}, "units are 'm'"),
    "singular": ({"space_directions": "(1,0,0) (1,0,0) (0,0,1)"}, "singular"),
    "nan": ({"space_origin": "(nan,0,0)"}, "finite"),
    "huge": ({"sizes": "100000 100000 100000"}, "claims"),
}


@pytest.mark.parametrize("name", REFUSED_NRRD)
def test_nrrd_that_is_not_understood_is_refused_by_name(tmp_path: Path, name: str) -> None:
    changes, words = REFUSED_NRRD[name]
    message = refusal(nrrd(tmp_path / "a.nrrd", None, **changes))
    assert words in message
    assert message.startswith("a.nrrd: ")


REFUSED_META: dict[str, tuple[dict[str, str | None], str]] = {
    "detached": ({"ElementDataFile": "/etc/passwd"}, "in another file (MHD), which is not followed"),
    "list": ({"ElementDataFile": "LIST"}, "in another file (MHD), which is not followed"),
    "no matrix": ({"TransformMatrix": None}, "where it lies is unknown"),
    "no offset": ({"Offset": None}, "where it lies is unknown"),
    "no spacing": ({"ElementSpacing": None}, "where it lies is unknown"),
    "type": ({"ElementType": "MET_STRING"}, "'MET_STRING' is not read"),
    "text": ({"BinaryData": "False"}, "written as text"),
    "skip": ({"HeaderSize": "-1"}, "foreign header"),
    "flat": ({"NDims": "2", "DimSize": "42 5"}, "not 3-D"),
    "zero": ({"DimSize": "7 0 5"}, "not 3-D"),
    "channels": ({"ElementNumberOfChannels": "-1"}, "-1 channels"),
    "not a number": ({"Offset": "1 2 x"}, "a number in it cannot be read"),
    "singular": ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "singular"),
}


@pytest.mark.parametrize("name", REFUSED_META)
def test_metaimage_that_is_not_understood_is_refused_by_name(tmp_path: Path, name: str) -> None:
    changes, words = REFUSED_META[name]
    message = refusal(meta(tmp_path / "a.mha", None, **changes))
    assert words in message
    assert message.startswith("a.mha: ")


def test_a_sheared_nrrd_is_placed_as_its_header_says(tmp_path: Path) -> None:
    volume = read_itk(nrrd(tmp_path / "a.nrrd", space_directions="(0.7,0,0) (0,0.9,0) (0,0.5,2.5)"))
    np.testing.assert_allclose(volume.grid.affine[:3, 2], (0, -0.5, 2.5))
    np.testing.assert_array_equal(volume.array[0], VALUES)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("lost", [1, 100, 200])
def test_truncated_voxels_are_refused(tmp_path: Path, name: str, lost: int, *, compressed: bool) -> None:
    noise = np.random.default_rng(0).integers(-999, 999, SHAPE).astype(np.int16)
    path = write(tmp_path / name, noise, compressed=compressed)
    path.write_bytes(path.read_bytes()[:-lost])
    if compressed and lost == 1:
        return  # only the checksum's last byte is gone: the voxels are whole, and may be read or refused
    assert "truncated" in refusal(path)
    with pytest.raises(InputError, match="truncated"):
        describe_itk(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_surplus_voxels_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert "more follow" in refusal(path)


def test_damaged_compression_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(VALUES.tobytes("F"), mtime=0))
    packed[20:40] = bytes(20)
    assert "damaged" in refusal(nrrd(tmp_path / "a.nrrd", bytes(packed), encoding="gzip"))


def test_a_gzip_bomb_is_refused_while_it_is_counted(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(1 << 26), mtime=0)
    assert "more follow" in refusal(nrrd(tmp_path / "a.nrrd", bomb, encoding="gzip"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    values = VALUES.astype(np.float32)
    values[1, 2, 3] = bad
    assert "1 of 210 values" in refusal(write(tmp_path / "a.nrrd", values))


@pytest.mark.parametrize("content", [b"", b"hello\nworld\n", b"NRRD0004\ntype: short\n", b"\0" * 500])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(content)
    assert refusal(path).startswith("a.nrrd: ")


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_the_description_is_what_reading_gives(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    candidate, volume = describe_itk(path)[0], read_itk(path)
    assert volume.source is not None
    assert candidate.readable
    assert (
        candidate.format,
        candidate.shape,
        candidate.channels,
        candidate.spacing,
        candidate.axis_codes,
    ) == (
        volume.source.format,
        volume.grid.shape,
        1,
        volume.grid.spacing,
        volume.grid.axis_codes,
    )
    assert candidate.dtype == "int16"


@pytest.mark.parametrize(
    "name",
    [
        "ct_nomask_totalseg_s0521/sample_s0521.nrrd",
        "mr_tumour_pyradiomics/brain1_image.nrrd",
        "mr_tumour_pyradiomics/breast1_image.nrrd",
        "dicom_seg_dcmqi/liver_seg.nrrd",
    ],
)
def test_real_nrrd_agrees_with_simpleitk(real_data: Path, name: str) -> None:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(real_data / name))
    volume = read_itk(real_data / name)
    np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    for index in ((0, 0, 0), (3, 1, 2), tuple(n - 1 for n in volume.grid.shape)):
        place = image.TransformIndexToPhysicalPoint([int(n) for n in index])
        np.testing.assert_allclose(volume.grid.to_world(index), np.multiply(place, (-1, -1, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("start", "filler"),
    [
        (b"NRRD0004\n", b"#\n" * (1 << 20)),
        (b"NRRD0004\n", b"a" * (1 << 26)),
        (b"ObjectType = Image\n", b"#\n" * (1 << 19)),
    ],
)
def test_a_header_without_end_is_not_read_for_ever(tmp_path: Path, start: bytes, filler: bytes) -> None:
    path = tmp_path / ("a.nrrd" if start.startswith(b"NRRD") else "a.mha")
    path.write_bytes(start + filler + b"\n\n")
    with pytest.raises(InputError, match="its header has no end"):
        describe_itk(path)
