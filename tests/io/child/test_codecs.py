import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import EXPLICIT_LITTLE, write_dicom_series
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.child.codecs import DECODERS, ends_stream, is_decodable
from medseg.io.decoder import decode

JPEG_8, JPEG_12 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
PROCESS_14, FIRST_ORDER = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, NEAR_LOSSLESS = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000, JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
RLE = "1.2.840.10008.1.2.5"
COLUMN, ROW = np.meshgrid(np.arange(64), np.arange(48), indexing="ij")
SMOOTH = 900 + 12 * COLUMN + 9 * ROW + (COLUMN * ROW) % 7  # [column, row], up to 2085: 12 bits
Edit = Callable[[Any], None]


def stored_values(path: Path) -> NDArray[Any]:
    """`[column, row]` as the decoder process gives them."""
    arrays: list[NDArray[Any]] = []

    def take(_fields: dict[str, Any], array: NDArray[Any] | None) -> None:
        assert array is not None
        arrays.append(array.T)

    decode({"do": "dicom-pixels"}, files=[path], take=take, most_bytes=1 << 20)
    return arrays[0]


def written(folder: Path, values: NDArray[Any], bits: int, syntax: str | None = None) -> Path:
    """One slice with so many bits stored; compressed by pydicom's encoders where a syntax is given."""

    def edit(_k: int, dataset: Any) -> None:
        dataset.BitsStored, dataset.HighBit = bits, bits - 1

    syntax = EXPLICIT_LITTLE if syntax is None else syntax
    return write_dicom_series(folder, values[:, :, None], edit=edit, syntax=syntax) / "IM0000.dcm"


