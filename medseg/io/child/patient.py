"""Whether two images are of one patient, without saying who: the only use of the tags that name a patient.

UIDs that were emptied, or are those of a template, would make one volume of two patients whose images happen
to adjoin; and two inputs of one case may come from two patients. Of who the patient is only a digest leaves
the decoder process, with a salt that medseg draws when it starts and nobody keeps: it compares the images of
one run and cannot be held against any other, or against a list of names. It is never kept in a result, logged
or shown.
"""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["PATIENT_TAGS", "patient_key"]

PATIENT_TAGS = (0x00100020, 0x00100030, 0x00100010)  # PatientID, PatientBirthDate, PatientName
KEY_BYTES = 8  # 16 letters: among 200 000 files two patients share one by chance once in 10^9 studies


def patient_key(dataset: Any, salt: bytes) -> str:
    """16 letters that are equal for images of one patient and this salt; empty where nothing names one.

    Names count as written, but for capitals and what fills them up (PS3.5 6.2).
    """
    parts = []
    for tag in PATIENT_TAGS:
        stored = dataset.get_item(tag).value if tag in dataset else None
        raw = stored if isinstance(stored, bytes) else str(stored or "").encode()
        parts.append(raw.strip(b" \0^=").lower())
    if not any(parts):
        return ""
    content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.blake2b(content, digest_size=KEY_BYTES, key=salt).hexdigest()
