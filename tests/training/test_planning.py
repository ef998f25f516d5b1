import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.builtin.network.dynunet import DynUnet
from medseg.config import InputSpec, TrainingSpec
from medseg.plugin.catalog import discover
from medseg.segmentation import Label, LabelTable
from medseg.training.dataset import Dataset
from medseg.training.fingerprint import CaseFacts, Fingerprint, Intensity
from medseg.training.planning import Machine, Planned, plan
from medseg.training.recipe import recipe

LIVER = LabelTable((Label(1, "liver", code="SCT:10200004", colour="#dd8265"), Label(2, "tumour")))
KIDNEYS = LabelTable((Label(1, "left kidney"), Label(2, "right kidney")))
REGIONS = LabelTable((Label(1, "whole"), Label(2, "core", layer=1)))
CATALOG = discover()
CPU, GPU = Machine(), Machine(gpu=True, gpu_bytes=10 << 30)


def case(
    shape: Sequence[float], spacing: Sequence[float], *, box_share: float = 1.0, picture: bool = False
) -> CaseFacts:
    (i, j, k), (x, y, z) = (int(n) for n in shape), spacing
    return CaseFacts(
        id="c",
        shape=(i, j, k),
        spacing=(x, y, z),
        axis_codes="RAS",
        unit="px" if picture else "mm",
        voxel_ml=None if picture else 0.001,
        channels=("image",),
        minimum=0,
        maximum=1000,
        box_share=box_share,
        intensities=(),
        voxels={},
        ignored=0,
        picture=picture,
        modality=None,
    )


def planned(
    *cases: CaseFacts,
    labels: LabelTable = LIVER,
    machine: Machine = CPU,
    modalities: Sequence[str | None] = (None,),
    low: float = -13.4,
    high: float = 210.6,
) -> Planned:
    """The plan for a dataset of these cases, of which each input is one channel."""
    names = ("image", "flair", "t1ce")[: len(modalities)]
    dataset = Dataset(
        name="made up",
        inputs=tuple(InputSpec(name=name) for name in names),
        labels=labels,
        cases=(),
        values={label.name: (label.value,) for label in labels},
    )
    values = Intensity(low=low, median=100, high=high, mean=100, sd=20)
    facts = Fingerprint(
        key="",
        channels=names,
        labels=tuple(label.name for label in labels),
        modalities=tuple(modalities),
        intensities=(values,) * len(names),
        cases=cases,
    )
    return plan(dataset, facts, machine)


def network(found: Planned) -> dict[str, Any]:
    assert found.file.segment.name == "network"
    return dict(found.file.segment.parameters)


def dynunet(found: Planned) -> DynUnet:
    return DynUnet.model_validate(network(found)["architecture"]["dynunet"])


def training(found: Planned) -> TrainingSpec:
    assert found.file.training is not None
    return found.file.training


def steps(found: Planned) -> dict[str, dict[str, Any]]:
    return {call.name: dict(call.parameters) for call in found.file.preprocess}


def augment(found: Planned) -> dict[str, dict[str, Any]]:
    return {call.name: dict(call.parameters) for call in training(found).augment}


def test_small_mr_of_cubic_voxels() -> None:
    found = planned(case((35, 50, 36), (1, 1, 1)))
    assert network(found)["window"]["patch"] == [40, 56, 40]
    assert dynunet(found).channels == (16, 32, 64, 128)
    assert dynunet(found).deep_supervision == 2
    assert steps(found) == {
        "reorient": {"to": "RAS"},
        "resample": {"spacing": [1, 1, 1], "interpolation": "cubic"},
        "z-score": {},
    }
    assert network(found)["mirror"] == ["left-right"]
    assert augment(found)["flip"] == {"axes": ["left-right"]}
    assert network(found)["head"] == "softmax"
    assert training(found).batch == 2  # 64^3 voxels are 2.9 samples
    assert training(found).steps_per_epoch == 50
    assert found.reasons["segment.network.window.patch"] == (
        "3-D: nearly cubic voxels; holds a typical case whole (35 x 50 x 36 voxels), in multiples that the "
        "network halves"
    )
    assert found.reasons["preprocess.resample"] == "all cases have it"


