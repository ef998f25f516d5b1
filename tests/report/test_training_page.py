import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image  # noqa: TID253  # every test here looks at pixels

from medseg.prediction import Measured
from medseg.report.training_page import CaseScores, FoldCurve, TrainingReport, WorstCase, write_training_page
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

EVIL = '<script>alert(1)</script>" onerror="x'
LABELS = LabelTable((Label(1, "liver"), Label(2, "tumour")))
VOID = {"meta", "img", "link", "br", "input", "base"}


class Page(HTMLParser):
    """What is in a page: every tag with its attributes, the words, the cells of each row."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words += data
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data

    @property
    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]

    def pixels(self, number: int) -> np.ndarray:
        uri = self.images[number]["src"]
        assert uri is not None
        head, _, content = uri.partition(",")
        assert head == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as picture:
            return np.asarray(picture.convert("RGB"))


def curve(name: str = "fold 0", *, labels: LabelTable = LABELS, epochs: int = 4) -> FoldCurve:
    rows: list[dict[str, float | int | None]] = []
    for epoch in range(1, epochs + 1):
        rows.append({"epoch": epoch, "step": epoch * 10, "rate": 0.01 / epoch, "loss": 1 / epoch})
        if epoch % 2 == 0:
            rows[-1]["dice_mean"] = 0.2 * epoch
            rows[-1] |= {f"dice {label.name}": 0.2 * epoch for label in labels}
    return FoldCurve(name, rows)


def scores(case: str, dice: dict[str, float | None], fold: str = "fold 0", unit: str = "mm") -> CaseScores:
    rows = []
    for label, value in dice.items():
        flag = "absent from both" if value is None else ""
        rows.append(Measured(label=label, quantity="dice", value=value, flag=flag))
        distance = None if value is None else 10 * (1 - value)
        rows.append(Measured(label=label, quantity="hd95", value=distance, unit=unit, flag=flag))
    return CaseScores(case, fold, tuple(rows))


def worst(case: str = "case", label: str = "liver") -> WorstCase:
    grid = Grid((24, 30, 20), np.diag([2.0, 2.0, 3.0, 1.0]))
    found, wanted = np.zeros((2, 1, *grid.shape), np.uint8)
    wanted[0, 6:14, 8:20, 5:15] = 1
    found[0, 10:18, 8:20, 5:15] = 1
    labels = LabelTable((Label(1, label),))
    volume = Volume(np.full((1, *grid.shape), 100, np.int16), grid)
    return WorstCase(
        case,
        "fold 0",
        volume,
        Segmentation(found, grid, labels),
        Segmentation(wanted, grid, labels),
        {label: 0.5},
    )


def written(report: TrainingReport, folder: Path) -> Page:
    path = folder / "report.html"
    write_training_page(report, path)
    assert [entry.name for entry in folder.iterdir()] == ["report.html"]
    return Page(path)


def full(name: str = "liver-ct", case: str = "case", label: str = "liver", words: str = "") -> TrainingReport:
    labels = LabelTable((Label(1, label), Label(2, "tumour")))
    return TrainingReport(
        name=name,
        facts=[("dataset", "abdomen"), (f"wall time{words}", f"3 min{words}")],
        labels=labels,
        curves=[curve(f"fold 0{words}", labels=labels)],
        cases=[scores(case, {label: 0.5, "tumour": None}, f"fold 0{words}")],
        worst=[worst(case, label)],
        chosen=[f"keep-largest: 0.9 rather than 0.8{words}"],
        notes=[f"One case had no label{words}"],
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """One with everything in it; drawing takes its time."""
    return written(full(), tmp_path_factory.mktemp("page"))


def test_says_what_was_trained_how_well_and_that_it_is_for_research_only(page: Page) -> None:
    assert "liver-ct: training report" in page.words
    assert "Research use only. Not for diagnosis." in page.words
    assert ["dataset", "abdomen"] in page.rows
    assert "keep-largest: 0.9 rather than 0.8" in page.words
    assert "One case had no label" in page.words
    assert ["fold 0", "4", "0.2500", "0.800 (epoch 4)", "0.800"] in page.rows
    assert ["Dice", "liver", "0.500", "\u2013", "0.500", "0.500", "0.500", "1 of 1"] in page.rows
    assert ["HD95 (mm)", "tumour", *["\u2013"] * 5, "0 of 1"] in page.rows
    assert len(page.images) == 4  # curves, labels' curves, strips, the worst case's liver


def test_names_from_files_are_escaped_everywhere(tmp_path: Path) -> None:
    page = written(full(EVIL, EVIL, f"{EVIL} $\\bad", EVIL), tmp_path)
    assert not any(tag == "script" for tag, _ in page.tags)
    assert "<script" not in page.source
    assert f"{EVIL}: training report" in page.words
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert any(EVIL in (image["alt"] or "") for image in page.images)


def test_needs_nothing_from_elsewhere_and_forbids_itself_to_ask(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "form", "a", "base", "video")
        for name in ("src", "href", "action", "srcset", "data", "style", "poster", "background"):
            assert (attributes.get(name) or "data:image/png;").startswith("data:image/png;")
        assert not any(name.startswith("on") for name in attributes)
    without_pictures = re.sub(r'src="data:image/png;base64,[^"]*"', "", page.source)
    assert not re.search(r"https?:|//|file:|url\(|@import", without_pictures)
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_characters_that_no_file_holds_or_that_turn_text_round_become_blanks(tmp_path: Path) -> None:
    page = written(full(case="a\udc80b\u202ec\x00d\ne"), tmp_path)
    assert "a b c d e" in page.words
    assert not set("\u202e\x00") & set(page.source)


def test_every_picture_shows_something_and_says_what(page: Page) -> None:
    for number, image in enumerate(page.images):
        pixels = page.pixels(number)
        assert (str(pixels.shape[1]), str(pixels.shape[0])) == (image["width"], image["height"])
        assert np.any(pixels != pixels[0, 0], axis=-1).mean() > 0.005
        assert len(image["alt"] or "") > 30
    assert "loss from 1 to 0.25 in 4 epochs" in (page.images[0]["alt"] or "")


def test_cases_stand_in_the_order_of_their_mean_dice_with_flags(tmp_path: Path) -> None:
    cases = [
        scores("good", {"liver": 0.9, "tumour": 0.7}),
        scores("none", {"liver": None, "tumour": None}),
        scores("bad", {"liver": 0.2, "tumour": None}),
    ]
    page = written(TrainingReport("m", [], LABELS, cases=cases), tmp_path)
    table = {row[0]: row for row in page.rows[-3:]}
    assert list(table) == ["bad", "good", "none"]
    dash = "\u2013"
    flagged = f"{dash}absent from both"
    assert table["bad"] == ["bad", "fold 0", "0.200", "0.200", flagged, "8.00", "8.00", flagged]
    assert table["good"] == ["good", "fold 0", "0.800", "0.900", "0.700", "2.00", "1.00", "3.00"]
    assert page.rows[-4] == ["mean \u25b2", "liver", "tumour", "mean", "liver", "tumour"]


def test_many_labels_have_no_columns_of_their_own(tmp_path: Path) -> None:
    labels = LabelTable(tuple(Label(n, f"label {n}") for n in range(1, 43)))
    cases = [scores(f"c{n}", {label.name: 0.5 for label in labels}, f"fold {n}") for n in range(5)]
    page = written(TrainingReport("m", [], labels, cases=cases), tmp_path)
    assert page.rows[-1] == ["c4", "fold 4", "0.500", "5.00"]
    assert "2 more are in the table only" in page.words


@pytest.mark.parametrize("folds", [1, 5, 12])
def test_any_number_of_folds_and_one_label(tmp_path: Path, folds: int) -> None:
    labels = LabelTable((Label(1, "nucleus"),))
    report = TrainingReport(
        "m",
        [],
        labels,
        curves=[curve(f"fold {n}", labels=labels) for n in range(folds)],
        cases=[scores(f"case {n}", {"nucleus": 0.5}, f"fold {n}", "px") for n in range(folds)],
    )
    page = written(report, tmp_path)
    assert len(page.images) == 2  # the label's curve would be the mean's
    assert page.rows[-1][2:] == ["0.500", "5.00"]
    assert "HD95 (px)" in page.rows[-folds - 2]


def test_a_training_without_validation(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "loss": 0.5, "rate": 1e-3, "dice_mean": None}]
    page = written(TrainingReport("m", [], LABELS, curves=[FoldCurve("all cases", rows)]), tmp_path)
    assert "No case was held out" in page.words
    assert "The worst cases" not in page.words
    assert len(page.images) == 1


def test_nothing_at_all(tmp_path: Path) -> None:
    page = written(TrainingReport("m", [], LabelTable(())), tmp_path)
    assert "No epoch was logged." in page.words
    assert page.images == []


def test_the_worst_cases_may_come_one_at_a_time_and_equal_ones_say_so(tmp_path: Path) -> None:
    same = worst("same")
    same = WorstCase("same", "fold 1", same.volume, same.reference, same.reference, {"liver": 1.0})
    page = written(TrainingReport("m", [], LABELS, worst=(w for w in (worst("first"), same))), tmp_path)
    assert page.words.index("first") < page.words.index("same")
    assert "Prediction and reference are the same." in page.words
    assert len(page.images) == 1


def test_the_same_report_is_the_same_page_and_replaces_an_older_one(page: Page, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("older")
    assert written(full(), tmp_path).source == page.source
