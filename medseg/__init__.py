"""medseg: from a DICOM series or a NIfTI file to masks and volumes. Research use only.

    import medseg

    result = medseg.segment("ct.nii.gz", model="ct-tissue")
    for row in result.measurements:
        print(row.label, row.quantity, row.value, row.unit)

Names are loaded on first use, so that `import medseg` and the command line's help stay light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.config import SeriesRule
    from medseg.errors import (
        GeometryError,
        InputError,
        MedsegError,
        ModelError,
        PipelineError,
        PluginError,
        ResourceError,
        UsageError,
    )
    from medseg.evaluation import evaluate
    from medseg.io import Policy, inspect, read
    from medseg.prediction import Measured, Plan, Prediction, Resources, Result, Scores, Sink, Wanted
    from medseg.run import segment, segment_cohort
    from medseg.segmentation import Label, LabelTable, Object, Segmentation
    from medseg.steps import (
        Augmentation,
        Head,
        IntensityAugmentation,
        Loss,
        Measurement,
        Metric,
        Network,
        Postprocessor,
        Predictor,
        Preprocessor,
        Refiner,
        ScoreMetric,
        Segmenter,
        SpatialAugmentation,
        Step,
        Writer,
    )
    from medseg.volume import Grid, Planes, Source, Volume

__version__ = "0.1.0"

HOMES = {
    "medseg.config": ("SeriesRule",),
    "medseg.errors": (
        "GeometryError",
        "InputError",
        "MedsegError",
        "ModelError",
        "PipelineError",
        "PluginError",
        "ResourceError",
        "UsageError",
    ),
    "medseg.evaluation": ("evaluate",),
    "medseg.io": ("Policy", "inspect", "read"),
    "medseg.prediction": (
        "Measured",
        "Plan",
        "Prediction",
        "Resources",
        "Result",
        "Scores",
        "Sink",
        "Wanted",
    ),
    "medseg.run": ("segment", "segment_cohort"),
    "medseg.segmentation": ("Label", "LabelTable", "Object", "Segmentation"),
    "medseg.steps": (
        "Augmentation",
        "Head",
        "IntensityAugmentation",
        "Loss",
        "Measurement",
        "Metric",
        "Network",
        "Postprocessor",
        "Predictor",
        "Preprocessor",
        "Refiner",
        "ScoreMetric",
        "Segmenter",
        "SpatialAugmentation",
        "Step",
        "Writer",
    ),
    "medseg.volume": ("Grid", "Planes", "Source", "Volume"),
}
_HOME_OF = {name: module for module, names in HOMES.items() for name in names}

__all__ = [
    "Augmentation",
    "GeometryError",
    "Grid",
    "Head",
    "InputError",
    "IntensityAugmentation",
    "Label",
    "LabelTable",
    "Loss",
    "Measured",
    "Measurement",
    "MedsegError",
    "Metric",
    "ModelError",
    "Network",
    "Object",
    "PipelineError",
    "Plan",
    "Planes",
    "PluginError",
    "Policy",
    "Postprocessor",
    "Prediction",
    "Predictor",
    "Preprocessor",
    "Refiner",
    "ResourceError",
    "Resources",
    "Result",
    "ScoreMetric",
    "Scores",
    "Segmentation",
    "Segmenter",
    "SeriesRule",
    "Sink",
    "Source",
    "SpatialAugmentation",
    "Step",
    "UsageError",
    "Volume",
    "Wanted",
    "Writer",
    "evaluate",
    "inspect",
    "read",
    "segment",
    "segment_cohort",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home module (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'medseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
