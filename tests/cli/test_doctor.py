import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

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


def test_what_is_missing_comes_with_how_to_get_it(medseg: Medseg) -> None:
    lossless = by_name(medseg("doctor", "--json"))["decoder JPEG lossless"]
    assert lossless["state"] == "missing"  # no decoder of it is among what medseg installs
    assert "gdcm" in lossless["remedy"]


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
