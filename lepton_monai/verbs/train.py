"""`lepton train`: from a folder to a run. Never opens a test case."""

import csv
import io
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from lepton_monai import __version__
from lepton_monai.cases.case import Case, load_case
from lepton_monai.cases.collect import DataChoice, collect
from lepton_monai.cases.split import split_cases
from lepton_monai.config.load import write_config
from lepton_monai.config.schema import Config
from lepton_monai.core.errors import InputError, OutputFolderError
from lepton_monai.core.files import claim_folder, locked, write_json, write_text
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.fingerprint import Measurement, fingerprint, measure
from lepton_monai.data.transforms import Prepared, prepare
from lepton_monai.inference.model import load_model
from lepton_monai.plans.plan import ImagePlan, Plan, read_plan, write_plan
from lepton_monai.plans.run import Run, write_key, write_split
from lepton_monai.training.checkpoint import write_checkpoint
from lepton_monai.training.devices import choose_device, usual_workers
from lepton_monai.training.loop import Progressed, train_network
from lepton_monai.training.planner import Task, draft_plan, measured_plan
from lepton_monai.verbs.evaluate import Evaluation, evaluate_cases

RESERVE = 0.03
"""Share of the minutes that is kept back for writing and for a machine that gets slower."""


@dataclass(frozen=True)
class TrainReport:
    """What `lepton train` prints."""

    run: Run
    plan: Plan
    training_cases: int
    findings: tuple[tuple[str, Finding], ...]
    validation: Evaluation | None


def train(
    config: Config,
    run_folder: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    plan_file: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = SILENT,
) -> TrainReport:
    """Train a network and keep everything that is needed to use and to repeat it.

    Parameters
    ----------
    config
        Of the task.
    run_folder
        To make; it must not exist.
    pseudonyms
        Name cases and patients; None: by the user's salt.
    plan_file
        A plan made before: the same run again, byte for byte on the same machine.
    device
        auto, cpu, cuda, cuda:N, mps.
    workers
        Processes that make patches; None: by the device. They never change a result.
    progress
        Told how far it is.

    Raises
    ------
    LeptonError
        With what is wrong and what to do.
    """
    began = time.perf_counter()
    where = choose_device(device)
    given = read_plan(plan_file) if plan_file else None
    run = _new_run(run_folder)
    with locked(run.folder):
        # 1. Which cases there are, and who stands where.
        data = config.data_choice()
        collection = collect(data, pseudonyms or load_pseudonyms(), progress)
        split = split_cases(collection.cases, config.split_rule())
        findings = [*collection.findings, *(("split", finding) for finding in split.findings)]
        # 2. What they look like: training and validation alone are opened, one case at a time.
        training = _measured_cases(split.train, data, findings, progress)
        validation = _measured_cases(split.validation, data, findings, progress)
        _require_apart(training, validation)
        # 3. The plan.
        measurements = [one.measurement for one in training]
        task = Task(_image_plan(data, measurements[0].unit), data.label.labels.names)
        options = config.plan_options()
        drafted = given or draft_plan(task, fingerprint(measurements), options, where)
        # 4. Every training case on the network's grid, once.
        prepared = [
            _prepared(one.case, data, drafted)
            for one in progress.track(training, "preparing cases", len(training))
        ]
        left = options.minutes * 60 * (1 - RESERVE) - (time.perf_counter() - began)
        plan = given or measured_plan(drafted, options, prepared, where, left, len(validation))
        # 5. What the run is made of is kept before it starts.
        write_config(config, run.config_path)
        write_plan(plan, run.plan_path)
        digests = {one.case.pseudonym: one.digest for one in (*training, *validation)}
        rule = asdict(config.split_rule()) | {"file": config.split.file is not None}
        write_split(run, split, rule, digests)
        write_key(run.folder, (*split.train, *split.validation, *split.test))
        _write_environment(run, where)
        # 6. The training.
        making = usual_workers(where) if workers is None else workers
        network = _trained(run, prepared, plan, where, making, progress)
        write_checkpoint(run, plan.training.steps, network.state_dict())
        # 7. The model as it was written, on the validation cases.
        result = _validated(run, where, config, [one.case for one in validation], progress)
    return TrainReport(run, plan, len(training), tuple(findings), result)


