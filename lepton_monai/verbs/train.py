"""`lepton train`: from a folder to a run, of whatever task. Never opens a test case."""

import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.config.load import AnyConfig, write_config
from lepton_monai.core.files import locked, write_json, write_text
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.batch import image_of
from lepton_monai.data.sampler import Share
from lepton_monai.exports.progress_picture import write_training_picture
from lepton_monai.plans.plan import plan_text
from lepton_monai.plans.run import Run, write_key, write_split
from lepton_monai.training.checkpoint import write_checkpoint, write_final
from lepton_monai.training.clock import SHORTEST
from lepton_monai.training.devices import choose_device, usual_workers
from lepton_monai.training.loop import Feeding, Looking, Source, run_training
from lepton_monai.training.ranks import joined, local_device, shared_by_first, this_rank
from lepton_monai.training.seeds import deterministic, seeded
from lepton_monai.training.training import Training
from lepton_monai.verbs.claiming import new_run, resumed_run
from lepton_monai.verbs.classification_task import ClassificationTask
from lepton_monai.verbs.events import EventLog, event_log
from lepton_monai.verbs.preparing import Cache
from lepton_monai.verbs.records import write_environment, write_fingerprint, write_log
from lepton_monai.verbs.requirements import require_same_cases, trained_before
from lepton_monai.verbs.segmentation_task import SegmentationTask
from lepton_monai.verbs.starting import resumed, started, weights_path
from lepton_monai.verbs.training_task import PlanKind, Ready, Setting, TrainingTask

PICTURED = 6
"""Samples in the picture of a training."""

Figures = TypeVar("Figures")

AnyTask = TrainingTask[Any, Any, Any]

Fed = tuple[Any, Source, Looking | None]
"""The plan, the samples, and a look at the validation side: what every rank has in common."""


@dataclass(frozen=True)
class TrainReport(Generic[PlanKind, Figures]):
    """What `lepton train` prints.

    Parameters
    ----------
    run, plan
        The folder, and every number.
    trained_on
        How many cases, or samples of a classifier.
    findings
        Of cases that were left out, or remarks, by pseudonym.
    validation
        None where there is no validation case.
    """

    run: Run
    plan: PlanKind
    trained_on: int
    findings: tuple[tuple[str, Finding], ...]
    validation: Figures | None


AnyReport = TrainReport[Any, Any]
"""Of whatever task."""


def task_of(config: AnyConfig) -> AnyTask:
    """Return the kind of task that a config is of."""
    return (
        ClassificationTask(config) if isinstance(config, ClassificationConfig) else SegmentationTask(config)
    )


