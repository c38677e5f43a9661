"""What a run keeps beside its plan and its weights."""

import csv
import io
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import torch
import yaml

from lepton_monai import __version__
from lepton_monai.core.files import write_json, write_text
from lepton_monai.data.fingerprint import Fingerprint
from lepton_monai.plans.run import Run


def write_log(run: Run, rows: Sequence[tuple[int, float, float]]) -> None:
    """Write step, mean loss and learning rate."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss", "learning_rate"])
    writer.writerows([step, f"{loss:.6f}", f"{rate:.8f}"] for step, loss, rate in rows)
    write_text(run.log_path, text.getvalue())


def write_fingerprint(run: Run, found: Fingerprint) -> None:
    """Write what was measured of the training cases."""
    content = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(found).items()
    }
    write_text(run.folder / "fingerprint.yaml", yaml.safe_dump(content, sort_keys=False))


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
