"""What a plugin's class subclasses: one file per kind of step.

A component *is* its parameters: a frozen pydantic model whose fields have types, defaults and docstrings, and
what it does with them. Weights and devices live in what it opens or builds, never in it.
"""

from medseg.steps.augmentation import Augmentation, IntensityAugmentation, SpatialAugmentation
from medseg.steps.head import Head
from medseg.steps.loss import Loss
from medseg.steps.measurement import Measurement
from medseg.steps.metric import Metric, ScoreMetric
from medseg.steps.network import Network
from medseg.steps.postprocessor import Postprocessor
from medseg.steps.preprocessor import Preprocessor
from medseg.steps.refiner import Refiner
from medseg.steps.segmenter import Predictor, Segmenter, TrainableSegmenter
from medseg.steps.step import Step
from medseg.steps.writer import Writer

__all__ = [
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
    "TrainableSegmenter",
    "Writer",
]
