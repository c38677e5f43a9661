"""What a kill can't take: a training that goes on is the training that was never cut."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lepton_monai.core.errors import InputError
from lepton_monai.data.batch import Inputs
from lepton_monai.data.cache import CachedCase
from lepton_monai.networks.build import network_of
from lepton_monai.plans.plan import NetworkPlan, Plan
from lepton_monai.plans.run import Run
from lepton_monai.training.checkpoint import newest_checkpoint, restore, write_checkpoint, write_final
from lepton_monai.training.loop import Feeding, run_training
from lepton_monai.training.seeds import deterministic, seeded
from lepton_monai.training.segmentation import patches_of, segmentation_training
from lepton_monai.training.training import Training
from tests.plans.examples import example_plan
from tests.training.cases import two_balls

CPU = torch.device("cpu")


class Killed(Exception):  # noqa: N818 - no error: the end
    """Stands for the end of the process."""


def dropout_plan(steps: int) -> Plan:
    """Return a plan whose network draws from torch's own generator at every step."""
    plan = example_plan()
    network = NetworkPlan(
        name="monai:UNet",
        channels=(),
        kernels=(),
        strides=(),
        arguments={"channels": [4, 8], "strides": [2], "dropout": 0.3},
    )
    return replace(plan, network=network, training=replace(plan.training, steps=steps))


def run_to_end(
    run: Run, plan: Plan, cases: dict[str, CachedCase], *, keep_at: int | None = None, resume: bool = False
) -> Training:
    """Train; where `keep_at` is given, write a checkpoint there and die some steps later."""
    with deterministic(1), seeded(0):
        training = segmentation_training(plan, CPU, network_of(plan))
        if resume:
            restore(training, newest_checkpoint(run))
        advance = training.advance

        def counted(inputs: Inputs, label: torch.Tensor) -> float:
            if keep_at is not None and training.step == keep_at:
                write_checkpoint(run, training)
            if keep_at is not None and training.step == keep_at + 3:
                raise Killed
            return advance(inputs, label)

        training.advance = counted  # type: ignore[method-assign] # where the process is killed
        feeding = Feeding(CPU)
        run_training(
            training, patches_of(cases, plan), feeding, on_log=lambda _: None, on_checkpoint=lambda _: None
        )
    return training


def state_of(training: Training) -> dict[str, torch.Tensor]:
    average = {f"average.{name}": one for name, one in training.average.state_dict().items()}
    return training.tensors() | average


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.nightly)])
def test_a_resumed_training_is_bit_exactly_the_one_that_was_never_cut(tmp_path: Path, kills: int) -> None:
    plan = dropout_plan(steps=60)
    cases = two_balls(tmp_path / "cache", plan)
    whole = run_to_end(Run(tmp_path / "whole"), plan, cases)
    points = np.random.default_rng(8).choice(np.arange(1, 55), kills, replace=False).tolist()
    for point in points:
        run = Run(tmp_path / f"cut-{point}")
        with pytest.raises(Killed):
            run_to_end(run, plan, cases, keep_at=point)
        resumed = run_to_end(run, plan, cases, resume=True)
        expected, found = state_of(whole), state_of(resumed)
        assert expected.keys() == found.keys()
        differing = [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])]
        assert differing == []
        assert (resumed.step, resumed.log, resumed.losses) == (whole.step, whole.log, whole.losses)
    print(f"killed at steps {points} of 60 and resumed: weights, average, optimizer, generator, log equal")


def test_the_two_newest_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    plan = dropout_plan(steps=9)
    run = Run(tmp_path / "run")
    with deterministic(1), seeded(0):
        training = segmentation_training(plan, CPU, network_of(plan))

        def keep(state: Training) -> None:
            write_checkpoint(run, state)

        training.log = [(1, 1.0, 1.0)]
        for step in (3, 5, 8):
            training.step = step
            keep(training)
    folders = sorted(path.name for path in run.checkpoints_folder.iterdir())
    assert folders == ["step-000000005", "step-000000008"]
    assert newest_checkpoint(run).step == 8
    damaged = run.checkpoints_folder / "step-000000008" / "training.safetensors"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert newest_checkpoint(run).step == 5


def test_a_finished_training_keeps_its_model_alone_and_is_not_resumed(tmp_path: Path) -> None:
    plan = dropout_plan(steps=9)
    run = Run(tmp_path / "run")
    with deterministic(1), seeded(0):
        training = segmentation_training(plan, CPU, network_of(plan))
        write_checkpoint(run, training)
        training.step = 9
        write_final(run, training)
    (folder,) = run.checkpoints_folder.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["state.json", "weights.safetensors"]
    assert json.loads((folder / "state.json").read_text(encoding="utf-8"))["finished"]
    assert run.weights_path() == folder / "weights.safetensors"
    with pytest.raises(InputError, match="is finished"):
        newest_checkpoint(run)


def test_a_folder_without_a_whole_checkpoint_is_not_silently_started_anew(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no whole checkpoint"):
        newest_checkpoint(Run(tmp_path))


def test_the_newest_is_the_one_of_the_highest_step_however_many_digits_it_has(tmp_path: Path) -> None:
    plan = dropout_plan(steps=9)
    run = Run(tmp_path / "run")
    with deterministic(1), seeded(0):
        training = segmentation_training(plan, CPU, network_of(plan))
        for step in (999_900, 1_000_100, 2_000_000_000):
            training.step = step
            write_checkpoint(run, training)
            assert newest_checkpoint(run).step == step
        training.step = 2_000_000_001
        write_final(run, training)
    assert run.weights_path().parent.name == "step-2000000001"


def test_an_unfinished_training_is_no_model(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with deterministic(1), seeded(0):
        plan = dropout_plan(steps=9)
        write_checkpoint(run, segmentation_training(plan, CPU, network_of(plan)))
    with pytest.raises(InputError, match=r"isn't finished: it stopped at step 0\. .*--resume"):
        run.weights_path()


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"schema_version": 1, "step": 3}'])
def test_a_record_that_is_none_of_ours_is_passed_over(tmp_path: Path, text: str) -> None:
    run = Run(tmp_path / "run")
    with deterministic(1), seeded(0):
        plan = dropout_plan(steps=9)
        training = segmentation_training(plan, CPU, network_of(plan))
        training.step = 3
        write_checkpoint(run, training)
    (run.checkpoint_folder(5)).mkdir()
    (run.checkpoint_folder(5) / "state.json").write_text(text, encoding="utf-8")
    assert newest_checkpoint(run).step == 3
