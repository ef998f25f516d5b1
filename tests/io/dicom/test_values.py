from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_frames import item
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.dicom import describe_dicom, read_dicom

STORED = np.arange(12 * 10 * 8, dtype=np.int16).reshape(12, 10, 8)
Write = Callable[..., Path]
Edit = Callable[[int, Any], None]


def notes(folder: Path) -> tuple[str, ...]:
    source = read_dicom(folder).source
    assert source is not None
    return source.policies


# ------------------------------------------------------------------ look-up tables
def table(first: int, entries: list[int], *, bits: int = 16, kind: str = "HU") -> Edit:
    """A Modality LUT with `entries` for stored values from `first` on; the first and the last go on."""

    def edit(_k: int, dataset: Any) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept
        lut = item(ModalityLUTType=kind)
        signed = dataset.PixelRepresentation == 1
        lut.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries), first, bits])
        lut.add_new("LUTData", "US", entries)
        dataset.ModalityLUTSequence = [lut]

    return edit


def test_a_modality_table_takes_the_place_of_the_rescale(tmp_path: Path, write_series: Write) -> None:
    entries = [7 * n % 1000 for n in range(500)]
    folder = write_series(tmp_path / "ct", STORED, edit=table(100, entries))
    expected = np.array(entries)[np.clip(STORED.astype(int) - 100, 0, 499)]  # PS3.3 C.11.1.1
    np.testing.assert_array_equal(read_dicom(folder).array[0], expected)
    assert notes(folder) == ("Modality LUT applied (HU)",)


def test_a_table_of_signed_values_starts_below_zero(tmp_path: Path, write_series: Write) -> None:
    stored = STORED - 500
    entries = list(range(1000, 2000))
    folder = write_series(tmp_path / "ct", stored, edit=table(-500, entries))
    np.testing.assert_array_equal(read_dicom(folder).array[0], stored.astype(int) + 1500)


def test_slices_with_and_without_a_table_are_not_mixed(tmp_path: Path, write_series: Write) -> None:
    one = table(0, list(range(1000)))
    folder = write_series(tmp_path / "ct", STORED, edit=lambda k, ds: one(k, ds) if k == 3 else None)
    assert "some of its slices have a Modality LUT" in describe_dicom(folder)[0].detail


def test_a_damaged_table_names_its_file(tmp_path: Path, write_series: Write) -> None:
    def edit(_k: int, dataset: Any) -> None:
        dataset.ModalityLUTSequence = [item(ModalityLUTType="HU")]

    folder = write_series(tmp_path / "ct", STORED, edit=edit)
    with pytest.raises(InputError, match=r"^IM0000\.dcm: its Modality LUT is damaged"):
        read_dicom(folder)


def test_an_empty_table_is_named_in_plain_words(tmp_path: Path, write_series: Write) -> None:
    def edit(_k: int, dataset: Any) -> None:
        dataset.ModalityLUTSequence = []

    folder = write_series(tmp_path / "ct", STORED, edit=edit)
    with pytest.raises(InputError) as caught:
        read_dicom(folder)
    assert str(caught.value) == (
        "IM0000.dcm: its Modality LUT Sequence is empty: nothing says what its values mean"
    )


# ------------------------------------------------------------------ rescales that are not whole
def without(*keywords: str, k: int | None = None) -> Edit:
    """Delete tags in one slice, or in every one."""

    def edit(number: int, dataset: Any) -> None:
        for keyword in keywords if k in (None, number) else ():
            delattr(dataset, keyword)

    return edit


LINEAR = ("RescaleSlope", "RescaleIntercept")


@pytest.mark.parametrize("k", [None, 0, 3], ids=["all", "first", "one"])
@pytest.mark.parametrize(("gone", "left"), [LINEAR, LINEAR[::-1]])
def test_half_a_rescale_is_a_damaged_header(
    tmp_path: Path, write_series: Write, gone: str, left: str, k: int | None
) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=without(gone, k=k))
    with pytest.raises(InputError, match=f"IM000{k or 0}.dcm has a {left} but no {gone}: restore it"):
        read_dicom(folder)
    assert describe_dicom(folder)[0].verdict == "damaged header"


def test_a_slice_without_the_others_rescale_is_refused(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=without(*LINEAR, k=3))
    with pytest.raises(InputError, match=r"IM0003\.dcm has no RescaleSlope and other slices have one"):
        read_dicom(folder)
    assert describe_dicom(folder)[0].verdict == "mixed values"


