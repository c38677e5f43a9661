"""What the training of a classifier has of its own: samples, and a decision chosen on validation cases."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lepton_monai.cases.case import Case
from lepton_monai.cases.classes import Classified, collect_classified
from lepton_monai.cases.split import split_cases
from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.core.errors import InputError
from lepton_monai.core.progress import Progress
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.data.inputs import Sample
from lepton_monai.exports.progress_picture import Patch
from lepton_monai.inference.classifier import by_study, heads_of, load_classifier, scores_of
from lepton_monai.inference.decision import Heads, choose_decisions, log_weights_of, write_decisions
from lepton_monai.networks.fusion import build_planned
from lepton_monai.plans.classification import (
    ClassificationPlan,
    read_classification,
)
from lepton_monai.plans.run import Run
from lepton_monai.training.class_pace import with_clock
from lepton_monai.training.class_planner import draft_classification
from lepton_monai.training.classification import (
    classification_training,
    images_of,
    looking_at,
    settle_norms,
)
from lepton_monai.training.devices import machine_of
from lepton_monai.training.seeds import deterministic
from lepton_monai.training.training import Training
from lepton_monai.verbs.class_preparing import (
    ReadSide,
    measured_sources,
    read_side,
    task_of,
)
from lepton_monai.verbs.class_starting import with_start
from lepton_monai.verbs.evaluate_classifier import ClassEvaluation, evaluate_classified
from lepton_monai.verbs.requirements import require_same_classification
from lepton_monai.verbs.training_task import Ready, Setting


@dataclass(frozen=True, eq=False)
class ClassValidation:
    """What a classifier is judged on after its training, and by which classes.

    Parameters
    ----------
    cases, samples, classified
        Of the validation side.
    shares
        Of each class among the training samples that it is known of.
    """

    cases: tuple[Case, ...]
    samples: list[Sample]
    classified: Classified
    shares: tuple[float, ...]


@dataclass(frozen=True)
class ClassificationTask:
    """A classification that can be trained: see `TrainingTask`."""

    config: ClassificationConfig

    def read_plan(self, path: Path) -> ClassificationPlan:
        """Read a plan."""
        return read_classification(path)

    def draft(self, pseudonyms: Pseudonyms, device: torch.device, progress: Progress) -> ClassificationPlan:
        """Plan everything but the number of steps, which is left at 1."""
        classified = collect_classified(self.config.class_choice(), pseudonyms, progress)
        split = split_cases(classified.cases, self.config.split.rule())
        return self._drafted(classified, split.train, device, progress)

    def prepare(
        self, given: ClassificationPlan | None, setting: Setting
    ) -> Ready[ClassificationPlan, ClassValidation]:
        """Bring all samples of training and validation to the network's size, one case open at a time."""
        # Which cases there are, and who stands where.
        choice, progress, feeding = self.config.class_choice(), setting.progress, setting.feeding
        classified = collect_classified(choice, setting.pseudonyms, progress)
        split = split_cases(classified.cases, self.config.split.rule())
        # The plan; training and validation alone are opened, one case at a time.
        plan = given or self._drafted(classified, split.train, feeding.device, progress)
        require_same_classification(plan, classified, choice)
        training = read_side(split.train, choice, classified, plan, progress)
        _require_classes(training.samples, plan)
        trained = frozenset(training.digests.values())
        validation = read_side(split.validation, choice, classified, plan, progress, trained)
        if given is None:
            left = setting.seconds_left(self.config.train.minutes)
            looked_at = len(validation.samples)
            plan = with_clock(plan, training.samples, feeding, self.config.plan_options(), left, looked_at)
        findings = [
            *classified.findings,
            *(("split", finding) for finding in split.findings),
            *training.findings,
            *validation.findings,
        ]
        used = tuple(case for case in split.validation if case.pseudonym in validation.digests)
        return Ready(
            plan=plan,
            source=images_of(training.samples, plan),
            trained_on=len(training.samples),
            validation=ClassValidation(used, validation.samples, classified, _shares_of(training.samples)),
            split=split,
            images=training.digests | validation.digests,
            read=_read_of(training, validation),
            findings=tuple(findings),
            looking=looking_at(validation.samples, plan),
        )

    def network(self, plan: ClassificationPlan) -> torch.nn.Module:
        """Build the network of a plan."""
        return build_planned(plan)

    def training(
        self,
        plan: ClassificationPlan,
        device: torch.device,
        network: torch.nn.Module,
        pretrained: Collection[str] = (),
    ) -> Training:
        """Return a training at its first step."""
        return classification_training(plan, device, network, pretrained)

    def patch(self, plan: ClassificationPlan, image: torch.Tensor, label: torch.Tensor) -> Patch:
        """Return an image under the name of its class, or of all that hold; of colours the first."""
        array = image[0].numpy()
        array = array[:, :, None] if plan.input.is_flat else array
        if plan.holds == "one":
            return Patch(array, caption=plan.classes[int(label.argmax())])
        held = [name for name, share in zip(plan.classes, label.tolist(), strict=True) if share >= 0.5]
        return Patch(array, caption=", ".join(held) or "none")

    def settle(
        self,
        run: Run,
        training: Training,
        ready: Ready[ClassificationPlan, ClassValidation],
        setting: Setting,
    ) -> None:
        """Take the norms anew, then choose temperature and threshold on the validation cases."""
        with deterministic(ready.plan.training.threads):
            settle_norms(training, ready.source, setting.feeding)
        heads = _decided(training, ready.plan, ready.validation, setting.feeding.device)
        write_decisions(run, heads)

    def judge(
        self, run: Run, ready: Ready[ClassificationPlan, ClassValidation], setting: Setting
    ) -> ClassEvaluation | None:
        """Judge the model on the validation cases."""
        if not ready.validation.samples:
            return None
        return evaluate_classified(
            load_classifier([run], setting.feeding.device),
            run,
            "validation",
            ready.validation.cases,
            self.config.class_choice(),
            ready.validation.classified,
            progress=setting.progress,
        )

    def _drafted(
        self, classified: Classified, cases: Sequence[Case], device: torch.device, progress: Progress
    ) -> ClassificationPlan:
        choice = self.config.class_choice()
        measured = measured_sources(cases, choice, progress)
        if not measured:
            message = "No training case can be used: `lepton check` says why of each."
            raise InputError(message)
        task = task_of(choice, classified, measured)
        return draft_classification(
            task,
            list(measured.values()),
            with_start(self.config.plan_options(), self.config.network),
            machine_of(device),
        )


