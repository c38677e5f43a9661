"""What is printed: plain text for a person, and the same as one document."""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_monai.cli.terminal import on_terminal, visible
from lepton_monai.core.errors import PartlyDoneError
from lepton_monai.core.findings import FILE, RULES, Finding
from lepton_monai.core.wording import counted

if TYPE_CHECKING:  # each verb's own command imports it; the others shall not pay for it
    from lepton_monai.verbs.check import CheckReport
    from lepton_monai.verbs.convert import ConvertReport
    from lepton_monai.verbs.index import IndexReport, SeriesRow
    from lepton_monai.verbs.predict import PredictReport

Named = tuple[str, Finding]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows below a head; numbers to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if re.match(r"^-?[\d.]", cell) else cell.ljust(width)
            for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def finding_line(name: str, finding: Finding, roots: Sequence[Path] = ()) -> str:
    """Return severity, code, where, sentence and what to do as one line."""
    where = visible(relative_path(finding.path, roots)) if finding.path and roots else ""
    place = " ".join(part for part in (name, f"({where})" if where else "") if part)
    there = on_terminal(finding.names, sys.stdout)
    return f"{finding.severity} {finding.code} {place}: {finding.sentence()}{there}"


def relative_path(path: Path, roots: Sequence[Path]) -> str:
    """Return a path below the root that holds it."""
    for root in roots:
        if path.is_relative_to(root):
            return str(path.relative_to(root)) or path.name
    return path.name


def index_text(found: "IndexReport") -> str:
    """Return the table of series, what else was found, and every finding."""
    rows = [
        (
            row.patient,
            row.study,
            row.name,
            row.modality,
            str(row.slices),
            " x ".join(f"{value:.2f}" for value in row.spacing_mm) if row.spacing_mm else "-",
            row.unit or "-",
            _use(row),
        )
        for row in found.rows
    ]
    head = ("patient", "study", "series", "kind", "slices", "spacing (mm)", "unit", "use")
    parts = [table(head, rows)] if rows else []
    usable = sum(row.usable for row in found.rows)
    patients = len({row.patient for row in found.rows})
    parts.append(
        f"{counted(found.files, 'file')}: {counted(usable, 'volume')} of {counted(patients, 'patient')}, "
        f"{len(found.rows) - usable} refused series, {_by_kind(found.labels) or 'no labels'}, "
        f"{_by_kind(found.others) or 'no other objects'}."
    )
    if not rows and any(one.path and one.path.name.endswith((".nii", ".nii.gz")) for one in found.findings):
        parts.append(
            "NIfTI files need no index: name their folders in a config, "
            "`images: {mr: {folder: images}}`, and look at the cases with `lepton check`."
        )
    named = [(row.name, one) for row in found.rows for one in row.findings]
    named += [("", finding) for finding in found.findings]
    return "\n\n".join([*parts, findings_text(named, found.roots)]).rstrip()


def index_document(found: "IndexReport") -> dict[str, Any]:
    """Return what `lepton index` found as one document, by pseudonym."""
    return {
        "schema_version": 1,
        "files": found.files,
        "series": [
            {
                "series": row.name,
                "patient": row.patient,
                "study": row.study,
                "modality": row.modality,
                "slices": row.slices,
                "spacing_mm": row.spacing_mm,
                "unit": row.unit,
                "usable": row.usable,
                "irregularity_mm": row.irregularity_mm,
                "shear_mm": row.shear_mm,
                "findings": [finding_document("", one) for one in row.findings],
            }
            for row in found.rows
        ],
        "labels": dict(Counter(found.labels)),
        "others": dict(Counter(found.others)),
        "findings": [finding_document(FILE, one) for one in found.findings],
    }