def test_ct_without_any_rescale_is_taken_as_hu_and_told(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=without(*LINEAR))
    np.testing.assert_array_equal(read_dicom(folder).array[0], STORED)
    assert notes(folder) == ("no RescaleSlope or RescaleIntercept: stored values taken as HU",)


def test_other_modalities_need_no_rescale(tmp_path: Path, write_series: Write) -> None:
    def edit(k: int, dataset: Any) -> None:
        without(*LINEAR)(k, dataset)
        dataset.Modality = "MR"

    assert notes(write_series(tmp_path / "mr", STORED, edit=edit)) == ()


@pytest.mark.parametrize(
    ("slope", "intercept", "finite"),
    [
        ("1e36", "-1024", False),  # 959 times that is beyond float32
        ("1e35", "-1024", True),
        ("-1e36", "0", False),
        ("1e308", "1e308", False),
        ("1", "1e39", False),
        ("1", "1e30", True),
        ("1.5", "1e19", True),
    ],
)
def test_values_are_finite_or_refused_in_one_line(
    tmp_path: Path, write_series: Write, slope: str, intercept: str, finite: bool
) -> None:
    def edit(_k: int, dataset: Any) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept

    folder = write_series(tmp_path / "ct", STORED, edit=edit)
    if finite:
        expected = (STORED * float(slope) + float(intercept)).astype(np.float32)
        np.testing.assert_array_equal(read_dicom(folder).array[0], expected)
    else:
        with pytest.raises(InputError, match=r"^IM000\d\.dcm: RescaleSlope .* no finite numbers; ") as caught:
            read_dicom(folder)  # a warning of NumPy would be an error here
        assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ types