def train(
    config: AnyConfig,
    run_folder: str | Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    plan_file: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int | None = None,
    cache: Cache | None = None,
    tensorboard: bool = False,
    progress: Progress = SILENT,
) -> AnyReport:
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
        Processes that make samples; None: by the device. They never change a result.
    cache
        Where prepared cases are kept; None: in the user's cache folder.
    tensorboard
        Write the log as TensorBoard's events too.
    progress
        Told how far it is.

    Raises
    ------
    LeptonError
        With what is wrong and what to do.
    """
    began, folder = time.perf_counter(), Path(run_folder)
    task, rank = task_of(config), this_rank()
    where = local_device(choose_device(device))
    making = usual_workers(where) if workers is None else workers
    feeding = Feeding(where, making, rank.number, rank.count)
    setting = Setting(pseudonyms, cache, feeding, began, progress)
    if not rank.is_first:
        return _train_along(task, Run(folder), setting, resume=resume)
    events = event_log(Run(folder).tensorboard_folder) if tensorboard else None
    run = resumed_run(folder, config) if resume else new_run(folder)
    kept = run.plan_path if resume else plan_file
    given = task.read_plan(kept) if kept else None
    if "minutes" in config.train.model_fields_set and _steps_are_given(config, plan_file):
        progress.say("The plan gives the steps, however long they take: train.minutes isn't used.")
    with locked(run.folder):
        if not resume:
            run.plan_path.unlink(missing_ok=True)  # of a training that ended before its first step
        # 1. Cases, their split, the plan, and every training case as the network wants it.
        ready = task.prepare(given, setting)
        _keep(task, run, ready, feeding)
        measured = not resume and not _steps_are_given(config, plan_file)
        if measured and ready.plan.training.steps == SHORTEST:
            progress.say(
                f"{SHORTEST} steps are the least: it takes longer than the minutes that were given."
            )
        # 2. The training, from its start or from its newest checkpoint.
        with joined(rank, where):
            fed = shared_by_first((ready.plan, ready.source, ready.looking))
            training = _trained(task, run, fed, setting, resume=resume, events=events)
        task.settle(run, training, ready, setting)
        write_final(run, training)
        _write_picture(task, run, training, ready)
        # 3. The model as it was written, on the validation cases.
        figures = task.judge(run, ready, setting)
    return TrainReport(run, ready.plan, ready.trained_on, ready.findings, figures)


def _steps_are_given(config: AnyConfig, plan_file: Path | None) -> bool:
    return plan_file is not None or "training.steps" in config.plan_options().given


def plan_only(
    config: AnyConfig,
    *,
    pseudonyms: Pseudonyms | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Any:
    """Return the plan of what would be trained, without a clock.

    Raises
    ------
    LeptonError
        With what is wrong and what to do.
    """
    return task_of(config).draft(pseudonyms or load_pseudonyms(), choose_device(device), progress)


def _keep(task: AnyTask, run: Run, ready: Ready[Any, Any], feeding: Feeding) -> None:
    """Keep what a run is made of before it starts; one that goes on must be made of the same."""
    if run.plan_path.exists():
        require_same_cases(run, ready.split, ready.read)
        write_config(task.config, run.config_path)  # where the data lie now, and their codes
        return
    config, split = task.config, ready.split
    write_json(run.cases_path, ready.read)
    write_config(config, run.config_path)
    rule = asdict(config.split.rule()) | {"file": config.split.file is not None}
    write_split(run, split, rule, trained_before(weights_path(config.network)) | dict(ready.images))
    write_key(run.folder, (*split.train, *split.validation, *split.test))
    write_environment(run, feeding.device)
    if ready.fingerprint is not None:
        write_fingerprint(run, ready.fingerprint)
    write_text(run.plan_path, plan_text(ready.plan))


def _trained(
    task: AnyTask, run: Run, fed: Fed, setting: Setting, *, resume: bool, events: EventLog | None = None
) -> Training:
    """Train to the last step; the first rank alone writes and tells."""
    plan, source, looking = fed
    feeding, progress = setting.feeding, setting.progress
    first, total = feeding.rank == 0, plan.training.steps

    def keep(state: Training) -> None:
        if first:
            write_checkpoint(run, state)

    def tell(state: Training) -> None:
        if first:
            write_log(run, state)
            if events is not None:
                events.write(state)
            progress.report("training", state.step, total, f"loss {state.log[-1][1]:.3f}")

    with deterministic(plan.training.threads), seeded(plan.training.seed), events or nullcontext():
        if resume:
            training = resumed(task, plan, feeding.device, run)
        else:
            training, report = started(task, plan, feeding.device)
            if report is not None and first:
                progress.say(report.text())
                write_text(run.folder / "weights.txt", report.text(most=1000) + "\n")
            keep(training)
        run_training(training, source, feeding, on_log=tell, on_checkpoint=keep, looking=looking)
    if looking is not None and first:
        step, loss = min(training.looks, key=lambda one: one[1])
        progress.say(f"The model is the average of step {step}: validation loss {loss:.3f}.")
    return training


def _train_along(task: AnyTask, run: Run, setting: Setting, *, resume: bool) -> AnyReport:
    """Train as a further rank: the first one says the plan and what to train on."""
    with joined(this_rank(), setting.feeding.device):
        fed = shared_by_first(None)
        _trained(task, run, fed, setting, resume=resume)
    return TrainReport(run, fed[0], len(fed[1].names), (), None)


def _write_picture(task: AnyTask, run: Run, training: Training, ready: Ready[Any, Any]) -> None:
    """Draw how the loss fell, and the first samples as the network got them."""
    samples = ready.source.samples(Share())
    drawn = [samples[at] for at in range(min(PICTURED, len(samples)))]
    patches = [task.patch(ready.plan, image_of(inputs), label) for inputs, label in drawn]
    write_training_picture(training.log, patches, run.folder / "training.png")