def convert_text(done: "ConvertReport") -> str:
    """Return the images that were written, and every series that was left out."""
    head: tuple[str, ...] = ("image", "voxels", "spacing (mm)", "unit", "part of")
    rows: list[tuple[str, ...]] = [
        (
            image.name,
            " x ".join(str(extent) for extent in image.shape),
            " x ".join(f"{value:.2f}" for value in image.spacing_mm),
            image.unit,
            f"{image.whole}, {image.part}" if image.part else "",
        )
        for image in done.written
    ]
    if not any(image.part for image in done.written):
        head, rows = head[:-1], [row[:-1] for row in rows]
    named = [(image.name, finding) for image in done.written for finding in image.findings]
    named += [*done.left_out, *(("", finding) for finding in done.findings)]
    before = f", {done.already_there} there before" if done.already_there else ""
    ending = (
        f"{counted(len(rows), 'image')} written{before}; {len(done.left_out)} series left out. "
        f"They are in {done.out}; its key.json says whose they are."
    )
    written = table(head, rows) if rows else ""
    return "\n\n".join(part for part in (written, findings_text(named, done.roots), ending) if part)


def convert_document(done: "ConvertReport") -> dict[str, Any]:
    """Return what `lepton convert` did as one document, by pseudonym."""
    return {
        "schema_version": 1,
        "images": [
            {
                "image": image.name,
                "series": image.whole,
                "part": image.part,
                "shape": image.shape,
                "spacing_mm": image.spacing_mm,
                "unit": image.unit,
                "findings": [finding_document("", one) for one in image.findings],
            }
            for image in done.written
        ],
        "already_there": done.already_there,
        "left_out": [finding_document(name, finding) for name, finding in done.left_out],
        "findings": [finding_document(FILE, finding) for finding in done.findings],
    }


def check_text(found: "CheckReport", roots: Sequence[Path] = ()) -> str:
    """Return the findings, the worst first, the cases, and the counts."""
    volumes = (f"{name} (ml)" for name in found.classes)
    head = ("case", "patient", "side", "voxels", "spacing (mm)", "unit", *volumes)
    rows = [
        (
            row.name,
            row.patient,
            row.side,
            " x ".join(str(extent) for extent in row.shape or ()) or "left out",
            " x ".join(f"{value:.2f}" for value in row.spacing_mm or ()) or "-",
            row.unit or "-",
            *(f"{volume:.1f}" for volume in row.volumes_ml),
            *["-"] * (len(found.classes) - len(row.volumes_ml)),
        )
        for row in found.rows
    ]
    used = [row for row in found.rows if row.shape]
    sides = Counter(row.side for row in used)
    patients = len({row.patient for row in used})
    counts = ", ".join(f"{count} {side}" for side, count in sorted(sides.items()))
    all_cases = f"{counted(len(found.rows), 'case')} of {counted(patients, 'patient')}"
    ending = f"{len(used)} of {all_cases} can be used: {counts}.{refused_text(found.refused)}"
    if found.images[1:]:
        ending += f" Each is {found.images[0]} with {' and '.join(found.images[1:])}."
    told = findings_text(found.findings, roots)
    return "\n\n".join(part for part in (told, table(head, rows), ending) if part)


def refused_text(refused: Sequence[str]) -> str:
    """Say which series of the wanted kind make no case; empty: there is none."""
    if not refused:
        return ""
    return f" {len(refused)} more series of the wanted kind can't be: {', '.join(refused)} (above)."


def check_document(found: "CheckReport") -> dict[str, Any]:
    """Return what `lepton check` found as one document."""
    return {
        "schema_version": 1,
        "classes": list(found.classes),
        "images": list(found.images),
        "cases": [
            {
                "case": row.name,
                "patient": row.patient,
                "side": row.side,
                "usable": row.shape is not None,
                "shape": row.shape,
                "spacing_mm": row.spacing_mm,
                "unit": row.unit,
                "volumes_ml": dict(zip(found.classes, row.volumes_ml, strict=False)),
            }
            for row in found.rows
        ],
        "findings": [finding_document(name, finding) for name, finding in found.findings],
        "refused": list(found.refused),
    }


