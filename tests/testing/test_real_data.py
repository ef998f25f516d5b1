"""What a run says at its end of real-data tests, in one process and in several."""

import pytest

pytest_plugins = ["pytester"]

TESTS = """
def test_one(real_data):
    raise AssertionError("must not run")

def test_two(figures):
    figures.append("spheres: Dice 0.987")
"""


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two"])
def test_figures_and_what_did_not_run_are_said_once(
    processes: tuple[str, ...], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDSEG_TEST_DATA", raising=False)
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("-p", "medseg.testing.real_data", *processes)
    done.assert_outcomes(passed=1, skipped=1)
    said = done.outlines
    assert said.count("spheres: Dice 0.987") == 1
    assert said.count("1 real-data tests did not run: set MEDSEG_TEST_DATA to a folder of real images") == 1


def test_a_folder_that_is_not_there_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSEG_TEST_DATA", str(pytester.path / "absent"))
    pytester.makepyfile("def test_one(real_data): pass")
    done = pytester.runpytest_subprocess("-p", "medseg.testing.real_data")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*MEDSEG_TEST_DATA names *absent, which is not a folder*"])
