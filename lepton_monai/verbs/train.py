"""`lepton train`: from a folder to a run. Never opens a test case."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lepton_monai.cases.case import Case
from lepton_monai.cases.collect import collect
from lepton_monai.cases.split import split_cases
from lepton_monai.config.load import write_config
from lepton_monai.config.schema import Config
from lepton_monai.core.files import locked, write_json, write_text
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.cache import CachedCase, open_entry
from lepton_monai.inference.model import load_model
from lepton_monai.plans.plan import ImagePlan, Plan, plan_from, plan_text, read_plan, write_plan
from lepton_monai.plans.run import Run, write_key, write_split
from lepton_monai.training.checkpoint import write_checkpoint, write_final
from lepton_monai.training.devices import choose_device, machine_of, usual_workers
from lepton_monai.training.loop import Feeding, run_training
from lepton_monai.training.pace import measured_plan
from lepton_monai.training.planner import Task, draft_plan
from lepton_monai.training.ranks import joined, local_device, shared_by_first, this_rank
from lepton_monai.training.seeds import deterministic, seeded
from lepton_monai.training.segmentation import patches_of
from lepton_monai.training.training import Training
from lepton_monai.verbs.claiming import new_run, resumed_run
from lepton_monai.verbs.evaluate import Evaluation, Judging, evaluate_cases
from lepton_monai.verbs.preparing import Cache, Measured, fingerprint_of, measured_cases, prepared_cases
from lepton_monai.verbs.records import write_environment, write_fingerprint, write_log, write_picture
from lepton_monai.verbs.requirements import (
    require_apart,
    require_same_cases,
    require_same_task,
    require_some,
    trained_before,
    voxels_of,
)
from lepton_monai.verbs.starting import resumed, started, with_weights

RESERVE = 0.03
"""Share of the minutes that is kept back for writing and for a machine that gets slower."""


@dataclass(frozen=True)
class TrainReport:
    """What `lepton train` prints.

    Parameters
    ----------
    run, plan
        The folder, and every number.
    training_cases
        How many were trained on.
    findings
        Of cases that were left out, or remarks, by pseudonym.
    validation
        None where there is no validation case.
    """

    run: Run
    plan: Plan
    training_cases: int
    findings: tuple[tuple[str, Finding], ...]
    validation: Evaluation | None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What is ready before the first step."""

    plan: Plan
    cases: dict[str, CachedCase]
    validation: tuple[Case, ...]
    findings: tuple[tuple[str, Finding], ...]


def train(
    config: Config,
    run_folder: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    plan_file: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int | None = None,
    cache: Cache | None = None,
    progress: Progress = SILENT,
) -> TrainReport:
    """Train a network and keep everything that is needed to use and to repeat it.

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
        Processes that make patches; None: by the device. They never change a result.
    cache
        Where prepared cases are kept; None: in the user's cache folder.
    progress
        Told how far it is.

    Raises
    ------
    LeptonError
        With what is wrong and what to do.
    """
    began = time.perf_counter()
    rank = this_rank()
    where = local_device(choose_device(device))
    making = usual_workers(where) if workers is None else workers
    feeding = Feeding(where, making, rank.number, rank.count)
    if not rank.is_first:
        return _train_along(Run(run_folder), config.network.weights, feeding, resume=resume)
    run = resumed_run(run_folder, config) if resume else new_run(run_folder)
    given = run.plan() if resume else (read_plan(plan_file) if plan_file else None)
    with locked(run.folder):
        # 1. Cases, their split, the plan, and every training case on the network's grid.
        ready = _prepare(
            config,
            run,
            given,
            feeding,
            pseudonyms=pseudonyms or load_pseudonyms(),
            cache=cache or Cache.of_user(),
            began=began,
            progress=progress,
        )
        # 2. The training, from its start or from its newest checkpoint.
        with joined(rank, where):
            entries = [case.folder for case in ready.cases.values()]
            shared_by_first((plan_text(ready.plan), entries))
            training = _trained(
                run,
                ready.plan,
                ready.cases,
                feeding,
                weights=config.network.weights,
                resume=resume,
                progress=progress,
            )
        write_final(run, training)
        write_picture(run, training, ready.plan, list(ready.cases.values()))
        # 3. The model as it was written, on the validation cases.
        result = _validated(run, where, config, ready.validation, progress)
    return TrainReport(run, ready.plan, len(ready.cases), ready.findings, result)


