"""`--series`: which series of a DICOM study is meant, as its UID or as a rule."""

from __future__ import annotations

import re

from pydantic import ValidationError

from medseg.config import SeriesRule, describe
from medseg.errors import UsageError, did_you_mean

__all__ = ["series_rule"]

UID = re.compile(r"[0-9.]+")
PAIR = re.compile(r'\s*(?P<key>[^=,"]*?)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^,"]*))\s*(?:,|$)')
LISTS = ("image_type",)


def series_rule(text: str) -> SeriesRule:
    """The rule that a text on the command line stands for.

        1.2.840.113619.2.55.3           a UID
        ...9.2.55.3                     its end, as `medseg info` shows it
        modality=CT,max_thickness_mm=3  fields of a rule, all of which must hold
        description="portal, thin"      quotes around a value that holds a comma
        image_type=ORIGINAL,image_type=AXIAL

    Raises UsageError for anything else, with the closest name for a typo.
    """
    written = text.strip()
    tail = written.lstrip(".…")
    if UID.fullmatch(tail):
        return _checked({"uid": tail}, text)
    if "=" not in written:
        raise UsageError(
            f"--series {text}: is neither a series UID (or its end) nor a rule, as in modality=CT"
        )
    values: dict[str, str | list[str]] = {}
    at = 0
    while at < len(written):
        pair = PAIR.match(written, at)
        if pair is None:
            raise UsageError(
                f"--series {text}: write key=value,key=value, with double quotes around a value with a comma"
            )
        _add(values, pair["key"], (pair["plain"] or "").strip() if pair["quoted"] is None else pair["quoted"])
        at = pair.end()
    return _checked(values, text)


def _add(values: dict[str, str | list[str]], key: str, value: str) -> None:
    """Note one value of a rule; those of a list may come several times."""
    if key not in SeriesRule.model_fields:
        raise UsageError(f"--series: there is no {key!r}{did_you_mean(key, SeriesRule.model_fields)}")
    if key not in LISTS and key in values:
        raise UsageError(f"--series: {key} is given twice")
    if not value:
        raise UsageError(f"--series: {key} has no value")
    if key in LISTS:
        values[key] = [*values.get(key, ()), value]
    else:
        values[key] = value.lstrip(".…") if key == "uid" else value


def _checked(values: dict[str, str | list[str]], text: str) -> SeriesRule:
    try:
        return SeriesRule.model_validate(values)
    except ValidationError as problem:
        raise UsageError(f"--series {text}: {describe(problem, SeriesRule)}") from problem
