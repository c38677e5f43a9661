"""`lepton train` of a classifier: from a folder to a run. Never opens a test case."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lepton_monai.cases.case import Case
from lepton_monai.cases.classes import ClassChoice, Classified, collect_classified
from lepton_monai.cases.split import split_cases
from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.config.load import write_config
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.files import locked, write_json, write_text
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.inputs import Sample
from lepton_monai.evaluation.calibration import fit_temperature, probabilities
from lepton_monai.evaluation.operating import best_threshold
from lepton_monai.inference.classifier import Decision, heads_of, load_classifier, write_decision
from lepton_monai.plans.classification import ClassificationPlan, classification_text, read_classification
from lepton_monai.plans.run import Run, write_key, write_split
from lepton_monai.training.checkpoint import write_checkpoint, write_final
from lepton_monai.training.class_planner import draft_classification
from lepton_monai.training.classification import images_of, settle_norms, with_clock
from lepton_monai.training.devices import choose_device, machine_of, usual_workers
from lepton_monai.training.loop import Feeding, run_training
from lepton_monai.training.ranks import this_rank
from lepton_monai.training.seeds import deterministic, seeded
from lepton_monai.training.training import Training
from lepton_monai.verbs.claiming import new_run, resumed_run
from lepton_monai.verbs.class_preparing import (
    ReadSide,
    measured_sources,
    read_side,
    require_same_clinical,
    task_of,
)
from lepton_monai.verbs.class_starting import resumed, started, with_start
from lepton_monai.verbs.evaluate_classifier import ClassEvaluation, evaluate_classified
from lepton_monai.verbs.records import write_environment, write_log
from lepton_monai.verbs.requirements import require_same_cases

RESERVE = 0.03
"""Share of the minutes that is kept back for writing and for a machine that gets slower."""


@dataclass(frozen=True)
class ClassTrainReport:
    """What `lepton train` prints of a classifier.

    Parameters
    ----------
    run, plan
        The folder, and every number.
    training_samples
        How many were trained on.
    decision
        Temperature and threshold, chosen on the validation cases.
    findings
        Of cases that were left out, or remarks, by pseudonym.
    validation
        None where there is no validation case.
    """

    run: Run
    plan: ClassificationPlan
    training_samples: int
    decision: Decision
    findings: tuple[tuple[str, Finding], ...]
    validation: ClassEvaluation | None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What is ready before the first step."""

    plan: ClassificationPlan
    classified: Classified
    training: ReadSide
    validation: ReadSide
    validation_cases: tuple[Case, ...]
    findings: tuple[tuple[str, Finding], ...]


def train_classifier(
    config: ClassificationConfig,
    run_folder: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    plan_file: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = SILENT,
) -> ClassTrainReport:
    """Train a classifier and keep everything that is needed to use and to repeat it.

    Parameters
    ----------
    config
        Of the task.
    run_folder
        To make; it must not exist, unless a training is resumed.
    pseudonyms
        Name cases and patients; None: by the user's salt.
    plan_file
        A plan made before: the same run again, byte for byte on the same machine.
    resume
        Go on from the newest whole checkpoint of the run.
    device
        auto, cpu, cuda, cuda:N, mps.
    workers
        Processes that make images; None: by the device. They never change a result.
    progress
        Told how far it is.

    Raises
    ------
    LeptonError
        With what is wrong and what to do.
    """
    began = time.perf_counter()
    if this_rank().count > 1:
        message = "A classifier is trained by one process: start it without torchrun."
        raise ConfigError(message)
    where = choose_device(device)
    feeding = Feeding(where, usual_workers(where) if workers is None else workers)
    run = resumed_run(run_folder, config) if resume else new_run(run_folder)
    kept = run.plan_path if resume else plan_file
    given = read_classification(kept) if kept else None
    choice = config.class_choice()
    with locked(run.folder):
        # 1. Cases, their split, the plan, and every sample at the network's size.
        names = pseudonyms or load_pseudonyms()
        ready = _prepare(config, choice, run, given, feeding, names=names, began=began, progress=progress)
        # 2. The training, from its start or from its newest checkpoint.
        training = _trained(config, run, ready, feeding, resume=resume, progress=progress)
        # 3. Temperature and threshold, on the validation cases; then the model as it was written.
        decision = _decided(training, ready.plan, ready.validation.samples, feeding)
        write_decision(run, decision)
        write_final(run, training)
        result = None
        if ready.validation.samples:
            result = evaluate_classified(
                load_classifier([run], where),
                run.evaluation_folder("validation"),
                [case for case in ready.validation_cases if case.pseudonym in ready.validation.digests],
                choice,
                ready.classified,
                progress=progress,
            )
    samples = len(ready.training.samples)
    return ClassTrainReport(run, ready.plan, samples, decision, ready.findings, result)


