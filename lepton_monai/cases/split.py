"""Who is trained on, who is validated on, who is tested on: by person, never by image."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lepton_monai.cases.case import Case
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted

SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitRule:
    """How the cases are split.

    Parameters
    ----------
    file
        JSON with `train`, `test` and optionally `validation`: lists of patient ids; or a list of such
        lists, each the test side of one fold. None: by shares, or by drawn folds.
    test, validation
        Shares of the persons: of all, and of those that are left for training.
    seed
        Of the draw.
    folds
        How many folds are drawn where no file names them.
    fold
        Whose test side is wanted, from 0; None: no folds.
    """

    file: Path | None
    test: float
    validation: float
    seed: int
    folds: int = 5
    fold: int | None = None


@dataclass(frozen=True)
class Split:
    """Cases on each side."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    findings: tuple[Finding, ...] = ()

    def side(self, name: str) -> tuple[Case, ...]:
        """Return the cases of one side."""
        sides = {"train": self.train, "validation": self.validation, "test": self.test}
        return sides[name]


def split_cases(cases: Sequence[Case], rule: SplitRule) -> Split:
    """Put every person on one side.

    Parameters
    ----------
    cases
        Of all patients.
    rule
        File or shares. The draw depends on the seed and the persons alone, not on their order.

    Raises
    ------
    ConfigError
        The file can't be read, or has one person on two sides.
    InputError
        A side that is needed has no case.
    """
    findings: list[Finding] = []
    if rule.fold is not None:
        sides = _sides_of_fold(cases, rule, rule.fold, findings)
    elif rule.file is None:
        persons = sorted({case.person for case in cases})
        test = _draw(persons, rule.test, rule.seed, at_least=1 if rule.test else 0)
        sides = dict.fromkeys(persons, "train") | dict.fromkeys(test, "test")
    else:
        sides = _sides_from_file(cases, rule.file, findings)
    if "validation" not in sides.values() and rule.validation > 0:
        training = sorted(person for person, side in sides.items() if side == "train")
        chosen = _draw(training, rule.validation, rule.seed, at_least=2)
        sides |= dict.fromkeys(chosen, "validation")
    placed = {name: tuple(case for case in cases if sides.get(case.person) == name) for name in SIDES}
    if not placed["train"]:
        message = "The split leaves no case to train on."
        raise InputError(message)
    return Split(**placed, findings=tuple(findings))


def count_folds(rule: SplitRule) -> int:
    """Return how many folds a rule makes.

    Raises
    ------
    ConfigError
        Its file can't be read, or holds no folds.
    """
    return rule.folds if rule.file is None else len(_read_folds(rule.file))


def _sides_of_fold(
    cases: Sequence[Case], rule: SplitRule, fold: int, findings: list[Finding]
) -> dict[str, str]:
    """Put the persons of a fold under `test`, all others under `train`."""
    count = count_folds(rule)
    if fold >= count:
        message = f"There is no fold {fold}: {count} are counted from 0."
        raise ConfigError(message)
    if rule.file is None:
        persons = sorted({case.person for case in cases})
        order = np.random.default_rng(rule.seed).permutation(len(persons))
        return {persons[at]: "test" if place % count == fold else "train" for place, at in enumerate(order)}
    folds = _read_folds(rule.file)
    rest = [one for number, ids in enumerate(folds) if number != fold for one in ids]
    return _sides(cases, {"train": rest, "test": folds[fold]}, rule.file, findings)


def _draw(persons: Sequence[str], share: float, seed: int, at_least: int) -> list[str]:
    count = min(len(persons) - 1, max(at_least, round(share * len(persons))))
    order = np.random.default_rng(seed).permutation(len(persons))
    return [persons[at] for at in order[: max(count, 0)]]


def _sides_from_file(cases: Sequence[Case], path: Path, findings: list[Finding]) -> dict[str, str]:
    return _sides(cases, _read(path), path, findings)


def _sides(
    cases: Sequence[Case], listed: Mapping[str, Sequence[str]], path: Path, findings: list[Finding]
) -> dict[str, str]:
    person_of = {case.patient_id: case.person for case in cases}
    sides: dict[str, str] = {}
    for side, patient_ids in listed.items():
        unknown = [patient_id for patient_id in patient_ids if patient_id not in person_of]
        if unknown:
            listed_here = counted(len(patient_ids), "patient")
            message = f"Of {listed_here} under `{side}` {len(unknown)} can't be found here."
            findings.append(Finding("split_patient_unknown", message))
        for patient_id in patient_ids:
            person = person_of.get(patient_id)
            if person is not None and sides.setdefault(person, side) != side:
                message = (
                    f"The split file {path} puts one person under `{sides[person]}` and under "
                    f"`{side}`: a leak. Entry {patient_ids.index(patient_id) + 1} of `{side}`."
                )
                raise ConfigError(message)
    left = {case.person for case in cases} - set(sides)
    if left:
        message = f"The split file names no side for {counted(len(left), 'patient')}."
        findings.append(Finding("patient_not_in_split", message))
    return sides


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"The split file {path} can't be read: {error}."
        raise ConfigError(message) from error


def _are_ids(ids: object) -> bool:
    return isinstance(ids, list) and all(isinstance(one, str) for one in ids)


def _read_folds(path: Path) -> list[list[str]]:
    content = _read_json(path)
    if not isinstance(content, list) or len(content) < 2 or not all(_are_ids(ids) for ids in content):
        message = (
            f"The split file {path} holds no folds: it must be a JSON list of at least two lists of "
            "patient ids, each the test side of one fold."
        )
        raise ConfigError(message)
    return content


def _read(path: Path) -> dict[str, list[str]]:
    content = _read_json(path)
    if isinstance(content, list):
        message = f"The split file {path} holds folds: say which with --fold NUMBER, or --fold all."
        raise ConfigError(message)
    known = isinstance(content, dict) and set(content) <= set(SIDES) and "train" in content
    if not (isinstance(content, dict) and known and all(_are_ids(ids) for ids in content.values())):
        message = (
            f"The split file {path} must be a JSON object with `train`, `test` and perhaps "
            "`validation`, each a list of patient ids."
        )
        raise ConfigError(message)
    return {side: content[side] for side in SIDES if side in content}
