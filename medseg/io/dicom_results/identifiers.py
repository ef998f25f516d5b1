"""UIDs that follow from what was done: the same job on the same images gives the same ones.

So a retry replaces its own result in an archive and never stands beside it, and a report can refer to a
segmentation without opening it. Any change of model, pipeline or images gives others, of further inputs too.
Which other files are written beside it, by whom, and comments in the pipeline file change nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.io.dicom_results.origin import Origin

__all__ = ["result_uid"]

ROOT = "2.25"  # PS3.5 B.2: a number of 128 bits, under a root that needs no registration
# What decides the voxels. Where and when it ran is left out: a retry on another machine is a retry. So is the
# hash of the pipeline file, with its comments: the pipeline stands there in full.
DECISIVE = ("medseg", "seed", "policy")
MODEL = ("name", "version", "distribution", "weights")
REFERS = {"dicom-sr": "dicom-seg", "rtstruct": "dicom-seg"}  # what refers to another file is another result


def result_uid(origin: Origin, provenance: Mapping[str, Any], *names: str) -> str:
    """The UID of what `names` name in the result of one job on one series.

        result_uid(origin, result.provenance, "dicom-seg", "instance", "1")

    Args:
        origin: the series; its SOPInstanceUIDs count, in their order.
        provenance: what was done, as `Result.provenance` says it.
        names: say which UID it is; other names, another UID.
    """
    decisive = {key: provenance.get(key) for key in DECISIVE}
    only = provenance.get("only")
    decisive["only"] = None if only is None else sorted(only)  # labels stand in the table's order in any case
    model = provenance.get("model") or {}
    decisive["model"] = {key: model.get(key) for key in MODEL}
    pipeline = dict(provenance.get("pipeline") or {})
    writers = pipeline.pop("write", ())
    decisive["pipeline"] = pipeline
    decisive["writer"] = own = _own(writers, names[0])
    told = json.dumps([pipeline, own], default=str)
    decisive["plugins"] = {
        name: number for name, number in (provenance.get("plugins") or {}).items() if f'"{name}/' in told
    }
    decisive["precision"] = (provenance.get("resources") or {}).get("precision")
    # the first input is the series itself; what is joined to it decides, too
    decisive["joined"] = [part.get("sha256") for part in (provenance.get("inputs") or ())[1:]]
    text = json.dumps([decisive, list(origin.uids), list(names)], sort_keys=True, default=str)
    return f"{ROOT}.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def _own(writers: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """How a kind of file is written, and what it refers to, which must have been written before it."""
    found: list[Mapping[str, Any]] = []
    for written in writers:
        if f"medseg/{REFERS.get(kind)}" in written:
            found.append(written)
        if f"medseg/{kind}" in written:
            return [*found, written]
    return []