def test_one_labelled_side_is_not_mirrored_to_the_other() -> None:
    found = planned(case((35, 50, 36), (1, 1, 1)), labels=LabelTable((Label(1, "left kidney"),)))
    assert "mirror" not in network(found)
    assert "flip" not in augment(found)
    assert found.reasons["segment.network.mirror"].startswith("none: 'left kidney'")


def test_medians_of_different_spacings() -> None:
    found = planned(*(case((100, 100, 60), (1, 1, z)) for z in (1.0, 2.0, 2.5)))
    assert steps(found)["resample"]["spacing"] == [1, 1, 2]
    assert found.reasons["preprocess.resample"].startswith("the median of all cases")


def test_thick_slices_are_3d_and_turned_within_themselves() -> None:
    found = planned(case((320, 320, 11), (0.5, 0.5, 7.5)))
    assert network(found)["window"]["patch"] == [160, 160, 12]
    assert dynunet(found).strides is not None
    assert dynunet(found).strides[0] == (2, 2, 1)  # type: ignore[index]  # just looked
    assert dynunet(found).kernels[0] == (3, 3, 1)  # type: ignore[index]  # planned
    assert augment(found)["rotate"]["about"] == ["k"]
    assert "mirror" not in network(found)  # several windows: a second pass would take twice the time
    assert found.reasons["segment.network.window.patch"] == (
        "3-D: slices are 15.0 times as thick as pixels are wide; as much of a typical case as 262144 voxels "
        "hold (320 x 320 x 11 voxels), in multiples that the network halves"
    )


def test_blurred_cases_do_not_set_the_scale_across_slices() -> None:
    found = planned(*(case((256, 256, 24), (0.8, 0.8, z)) for z in (4.0, *[8.0] * 9)))
    # nnU-Net's rule: the 10th percentile across thick slices, here 0.9 of the way from 4 to 8 mm
    assert steps(found)["resample"]["spacing"] == [0.8, 0.8, pytest.approx(4 + 0.9 * 4)]


def test_few_thick_slices_are_pictures_of_their_own() -> None:
    found = planned(case((320, 320, 5), (0.5, 0.5, 7.5)))
    assert network(found)["window"]["patch"] == [256, 256]
    assert steps(found)["resample"]["spacing"] == [0.5, 0.5, None]
    assert augment(found)["flip"] == {"axes": ["left-right"]}
    assert "about" not in augment(found)["rotate"]
    assert found.reasons["segment.network.window.patch"].startswith(
        "2-D: 5 slices of 7.5 mm, 15.0 times what their pixels measure, hold little in the third direction"
    )


def test_sagittal_slices_come_last_and_nothing_is_mirrored_across_them() -> None:
    found = planned(case((6, 200, 180), (8, 0.6, 0.6)))
    assert steps(found)["reorient"] == {"to": "ASR"}
    assert steps(found)["resample"]["spacing"] == [0.6, 0.6, None]
    assert network(found)["window"]["patch"] == [224, 192]
    assert "flip" not in augment(found)
    assert "mirror" not in network(found)  # the network never sees left beside right
    assert found.reasons["preprocess.reorient"] == "the axis with the thick slices last"


def test_ct_has_a_window_of_its_labels_values() -> None:
    found = planned(case((100, 100, 100), (2, 2, 2)), modalities=["CT"])
    assert steps(found)["ct-window"] == {"low": -13, "high": 211}
    assert found.file.inputs[0].modality == "CT"
    assert "z-score" not in steps(found)
    same = planned(case((100, 100, 100), (2, 2, 2)), modalities=["CT"], low=40.2, high=40.3)
    assert steps(same)["ct-window"] == {"low": 40, "high": 41}