def by_gdcm(path: Path, syntax: str) -> Path:
    """The file compressed by GDCM's own encoders, which are independent of what reads most syntaxes here."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    out = path.with_suffix(".gdcm")
    writer.SetFileName(str(out))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert syntax.encode() in out.read_bytes()[:1000]
    return out


def by_simpleitk(path: Path) -> NDArray[Any]:
    import SimpleITK as sitk

    values: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0].T
    return values + 1024  # the files have an intercept of -1024


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16], ids=str)
@pytest.mark.parametrize("syntax", [PROCESS_14, FIRST_ORDER, JPEG_LS, JPEG_2000, RLE])
def test_lossless_streams_of_another_encoder_are_bit_equal(tmp_path: Path, syntax: str, dtype: type) -> None:
    values: NDArray[Any] = (SMOOTH // 16 if dtype is np.uint8 else SMOOTH).astype(dtype)
    if dtype is np.uint16:
        values[5, 7], values[6, 7] = 65535, 0
    path = by_gdcm(written(tmp_path, values, 8 * values.dtype.itemsize), syntax)
    np.testing.assert_array_equal(stored_values(path), values)


@pytest.mark.parametrize("syntax", [JPEG_LS, JPEG_2000, RLE])
def test_lossless_streams_of_our_own_encoders_are_bit_equal(tmp_path: Path, syntax: str) -> None:
    values = (SMOOTH - 1500).astype(np.int16)  # negative too, in 12 bits
    np.testing.assert_array_equal(stored_values(written(tmp_path, values, 12, syntax)), values)


@pytest.mark.parametrize("syntax", [PROCESS_14, FIRST_ORDER])
def test_signed_12_bit_values_in_lossless_jpeg_keep_their_sign(tmp_path: Path, syntax: str) -> None:
    values = (SMOOTH - 1500).astype(np.int16)
    path = by_gdcm(written(tmp_path, values, 12), syntax)
    np.testing.assert_array_equal(stored_values(path), values)


def test_baseline_jpeg_is_as_simpleitk_reads_it(tmp_path: Path) -> None:
    values = (SMOOTH // 16).astype(np.uint8)
    path = by_gdcm(written(tmp_path, values, 8), JPEG_8)
    ours = stored_values(path)
    assert np.abs(ours.astype(int) - by_simpleitk(path)).max() <= 1  # two inverse transforms, each rounded
    assert np.abs(ours.astype(int) - values).max() <= 6


def test_12_bit_extended_jpeg_is_close_to_what_went_in(tmp_path: Path) -> None:
    path = by_gdcm(written(tmp_path, SMOOTH.astype(np.uint16), 12), JPEG_12)
    ours = stored_values(path)
    assert ours.dtype == np.uint16
    assert np.abs(ours.astype(int) - SMOOTH).max() <= 20
    np.testing.assert_array_equal(ours, by_simpleitk(path))


def test_near_lossless_jpeg_ls_stays_within_its_bound(tmp_path: Path) -> None:
    from pydicom import dcmread

    folder = write_dicom_series(tmp_path, SMOOTH.astype(np.uint16)[:, :, None])
    dataset = dcmread(folder / "IM0000.dcm")
    dataset.compress(NEAR_LOSSLESS, jls_error=3, generate_instance_uid=False)
    dataset.save_as(tmp_path / "near.dcm")
    error = stored_values(tmp_path / "near.dcm").astype(int) - SMOOTH
    assert 0 < np.abs(error).max() <= 3


def test_lossy_jpeg_2000_of_16_bits_is_as_simpleitk_reads_it(tmp_path: Path) -> None:
    from pydicom import dcmread

    folder = write_dicom_series(tmp_path, (30 * SMOOTH).astype(np.uint16)[:, :, None])
    dataset = dcmread(folder / "IM0000.dcm")
    dataset.compress(JPEG_2000_LOSSY, j2k_cr=[8], generate_instance_uid=False)
    dataset.save_as(tmp_path / "lossy.dcm")
    ours = stored_values(tmp_path / "lossy.dcm").astype(int)
    assert np.abs(ours - by_simpleitk(tmp_path / "lossy.dcm")).max() <= 1


def test_every_syntax_of_the_table_has_its_decoder_here() -> None:
    assert [syntax for syntax in DECODERS if not is_decodable(syntax)] == []
    assert is_decodable("1.2.840.10008.1.2.1")
    assert not is_decodable("1.2.840.10008.1.2.4.100")  # MPEG-2
    assert not is_decodable("1.2.3")


# ------------------------------------------------------------------ streams that lie
def damaged(path: Path, change: Callable[[bytearray, int], None]) -> str:
    """The refusal after `change` has been made to the JPEG stream that starts at a place in the file."""
    data = bytearray(path.read_bytes())
    change(data, data.index(b"\xff\xd8\xff"))
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        stored_values(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def no_end(data: bytearray, _start: int) -> None:
    at = data.rindex(b"\xff\xd9")
    data[at : at + 2] = b"\x12\x34"


def larger(data: bytearray, start: int) -> None:
    at = data.index(b"\xff\xc3", start)
    data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)


def no_frame(data: bytearray, start: int) -> None:
    at = data.index(b"\xff\xc3", start)
    data[at : at + 2] = b"\xff\xe5"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_end, "is cut off: the JPEG stream has no end"),
        (larger, "holds 60000 x 60000 pixels of 1 x 16 bits, its header says 48 x 64 of 16"),
        (no_frame, "the JPEG stream is damaged"),
    ],
    ids=["no end", "larger", "no frame"],
)
def test_a_lossless_jpeg_that_lies_is_refused(
    tmp_path: Path, change: Callable[[bytearray, int], None], words: str
) -> None:
    path = by_gdcm(written(tmp_path, SMOOTH.astype(np.uint16), 16), FIRST_ORDER)
    assert words in damaged(path, change)


def test_an_rle_header_that_lies_costs_no_process(tmp_path: Path) -> None:
    path = written(tmp_path, SMOOTH.astype(np.uint16), 16, RLE)
    whole = path.read_bytes()
    at = whole.index(struct.pack("<III", 2, 64, 0)[:8])  # PS3.5 G.5: segments, and where each starts
    for first in (0, 1, 63, 65, 1 << 20, (1 << 32) - 1):
        path.write_bytes(whole[: at + 4] + struct.pack("<I", first) + whole[at + 8 :])
        with pytest.raises(InputError, match=r"^IM0000\.dcm: its pixel data cannot be decoded"):
            stored_values(path)


def test_what_pads_a_stream_is_not_taken_for_damage() -> None:
    assert ends_stream(b"\0\xff\xd9")
    assert ends_stream(b"\xff\xd9\0")
    assert ends_stream(b"\xff\xd9\xff")
    assert not ends_stream(b"\xff\xd8\0")
    assert not ends_stream(b"")
