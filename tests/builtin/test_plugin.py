import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module

import pytest

from medseg.builtin import plugin
from medseg.plugin import Component
from medseg.steps import (
    Head,
    Loss,
    Measurement,
    Metric,
    Network,
    Postprocessor,
    Preprocessor,
    Segmenter,
    Step,
    Writer,
)

HOOKS: dict[str, tuple[type[Step], Iterable[Component], set[str]]] = {
    "preprocessor": (
        Preprocessor,
        plugin.medseg_preprocessors(),
        {
            "reorient",
            "resample",
            "crop-foreground",
            "crop-body",
            "pad",
            "clip",
            "ct-window",
            "z-score",
            "percentile-rescale",
            "dark-background",
            "rgb",
        },
    ),
    "segmenter": (Segmenter, plugin.medseg_segmenters(), {"threshold", "network"}),
    "network": (Network, plugin.medseg_networks(), {"unet", "attention-unet", "dynunet", "residual-unet"}),
    "head": (Head, plugin.medseg_heads(), {"softmax", "sigmoid"}),
    "loss": (
        Loss,
        plugin.medseg_losses(),
        {"cross-entropy", "dice", "dice-ce", "tversky", "focal", "boundary", "sum"},
    ),
    "postprocessor": (
        Postprocessor,
        plugin.medseg_postprocessors(),
        {
            *("keep-largest", "remove-small", "fill-holes", "open", "close", "erode", "dilate"),
            *("smooth-surface", "within", "sides", "split"),
        },
    ),
    "measurement": (
        Measurement,
        plugin.medseg_measurements(),
        {
            *("volumes", "shape", "diameters", "lesions", "volume-interval", "quality", "order"),
            *("histogram", "confidence", "objects"),
        },
    ),
    "writer": (
        Writer,
        plugin.medseg_writers(),
        {
            *("nifti", "csv", "json", "preview", "probabilities", "uncertainty"),
            "disagreement",
            *("rtstruct", "secondary-capture"),
            *("seg-nrrd", "itksnap-labels", "mesh", "key-images", "wide-table"),
            *("dicom-seg", "dicom-sr"),
        },
    ),
    "metric": (
        Metric,
        plugin.medseg_metrics(),
        {
            *("dice", "iou", "overall-iou", "sensitivity", "specificity", "pixel-accuracy", "volume-error"),
            *("hd", "hd95", "assd", "nsd", "boundary-iou", "cldice"),
            *("lesion-f1", "panoptic-quality", "average-precision", "ece", "brier"),
        },
    ),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_every_record_points_at_a_documented_component_of_its_kind(kind: str) -> None:
    parent, records, names = HOOKS[kind]
    found = list(records)
    assert {record.name for record in found} == names
    for record in found:
        assert record.fault(kind) is None
        module, _, name = record.target.partition(":")
        component = getattr(import_module(module), name)
        assert issubclass(component, parent)
        assert component.__doc__.strip()
        for field, about in component.model_fields.items():
            assert about.description, f"{record.name}.{field} has no docstring"
        assert re.fullmatch(r"[A-Z][^\n]{10,90}\.", record.summary)


def test_listing_imports_nothing_heavy() -> None:
    code = "import sys, medseg.builtin.plugin; print(*{'numpy', 'pydantic', 'torch'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not loaded.strip()
