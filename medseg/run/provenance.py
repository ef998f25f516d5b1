"""What was done, with what, how long it took and how much memory: the content of `run.json`."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medseg.io import STRICT, Policy
from medseg.memory import peak_bytes, reset_peak
from medseg.model import Model
from medseg.pipeline import Pipeline, blamed
from medseg.prediction import Resources
from medseg.report import NOTICE
from medseg.volume import Planes, Volume

__all__ = [
    "Journal",
    "asked",
    "describe_input",
    "describe_pipeline",
    "environment",
    "identity",
    "joined",
    "maker",
    "provenance",
    "sha256_of",
    "write_run_json",
]

LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-image",
    "SimpleITK",
    "nibabel",
    "pydicom",
    "connected-components-3d",
    "edt",
    "torch",
    "monai",
)
UID_TAIL = 8  # characters; enough to tell two series apart
Listener = Callable[[str, str, float | None], None]


class Journal:
    """Times every step and takes its peak memory; tells a listener when a step starts and ends.

    `listener(place, name, seconds)` is called with seconds of None at the start. Memory is the peak resident
    set of the process during the step; where the system cannot reset its mark, the peak so far.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self.started = datetime.now(UTC)
        self.steps: list[dict[str, Any]] = []
        self._listener = listener or (lambda place, name, seconds: None)
        self._clock = time.perf_counter()
        self._paused: float | None = None

    @contextmanager
    def step(self, place: str, name: str) -> Iterator[None]:
        """Watch one step."""
        self._listener(place, name, None)
        reset_peak()
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.steps.append(
            {
                "step": place,
                "component": name,
                "seconds": round(seconds, 3),
                "peak_memory_mb": peak_bytes() >> 20,
            }
        )
        self._listener(place, name, seconds)

    def pause(self) -> None:
        """Leave out of `seconds` what passes from here to `resume`: the case waits for its turn."""
        self._paused = time.perf_counter()

    def resume(self) -> None:
        """Count again."""
        if self._paused is not None:
            self._clock += time.perf_counter() - self._paused
        self._paused = None

    @property
    def seconds(self) -> float:
        """Wall time since the journal was opened, waiting left out."""
        return time.perf_counter() - self._clock


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_input(name: str, volume: Volume) -> dict[str, Any]:
    """An input without its path, which may hold a patient's name: format, hashes, geometry, verdict."""
    grid = volume.grid
    what: dict[str, Any] = {
        "name": name,
        "shape": list(grid.shape),
        "spacing": [round(s, 6) for s in grid.spacing],
        "unit": grid.unit,
        "orientation": grid.axis_codes,
        "channels": list(volume.channels),
        "dtype": str(volume.array.dtype),
    }
    source = volume.source
    if source is None:
        return {**what, "format": "array", "sha256": hashlib.sha256(volume.array.tobytes()).hexdigest()}
    return {
        **what,
        "format": source.format,
        "modality": source.modality,
        "files": len(source.files),
        "sha256": joined(source.sha256),
        "verdict": source.verdict,
        "policies": list(source.policies),
        "decided": list(source.decided),
        "planes": _positions(source.native) if isinstance(source.native, Planes) else None,
    }


def _positions(planes: Planes) -> list[list[float]]:
    """Where the first voxel of each original slice lies, RAS+ mm, in their order."""
    return [[round(float(v), 4) for v in affine[:3, 3]] for affine in planes.affines]


def asked(policy: Policy) -> dict[str, Any]:
    """What a policy decides, without what is refused by default.

    Of a series rule that a user typed, only what cannot hold a name or a full UID is repeated.
    """
    said = {
        name: value
        for name in ("gaps", "tilt", "duplicates", "phase", "suv")
        if (value := getattr(policy, name)) != getattr(STRICT, name)
    }
    if policy.series is not None:
        rule = policy.series.model_dump(mode="json", exclude_defaults=True)
        if "uid" in rule:
            rule["uid"] = f"...{rule['uid'][-UID_TAIL:]}"
        if "description" in rule:
            rule["description"] = "as typed, not recorded"
        said["series"] = rule
    return said


