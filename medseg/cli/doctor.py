"""`medseg doctor`: is everything here that is needed?"""

from __future__ import annotations

import json
import sys

import click

from medseg.cli import options
from medseg.errors import ResourceError

__all__ = ["command"]

MARKS = {"ok": "ok", "missing": "--", "problem": "!!"}


@click.command("doctor")
@options.as_json
@options.verbose
def command(as_json: bool) -> None:
    """Look at the environment: versions, devices, decoders, plugins, models; what is missing, how to get it.

    Exit code 5 where something needed is broken; what is only missing narrows what can be done.
    """
    from medseg.cli.table import print_table
    from medseg.plugin.catalog import discover
    from medseg.run.doctor import examine

    checks = examine(discover())
    if as_json:
        click.echo(json.dumps([check.as_json() for check in checks], indent=2))
    else:
        rows = [
            (
                MARKS[check.state],
                check.area,
                check.name,
                "; ".join(filter(None, (check.detail, check.remedy))),
            )
            for check in checks
        ]
        print_table(("", "area", "name", "detail"), rows, wrap=(3,))
        problems = sum(check.state == "problem" for check in checks)
        missing = sum(check.state == "missing" for check in checks)
        click.echo(f"{problems} problems, {missing} missing, {len(checks) - problems - missing} ok")
    if any(check.state == "problem" for check in checks):
        sys.exit(ResourceError.exit_code)
