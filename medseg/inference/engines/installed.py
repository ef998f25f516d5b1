"""Which optional libraries are here, found out without importing them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

__all__ = ["REMEDY", "missing", "versions"]

REMEDY = "pip install 'medseg[engines]'"


def missing(*libraries: str) -> str | None:
    """The first of these libraries that is not installed; None where all are."""
    return next((library for library in libraries if find_spec(library) is None), None)


def versions(*distributions: str) -> dict[str, str]:
    """The version of each distribution; "unknown" where an installation does not say."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
