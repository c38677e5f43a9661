"""What is printed of explanations: text for a person, and the same as one document."""

from statistics import median
from typing import TYPE_CHECKING, Any

from lepton_monai.cli.tables import finding_document, findings_text, table
from lepton_monai.core.errors import PartlyDoneError
from lepton_monai.core.files import without_nan
from lepton_monai.core.wording import counted

if TYPE_CHECKING:  # each verb's own command imports it; the others shall not pay for it
    from lepton_monai.verbs.explain import ExplainReport

MOST_ROWS = 40
"""Cases on the terminal; each has its record on disk."""


def explain_text(done: "ExplainReport") -> str:
    """Return one line a case, what was passed over, and where the maps are."""
    rows = [_row(record) for record in done.records[:MOST_ROWS]]
    alike = [record["rank_correlation_random"] for record in done.records]
    known = [value for value in alike if value == value]  # noqa: PLR0124 - the test for NaN
    checked = (
        "Rank correlation with the map of a network with random weights (near 0: it was learned): "
        f"median {median(known):.2f} of {counted(len(known), 'case')}, undefined in "
        f"{len(alike) - len(known)}."
        if known
        else "No map could be compared with the one of a network with random weights."
    )
    left = len(done.records) - len(rows)
    more = f" {left} more are in the folder." if left else ""
    ending = (
        f"{len(done.records)} explained, {len(done.failed)} failed, {len(done.passed_over)} series passed "
        f"over.{more} The maps are in {done.out}."
    )
    named = [*done.failed, *done.findings, *done.passed_over]
    head = ("case", "patient", "slice", "class", "probability", "peak at voxel", "random")
    return "\n\n".join(part for part in (findings_text(named), table(head, rows), checked, ending) if part)


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    peak, alike = record["peak_voxel"], record["rank_correlation_random"]
    return (
        record["case"],
        record["patient"],
        "" if record["slice"] is None else str(record["slice"]),
        record["class"],
        f"{record['probability']:.3f}",
        "none" if peak is None else " ".join(str(at) for at in peak),
        "-" if alike != alike else f"{alike:.2f}",  # noqa: PLR0124 - the test for NaN
    )


def explain_document(done: "ExplainReport") -> dict[str, Any]:
    """Return the records as one document; an undefined figure is null."""
    content: dict[str, Any] = without_nan({"explanations": list(done.records)})
    return {
        "schema_version": 1,
        "out": str(done.out),
        **content,
        "failed": [finding_document(name, finding) for name, finding in done.failed],
        "passed_over": [finding_document(name, finding) for name, finding in done.passed_over],
        "findings": [finding_document(name, finding) for name, finding in done.findings],
    }


def require_all_explained(done: "ExplainReport") -> None:
    """Raise `PartlyDoneError` where something that fits the model failed."""
    if done.failed:
        names = ", ".join(name for name, _ in done.failed)
        message = f"{len(done.failed)} could not be explained: {names}. The rest is done."
        raise PartlyDoneError(message)
