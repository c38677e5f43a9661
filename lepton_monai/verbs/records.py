"""What a run keeps beside its plan and its weights."""

import csv
import io
import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime

import torch
import yaml

from lepton_monai import __version__
from lepton_monai.core.files import write_json, write_text
from lepton_monai.core.wording import counted
from lepton_monai.data.fingerprint import Fingerprint
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.plans.plan import Plan
from lepton_monai.plans.run import Run, read_split
from lepton_monai.training.training import Training


def write_log(run: Run, training: Training) -> None:
    """Write step, mean loss and learning rate, and the validation loss where it was looked at."""
    looks = {step: f"{loss:.6f}" for step, loss in training.looks}
    more = ["validation_loss"] if looks else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss", "learning_rate", *more])
    for step, loss, rate in training.log:
        writer.writerow([step, f"{loss:.6f}", f"{rate:.8f}", *(looks.get(step, "") for _ in more)])
    write_text(run.log_path, text.getvalue())


def write_fingerprint(run: Run, found: Fingerprint) -> None:
    """Write what was measured of the training cases."""
    content = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(found).items()
    }
    write_text(run.folder / "fingerprint.yaml", yaml.safe_dump(content, sort_keys=False))


def made_by() -> str:
    """Return by what a report is made, and when."""
    return f"lepton_monai {__version__}, {datetime.now(tz=UTC):%Y-%m-%d}"


def told_model(run: Run, plan: Plan | ClassificationPlan, digest: str) -> str:
    """Say which model was judged, for who reads its figures without the run."""
    read = json.loads(run.cases_path.read_text(encoding="utf-8")) if run.cases_path.exists() else {}
    used = [one for one in read_split(run)["train"] if one["case"] in read]
    trained = counted(len(used), "training case")
    steps = counted(plan.training.steps, "step")
    return f"Model {digest[:12]}: {plan.network.name}, {steps}, {trained}."


def write_environment(run: Run, device: torch.device) -> None:
    """Write what can differ from run to run, so that nothing else has to."""
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
