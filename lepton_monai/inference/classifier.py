"""Trained classifiers with the plans that prepare their input, and what makes their confidence honest."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from safetensors.torch import load_file
from torch.utils.data import default_collate

from lepton_monai.cases.case import Case
from lepton_monai.core.errors import InputError
from lepton_monai.core.files import digest_of, write_json
from lepton_monai.data.batch import Inputs, changed, joined
from lepton_monai.data.class_sampler import network_input
from lepton_monai.data.clinical import encoded
from lepton_monai.data.inputs import Sample, SourceImage, samples_of
from lepton_monai.evaluation.calibration import probabilities
from lepton_monai.labels.clinical import ClinicalRow
from lepton_monai.networks.fusion import FusedClassifier, build_planned
from lepton_monai.plans.classification import ClassificationPlan, read_classification
from lepton_monai.plans.run import Run

Logits = NDArray[np.float64]

BATCH = 64
"""Images that are predicted together."""

CALIBRATION = "calibration.json"


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Decision:
    """From logits to a decision, chosen on the validation cases.

    Parameters
    ----------
    temperature
        The logits are divided by it.
    threshold
        Of the probability of class 1, where there are two classes.
    n
        Validation samples; 0: nothing was chosen.
    ece_before, ece_after
        Expected calibration error on them; NaN is kept as null.
    at_limit
        The temperature lies at the end of what is tried: too few or too easy cases.
    alone_thresholds
        With clinical values, of class 1 where there are two: of the image alone, and of the values alone.
    """

    temperature: float = 1.0
    threshold: float = 0.5
    n: int = 0
    ece_before: float | None = None
    ece_after: float | None = None
    at_limit: bool = False
    alone_thresholds: tuple[float, ...] = ()


def write_decision(run: Run, decision: Decision) -> None:
    """Keep it in the run."""
    write_json(run.folder / CALIBRATION, {"schema_version": 1, **asdict(decision)})


def read_decision(run: Run) -> Decision:
    """Read what `write_decision` wrote.

    Raises
    ------
    InputError
        The file is absent or damaged.
    """
    try:
        content = json.loads((run.folder / CALIBRATION).read_text(encoding="utf-8"))
        content.pop("schema_version", None)
        return TypeAdapter(Decision).validate_python(content)
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        message = f"The run {run.folder} holds no whole {CALIBRATION}: train it to its end."
        raise InputError(message) from error


@dataclass(frozen=True, eq=False)
class ClassMember:
    """One network in evaluation mode, its plan and its decision."""

    network: torch.nn.Module
    plan: ClassificationPlan
    decision: Decision


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said of one sample.

    Parameters
    ----------
    case, patient, slice_number, from_end_mm, label
        As the sample has them.
    probabilities
        Of each class, calibrated.
    uncalibrated
        The same without temperature.
    alone
        Uncalibrated probabilities ``(2, classes)`` of the image alone and of its clinical values alone;
        ``(0, classes)`` of a model without such values.
    """

    case: str
    patient: str
    slice_number: int | None
    from_end_mm: float
    label: int | None
    probabilities: NDArray[np.float64]
    uncalibrated: NDArray[np.float64]
    alone: NDArray[np.float64]


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
    def threshold(self) -> float:
        """Of the probability of class 1: the mean of the members'."""
        return float(np.mean([member.decision.threshold for member in self.members]))

    @property
    def alone_thresholds(self) -> tuple[float, ...]:
        """Of image and values alone: the means of the members'."""
        found = [member.decision.alone_thresholds or (0.5, 0.5) for member in self.members]
        return tuple(float(one) for one in np.mean(found, axis=0))

    def predict(
        self,
        case: Case,
        source: SourceImage,
        label: int | None = None,
        clinical: ClinicalRow | None = None,
    ) -> list[Answer]:
        """Classify an image, or each of its slices.

        Parameters
        ----------
        case, source, label
            Whose image, the image, and what is known of its class.
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
        calibrated, plain = [], []
        samples: list[Sample] = []
        for member in self.members:
            plan, values = member.plan, encoded(clinical, member.plan.clinical)
            samples = samples_of(case, source, plan.input, plan.source.level, label, values)
            heads = heads_of(member.network, samples, plan, self.device)
            calibrated.append(probabilities(heads[0], member.decision.temperature))
            plain.append(np.stack([probabilities(logits) for logits in heads], axis=1))
        rows = zip(samples, np.mean(calibrated, axis=0), np.mean(plain, axis=0), strict=True)
        return [
            Answer(
                one.case, one.patient, one.slice_number, one.from_end_mm, one.label, found, raw[0], raw[1:]
            )
            for one, found, raw in rows
        ]


def logits_of(
    network: torch.nn.Module, samples: Sequence[Sample], plan: ClassificationPlan, device: torch.device
) -> Logits:
    """Return logits ``(n, classes)`` of a network in evaluation mode."""
    return heads_of(network, samples, plan, device)[0]


def heads_of(
    network: torch.nn.Module, samples: Sequence[Sample], plan: ClassificationPlan, device: torch.device
) -> Logits:
    """Return logits ``(heads, n, classes)`` of a network in evaluation mode: the first head decides.

    With clinical values the others are of the image alone, and of the values alone.
    """
    found = []
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH):
            fed = [_fed(one, plan) for one in samples[start : start + BATCH]]
            inputs = changed(default_collate(fed), lambda tensor: tensor.to(device))
            heads = network.heads(inputs) if isinstance(network, FusedClassifier) else (network(inputs),)
            found.append(torch.stack(heads).double().cpu().numpy())
    return np.concatenate(found, axis=1)


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
    if len({_task_of(member.plan) for member in members}) > 1:
        message = f"The folds of {runs[0].folder.parent} are of different tasks."
        raise InputError(message)
    digests = [digest_of(run.weights_path()) for run in runs]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    torch.set_num_threads(members[0].plan.training.threads)
    return Classifier(members, device, digest)


def _task_of(plan: ClassificationPlan) -> tuple[object, ...]:
    return plan.classes, plan.source.level, plan.clinical and plan.clinical.columns


def _member(run: Run, device: torch.device) -> ClassMember:
    plan = read_classification(run.plan_path)
    network = build_planned(plan)
    path = run.weights_path()
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, ValueError) as error:
        message = f"The weights of {run.folder} don't fit the network of its plan."
        raise InputError(message) from error
    return ClassMember(network.eval().to(device), plan, read_decision(run))
