"""Trained classifiers with the plans that prepare their input, and what makes their confidence honest."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from lepton_monai.cases.case import Case
from lepton_monai.core.errors import InputError
from lepton_monai.core.files import digest_of
from lepton_monai.data.class_sampler import network_input
from lepton_monai.data.inputs import Sample, SourceImage, samples_of
from lepton_monai.inference.decision import Decision, Logits, calibrated, read_decisions
from lepton_monai.labels.tables import Target
from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.plans.classification import ClassificationPlan, read_classification
from lepton_monai.plans.run import Run

BATCH = 64
"""Images that are predicted together."""


@dataclass(frozen=True, eq=False)
class ClassMember:
    """One network in evaluation mode, its plan, and its decision: one, or one a label."""

    network: torch.nn.Module
    plan: ClassificationPlan
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, eq=False)
class Score:
    """What networks say of one sample, before any temperature.

    Parameters
    ----------
    case, patient, study, slice_number, from_end_mm, target
        As the sample has them.
    logits
        ``(networks, classes)``.
    series
        Of a study: the pseudonyms of its series.
    """

    case: str
    patient: str
    study: str
    slice_number: int | None
    from_end_mm: float
    target: Target | None
    logits: Logits
    series: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said of one sample, or of a study.

    Parameters
    ----------
    case, patient, slice_number, from_end_mm, target, series
        As the score has them.
    probabilities
        Of each class, calibrated.
    uncalibrated
        The same without temperature.
    """

    case: str
    patient: str
    slice_number: int | None
    from_end_mm: float
    target: Target | None
    series: tuple[str, ...]
    probabilities: NDArray[np.float64]
    uncalibrated: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Classifier:
    """Networks that predict together, ready to do so: the mean of their probabilities counts."""

    members: tuple[ClassMember, ...]
    device: torch.device
    digest: str

    @property
    def plan(self) -> ClassificationPlan:
        """Of the first network; all have its source and its classes."""
        return self.members[0].plan

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Of the probability of class 1, or of each label: the mean of the members'."""
        each = [[one.threshold for one in member.decisions] for member in self.members]
        return tuple(np.mean(each, axis=0).tolist())

    def score(self, case: Case, source: SourceImage, target: Target | None = None) -> list[Score]:
        """Look at an image, or each of its slices.

        Raises
        ------
        InputError
            Its values have a unit that the network wasn't trained on.
        """
        if source.unit not in self.plan.source.units:
            wanted = " or ".join(self.plan.source.units)
            message = f"The values are in {source.unit}, the model was trained on {wanted}."
            raise InputError(message)
        logits, samples = [], list[Sample]()
        for member in self.members:
            samples = samples_of(case, source, member.plan.input, member.plan.source.level, target)
            logits.append(logits_of(member.network, samples, member.plan, self.device))
        return scores_of(samples, np.stack(logits, axis=1))

    def answers(self, scores: Sequence[Score]) -> list[Answer]:
        """Say what the scores of a whole prediction mean: of each, or of each study."""
        if not scores:
            return []
        scores = by_study(scores) if self.plan.source.level == "study" else scores
        logits, holds = np.stack([one.logits for one in scores]), self.plan.holds
        honest, plain = [], []
        for at, member in enumerate(self.members):
            temperatures = [one.temperature for one in member.decisions]
            honest.append(calibrated(logits[:, at], temperatures, holds))
            plain.append(calibrated(logits[:, at], [1.0] * len(temperatures), holds))
        rows = zip(scores, np.mean(honest, axis=0), np.mean(plain, axis=0), strict=True)
        return [
            Answer(
                one.case, one.patient, one.slice_number, one.from_end_mm, one.target, one.series, found, raw
            )
            for one, found, raw in rows
        ]


def scores_of(samples: Sequence[Sample], logits: Logits) -> list[Score]:
    """Return samples with their logits ``(n, networks, classes)``, and without their arrays."""
    return [
        Score(one.case, one.patient, one.study, one.slice_number, one.from_end_mm, one.target, row)
        for one, row in zip(samples, logits, strict=True)
    ]


def by_study(scores: Sequence[Score]) -> list[Score]:
    """Return a score for each study, in the order of their first series: the mean of their logits."""
    studies: dict[str, list[Score]] = {}
    for one in scores:
        studies.setdefault(one.study, []).append(one)
    return [
        replace(
            series[0],
            case=study,
            logits=np.mean([one.logits for one in series], axis=0),
            series=tuple(one.case for one in series),
        )
        for study, series in studies.items()
    ]


def logits_of(
    network: torch.nn.Module, samples: Sequence[Sample], plan: ClassificationPlan, device: torch.device
) -> Logits:
    """Return logits ``(n, classes)`` of a network in evaluation mode."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH):
            arrays = [one.array.astype(np.float32)[None] for one in samples[start : start + BATCH]]
            images = [network_input(torch.from_numpy(one), is_flat=plan.input.is_flat) for one in arrays]
            found.append(network(torch.stack(images).to(device)).double().cpu().numpy())
    return np.concatenate(found)


def load_classifier(runs: Sequence[Run], device: torch.device) -> Classifier:
    """Load the newest whole checkpoint of each run.

    Raises
    ------
    InputError
        There is none, it is damaged, its weights don't fit the plan's network, or the runs are of
        different tasks.
    """
    members = tuple(_member(run, device) for run in runs)
    if len({(one.plan.classes, one.plan.holds, one.plan.source.level) for one in members}) > 1:
        message = f"The folds of {runs[0].folder.parent} are of different tasks."
        raise InputError(message)
    digests = [digest_of(run.weights_path()) for run in runs]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    torch.set_num_threads(members[0].plan.training.threads)
    return Classifier(members, device, digest)


def _member(run: Run, device: torch.device) -> ClassMember:
    plan = read_classification(run.plan_path)
    network = build_classifier(plan.network, plan.input, len(plan.classes))
    path = run.weights_path()
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, ValueError) as error:
        message = f"The weights of {run.folder} don't fit the network of its plan."
        raise InputError(message) from error
    return ClassMember(network.eval().to(device), plan, read_decisions(run))
