"""The step: parameters with types, defaults and docstrings."""

import sys
from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Step"]


class Step(BaseModel):
    """Parameters of a component; unknown names are refused, values never change.

    The docstring under each field becomes its description in `medseg plugins show` and in the JSON Schema.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    libraries: ClassVar[Mapping[str, int]] = {}
    """Modules that are imported when the step is at work, each with the bytes that it then keeps in memory.

    For limits on memory. One that is loaded already counts nothing; those of a head are loaded when the
    network is opened.
    """

    label_fields: ClassVar[tuple[str, ...]] = ("labels",)
    """Parameters that name labels of the pipeline: a name, several, or a mapping by name.

    A pipeline in which one of them names no label is refused before anything is read.
    """

    @classmethod
    def library_bytes(cls) -> int:
        """What libraries will take that are not loaded yet, when the step is at work."""
        return sum(size for name, size in cls.libraries.items() if name not in sys.modules)
