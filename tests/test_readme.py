"""The plugin in the README: its files, written as they stand there, install, run and go again."""

import os
import re
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"
COMPONENT = "medseg-smooth/medseg_smooth/smooth.py"
RECORD = "medseg-smooth/medseg_smooth/plugin.py"
MEDSEG = "from medseg.cli import main; main()"


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees the packages of this one and has its own place to install into."""

    folder: Path

    def python(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "200", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        environment.pop("MEDSEG_DISABLE_PLUGINS", None)
        return subprocess.run(
            [self.folder / "env" / "bin" / "python", *arguments],
            cwd=self.folder,
            env=environment,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def medseg(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self.python("-c", MEDSEG, *arguments)

    def pip(self, *arguments: str) -> None:
        done = self.python("-m", "pip", "--quiet", *arguments)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Nothing is downloaded: a path file adds the site-packages of the interpreter that runs the tests."""
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    ours = sysconfig.get_path("purelib")
    # addsitedir, not a plain path: an editable install is itself a path file in there
    (site / "these.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")
    return Environment(tmp_path)


def files_of_the_readme() -> dict[str, str]:
    """Content by file name: each fenced block under a line that names its file in backquotes."""
    text = README.read_text(encoding="utf-8")
    section = text.partition("\n## Write a plugin\n")[2].partition("\n## ")[0]
    blocks = re.findall(
        r"`([\w./-]+\.\w+)`[^`\n]*(?:`[^`\n]*`[^`\n]*)*\n\n```\w+\n(.*?)```\n", section, re.DOTALL
    )
    return dict(blocks)


def test_the_readme_shows_every_file_of_the_plugin() -> None:
    files = files_of_the_readme()
    assert set(files) == {
        COMPONENT,
        RECORD,
        "medseg-smooth/medseg_smooth/__init__.py",
        "medseg-smooth/pyproject.toml",
        "bright.yaml",
    }
    assert len([line for line in files[COMPONENT].splitlines() if line.strip()]) <= 10


def test_the_plugin_of_the_readme_is_installed_runs_and_is_gone(environment: Environment) -> None:
    for name, content in files_of_the_readme().items():
        path = environment.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    image, expected_ml = two_balls(environment.folder / "in.nii.gz")
    assert environment.medseg("pipelines", "check", "bright.yaml").returncode == 4

    environment.pip("install", "--no-index", "--no-build-isolation", "./medseg-smooth")
    listed = environment.medseg("plugins", "list").stdout
    assert re.search(r"^preprocessor +smooth +medseg-smooth 0\.1\.0 +Smooth the image", listed, re.MULTILINE)
    assert "sigma_mm" in environment.medseg("plugins", "show", "smooth").stdout
    checked = environment.medseg("plugins", "check", "medseg-smooth")
    assert (checked.returncode, checked.stdout) == (0, "medseg-smooth/smooth (preprocessor): ok\n")

    done = environment.medseg("segment", image, "--model", "bright.yaml", "--out", "out")
    assert done.returncode == 0, done.stderr
    found = re.search(r"^bright +([\d.]+) mL", done.stdout, re.MULTILINE)
    assert found, done.stdout
    assert float(found[1]) == pytest.approx(expected_ml, rel=0.03)
    assert '"medseg-smooth": "0.1.0"' in (environment.folder / "out" / "run.json").read_text(encoding="utf-8")

    environment.pip("uninstall", "--yes", "medseg-smooth")
    assert "medseg-smooth" not in environment.medseg("plugins", "list").stdout
    gone = environment.medseg("pipelines", "check", "bright.yaml")
    assert gone.returncode == 4
    assert "preprocess[0]: no preprocessor is called 'smooth'" in gone.stderr


def two_balls(path: Path) -> tuple[Path, float]:
    """A ball of radius 20 mm and 300 in 0, and a speck; with the ball's volume in mL, 4/3 pi r^3."""
    from nibabel.nifti1 import Nifti1Image

    spacing = np.array([1.5, 1.5, 3.0])
    index = np.stack(np.meshgrid(np.arange(44), np.arange(44), np.arange(22), indexing="ij"), axis=-1)
    ball = np.linalg.norm((index - (24, 20, 10)) * spacing, axis=-1) <= 20
    image = np.where(ball, 300, 0).astype(np.int16)
    image[3, 3, 3] = 300  # what smoothing must take away
    nifti = Nifti1Image(image, np.diag([*spacing, 1]))
    nifti.to_filename(path)
    return path, 4 / 3 * np.pi * 20**3 / 1000