@pytest.mark.parametrize("colours", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("slope", [1, 2.5])
def test_values_are_slope_times_stored_plus_intercept_whatever_is_white(
    tmp_path: Path, write_series: Write, colours: str, slope: float
) -> None:
    def edit(_k: int, dataset: Any) -> None:
        dataset.PhotometricInterpretation, dataset.RescaleSlope = colours, slope

    folder = write_series(tmp_path / "ct", STORED, edit=edit)
    np.testing.assert_allclose(read_dicom(folder).array[0], slope * STORED - 1024, rtol=1e-7)


@pytest.mark.parametrize("intercept", [-40000, 40000, -1024, 0])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_no_sum_of_stored_value_and_intercept_wraps_around(
    tmp_path: Path, write_series: Write, dtype: type, intercept: int
) -> None:
    limits = np.iinfo(dtype)
    stored: NDArray[Any] = np.zeros((12, 10, 4), dtype)
    stored[0, 0, 1], stored[1, 1, 2], stored[2, 2, 3] = limits.max, limits.min, 17

    def edit(_k: int, dataset: Any) -> None:
        dataset.RescaleIntercept = intercept

    array = read_dicom(write_series(tmp_path / "ct", stored, edit=edit)).array[0]
    np.testing.assert_array_equal(array, stored.astype(np.int64) + intercept)


# ------------------------------------------------------------------ what is noted
def test_loss_by_compression_is_noted(tmp_path: Path, write_series: Write) -> None:
    def edit(k: int, dataset: Any) -> None:
        dataset.LossyImageCompression = "01" if k < 3 else "00"

    assert notes(write_series(tmp_path / "ct", STORED, edit=edit)) == (
        "compressed with loss (3 of 8 slices)",
    )


def test_ct_values_that_are_not_declared_as_hu_are_noted(tmp_path: Path, write_series: Write) -> None:
    def edit(_k: int, dataset: Any) -> None:
        dataset.RescaleType = "US"

    assert notes(write_series(tmp_path / "ct", STORED, edit=edit)) == ("RescaleType US: not declared as HU",)


def test_an_embedded_overlay_is_noted(tmp_path: Path, write_series: Write) -> None:
    dirty = STORED.astype(np.uint16)
    dirty[4, 5] |= 0x4000

    def edit(_k: int, dataset: Any) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.add_new(0x60000100, "US", 16)
        dataset.add_new(0x60000102, "US", 14)

    folder = write_series(tmp_path / "ct", dirty, edit=edit)
    np.testing.assert_array_equal(read_dicom(folder).array[0], STORED - 1024)
    assert notes(folder) == ("overlay bits above the 12 bits of a value removed",)


@pytest.mark.parametrize("kind", ["CANARY^NAME", "Hounsfield of canary name", "CANARY-NAME"])
def test_a_rescale_type_that_is_no_code_is_not_repeated(
    tmp_path: Path, write_series: Write, kind: str
) -> None:
    def edit(k: int, dataset: Any) -> None:
        dataset.RescaleType = kind if k else "US"

    def all_alike(_k: int, dataset: Any) -> None:
        dataset.RescaleType = kind

    assert notes(write_series(tmp_path / "ct", STORED, edit=all_alike)) == (
        "RescaleType unknown: not declared as HU",
    )
    mixed = describe_dicom(write_series(tmp_path / "mixed", STORED, edit=edit))[0].detail
    assert "differ in RescaleType (US, unknown)" in mixed


# ------------------------------------------------------------------ bits above the stored ones
def bits(stored: int, *slices: int) -> Edit:
    """So many bits stored, in some slices; HighBit below them."""

    def edit(k: int, dataset: Any) -> None:
        if k in slices:
            dataset.BitsStored, dataset.HighBit = stored, stored - 1

    return edit


@pytest.mark.parametrize("stored", [10, 12])
def test_slices_that_differ_in_bits_stored_are_refused(
    tmp_path: Path, write_series: Write, stored: int
) -> None:
    folder = write_series(tmp_path / "ct", STORED, edit=bits(stored, 2))
    with pytest.raises(InputError, match=rf"differ in BitsStored \({stored}, 16\)"):
        read_dicom(folder)
    assert describe_dicom(folder)[0].verdict == "mixed values"


def test_bits_above_the_values_of_some_slices_only_are_refused(tmp_path: Path, write_series: Write) -> None:
    dirty = STORED.astype(np.uint16)
    dirty[4, 5, 2], dirty[6, 1, 5] = 4096 + 17, 0x8000
    folder = write_series(tmp_path / "ct", dirty, edit=bits(12, *range(8)))
    with pytest.raises(InputError) as caught:
        read_dicom(folder)
    assert str(caught.value) == (
        "IM0002.dcm: mixed values: 2 of 8 slices have values beyond the 12 bits that their headers claim, "
        "which no overlay explains; export the series again"
    )


def test_bits_above_the_values_of_every_slice_are_masked_and_told(
    tmp_path: Path, write_series: Write
) -> None:
    folder = write_series(tmp_path / "ct", STORED.astype(np.uint16) | 0xA000, edit=bits(12, *range(8)))
    np.testing.assert_array_equal(read_dicom(folder).array[0], STORED - 1024)
    assert notes(folder) == ("bits that no overlay explains above the 12 bits of a value removed",)


def test_an_overlay_in_some_slices_only_is_an_overlay(tmp_path: Path, write_series: Write) -> None:
    dirty = STORED.astype(np.uint16)
    dirty[4, 5, 2] |= 0x4000

    def edit(k: int, dataset: Any) -> None:
        bits(12, *range(8))(k, dataset)
        dataset.add_new(0x60000102, "US", 14)

    folder = write_series(tmp_path / "ct", dirty, edit=edit)
    np.testing.assert_array_equal(read_dicom(folder).array[0], STORED - 1024)
    assert notes(folder) == ("overlay bits above the 12 bits of a value removed (1 of 8 slices)",)


# ------------------------------------------------------------------ several decoder processes
def test_slices_of_several_processes_land_in_their_places(tmp_path: Path, write_series: Write) -> None:
    stored = np.arange(36 * 34 * 50, dtype=np.uint16).reshape(36, 34, 50)  # enough slices for two
    stored[0, 0, 40] = 65535  # the type grows in the middle
    volume = read_dicom(write_series(tmp_path / "ct", stored, syntax="1.2.840.10008.1.2.4.90"))
    np.testing.assert_array_equal(volume.array[0], stored.astype(int) - 1024)


def test_the_damaged_slice_of_several_processes_is_named(tmp_path: Path, write_series: Write) -> None:
    stored = np.arange(36 * 34 * 50, dtype=np.uint16).reshape(36, 34, 50)
    folder = write_series(tmp_path / "ct", stored, syntax="1.2.840.10008.1.2.4.90")
    file = folder / "IM0041.dcm"
    data = bytearray(file.read_bytes())
    at = data.index(b"\xff\x4f\xff\x51")
    data[at + 8 : at + 40] = b"\xff" * 32
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"^IM0041\.dcm: its pixel data cannot be decoded"):
        read_dicom(folder)
