from pathlib import Path

import numpy as np
import pytest
from dicom_series import write_dicom_series

from medseg import Grid, InputError, Source, UsageError, Volume
from medseg.config import SeriesRule
from medseg.io import STRICT, Policy, read
from medseg.pipeline import Input
from medseg.run.inputs import case_id, join, match, policy_for, read_inputs

GRID = Grid((4, 5, 6), np.diag([2.0, 2.0, 2.0, 1.0]))
T1, FLAIR = Input("t1", "MR"), Input("flair", "MR")


def volume(value: float, grid: Grid = GRID, modality: str | None = None, channels: int = 1) -> Volume:
    source = Source(grid, "array", modality=modality)
    names = tuple(f"c{n}" for n in range(channels))
    return Volume(np.full((channels, *grid.shape), value, np.float32), grid, names, source)


def test_names_first_the_rest_by_position() -> None:
    assert match([T1, FLAIR], ["a", "b"], {}) == {"t1": "a", "flair": "b"}
    assert match([T1, FLAIR], ["a"], {"t1": "b"}) == {"t1": "b", "flair": "a"}
    assert list(match([T1, FLAIR], [], {"flair": "b", "t1": "a"})) == ["t1", "flair"]


@pytest.mark.parametrize(
    ("given", "named", "says"),
    [
        (["a"], {}, r"takes 2 inputs \(t1, flair\), 1 given"),
        (["a", "b", "c"], {}, "3 given"),
        (["a", "b"], {"t1": "c"}, "3 given"),
        (["a"], {"t2": "b"}, "no input 't2'; it takes t1, flair"),
    ],
)
def test_a_wrong_number_is_refused(given: list[str], named: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        match([T1, FLAIR], given, named)


def test_a_wrong_modality_is_refused_unless_forced() -> None:
    ct = {"t1": volume(0, modality="CT")}
    with pytest.raises(InputError, match="is CT, and input 't1' must be MR"):
        read_inputs([T1], ct, force_modality=False, pixel_size=None)
    assert read_inputs([T1], ct, force_modality=True, pixel_size=None) == ct


def test_a_file_that_does_not_say_what_it_is_is_taken_for_what_is_asked_and_says_so() -> None:
    read = read_inputs([T1], {"t1": volume(0)}, force_modality=False, pixel_size=None)["t1"].source
    note = "modality not stated by array: taken for MR"
    assert read == Source(GRID, "array", modality="MR", policies=(note,))
    anything = {"t1": volume(0)}
    assert read_inputs([Input("t1")], anything, force_modality=False, pixel_size=None) == anything


def test_channels_are_aligned_in_physical_space() -> None:
    shifted = Grid(
        (4, 5, 6), GRID.affine @ np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    )
    ramp = Volume(
        np.arange(4, dtype=np.float32)[None, :, None, None] * np.ones((1, *GRID.shape), np.float32), shifted
    )
    joined = join({"t1": volume(7), "flair": ramp})
    assert joined.channels == ("t1", "flair")
    assert joined.grid is GRID
    assert np.all(joined.array[0] == 7)
    # voxel i of the first lies where voxel i - 1 of the second is; before that there is nothing: its minimum
    assert joined.array[1, :, 0, 0].tolist() == [0, 0, 1, 2]


def test_a_second_input_that_covers_little_is_refused_and_one_that_is_resampled_is_noted() -> None:
    def moved(slices: int) -> Volume:
        return volume(1, GRID.cropped((0, 0, slices), (4, 5, 6 + slices)))

    with pytest.raises(InputError, match="'flair' covers 33% of input 't1'"):
        join({"t1": volume(0), "flair": moved(4)})
    source = join({"t1": volume(0), "flair": moved(1)}).source
    assert source is not None
    assert source.policies == ("input 'flair' resampled onto 't1' (linear), of which it covers 83%",)


def test_sources_of_all_inputs_stay_known() -> None:
    t1, flair = volume(7, modality="MR"), volume(8, modality="MR")
    array = Volume(flair.array, GRID)
    source = join({"t1": t1, "flair": flair, "array": array}).source
    assert source == Source(GRID, "array", modality="MR", joined=(Source(GRID, "array", modality="MR"),))


def test_a_single_input_keeps_its_voxels_and_takes_its_name() -> None:
    alone = volume(3)
    joined = join({"ct": alone})
    assert joined.channels == ("ct",)
    assert joined.array.base is alone.array.base
    colours = volume(3, channels=3)
    assert join({"image": colours}) is colours


def test_images_of_different_places_or_kinds_are_refused() -> None:
    far = Grid(GRID.shape, np.array([[2, 0, 0, 500], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]]))
    with pytest.raises(InputError, match="covers 0% of input 't1'"):
        join({"t1": volume(0), "flair": volume(0, far)})
    with pytest.raises(InputError, match="3 channels"):
        join({"t1": volume(0), "flair": volume(0, channels=3)})
    with pytest.raises(InputError, match="px"):
        join({"t1": volume(0), "flair": volume(0, Grid(GRID.shape, GRID.affine, "px"))})


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b/case-7.nii.gz", "case-7"), ("x.y.nii", "x.y"), ("p.mha", "p"), ("scan.PNG", "scan")],
)
def test_a_case_is_called_after_its_file(path: str, name: str) -> None:
    assert case_id({"ct": Path(path)}, {"ct": volume(0)}) == name
    source = Source(GRID, "NIfTI-1", files=(Path(path),))
    read = volume(0).replace(source=source)
    assert case_id({"ct": read}, {"ct": read}) == name  # as from its path


