"""NIfTI in and out, against nibabel as the independent reader and against claims that no file can hold."""

import gzip
import hashlib
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nifti_files import (
    AFFINE,
    NUMBERS,
    SHAPE,
    SHEAR,
    Edit,
    assert_same_header,
    both,
    field,
    header_for,
    nibabel,
    store,
    turned,
)
from numpy.typing import NDArray
from strategies import grids

from medseg.errors import InputError, UsageError
from medseg.io import inspect, read
from medseg.io.nifti import read_label_names, read_nifti, write_labels, write_slabs, write_volume
from medseg.io.policy import Policy
from medseg.segmentation import Label, LabelTable
from medseg.volume import Grid, Source, Volume

TYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
KINDS = (nibabel.Nifti1Header, nibabel.Nifti2Header)
LIVER = LabelTable((Label(1, "liver", colour="#dd8265"), Label(2, "liver <tumour> & \u00e9")))


# ---- reading


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TYPES)
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


@pytest.mark.parametrize("dtype", ["i8", "u8", "f8"])
def test_sixty_four_bits_are_exact(tmp_path: Path, dtype: str) -> None:
    """Neighbours at the ends of the range, where float64 no longer tells integers apart."""
    array = np.zeros(SHAPE, dtype)
    if dtype == "f8":
        array.flat[:3] = np.nextafter(1.0, 2), -5e-324, 1.7e308
    else:
        ends = np.iinfo(np.dtype(dtype))
        array.flat[:4] = ends.max, ends.max - 1, ends.min, ends.min + 1
    assert read(store(tmp_path / "in.nii", array)).array[0].tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8"])
def test_scaled_integers_of_many_bits_keep_them(tmp_path: Path, dtype: str) -> None:
    """float32 would take these two for one."""
    array = np.zeros(SHAPE, dtype)
    array.flat[:2] = 16777217, 16777216
    values = read(store(tmp_path / "in.nii", array, field("scl_inter", 1))).array
    assert values.dtype == np.float64
    assert values[0].flat[:2].tolist() == [16777218, 16777217]


@pytest.mark.parametrize(
    ("slope", "intercept", "told"),
    [
        (0, 0, ()),
        (0, np.nan, ("scl_inter nan not applied: scl_slope is 0, which means not scaled",)),
        (0, -1024, ("scl_inter -1024 not applied: scl_slope is 0, which means not scaled",)),
        (np.nan, 0, ("scl_slope is NaN: values taken as not scaled",)),
        (np.nan, np.nan, ("scl_slope is NaN: values taken as not scaled",)),
    ],
)
def test_without_a_slope_nothing_is_scaled(
    tmp_path: Path, slope: float, intercept: float, told: tuple[str, ...]
) -> None:
    edit = both(field("scl_slope", slope), field("scl_inter", intercept))
    path = store(tmp_path / "in.nii", NUMBERS.astype("i2"), edit)
    volume = read(path)
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array[0], NUMBERS)
    assert isinstance(volume.source, Source)
    assert volume.source.policies == told
    assert inspect(path)[0].detail == "; ".join(told)


def test_an_intercept_alone_is_added(tmp_path: Path) -> None:
    volume = read(store(tmp_path / "in.nii", NUMBERS.astype("i2"), field("scl_inter", -1024)))
    assert np.array_equal(volume.array[0], NUMBERS - 1024)


