"""The end of a training: folds appraised, post-processing chosen, model and report written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medseg.config import StepCall
from medseg.evaluation import metrics_named
from medseg.evaluation.summary import Statistics, summarise
from medseg.plugin.catalog import Catalog
from medseg.prediction import Resources
from medseg.training.account import Account, Shown
from medseg.training.appraisal import Appraised, Appraiser, calls, chosen_steps, predicted
from medseg.training.dataset import Dataset
from medseg.training.model_folder import card_of, sha256_of, write_model
from medseg.training.recipe import Recipe
from medseg.training.run_folder import Begun, RunFolder
from medseg.training.wishes import Trained

__all__ = ["Finish"]

METRICS = "dice, hd95"
WORST = 4  # cases that the report draws


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
        """Write the model, called `name`, and the report; nothing where a fold is still to be trained."""
        folds = range(len(self.begun.folds))
        missing = tuple(number for number in folds if not self.run.weights(number).is_file())
        if missing:
            return Trained(None, None, missing=missing)
        appraised = [each for number in folds for each in self.appraised(number)]
        chosen = chosen_steps(appraised, [label.name for label in self.recipe.labels])
        measured = summarise(each.with_steps(chosen) for each in appraised)
        self._write_model(name, chosen, measured)
        told = Account(self.run, self.recipe, self.dataset, self.begun, self.resources.device)
        told.write(appraised, chosen, self._worst(appraised, chosen))
        return Trained(self.run.model, self.run.report, measured)

    def appraised(self, number: int) -> tuple[Appraised, ...]:
        """The validation cases of a fold, segmented by its weights and scored; done once."""
        held = self.begun.folds[number]
        if not held:
            return ()
        weights = self.run.weights(number)
        name = weights.relative_to(self.run.path).as_posix()
        metrics = metrics_named(METRICS, self.catalog)
        return Appraiser(self.dataset, metrics, self.catalog, self.resources).appraise(
            [self.dataset.case(case) for case in held],
            self.recipe.file_with({name: sha256_of(weights)}),
            folder=self.run.path,
            fold=number,
            kept=self.run.fold(number) / "validation",
        )

    def _write_model(
        self, name: str | None, chosen: Mapping[str, str], measured: Sequence[Statistics]
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
        steps: list[StepCall] = []
        for candidate in dict.fromkeys(chosen.values()):
            steps += calls(candidate, *(label for label, own in chosen.items() if own == candidate))
        files = {
            "weights.safetensors" if count == 1 else f"fold{n}.safetensors": self.run.weights(n)
            for n in range(count)
        }
        write_model(self.run.model, self.recipe, files, card, tuple(steps))

    def _worst(
        self, appraised: Sequence[Appraised], chosen: Mapping[str, str]
    ) -> Iterator[tuple[Appraised, Shown]]:
        """The cases with the lowest mean Dice, with what there is to draw."""

        def dice(each: Appraised) -> float:
            rows = [row.value for row in each.with_steps(chosen) if row.quantity == "dice"]
            values = [value for value in rows if isinstance(value, int | float)]
            return sum(values) / len(values) if values else 1.0

        for each in sorted(appraised, key=dice)[:WORST]:
            kept = self.run.fold(each.fold) / "validation"
            yield each, predicted(kept, self.dataset.case(each.case), self.dataset)
