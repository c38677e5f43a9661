"""Trained classifiers with the plans that prepare their input, and what makes their confidence honest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch.utils.data import default_collate

from lepton_monai.cases.case import Case
from lepton_monai.core.errors import InputError
from lepton_monai.data.batch import Inputs, changed, joined
from lepton_monai.data.class_sampler import network_input
from lepton_monai.data.clinical import encoded
from lepton_monai.data.inputs import Sample, SourceImage, samples_of
from lepton_monai.evaluation.calibration import mean_log_odds
from lepton_monai.inference.decision import (
    Heads,
    Logits,
    calibrated,
    decided,
    mean_thresholds,
    read_heads,
)
from lepton_monai.inference.loading import require_one_task, weights_digest, with_weights_of
from lepton_monai.labels.clinical import ClinicalRow
from lepton_monai.labels.tables import Target
from lepton_monai.networks.fusion import FusedClassifier, build_planned
from lepton_monai.plans.classification import ClassificationPlan, read_classification
from lepton_monai.plans.run import Run

BATCH = 64
"""Images that are predicted together."""


@dataclass(frozen=True, eq=False)
class ClassMember:
    """One network in evaluation mode, its plan, and the decision of each head: one, or one a label."""

    network: torch.nn.Module
    plan: ClassificationPlan
    heads: Heads


@dataclass(frozen=True, eq=False)
class Score:
    """What networks say of one sample, before any temperature.

    Parameters
    ----------
    case, patient, study, slice_number, from_end_mm, target
        As the sample has them.
    logits
        ``(networks, heads, classes)``.
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
    log_odds
        Calibrated ``(heads, classes)``: of the head that decides, then of what else the model can be asked
        (`PARTS`).
    decided
        Which classes hold, of the same heads: by the thresholds of the networks that were asked.
    uncalibrated
        Probability of each class, without temperature.
    """

    case: str
    patient: str
    slice_number: int | None
    from_end_mm: float
    target: Target | None
    series: tuple[str, ...]
    log_odds: NDArray[np.float64]
    decided: NDArray[np.bool_]
    uncalibrated: NDArray[np.float64]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of each class, calibrated."""
        return np.asarray(special.expit(self.log_odds[0]))


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
        return mean_thresholds([member.heads[0] for member in self.members])

    def score(
        self,
        case: Case,
        source: SourceImage,
        target: Target | None = None,
        clinical: ClinicalRow | None = None,
    ) -> list[Score]:
        """Look at an image, or each of its slices.

        Parameters
        ----------
        case, source, target
            Whose image, the image, and what is known of its classes.
        clinical
            What is known of it besides, where the model wants to know; None: nothing.

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
            plan, values = member.plan, encoded(clinical, member.plan.clinical)
            samples = samples_of(case, source, plan.input, plan.source.level, target, values)
            logits.append(heads_of(member.network, samples, plan, self.device))
        return scores_of(samples, np.stack(logits, axis=1))

    def answers(self, scores: Sequence[Score]) -> list[Answer]:
        """Say what the scores of a whole prediction mean: of each, or of each study."""
        if not scores:
            return []
        scores = by_study(scores) if self.plan.source.level == "study" else scores
        logits, holds = np.stack([one.logits for one in scores]), self.plan.holds
        honest, chosen = [], []
        for head, decisions in enumerate(zip(*(member.heads for member in self.members), strict=True)):
            each = [calibrated(logits[:, at, head], one, holds) for at, one in enumerate(decisions)]
            honest.append(mean_log_odds(np.stack(each)))
            chosen.append(decided(honest[-1], decisions, holds))
        plain = [
            calibrated(logits[:, at, 0], [replace(one, temperature=1.0) for one in member.heads[0]], holds)
            for at, member in enumerate(self.members)
        ]
        rows = zip(
            scores, np.stack(honest, axis=1), np.stack(chosen, axis=1), np.stack(plain, axis=1), strict=True
        )
        return [
            Answer(
                case=one.case,
                patient=one.patient,
                slice_number=one.slice_number,
                from_end_mm=one.from_end_mm,
                target=one.target,
                series=one.series,
                log_odds=found,
                decided=holding,
                uncalibrated=special.expit(raw).mean(axis=0),
            )
            for one, found, holding, raw in rows
        ]


def scores_of(samples: Sequence[Sample], logits: Logits) -> list[Score]:
    """Return samples with their logits ``(n, networks, heads, classes)``, and without their arrays."""
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
    return heads_of(network, samples, plan, device)[:, 0]


def heads_of(
    network: torch.nn.Module, samples: Sequence[Sample], plan: ClassificationPlan, device: torch.device
) -> Logits:
    """Return logits ``(n, heads, classes)`` of a network in evaluation mode: the first head decides."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH):
            fed = [_fed(one, plan) for one in samples[start : start + BATCH]]
            inputs = changed(default_collate(fed), lambda tensor: tensor.to(device))
            heads = (
                network.heads(inputs)  # type: ignore[arg-type] # its plan has values: a pair
                if isinstance(network, FusedClassifier)
                else (network(inputs),)
            )
            found.append(torch.stack(heads, dim=1).double().cpu().numpy())
    return np.concatenate(found)


def _fed(sample: Sample, plan: ClassificationPlan) -> Inputs:
    image = torch.from_numpy(sample.array.astype(np.float32)[None])
    return joined(network_input(image, is_flat=plan.input.is_flat), torch.from_numpy(sample.values))


def load_classifier(runs: Sequence[Run], device: torch.device) -> Classifier:
    """Load the newest whole checkpoint of each run.

    Raises
    ------
    InputError
        There is none, it is damaged, its weights don't fit the plan's network, or the runs are of
        different tasks.
    """
    members = tuple(_member(run, device) for run in runs)
    require_one_task(runs, [_task_of(member.plan) for member in members])
    torch.set_num_threads(members[0].plan.training.threads)
    return Classifier(members, device, weights_digest(runs))


def _task_of(plan: ClassificationPlan) -> tuple[object, ...]:
    return plan.classes, plan.holds, plan.source.level, plan.clinical and plan.clinical.columns


def _member(run: Run, device: torch.device) -> ClassMember:
    plan = read_classification(run.plan_path)
    return ClassMember(with_weights_of(run, build_planned(plan), device), plan, read_heads(run))
