"""`lepton evaluate RUN RUN` of classifiers: two models on the same samples, paired by patient."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_monai.core.errors import InputError
from lepton_monai.evaluation.intervals import Interval
from lepton_monai.evaluation.parts import paired_figures
from lepton_monai.verbs.evaluate_classifier import ClassEvaluation, evaluate_classifier, judged_of


@dataclass(frozen=True, eq=False)
class ClassComparison:
    """What `lepton evaluate RUN RUN` prints of classifiers.

    Parameters
    ----------
    first, second
        Each run by itself.
    differences
        The first's figures less the second's on the samples of both, paired by patient.
    samples
        How many both have judged.
    """

    first: ClassEvaluation
    second: ClassEvaluation
    differences: dict[str, Interval]
    samples: int


def compare_classifiers(first: Path, second: Path, **options: Any) -> ClassComparison:
    """Evaluate two runs on the same patients, and pair them.

    Parameters
    ----------
    first, second
        Folders of runs of one task.
    options
        As `evaluate_classifier` has them.

    Raises
    ------
    InputError
        The runs have other classes, no sample in common, or other labels for one.
    """
    both = [evaluate_classifier(folder, **options) for folder in (first, second)]
    found = [{(one.case, one.slice_number): one for one in done.answers} for done in both]
    shared = [place for place in found[0] if place in found[1]]
    tasks = [(done.point.classes, done.point.holds) for done in both]
    if tasks[0] != tasks[1] or not shared:
        message = f"{first} and {second} have no classes and cases in common: they can't be paired."
        raise InputError(message)
    answers = [[of[place] for place in shared] for of in found]
    one, other = (judged_of(side, done.point) for side, done in zip(answers, both, strict=True))
    if not np.array_equal(one.targets, other.targets, equal_nan=True):
        message = f"{first} and {second} were given other classes for the same cases: they can't be paired."
        raise InputError(message)
    differences = paired_figures(one, other, [answer.patient for answer in answers[0]])
    return ClassComparison(both[0], both[1], differences, len(shared))
