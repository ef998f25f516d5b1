"""UIDs that follow from what was done: the same job on the same images gives the same ones.

So a retry replaces its own result in an archive and never stands beside it, and a report can refer to a
segmentation without opening it. Any change of model, pipeline or images gives others, of further inputs too.
Which other files are written beside it changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.io.dicom_results.origin import Origin

__all__ = ["result_uid"]

ROOT = "2.25"  # PS3.5 B.2: a number of 128 bits, under a root that needs no registration
# What decides the voxels; the hashes of weights stand in the pipeline. Where and when it ran is left out: a
# retry on another machine is a retry.
DECISIVE = ("medseg", "model", "pipeline", "only", "plugins", "seed", "policy")
REFERS = {"dicom-sr": "dicom-seg"}  # a report that refers to another file is another report


def result_uid(origin: Origin, provenance: Mapping[str, Any], *names: str) -> str:
    """The UID of what `names` name in the result of one job on one series.

        result_uid(origin, result.provenance, "dicom-seg", "instance", "1")

    Args:
        origin: the series; its SOPInstanceUIDs count, in their order.
        provenance: what was done, as `Result.provenance` says it.
        names: say which UID it is; other names, another UID.
    """
    decisive = {key: provenance.get(key) for key in DECISIVE}
    pipeline = dict(provenance.get("pipeline") or {})
    writers = pipeline.pop("write", ())
    decisive["pipeline"] = pipeline
    # of writers only the one whose file it is, and that which this refers to: how they write
    own = {names[0], REFERS.get(names[0])}
    decisive["writer"] = [written for written in writers if own & {key.split("/")[-1] for key in written}]
    decisive["precision"] = (provenance.get("resources") or {}).get("precision")
    # the first input is the series itself; what is joined to it decides, too
    decisive["joined"] = [part.get("sha256") for part in (provenance.get("inputs") or ())[1:]]
    text = json.dumps([decisive, list(origin.uids), list(names)], sort_keys=True, default=str)
    return f"{ROOT}.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"
