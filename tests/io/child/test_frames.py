from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_frames import item, write_enhanced

from medseg.errors import InputError
from medseg.io.child.frames import MOST_FRAMES
from medseg.io.decoder import decode
from medseg.io.dicom import describe_dicom, read_dicom

STORED = np.arange(12 * 10 * 6, dtype=np.int16).reshape(12, 10, 6)
LARGE = np.arange(40 * 36 * 6, dtype=np.uint16).reshape(40, 36, 6)  # JPEG 2000 needs 32 pixels a side
SHUFFLED = [3, 0, 5, 1, 4, 2]
HU = STORED - 1024 - np.arange(6)  # each slice with its own intercept
RLE = "1.2.840.10008.1.2.5"
Edit = Callable[[Any], None]


def record_of(path: Path) -> dict[str, Any]:
    records: list[dict[str, Any]] = []
    decode({"do": "dicom-headers", "salt": "00"}, files=[path], take=lambda fields, _: records.append(fields))
    return records[0]


def test_a_file_becomes_slices_in_space_whatever_the_order_of_its_frames(tmp_path: Path) -> None:
    volume = read_dicom(write_enhanced(tmp_path / "ct.dcm", STORED, order=SHUFFLED))
    np.testing.assert_array_equal(volume.array[0], HU)
    assert volume.array.dtype == np.int16
    assert volume.grid.spacing == pytest.approx((0.7, 0.9, 2.5))
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 0]), (30, 20, 40))
    assert volume.source is not None
    assert [path.name for path in volume.source.files] == ["ct.dcm"]
    assert len(volume.source.sha256) == 1
    assert len(volume.source.headers) == 6


def test_frames_differ_in_what_is_theirs_and_share_the_rest(tmp_path: Path) -> None:
    record = record_of(write_enhanced(tmp_path / "ct.dcm", STORED, order=SHUFFLED))
    assert record["NumberOfFrames"] == 6
    assert record["PixelSpacing"] == [0.9, 0.7]
    assert record["ImageOrientationPatient"] == [1, 0, 0, 0, 1, 0]
    heights = [frame["ImagePositionPatient"][2] for frame in record["frames"]]
    assert heights == [40 + 2.5 * k for k in SHUFFLED]
    assert record["frames"][0] == {
        "ImagePositionPatient": [-30, -20, 47.5],
        "RescaleSlope": 1,
        "RescaleIntercept": -1027,
        "RescaleType": "HU",
        "StackID": "1",
        "AcquisitionNumber": 3,
        "TemporalPositionIdentifier": 1,
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
    }


def test_converted_classic_images_keep_their_echo_and_trigger_times(tmp_path: Path) -> None:
    def edit(dataset: Any) -> None:
        for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            frame.UnassignedPerFrameConvertedAttributesSequence = [item(EchoTime=4.5 + k, TriggerTime=10 * k)]

    frames = record_of(write_enhanced(tmp_path / "mr.dcm", STORED, edit=edit))["frames"]
    assert [(frame["EchoTime"], frame["TriggerTime"]) for frame in frames[:2]] == [(4.5, 0), (5.5, 10)]


@pytest.mark.parametrize("syntax", [RLE, "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"])
def test_compressed_frames_give_the_same_values(tmp_path: Path, syntax: str) -> None:
    volume = read_dicom(write_enhanced(tmp_path / "ct.dcm", LARGE, order=SHUFFLED, syntax=syntax))
    np.testing.assert_array_equal(volume.array[0], LARGE.astype(int) - 1024 - np.arange(6))


def test_padding_of_each_frame_is_found_before_its_own_rescale(tmp_path: Path) -> None:
    stored = STORED.copy()
    stored[0], stored[1] = -2000, -1990

    def edit(dataset: Any) -> None:
        dataset.add_new(0x00280120, "SS", -2000)
        dataset.add_new(0x00280121, "SS", -1990)

    array = read_dicom(write_enhanced(tmp_path / "ct.dcm", stored, edit=edit)).array[0]
    assert np.all(array[:2] == -1024)
    np.testing.assert_array_equal(array[2:], HU[2:])


def without_positions(dataset: Any) -> None:
    dataset.ImagePositionPatient = [0, 0, 0]  # one place cannot hold for all frames
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence


def without_groups(dataset: Any) -> None:
    del dataset.PerFrameFunctionalGroupsSequence


def short(dataset: Any) -> None:
    dataset.PixelData = dataset.PixelData[:-2]


def one_group_less(dataset: Any) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[-1]


REFUSED: dict[str, tuple[Edit, str]] = {
    "no positions": (without_positions, "ct.dcm, frame 1 has no ImagePositionPatient"),
    "no groups": (without_groups, "multi-frame image (6 frames) without a position for each frame"),
    "short": (short, "is truncated: 1440 bytes of pixel data are needed, it holds 1438"),
    "one group less": (one_group_less, "claims 6 frames and describes 5; it is damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_frames_that_are_not_there_are_refused(tmp_path: Path, name: str) -> None:
    edit, words = REFUSED[name]
    with pytest.raises(InputError) as caught:
        read_dicom(write_enhanced(tmp_path / "ct.dcm", STORED, edit=edit))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loop_of_pictures_is_not_a_volume(tmp_path: Path) -> None:
    def edit(dataset: Any) -> None:
        without_groups(dataset)
        dataset.Modality = "US"

    assert describe_dicom(write_enhanced(tmp_path / "us.dcm", STORED, edit=edit))[0].verdict == "not a volume"


def test_more_frames_than_any_scanner_makes_are_refused_at_once(tmp_path: Path) -> None:
    def edit(dataset: Any) -> None:
        dataset.NumberOfFrames = MOST_FRAMES + 1

    assert record_of(write_enhanced(tmp_path / "ct.dcm", STORED, edit=edit))["broken"] == (
        "its header claims 100001 frames; at most 100000 are read"
    )


def test_a_count_of_frames_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", STORED, edit=without_groups)
    data = path.read_bytes()
    assert data.count(b"\x28\0\x08\0IS\x02\x006 ") == 1
    path.write_bytes(data.replace(b"\x28\0\x08\0IS\x02\x006 ", b"\x28\0\x08\0IS\x02\x006A"))
    with pytest.raises(InputError, match=r"ct\.dcm has a NumberOfFrames that is not a number"):
        read_dicom(path)


def test_a_compressed_file_cut_between_frames_is_truncated(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", LARGE, syntax=RLE)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="is truncated: 6 compressed frame"):
        read_dicom(path)
