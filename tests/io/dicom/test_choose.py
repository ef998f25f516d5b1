"""Which of several series is meant: the rule's answers, and what is said where there is none."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.config import SeriesRule
from medseg.errors import GeometryError, InputError, UsageError
from medseg.io import Policy, inspect, read
from medseg.run.reasons import without_names

Write = Callable[..., Path]
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
TURNED = (1.0, 0.0, 0.0, 0.0, float(np.cos(0.3)), float(np.sin(0.3)))  # 17 degrees off axial
PLAIN = {"modality": "CT", "description": "Abdomen", "image_type": ["ORIGINAL", "PRIMARY", "AXIAL"]}


def stored(slices: int, columns: int = 12) -> Any:
    return np.zeros((columns, 10, slices), np.int16)


def typed(**values: Any) -> Callable[[int, Any], None]:
    def edit(_k: int, dataset: Any) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return edit


@pytest.fixture
def study(tmp_path: Path, write_series: Write) -> Path:
    """Thick and thin axial CT, a coronal one, an oblique MR, and a scout."""
    folder = tmp_path / "study"
    write_series(folder / "thick", stored(8), step=(0, 0, 5), series="1.2.3.11111111")
    thin = typed(SeriesDescription="Portal venous 1.0", ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5"])
    write_series(folder / "thin", stored(20), step=(0, 0, 1.0), series="1.2.3.22222222", edit=thin)
    mpr = typed(ImageType=["DERIVED", "SECONDARY", "MPR"], SeriesDescription="cor MPR")
    write_series(folder / "cor", stored(9), orientation=CORONAL, series="1.2.3.33333333", edit=mpr)
    mr = typed(Modality="MR", SeriesDescription="T2")
    write_series(folder / "mr", stored(10), orientation=TURNED, series="1.2.3.44444444", edit=mr)
    scout = typed(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesDescription="Topogram")
    write_series(folder / "scout", stored(2), orientation=CORONAL, series="1.2.3.55555555", edit=scout)
    return folder


def chosen(study: Path, **rule: Any) -> Any:
    return read(study, policy=Policy(series=SeriesRule(**rule)))


def refusal(study: Path, **rule: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(study, policy=Policy(series=SeriesRule(**rule) if rule else None))
    assert str(caught.value).isprintable()
    return str(caught.value)


# ------------------------------------------------------------------ rules
@pytest.mark.parametrize(
    ("rule", "slices"),
    [
        ({"uid": "1.2.3.22222222"}, 20),
        ({"uid": "22222222"}, 20),
        ({"modality": "mr"}, 10),
        ({"description": "portal.*1[.]0"}, 20),
        ({"description": "^PORTAL"}, 20),
        ({"max_thickness_mm": 1}, 20),
        ({"min_thickness_mm": 5}, 8),
        ({"min_thickness_mm": 2, "max_thickness_mm": 3, "modality": "MR"}, 10),
        ({"orientation": "coronal"}, 9),
        ({"orientation": "oblique"}, 10),
        ({"orientation": "axial", "min_slices": 9}, 20),
        ({"image_type": ("derived", "MPR")}, 9),
        ({"min_slices": 11}, 20),
    ],
)
def test_a_rule_picks_the_series_for_which_all_of_it_holds(
    study: Path, rule: dict[str, Any], slices: int
) -> None:
    volume = chosen(study, **rule)
    assert volume.grid.shape[2] == slices
    assert volume.source is not None
    assert len(volume.source.policies) == 4
    assert all(note.startswith("left out: ") for note in volume.source.policies)
    (line,) = volume.source.decided
    assert line.startswith("series: ")
    assert ", by " in line


def test_what_was_decided_says_how_without_the_operators_words(study: Path) -> None:
    source = chosen(study, description="portal", modality="CT").source
    assert source.decided == (
        "series: CT 12 x 10 x 20 spacing 0.7 x 0.9 x 1 mm UID ...22222222 of 4, by modality=CT, description",
    )
    assert "ortal" not in repr(source.policies)


def test_a_rule_that_had_nothing_to_decide_leaves_no_line(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", stored(8))
    assert chosen(folder, modality="CT").source.decided == ()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"uid": "99999999"}, "no series has uid=99999999, choose one"),
        ({"modality": "PT"}, "no series has modality=PT, choose one"),
        (
            {"modality": "MR", "orientation": "axial"},
            "no series has orientation=axial among the 1 that the rest of the rule leaves, choose one",
        ),
        ({"description": "lung, thin"}, 'no series has description="lung, thin", choose one'),
        ({"max_thickness_mm": 0.5}, "no series has max_thickness_mm=0.5"),
        ({"min_slices": 21}, "no series has min_slices=21"),
        ({"image_type": ("ORIGINAL", "MPR")}, "no series has image_type=ORIGINAL,image_type=MPR"),
    ],
)
def test_a_rule_that_fits_nothing_says_which_part_and_lists_what_there_is(
    study: Path, rule: dict[str, Any], said: str
) -> None:
    message = refusal(study, **rule)
    assert message.startswith(f"study: {said}")
    assert message.count("--series ") == 4
    assert message.count("choose one with --series: ") == 1


def test_a_rule_that_fits_several_lists_these(study: Path) -> None:
    message = refusal(study, modality="CT", orientation="axial")
    assert "more than one series (2) that the rule fits, choose one with --series: " in message
    assert "Portal venous 1.0 CT axial 12 x 10 x 20 spacing 0.7 x 0.9 x 1 mm --series 22222222" in message
    assert "Abdomen CT axial 12 x 10 x 8 spacing 0.7 x 0.9 x 5 mm --series 11111111" in message


def test_without_a_rule_all_are_listed_with_what_to_give(study: Path) -> None:
    message = refusal(study)
    assert "study: more than one series (4), choose one with --series: " in message
    for tail in ("11111111", "22222222", "33333333", "44444444"):
        assert f"--series {tail}" in message
        assert chosen(study, uid=tail)


def test_an_expression_that_is_none_is_a_matter_of_usage(study: Path) -> None:
    rule = SeriesRule.model_construct(description="(", image_type=())
    with pytest.raises(UsageError, match=r"description='\(' is no regular expression: missing \)"):
        read(study, policy=Policy(series=rule))


def test_the_end_of_a_uid_must_belong_to_one_series(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a", stored(8), series="1.2.3.4000000001")
    write_series(tmp_path / "b", stored(9), series="1.2.3.5000000001")
    assert "more than one series ends with 00000001, choose one" in refusal(tmp_path, uid="00000001")
    message = refusal(tmp_path)
    assert "--series 4000000001" in message  # as many digits as it takes
    assert chosen(tmp_path, uid="4000000001").grid.shape[2] == 8
    write_series(tmp_path / "c", stored(7), series="3.4000000001")
    assert chosen(tmp_path, uid="3.4000000001").grid.shape[2] == 7


def test_a_rule_that_means_no_volume_says_so(study: Path) -> None:
    assert "2 localizer image(s), not a volume" in refusal(study, uid="55555555")
    assert "2 localizer image(s), not a volume" in refusal(study, image_type=("LOCALIZER",))


def test_a_rule_does_not_make_a_faulty_series_readable(study: Path) -> None:
    (study / "thin" / "IM0004.dcm").unlink()
    assert "2.00 mm apart, the others 1.00 mm" in refusal(study, max_thickness_mm=1)


def test_thickness_is_the_distance_of_slices_whatever_the_tag_says(
    tmp_path: Path, write_series: Write
) -> None:
    """The series writer gives every slice a SliceThickness of 5 mm."""
    folder = write_series(tmp_path / "ct", stored(8), step=(0, 0, 1.25))
    assert chosen(folder, min_thickness_mm=1.25, max_thickness_mm=1.25).grid.shape[2] == 8
    assert "no series has min_thickness_mm=2" in refusal(folder, min_thickness_mm=2)
    (told,) = inspect(folder)
    assert told.thickness_mm == pytest.approx(1.25)
    assert told.orientation == "axial"


@pytest.mark.parametrize(("degrees", "word"), [(9, "axial"), (11, "oblique"), (81, "coronal")])
def test_ten_degrees_decide_what_is_oblique(
    tmp_path: Path, write_series: Write, degrees: float, word: str
) -> None:
    angle = np.radians(degrees)
    turned = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
    (candidate,) = inspect(write_series(tmp_path / "ct", stored(4), orientation=turned))
    assert candidate.orientation == word


# ------------------------------------------------------------------ one series that holds several volumes
@pytest.fixture
def mixed(tmp_path: Path, write_series: Write) -> Path:
    """Three reconstructions under one UID."""
    folder = tmp_path / "mixed"
    write_series(folder / "a", stored(8))
    write_series(folder / "b", stored(9), orientation=CORONAL)
    write_series(folder / "c", stored(6, columns=14))
    return folder


def test_volumes_mixed_in_one_series_are_candidates_of_their_own(mixed: Path) -> None:
    assert [(c.shape, c.orientation, c.verdict) for c in inspect(mixed)] == [
        ((12, 10, 9), "coronal", "ok"),
        ((12, 10, 8), "axial", "ok"),
        ((14, 10, 6), "axial", "ok"),
    ]


def test_mixed_volumes_are_refused_by_what_they_differ_in_and_chosen_by_it(mixed: Path) -> None:
    with pytest.raises(GeometryError) as caught:
        read(mixed)
    message = str(caught.value)
    assert "one series mixes 9 + 8 + 6 images of different size (Rows, Columns), orientation" in message
    assert "--series uid=1.2.3.1,orientation=coronal" in message
    assert chosen(mixed, uid="1.2.3.1", orientation="coronal").grid.shape == (12, 10, 9)
    with pytest.raises(GeometryError, match="mixes 8 \\+ 6 images"):
        chosen(mixed, orientation="axial")
    assert chosen(mixed, orientation="axial", min_slices=7).grid.shape == (12, 10, 8)


def test_every_selector_that_is_listed_means_one_series(mixed: Path, study: Path) -> None:
    from medseg.cli.series import series_rule

    for folder, count in ((mixed, 2), (study, 4)):
        ends = [line.partition(" --series ")[2] for line in refusal(folder).split("; ")]
        given = [series_rule(end.rpartition(" --series ")[2]) for end in ends if end]
        assert len({read(folder, policy=Policy(series=rule)).grid.shape for rule in given}) == count


def test_what_no_rule_tells_apart_needs_a_folder_of_its_own(mixed: Path) -> None:
    last = refusal(mixed).rpartition("; ")[2]
    assert last == (
        "Abdomen CT axial 14 x 10 x 6 spacing 0.7 x 0.9 x 2.5 mm "
        "(no rule tells it apart: put it into a folder of its own)"
    )


def test_a_stray_slice_is_no_reason_to_take_the_rest_unless_the_rule_excludes_it(
    tmp_path: Path, write_series: Write
) -> None:
    def shrunk(k: int, dataset: Any) -> None:
        if k == 7:
            dataset.PixelSpacing = [0.9, 0.8]

    folder = write_series(tmp_path / "ct", stored(8), edit=shrunk)
    assert "one series mixes 7 + 1 images of different pixel spacing, as IM0007.dcm" in refusal(folder)
    assert "one series mixes 7 + 1 images" in refusal(folder, uid="1.2.3.1")
    source = chosen(folder, min_slices=5).source
    assert source.policies == ("left out: CT 12 x 10 x 1 (not a volume) UID ...1.2.3.1",)


def test_a_localizer_within_a_series_is_left_out_only_where_it_says_that_it_is_one(
    tmp_path: Path, write_series: Write
) -> None:
    folder = write_series(tmp_path / "ct", stored(8))
    scout = typed(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP"])
    write_series(folder / "scout", stored(1), orientation=CORONAL, edit=scout)
    source = read(folder).source
    assert source is not None
    assert source.policies == ("left out: CT 12 x 10 x 1 (localizer) UID ...1.2.3.1",)
    write_series(folder / "scout", stored(1), orientation=CORONAL)
    assert "one series mixes 8 + 1 images of different orientation" in refusal(folder)


# ------------------------------------------------------------------ the operator's words
def test_descriptions_stay_on_the_terminal(study: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for rule in ({}, {"modality": "PT"}, {"modality": "CT"}, {"description": "Portal.*2"}):
        message = refusal(study, **rule)
        assert "Portal" in message
        written = without_names(message, {"ct": study})
        assert not [word for word in ("Portal", "Abdomen", "MPR", "T2") if word in written]
        assert written.startswith("<ct>: ")
    assert "Portal" not in caplog.text
    assert "Portal" not in repr([candidate.as_json() for candidate in inspect(study)])


def test_what_info_needs_is_told_of_each(study: Path) -> None:
    told = {
        c.uid_tail: (c.shape, round(c.thickness_mm or 0, 6), c.orientation, c.image_type[-1], c.phases)
        for c in inspect(study)
    }
    assert told["22222222"] == ((12, 10, 20), 1.0, "axial", "CT_SOM5", 1)
    assert told["44444444"] == ((12, 10, 10), 2.5, "oblique", "AXIAL", 1)
    assert told["55555555"] == ((12, 10, 2), 2.5, "coronal", "LOCALIZER", 1)


@pytest.mark.parametrize(
    ("modality", "told"), [("CT", "CT"), ("ct ", "CT"), ("CANARY^NAME", None), ("Smith, J.", None)]
)
def test_codes_are_told_and_free_text_is_not(
    tmp_path: Path, write_series: Write, modality: str, told: str | None
) -> None:
    types = ["ORIGINAL", "PRIMARY", "CT_SOM5 SPI", "SMITH^JOHN", "A-B", "X" * 17]
    with warnings.catch_warnings(action="ignore"):  # no code strings, which is the point
        edit = typed(Modality=modality, ImageType=types)
        folder = write_series(tmp_path / "ct", stored(8), edit=edit)
    (candidate,) = inspect(folder)
    assert candidate.modality == told
    assert candidate.image_type == ("ORIGINAL", "PRIMARY", "CT_SOM5 SPI")
    source = read(folder).source
    assert source is not None
    assert source.modality == told


def test_images_a_hair_apart_are_at_one_position(tmp_path: Path, write_series: Write) -> None:
    def hair(k: int, dataset: Any) -> None:
        dataset.ImagePositionPatient = [0, 0, f"{0.0002 * k:.6f}"]

    (candidate,) = inspect(write_series(tmp_path / "ct", stored(4), edit=hair))
    assert (candidate.verdict, candidate.thickness_mm, candidate.shape) == ("not a volume", None, (12, 10, 1))


def test_phases_are_counted(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", stored(8), edit=typed(AcquisitionNumber=1))
    for late in (2, 3):
        changed = np.full((12, 10, 8), late, np.int16)
        write_series(folder / f"{late}", changed, edit=typed(AcquisitionNumber=late))
    (candidate,) = inspect(folder)
    assert (candidate.shape, candidate.phases, candidate.files) == ((12, 10, 8), 3, 24)
