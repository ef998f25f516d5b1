"""PyTorch as an engine: the network as it was built, on a processor or a GPU."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from medseg.allocator import freed_memory_is_kept
from medseg.errors import PluginError
from medseg.inference.engines.engine import Engine, Floats
from medseg.inference.engines.export import Work, taking
from medseg.inference.torch_runtime import plain_words, torch_device
from medseg.prediction import Resources

if TYPE_CHECKING:
    import torch

__all__ = ["TorchEngine"]

LIBRARY_BYTES = 64 << 20  # code and buffers that PyTorch takes at its first pass; measured 20 to 57 MiB
# In single precision oneDNN copies what a convolution reads and writes: measured 1.2 to 1.7 times the
# activations. Where freed memory is kept, blocks that do not fit pile up: 1.1 to 2.8 times.
REORDERED, REORDERED_AND_KEPT = 1.65, 2.8


class TorchEngine(Engine):
    """A network run by PyTorch; half precisions by autocast, which keeps normalisation and sums in single."""

    name = "torch"

    def __init__(
        self,
        member: torch.nn.Module,
        work: Work | None,
        *,
        resources: Resources,
        precision: str,
        notes: tuple[str, ...] = (),
    ) -> None:
        import torch

        self._device = torch_device(resources)
        self._resources = resources
        self._member = member.to(self._device).eval()
        self._half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self.device, self.precision, self.notes = str(self._device), precision, notes
        self._taken = False  # whether it has taken a window
        if work is not None and self._device.type == "cpu":
            factor = 1.0 if self._half else REORDERED_AND_KEPT if freed_memory_is_kept() else REORDERED
            converted = work.weights // 2 if self._half else 0  # kept by autocast for the length of a pass
            self.pass_bytes = int(factor * work.activations) + converted + LIBRARY_BYTES

    def __call__(self, images: Floats) -> Floats:
        """One pass."""
        return self._fetched(self.infer(self._sent(images)))

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """One pass over windows that lie on the device; logits stay there, in half precision as they come.

        A GPU has them in its queue then, and may not have computed them yet.
        """
        import torch

        with ExitStack() as stack:  # these three hold for one thread, and the caller's may be another
            stack.enter_context(torch.inference_mode())
            stack.enter_context(plain_words(self._resources))
            if self._half is not None:
                stack.enter_context(torch.autocast(self._device.type, dtype=self._half))
            if not self._taken:
                stack.enter_context(taking(images.shape[2:]))
            given: object = self._member(images)
            if not isinstance(given, torch.Tensor):
                raise PluginError(f"the network gave {type(given).__name__}, not a tensor of logits")
            if given.ndim != images.ndim or (len(given), *given.shape[2:]) != (
                len(images),
                *images.shape[2:],
            ):
                raise PluginError(
                    f"the network gave {list(given.shape)}, not logits of "
                    f"{[len(images), 'K', *images.shape[2:]]}".replace("'", "")
                )
            self._taken = True
            return given

    def _sent(self, images: Floats) -> torch.Tensor:
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(images))
        if self._device.type != "cuda":
            return batch
        return batch.pin_memory().to(self._device, non_blocking=True)

    def _fetched(self, logits: torch.Tensor) -> Floats:
        import torch

        with torch.inference_mode(), plain_words(self._resources):
            if self._device.type != "cuda":
                found: Floats = logits.float().numpy()
                return found
            pinned = torch.empty(logits.shape, dtype=torch.float32, pin_memory=True)
            pinned.copy_(logits, non_blocking=True)
            torch.cuda.current_stream(self._device).synchronize()
            fetched: Floats = pinned.numpy()
            return fetched
