"""What starting costs: the only tests here that start processes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

FAKES = Path(__file__).parent / "plugin" / "fake"
HEAVY = {
    *(
        "torch",
        "monai",
        "numpy",
        "pydantic",
        "SimpleITK",
        "scipy",
        "skimage",
        "nibabel",
        "pydicom",
        "matplotlib",
    ),
    *("PIL", "cc3d", "edt", "tifffile", "highdicom"),
}
# A finder that stands first sees every attempt to import, of what is missing too.
RECORDER = """
import sys
tried = set()
class Recorder:
    def find_spec(self, name, path=None, target=None):
        tried.add(name)
        return None
sys.meta_path.insert(0, Recorder())
sys.path[:0] = {paths!r}
from medseg.cli import run
code = run({arguments!r})
print("CODE", code, file=sys.stderr)
print("TRIED", *sorted(tried), file=sys.stderr)
"""


def started(*arguments: str, paths: tuple[str, ...] = ()) -> tuple[int, str, set[str], float]:
    """Exit code, stderr, every module that was asked for, and seconds of a command in a fresh process."""
    code = RECORDER.format(paths=[str(FAKES / path) for path in paths], arguments=list(arguments))
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    seconds = time.perf_counter() - start
    said, _, rest = done.stderr.rpartition("CODE ")
    number, _, tried = rest.partition("\nTRIED ")
    return int(number), said, set(tried.split()), seconds


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("plugins", "list"),
        ("plugins", "list", "--json"),
        ("plugins", "--help"),
        ("models", "--help"),
        ("segment", "--help"),
        ("evaluate", "--help"),
        ("pipelines", "check", "--help"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_starting_does_not_even_try_to_import_anything_heavy(arguments: tuple[str, ...]) -> None:
    code, _, tried, seconds = started(*arguments, paths=("good", "misbehaving", "classes", "import_error"))
    assert code == (64 if arguments == ("nonsense",) else 0)
    assert not tried & HEAVY
    assert "click" in tried
    assert seconds < 3


def test_listing_asks_plugins_for_their_records_only() -> None:
    _, said, tried, _ = started("plugins", "list", paths=("good", "classes", "import_error"))
    assert {name for name in tried if name.startswith("fake_")} == {
        *("fake_good", "fake_good.plugin", "fake_classes", "fake_classes.plugin"),
        *("fake_import_error", "fake_import_error.plugin"),
    }
    assert "fake-import-error 1.2" in said


def test_the_recorder_sees_what_a_component_needs() -> None:
    code, _, tried, _ = started("plugins", "show", "resample")
    assert code == 0
    assert {"numpy", "pydantic", "medseg.builtin.preprocess.resample"} <= tried
    assert not tried & {"torch", "monai", "SimpleITK", "matplotlib"}


def test_a_typo_in_a_pipeline_is_told_before_anything_reads_an_image(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("segment: threshold\npostprocess: [keep-largst]\n")
    code, said, tried, _ = started("pipelines", "check", str(path))
    assert code == 4
    assert said.count("\n") == 1
    assert "postprocess[0]: no postprocessor is called 'keep-largst'; did you mean 'keep-largest'?" in said
    assert not tried & {"torch", "monai", "SimpleITK", "nibabel", "pydicom", "PIL", "tifffile", "matplotlib"}
    assert not {f"medseg.io.{reader}" for reader in ("nifti", "dicom", "itk", "picture", "decoder")} & tried


def test_a_network_is_checked_with_its_weights_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    path = tmp_path / "p.yaml"
    path.write_text(
        "labels: {1: {name: liver}}\n"
        "segment: {network: {architecture: unet, head: softmax, window: {patch: [16, 16, 16]}, "
        f"weights: [{{path: w.safetensors, sha256: {'a' * 64}}}]}}}}\n"
    )
    code, said, tried, _ = started("pipelines", "check", str(path))
    assert code == 4
    assert said.count("\n") == 1
    assert "w.safetensors" in said
    assert "sha256" in said
    assert not tried & {"torch", "monai", "safetensors", "SimpleITK", "nibabel", "pydicom", "scipy"}


def test_a_disabled_plugin_is_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSEG_DISABLE_PLUGINS", "*")
    code, said, tried, _ = started("plugins", "list", paths=("good", "loud"))
    assert code == 0
    assert not {name for name in tried if name.startswith("fake_")}
    assert "disabled by MEDSEG_DISABLE_PLUGINS: fake-loud" in said
