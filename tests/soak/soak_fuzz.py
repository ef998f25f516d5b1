"""Many mutants of good files, as in tests/io/test_fuzz.py: seeded, and taken up again where it stopped.

    python tests/soak/soak_fuzz.py --state fuzz.json --nifti 200000 --dicom 50000 --other 20000
    python tests/soak/soak_fuzz.py --one dicom 1/172 --out mutant.dcm

Counts by outcome, restarts of the decoder process and the slowest mutant are printed as they come; failures
stand in the state file with their bytes. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this runs as a script too

from fuzz.mutants import FAMILIES
from fuzz.reading import Fuzzer, Tally

BATCH = 1000
FIRST = int(os.environ.get("MEDSEG_SOAK_FIRST", "0"))
BATCHES = int(os.environ.get("MEDSEG_SOAK_BATCHES", "5"))
RUN = 1


@pytest.mark.parametrize("batch", range(FIRST, FIRST + BATCHES))
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore")  # a library's warning about a damaged file is no failure
def test_a_batch_of_mutants(tmp_path: Path, family: str, batch: int) -> None:
    tally = Fuzzer(tmp_path, family, RUN).batch(range(batch * BATCH, (batch + 1) * BATCH))
    assert not tally.failures, "\n".join(tally.failures[:5])


def soak(wanted: dict[str, int], state_file: Path, run: int) -> bool:
    """Read mutants until every family has had as many as wanted; whether none failed."""
    state: dict[str, Any] = json.loads(state_file.read_text()) if state_file.exists() else {"run": run}
    if state["run"] != run:
        raise SystemExit(f"{state_file} belongs to run {state['run']}")
    with tempfile.TemporaryDirectory() as folder:
        for family, count in wanted.items():
            kept = state.setdefault(family, {"next": 0, "seconds": 0.0, **_plain(Tally())})
            fuzzer = Fuzzer(Path(folder), family, run)
            while kept["next"] < count:
                start = time.monotonic()
                numbers = range(kept["next"], min(count, kept["next"] + BATCH))
                tally = _tally(kept)
                tally.add(fuzzer.batch(numbers))
                kept.update(_plain(tally), next=numbers.stop)
                kept["seconds"] += time.monotonic() - start
                _save(state, state_file)
            sys.stdout.write(f"{family}: {kept['next']} mutants in {kept['seconds']:.0f} s: {_line(kept)}\n")
            sys.stdout.flush()
    return not any(state[family]["failures"] for family in wanted)


def _tally(kept: dict[str, Any]) -> Tally:
    return Tally(Counter(kept["outcomes"]), kept["restarts"], tuple(kept["slowest"]), list(kept["failures"]))


def _plain(tally: Tally) -> dict[str, Any]:
    return {
        "outcomes": dict(tally.outcomes),
        "restarts": tally.restarts,
        "slowest": list(tally.slowest),
        "failures": tally.failures,
    }


def _line(kept: dict[str, Any]) -> str:
    counts = ", ".join(f"{n} {outcome}" for outcome, n in Counter(kept["outcomes"]).most_common())
    seconds, name = kept["slowest"]
    return f"{counts}; {kept['restarts']} restarts, slowest {seconds:.2f} s ({name})"


def _save(state: dict[str, Any], path: Path) -> None:
    """In one step, so that a run that is ended in its middle leaves a whole file."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(state, indent=1))
    new.replace(path)


def main() -> int:
    """Run or make one mutant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for family in FAMILIES:
        parser.add_argument(f"--{family}", type=int, default=0, metavar="COUNT")
    parser.add_argument("--state", type=Path, default=Path("fuzz.json"), help="file to go on from")
    parser.add_argument("--run", type=int, default=RUN, help="seed")
    parser.add_argument("--one", nargs=2, metavar=("FAMILY", "RUN/NUMBER"), help="make one mutant")
    parser.add_argument("--out", type=Path, help="where to write that mutant")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()  # what is noted about each file that is read
    if given.one:
        run, number = (int(word) for word in given.one[1].split("/"))
        with tempfile.TemporaryDirectory() as folder:
            fuzzer = Fuzzer(Path(folder), given.one[0], run)
            seed, content = fuzzer.make(number)
            (given.out or Path(seed.place)).write_bytes(content)
            tally = fuzzer.batch(range(number, number + 1))
        sys.stdout.write(f"{seed.name}: {_line(_plain(tally))}\n" + "\n".join(tally.failures))
        return 1 if tally.failures else 0
    wanted = {family: getattr(given, family) for family in FAMILIES}
    return 0 if soak(wanted, given.state, given.run) else 1


if __name__ == "__main__":
    sys.exit(main())
