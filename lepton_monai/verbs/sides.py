"""The cases of one side of a run's split, among those that are here now."""

from collections.abc import Sequence
from typing import Literal

from lepton_monai.cases.case import Case
from lepton_monai.core.errors import InputError
from lepton_monai.core.wording import counted
from lepton_monai.plans.run import Run, read_split

Side = Literal["test", "validation", "all"]


def cases_of_side(run: Run, side: Side, found: Sequence[Case]) -> tuple[list[Case], frozenset[str]]:
    """Return the cases of a side, and the digests of images that may not be among them.

    Parameters
    ----------
    run
        Whose split.
    side
        test, validation, or all: both.
    found
        What is here.

    Returns
    -------
    cases
        In the order of `found`.
    trained
        SHA-256 of what the model was trained on; and of what it was chosen by, unless it is judged on that.

    Raises
    ------
    InputError
        The split has no such case, or none of them is here.
    """
    split = read_split(run)
    sides = ["validation", "test"] if side == "all" else [side]
    wanted = {entry["case"] for one in sides for entry in split[one]}
    if not wanted:
        message = f"The split of {run.folder} has no {side} case."
        raise InputError(message)
    cases = [case for case in found if case.pseudonym in wanted]
    if not cases:
        message = (
            f"None of {counted(len(wanted), f'{side} case')} of the run is among the "
            f"{counted(len(found), 'case')} here. Were the data moved (--set data.root=...), or was "
            "another salt used (--salt)?"
        )
        raise InputError(message)
    judged = set() if side == "test" else {entry["case"] for entry in split["validation"]}
    trained = {digest for name, digest in split["image_sha256"].items() if name not in judged}
    return cases, frozenset(trained)