@pytest.mark.parametrize(("code", "bits", "name"), [(128, 24, "RGB24"), (2304, 32, "RGBA32")])
def test_colours_are_no_intensities(tmp_path: Path, code: int, bits: int, name: str) -> None:
    edit = both(field("datatype", code), field("bitpix", bits))
    path = store(tmp_path / "in.nii", NUMBERS, edit, header_for(NUMBERS.astype("u1")), bytes(60 * bits // 8))
    with pytest.raises(InputError, match=rf"RGB colours \({name}\), not intensities"):
        read(path)
    assert [c.verdict for c in inspect(path)] == ["not readable"]


def test_a_vector_becomes_channels(tmp_path: Path) -> None:
    vector = np.arange(120, dtype="f4").reshape((*SHAPE, 1, 2))
    path = store(tmp_path / "vector.nii", vector, field("intent_code", 1007), header_for(vector))
    volume = read(path)
    assert volume.channels == ("channel 1", "channel 2")
    assert np.array_equal(np.moveaxis(volume.array, 0, -1), vector[:, :, :, 0])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_phase_picks_one_volume(tmp_path: Path, suffix: str) -> None:
    array = np.stack([NUMBERS, NUMBERS + 100, NUMBERS + 200], -1).astype("i2")
    path = store(tmp_path / f"in{suffix}", array)
    for phase in (1, 2, 3):
        volume = read(path, policy=Policy(phase=phase))
        assert np.array_equal(volume.array[0], array[..., phase - 1])
        assert isinstance(volume.source, Source)
        assert volume.source.decided == (f"phase {phase} of 3: one volume of a 4-D file read",)
        assert volume.source.verdict == "several volumes"
        assert volume.source.sha256 == (hashlib.sha256(path.read_bytes()).hexdigest(),)


@pytest.mark.parametrize("phase", [0, -1, 4])
def test_a_phase_that_is_not_there_is_refused(tmp_path: Path, phase: int) -> None:
    path = store(tmp_path / "in.nii", np.stack([NUMBERS.astype("i2")] * 3, -1))
    with pytest.raises(InputError, match=rf"no phase {phase}: it holds 3 volumes; give --phase 1 to 3"):
        read(path, policy=Policy(phase=phase))


def test_the_only_volume_is_phase_1_and_nothing_was_decided(tmp_path: Path) -> None:
    path = store(tmp_path / "in.nii", NUMBERS.astype("i2"))
    source = read(path, policy=Policy(phase=1)).source
    assert isinstance(source, Source)
    assert (source.decided, source.verdict) == ((), "ok")
    with pytest.raises(InputError, match="holds 1 volume;"):
        read(path, policy=Policy(phase=2))


def test_phase_picks_a_vectors_time_point(tmp_path: Path) -> None:
    """Parts of a vector lie behind all of time, and further axes behind both."""
    array = np.arange(60 * 3 * 2 * 2, dtype="i2").reshape((*SHAPE, 3, 2, 2), order="F")
    path = store(tmp_path / "in.nii.gz", array, field("intent_code", 1007), header_for(array))
    for phase in range(1, 7):
        expected = array[..., (phase - 1) % 3, :, (phase - 1) // 3]
        assert np.array_equal(np.moveaxis(read(path, policy=Policy(phase=phase)).array, 0, -1), expected)


@pytest.mark.parametrize("phase", [1, 2])
def test_a_volume_is_not_picked_from_a_cut_file(tmp_path: Path, phase: int) -> None:
    array = np.random.default_rng(0).integers(0, 9999, (20, 20, 20, 2)).astype("i2")
    for suffix in (".nii", ".nii.gz"):
        path = store(tmp_path / f"in{suffix}", array)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(InputError, match="truncated"):
            read(path, policy=Policy(phase=phase))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_reading_takes_the_memory_of_the_voxels_asked_for(tmp_path: Path, suffix: str) -> None:
    """16 MB of 64: the other three volumes are passed over."""
    array = np.random.default_rng(0).integers(0, 99, (200, 200, 200, 4)).astype("i2")
    path = store(tmp_path / f"in{suffix}", array)
    read(path, policy=Policy(phase=1))  # imports count once
    tracemalloc.start()
    volume = read(path, policy=Policy(phase=3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volume.array.dtype == np.int16
    assert peak < 1.1 * volume.array.nbytes + 6e6


def test_a_flat_image_and_a_single_time_point_are_volumes(tmp_path: Path) -> None:
    flat = read(store(tmp_path / "flat.nii", NUMBERS[:, :, 0].astype("i2")))
    assert flat.array.shape == (1, 5, 4, 1)
    assert read(store(tmp_path / "one.nii", NUMBERS[..., None].astype("i2"))).array.shape == (1, *SHAPE)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("value", [0, 7])
def test_slices_behind_a_header_of_two_dimensions_are_not_dropped(
    tmp_path: Path, suffix: str, value: int
) -> None:
    array = np.full((5, 4, 5), value, "i2")
    path = store(tmp_path / f"in{suffix}", array, field("dim", 2, 0))
    with pytest.raises(
        InputError, match="wrong size: it holds more than the 392 bytes that its header claims"
    ):
        read(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("side", "behind", "accepted"),
    [
        (5, bytes(49), True),
        (5, bytes(50), False),  # a slice of 5 x 5 of 2 bytes
        (5, bytes(9) + b"\1", False),
        (50, bytes(4096), True),
        (50, bytes(4097), False),
        (50, bytes(4095) + b"a", False),
    ],
)
def test_zeros_behind_the_voxels_are_padding_up_to_a_slice(
    tmp_path: Path, suffix: str, side: int, behind: bytes, accepted: bool
) -> None:
    array = np.arange(side * side * 3, dtype="i2").reshape(side, side, 3)
    path = store(tmp_path / f"in{suffix}", array, payload=array.tobytes(order="F") + behind)
    if accepted:
        assert np.array_equal(read(path).array[0], array)
    else:
        with pytest.raises(InputError, match=r"holds more than the .* bytes that its header claims"):
            read(path)


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    array = NUMBERS.astype("f4")
    array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf
    with pytest.raises(InputError, match="2 of 60 values are not finite"):
        read(store(tmp_path / "in.nii", array))


def test_scaling_that_overflows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite"):
        read(store(tmp_path / "in.nii", NUMBERS.astype("f4") * 1e36, field("scl_slope", 1e30)))


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
@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("edit", [field("xyzt_units", 3), field("xyzt_units", 1), field("pixdim", 0, 0)])
def test_odd_orientation_fields_survive(tmp_path: Path, edit: Edit) -> None:
    qform_only = both(edit, field("sform_code", 0), field("qform_code", 3))
    path = store(tmp_path / "in.nii", NUMBERS.astype("i2"), qform_only)
    write_volume(read(path), tmp_path / "out.nii")
    assert_same_header(tmp_path / "out.nii", path)


@st.composite
def images(draw: st.DrawFn) -> tuple[Any, NDArray[Any]]:
    """A header of any grid, kind, type, byte order and scaling; voxels over the whole range of the type."""
    grid = draw(grids())
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind == "f":
        array = (rng.normal(size=grid.shape) * 10.0 ** rng.integers(-30, 30, grid.shape)).astype(dtype)
    else:
        ends: Any = np.iinfo(dtype.name)
        array = rng.integers(ends.min, ends.max, grid.shape, dtype, endpoint=True)
    header = header_for(array, grid.affine, draw(st.sampled_from("<>")), draw(st.sampled_from(KINDS)))
    scale = (1, 0), (0, 0), (0.1, -1024), (-2, 0), (1, 3.5), (1e-4, 1e4)
    header["scl_slope"], header["scl_inter"] = draw(st.sampled_from(scale))
    if draw(st.booleans()):  # one of the two alone, where the qform can say it
        header["sform_code" if header["qform_code"] and draw(st.booleans()) else "qform_code"] = 0
    header["pixdim"][4:] = draw(st.tuples(*[st.floats(0, 10, width=32)] * 4))[: len(header["pixdim"]) - 4]
    return header, array


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(image=images(), suffix=st.sampled_from([".nii", ".nii.gz"]))
def test_any_image_goes_through_bit_for_bit(tmp_path: Path, image: tuple[Any, Any], suffix: str) -> None:
    """Values and affine are nibabel's; where a file is scaled, nibabel's float64 is rounded once, to ours."""
    header, array = image
    path, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    volume = read(store(path, array, header=header))
    theirs = nibabel.load(path)
    expected = np.asanyarray(theirs.dataobj)
    scaled = (float(header["scl_slope"]), float(header["scl_inter"])) not in {(1.0, 0.0), (0.0, 0.0)}
    assert scaled or volume.array.dtype == array.dtype
    assert np.array_equal(volume.array[0], expected.astype(volume.array.dtype))
    assert np.array_equal(volume.grid.affine, theirs.affine)
    write_volume(volume, out)
    assert_same_header(out, path)
    again = np.asanyarray(nibabel.load(out).dataobj)
    assert again.dtype == volume.array.dtype
    assert np.array_equal(again, volume.array[0])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(200, 150, 70), (3, 2000, 900), (1, 1, 7)])
def test_slabs_are_written_in_order_whatever_the_layout_in_memory(
    tmp_path: Path, shape: tuple[int, int, int], order: str
) -> None:
    """More than one slab, and rows that are no multiple of what is turned together; flips are views."""
    array = np.random.default_rng(1).integers(-999, 999, shape).astype("i4")
    array = np.asfortranarray(array) if order == "F" else array
    for name, view in (("a", array), ("b", array[::-1, :, ::-1])):
        write_volume(Volume(view[None], Grid(shape, AFFINE)), tmp_path / f"{name}.nii.gz")
        assert np.array_equal(np.asarray(nibabel.load(tmp_path / f"{name}.nii.gz").dataobj), view)


def test_writing_takes_no_second_copy(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 99, (1, 300, 300, 300)).astype("i2")
    write_volume(Volume(array[:, :9, :9, :9], Grid((9, 9, 9), AFFINE)), tmp_path / "first.nii.gz")
    tracemalloc.start()
    write_volume(Volume(array, Grid((300, 300, 300), AFFINE)), tmp_path / "out.nii.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * array.nbytes  # a slab being turned, the one before, and what the threads hold


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
    write_volume(volume.replace(array=np.asfortranarray(volume.array)), tmp_path / "turned.nii.gz")
    first = (tmp_path / "one.nii.gz").read_bytes()
    assert first == (tmp_path / "turned.nii.gz").read_bytes(), "whatever the order in memory"
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


@pytest.mark.parametrize("size", [0, -16, 7, 1 << 30])
def test_an_extension_that_lies_about_its_size_harms_nothing(tmp_path: Path, size: int) -> None:
    """Where voxels begin is for vox_offset to say."""
    extension = b"\1\0\0\0" + size.to_bytes(4, "little", signed=True) + bytes(24)
    header = header_for(NUMBERS.astype("i2"))
    header["vox_offset"] = 348 + len(extension)
    content = header.binaryblock + extension + NUMBERS.astype("i2").tobytes(order="F")
    (tmp_path / "in.nii").write_bytes(content)
    assert np.array_equal(read(tmp_path / "in.nii").array[0], NUMBERS)
    assert read_label_names(tmp_path / "in.nii") == {}


def test_an_image_without_names_has_none(tmp_path: Path) -> None:
    assert read_label_names(store(tmp_path / "in.nii", NUMBERS.astype("i2"))) == {}


@pytest.mark.parametrize("array", [NUMBERS.astype("i2"), NUMBERS.astype("u1")[:2]])
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, array: NDArray[Any]) -> None:
    with pytest.raises(UsageError, match="labels are unsigned"):
        write_labels(array, Grid(SHAPE, AFFINE), tmp_path / "x.nii", labels=LIVER, source=None)


def test_slabs_make_the_file_of_the_whole(tmp_path: Path) -> None:
    grid = Grid((5, 4, 7), np.diag([1.0, 2.0, 3.0, 1.0]))
    whole = np.random.default_rng(0).integers(0, 256, grid.shape).astype(np.uint8)
    write_slabs(
        (whole[:, :, k : k + 3] for k in (0, 3, 6)), grid, tmp_path / "a.nii.gz", source=None, slope=0.5
    )
    found = read_nifti(tmp_path / "a.nii.gz")
    assert found.grid.same_as(grid)
    assert np.array_equal(found.array[0], whole * np.float32(0.5))


def test_slabs_that_do_not_make_up_the_grid_are_refused(tmp_path: Path) -> None:
    grid = Grid((5, 4, 7), np.eye(4))
    slab = np.zeros((5, 4, 3), np.uint8)
    with pytest.raises(UsageError, match="slabs of 6 slices"):
        write_slabs([slab, slab], grid, tmp_path / "a.nii", source=None)
    with pytest.raises(UsageError, match="is no part of"):
        write_slabs([slab, slab.astype(np.int16)], grid, tmp_path / "b.nii", source=None)
