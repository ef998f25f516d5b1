import re
from html.parser import HTMLParser
from pathlib import Path

from medseg.report.charts import Picture
from medseg.report.evaluation_page import EvaluationReport, Section, write_evaluation_page

PICTURE = Picture("data:image/png;base64,AAAA", 10, 20, 'what "it" shows', "a caption")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def written(tmp_path: Path, report: EvaluationReport) -> str:
    path = tmp_path / "report.html"
    write_evaluation_page(report, path)
    return path.read_text(encoding="utf-8")


def test_all_that_is_told_is_on_the_page(tmp_path: Path) -> None:
    page = written(
        tmp_path,
        EvaluationReport(
            [("Cases", "12")],
            ("Metric", "Label", "Mean"),
            [("dice", "liver", "0.912"), ("hd95, mm", "liver", "3.10")],
            [Section("Scores", "of each case", [("dice", PICTURE)])],
            ["a: put onto the reference's voxels"],
        ),
    )
    for words in ("12", "0.912", "hd95, mm", "of each case", "a caption", "put onto the reference&#39;s"):
        assert words in page
    assert (
        '<img src="data:image/png;base64,AAAA" width="10" height="20" alt="what &#34;it&#34; shows">' in page
    )
    tags = Tags()
    tags.feed(page)
    assert tags.open == []


def test_nothing_is_loaded_and_names_are_text(tmp_path: Path) -> None:
    report = EvaluationReport([], ("Metric", "Label"), [("dice", "<script>alert(1)</script>\u202e")])
    page = written(tmp_path, report)
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "\u202e" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
