"""What a classifier takes over from where it starts: a segmentation, known weights, a file."""

import hashlib
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from lepton_monai.cli.main import run as command
from lepton_monai.config.classification import ClassifierSection
from lepton_monai.core.errors import ConfigError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.networks import known
from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.plans.classification import ClassifierPlan, InputPlan, ScalePlan
from lepton_monai.plans.options import PlanOptions
from lepton_monai.verbs.class_starting import with_start
from lepton_monai.verbs.train import train
from tests.verbs.class_exports import SERIES, write_modalities, write_task
from tests.verbs.exports import write_config, write_export

NAMES = Pseudonyms(b"s" * 32)


def _segmentation(folder: Path, network: str) -> Path:
    """Train a segmentation for two steps; return its run."""
    root = folder / "export"
    write_export(root)
    changes = {
        "name: unet": f"name: {network}",
        "channels: [4, 8]": "channels: [4, 8, 16]",
        "steps: 30": "steps: 2",
    }
    config = write_config(folder, root, **changes)
    run: Path = train(config, folder / "run", pseudonyms=NAMES, device="cpu").run.folder
    return run


@pytest.mark.slow
def test_a_classifier_starts_from_the_encoder_of_a_segmentation(tmp_path: Path) -> None:
    first = _segmentation(tmp_path, "dynunet")
    write_modalities(tmp_path / "modalities")
    text = SERIES.replace(
        "network: {{name: resnet10, arguments: {{widen_factor: 0.125}}}}",
        f"network: {{{{weights: {first}}}}}",
    ).replace("steps: 30", "steps: 2, pretrained_rate: 0.0, average_decay: 0.0")
    config = write_task(tmp_path, tmp_path / "modalities", text)
    done = train(config, tmp_path / "second", pseudonyms=NAMES, device="cpu")
    assert done.plan.network.name == "dynunet-encoder"
    assert done.plan.network.arguments["channels"] == [4, 8, 16]
    before, after = (
        load_file(next(run.glob("checkpoints/*/weights.safetensors")))
        for run in (first, tmp_path / "second")
    )
    kept = [name for name in after if not name.startswith("head.")]
    assert len(kept) >= 3 * 4
    assert all(torch.equal(before[name], after[name]) for name in kept)
    said = (tmp_path / "second" / "weights.txt").read_text(encoding="utf-8")
    assert said.startswith(f"run: {len(kept)} of {len(before)} tensors as they are, 0 adapted, 2 new")


def test_a_segmentation_by_another_network_is_refused(tmp_path: Path) -> None:
    first = _segmentation(tmp_path, "unet")
    with pytest.raises(
        ConfigError, match="segments by `unet`; a classifier can start from `dynunet` alone"
    ):
        with_start(PlanOptions(minutes=1.0, seed=0), ClassifierSection(weights=str(first)))


@pytest.mark.parametrize(
    ("name", "takes_arguments"), [("", True), ("slices:resnet10", True), ("densenet121", False)]
)
def test_known_weights_bring_their_scale_and_the_arguments_of_their_own_network(
    name: str, takes_arguments: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _one_entry(tmp_path, monkeypatch)
    options = with_start(
        PlanOptions(minutes=1.0, seed=0), ClassifierSection(name=name, weights="one", weights_dir=tmp_path)
    )
    assert options.given["network.name"] == "resnet10"
    assert options.given["input.scale.low"] == -500.0
    assert options.given["input.scale.transform"] == "none"
    assert options.given.get("network.arguments") == ({"widen_factor": 0.125} if takes_arguments else None)


def test_the_folder_of_weights_is_an_option_of_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _one_entry(tmp_path, monkeypatch)
    write_modalities(tmp_path / "modalities")
    write_task(tmp_path, tmp_path / "modalities", SERIES)
    train_it = ["train", str(tmp_path / "task.yaml"), "--run", str(tmp_path / "run"), "--from", "one"]
    assert command([*train_it, "--weights-dir", str(tmp_path / "empty")]) == 3
    assert f"put it into {tmp_path / 'empty'} or to {tmp_path / 'cache'}" in capsys.readouterr().err
    assert command([*train_it, "--weights-dir", str(tmp_path), "--set", "plan.training.steps=1"]) == 0
    said = (tmp_path / "run" / "weights.txt").read_text(encoding="utf-8")
    assert "tensors as they are, 0 adapted, 0 new" in said


def _one_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the table of known weights hold one entry, `one`, whose file lies in a folder."""
    scale = ScalePlan("none", 0.0, 1.0, (0.0,), (1.0,))
    plan = ClassifierPlan("resnet10", {"widen_factor": 0.125})
    torch.save(
        build_classifier(plan, InputPlan((16, 16, 16), None, 1, scale), 2).state_dict(), folder / "one.pt"
    )
    entry = {
        "file": "one.pt",
        "url": "https://example.org/one.pt",
        "licence": "MIT",
        "sha256": hashlib.sha256((folder / "one.pt").read_bytes()).hexdigest(),
        "network": "resnet10",
        "arguments": {"spatial_dims": 3, "widen_factor": 0.125},
        "channels": 1,
        "axes": "ijk",
        "intensity": {"scheme": "window", "low": -500.0, "high": 700.0},
    }
    (folder / "table.yaml").write_text(yaml.safe_dump({"one": entry}))
    monkeypatch.setattr(known, "TABLE", folder / "table.yaml")
