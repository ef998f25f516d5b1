"""A network slid over a volume: windows, slabs, sinks, what PyTorch may use. For segmenters of plugins too.

Knows no head and no label name.
"""

from medseg.inference.activations import activation_bytes
from medseg.inference.objects import (
    Decoded,
    ObjectSink,
    decoding_bytes,
    largest_block,
    object_bytes,
    on_grid_bytes,
)
from medseg.inference.sinks import ArgmaxSink, ThresholdSink
from medseg.inference.streaming import Forward, stream
from medseg.inference.torch_runtime import torch_device, torch_runtime
from medseg.inference.windows import Windows

__all__ = [
    "ArgmaxSink",
    "Decoded",
    "Forward",
    "ObjectSink",
    "ThresholdSink",
    "Windows",
    "activation_bytes",
    "decoding_bytes",
    "largest_block",
    "object_bytes",
    "on_grid_bytes",
    "stream",
    "torch_device",
    "torch_runtime",
]
