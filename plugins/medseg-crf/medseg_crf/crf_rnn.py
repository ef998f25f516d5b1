"""The network `crf-rnn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import Field

from medseg.errors import PipelineError
from medseg.steps import Network

if TYPE_CHECKING:
    import torch

__all__ = ["CrfRnn"]

Sd = Annotated[float, Field(gt=0, le=100)]
Reach = Annotated[int, Field(ge=0, le=20)]
N = TypeVar("N", int, float)


class CrfRnn(Network):
    """Any network with mean-field updates after it that are trained with it (Zheng et al., ICCV 2015).

    Two kernels, one of distance and one of distance and intensity, the second within a window (Teichmann and
    Cipolla, 2018). Trained are the weight of each and how well labels go together, from those given here and
    the Potts model; gradients go through the updates into the network. Lengths are in voxels, as all lengths
    in a network are: it sees no millimetres, and its voxels are what `resample` makes them.
    """

    architecture: Network
    """The network that gives the logits: a name, or a name with parameters."""

    iterations: int = Field(default=5, ge=1, le=100)
    """Updates of the mean field."""

    intensity: float = Field(default=0.5, gt=0)
    """Standard deviation of the appearance kernel in the unit of the image after `preprocess`. Twice the
    noise is a good start; 0.5 suits images of standard deviation 1."""

    appearance_voxels: Sd | tuple[Sd, ...] = 3.0
    """Standard deviation of the appearance kernel in voxels: a number, or one per axis."""

    appearance_weight: float = Field(default=1.0, ge=0, le=1000)
    """What voxels of like intensity count at first."""

    reach: Reach | tuple[Reach, ...] | None = None
    """Voxels on each side that the appearance kernel reaches: a number, or one per axis; 5 in 2-D and 2 in
    3-D if left out."""

    smooth_voxels: Sd | tuple[Sd, ...] = 1.0
    """Standard deviation of the smoothness kernel in voxels: a number, or one per axis."""

    smooth_weight: float = Field(default=1.0, ge=0, le=1000)
    """What near voxels count at first, whatever their intensity."""

    guides: Annotated[tuple[int, ...], Field(max_length=64)] = ()
    """Channels of the image that the appearance kernel looks at, counted from 0; all if left out."""

    exclusive: bool = True
    """Whether labels and background compete, as with the head softmax; false for the head sigmoid."""

    @property
    def channels_last(self) -> bool:
        """As the network itself."""
        return self.architecture.channels_last

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        """Those of the network itself."""
        for name in ("appearance_voxels", "smooth_voxels", "reach"):
            given = getattr(self, name)
            if isinstance(given, tuple) and len(given) != dims:
                raise ValueError(f"{name} has {len(given)} numbers, and the patch has {dims} axes")
        return self.architecture.divisor(dims=dims)

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        """The network and the layer; the layer's weights are called `field.…`, the network's `network.…`."""
        wrong = next((each for each in self.guides if not 0 <= each < inputs), None)
        if wrong is not None:
            raise PipelineError(
                f"guides: the network's input has {inputs} channels, counted from 0, and no {wrong}"
            )
        if self.exclusive and outputs == 1:
            raise PipelineError("exclusive: one channel competes with none; give `exclusive: false`")
        from medseg_crf.crf_layer import CrfLayer, Kernels, WithCrf

        reach = (5 if dims == 2 else 2) if self.reach is None else self.reach
        kernels = Kernels(
            smooth=_per_axis(self.smooth_voxels, dims),
            appearance=_per_axis(self.appearance_voxels, dims),
            reach=_per_axis(reach, dims),
            intensity=self.intensity,
            guides=self.guides or tuple(range(inputs)),
        )
        field = CrfLayer(
            outputs,
            kernels,
            (self.smooth_weight, self.appearance_weight),
            iterations=self.iterations,
            exclusive=self.exclusive,
        )
        return WithCrf(self.architecture.build(dims=dims, inputs=inputs, outputs=outputs), field)


def _per_axis(given: N | tuple[N, ...], dims: int) -> tuple[N, ...]:
    return given if isinstance(given, tuple) else (given,) * dims
