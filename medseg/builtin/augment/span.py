"""Spans of numbers, from which every sample draws."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

__all__ = ["Factors", "Lengths", "Shares", "Span"]


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    low, high = span
    if low > high:
        raise ValueError(f"the first number ({low:g}) must not be above the second ({high:g})")
    return span


Amount = Annotated[float, Field(ge=0, le=1000)]
Factor = Annotated[float, Field(gt=0, le=100)]
Share = Annotated[float, Field(gt=0, le=1)]
Length = Annotated[float, Field(gt=0, le=10000)]

Span = Annotated[tuple[Amount, Amount], AfterValidator(_ordered)]
"""The smallest and the largest of amounts; both the same for one fixed amount."""

Factors = Annotated[tuple[Factor, Factor], AfterValidator(_ordered)]
"""The smallest and the largest of factors, which are above zero; 1 changes nothing."""

Shares = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
"""The smallest and the largest of shares, above zero and up to 1, which changes nothing."""

Lengths = Annotated[tuple[Length, Length], AfterValidator(_ordered)]
"""The shortest and the longest of lengths, which are above zero."""
