import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

from medseg.io.child.codecs import DECODERS
from medseg.run.doctor import TRANSFER_SYNTAXES

Medseg = Callable[..., Any]


def by_name(done: Any) -> dict[str, dict[str, str]]:
    return {f"{check['area']} {check['name']}": check for check in json.loads(done.out)}


def test_tells_versions_devices_decoders_plugins_and_models(medseg: Medseg) -> None:
    done = medseg("doctor", "--json")
    assert done.code == 0
    checks = by_name(done)
    assert checks["library numpy"]["detail"] == version("numpy")
    assert checks["device cpu"]["state"] == "ok"
    assert checks["decoder JPEG 2000 lossless"]["state"] == "ok"
    assert checks["model ct-tissue"]["detail"] == "Apache-2.0"
    assert checks[f"plugin medseg-ct {version('medseg-ct')}"]["state"] == "ok"


def test_every_form_that_the_decoder_process_reads_is_listed_with_its_decoder(medseg: Medseg) -> None:
    checks = by_name(medseg("doctor", "--json"))
    decoders = {name: check for name, check in checks.items() if name.startswith("decoder ")}
    assert len(decoders) == len(DECODERS) == len(TRANSFER_SYNTAXES)
    assert {check["state"] for check in decoders.values()} == {"ok"}
    assert decoders["decoder JPEG lossless"]["detail"] == "gdcm"


def test_a_broken_plugin_is_a_problem_with_a_remedy(
    medseg: Medseg, install: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    install("import_error")
    done = medseg("doctor", "--json")
    assert done.code == 5
    (broken,) = [check for check in json.loads(done.out) if check["state"] == "problem"]
    assert broken["area"] == "plugin"
    assert broken["remedy"].startswith("medseg plugins check fake-")


def test_the_table_ends_with_a_count(medseg: Medseg) -> None:
    done = medseg("doctor")
    assert done.out.splitlines()[-1].startswith("0 problems, ")
