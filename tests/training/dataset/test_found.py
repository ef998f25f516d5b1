from pathlib import Path

import pytest
from datasets import image, nifti

from medseg.errors import InputError
from medseg.training.dataset.found import by_stem, input_specs, is_there, own_id, require_own_ids


def test_names_of_inputs_are_plain_and_differ() -> None:
    assert [spec.name for spec in input_specs(["T1 Gd", "T1-Gd", "0", "rescale_to_0_1"])] == [
        "t1-gd",
        "t1-gd-2",
        "channel-0",
        "rescale_to_0_1",
    ]
    kinds = ["CT", "MRI", "T2w", "FLAIR", "PET", "mp-MRI", "noNorm", "R"]
    assert [spec.modality for spec in input_specs(kinds)] == ["CT", "MR", "MR", "MR", "PT", "MR", None, None]


def test_ids_are_stems_and_hashes_where_names_may_be_a_patients(tmp_path: Path) -> None:
    assert own_id(tmp_path / "case_1.nii.gz") == "case_1"
    assert own_id(tmp_path / "x.y.png") == "x.y"
    assert own_id(tmp_path / "pair.hdr") == "pair"
    assert own_id(tmp_path / "DOE^JANE.nii").startswith("case-")
    (tmp_path / "DOE").mkdir()
    for name in ("DOE", "DOE.dcm", "DOE.zip", "IM0001"):
        assert own_id(tmp_path / name).startswith("dicom-")
        assert "DOE" not in own_id(tmp_path / name)


def test_images_by_stem(tmp_path: Path) -> None:
    nifti(tmp_path / "b.nii.gz", image())
    nifti(tmp_path / "a.nii", image())
    (tmp_path / "._a.nii").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "c.d").mkdir()
    assert list(by_stem(tmp_path)) == ["a", "b", "c.d"]
    assert by_stem(tmp_path / "absent") == {}


def test_an_impossible_name_is_not_there(tmp_path: Path) -> None:
    assert not is_there(tmp_path / ("x" * 5000))
    assert is_there(tmp_path)


def test_ids_differ_in_more_than_capitals() -> None:
    from medseg.training.dataset import Case

    cases = [Case(name, {}, None, name) for name in ("a", "B", "b")]
    with pytest.raises(InputError, match="two cases are called 'b'"):
        require_own_ids(cases, Path("x"))
