"""A training that starts from another: its network, its weights, and what is said of them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lepton_monai.cli.main import run as lepton
from lepton_monai.config.schema import Config
from lepton_monai.core.errors import ConfigError, WeightsError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.verbs.train import AnyReport, train
from tests.verbs.exports import write_config, write_export

NAMES = Pseudonyms(b"s" * 32)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    write_export(root)
    return root


@pytest.fixture(scope="module")
def first(export: Path, tmp_path_factory: pytest.TempPathFactory) -> AnyReport:
    folder = tmp_path_factory.mktemp("first")
    return train(write_config(folder, export), folder / "run", pseudonyms=NAMES, device="cpu")


def weights_of(report: AnyReport) -> dict[str, torch.Tensor]:
    return load_file(report.run.weights_path())


def starting_from(folder: Path, export: Path, weights: Path, training: str = "steps: 30") -> Config:
    changes = {
        "network: {name: unet}": f"network: {{weights: {weights}}}",
        "  network: {channels: [4, 8]}\n": "",
        "steps: 30": training,
    }
    return write_config(folder, export, **changes)


def test_the_network_of_the_run_is_taken_over_and_its_weights_are_where_it_starts(
    export: Path, first: AnyReport, tmp_path: Path
) -> None:
    """With a rate of nothing the weights stay what they were."""
    config = starting_from(
        tmp_path, export, first.run.folder, "steps: 3, pretrained_rate: 0.0, average_decay: 0.0"
    )
    second = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert second.plan.network.channels == first.plan.network.channels
    assert second.plan.network.name == "unet"
    assert second.plan.reasons["network.channels"] == "of the weights that it starts from"
    for name, tensor in weights_of(first).items():
        assert torch.equal(tensor, weights_of(second)[name]), name
    said = (tmp_path / "run" / "weights.txt").read_text(encoding="utf-8")
    assert said.startswith(f"run: {len(weights_of(first))} of {len(weights_of(first))} tensors as they are")


def test_frozen_parameters_stay_and_the_others_learn(
    export: Path, first: AnyReport, tmp_path: Path
) -> None:
    config = starting_from(tmp_path, export, first.run.folder, 'steps: 5, frozen: ["model.0.*"]')
    second = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    before, after = weights_of(first), weights_of(second)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("model.0."))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_another_number_of_classes_leaves_the_last_layer_new(
    export: Path, first: AnyReport, tmp_path: Path
) -> None:
    config = write_config(
        tmp_path,
        export,
        **{
            "network: {name: unet}": f"network: {{weights: {first.run.folder}}}",
            "  network: {channels: [4, 8]}\n": "",
            '{ball: "Ball*"}': '{ball: "Ball*", other: "Nothing*"}',
        },
    )
    second = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    said = (tmp_path / "run" / "weights.txt").read_text(encoding="utf-8")
    assert "another shape, left as initialised" in said
    assert second.plan.classes == ("ball", "other")


def test_a_plan_is_of_its_weights(export: Path, first: AnyReport, tmp_path: Path) -> None:
    config = starting_from(tmp_path, export, first.run.folder, "steps: 3")
    second = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    plan = second.run.plan_path
    again = train(config, tmp_path / "again", pseudonyms=NAMES, plan_file=plan, device="cpu")
    assert second.run.weights_path().read_bytes() == again.run.weights_path().read_bytes()
    with pytest.raises(ConfigError, match="The plan starts from weights"):
        train(
            write_config(tmp_path, export),
            tmp_path / "without",
            pseudonyms=NAMES,
            plan_file=plan,
            device="cpu",
        )


def test_what_the_first_run_was_trained_on_is_no_test_of_the_second(
    export: Path, first: AnyReport, tmp_path: Path
) -> None:
    before = json.loads(first.run.split_path.read_text(encoding="utf-8"))["image_sha256"]
    second = train(
        starting_from(tmp_path, export, first.run.folder, "steps: 3"),
        tmp_path / "run",
        pseudonyms=NAMES,
        device="cpu",
    )
    after = json.loads(second.run.split_path.read_text(encoding="utf-8"))["image_sha256"]
    assert set(before.values()) <= set(after.values())


def test_weights_that_are_not_there_are_named(export: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nope\.pt doesn't exist"):
        train(
            starting_from(tmp_path, export, tmp_path / "nope.pt"),
            tmp_path / "run",
            pseudonyms=NAMES,
            device="cpu",
        )


def test_weights_of_another_network_are_refused(export: Path, tmp_path: Path) -> None:
    save_file({"stem.kernel": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"Nothing of other\.safetensors fits the network"):
        train(
            starting_from(tmp_path, export, tmp_path / "other.safetensors"),
            tmp_path / "run",
            pseudonyms=NAMES,
            device="cpu",
        )


def test_the_command_line_takes_a_run_to_start_from(
    export: Path, first: AnyReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "salt").write_bytes(b"s" * 32)
    write_config(tmp_path, export)
    command = ["train", str(tmp_path / "task.yaml"), "--run", str(tmp_path / "run"), "--device", "cpu"]
    more = ["--from", str(first.run.folder), "--salt", str(tmp_path / "salt")]
    assert lepton([*command, *more, "--cache", str(tmp_path / "cache")]) == 0
    assert "tensors as they are, 0 adapted, 0 new" in capsys.readouterr().err