@dataclass(frozen=True, eq=False)
class _Measured:
    case: Case
    measurement: Measurement
    digest: str


def _measured_cases(
    cases: Sequence[Case], data: DataChoice, findings: list[tuple[str, Finding]], progress: Progress
) -> list[_Measured]:
    """Open cases one by one; what is wrong with them is added to the findings."""
    measured: list[_Measured] = []
    for case in progress.track(cases, "reading cases", len(cases)):
        loaded = load_case(case, data.label.labels, empty_is_negative=data.label.empty_is_negative)
        if isinstance(loaded, Finding):
            findings.append((case.pseudonym, loaded))
            continue
        findings += [(case.pseudonym, finding) for finding in loaded.mask.findings]
        measured.append(_Measured(case, measure(loaded), loaded.digest))
    return measured


def _new_run(folder: Path) -> Run:
    if (folder / "plan.yaml").exists():
        message = f"{folder} is a run already; name a folder that doesn't exist yet."
        raise OutputFolderError(message)
    claim_folder(folder, "train")
    return Run(folder)


def _require_apart(training: Sequence[_Measured], validation: Sequence[_Measured]) -> None:
    """Refuse an image that stands on both sides, under whatever ids it was exported."""
    if not training:
        message = "No training case can be used: `lepton check` says why of each."
        raise InputError(message)
    trained = {one.digest: one.case for one in training}
    for one in validation:
        twin = trained.get(one.digest)
        if twin is not None:
            message = (
                f"{one.case.pseudonym} (validation) and {twin.pseudonym} (training) are one image "
                "under two patient ids. Join the ids in a table: data.patients."
            )
            raise InputError(message)


def _image_plan(data: DataChoice, unit: str) -> ImagePlan:
    return ImagePlan(
        name=data.image.name,
        file_format="nifti" if data.label.source == "nifti" else "dicom",
        modality=data.image.modality,
        description=data.image.description,
        unit=unit,
    )


def _prepared(case: Case, data: DataChoice, plan: Plan) -> Prepared:
    loaded = load_case(case, data.label.labels, empty_is_negative=data.label.empty_is_negative)
    if isinstance(loaded, Finding):
        message = f"{case.pseudonym} changed while it was read: {loaded.sentence()}"
        raise InputError(message)
    return prepare(loaded.volume, loaded.mask, plan)


def _trained(
    run: Run,
    prepared: Sequence[Prepared],
    plan: Plan,
    device: torch.device,
    workers: int,
    progress: Progress,
) -> torch.nn.Module:
    rows: list[Progressed] = []
    total = plan.training.steps
    began = time.perf_counter()

    def note(state: Progressed, _: torch.nn.Module) -> None:
        rows.append(state)
        _write_log(run, rows)
        left = (time.perf_counter() - began) / state.step * (total - state.step)
        progress.say(f"step {state.step} of {total}: loss {state.loss:.3f}, {left / 60:.1f} min left")

    return train_network(prepared, plan, device, workers, note)


def _write_log(run: Run, rows: Sequence[Progressed]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss", "learning_rate"])
    writer.writerows([row.step, f"{row.loss:.6f}", f"{row.learning_rate:.8f}"] for row in rows)
    write_text(run.log_path, text.getvalue())


def _validated(
    run: Run, device: torch.device, config: Config, cases: Sequence[Case], progress: Progress
) -> Evaluation | None:
    if not cases:
        return None
    return evaluate_cases(
        load_model(run, device),
        run,
        "validation",
        cases,
        config.data_choice(),
        threshold=config.evaluate.threshold,
        progress=progress,
    )


def _write_environment(run: Run, device: torch.device) -> None:
    """Keep what can differ from run to run, so that nothing else has to."""
    content = {
        "lepton_monai": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "device": str(device),
        "started": datetime.now(tz=UTC).isoformat(timespec="seconds"),
    }
    write_json(run.folder / "environment.json", content)
