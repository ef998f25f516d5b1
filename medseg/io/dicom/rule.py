"""Series rules: which of a study's series a rule means, and what to type to mean one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from medseg.errors import UsageError

if TYPE_CHECKING:
    from medseg.config import SeriesRule
    from medseg.io.dicom.choose import Series

__all__ = ["conditions", "meant_by", "selector", "told"]

ROUNDING_MM = 0.01  # slice distances come from positions with two decimals
TAIL = 8  # digits of a UID, as `medseg info` shows them
MOST_DIGITS = 64  # of a UID


def _at_least(series: Series, least: float) -> bool:
    return series.thickness is not None and series.thickness >= least - ROUNDING_MM


def _at_most(series: Series, most: float) -> bool:
    return series.thickness is not None and series.thickness <= most + ROUNDING_MM


def _described(series: Series, expression: str) -> bool:
    try:
        return re.search(expression, series.description, re.IGNORECASE) is not None
    except re.error as problem:
        raise UsageError(
            f"--series: description={expression!r} is no regular expression: {problem}"
        ) from problem


def _typed(series: Series, values: Sequence[str]) -> bool:
    return {value.strip().upper() for value in values} <= set(series.image_type)


Test = Callable[["Series", Any], bool]
TESTS: dict[str, Test] = {
    "uid": lambda series, uid: series.uid.endswith(uid),
    "modality": lambda series, modality: series.modality.upper() == modality.strip().upper(),
    "description": _described,
    "image_type": _typed,
    "orientation": lambda series, word: series.orientation == word,
    "min_thickness_mm": _at_least,
    "max_thickness_mm": _at_most,
    "min_slices": lambda series, least: series.slices >= least,
}


def conditions(rule: SeriesRule) -> dict[str, Any]:
    """What a rule asks for, by the name of each condition that is set."""
    return {name: value for name in TESTS if (value := getattr(rule, name)) not in (None, ())}


def meant_by(rule: SeriesRule, series: Sequence[Series]) -> tuple[list[Series], str]:
    """The series for which all of a rule holds, and in words the condition that left none, if one did.

    A UID that is given in full means itself only, though another may end with it.
    """
    kept = list(series)
    asked = conditions(rule)
    if any(each.uid == asked.get("uid") for each in kept):
        kept = [each for each in kept if each.uid == asked["uid"]]
    for name, value in asked.items():
        left = [each for each in kept if TESTS[name](each, value)]
        if not left:
            before = (
                f" among the {len(kept)} that the rest of the rule leaves" if len(kept) < len(series) else ""
            )
            return [], f"no series has {told({name: value})}{before}"
        kept = left
    return kept, ""


def told(asked: dict[str, Any]) -> str:
    """Conditions as they are typed: `modality=CT,min_slices=20`."""
    words = []
    for name, value in asked.items():
        for each in value if isinstance(value, tuple) else (value,):
            text = f"{each:g}" if isinstance(each, float) else str(each)
            words.append(f'{name}="{text}"' if set(text) & set(', ="') else f"{name}={text}")
    return ",".join(words)


def selector(series: Series, among: Sequence[Series]) -> str:
    """What `--series` has to be given to mean this one and no other; "" where nothing tells it apart."""
    uids = {other.uid for other in among if other.uid != series.uid}
    shortest = next(
        (n for n in range(TAIL, MOST_DIGITS) if not any(uid.endswith(series.uid[-n:]) for uid in uids)), None
    )
    tail = series.uid[-(shortest or MOST_DIGITS) :].lstrip(".")
    others = [other for other in among if other is not series]
    for asked in _attempts(series, {"uid": tail} if tail else {}):
        if not any(all(TESTS[name](other, value) for name, value in asked.items()) for other in others):
            return tail if asked == {"uid": tail} else told(asked)
    return ""


def _attempts(series: Series, uid: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Conditions that hold for a series, from the shortest on; all name the UID where there is one."""
    facts: list[dict[str, Any]] = [{"orientation": series.orientation}] if series.orientation else []
    facts += [{"image_type": (value,)} for value in series.image_type if value]
    if series.thickness is not None:
        facts += [{f"{end}_thickness_mm": round(series.thickness, 2)} for end in ("max", "min")]
    facts.append({"min_slices": series.slices})
    for count in range(3):
        for some in combinations(facts, count):
            asked = dict(uid)
            for fact in some:
                asked |= fact
            if asked:
                yield asked
