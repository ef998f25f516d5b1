"""Names of the maps of several losses side by side: each loss's own, with its number in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["numbered", "of_number"]

V = TypeVar("V")


def numbered(number: int, maps: Mapping[str, V]) -> dict[str, V]:
    """A loss's maps by names that no other number has."""
    return {f"{number}-{name}": values for name, values in maps.items()}


def of_number(number: int, maps: Mapping[str, V]) -> dict[str, V]:
    """Of all maps those of one loss, by the names that it gave them."""
    prefix = f"{number}-"
    return {name.removeprefix(prefix): values for name, values in maps.items() if name.startswith(prefix)}
