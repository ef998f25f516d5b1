from pathlib import Path

import numpy as np
import pytest
from results import result_of

from medseg.builtin.write.nifti import Nifti
from medseg.io.nifti import read_label_names, read_nifti
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Planes, Source

AFFINE = np.array([[0.0, -0.7, 0, 5], [0.8, 0, 0, -7], [0, 0, 2.5, 9], [0, 0, 0, 1]])


def written(
    folder: Path, segmentation: Segmentation, *, native: Grid | Planes | None = None
) -> dict[str, Path]:
    source = None if native is None else Source(native, "PNG")
    result = result_of(segmentation, source=source)
    return {path.name: path for path in Nifti.check(Nifti()(result, folder), folder=folder)}


def voxels(path: Path) -> np.ndarray:
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)


def painted(*labels: Label, shape: tuple[int, int, int] = (6, 5, 4)) -> Segmentation:
    """A cube of 8 voxels for each label, one voxel further along i for each."""
    grid = Grid(shape, AFFINE)
    masks = {}
    for number, label in enumerate(labels):
        mask = np.zeros(shape, bool)
        mask[number : number + 2, 1:3, 1:3] = True
        masks[label.name] = mask
    return Segmentation.from_masks(masks, grid, LabelTable(labels))


def test_one_layer_is_one_file_with_values_geometry_and_names(tmp_path: Path) -> None:
    segmentation = painted(
        Label(1, "kidney left", pair="kidney right"), Label(2, "kidney right", pair="kidney left")
    )
    files = written(tmp_path, segmentation)
    assert list(files) == ["segmentation.nii.gz"]
    path = files["segmentation.nii.gz"]
    assert np.array_equal(voxels(path), segmentation.array[0])
    assert np.array_equal(read_nifti(path).grid.affine, AFFINE.astype(np.float32))
    assert read_label_names(path) == {1: "kidney left", 2: "kidney right"}


def test_labels_of_further_layers_have_files_of_their_own(tmp_path: Path) -> None:
    segmentation = painted(
        Label(1, "liver"),
        Label(300, "Liver Tumour", layer=1, pair=None),
        Label(4, "kidney left", layer=1, pair="kidney right"),
        Label(5, "kidney right", layer=2, pair="kidney left"),
    )
    files = written(tmp_path, segmentation)
    assert list(files) == [
        "segmentation.nii.gz",
        "segmentation-kidney-left.nii.gz",
        "segmentation-kidney-right.nii.gz",
        "segmentation-liver-tumour.nii.gz",
    ]
    tumour = files["segmentation-liver-tumour.nii.gz"]
    assert np.array_equal(voxels(tumour) == 300, segmentation.mask("Liver Tumour"))
    assert set(np.unique(voxels(tumour))) == {0, 300}
    assert read_label_names(tumour) == {300: "Liver Tumour"}
    assert read_label_names(files["segmentation.nii.gz"]) == {1: "liver"}


@pytest.mark.parametrize(
    ("names", "slugs"),
    [
        (("Fat (sc.)", "fat sc"), ("fat-sc", "fat-sc-2")),
        (("../../etc/passwd",), ("etcpasswd",)),
        (("肝臓",), ("label-2",)),
        (("Drüse_links",), ("druse-links",)),
        (("x" * 300,), ("x" * 80,)),
        (("slices", "body", "body slices"), ("slices-2", "body", "body-slices-2")),
    ],
)
def test_file_names_are_plain_and_distinct(
    tmp_path: Path, names: tuple[str, ...], slugs: tuple[str, ...]
) -> None:
    labels = [Label(number + 2, name, layer=number + 1) for number, name in enumerate(names)]
    files = written(tmp_path, painted(Label(1, "liver"), *labels))
    assert list(files)[1:] == [f"segmentation-{slug}.nii.gz" for slug in slugs]


def test_objects_keep_their_ids_and_are_named_by_label(tmp_path: Path) -> None:
    grid = Grid((4, 4, 4), AFFINE)
    array = np.zeros((2, 4, 4, 4), np.uint32)
    array[0, 0, 0, 0] = 1
    array[1, 1, 1, 1], array[1, 2, 2, 2], array[1, 3, 3, 3] = 1, 70_000, 3
    things = (Object(1, "cell"), Object(70_000, "cell"), Object(3, "debris"))
    labels = LabelTable((Label(1, "tissue"), Label(2, "cell", layer=1), Label(3, "debris", layer=1)))
    files = written(tmp_path, Segmentation(array, grid, labels, ("labels", "objects"), things))
    cells = voxels(files["segmentation-cell.nii.gz"])
    assert (cells[1, 1, 1], cells[2, 2, 2], cells[3, 3, 3]) == (1, 70_000, 0)
    assert read_label_names(files["segmentation-cell.nii.gz"]) == {1: "cell 1", 70_000: "cell 70000"}


def test_labels_go_back_onto_the_original_voxels(tmp_path: Path) -> None:
    segmentation = painted(Label(1, "liver"))
    native = segmentation.grid.reoriented("LPI").padded((1, 0, 2), (0, 3, 0))
    files = written(tmp_path, segmentation, native=native)
    found = voxels(files["segmentation.nii.gz"])
    assert found.shape == native.shape
    assert np.array_equal(found, segmentation.onto(native).array[0])


def test_real_file_keeps_its_affine_and_codes_bit_for_bit(tmp_path: Path, real_data: Path) -> None:
    import nibabel

    path = real_data / "mr_spinalcord_sct/t2.nii.gz"
    volume = read_nifti(path)
    segmentation = Segmentation(
        (volume.array > volume.array.mean()).astype(np.uint8), volume.grid, LabelTable((Label(1, "bright"),))
    )
    result = result_of(segmentation, volume=volume)
    (out,) = Nifti()(result, tmp_path)
    before, after = nibabel.load(path).header, nibabel.load(out).header
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "pixdim", "quatern_b"):
        assert before[field].tobytes() == after[field].tobytes(), field


def test_slices_that_no_affine_can_place_have_files_beside_the_even_ones(tmp_path: Path) -> None:
    """Slices 0, 1 and 3 of four: the third was missing, and every layer comes back slice by slice."""
    grid = Grid((6, 5, 4), np.diag([0.7, 0.9, 2.5, 1.0]))
    liver = np.zeros(grid.shape, bool)
    liver[1:4, 1:4, :3] = True
    cyst = np.zeros(grid.shape, bool)
    cyst[2, 2, 1:] = True
    labels = LabelTable((Label(1, "liver"), Label(2, "cyst", layer=1)))
    segmentation = Segmentation.from_masks({"liver": liver, "cyst": cyst}, grid, labels)
    kept = [0, 1, 3]
    planes = Planes((6, 5), np.stack([grid.cropped((0, 0, k), (6, 5, k + 1)).affine for k in kept]))
    files = written(tmp_path, segmentation, native=planes)
    assert set(files) == {
        "segmentation.nii.gz",
        "segmentation-cyst.nii.gz",
        "segmentation-slices.nii.gz",
        "segmentation-cyst-slices.nii.gz",
    }
    for name, mask in (("", liver), ("-cyst", cyst)):
        assert np.array_equal(voxels(files[f"segmentation{name}.nii.gz"]) > 0, mask)
        slices = files[f"segmentation{name}-slices.nii.gz"]
        assert np.array_equal(voxels(slices) > 0, mask[:, :, kept])
        assert read_nifti(slices).grid.spacing == pytest.approx((0.7, 0.9, 3.75))
    assert read_label_names(files["segmentation-cyst-slices.nii.gz"]) == {2: "cyst"}
