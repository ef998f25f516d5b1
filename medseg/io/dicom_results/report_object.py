"""A structured report of measurements: Comprehensive 3D SR with the content of TID 1500, made by highdicom.

The object around the content is made as our others are, so that patient and study are taken over by name. It
is complete, preliminary and unverified: what a program says, and nobody has looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medseg.io.dicom_results.algorithm import algorithm_of
from medseg.io.dicom_results.identifiers import result_uid
from medseg.io.dicom_results.origin import MAKER
from medseg.io.dicom_results.references import Reference, studies
from medseg.io.dicom_results.report_groups import Entry, Group
from medseg.io.dicom_results.terms import SIDES, Code, Term, declare_codes

if TYPE_CHECKING:
    from highdicom.sr import (
        AlgorithmIdentification,
        ContentItem,
        FindingSite,
        Measurement,
        MeasurementReport,
        QualitativeEvaluation,
        ReferencedSegment,
    )
    from pydicom import Dataset

    from medseg.io.dicom_results.origin import Origin
    from medseg.prediction import Result

__all__ = ["COMMENT", "KIND", "NOTICE", "report_object"]

KIND = "dicom-sr"
CLASS = "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR Storage
NOTICE = "Research use only: made by a program, and looked at by nobody. Not for diagnosis."
COMMENT = Code("121106", "DCM", "Comment")
PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
CONTENT = (
    "ValueType",
    "ConceptNameCodeSequence",
    "ContinuityOfContent",
    "ContentTemplateSequence",
    "ContentSequence",
)


def report_object(
    groups: Sequence[Group], files: Mapping[int, Reference], origin: Origin, result: Result
) -> Dataset:
    """The report as a data set, ready to be saved; `files` has the file of each segment by its number."""
    made = origin.new(CLASS, modality="SR", kind=KIND, result=result, description="measurements")
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):  # a report lies nowhere
        if keyword in made:
            delattr(made, keyword)
    made.CompletionFlag, made.PreliminaryFlag, made.VerificationFlag = "COMPLETE", "PRELIMINARY", "UNVERIFIED"
    made.ReferencedPerformedProcedureStepSequence = []
    made.PerformedProcedureCodeSequence = []
    current, *other = studies(origin, files.values(), items="ReferencedSOPSequence")
    made.CurrentRequestedProcedureEvidenceSequence = [current]
    if other:
        made.PertinentOtherEvidenceSequence = other
    content = _content(groups, files, origin, result)[0]
    for keyword in CONTENT:
        made[keyword] = content[keyword]
    declare_codes(made)
    return made


# ------------------------------------------------------------------ content
def _content(
    groups: Sequence[Group], files: Mapping[int, Reference], origin: Origin, result: Result
) -> MeasurementReport:
    from highdicom.sr import (
        AlgorithmIdentification,
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes

    algorithm = algorithm_of(result.provenance)
    device = DeviceObserverIdentifyingAttributes(
        uid=result_uid(origin, result.provenance, "observer"),
        name=algorithm.name,
        manufacturer_name=MAKER,
        model_name=algorithm.source,
    )
    identified = AlgorithmIdentification(algorithm.name, algorithm.version, family=algorithm.family.concept())
    report = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=PROCEDURE.concept(),
        imaging_measurements=[_group(group, files, identified, origin) for group in groups],
    )
    source = result.volume.source
    for text in (NOTICE, *(source.decided if source is not None else ())):
        report[0].ContentSequence.append(_text(text, "CONTAINS"))
    return report


def _group(
    group: Group, files: Mapping[int, Reference], algorithm: AlgorithmIdentification, origin: Origin
) -> Any:
    """The container of a group: of a volume where it has a segment, else of measurements alone."""
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    about = {
        "tracking_identifier": TrackingIdentifier(uid=group.uid, identifier=group.name),
        "finding_type": group.term.type.concept(),
        "finding_category": group.term.category.concept(),
        "finding_sites": _sites(group.term),
        "algorithm_id": algorithm,
        "measurements": [_measurement(entry) for entry in group.entries if entry.unit is not None] or None,
        "qualitative_evaluations": [_evaluation(entry) for entry in group.entries if entry.unit is None]
        or None,
    }
    made: Any
    if group.segment is None:
        made = MeasurementsAndQualitativeEvaluations(**about)  # type: ignore[arg-type]
    else:
        segment = _segment(group.segment, files[group.segment], origin)
        made = VolumetricROIMeasurementsAndQualitativeEvaluations(**about, referenced_segment=segment)  # type: ignore[arg-type]
    if group.comment:
        made[0].ContentSequence.append(_text(group.comment, "CONTAINS"))
    return made


def _segment(number: int, file: Reference, origin: Origin) -> ReferencedSegment:
    from highdicom.sr import ReferencedSegment, SourceSeriesForSegmentation

    return ReferencedSegment(
        file.sop_class,
        file.sop_instance,
        number,
        source_series=SourceSeriesForSegmentation(str(origin.first.SeriesInstanceUID)),
    )


def _sites(term: Term) -> list[FindingSite] | None:
    """Where it is: the organ of a finding, or the side of a structure."""
    from highdicom.sr import FindingSite

    place, modifier = (term.region, term.region_modifier) if term.region else (term.type, term.modifier)
    if term.region is None and modifier is None:
        return None
    lateral = modifier in (SIDES["left"], SIDES["right"])
    concept = modifier.concept() if modifier is not None else None
    return [
        FindingSite(
            place.concept(),
            laterality=concept if lateral else None,
            topographical_modifier=None if lateral else concept,
        )
    ]


def _measurement(entry: Entry) -> Measurement:
    from highdicom.sr import Measurement

    assert entry.unit is not None
    assert not isinstance(entry.value, Code)
    derivation = entry.quantity.derivation
    made = Measurement(
        name=entry.quantity.name.concept(),
        value=entry.value,
        unit=entry.unit.concept(),
        derivation=None if derivation is None else derivation.concept(),
    )
    if entry.comment:
        _add(made[0], _text(entry.comment, "HAS PROPERTIES"))
    return made


def _evaluation(entry: Entry) -> QualitativeEvaluation:
    from highdicom.sr import QualitativeEvaluation

    assert isinstance(entry.value, Code)
    made = QualitativeEvaluation(entry.quantity.name.concept(), entry.value.concept())
    if entry.comment:
        _add(made[0], _text(entry.comment, "HAS PROPERTIES"))
    return made


def _add(item: Any, child: ContentItem) -> None:
    from highdicom.sr import ContentSequence

    if "ContentSequence" not in item:
        item.ContentSequence = ContentSequence()
    item.ContentSequence.append(child)


def _text(text: str, relationship: str) -> ContentItem:
    from highdicom.sr import TextContentItem

    return TextContentItem(COMMENT.concept(), text, relationship)
