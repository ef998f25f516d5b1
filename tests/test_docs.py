"""The documentation says what the program does: names, commands, pipelines, links and printed results."""

import hashlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

import medseg
from medseg.assemble import assemble
from medseg.cli import COMMANDS
from medseg.cli import medseg as command_line
from medseg.config import read_pipeline
from medseg.model import Card
from medseg.plugin import Component
from medseg.plugin.catalog import KINDS, Catalog, Entry, discover
from medseg.testing.contracts import check_plugins

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n((?:(?!```).*\n)+)```\n", re.MULTILINE)
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*")


def by_path(name: str) -> ModuleType:
    """A module in docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return by_path("reference")


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    return by_path("refresh")


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, *languages: str) -> Iterator[str]:
    for language, content in FENCED.findall(path.read_text(encoding="utf-8")):
        if language in languages:
            yield content


# ---- the generated reference


def test_every_hook_has_a_heading(reference: ModuleType) -> None:
    page = reference.hooks()
    assert [name for name in KINDS if f"\n## {name}()\n" not in page] == []
    assert page.count("```python") == len(KINDS)


def test_every_component_and_parameter_appears(reference: ModuleType) -> None:
    page = reference.components()
    for entry in discover().entries:
        section = re.search(rf"^### {entry.component.name}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, entry.qualified
        assert f"*{entry.distribution}*" in section[1]
        if entry.kind != "model":
            for parameter in entry.load().model_fields:
                assert f"\n| `{parameter}` |" in section[1], entry.qualified


def test_every_command_appears(reference: ModuleType) -> None:
    page = reference.cli()
    assert [name for name in COMMANDS if f"\n## `medseg {name}`\n" not in page] == []
    assert "\n## `medseg plugins check`\n" in page
    assert "\\b" not in page


def test_every_public_name_appears(reference: ModuleType) -> None:
    page, errors = reference.python(), reference.failures()
    assert [name for name in medseg.__all__ if f"\n## {name}\n" not in page and name not in errors] == []


def test_every_key_of_the_pipeline_file_appears(reference: ModuleType) -> None:
    page = reference.pipeline_file()
    for key in (
        "inputs",
        "labels",
        "preprocess",
        "segment",
        "refine",
        "postprocess",
        "measure",
        "write",
        "modality",
        "pair",
    ):
        assert f"\n| `{key}` |" in page


def test_no_generated_page_leaks_what_renders_badly(reference: ModuleType) -> None:
    """A table's row must stay on its line, and nothing may show an object's address."""
    for make in ("cli", "pipeline_file", "components", "hooks", "python", "failures"):
        page = getattr(reference, make)()
        assert " at 0x" not in page, make
        assert page.count("```") % 2 == 0, make
        for row in re.findall(r"^\|.*$", page, re.MULTILINE):
            assert row.endswith("|"), row
            assert len(re.findall(r"(?<!\\)\|", row)) == 5, row


# ---- what the pages print


def printed_commands() -> list[tuple[str, str]]:
    return [
        (page_id(page), line.partition(" #")[0].partition(" > ")[0].strip())
        for page in PAGES
        for block in blocks(page, "", "sh", "bash")
        for line in block.splitlines()
        if line.removeprefix(".venv/bin/").startswith("medseg ")
    ]


@pytest.mark.parametrize(("page", "line"), printed_commands())
def test_every_printed_command_parses(page: str, line: str) -> None:
    arguments = shlex.split(line)[1:]
    command: click.Command = command_line
    context = click.Context(command, info_name="medseg")
    while isinstance(command, click.Group):
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, click.Context(found, info_name=found.name, parent=context)
    command.parse_args(context, list(arguments))


def pipelines() -> list[tuple[str, str]]:
    return [(page_id(page), block) for page in PAGES for block in blocks(page, "yaml") if "segment:" in block]


def stand_in_for_weights(path: Path) -> str:
    """Write a small safetensors file; gives its SHA-256."""
    save_file({"weight": np.zeros(4, np.float32)}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("page", "text"), pipelines())
def test_every_pipeline_assembles(page: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    for path, digest in re.findall(r"path: ([\w.-]+), sha256: (\S+?)}", text):  # the test has no such weights
        text = text.replace(digest, stand_in_for_weights(tmp_path / path), 1)
    file.write_text(text, encoding="utf-8")
    catalog = discover()
    if "smooth:" in text:  # the plugin of the README; that it runs is tested where it is installed
        record = Component("smooth", "medseg.builtin.preprocess.pad:Pad", "Stands in for it.")
        text = text.replace("sigma_mm: 2", "margin_mm: 2")
        file.write_text(text, encoding="utf-8")
        catalog = Catalog((*catalog.entries, Entry("preprocessor", record, "medseg-smooth", "0.1.0")))
    assert assemble(read_pipeline(file), catalog, folder=tmp_path).segment.distribution.startswith("medseg")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    made = {
        f"docs/reference/{name}.md"
        for name in ("cli", "pipeline-file", "components", "hooks", "python", "errors")
    }
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        path = (page.parent / target).resolve()
        assert path.exists() or path.relative_to(ROOT).as_posix() in made, target


def test_the_outputs_on_the_pages_are_what_the_examples_give(
    refresh: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words must be equal, and numbers within 2 % or the last place of an error in per cent.

    `python docs/refresh.py` brings the pages up to date.
    """
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    with chdir(tmp_path):
        for page in refresh.PAGES:
            text = (ROOT / page).read_text(encoding="utf-8")
            assert sum(found[3] is not None for found in refresh.examples(text)) >= 1, page
            fresh = refresh.refreshed(text, {})
            assert words(fresh) == words(text), f"{page} is out of date: run python docs/refresh.py"
            assert numbers(fresh) == pytest.approx(numbers(text), rel=0.02, abs=0.11), (
                f"{page}: run python docs/refresh.py"
            )


def test_the_lists_of_the_cards_are_on_the_pages(refresh: ModuleType) -> None:
    for page in refresh.CARD_PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert refresh.from_card(text, Path(page).stem) == text, f"{page}: run python docs/refresh.py"


def words(text: str) -> list[str]:
    return NUMBER.sub("#", re.sub(r"dicom-\w{12}", "dicom-#", text)).split()


def numbers(text: str) -> list[float]:
    return [
        float(n.replace(",", ""))
        for n in NUMBER.findall(re.sub(r"dicom-\w{12}", "", text))
        if n.strip("-+,.")
    ]


def test_the_classes_in_write_a_plugin_keep_to_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs/how-to/write-a-plugin.md"
    code = "\n".join(block for block in blocks(page, "python") if "(medseg." in block)
    (tmp_path / "shown_in_docs.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    kinds = {
        "Refiner": "refiner",
        "Postprocessor": "postprocessor",
        "Measurement": "measurement",
        "Writer": "writer",
        "Segmenter": "segmenter",
        "Network": "network",
        "Head": "head",
        "Loss": "loss",
        "IntensityAugmentation": "augmentation",
        "Metric": "metric",
    }
    shown = re.findall(r"^class (\w+)\(medseg\.(\w+)\)", code, re.MULTILINE)
    entries = [
        Entry(kinds[base], Component(name.lower(), f"shown_in_docs:{name}", "In the docs."), "docs", "0")
        for name, base in shown
        if base in kinds
    ]
    assert {entry.kind for entry in entries} == set(kinds.values())
    assert [str(finding) for finding in check_plugins(Catalog(tuple(entries))) if finding.problem] == []
    sys.modules.pop("shown_in_docs")


def test_the_card_in_write_a_plugin_is_one() -> None:
    cards = [b for b in blocks(ROOT / "docs/how-to/write-a-plugin.md", "yaml") if "intended_use:" in b]
    assert [Card.model_validate(yaml.safe_load(card)).name for card in cards] == ["bright-parts"]