@pytest.mark.parametrize(
    "path", ["Jane Doe.nii.gz", "bad\udcff.nii", "a\nb.nii", ".nii", "=cmd.nii", f"{'x' * 99}.nii"]
)
def test_a_name_that_could_not_name_a_folder_and_a_row_becomes_a_hash(path: str) -> None:
    assert case_id({"ct": Path(path)}, {"ct": volume(0)}).startswith("case-")


def test_a_dicom_case_is_called_after_its_content_not_its_folder() -> None:
    source = Source(GRID, "DICOM series", sha256=("a" * 64, "b" * 64))
    one = case_id({"ct": "DOE^JANE"}, {"ct": volume(0).replace(source=source)})
    other = case_id({"ct": "elsewhere"}, {"ct": volume(0).replace(source=source)})
    assert one == other
    assert one.startswith("dicom-")
    assert "DOE" not in one


def test_the_pipelines_series_holds_unless_another_is_asked_for() -> None:
    thin, thick = SeriesRule(max_thickness_mm=3), SeriesRule(min_thickness_mm=3)
    spec = Input("ct", "CT", thin)
    assert policy_for(spec, STRICT) == Policy(series=thin)
    assert policy_for(spec, Policy(series=thick, gaps="allow")) == Policy(series=thick, gaps="allow")
    assert policy_for(Input("ct"), STRICT) == STRICT


def test_suv_is_for_the_input_that_may_be_pet() -> None:
    asked = Policy(suv=True)
    assert policy_for(Input("pet", "PT"), asked).suv
    assert policy_for(Input("image"), asked).suv
    assert not policy_for(Input("ct", "CT"), asked).suv


def test_a_series_is_refused_for_other_formats_but_the_pipelines_own_rule_is_ignored(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    spec = Input("image", select=SeriesRule(min_slices=20))
    read = read_inputs([spec], {"image": path}, force_modality=False, pixel_size=None)
    assert read["image"].grid.shape == (5, 4, 1)
    with pytest.raises(UsageError, match=r"a\.png: is PNG, and a series is for DICOM; leave out --series"):
        read_inputs(
            [spec],
            {"image": path},
            force_modality=False,
            pixel_size=None,
            policy=Policy(series=SeriesRule(modality="CT")),
        )


def test_a_volume_is_taken_as_it_is_whatever_the_policy() -> None:
    given = {"t1": volume(0)}
    asked = Policy(series=SeriesRule(modality="CT"), suv=True, phase=7)
    assert read_inputs([Input("t1")], given, force_modality=False, pixel_size=None, policy=asked) == given


@pytest.mark.parametrize("keyword", ["PatientID", "PatientBirthDate", "PatientName"])
def test_inputs_of_two_patients_are_refused(tmp_path: Path, keyword: str) -> None:
    stored = np.arange(12 * 10 * 6, dtype=np.int16).reshape(12, 10, 6)

    def of(name: str, value: str) -> Path:
        return write_dicom_series(
            tmp_path / name, stored, edit=lambda _, image: setattr(image, keyword, value)
        )

    def joined(**images: Path) -> Volume:
        wanted = [Input(name) for name in images]
        return join(read_inputs(wanted, images, force_modality=False, pixel_size=None))

    t1, flair, other = of("a", "19450607"), of("b", "19450607"), of("c", "19991231")
    assert joined(t1=t1, flair=flair).channels == ("t1", "flair")
    with pytest.raises(InputError, match=r"^inputs 't1' and 'flair' are of different patients \(PatientID, "):
        joined(t1=t1, flair=other)
    with pytest.raises(InputError, match="inputs 't1' and 't2' are of different patients"):
        joined(t1=t1, flair=flair, t2=other)
    unnamed = read(other).replace(source=None)
    assert join({"t1": read(t1), "flair": unnamed}).channels == ("t1", "flair")


def test_what_was_decided_for_each_input_is_kept_behind_its_name() -> None:
    def decided(value: float, *lines: str) -> Volume:
        return volume(value).replace(source=Source(GRID, "DICOM series", decided=lines))

    alone = join({"t1": decided(0, "gaps resampled: 1")}).source
    assert alone is not None
    assert alone.decided == ("gaps resampled: 1",)
    both = join({"t1": decided(0, "gaps resampled: 1"), "flair": decided(1, "phase 2 of 3")}).source
    assert both is not None
    assert both.decided == ("[t1] gaps resampled: 1", "[flair] phase 2 of 3")
    bare = Volume(np.zeros((1, *GRID.shape), np.float32), GRID)
    mixed = join({"t1": bare, "flair": decided(1, "phase 2 of 3")}).source
    assert mixed is not None
    assert mixed.decided == ("[flair] phase 2 of 3",)
    assert join({"t1": bare, "flair": bare}).source is None