def classification_plan_only(
    config: ClassificationConfig,
    *,
    pseudonyms: Pseudonyms | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> ClassificationPlan:
    """Return what would be trained, without a clock: the number of steps is left at 1.

    Raises
    ------
    LeptonError
        With what is wrong and what to do.
    """
    choice = config.class_choice()
    classified = collect_classified(choice, pseudonyms or load_pseudonyms(), progress)
    split = split_cases(classified.cases, config.split.rule())
    return _drafted(config, choice, classified, split.train, device, progress)


def _drafted(
    config: ClassificationConfig,
    choice: ClassChoice,
    classified: Classified,
    cases: Sequence[Case],
    device: str,
    progress: Progress,
) -> ClassificationPlan:
    measured = measured_sources(cases, choice, progress)
    if not measured:
        message = "No training case can be used: `lepton check` says why of each."
        raise InputError(message)
    options = with_start(config.plan_options(), config.network)
    task = task_of(choice, classified, measured)
    machine = machine_of(choose_device(device))
    return draft_classification(task, list(measured.values()), options, machine)


def _prepare(
    config: ClassificationConfig,
    choice: ClassChoice,
    run: Run,
    given: ClassificationPlan | None,
    feeding: Feeding,
    *,
    names: Pseudonyms,
    began: float,
    progress: Progress,
) -> _Prepared:
    # Which cases there are, and who stands where.
    classified = collect_classified(choice, names, progress)
    split = split_cases(classified.cases, config.split.rule())
    # The plan; training and validation alone are opened, one case at a time.
    plan = given or _drafted(config, choice, classified, split.train, str(feeding.device), progress)
    if plan.classes != classified.classes:
        message = (
            f"The plan is for the classes {', '.join(plan.classes)}; the data hold "
            f"{', '.join(classified.classes)}."
        )
        raise ConfigError(message)
    require_same_clinical(plan, choice)
    training = read_side(split.train, choice, classified, plan, progress)
    _require_classes(training.samples, plan)
    trained = frozenset(training.digests.values())
    validation = read_side(split.validation, choice, classified, plan, progress, trained)
    if given is None:
        left = config.train.minutes * 60 * (1 - RESERVE) - (time.perf_counter() - began)
        plan = with_clock(plan, training.samples, feeding, config.plan_options(), left)
    # What the run is made of is kept before it starts.
    read = _read_of(training, validation)
    if run.plan_path.exists():
        require_same_cases(run, split, read)
    else:
        write_json(run.cases_path, read)
        write_config(config, run.config_path)
        rule = asdict(config.split.rule()) | {"file": config.split.file is not None}
        write_split(run, split, rule, training.digests | validation.digests)
        write_key(run.folder, (*split.train, *split.validation, *split.test))
        write_environment(run, feeding.device)
        write_text(run.plan_path, classification_text(plan))
    findings = [
        *classified.findings,
        *(("split", finding) for finding in split.findings),
        *training.findings,
        *validation.findings,
    ]
    return _Prepared(plan, classified, training, validation, split.validation, tuple(findings))


def _read_of(*sides: ReadSide) -> dict[str, list[str]]:
    """Return digest, classes and values of every case, by pseudonym: a resumed training wants the same."""
    read = {name: [digest] for side in sides for name, digest in side.digests.items()}
    for side in sides:
        for sample in side.samples:
            read[sample.case] += sample.marks()
    return read


def _trained(
    config: ClassificationConfig,
    run: Run,
    ready: _Prepared,
    feeding: Feeding,
    *,
    resume: bool,
    progress: Progress,
) -> Training:
    plan, began = ready.plan, time.perf_counter()
    source = images_of(ready.training.samples, plan)
    with deterministic(plan.training.threads), seeded(plan.training.seed):
        if resume:
            training = resumed(plan, feeding.device, run)
        else:
            training, report = started(plan, feeding.device, config.network)
            if report is not None:
                progress.say(report.text())
                write_text(run.folder / "weights.txt", report.text(most=1000) + "\n")
        start, total = training.step, plan.training.steps

        def keep(state: Training) -> None:
            write_checkpoint(run, state)

        def tell(state: Training) -> None:
            write_log(run, state.log)
            pace = (time.perf_counter() - began) / (state.step - start)
            left = pace * (total - state.step) / 60
            progress.say(f"step {state.step} of {total}: loss {state.log[-1][1]:.3f}, {left:.1f} min left")

        if not resume:
            keep(training)
        run_training(training, source, feeding, on_log=tell, on_checkpoint=keep)
        settle_norms(training, source, feeding)
    return training


def _decided(
    training: Training, plan: ClassificationPlan, samples: Sequence[Sample], feeding: Feeding
) -> Decision:
    """Choose the temperature, and with two classes the threshold, on the validation samples."""
    known = [one for one in samples if one.label is not None]
    if not known:
        return Decision()
    with deterministic(plan.training.threads):
        heads = heads_of(training.average.eval(), known, plan, feeding.device)
    labels = np.array([one.label for one in known])
    found = fit_temperature(heads[0], labels)
    scores = [probabilities(heads[0], found.temperature), *(probabilities(one) for one in heads[1:])]
    two = len(plan.classes) == 2
    threshold, *alone = (best_threshold(one[:, 1], labels) if two else 0.5 for one in scores)
    return Decision(
        temperature=found.temperature,
        threshold=threshold,
        n=found.n,
        ece_before=found.ece_before,
        ece_after=found.ece_after,
        at_limit=found.at_limit,
        alone_thresholds=tuple(alone),
    )


def _require_classes(samples: Sequence[Sample], plan: ClassificationPlan) -> None:
    found = {one.label for one in samples}
    lacking = [name for at, name in enumerate(plan.classes) if at not in found]
    if lacking:
        message = f"No training case is of the class {', '.join(lacking)}: nothing can be learnt of it."
        raise InputError(message)
