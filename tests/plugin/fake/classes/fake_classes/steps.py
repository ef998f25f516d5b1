"""Classes that are not what their records say."""

from collections.abc import Callable

from pydantic import ConfigDict, Field, model_validator

from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor, Preprocessor
from medseg.volume import Volume


def function() -> None:
    """Do nothing."""


class Plain:
    """Not a step."""


class Abstract(Postprocessor):
    """Without a body."""


class Other(Preprocessor):
    """Leave the image as it is."""

    def __call__(self, volume: Volume) -> Volume:
        return volume


class Fine(Postprocessor):
    """Leave labels as they are."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        return segmentation


class Lenient(Fine):
    """Accept any parameter."""

    model_config = ConfigDict(extra="ignore")


class Changeable(Fine):
    """Let parameters change."""

    model_config = ConfigDict(frozen=False)


class Undocumented(Fine):
    radius: float = 1.0


class BadDefault(Fine):
    """Refuse its own default."""

    radius: float = Field(default=-1.0, gt=0)
    """Radius in mm."""


class Fussy(Fine):
    """Fail while parameters are checked."""

    radius: float = 1.0
    """Radius in mm."""

    @model_validator(mode="after")
    def _fail(self) -> "Fussy":
        raise KeyError("absent")


class Unwritable(Fine):
    """Take what no file can hold."""

    call: Callable[[], int] | None = None
    """A function."""
