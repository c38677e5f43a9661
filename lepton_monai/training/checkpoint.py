"""Checkpoints: safetensors and JSON with their digests; no pickle.

The model (the running average) lies in a file of its own, beside what only a resumed training needs. The
record is written last, so that a folder with a record is whole.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from lepton_monai.core.errors import InputError
from lepton_monai.core.files import digest_of, write_bytes, write_json
from lepton_monai.plans.run import CHECKPOINT_SCHEMA, RECORD, WEIGHTS, Checkpoint, Run
from lepton_monai.training.training import Training

KEPT = 2
"""Checkpoints of a running training: where the newest is damaged, the one before it is whole."""

TENSORS = "training.safetensors"


def write_checkpoint(run: Run, training: Training) -> Path:
    """Write where a training is, and remove all older ones but the last.

    Returns
    -------
    folder
        ``checkpoints/step-NNNNNNNNN``.
    """
    return _write(run, training, training.tensors(), KEPT)


def write_final(run: Run, training: Training) -> Path:
    """Write the model of a finished training; nothing else of it is needed any more."""
    return _write(run, training, {}, 1)


def _write(run: Run, training: Training, tensors: Mapping[str, torch.Tensor], kept: int) -> Path:
    folder = run.checkpoint_folder(training.step)
    (folder / RECORD).unlink(missing_ok=True)
    digests = {}
    for name, content in ((WEIGHTS, training.average.state_dict()), (TENSORS, tensors)):
        (folder / name).unlink(missing_ok=True)
        if content:
            write_bytes(folder / name, save({key: _plain(one) for key, one in content.items()}))
            digests[name] = digest_of(folder / name)
    record = {"schema_version": CHECKPOINT_SCHEMA, "finished": not tensors, "sha256": digests}
    write_json(folder / RECORD, record | training.values())
    whole = [one.folder for one in run.checkpoints()[:kept]]
    for old in run.checkpoints_folder.iterdir():
        if old not in whole:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def newest_checkpoint(run: Run) -> Checkpoint:
    """Return the newest whole checkpoint of a training that isn't finished.

    Raises
    ------
    InputError
        There is none, or the training is finished.
    """
    found = run.checkpoints()
    if not found:
        message = f"{run.folder} holds no whole checkpoint: there is nothing to resume. Name a new run."
        raise InputError(message)
    if found[0].is_finished:
        message = f"The training in {run.folder} is finished: there is nothing to resume."
        raise InputError(message)
    return found[0]


def restore(training: Training, checkpoint: Checkpoint) -> None:
    """Bring a training to where a checkpoint was written."""
    average, tensors = (load_file(checkpoint.folder / name) for name in (WEIGHTS, TENSORS))
    training.restore(average, tensors, checkpoint.record)


def is_finished(run: Run) -> bool:
    """Tell whether a run has its model."""
    found = run.checkpoints()
    return bool(found) and found[0].is_finished


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    # A copy: safetensors refuses tensors that share memory.
    return tensor.detach().cpu().contiguous().clone()
