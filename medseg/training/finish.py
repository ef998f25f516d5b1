"""The end of a training: folds appraised, post-processing chosen, model and report written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.config import StepCall
from medseg.evaluation import metrics_named
from medseg.evaluation.summary import Statistics, summarise
from medseg.pipeline import Stage
from medseg.plugin.catalog import Catalog
from medseg.prediction import Resources
from medseg.steps import Metric
from medseg.training.account import Account
from medseg.training.appraisal import Appraised, Appraiser, Shown, chosen_steps, steps_of
from medseg.training.calibration import Calibration, calibrated
from medseg.training.dataset import Dataset
from medseg.training.model_folder import card_of, sha256_of, write_model
from medseg.training.recipe import Recipe
from medseg.training.run_folder import Begun, RunFolder
from medseg.training.wishes import Trained

__all__ = ["Finish", "metrics_for"]

METRICS = "dice, hd95"
METRICS_OF_OBJECTS = "dice, average-precision: {thresholds: [0.5, 0.75]}, panoptic-quality"
WORST = 4  # cases that the report draws


def metrics_for(recipe: Recipe, catalog: Catalog) -> tuple[Stage[Metric], ...]:
    """The metrics of a training: of labels, or of objects where these are told apart."""
    of_objects = recipe.segment.step.of_objects
    return metrics_named(METRICS_OF_OBJECTS if of_objects else METRICS, catalog)


@dataclass(frozen=True)
class Finish:
    """What is needed to finish a training whose folds have their weights."""

    run: RunFolder
    recipe: Recipe
    dataset: Dataset
    begun: Begun
    catalog: Catalog
    resources: Resources

    def __call__(self, name: str | None = None) -> Trained:
        """Write the model, called `name`, and the report; nothing where a fold is still to be trained.

        A fold is done when it is appraised: another command may be at it.
        """
        folds = range(len(self.begun.folds))
        missing = tuple(number for number in folds if not self._is_done(number))
        if missing:
            return Trained(None, None, missing=missing)
        appraised = [each for number in folds for each in self.appraised(number)]
        chosen = chosen_steps(appraised, [label.name for label in self.recipe.labels])
        kept = {number: self._kept(number) for number in folds}
        chosen, final = self._appraiser.together(appraised, chosen, kept)
        steps, measured = steps_of(chosen), summarise(each.rows for each in final)
        said = caveats(self.dataset, self.recipe, measured=bool(final), chosen=bool(chosen))
        calibration = self._calibration()
        self._write_model(name, steps, measured, said, calibration)
        told = Account(
            self.run, self.recipe, self.dataset, self.begun, self.resources.device, sentence(calibration)
        )
        told.write(final, chosen, self._worst(final, steps), said)
        return Trained(self.run.model, self.run.report, measured)

    def appraised(self, number: int) -> tuple[Appraised, ...]:
        """The validation cases of a fold, segmented by its weights and scored; done once."""
        held = self.begun.folds[number]
        if not held:
            return ()
        weights = self.run.weights(number)
        name = weights.relative_to(self.run.path).as_posix()
        return self._appraiser.appraise(
            [self.dataset.case(case) for case in held],
            self.recipe.file_with({name: sha256_of(weights)}),
            folder=self.run.path,
            fold=number,
            kept=self._kept(number),
        )

    def _is_done(self, number: int) -> bool:
        appraised = self._kept(number).with_suffix(".json").is_file() or not self.begun.folds[number]
        return appraised and self.run.weights(number).is_file()

    @property
    def _appraiser(self) -> Appraiser:
        return Appraiser(self.dataset, metrics_for(self.recipe, self.catalog), self.catalog, self.resources)

    def _kept(self, number: int) -> Path:
        """The predictions of a fold's validation cases."""
        return self.run.fold(number) / "validation"

    def _calibration(self) -> Calibration | None:
        """The temperature that held-out voxels ask for; None without any, or where nothing is gained."""
        head = self.recipe.segment.step.scores_head
        if head is None or not self.recipe.segment.step.calibrated(1.0):
            return None
        samples = (
            self._appraiser.calibration_sample(
                [self.dataset.case(case) for case in held], self._kept(number), head
            )
            for number, held in enumerate(self.begun.folds)
        )
        found = calibrated([sample for sample in samples if sample is not None])
        return found if found is not None and found.after[0] < found.before[0] else None

    def _write_model(
        self,
        name: str | None,
        steps: tuple[StepCall, ...],
        measured: Sequence[Statistics],
        limitations: Sequence[str],
        calibration: Calibration | None,
    ) -> None:
        count = len(self.begun.folds)
        cases = [case.id for case in self.dataset.trainable]
        card = card_of(
            name or f"{self.dataset.name}-{self.run.path.resolve().name}",
            dataset=self.dataset,
            recipe=self.recipe,
            trained_on=cases if count > 1 else [case for case in cases if case not in self.begun.folds[0]],
            measured=measured,
            how=f"{count}-fold cross-validation" if count > 1 else "held-out cases of the training data",
        )
        told = sentence(calibration)
        more = {"limitations": (*card.limitations, *limitations)}
        if told:
            more["evaluation"] = (*card.evaluation, f"{told[0].upper()}{told[1:]}.")
        card = card.model_copy(update=more)
        files = {
            "weights.safetensors" if count == 1 else f"fold{n}.safetensors": self.run.weights(n)
            for n in range(count)
        }
        temperature = None if calibration is None else calibration.temperature
        write_model(self.run.model, self.recipe, files, card, steps, temperature)

    def _worst(
        self, final: Sequence[Appraised], steps: Sequence[StepCall]
    ) -> Iterator[tuple[Appraised, Shown]]:
        """The cases with the lowest mean Dice, with what there is to draw."""

        def dice(each: Appraised) -> float:
            rows = [row.value for row in each.rows if row.quantity == "dice"]
            values = [value for value in rows if isinstance(value, int | float)]
            return sum(values) / len(values) if values else 1.0

        for each in sorted(final, key=dice)[:WORST]:
            yield each, self._appraiser.shown(each.case, self._kept(each.fold), steps)


def sentence(calibration: Calibration | None) -> str:
    """What a card and a report say of a calibration; empty without one."""
    if calibration is None:
        return ""
    (before, brier), (after, better) = calibration.before, calibration.after
    which = f"{calibration.voxels} held-out voxels about the labels"
    if calibration.crossed:
        which += ", each seen by the network of its own fold alone and not by the ensemble,"
    else:
        which += ", to which it was fitted,"
    return (
        f"logits are divided by the temperature {calibration.temperature:.3g}: on {which} the expected "
        f"calibration error is {after:.4f} instead of {before:.4f}, "
        f"the Brier score {better:.4f} instead of {brier:.4f}"
    )


def caveats(dataset: Dataset, recipe: Recipe, *, measured: bool, chosen: bool) -> tuple[str, ...]:
    """What must be known to read the numbers of a training, for its card and its report."""
    said = []
    if measured and not dataset.subjects_stated:
        said.append("Subjects are not stated: cases of one person may lie on both sides of a split.")
    by = "chosen by the same held-out cases that the numbers are of, which flatters them"
    if measured and recipe.spec.patience is not None:
        said.append(f"Weights were {by}.")
    if measured and chosen:
        said.append(f"Post-processing was {by}.")
    return tuple(said)
