"""Two processes train one classifier as one process with twice the batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verbs.class_exports import PICTURES, write_pictures

CHECKOUT = Path(__file__).parents[2]

# Without batch norms, which see the samples of their own rank alone.
VIT = "{name: vit, arguments: {hidden_size: 32, mlp_dim: 32, num_layers: 1, num_heads: 2}}"


def train(folder: Path, launcher: list[str], batch_size: int) -> Path:
    """Train on the pictures in a folder by a process of its own, or by several."""
    config, salt = folder / "task.yaml", folder / "salt"
    config.write_text(PICTURES.format(root=folder / "pictures"), encoding="utf-8")
    salt.write_bytes(b"s" * 32)
    run = folder / f"run_{batch_size}"
    command = ["lepton_monai", "train", str(config), "--run", str(run), "--salt", str(salt)]
    changes = (f"network={VIT}", f"plan.training.batch_size={batch_size}")
    settings = [part for change in changes for part in ("--set", change)]
    done = subprocess.run(
        [sys.executable, *launcher, *command, "--device", "cpu", *settings],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.slow
def test_two_ranks_train_a_classifier_as_one_process_with_twice_the_batch(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    alone = train(tmp_path, ["-m"], 8)
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "--"]
    together = train(tmp_path, two, 4)
    logs = [(run / "log.csv").read_text(encoding="utf-8").splitlines()[1] for run in (alone, together)]
    losses = [float(line.split(",")[1]) for line in logs]
    print(f"mean loss of 30 steps: {losses[0]} with a batch of 8, {losses[1]} by two ranks")
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    metrics = [
        json.loads((run / "evaluation" / "validation" / "metrics.json").read_text(encoding="utf-8"))
        for run in (alone, together)
    ]
    assert metrics[0]["confusion"] == metrics[1]["confusion"]
