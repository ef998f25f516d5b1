"""Many cases with one opened model: each published by itself, the failed ones listed, tables over all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError, UsageError
from medseg.io import STRICT, Policy, digests
from medseg.io.atomic import clear_stale, held_folder, staged_folder
from medseg.io.regular_file import printable
from medseg.memory import promised
from medseg.pipeline import Pipeline, Stage
from medseg.plugin.catalog import Catalog, discover
from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.run.case import Case, Setup, memory_as_resource, processors
from medseg.run.cases import Task, find_cases
from medseg.run.chosen import prepare
from medseg.run.inputs import policy_for
from medseg.run.output_folder import foreign_folders, record_in, require_free, require_record
from medseg.run.provenance import Journal, asked, joined, provenance, sha256_of
from medseg.run.reasons import reason, without_names
from medseg.run.summary import Outcome, counted, write_record, write_tables
from medseg.steps import Predictor
from medseg.volume import Grid, Volume

__all__ = ["Cohort", "Watcher", "segment_cohort"]

Watcher = Callable[[str, Outcome | None, int, int], None]
"""Called as `watcher(case, outcome, done, total)`; the outcome is None when a case starts."""


@dataclass(frozen=True)
class Cohort:
    """What became of every case, in order, and what was left aside while looking for cases."""

    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of `cases`, `ok`, `failed`, `not_run` and `kept`."""
        return counted(self.outcomes)


def segment_cohort(  # noqa: PLR0913 - the front door: all but the source are named
    source: str | Path,
    *,
    model: str | Path,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    force_modality: bool = False,
    pixel_size: float | None = None,
    policy: Policy = STRICT,
    resources: Resources | None = None,
    watcher: Watcher | None = None,
    labels: Sequence[str] | None = None,
    write: str | None = None,
) -> Cohort:
    """Segment every case of a CSV file or a folder into a folder of its own below `out`.

    The model is opened once. A case that fails does not stop the others. Tables are written at the end, after
    an interrupt too.

    Args:
        source: a CSV file with a column for each of the pipeline's inputs, or a folder of images.
        model: an installed model, a model folder or a pipeline file.
        out: folder for the cases' folders and the tables.
        resume: keep the cases that are done and unchanged, do the others.
        overwrite: do every case again in a folder that an earlier run wrote.
        jobs: so many cases at a time; the model itself is used for one at a time. Where memory has a limit,
            one case at a time, whatever is asked.
        force_modality: accept another DICOM modality than the pipeline asks for.
        pixel_size: millimetres per pixel of pictures without a scale.
        policy: what is made of a doubtful geometry, and which series is meant, for all cases.
        resources: device, memory, threads and seed; by default the CPU and what the machine has.
        watcher: hears of every case that starts or ends.
        labels: names of the labels to which masks, measurements and files are limited; None for all.
        write: writers beside the pipeline's own, as it would list them; what they lack fails a case.

    Raises:
        InputError, PipelineError, ResourceError, UsageError: for what concerns all; see `medseg.errors`.
    """
    if resume and overwrite:
        raise UsageError("resume and overwrite contradict each other; choose one")
    if jobs < 1:
        raise UsageError(f"{jobs} jobs cannot be; at least one")
    catalog = discover()
    chosen, pipeline = prepare(model, catalog, labels=labels, write=write)
    setup = Setup(
        model=chosen,
        pipeline=_with_table(pipeline, catalog),
        resources=resources or Resources(),
        force_modality=force_modality,
        pixel_size=pixel_size,
        policy=policy,
    )
    found = find_cases(Path(source), pipeline.inputs, out=Path(out))
    with processors(setup.resources.threads), held_folder(Path(out)) as folder:
        require_free(folder, resume=resume, overwrite=overwrite)
        run = _Run(setup, found.cases, Path(out), replaces=resume or overwrite, watcher=watcher)
        notes = (*found.notes, *run.notes)
        if jobs > 1 and setup.resources.max_memory_bytes is not None:
            jobs, notes = 1, (*notes, f"one case at a time, not {jobs}: memory has a limit")
        if resume:
            run.keep()
        run.go(jobs)
    return Cohort(run.outcomes, notes)


def _with_table(pipeline: Pipeline, catalog: Catalog) -> Pipeline:
    """The pipeline with medseg's own table of measurements, of which the cohort's are made."""
    entry = catalog.find("writer", "medseg/csv")
    if any((stage.distribution, stage.name) == ("medseg", "csv") for stage in pipeline.write):
        return pipeline
    place = f"write[{len(pipeline.write)}]"
    stage = Stage(place, "csv", "medseg", entry.version, entry.load()(), {entry.qualified: {}})
    return replace(pipeline, write=(*pipeline.write, stage))


