"""The cases of one side of a run's split, among those that are here now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lepton_monai.cases.case import Case
from lepton_monai.core.errors import InputError
from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted
from lepton_monai.plans.run import Run, read_split

Side = Literal["test", "validation", "all"]


@dataclass(frozen=True)
class SideCases:
    """What a run is judged on.

    Parameters
    ----------
    cases
        In the order in which they were found.
    absent
        Cases of the side that can't be judged, since they aren't here or are refused now.
    trained
        SHA-256 of what the model was trained on; and of what it was chosen by, unless it is judged on that.
    """

    cases: tuple[Case, ...]
    absent: tuple[tuple[str, Finding], ...]
    trained: frozenset[str]


def cases_of_side(
    run: Run, side: Side, found: Sequence[Case], noted: Sequence[tuple[str, Finding]]
) -> SideCases:
    """Return the cases of a side, and those of them that can't be had.

    Parameters
    ----------
    run
        Whose split.
    side
        test, validation, or all: both.
    found
        What is here.
    noted
        Why something that is here makes no case.

    Raises
    ------
    InputError
        The split has no such case, or none of them is here.
    """
    split = read_split(run)
    sides = ["validation", "test"] if side == "all" else [side]
    wanted = sorted({entry["case"] for one in sides for entry in split[one]})
    if not wanted:
        message = f"The split of {run.folder} has no {side} case."
        raise InputError(message)
    cases = tuple(case for case in found if case.pseudonym in wanted)
    here = {case.pseudonym for case in cases}
    unknown = Finding("case_absent", "A case of the run's split isn't among the data.")
    reasons = {name: finding for name, finding in noted if finding.action == "left_out"}
    absent = tuple((name, reasons.get(name, unknown)) for name in wanted if name not in here)
    if not cases:
        told = sorted({found.sentence() for _, found in absent if found is not unknown})
        message = (
            f"None of {counted(len(wanted), f'{side} case')} of the run is among the "
            f"{counted(len(found), 'case')} here. {' '.join(told) or unknown.sentence()}"
        )
        raise InputError(message)
    judged = set() if side == "test" else {entry["case"] for entry in split["validation"]}
    trained = {digest for name, digest in split["image_sha256"].items() if name not in judged}
    return SideCases(cases, absent, frozenset(trained))
