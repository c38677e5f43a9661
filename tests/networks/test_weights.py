import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lepton_monai.core.errors import InputError, WeightsError
from lepton_monai.networks.build import network_of
from lepton_monai.networks.weights import read_weights
from lepton_monai.plans.plan import plan_text
from lepton_monai.plans.run import Run
from lepton_monai.training.checkpoint import write_final
from lepton_monai.training.segmentation import segmentation_training
from lepton_monai.training.training import Training
from tests.plans.examples import example_plan

WEIGHTS = {
    "conv.weight": torch.arange(24.0).reshape(2, 1, 3, 4),
    "conv.bias": torch.tensor([0.5, -2.0], dtype=torch.bfloat16),
    "bn.num_batches_tracked": torch.tensor(7),
}


def _same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
        for name, tensor in WEIGHTS.items()
    )


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": weights, "epoch": 3, "meta": {"by": "x"}},
        lambda weights: {"epoch": 3, "model": weights, "optimizer": {"state": {}}},
        lambda weights: {"network_weights": weights, "trainer_name": "nnUNetTrainer"},
        lambda weights: {"model_state_dict": weights},
        lambda weights: {"network": {"state_dict": weights}},
        lambda weights: {**weights, "version": 2, "_extra_state": None},
        lambda weights: {name: torch.nn.Parameter(t, t.is_floating_point()) for name, t in weights.items()},
    ],
    ids=["bare", "state_dict", "model", "nnU-Net", "model_state_dict", "nested", "extras", "parameters"],
)
def test_a_state_dict_is_found_wherever_it_usually_lies(tmp_path: Path, wrap: Any, legacy: bool) -> None:
    path = tmp_path / "any.pth"
    torch.save(wrap(WEIGHTS), path, _use_new_zipfile_serialization=not legacy)
    found = read_weights(path)
    assert _same(found)
    assert not any(tensor.requires_grad for tensor in found.values())


def test_safetensors_are_read_whatever_the_files_name(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "weights.bin")
    assert _same(read_weights(tmp_path / "weights.bin"))


@pytest.mark.parametrize("name", ["models/model.pt", "models/model.safetensors", "model.safetensors"])
def test_a_monai_bundle_is_read_from_its_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".pt":
        torch.save(WEIGHTS, path)
    else:
        save_file(WEIGHTS, path)
    (tmp_path / "configs").mkdir()
    assert _same(read_weights(tmp_path))


def a_run(folder: Path, step: int) -> tuple[Run, Training]:
    """Write a run whose only checkpoint is at a step."""
    folder.mkdir()
    run, plan = Run(folder), example_plan()
    run.plan_path.write_text(plan_text(plan), encoding="utf-8")
    training = segmentation_training(plan, torch.device("cpu"), network_of(plan))
    training.step = step
    write_final(run, training)
    return run, training


def test_a_run_gives_its_newest_whole_checkpoint(tmp_path: Path) -> None:
    run, training = a_run(tmp_path / "run", step=100)
    training.step = 200
    training.average.load_state_dict({name: one + 1 for name, one in training.average.state_dict().items()})
    write_final(run, training)
    found = read_weights(run.folder)
    assert all(torch.equal(one, found[name]) for name, one in training.average.state_dict().items())


def test_a_run_with_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path / "run", step=100)
    weights = run.weights_path()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match="damaged"):
        read_weights(run.folder)


def test_a_folder_without_weights_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no weights: looked for checkpoints/, models/model\.saf"):
        read_weights(tmp_path)


def test_a_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.pt doesn't exist"):
        read_weights(tmp_path / "absent.pt")


def test_misspelt_known_weights_are_told_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"doesn't exist; .* known weights is `resnet18-imagenet`\."):
        read_weights(tmp_path / "resnet18-imagnet")


def test_a_whole_pickled_network_is_refused_with_the_class_it_asks_for(tmp_path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 3)), tmp_path / "network.pt")
    with pytest.raises(WeightsError) as caught:
        read_weights(tmp_path / "network.pt")
    assert "it asks for `torch.nn.modules.container.Sequential`" in str(caught.value)
    assert "Save its state dict alone, best as safetensors" in str(caught.value)


def test_a_checkpoint_without_tensors_is_refused_with_its_keys(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "best\x1b[2J": 0.5}, tmp_path / "log.pt")
    with pytest.raises(WeightsError) as caught:
        read_weights(tmp_path / "log.pt")
    assert r"the keys epoch, best\x1b[2J" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2], ids=str)
def test_weights_that_are_not_finite_are_refused_with_their_name(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    torch.save(
        {"good": torch.ones(3), "layer2.weight": torch.tensor([1.0, value]).to(dtype)}, tmp_path / "x"
    )
    with pytest.raises(WeightsError, match=r"holds `layer2\.weight` with NaN or infinities"):
        read_weights(tmp_path / "x")


def test_safetensors_by_an_independent_writer_are_read(tmp_path: Path) -> None:
    # By the format's own words: length, JSON, then the bytes, little-endian.
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}).encode()
    content = len(header).to_bytes(8, "little") + header + b"\x00\x00\x80\x3f\x00\x00\x00\xc0"
    (tmp_path / "w").write_bytes(content)
    assert read_weights(tmp_path / "w")["w"].tolist() == [[1.0], [-2.0]]
