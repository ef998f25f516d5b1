"""The loop of the decoder process: read a request, decode files, write replies; end with the parent.

A message is a 4-byte big-endian length and that much JSON; the bytes of an array follow its reply, in C
order.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medseg.io.child.dicom import dicom_headers
from medseg.io.child.dicomdir import dicomdir
from medseg.io.child.masks import dicom_contours, dicom_mask_frames, dicom_mask_header
from medseg.io.child.modality import modality_tables, pet_doses
from medseg.io.child.pictures import itk, png, tiff, tiff_header
from medseg.io.child.pixels import dicom_pixels
from medseg.io.child.reply import RefusedError, Reply

__all__ = ["main"]


def status(_request: dict[str, Any]) -> Iterator[Reply]:
    """What this process has loaded and how much it may use: for `medseg doctor` and tests."""
    yield {"modules": sorted(sys.modules), "memory": resource.getrlimit(resource.RLIMIT_AS)[0]}, None


TASKS: dict[str, Callable[[dict[str, Any]], Iterator[Reply]]] = {
    "dicom-headers": dicom_headers,
    "dicomdir": dicomdir,
    "dicom-pixels": dicom_pixels,
    "dicom-mask-header": dicom_mask_header,
    "dicom-mask-frames": dicom_mask_frames,
    "dicom-contours": dicom_contours,
    "modality-tables": modality_tables,
    "pet-dose": pet_doses,
    "itk": itk,
    "png": png,
    "tiff-header": tiff_header,
    "tiff": tiff,
    "status": status,
}


# ------------------------------------------------------------------ the loop
def _limit(what: int, value: int) -> None:
    """Lower or raise a soft limit, as far as the hard one allows."""
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _send(replies: BinaryIO, fields: dict[str, Any], array: NDArray[Any] | None = None) -> None:
    if array is not None:
        kind = np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
        array = np.ascontiguousarray(array, kind)
        fields = {**fields, "dtype": array.dtype.str, "shape": array.shape}
    message = json.dumps(fields).encode()
    replies.write(struct.pack(">I", len(message)) + message)
    if array is not None and array.size:
        replies.write(array.reshape(-1).view(np.uint8).data)
    replies.flush()


def _answer(request: dict[str, Any], replies: BinaryIO) -> None:
    try:
        _limit(resource.RLIMIT_AS, int(request["memory"]))
        for fields, array in TASKS[request["do"]](request):
            _send(replies, fields, array)
        _send(replies, {"done": True})
    except RefusedError as refusal:
        _send(replies, {"error": str(refusal)})
    except MemoryError:
        _send(
            replies, {"error": f"decoding it needs more than {request['memory'] / 2**30:.2g} GiB of memory"}
        )
    except ImportError as problem:
        _send(replies, {"error": f"this installation cannot decode it: {problem.name} is missing or broken"})
    except BrokenPipeError:
        raise SystemExit(0) from None  # the parent is gone
    except OSError as problem:
        _send(replies, {"error": f"cannot be read: {problem.strerror or type(problem).__name__}"})
    except Exception as problem:  # noqa: BLE001  # the border: whatever a codec raises is the file's fault
        _send(replies, {"error": f"cannot be decoded ({type(problem).__name__})"})


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    # codecs may print: keep the pipe for replies and send everything else to stderr
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    _limit(resource.RLIMIT_CORE, 0)
    warnings.simplefilter("ignore")
    while len(start := requests.read(4)) == 4:
        _answer(json.loads(requests.read(struct.unpack(">I", start)[0])), replies)


if __name__ == "__main__":
    main()