def _read_of(*sides: ReadSide) -> dict[str, list[str]]:
    """Return digest, classes and values of every case, by pseudonym: a resumed training wants the same."""
    read = {name: [digest] for side in sides for name, digest in side.digests.items()}
    for side in sides:
        for sample in side.samples:
            read[sample.case] += sample.marks()
    return read


def _shares_of(samples: Sequence[Sample]) -> tuple[float, ...]:
    targets = np.stack([one.target for one in samples if one.target is not None])
    return tuple(np.asarray(np.nanmean(targets, axis=0, dtype=np.float64)).tolist())


def _decided(
    training: Training, plan: ClassificationPlan, validation: ClassValidation, device: torch.device
) -> Heads:
    """Choose temperature and threshold of each head, one or one a label, on the validation samples."""
    weights = log_weights_of(plan.training, validation.shares)
    known = [one for one in validation.samples if one.target is not None]
    if not known:
        nothing = np.zeros((0, len(plan.classes)))
        return (choose_decisions(nothing, [], plan.holds, weights),) * (1 + len(plan.parts))
    with deterministic(plan.training.threads):
        heads = heads_of(training.average.eval(), known, plan, device)
    scores = scores_of(known, heads[:, None])
    scores = by_study(scores) if plan.source.level == "study" else scores
    targets = [one.target for one in scores if one.target is not None]
    logits = np.stack([one.logits[0] for one in scores], axis=1)  # (heads, n, classes)
    return tuple(choose_decisions(head, targets, plan.holds, weights) for head in logits)


def _require_classes(samples: Sequence[Sample], plan: ClassificationPlan) -> None:
    known = [one.target for one in samples if one.target is not None]
    targets = np.reshape(known, (-1, len(plan.classes)))
    for share, said in ((1.0, "No training case is"), (0.0, "Every training case is")):
        lacking = [
            name for name, column in zip(plan.classes, targets.T, strict=True) if share not in column
        ]
        if lacking:
            message = f"{said} of the class {', '.join(lacking)}: nothing can be learnt of it."
            raise InputError(message)
