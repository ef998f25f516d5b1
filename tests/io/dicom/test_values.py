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
