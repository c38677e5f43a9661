"""A report holds what it was given, escaped, and asks nothing of anybody else."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from lepton_monai.exports.plots import Group, agreement, spread, unit_square
from lepton_monai.exports.report import Picture, Section, Table, write_report

PNG = b"\x89PNG\r\n\x1a\nnot drawn"


class _Read(HTMLParser):
    """Collects the words and the addresses of a page, and tells whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read(path: Path) -> _Read:
    page = _Read()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


def test_words_are_escaped_and_tags_closed(tmp_path: Path) -> None:
    evil = "<script>alert('Läsion & co')</script>"
    group = Group([0.5, float("nan")], 0.5, 0.4, 0.6)
    sections = [
        Section(evil, [evil], [Table([evil], [[evil]], evil), Picture(PNG, "a png")]),
        Section("drawn", parts=[Picture(spread({evil: group}, "Dice"), evil)]),
    ]
    write_report(evil, [evil], sections, tmp_path / "report.html")
    page = _read(tmp_path / "report.html")
    assert page.open == []
    # The title in two places, lead, section, sentence, a table of three, the drawing and its caption.
    assert page.words.count(evil) == 10
    assert "<script" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    drawing = agreement({"a": [(1.0, 2.0)], "b": [(3.0, 1.0)]}, "ml")
    sections = [Section("all", parts=[Picture(PNG, "png"), Picture(drawing, "svg")])]
    write_report("title", [], sections, tmp_path / "report.html")
    addresses = _read(tmp_path / "report.html").addresses
    assert addresses
    assert all(one.startswith(("data:image/png;base64,", "#")) for one in addresses)


def test_a_section_without_content_is_left_out(tmp_path: Path) -> None:
    write_report("title", [], [Section("nothing")], tmp_path / "report.html")
    assert "nothing" not in _read(tmp_path / "report.html").words


def test_the_same_figures_give_the_same_drawing() -> None:
    group = Group(np.linspace(0.2, 0.9, 12).tolist(), 0.55, 0.4, 0.7)
    assert spread({"tumour": group}, "Dice") == spread({"tumour": group}, "Dice")


def test_a_class_without_a_defined_value_is_drawn_empty() -> None:
    nan = float("nan")
    assert "tumour" in spread({"tumour": Group([nan], nan, nan, nan)}, "Dice")
    assert "true (ml)" in agreement({"tumour": [(0.0, 0.0)]}, "ml")


def test_the_names_of_classes_are_no_formulas() -> None:
    line = (np.array([0.0, 1.0]), np.array([0.0, 0.5]))
    assert "a$x^$" in unit_square({"a$x^$": line}, "across", "up")
    drawing = agreement({"a$x^$": [(1.0, 2.0)], "_b": [(3.0, 1.0)]}, "ml")
    assert "a$x^$" in drawing
    assert ">_b<" in drawing


def test_a_square_without_lines_is_drawn() -> None:
    assert "sensitivity" in unit_square({}, "1 - specificity", "sensitivity")
