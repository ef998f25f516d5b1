"""A training from end to end, in this process: folds, splits, labels, what is refused and when."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel  # noqa: TID253 - a test module
import numpy as np
import pytest
import trainings
import yaml
from datasets import nifti, nnunet, table

from medseg.errors import InputError, PipelineError, ResourceError, UsageError
from medseg.io.atomic import held_folder
from medseg.prediction import Resources
from medseg.training.run_folder import RunFolder
from medseg.training.train import planned, train
from medseg.training.wishes import Heard, Trained, Wishes

nibabel: Any = untyped_nibabel
CPU = Resources(device="cpu", threads=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return trainings.dataset(tmp_path / "data", cases=4)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return trainings.overlay(tmp_path / "tiny.yaml", steps_per_epoch=2)


def trained(data: Path, out: Path, pipeline: Path, heard: Heard | None = None, **wishes: Any) -> Trained:
    asked = Wishes(**{"epochs": 1, "pipeline": pipeline, **wishes})
    return train(data, out, wishes=asked, resources=CPU, heard=heard or Heard())


def pipeline_of(model: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load((model / "pipeline.yaml").read_text())
    return content


def validated_cases(run: Path, fold: int) -> list[str]:
    return [each["case"] for each in json.loads((run / f"fold{fold}" / "validation.json").read_text())]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_folds_become_an_ensemble_and_may_be_trained_one_by_one(
    data: Path, tiny: Path, tmp_path: Path
) -> None:
    who = table(tmp_path / "who.csv", "case,subject", "case0,A", "case1,B", "case2,A", "case3,B")
    wishes: dict[str, Any] = {"folds": 2, "subjects": who}
    done = trained(data, tmp_path / "all", tiny, **wishes)
    assert done.model is not None
    held = [validated_cases(tmp_path / "all", fold) for fold in (0, 1)]
    assert sorted(map(sorted, held)) == [["case0", "case2"], ["case1", "case3"]]
    weights = pipeline_of(done.model)["segment"]["network"]["weights"]
    assert [each["path"] for each in weights] == ["fold0.safetensors", "fold1.safetensors"]
    assert weights[0]["sha256"] != weights[1]["sha256"]
    assert {row.n for row in done.measured if row.label == "large" and row.metric == "dice"} == {4}
    assert "2-fold cross-validation" in (done.model / "card.yaml").read_text()

    first = trained(data, tmp_path / "each", tiny, fold=1, **wishes)
    assert (first.model, first.missing) == (None, (0,))
    assert not (tmp_path / "each" / "model").exists()
    last = trained(data, tmp_path / "each", tiny, fold=0, resume=True, **wishes)
    assert last.model is not None
    assert pipeline_of(last.model) == pipeline_of(done.model)
    assert last.measured == done.measured


def test_a_fold_is_trained_by_one_command_at_a_time(data: Path, tiny: Path, tmp_path: Path) -> None:
    """While it trains, the same fold is refused and nothing is cleared; another fold may be trained."""
    run, refused = tmp_path / "run", []

    def meanwhile(row: object, fold: int) -> None:
        before = files(run)
        for wishes in ({"resume": True}, {"resume": True, "fold": 0, "folds": 2}, {"overwrite": True}):
            with pytest.raises(ResourceError, match="fold0: another run is writing into it") as told:
                trained(data, run, tiny, **wishes)
            refused.append(str(told.value))
        assert files(run) == before

    with held_folder(run / "fold1"):  # by a command that began at the same time
        done = trained(data, run, tiny, Heard(epoch=meanwhile), folds=2, fold=0)
        assert done.missing == (1,)
    assert len(refused) == 3
    assert all("\n" not in line for line in refused)
    (run / "fold0" / "validation.json").unlink()  # as while it is appraised still
    assert trained(data, run, tiny, folds=2, fold=1, resume=True).missing == (0,)
    assert trained(data, run, tiny, folds=2, fold=0, resume=True).model is not None


def test_what_was_stopped_while_it_prepared_can_be_begun_anew(data: Path, tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    wishes: dict[str, Any] = {"seconds": 0.001, "epochs": None, "overwrite": True}
    with pytest.raises(UsageError, match="no time is left"):
        trained(data, run, tiny, **wishes)
    before = (run / "cases" / "case0" / "image.npy").stat().st_mtime_ns
    with pytest.raises(UsageError, match="no time is left"):
        trained(data, run, tiny, **wishes)
    assert (run / "cases" / "case0" / "image.npy").stat().st_mtime_ns > before


def test_without_validation_it_trains_on_all_and_claims_nothing(
    data: Path, tiny: Path, tmp_path: Path
) -> None:
    done = trained(data, tmp_path / "run", tiny, validation=0)
    assert done.measured == ()
    assert done.model is not None
    card = yaml.safe_load((done.model / "card.yaml").read_text())
    assert card["training_data"][0].startswith("spheres: 4 cases (subjects are not stated)")
    assert not card.get("evaluation")
    assert "dice_mean" not in trainings.rows(tmp_path / "run")[0]
    assert (tmp_path / "run" / "report.html").is_file()


def test_subjects_that_nobody_states_are_told_of(data: Path, tiny: Path, tmp_path: Path) -> None:
    """On the terminal, on the card and in the report."""
    told: list[str] = []
    done = trained(data, tmp_path / "run", tiny, Heard(tell=told.append))
    assert sum("no subjects are stated" in line for line in told) == 1
    assert done.model is not None
    assert done.report is not None
    said = "Subjects are not stated: cases of one person may lie on both sides of a split."
    assert said in yaml.safe_load((done.model / "card.yaml").read_text())["limitations"]
    assert said in done.report.read_text()


def test_a_finished_run_keeps_a_card_that_was_edited(data: Path, tiny: Path, tmp_path: Path) -> None:
    trained(data, tmp_path / "run", tiny)
    card = tmp_path / "run" / "model" / "card.yaml"
    edited = card.read_text().replace("version: 0.1.0", "version: 1.0.0")
    card.write_text(edited)
    trained(data, tmp_path / "run", tiny, resume=True)
    assert card.read_text() == edited


def test_one_subject_leaves_none_to_validate_with(data: Path, tiny: Path, tmp_path: Path) -> None:
    who = table(tmp_path / "who.csv", "case,subject", *(f"case{n},A" for n in range(4)))
    told: list[str] = []
    done = trained(data, tmp_path / "run", tiny, Heard(tell=told.append), subjects=who)
    assert done.measured == ()
    assert any("none is left to validate with" in line for line in told)


def test_ignored_voxels_are_neither_drawn_nor_scored(data: Path, tmp_path: Path) -> None:
    """What an untrained network says where nothing is known is not held against it."""
    for number in range(4):
        _, mask = trainings.spheres(number)
        mask[:, :, :5] = 9
        nifti(data / "labels" / f"case{number}.nii.gz", mask, np.eye(4))
    table(data / "dataset.yaml", "labels: [large, small]", "ignore: 9")
    untrained = trainings.overlay(tmp_path / "tiny.yaml", steps_per_epoch=1, rate="1e-9")
    done = trained(data, tmp_path / "run", untrained)
    valid = np.load(tmp_path / "run" / "cases" / "case0" / "valid.npy")
    assert (valid[0, :, :, :5] == 0).all()
    assert (valid[0, :, :, 5:] == 1).all()
    places = np.load(tmp_path / "run" / "cases" / "case0" / "places.npy")
    assert np.unravel_index(places, (24, 24, 24))[2].min() == 5
    (case,) = json.loads((tmp_path / "run" / "fold0" / "validation.json").read_text())
    kept = np.load(tmp_path / "run" / "fold0" / "validation" / f"{case['case']}.npz")["labels"]
    assert not kept[..., :5].any()
    assert kept[..., 5:].any()
    assert done.model is not None


def test_regions_that_overlap_are_trained_as_such(tmp_path: Path, tiny: Path) -> None:
    folder = nnunet(
        tmp_path / "data",
        [trainings.spheres(n)[1] for n in range(3)],
        channels=["MRI"],
        names={"background": 0, "whole": [1, 2], "core": 2},
        regions_class_order=[1, 2],
    )
    for number in range(3):  # images as large as the masks
        image = trainings.spheres(number)[0]
        nifti(folder / "imagesTr" / f"case_{number}_0000.nii.gz", image, np.eye(4))
        nifti(folder / "labelsTr" / f"case_{number}.nii.gz", trainings.spheres(number)[1], np.eye(4))
    made, _, _ = planned(folder, Wishes(pipeline=tiny), CPU)
    assert made.file.segment.parameters["head"] == "sigmoid"
    done = trained(folder, tmp_path / "run", tiny)
    assert done.model is not None
    assert {row.label for row in done.measured} >= {"whole", "core"}
    labels = pipeline_of(done.model)["labels"]
    assert {each["name"] for each in labels.values()} == {"whole", "core"}


def test_what_it_began_with_stays(data: Path, tiny: Path, tmp_path: Path) -> None:
    """A resumed training with other data, seed, length, folds or pipeline is refused."""
    out = tmp_path / "run"
    trained(data, out, tiny)
    before = files(out)
    other = trainings.overlay(tmp_path / "other.yaml", steps_per_epoch=3)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"seed": 5}, "was begun with --seed 0"),
        ({"epochs": 7}, "was begun with --epochs 1"),
        ({"folds": 3}, "was begun with 1 folds"),
        ({"fold": 3}, "--fold 3: there are folds 0 to 0"),
        ({"pipeline": other}, "was begun with another --pipeline"),
    ]
    for wishes, said in refused:
        with pytest.raises(UsageError, match=said):
            trained(data, out, **{"pipeline": tiny, "resume": True, **wishes})
    image, _ = trainings.spheres(77)
    nifti(data / "images" / "case2.nii.gz", image, np.eye(4))
    with pytest.raises(UsageError, match="was begun with other images or labels"):
        trained(data, out, tiny, resume=True)
    assert files(out) == before


def test_strata_stay_where_they_decide_what_is_drawn(data: Path, tmp_path: Path) -> None:
    def strata(name: str, *kinds: str) -> Path:
        rows = [f"case{n},{n},{kind}" for n, kind in enumerate(kinds)]
        return table(tmp_path / name, "case,subject,stratum", *rows)

    told: list[str] = []
    heard = Heard(tell=told.append)
    nothing = "training.balance changes nothing: all cases are of one stratum"
    pipeline = trainings.overlay(tmp_path / "balanced.yaml", steps_per_epoch=2, balance=0.5)
    trained(data, tmp_path / "run", pipeline, heard, subjects=strata("a.csv", "x", "y", "y", ""))
    assert nothing not in told
    with pytest.raises(UsageError, match="was begun with other strata of cases"):
        trained(data, tmp_path / "run", pipeline, resume=True, subjects=strata("b.csv", "x", "x", "y", ""))
    trained(data, tmp_path / "one", pipeline, heard)
    assert nothing in told


def test_a_folder_with_something_in_it_is_refused(data: Path, tiny: Path, tmp_path: Path) -> None:
    table(tmp_path / "mine" / "thesis.txt", "all of it")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"is not empty|holds no training"):
            trained(data, tmp_path / "mine", tiny, overwrite=overwrite)
    assert files(tmp_path / "mine") == ["thesis.txt"]


def test_a_fold_that_is_not_there_is_refused_before_anything_is_written(
    data: Path, tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--fold 2: there are folds 0 to 1"):
        trained(data, tmp_path / "run", tiny, folds=2, fold=2)
    assert files(tmp_path / "run") == []


@pytest.mark.parametrize("how", ["cut", "absent mask", "not finite"])
def test_a_broken_image_is_told_by_its_case_and_nothing_is_left(
    data: Path, tiny: Path, tmp_path: Path, how: str
) -> None:
    path = data / "images" / "case2.nii.gz"
    sound = path.read_bytes()
    if how == "cut":
        path.write_bytes(sound[:200])
    elif how == "not finite":
        nifti(path, np.full((24, 24, 24), np.nan, np.float32), np.eye(4))
    else:
        (data / "labels" / "case2.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="case2") as told:
        trained(data, tmp_path / "run", tiny)
    assert "\n" not in str(told.value)
    assert files(tmp_path / "run") == []


def test_orientations_must_agree(data: Path, tmp_path: Path) -> None:
    path = data / "images" / "case1.nii.gz"
    for file in (path, data / "labels" / "case1.nii.gz"):
        array = np.asarray(nibabel.load(file).dataobj)
        nifti(file, array[::-1].copy(), np.diag([-1.0, 1, 1, 1]))
    as_it_lies = trainings.overlay(tmp_path / "lies.yaml")
    as_it_lies.write_text(as_it_lies.read_text() + "preprocess: [z-score]\n")
    with pytest.raises(InputError, match=r"different orientations \(LAS, RAS\)"):
        trained(data, tmp_path / "run", as_it_lies)


def test_a_dataset_without_labels_has_nothing_to_train_on(tmp_path: Path, tiny: Path) -> None:
    folder = nnunet(tmp_path / "data", [], channels=["MRI"], names={"background": 0, "box": 1})
    with pytest.raises(InputError):
        trained(folder, tmp_path / "run", tiny)
    assert not (tmp_path / "run").exists()


def test_half_precision_needs_a_gpu(data: Path, tmp_path: Path) -> None:
    half = trainings.overlay(tmp_path / "half.yaml", precision="fp16")
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        trained(data, tmp_path / "run", half)


def test_a_pipeline_file_cannot_exchange_the_labels_of_the_masks(
    data: Path, tiny: Path, tmp_path: Path
) -> None:
    swapped = tmp_path / "swapped.yaml"
    swapped.write_text(tiny.read_text() + "labels: {1: {name: small}, 2: {name: large}}\n", encoding="utf-8")
    with pytest.raises(PipelineError, match="labels: 1 is 'small' here, and 'large' in the dataset"):
        trained(data, tmp_path / "run", swapped, epochs=1)
    assert not (tmp_path / "run" / "cases").exists()
    coloured = tmp_path / "coloured.yaml"
    coloured.write_text(tiny.read_text() + "labels: {1: {colour: '#112233'}}\n", encoding="utf-8")
    made, _, paths = planned(data, Wishes(pipeline=coloured, epochs=1), Resources(device="cpu"))
    assert made.file.labels[1].colour == "#112233"
    assert "labels.1.colour" in paths


def test_cases_are_prepared_anew_when_their_masks_mean_something_else(
    data: Path, tiny: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(UsageError, match="no time is left"):
        trained(data, run, tiny, seconds=0.001, epochs=None)
    assert not (run / "training.json").exists()
    before = np.load(run / "cases" / "case0" / "labels.npy")
    table = data / "dataset.yaml"
    table.write_text("name: spheres\nlabels: {large: [1, 2], small: 3}\n", encoding="utf-8")
    done = trained(data, run, tiny, epochs=1, resume=True)
    after = np.load(run / "cases" / "case0" / "labels.npy")
    assert done.model is not None
    assert (before == 2).any()
    assert not (after == 2).any()
    assert ((before > 0) == (after == 1)).all()


def test_the_pipeline_files_epochs_are_a_budget(data: Path, tiny: Path, tmp_path: Path) -> None:
    told: list[str] = []
    file = tmp_path / "epochs.yaml"
    file.write_text(tiny.read_text() + "  epochs: 2\n", encoding="utf-8")
    trained(data, tmp_path / "run", file, Heard(tell=told.append), epochs=None)
    begun = RunFolder(tmp_path / "run").begun()
    assert begun is not None
    assert (begun.epochs, begun.seconds) == (2, None)
    assert not any("budget" in line for line in told)


def test_a_short_time_has_short_epochs(data: Path, tmp_path: Path) -> None:
    """A plan's 50 steps on a CPU are for half an hour and more."""
    for seconds, steps in ((None, 50), (3600.0, 50), (900.0, 25), (20.0, 5)):
        made, _, _ = planned(data, Wishes(seconds=seconds), CPU)
        assert made.file.training is not None
        assert made.file.training.steps_per_epoch == steps
        assert ("training.steps_per_epoch" in made.reasons) == (steps < 50)
    said = trainings.overlay(tmp_path / "said.yaml", steps_per_epoch=40)
    made, _, _ = planned(data, Wishes(seconds=20.0, pipeline=said), CPU)
    assert made.file.training is not None
    assert made.file.training.steps_per_epoch == 40