class _StoppedError(BaseException):
    """The run was interrupted; no Exception, which would make it the failure of a case."""


class _Run:
    """The cases of a cohort on their way."""

    def __init__(
        self, setup: Setup, tasks: Sequence[Task], out: Path, *, replaces: bool, watcher: Watcher | None
    ) -> None:
        self.setup = replace(setup, resources=replace(setup.resources, progress=self._progress))
        self._heard = setup.resources.progress
        self.tasks = tasks
        self._given_out = out  # as typed, which a message may repeat
        self.out = out.resolve()
        self._foreign = foreign_folders(self.out, tasks)
        self._replaces = replaces
        self._watcher = watcher or (lambda case, outcome, done, total: None)
        self._ledger: dict[str, Outcome] = {}
        self._counting = threading.Lock()
        self._stopping = threading.Event()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """One for each case, in order."""
        return tuple(
            self._ledger.get(task.case, Outcome(case=task.case, status="not run")) for task in self.tasks
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the output folder."""
        many, where = self._foreign, printable(self._given_out)
        if not many:
            return ()
        return (
            f"{many} folder{'s' * (many > 1)} in {where} belong{'s' * (many == 1)} to no case of this run",
        )

    def keep(self) -> None:
        """Keep every case that is complete, unaltered, and whose inputs and pipeline are the same."""
        for task in self.tasks:
            clear_stale(self.out / task.case)
            record = record_in(self.out / task.case / "run.json")
            if record.get("case") == task.case and self._still_holds(task, record):
                seconds = record.get("seconds")
                seconds = float(seconds) if isinstance(seconds, int | float) else None
                notes = tuple(str(note) for note in record.get("notes") or ())
                self._note(Outcome(case=task.case, status="ok", kept=True, seconds=seconds, notes=notes))

    def go(self, jobs: int) -> None:
        """Do what is left with a model opened once; write the tables whatever happens on the way."""
        rest = [task for task in self.tasks if task.case not in self._ledger]
        started, clock = datetime.now(UTC), time.perf_counter()
        with ExitStack() as stack:
            predictor = _InTurn(stack.enter_context(self.setup.opened())) if rest else None
            record = self._record() | {"started": started.isoformat(timespec="seconds")}
            write_record(self.out, {**record, "complete": False})
            try:
                if predictor is not None:
                    (self._one_by_one if jobs == 1 else self._side_by_side(jobs))(rest, predictor)
            finally:
                self._stopping.set()
                record["seconds"] = round(time.perf_counter() - clock, 3)
                write = partial(write_tables, self.out, self.outcomes, self.setup.pipeline.labels, record)
                try:
                    write()
                except Exception:
                    raise
                except BaseException:  # an interrupt came this late: it is told, and the tables are there
                    write()
                    raise

    # ---- in which order

    def _one_by_one(self, tasks: Sequence[Task], predictor: Predictor) -> None:
        """Segment in this thread, so that an interrupt acts at once.

        Meanwhile one thread reads and prepares the next case, and one measures and writes the last. Where
        memory has a limit there is one case at a time: what the others would take is not known beforehand.
        """
        if self.setup.resources.max_memory_bytes is not None:
            for task in tasks:
                self._settle(task, _Now(partial(self._read, task, predictor)), predictor)
            return
        reader = ThreadPoolExecutor(1, thread_name_prefix="medseg-reader")
        writer = _Writer()
        try:
            ahead = reader.submit(self._read, tasks[0], predictor)
            for number, task in enumerate(tasks, start=1):
                reading = ahead
                if number < len(tasks):
                    ahead = reader.submit(self._read, tasks[number], predictor)
                self._settle(task, reading, predictor, writer)
            writer.wait()
        finally:
            self._stopping.set()
            reader.shutdown(cancel_futures=True)
            writer.close()

    def _side_by_side(self, jobs: int) -> Callable[[Sequence[Task], Predictor], None]:
        """Read, measure and write several cases at a time; at an interrupt they end with the step at work."""

        def settle(task: Task, predictor: Predictor) -> None:
            self._settle(task, _Now(partial(self._read, task, predictor)), predictor)

        def run(tasks: Sequence[Task], predictor: Predictor) -> None:
            workers = ThreadPoolExecutor(jobs, thread_name_prefix="medseg-case")
            try:
                for ended in as_completed([workers.submit(settle, task, predictor) for task in tasks]):
                    ended.result()
            finally:
                self._stopping.set()
                workers.shutdown(cancel_futures=True)

        return run

    # ---- one case

    def _read(self, task: Task, predictor: Predictor) -> Case:
        journal = Journal(lambda place, name, seconds: self._go_on())
        case = Case(self.setup, task.images, journal, name=task.case)
        case.look()
        case.read(predictor)
        case.prepare()
        journal.pause()
        return case

    def _settle(
        self, task: Task, reading: Future[Case] | _Now, predictor: Predictor, writer: _Writer | None = None
    ) -> None:
        """Take a case to its end, the last part in `writer`; whatever goes wrong becomes its outcome."""
        self._go_on()
        with self._counting:
            self._watcher(task.case, None, len(self._ledger), len(self.tasks))
        start = time.perf_counter()
        with self._border(task, start), ExitStack() as stack:
            if self._replaces:
                require_record(self.out / task.case)
            stack.enter_context(memory_as_resource())
            staged = stack.enter_context(staged_folder(self.out / task.case, overwrite=self._replaces))
            case = reading.result()
            case.journal.resume()
            with promised(0 if writer is None else case.held_bytes):  # to the next one, taken to be as large
                case.segment(predictor)
            finish = partial(self._finish, task, case, staged, start)
            if writer is None:
                finish(stack.pop_all())
                return
            case.journal.pause()
            writer.wait()  # one case at a time is written: others would pile up
            writer.begin(partial(finish, stack.pop_all()))

    def _finish(self, task: Task, case: Case, staged: Path, start: float, rest: ExitStack) -> None:
        """Measure and write a case that was segmented; `rest` publishes what was staged."""
        with self._border(task, start):
            with rest:
                case.journal.resume()
                result = case.publish(case.measure(), staged)
                seconds = case.journal.seconds
            notes = tuple(result.provenance["notes"])
            self._note(Outcome(case=task.case, status="ok", seconds=seconds, notes=notes))

    @contextmanager
    def _border(self, task: Task, start: float) -> Iterator[None]:
        """Make the outcome of a case of whatever goes wrong in it."""
        try:
            yield
        except Exception as problem:  # noqa: BLE001 - the border of a case: the others go on
            told = reason(problem)
            written = without_names(told, task.images, self._given_out)
            if record_in(self.out / task.case / "run.json"):
                written += " (its folder holds the results of an earlier run)"
            self._note(
                Outcome(
                    case=task.case,
                    status="failed",
                    seconds=time.perf_counter() - start,
                    reason=written,
                    told=told,
                )
            )

    def _note(self, outcome: Outcome) -> None:
        with self._counting:
            self._ledger[outcome.case] = outcome
            self._watcher(outcome.case, outcome, len(self._ledger), len(self.tasks))

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise _StoppedError

    def _progress(self, step: str, done: int, total: int) -> None:
        self._go_on()
        self._heard(step, done, total)

    # ---- what an earlier run left

    def _still_holds(self, task: Task, record: dict[str, Any]) -> bool:
        """Whether a case's files are as its record says, and its inputs and pipeline as they were."""
        folder, outputs = self.out / task.case, record.get("outputs")
        if not isinstance(outputs, dict) or "measurements.csv" not in outputs:
            return False
        try:
            present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
            if present != {*outputs, "run.json"}:
                return False
            if any(sha256_of(folder / name) != digest for name, digest in outputs.items()):
                return False
            inputs = {
                spec.name: joined(digests(task.images[spec.name], policy=policy_for(spec, self.setup.policy)))
                for spec in self.setup.pipeline.inputs
            }
        except (MedsegError, OSError):  # doing the case again says what is wrong
            return False
        return bool(record.get("identity") == self.setup.identity(inputs))

    def _record(self) -> dict[str, Any]:
        """What is true of all cases."""
        setup = self.setup
        known = provenance(
            case="", model=setup.model, pipeline=setup.pipeline, inputs=[], resources=setup.resources
        )
        shared = {key: value for key, value in known.items() if key not in ("case", "inputs")}
        return shared | {"policy": asked(setup.policy), "folders_of_no_case": self._foreign}


class _Now:
    """A case that is read when its result is asked for."""

    def __init__(self, read: Callable[[], Case]) -> None:
        self._read = read

    def result(self) -> Case:
        return self._read()


class _Writer:
    """A thread that ends one case while the next one is segmented."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="medseg-writer")
        self._last: Future[None] | None = None

    def begin(self, job: Callable[[], None]) -> None:
        """Do this next."""
        self._last = self._thread.submit(job)

    def wait(self) -> None:
        """Until what was begun has ended."""
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        """End the thread, after what it is doing."""
        self._thread.shutdown()


class _InTurn(Predictor):
    """A predictor that several threads share, one at a time."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._turn = threading.Lock()

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """As the predictor says."""
        with self._turn:
            return self._predictor.plan(grid, onto=onto, wanted=wanted)

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Segment when no other case is being segmented."""
        with self._turn:
            return self._predictor(volume, onto=onto, wanted=wanted)
