"""Checkpoints: weights as safetensors, a record as JSON with their digest; no pickle."""

from pathlib import Path

import torch
from safetensors.torch import save

from lepton_monai.core.files import digest_of, write_bytes, write_json
from lepton_monai.plans.run import Run


def write_checkpoint(run: Run, step: int, weights: dict[str, torch.Tensor]) -> Path:
    """Write the weights of a step; the record comes last, so that a folder with it is whole.

    Returns
    -------
    folder
        ``checkpoints/step-NNNNNN``.
    """
    folder = run.folder / "checkpoints" / f"step-{step:06d}"
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    path = folder / "weights.safetensors"
    write_bytes(path, save(plain))
    write_json(
        folder / "state.json",
        {"schema_version": 1, "step": step, "weights_sha256": digest_of(path)},
    )
    return folder
