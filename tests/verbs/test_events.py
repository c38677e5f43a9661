"""TensorBoard's events of a training: what log.csv says, whatever was cut and resumed."""

import csv
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lepton_monai.cli.main import run
from lepton_monai.core.errors import ConfigError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.networks.build import network_of
from lepton_monai.training.segmentation import segmentation_training
from lepton_monai.training.training import Training
from lepton_monai.verbs.events import event_log
from lepton_monai.verbs.train import train
from tests.plans.examples import example_plan
from tests.verbs.exports import write_config, write_export

ABSENT = find_spec("tensorboard") is None
needs_tensorboard = pytest.mark.skipif(ABSENT, reason="needs tensorboard: the extra `tensorboard`")

Shown = dict[str, list[tuple[int, float]]]


def shown(folder: Path) -> Shown:
    """Return steps and values as TensorBoard itself finds them."""
    reader = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder)).Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in tags}


def logged(path: Path) -> Shown:
    """Return the same of a log.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != "step"]
    return {name: [(int(row["step"]), float(row[name])) for row in rows if row[name]] for name in names}


def at_step(training: Training, step: int, loss: float) -> Training:
    training.step = step
    training.log.append((step, loss, 0.5))
    return training


@needs_tensorboard
def test_a_resumed_training_shows_every_step_once(tmp_path: Path) -> None:
    plan = example_plan()
    cut, resumed = (segmentation_training(plan, torch.device("cpu"), network_of(plan)) for _ in range(2))
    with event_log(tmp_path) as events:
        events.write(at_step(cut, 50, 4.0))
        cut.looks.append((100, 2.5))
        for step, loss in ((100, 3.0), (150, 2.0)):
            events.write(at_step(cut, step, loss))
        # Killed: no end, and the checkpoint is of a step before the last two lines.
        before = shown(tmp_path)
    resumed.looks.append((100, 2.25))
    with event_log(tmp_path) as events:
        for step, loss in ((100, 3.5), (150, 2.75), (200, 1.0)):
            events.write(at_step(resumed, step, loss))
    assert before["loss"] == [(50, 4.0), (100, 3.0), (150, 2.0)]
    assert before["validation_loss"] == [(100, 2.5)]
    assert shown(tmp_path) == {
        "loss": [(50, 4.0), (100, 3.5), (150, 2.75), (200, 1.0)],
        "learning_rate": [(step, 0.5) for step in (50, 100, 150, 200)],
        "validation_loss": [(100, 2.25)],
    }


@needs_tensorboard
def test_tensorboard_shows_what_the_log_says(tmp_path: Path) -> None:
    write_export(tmp_path / "export")
    config = write_config(tmp_path, tmp_path / "export", **{"steps: 30": "steps: 60"})
    done = train(config, tmp_path / "run", pseudonyms=Pseudonyms(b"s" * 32), device="cpu", tensorboard=True)
    found, expected = shown(done.run.tensorboard_folder), logged(done.run.log_path)
    assert set(found) == set(expected) == {"loss", "learning_rate"}
    for name, rows in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in rows] == [50, 60]
        # log.csv has eight decimals, and the last rate six zeros before them.
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in rows], rel=1e-3)


def test_tensorboard_that_is_absent_is_asked_for_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    write_config(tmp_path, tmp_path)
    (tmp_path / "salt").write_bytes(b"s" * 32)
    given = ["train", str(tmp_path / "task.yaml"), "--run", str(tmp_path / "run"), "--device", "cpu"]
    assert run([*given, "--salt", str(tmp_path / "salt"), "--tensorboard"]) == ConfigError.exit_code
    said = capsys.readouterr().err
    assert "--tensorboard needs TensorBoard, which can't be imported" in said
    assert 'pip install "lepton_monai[tensorboard]"' in said
    assert not (tmp_path / "run").exists()