def joined(digests: Sequence[str]) -> str:
    """The digest of an input of several files; that of its file where there is only one."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def identity(
    pipeline: Pipeline,
    *,
    inputs: Mapping[str, str],
    seed: int,
    pixel_size: float | None,
    policy: Policy = STRICT,
    precision: str = "fp32",
) -> str:
    """A digest of what decides the results: pipeline, weights, versions, inputs, seed, policy, precision.

    Two runs of one identity on the same kind of device give the same files. `inputs` has the SHA-256 of each
    input by its name.
    """
    decisive = {
        "pipeline": describe_pipeline(pipeline),
        "only": sorted(pipeline.only) if pipeline.only is not None else None,
        "plugins": {stage.distribution: stage.version for stage in pipeline.stages},
        "weights": _weights(pipeline),
        "inputs": dict(inputs),
        "seed": seed,
        "pixel_size": pixel_size,
        "precision": precision,
        "policy": {
            **{name: getattr(policy, name) for name in ("gaps", "tilt", "duplicates", "phase", "suv")},
            "series": policy.series and policy.series.model_dump(mode="json", exclude_defaults=True),
        },
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _weights(pipeline: Pipeline) -> dict[str, str]:
    with blamed(pipeline.segment):
        return dict(pipeline.segment.step.files())


def describe_pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """The pipeline in full, as a pipeline file would say it: qualified names, every parameter."""
    return {
        "inputs": [
            {
                "name": spec.name,
                **({"modality": spec.modality} if spec.modality else {}),
                **(
                    {"select": spec.select.model_dump(mode="json", exclude_defaults=True)}
                    if spec.select
                    else {}
                ),
            }
            for spec in pipeline.inputs
        ],
        "labels": {
            label.value: {
                key: value
                for key in ("name", "code", "colour", "layer", "pair")
                if (value := getattr(label, key)) is not None
            }
            for label in pipeline.labels
        },
        "preprocess": [dict(stage.written) for stage in pipeline.preprocess],
        "segment": dict(pipeline.segment.written),
        "refine": [dict(stage.written) for stage in pipeline.refine],
        "postprocess": [dict(stage.written) for stage in pipeline.postprocess],
        "measure": [dict(stage.written) for stage in pipeline.measure],
        "write": [dict(stage.written) for stage in pipeline.write],
    }


def provenance(
    *, case: str, model: Model, pipeline: Pipeline, inputs: list[dict[str, Any]], resources: Resources
) -> dict[str, Any]:
    """What is known before the walk begins."""
    return {
        **maker(),
        "case": case,
        "model": {
            "name": model.name,
            "version": model.card.version if model.card else None,
            "licence": model.card.licence if model.card else None,
            "distribution": model.entry.distribution if model.entry else None,
            "pipeline_sha256": model.sha256,
            "weights": _weights(pipeline),
        },
        "pipeline": describe_pipeline(pipeline),
        "only": list(pipeline.only) if pipeline.only is not None else None,
        "plugins": {stage.distribution: stage.version for stage in pipeline.stages},
        "inputs": inputs,
        "seed": resources.seed,
        "resources": {
            "device": resources.device,
            "engine": resources.engine,
            "precision": resources.precision,
            "max_memory_bytes": resources.max_memory_bytes,
            "threads": resources.threads,
            "deterministic": resources.deterministic,
        },
        "environment": environment(),
    }


def maker() -> dict[str, Any]:
    """What every record begins with: that medseg wrote it, in which version, and what it is not for."""
    return {"medseg": {"version": version("medseg")}, "notice": NOTICE}


def environment() -> dict[str, Any]:
    """Where it ran, and with which libraries."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write_run_json(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write `run.json`, the last file of a case: it marks the case complete."""
    path = folder / "run.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
