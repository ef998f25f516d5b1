"""Run any command over a generated battery and judge it by the battery's index.json.

    python tests/bad_inputs/score.py BATTERY --cmd 'medseg convert {input} -o {out}/image.nii.gz' --values

{input} is the case's path, {out} a new empty folder. Without --values only outcome and grid are judged; with
it (for a command that converts an image to NIfTI) the values at known places of the world are compared too.
Each case is judged by: outcome, traceback, death by a signal, time, memory of the process tree, the message
(does it name the file and the reason?), what is left in the output folder, geometry, planted patient data in
streams and outputs, forbidden texts and files, and whether the input was changed.
"""

from __future__ import annotations

import argparse
import errno
import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Run", "Scorer", "idle_megabytes", "summary"]

TRACEBACK = re.compile(r"Traceback \(most recent call last\)|^\s+File \".*\", line \d+", re.M)
IMAGES = (".nii", ".nii.gz")
POLL_S = 0.02


@dataclass
class Run:
    """What a command did with one input."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    megabytes: int
    """Peak resident memory of the process tree."""
    hung: bool
    folder: Path = field(repr=False)
    """Its working folder, which holds its output folder."""

    @property
    def out(self) -> Path:
        """The folder that the command was given for its output."""
        return self.folder / "out"

    @property
    def text(self) -> str:
        """Both streams."""
        return (self.stdout + b"\n" + self.stderr).decode("utf-8", "replace")

    @property
    def told(self) -> str:
        """What was said on stderr."""
        return self.stderr.decode("utf-8", "replace")

    @property
    def files(self) -> list[Path]:
        """Every file that the command left in its working folder."""
        return [file for file in self.folder.rglob("*") if file.is_file()]

    def outcome(self, warning: str) -> str:
        """One of hang, crash, reject, warn, accept."""
        if self.hung:
            return "hang"
        if self.code < 0 or self.code in (134, 137, 139):
            return "crash"
        if self.code:
            return "reject"
        return "warn" if re.search(warning, self.told, re.I | re.M) else "accept"


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Judges a command over the battery in `root`; `strict` leaves out what `also_ok` would allow."""

    root: Path
    command: str
    canaries: Sequence[str]
    values: bool = False
    strict: bool = False
    warning: str = r"\bwarn"

    def score(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """Run one case; the result's "ok" says whether all was right, "faults" what was not."""
        path = self.root / case["path"]
        before = fingerprint(self.root / case["id"])
        run = run_command(self.command, path, case["limits"])
        got = run.outcome(self.warning)
        faults = [
            *self._outcome_faults(case, run, got),
            *(_refusal_faults(case, run, path) if got == "reject" else ()),
            *(self._result_faults(case, run, got) if got in ("accept", "warn") else ()),
            *self._leaks(case, run, path),
        ]
        if fingerprint(self.root / case["id"]) != before:
            faults.append("input changed")
        shutil.rmtree(run.folder, ignore_errors=True)
        return {
            "id": case["id"],
            "family": case["family"],
            "expect": case["expect"],
            "got": got,
            "rc": run.code,
            "seconds": round(run.seconds, 2),
            "rss_mb": run.megabytes,
            "ok": not faults,
            "faults": faults,
            "stderr": run.told[-600:],
        }

    def _outcome_faults(self, case: Mapping[str, Any], run: Run, got: str) -> Iterator[str]:
        allowed = {case["expect"], *(() if self.strict else case["also_ok"])}
        if case["expect"] == "accept":
            allowed.add("warn")
        if got not in allowed:
            yield f"outcome {got}, allowed {sorted(allowed)}"
        if TRACEBACK.search(run.text):
            yield "traceback"
        if run.seconds > case["limits"]["max_s"]:
            yield f"{run.seconds:.0f} s"
        if run.megabytes > case["limits"]["max_rss_mb"]:
            yield f"{run.megabytes} MB"

    def _result_faults(self, case: Mapping[str, Any], run: Run, got: str) -> Iterator[str]:
        if case["expect"] == "warn" and got == "warn" and _lacks(case["reason"], run.told):
            yield "warning does not give the reason"
        images = [f for f in run.files if run.out in f.parents and f.name.lower().endswith(IMAGES)]
        if not images:
            yield "exit 0 and no image written"
        elif case["geometry"]:
            try:
                wrong = misplaced(images[0], case["geometry"], values=self.values)
            except Exception as problem:  # noqa: BLE001  # whatever reading the output raises is the output's fault
                wrong = f"output unreadable: {type(problem).__name__}"
            if wrong:
                yield wrong

    def _leaks(self, case: Mapping[str, Any], run: Run, path: Path) -> Iterator[str]:
        blob = run.text.encode()
        for file in run.files:
            blob += os.fsencode(file.name) + file.read_bytes()
            if file.name.endswith(".gz"):
                try:
                    blob += gzip.decompress(file.read_bytes())[:2000]
                except OSError:
                    yield "output gzip is damaged"
        leaked = [word for word in self.canaries if word.encode() in blob] if case["dicom"] else []
        if leaked:
            yield f"PHI leak {leaked}"
        places = (run.folder, self.root, self.root / case["id"], Path("/tmp"), self.root.parent)  # noqa: S108
        for word in case["forbid"]:
            found = (
                [f for place in places for f in place.glob(f"*{word}*")] if re.fullmatch(r"\w+", word) else []
            )
            stray = [file for file in found if file != path and file.parent != path.parent]
            if stray or (not re.fullmatch(r"\w*pwned\w*", word) and word.encode() in blob):
                yield f"forbidden {word!r}"


def _refusal_faults(case: Mapping[str, Any], run: Run, path: Path) -> Iterator[str]:
    names = {path.name, case["id"]} | ({f.name for f in path.rglob("*")} if path.is_dir() else set())
    lines = [line for line in run.told.splitlines() if line.strip()]
    if not any(name and name in line for name in names for line in lines):
        yield "message does not name the file"
    if _lacks(case["reason"], run.told):
        yield "message does not give the reason"
    if len(lines) > 3:
        yield f"{len(lines)} error lines"
    if any(run.out in file.parents for file in run.files):
        yield "left output behind"


def _lacks(reason: str, told: str) -> bool:
    return bool(reason) and not re.search(reason, told, re.I)


def misplaced(path: Path, expected: Mapping[str, Any], *, values: bool) -> str | None:
    """What is wrong with geometry (and values) of a NIfTI file, or None; axes may be permuted and flipped."""
    import nibabel

    image = nibabel.load(path)
    if sorted(n for n in image.shape if n != 1) != sorted(n for n in expected["shape"] if n != 1):
        return f"geometry: shape {image.shape}, want {expected['shape']}"
    shape = ([*image.shape, 1, 1])[:3]
    array = np.asanyarray(image.dataobj).reshape(shape) if values else None
    for x, y, z, value in expected["probes"]:
        exact = (np.linalg.inv(image.affine) @ [x, y, z, 1])[:3]
        index = np.round(exact).astype(int)
        if np.abs(exact - index).max() > 0.05 or (index < 0).any() or (index >= shape).any():
            return f"geometry: world point {x, y, z} falls on index {np.round(exact, 2).tolist()}"
        if array is not None and value is not None:
            there = float(array[tuple(index)])
            if not np.isclose(there, value, rtol=1e-4, atol=1e-3):
                return f"geometry: value {there} at {x, y, z}, want {value}"
    return None


def started(words: Sequence[str], folder: Path, *, tries: int = 3) -> subprocess.Popen[bytes]:
    """The process of a command; again where the kernel failed to read its words, as some do at times.

    Nothing has run then.
    """
    try:
        return subprocess.Popen(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as problem:
        if problem.errno != errno.EFAULT or tries == 1:
            raise
    return started(words, folder, tries=tries - 1)


def run_command(command: str, path: Path, limits: Mapping[str, int]) -> Run:
    """Run a command on one input in a folder of its own; what exceeds its limits by far is ended."""
    folder = Path(tempfile.mkdtemp(prefix="bi_"))
    (folder / "out").mkdir()
    words = [
        word.replace("{input}", str(path)).replace("{out}", str(folder / "out"))
        for word in shlex.split(command)
    ]
    start, peak = time.monotonic(), [0]
    process = started(words, folder)

    def watch() -> None:
        while process.poll() is None:
            peak[0] = max(peak[0], megabytes_of_tree(process.pid))
            if peak[0] > 4 * limits["max_rss_mb"]:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(POLL_S)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    hung = False
    try:
        stdout, stderr = process.communicate(timeout=limits["max_s"] * 2)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        hung = True
    watcher.join(2)
    return Run(process.returncode, stdout, stderr, time.monotonic() - start, peak[0], hung, folder)


def megabytes_of_tree(pid: int) -> int:
    """Resident memory of a process and all below it, in MB."""
    total, left = 0, [pid]
    while left:
        process = Path("/proc") / str(left.pop())
        try:
            total += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in (process / "task").iterdir():
                left += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError, IndexError):  # it has just ended
            pass
    return total >> 20


def fingerprint(path: Path) -> str:
    """Digest of names, kinds, sizes and readable contents of a file or folder."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*") if path.is_dir() else [path]):
        state = file.lstat()
        digest.update(os.fsencode(f"{file.name}|{stat.S_IFMT(state.st_mode)}|{state.st_size}"))
        if stat.S_ISREG(state.st_mode) and os.access(file, os.R_OK):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def idle_megabytes(command: str, path: Path) -> int:
    """Peak memory of the command over a small good file: what it costs before any input matters."""
    run = run_command(command, path, {"max_s": 60, "max_rss_mb": 4096})
    shutil.rmtree(run.folder, ignore_errors=True)
    assert run.code == 0, run.told
    return run.megabytes


def summary(results: Sequence[Mapping[str, Any]], skipped: Sequence[str]) -> dict[str, Any]:
    """Counts over all cases, by fault, family and expectation."""
    families: dict[str, list[int]] = {}
    for result in results:
        right = families.setdefault(result["family"], [0, 0])
        right[0] += result["ok"]
        right[1] += 1
    faults = Counter(
        re.sub(r"[\d.,:\[\]()'\"].*", "", fault).strip() or fault
        for result in results
        for fault in result["faults"]
    )
    return {
        "cases": len(results),
        "ok": sum(result["ok"] for result in results),
        "skipped": list(skipped),
        "faults": dict(faults),
        "families": families,
        "by_expect": {
            expect: [
                sum(result["ok"] for result in results if result["expect"] == expect),
                sum(result["expect"] == expect for result in results),
            ]
            for expect in ("reject", "accept", "warn")
        },
        "silent_accept": [
            result["id"]
            for result in results
            if result["expect"] == "reject" and result["got"] == "accept" and not result["ok"]
        ],
    }


def main() -> int:
    """Judge and print; 0 where every case is right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("battery", type=Path)
    parser.add_argument("--cmd", required=True)
    parser.add_argument("--values", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=(), help="names of cases or families")
    parser.add_argument("--warn-re", default=r"\bwarn", help="what marks a line of stderr as a warning")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="ignore also_ok (a tool that refuses everything passes two thirds without this)",
    )
    parser.add_argument("--report", type=Path, help="JSON file to write")
    given = parser.parse_args()
    root = given.battery.resolve()
    index = json.loads((root / "index.json").read_text(encoding="ascii"))
    cases = [c for c in index["cases"] if not given.only or {c["id"], c["family"]} & set(given.only)]
    skipped = [case["id"] for case in cases if "nonroot" in case["requires"] and os.geteuid() == 0]
    scorer = Scorer(
        root=root,
        command=given.cmd,
        canaries=index["phi_canaries"],
        values=given.values,
        strict=given.strict,
        warning=given.warn_re,
    )
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(scorer.score, (case for case in cases if case["id"] not in skipped)))
    for result in results:
        if not result["ok"]:
            wanted = f"want {result['expect']:6s} got {result['got']:6s}"
            sys.stdout.write(f"FAIL {result['id']:32s} {wanted} {'; '.join(result['faults'])}\n")
    told = summary(results, skipped)
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    if given.report:
        given.report.write_text(json.dumps({"summary": told, "results": results}, indent=1))
    return 0 if told["ok"] == told["cases"] else 1


if __name__ == "__main__":
    sys.exit(main())
