"""What becomes of each odd DICOM file of the public test sets, and what in the standard says so.

Checked by hand against the headers. Rows with the same outcome and reason stand together; the page
docs/reference/odd-dicom.md shows one line for each file:

    python tests/odd_dicom.py > docs/reference/odd-dicom.md
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

__all__ = ["OUTCOMES", "Outcome", "page"]


@dataclass(frozen=True)
class Outcome:
    """Files (or series folders) below `folder`, one a line, with what happens to each and why."""

    folder: str
    paths: str
    outcome: Literal["read", "refused"]
    reason: str
    """A part of the message; for what is read, a part of the notes of `Source.policies`, or nothing."""
    why: str

    @property
    def names(self) -> tuple[str, ...]:
        """Paths below the folder of real images."""
        return tuple(f"{self.folder}/{line.strip()}" for line in self.paths.strip().splitlines())


PYDICOM = "dicom_odd/pydicom/test_files"
NIFTI = "dicom_odd/dicom2nifti/failing"
RT = "dicom_odd/rt-utils"
SEG = "dicom_seg_dcmqi"
SINGLE = "is a single slice, not a volume"
NO_IMAGE = "no DICOM images among 1 file"

OUTCOMES = (
    Outcome(
        "dicom_odd",
        """dicom2nifti/failing/gantrytilting/001/IM-0001-0001.dcm
        dicom2nifti/failing/gantrytilting/001/IM-0001-0002.dcm
        dicom2nifti/failing/gantrytilting/001/IM-0001-0003.dcm
        dicom2nifti/failing/gantrytilting/001/IM-0001-0004.dcm
        dicom2nifti/failing/notavolume/001/001.dcm
        dicom2nifti/failing/notavolume/001/002.dcm
        dicom2nifti/failing/notavolume/001/003.dcm
        dicom2nifti/failing/notavolume/001/004.dcm
        dicom2nifti/failing/slicecount/001/IM-0001-0001-0001.dcm
        dicom2nifti/failing/slicecount/001/IM-0001-0002-0001.dcm
        dicom2nifti/failing/sliceincrement/001/IM-0001-0007-0001.dcm
        dicom2nifti/failing/sliceincrement/001/IM-0001-0008-0001.dcm
        dicom2nifti/failing/sliceincrement/001/IM-0001-0009-0001.dcm
        dicom2nifti/failing/sliceincrement/001/IM-0001-0010-0001.dcm
        dicom2nifti/failing/sliceincrement/002/IM-0001-0001.dcm
        dicom2nifti/failing/sliceincrement/002/IM-0001-0002.dcm
        dicom2nifti/failing/sliceincrement/002/IM-0001-0003.dcm
        dicom2nifti/failing/sliceincrement/002/IM-0001-0005.dcm
        dicom2nifti/failing/sliceorientation/001/IM-0001-0001-0001 2.dcm
        dicom2nifti/failing/sliceorientation/001/IM-0001-0001-0001.dcm
        dicom2nifti/failing/sliceorientation/001/IM-0001-0002-0001 2.dcm
        dicom2nifti/failing/sliceorientation/001/IM-0001-0002-0001.dcm
        pydicom/test_files/CT_small.dcm
        pydicom/test_files/J2K_pixelrep_mismatch.dcm
        pydicom/test_files/examples_overlay.dcm
        rt-utils/mock_data/ct_1.dcm
        rt-utils/mock_data/ct_2.dcm
        rt-utils/one_slice_data
        rt-utils/one_slice_data/0.dcm
        rt-utils/oriented_data/0.dcm
        rt-utils/oriented_data/1.dcm
        rt-utils/oriented_data/2.dcm""",
        "refused",
        SINGLE,
        "one image of a series: a volume needs two positions (PS3.3 C.7.6.2)",
    ),
    Outcome(
        PYDICOM,
        """JPEG-lossy.dcm
        JPEG2000.dcm
        JPEG2000-embedded-sequence-delimiter.dcm""",
        "refused",
        "no ImagePositionPatient",
        "Secondary Capture: no Image Plane module, so it has no place (PS3.3 A.8.1)",
    ),
    Outcome(
        PYDICOM,
        """GDCMJ2K_TextGBR.dcm
        SC_jpeg_no_color_transform.dcm
        SC_jpeg_no_color_transform_2.dcm
        SC_rgb_dcmtk_+eb+cr.dcm
        SC_rgb_dcmtk_+eb+cy+n1.dcm
        SC_rgb_dcmtk_+eb+cy+n2.dcm
        SC_rgb_dcmtk_+eb+cy+np.dcm
        SC_rgb_dcmtk_+eb+cy+s2.dcm
        SC_rgb_dcmtk_+eb+cy+s4.dcm
        SC_rgb_gdcm_KY.dcm
        SC_rgb_jls_lossy_line.dcm
        SC_rgb_jls_lossy_sample.dcm
        SC_rgb_jpeg.dcm
        SC_rgb_jpeg_app14_dcmd.dcm
        SC_rgb_jpeg_dcmd.dcm
        SC_rgb_jpeg_dcmtk.dcm
        SC_rgb_jpeg_gdcm.dcm
        SC_rgb_jpeg_lossy_gdcm.dcm
        SC_rgb_rle.dcm
        SC_rgb_rle_16bit.dcm
        SC_rgb_rle_16bit_2frame.dcm
        SC_rgb_rle_2frame.dcm
        SC_rgb_rle_32bit.dcm
        SC_rgb_rle_32bit_2frame.dcm
        SC_rgb_small_odd.dcm
        SC_rgb_small_odd_big_endian.dcm
        SC_rgb_small_odd_jpeg.dcm
        SC_ybr_full_422_uncompressed.dcm
        examples_jpeg2k.dcm
        examples_palette.dcm
        examples_rgb_color.dcm
        examples_ybr_color.dcm""",
        "refused",
        "is a colour image",
        "PhotometricInterpretation names colours, not one intensity (PS3.3 C.7.6.3.1.2)",
    ),
    Outcome(
        PYDICOM,
        """badVR.dcm
        rtdose_1frame.dcm
        rtdose_expb.dcm
        rtdose_expb_1frame.dcm
        rtdose_rle.dcm
        rtdose_rle_1frame.dcm""",
        "refused",
        NO_IMAGE,
        "RT Dose is a grid of doses, not an image (PS3.3 A.18.3); badVR also claims 1A frames",
    ),
    Outcome(
        PYDICOM,
        """rtplan.dcm
        rtplan_truncated.dcm
        rtstruct.dcm
        waveform_ecg.dcm
        no_meta_group_length.dcm""",
        "refused",
        NO_IMAGE,
        "plan, structure set, waveform, or no data set at all: no image (PS3.4 B.5)",
    ),
    Outcome(
        PYDICOM,
        """empty_charset_LEI.dcm
        nested_priv_SQ.dcm
        priv_SQ.dcm""",
        "refused",
        "has no pixel data",
        "neither Modality nor pixel data: nothing says that it is whole (PS3.3 C.7.3.1, Type 1)",
    ),
    Outcome(
        PYDICOM,
        "no_meta.dcm",
        "refused",
        "unknown data",
        "a data set without preamble and file meta information is no DICOM file (PS3.10 7.1)",
    ),
    Outcome(PYDICOM, "rtplan.dump", "refused", "holds text", "a printout of a data set"),
    Outcome(
        "dicom_odd",
        "pydicom/test_files",
        "refused",
        "has no pixel data",
        "a folder with files of which nothing says that they are whole is not read around them",
    ),
    Outcome(
        "dicom_odd/dcm_qa_12bit",
        """12bitSigned_0x0F0F.dcm
        12bitUnsigned.dcm
        12bitUnsigned_0x0F0F.dcm""",
        "refused",
        SINGLE,
        "one image of a series; its values are those of the 12 stored bits (PS3.5 8.1.1)",
    ),
    Outcome(
        "dicom_odd",
        "dcm_qa_12bit",
        "refused",
        "3 images at one position",
        "three encodings of one slice: one ImagePositionPatient (PS3.3 C.7.6.2.1.1)",
    ),
    Outcome(
        f"{NIFTI}/sliceincrement",
        "001",
        "refused",
        "10.00 mm apart, the others 5.00 mm: 1 slice is probably missing",
        "z = 18.1, 23.1, 28.1, 38.1 mm: slice 33.1 is not there; spacing is by position (PS3.3 C.7.6.2.1.1)",
    ),
    Outcome(
        f"{NIFTI}/sliceincrement",
        "002",
        "refused",
        "1.50 mm apart, the others 0.75 mm: 1 slice is probably missing",
        "0.75 mm along the normal (0.778 mm of table feed at 15.5 degrees of tilt); file 4 of 5 is not there",
    ),
    Outcome(
        NIFTI,
        "sliceorientation/001",
        "refused",
        "mixes 2 . 2 images of different orientation, pixel spacing",
        "two ImageOrientationPatient and two PixelSpacing in one series: two volumes (PS3.3 C.7.6.2.1.1)",
    ),
    Outcome(
        NIFTI,
        "slicecount/001",
        "read",
        "",
        "two sagittal slices 1.00 mm apart along their normal: a whole, regular volume",
    ),
    Outcome(
        NIFTI,
        "notavolume/001",
        "refused",
        "4 images at one position",
        "ImagePositionPatient is the same in all four: one slice over time, not a volume",
    ),
    Outcome(
        NIFTI,
        "gantrytilting/001",
        "refused",
        "gantry tilt 14.0 degrees",
        "positions move along z and the normal is 14 degrees off it: a sheared stack (PS3.3 C.8.2.1)",
    ),
    Outcome(
        RT,
        """mock_data/invalid_reference_rt.dcm
        mock_data/non_existent_reference_rt.dcm
        mock_data/rt.dcm
        empty/dummy_rt.dcm
        empty""",
        "refused",
        NO_IMAGE,
        "a structure set holds contours, not an image (PS3.3 A.19)",
    ),
    Outcome(
        RT,
        "mock_data",
        "read",
        "pixel padding: 111544 voxels set to -1024",
        "two slices 5.0 mm apart beside structure sets; PixelPaddingValue -2000 (PS3.3 C.7.5.1.1.2)",
    ),
    Outcome(
        RT,
        "oriented_data",
        "refused",
        "more than one series",
        "three StudyInstanceUID share one SeriesInstanceUID, but a series is of one study (PS3.3 A.1.2.3)",
    ),
    Outcome(
        SEG,
        "ct-3slice",
        "read",
        "pixel padding: 167316 voxels set to -1024",
        "three slices 1.0 mm apart; PixelPaddingValue -2000 is outside the image (PS3.3 C.7.5.1.1.2)",
    ),
    Outcome(
        SEG,
        """ct-3slice/01.dcm
        ct-3slice/02.dcm
        ct-3slice/03.dcm
        23x38x3/image/IMG0001.dcm
        23x38x3/image/IMG0002.dcm
        23x38x3/image/IMG0003.dcm
        24x38x3/image/IMG0001.dcm
        24x38x3/image/IMG0002.dcm
        24x38x3/image/IMG0003.dcm""",
        "refused",
        SINGLE,
        "one image of a series: a volume needs two positions (PS3.3 C.7.6.2)",
    ),
    Outcome(
        SEG,
        """23x38x3/image
        24x38x3/image""",
        "read",
        "RescaleType US: not declared as HU",
        "three slices 2.5 mm apart; RescaleType US: numbers that are not said to be HU (PS3.3 C.11.1.1.2)",
    ),
    Outcome(
        SEG,
        """23x38x3/multiframe/mf.dcm
        23x38x3/multiframe
        24x38x3/multiframe/mf.dcm
        24x38x3/multiframe""",
        "read",
        "RescaleType US: not declared as HU",
        "Legacy Converted Enhanced CT: place, spacing and rescale in functional groups (PS3.3 C.7.6.16.2)",
    ),
    Outcome(
        SEG,
        """23x38x3
        24x38x3""",
        "refused",
        "more than one series",
        "the same scan twice, as single images and as one multi-frame object: two series",
    ),
    Outcome(
        SEG,
        """liver.dcm
        partial_overlaps.dcm
        23x38x3/seg/label.seg
        23x38x3/seg
        24x38x3/seg/label.seg
        24x38x3/seg
        sparse-labelmap-noppv.dcm
        sparse-labelmap-ppv5.dcm""",
        "refused",
        NO_IMAGE,
        "a segmentation, binary (PS3.3 A.51) or label map (Supplement 243): labels, not intensities",
    ),
    Outcome(
        SEG,
        """23x38x3/nrrd
        24x38x3/nrrd""",
        "refused",
        "no DICOM images among 1 file(s), but 1 NRRD file",
        "a folder is read as DICOM; an NRRD file is given by itself",
    ),
    Outcome(
        SEG,
        """23x38x3/nrrd/label.nrrd
        24x38x3/nrrd/label.nrrd
        heart_seg.nrrd
        liver_seg.nrrd
        liver_spine_gapped_seg.nrrd
        liver_spine_seg.nrrd
        partial_overlaps-1.nrrd
        partial_overlaps-2.nrrd
        partial_overlaps-3.nrrd
        sparse_labelmap_noppv_seg.nrrd
        sparse_labelmap_ppv5_seg.nrrd
        spine_seg.nrrd
        spine_seg_label5.nrrd""",
        "read",
        "",
        "a whole NRRD with space left-posterior-superior; nothing in it says that it holds labels",
    ),
)

HEAD = """# Odd DICOM files: what becomes of each

Public test sets hold files that break readers. This is what medseg does with each of them under its default,
strict policies, and what in the DICOM standard says so. A test reads them all and holds the outcome against
this table. The files: [pydicom](https://github.com/pydicom/pydicom), [dcm_qa_12bit](https://github.com/neurolabusc/dcm_qa_12bit),
[dicom2nifti](https://github.com/icometrix/dicom2nifti), [rt-utils](https://github.com/qurit/rt-utils) and
[dcmqi](https://github.com/QIICR/dcmqi).

A single image of a series is refused because a slice alone is not a volume; given its folder, it is read.

| file or folder | outcome | message or note | why |
|---|---|---|---|
"""


def page() -> str:
    """The page of the documentation: one line for each file or folder."""
    lines = []
    for row in OUTCOMES:
        told = row.reason.replace(" . ", " + ") or "-"
        lines += [f"| `{name}` | {row.outcome} | {told} | {row.why} |" for name in row.names]
    return HEAD + "\n".join(sorted(lines)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