def test_pictures_are_flat_and_lie_any_way() -> None:
    found = planned(case((300, 200, 1), (1, 1, 1), picture=True))
    assert network(found)["window"]["patch"] == [320, 224]
    assert steps(found) == {"z-score": {}}
    assert augment(found)["flip"] == {}  # all axes
    assert "mirror" not in network(found)
    assert dynunet(found).channels[:2] == (24, 48)
    assert found.reasons["segment.network.window.patch"].startswith("2-D: every case is a single slice; ")


def test_stacks_of_pictures_are_in_space_and_have_no_left_and_right() -> None:
    found = planned(case((57, 61, 31), (1, 1, 1), box_share=0.5, picture=True))
    assert len(network(found)["window"]["patch"]) == 3
    assert "mirror" not in network(found)
    assert augment(found)["flip"] == {}
    assert set(steps(found)) == {"z-score"}


def test_a_single_slice_in_another_direction_comes_last() -> None:
    found = planned(case((200, 1, 150), (1, 5, 2)))
    assert steps(found)["reorient"] == {"to": "RSA"}
    assert steps(found)["resample"]["spacing"] == [1, 2, None]
    assert len(network(found)["window"]["patch"]) == 2


def test_a_brain_cut_out_of_its_skull_is_cropped_and_scaled_by_itself() -> None:
    found = planned(case((240, 240, 155), (1, 1, 1), box_share=0.4), modalities=[None, None])
    assert steps(found)["crop-foreground"] == {"above": 0, "margin_mm": 2}
    assert steps(found)["z-score"] == {"foreground": "nonzero", "outside": "zero"}
    assert "40%" in found.reasons["preprocess.crop-foreground"]
    assert network(found)["channels"] == 2
    assert [each.name for each in found.file.inputs] == ["image", "flair"]
    assert "crop-foreground" not in steps(planned(case((240, 240, 155), (1, 1, 1), box_share=0.8)))


@pytest.mark.parametrize("shape", [(35, 50, 36), (320, 320, 5)])
def test_left_and_right_are_never_exchanged_where_labels_are_a_pair(shape: Sequence[int]) -> None:
    found = planned(case(shape, (1, 1, 1) if shape[2] == 36 else (0.5, 0.5, 7.5)), labels=KIDNEYS)
    assert "flip" not in augment(found)
    assert "mirror" not in network(found)
    assert found.reasons["segment.network.mirror"] == "none: 'left kidney' would become 'right kidney'"


def test_labels_that_overlap_have_channels_of_their_own() -> None:
    found = planned(case((35, 50, 36), (1, 1, 1)), labels=REGIONS)
    assert network(found)["head"] == "sigmoid"
    assert found.file.label_table() == REGIONS
    assert found.reasons["segment.network.head"] == "labels overlap"


def test_labels_keep_what_is_known_of_them() -> None:
    assert planned(case((35, 50, 36), (1, 1, 1))).file.label_table() == LIVER


def test_a_gpu_has_room_for_more() -> None:
    large = case((512, 512, 300), (0.8, 0.8, 1.5))
    sizes = [planned(large, machine=Machine(gpu=True, gpu_bytes=n << 30)) for n in (4, 10, 80)]
    cpu = planned(large)
    voxels = [
        patch[0] * patch[1] * patch[2]
        for patch in (network(found)["window"]["patch"] for found in (cpu, *sizes))
    ]
    assert voxels == sorted(set(voxels))
    assert voxels[0] == pytest.approx(64**3, rel=0.3)
    assert voxels[2] == pytest.approx(128**3, rel=0.3)
    assert dynunet(cpu).channels[0] == 16
    assert all(dynunet(found).channels[0] == 32 for found in sizes)
    assert all(max(dynunet(found).channels) == 320 for found in sizes)
    assert all(training(found).batch >= 2 for found in sizes)
    assert training(sizes[1]).steps_per_epoch == 250
    small = planned(case((35, 50, 36), (1, 1, 1)), machine=GPU)
    assert training(small).batch == 12
    assert network(small)["window"]["patch"] == [40, 56, 40]


