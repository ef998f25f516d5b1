"""Write the sample data: one phantom as a DICOM series and as NIfTI, with its truth.

    python -m medseg.testing.sample_data sample_data

The same bytes each time: identifiers come from names, dates are fixed, noise comes from a seed.
"""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from medseg.testing.abdomen import Phantom, abdomen, scan_grid
from medseg.volume import Grid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

__all__ = ["main", "sample_phantom", "write_sample_data"]

SEED = 900_003  # no model of ours is trained on it: recipes count training seeds up from 0
INTERCEPT = -1024
DATE, TIME = "20200102", "120000"
SHARED: dict[str, Any] = {  # what all slices say of patient, study, series and pixels
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "PatientName": "PHANTOM^ABDOMEN",
    "PatientID": "MEDSEG-PHANTOM-1",
    "PatientBirthDate": "",
    "PatientSex": "O",
    "PositionReferenceIndicator": "",
    "StudyID": "1",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "SeriesNumber": 1,
    "AcquisitionNumber": 1,
    "StudyDescription": "Synthetic phantom",
    "SeriesDescription": "Abdomen portal venous 5 mm",
    "BodyPartExamined": "ABDOMEN",
    "Modality": "CT",
    "Manufacturer": "medseg",
    "ManufacturerModelName": "analytic phantom",
    "PatientPosition": "HFS",
    "KVP": "120",
    "ContrastBolusAgent": "simulated iodine",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "RescaleIntercept": str(INTERCEPT),
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "WindowCenter": "50",
    "WindowWidth": "400",
    "LossyImageCompression": "00",
}


@cache
def sample_phantom() -> Phantom:
    """The phantom of the sample data: a CT in the portal venous phase with three liver tumours.

    Columns run to the patient's left, rows to the back and slices to the feet, as scanners store them.
    """
    grid = scan_grid(spacing=(2.6, 2.6, 5.0), extent_mm=(374.4, 374.4, 250.0), codes="LPI")
    return abdomen(SEED, grid=grid, phase="portal", tumours=3, noise_hu=10.0)


def write_sample_data(folder: Path) -> None:
    """Write the series `abdomen_dicom/`, `abdomen.nii.gz` and the `abdomen_truth` files into `folder`."""
    phantom = sample_phantom()
    series = folder / "abdomen_dicom"
    series.mkdir(parents=True, exist_ok=True)
    _write_series(phantom, series)
    _write_nifti(phantom.volume.array[0], phantom.volume.grid, folder / "abdomen.nii.gz")
    _write_nifti(phantom.truth.array[0], phantom.truth.grid, folder / "abdomen_truth.nii.gz")
    (folder / "abdomen_truth.json").write_text(json.dumps(_truth(phantom), indent=2) + "\n", encoding="utf-8")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write the sample data into FOLDER; files of the same names are replaced."""
    write_sample_data(folder)
    click.echo(f"sample data written to {folder}")


def _truth(phantom: Phantom) -> dict[str, Any]:
    """What there is in the image: label values, names, codes and volumes in mL, from fractions of voxels."""
    volumes = phantom.volumes_ml
    return {
        "phantom": {"seed": SEED, "phase": phantom.phase},
        "labels": [
            {
                "value": label.value,
                "name": label.name,
                "code": label.code,
                "colour": label.colour,
                "volume_ml": round(volumes[label.name], 2),
            }
            for label in phantom.truth.labels
        ],
        "tissues_ml": {label.name: round(volumes[label.name], 2) for label in phantom.tissues.labels},
    }


def _write_nifti(array: NDArray[Any], grid: Grid, path: Path) -> None:
    """Write `array[i, j, k]` as NIfTI-1; gzip without a name or a time of its own."""
    import nibabel

    image = nibabel.Nifti1Image(array, grid.affine)
    image.set_qform(grid.affine, code=1)
    image.set_sform(grid.affine, code=1)
    image.header.set_xyzt_units("mm")
    with path.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as packed:
        packed.write(image.to_bytes())


def _write_series(phantom: Phantom, folder: Path) -> None:
    """Write one JPEG-LS file per slice; instance 1 lies nearest to the head."""
    from pydicom.uid import JPEGLSLossless

    grid = phantom.volume.grid
    stored = phantom.volume.array[0].astype(np.int32) - INTERCEPT
    for k in range(grid.shape[2]):
        dataset = _slice_header(grid, k)
        dataset.PixelData = np.ascontiguousarray(stored[:, :, k].T.astype("<u2")).tobytes()
        dataset.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
        dataset.save_as(folder / f"ct{k + 1:03d}.dcm", enforce_file_format=True)


def _slice_header(grid: Grid, k: int) -> "Dataset":
    """All of slice `k` but its pixels: a CT Image as of DICOM PS3.3, A.3."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.update(_study())
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = _uid(f"slice {k + 1}")
    dataset.InstanceNumber = k + 1
    _place(dataset, grid, k)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = _uid("implementation")
    dataset.file_meta.ImplementationVersionName = "MEDSEG"
    return dataset


def _study() -> "Dataset":
    """What all slices share."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword, value in SHARED.items():
        setattr(dataset, keyword, value)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, _uid(keyword))
    for event in ("InstanceCreation", "Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{event}Date", DATE)
        setattr(dataset, f"{event}Time", TIME)
    return dataset


def _place(dataset: "Dataset", grid: Grid, k: int) -> None:
    """Position, direction and spacing of slice `k`: DICOM counts towards left and back (LPS)."""
    to_lps = np.array([-1.0, -1.0, 1.0])
    spacing = grid.spacing
    column, row = (grid.affine[:3, axis] / spacing[axis] * to_lps for axis in (0, 1))
    dataset.Columns, dataset.Rows = grid.shape[:2]
    dataset.ImageOrientationPatient = [_decimal(v) for v in (*column, *row)]
    dataset.ImagePositionPatient = [_decimal(v) for v in grid.to_world([0, 0, k]) * to_lps]
    dataset.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]  # between rows first
    dataset.SliceThickness = _decimal(spacing[2])
    dataset.SliceLocation = _decimal(grid.to_world([0, 0, k])[2])


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters, without a negative zero."""
    return f"{float(value) + 0.0:.9g}"


def _uid(what: str) -> "UID":
    """An identifier that follows from a name."""
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=["medseg sample data", "abdomen", what])


if __name__ == "__main__":
    main()
