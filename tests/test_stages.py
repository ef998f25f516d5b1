"""Steps assembled by themselves, without a whole pipeline file around them."""

from collections.abc import Callable

import pytest

from medseg.assemble import stage_at, stages, stages_after
from medseg.config import PipelineFile, StepCall
from medseg.errors import PipelineError
from medseg.plugin.catalog import discover
from medseg.segmentation import Label, LabelTable
from medseg.steps import Augmentation, Loss, Preprocessor, Segmenter, Step

Install = Callable[..., None]


def test_stages_of_a_list_know_their_places() -> None:
    calls = (StepCall(name="z-score"), StepCall(name="medseg/resample", parameters={"spacing": 2}))
    first, second = stages(Preprocessor, "preprocess", calls, discover())
    assert (first.place, second.place) == ("preprocess[0]", "preprocess[1]")
    assert second.written == {
        "medseg/resample": {
            "spacing": [2.0, 2.0, 2.0],
            "interpolation": "linear",
            "thick": 3.0,
            "antialias": False,
        }
    }
    assert stages(Preprocessor, "preprocess", (), discover()) == ()


def test_a_stage_by_itself_has_the_place_it_is_given() -> None:
    found = stage_at(Loss, "training.loss", StepCall(name="dice-ce"), discover())
    assert (found.place, found.name, found.distribution) == ("training.loss", "dice-ce", "medseg")


@pytest.mark.parametrize(
    ("base", "call", "said"),
    [
        (Loss, StepCall(name="dice-cee"), "here[0]: no loss is called 'dice-cee'; did you mean 'dice-ce'?"),
        (Loss, StepCall(name="hd95"), "here[0]: no loss is called 'hd95'"),
        (
            Augmentation,
            StepCall(name="noise", parameters={"sdd": [0, 1]}),
            "here[0].noise.sdd: there is no 'sdd' here; did you mean 'sd'?",
        ),
        (
            Loss,
            StepCall(name="sum", parameters={"losses": ["dice", "focl"]}),
            "here[0].sum.losses[1]: no loss is called 'focl'; did you mean 'focal'?",
        ),
    ],
)
def test_a_fault_in_a_list_is_told_with_its_place(base: type[Step], call: StepCall, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        stages(base, "here", (call,), discover())
    assert str(caught.value).startswith(said)


def test_what_comes_after_the_segmenter_knows_the_labels(install: Install) -> None:
    install("good")
    file = PipelineFile.model_validate(
        {"segment": "bright", "postprocess": [{"smooth": {"labels": ["bright"]}}], "write": ["csv"]}
    )
    segment = stage_at(Segmenter, "segment", file.segment, discover())
    found = stages_after(file, segment, LabelTable((Label(1, "bright"),)), discover())
    assert [len(each) for each in found] == [0, 1, 1, 1]
    with pytest.raises(PipelineError, match=r"^postprocess\[0\].smooth.labels: there is no label 'bright'"):
        stages_after(file, segment, LabelTable((Label(1, "dark"),)), discover())


@pytest.mark.parametrize(
    ("key", "step", "place"),
    [
        ("postprocess", {"within": {"label": "livr", "of": "liver"}}, "within.label"),
        ("postprocess", {"within": {"label": "liver", "of": "livr"}}, "within.of"),
        ("postprocess", {"split": {"label": "livr"}}, "split.label"),
        ("postprocess", {"dilate": {"radius_mm": 1, "over": ["liver", "livr"]}}, "dilate.over"),
        ("postprocess", {"sides": {"midline": "livr"}}, "sides.midline"),
        ("measure", {"lesions": {"hosts": ["livr"]}}, "lesions.hosts"),
        ("measure", {"lesions": {"distance_to": ["livr"]}}, "lesions.distance_to"),
        ("measure", {"quality": {"single": ["livr"]}}, "quality.single"),
        ("measure", {"quality": {"volumes_ml": {"livr": [1, 2]}}}, "quality.volumes_ml"),
        ("measure", {"order": {"front_to_back": ["liver", "livr"]}}, "order.front_to_back"),
        ("write", {"mesh": {"labels": ["livr"]}}, "mesh.labels"),
    ],
)
def test_whatever_names_a_label_is_looked_up_before_anything_is_read(
    key: str, step: dict[str, object], place: str
) -> None:
    file = PipelineFile.model_validate({"segment": {"threshold": {"above": 1}}, key: [step]})
    segment = stage_at(Segmenter, "segment", file.segment, discover())
    with pytest.raises(PipelineError) as caught:
        stages_after(file, segment, LabelTable((Label(1, "liver"),)), discover())
    assert str(caught.value) == (f"{key}[0].{place}: there is no label 'livr'; did you mean 'liver'?")
