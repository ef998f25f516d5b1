"""What can go wrong, and the exit code each kind ends the command line with.

    MedsegError            1   the base: catch it to catch all that medseg raises on purpose
    ├── InputError         2   an input is missing, unreadable, inconsistent, dangerous or not what was asked
    │   └── GeometryError  2   its geometry is doubtful: gap, tilt, duplicates, mixed phases, singular affine
    ├── PipelineError      4   a pipeline file, a name in it or a parameter is wrong
    │   ├── PluginError    4   a plugin could not be loaded or broke its contract
    │   └── ModelError     4   a model is unknown, incomplete or altered
    ├── ResourceError      5   disk, memory or permission: the machine, not the data
    └── UsageError        64   the command line or a call cannot be meant as it stands

A message is one line: which file or field, what is wrong, what to do.

    try:
        result = medseg.segment("ct.nii.gz", model="ct-tissue")
    except medseg.InputError as problem:
        print(problem)

Exit code 3 (some cases of a cohort failed) and 130/143 (signals) are results, not errors.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "GeometryError",
    "InputError",
    "MedsegError",
    "ModelError",
    "PipelineError",
    "PluginError",
    "ResourceError",
    "UsageError",
    "did_you_mean",
    "in_one_line",
]


class MedsegError(Exception):
    """Base of every error that medseg raises on purpose."""

    exit_code = 1


class InputError(MedsegError):
    """An input is missing, unreadable, inconsistent, dangerous or not what the pipeline asks for."""

    exit_code = 2


class GeometryError(InputError):
    """An input's geometry is doubtful; the message has the numbers in millimetres."""


class PipelineError(MedsegError):
    """A pipeline file, a component's name or a parameter is wrong; raised before any volume is read."""

    exit_code = 4


class PluginError(PipelineError):
    """A plugin could not be loaded or broke its contract; the message names its distribution and version."""


class ModelError(PipelineError):
    """A model is unknown, incomplete or does not match its checksums."""


class ResourceError(MedsegError):
    """The machine is in the way: disk full, memory, or a folder that cannot be written.

    Where memory is short, `needed_bytes` is what the whole process needs, as far as it is known; 0 elsewhere.
    `device_memory` says that the memory is that of the device on which a network runs.
    """

    exit_code = 5

    def __init__(self, message: str = "", *, needed_bytes: int = 0, device_memory: bool = False) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.device_memory = device_memory


class UsageError(MedsegError):
    """A call or command line that cannot be meant as it stands."""

    exit_code = 64


def in_one_line(problem: BaseException) -> str:
    """Kind and message of an exception, whatever its message holds, as one line."""
    return " ".join([f"{type(problem).__name__}:", *str(problem).split()]).rstrip(":")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End of a sentence that suggests the closest known name, or lists a few."""
    choices = list(dict.fromkeys(known))
    plain = {choice.lower().replace("_", "-"): choice for choice in reversed(choices)}
    close = difflib.get_close_matches(name.lower().replace("_", "-"), plain, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {plain[close[0]]!r}?"
    if not choices:
        return "; there are none"
    return f"; there are {', '.join(choices[:12])}{', …' if len(choices) > 12 else ''}"
