from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.child.bits import cleaned, within
from medseg.io.child.codecs import Stored
from medseg.io.child.reply import RefusedError
from medseg.io.decoder import decode

UNSIGNED = np.array([[0, 1], [2047, 4095]], np.uint16)
SIGNED = np.array([[0, 1], [2047, -2048]], np.int16)


def stored(*, bits: int = 12, high: int | None = None, signed: bool = False) -> Stored:
    high = bits - 1 if high is None else high
    return Stored(rows=2, columns=2, allocated=16, stored=bits, high_bit=high, signed=signed)


def stored_cells(path: Path) -> tuple[list[str], NDArray[Any]]:
    """Notes and stored values of a file, from the decoder process."""
    taken: list[tuple[list[str], NDArray[Any]]] = []

    def take(fields: dict[str, Any], array: NDArray[Any] | None) -> None:
        assert array is not None
        taken.append((fields["notes"], array))

    decode({"do": "dicom-pixels"}, files=[path], take=take, most_bytes=1 << 20)
    return taken[0]


def test_clean_cells_are_left_alone() -> None:
    values, notes, _ = cleaned(UNSIGNED, stored(), 0)
    assert values is UNSIGNED
    assert notes == []
    values, notes, _ = cleaned(SIGNED, stored(signed=True), 0)
    assert values is SIGNED
    assert notes == []


def test_bits_that_all_belong_to_values_are_never_touched() -> None:
    cells = np.array([[0, 65535], [1, 2]], np.uint16)
    values, notes, _ = cleaned(cells, stored(bits=16), 0xF000)
    assert values is cells
    assert notes == []


@pytest.mark.parametrize(
    ("overlays", "words"), [(1 << 13, "overlay bits"), (0, "bits that no overlay explains")]
)
def test_an_overlay_above_the_values_is_taken_off(overlays: int, words: str) -> None:
    dirty = UNSIGNED | np.array([[0, 0x2000], [0, 0xA000]], np.uint16)
    values, notes, unexplained = cleaned(dirty, stored(), overlays)
    assert unexplained is (overlays == 0)
    np.testing.assert_array_equal(values, UNSIGNED)
    assert values.dtype == np.uint16
    assert notes == [f"{words} above the 12 bits of a value removed"]


def test_signed_values_get_their_sign_back() -> None:
    cells = (SIGNED.view(np.uint16) & 0x0FFF).view(np.int16)  # written without sign extension
    values, notes, _ = cleaned(cells, stored(signed=True), 0)
    np.testing.assert_array_equal(values, SIGNED)
    assert notes == []


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_values_in_the_upper_bits_are_shifted_down(signed: bool) -> None:
    expected = SIGNED if signed else UNSIGNED
    cells = (expected.view(np.uint16) << 4).view(expected.dtype)
    values, notes, _ = cleaned(cells, stored(high=15, signed=signed), 0)
    np.testing.assert_array_equal(values, expected)
    assert notes == ["values in the upper 12 of 16 bits shifted down"]


def test_a_high_bit_that_does_not_fit_the_values_is_refused_unless_an_overlay_lies_below() -> None:
    cells = (UNSIGNED << 4) | 1
    with pytest.raises(RefusedError, match="HighBit of 15 with 12 bits stored does not fit its values"):
        cleaned(cells, stored(high=15), 0)
    np.testing.assert_array_equal(cleaned(cells, stored(high=15), 1)[0], UNSIGNED)


def test_decoded_values_beyond_the_claimed_bits_are_refused() -> None:
    with pytest.raises(RefusedError, match="values beyond the 12 bits"):
        within(np.array([[0, 4096], [0, 0]], np.uint16), stored())
    with pytest.raises(RefusedError, match="values beyond the 12 bits"):
        within(np.array([[0, -4097], [0, 0]], np.int16), stored(signed=True))


def test_decoded_values_without_a_sign_get_it() -> None:
    bare = (SIGNED.view(np.uint16) & 0x0FFF).view(np.int16)
    np.testing.assert_array_equal(within(bare, stored(signed=True)), SIGNED)
    np.testing.assert_array_equal(within(SIGNED, stored(signed=True)), SIGNED)


@pytest.mark.parametrize(
    ("name", "garbage", "signed"),
    [("12bitUnsigned", 42, False), ("12bitUnsigned_0x0F0F", 170, False), ("12bitSigned_0x0F0F", 170, True)],
)
def test_real_text_above_12_bits(real_data: Path, name: str, garbage: int, signed: bool) -> None:
    """PS3.5 8.1.1 by hand: the low 12 bits of each cell, as two's complement where signed."""
    path = real_data / "dicom_odd" / "dcm_qa_12bit" / f"{name}.dcm"
    cells = np.frombuffer(path.read_bytes()[-384 * 384 * 2 :], "<u2").reshape(384, 384)
    low = (cells & 0x0FFF).astype(int)
    expected = np.where(low >= 2048, low - 4096, low) if signed else low
    notes, values = stored_cells(path)
    np.testing.assert_array_equal(values, expected)
    assert notes == ["bits that no overlay explains above the 12 bits of a value removed"]
    assert np.count_nonzero(cells >> 12) == garbage


def test_refusals_name_the_file(tmp_path: Path, write_series: Any) -> None:
    def edit(_k: int, dataset: Any) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 15

    folder = write_series(tmp_path / "ct", np.arange(80, dtype=np.int16).reshape(10, 8, 1), edit=edit)
    with pytest.raises(InputError, match=r"^IM0000\.dcm: its HighBit of 15"):
        stored_cells(folder / "IM0000.dcm")