def predict_text(done: "PredictReport", roots: Sequence[Path] = ()) -> str:
    """Return one line a mask, what was passed over, and where things are."""
    rows = [
        (
            record["case"],
            record["patient"],
            ", ".join(f"{name} {value:.1f}" for name, value in record["volumes_ml"].items()),
            ", ".join(f"{record['case']}/{file}" for file in record["files"] if file != "overlay.png"),
        )
        for record in done.records
    ]
    named = [*done.failed, *done.unwritten, *done.findings, *done.passed_over]
    unlike = [
        f"info {found['code']} {record['case']}: {found['message']}"
        for record in done.records
        for found in record["findings"]
        if found["code"] == "outside_training"
    ]
    ending = (
        f"{len(done.records)} predicted, {len(done.failed)} failed, {len(done.passed_over)} series "
        f"passed over. Masks, pictures and records are in {done.out}."
    )
    head = ("case", "patient", "volume (ml)", "mask")
    parts = [findings_text(named, roots), "\n".join(unlike), table(head, rows), ending]
    return "\n\n".join(part for part in parts if part)


def predict_document(done: "PredictReport") -> dict[str, Any]:
    """Return the predictions as one document."""
    return {
        "schema_version": 1,
        "out": str(done.out),
        "predictions": list(done.records),
        "failed": [finding_document(name, finding) for name, finding in done.failed],
        "unwritten": [finding_document(name, finding) for name, finding in done.unwritten],
        "passed_over": [finding_document(name, finding) for name, finding in done.passed_over],
        "findings": [finding_document(name, finding) for name, finding in done.findings],
    }


def require_all_converted(done: "ConvertReport") -> None:
    """Raise `PartlyDoneError` where a series was refused."""
    refused = [name for name, finding in done.left_out if finding.severity == "refused"]
    if refused:
        message = (
            f"No volume can be made of {len(refused)} series: {', '.join(refused)}. The rest is written."
        )
        raise PartlyDoneError(message)


def require_all_done(done: "PredictReport") -> None:
    """Raise `PartlyDoneError` where a series that fits the model failed, or a format of its mask."""
    if done.failed:
        names = ", ".join(name for name, _ in done.failed)
        message = f"{len(done.failed)} series could not be predicted: {names}. The rest is done."
        raise PartlyDoneError(message)
    if done.unwritten:
        names = ", ".join(dict.fromkeys(name for name, _ in done.unwritten))
        message = f"Not every format could be written of {names}. The rest is done."
        raise PartlyDoneError(message)


def _use(row: "SeriesRow") -> str:
    """Say what a series can be used for, or the code of what is wrong."""
    if row.usable:
        return "volume"
    reason = row.findings[-1]
    return f"{'refused' if reason.severity == 'refused' else 'left out'}: {reason.code}"


def finding_document(name: str, finding: Finding) -> dict[str, str]:
    """Return a finding as one document."""
    return {
        "where": name,
        "severity": finding.severity,
        "action": finding.action,
        "code": finding.code,
        "message": finding.sentence(),
    }


def findings_text(named: Iterable[Named], roots: Sequence[Path] = ()) -> str:
    """Return one line a finding, each once; of more than three alike one, with a count.

    What is refused and has a name is told of each: somebody misses it.
    """
    alike: dict[tuple[str, bool], dict[str, Finding]] = {}
    for name, finding in named:
        of_file = name in {"", FILE}
        line = finding_line("" if of_file else name, finding, roots)
        alike.setdefault((finding.code, of_file), {})[line] = finding
    lines = []
    for (code, of_file), same in alike.items():
        all_of_them = len(same) <= 3 or (RULES[code].severity == "refused" and not of_file)
        shown = list(same) if all_of_them else list(same)[:1]
        if len(shown) < len(same):
            shown[-1] += f" (And {len(same) - 1} more.)"
        lines += shown
    return "\n".join(lines)


def _by_kind(kinds: Iterable[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(kinds).items()))


def rounded(value: float) -> str:
    """Return what a Dice can bear."""
    return "undefined" if value != value else f"{value:.3f}"  # noqa: PLR0124 - the test for NaN


def number_or_null(value: float) -> float | None:
    """Return a number as JSON has it: NaN is null."""
    return None if value != value else value  # noqa: PLR0124 - the test for NaN


def interval_document(interval: Any) -> dict[str, float | int | None]:
    """Return an interval as one document."""
    return {
        "mean": number_or_null(interval.mean),
        "low": number_or_null(interval.low),
        "high": number_or_null(interval.high),
        "n": interval.n,
        "undefined": interval.undefined,
    }
