"""Checkpoints: safetensors and JSON with their digests; no pickle.

The model (the running average) lies in a file of its own, beside what only a resumed training needs. The
record is written last, so that a folder with a record is whole.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from lepton_monai.core.errors import InputError
from lepton_monai.core.files import digest_of, write_bytes, write_json
from lepton_monai.plans.run import Run
from lepton_monai.training.training import Training

KEPT = 2
"""Checkpoints of a running training: where the newest is damaged, the one before it is whole."""

WEIGHTS, TENSORS, RECORD = "weights.safetensors", "training.safetensors", "state.json"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was read: what :meth:`Training.restore` wants."""

    average: dict[str, torch.Tensor]
    tensors: dict[str, torch.Tensor]
    values: dict[str, Any]


def write_checkpoint(run: Run, training: Training) -> Path:
    """Write where a training is, and remove all older ones but the last.

    Returns
    -------
    folder
        ``checkpoints/step-NNNNNN``.
    """
    return _write(run, training, training.tensors(), KEPT)


def write_final(run: Run, training: Training) -> Path:
    """Write the model of a finished training; nothing else of it is needed any more."""
    return _write(run, training, {}, 1)


def _write(run: Run, training: Training, tensors: Mapping[str, torch.Tensor], kept: int) -> Path:
    folder = run.checkpoints_folder / f"step-{training.step:06d}"
    (folder / RECORD).unlink(missing_ok=True)
    digests = {}
    for name, content in ((WEIGHTS, training.average.state_dict()), (TENSORS, tensors)):
        (folder / name).unlink(missing_ok=True)
        if content:
            write_bytes(folder / name, save({key: _plain(one) for key, one in content.items()}))
            digests[name] = digest_of(folder / name)
    record = {"schema_version": 2, "finished": not tensors, "sha256": digests, **training.values()}
    write_json(folder / RECORD, record)
    for old in sorted(run.checkpoints_folder.glob("step-*"))[:-kept]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def read_checkpoint(run: Run) -> Checkpoint:
    """Read the newest whole checkpoint of a training that isn't finished.

    Raises
    ------
    InputError
        There is none, or the training is finished.
    """
    for record in sorted(run.checkpoints_folder.glob(f"step-*/{RECORD}"), reverse=True):
        found = _whole(record)
        if found is not None and found.values["finished"]:
            message = f"The training in {run.folder} is finished: there is nothing to resume."
            raise InputError(message)
        if found is not None:
            return found
    message = f"{run.folder} holds no whole checkpoint: there is nothing to resume. Name a new run."
    raise InputError(message)


def is_finished(run: Run) -> bool:
    """Tell whether a run has its model."""
    found = (_whole(record) for record in run.checkpoints_folder.glob(f"step-*/{RECORD}"))
    return any(one is not None and one.values["finished"] for one in found)


def _whole(record: Path) -> Checkpoint | None:
    """Read a checkpoint; None where it is damaged: the one before it will do."""
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        paths = {name: record.with_name(name) for name in values["sha256"]}
        if any(digest_of(path) != values["sha256"][name] for name, path in paths.items()):
            return None
        loaded = {name: load_file(path) for name, path in paths.items()}
    except (OSError, ValueError, KeyError):
        return None
    return Checkpoint(loaded[WEIGHTS], loaded.get(TENSORS, {}), values)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    # A copy: safetensors refuses tensors that share memory.
    return tensor.detach().cpu().contiguous().clone()
