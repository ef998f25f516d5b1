"""The step: parameters with types, defaults and docstrings."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Step"]


class Step(BaseModel):
    """Parameters of a component; unknown names are refused, values never change.

    The docstring under each field becomes its description in `medseg plugins show` and in the JSON Schema.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