def plan_only(
    config: Config,
    *,
    pseudonyms: Pseudonyms | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Plan:
    """Return what would be trained, without a clock: for the heaviest training that memory can bear.

    Raises
    ------
    LeptonError
        With what is wrong and what to do.
    """
    names = pseudonyms or load_pseudonyms()
    split = split_cases(collect(config.data_choice(), names, progress).cases, config.split_rule())
    training = measured_cases(split.train, config.data_choice(), [], progress)
    require_some(training)
    found = fingerprint_of(training)
    machine = machine_of(choose_device(device))
    options = with_weights(config.plan_options(), config.network.weights)
    return draft_plan(_task(config, training), found, options, machine).plan


def _prepare(
    config: Config,
    run: Run,
    given: Plan | None,
    feeding: Feeding,
    *,
    pseudonyms: Pseudonyms,
    cache: Cache,
    began: float,
    progress: Progress,
) -> _Prepared:
    # Which cases there are, and who stands where.
    data = config.data_choice()
    options = with_weights(config.plan_options(), config.network.weights)
    collection = collect(data, pseudonyms, progress)
    split = split_cases(collection.cases, config.split_rule())
    findings = [*collection.findings, *(("split", finding) for finding in split.findings)]
    # What they look like: training and validation alone are opened, one case at a time.
    training = measured_cases(split.train, data, findings, progress)
    validation = measured_cases(split.validation, data, findings, progress)
    require_some(training)
    require_apart(training, validation)
    # The plan: all of it that needs no clock; every training case on its grid; then the clock.
    found = fingerprint_of(training)
    if given is None:
        draft = draft_plan(_task(config, training), found, options, machine_of(feeding.device))
        cases = prepared_cases(training, data, draft.plan.preparation, cache, progress)
        left = options.minutes * 60 * (1 - RESERVE) - (time.perf_counter() - began)
        plan = measured_plan(draft, list(cases.values()), feeding, left, len(validation))
    else:
        plan = given
        require_same_task(plan, _task(config, training))
        cases = prepared_cases(training, data, plan.preparation, cache, progress)
    # What the run is made of is kept before it starts.
    if run.plan_path.exists():
        require_same_cases(run, split, voxels_of((*training, *validation)))
    else:
        write_config(config, run.config_path)
        write_fingerprint(run, found)
        digests = {one.case.pseudonym: one.digest for one in (*training, *validation)}
        rule = asdict(config.split_rule()) | {"file": config.split.file is not None}
        write_split(run, split, rule, trained_before(config.network.weights) | digests)
        write_json(run.cases_path, voxels_of((*training, *validation)))
        write_key(run.folder, (*split.train, *split.validation, *split.test))
        write_environment(run, feeding.device)
        write_plan(plan, run.plan_path)
    return _Prepared(plan, cases, tuple(one.case for one in validation), tuple(findings))


def _trained(
    run: Run,
    plan: Plan,
    cases: Mapping[str, CachedCase],
    feeding: Feeding,
    *,
    weights: Path | None,
    resume: bool,
    progress: Progress,
) -> Training:
    first = feeding.rank == 0
    with deterministic(plan.training.threads), seeded(plan.training.seed):
        if resume:
            training = resumed(plan, feeding.device, run)
        else:
            training, report = started(plan, feeding.device, weights)
            if report is not None and first:
                progress.say(report.text())
                write_text(run.folder / "weights.txt", report.text(most=1000) + "\n")
        total = plan.training.steps

        def keep(state: Training) -> None:
            if first:
                write_checkpoint(run, state)

        def tell(state: Training) -> None:
            if not first:
                return
            write_log(run, state)
            progress.report("training", state.step, total, f"loss {state.log[-1][1]:.3f}")

        if not resume:
            keep(training)
        run_training(training, patches_of(cases, plan), feeding, on_log=tell, on_checkpoint=keep)
    return training


def _train_along(run: Run, weights: Path | None, feeding: Feeding, *, resume: bool) -> TrainReport:
    """Train as a further rank: the first one says the plan and where the prepared cases lie."""
    rank = this_rank()
    with joined(rank, feeding.device):
        text, folders = shared_by_first(None)
        plan = plan_from(text, "The first rank's plan")
        cases = {folder.name: open_entry(folder) for folder in folders}
        _trained(run, plan, cases, feeding, weights=weights, resume=resume, progress=SILENT)
    return TrainReport(run, plan, len(cases), (), None)


def _task(config: Config, training: Sequence[Measured]) -> Task:
    data = config.data_choice()
    image = ImagePlan(
        name=data.image.name,
        file_format="nifti" if data.label.source == "nifti" else "dicom",
        modality=data.image.modality,
        description=data.image.description,
        unit=training[0].measurement.unit,
    )
    return Task(image, data.label.labels.names)


def _validated(
    run: Run, device: torch.device, config: Config, cases: Sequence[Case], progress: Progress
) -> Evaluation | None:
    if not cases:
        return None
    return evaluate_cases(
        load_model([run], device),
        run,
        "validation",
        cases,
        config.data_choice(),
        judging=Judging(**config.evaluate.model_dump()),
        progress=progress,
    )
