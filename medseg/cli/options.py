"""Options that several commands share."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from medseg.errors import UsageError

__all__ = [
    "as_json",
    "deterministic",
    "device",
    "engine",
    "force_modality",
    "labels",
    "max_memory",
    "names",
    "overwrite",
    "pixel_size",
    "policy",
    "precision",
    "quiet",
    "seed",
    "threads",
    "verbose",
    "write",
]

F = TypeVar("F", bound=Callable[..., Any])


def _log(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    if value:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        logging.getLogger("medseg").setLevel(logging.DEBUG)
    return value


def as_json(function: F) -> F:
    """`--json`: one stable document on stdout, for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def _device(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise UsageError(f"--device {value}: give auto, cpu, cuda or cuda:N")
    return value


def _deterministic(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    if value:  # cuBLAS adds in one order with this only, and reads it when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return value


def device(function: F) -> F:
    """`--device`: where networks run."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="DEVICE",
        callback=_device,
        help="Where networks run: cpu, cuda, cuda:N, or auto, a GPU if there is one.",
    )(function)


def deterministic(function: F) -> F:
    """`--deterministic`: the same bits in every run on one machine."""
    return click.option(
        "--deterministic",
        is_flag=True,
        callback=_deterministic,
        help="Let networks use only operations that give the same bits in every run.",
    )(function)


def engine(function: F) -> F:
    """`--engine`: what computes networks."""
    return click.option(
        "--engine",
        type=click.Choice(["auto", "torch", "openvino", "onnx"]),
        default="auto",
        show_default=True,
        help="What computes networks: auto is OpenVINO on a CPU where it is installed, else PyTorch.",
    )(function)


def precision(function: F) -> F:
    """`--precision`: of a network's arithmetic."""
    return click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="A network's arithmetic: auto is fp32, unless the model's card says that less gives the same.",
    )(function)


UNITS = {"": 1, "B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?")


def _bytes(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = BYTES.fullmatch(value.strip().upper())
    if found is None:
        raise UsageError(f"--max-memory {value}: give a size, as in 6GB, 500MB, 4GiB, or a number of bytes")
    number, unit, binary = found.groups()
    if binary and not unit:
        raise UsageError(f"--max-memory {value}: give a size, as in 6GB, 500MB, 4GiB, or a number of bytes")
    scale = 1 << (10 * "KMGT".index(unit) + 10) if binary else UNITS[unit]
    count = round(float(number) * scale)
    if count < 1:
        raise UsageError(f"--max-memory {value}: give more than nothing")
    return count


def max_memory(function: F) -> F:
    """`--max-memory`: what the whole process may have in memory."""
    return click.option(
        "--max-memory",
        metavar="SIZE",
        callback=_bytes,
        help="Memory of the whole process, as in 6GB or 500MB; by default what is free.",
    )(function)


def overwrite(function: F) -> F:
    """`--overwrite`: replace what an earlier run wrote."""
    return click.option("--overwrite", is_flag=True, help="Replace what an earlier run wrote.")(function)


def pixel_size(function: F) -> F:
    """`--pixel-size`: the scale of a picture that has none."""
    return click.option(
        "--pixel-size",
        type=click.FloatRange(min=0, min_open=True),
        metavar="MM",
        help="Millimetres per pixel of a picture without a scale.",
    )(function)


def policy(function: F) -> F:
    """`--gaps`, `--tilt`, `--duplicates`, `--phase`, `--series`, `--suv`, handed over as one `policy`.

    They decide what is read where an input is doubtful or holds more than one image; see
    `medseg.io.policy.Policy`.
    """

    @functools.wraps(function)
    def with_policy(*arguments: Any, series: str | None, **others: Any) -> Any:
        from medseg.io.policy import Policy

        rule = None
        if series is not None:
            from medseg.cli.series import series_rule

            rule = series_rule(series)
        asked = Policy(series=rule, **{name: others.pop(name) for name in DECISIONS})
        return function(*arguments, policy=asked, **others)

    command: Any = with_policy
    for option in reversed(POLICY):
        command = option(command)
    return command  # type: ignore[no-any-return]  # click hands back the function it decorates


DECISIONS = ("gaps", "tilt", "duplicates", "phase", "suv")
POLICY = (
    click.option(
        "--gaps",
        type=click.Choice(["refuse", "resample", "allow"]),
        default="refuse",
        show_default=True,
        help="Missing slices, uneven spacing: fill them in, or take the slices as evenly spaced.",
    ),
    click.option(
        "--tilt",
        type=click.Choice(["refuse", "resample"]),
        default="refuse",
        show_default=True,
        help="Gantry tilt: resample onto upright boxes.",
    ),
    click.option(
        "--duplicates",
        type=click.Choice(["refuse", "first"]),
        default="refuse",
        show_default=True,
        help="Different images at one position: keep the one with the lowest number.",
    ),
    click.option(
        "--phase",
        type=click.IntRange(min=1),
        metavar="N",
        help="Which of several phases, echoes or time points, from 1.",
    ),
    click.option(
        "--series",
        metavar="UID|RULE",
        help="Which series of a DICOM study: its UID, the end of it as `medseg info` shows it, or a rule, "
        "as in modality=CT,max_thickness_mm=3.",
    ),
    click.option("--suv", is_flag=True, help="Turn PET activity (Bq/mL) into SUV by body weight."),
)


def quiet(function: F) -> F:
    """`--quiet`: no progress."""
    return click.option("-q", "--quiet", is_flag=True, help="Print no progress and no table.")(function)


def verbose(function: F) -> F:
    """`-v`: log what is done, with tracebacks."""
    return click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_log, help="Log details and tracebacks."
    )(function)


def force_modality(function: F) -> F:
    """`--force-modality`: another modality than the model asks for."""
    return click.option(
        "--force-modality", is_flag=True, help="Accept another DICOM modality than the model asks for."
    )(function)


def names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """The callback of a `--labels`: names with a comma between them."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise UsageError(f"--labels {value!r}: give names with a comma between them")
    return names


def labels(function: F) -> F:
    """`--labels`: results for some labels only."""
    return click.option(
        "--labels",
        metavar="NAME,NAME",
        callback=names,
        help="Masks, measurements and files of these labels only; by default all of the model's.",
    )(function)


def threads(function: F) -> F:
    """`--threads`: how many processors to keep to."""
    return click.option("--threads", type=click.IntRange(min=1), help="Processors to use; by default all.")(
        function
    )


def seed(function: F) -> F:
    """`--seed`: for models that draw at random."""
    return click.option(
        "--seed", type=int, default=0, show_default=True, help="Seed for models that draw at random."
    )(function)


def write(function: F) -> F:
    """`--write`: files beside those of the pipeline."""
    return click.option(
        "--write",
        metavar="NAME,NAME",
        help="Writers to add to the pipeline's own, as in dicom-seg,dicom-sr.",
    )(function)
