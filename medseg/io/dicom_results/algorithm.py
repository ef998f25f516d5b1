"""Which algorithm made a result, as DICOM objects say it: the model's name and version, and its family."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from medseg.io.dicom_results.origin import MAKER, one_line
from medseg.io.dicom_results.terms import Code, private

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence

__all__ = ["Algorithm", "algorithm_of"]

LEARNT = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162, which may be extended
RULES = private("Published rules, nothing learnt")


class Algorithm(NamedTuple):
    """What made a result; `source` is the program that ran it."""

    name: str
    version: str
    family: Code
    source: str

    def sequence(self) -> AlgorithmIdentificationSequence:
        """The same as highdicom has it."""
        from highdicom import AlgorithmIdentificationSequence

        return AlgorithmIdentificationSequence(
            name=self.name, family=self.family.concept(), version=self.version, source=self.source
        )


def algorithm_of(provenance: Mapping[str, Any]) -> Algorithm:
    """The model of a run; of one without a version of its own, with that of medseg."""
    model = provenance.get("model") or {}
    own = version("medseg")
    segmenter = str((provenance.get("pipeline") or {}).get("segment", ""))
    return Algorithm(
        name=one_line(model.get("name") or MAKER),
        version=one_line(model.get("version") or own),
        family=LEARNT if "sha256" in segmenter else RULES,
        source=one_line(f"{MAKER} {own}"),
    )
