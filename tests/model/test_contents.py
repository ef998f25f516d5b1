"""What may lie in a model's folder."""

import os
from pathlib import Path

import pytest

from medseg.errors import ModelError
from medseg.model.contents import Part, check_forms, check_parts, inventory

GOOD = ("pipeline.yaml", "card.yaml")


def refused(*parts: Part) -> str:
    with pytest.raises(ModelError) as caught:
        check_parts([*(Part(name, 10) for name in GOOD), *parts])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("weights.safetensors", "folds/0/weights.safetensors", "w_1.0+rc-2.safetensors"),
        *("README.md", "LICENSE", "LICENCE", "LICENSE.txt", "LICENSE-Apache-2.0", "LICENSE-CC-BY-4.0.txt"),
        *("NOTICE", "recipe.yaml", "recipe.txt", "docs/figure.png"),
    ],
)
def test_a_model_may_have(name: str) -> None:
    check_parts([*(Part(each, 10) for each in GOOD), Part(name, 10)])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((f"weights.{kind}", ".safetensors only") for kind in ("pth", "pt", "pkl", "bin", "ckpt", "npy")),
        *((name, "is no file of a model") for name in ("run.py", "lib.so", "setup.cfg", "x.sh", "x.exe")),
        *((name, "is no file of a model") for name in ("inner.zip", "x.yaml", "a/card.yaml", "a/LICENSE")),
        *((name, "is no file of a model") for name in ("weights", "x.safetensors.py", "LICENSE-x.py")),
        *((name, "is no file of a model") for name in ("x.SAFETENSORS", "x.svg", "x.html", "LICENSE.so")),
        *((name, "leads out of") for name in ("../x.md", "a/../../x.md", "/x.md", "C:x.md", "a\\x.md")),
        *((name, "is not plainly named") for name in (".hidden.md", "a//x.md", "./x.md", "-x.md", "a b.md")),
        *(
            (name, "is not plainly named")
            for name in ("", "x.md/", "é.md", "x\0.md", "x\n.md", "\x1b[31m.md")
        ),
        ("a" * 101 + ".md", "is not plainly named"),
        ("a/b/c/d/e.md", "lies deeper than 4 levels"),
        ("a/" * 5000 + "e.md", "lies deeper than 4 levels"),
    ],
)
def test_a_model_may_not_have(name: str, said: str) -> None:
    assert said in refused(Part(name, 10))


@pytest.mark.parametrize(
    "names",
    [
        ("x.md", "x.md"),
        ("x.md", "X.md"),
        ("Card.md", "card.MD.md", "CARD.md"),
        ("x.md", "x.md/y.md"),
        ("x.md/y.md", "X.md"),
        ("Sub/x.md", "sub/y.md"),
    ],
)
def test_names_that_are_one_on_some_file_system_are_refused(names: tuple[str, ...]) -> None:
    assert "are one name, or differ in capitals only" in refused(*(Part(name, 10) for name in names))


def test_two_files_in_one_folder_are_no_clash() -> None:
    check_parts([Part("sub/x.md", 1), Part("sub/y.md", 1), Part("sub/sub/x.md", 1)])


def test_number_and_sizes_are_limited() -> None:
    check_parts([Part(f"{i}.md", 1) for i in range(1000)])
    with pytest.raises(ModelError, match="there are more than 1000 files"):
        check_parts([Part(f"{i}.md", 1) for i in range(1001)])
    gigabyte = 1 << 30
    check_parts([Part(f"{i}.safetensors", gigabyte) for i in range(4)])
    assert "more than the 4294967296" in refused(*(Part(f"{i}.safetensors", gigabyte) for i in range(4)))
    assert "are not weights, more than the" in refused(*(Part(f"{i}.png", 1 << 25) for i in range(2)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "sub").mkdir(parents=True)
    for name in (*GOOD, "sub/notes.md"):
        (tmp_path / "model" / name).write_text("text\n")
    return tmp_path / "model"


def test_the_inventory_has_every_file_with_its_size(folder: Path) -> None:
    assert inventory(folder) == (
        Part("card.yaml", 5),
        Part("pipeline.yaml", 5),
        Part("sub/notes.md", 5),
    )


@pytest.mark.parametrize("target", ["sub/notes.md", "sub", "/etc/passwd", "absent.md", "."])
def test_links_are_refused_wherever_they_lead(folder: Path, target: str) -> None:
    (folder / "link.md").symlink_to(target)
    with pytest.raises(ModelError, match=r"'link\.md' is a link"):
        inventory(folder)


def test_a_fifo_is_refused_unopened(folder: Path) -> None:
    os.mkfifo(folder / "sub" / "fifo.md")
    with pytest.raises(ModelError, match=r"'sub/fifo\.md' is a device, socket or FIFO"):
        inventory(folder)


def test_empty_folders_count_too(folder: Path) -> None:
    for number in range(2001):
        (folder / f"d{number}").mkdir()
    with pytest.raises(ModelError, match="more than 1000 files"):
        inventory(folder)


def test_folders_within_folders_end(folder: Path) -> None:
    (folder / "a/b/c/d/e").mkdir(parents=True)
    with pytest.raises(ModelError, match="lies deeper than 4 levels"):
        inventory(folder)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.md", b"\x80\x04.", "is not a text in UTF-8"),
        ("x.txt", b"a\0b", "is not a text in UTF-8"),
        ("LICENSE", b"\x7fELF\x02\x01\x01\0", "is not a text in UTF-8"),
        ("x.md", b"a" * ((1 << 20) + 1), "a text may have 1048576"),
        ("x.png", b"\x80\x04.", "is no PNG picture"),
    ],
)
def test_what_is_not_what_its_name_says_is_refused(
    folder: Path, name: str, content: bytes, said: str
) -> None:
    check_forms(folder, inventory(folder))
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        check_forms(folder, inventory(folder))
