"""Run a command that file permissions bind: as root it gives up the right to overrule them first.

    python tests/bad_inputs/unprivileged.py medseg convert in.nii.gz -o out.nii.gz

Another user would do too, but may not reach the interpreter, as where it lies in root's home.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["main"]

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2  # linux/capability.h


def main(command: list[str]) -> None:
    """Replace this process by the command; what is dropped from the bounding set is lost with exec."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "the capability cannot be given up")
    os.execvp(command[0], command)  # noqa: S606  # a list, and no shell


if __name__ == "__main__":
    main(sys.argv[1:])