def test_many_classes_and_little_memory_make_samples_smaller() -> None:
    """By the formula that is stated: bytes of features and of outputs for each voxel of the batch."""
    large = case((512, 512, 300), (0.8, 0.8, 1.5))
    many = LabelTable(tuple(Label(n, f"organ {n}") for n in range(1, 118)))
    for gib in (4, 10, 40, 80):
        machine = Machine(gpu=True, gpu_bytes=gib << 30)
        for labels in (LIVER, many):
            found = planned(large, labels=labels, machine=machine)
            voxels = math.prod(network(found)["window"]["patch"]) * training(found).batch
            bytes_ = voxels * (2560 + 32 * (1 + len(labels)))
            assert bytes_ < 1.3 * machine.gpu_bytes  # patches are in multiples
            assert f"about {(bytes_ + 2**30) / 1e9:.1f} GB of the GPU's" in found.reasons["training.batch"]
    few = planned(large, machine=GPU)
    assert math.prod(network(planned(large, labels=many, machine=GPU))["window"]["patch"]) < 0.7 * math.prod(
        network(few)["window"]["patch"]
    )
    roomy = Machine(gpu=True, gpu_bytes=80 << 30)
    assert training(planned(large, machine=roomy)).batch > training(few).batch
    assert "GB of memory" in planned(large).reasons["training.batch"]


@pytest.mark.parametrize("labels", [LIVER, KIDNEYS, REGIONS])
def test_every_reason_is_of_something_that_is_planned(labels: LabelTable) -> None:
    for found in (
        planned(case((35, 50, 36), (1, 1, 1)), labels=labels),
        planned(case((6, 200, 180), (8, 0.6, 0.6)), labels=labels, modalities=["CT"]),
        planned(case((300, 200, 1), (1, 1, 1), picture=True), labels=labels),
        planned(case((240, 240, 155), (1, 1, 1), box_share=0.4), labels=labels),
    ):
        places = {"segment.network.mirror"}  # a reason for none, too
        places |= {f"preprocess.{name}" for name in steps(found)}
        places |= {f"segment.network.{key}" for key in ("architecture", "head", "window.patch")}
        places |= {f"training.{key}" for key in ("batch", "augment", "loss")}
        assert set(found.reasons) <= places
        assert set(found.reasons) >= places - {"segment.network.mirror"}


SHAPES = st.tuples(*[st.integers(1, 600)] * 3)
SPACINGS = st.tuples(*[st.floats(0.0005, 10) | st.sampled_from([0.5, 1.0, 7.5])] * 3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shapes=st.lists(SHAPES, min_size=1, max_size=3),
    spacings=st.lists(SPACINGS, min_size=3, max_size=3),
    flat=st.booleans(),
    picture=st.booleans(),
    labels=st.sampled_from([LIVER, KIDNEYS, REGIONS]),
    machine=st.sampled_from([CPU, GPU, Machine(gpu=True, gpu_bytes=80 << 30)]),
    modality=st.sampled_from(["CT", None]),
)
def test_every_plan_is_one_that_can_be_trained(
    *,
    shapes: list[tuple[int, int, int]],
    spacings: list[tuple[float, float, float]],
    flat: bool,
    picture: bool,
    labels: LabelTable,
    machine: Machine,
    modality: str | None,
) -> None:
    cases = [
        case((i, j, 1), (1, 1, 1), picture=True) if picture else case((i, j, 1 if flat else k), spacing)
        for (i, j, k), spacing in zip(shapes, spacings, strict=False)
    ]
    found = planned(*cases, labels=labels, machine=machine, modalities=[modality])
    made = recipe(found.file, CATALOG)  # all names and parameters, the patch against the divisor
    axes = next(
        (str(call.parameters["to"]) for call in found.file.preprocess if call.name == "reorient"), "RAS"
    )
    assert len(made.bound_to(axes)) == len(made.augment)
