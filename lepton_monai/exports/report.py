"""A report as one HTML file, for a browser or a printer: no script, nothing loaded from elsewhere."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from lepton_monai.core.files import write_text
from lepton_monai.core.findings import Finding

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2330 }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .6rem 0 } caption { text-align: left; color: #56607a }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top }
th, td { border-bottom: 1px solid #dde2ec }
td { font-variant-numeric: tabular-nums } figure { margin: 1rem 0 } figcaption { color: #56607a }
img, svg { max-width: 100%; height: auto } .scroll { overflow-x: auto }
@media print { body { margin: 0; max-width: none } figure, tr { break-inside: avoid } }
"""


NO_DEVICE = "No medical device: for research, never for a decision about a patient."


@dataclass(frozen=True)
class Table:
    """Rows of text below a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG, or a drawing as SVG."""

    content: bytes | str
    caption: str


@dataclass(frozen=True)
class Section:
    """What stands below one heading: sentences, then tables and pictures."""

    title: str
    sentences: Sequence[str] = ()
    parts: Sequence[Table | Picture] = ()


def write_report(title: str, lead: Sequence[str], sections: Sequence[Section], path: Path) -> None:
    """Write a report.

    Parameters
    ----------
    title, lead
        What it is of, and what a reader must know first.
    sections
        In their order; one without any content is left out.
    path
        To make, or to replace.
    """
    told = [_section(one) for one in sections if one.sentences or one.parts]
    body = "\n".join([f"<h1>{escape(title)}</h1>", *_paragraphs(lead), *told])
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    write_text(
        path, f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'
    )


def left_out(findings: Sequence[tuple[str, Finding]]) -> list[Table]:
    """Return a table of what was noted of cases; none where nothing was."""
    rows = [[name, finding.sentence()] for name, finding in findings]
    return [Table(["case", "why"], rows)] if rows else []


def _section(one: Section) -> str:
    parts = [_table(part) if isinstance(part, Table) else _picture(part) for part in one.parts]
    return "\n".join([f"<h2>{escape(one.title)}</h2>", *_paragraphs(one.sentences), *parts])


def _paragraphs(sentences: Sequence[str]) -> list[str]:
    return [f"<p>{escape(one)}</p>" for one in sentences]


def _table(table: Table) -> str:
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return f'<div class="scroll"><table>{caption}<tr>{head}</tr>\n{rows}</table></div>'


def _picture(picture: Picture) -> str:
    if isinstance(picture.content, str):
        drawn = picture.content[picture.content.index("<svg") :]
    else:
        data = base64.b64encode(picture.content).decode("ascii")
        drawn = f'<img alt="{escape(picture.caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{drawn}<figcaption>{escape(picture.caption)}</figcaption></figure>"
