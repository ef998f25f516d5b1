"""The command line: parse, call, print. Results go to stdout, everything else to stderr.

Nothing heavy is imported here or by a command's `--help`: a command imports what it needs when it runs.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import ClassVar

import click

from medseg import __version__
from medseg.allocator import keep_freed_memory
from medseg.errors import InputError, MedsegError, UsageError, did_you_mean

__all__ = ["main", "run"]

COMMANDS = {
    "segment": "Segment an image: masks, volumes, a picture.",
    "cohort": "Segment many images: the model loaded once, a folder each, tables over all.",
    "measure": "Measure masks made elsewhere: volumes, diameters, shape, each lesion.",
    "evaluate": "Compare masks with references: Dice, HD95, a table per case.",
    "train": "Train a model on labelled images.",
    "tune": "Choose parameters of the steps after the network by labelled images.",
    "convert": "Read an image and write it as NIfTI.",
    "info": "Say what an image is: series, grid, spacing, orientation, verdict.",
    "dicom": "Check DICOM segmentations: structure, voxels, place on their series.",
    "dataset": "Check and describe a dataset for training.",
    "doctor": "Look at the installation: what is missing and how to get it.",
    "models": "List, show, check, install and build models.",
    "pipelines": "Check pipeline files; print their JSON Schema.",
    "plugins": "List, show and check installed plugins.",
}
BUG, INTERRUPTED, TERMINATED = 1, 130, 143


class Commands(click.Group):
    """A group that knows its commands by name and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"medseg.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the closest command for a typo."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UsageError(f"there is no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="medseg", message="%(prog)s %(version)s")
def medseg() -> None:
    """Medical image segmentation: masks and volumes from a DICOM folder or a NIfTI file.

    For research use only, not for diagnosis.

    \b
      medseg segment ct_dicom/ -o out --model ct-tissue
      medseg info ct_dicom/
      medseg models list
    """  # noqa: D301 - click wants the control character, which a raw docstring would not hold


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; whatever goes wrong is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.getLogger("medseg").setLevel(logging.NOTSET)  # --verbose sets it
    code = 0
    try:
        medseg.main(args=given, prog_name="medseg", standalone_mode=False)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.exceptions.NoArgsIsHelpError as helped:  # a group without a command
        click.echo(helped.format_message(), err=True)
        code = UsageError.exit_code
    except Terminated:
        code = TERMINATED
    except SystemExit as ended:  # a command with an exit code of its own
        code = ended.code if isinstance(ended.code, int) else BUG
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001 - the last border
        message, code = _told(problem)
        if logging.getLogger("medseg").level == logging.DEBUG:
            traceback.print_exception(problem)
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
        click.echo(f"medseg: {line}", err=True)
    return code


def _told(problem: BaseException) -> tuple[str, int]:
    """What to say of a failure, in one line, and the exit code."""
    notes = "; ".join(getattr(problem, "__notes__", ()))
    where = f" [{notes}]" if notes else ""
    if isinstance(problem, KeyboardInterrupt | click.exceptions.Abort):
        return "interrupted; nothing was written", ended_by(problem)
    if isinstance(problem, click.ClickException):
        return problem.format_message(), UsageError.exit_code
    if isinstance(problem, MedsegError):
        return f"{problem}{where}", problem.exit_code
    reason = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    return f"a bug in medseg, please report it: {reason}{where}; -v shows the traceback", BUG


class Terminated(BaseException):
    """SIGTERM came; no SystemExit, which is held against the plugin whose code raises it."""

    came: ClassVar[bool] = False


def ended_by(problem: BaseException) -> int:
    """The exit code after Ctrl-C or SIGTERM.

    What the handler of a signal raises while Python deletes an object goes no further. Lightning, which has
    seen the signal, too, ends a training then as after Ctrl-C.
    """
    return TERMINATED if isinstance(problem, Terminated) or Terminated.came else INTERRUPTED


def _terminated(number: int, frame: FrameType | None) -> None:
    Terminated.came = True
    raise Terminated


def _lost(problem: sys.UnraisableHookArgs) -> None:
    """Say what went no further, but for signals: their handlers' exceptions are nobody's fault."""
    if not isinstance(problem.exc_value, Terminated | KeyboardInterrupt):
        sys.__unraisablehook__(problem)


def main() -> None:
    """Entry point of the `medseg` command."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.unraisablehook = _lost
    keep_freed_memory()
    sys.exit(run())


def require_existing(path: str) -> None:
    """Refuse a missing path before anything heavy is imported."""
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such file or folder")
